"""Resampling along axes, with the names of `cpu/resample.py`: see there for the formula.

Arrays are walked as they lie in memory, by the walk of `windows.py` with weights: in one pass if an output has few taps on all axes
together, else an axis a pass, where what shrinks comes first.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import numpy as np

from ..layout import is_channels_last
from ..tables import Table
from . import copy, windows
from .memory import Array, asarray, empty
from .windows import Lists

TAPS = 16  # of an output, up to which all axes are done in one pass


def _product(tables: Sequence[Table | None], sizes: Sequence[int]) -> tuple[Lists, np.ndarray]:
    """(list, weights) of several axes as one: the taps of an output are all pairs of the taps of each axis."""
    output, source, weight, count = np.zeros(1, np.int64), np.zeros(1, np.int64), np.ones(1), 1
    for table, size in zip(tables, sizes, strict=True):
        if table is None:
            o = i = np.arange(size)
            w, outputs = np.ones(size), size
        else:
            o, i, w, outputs = np.repeat(np.arange(table.output_size), np.diff(table.start)), table.index, table.weight, table.output_size
        output, source = np.add.outer(output * outputs, o).ravel(), np.add.outer(source * size, i).ravel()
        weight, count = np.multiply.outer(weight, w).ravel(), count * outputs
    order = np.argsort(output, kind="stable")
    return (np.searchsorted(output[order], np.arange(count + 1)), source[order], np.zeros(0, np.int64)), weight[order]


@functools.lru_cache(maxsize=256)
def _plan(tables: tuple[Table | None, ...], sizes: tuple[int, ...], inner: int, dtype: np.dtype) -> tuple[Array, Array, Array]:
    """(plan, weights of the rows, weights of the columns): the last axis makes the columns, those before it the rows."""
    rows, row_weight = _product(tables[:-1], sizes[:-1])
    columns, column_weight = _product(tables[-1:], sizes[-1:])
    plan = windows.plan_of(rows, columns, sizes[-1] * inner, inner, math.prod(sizes) * inner)
    return plan, asarray(row_weight.astype(dtype)), asarray(column_weight.astype(dtype))


def _pass(x: Array, shape: list[int], tables: dict[int, Table]) -> Array:
    """The flat array that tables at some axes make of the dense array x, whose shape in memory order is `shape`; that is brought up to date."""
    first, last = min(tables), max(tables)
    inner, many = math.prod(shape[last + 1 :]), math.prod(shape[:first])
    walk = tuple(tables.get(axis) for axis in range(first, last + 1))
    plan, row_weight, column_weight = _plan(walk, tuple(shape[first : last + 1]), inner, x.dtype)
    for axis, table in tables.items():
        shape[axis] = table.output_size
    y = empty((math.prod(shape),), x.dtype)
    sizes = math.prod(shape[first:last]), shape[last] * inner
    windows.sums(x, y, many, sizes, inner, plan, (row_weight, column_weight))
    return y


def resample(x: Array, tables: Sequence[Table | None]) -> Array:
    """x with each axis that has a table resampled by it; None leaves an axis alone.  The memory order of x is kept, C or channels-last."""
    # Where axes of size 1 leave both open, channels-last is taken, as on the CPU.
    axes = tuple(range(x.ndim))
    if x.ndim > 2 and x.shape[1] > 1 and is_channels_last(x):  # type: ignore[arg-type]
        axes = (0, *range(2, x.ndim), 1)
    x = copy.contiguous(x.transpose(axes))
    shape = list(x.shape)
    walk = {position: table for position, axis in enumerate(axes) if (table := tables[axis]) is not None}
    taps = {position: table.index.size / max(table.output_size, 1) for position, table in walk.items()}
    if not walk:
        y = x.copy()
    elif math.prod(taps.values()) <= TAPS:
        y = _pass(x, shape, walk)
    else:
        y = x
        for position in sorted(walk, key=lambda p: walk[p].output_size / max(walk[p].size, 1)):
            y = _pass(y, shape, {position: walk[position]})
    return y.reshape(tuple(shape)).transpose(tuple(np.argsort(axes)))
