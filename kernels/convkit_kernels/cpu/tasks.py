"""One parallel loop for functions compiled without one: what is compiled for a family is its arithmetic, in a sixth of the time.

    run(compiled(function, char), count, plan, index, a, b, ...)        function(task, plan, index, a, b, ...) for task = 0 ... count - 1

A function of a task reads its operands as pointers, `plan` and `index` to int64, the others to the float type `char` or to float64, and gives
them shapes by `numba.carray`.  Tasks must not depend on the number of threads, and write to different places.

NumPy's own loops run in parallel too, part by part: `by_lines`, where an axis must stay whole, `by_elements` and `by_rows`.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from numba import prange, types
from numba.core import cgutils
from numba.extending import intrinsic, register_jitable

from ..layout import flat, order_of
from .denormals import FLUSH, float_mode, set_float_mode
from .lanes import I64
from .microkernel import CACHE_LINE, address, call_code, fetch_line
from .runtime import in_threads, inline, kernel, native

FLOATS = 7  # operands of the float type
AHEAD = 8192  # bytes: two pages


HEAD = object.__basicsize__  # bytes of every Python object; an array's first field behind them is the address of its numbers


@intrinsic
def data_of(typing: Any, array: Any) -> Any:
    """In @njit code: the address of the first element of the array whose `id` this is.

    A number is handed over in a quarter of an array's time, and needs no flat view; the caller keeps the array.
    """

    def codegen(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.load(builder.inttoptr(builder.add(values[0], I64(HEAD)), I64.as_pointer()))

    return types.int64(types.int64), codegen


@inline
def _run_one(function, flush, operands):
    before = float_mode()
    set_float_mode(before | flush)
    call_code(function, operands)
    set_float_mode(before)


@kernel
def _each(function, count, alone, flush, apart, plan, index, a, b, c, d, e, f, g):
    i, j = data_of(plan), data_of(index)
    p, q, r, s, t, u, v = data_of(a), data_of(b), data_of(c), data_of(d), data_of(e), data_of(f), data_of(g)
    if alone:
        for task in range(count):
            _run_one(function, flush, (np.int64(task), i, j, p, q, r, s, t, u, v))
    else:
        for task in prange(count):  # unsigned; one type for both calls is one compilation
            _run_one(function, flush, (np.int64(task), i, j, p, q, r, s, t, u, v + apart * numba.get_thread_id()))


_NONE = np.zeros(1)
LITTLE = 30_000  # nanoseconds of work that one thread does alone: to wake the others and to wait for them takes 10 to 60 microseconds


def run(
    function: int, count: int, plan: np.ndarray, index: np.ndarray, a: np.ndarray, b: np.ndarray = _NONE, c: np.ndarray = _NONE,
    d: np.ndarray = _NONE, e: np.ndarray = _NONE, f: np.ndarray = _NONE, g: np.ndarray = _NONE, *, scratch: np.ndarray | None = None, flush: int = 0,
    work: float = LITTLE,
) -> None:  # fmt: skip
    """Call the function for each task.  All operands are dense, and read in memory order, the floats of one type.

    `flush`: True, denormals are 0, or other bits of the float mode.

    `scratch` [threads, numbers] has a row for each thread, which its tasks get as their last operand.

    `work`: about how many nanoseconds one thread takes for all tasks; below LITTLE it does them alone.
    """
    apart = 0
    if scratch is not None:
        g, apart = scratch, scratch.strides[0]
    alone = count == 1 or work < LITTLE
    _each(function, count, alone, FLUSH if flush is True else flush, apart, id(plan), id(index), id(a), id(b), id(c), id(d), id(e), id(f), id(g))


@functools.cache
def compiled(function: Callable, char: str, doubles: tuple[int, ...] = ()) -> int:
    """The address of `function(task, plan, index, ...)` for floats of the NumPy type `char`, compiled when first asked for.

    The operands with the numbers `doubles` are float64, whose `view` as the others' type is what `run` is given.
    """
    kinds = [types.CPointer(types.float64 if char == "d" or i in doubles else types.float32) for i in range(FLOATS)]
    return native(function, types.intp, types.CPointer(types.int64), types.CPointer(types.int64), *kinds)


# ------------------------------------------------------------------------------------ NumPy's loops
PART = 65536  # elements of a part, about; fixed, so that results do not depend on the number of threads


def by_lines(loop: Callable[[np.ndarray], np.ndarray], x: np.ndarray, axis: int) -> np.ndarray:
    """What `loop` makes of each line of x along `axis`: it gets parts of x with the lines along the last axis, contiguous, and keeps their rank."""
    moved = np.moveaxis(x, axis, -1)
    wanted = max(1, x.size // PART)
    # Along the outermost axis in memory that is long enough.
    cut = max(range(x.ndim - 1), key=lambda d: (min(moved.shape[d], wanted), moved.strides[d]), default=None)
    step = 1 if cut is None else -(-moved.shape[cut] // wanted)
    before = (slice(None),) * (cut or 0)

    def part(i: int) -> Any:
        return () if cut is None else (*before, slice(i * step, (i + 1) * step))

    with np.errstate(all="ignore"):
        first = loop(np.ascontiguousarray(moved[part(0)]))
    count = 1 if cut is None else -(-moved.shape[cut] // step)
    if count < 2:
        return np.moveaxis(np.asarray(first), -1, axis)
    y = np.empty((*moved.shape[:-1], first.shape[-1]), first.dtype)
    y[part(0)] = first

    def work(i: int) -> None:
        y[part(i + 1)] = loop(np.ascontiguousarray(moved[part(i + 1)]))

    in_threads(work, count - 1)
    return np.moveaxis(y, -1, axis)


def by_elements(loop: Callable, x: np.ndarray, dtype: np.dtype | None = None) -> np.ndarray:
    """What loop(x, out=y), a ufunc or, with the `dtype` of y, another function, puts into y: in the memory order of x, and in parallel."""
    y = np.empty_like(x, loop.resolve_dtypes((x.dtype, None))[-1] if dtype is None else dtype)  # type: ignore[attr-defined]
    line: Any = flat(x) if x.size >= 4 * PART else None
    if line is None:
        with np.errstate(all="ignore"):
            loop(x, out=y)
        return y
    out: Any = flat(y)
    in_threads(lambda i: loop(line[i * PART : (i + 1) * PART], out=out[i * PART : (i + 1) * PART]), -(-x.size // PART))
    return y


def by_rows(loop: np.ufunc, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """loop(a, b) of operands of one shape, in C order, and in parallel."""
    y = np.empty(a.shape, loop.resolve_dtypes((a.dtype, b.dtype, None))[-1])
    d = max(range(max(1, a.ndim - 1)), key=a.shape.__getitem__)
    step, before = -(-a.shape[d] * PART // a.size), (slice(None),) * d

    def work(i: int) -> None:
        part = (*before, slice(i * step, (i + 1) * step))
        loop(a[part], b[part], out=y[part])

    in_threads(work, -(-a.shape[d] // step))
    return y


def stack(count: int, kind: types.Float | None = None) -> Any:
    """A function for tasks: `count` numbers of memory of the task's own, of the `kind` or of that which the pointer it gets points to."""

    @intrinsic
    def room(typing_context: Any, like: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            return cgutils.alloca_once(builder, context.get_value_type(signature.return_type.dtype), size=count)

        return (types.CPointer(kind) if kind else like)(like), generate

    return room


@intrinsic
def wide(typing_context: Any) -> Any:
    """In a function that is compiled by itself: vectors as wide as the machine has them.

    By itself LLVM takes half of AVX-512 for most processors, as the first ones slowed down for wide vectors.  Where a loop computes more than it
    moves it takes up to a third less time so; where it only moves numbers it takes a twentieth more, so such loops leave it.
    """

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        set.add(builder.function.attributes, '"prefer-vector-width"="512"')  # llvmlite's own list lacks this attribute
        return context.get_dummy_value()

    return types.void(), generate


@register_jitable
def ahead(row):
    """Ask for what lies AHEAD bytes behind each cache line of a row: a core by itself fetches ahead up to the end of a page only."""
    start = address(row) + AHEAD
    for line in range(start, start + row.size * row.itemsize, CACHE_LINE):
        fetch_line(line)


@intrinsic
def pointer(typing_context: Any, address: Any, kind: Any) -> Any:
    """In a task: an address, which the plan brings, as a pointer to numbers of a NumPy type, which may be another than the operands'."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.inttoptr(values[0], context.get_value_type(signature.return_type))

    return types.CPointer(kind.dtype)(types.int64, kind), generate


# --------------------------------------------------------------------------------- along one axis
# Memory is [outer, n, inner] with the axis of n in the middle.  Where inner = 1 the n lie together, in lines; else they are rows of planes, which
# go by strips of places.
SIZE, WIDE = 8192, 256  # elements that one task takes, in whole lines or strips; the width of strips


def sizes(a: np.ndarray, axis: int) -> tuple[int, int, int]:
    """(outer, n, inner) of a dense array with n places along `axis`."""
    order = order_of(a) or ()
    outer = math.prod(a.shape[i] for i in order[: order.index(axis)]) if axis in order else a.size
    return outer, a.shape[axis], a.size // (outer * a.shape[axis])


def walk(lines: Callable, strips: Callable, sizes: tuple[int, int, int], index: np.ndarray, *floats: np.ndarray) -> None:
    """Run the one on memory [outer, n], with plan (outer, n, lines of a task), or the other, with (outer, n, inner, width, strips side by side)."""
    outer, n, inner = sizes
    if inner == 1:
        each = max(1, SIZE // n)
        run(compiled(lines, floats[0].dtype.char), -(-outer // each), np.array([outer, n, each]), index, *floats, work=outer * n)
    else:
        width = min(WIDE, max(64, SIZE // n // 16 * 16))
        cuts = -(-inner // width)
        run(compiled(strips, floats[0].dtype.char), outer * cuts, np.array([*sizes, width, cuts]), index, *floats)
