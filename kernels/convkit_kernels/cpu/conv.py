"""Convolution and its two gradients in one to three dimensions, without an im2col buffer.

Everything here is one of two sums over a window's taps.  With a source s, zero outside its edges:

    window sums    y[n, o, k]    = bias[k] + sum over taps t, channels c of  s[n, o*step + t, c] * w[t, c, k]      (+ add[n, o, k], max with 0)
    window outer   w[t, c, k]    =           sum over n, o               of  s[n, o*step + t, c] * g[n, o, k]

The forward pass is window sums of x with taps r*dilation - padding.  The input gradient is window sums of gy: for stride 1 with the taps mirrored,
for larger strides in phases (the pixels a, a + stride, a + 2*stride ... of the input see the same taps), all of a band before the next.  A
transposed convolution is that input gradient.  The weight gradient is window outer.

Memory is [N, D, H, W, C].  The source is read where it lies, and window sums leave out what is outside.  Tiles that cannot (depthwise, of few
channels, of several planes) read a zero-framed copy of a band of rows, in a scratch buffer for each thread.  Window sums of an
image in C order copy each band too, turning it.  Weight gradients copy into the panels of `outer`.  Taps whose pixels are neighbours merge into one
contiguous run (a 3x3 window is 3 runs of 3*C numbers), or are taken at once by a tile.  The register tiles are those of `microkernel`; for a
depthwise convolution lane-wise ones, whose columns are channels of both operands.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ..geometry import Triple, Window
from ..layout import from_channels_last, in_c_order, is_channels_last
from . import outer, tasks, winograd
from .bands import (
    BAND,
    BANDS,
    BOX,
    COUNT,
    COUNTS,
    FIRST,
    FRAMED,
    PHASE,
    PHASES,
    RUN,
    SIZE,
    STEP,
    TAP_COLUMNS,
    TAP_LOW,
    TAP_ROWS,
    TAP_STEP,
    TAPS,
    C,
    H,
    N,
    Phase,
    box_of,
    can_be_cut,
    counts_of,
    frames_of,
    phases_of,
    tap_rows,
    unit_of,
    walk_of,
)  # fmt: skip
from .choice import Taps, chosen, estimates, spacing
from .copy import channels_last, contiguous
from .finish import finish_kernel
from .matmul import MACS, finish, matmul, multiply, pack
from .microkernel import address, call_code, clear_bytes, isa, pieces_of, row_split, split_kernels, tile_for, tile_kernel
from .sliding import places, sliding, sliding_kernel

OUTER_PIXELS = 128  # that lane-wise tiles of a weight gradient pass over at a time: both operands stay in the first-level cache


# ------------------------------------------------------------------------------------- public
def conv_forward(
    x: np.ndarray, w: np.ndarray, bias: np.ndarray | None, window: Window, add: np.ndarray | None = None, relu: bool = False
) -> np.ndarray:  # fmt: skip
    """x [N, C, *in] with w [K, C/groups, *window] and bias [K] -> y [N, K, *out], channels-last in memory.

    Plus `add`, of y's shape, and then max(y, 0) with `relu`, before y is stored: the same bits as one after the other.
    """
    if window.pointwise or not w.size:
        return _product(x, w, bias, window, add, relu)
    sums = _forward(x.shape, x.strides, x.dtype, w.shape, window, add is not None, relu)
    return sums.run(x, w, bias, None if add is None else channels_last(add))


def conv_input_grad(gy: np.ndarray, w: np.ndarray, bias: np.ndarray | None, input_size: Sequence[int], window: Window) -> np.ndarray:
    """gy [N, K, *out] with w [K, C/groups, *window] -> gx [N, C, *input_size]: the adjoint of `conv_forward`, and the
    transposed convolution, for which `bias` [C] may be added."""
    if window.pointwise or not w.size:
        source = channels_last(gy)
        gx = np.empty((gy.shape[0], *(1,) * (3 - window.rank), *input_size, w.shape[1] * window.groups), gy.dtype)
        if gx.size:
            multiply(source.reshape(-1, w.shape[0]), w.reshape(w.shape[:2]), bias, gx.reshape(-1, w.shape[1]))
        return from_channels_last(gx, window.rank)
    return _input_grad(gy.shape, gy.strides, gy.dtype, w.shape, tuple(input_size), window).run(gy, w, bias)


def conv_weight_grad(x: np.ndarray, gy: np.ndarray, window: Window) -> np.ndarray:
    """x [N, C, *in] and gy [N, K, *out] -> gw [K, C/groups, *window], contiguous."""
    if window.pointwise:
        source, grad = channels_last(x), channels_last(gy)
        c, k = x.shape[1], gy.shape[1]
        return matmul(grad.reshape(-1, k).T, source.reshape(-1, c)).reshape(k, c, *window.size)
    sums = _weight_grad(x.shape, gy.shape, x.dtype, window)
    x, gy = (a if a.flags.aligned and is_channels_last(a) else _in_channels_last(a) for a in (x, gy))
    return sums.run(x, gy)


def _product(x: np.ndarray, w: np.ndarray, bias: np.ndarray | None, window: Window, add: np.ndarray | None, relu: bool) -> np.ndarray:
    """`conv_forward` where it is a product of matrices, or where there are no channels."""
    added, out = None if add is None else channels_last(add), _out(window, x.shape[2:])
    if window.pointwise and x.flags.c_contiguous and w.size and not is_channels_last(x):  # planes are read where they lie
        y = matmul(x.reshape(*x.shape[:2], -1).swapaxes(1, 2), w.reshape(w.shape[:2]).T[None], bias, added, relu)
        return from_channels_last(y.reshape(x.shape[0], *out, w.shape[0]), window.rank)
    y = np.empty((x.shape[0], *out, w.shape[0]), x.dtype)
    if not w.size:
        y[...] = 0 if bias is None else bias
        finish(y, added, relu)
    else:
        multiply(channels_last(x).reshape(-1, x.shape[1]), w.reshape(w.shape[:2]).T, bias, y.reshape(-1, w.shape[0]), added, relu)
    return from_channels_last(y, window.rank)


def _in_channels_last(a: np.ndarray) -> np.ndarray:
    """a [N, C, *spatial] in channels-last memory."""
    return np.moveaxis(contiguous(np.moveaxis(a, 1, -1)), -1, 1)


def _canonical(shape: Sequence[int], rank: int) -> tuple[int, ...]:
    """[N, C, *spatial] -> [N, D, H, W, C]."""
    return (shape[0], *(1,) * (3 - rank), *shape[2:], shape[1])


@functools.lru_cache(maxsize=1024)
def _forward(
    x: tuple[int, ...], strides: tuple[int, ...], dtype: np.dtype, w: tuple[int, ...], window: Window, add: bool, relu: bool
) -> _WindowSums:  # fmt: skip
    """The sums of a forward pass."""
    turned = in_c_order(x, strides, dtype.itemsize)
    groups, k, c, ntaps = window.groups, w[0] // window.groups, w[1], math.prod(window.size)
    weights = _Weights(np.arange(ntaps), (groups, c, k), (k * c * ntaps, ntaps, c * ntaps))
    phases, y = (Phase((0, 0, 0), _taps(window)),), (x[0], *_out(window, x[2:]), w[0])
    return _WindowSums(_canonical(x, window.rank), turned, dtype, weights, phases, (), window.canonical[1], y, (1, 1, 1), window.rank, add, relu)


@functools.lru_cache(maxsize=1024)
def _input_grad(
    gy: tuple[int, ...], strides: tuple[int, ...], dtype: np.dtype, w: tuple[int, ...], input_size: tuple[int, ...], window: Window
) -> _WindowSums:  # fmt: skip
    """The sums of an input gradient."""
    turned = in_c_order(gy, strides, dtype.itemsize)
    groups, k, c, ntaps = window.groups, w[0] // window.groups, w[1], math.prod(window.size)
    phases, taps, unseen = phases_of(window)
    weights = _Weights(taps, (groups, k, c), (k * c * ntaps, c * ntaps, ntaps))
    y = _canonical((gy[0], c * groups, *input_size), window.rank)
    return _WindowSums(_canonical(gy, window.rank), turned, dtype, weights, phases, unseen, (1, 1, 1), y, window.canonical[1], window.rank)


@functools.lru_cache(maxsize=1024)
def _weight_grad(x: tuple[int, ...], gy: tuple[int, ...], dtype: np.dtype, window: Window) -> _WindowOuter:
    """The sums of a weight gradient."""
    source, grad = _canonical(x, window.rank), _canonical(gy, window.rank)
    taps, stride = _taps(window), window.canonical[1]
    if taps[:2] == ((0,), (0,)) and stride[:2] == (1, 1) and source[:3] == grad[:3]:
        # Each row sees itself alone: they are the rows of one image, and make long sums.
        source, grad = ((1, 1, math.prod(a[:3]), *a[3:]) for a in (source, grad))
    return _WindowOuter(source, grad, dtype, taps, stride, window.groups, (gy[1], x[1] // window.groups, *window.size))


@functools.lru_cache(maxsize=1024)
def _out(window: Window, inside: tuple[int, ...]) -> Triple:
    """Output pixels for an input of spatial size `inside`."""
    return (1,) * (3 - window.rank) + window.output_size(inside)  # type: ignore[return-value]


@functools.lru_cache(maxsize=1024)
def _taps(window: Window) -> Taps:
    """Where the taps of each dimension stand, relative to an output pixel's place in the input."""
    size, _, padding, dilation = window.canonical
    return tuple(tuple(r * d - p for r in range(n)) for n, d, (p, _) in zip(size, dilation, padding, strict=True))  # type: ignore[return-value]


