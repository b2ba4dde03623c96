"""Embedding: rows of a table picked by index, bags of them added up, and the gradients into the table; names and formulas of `cpu/embedding.py`.

What is added to one place is added by one thread, in the order of the index: the same bits as on the CPU.  Where there are many columns beside the
axis of the index, a thread takes a column; else the index is sorted, and a thread takes all that goes to one place.
"""

from __future__ import annotations

import math

import numpy as np

from . import driver
from . import elementwise as e
from .copy import contiguous
from .launch import cuda, kernel
from .memory import Array, empty
from .reduce import sum
from .sort import KINDS, lines

COLUMNS = 6 if driver.is_simulated() else 1 << 14  # that fill the device by themselves
FEW = 2 if driver.is_simulated() else 8  # places that are not worth sorting
_SUM, _MEAN, _MAX = range(3)
MODES = {"sum": _SUM, "mean": _MEAN, "max": _MAX}


@kernel("iTiIiTiiiiii", KINDS)
def _gather(n, x, x0, index, i0, y, count, inner, rows, po, pk, pi):
    # y[o, k, i] = x[o, index[o, k, i], i]; po, pk and pi are the distances in the index of the next o, k and i.
    for at in range(cuda.grid(1), n, cuda.gridsize(1)):
        k = at // inner
        i = at - k * inner
        o = k // count
        k -= o * count
        y[at] = x[x0 + (o * rows + index[i0 + o * po + k * pk + i * pi]) * inner + i]


@kernel("iTiIiTiiiiiii", KINDS)
def _scatter_columns(n, x, x0, index, i0, y, count, inner, rows, po, pk, pi, put):
    # y[o, index[o, k, i], i] += x[o, k, i], or = if `put`, for k in order; n columns (o, i).
    for column in range(cuda.grid(1), n, cuda.gridsize(1)):
        o = column // inner
        i = column - o * inner
        for k in range(count):
            r = index[i0 + o * po + k * pk + i * pi]
            if r >= 0:
                value, to = x[x0 + (o * count + k) * inner + i], (o * rows + r) * inner + i
                y[to] = value if put else y[to] + value


@kernel("iIIIiTiTiTiiiiiii", KINDS)
def _scatter_sorted(n, keys, order, source, sourced, factor, scaled, x, x0, y, y0, count, inner, rows, so, si, put):
    # The same where keys[o, i, :] are the sorted indices of a column, which stood at order[o, i, :]; what is added is factor[k] x[o, source[k], i].
    # A thread for each of them: that at the first of equal ones adds all of them up.
    for at in range(cuda.grid(1), n, cuda.gridsize(1)):
        j = at // inner
        i = at - j * inner
        o = j // count
        j -= o * count
        line = o * so + i * si
        r = keys[line + j]
        if r >= 0 and (j == 0 or keys[line + j - 1] != r):
            to = y0 + (o * rows + r) * inner + i
            value = y[to]
            while j < count and keys[line + j] == r:
                k = order[line + j]
                row = source[k] if sourced else k
                more = x[x0 + (o * count + row) * inner + i]
                if put:
                    value = more
                elif scaled:
                    value += factor[k] * more
                else:
                    value += more
                j += 1
            y[to] = value


@kernel("iTiIiIiTiTIiii")
def _bags(n, weight, w0, index, i0, start, s0, scale, c0, y, which, width, mode, scaled):
    # In mode max, which[b, j] is the row that column j of bag b came from, the first of equals, or the first nan; -1 where a bag is empty.
    for at in range(cuda.grid(1), n, cuda.gridsize(1)):
        b = at // width
        j = at - b * width
        first, last = start[s0 + b], start[s0 + b + 1]
        total = weight.dtype.type(0)
        if mode == _MAX:
            row = -1
            for k in range(first, last):
                value = weight[w0 + index[i0 + k] * width + j]
                if row < 0 or value > total or (value != value and total == total):
                    total = value
                    row = index[i0 + k]
            which[at] = row
        else:
            for k in range(first, last):
                value = weight[w0 + index[i0 + k] * width + j]
                total += scale[c0 + k] * value if scaled else value
            if mode == _MEAN and last > first:
                total /= weight.dtype.type(last - first)
        y[at] = total


