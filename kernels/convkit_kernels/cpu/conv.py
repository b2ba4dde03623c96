"""Convolution and its two gradients in one to three dimensions, without an im2col buffer.

Everything here is one of two sums over a window's taps.  With a source s, zero outside its edges:

    window sums    y[n, o, k]    = bias[k] + sum over taps t, channels c of  s[n, o*step + t, c] * w[t, c, k]      (+ add[n, o, k], max with 0)
    window outer   w[t, c, k]    =           sum over n, o               of  s[n, o*step + t, c] * g[n, o, k]

The forward pass is window sums of x with taps r*dilation - padding.  The input gradient is window sums of gy: for stride 1 with the taps mirrored,
for larger strides in phases (the pixels a, a + stride, a + 2*stride ... of the input see the same taps), all of a band before the next.  A
transposed convolution is that input gradient.  The weight gradient is window outer.

Memory is [N, D, H, W, C].  Where taps reach over an edge, a band of rows is copied into a zero-framed scratch buffer for each thread.  Window sums
of an image in C order copy each band too, turning it.  Otherwise the source is read where it lies.  Taps whose pixels are neighbours merge into one
contiguous run (a 3x3 window is 3 runs of 3*C numbers), or are taken at once by a tile.  The register tiles are those of `microkernel`; for a
depthwise convolution lane-wise ones, whose columns are channels of both operands.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from itertools import product
from typing import NamedTuple

import numba
import numpy as np
from numba import prange

from ..geometry import Triple, Window
from ..layout import flat, from_channels_last, is_channels_last
from . import tasks, winograd
from .choice import Estimate, Taps, chosen, estimates, spacing
from .copy import channels_last, contiguous, turner
from .denormals import flush_denormals, set_float_mode
from .matmul import finish, flat_or_none, matmul, multiply, pack
from .microkernel import address, call_code, clear_bytes, copy_bytes, finish_kernel, isa, row_split, split_kernels, tile_for
from .runtime import MOST_THREADS, inline, kernel

BAND_BYTES = 1 << 17  # of source in a band: it stays in the second-level cache beside the weights
PARTIAL_BYTES = 1 << 23  # for the partial sums of a weight gradient
SLICE_BYTES = 1 << 19  # of one partial sum that a thread works on at a time
OUTER_PIXELS = 128  # of both operands of a weight gradient that tiles pass over at a time: they stay in the first-level cache
LINE = 16  # elements that are a multiple of a cache line, of either type
PIECE = 4096  # numbers of partial sums that are added at a time
PARTIALS = 16  # at most; their number fixes the order of the sums, so it does not depend on the threads


# ------------------------------------------------------------------------------------- public
def conv_forward(
    x: np.ndarray, w: np.ndarray, bias: np.ndarray | None, window: Window, add: np.ndarray | None = None, relu: bool = False
) -> np.ndarray:  # fmt: skip
    """x [N, C, *in] with w [K, C/groups, *window] and bias [K] -> y [N, K, *out], channels-last in memory.

    Plus `add`, of y's shape, and then max(y, 0) with `relu`, before y is stored: the same bits as one after the other.
    """
    added = None if add is None else channels_last(add)
    out = _out(window, x.shape[2:])
    if window.pointwise and x.flags.c_contiguous and w.size and not is_channels_last(x):  # planes are read where they lie
        y = matmul(x.reshape(*x.shape[:2], -1).swapaxes(1, 2), w.reshape(w.shape[:2]).T[None], bias, added, relu)
        return from_channels_last(y.reshape(x.shape[0], *out, w.shape[0]), window.rank)
    source = _source(x, window)
    y = np.empty((x.shape[0], *out, w.shape[0]), x.dtype)
    if not w.size:  # no channels
        y[...] = 0 if bias is None else bias
        finish(y, added, relu)
    elif window.pointwise:
        multiply(source.reshape(-1, x.shape[1]), w.reshape(w.shape[:2]).T, bias, y.reshape(-1, w.shape[0]), added, relu)
    else:
        _window_sums(source, _weights(w, window), bias, (_Phase((0, 0, 0), _taps(window)),), window.canonical[1], y, (1, 1, 1), added, relu)
    return from_channels_last(y, window.rank)


def conv_input_grad(gy: np.ndarray, w: np.ndarray, bias: np.ndarray | None, input_size: Sequence[int], window: Window) -> np.ndarray:
    """gy [N, K, *out] with w [K, C/groups, *window] -> gx [N, C, *input_size]: the adjoint of `conv_forward`, and the
    transposed convolution, for which `bias` [C] may be added."""
    source = _source(gy, window)
    channels, inside = w.shape[1] * window.groups, (1,) * (3 - window.rank) + tuple(input_size)
    gx = np.empty((gy.shape[0], *inside, channels), gy.dtype)
    if not gx.size:
        return from_channels_last(gx, window.rank)
    if window.pointwise:
        multiply(source.reshape(-1, w.shape[0]), w.reshape(w.shape[:2]), bias, gx.reshape(-1, channels))
        return from_channels_last(gx, window.rank)
    groups, k, c, ntaps = window.groups, w.shape[0] // window.groups, w.shape[1], math.prod(window.size)
    (phases, taps, unseen), stride = _phases(window), window.canonical[1]
    weights = _Weights(contiguous(w).reshape(-1), taps, (groups, k, c), (k * c * ntaps, c * ntaps, ntaps))
    for first in unseen:
        gx[(slice(None), *(slice(a, None, s) for a, s in zip(first, stride, strict=True)))] = 0 if bias is None else bias
    _window_sums(source, weights, bias, phases, (1, 1, 1), gx, stride)
    return from_channels_last(gx, window.rank)


def conv_weight_grad(x: np.ndarray, gy: np.ndarray, window: Window) -> np.ndarray:
    """x [N, C, *in] and gy [N, K, *out] -> gw [K, C/groups, *window], contiguous."""
    source, grad = channels_last(x), channels_last(gy)
    c, k, groups = x.shape[1] // window.groups, gy.shape[1] // window.groups, window.groups
    if window.pointwise:
        return matmul(grad.reshape(-1, k).T, source.reshape(-1, c)).reshape(k, c, *window.size)
    taps, stride = _taps(window), window.canonical[1]
    if taps[:2] == ((0,), (0,)) and stride[:2] == (1, 1) and source.shape[:3] == grad.shape[:3]:
        # Each row sees itself alone: they are the rows of one image, and make long sums.
        source, grad = (a.reshape(1, 1, math.prod(a.shape[:3]), *a.shape[3:]) for a in (source, grad))
    return _window_outer(source, grad, taps, stride, groups).reshape(groups * k, c, *window.size)


def _source(x: np.ndarray, window: Window) -> np.ndarray:
    """x [N, C, *in] as [N, D, H, W, C]: channels-last in memory, or in C order as it was if window sums will read it (a plain product will not)."""
    if window.pointwise or not x.flags.carray:
        return channels_last(x)
    return x.reshape(*x.shape[:2], *(1,) * (3 - window.rank), *x.shape[2:]).transpose(0, 2, 3, 4, 1)


@functools.lru_cache(maxsize=1024)
def _out(window: Window, inside: tuple[int, ...]) -> Triple:
    """Output pixels for an input of spatial size `inside`."""
    return (1,) * (3 - window.rank) + window.output_size(inside)  # type: ignore[return-value]


@functools.lru_cache(maxsize=1024)
def _taps(window: Window) -> Taps:
    """Where the taps of each dimension stand, relative to an output pixel's place in the input."""
    size, _, padding, dilation = window.canonical
    return tuple(tuple(r * d - p for r in range(n)) for n, d, (p, _) in zip(size, dilation, padding, strict=True))  # type: ignore[return-value]


