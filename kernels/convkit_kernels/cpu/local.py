"""Locally connected layers: convolutions whose weights depend on where the window stands.

The places of the output are cut into a grid of regions; g(o) is the region of place o, and each region has weights of its own:

    forward        y[n, o, k]    = bias[g(o), k] + sum over taps t, channels c       of  x[n, o*stride + t, c] * w[g(o), t, c, k]
    input grad     x[n, i, c]    =                 sum over o, t with o*stride+t = i of  gy[n, o, k] * w[g(o), t, c, k], and over k
    weight grad    w[g, t, c, k] =                 sum over o of region g, and n     of  x[n, o*stride + t, c] * gy[n, o, k]

Weights are hardly shared, so a tile's rows are the images of the batch (for the weight gradient: channels), and a table, made anew for
each place, lists the taps that fall on the image; padding is never read.  The forward pass and the weight gradient use the weights
where they lie; the input gradient packs them once, with its channels as columns.

Memory is [N, D, H, W, C] and, for weights, [*regions, *window, C, K].
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numba
import numpy as np
from numba import prange

from ..geometry import Window
from ..layout import from_channels_last
from .copy import channels_last, contiguous
from .denormals import flush_denormals, set_float_mode
from .matmul import pack
from .microkernel import address, call_code, row_split, split_kernels, tile_for
from .runtime import MOST_THREADS, inline, kernel

# Places in the plan that tells a kernel the sizes; 3 numbers each from INSIDE on.
N, C, K, THREADS = range(4)
INSIDE, OUT, SIZE, STEP, SPREAD, BEFORE, REGIONS = range(4, 25, 3)


def local_forward(x: np.ndarray, w: np.ndarray, bias: np.ndarray | None, window: Window) -> np.ndarray:
    """x [N, C, *in] with w [*regions, *window, C, K] and bias [*regions, K] -> y [N, K, *out], channels-last in memory."""
    rank = window.rank
    out, k = window.output_size(x.shape[2:]), w.shape[-1]
    regions = w.shape[:rank]
    y = np.empty((x.shape[0], *(1,) * (3 - rank), *out, k), x.dtype)
    start = np.zeros((*regions, k), x.dtype) if bias is None else contiguous(bias)
    if y.size:
        tile = tile_for(x.shape[0], k, x.dtype)
        split = row_split(x.shape[0], tile.rows)
        whole = split_kernels(tile, split, x.dtype)
        part = split_kernels(tile, split, x.dtype, False, True) if k % tile.columns else whole
        plan = _plan(x.shape[0], x.shape[1], k, x.shape[2:], out, regions, window)
        _local_sums(
            channels_last(x).reshape(-1), contiguous(w).reshape(-1), start.reshape(-1), y.reshape(-1), plan, split, whole + part, tile.columns
        )
    return from_channels_last(y, rank)


def local_input_grad(gy: np.ndarray, w: np.ndarray, input_size: Sequence[int], window: Window) -> np.ndarray:
    """gy [N, K, *out] with w [*regions, *window, C, K] -> gx [N, C, *input_size]: the adjoint of `local_forward`.

    Scratch: the weights once more, with C for columns.
    """
    rank, taps = window.rank, math.prod(window.size)
    c, k = w.shape[-2:]
    regions = w.shape[:rank]
    gx = np.empty((gy.shape[0], *(1,) * (3 - rank), *input_size, c), gy.dtype)
    if gx.size:
        tile = tile_for(gy.shape[0], c, gy.dtype)
        split = row_split(gy.shape[0], tile.rows)
        packed = pack(contiguous(w).reshape(-1), np.arange(taps) * (c * k), (math.prod(regions), k, c), (taps * c * k, 1, k), tile.columns)
        plan = _plan(gy.shape[0], c, k, input_size, gy.shape[2:], regions, window)
        _local_back(channels_last(gy).reshape(-1), packed.reshape(-1), np.zeros(c, gy.dtype), gx.reshape(-1), plan, split,
                    split_kernels(tile, split, gy.dtype), tile.columns)  # fmt: skip
    return from_channels_last(gx, rank)


def local_weight_grad(x: np.ndarray, gy: np.ndarray, regions: Sequence[int], window: Window) -> np.ndarray:
    """x [N, C, *in] and gy [N, K, *out] -> gw [*regions, *window, C, K], contiguous."""
    n, c, k = *x.shape[:2], gy.shape[1]
    gw = np.empty((*regions, *window.size, c, k), x.dtype)
    if not n:
        gw[...] = 0
    elif gw.size:
        tile = tile_for(c, k, x.dtype)
        split = row_split(c, tile.rows)
        whole = split_kernels(tile, split, x.dtype, True)
        part = split_kernels(tile, split, x.dtype, True, True) if k % tile.columns else whole
        plan = _plan(n, c, k, x.shape[2:], gy.shape[2:], regions, window)
        _local_outer(channels_last(x).reshape(-1), channels_last(gy).reshape(-1), np.zeros(k, x.dtype), gw.reshape(-1), plan, split,
                     whole + part, tile.columns)  # fmt: skip
    return gw


def _plan(n: int, c: int, k: int, inside: Sequence[int], out: Sequence[int], regions: Sequence[int], window: Window) -> np.ndarray:
    size, stride, padding, dilation = window.canonical
    one = (1,) * (3 - window.rank)
    before = [p for p, _ in padding]
    return np.array([n, c, k, MOST_THREADS, *one, *inside, *one, *out, *size, *stride, *dilation, *before, *one, *regions], np.int64)


@inline
def _region(plan, o, p, q):
    """The region of a place: each dimension is cut as evenly as it can be."""
    a, b, c = o * plan[REGIONS] // plan[OUT], p * plan[REGIONS + 1] // plan[OUT + 1], q * plan[REGIONS + 2] // plan[OUT + 2]
    return (a * plan[REGIONS + 1] + b) * plan[REGIONS + 2] + c


@inline
def _taps_inside(plan, axis, o):
    """(at, first, end): the window at place o of this axis starts at pixel `at`; its taps from first to end fall on the image."""
    at, step = o * plan[STEP + axis] - plan[BEFORE + axis], plan[SPREAD + axis]
    return at, max(0, (-at + step - 1) // step), min(plan[SIZE + axis], (plan[INSIDE + axis] - at + step - 1) // step)


@inline
def _place_of(plan, axis, i, r):
    """The place whose tap r falls on pixel i of this axis, or -1."""
    at = i + plan[BEFORE + axis] - r * plan[SPREAD + axis]
    o = at // plan[STEP + axis]
    return o if at >= 0 and o * plan[STEP + axis] == at and o < plan[OUT + axis] else -1


@kernel
def _local_sums(x, w, start, y, plan, split, kernels, columns):
    """One place at a time: all images, a block of output channels after the other.  Neighbouring taps are one run."""
    channels, k = plan[C], plan[K]
    P, Q, H, W = plan[OUT + 1], plan[OUT + 2], plan[INSIDE + 1], plan[INSIDE + 2]
    R, S = plan[SIZE + 1], plan[SIZE + 2]
    height, many, tiles = split
    size = x.itemsize
    places, image, ntaps = plan[OUT] * P * Q, plan[INSIDE] * H * W * channels, plan[SIZE] * R * S
    merge = plan[SPREAD + 2] == 1 or S == 1
    tables = np.empty((plan[THREADS], 2, ntaps), np.int64)
    for u in prange(places):
        o, p, q = u // (P * Q), u // Q % P, u % Q
        table = tables[numba.get_thread_id()]
        d, d0, d1 = _taps_inside(plan, 0, o)
        h, h0, h1 = _taps_inside(plan, 1, p)
        v, s0, s1 = _taps_inside(plan, 2, q)
        count = 0
        for i in range(d0, d1):
            for j in range(h0, h1):
                for s in range(s0, min(s1, s0 + 1) if merge else s1):
                    table[0, count] = (((d + i * plan[SPREAD]) * H + h + j * plan[SPREAD + 1]) * W + v + s * plan[SPREAD + 2]) * channels
                    table[1, count] = ((i * R + j) * S + s) * channels * k
                    count += 1
        run = (s1 - s0) * channels if merge else channels
        region = _region(plan, o, p, q)
        if count == 0 or run <= 0:
            for n in range(plan[N]):
                for j in range(k):
                    y[(n * places + u) * k + j] = start[region * k + j]
            continue
        before = flush_denormals()
        for j in range(0, k, columns):
            part = 2 if j + columns > k else 0
            for t in range(tiles):
                n = t * height - max(0, t - many)
                call_code(
                    kernels[part + (0 if t < many else 1)],
                    (address(x) + size * n * image, address(table), image, 1,
                     address(w) + size * (region * ntaps * channels * k + j), address(table) + 8 * ntaps, k, count, run,
                     address(start) + size * (region * k + j), 0, address(y) + size * ((n * places + u) * k + j), places * k, min(columns, k - j)),
                )  # fmt: skip
        set_float_mode(before)


@kernel
def _local_back(gy, w, zero, gx, plan, split, kernels, columns):
    """One pixel at a time: all images, the sum over the places that see it and their channels."""
    channels, k = plan[C], plan[K]
    P, Q, H, W = plan[OUT + 1], plan[OUT + 2], plan[INSIDE + 1], plan[INSIDE + 2]
    D, R, S = plan[SIZE], plan[SIZE + 1], plan[SIZE + 2]
    height, many, tiles = split
    size = gy.itemsize
    places, pixels, ntaps = plan[OUT] * P * Q, plan[INSIDE] * H * W, D * R * S
    blocks = (channels + columns - 1) // columns
    tables = np.empty((plan[THREADS], 2, ntaps), np.int64)
    for u in prange(pixels):
        table = tables[numba.get_thread_id()]
        count = 0
        for i in range(D):
            o = _place_of(plan, 0, u // (H * W), i)
            for j in range(R if o >= 0 else 0):
                p = _place_of(plan, 1, u // W % H, j)
                for s in range(S if p >= 0 else 0):
                    q = _place_of(plan, 2, u % W, s)
                    if q >= 0:
                        table[0, count] = ((o * P + p) * Q + q) * k
                        table[1, count] = (_region(plan, o, p, q) * blocks * ntaps + (i * R + j) * S + s) * k * columns
                        count += 1
        if count == 0 or k == 0:
            for n in range(plan[N]):
                for c in range(channels):
                    gx[(n * pixels + u) * channels + c] = zero[c]
            continue
        before = flush_denormals()
        for block in range(blocks):
            j = block * columns
            for t in range(tiles):
                n = t * height - max(0, t - many)
                call_code(
                    kernels[0 if t < many else 1],
                    (address(gy) + size * n * places * k, address(table), places * k, 1,
                     address(w) + size * block * ntaps * k * columns, address(table) + 8 * ntaps, columns, count, k,
                     address(zero) + size * j, 0, address(gx) + size * ((n * pixels + u) * channels + j), pixels * channels,
                     min(columns, channels - j)),
                )  # fmt: skip
        set_float_mode(before)


@kernel
def _local_outer(x, gy, zero, gw, plan, split, kernels, columns):
    """One tap of one region at a time: rows are input channels, and the sum runs over the places of the region and the images."""
    channels, k = plan[C], plan[K]
    O, P, Q = plan[OUT], plan[OUT + 1], plan[OUT + 2]
    H, W = plan[INSIDE + 1], plan[INSIDE + 2]
    R, S = plan[SIZE + 1], plan[SIZE + 2]
    A, B, E = plan[REGIONS], plan[REGIONS + 1], plan[REGIONS + 2]
    height, many, tiles = split
    size = x.itemsize
    places, image, ntaps = O * P * Q, plan[INSIDE] * H * W * channels, plan[SIZE] * R * S
    most = ((O + A - 1) // A + 1) * ((P + B - 1) // B + 1) * ((Q + E - 1) // E + 1)
    tables = np.empty((plan[THREADS], 2, most), np.int64)
    for u in prange(A * B * E * ntaps):
        table = tables[numba.get_thread_id()]
        region, tap = u // ntaps, u % ntaps
        a, b, e = region // (B * E), region // E % B, region % E
        i, j, s = tap // (R * S), tap // S % R, tap % S
        count = 0
        # Region a of A holds the places o with o*A // O = a.
        for o in range((a * O + A - 1) // A, ((a + 1) * O + A - 1) // A):
            d = o * plan[STEP] - plan[BEFORE] + i * plan[SPREAD]
            if d < 0 or d >= plan[INSIDE]:
                continue
            for p in range((b * P + B - 1) // B, ((b + 1) * P + B - 1) // B):
                h = p * plan[STEP + 1] - plan[BEFORE + 1] + j * plan[SPREAD + 1]
                if h < 0 or h >= H:
                    continue
                for q in range((e * Q + E - 1) // E, ((e + 1) * Q + E - 1) // E):
                    v = q * plan[STEP + 2] - plan[BEFORE + 2] + s * plan[SPREAD + 2]
                    if 0 <= v < W:
                        table[0, count] = ((d * H + h) * W + v) * channels
                        table[1, count] = ((o * P + p) * Q + q) * k
                        count += 1
        if count == 0:
            for c in range(channels * k):
                gw[u * channels * k + c] = zero[c % k]
            continue
        before = flush_denormals()
        for column in range(0, k, columns):
            part = 2 if column + columns > k else 0
            for t in range(tiles):
                c = t * height - max(0, t - many)
                call_code(
                    kernels[part + (0 if t < many else 1)],
                    (address(x) + size * c, address(table), 1, image,
                     address(gy) + size * column, address(table) + 8 * most, places * k, count, plan[N],
                     address(zero) + size * column, 0, address(gw) + size * ((u * channels + c) * k + column), k, min(columns, k - column)),
                )  # fmt: skip
        set_float_mode(before)