@kernel("iIiiIT")
def _bag_of(n, start, s0, bags, bag, share):
    # bag[k] is the bag of place k, and share[k] one divided by how many it has.
    for k in range(cuda.grid(1), n, cuda.gridsize(1)):
        low, high = 0, bags - 1
        while low < high:  # the last bag that starts at k or before
            middle = (low + high + 1) // 2
            if start[s0 + middle] <= k:
                low = middle
            else:
                high = middle - 1
        bag[k] = low
        share[k] = share.dtype.type(1) / share.dtype.type(max(1, start[s0 + low + 1] - start[s0 + low]))


def repeated(ends: Array) -> Array:
    """0 ends[0] times, then 1 until there are ends[1] numbers, and so on."""
    start = e.fill(empty((ends.size + 1,), np.int64), 0)
    start[1:] = ends
    total = start[-1].item()
    bag, share = empty((total,), np.int64), empty((total,), np.float32)
    if total:
        _bag_of[share.dtype](total, total, start.flat, start.offset, ends.size, bag.flat, share.flat)
    return bag


def _ints(index: Array) -> Array:
    return contiguous(index.astype(np.int64, copy=False)).reshape(-1)


def _walk(shape: tuple[int, ...], index: Array, axis: int) -> tuple[int, int, int, tuple[int, int, int]]:
    """(outer, count, inner) of an array with as many places along `axis` as the index, and the distances of the next of each in the index."""
    count, inner = shape[axis], math.prod(shape[axis + 1 :])
    return math.prod(shape[:axis]), count, inner, (count * inner, inner, 1) if index.ndim == len(shape) else (0, 1, 0)


def embedding(weight: Array, index: Array) -> Array:
    """weight[index]: rows of weight [V, D] for index of any shape, [*index.shape, D]."""
    return gather(weight, index.reshape(-1), 0).reshape(*index.shape, weight.shape[1])


def embedding_grad(gy: Array, index: Array, rows: int) -> Array:
    """The gradient [rows, D] of `embedding` to its weight, from gy [*index.shape, D]: rows picked several times add up."""
    return scatter(gy.reshape(index.size, gy.shape[-1]), index.reshape(-1), 0, rows)


def scatter(x: Array, index: Array, axis: int, size: int, base: Array | None = None, put: bool = False) -> Array:
    """y, of x's shape but `size` along `axis`: x[..., k, ...] added at y[..., index[..., k, ...], ...], in the order of k; C order.

    `index` has x's shape or is one vector for all of the other axes; -1 is nowhere.  y begins as a copy of `base`, or as zeros; with `put`, x
    takes the place of what is there.
    """
    shape = (*x.shape[:axis], size, *x.shape[axis + 1 :])
    y = e.fill(empty(shape, x.dtype), 0) if base is None else base.astype(x.dtype, copy=False).copy()
    return scatter_into(y, x, index, axis, put)


def scatter_into(y: Array, x: Array, index: Array, axis: int, put: bool) -> Array:
    """The same into y, in C order from the beginning of its buffer, as it is."""
    if not y.size or not x.size:
        return y
    x, places = contiguous(x), _ints(index)
    outer, count, inner, steps = _walk(x.shape, index, axis)
    if outer * inner >= COLUMNS or count <= FEW:
        columns = outer * inner
        _scatter_columns[x.dtype](
            columns, columns, x.flat, x.offset, places.flat, places.offset, y.flat, count, inner, y.shape[axis], *steps, int(put)
        )
    else:
        scatter_places(y, x, places.reshape(index.shape), axis if index.ndim == x.ndim else 0, (outer, count, inner), y.shape[axis], put)
    return y


