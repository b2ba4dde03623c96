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
from .elementwise import dense, line
from .runtime import inline, kernel

# Below this many numbers side by side in a column, the columns of a line are gathered number by number: vectors run along the line.
NARROW = 8


@inline
def _combine(x, base, step, first, last, index, weight, y):
    """y = sum over k from first to last - 1 of weight[k] * x[base + index[k] * step + ...]; up to four taps share one pass over y."""
    n = y.size
    k = first
    left = last - first
    if left == 0:
        for i in range(n):
            y[i] = 0
    elif left == 1 and weight[k] == 1:
        a = x[base + index[k] * step : base + index[k] * step + n]
        for i in range(n):
            y[i] = a[i]
        k += 1
    elif left == 2 or left == 3:
        a = x[base + index[k] * step : base + index[k] * step + n]
        b = x[base + index[k + 1] * step : base + index[k + 1] * step + n]
        u, v = weight[k], weight[k + 1]
        for i in range(n):
            y[i] = u * a[i] + v * b[i]
        k += 2
    elif left >= 4:
        a = x[base + index[k] * step : base + index[k] * step + n]
        b = x[base + index[k + 1] * step : base + index[k + 1] * step + n]
        c = x[base + index[k + 2] * step : base + index[k + 2] * step + n]
        d = x[base + index[k + 3] * step : base + index[k + 3] * step + n]
        u, v = weight[k], weight[k + 1]
        s, t = weight[k + 2], weight[k + 3]
        for i in range(n):
            y[i] = (u * a[i] + v * b[i]) + (s * c[i] + t * d[i])
        k += 4
    else:
        a = x[base + index[k] * step : base + index[k] * step + n]
        u = weight[k]
        for i in range(n):
            y[i] = u * a[i]
        k += 1
    while k + 1 < last:
        a = x[base + index[k] * step : base + index[k] * step + n]
        b = x[base + index[k + 1] * step : base + index[k + 1] * step + n]
        u, v = weight[k], weight[k + 1]
        for i in range(n):
            y[i] += u * a[i] + v * b[i]
        k += 2
    if k < last:
        a = x[base + index[k] * step : base + index[k] * step + n]
        u = weight[k]
        for i in range(n):
            y[i] += u * a[i]


@inline
def _gather(x, levels, index, weight, y):
    """y[i] = sum over the levels k of weight[k, i] * x[index[k, i]], the levels of both one after another; two share one pass over y."""
    n = y.size
    if levels % 2:
        for i in range(n):
            y[i] = weight[i] * x[index[i]]
    else:
        for i in range(n):
            y[i] = weight[i] * x[index[i]] + weight[n + i] * x[index[n + i]]
    for k in range(2 - levels % 2, levels, 2):
        a, b = k * n, k * n + n
        for i in range(n):
            y[i] += weight[a + i] * x[index[a + i]] + weight[b + i] * x[index[b + i]]


@kernel
def _resample(x, y, sizes, row_start, row_index, row_weight, column_start, column_index, column_weight):
    """y[a, p, q, c] = sum over j of row_weight[j] * (sum over k of column_weight[k] * x[a, row_index[j], column_index[k], c])

    x is [outer, H, W * inner], y [outer, P, Q * inner], and sizes = (outer, H, W * inner, Q * inner, inner, levels).  levels is 0 where
    the columns stay as they are, -1 where taps are listed by column, else the number of taps of every number of a line.
    """
    height, width, length = sizes[1], sizes[2], sizes[3]
    inner, levels = sizes[4], sizes[5]
    rows = row_start.size - 1
    for task in prange(sizes[0] * rows):
        base = task // rows * height * width
        first, last = row_start[task % rows], row_start[task % rows + 1]
        out = y[task * length : (task + 1) * length]
        if levels == 0:
            _combine(x, base, width, first, last, row_index, row_weight, out)
        else:
            row = np.empty(width + 1, x.dtype)
            _combine(x, base, width, first, last, row_index, row_weight, row[:width])
            row[width] = 0  # where taps point that only fill up the levels
            if levels > 0:
                _gather(row, levels, column_index, column_weight, out)
            else:
                for q in range(column_start.size - 1):
                    place = out[q * inner : (q + 1) * inner]
                    _combine(row, 0, inner, column_start[q], column_start[q + 1], column_index, column_weight, place)


# ------------------------------------------------------------------------------------- public side
@functools.lru_cache(maxsize=512)
def _listed(table: Table, dtype: np.dtype) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(start, index, weight) in the dtype of the data."""
    return table.start, table.index, table.weight.astype(dtype)


@functools.lru_cache(maxsize=512)
def _in_levels(table: Table, dtype: np.dtype, inner: int) -> tuple[int, np.ndarray, np.ndarray] | None:
    """(levels, index, weight): the k-th tap of every number of a line in level k; None where some outputs have far more taps than most.

    Levels are filled up with taps that point behind the line, where a zero stands: no NaN or infinity reaches an output it is not meant for.
    """
    counts = np.diff(table.start)
    levels = max(1, int(counts.max(initial=0)))
    if levels * counts.size > 2 * table.index.size + 64:
        return None
    index = np.full((levels, counts.size, inner), table.size * inner)
    weight = np.zeros((levels, counts.size, inner), dtype)
    output = np.repeat(np.arange(counts.size), counts)
    level = np.arange(table.index.size) - table.start[output]
    index[level, output] = table.index[:, None] * inner + np.arange(inner)
    weight[level, output] = table.weight[:, None]
    return levels, index.ravel(), weight.ravel()


_ONE_ROW = np.array([0, 1]), np.array([0]), {np.dtype(t): np.ones(1, t) for t in (np.float32, np.float64)}
_NO_COLUMNS = np.zeros(1, np.int64)


def _pass(x: np.ndarray, shape: list[int], axis: int, rows: Table | None, columns: Table | None) -> np.ndarray:
    """The flat array that `rows` at `axis` and `columns` behind it (or at `axis`, without rows) make of flat x of this shape."""
    dtype = x.dtype
    start, index, weight = (_ONE_ROW[0], _ONE_ROW[1], _ONE_ROW[2][dtype]) if rows is None else _listed(rows, dtype)
    outer, height, rest = math.prod(shape[:axis]), 1, axis
    if rows is not None:
        height, rest = rows.size, axis + 1
    width, inner, levels = math.prod(shape[rest:]), 1, 0
    length = width
    column_start, column_index, column_weight = _NO_COLUMNS, _NO_COLUMNS, weight
    if columns is not None:
        inner = math.prod(shape[rest + 1 :])
        length = columns.output_size * inner
        found = _in_levels(columns, dtype, inner) if inner < NARROW else None
        if found is not None:
            levels, column_index, column_weight = found
        else:
            levels = -1
            column_start, column_index, column_weight = _listed(columns, dtype)
    y = np.empty(outer * (start.size - 1) * length, dtype)
    if y.size:
        sizes = np.array([outer, height, width, length, inner, levels])
        _resample(x, y, sizes, start, index, weight, column_start, column_index, column_weight)
    return y


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
