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

import functools
import math
from collections.abc import Callable

import numba
import numpy as np
from numba import types
from numba.extending import register_jitable

from ..layout import normal, order_of
from . import mathfunctions as m
from . import tasks
from .denormals import RESULTS
from .elementwise import dense
from .runtime import FASTMATH, STRICT

# Elements that one task sums, but 64 rows at least, so that the partial sums take at most 1/16 of the memory of x.
# Fixed, so that the result does not depend on the number of threads.
TASK = 65536
# Up to this many elements, launching a kernel and adding up its parts takes longer than NumPy's sum in float64.
SMALL = 8192
# From this many elements on, extremes are worth a kernel: NumPy's are faster than its sums.
LARGE = 262144
# Rows narrower than this are joined.
WIDTH = 64


class _Folds:
    """Sums, or products, of term(x): `join` of two, `empty` of none.

    For each walk a task, with the plan (outer, middle, inner, length, step, units, together, width).
    """

    def __init__(self, join: Callable, empty: float, term: Callable, parts: np.ufunc):
        def lines(task, plan, index, x, partial, c, d, e, f, g):
            # inner = 1: partial[unit] = the sum of part unit % parts of block unit // parts.
            tasks.wide()
            length, step = plan[3], plan[4]
            parts = (length + step - 1) // step
            for unit in range(task * plan[6], min(plan[5], (task + 1) * plan[6])):
                block, place = (unit, 0) if parts == 1 else (unit // parts, unit % parts)  # a division takes as long as thirty sums
                start = block * length
                first, high = start + place * step, start + min(length, (place + 1) * step)
                if parts == 1 and length < 4096:  # quarters of long lines come from different pages
                    tasks.ahead(numba.carray(x, high)[first:high])
                quarter = (high - first) // 4  # four at a time, as below
                total = empty
                for i in range(first, first + quarter):
                    two, others = join(term(x[i]), term(x[i + quarter])), join(term(x[i + 2 * quarter]), term(x[i + 3 * quarter]))
                    total = join(total, join(two, others))
                for i in range(first + 4 * quarter, high):
                    total = join(total, term(x[i]))
                partial[unit] = total

        def rows(task, plan, index, x, partial, c, d, e, f, g):
            # partial[unit, w] = the sum of the elements of that part at w modulo the row width.
            # Four rows at a time: one conversion and one store serve four elements, and short sums lose no digits.
            tasks.wide()
            length, step, width = plan[3], plan[4], plan[7]
            parts = (length + step - 1) // step
            start = task // parts * length
            high = start + min(length, (task % parts + 1) * step)
            part = numba.carray(x, high)[start + task % parts * step : high]
            total = numba.carray(partial, (task + 1) * width)[task * width :]
            for w in range(width):
                total[w] = empty
            whole = part.size // width
            for r in range(0, whole - 3, 4):
                p, q = part[r * width : (r + 1) * width], part[(r + 1) * width : (r + 2) * width]
                s, t = part[(r + 2) * width : (r + 3) * width], part[(r + 3) * width : (r + 4) * width]
                tasks.ahead(part[r * width : (r + 4) * width])
                for w in range(width):
                    total[w] = join(total[w], join(join(term(p[w]), term(q[w])), join(term(s[w]), term(t[w]))))
            for first in range(whole // 4 * 4 * width, part.size, width):
                p = part[first : first + width]  # the last one may be shorter
                for w in range(p.size):
                    total[w] = join(total[w], term(p[w]))

        def few(task, plan, index, x, y, c, d, e, f, g):
            # Few numbers to a sum: x [outer, middle, inner] -> y [outer, inner], in fixed parts of 256 outer and 4096 inner places.
            outer, middle, inner = plan[0], plan[1], plan[2]
            places, out = numba.carray(x, (outer, middle, inner)), numba.carray(y, (outer, inner))
            cuts = (inner + 4095) // 4096
            low, high = task % cuts * 4096, min(inner, (task % cuts + 1) * 4096)
            for o in range(task // cuts * 256, min(outer, (task // cuts + 1) * 256)):
                sums = out[o, low:high]
                for i in range(sums.size):
                    sums[i] = empty
                for k in range(middle):
                    row = places[o, k, low:high]
                    for i in range(sums.size):
                        sums[i] = join(sums[i], term(row[i]))

        for run, kind in ((lines, "lines"), (rows, "rows"), (few, "few")):
            run.__name__ = run.__qualname__ = f"{join.__name__}{term.__name__}_{kind}"
            run.__module__ = __name__
        self.lines, self.rows, self.few, self.join = lines, rows, few, parts

    def run(self, x: np.ndarray, outer: int, middle: int, inner: int) -> np.ndarray:
        """The sums, or products, [outer, inner] over the middle of x, dense."""
        char, length, plan = x.dtype.char, middle * inner, _plan(outer, middle, inner)
        y = np.empty((outer, inner), x.dtype)
        # Products of floats in float64 are 0 long before one is denormal, which takes 150 cycles.
        flush = RESULTS if self is _PRODUCTS and char == "f" else 0
        if inner == 1:
            partial = np.empty(plan[5])
            tasks.run(tasks.compiled(self.lines, char, (1,)), -(-plan[5] // plan[6]), plan, plan, x, partial, flush=flush, work=x.size / 4)
            y[:, 0] = partial if len(partial) == outer else self.join.reduce(partial.reshape(outer, -1), axis=1)
        elif middle < 16 or length < 4 * WIDTH:
            tasks.run(tasks.compiled(self.few, char), -(-outer // 256) * -(-inner // 4096), plan, plan, x, y, work=x.size / 4)
        else:
            # Parts hold whole rows of the joined width, so that an element's place modulo the width tells its column.
            parts = -(-length // plan[4])
            partial = np.empty((outer, parts, plan[7]))
            tasks.run(tasks.compiled(self.rows, char, (1,)), outer * parts, plan, plan, x, partial, flush=flush, work=x.size / 4)
            y[...] = self.join.reduce(self.join.reduce(partial, axis=1).reshape(outer, -1, inner), axis=1)
        return y


@functools.lru_cache(maxsize=1024)
def _plan(outer: int, middle: int, inner: int) -> np.ndarray:
    length, (width, step) = middle * inner, joined_rows(inner) if inner > 1 else (0, TASK)
    return np.array([outer, middle, inner, length, step, outer * -(-length // TASK), max(1, TASK // length), width])


_join = register_jitable(**{**STRICT, "fastmath": FASTMATH})  # in any order, so that loops vectorise


@_join
def _plus(a, b):
    return a + b


@_join
def _times(a, b):
    return a * b


@_join
def _larger(a, b):
    return m.maximum(np.float64(a), np.float64(b))


@_join
def _smaller(a, b):
    return m.minimum(np.float64(a), np.float64(b))


@register_jitable(**STRICT)
def _log_plus(a, b):
    # log(exp(a) + exp(b)) in float64; two equal infinities have no difference
    other = np.float64(b)
    low, top = m.minimum(a, other), m.maximum(a, other)
    return top + (math.log(2.0) if low == top else m.log1p(m.exp(low - top)))


@register_jitable(**STRICT)
def _numbers(x):
    return x


@register_jitable(**STRICT)
def _squares(x):
    return x * x


@register_jitable(**STRICT)
def _doubles(x):
    return np.float64(x)  # the product of four floats may leave their range, and come back


@register_jitable(**STRICT)
def _not_nan(x):
    return x if x == x else type(x)(0)


# What is summed: elements, their squares, or those that are not NaN; for a loop and for NumPy.
_SUMS, _SQUARES, _SOME = _Folds(_plus, 0.0, _numbers, np.add), _Folds(_plus, 0.0, _squares, np.add), _Folds(_plus, 0.0, _not_nan, np.add)
_TERMS: dict[str, tuple[_Folds, Callable]] = {
    "all": (_SUMS, lambda x: x),
    "squares": (_SQUARES, lambda x: x * x),
    "not nan": (_SOME, lambda x: np.where(np.isnan(x), x.dtype.type(0), x)),
}
_PRODUCTS = _Folds(_times, 1.0, _doubles, np.multiply)
_LARGEST, _SMALLEST = _Folds(_larger, -math.inf, _numbers, np.maximum), _Folds(_smaller, math.inf, _numbers, np.minimum)


def joined_rows(inner: int) -> tuple[int, int]:
    """How many numbers to join to a row where columns repeat every `inner` numbers, and how many a task takes: whole rows."""
    width = inner * max(1, WIDTH // inner)
    return width, width * max(64, TASK // width)


@functools.lru_cache(maxsize=1024)
def _blocks(shape: tuple[int, ...], order: tuple[int, ...], axes: tuple[int, ...]) -> tuple[tuple[int, int, int], list[int], list[int]] | None:
    """((outer, middle, inner), shape, place) of dense memory in this order, or None if the axes to be summed lie apart.

    The sums, in memory order, get `shape`, and by the transposition `place` the axes' own order; those that are gone have size 1.
    """
    gone = [i for i, axis in enumerate(order) if axis in axes]
    if gone and gone != list(range(gone[0], gone[-1] + 1)):
        return None
    first, last = (gone[0], gone[-1] + 1) if gone else (len(order), len(order))
    sizes, kept = [shape[axis] for axis in order], order[:first] + order[last:]
    rest = tuple(axis for axis in range(len(shape)) if axis not in kept)
    walk = math.prod(sizes[:first]), math.prod(sizes[first:last]), math.prod(sizes[last:])
    return walk, [1] * len(rest) + [shape[axis] for axis in kept], np.argsort(rest + kept).tolist()


def sum(x: np.ndarray, axes: tuple[int, ...], keepdims: bool, terms: str = "all") -> np.ndarray:
    """The sum over `axes` (all of them distinct and not negative), which stay with size 1 if `keepdims`; integers give int64.

    `terms` of floats are "all", their "squares", which are never written, or those that are "not nan".
    """
    return _fold(*_TERMS[terms], x, axes, keepdims)


def prod(x: np.ndarray, axes: tuple[int, ...], keepdims: bool) -> np.ndarray:
    """The product over `axes`, arguments as in `sum`; of floats in float64, so that it may leave their range on the way."""
    return _fold(_PRODUCTS, lambda x: x, x, axes, keepdims)


def _fold(fold: _Folds, terms: Callable, x: np.ndarray, axes: tuple[int, ...], keepdims: bool) -> np.ndarray:
    if x.dtype.kind != "f":
        return np.asarray(fold.join.reduce(x, axis=axes, keepdims=keepdims, dtype=np.int64))
    x = normal(x)
    order = order_of(x) if x.size > SMALL else None
    blocks = None if order is None else _blocks(x.shape, order, axes)
    if blocks is None:
        if x.size > SMALL and order is None:
            return _fold(fold, terms, dense(x), axes, keepdims)
        with np.errstate(all="ignore"):
            return np.asarray(fold.join.reduce(terms(x), axis=axes, keepdims=keepdims, dtype=np.float64), dtype=x.dtype)
    walk, shape, place = blocks
    with np.errstate(all="ignore"):
        y = fold.run(x, *walk)
    full = y.reshape(shape).transpose(place)
    return full if keepdims else np.squeeze(full, axis=axes)


def amax(x: np.ndarray, axes: tuple[int, ...], keepdims: bool) -> np.ndarray:
    """The largest element over `axes`; NaN if there is a NaN."""
    return _extreme(_LARGEST, x, axes, keepdims)


def amin(x: np.ndarray, axes: tuple[int, ...], keepdims: bool) -> np.ndarray:
    """The smallest element over `axes`; NaN if there is a NaN."""
    return _extreme(_SMALLEST, x, axes, keepdims)


def _extreme(fold: _Folds, x: np.ndarray, axes: tuple[int, ...], keepdims: bool) -> np.ndarray:
    if x.dtype.kind != "f" or x.size < LARGE:
        return np.asarray(fold.join.reduce(x, axis=axes, keepdims=keepdims))
    return _fold(fold, lambda x: x, x, axes, keepdims)


def argmax(x: np.ndarray, axis: int | None) -> np.ndarray:
    """Where the largest element along `axis` is (int64), the first of equals, the first NaN if there is one; None: in x flattened."""
    return _place(np.argmax, x, axis)


def argmin(x: np.ndarray, axis: int | None) -> np.ndarray:
    """Where the smallest element along `axis` is (int64), the first of equals, the first NaN if there is one; None: in x flattened."""
    return _place(np.argmin, x, axis)


def _place(loop: Callable, x: np.ndarray, axis: int | None) -> np.ndarray:
    if axis is None or x.size <= SMALL:
        return np.asarray(loop(x, axis=axis), dtype=np.int64)
    return tasks.by_lines(lambda lines: loop(lines, axis=-1, keepdims=True).astype(np.int64, copy=False), x, axis).squeeze(axis)


def nonzero(x: np.ndarray) -> np.ndarray:
    """Where x, of one dimension at least, is not 0: [count, dimensions] (int64), in C order."""
    # A line at a time: NumPy's own search of several dimensions takes three times as long as one of a line and the sums here.
    mask = (x if x.dtype == np.bool_ else x != 0).reshape(math.prod(x.shape[:-1]), x.shape[-1])
    counts = np.count_nonzero(mask, axis=1)
    before = np.stack([i.reshape(-1) for i in (*np.indices(x.shape[:-1]), np.arange(len(mask)) * x.shape[-1])], 1)
    places = np.repeat(before, counts, axis=0)
    np.subtract(np.flatnonzero(mask), places[:, -1], out=places[:, -1])
    return places


# ---------------------------------------------------------------------------------------- so far
class _Scan:
    """y[k] = join(y[k - 1], x[k]) along lines, or from the other end where index[0] is set; kept in float64."""

    def __init__(self, join: Callable, start: float):
        def lines(task, plan, index, x, y, c, d, e, f, g):
            count, n, each = plan[0], plan[1], plan[2]
            places, out = numba.carray(x, (count, n)), numba.carray(y, (count, n))
            for i in range(task * each, min(count, (task + 1) * each)):
                p, q = places[i], out[i]
                total = start
                for k in range(n):
                    at = n - 1 - k if index[0] else k
                    total = join(total, p[at])
                    q[at] = total

        def strips(task, plan, index, x, y, c, d, e, f, g):
            outer, n, inner, width, cuts = plan[0], plan[1], plan[2], plan[3], plan[4]
            places, out = numba.carray(x, (outer * n, inner)), numba.carray(y, (outer * n, inner))
            low = task % cuts * width
            size = min(width, inner - low)
            totals = numba.carray(_room(x), tasks.WIDE)
            for i in range(size):
                totals[i] = start
            for k in range(n):
                at = task // cuts * n + (n - 1 - k if index[0] else k)
                p, q = places[at, low : low + size], out[at, low : low + size]
                for i in range(size):
                    totals[i] = join(totals[i], p[i])
                    q[i] = totals[i]

        self.lines, self.strips = _named(join, lines, strips)


class _Places:
    """index[k] = the last place up to k that is not worse than those before it, or is NaN."""

    def __init__(self, better: Callable):
        def lines(task, plan, index, x, b, c, d, e, f, g):
            count, n, each = plan[0], plan[1], plan[2]
            places, out = numba.carray(x, (count, n)), numba.carray(index, (count, n))
            for i in range(task * each, min(count, (task + 1) * each)):
                p, q = places[i], out[i]
                best, place = p[0], 0
                for k in range(n):
                    if better(p[k], best):
                        best, place = p[k], k
                    q[k] = place

        def strips(task, plan, index, x, b, c, d, e, f, g):
            outer, n, inner, width, cuts = plan[0], plan[1], plan[2], plan[3], plan[4]
            places, out = numba.carray(x, (outer * n, inner)), numba.carray(index, (outer * n, inner))
            low = task % cuts * width
            size = min(width, inner - low)
            tops = numba.carray(_room(x), tasks.WIDE)
            start = task // cuts * n
            for i in range(size):
                tops[i] = places[start, low + i]
                out[start, low + i] = 0
            for k in range(1, n):
                p, q, before = places[start + k, low : low + size], out[start + k, low : low + size], out[start + k - 1, low : low + size]
                for i in range(size):
                    wins = better(p[i], tops[i])
                    q[i] = k if wins else before[i]
                    tops[i] = p[i] if wins else tops[i]

        self.lines, self.strips = _named(better, lines, strips)


_room = tasks.stack(tasks.WIDE, types.float64)


def _named(part: Callable, *walks: Callable) -> tuple[Callable, ...]:
    # Names of their own, which name files in the cache.
    for run in walks:
        run.__name__ = run.__qualname__ = f"_scan{part.__name__}_{run.__name__}"
        run.__module__ = __name__
    return walks


@register_jitable(**STRICT)
def _not_less(a, b):
    return (a >= b) | (a != a)


@register_jitable(**STRICT)
def _not_greater(a, b):
    return (a <= b) | (a != a)


_SCANS: dict[str, tuple[_Scan, Callable]] = {
    "sum": (_Scan(_plus, 0.0), np.cumsum),
    "prod": (_Scan(_times, 1.0), np.cumprod),
    "logsumexp": (_Scan(_log_plus, -math.inf), np.logaddexp.accumulate),
}
_PLACES: dict[str, tuple[_Places, np.ufunc]] = {"argmax": (_Places(_not_less), np.maximum), "argmin": (_Places(_not_greater), np.minimum)}


def scan(name: str, x: np.ndarray, axis: int, backwards: bool = False) -> np.ndarray:
    """The sum, prod or logsumexp of the elements up to each one along `axis`, or from each one on if `backwards`; integers keep their dtype.

    In argmax and argmin, which run forwards: where the largest or smallest so far is (int64), the last of equals and the last NaN.
    """
    if x.dtype.kind != "f" or not x.size:
        return _scan_of_integers(name, x, axis, backwards)
    x = dense(x)
    if name in _PLACES:
        y = np.empty_like(x, np.int64)
        row = _PLACES[name][0]
        tasks.walk(row.lines, row.strips, tasks.sizes(x, axis), y, x)
    else:
        y = np.empty_like(x)
        scan = _SCANS[name][0]
        tasks.walk(scan.lines, scan.strips, tasks.sizes(x, axis), np.array([backwards], np.int64), x, y)
    return y


def _scan_of_integers(name: str, x: np.ndarray, axis: int, backwards: bool) -> np.ndarray:
    if name in _SCANS:
        run = _SCANS[name][1]
        return np.flip(run(np.flip(x, axis), axis, x.dtype), axis) if backwards else np.asarray(run(x, axis, x.dtype))
    place = np.arange(x.shape[axis]).reshape([-1 if i == axis else 1 for i in range(x.ndim)])
    return np.asarray(np.maximum.accumulate(np.where(x == _PLACES[name][1].accumulate(x, axis), place, 0), axis))
