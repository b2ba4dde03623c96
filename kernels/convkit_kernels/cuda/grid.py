"""Sampling an image at the places of a grid, and the gradients of image and grid, with the names of `cpu/grid.py`, where the formulas are.

A thread looks up what one place sees, and sums it for some channels: neighbouring threads take neighbouring channels, or in C order
neighbouring places.  The image's gradient gathers too: a block keeps the sums of some pixels and channels in shared memory, looks at all places of
its image, in their order, and adds up what falls on its pixels; of its threads, each has pixels of its own.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numba
import numpy as np

from ..cpu import grid as cpu
from ..cpu.grid import CUBIC, LINEAR, MODES, NARROW, NEAREST, PADDINGS
from ..layout import from_channels_last
from . import driver
from . import elementwise as e
from . import mathfunctions as m
from .copy import channels_last, contiguous
from .launch import Family, cuda, kernel
from .memory import Array, asarray, empty

# Threads of a block, at most so many of them for channels, blocks of places; numbers that a block sums up, and taps that it looks up, at a time.
THREADS, LANES, BLOCKS, SUMS, TAPS = (8, 4, 2, 32, 64) if driver.is_simulated() else (256, 32, 1 << 30, 4096, 1024)
RUN = 2 if driver.is_simulated() else 16  # places that are skipped together

# Places in the plan; elements from one pixel, and one channel, of x to the next, and from one place, and one channel, of y.
SIZE, PADDING, ALIGN, LOCATIONS, CHANNELS, X_PIXEL, X_CHANNEL, Y_PLACE, Y_CHANNEL = 0, *range(3, 11)

_clipped = m.row(cpu._clipped)
_padded = m.row(cpu._padded, _clipped=_clipped)
_whole = m.row(cpu._whole)


def _taps(mode: int, rank: int) -> tuple[int, int]:
    """(taps along an axis, along the depth)."""
    count = (1, 2, 4)[mode]
    return count, count if rank == 3 else 1


@m.device
def _cubic(place, size, scale, padding, align, a, index, weight, slope, x):
    # Keys' cubic with a = -3/4: near at distances t and 1 - t, far at 1 + t and 2 - t.
    number = x.dtype.type
    one, c, five, eight = number(1), number(-0.75), number(5), number(8)
    c2, c3 = c + number(2), c + number(3)
    low = m.floor(place)
    t = place - low
    for k in range(4):
        q, _ = _padded(low + number(k - 1), size, padding, align, x)
        index[a, k] = _whole(q, size)
        d = abs(t - number(k - 1))
        sign = one if k < 2 else -one
        if k == 1 or k == 2:
            weight[a, k] = (c2 * d - c3) * d * d + one
            slope[a, k] = sign * scale * (number(3) * c2 * d - number(2) * c3) * d
        else:
            weight[a, k] = ((d - five) * d + eight) * d * c - number(4) * c
            slope[a, k] = sign * scale * ((number(3) * d - number(10)) * d + eight) * c


@functools.cache
def _look(mode: int, rank: int) -> Callable:
    """Tells what a place, which begins at `place` of the grid, sees of all axes: indices, weights, slopes d weight / d coordinate."""

    @m.device
    def axis(coordinate, length, padding, align, a, index, weight, slope, x):
        number = x.dtype.type
        one, half = number(1), number(0.5)
        size = number(length)
        scale = (size - one) * half if align else size * half
        place = (coordinate + one) * scale - (number(0) if align else half)
        if mode == CUBIC:
            _cubic(place, size, scale, padding, align, a, index, weight, slope, x)
        else:
            place, inside = _padded(place, size, padding, align, x)
            if mode == NEAREST:
                index[a, 0] = _whole(m.rint(place), size)
                weight[a, 0] = one if place == place else place
                slope[a, 0] = number(0)
            else:
                low = m.floor(place)
                index[a, 0], index[a, 1] = _whole(low, size), _whole(low + one, size)
                weight[a, 0], weight[a, 1] = one - (place - low), place - low
                slope[a, 0], slope[a, 1] = -scale * inside, scale * inside

    @m.device
    def look(grid, place, plan, index, weight, slope):
        # Coordinates come in the order width, height, depth.
        index[0, 0], weight[0, 0], slope[0, 0] = 0, grid.dtype.type(1), grid.dtype.type(0)  # an axis that is not there has one pixel
        for a in range(3 - rank, 3):
            axis(grid[place + 2 - a], plan[SIZE + a], plan[PADDING], plan[ALIGN], a, index, weight, slope, grid)

    return look


def _sample(mode: int, rank: int) -> Callable:
    (COUNT, DEEP), look = _taps(mode, rank), _look(mode, rank)

    def sample(n, x, x0, grid, g0, y, plan):
        # y[place, c] = the sum over the taps of weight * x[pixel, c]
        index = cuda.local.array((3, COUNT), numba.int64)
        weight = cuda.local.array((3, COUNT), x.dtype)
        slope = cuda.local.array((3, COUNT), x.dtype)
        height, width, channels, places = plan[SIZE + 1], plan[SIZE + 2], plan[CHANNELS], plan[LOCATIONS]
        for p in range(cuda.blockIdx.x * cuda.blockDim.y + cuda.threadIdx.y, n, cuda.gridDim.x * cuda.blockDim.y):
            look(grid, g0 + p * rank, plan, index, weight, slope)
            base, to = x0 + p // places * plan[SIZE] * height * width * channels, p // places * places * channels + p % places * plan[Y_PLACE]
            for c in range(cuda.threadIdx.x, channels, cuda.blockDim.x):
                total = x.dtype.type(0)
                for i in range(DEEP):
                    for j in range(COUNT):
                        for k in range(COUNT):
                            z, h, w = index[0, i], index[1, j], index[2, k]
                            if z >= 0 and h >= 0 and w >= 0:
                                seen = x[base + ((z * height + h) * width + w) * plan[X_PIXEL] + c * plan[X_CHANNEL]]
                                total += weight[0, i] * weight[1, j] * weight[2, k] * seen
                y[to + c * plan[Y_CHANNEL]] = total

    return sample


def _input_grad(mode: int, rank: int) -> Callable:
    (COUNT, DEEP), look = _taps(mode, rank), _look(mode, rank)
    ALL = DEEP * COUNT * COUNT
    CHUNK = min(THREADS, TAPS // ALL)

    def input_grad(gy, gy0, grid, g0, gx, plan):
        # gx[pixel, c] = the sum over the places and their taps on this pixel of weight * gy[place, c]
        index = cuda.local.array((3, COUNT), numba.int64)
        weight = cuda.local.array((3, COUNT), gy.dtype)
        slope = cuda.local.array((3, COUNT), gy.dtype)
        sums = cuda.shared.array(SUMS, gy.dtype)
        pixel = cuda.shared.array((ALL, CHUNK), numba.int32)  # of each tap, counted from the block's first; -1 where it is no pixel of the block
        value = cuda.shared.array((ALL, CHUNK), gy.dtype)
        hit = cuda.shared.array(CHUNK, numba.int32)
        hits = cuda.shared.array(CHUNK, numba.int32)

        lanes, groups = cuda.blockDim.x, cuda.blockDim.y
        lane, group = cuda.threadIdx.x, cuda.threadIdx.y
        t = group * lanes + lane
        height, width, channels, places = plan[SIZE + 1], plan[SIZE + 2], plan[CHANNELS], plan[LOCATIONS]
        pixels = plan[SIZE] * height * width
        many = SUMS // lanes
        tiles = (pixels + many - 1) // many
        image, c = cuda.blockIdx.x // tiles, cuda.blockIdx.y * lanes + lane
        first = (cuda.blockIdx.x - image * tiles) * many
        for i in range(t, SUMS, THREADS):
            sums[i] = gy.dtype.type(0)
        for start in range(0, places, CHUNK):
            cuda.syncthreads()
            if t < CHUNK:
                hit[t] = 0
                if start + t < places:
                    look(grid, g0 + (image * places + start + t) * rank, plan, index, weight, slope)
                    tap = 0
                    for i in range(DEEP):
                        for j in range(COUNT):
                            for k in range(COUNT):
                                z, h, w = index[0, i], index[1, j], index[2, k]
                                at = (z * height + h) * width + w - first
                                seen = z >= 0 and h >= 0 and w >= 0 and at >= 0 and at < many
                                pixel[tap, t] = at if seen else -1
                                value[tap, t] = weight[0, i] * weight[1, j] * weight[2, k]
                                if seen:
                                    hit[t] = 1
                                tap += 1
            cuda.syncthreads()
            if t % RUN == 0 and t < CHUNK:
                some = 0
                for i in range(RUN):
                    some |= hit[t + i]
                hits[t] = some
            cuda.syncthreads()
            for run in range(0, CHUNK, RUN):
                if hits[run]:
                    for q in range(run, run + RUN):
                        if hit[q] and c < channels:
                            for tap in range(ALL):
                                at = pixel[tap, q]
                                if at >= 0 and (at & (groups - 1)) == group:
                                    g = gy[gy0 + image * places * channels + (start + q) * plan[Y_PLACE] + c * plan[Y_CHANNEL]]
                                    sums[at * lanes + lane] += value[tap, q] * g
        cuda.syncthreads()
        if c < channels:
            for i in range(group, min(many, pixels - first), groups):
                gx[image * pixels * channels + (first + i) * plan[X_PIXEL] + c * plan[X_CHANNEL]] = sums[i * lanes + lane]

    return input_grad


def _grid_grad(mode: int, rank: int) -> Callable:
    (COUNT, DEEP), look = _taps(mode, rank), _look(mode, rank)

    def grid_grad(n, gy, gy0, x, x0, grid, g0, ggrid, plan):
        # ggrid = the sum over the taps of (gy . pixel) * d weight / d coordinate
        index = cuda.local.array((3, COUNT), numba.int64)
        weight = cuda.local.array((3, COUNT), x.dtype)
        slope = cuda.local.array((3, COUNT), x.dtype)
        parts = cuda.shared.array((3, THREADS), x.dtype)
        lanes, lane, group = cuda.blockDim.x, cuda.threadIdx.x, cuda.threadIdx.y
        height, width, channels, places = plan[SIZE + 1], plan[SIZE + 2], plan[CHANNELS], plan[LOCATIONS]
        zero = x.dtype.type(0)
        for start in range(cuda.blockIdx.x * cuda.blockDim.y, n, cuda.gridDim.x * cuda.blockDim.y):
            p = start + group
            deep, high, wide = zero, zero, zero
            if p < n:
                look(grid, g0 + p * rank, plan, index, weight, slope)
                base = x0 + p // places * plan[SIZE] * height * width * channels
                to = gy0 + p // places * places * channels + p % places * plan[Y_PLACE]
                for i in range(DEEP):
                    for j in range(COUNT):
                        for k in range(COUNT):
                            z, h, w = index[0, i], index[1, j], index[2, k]
                            if z >= 0 and h >= 0 and w >= 0:
                                dot, at = zero, base + ((z * height + h) * width + w) * plan[X_PIXEL]
                                for c in range(lane, channels, lanes):
                                    dot += x[at + c * plan[X_CHANNEL]] * gy[to + c * plan[Y_CHANNEL]]
                                deep += dot * slope[0, i] * weight[1, j] * weight[2, k]
                                high += dot * weight[0, i] * slope[1, j] * weight[2, k]
                                wide += dot * weight[0, i] * weight[1, j] * slope[2, k]
            t = group * lanes + lane
            parts[0, t], parts[1, t], parts[2, t] = wide, high, deep
            cuda.syncthreads()
            if p < n:
                for a in range(lane, rank, lanes):
                    total = zero
                    for i in range(lanes):
                        total += parts[a, group * lanes + i]
                    ggrid[p * rank + a] = total
            cuda.syncthreads()

    return grid_grad


def _family(make: Callable, letters: str, mode: int, rank: int) -> Family:
    function = make(mode, rank)
    function.__name__ = function.__qualname__ = f"{function.__name__}_{MODES[mode]}_{rank}d"
    return kernel(letters)(function)


_EACH = ((NEAREST, 2), (NEAREST, 3), (LINEAR, 2), (LINEAR, 3), (CUBIC, 2))
_SAMPLE = {how: _family(_sample, "iTiTiTI", *how) for how in _EACH}
_INPUT_GRAD = {how: _family(_input_grad, "TiTiTI", *how) for how in _EACH}
_GRID_GRAD = {how: _family(_grid_grad, "iTiTiTiTI", *how) for how in _EACH}


# ------------------------------------------------------------------------------------- public side
def _in_order(a: Array) -> bool:
    """Whether images are walked in C order, as they lie there and have few channels; else they are brought to channels-last memory."""
    return a.shape[1] < NARROW and a.flags.c_contiguous


def _line(a: Array, in_order: bool) -> Array:
    return a if in_order else channels_last(a)


def _empty(shape: tuple[int, ...], dtype: np.dtype, in_order: bool) -> Array:
    if in_order:
        return empty(shape, dtype)
    return from_channels_last(empty((shape[0], *(1,) * (5 - len(shape)), *shape[2:], shape[1]), dtype), len(shape) - 2)  # type: ignore[arg-type,return-value]


@functools.lru_cache(maxsize=256)
def _plan(shape: tuple[int, ...], places: int, padding: str, align_corners: bool, x_order: bool, y_order: bool) -> Array:
    pixels, channels = math.prod(shape[2:]), shape[1]
    strides = [n for order, count in ((x_order, pixels), (y_order, places)) for n in ((1, count) if order else (channels, 1))]
    numbers = [*(1,) * (5 - len(shape)), *shape[2:], PADDINGS.index(padding), align_corners, places, channels, *strides]
    return asarray(np.array(numbers, np.int64))


def _block(channels: int, in_order: bool) -> tuple[int, int]:
    """Threads for channels, and for places."""
    lanes = 1 if in_order else min(LANES, 1 << (channels - 1).bit_length())
    return lanes, THREADS // lanes


def _run(family: Family, n: int, block: tuple[int, int], *args: Any) -> None:
    family[args[0].dtype].blocks(min(BLOCKS, -(-n // block[1])), block, n, *(v for a in args[:-1] for v in (a.flat, a.offset)), *args[-1])


def grid_sample(x: Array, grid: Array, mode: str, padding: str, align_corners: bool) -> Array:
    """x [N, C, *S] at the places of grid [N, *P, rank], coordinates (width, height[, depth]) from -1 to 1: [N, C, *P].

    mode 'nearest', 'bilinear' (in three dimensions trilinear) or 'bicubic'; outside the image padding 'zeros', 'border' or 'reflection'.
    -1 and 1 are the image's edges, or with align_corners the centres of its corner pixels.  Channels-last, but for few channels in C order.
    """
    order, rank = _in_order(x), grid.shape[-1]
    y = _empty((*x.shape[:2], *grid.shape[1:-1]), x.dtype, order)
    if y.size:
        plan = _plan(x.shape, math.prod(grid.shape[1:-1]), padding, align_corners, order, order)
        x, grid = _line(x, order), contiguous(grid)
        _run(_SAMPLE[MODES.index(mode), rank], grid.size // rank, _block(y.shape[1], order), x, grid, (y.flat, plan.flat))
    return y


def grid_sample_input_grad(gy: Array, grid: Array, input_size: tuple[int, ...], mode: str, padding: str, align_corners: bool) -> Array:
    """The gradient of `grid_sample` for x of shape [N, C, *input_size]."""
    batch, channels = gy.shape[:2]
    order, rank = _in_order(gy), grid.shape[-1]
    gx = _empty((batch, channels, *input_size), gy.dtype, order)
    if not gy.size:
        e.fill(gx, 0)
    elif gx.size:
        plan = _plan(gx.shape, math.prod(grid.shape[1:-1]), padding, align_corners, order, order)
        gy, grid = _line(gy, order), contiguous(grid)
        lanes, groups = _block(channels, False)
        tiles = -(-math.prod(input_size) // (SUMS // lanes)) * batch, -(-channels // lanes)  # images along x, of which there may be 2^31
        _INPUT_GRAD[MODES.index(mode), rank][gy.dtype].blocks(tiles, (lanes, groups), gy.flat, gy.offset, grid.flat, grid.offset, gx.flat, plan.flat)
    return gx


def grid_sample_grid_grad(gy: Array, x: Array, grid: Array, mode: str, padding: str, align_corners: bool) -> Array:
    """The gradient of `grid_sample` for the grid; zeros for 'nearest'."""
    ggrid, rank = empty(grid.shape, gy.dtype), grid.shape[-1]
    if not (ggrid.size and gy.size) or mode == "nearest":
        return e.fill(ggrid, 0)
    x_order, y_order = _in_order(x), _in_order(gy)
    plan = _plan(x.shape, math.prod(grid.shape[1:-1]), padding, align_corners, x_order, y_order)
    gy, x, grid = _line(gy, y_order), _line(x, x_order), contiguous(grid)
    _run(_GRID_GRAD[MODES.index(mode), rank], grid.size // rank, _block(x.shape[1], x_order), gy, x, grid, (ggrid.flat, plan.flat))
    return ggrid
