"""Denormal numbers, those below 1.2e-38 in float32 and 2.2e-308 in float64, which processors multiply 20 to 100 times slower than others.

Sums of products (convolution, matrix products, locally connected layers), normalisation and the steps of optimisers take them for 0 and
write 0 in their place.  The loops of those kernels do it, in whichever thread runs them, and leave the thread's mode as it was:

    for task in prange(count):
        before = flush_denormals()
        ...
        set_float_mode(before)

All other functions follow IEEE 754, above all those element by element and sums: NumPy does the small ones, and a result must not depend on
an array's size.
"""

from __future__ import annotations

from typing import Any

from llvmlite import binding as llvm
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .runtime import inline

_ARCHITECTURE = llvm.get_process_triple().partition("-")[0]
_X86, _ARM = _ARCHITECTURE in ("x86_64", "amd64"), _ARCHITECTURE in ("aarch64", "arm64")
FLUSH: int = 0x8040 if _X86 else 1 << 24 if _ARM else 0
"""The bits of the float mode that make 0 of denormals: FTZ and DAZ of MXCSR, FZ of FPCR."""

RESULTS: int = 0x8000 if _X86 else 0
"""The bit that makes 0 of denormals that are written, and leaves alone those that are read: FTZ; none where it cannot be had by itself."""

_I32, _I64, _BYTES = ir.IntType(32), ir.IntType(64), ir.IntType(8).as_pointer()


@intrinsic
def float_mode(typing: Any) -> Any:
    """In @njit code: this thread's control register of floating-point arithmetic; 0 on processors that are not known."""

    def codegen(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        if _X86:
            return builder.zext(builder.load(_through_memory(builder, "llvm.x86.sse.stmxcsr")), _I64)
        if _ARM:
            return builder.call(_function(builder, _I64, [], "llvm.aarch64.get.fpcr"), [])
        return ir.Constant(_I64, 0)

    return types.int64(), codegen


@intrinsic
def set_float_mode(typing: Any, mode: Any) -> Any:
    """In @njit code: set this thread's control register to what `float_mode` gave, or to that with other bits."""

    def codegen(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        if _X86:
            _through_memory(builder, "llvm.x86.sse.ldmxcsr", builder.trunc(values[0], _I32))
        elif _ARM:
            builder.call(_function(builder, ir.VoidType(), [_I64], "llvm.aarch64.set.fpcr"), values)
        return context.get_dummy_value()

    return types.void(types.int64), codegen


def _through_memory(builder: Any, name: str, value: Any = None) -> Any:
    """Call an instruction that stores to, or loads `value` from, the place that this returns."""
    place = cgutils.alloca_once(builder, _I32)
    if value is not None:
        builder.store(value, place)
    builder.call(_function(builder, ir.VoidType(), [_BYTES], name), [builder.bitcast(place, _BYTES)])
    return place


def _function(builder: Any, result: Any, arguments: list[Any], name: str) -> Any:
    return cgutils.get_or_insert_function(builder.module, ir.FunctionType(result, arguments), name)


@inline
def flush_denormals():
    """From here on, this thread takes denormals for 0; gives the mode before, for `set_float_mode`."""
    before = float_mode()
    set_float_mode(before | FLUSH)
    return before
