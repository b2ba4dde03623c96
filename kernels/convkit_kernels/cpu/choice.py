"""How a convolution is done: what each algorithm would cost, and why one is taken.

The costs are in vector instructions of one thread: an FMA of a register tile, or what takes as long.  The constants were measured on a Xeon with
AVX-512; `calibration.py` knows how another machine differs.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

from .. import algorithm
from .calibration import factors
from .microkernel import isa

Taps = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]  # of a window, in each dimension

# Direct sums: instructions for each FMA of a tile, for window sums and for window outer.
DIRECT = {"sums": 1.2, "outer": 1.4}
ADD_LANES = 10  # for the lanes of a vector
# Winograd: for each FMA; for a patch of one tile and one vector of channels, there and back; for a 3x3 window of one vector of weights.
PRODUCT = {"sums": 1.35, "outer": 1.4}
PATCH = {"sums": 650.0, "outer": 900.0}
WINDOW = 2400.0
# Direct sums that cost less, about a millisecond, are not worth seconds of compiling another algorithm.
LITTLE = 4e6


class Estimate(NamedTuple):
    """What an algorithm would cost, or why it cannot be used."""

    algorithm: str
    cost: float
    refused: str


@functools.lru_cache(maxsize=1024)
def estimates(sum_: str, images: int, channels: int, filters: int, out: tuple[int, int, int], taps: Taps, apart: tuple[int, ...], groups: int,
              plane_by_plane: bool, itemsize: int) -> tuple[Estimate, ...]:  # fmt: skip
    """Both algorithms for one of the two sums ("sums" or "outer") of `cpu/conv.py`: `images` of `channels`, giving `filters` at `out` pixels each,
    `apart` from each other; `plane_by_plane` if each plane of a volume gives one plane."""
    lanes = isa().bytes // itemsize
    c, k = channels // groups, filters // groups
    vectors = -(-k // lanes)
    places = len(taps[0]) * len(taps[1]) * len(taps[2])
    pixels = images * out[0] * out[1] * out[2]
    steps = c * places * vectors
    if sum_ == "sums":  # with few filters, vectors lie along the sum: `microkernel.tile_for`
        steps = min(steps, k * (-(-c * places // lanes) + ADD_LANES))
    here = factors()  # what `convkit warmup` measured
    direct = Estimate("direct", here["direct"][sum_] * DIRECT[sum_] * pixels * groups * steps, "")
    tiles = images * out[0] * tiles_along(out[1], spacing(taps[1])) * tiles_along(out[2], spacing(taps[2]))
    products = PRODUCT[sum_] * tiles * 36 * c * vectors
    patches = PATCH[sum_] * tiles * (-(-c // lanes) + vectors)
    cost = here["winograd"][sum_] * (products + patches + WINDOW * c * vectors)
    return direct, Estimate("winograd", cost, _refused(taps, apart, groups, plane_by_plane))


def _refused(taps: Taps, apart: tuple[int, ...], groups: int, plane_by_plane: bool) -> str:
    """Why Winograd's algorithm cannot be used, or nothing."""
    if groups != 1:
        return f"{groups} groups"
    if apart != (1, 1, 1):
        return "a stride"
    if [len(t) for t in taps] != [1, 3, 3]:
        return f"a window of {'x'.join(str(len(t)) for t in taps)} taps, not 1x3x3"
    if not plane_by_plane or taps[0] != (0,):
        return "planes of output that are not planes of input"
    return ""


def spacing(taps: tuple[int, ...]) -> int:
    """How far apart the taps of a dimension are."""
    return taps[1] - taps[0] if len(taps) > 1 else 1


def tiles_along(pixels: int, apart: int) -> int:
    """Tiles of 4 pixels, `apart` from each other, that cover so many: those of the longest phase, for each phase."""
    return apart * -(-pixels // (4 * apart))


def chosen(found: tuple[Estimate, ...]) -> str:
    """The algorithm to use: the one asked for if it can be, or else the one of least cost; direct sums where there is little to do."""
    wanted = algorithm.wanted()
    able = [e for e in found if not e.refused]
    if wanted == "auto":
        taken = "direct" if found[0].cost < LITTLE else min(able, key=lambda e: e.cost).algorithm
    else:
        taken = wanted if any(e.algorithm == wanted for e in able) else "direct"
    algorithm.tell(found, taken)
    return taken
