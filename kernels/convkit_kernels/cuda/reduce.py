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

from . import driver
from . import mathfunctions as m
from .launch import Kernel, cuda
from .memory import Array, empty

LANES, LINES = (2, 2) if driver.is_simulated() else (32, 8)  # threads of a block
THREADS = LANES * LINES
PART = 8 if driver.is_simulated() else 4096  # elements of r that one block takes at least, where there are many


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

    def rows(x, x0, y, A, R, B, sa, sr, sb, length):
        shared = cuda.shared.array(THREADS, kind)
        t, o, part = cuda.threadIdx.x, cuda.blockIdx.x, cuda.blockIdx.y
        start = x0 + o // B * sa + o % B * sb
        value = first
        for r in range(part * length + t, min(R, (part + 1) * length), THREADS):
            value = combine(value, term(number(x[start + r * sr])))
        shared[t] = value
        cuda.syncthreads()
        half = THREADS // 2
        while half > 0:
            if t < half:
                shared[t] = combine(shared[t], shared[t + half])
            cuda.syncthreads()
            half //= 2
        if t == 0:
            y[part * A * B + o] = shared[0]

    def columns(x, x0, y, A, R, B, sa, sr, sb, length):
        shared = cuda.shared.array((LINES, LANES), kind)
        t, u, part = cuda.threadIdx.x, cuda.threadIdx.y, cuda.blockIdx.y
        o = cuda.blockIdx.x * LANES + t
        value = first
        if o < A * B:
            start = x0 + o // B * sa + o % B * sb
            for r in range(part * length + u, min(R, (part + 1) * length), LINES):
                value = combine(value, term(number(x[start + r * sr])))
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


def _three(x: Array, axes: tuple[int, ...]) -> tuple[Array, tuple[int, ...]]:
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
    return moved, (moved.size // max(R, 1), R, 1, R, 1, 1)


def _line(x: Array, dims: list[int]) -> tuple[int, int] | None:
    """(size, stride) of dimensions that can be walked as one; None if they cannot."""
    steps = x.steps
    for outer, inner in zip(dims, dims[1:], strict=False):
        if steps[outer] != steps[inner] * x.shape[inner]:
            return None
    return math.prod(x.shape[d] for d in dims), steps[dims[-1]] if dims else 1


def _reduce(
    x: Array, axes: tuple[int, ...], keepdims: bool, term: Callable, combine: Callable, first: float, total: np.dtype, result: np.dtype
) -> Array:
    shape = tuple(1 if d in axes else n for d, n in enumerate(x.shape) if keepdims or d not in axes)
    # Axes whose memory lies in another order than their numbers can be walked all the same: sums do not mind the order of r.
    axes = tuple(sorted(axes, key=lambda d: -x.strides[d]))
    x, (A, R, B, sa, sr, sb) = _three(x, axes)
    if not A * B:
        return empty(shape, result)
    while True:
        across = B > 1 and sb == 1
        blocks = -(-A * B // LANES) if across else A * B
        parts = max(1, min(-(-R // PART), 1024 // blocks, 65535))
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
