"""The walk of a window over an image, in bands: what the kernels of a convolution read, and where it lies.

A unit of work is a band of rows of output.  It reads a box of the source, which is a zero-framed copy where the window reaches over an edge and tiles
cannot leave out what is outside, or where the source is in another order, and the source itself otherwise.  A walk is planned in Python and told to
the kernels as one array of integers, at the places below.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from itertools import product
from typing import NamedTuple

import numpy as np

from ..geometry import Triple, Window
from .choice import Taps, spacing
from .copy import turner
from .microkernel import address, call_code, clear_bytes, copy_bytes, isa
from .runtime import MOST_THREADS, inline

BAND_BYTES = 1 << 17  # of source in a band: it stays in the second-level cache beside the weights
LINE = 16  # elements that are a multiple of a cache line, of either type

N, D, H, W, C = range(5)  # shape of the source
COUNT = 5  # 3 numbers: output pixels (of the phase that has most)
STEP = 8  # 3: source pixels from one output pixel to the next
LOW = 11  # 3: first tap of any phase, relative to the output pixel's first source pixel
BOX = 14  # 3: pixels of the box
FRAMED = 17  # is the box a copy?
BAND = 18  # rows of output in a unit
BANDS = 19  # units that make the rows of one plane
TURNER = 20  # code that copies blocks of LANES pixels and channels from an image in C order, or 0
LANES = 21
SIZE = 22  # bytes of a number
PHASES = 23  # whose numbers follow, PHASE for each:
RUN = 24  # contiguous elements that each tap reads
TAP_ROWS = 25  # rows of taps, TAP_STEP apart from TAP_LOW on, each of TAP_COLUMNS taps (runs merged)
TAP_STEP = 26
TAP_LOW = 27
TAP_COLUMNS = 28
TAPS = 29  # 2: its part of the table of taps
FIRST = 31  # 3: its first output pixel
COUNTS = 34  # 3: its output pixels
PHASE = 13


class Phase(NamedTuple):
    """Output pixels first + spread*o that see the same taps."""

    first: Triple
    taps: Taps


@functools.lru_cache(maxsize=1024)
def phases_of(window: Window) -> tuple[tuple[Phase, ...], np.ndarray, tuple[Triple, ...]]:
    """Phases of the input gradient, the numbers of their taps one after the other, and where the phases that no tap sees begin."""
    size, stride, padding, dilation = window.canonical
    phases, taps, unseen = [], [], []
    for first in product(*(range(s) for s in stride)):
        # Input pixel a + stride*o sees output pixel o + t through tap r where a + padding - r*dilation = stride*t.
        seen = [
            [(r, (a + p - r * d) // s) for r in reversed(range(n)) if (a + p - r * d) % s == 0]
            for a, n, s, (p, _), d in zip(first, size, stride, padding, dilation, strict=True)
        ]
        if all(seen):
            phases.append(Phase(first, tuple(tuple(t for _, t in dim) for dim in seen)))  # type: ignore[arg-type]
            taps.append(np.ravel_multi_index(np.ix_(*([r for r, _ in dim] for dim in seen)), size).reshape(-1))
        else:
            unseen.append(first)
    return tuple(phases), np.concatenate(taps), tuple(unseen)  # type: ignore[return-value, arg-type]


def counts_of(y: Sequence[int], first: Triple, spread: Triple) -> Triple:
    """How many pixels first + spread*o are inside y, of so many pixels."""
    return tuple(max(0, -(-(n - a) // s)) for n, a, s in zip(y, first, spread, strict=True))  # type: ignore[return-value]


def walk_of(
    shape: tuple[int, ...], itemsize: int, phases: tuple[Phase, ...], step: Triple, size: Triple, spread: Triple, groups: int, turned: bool = False,
    across: bool = False, cut: bool = False,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:  # fmt: skip
    """Plan the walk over `size` output pixels, in phases whose pixels are `spread` apart and stand `step` pixels apart in a source of `shape`,
    which is in C order if it is to be `turned`: the numbers above; for each tap, or run of taps, where its first element stands in the box; and
    which of all taps it begins with.  The taps of a row may go `across` a tile at once.  Tiles may be `cut`: they read nothing outside."""
    channels = shape[4]
    reached = [sorted({t for phase in phases for t in phase.taps[i]}) for i in range(3)]
    low, reach = [r[0] for r in reached], [r[-1] - r[0] + 1 for r in reached]
    counts = counts_of(size, (0, 0, 0), spread)
    needs = [(n - 1) * s + r for n, s, r in zip(counts, step, reach, strict=True)]
    framed = turned or not cut and any(a < 0 or a + n > inside for a, n, inside in zip(low, needs, shape[1:4], strict=True))
    row_bytes = max(1, reach[0] * needs[2] * channels * itemsize)
    rows = max(1, (BAND_BYTES // row_bytes - reach[1]) // step[1] + 1)
    # Few images: cut them finer, so that there is work for several threads.
    bands = max(-(-counts[1] // rows), min(counts[1], -(-16 // (shape[0] * counts[0]))))
    band = -(-counts[1] // bands)
    box = (reach[0], (band - 1) * step[1] + reach[1], needs[2]) if framed else shape[1:4]
    pitch = (box[1] * box[2] * channels, box[2] * channels, channels)
    numbers: list[int] = [*shape, *counts, *step, *low, *box, framed, band, -(-counts[1] // band)]
    numbers += [turner(itemsize) if turned else 0, isa().bytes // itemsize, itemsize, 0]
    offsets: list[int] = []
    begins: list[int] = []
    taps = 0
    for first, (planes, lines, columns) in phases:
        run, apart = channels // groups, 1
        if across:
            apart = len(columns)
        elif groups == 1 and columns == tuple(range(columns[0], columns[0] + len(columns))):
            run, apart = run * len(columns), len(columns)
        own = counts_of(size, first, spread)
        if all(own):
            at = [[(t - a) * p for t in tap] for tap, a, p in zip((planes, lines, columns[::apart]), low, pitch, strict=True)]
            known = len(offsets)
            offsets += [i + j + k for i, j, k in product(*at)]
            begins += range(taps, taps + len(planes) * len(lines) * len(columns), apart)
            # Rows of taps that fall outside the image are skipped; with several planes of taps they are not one piece of the table.
            skip = (len(lines) if len(planes) == 1 else 0, spacing(lines), lines[0], len(columns) // apart)
            numbers += [run, *skip, known, len(offsets), *first, *own]
            numbers[PHASES] += 1
        taps += len(planes) * len(lines) * len(columns)
    return np.array(numbers, np.int64), np.array(offsets, np.int64), np.array(begins, np.int64)


def can_be_cut(shape: tuple[int, ...], phases: tuple[Phase, ...], step: Triple, size: Triple, spread: Triple) -> bool:
    """Whether tiles that leave out what is outside a row need no frame: every output row sees a row of taps, and all planes are inside."""
    for first, (planes, lines, _) in phases:
        counts = counts_of(size, first, spread)
        if len(planes) > 1 or counts[0] and (planes[0] < 0 or (counts[0] - 1) * step[0] + planes[0] >= shape[1]):
            return False
        if not all(any(0 <= p * step[1] + t < shape[2] for t in lines) for p in range(counts[1])):
            return False
    return True


@inline
def unit_of(walk, u):
    """Unit u is rows p0 to p1 of plane d of image n."""
    bands = walk[BANDS]
    p0 = u % bands * walk[BAND]
    return u // (walk[COUNT] * bands), u // bands % walk[COUNT], p0, min(p0 + walk[BAND], walk[COUNT + 1])


def frames_of(walk: np.ndarray) -> tuple[int, int]:
    """The shape of frames, one for each thread: whole cache lines."""
    return MOST_THREADS, -(-int(walk[BOX] * walk[BOX + 1] * walk[BOX + 2] * walk[C] * walk[FRAMED]) // LINE) * LINE


@inline
def box_of(source, walk, n, d, p0, frame):
    """Address of the unit's box: in `source`, or in `frame` after copying it there, zeros where it leaves the image."""
    channels, size = walk[C], walk[SIZE]
    first, top, left = d * walk[STEP] + walk[LOW], p0 * walk[STEP + 1] + walk[LOW + 1], walk[LOW + 2]
    if not walk[FRAMED]:
        return address(source) + size * (((n * walk[D] + first) * walk[H] + top) * walk[W] + left) * channels
    pixel, row, lanes = size * channels, size * channels * walk[BOX + 2], walk[LANES]
    begin = max(0, min(walk[BOX + 2], -left))
    end = max(begin, min(walk[BOX + 2], walk[W] - left))
    to = address(frame)
    for i in range(first, first + walk[BOX]):
        for j in range(top, top + walk[BOX + 1]):
            if not (0 <= i < walk[D] and 0 <= j < walk[H]):
                clear_bytes(to, row)
            else:
                clear_bytes(to, pixel * begin)
                if walk[TURNER]:
                    plane = size * walk[D] * walk[H] * walk[W]
                    at = address(source) + n * plane * channels + size * ((i * walk[H] + j) * walk[W] + left)
                    for p in range(begin, end, lanes):
                        for c in range(0, channels, lanes):
                            call_code(walk[TURNER], (at + c * plane + size * p, plane, to + pixel * p + size * c, pixel,
                                                     min(lanes, end - p), min(lanes, channels - c)))  # fmt: skip
                else:
                    at = address(source) + pixel * (((n * walk[D] + i) * walk[H] + j) * walk[W] + left)
                    copy_bytes(to + pixel * begin, at + pixel * begin, pixel * (end - begin))
                clear_bytes(to + pixel * end, row - pixel * end)
            to += row
    return address(frame)


@inline
def tap_rows(walk, phase, p):
    """Which taps of the phase, in the table, are on rows inside the image for output row p; all if none are, or if they lie in several planes."""
    k0, k1, spacing = 0, walk[phase + TAP_ROWS], walk[phase + TAP_STEP]
    top = p * walk[STEP + 1] + walk[phase + TAP_LOW]
    while k0 < k1 and top + k0 * spacing < 0:
        k0 += 1
    while k1 > k0 and top + (k1 - 1) * spacing >= walk[H]:
        k1 -= 1
    first, columns = walk[phase + TAPS], walk[phase + TAP_COLUMNS]
    return (first, walk[phase + TAPS + 1]) if k0 == k1 else (first + k0 * columns, first + k1 * columns)
