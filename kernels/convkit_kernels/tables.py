"""Linear maps along one axis, written down as tables: once, for every backend.

    y[o] = sum over k from start[o] to start[o + 1] - 1 of weight[k] * x[index[k]]

Padding by reflection, repetition or wrapping around, interpolation of every kind, and area averages are such maps; only their tables
differ, and the gradient is the same map with the table transposed.  The functions here make the tables; the kernel `resample` walks them.
Tables are kept by their arguments, so that a network makes each of them once.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Table:
    """For each place o of the output, the places of the input it is made of, and how much of each.

    `size` is the length of the input; `start` [outputs + 1] and `index` [taps] are int64, `weight` [taps] is float64.  One table is
    one object: tables are compared by identity.
    """

    size: int
    start: np.ndarray
    index: np.ndarray
    weight: np.ndarray

    @property
    def output_size(self) -> int:
        """The length of the output."""
        return self.start.size - 1

    @functools.cached_property
    def transposed(self) -> Table:
        """The table of the gradient: input and output exchanged, the outputs that an input went into in increasing order."""
        order = np.argsort(self.index, kind="stable")
        output = np.repeat(np.arange(self.output_size), np.diff(self.start))
        start = np.searchsorted(self.index[order], np.arange(self.size + 1))
        table = Table(self.output_size, start, output[order], self.weight[order])
        table.__dict__["transposed"] = self
        return table


def table(size: int, index: np.ndarray, weight: np.ndarray | None = None) -> Table:
    """A table with as many taps for each output: index and weight (1, if left out) are [outputs, taps]."""
    index = np.asarray(index, np.int64)
    start = np.arange(index.shape[0] + 1, dtype=np.int64) * index.shape[1]
    return Table(size, start, index.ravel(), np.ones(index.size) if weight is None else np.asarray(weight, np.float64).ravel())


# ---------------------------------------------------------------------------------------- padding
@functools.lru_cache(maxsize=256)
def padding(mode: str, size: int, before: int, after: int) -> Table:
    """An axis longer by `before` and `after`; negative numbers crop.

    mode 'reflect'    d c b | a b c d | c b a     the edge itself is not repeated: at most size - 1 on each side
         'replicate'  a a a | a b c d | d d d
         'circular'   b c d | a b c d | a b c     cropped first, then wrapped around
    """
    place = np.arange(-before, size + after)
    if mode == "reflect":
        place = np.abs(place)
        place = np.where(place < size, place, 2 * (size - 1) - place)
    elif mode == "replicate":
        place = np.clip(place, 0, size - 1)
    else:
        first, last = max(0, -before), size - max(0, -after)
        place = first + (place - first) % (last - first)
    return table(size, place[:, None])
