"""What all emitters of vector code need: a number in all lanes, a mask of the first lanes, loads and stores of some lanes, asking ahead for memory.

Vectors may begin at any element: nothing is aligned to more than a number.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir

I64, I32, I1 = ir.IntType(64), ir.IntType(32), ir.IntType(1)
BYTES = ir.IntType(8).as_pointer()


def splat(b: ir.IRBuilder, value: Any, lanes: int) -> Any:
    """A vector with `value` in all lanes."""
    undef = ir.Constant(ir.VectorType(value.type, lanes), ir.Undefined)
    first = b.insert_element(undef, value, ir.Constant(I32, 0))
    return b.shuffle_vector(first, undef, ir.Constant(ir.VectorType(I32, lanes), [0] * lanes))


def below(b: ir.IRBuilder, count: Any, lanes: int, begin: int = 0) -> Any:
    """The mask of the lanes begin, begin + 1, ... that are below the integer `count`."""
    numbers = ir.Constant(ir.VectorType(count.type, lanes), list(range(begin, begin + lanes)))
    return b.icmp_signed("<", numbers, splat(b, count, lanes))


def accesses(module: ir.Module, vec: ir.VectorType, others: Any = None) -> tuple[Callable[..., Any], Callable[..., None]]:
    """(load(b, pointer, mask=None), store(b, value, pointer, mask=None)) of vectors: of all lanes, or of those of a mask.

    Lanes that are not loaded are those of the constant `others`, or 0.
    """
    scalar, lanes, pointer = vec.element, vec.count, vec.as_pointer()
    bits = scalar.width if isinstance(scalar, ir.IntType) else 32 if isinstance(scalar, ir.FloatType) else 64
    kind, mask_type = f"v{lanes}{'i' if isinstance(scalar, ir.IntType) else 'f'}{bits}.p0", ir.VectorType(I1, lanes)
    load_some = ir.Function(module, ir.FunctionType(vec, [pointer, I32, mask_type, vec]), f"llvm.masked.load.{kind}")
    store_some = ir.Function(module, ir.FunctionType(ir.VoidType(), [vec, pointer, I32, mask_type]), f"llvm.masked.store.{kind}")
    align, others = ir.Constant(I32, bits // 8), others or ir.Constant(vec, None)

    def load(b: ir.IRBuilder, place: Any, mask: Any = None) -> Any:
        place = b.bitcast(place, pointer)
        if mask is not None:
            return b.call(load_some, [place, align, mask, others])
        value = b.load(place)
        value.align = bits // 8
        return value

    def store(b: ir.IRBuilder, value: Any, place: Any, mask: Any = None) -> None:
        place = b.bitcast(place, pointer)
        if mask is not None:
            b.call(store_some, [value, place, align, mask])
        else:
            b.store(value, place).align = bits // 8

    return load, store


def fetch(b: ir.IRBuilder, place: Any, to_write: bool = False, near: bool = True) -> None:
    """Ask for the cache line at a pointer, to be read or to be written soon, into all caches, or all but the nearest."""
    prefetch = b.module.declare_intrinsic("llvm.prefetch", [BYTES], ir.FunctionType(ir.VoidType(), [BYTES, I32, I32, I32]))
    b.call(prefetch, [b.bitcast(place, BYTES), I32(int(to_write)), I32(3 if near else 2), I32(1)])
