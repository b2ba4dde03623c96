"""The order of elements along an axis."""

from __future__ import annotations

import numpy as np

from .tasks import by_lines


def argsort(x: np.ndarray, axis: int, descending: bool, first: int | None = None) -> np.ndarray:
    """Indices (int64) that put x in order along `axis`, equal elements as they stood and NaN as the greatest; or the `first` of them.

    The first few are found by partition, and only they are sorted: then which of equal elements are among them is not said.
    """
    if first == 0 or not x.size:
        return np.empty(tuple(n if first is None or d != axis else first for d, n in enumerate(x.shape)), np.int64)
    return by_lines(lambda lines: _order(lines, descending, first), x, axis)


def _order(x: np.ndarray, descending: bool, first: int | None) -> np.ndarray:
    """Of lines along the last axis."""
    n = x.shape[-1]
    if first is not None and 4 * first <= n:
        few = np.argpartition(x, n - first)[..., n - first :] if descending else np.argpartition(x, first - 1)[..., :first]
        return np.take_along_axis(few, _order(np.take_along_axis(x, few, -1), descending, None), -1)
    # Backwards twice: what is equal stays in order.
    order = np.flip(n - 1 - np.argsort(np.flip(x, -1), kind="stable"), -1) if descending else np.argsort(x, kind="stable")
    return order if first is None else order[..., :first]
