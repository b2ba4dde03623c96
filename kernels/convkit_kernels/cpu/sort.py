"""The order of elements along an axis."""

from __future__ import annotations

from collections.abc import Callable

import numba
import numpy as np
from numba.extending import register_jitable

from . import tasks
from .copy import contiguous
from .runtime import STRICT


class _Best:
    """The k best of each line, the best first, of equals the first: index[line, j].

    They are kept as a heap with the worst on top, which most elements of a line are not better than; so lines are looked at by blocks.
    """

    BLOCK = 32

    def __init__(self, better: Callable):
        @register_jitable(**STRICT)
        def worse(line, p, q):
            # Is the element at place p worse than that at q?  Of equals the later one is.
            return better(line[q], line[p]) or (p > q and not better(line[p], line[q]))

        @register_jitable(**STRICT)
        def sink(line, heap, at, size):
            # Down with the place heap[at], until no worse one is below it.
            place = heap[at]
            while 2 * at + 1 < size:
                below = 2 * at + 1
                if below + 1 < size and worse(line, heap[below + 1], heap[below]):
                    below += 1
                if worse(line, place, heap[below]):
                    break
                heap[at] = heap[below]
                at = below
            heap[at] = place

        def best(task, plan, index, x, b, c, d, e, f, g):
            count, n, each, k = plan[0], plan[1], plan[2], plan[3]
            lines, heaps = numba.carray(x, (count, n)), numba.carray(index, (count, k))
            for i in range(task * each, min(count, (task + 1) * each)):
                line, heap = lines[i], heaps[i]
                for j in range(k):
                    heap[j] = j
                for j in range(k // 2 - 1, -1, -1):
                    sink(line, heap, j, k)
                for first in range(k, n, block):
                    part, worst = line[first : min(n, first + block)], line[heap[0]]
                    found = 0
                    for j in range(part.size):
                        found += better(part[j], worst)
                    if found > 0:
                        for j in range(first, first + part.size):
                            if better(line[j], line[heap[0]]):
                                heap[0] = j
                                sink(line, heap, 0, k)
                for j in range(k - 1, 0, -1):
                    heap[0], heap[j] = heap[j], heap[0]
                    sink(line, heap, 0, j)

        block = self.BLOCK
        best.__name__ = best.__qualname__ = f"_best{better.__name__}"
        best.__module__ = __name__
        self.task = best


@register_jitable(**STRICT)
def _greater(a, b):
    return (a > b) | ((a != a) & (b == b))


@register_jitable(**STRICT)
def _less(a, b):
    return (a < b) | ((b != b) & (a == a))


_BEST = _Best(_less), _Best(_greater)


def argsort(x: np.ndarray, axis: int, descending: bool, first: int | None = None) -> np.ndarray:
    """Indices (int64) that put x in order along `axis`, equal elements as they stood and NaN as the greatest; or the `first` of them."""
    shape = tuple(n if first is None or d != axis else first for d, n in enumerate(x.shape))
    if not np.prod(shape):
        return np.empty(shape, np.int64)
    if first is None or 4 * first > x.shape[axis]:
        order = tasks.by_lines(lambda lines: _order(lines, descending), x, axis)
        return order if first is None else order[tuple(slice(n) for n in shape)]
    if x.dtype.char in "fd" or x.itemsize < 8 or abs(int(x.min())) < 1 << 53 > abs(int(x.max())):  # in floats without loss
        lines = contiguous(np.moveaxis(x if x.dtype.char in "fd" else x.astype(np.float64), axis, -1))
        few = np.empty((*lines.shape[:-1], first), np.int64)
        n, each = lines.shape[-1], max(1, tasks.SIZE // lines.shape[-1])
        plan = np.array([lines.size // n, n, each, first])
        tasks.run(tasks.compiled(_BEST[descending].task, lines.dtype.char), -(-plan[0] // each), plan, few.reshape(-1), lines.reshape(-1))
        return np.moveaxis(few, -1, axis)
    return argsort(x, axis, descending)[tuple(slice(n) for n in shape)]


def _order(x: np.ndarray, descending: bool) -> np.ndarray:
    """Of lines along the last axis."""
    # Backwards twice: what is equal stays in order.
    return np.flip(x.shape[-1] - 1 - np.argsort(np.flip(x, -1), kind="stable"), -1) if descending else np.argsort(x, kind="stable")
