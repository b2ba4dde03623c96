"""Reading and writing four neighbours at once, and indices without Python's rules, for kernels that must be fast.

`a[i]` in a kernel first asks whether i is negative, and reads one number.  Here i is an element of flat memory, and `load4` is one instruction
of 16 bytes (for float32): i must be a multiple of 4 elements from an address that is a multiple of 16 bytes.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types

from . import driver

BYTES = 16  # of one access
ALIGNED_BY = None if driver.is_simulated() else BYTES  # shared arrays; the simulator knows no alignment

if driver.is_simulated():

    def load(a, i):
        """a[i]."""
        return a[i]

    def load4(a, i):
        """(a[i], a[i + 1], a[i + 2], a[i + 3])."""
        if i & 3:
            raise ValueError(f"load4: {i} is no multiple of 4, which a GPU does not forgive")
        return a[i], a[i + 1], a[i + 2], a[i + 3]

    def store4(a, i, v0, v1, v2, v3):
        """a[i : i + 4] = v0, v1, v2, v3."""
        if i & 3:
            raise ValueError(f"store4: {i} is no multiple of 4, which a GPU does not forgive")
        a[i], a[i + 1], a[i + 2], a[i + 3] = v0, v1, v2, v3

    def divide(a, b):
        """a // b of numbers from 0 to 2^31."""
        return a // b

else:
    from numba.cuda.extending import intrinsic

    def _pointer(context: Any, builder: Any, kind: Any, array: Any, index: Any, count: int) -> Any:
        data = context.make_array(kind)(context, builder, array).data
        place = builder.gep(data, [index])
        element = context.get_data_type(kind.dtype)
        return place if count == 1 else builder.bitcast(place, ir.VectorType(element, count).as_pointer(getattr(data.type, "addrspace", 0)))

    @intrinsic
    def load(typing_context, a, i):
        """a[i]."""

        def generate(context, builder, signature, args):
            return builder.load(_pointer(context, builder, signature.args[0], *args, 1))

        return a.dtype(a, types.int64), generate

    @intrinsic
    def load4(typing_context, a, i):
        """(a[i], a[i + 1], a[i + 2], a[i + 3])."""

        def generate(context, builder, signature, args):
            read = builder.load(_pointer(context, builder, signature.args[0], *args, 4), align=BYTES)
            four = [builder.extract_element(read, ir.IntType(32)(n)) for n in range(4)]
            return context.make_tuple(builder, signature.return_type, four)

        return types.UniTuple(a.dtype, 4)(a, types.int64), generate

    @intrinsic
    def store4(typing_context, a, i, v0, v1, v2, v3):
        """a[i : i + 4] = v0, v1, v2, v3."""

        def generate(context, builder, signature, args):
            four = ir.Constant(ir.VectorType(args[2].type, 4), ir.Undefined)
            for n in range(4):
                four = builder.insert_element(four, args[2 + n], ir.IntType(32)(n))
            builder.store(four, _pointer(context, builder, signature.args[0], args[0], args[1], 4), align=BYTES)
            return context.get_dummy_value()

        return types.none(a, types.int64, a.dtype, a.dtype, a.dtype, a.dtype), generate

    @intrinsic
    def divide(typing_context, a, b):
        """a // b of numbers from 0 to 2^31."""

        def generate(context, builder, signature, args):
            narrow = [builder.trunc(v, ir.IntType(32)) for v in args]
            return builder.zext(builder.udiv(*narrow), ir.IntType(64))

        return types.int64(types.int64, types.int64), generate
