"""Single instructions for kernels that must be fast: four neighbours at once, indices without Python's rules, tensor cores.

`a[i]` in a kernel first asks whether i is negative, and reads one number.  Here i is an element of flat memory, and `load4` is one instruction
of 16 bytes (for float32): i must be a multiple of 4 elements from an address that is a multiple of 16 bytes.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types

from . import driver, simulator
from . import mathfunctions as m

BYTES = 16  # of one access; fewer if four numbers have fewer
ALIGNED_BY = None if driver.is_simulated() else BYTES  # shared arrays; the simulator knows no alignment

MOST = 2**31 - 1  # of what is counted by 32 bits


def require(op: str, most: int = MOST, **counts: int) -> None:
    """ValueError that names the operation if there are more of something than its kernel can number."""
    for what, count in counts.items():
        if count > most:
            raise ValueError(f"cuda: {op}: {count} {what.replace('_', ' ')} are more than a launch numbers, {most}; take fewer at once")


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
        """a // b of numbers from 0 to 2^32 - 1."""
        return a // b

    def within(i, n):
        """0 <= i < n, for i that 32 bits hold and n from 0 to 2^31 - 1."""
        if not -(2**31) <= i < 2**31:
            raise OverflowError(f"within: {i} has more than 32 bits")
        return 0 <= i < n

    def split(x):
        """(big, small): x rounded to TF32, and what is left of it rounded to TF32 (0 where x is infinite), as bits."""
        big = _tf32(x)
        rest = x - big.view(np.float32)
        return big, _tf32(rest if rest == rest else np.float32(0))

    def _tf32(x):
        # 10 bits behind the point, to nearest, ties away from 0.
        bits = x.view(np.uint32)
        return bits + np.uint32(0x1000) & np.uint32(0xFFFFE000) if np.isfinite(x) else bits

    def mma(*registers):
        """C[16, 8] + A[16, 8] B[8, 8] by 32 threads: TF32 operands as bits, float32 sums (PTX ISA, mma.sync.m16n8k8)."""
        return simulator.together(_mma, *registers)

    def _mma(lanes):
        # PTX ISA, "Matrix fragments for mma.m16n8k8": where thread 4 g + q has what it gives (A, B, C) and gets (C).
        g, q = np.divmod(np.arange(32)[:, None], 4)
        of_a, of_b, of_c = (g + [0, 8, 0, 8], q + [0, 0, 4, 4]), (q + [0, 4], g + [0, 0]), (g + [0, 0, 8, 8], 2 * q + [0, 1, 0, 1])
        a, b, c = np.empty((16, 8)), np.empty((8, 8)), np.empty((16, 8))
        bits = np.array([registers[:6] for registers in lanes], np.uint32) & np.uint32(0xFFFFE000)  # what TF32 has of a float32
        a[of_a], b[of_b], c[of_c] = bits.view(np.float32)[:, :4], bits.view(np.float32)[:, 4:], [registers[6:] for registers in lanes]
        exact = c + a @ b
        near = exact.astype(np.float32)
        near = np.where(np.abs(near) > np.abs(exact), np.nextafter(near, np.float32(0)), near)  # tensor cores cut off
        return list(near[of_c])

