"""Resampling along axes: padding that repeats the image, interpolation of every kind, and their gradients.

    y[..., o, ...] = sum over the taps k of output o of weight[k] * x[..., index[k], ...]        for each axis that has a table

What the taps are is a `tables.Table`; a gradient is the same sum with the transposed tables.  Arrays are walked as they lie in memory,
channels-last or not: two neighbouring axes, called rows and columns here, are done in one pass.  A task makes one row of the output:
the rows it is made of are first added up into a line that stays in the cache, then the line's columns are added up.  So no array of
intermediate size is ever written, except for a third axis.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import numpy as np
from numba import prange

from ..tables import Table
from . import windows
from .elementwise import dense, line
from .microkernel import address, copy_bytes
from .runtime import inline, kernel

# Below this many numbers side by side in a column, the columns of a line are gathered number by number: vectors run along the line.
NARROW = 8


TASK = 4096  # numbers that a task makes, about: the first row's place takes two divisions

# How columns are done, if not in levels.
LISTED, RUNS, UNCHANGED = 0, -1, -2


# Places are unsigned in the loops below: for signed ones Numba asks at every element whether they count from the end, which costs the vectors.
@inline
def _combine(x, base, step, first, last, index, weight, y, to, count):
    """y[to + i] = sum over k from first to last - 1 of weight[k] * x[base + index[k] * step + i], i below count; four taps share one pass."""
    t, n = np.uint64(to), np.uint64(count)
    k = first
    left = last - first
    if left == 0:
        for i in range(n):
            y[t + i] = 0
    elif left == 1:
        a = np.uint64(base + index[k] * step)
        u = weight[k]
        for i in range(n):
            y[t + i] = u * x[a + i]
        k += 1
    elif left < 4:
        a, b = np.uint64(base + index[k] * step), np.uint64(base + index[k + 1] * step)
        u, v = weight[k], weight[k + 1]
        for i in range(n):
            y[t + i] = u * x[a + i] + v * x[b + i]
        k += 2
    else:
        a, b = np.uint64(base + index[k] * step), np.uint64(base + index[k + 1] * step)
        c, d = np.uint64(base + index[k + 2] * step), np.uint64(base + index[k + 3] * step)
        u, v = weight[k], weight[k + 1]
        w, z = weight[k + 2], weight[k + 3]
        for i in range(n):
            y[t + i] = (u * x[a + i] + v * x[b + i]) + (w * x[c + i] + z * x[d + i])
        k += 4
    while k + 1 < last:
        a, b = np.uint64(base + index[k] * step), np.uint64(base + index[k + 1] * step)
        u, v = weight[k], weight[k + 1]
        for i in range(n):
            y[t + i] += u * x[a + i] + v * x[b + i]
        k += 2
    if k < last:
        a = np.uint64(base + index[k] * step)
        u = weight[k]
        for i in range(n):
            y[t + i] += u * x[a + i]


@inline
def _copy_runs(x, base, index, weight, y, to):
    """For each run r, index[4 r :] = (o, i, count, later): y[to + o ...] = weight[r] * x[base + i ...], or added to y if it comes later."""
    for r in range(weight.size):
        t, n = np.uint64(to + index[4 * r]), np.uint64(index[4 * r + 2])
        a = np.uint64(base + index[4 * r + 1])
        u = weight[r]
        if index[4 * r + 1] < 0:  # nothing goes there
            for i in range(n):
                y[t + i] = 0
        elif index[4 * r + 3]:
            for i in range(n):
                y[t + i] += u * x[a + i]
        elif u == 1:
            copy_bytes(address(y) + y.itemsize * np.int64(t), address(x) + x.itemsize * np.int64(a), y.itemsize * np.int64(n))
        else:
            for i in range(n):
                y[t + i] = u * x[a + i]


@inline
def _gather(x, levels, index, weight, y, to, count):
    """y[to + i] = sum over the levels k of weight[k, i] * x[index[k, i]], the levels of both one after another; two share one pass."""
    t, n = np.uint64(to), np.uint64(count)
    if levels % 2:
        for i in range(n):
            y[t + i] = weight[i] * x[index[i]]
    else:
        for i in range(n):
            y[t + i] = weight[i] * x[index[i]] + weight[n + i] * x[index[n + i]]
    for k in range(2 - levels % 2, levels, 2):
        a = np.uint64(k) * n
        b = a + n
        for i in range(n):
            y[t + i] += weight[a + i] * x[index[a + i]] + weight[b + i] * x[index[b + i]]


@inline
def _columns(x, base, inner, levels, start, index, weight, y, to):
    """The columns of one line of x, taps listed by column or in runs."""
    if levels == RUNS:
        _copy_runs(x, base, index, weight, y, to)
    elif inner > 1:
        for q in range(start.size - 1):
            _combine(x, base, inner, start[q], start[q + 1], index, weight, y, to + q * inner, inner)
    else:
        for q in range(start.size - 1):
            total = x.dtype.type(0)
            for k in range(start[q], start[q + 1]):
                total += weight[k] * x[base + index[k]]
            y[to + q] = total


@kernel
def _resample(x, y, sizes, row_start, row_index, row_weight, column_start, column_index, column_weight):
    """y[a, p, q, c] = sum over j of row_weight[j] * (sum over k of column_weight[k] * x[a, row_index[j], column_index[k], c])

    x is [outer, H, W * inner], y [outer, P, Q * inner], and sizes = (outer, H, W * inner, Q * inner, inner, levels, each): `levels` is the number
    of taps of every number of a line, or one of the words above, `each` how many rows of y a task makes.
    """
    height, width, length = sizes[1], sizes[2], sizes[3]
    inner, levels, each = sizes[4], sizes[5], sizes[6]
    rows = row_start.size - 1
    total = sizes[0] * rows
    for task in prange((total + each - 1) // each):
        line = np.empty(width + 1, x.dtype)
        line[width] = 0  # where taps point that only fill up the levels
        o, r = task * each // rows, task * each % rows
        for u in range(task * each, min(total, (task + 1) * each)):
            base, to = o * height * width, u * length
            first, last = row_start[r], row_start[r + 1]
            if levels == UNCHANGED:
                _combine(x, base, width, first, last, row_index, row_weight, y, to, length)
            elif levels <= 0 and last - first == 1 and row_weight[first] == 1:
                _columns(x, base + row_index[first] * width, inner, levels, column_start, column_index, column_weight, y, to)
            else:
                _combine(x, base, width, first, last, row_index, row_weight, line, 0, width)
                if levels > 0:
                    _gather(line, levels, column_index, column_weight, y, to, length)
                else:
                    _columns(line, 0, inner, levels, column_start, column_index, column_weight, y, to)
            r += 1
            if r == rows:
                o, r = o + 1, 0


# ------------------------------------------------------------------------------------- public side
@functools.lru_cache(maxsize=512)
def _listed(table: Table, dtype: np.dtype) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(start, index, weight) in the dtype of the data."""
    return table.start, table.index, table.weight.astype(dtype)


