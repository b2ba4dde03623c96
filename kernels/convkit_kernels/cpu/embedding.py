"""Embedding: rows of a table picked by index, bags of them added up, and the gradients into the table.

embedding         y[i] = w[index[i]]
embedding_bag     y[b] = sum, mean or maximum of scale[k] w[index[k]] over start[b] <= k < start[b + 1]
gather            y[o, k, i] = x[o, index[o, k, i], i]
gather_sum        the sum over n of x[n, index[n]]
scatter           y[o, index[o, k, i], i] = sum of x[o, k, i] over such k, or the last of them
"""

from __future__ import annotations

import math

import numpy as np
from numba import prange

from ..layout import normal
from . import mathfunctions as m
from . import tasks
from .copy import contiguous
from .runtime import kernel

_SUM, _MEAN, _MAX = range(3)
ROWS = 4096  # that a task picks numbers from; fewer are picked before another thread is awake
FEW = 1 << 15  # numbers that one thread gathers as fast as many
MODES = {"sum": _SUM, "mean": _MEAN, "max": _MAX}


@kernel
def _scatter_rows(gy, index, source, scale, gw):
    # gw[v] = sum of scale[k] gy[source[k]] over the places k with index[k] = v.  A counting sort lists the places of each row first,
    # in their order: then rows are independent, and each adds up in the order of the places whatever the number of threads.
    rows = gw.shape[0]
    start = np.zeros(rows + 1, np.int64)
    for k in range(index.size):
        start[index[k] + 1] += 1
    for v in range(rows):
        start[v + 1] += start[v]
    places = np.empty(index.size, np.int64)
    used = start[:-1].copy()
    for k in range(index.size):
        places[used[index[k]]] = k
        used[index[k]] += 1
    for v in prange(rows):
        out = gw[v]
        out[:] = 0
        for i in range(start[v], start[v + 1]):
            k = places[i]
            row = gy[source[k]]
            factor = scale[k]
            for j in range(out.size):
                out[j] += factor * row[j]


@kernel
def _bags(weight, index, start, scale, mode, y, which):
    # In mode max, which[b, j] is the row that column j of bag b came from, the first of equals, or the first nan; -1 where a bag is empty.
    for b in prange(y.shape[0]):
        out = y[b]
        out[:] = 0
        if mode == _MAX:
            rows = which[b]
            rows[:] = -1
            for k in range(start[b], start[b + 1]):
                row = weight[index[k]]
                for j in range(out.size):
                    if rows[j] < 0 or row[j] > out[j] or (row[j] != row[j] and out[j] == out[j]):
                        out[j] = row[j]
                        rows[j] = index[k]
        else:
            for k in range(start[b], start[b + 1]):
                row = weight[index[k]]
                factor = scale[k]
                for j in range(out.size):
                    out[j] += factor * row[j]
            if mode == _MEAN and start[b + 1] > start[b]:
                count = weight.dtype.type(start[b + 1] - start[b])
                for j in range(out.size):
                    out[j] = m.divide(out[j], count)