else:
    from numba.cuda.extending import intrinsic
    from numba.np.numpy_support import as_dtype

    def _pointer(context: Any, builder: Any, kind: Any, array: Any, index: Any, count: int) -> Any:
        data = context.make_array(kind)(context, builder, array).data
        place = builder.gep(data, [index])
        element = context.get_data_type(kind.dtype)
        return place if count == 1 else builder.bitcast(place, ir.VectorType(element, count).as_pointer(getattr(data.type, "addrspace", 0)))

    def _alignment(kind: Any) -> int:
        return min(BYTES, 4 * as_dtype(kind.dtype).itemsize)

    @intrinsic
    def load(typing_context, a, i):
        """a[i]."""

        def generate(context, builder, signature, args):
            read = builder.load(_pointer(context, builder, signature.args[0], *args, 1))
            return context.data_model_manager[a.dtype].from_data(builder, read)

        return a.dtype(a, types.int64), generate

    @intrinsic
    def load4(typing_context, a, i):
        """(a[i], a[i + 1], a[i + 2], a[i + 3])."""

        def generate(context, builder, signature, args):
            read = builder.load(_pointer(context, builder, signature.args[0], *args, 4), align=_alignment(a))
            model = context.data_model_manager[a.dtype]
            four = [model.from_data(builder, builder.extract_element(read, ir.IntType(32)(n))) for n in range(4)]
            return context.make_tuple(builder, signature.return_type, four)

        return types.UniTuple(a.dtype, 4)(a, types.int64), generate

    @intrinsic
    def store4(typing_context, a, i, v0, v1, v2, v3):
        """a[i : i + 4] = v0, v1, v2, v3."""

        def generate(context, builder, signature, args):
            model = context.data_model_manager[a.dtype]
            four = ir.Constant(ir.VectorType(model.get_data_type(), 4), ir.Undefined)
            for n in range(4):
                four = builder.insert_element(four, model.as_data(builder, args[2 + n]), ir.IntType(32)(n))
            builder.store(four, _pointer(context, builder, signature.args[0], args[0], args[1], 4), align=_alignment(a))
            return context.get_dummy_value()

        return types.none(a, types.int64, a.dtype, a.dtype, a.dtype, a.dtype), generate

    @intrinsic
    def divide(typing_context, a, b):
        """a // b of numbers from 0 to 2^32 - 1."""

        def generate(context, builder, signature, args):
            narrow = [builder.trunc(v, ir.IntType(32)) for v in args]
            return builder.zext(builder.udiv(*narrow), ir.IntType(64))

        return types.int64(types.int64, types.int64), generate

    @intrinsic
    def within(typing_context, i, n):
        """0 <= i < n, for i that 32 bits hold and n from 0 to 2^31 - 1."""

        def generate(context, builder, signature, args):
            return builder.icmp_unsigned("<", *(builder.trunc(v, ir.IntType(32)) for v in args))

        return types.boolean(types.int64, types.int64), generate

    @intrinsic
    def split(typing_context, x):
        """(big, small): x rounded to TF32, and what is left of it rounded to TF32 (0 where x is infinite), as bits."""

        def generate(context, builder, signature, args):
            number, bits = ir.FloatType(), ir.IntType(32)
            round_ = ir.InlineAsm(ir.FunctionType(bits, [number]), "cvt.rna.tf32.f32 $0, $1;", "=r,f")
            big = builder.call(round_, args)
            rest = builder.fsub(args[0], builder.bitcast(big, number))
            rest = builder.select(builder.fcmp_ordered("==", rest, rest), rest, ir.Constant(number, 0.0))
            return context.make_tuple(builder, signature.return_type, [big, builder.call(round_, [rest])])

        return types.UniTuple(types.uint32, 2)(types.float32), generate

    @intrinsic
    def mma(typing_context, a0, a1, a2, a3, b0, b1, c0, c1, c2, c3):
        """C[16, 8] + A[16, 8] B[8, 8] by 32 threads: TF32 operands as bits, float32 sums (PTX ISA, mma.sync.m16n8k8)."""

        def generate(context, builder, signature, args):
            number, bits = ir.FloatType(), ir.IntType(32)
            result = ir.LiteralStructType([number] * 4)
            code = ir.InlineAsm(
                ir.FunctionType(result, [bits] * 6 + [number] * 4),
                "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {$0,$1,$2,$3}, {$4,$5,$6,$7}, {$8,$9}, {$10,$11,$12,$13};",
                "=f,=f,=f,=f,r,r,r,r,r,r,f,f,f,f", side_effect=True,
            )  # fmt: skip
            value = builder.call(code, args)
            return context.make_tuple(builder, signature.return_type, [builder.extract_value(value, i) for i in range(4)])

        return types.UniTuple(types.float32, 4)(*[types.uint32] * 6, *[types.float32] * 4), generate


# ------------------------------------------------------------------------------- one or four at once
def fits(size: int, *arrays: Any) -> bool:
    """Can lines of `size` neighbours, one behind the other, be read four at a time?"""
    return size % 4 == 0 and all(a.offset % 4 == 0 for a in arrays)  # a buffer begins at a multiple of 16 bytes


@functools.cache
def reader(count: int) -> Callable:
    """The function (a, i) -> the `count` elements of a from i on, 1 or 4 of them, as a tuple."""

    @m.device
    def one(a, i):
        return (load(a, i),)

    return one if count == 1 else load4


@functools.cache
def writer(count: int) -> Callable:
    """The function (a, i, values) that writes as many."""

    @m.device
    def one(a, i, values):
        a[i] = values[0]

    @m.device
    def four(a, i, values):
        store4(a, i, values[0], values[1], values[2], values[3])

    return one if count == 1 else four