def _planes(shape: tuple[int, ...]) -> tuple[int, ...]:
    """[N, D, H, W, C] as images [N*D, H, W, C]."""
    return (shape[0] * shape[1], *shape[2:])


class _Weights(NamedTuple):
    """Weights where they lie: element (tap, g, i, j), for input channel i and output channel j of group g, stands at
    taps[tap] + strides . (g, i, j), with (g, i, j) inside `shape`."""

    taps: np.ndarray
    shape: Triple
    strides: Triple


def _nine(taps: Taps) -> winograd.Taps:
    """The taps of a 1x3x3 window."""
    return winograd.Taps((taps[1][0], taps[2][0]), (spacing(taps[1]), spacing(taps[2])))


# ---------------------------------------------------------------------------------- window sums
class _WindowSums:
    """Window sums of arrays of these shapes, for each phase, and all that they take besides numbers.

    The source [N, D, H, W, C] lies in that order, or is `turned`, planes of channels, or (None) is copied; y [N, *out, K] has as many dimensions as
    the image had.  Sums go to the pixels first + spread*o that are inside y; those of the phases `unseen` see no tap.
    """

    def __init__(
        self, source: tuple[int, ...], turned: bool | None, dtype: np.dtype, w: _Weights, phases: tuple[Phase, ...], unseen: tuple[Triple, ...],
        step: Triple, y: tuple[int, ...], spread: Triple, rank: int, add: bool = False, relu: bool = False,
    ) -> None:  # fmt: skip
        self.source, self.turned, self.dtype, self.w, self.phases, self.unseen = source, turned, dtype, w, phases, unseen
        self.step, self.y, self.spread, self.adds, self.relu = step, y, spread, add, relu
        self.shape, self.axes = (y[0], *y[4 - rank :]), (0, rank + 1, *range(1, rank + 1))
        self.zeros = np.zeros(y[4], dtype)
        apart = tuple(s * p for s, p in zip(step, spread, strict=True))
        costs = []
        for first, taps in phases:
            counts = counts_of(y[1:4], first, spread)
            if y[0] and all(counts):
                plane_by_plane = counts[0] == source[1]
                costs.append(estimates("sums", source[0], source[4], y[4], counts, taps, apart, w.shape[0], plane_by_plane, dtype.itemsize))
        # What each algorithm would cost for all phases; nothing if there is nothing to do.
        self.found = tuple(e[0]._replace(cost=sum(each.cost for each in e)) for e in zip(*costs, strict=True))

    def run(self, source: np.ndarray, w: np.ndarray, bias: np.ndarray | None, add: np.ndarray | None = None) -> np.ndarray:
        """y [N, K, *out] = window sums, plus `add` [N, D, H, W, K], then max(y, 0) if asked for."""
        y, w = np.empty(self.shape, self.dtype), contiguous(w)
        if self.turned is None or not source.flags.aligned:
            source = contiguous(source) if self.turned else _in_channels_last(source)
        for first in self.unseen:
            pixels = y.reshape(self.y)
            pixels[(slice(None), *(slice(a, None, s) for a, s in zip(first, self.spread, strict=True)))] = 0 if bias is None else bias
        if self.found:
            start = self.zeros if bias is None else contiguous(bias)
            if chosen(self.found) == "winograd":
                images, result = channels_last(source).reshape(_planes(self.source)), y.reshape(_planes(self.y))
                added = self.zeros[:0] if add is None else add.reshape(-1)
                taps, strides = self.w.taps, self.w.strides
                winograd.sums(images, w.reshape(-1), taps, strides, start, _nine(self.phases[0].taps), result, added, self.relu)
            else:
                plan = self.direct
                packed = pack(w, *plan.w, plan.packed) if plan.places is None else w.reshape(-1)[plan.places]
                tasks.run(plan.code, plan.units, plan.walk, plan.table, source, packed, start, y, y if add is None else add,
                          scratch=np.empty(plan.frames, self.dtype), flush=True, work=plan.work)  # fmt: skip
        return y.transpose(self.axes)

    @functools.cached_property
    def direct(self) -> _SumsPlan:
        """How direct sums go about it."""
        return _plan_sums(self.source, self.y, self.dtype, self.w, self.phases, self.step, self.spread, bool(self.turned), self.adds, self.relu)


