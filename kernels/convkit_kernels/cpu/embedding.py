"""Embedding: rows of a table picked by index, bags of them added up, and the gradients into the table.

embedding         y[i] = w[index[i]]
embedding_bag     y[b] = sum, mean or maximum of scale[k] w[index[k]] over start[b] <= k < start[b + 1]
"""

from __future__ import annotations

import numpy as np
from numba import prange

from ..layout import contiguous, normal
from . import mathfunctions as m
from .runtime import kernel

_SUM, _MEAN, _MAX = range(3)
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


@kernel
def _scatter_columns(gy, which, gw):
    # gw[which[b, j], j] += gy[b, j], 16 columns at a time: columns are independent, and bags add up in their order.
    for part in prange((gw.shape[1] + 15) // 16):
        high = min(gw.shape[1], (part + 1) * 16)
        gw[:, part * 16 : high] = 0
        for b in range(gy.shape[0]):
            for j in range(part * 16, high):
                if which[b, j] >= 0:
                    gw[which[b, j], j] += gy[b, j]


def _ints(index: np.ndarray) -> np.ndarray:
    return contiguous(np.asarray(index, np.int64)).reshape(-1)


def embedding(weight: np.ndarray, index: np.ndarray) -> np.ndarray:
    """weight[index]: rows of weight [V, D] for index of any shape, [*index.shape, D]."""
    return np.take(weight, index, axis=0)


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
    gw = np.empty((rows, gy.shape[1]), gy.dtype)
    if mode == "max":
        _scatter_columns(gy, contiguous(which), gw)
        return gw
    places = _ints(index)
    counts = np.diff(start)
    bag = np.repeat(np.arange(counts.size), counts)
    if mode == "mean":
        factor = (1 / np.maximum(counts, 1))[bag].astype(gy.dtype)
    else:
        factor = np.ones(places.size, gy.dtype) if scale is None else contiguous(np.asarray(scale, gy.dtype))
    _scatter_rows(gy, places, bag, factor, gw)
    return gw
