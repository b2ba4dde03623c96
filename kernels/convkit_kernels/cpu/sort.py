"""The order of elements along an axis."""

from __future__ import annotations

import numpy as np


def argsort(x: np.ndarray, axis: int, descending: bool, first: int | None = None) -> np.ndarray:
    """Indices (int64) that put x in order along `axis`, equal elements as they stood and NaN as the greatest; or the `first` of them.

    The first few are found by partition, and only they are sorted: then which of equal elements are among them is not said.
    """
    if first == 0:
        return np.empty(tuple(0 if d == axis else n for d, n in enumerate(x.shape)), np.int64)
    if descending:  # backwards twice: what is equal stays in order
        if first is None or 4 * first > x.shape[axis]:
            order = np.flip(x.shape[axis] - 1 - np.argsort(np.flip(x, axis), axis=axis, kind="stable"), axis)
        else:
            few = np.argpartition(x, x.shape[axis] - first, axis=axis)
            few = np.take(few, np.arange(x.shape[axis] - first, x.shape[axis]), axis)
            inside = argsort(np.take_along_axis(x, few, axis), axis, True)
            return np.take_along_axis(few, inside, axis)
    elif first is None or 4 * first > x.shape[axis]:
        order = np.argsort(x, axis=axis, kind="stable")
    else:
        few = np.take(np.argpartition(x, first - 1, axis=axis), np.arange(first), axis)
        return np.take_along_axis(few, np.argsort(np.take_along_axis(x, few, axis), axis=axis, kind="stable"), axis)
    return order if first is None else np.take(order, np.arange(first), axis)
