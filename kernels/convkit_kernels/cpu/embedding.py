"""Embedding: rows of a table picked by index, and the gradient that adds them up again."""

from __future__ import annotations

import numpy as np
from numba import prange

from ..layout import contiguous, normal
from .runtime import kernel


@kernel
def _scatter_rows(gy, index, gw):
    # gw[v] = sum of gy[i] over the places i with index[i] = v.  A counting sort lists the places of each row first, in their
    # order: then rows are independent, and each adds up in the order of the places whatever the number of threads.
    rows = gw.shape[0]
    start = np.zeros(rows + 1, np.int64)
    for i in range(index.size):
        start[index[i] + 1] += 1
    for v in range(rows):
        start[v + 1] += start[v]
    places = np.empty(index.size, np.int64)
    used = start[:-1].copy()
    for i in range(index.size):
        places[used[index[i]]] = i
        used[index[i]] += 1
    for v in prange(rows):
        out = gw[v]
        out[:] = 0
        for k in range(start[v], start[v + 1]):
            row = gy[places[k]]
            for j in range(out.size):
                out[j] += row[j]


def embedding(weight: np.ndarray, index: np.ndarray) -> np.ndarray:
    """weight[index]: rows of weight [V, D] for index of any shape, [*index.shape, D]."""
    return np.take(weight, index, axis=0)


def embedding_grad(gy: np.ndarray, index: np.ndarray, rows: int) -> np.ndarray:
    """The gradient [rows, D] of `embedding` to its weight, from gy [*index.shape, D]: rows picked several times add up.

    Takes two integers of scratch memory for each index and each row.
    """
    gy = normal(gy)
    gw = np.empty((rows, gy.shape[-1]), gy.dtype)
    places = contiguous(np.asarray(index, np.int64)).reshape(-1)
    _scatter_rows(contiguous(gy).reshape(places.size, gy.shape[-1]), places, gw)
    return gw