class _SumsPlan(NamedTuple):
    """What direct sums take besides arrays of numbers."""

    code: int
    units: int
    walk: np.ndarray
    table: np.ndarray  # the places that follow
    frames: tuple[int, int]
    w: _Weights
    packed: int  # columns of a block of packed weights
    work: float  # see `tasks.run`
    places: np.ndarray | None = None  # of weights that are packed one by one


Y = 0  # 4 numbers: planes, rows, columns and channels of y
SPREAD = 4  # 3: how far apart output pixels are in y
GROUPS = 7  # of channels
COLUMNS = 8  # of a tile
XBLOCK = 9  # channels that x moves by from one block of columns to the next: 0 where every column reads every channel of its group
WBLOCK, WGROUP, WINC = 10, 11, 12  # elements of packed weights from block to block, from group to group, and from step to step
FINISH = 13  # code that adds, and cuts off at 0, or 0
OFFSETS, WOFFSETS = 14, 15  # where these begin in this table: of taps, in a box of the source and in a block of weights
TILES = 16  # for each phase 2 numbers: where in this table its tiles of a line of output begin and end, each of TILE numbers:
FIRST_ROW, HEIGHT, STEPS, CODE, TILE = 0, 1, 2, 3, 5  # and 2 micro-kernels, of whole blocks of columns and of the last


