"""Sums, products, maxima and running sums over axes, with the names of `cpu/reduce.py`.

An array is seen as x[a, r, b], where r runs over what is reduced and (a, b) over the results; a memory order that does not fit is copied first.
Where b = 1, neighbouring threads take neighbouring r of one result (`rows`); else they take neighbouring b (`columns`): either way a warp reads
neighbours.  A long r is cut into parts, whose results are reduced again.  Every sum has an order that depends on the shapes alone: the same bits
each time.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numba
import numpy as np

from ..layout import order_of
from . import driver
from . import mathfunctions as m
from .blocks import tree
from .copy import contiguous
from .launch import Kernel, cuda, kernel
from .memory import Array, asarray, empty

LANES, LINES = (2, 2) if driver.is_simulated() else (32, 8)  # threads of a block
THREADS = LANES * LINES
MANY = 8 if driver.is_simulated() else 1 << 14  # results that fill the device, a thread each
PART = 8 if driver.is_simulated() else 4096  # elements of r that one block takes at least, where there are many
# Elements of r that a thread adds up at least, where there are many, and at most; those that it adds up first: the more numbers one is added to, the
# more digits the sum loses; elements of a whole array that are too few for a thread each of their columns.
LEAST, MOST, TOGETHER, SMALL = (2, 16, 4, 32) if driver.is_simulated() else (16, 1024, 32, 1 << 18)


# ------------------------------------------------------------------------------------- what is done
def _all(x):
    return x


def _square(x):
    return x * x


def _not_nan(x):
    return x if x == x else type(x)(0)


def _add(a, b):
    return a + b


def _multiply(a, b):
    return a * b


@functools.cache
def _reduction(term: Callable, combine: Callable, first: float, dtype: np.dtype, total: np.dtype) -> tuple[Kernel, Kernel]:
    """(rows, columns): y[part, a, b] = combine over r of term(x[a, r, b]), beginning with `first`."""
    kind = numba.from_dtype(total)
    number = total.type  # a bare Python number is float64 to a kernel
    first = number(first)
    term, combine = m.device(term), m.device(combine)

    def join(shared, t, k):
        shared[t] = combine(shared[t], shared[k])

    of_block = tree(join)

    @m.device
    def so_far(x, start, sr, begin, end, step):
        value = first
        for group in range(begin, end, TOGETHER * step):
            some = first
            for r in range(group, min(end, group + TOGETHER * step), step):
                some = combine(some, term(number(x[start + r * sr])))
            value = combine(value, some)
        return value

    def rows(x, x0, y, A, R, B, sa, sr, sb, length):
        shared = cuda.shared.array(THREADS, kind)
        t, o, part = cuda.threadIdx.x, cuda.blockIdx.x, cuda.blockIdx.y
        start = x0 + o // B * sa + o % B * sb
        shared[t] = so_far(x, start, sr, part * length + t, min(R, (part + 1) * length), THREADS)
        of_block(shared, t, t, THREADS, 1)
        if t == 0:
            y[part * A * B + o] = shared[0]

    def columns(x, x0, y, A, R, B, sa, sr, sb, length):
        shared = cuda.shared.array((LINES, LANES), kind)
        t, u, part = cuda.threadIdx.x, cuda.threadIdx.y, cuda.blockIdx.y
        o = cuda.blockIdx.x * LANES + t
        value = first
        if o < A * B:
            start = x0 + o // B * sa + o % B * sb
            value = so_far(x, start, sr, part * length + u, min(R, (part + 1) * length), LINES)
        shared[u, t] = value
        cuda.syncthreads()
        if u == 0 and o < A * B:
            for line in range(1, LINES):
                value = combine(value, shared[line, t])
            y[part * A * B + o] = value

    i = numba.int64
    types = [numba.from_dtype(dtype)[::1], i, kind[::1], i, i, i, i, i, i, i]
    return Kernel(rows, types), Kernel(columns, types)


# ---------------------------------------------------------------------------------------- the walk
@functools.lru_cache(maxsize=1024)
def _order(shape: tuple[int, ...], axes: tuple[int, ...]) -> tuple[int, ...]:
    return (*(i for i in range(len(shape)) if i not in axes), *axes)


def three(x: Array, axes: tuple[int, ...]) -> tuple[Array, tuple[int, ...]]:
    """(x or a copy, (A, R, B, their strides)): x as an array of three dimensions, the results in C order of what is kept."""
    kept = [d for d in range(x.ndim) if d not in axes and x.shape[d] != 1]
    gone = [d for d in axes if x.shape[d] != 1]
    for split in range(len(kept) + 1):
        parts = [_line(x, part) for part in (kept[:split], gone, kept[split:])]
        if all(part is not None for part in parts):
            return x, (*(p[0] for p in parts), *(p[1] for p in parts))  # type: ignore[index]
    order = _order(x.shape, axes)
    moved = x.transpose(order).copy()
    R = math.prod(x.shape[d] for d in axes)
    return moved, (math.prod(x.shape[d] for d in kept), R, 1, R, 1, 1)


def _line(x: Array, dims: list[int]) -> tuple[int, int] | None:
    """(size, stride) of dimensions that can be walked as one; None if they cannot."""
    steps = x.steps
    for outer, inner in zip(dims, dims[1:], strict=False):
        if steps[outer] != steps[inner] * x.shape[inner]:
            return None
    return math.prod(x.shape[d] for d in dims), steps[dims[-1]] if dims else 1


@functools.lru_cache(maxsize=1024)
def _in_memory(strides: tuple[int, ...], axes: tuple[int, ...]) -> tuple[tuple[int, ...] | None, tuple[int, ...]]:
    """(dimensions from outermost to innermost in memory, None if they are in order, the axes among them)."""
    order = tuple(sorted(range(len(strides)), key=lambda d: -strides[d]))
    return (None, axes) if order == tuple(range(len(strides))) else (order, tuple(sorted(order.index(d) for d in axes)))


def _reduce(
    x: Array, axes: tuple[int, ...], keepdims: bool, term: Callable, combine: Callable, first: float, total: np.dtype, result: np.dtype
) -> Array:
    order, axes = _in_memory(x.steps, axes)
    if order is not None:  # the result lies as x does
        y = _reduce(x.transpose(order), axes, True, term, combine, first, total, result).transpose(np.argsort(order))
        return y if keepdims else y.reshape([n for d, n in enumerate(y.shape) if order.index(d) not in axes])
    shape = tuple(1 if d in axes else n for d, n in enumerate(x.shape) if keepdims or d not in axes)
    gone = [d for d in axes if x.shape[d] != 1]
    for at in range(len(gone) - 1, 0, -1):
        if _line(x, gone[at - 1 :]) is None and x.size:  # what lies apart goes one after the other
            x, term = _reduce(x, tuple(gone[at:]), True, term, combine, first, total, total), _all
            return _reduce(x, axes, keepdims, term, combine, first, total, result)
    x, (A, R, B, sa, sr, sb) = three(x, axes)
    if not A * B:
        return empty(shape, result)
    while True:
        across = B > 1 and sb == 1 and (R <= LANES or A * R * B > SMALL)
        blocks, along = (-(-A * B // LANES), LINES) if across else (A * B, THREADS)
        parts = max(1, min(-(-R // (LEAST * along)), 1024 // blocks), min(-(-R // (MOST * along)), 65535))
        length = -(-R // parts) if R else 1
        parts = max(1, -(-R // length))
        y = empty((parts, A * B), total)
        rows, columns = _reduction(term, combine, first, x.dtype, total)
        (columns if across else rows).blocks(
            (blocks, parts), (LANES, LINES) if across else THREADS, x.flat, x.offset, y.flat, A, R, B, sa, sr, sb, length
        )
        if parts == 1:
            return (y if total == result else y.astype(result)).reshape(shape)
        x, term = y, _all
        A, R, B, sa, sr, sb = 1, parts, A * B, 0, A * B, 1


def sum(x: Array, axes: tuple[int, ...], keepdims: bool, terms: str = "all") -> Array:
    """The sum over `axes` (all of them distinct and not negative), which stay with size 1 if `keepdims`; integers give int64.

    `terms` of floats are "all", their "squares", which are never written, or those that are "not nan".
    """
    total = x.dtype if x.dtype.kind == "f" else np.dtype(np.int64)
    return _reduce(x, axes, keepdims, {"all": _all, "squares": _square, "not nan": _not_nan}[terms], _add, 0, total, total)


def prod(x: Array, axes: tuple[int, ...], keepdims: bool) -> Array:
    """The product over `axes`, arguments as in `sum`; of floats in float64, so that it may leave their range on the way."""
    total = np.dtype(np.float64 if x.dtype.kind == "f" else np.int64)
    return _reduce(x, axes, keepdims, _all, _multiply, 1, total, x.dtype if x.dtype.kind == "f" else total)


def _limits(dtype: np.dtype) -> tuple[Any, Any]:
    if dtype.kind == "f":
        return -math.inf, math.inf
    if dtype.kind == "b":
        return False, True
    info = np.iinfo(dtype)
    return info.min, info.max


def amax(x: Array, axes: tuple[int, ...], keepdims: bool) -> Array:
    """The largest element over `axes`; NaN if there is a NaN."""
    return _reduce(x, axes, keepdims, _all, m.maximum, _limits(x.dtype)[0], x.dtype, x.dtype)


def amin(x: Array, axes: tuple[int, ...], keepdims: bool) -> Array:
    """The smallest element over `axes`; NaN if there is a NaN."""
    return _reduce(x, axes, keepdims, _all, m.minimum, _limits(x.dtype)[1], x.dtype, x.dtype)


# ------------------------------------------------------------------------------------------- where
def _larger(a, b):
    # NaN is more than all; the first of equals stays.
    return (a > b) | ((a != a) & (b == b))


def _smaller(a, b):
    return (a < b) | ((a != a) & (b == b))


@functools.cache
def _choice(better: Callable, dtype: np.dtype) -> tuple[Kernel, Kernel]:
    """(each part's best place, the best of these): y[part, o] = the first r of a part with the best x[o, r]."""
    better = m.device(better)

    def join(shared, t, k):
        best, where = shared
        if better(best[k], best[t]) or (where[k] < where[t] and not better(best[t], best[k])):
            best[t], where[t] = best[k], where[k]

    of_block = tree(join)

    def parts(x, x0, y, A, R, B, sa, sr, sb, length):
        # A block for each result and part: neighbouring threads take neighbouring r.
        best = cuda.shared.array(THREADS, x.dtype)
        where = cuda.shared.array(THREADS, numba.int64)
        t, o, part = cuda.threadIdx.x, cuda.blockIdx.x, cuda.blockIdx.y
        start = x0 + o // B * sa + o % B * sb
        first, last = part * length, min(R, (part + 1) * length)
        place = first + min(t, last - first - 1)
        value = x[start + place * sr]
        for r in range(place + THREADS, last, THREADS):
            other = x[start + r * sr]
            if better(other, value):
                value, place = other, r
        best[t], where[t] = value, place
        of_block((best, where), t, t, THREADS, 1)
        if t == 0:
            y[part * A * B + o] = where[0]

    def columns(n, x, x0, places, count, y, A, R, B, sa, sr, sb):
        # A thread for each result: the best of all r, or of the `count` places that parts gave.
        for o in range(cuda.grid(1), n, cuda.gridsize(1)):
            start = x0 + o // B * sa + o % B * sb
            place = places[o] if count else 0
            value = x[start + place * sr]
            for k in range(1, count if count else R):
                r = places[k * n + o] if count else k
                other = x[start + r * sr]
                if better(other, value):
                    value, place = other, r
            y[o] = place

    i, kind, ints = numba.int64, numba.from_dtype(dtype)[::1], numba.int64[::1]
    return Kernel(parts, [kind, i, ints, i, i, i, i, i, i, i]), Kernel(columns, [i, kind, i, ints, i, ints, i, i, i, i, i, i])


def _place(better: Callable, x: Array, axis: int | None) -> Array:
    x, axis = (x.reshape(-1), 0) if axis is None else (x, axis)
    shape = x.shape[:axis] + x.shape[axis + 1 :]
    if not x.shape[axis]:
        raise ValueError("the largest or smallest of nothing is undefined")
    y = empty(shape, np.int64)
    if not y.size:
        return y
    x, (A, R, B, sa, sr, sb) = three(x, (axis,))
    parts, columns = _choice(better, x.dtype)
    n = A * B
    if R <= LANES or (sb == 1 and n >= MANY):
        columns(n, n, x.flat, x.offset, y.flat, 0, y.flat, A, R, B, sa, sr, sb)
        return y
    count = max(1, min(-(-R // PART), 1024 // n, 65535))
    length = -(-R // count)
    count = -(-R // length)
    places = y if count == 1 else empty((count, n), np.int64)
    parts.blocks((n, count), THREADS, x.flat, x.offset, places.flat, A, R, B, sa, sr, sb, length)
    if count > 1:
        columns(n, n, x.flat, x.offset, places.flat, count, y.flat, A, R, B, sa, sr, sb)
    return y


def argmax(x: Array, axis: int | None) -> Array:
    """Where the largest element along `axis` is (int64), the first of equals, the first NaN if there is one; None: in x flattened."""
    return _place(_larger, x, axis)


def argmin(x: Array, axis: int | None) -> Array:
    """Where the smallest element along `axis` is (int64), the first of equals, the first NaN if there is one; None: in x flattened."""
    return _place(_smaller, x, axis)


# ----------------------------------------------------------------------------------- what is not 0
@kernel("i?iIiI")
def _numbered(n, mask, m0, before, i0, y):
    # y[before[i] - 1] = i where mask[i] holds; before counts those up to and with i.
    for i in range(cuda.grid(1), n, cuda.gridsize(1)):
        if mask[m0 + i]:
            y[before[i0 + i] - 1] = i


@kernel("iIIiI")
def _unraveled(n, places, shape, dims, y):
    # y[i, :] = the coordinates of places[i] in an array of this shape.
    for i in range(cuda.grid(1), n, cuda.gridsize(1)):
        rest = places[i]
        for d in range(dims - 1, -1, -1):
            whole = rest // shape[d]
            y[i * dims + d] = rest - whole * shape[d]
            rest = whole


_ANY = np.dtype(np.float32)  # of kernels whose arguments have types of their own


def flatnonzero(a: Array) -> Array:
    """The places, in C order, of what is not 0."""
    mask = (a if a.dtype == np.bool_ else a != 0).reshape(-1)  # type: ignore[union-attr]
    if not mask.size:
        return empty((0,), np.int64)
    mask = mask if mask.flags.c_contiguous else mask.copy()
    before = running("sum", mask, 0, np.dtype(np.int64))
    y = empty((before[-1].item(),), np.int64)
    if y.size:
        _numbered[_ANY](mask.size, mask.size, mask.flat, mask.offset, before.flat, before.offset, y.flat)
    return y


def nonzero(x: Array) -> Array:
    """Where x, of one dimension at least, is not 0: [count, dimensions] (int64), in C order."""
    places = flatnonzero(x)
    y = empty((places.size, x.ndim), np.int64)
    if y.size:
        shape = _shape(x.shape)
        _unraveled[_ANY](places.size, places.size, places.flat, shape.flat, x.ndim, y.flat)
    return y


@functools.lru_cache(maxsize=1024)
def _shape(shape: tuple[int, ...]) -> Array:
    return asarray(np.array(shape, np.int64))


# ---------------------------------------------------------------------------------------- so far
# What a line's element r is to a scan, and what two neighbouring results give; the line begins at `start`, its next element is `s` further.
def _number(x, start, s, r, total):
    return type(total)(x[start + r * s])


def _plus(x, start, s, a, b):
    return a + b


def _times(x, start, s, a, b):
    return a * b


def _log_plus(x, start, s, a, b):
    # log(exp(a) + exp(b)); two equal infinities have no difference
    low, top = (a, b) if a < b else (b, a)
    return top + (math.log(2.0) if low == top else m.log1p(m.exp(low - top)))


def _own_place(x, start, s, r, total):
    return r


def _not_less(x, start, s, a, b):
    # Of places a < b that with the larger number, the last of equals and the last NaN.
    p, q = x[start + a * s], x[start + b * s]
    return b if (q >= p) | (q != q) else a


def _not_greater(x, start, s, a, b):
    p, q = x[start + a * s], x[start + b * s]
    return b if (q <= p) | (q != q) else a


_SCANS = {
    "sum": (_number, _plus), "prod": (_number, _times), "logsumexp": (_number, _log_plus),
    "argmax": (_own_place, _not_less), "argmin": (_own_place, _not_greater),
}  # fmt: skip


@functools.cache
def _scan(name: str, dtype: np.dtype, total: np.dtype) -> tuple[Kernel, Kernel, Kernel, Kernel]:
    """(lines, columns, ends, later): y[a, k, b] = join(y[a, k - 1, b], x[a, k, b]) over k < R, in parts of `length`, which are joined then.

    Both arrays are [A, R, B]; the first element of line o is `begin` behind its place, and the next `s` further.
    """
    first, join = map(m.device, _SCANS[name])
    kind, number = numba.from_dtype(total), total.type

    def lines(x, x0, y, R, B, begin, s, length):
        # A block for each line and part: neighbouring threads take neighbouring elements, THREADS at a time.
        so_far = cuda.shared.array((2, THREADS), kind)
        t, o, part = cuda.threadIdx.x, cuda.blockIdx.x, cuda.blockIdx.y
        to = begin + o // B * R * B + o % B
        start, last = x0 + to, min(R, (part + 1) * length)
        carry = number(0)
        for r in range(part * length, last, THREADS):
            here, step = 0, 1
            if r + t < last:
                so_far[0, t] = first(x, start, s, r + t, carry)
            while step < THREADS:
                cuda.syncthreads()
                if r + t < last:
                    value = so_far[here, t]
                    so_far[1 - here, t] = join(x, start, s, so_far[here, t - step], value) if t >= step else value
                here = 1 - here
                step *= 2
            cuda.syncthreads()
            if r + t < last:
                value = so_far[here, t]
                y[to + (r + t) * s] = join(x, start, s, carry, value) if r > part * length else value
            if r + THREADS < last:
                value = so_far[here, THREADS - 1]
                carry = join(x, start, s, carry, value) if r > part * length else value
            cuda.syncthreads()

    def columns(n, x, x0, y, R, B, begin, s, length, count):
        # A thread for each line and part; n = lines * parts.
        for at in range(cuda.grid(1), n, cuda.gridsize(1)):
            part = at // count
            o = at - part * count
            to = begin + o // B * R * B + o % B
            start = x0 + to
            value = number(0)
            for r in range(part * length, min(R, (part + 1) * length)):
                more = first(x, start, s, r, value)
                value = join(x, start, s, value, more) if r > part * length else more
                y[to + r * s] = value

    def ends(n, x, x0, y, before, R, B, begin, s, length):
        # before[part, o] = what all parts up to this one give.
        for o in range(cuda.grid(1), n, cuda.gridsize(1)):
            to = begin + o // B * R * B + o % B
            value = y[to + (length - 1) * s]
            before[o] = value
            for part in range(1, R // length):
                value = join(x, x0 + to, s, value, y[to + ((part + 1) * length - 1) * s])
                before[part * n + o] = value

    def later(n, x, x0, y, before, R, B, begin, s, length, count):
        # What is before a part is joined to its elements.
        for at in range(cuda.grid(1), n, cuda.gridsize(1)):
            rest = at // B
            b = at - rest * B
            a = rest // R
            r = rest - a * R
            part = r // length
            if part > 0:
                to = begin + a * R * B + b
                y[to + r * s] = join(x, x0 + to, s, before[(part - 1) * count + a * B + b], y[to + r * s])

    i, array, result = numba.int64, numba.from_dtype(dtype)[::1], kind[::1]
    for run in (lines, columns, ends, later):
        run.__name__ = run.__qualname__ = f"scan_{name}_{run.__name__}"
    return (
        Kernel(lines, [array, i, result, i, i, i, i, i]),
        Kernel(columns, [i, array, i, result, i, i, i, i, i, i]),
        Kernel(ends, [i, array, i, result, result, i, i, i, i, i]),
        Kernel(later, [i, array, i, result, result, i, i, i, i, i, i]),
    )


def scan(name: str, x: Array, axis: int, backwards: bool = False) -> Array:
    """The sum, prod or logsumexp of the elements up to each one along `axis`, or from each one on if `backwards`; integers keep their dtype.

    In argmax and argmin, which run forwards: where the largest or smallest so far is (int64), the last of equals and the last NaN.
    """
    result = np.dtype(np.int64) if name.startswith("arg") else x.dtype
    total = np.dtype(np.float64) if name in ("prod", "logsumexp") and x.dtype.kind == "f" else result  # a product may leave the range on its way
    y = running(name, x, axis, total, backwards)
    return y if total == result else y.astype(result)


def running(name: str, x: Array, axis: int, total: np.dtype, backwards: bool = False) -> Array:
    """`scan` in the dtype `total`."""
    if order_of(x) is None:  # type: ignore[arg-type]
        x = contiguous(x)
    order: Any = np.argsort([-s for s in x.strides], kind="stable") if x.ndim else []
    x = x.transpose(order)
    if not x.flags.c_contiguous:  # sizes of 1 have any stride
        x = x.copy()
    y = empty(x.shape, total)
    if y.size:
        at = list(order).index(axis)
        R, B = x.shape[at], math.prod(x.shape[at + 1 :])
        count = x.size // R
        begin, s = ((R - 1) * B, -B) if backwards else (0, B)
        parts = max(1, min(-(-R // PART), 128, MANY // count))
        length = -(-R // parts)
        parts = -(-R // length)
        lines, columns, ends, later = _scan(name, x.dtype, total)
        if B >= LANES or R <= LANES:
            columns(count * parts, count * parts, x.flat, x.offset, y.flat, R, B, begin, s, length, count)
        else:
            lines.blocks((count, parts), THREADS, x.flat, x.offset, y.flat, R, B, begin, s, length)
        if parts > 1:
            before = empty((parts, count), total)
            ends(count, count, x.flat, x.offset, y.flat, before.flat, R, B, begin, s, length)
            later(y.size, y.size, x.flat, x.offset, y.flat, before.flat, R, B, begin, s, length, count)
    return y.transpose(np.argsort(order))