class _Phase(NamedTuple):
    """Output pixels first + spread*o that see the same taps."""

    first: Triple
    taps: Taps


@functools.lru_cache(maxsize=1024)
def _phases(window: Window) -> tuple[tuple[_Phase, ...], np.ndarray, tuple[Triple, ...]]:
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
            phases.append(_Phase(first, tuple(tuple(t for _, t in dim) for dim in seen)))  # type: ignore[arg-type]
            taps.append(np.ravel_multi_index(np.ix_(*([r for r, _ in dim] for dim in seen)), size).reshape(-1))
        else:
            unseen.append(first)
    return tuple(phases), np.concatenate(taps), tuple(unseen)  # type: ignore[return-value, arg-type]


def _planes(a: np.ndarray) -> np.ndarray:
    """[N, D, H, W, C] as images [N*D, H, W, C]."""
    return a.reshape(a.shape[0] * a.shape[1], *a.shape[2:])


class _Weights(NamedTuple):
    """Weights where they lie: element (tap, g, i, j), for input channel i and output channel j of group g, stands at
    flat[taps[tap] + strides . (g, i, j)], with (g, i, j) inside `shape`."""

    flat: np.ndarray
    taps: np.ndarray
    shape: Triple
    strides: Triple


def _weights(w: np.ndarray, window: Window) -> _Weights:
    """w [K, C/groups, *window] as the forward pass reads it."""
    groups, k, c, ntaps = window.groups, w.shape[0] // window.groups, w.shape[1], math.prod(window.size)
    return _Weights(contiguous(w).reshape(-1), _numbered(ntaps), (groups, c, k), (k * c * ntaps, ntaps, c * ntaps))


