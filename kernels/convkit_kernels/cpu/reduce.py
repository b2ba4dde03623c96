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

import numba
import numpy as np
from numba.extending import register_jitable

from ..layout import normal, order_of
from . import tasks
from .elementwise import dense, line
from .runtime import STRICT

# Elements that one task sums, but 64 rows at least, so that the partial sums take at most 1/16 of the memory of x.
# Fixed, so that the result does not depend on the number of threads.
TASK = 65536
# Up to this many elements, launching a kernel and adding up its parts takes longer than NumPy's sum in float64.
SMALL = 8192
# Rows narrower than this are joined.
WIDTH = 64


class _Sums:
    """The sums of term(x): for each walk a task, with the plan (outer, middle, inner, length, step, units, together, width)."""

    def __init__(self, term: Callable):
        def lines(task, plan, index, x, partial, c, d, e, f, g):
            # inner = 1: partial[unit] = the sum of part unit % parts of block unit // parts.
            length, step = plan[3], plan[4]
            parts = (length + step - 1) // step
            for unit in range(task * plan[6], min(plan[5], (task + 1) * plan[6])):
                block, place = (unit, 0) if parts == 1 else (unit // parts, unit % parts)  # a division takes as long as thirty sums
                start = block * length
                high = start + min(length, (place + 1) * step)
                part = numba.carray(x, high)[start + place * step : high]
                total = 0.0
                for i in range(part.size):
                    total += term(part[i])
                partial[unit] = total

        def rows(task, plan, index, x, partial, c, d, e, f, g):
            # partial[unit, w] = the sum of the elements of that part at w modulo the row width.
            # Four rows at a time: one conversion and one store serve four elements, and short sums lose no digits.
            length, step, width = plan[3], plan[4], plan[7]
            parts = (length + step - 1) // step
            start = task // parts * length
            high = start + min(length, (task % parts + 1) * step)
            part = numba.carray(x, high)[start + task % parts * step : high]
            total = numba.carray(partial, (task + 1) * width)[task * width :]
            for w in range(width):
                total[w] = 0
            whole = part.size // width
            for r in range(0, whole - 3, 4):
                p, q = part[r * width : (r + 1) * width], part[(r + 1) * width : (r + 2) * width]
                s, t = part[(r + 2) * width : (r + 3) * width], part[(r + 3) * width : (r + 4) * width]
                for w in range(width):
                    total[w] += (term(p[w]) + term(q[w])) + (term(s[w]) + term(t[w]))
            for first in range(whole // 4 * 4 * width, part.size, width):
                p = part[first : first + width]  # the last one may be shorter
                for w in range(p.size):
                    total[w] += term(p[w])

        def few(task, plan, index, x, y, c, d, e, f, g):
            # Few numbers to a sum: x [outer, middle, inner] -> y [outer, inner], in fixed parts of 256 outer and 4096 inner places.
            outer, middle, inner = plan[0], plan[1], plan[2]
            places, out = numba.carray(x, (outer, middle, inner)), numba.carray(y, (outer, inner))
            cuts = (inner + 4095) // 4096
            low, high = task % cuts * 4096, min(inner, (task % cuts + 1) * 4096)
            for o in range(task // cuts * 256, min(outer, (task // cuts + 1) * 256)):
                sums = out[o, low:high]
                for i in range(sums.size):
                    sums[i] = 0
                for k in range(middle):
                    row = places[o, k, low:high]
                    for i in range(sums.size):
                        sums[i] += term(row[i])

        for run, kind in ((lines, "lines"), (rows, "rows"), (few, "few")):
            run.__name__ = run.__qualname__ = f"_sums_of{term.__name__}_{kind}"
            run.__module__ = __name__
        self.lines, self.rows, self.few = lines, rows, few

    def run(self, x: np.ndarray, outer: int, middle: int, inner: int) -> np.ndarray:
        """The sums [outer, inner] over the middle of x, flat."""
        char, length = x.dtype.char, middle * inner
        y = np.empty((outer, inner), x.dtype)
        plan = np.array([outer, middle, inner, length, TASK, outer * -(-length // TASK), max(1, TASK // length), 0])
        if inner == 1:
            partial = np.empty(plan[5])
            tasks.run(tasks.compiled(self.lines, char, (1,)), -(-plan[5] // plan[6]), plan, plan, x, partial.view(x.dtype))
            y[:, 0] = partial if len(partial) == outer else partial.reshape(outer, -1).sum(axis=1)
        elif middle < 16 or length < 4 * WIDTH:
            tasks.run(tasks.compiled(self.few, char), -(-outer // 256) * -(-inner // 4096), plan, plan, x, y.reshape(-1))
        else:
            # Parts hold whole rows of the joined width, so that an element's place modulo the width tells its column.
            plan[7], plan[4] = joined_rows(inner)
            parts = -(-length // plan[4])
            partial = np.empty((outer, parts, plan[7]))
            tasks.run(tasks.compiled(self.rows, char, (1,)), outer * parts, plan, plan, x, partial.reshape(-1).view(x.dtype))
            y[...] = partial.sum(axis=1).reshape(outer, -1, inner).sum(axis=1)
        return y


@register_jitable(**STRICT)
def _numbers(x):
    return x


@register_jitable(**STRICT)
def _squares(x):
    return x * x


_SUMS, _SQUARES = _Sums(_numbers), _Sums(_squares)


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


def sum(x: np.ndarray, axes: tuple[int, ...], keepdims: bool, squares: bool = False) -> np.ndarray:
    """The sum over `axes` (all of them distinct and not negative), which stay with size 1 if `keepdims`; integers give int64.

    With `squares`, of the squares of floats, which are never written.
    """
    if x.dtype.kind != "f":
        return np.asarray(np.sum(x, axis=axes, keepdims=keepdims, dtype=np.int64))
    x = normal(x)
    blocks = _blocks(x, axes) if x.size > SMALL else None
    if blocks is None:
        if x.size > SMALL and order_of(x) is None:
            return sum(dense(x), axes, keepdims, squares)
        with np.errstate(all="ignore"):
            return np.asarray(np.sum(x * x if squares else x, axis=axes, keepdims=keepdims, dtype=np.float64), dtype=x.dtype)
    outer, middle, inner, kept = blocks
    y = (_SQUARES if squares else _SUMS).run(line(x), outer, middle, inner)
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
