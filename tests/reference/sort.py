"""Order along an axis: insertion, one element after another."""

import math

import numpy as np


def _after(u, v, descending):
    """Does u belong after v?  nan is the greatest; equals keep their order."""
    if math.isnan(u) or math.isnan(v):
        return (not math.isnan(u)) if descending and math.isnan(v) else math.isnan(u) and not math.isnan(v) and not descending
    return u < v if descending else u > v


def argsort(x, axis, descending, first=None):
    lines = np.moveaxis(np.asarray(x, np.float64), axis, -1)
    n = lines.shape[-1] if first is None else first
    y = np.empty((*lines.shape[:-1], n), np.int64)
    for place in np.ndindex(*lines.shape[:-1]):
        order = []
        for i, value in enumerate(lines[place]):
            at = len(order)
            while at and _after(lines[place][order[at - 1]], value, descending):
                at -= 1
            order.insert(at, i)
        y[place] = order[:n]
    return np.moveaxis(y, -1, axis)