@functools.lru_cache(maxsize=1024)
def _numbered(taps: int) -> np.ndarray:
    return np.arange(taps)


# --------------------------------------------------------------------------- the walk over bands
# A walk is planned in Python and told to the kernels as one array of integers, at these places (Numba's parallel loops take
# arrays and numbers, not records).  A unit of work is a band of rows of output; it reads a box of the source, which is a
# zero-framed copy where the window reaches over an edge, and the source itself otherwise.
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
PHASES = 22  # whose numbers follow, PHASE for each:
RUN = 23  # contiguous elements that each tap reads
TAP_ROWS = 24  # rows of taps, TAP_STEP apart from TAP_LOW on, each of TAP_COLUMNS taps (runs merged)
TAP_STEP = 25
TAP_LOW = 26
TAP_COLUMNS = 27
TAPS = 28  # 2: its part of the table of taps
FIRST = 30  # 3: its first output pixel
COUNTS = 33  # 3: its output pixels
PHASE = 13


def _walk(
    shape: tuple[int, ...], itemsize: int, phases: tuple[_Phase, ...], step: Triple, size: Triple, spread: Triple, groups: int, turned: bool = False,
    across: bool = False,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:  # fmt: skip
    """Plan the walk over `size` output pixels, in phases whose pixels are `spread` apart and stand `step` pixels apart in a source of `shape`,
    which is in C order if it is to be `turned`: the numbers above; for each tap, or run of taps, where its first element stands in the box; and
    which of all taps it begins with.  The taps of a row may go `across` a tile at once."""
    channels = shape[4]
    reached = [sorted({t for phase in phases for t in phase.taps[i]}) for i in range(3)]
    low, reach = [r[0] for r in reached], [r[-1] - r[0] + 1 for r in reached]
    counts = _counts(size, (0, 0, 0), spread)
    needs = [(n - 1) * s + r for n, s, r in zip(counts, step, reach, strict=True)]
    framed = turned or any(a < 0 or a + n > inside for a, n, inside in zip(low, needs, shape[1:4], strict=True))
    row_bytes = max(1, reach[0] * needs[2] * channels * itemsize)
    rows = max(1, (BAND_BYTES // row_bytes - reach[1]) // step[1] + 1)
    # Few images: cut them finer, so that there is work for several threads.
    bands = max(-(-counts[1] // rows), min(counts[1], -(-16 // (shape[0] * counts[0]))))
    band = -(-counts[1] // bands)
    box = (reach[0], (band - 1) * step[1] + reach[1], needs[2]) if framed else shape[1:4]
    pitch = (box[1] * box[2] * channels, box[2] * channels, channels)
    numbers: list[int] = [*shape, *counts, *step, *low, *box, framed, band, -(-counts[1] // band)]
    numbers += [turner(itemsize) if turned else 0, isa().bytes // itemsize, 0]
    offsets: list[int] = []
    begins: list[int] = []
    taps = 0
    for first, (planes, lines, columns) in phases:
        run, apart = channels // groups, 1
        if across:
            apart = len(columns)
        elif groups == 1 and columns == tuple(range(columns[0], columns[0] + len(columns))):
            run, apart = run * len(columns), len(columns)
        own = _counts(size, first, spread)
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


@inline
def _unit(walk, u):
    """Unit u is rows p0 to p1 of plane d of image n."""
    bands = walk[BANDS]
    p0 = u % bands * walk[BAND]
    return u // (walk[COUNT] * bands), u // bands % walk[COUNT], p0, min(p0 + walk[BAND], walk[COUNT + 1])


def _frames(walk: np.ndarray) -> tuple[int, int]:
    """The shape of frames, one for each thread: whole cache lines."""
    return MOST_THREADS, -(-int(walk[BOX] * walk[BOX + 1] * walk[BOX + 2] * walk[C] * walk[FRAMED]) // LINE) * LINE


@inline
def _box(source, walk, n, d, p0, frame):
    """Address of the unit's box: in `source`, or in this thread's row of `frame` after copying it there, zeros where it leaves the image."""
    channels, size = walk[C], source.itemsize
    first, top, left = d * walk[STEP] + walk[LOW], p0 * walk[STEP + 1] + walk[LOW + 1], walk[LOW + 2]
    if not walk[FRAMED]:
        return address(source) + size * (((n * walk[D] + first) * walk[H] + top) * walk[W] + left) * channels
    pixel, row, lanes = size * channels, size * channels * walk[BOX + 2], walk[LANES]
    begin = max(0, min(walk[BOX + 2], -left))
    end = max(begin, min(walk[BOX + 2], walk[W] - left))
    to = mine = address(frame) + size * numba.get_thread_id() * frame.shape[1]
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
    return mine


@inline
def _tap_rows(walk, phase, p):
    """Which taps of the phase, in the table, are on rows inside the image for output row p; all if none are, or if they lie in several planes."""
    k0, k1, spacing = 0, walk[phase + TAP_ROWS], walk[phase + TAP_STEP]
    top = p * walk[STEP + 1] + walk[phase + TAP_LOW]
    while k0 < k1 and top + k0 * spacing < 0:
        k0 += 1
    while k1 > k0 and top + (k1 - 1) * spacing >= walk[H]:
        k1 -= 1
    first, columns = walk[phase + TAPS], walk[phase + TAP_COLUMNS]
    return (first, walk[phase + TAPS + 1]) if k0 == k1 else (first + k0 * columns, first + k1 * columns)


def _nine(taps: Taps) -> winograd.Taps:
    """The taps of a 1x3x3 window."""
    return winograd.Taps((taps[1][0], taps[2][0]), (spacing(taps[1]), spacing(taps[2])))


# ---------------------------------------------------------------------------------- window sums
def _window_sums(
    source: np.ndarray, w: _Weights, bias: np.ndarray | None, phases: tuple[_Phase, ...], step: Triple, y: np.ndarray, spread: Triple,
    add: np.ndarray | None = None, relu: bool = False,
) -> None:  # fmt: skip
    """y[n, first + spread*o] = window sums, plus `add` there, then max(y, 0) with `relu`, for every o that stays inside y, for each phase."""
    shapes = source.shape, y.shape, y.dtype, w.shape, phases, step, spread
    found = _estimates_of_sums(*shapes)
    if not found:
        return
    start = np.zeros(y.shape[4], y.dtype) if bias is None else contiguous(bias)
    added = flat_or_none(add, y)
    if chosen(found) == "winograd":
        winograd.sums(_planes(contiguous(source)), w.flat, w.taps, w.strides, start, _nine(phases[0].taps), _planes(y), added, relu)
        return
    plan = _plan_sums(*shapes, not source.flags.c_contiguous)
    if plan.depthwise:  # all channels are one group, in which each column of a tile reads its own
        w = w._replace(shape=(1, 1, y.shape[4]), strides=(0, 0, w.strides[0]))
    packed = pack(*w, plan.packed)
    _sum_tiles(flat(source), plan.walk, np.empty(plan.frames, y.dtype), plan.offsets, packed.reshape(*packed.shape[:2], -1), plan.woffsets,
               start, y.reshape(-1), y.shape, spread, plan.tiles, plan.columns, plan.columns if plan.depthwise else 0,
               finish_kernel(y.dtype, add is not None, relu), added)  # fmt: skip


def _counts(y: Sequence[int], first: Triple, spread: Triple) -> Triple:
    """How many pixels first + spread*o are inside y, of so many pixels."""
    return tuple(max(0, -(-(n - a) // s)) for n, a, s in zip(y, first, spread, strict=True))  # type: ignore[return-value]


@functools.lru_cache(maxsize=1024)
def _estimates_of_sums(
    source: tuple[int, ...], y: tuple[int, ...], dtype: np.dtype, w: Triple, phases: tuple[_Phase, ...], step: Triple, spread: Triple
) -> tuple[Estimate, ...]:  # fmt: skip
    """What each algorithm would cost for all phases; nothing if there is nothing to do.  `w` is (groups, C, K)."""
    apart = tuple(s * p for s, p in zip(step, spread, strict=True))
    found = []
    for first, taps in phases:
        counts = _counts(y[1:4], first, spread)
        if y[0] and all(counts):
            found.append(estimates("sums", source[0], source[4], y[4], counts, taps, apart, w[0], counts[0] == source[1], dtype.itemsize))
    return tuple(e[0]._replace(cost=sum(each.cost for each in e)) for e in zip(*found, strict=True))


class _SumsPlan(NamedTuple):
    """What direct sums take besides arrays."""

    walk: np.ndarray
    offsets: np.ndarray  # of taps, in a box of the source
    woffsets: np.ndarray  # and in a block of packed weights
    frames: tuple[int, int]
    columns: int  # of a tile
    packed: int  # of a block of packed weights
    tiles: np.ndarray  # for each phase: the places that follow
    depthwise: bool


HEIGHT, MANY, TILES = range(3)  # a line of output is cut into tiles: `row_split`
CODE = 3  # 4 numbers: the micro-kernels of whole blocks of columns and of the last


@functools.lru_cache(maxsize=1024)
def _plan_sums(
    source: tuple[int, ...], y: tuple[int, ...], dtype: np.dtype, w: Triple, phases: tuple[_Phase, ...], step: Triple, spread: Triple, turned: bool
) -> _SumsPlan:  # fmt: skip
    groups, c, k = w
    walk, offsets, begins = _walk(source, dtype.itemsize, phases, step, y[1:4], spread, groups, turned)  # type: ignore[arg-type]
    depthwise = c == k == 1 and groups > 1
    k = groups if depthwise else k
    of_phases = [walk[i * PHASE :] for i in range(walk[PHASES])]
    most = max(of_phases, key=lambda phase: phase[RUN] * (phase[TAPS + 1] - phase[TAPS]))
    # A tile may take all taps of a row where they are as far apart as the pixels that are its rows.  (Depthwise, memory is what limits.)
    rows, columns = {tuple(t - row[0] for t in row) for _, (_, _, row) in phases}, len(phases[0].taps[2])
    across = columns if not depthwise and rows == {tuple(range(0, columns * step[2], step[2]))} else 1
    tile = tile_for(int(most[COUNTS + 2]), k, dtype, 0 if depthwise else int(most[RUN]), int(most[TAPS + 1] - most[TAPS]), across)
    if tile.across > 1:
        walk, offsets, begins = _walk(source, dtype.itemsize, phases, step, y[1:4], spread, groups, turned, True)  # type: ignore[arg-type]
    packed = 1 if tile.lanes == 1 else tile.columns
    tiles = []
    for phase in of_phases:
        split = row_split(int(phase[COUNTS + 2]), tile.rows)
        whole = split_kernels(tile, split, dtype, lanewise=depthwise)
        part = split_kernels(tile.last(k), split, dtype, masked=depthwise, lanewise=depthwise) if k % tile.columns else whole
        tiles.append(split + whole + part)
    return _SumsPlan(walk, offsets, begins * (c * packed), _frames(walk), tile.columns, packed, np.array(tiles), depthwise)


@kernel
def _sum_tiles(source, walk, frame, offsets, w, woffsets, start, y, shape, spread, tiles, columns, xblock, finish, add):
    """Within a unit: groups, phases, blocks of columns, rows, tiles of pixels; so a block of weights serves the whole band from the cache.

    From one block of columns to the next, x moves by `xblock` channels: 0 where every column reads every channel of its group.
    """
    channels = walk[C]
    _, YD, YH, YW, K = shape
    groups, packed, wsize = w.shape
    k, c, size = K // groups, channels // groups, source.itemsize
    blocks = (k + columns - 1) // columns
    together, winc = (1, columns) if blocks == packed else (columns, wsize)  # packed blocks of one column each are taken together
    row, xrow, ldy = walk[STEP + 1] * walk[BOX + 2] * channels, walk[STEP + 2] * channels, spread[2] * K
    for u in prange(walk[N] * walk[COUNT] * walk[BANDS]):
        before = flush_denormals()
        n, d, p0, p1 = _unit(walk, u)
        x = _box(source, walk, n, d, p0, frame)
        for unit in range(groups * walk[PHASES]):
            g, i = unit // walk[PHASES], unit % walk[PHASES]
            phase = i * PHASE
            height, many = tiles[i, HEIGHT], tiles[i, MANY]
            last = p1 if d < walk[phase + COUNTS] else p0
            YP = (n * YD + walk[phase + FIRST] + d * spread[0]) * YH + walk[phase + FIRST + 1]
            for block in range(blocks):
                j = g * k + block * columns
                code = CODE + (2 if (block + 1) * columns > k else 0)
                for p in range(p0, min(last, walk[phase + COUNTS + 1])):
                    k0, k1 = _tap_rows(walk, phase, p)
                    xp = x + size * ((p - p0) * row + g * c + block * xblock)
                    yp = size * (((YP + p * spread[1]) * YW + walk[phase + FIRST + 2]) * K + j)
                    for t in range(tiles[i, TILES]):
                        q = t * height - max(0, t - many)
                        to = yp + size * q * ldy
                        call_code(
                            tiles[i, code + (0 if t < many else 1)],
                            (xp + size * q * xrow, address(offsets) + 8 * k0, xrow, 1,
                             address(w) + size * (g * packed + block * together) * wsize, address(woffsets) + 8 * k0, winc,
                             k1 - k0, walk[phase + RUN], address(start) + size * j, 0, address(y) + to, ldy, min(columns, k - block * columns)),
                        )  # fmt: skip
                        if finish:
                            rows = height if t < many else height - 1
                            call_code(finish, (address(y) + to, address(add) + to, ldy, rows, min(columns, k - block * columns)))
        set_float_mode(before)


# --------------------------------------------------------------------------------- window outer
def _window_outer(source: np.ndarray, grad: np.ndarray, taps: Taps, step: Triple, groups: int) -> np.ndarray:
    """Window outer of source [N, D, H, W, groups*C] and grad [N, P0, P1, P2, groups*K] -> [groups*K, C, taps].

    Units of work go into `parts` partial sums, added in order: scratch of at most PARTIAL_BYTES or two partial sums.
    Each partial sum is cut into `slices` of output channels that stay in the second-level cache while the units pass.
    """
    c, k, ntaps = source.shape[4] // groups, grad.shape[4], len(taps[0]) * len(taps[1]) * len(taps[2])
    gw = np.empty((k, c, ntaps), grad.dtype)
    if not grad.size or not source.size:
        gw[...] = 0
        return gw
    found = estimates("outer", *source.shape[::4], k, grad.shape[1:4], taps, step, groups, grad.shape[1] == source.shape[1], grad.itemsize)
    if chosen(found) == "winograd":
        winograd.outer(_planes(source), _planes(grad), _nine(taps), gw)
        return gw
    plan = _plan_outer(source.shape, grad.shape, grad.dtype, taps, step, groups)
    sums = np.empty(plan.sums, grad.dtype)
    _outer_tiles(source.reshape(-1), plan.walk, np.empty(plan.frames, grad.dtype), plan.offsets, grad.reshape(-1), plan.xrows, plan.grows, sums,
                 plan.k, plan.split, plan.kernels, plan.columns, plan.rows)  # fmt: skip
    _add_parts(sums, gw)
    return gw


class _OuterPlan(NamedTuple):
    """What direct outer sums take besides arrays."""

    walk: np.ndarray
    offsets: np.ndarray  # of taps, in a box of the source
    xrows: np.ndarray  # where rows of the source begin
    grows: np.ndarray  # and of the gradient
    frames: tuple[int, int]
    sums: tuple[int, ...]  # the shape of partial sums: [parts, slices, groups, taps * C, K of a slice]
    k: int
    columns: int
    split: Triple
    kernels: tuple[int, ...]
    rows: tuple[int, ...]  # of a tile, as `_outer_tiles` says


@functools.lru_cache(maxsize=1024)
def _plan_outer(source: tuple[int, ...], grad: tuple[int, ...], dtype: np.dtype, taps: Taps, step: Triple, groups: int) -> _OuterPlan:
    counts: Triple = grad[1:4]  # type: ignore[assignment]
    c, k, ntaps = source[4] // groups, grad[4] // groups, len(taps[0]) * len(taps[1]) * len(taps[2])
    walk, offsets, _ = _walk(source, dtype.itemsize, (_Phase((0, 0, 0), taps),), step, counts, (1, 1, 1), groups)
    units = int(grad[0] * counts[0] * walk[BANDS])
    size = groups * ntaps * c * k * dtype.itemsize
    parts = min(units, PARTIALS, max(2, PARTIAL_BYTES // size))
    run, apart, depthwise = int(walk[RUN]), 1, c == k == 1 and groups > 1
    if depthwise:  # all channels are one group, in which each column of a tile reads its own; rows of a tile are the taps of a row
        run, apart = len(taps[2]), (taps[2][1] - taps[2][0]) * groups if len(taps[2]) > 1 else 0
        offsets = contiguous(offsets[::run])
        k, groups = groups, 1
    tile = tile_for(run, k, dtype)
    blocks = -(-k // tile.columns)
    blocks_of_slice = -(-blocks // -(-size // SLICE_BYTES))
    wide = k if blocks_of_slice == blocks else blocks_of_slice * tile.columns
    split = row_split(run, tile.rows)
    part = split_kernels(tile.last(k), split, dtype, not depthwise, True, depthwise) if k % tile.columns else (0, 0)
    whole = split_kernels(tile, split, dtype, not depthwise, False, depthwise) if k >= tile.columns else part
    across = 1 if depthwise else int(walk[TAP_COLUMNS])
    rows = np.arange(walk[BAND])
    return _OuterPlan(
        walk, offsets, rows * (step[1] * walk[BOX + 2] * source[4]), rows * (counts[2] * grad[4]), _frames(walk),
        (parts, -(-k // wide), groups, ntaps * c, wide), k, tile.columns, split, whole + part,
        (run, apart, across, max(1, OUTER_PIXELS // counts[2]), int(depthwise)),
    )  # fmt: skip


@kernel
def _outer_tiles(source, walk, frame, offsets, grad, xrows, grows, sums, k, split, kernels, columns, rows):
    """Rows of a tile are positions of a run, columns output channels, and the sum runs over the pixels of a band: both operands
    are read where they lie, and each tile goes back to its partial sum once a band.

    `rows`: how many there are for each offset, how far apart in x, offsets in a row of taps, rows of pixels at a time, and whether columns are
    channels of x.
    """
    run, apart, across, together = rows[0], rows[1], rows[2], rows[3]
    lanewise, channels = rows[4], walk[C]
    P0, P1, P2 = walk[COUNT], walk[COUNT + 1], walk[COUNT + 2]
    parts, slices, groups, _, wide = sums.shape
    c, K, size = channels // groups, k * groups, source.itemsize
    height, many, tiles = split
    units = walk[N] * P0 * walk[BANDS]
    for task in prange(parts * slices):
        part, j0 = task // slices, task % slices * wide
        j1 = min(k, j0 + wide)
        before = flush_denormals()
        sums[part, task % slices] = 0
        for u in range(part * units // parts, (part + 1) * units // parts):
            n, d, p0, p1 = _unit(walk, u)
            x = _box(source, walk, n, d, p0, frame)
            gp = address(grad) + size * ((n * P0 + d) * P1 + p0) * P2 * K
            for first in range(p0, p1, together):
                for g in range(groups):
                    for t in range(offsets.size):
                        # Output rows pa to pb are those for which this tap is inside the image.
                        pa, pb = first, min(first + together, p1)
                        if walk[TAP_ROWS]:
                            top = walk[TAP_LOW] + t // across * walk[TAP_STEP]
                            while pa < pb and pa * walk[STEP + 1] + top < 0:
                                pa += 1
                            while pb > pa and (pb - 1) * walk[STEP + 1] + top >= walk[H]:
                                pb -= 1
                        if pa == pb:
                            continue
                        yt = address(sums) + size * ((task * groups + g) * offsets.size + t) * run * wide
                        for tile in range(tiles):
                            i = tile * height - max(0, tile - many)
                            for j in range(j0, j1, columns):
                                at = yt + size * (i * wide + j - j0)
                                call_code(
                                    kernels[(0 if tile < many else 1) + (2 if j + columns > k else 0)],
                                    (x + size * (offsets[t] + g * c + i * apart + j * lanewise),
                                     address(xrows) + 8 * (pa - p0), apart, walk[STEP + 2] * channels,
                                     gp + size * (g * k + j), address(grows) + 8 * (pa - p0), K, pb - pa, P2,
                                     at, wide, at, wide, min(columns, j1 - j)),
                                )  # fmt: skip
        set_float_mode(before)


def _add_parts(sums: np.ndarray, gw: np.ndarray) -> None:
    """gw[g*k + slice*wide + j, c, tap] = sum over parts of sums[part, slice, g, tap*C + c, j], which end in the first part.

    First the sum, along memory; then the transposition, a cache line of j at a time, because sums are contiguous in j and gw is not.
    """
    parts, slices, groups, _, wide = sums.shape
    filters, channels, ntaps = gw.shape
    line, char = sums.reshape(-1), sums.dtype.char
    if parts > 1:
        pieces = -(-line.size // PIECE)
        plan = np.array([parts, line.size // parts, pieces])
        tasks.run(tasks.compiled(_add, char), pieces, plan, plan, line)
    lines = -(-wide // LINE)
    plan = np.array([slices, lines, wide, filters // groups, channels, ntaps, groups])
    tasks.run(tasks.compiled(_turn, char), groups * slices * lines, plan, plan, line, gw.reshape(-1))


def _add(task, plan, index, sums, b, c, d, e, f, g):
    # sums[0, i] += sum over the other parts of sums[part, i], for a piece of i
    parts, size, pieces = plan[0], plan[1], plan[2]
    for part in range(1, parts):
        for i in range(task * size // pieces, (task + 1) * size // pieces):
            sums[i] += sums[part * size + i]


def _turn(task, plan, index, sums, gw, c, d, e, f, g):
    # gw[group*k + slice*wide + j, channel, tap] = sums[slice, group, tap*C + channel, j]
    slices, lines, wide = plan[0], plan[1], plan[2]
    k, channels, ntaps = plan[3], plan[4], plan[5]
    group, slice_, first = task // (slices * lines), task // lines % slices, task % lines * LINE
    source = (slice_ * plan[6] + group) * ntaps * channels * wide
    result = (group * k + slice_ * wide) * channels * ntaps
    for channel in range(channels):
        for tap in range(ntaps):
            for j in range(first, min(wide, first + LINE, k - slice_ * wide)):
                gw[result + (j * channels + channel) * ntaps + tap] = sums[source + (tap * channels + channel) * wide + j]