@functools.lru_cache(maxsize=512)
def _columns_of(table: Table, dtype: np.dtype, inner: int) -> tuple[int, np.ndarray, np.ndarray, np.ndarray]:
    """(how, start, index, weight) for a table of columns, each `inner` numbers wide: in runs where many neighbours go to neighbours with
    one weight, as in padding; in levels where columns are narrow; listed otherwise."""
    runs = _in_runs(table, dtype, inner)
    if 4 * runs[1].size <= max(table.index.size, 1):
        return RUNS, table.start, *runs
    if inner < NARROW:
        counts = np.diff(table.start)
        levels = max(1, int(counts.max(initial=0)))
        if levels * counts.size <= 3 * table.index.size + 256:
            return levels, table.start, *_in_levels(table, dtype, inner, levels)
    return LISTED, *_listed(table, dtype)


def _taps(table: Table) -> tuple[np.ndarray, np.ndarray]:
    """(output, level) of each tap: it is the tap number `level` of that output."""
    output = np.repeat(np.arange(table.output_size), np.diff(table.start))
    return output, np.arange(table.index.size) - table.start[output]


def _in_runs(table: Table, dtype: np.dtype, inner: int) -> tuple[np.ndarray, np.ndarray]:
    """(runs, weight), see `_copy_runs`: first taps come first and are written, and later ones are added; outputs without a tap are filled."""
    output, level = _taps(table)
    empty = np.flatnonzero(np.diff(table.start) == 0)
    o, i = np.concatenate([output, empty]), np.concatenate([table.index, np.full(empty.size, -1)])
    later, weight = np.concatenate([level, np.zeros(empty.size, int)]), np.concatenate([table.weight, np.zeros(empty.size)])
    order = np.lexsort((o, later))
    o, i, later, weight = o[order], i[order], later[order], weight[order]
    steps = np.diff(i)
    new = (np.diff(o) != 1) | (np.diff(later) != 0) | (np.diff(weight) != 0) | np.where(i[1:] < 0, steps != 0, steps != 1)
    first = np.concatenate([[0], np.flatnonzero(new) + 1]) if o.size else np.zeros(0, int)
    count = np.diff(np.concatenate([first, [o.size]]))
    runs = np.stack([o[first] * inner, i[first] * inner, count * inner, later[first]], 1)
    return runs.ravel(), weight[first].astype(dtype)