def _plan_sums(
    source: tuple[int, ...], y: tuple[int, ...], dtype: np.dtype, w: _Weights, phases: tuple[Phase, ...], step: Triple, spread: Triple, turned: bool,
    add: bool, relu: bool,
) -> _SumsPlan:  # fmt: skip
    groups, c, k = w.shape
    finishing = finish_kernel(dtype, add, relu)
    work = math.prod(y) * (0.5 + c * w.taps.size / math.prod(spread) * dtype.itemsize / MACS)
    if groups == len(phases) == 1 and spread == (1, 1, 1) and not turned:
        plan = _plan_sliding(source, y, dtype, w, phases[0].taps, step, finishing, work)
        if plan is not None:
            return plan
    walk, offsets, begins = walk_of(source, dtype.itemsize, phases, step, y[1:4], spread, groups, turned)  # type: ignore[arg-type]
    depthwise = c == k == 1 and groups > 1
    groups, k = (1, groups) if depthwise else (groups, k)
    of_phases = [walk[i * PHASE :] for i in range(walk[PHASES])]
    most = max(of_phases, key=lambda phase: phase[RUN] * (phase[TAPS + 1] - phase[TAPS]))
    # A tile may take all taps of a row where they are as far apart as the pixels that are its rows.  (Depthwise, memory is what limits.)
    rows, columns = {tuple(t - row[0] for t in row) for _, (_, _, row) in phases}, len(phases[0].taps[2])
    across = columns if not depthwise and rows == {tuple(range(0, columns * step[2], step[2]))} else 1
    tile = tile_for(int(most[COUNTS + 2]), k, dtype, 0 if depthwise else int(most[RUN]), int(most[TAPS + 1] - most[TAPS]), across)
    if tile.across > 1:
        walk, offsets, begins = walk_of(source, dtype.itemsize, phases, step, y[1:4], spread, w.shape[0], turned, True)  # type: ignore[arg-type]
    elif walk[FRAMED] and tile.lanes > 1 and not depthwise and not turned and can_be_cut(source, phases, step, y[1:4], spread):  # type: ignore[arg-type]
        walk, offsets, begins = walk_of(source, dtype.itemsize, phases, step, y[1:4], spread, w.shape[0], cut=True)  # type: ignore[arg-type]
    packed = 1 if tile.lanes == 1 else tile.columns
    tiles: list[int] = []
    ends: list[int] = []
    of_phases, seen = [walk[i * PHASE :] for i in range(walk[PHASES])], [p for p in phases if all(counts_of(y[1:4], p.first, spread))]
    for phase, (_, (_, _, row)) in zip(of_phases, seen, strict=True):
        height, many, count = row_split(int(phase[COUNTS + 2]), tile.rows)
        for t in range(count):
            q, high = t * height - max(0, t - many), height if t < many else height - 1
            pieces = () if walk[FRAMED] else pieces_of(q, high, row, step[2], source[3], int(phase[TAP_COLUMNS]))
            whole = tile_kernel(tile, high, dtype, lanewise=depthwise, pieces=pieces)
            part = tile_kernel(tile.last(k), high, dtype, masked=depthwise, lanewise=depthwise, pieces=pieces) if k % tile.columns else whole
            tiles += [q, high, c if pieces else int(phase[RUN]), whole, part]
        ends.append(len(tiles))
    block = packed * c * sum(len(a) * len(b) * len(d) for _, (a, b, d) in phases)
    # Packed blocks of one column each are taken together.
    strides = (tile.columns // packed * block, -(-k // packed) * block, tile.columns if packed > 1 else block)
    numbers = [*y[1:], *spread, groups, tile.columns, tile.columns if depthwise else 0, *strides, finishing]
    if depthwise:  # all channels are one group, in which each column of a tile reads its own
        w = w._replace(shape=(1, 1, y[4]), strides=(0, 0, w.strides[0]))
    return _planned_sums(dtype, walk, numbers, ends, tiles, offsets, begins * (c * packed), w, packed, work)


def _planned_sums(
    dtype: np.dtype, walk: np.ndarray, numbers: list[int], ends: list[int], tiles: list[int], offsets: np.ndarray, woffsets: np.ndarray, w: _Weights,
    packed: int, work: float, places: np.ndarray | None = None,
) -> _SumsPlan:  # fmt: skip
    """All numbers in one table; `ends` of each phase's tiles."""
    ends = [TILES + 2 * len(ends) + end for end in (0, *ends)]
    tiles = [*(end for pair in itertools.pairwise(ends) for end in pair), *tiles]
    known = TILES + len(tiles)
    table = np.concatenate([[*numbers, known, known + len(offsets), *tiles], offsets, woffsets])
    units = walk[N] * walk[COUNT] * walk[BANDS]
    return _SumsPlan(tasks.compiled(_sum_tiles, dtype.char), int(units), walk, table, frames_of(walk), w, packed, work, places)


def _plan_sliding(
    source: tuple[int, ...], y: tuple[int, ...], dtype: np.dtype, w: _Weights, taps: Taps, step: Triple, finishing: int, work: float
) -> _SumsPlan | None:  # fmt: skip
    """Sums to few channels whose tiles slide, if they do: rows of the image are the pixels of a line, and their numbers its channels."""
    shape = sliding(source, y, taps, step, dtype)
    of_rows, step_of_rows = Phase((0, 0, 0), (taps[0], (0,), taps[1])), (step[0], 1, step[1])
    lines, out = (*source[:2], 1, source[2], source[3] * source[4]), (*y[:2], 1, y[2], y[3] * y[4])
    if shape is None or not can_be_cut(lines, (of_rows,), step_of_rows, out[1:4], (1, 1, 1)):  # type: ignore[arg-type]
        return None
    walk, offsets, begins = walk_of(lines, dtype.itemsize, (of_rows,), step_of_rows, out[1:4], (1, 1, 1), 1, cut=True)  # type: ignore[arg-type]
    tiles: list[int] = []
    height, many, count = row_split(y[2], isa().tiles[shape.vectors])
    for t in range(count):
        p, high = t * height - max(0, t - many), height if t < many else height - 1
        code = sliding_kernel(shape, high, pieces_of(p, high, taps[1], step[1], source[2], len(taps[1])), dtype)
        tiles += [p, high, 0, code, code]
    numbers = [*out[1:], 1, 1, 1, 1, out[4], 0, 0, 0, 0, finishing]
    index = places(shape, w.taps, w.strides[1:], dtype)
    return _planned_sums(dtype, walk, numbers, [len(tiles)], tiles, offsets, begins, w, 0, work, index)


def _sum_tiles(task, walk, table, source, w, start, y, add, f, frame):
    # Within a unit: groups, phases, blocks of columns, rows, tiles of pixels; so a block of weights serves the whole band from the cache.
    channels, size = walk[C], walk[SIZE]
    YD, YH, YW = table[Y], table[Y + 1], table[Y + 2]
    K, groups, columns = table[Y + 3], table[GROUPS], table[COLUMNS]
    k, c = K // groups, channels // groups
    row, xrow, ldy = walk[STEP + 1] * walk[BOX + 2] * channels, walk[STEP + 2] * channels, table[SPREAD + 2] * K
    offsets, woffsets = address(table) + 8 * table[OFFSETS], address(table) + 8 * table[WOFFSETS]
    n, d, p0, p1 = unit_of(walk, task)
    x = box_of(source, walk, n, d, p0, frame)
    for unit in range(groups * walk[PHASES]):
        g, phase, tiles = unit // walk[PHASES], unit % walk[PHASES] * PHASE, TILES + unit % walk[PHASES] * 2
        last = p1 if d < walk[phase + COUNTS] else p0
        YP = (n * YD + walk[phase + FIRST] + d * table[SPREAD]) * YH + walk[phase + FIRST + 1]
        for block in range((k + columns - 1) // columns):
            j = g * k + block * columns
            code, some = CODE + (1 if (block + 1) * columns > k else 0), min(columns, k - block * columns)
            for p in range(p0, min(last, walk[phase + COUNTS + 1])):
                k0, k1 = tap_rows(walk, phase, p)
                xp = x + size * ((p - p0) * row + g * c + block * table[XBLOCK])
                yp = size * (((YP + p * table[SPREAD + 1]) * YW + walk[phase + FIRST + 2]) * K + j)
                for t in range(table[tiles], table[tiles + 1], TILE):
                    q = table[t + FIRST_ROW]
                    to = yp + size * q * ldy
                    call_code(
                        table[t + code],
                        (xp + size * q * xrow, offsets + 8 * k0, xrow, 1, address(w) + size * (g * table[WGROUP] + block * table[WBLOCK]),
                         woffsets + 8 * k0, table[WINC], k1 - k0, table[t + STEPS], address(start) + size * j, 0, address(y) + to, ldy, some),
                    )  # fmt: skip
                    if table[FINISH]:
                        call_code(table[FINISH], (address(y) + to, address(add) + to, ldy, table[t + HEIGHT], some))


# --------------------------------------------------------------------------------- window outer
class _WindowOuter:
    """Window outer of source [N, D, H, W, groups*C] and grad [N, P0, P1, P2, groups*K], and all that it takes besides numbers.

    What a tile reads is copied into panels (see `outer`), but for depthwise convolutions.
    """

    def __init__(
        self, source: tuple[int, ...], grad: tuple[int, ...], dtype: np.dtype, taps: Taps, step: Triple, groups: int, gw: tuple[int, ...]
    ) -> None:  # fmt: skip
        self.source, self.grad, self.dtype, self.taps, self.step, self.groups, self.gw = source, grad, dtype, taps, step, groups, gw
        plane_by_plane = grad[1] == source[1]
        self.found = estimates("outer", *source[::4], grad[4], grad[1:4], taps, step, groups, plane_by_plane, dtype.itemsize)  # type: ignore[arg-type]

    def run(self, source: np.ndarray, grad: np.ndarray) -> np.ndarray:
        """gw [groups*K, C, *window] of images in channels-last memory."""
        if not grad.size or not source.size:
            return np.zeros(self.gw, self.dtype)
        if chosen(self.found) == "winograd":
            gw = np.empty(self.gw, self.dtype)
            images, grads = channels_last(source).reshape(_planes(self.source)), channels_last(grad).reshape(_planes(self.grad))
            winograd.outer(images, grads, _nine(self.taps), gw.reshape(*self.gw[:2], -1))
            return gw
        plan, shape, together = self.direct
        gw = np.empty(shape, self.dtype)
        plan.run(source, grad, gw)
        if together > 1:
            k, s = self.gw[0], self.gw[-1]
            gw = functools.reduce(np.add, [gw[i * k : (i + 1) * k, ..., i : i + s] for i in range(together)])
        return gw.reshape(self.gw)

    @functools.cached_property
    def direct(self) -> tuple[outer.Plan, tuple[int, ...], int]:
        """How direct sums go about it; the shape of what they give, in three dimensions; how many pixels side by side count as one."""
        grad, taps, step = self.grad, self.taps, self.step
        if self.groups > 1 and self.groups == self.source[4] == grad[4]:
            plan, together = _plan_lanes(self.source, grad, self.dtype, taps, step, self.groups), 1
        else:
            together = _side_by_side(grad, self.dtype, taps, step, self.groups)
            if together > 1:
                last = taps[2][-1] + 1
                grad, taps = (*grad[:3], grad[3] // together, grad[4] * together), (*taps[:2], (*taps[2], *range(last, last + together - 1)))
                step = (*step[:2], together)
            plan = outer.panels(self.source, grad, self.dtype, taps, step, self.groups)
        return plan, (grad[4], self.source[4] // self.groups, *(len(t) for t in taps)), together


def _side_by_side(grad: tuple[int, ...], dtype: np.dtype, taps: Taps, step: Triple, groups: int) -> int:
    """How many neighbouring pixels of a gradient of few channels count as one of more, so that they fill a vector.

    Each tap of theirs then serves one pixel as its tap s, the next as its tap s - 1, and so on; what would be none is left out in the end.
    """
    room = isa().bytes // dtype.itemsize // grad[4]
    if groups > 1 or step[2] > 1 or len(taps[2]) < 2 or spacing(taps[2]) > 1:
        return 1
    return max(n for n in range(1, max(2, min(room, len(taps[2])) + 1)) if grad[3] % n == 0)


RUNS, RUN_LENGTH, APART, WIDE, TOGETHER = range(5)  # rows of taps; taps of one, and how far apart in the source; columns of a tile; lines at a time
OUTER_SPLIT, OUTER_CODE = 5, 8  # how `row_split` cuts a row of taps into tiles; 4 micro-kernels
PARTS, BLOCKS = 12, 13  # partial sums, of so many blocks of columns
OUTER_LINES = 14  # twice so many numbers that follow: where lines of the source and of the gradient begin; then where rows of taps do, in a box


def _plan_lanes(source: tuple[int, ...], grad: tuple[int, ...], dtype: np.dtype, taps: Taps, step: Triple, groups: int) -> outer.Plan:
    """The plan for a depthwise convolution: all channels are one group, in which each column of a tile reads its own."""
    counts: Triple = grad[1:4]  # type: ignore[assignment]
    walk, offsets, _ = walk_of(source, dtype.itemsize, (Phase((0, 0, 0), taps),), step, counts, (1, 1, 1), groups)
    run, ntaps = len(taps[2]), len(taps[0]) * len(taps[1]) * len(taps[2])
    tile = tile_for(run, groups, dtype)
    split = row_split(run, tile.rows)
    wide, blocks = tile.columns, -(-groups // tile.columns)
    part = split_kernels(tile.last(groups), split, dtype, False, True, True) if groups % wide else (0, 0)
    whole = split_kernels(tile, split, dtype, False, False, True) if groups >= wide else part
    parts = int(min(grad[0] * counts[0] * walk[BANDS], outer.PARTIALS, max(2, outer.PARTIAL_BYTES // (ntaps * blocks * wide * dtype.itemsize))))
    lines = np.arange(walk[BAND])
    table = [len(offsets) // run, run, spacing(taps[2]) * groups, wide, max(1, OUTER_PIXELS // counts[2]), *split, *whole, *part,
             parts, blocks, len(lines)]  # fmt: skip
    index = np.concatenate([table, lines * (step[1] * walk[BOX + 2] * groups), lines * (counts[2] * groups), offsets[::run]])
    sums, work = (parts, 1, blocks, ntaps, wide), math.prod(grad) * (0.5 + ntaps * dtype.itemsize / MACS)
    return outer.Plan(tasks.compiled(_lanes, dtype.char), parts, walk, index, frames_of(walk), sums, *outer.summed(sums, 1, groups), work)


def _lanes(task, walk, table, source, grad, sums, d, e, f, frame):
    # A partial sum.  Rows of a tile are taps of a row, columns channels, and the sum runs over the pixels of a band: both operands are read where
    # they lie, and each tile goes back to its partial sum once a band.
    channels, size = walk[C], walk[SIZE]
    P0, P1, P2 = walk[COUNT], walk[COUNT + 1], walk[COUNT + 2]
    runs, run, columns = table[RUNS], table[RUN_LENGTH], table[WIDE]
    height, many, tiles = table[OUTER_SPLIT], table[OUTER_SPLIT + 1], table[OUTER_SPLIT + 2]
    parts, blocks, lines = table[PARTS], table[BLOCKS], table[OUTER_LINES]
    units = walk[N] * P0 * walk[BANDS]
    xlines = address(table) + 8 * (OUTER_LINES + 1)
    mine = address(sums) + size * task * blocks * runs * run * columns
    clear_bytes(mine, size * blocks * runs * run * columns)
    for u in range(task * units // parts, (task + 1) * units // parts):
        n, plane, p0, p1 = unit_of(walk, u)
        x = box_of(source, walk, n, plane, p0, frame)
        gp = address(grad) + size * ((n * P0 + plane) * P1 + p0) * P2 * channels
        for first in range(p0, p1, table[TOGETHER]):
            for t in range(runs):
                # Output rows pa to pb are those for which this tap is inside the image.
                pa, pb = first, min(first + table[TOGETHER], p1)
                if walk[TAP_ROWS]:
                    top = walk[TAP_LOW] + t * walk[TAP_STEP]
                    while pa < pb and pa * walk[STEP + 1] + top < 0:
                        pa += 1
                    while pb > pa and (pb - 1) * walk[STEP + 1] + top >= walk[H]:
                        pb -= 1
                if pa == pb:
                    continue
                xt, at_lines = x + size * table[OUTER_LINES + 1 + 2 * lines + t], xlines + 8 * (pa - p0)
                for tile in range(tiles):
                    i = tile * height - max(0, tile - many)
                    for block in range(blocks):
                        j = block * columns
                        at = mine + size * ((block * runs + t) * run + i) * columns
                        call_code(
                            table[OUTER_CODE + (0 if tile < many else 1) + (2 if j + columns > channels else 0)],
                            (xt + size * (i * table[APART] + j), at_lines, table[APART], walk[STEP + 2] * channels, gp + size * j,
                             at_lines + 8 * lines, channels, pb - pa, P2, at, columns, at, columns, min(columns, channels - j)),
                        )  # fmt: skip