def scatter_places(
    y: Array, x: Array, index: Array, axis: int, sizes: tuple[int, int, int], rows: int, put: bool = False,
    source: Array | None = None, factor: Array | None = None,
) -> None:  # fmt: skip
    """The same into y as it is, by sorting: sizes = (outer, count, inner) of what is added, index as in `scatter`, or one vector, along `axis`."""
    outer, count, inner = sizes
    keys, order = lines(index, axis)
    so, si = (count * inner, count) if index.ndim > 1 else (0, 0)
    n = outer * count * inner
    _scatter_sorted[x.dtype](
        n, n, keys.flat, order.flat, order.flat if source is None else source.flat, int(source is not None),
        x.flat if factor is None else factor.flat, int(factor is not None), x.flat, x.offset, y.flat, y.offset, count, inner, rows, so, si, int(put),
    )  # fmt: skip


def gather(x: Array, index: Array, axis: int) -> Array:
    """x[..., index[..., k, ...], ...] along `axis`; index is as large as x in the other axes, or one vector for all of them; C order."""
    x = contiguous(x)
    y = empty((*x.shape[:axis], index.shape[axis if index.ndim == x.ndim else 0], *x.shape[axis + 1 :]), x.dtype)
    if y.size:
        places = _ints(index)
        outer, count, inner, steps = _walk(y.shape, index, axis)
        _gather[x.dtype](y.size, y.size, x.flat, x.offset, places.flat, places.offset, y.flat, count, inner, x.shape[axis], *steps)
    return y


def gather_sum(x: Array, index: Array) -> Array:
    """The sum over n of x[n, index[n]], for x [N, C] and index [N]: no dimensions."""
    return sum(gather(x, index.reshape(-1, 1), 1), (0, 1), False)


def embedding_bag(weight: Array, index: Array, start: Array, scale: Array | None, mode: str) -> tuple[Array, Array]:
    """(y [B, D], rows) of bags of rows of weight [V, D]: bag b is index[start[b] : start[b + 1]], start [B + 1].

    `mode` is 'sum', 'mean' or 'max'; `scale`, one number an index, multiplies the rows of a sum.  An empty bag gives 0.  In mode max
    rows [B, D] tells where each number came from (-1: nowhere); otherwise it is empty.
    """
    weight, places, start = contiguous(weight), _ints(index), _ints(start)
    shape = (start.size - 1, weight.shape[1])
    y = empty(shape, weight.dtype)
    which = empty(shape if mode == "max" else (0, 0), np.int64)
    factor = weight if scale is None else contiguous(scale.astype(weight.dtype, copy=False))
    _bags[weight.dtype](
        y.size, y.size, weight.flat, weight.offset, places.flat, places.offset, start.flat, start.offset, factor.flat, factor.offset,
        y.flat, which.flat, shape[1], MODES[mode], int(scale is not None),
    )  # fmt: skip
    return y, which


def embedding_bag_grad(gy: Array, index: Array, start: Array, scale: Array | None, which: Array, rows: int, mode: str) -> Array:
    """The gradient [rows, D] of `embedding_bag` to its weight, from gy [B, D] and, in mode max, the rows that it gave."""
    gy = contiguous(gy)
    if mode == "max":
        return scatter(gy, which, 0, rows)
    gw = e.fill(empty((rows, gy.shape[1]), gy.dtype), 0)
    places, start = _ints(index), _ints(start)
    if not gw.size or not places.size:
        return gw
    bag, share = empty(places.shape, np.int64), empty(places.shape, gy.dtype)
    _bag_of[gy.dtype](places.size, places.size, start.flat, start.offset, start.size - 1, bag.flat, share.flat)
    factor = share if mode == "mean" else None if scale is None else scale.astype(gy.dtype, copy=False).copy()
    scatter_places(gw, gy, places, 0, (1, places.size, gy.shape[1]), rows, False, bag, factor)
    return gw
