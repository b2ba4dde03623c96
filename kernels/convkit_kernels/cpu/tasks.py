"""One parallel loop for functions compiled without one: what is compiled for a family is its arithmetic, in a sixth of the time.

    run(compiled(function, char), count, plan, index, a, b, ...)        function(task, plan, index, a, b, ...) for task = 0 ... count - 1

A function of a task reads its operands as pointers, `plan` and `index` to int64, the others to the float type `char` or to float64, and gives
them shapes by `numba.carray`.  Tasks must not depend on the number of threads, and write to different places.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import prange, types
from numba.core import cgutils
from numba.extending import intrinsic

from .microkernel import address
from .runtime import kernel, native

FLOATS = 7  # operands of the float type


@intrinsic
def _call(typing_context: Any, function: Any, task: Any, operands: Any) -> Any:
    """In a kernel: call the `native` function with the address `function` on the task and the addresses of the operands."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        kind = ir.IntType(64)
        target = ir.FunctionType(ir.VoidType(), [kind] * (1 + len(operands))).as_pointer()
        places = [builder.extract_value(values[2], i) for i in range(len(operands))]
        builder.call(builder.inttoptr(values[0], target), [values[1], *places])
        return context.get_dummy_value()

    return types.void(types.intp, types.intp, operands), generate


@kernel
def _each(function, count, plan, index, a, b, c, d, e, f, g):
    # Addresses outside the loop: numbers are cheaper to hand to a parallel loop than arrays, in compiling too.
    i, j = address(plan), address(index)
    p, q, r, s, t, u, v = address(a), address(b), address(c), address(d), address(e), address(f), address(g)
    for task in prange(count):
        _call(function, task, (i, j, p, q, r, s, t, u, v))


def run(function: int, count: int, plan: np.ndarray, index: np.ndarray, *floats: np.ndarray) -> None:
    """Call the function for each task; all operands are contiguous vectors, the floats of one type."""
    _each(function, count, plan, index, *floats, *floats[:1] * (FLOATS - len(floats)))


@functools.cache
def compiled(function: Callable, char: str, doubles: tuple[int, ...] = ()) -> int:
    """The address of `function(task, plan, index, ...)` for floats of the NumPy type `char`, compiled when first asked for.

    The operands with the numbers `doubles` are float64, whose `view` as the others' type is what `run` is given.
    """
    kinds = [types.CPointer(types.float64 if char == "d" or i in doubles else types.float32) for i in range(FLOATS)]
    return native(function, types.intp, types.CPointer(types.int64), types.CPointer(types.int64), *kinds)


def stack(count: int) -> Any:
    """A function for tasks: `count` numbers of memory of the task's own, of the type that the pointer it gets points to."""

    @intrinsic
    def room(typing_context: Any, like: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            return cgutils.alloca_once(builder, values[0].type.pointee, size=count)

        return like(like), generate

    return room
