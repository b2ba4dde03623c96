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


# ---------------------------------------------------------------------------------- interpolation
@functools.lru_cache(maxsize=256)
def interpolation(mode: str, size: int, output: int, factor: float | None, align_corners: bool) -> Table | None:
    """An axis of `size` places interpolated to `output` places; None where nothing changes.

    Output place o looks at the input's place

        src = scale * (o + 1/2) - 1/2,    scale = 1 / factor if a factor is given, else size / output
        src = scale * o,                  scale = (size - 1) / (output - 1), with align_corners

    mode 'nearest'         the element at floor(scale * o)
         'nearest-exact'   the element at floor(scale * (o + 1/2))
         'linear'          the two around src, by nearness
         'cubic'           the four around src, by Keys' cubic with a = -3/4
         'area'            the mean over the elements that o / output to (o + 1) / output of the axis touches

    R. Keys, "Cubic convolution interpolation for digital image processing", 1981.
    """
    if mode == "area":
        o = np.arange(output + 1)
        first, last = o[:-1] * size // output, -(-o[1:] * size // output)
        start = np.concatenate([[0], np.cumsum(last - first)])
        index = np.arange(start[-1]) - np.repeat(start[:-1] - first, last - first)
        return None if output == size else Table(size, start, index, np.repeat(1 / (last - first), last - first))
    if mode.startswith("nearest"):
        return _nearest(mode == "nearest-exact", size, output, factor)
    if mode == "linear" and output == size:
        return None
    scale = _scale(size, output, factor, align_corners)
    src = np.arange(output) * scale if align_corners else (np.arange(output) + 0.5) * scale - 0.5
    if mode == "linear":
        src = np.maximum(src, 0)
        left = np.minimum(np.floor(src).astype(np.int64), size - 1)
        t = np.clip(src - left, 0, 1)
        return table(size, np.stack([left, np.minimum(left + 1, size - 1)], 1), np.stack([1 - t, t], 1))
    left = np.floor(src)
    taps = left[:, None] + np.arange(-1, 3)
    return table(size, np.clip(taps, 0, size - 1), cubic(taps - src[:, None], -0.75))


@functools.lru_cache(maxsize=256)
def antialiased(mode: str, size: int, output: int, factor: float | None, align_corners: bool) -> Table | None:
    """`interpolation` that, where it shrinks, widens its filter by the scale, so that each input counts; None where nothing changes.

    The weight of input i is filter((i + 1/2 - centre) / max(scale, 1)) with centre = scale * (o + 1/2), and the weights of an output
    are divided by their sum.  mode 'linear': the triangle; 'cubic': Keys' with a = -1/2; 'lanczos': sinc(x) sinc(x / 3).
    """
    if output == size:
        return None
    scale = _scale(size, output, factor, align_corners)
    function, radius = _FILTERS[mode]
    wide = max(scale, 1.0)
    centre = (np.arange(output) + 0.5) * scale
    first = np.maximum((centre - radius * wide + 0.5).astype(np.int64), 0)
    last = np.minimum((centre + radius * wide + 0.5).astype(np.int64), size)
    start = np.concatenate([[0], np.cumsum(last - first)])
    output_of = np.repeat(np.arange(output), last - first)
    index = np.arange(start[-1]) - (start[:-1] - first)[output_of]
    weight = function((index + 0.5 - centre[output_of]) / wide)
    return Table(size, start, index, weight / np.bincount(output_of, weight, output)[output_of])


def cubic(x: np.ndarray, a: float) -> np.ndarray:
    """Keys' cubic at distance x, zero from 2 on."""
    x = np.abs(x)
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = ((x - 5) * x + 8) * x * a - 4 * a
    return np.where(x <= 1, near, np.where(x < 2, far, 0))


_FILTERS = {
    "linear": (lambda x: np.maximum(1 - np.abs(x), 0), 1),
    "cubic": (lambda x: cubic(x, -0.5), 2),
    "lanczos": (lambda x: np.where(np.abs(x) < 3, np.sinc(x) * np.sinc(x / 3), 0), 3),
}


def _scale(size: int, output: int, factor: float | None, align_corners: bool) -> float:
    if align_corners:
        return (size - 1) / (output - 1) if output > 1 else 0.0
    return 1 / factor if factor else size / output


def _nearest(exact: bool, size: int, output: int, factor: float | None) -> Table | None:
    """In float32, as torch computes it whatever the dtype of the data: a place on the border of two goes the same way."""
    number = np.float32
    scale = number(1 / factor) if factor else number(size) / number(output)
    o = np.arange(output, dtype=np.float32)
    if exact:
        place = np.floor((o + number(0.5)) * scale)
    elif output in (size, 2 * size):  # whatever the factor was
        place = o // (output // size)
    else:
        place = np.floor(o * scale)
    place = np.minimum(place.astype(np.int64), size - 1)
    return None if output == size and (place == np.arange(size)).all() else table(size, place[:, None])