# sizes = (outer, count, inner, rows, the distances in index of the next o, k and i, what a task takes, ...).
@kernel
def _scatter(x, index, base, y, sizes):
    # y = base, or 0, and then y[o, index[o, k, i], i] += x[o, k, i], or = where `put` is set; nowhere for -1.
    # A task takes `block` numbers side by side of one o: these columns are independent, and k is in order.
    count, inner, rows = sizes[1], sizes[2], sizes[3]
    po, pk, pi, block = sizes[4], sizes[5], sizes[6], sizes[7]
    put, based = sizes[8] != 0, sizes[9] != 0
    blocks = (inner + block - 1) // block
    zero = x.dtype.type(0)
    wide = blocks == 1 and sizes[0] > 1  # whole rows: a task begins with them; parts of rows would be spread over memory
    if not wide:
        for part in prange((y.size + 16383) // 16384):
            for i in range(np.uint64(part * 16384), np.uint64(min(y.size, (part + 1) * 16384))):
                y[i] = base[i] if based else zero
    for task in prange(sizes[0] * blocks):
        o, low = task // blocks, task % blocks * block
        width = np.uint64(min(block, inner - low))
        start = o * rows * inner + low
        if wide:
            for i in range(np.uint64(start), np.uint64(start + rows * inner)):
                y[i] = base[i] if based else zero
        if inner == 1:
            for k in range(count):
                at, r = np.uint64(o * count + k), index[np.uint64(o * po + k * pk)]
                if r >= 0:
                    to = np.uint64(start + r)
                    y[to] = x[at] if put else y[to] + x[at]
            continue
        for k in range(count):
            at, place = np.uint64((o * count + k) * inner + low), np.uint64(o * po + k * pk + low * pi)
            if pi == 0:
                if index[place] >= 0:
                    to = np.uint64(start + index[place] * inner)
                    for i in range(width):
                        y[to + i] = x[at + i] if put else y[to + i] + x[at + i]
            else:
                for i in range(width):
                    r = index[place + i]
                    if r >= 0:
                        to = np.uint64(start + r * inner) + i
                        y[to] = x[at + i] if put else y[to] + x[at + i]


def _gather(task, plan, index, x, y, c, d, e, f, g):
    # y[o, k, i] = x[o, index[o, k, i], i]; a task takes `block` pairs of o and k.
    count, inner, rows = plan[1], plan[2], plan[3]
    po, pk, pi, block = plan[4], plan[5], plan[6], plan[7]
    u, end = task * block, min(plan[0] * count, (task + 1) * block)
    o, k = u // count, u % count
    while u < end:
        base, place, length = o * rows, o * po + k * pk, min(count - k, end - u)
        if inner == 1:
            for v in range(length):
                y[u + v] = x[base + index[place + v]]
        else:
            for v in range(length):
                at, chosen = (u + v) * inner, place + v * pk
                if pi == 0:
                    start = (base + index[chosen]) * inner
                    for i in range(inner):
                        y[at + i] = x[start + i]
                else:
                    for i in range(inner):
                        y[at + i] = x[(base + index[chosen + i]) * inner + i]
        u += length
        o, k = o + 1, 0


def _gather_sum(task, plan, index, x, partial, c, d, e, f, g):
    # partial[task] = the sum over the task's n of x[n, index[n]]; four at a time, as a sum that waits for memory holds up the next
    columns = plan[1]
    low, high = task * ROWS, min(plan[0], (task + 1) * ROWS)
    whole = low + (high - low) // 4 * 4
    total = 0.0
    for n in range(low, whole, 4):
        p, q = x[n * columns + index[n]], x[(n + 1) * columns + index[n + 1]]
        r, s = x[(n + 2) * columns + index[n + 2]], x[(n + 3) * columns + index[n + 3]]
        total += (np.float64(p) + np.float64(q)) + (np.float64(r) + np.float64(s))
    for n in range(whole, high):
        total += x[n * columns + index[n]]
    partial[task] = total


def _ints(index: np.ndarray) -> np.ndarray:
    return contiguous(np.asarray(index, np.int64)).reshape(-1)


def embedding(weight: np.ndarray, index: np.ndarray) -> np.ndarray:
    """weight[index]: rows of weight [V, D] for index of any shape, [*index.shape, D]."""
    return gather(weight, index.reshape(-1), 0).reshape(*index.shape, weight.shape[1])


def embedding_grad(gy: np.ndarray, index: np.ndarray, rows: int) -> np.ndarray:
    """The gradient [rows, D] of `embedding` to its weight, from gy [*index.shape, D]: rows picked several times add up.

    Takes four numbers of scratch memory for each index and two for each row.
    """
    gy = normal(gy)
    gw = np.empty((rows, gy.shape[-1]), gy.dtype)
    places = _ints(index)
    source, scale = np.arange(places.size), np.ones(places.size, gy.dtype)
    _scatter_rows(contiguous(gy).reshape(places.size, gy.shape[-1]), places, source, scale, gw)
    return gw


def scatter(x: np.ndarray, index: np.ndarray, axis: int, size: int, base: np.ndarray | None = None, put: bool = False) -> np.ndarray:
    """y, of x's shape but `size` along `axis`: x[..., k, ...] added at y[..., index[..., k, ...], ...], in the order of k; C order.

    `index` has x's shape or is one vector for all of the other axes; -1 is nowhere.  y begins as a copy of `base`, or as zeros; with `put`, x
    takes the place of what is there.
    """
    x = contiguous(normal(x))
    y = np.empty((*x.shape[:axis], size, *x.shape[axis + 1 :]), x.dtype)
    if y.size:
        outer, count, inner, steps = _walk(x.shape, index, axis)
        block = min(inner, -(-inner * outer // 128) * 16)  # for eight tasks at least, of whole cache lines
        sizes = np.array([outer, count, inner, size, *steps, max(1, block), put, base is not None], np.int64)
        _scatter(x.reshape(-1), _ints(index), (x if base is None else contiguous(normal(base))).reshape(-1), y.reshape(-1), sizes)
    return y


def gather(x: np.ndarray, index: np.ndarray, axis: int) -> np.ndarray:
    """x[..., index[..., k, ...], ...] along `axis`; index is as large as x in the other axes, or one vector for all of them; C order."""
    x = contiguous(normal(x))
    y = np.empty((*x.shape[:axis], index.shape[axis if index.ndim == x.ndim else 0], *x.shape[axis + 1 :]), x.dtype)
    if axis == x.ndim - 1 and 0 < y.size < FEW:  # numbers far apart: done before threads are awake
        first = np.arange(0, x.size, x.shape[axis]).reshape(*x.shape[:axis], 1)
        return x.reshape(-1).take(first + index)
    if y.size:
        outer, count, inner, steps = _walk(y.shape, index, axis)
        block = max(1, 4096 // inner)
        plan = np.array([outer, count, inner, x.shape[axis], *steps, block])
        tasks.run(tasks.compiled(_gather, x.dtype.char), -(-outer * count // block), plan, _ints(index), x, y)
    return y


def gather_sum(x: np.ndarray, index: np.ndarray) -> np.ndarray:
    """The sum over n of x[n, index[n]], for x [N, C] and index [N]: no dimensions, added up in float64."""
    x = contiguous(normal(x))
    partial = np.zeros(max(1, -(-len(x) // ROWS)))
    if x.size:
        tasks.run(tasks.compiled(_gather_sum, x.dtype.char, (1,)), partial.size, np.array(x.shape), _ints(index), x, partial)
    return np.array(partial.sum(), x.dtype)


def _walk(shape: tuple[int, ...], index: np.ndarray, axis: int) -> tuple[int, int, int, tuple[int, int, int]]:
    """(outer, count, inner) of an array with as many places along `axis` as the index, and the distances of the next of each in the index."""
    count, inner = shape[axis], math.prod(shape[axis + 1 :])
    return math.prod(shape[:axis]), count, inner, (count * inner, inner, 1) if index.ndim == len(shape) else (0, 1, 0)


def embedding_bag(weight: np.ndarray, index: np.ndarray, start: np.ndarray, scale: np.ndarray | None, mode: str) -> tuple[np.ndarray, np.ndarray]:
    """(y [B, D], rows) of bags of rows of weight [V, D]: bag b is index[start[b] : start[b + 1]], start [B + 1].

    `mode` is 'sum', 'mean' or 'max'; `scale`, one number an index, multiplies the rows of a sum.  An empty bag gives 0.  In mode max
    rows [B, D] tells where each number came from (-1: nowhere); otherwise it is empty.
    """
    weight = contiguous(normal(weight))
    shape = (start.size - 1, weight.shape[1])
    y = np.empty(shape, weight.dtype)
    which = np.empty(shape if mode == "max" else (0, 0), np.int64)
    places = _ints(index)
    factor = np.ones(places.size, weight.dtype) if scale is None else contiguous(np.asarray(scale, weight.dtype))
    _bags(weight, places, _ints(start), factor, MODES[mode], y, which)
    return y, which


def embedding_bag_grad(
    gy: np.ndarray, index: np.ndarray, start: np.ndarray, scale: np.ndarray | None, which: np.ndarray, rows: int, mode: str
) -> np.ndarray:
    """The gradient [rows, D] of `embedding_bag` to its weight, from gy [B, D] and, in mode max, the rows that it gave."""
    gy = contiguous(normal(gy))
    if mode == "max":
        return scatter(gy, which, 0, rows)
    gw = np.empty((rows, gy.shape[1]), gy.dtype)
    places = _ints(index)
    counts = np.diff(start)
    bag = np.repeat(np.arange(counts.size), counts)
    if mode == "mean":
        factor = (1 / np.maximum(counts, 1))[bag].astype(gy.dtype)
    else:
        factor = np.ones(places.size, gy.dtype) if scale is None else contiguous(np.asarray(scale, gy.dtype))
    _scatter_rows(gy, places, bag, factor, gw)
    return gw
