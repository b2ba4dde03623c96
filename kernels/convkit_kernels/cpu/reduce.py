"""Reductions: sum, largest and smallest element, and where they are.

A sum runs over memory.  Where the axes that go and the axes that stay lie together, the memory is [outer, middle, inner]
with `middle` to be summed:

    bias gradient        [N, *S, C] over all but C      outer = 1
    global pooling       [N, *S, C] over *S             outer = N, inner = C
    everything                                          outer = inner = 1
    the last axis                                       inner = 1

and the kernel adds rows of `inner` numbers.  Short rows are joined to wide ones first, so that the loop over a row
always fills vector registers; the joined parts are added up last.  Sums are kept in float64, by blocks of four rows.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numba import prange

from ..layout import normal, order_of
from .elementwise import dense, line
from .runtime import kernel

# Elements that one task sums, but 64 rows at least, so that the partial sums take at most 1/16 of the memory of x.
# Fixed, so that the result does not depend on the number of threads.
TASK = 65536
# Up to this many elements, launching a kernel and adding up its parts takes longer than NumPy's sum in float64.
SMALL = 8192
# Rows narrower than this are joined.
WIDTH = 64


@kernel
def _sum_rows(x, partial, outer, length, inner, tasks, step):
    # partial[o, task, w] = sum of the elements of outer block o, part `task` (`step` elements), at w modulo the row width.
    # Four rows at a time: one conversion and one store serve four elements, and short sums lose no digits.
    width = partial.shape[2]
    for index in prange(outer * tasks):
        o, task = index // tasks, index % tasks
        part = x[o * length + task * step : o * length + min(length, (task + 1) * step)]
        total = partial[o, task]
        total[:] = 0
        rows = part.size // width
        for r in range(0, rows - 3, 4):
            a, b = part[r * width : (r + 1) * width], part[(r + 1) * width : (r + 2) * width]
            c, d = part[(r + 2) * width : (r + 3) * width], part[(r + 3) * width : (r + 4) * width]
            for w in range(width):
                total[w] += (a[w] + b[w]) + (c[w] + d[w])
        for start in range(rows // 4 * 4 * width, part.size, width):
            a = part[start : start + width]  # the last one may be shorter
            for w in range(a.size):
                total[w] += a[w]


@kernel
def _sum_few(x, y):
    # Few numbers to a sum: x [outer, middle, inner] -> y [outer, inner], in fixed parts of 256 outer and 4096 inner places.
    outer, middle, inner = x.shape
    cuts = (inner + 4095) // 4096
    for part in prange((outer + 255) // 256 * cuts):
        first = part // cuts * 256
        low, high = part % cuts * 4096, min(inner, (part % cuts + 1) * 4096)
        for o in range(first, min(outer, first + 256)):
            if inner == 1:
                total = 0.0
                for k in range(middle):
                    total += x[o, k, 0]
                y[o, 0] = total
            else:
                out = y[o, low:high]
                out[:] = 0
                for k in range(middle):
                    row = x[o, k, low:high]
                    for i in range(out.size):
                        out[i] += row[i]


def joined_rows(inner: int) -> tuple[int, int]:
    """How many numbers to join to a row where columns repeat every `inner` numbers, and how many a task takes: whole rows."""
    width = inner * max(1, WIDTH // inner)
    return width, width * max(64, TASK // width)


def _blocks(x: np.ndarray, axes: tuple[int, ...]) -> tuple[int, int, int, tuple[int, ...]] | None:
    """(outer, middle, inner, kept axes in memory order) of a dense x, or None if the axes to be summed lie apart in memory."""
    order = order_of(x)
    if order is None:
        return None
    gone = [i for i, axis in enumerate(order) if axis in axes]
    if gone and gone != list(range(gone[0], gone[-1] + 1)):
        return None
    first, last = (gone[0], gone[-1] + 1) if gone else (len(order), len(order))
    sizes = [x.shape[axis] for axis in order]
    kept = order[:first] + order[last:]
    return math.prod(sizes[:first]), math.prod(sizes[first:last]), math.prod(sizes[last:]), kept


def sum(x: np.ndarray, axes: tuple[int, ...], keepdims: bool) -> np.ndarray:
    """The sum over `axes` (all of them distinct and not negative), which stay with size 1 if `keepdims`; integers give int64."""
    if x.dtype.kind != "f":
        return np.asarray(np.sum(x, axis=axes, keepdims=keepdims, dtype=np.int64))
    x = normal(x)
    if x.size <= SMALL:
        with np.errstate(all="ignore"):
            return np.asarray(np.sum(x, axis=axes, keepdims=keepdims, dtype=np.float64), dtype=x.dtype)
    blocks = _blocks(x, axes) if x.size else None
    if blocks is None:
        if x.size and order_of(x) is None:
            return sum(dense(x), axes, keepdims)
        return np.asarray(np.sum(x, axis=axes, keepdims=keepdims, dtype=np.float64), dtype=x.dtype)
    outer, middle, inner, kept = blocks
    y = np.empty((outer, inner), x.dtype)
    length = middle * inner
    if middle < 16 or length < 4 * WIDTH:
        _sum_few(line(x).reshape(outer, middle, inner), y)
    else:
        # Parts hold whole rows of the joined width, so that an element's place modulo the width tells its column.
        width, step = joined_rows(inner)
        tasks = (length + step - 1) // step
        partial = np.empty((outer, tasks, width))
        _sum_rows(line(x), partial, outer, length, inner, tasks, step)
        y[...] = partial.sum(axis=1).reshape(outer, -1, inner).sum(axis=1)
    # Back to the axes' own order; those that are gone, and those of size 1, have size 1.
    rest = tuple(axis for axis in range(x.ndim) if axis not in kept)
    place = np.argsort(rest + kept)
    full = y.reshape((1,) * len(rest) + tuple(x.shape[axis] for axis in kept)).transpose(place)
    return full if keepdims else np.squeeze(full, axis=axes)


def amax(x: np.ndarray, axes: tuple[int, ...], keepdims: bool) -> np.ndarray:
    """The largest element over `axes`; NaN if there is a NaN."""
    return np.asarray(np.max(x, axis=axes, keepdims=keepdims))


def amin(x: np.ndarray, axes: tuple[int, ...], keepdims: bool) -> np.ndarray:
    """The smallest element over `axes`; NaN if there is a NaN."""
    return np.asarray(np.min(x, axis=axes, keepdims=keepdims))


def argmax(x: np.ndarray, axis: int | None) -> np.ndarray:
    """Where the largest element along `axis` is (int64), the first of equals, the first NaN if there is one; None: in x flattened."""
    return np.asarray(np.argmax(x, axis=axis), dtype=np.int64)


def argmin(x: np.ndarray, axis: int | None) -> np.ndarray:
    """Where the smallest element along `axis` is (int64), the first of equals, the first NaN if there is one; None: in x flattened."""
    return np.asarray(np.argmin(x, axis=axis), dtype=np.int64)


_SCANS: dict[str, Callable] = {"sum": np.cumsum, "prod": np.cumprod, "max": np.maximum.accumulate, "min": np.minimum.accumulate}


def scan(name: str, x: np.ndarray, axis: int) -> np.ndarray:
    """The sum, prod, max or min of the elements up to each one along `axis`; NaN from the first NaN on."""
    with np.errstate(all="ignore"):
        return np.asarray(_SCANS[name](x, axis=axis))