def _in_levels(table: Table, dtype: np.dtype, inner: int, levels: int) -> tuple[np.ndarray, np.ndarray]:
    """(index, weight): the k-th tap of every number of a line in level k.

    Levels are filled up with taps that point behind the line, where a zero stands: no NaN or infinity reaches an output it is not meant for.
    """
    index = np.full((levels, table.output_size, inner), table.size * inner)
    weight = np.zeros((levels, table.output_size, inner), dtype)
    output, level = _taps(table)
    index[level, output] = table.index[:, None] * inner + np.arange(inner)
    weight[level, output] = table.weight[:, None]
    return index.ravel(), weight.ravel()


_ONE_ROW = np.array([0, 1]), np.array([0]), {np.dtype(t): np.ones(1, t) for t in (np.float32, np.float64)}
_NO_COLUMNS = np.zeros(1, np.int64)


def _pass(x: np.ndarray, shape: list[int], axis: int, rows: Table | None, columns: Table | None) -> np.ndarray:
    """The flat array that `rows` at `axis` and `columns` behind it (or at `axis`, without rows) make of flat x of this shape."""
    dtype = x.dtype
    start, index, weight = (_ONE_ROW[0], _ONE_ROW[1], _ONE_ROW[2][dtype]) if rows is None else _listed(rows, dtype)
    outer, height, rest = math.prod(shape[:axis]), 1, axis
    if rows is not None:
        height, rest = rows.size, axis + 1
    width, inner, how = math.prod(shape[rest:]), 1, UNCHANGED
    length = width
    column_start, column_index, column_weight = _NO_COLUMNS, _NO_COLUMNS, weight
    if columns is not None:
        inner = math.prod(shape[rest + 1 :])
        length = columns.output_size * inner
        how, column_start, column_index, column_weight = _columns_of(columns, dtype, inner)
    y = np.empty(outer * (start.size - 1) * length, dtype)
    if y.size:
        sizes = np.array([outer, height, width, length, inner, how, max(1, TASK // length)])
        _resample(x, y, sizes, start, index, weight, column_start, column_index, column_weight)
    return y


# ------------------------------------------------------------------- all axes at once, channels-last
def _product(table: Table | None, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(output, input, weight) of each tap; without a table, of the axis as it is."""
    if table is None:
        return np.arange(size), np.arange(size), np.ones(size)
    return _taps(table)[0], table.index, table.weight


@functools.lru_cache(maxsize=256)
def _walk(
    tables: tuple[Table | None, ...], sizes: tuple[int, ...], channels: int, dtype: np.dtype
) -> tuple[windows.Walk, np.ndarray, np.ndarray] | None:
    """(walk, weights of the rows, weights of the columns) of the spatial axes; None where long pieces are copied, or only rows change,
    or there are few channels and many taps: numbers that lie apart take long to gather, and fewer are where rows are added up first."""
    last = tables[-1]
    if last is None or 4 * _in_runs(last, dtype, channels)[1].size <= last.index.size:
        return None
    output, source, weight = (np.zeros(1, np.int64),) * 2 + (np.ones(1),)
    rows = 1
    for table, size in zip(tables[:-1], sizes[:-1], strict=True):
        o, i, w = _product(table, size)
        count = size if table is None else table.output_size
        output, source = np.add.outer(output * count, o).ravel(), np.add.outer(source * size, i).ravel()
        weight, rows = np.multiply.outer(weight, w).ravel(), rows * count
    order = np.argsort(output, kind="stable")
    start = np.searchsorted(output[order], np.arange(rows + 1))
    seen = np.stack([source[order], np.zeros(order.size, np.int64)], axis=1)
    all_sizes = (math.prod(sizes[:-1]), sizes[-1], last.output_size)
    if channels >= windows.WIDE:
        columns = last.start, last.index, np.zeros(last.index.size, np.int64)
        return windows.listed((start, seen), columns, all_sizes, channels, dtype), weight[order].astype(dtype), last.weight.astype(dtype)
    counts = np.diff(last.start)
    if counts.max(initial=0) > 1 or np.diff(start).max(initial=0) > 1 or (last.weight != 1).any():
        return None
    first = np.zeros(counts.size, np.int64)
    first[counts > 0] = last.index
    walk = windows.walk_of((start, seen), (first, 1, counts[:, None] > 0), all_sizes, channels, dtype)
    return walk, weight[order].astype(dtype), np.ones(walk.elements.size, dtype)


def _memory_axes(x: np.ndarray) -> tuple[int, ...] | None:
    """The axes of a dense x from outermost to innermost; None if that is neither channels-last nor C order.

    Where size-1 axes leave both open, channels-last is taken: then loops run over channels.
    """
    last = (0, *range(2, x.ndim), 1)
    if x.ndim > 2 and x.shape[1] > 1 and x.transpose(last).flags.c_contiguous:
        return last
    return tuple(range(x.ndim)) if x.flags.c_contiguous else None


def resample(x: np.ndarray, tables: Sequence[Table | None]) -> np.ndarray:
    """x with each axis that has a table resampled by it; None leaves an axis alone.  The memory order of x is kept, C or channels-last."""
    x = dense(x)
    axes = _memory_axes(x)
    if axes is None:
        x = np.ascontiguousarray(x)
        axes = tuple(range(x.ndim))
    shape = [x.shape[i] for i in axes]
    if x.ndim > 2 and tables[0] is None and tables[1] is None:
        plan = _walk(tuple(tables[2:]), x.shape[2:], shape[-1] if axes[-1] == 1 else 1, x.dtype)
        if plan is not None:
            y = np.empty([n if tables[i] is None else tables[i].output_size for n, i in zip(shape, axes, strict=True)], x.dtype)  # type: ignore[union-attr]
            if y.size:
                windows.planned("weighted", plan[0], y.size, plan[1], plan[2]).run(x, y)
            return y.transpose(np.argsort(axes))
    todo = [(position, tables[i]) for position, i in enumerate(axes) if tables[i] is not None]
    steps: list[tuple[int, Table | None, Table | None]] = []
    while todo:
        position, table = todo.pop()
        if todo and todo[-1][0] == position - 1:
            steps.append((position - 1, todo.pop()[1], table))
        elif math.prod(shape[position + 1 :]) < NARROW:
            steps.append((position, None, table))
        else:
            steps.append((position, table, None))
    # What shrinks comes first, so that the array between two steps is small.
    steps.sort(key=lambda s: math.prod(t.output_size / max(t.size, 1) for t in s[1:] if t is not None))
    data = line(x)
    for position, rows, columns in steps:
        data = _pass(data, shape, position, rows, columns)
        for place, table in zip((position, position + (rows is not None)), (rows, columns), strict=True):
            if table is not None:
                shape[place] = table.output_size
    if not steps:
        data = data.copy()
    return data.reshape(shape).transpose(np.argsort(axes))
