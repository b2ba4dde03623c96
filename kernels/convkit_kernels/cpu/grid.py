"""Sampling an image at the places of a grid, and the gradients of image and grid.

    y[n, :, p] = sum over i, j, k of  wz[i] wy[j] wx[k]  x[n, :, z[i], y[j], x[k]]        for each place p = (x, y[, z]) of the grid

over the canonical [N, D, H, W, C].  What an axis contributes, which indices with which weights, follows from the place's coordinate alone
(`_axis`): one for 'nearest', two for 'bilinear', four for 'bicubic'.  Their products are the taps of a place.  Both are computed for
CHUNK places at a time, side by side.  Then loops run over the channels of a pixel where there are many, else over the places.

The image's gradient adds what the places give back, sample by sample and in a fixed order, so its bits do not depend on the number
of threads; a task takes some channels of one sample.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from numba import types
from numba.extending import intrinsic

from ..layout import from_channels_last, normal
from . import tasks
from .copy import channels_last, contiguous
from .microkernel import address, call_code
from .resample import NARROW, _combine
from .runtime import inline, native

MODES = ("nearest", "bilinear", "bicubic")
PADDINGS = ("zeros", "border", "reflection")
NEAREST, LINEAR, CUBIC = 0, 1, 2
BORDER, REFLECTION = 1, 2
# Places side by side, and places that a task takes.
CHUNK, TASK = 128, 1024
# Channels that a task of the image's gradient takes, where there are few samples.
BLOCK = 16
# In the numbers that go to a task: the address of `_axes`.
AXES = 14


@inline
def _clipped(p, last, x):
    """(p within 0 and last, its slope): on the edge and beyond it the slope is 0; NaN stays NaN."""
    zero = x.dtype.type(0)
    slope = x.dtype.type(1) if (p > zero) & (p < last) else zero
    return (zero if p <= zero else last if p >= last else p), slope


@inline
def _padded(p, size, padding, align, x):
    """(p brought back into the image, its slope) for 'border' and 'reflection', which mirrors at the edge, or with align at its pixels."""
    number = x.dtype.type
    zero, one, half = number(0), number(1), number(0.5)
    slope = one
    if padding == REFLECTION:
        low = zero if align else -half
        span = size - one if align else size
        slope = -one if p < low else one
        p = abs(p - low)
        turns = np.floor(p / (span if span > zero else one))
        p -= turns * span
        odd = turns * half != np.floor(turns * half)
        slope = -slope if odd else slope
        p = (span - p if odd else p) + low
    if padding != 0:
        p, inside = _clipped(p, size - one, x)
        slope *= inside
    return p, slope


@inline
def _whole(p, size):
    """p as an index, or -1 outside the image; 0 for NaN, whose weight is NaN."""
    return np.int64(p) if (p >= 0) & (p < size) else np.int64(0) if p != p else np.int64(-1)


@intrinsic
def _number(typing_context: Any, numbers: Any, place: Any) -> Any:
    """numbers[place] of a pointer, read alone: LLVM would gather four of them in a vector, in three times the time."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.load_atomic(builder.gep(values[0], [values[1]]), "monotonic", numbers.dtype.bitwidth // 8)

    return numbers.dtype(numbers, types.intp), generate


@inline
def _scaled(size, align, x):
    """(scale, shift): coordinate g is the place (g + 1) * scale - shift of an axis with so many pixels."""
    one, half = x.dtype.type(1), x.dtype.type(0.5)
    return (size - one) * half if align else size * half, x.dtype.type(0) if align else half


# Each loop of these two writes a row or two: of loops that write more LLVM does not find out that they may run in vectors.
@inline
def _axis(grid, start, step, count, length, mode, padding, align, a, index, weight, slope, place, x):
    """Write what `count` places see of axis a to rows 4 a ...: indices, weights, and slopes d weight / d coordinate."""
    number = x.dtype.type
    one = number(1)
    size = number(length)
    scale, shift = _scaled(size, align, x)
    r = 4 * a
    for p in range(count):
        place[1, p] = _number(grid, start + p * step)
    for p in range(count):
        place[0, p] = (place[1, p] + one) * scale - shift
    if padding == 0:
        for p in range(count):
            place[1, p] = one
    elif mode != CUBIC:
        for p in range(count):
            place[0, p], place[1, p] = _padded(place[0, p], size, padding, align, x)
    if mode == NEAREST:
        for p in range(count):
            index[r, p] = _whole(np.rint(place[0, p]), size)
        for p in range(count):
            weight[r, p] = one if place[0, p] == place[0, p] else place[0, p]
    elif mode == LINEAR:
        for p in range(count):
            index[r, p] = _whole(np.floor(place[0, p]), size)
        for p in range(count):
            index[r + 1, p] = _whole(np.floor(place[0, p]) + one, size)
        for p in range(count):
            t = place[0, p] - np.floor(place[0, p])
            weight[r, p] = one - t
            weight[r + 1, p] = t
        for p in range(count):
            slope[r, p] = -scale * place[1, p]
            slope[r + 1, p] = scale * place[1, p]
    else:
        # Keys' cubic with a = -3/4: near at distances t and 1 - t, far at 1 + t and 2 - t.
        c, five, eight = number(-0.75), number(5), number(8)
        c2, c3 = c + number(2), c + number(3)
        for k in range(4):
            for p in range(count):
                q, _ = _padded(np.floor(place[0, p]) + number(k - 1), size, padding, align, x)
                index[r + k, p] = _whole(q, size)
        for k in range(4):
            near = (k == 1) | (k == 2)
            sign = one if k < 2 else -one
            for p in range(count):
                t = place[0, p] - np.floor(place[0, p])
                d = abs(t - number(k - 1))
                weight[r + k, p] = (c2 * d - c3) * d * d + one if near else ((d - five) * d + eight) * d * c - number(4) * c
            for p in range(count):
                t = place[0, p] - np.floor(place[0, p])
                d = abs(t - number(k - 1))
                change = (number(3) * c2 * d - number(2) * c3) * d if near else ((number(3) * d - number(10)) * d + eight) * c
                slope[r + k, p] = sign * change * scale


def _axes(grid, sizes, index, real, count):
    # Fills the rows of all axes for `count` places; a place's coordinates come in the order width, height, depth.
    rank = sizes[3]
    index = numba.carray(index, (12, CHUNK))
    real = numba.carray(real, (26, CHUNK))
    weight, slope = real[:12], real[12:24]
    place = real[24:]
    for a in range(3 - rank):  # an axis that is not there has one pixel
        for p in range(count):
            index[4 * a, p] = 0
            weight[4 * a, p] = 1
            slope[4 * a, p] = 0
    for a in range(3 - rank, 3):
        _axis(grid, 2 - a, rank, count, sizes[a], sizes[4], sizes[5], sizes[6], a, index, weight, slope, place, place)


@functools.cache
def _compiled(char: str) -> int:
    """The address of `_axes`, which takes most of the time to compile: the tasks share it."""
    real, whole = (types.CPointer(t) for t in (types.float32 if char == "f" else types.float64, types.int64))
    return native(_axes, real, whole, whole, real, types.intp)


_whole_room, _real_room = tasks.stack(29 * CHUNK), tasks.stack(46 * CHUNK)


@inline
def _rooms(sizes, x):
    """(rows of indices, pixels of all taps; rows of reals, their weights and slopes, values of all taps, four rows to work in)."""
    whole, real = numba.carray(_whole_room(sizes), (29, CHUNK)), numba.carray(_real_room(x), (46, CHUNK))
    return whole[:12], whole[12:], real[:26], real[26:42], real[42:]


@inline
def _look(grid, first, count, sizes, index, real):
    """The rows of `count` places from place `first` of all on."""
    call_code(sizes[AXES], (address(grid) + real.itemsize * first * sizes[3], address(sizes), address(index), address(real), count))


@inline
def _taps(i, j, k, m, count, sizes, index, weight, pixel, value):
    """Tap m of each place: where the pixel at rows i, j, k of the axes lies, or -1 outside the image, and the product of the weights."""
    height, width, apart = sizes[1], sizes[2], sizes[10]
    for p in range(count):
        z, y, x = index[i, p], index[4 + j, p], index[8 + k, p]
        pixel[m, p] = ((z * height + y) * width + x) * apart if (z | y | x) >= 0 else np.int64(-1)
    for p in range(count):
        value[m, p] = weight[i, p] * weight[4 + j, p] * weight[8 + k, p]


@inline
def _seen(x, base, pixel, m, count, seen):
    """What tap m of each place sees; of those outside the image anything.  Whether they are is asked in the next loop, which runs in vectors:
    here it would be guessed, wrongly for many places."""
    for p in range(count):
        seen[p] = _number(x, base + max(pixel[m, p], 0))


@inline
def _places(task, sizes):
    """Of a task that takes TASK places of a sample: where the sample's image and its results begin, its first place among all, and which it takes."""
    places, channels = sizes[7], sizes[8]
    blocks = (places + TASK - 1) // TASK
    sample, low = task // blocks, task % blocks * TASK
    return sample * sizes[0] * sizes[1] * sizes[2] * channels, sample * places * channels, sample * places, low, min(places, low + TASK)


@inline
def _rows(sizes, axis):
    """How many rows an axis has: one, two or four, and one where it is not there."""
    return 1 << sizes[4] if axis >= 3 - sizes[3] else 1


@inline
def _all_taps(count, sizes, index, weight, pixel, value):
    """All taps of `count` places; give their number."""
    m = 0
    for i in range(_rows(sizes, 0)):
        for j in range(_rows(sizes, 1)):
            for k in range(_rows(sizes, 2)):
                _taps(i, j, k, m, count, sizes, index, weight, pixel, value)
                m += 1
    return m


@inline
def _present(pixel, value, taps, p, found, factor):
    """The taps of place p inside the image, listed; give their number."""
    m = 0
    for k in range(taps):
        found[m] = pixel[k, p]
        factor[m] = value[k, p]
        m += 1 if pixel[k, p] >= 0 else 0
    return m


# sizes = (D, H, W, rank, mode, padding, align, places of a sample, C, samples, the distances in memory of pixels and of channels of x,
# of places and of channels of y, the address of `_axes`, channels of a task).  Where channels are many, they lie side by side.
def _sample(task, sizes, index, x, grid, y, d, e, f, g):
    index, pixel, real, value, room = _rooms(sizes, x)
    total, seen = room[0], room[1]
    zero = type(x[0])(0)
    channels, xc, yp, yc = sizes[8], sizes[11], sizes[12], sizes[13]
    base, to, before, low, stop = _places(task, sizes)
    for first in range(low, stop, CHUNK):
        count = min(CHUNK, stop - first)
        _look(grid, before + first, count, sizes, index, real)
        taps = _all_taps(count, sizes, index, real, pixel, value)
        if channels < NARROW:
            for c in range(channels):
                at = to + c * yc + first * yp
                for m in range(taps):
                    _seen(x, base + c * xc, pixel, m, count, seen)
                    if m == 0:
                        for p in range(count):
                            product = value[m, p] * seen[p]
                            total[p] = product if pixel[m, p] >= 0 else zero
                    else:
                        for p in range(count):
                            product = value[m, p] * seen[p]
                            total[p] += product if pixel[m, p] >= 0 else zero
                if yp == 1:
                    for p in range(count):
                        y[at + p] = total[p]
                else:
                    for p in range(count):
                        y[at + p * yp] = total[p]
        else:
            for p in range(count):
                number = _present(pixel, value, taps, p, pixel[16], room[2])
                _combine(x, base, 1, 0, number, pixel[16], room[2], y, to + (first + p) * channels, channels)


_column, _columns = tasks.stack(CHUNK, types.int32), tasks.stack(5 * CHUNK)


def _sample_nearest(task, sizes, index, x, grid, y, d, e, f, g):
    # `_sample` for 'nearest' and few channels, without what several taps need.
    # y[n, c, p] = keep[p] x[n, c, pixel[p]], with keep 1 inside the image, NaN at a place that is NaN, and 0, whatever x is there, outside.
    number = type(x[0])
    zero, one = number(0), number(1)
    rank, channels, apart, xc, yp, yc = sizes[3], sizes[8], sizes[10], sizes[11], sizes[12], sizes[13]
    pixel, real = numba.carray(_column(sizes), (CHUNK,)), numba.carray(_columns(x), (5, CHUNK))
    place, keep, seen = real[:3], real[3], real[4]
    base, to, before, low, stop = _places(task, sizes)
    for first in range(low, stop, CHUNK):
        count, at = min(CHUNK, stop - first), (before + first) * rank
        for p in range(count):
            pixel[p] = 0
        for p in range(count):
            keep[p] = one
        if rank == 2:  # the number as a constant, or LLVM would gather
            for p in range(count):
                place[0, p] = grid[at + 2 * p]
                place[1, p] = grid[at + 2 * p + 1]
        else:
            for p in range(count):
                place[0, p] = grid[at + 3 * p]
                place[1, p] = grid[at + 3 * p + 1]
                place[2, p] = grid[at + 3 * p + 2]
        for a in range(3 - rank, 3):
            _nearest(sizes[a], sizes[5], sizes[6], place[2 - a, :count], pixel, keep)
        for p in range(count):
            pixel[p] *= apart
        for c in range(channels):
            for p in range(count):
                seen[p] = _number(x, base + c * xc + pixel[p])
            at = to + c * yc + first * yp
            if yp == 1:
                for p in range(count):
                    y[at + p] = keep[p] * seen[p] if keep[p] != zero else zero
            else:
                for p in range(count):
                    y[at + p * yp] = keep[p] * seen[p] if keep[p] != zero else zero


@inline
def _nearest(length, padding, align, place, pixel, keep):
    """Count what the coordinates of one axis add to pixel, in the order of memory, and to keep."""
    zero = place.dtype.type(0)
    size = place.dtype.type(length)
    scale, shift = _scaled(size, align, place)
    for p in range(place.size):
        place[p] = (place[p] + place.dtype.type(1)) * scale - shift
    if padding != 0:
        for p in range(place.size):
            place[p] = _padded(place[p], size, padding, align, place)[0]
    for p in range(place.size):
        place[p] = np.rint(place[p])
    for p in range(place.size):
        q = place[p]
        pixel[p] = pixel[p] * length + (np.int32(q) if (q >= zero) & (q < size) else np.int32(0))
    for p in range(place.size):
        q = place[p]
        keep[p] = keep[p] if (q >= zero) & (q < size) else q if (q != q) & (keep[p] != zero) else zero


def _sample_input_grad(task, sizes, index, gy, grid, gx, d, e, f, g):
    # gx is zero at first; a task takes `block` channels, those from `start` on, of one sample.
    index, pixel, real, value, _ = _rooms(sizes, gy)
    inside = pixel[16]
    places, channels, block = sizes[7], sizes[8], sizes[AXES + 1]
    xc, yp, yc = sizes[11], sizes[12], sizes[13]
    blocks = (channels + block - 1) // block
    sample, start = task // blocks, task % blocks * block
    width = min(block, channels - start)
    base, to = sample * sizes[0] * sizes[1] * sizes[2] * channels, sample * places * channels
    for first in range(0, places, CHUNK):
        count = min(CHUNK, places - first)
        _look(grid, sample * places + first, count, sizes, index, real)
        taps = _all_taps(count, sizes, index, real, pixel, value)
        if channels < NARROW:
            for m in range(taps):
                number = 0  # of places whose tap is inside the image: listed first, as to ask at each addition would be to guess
                for p in range(count):
                    inside[number] = p
                    number += 1 if pixel[m, p] >= 0 else 0
                for c in range(start, start + width):
                    for k in range(number):
                        p = inside[k]
                        at = base + c * xc + pixel[m, p]
                        gx[at] = gx[at] + value[m, p] * gy[to + c * yc + (first + p) * yp]
        else:
            for p in range(count):
                b = to + (first + p) * channels + start
                for m in range(taps):
                    if pixel[m, p] >= 0:
                        a = base + pixel[m, p] + start
                        v = value[m, p]
                        for c in range(width):
                            gx[a + c] = gx[a + c] + v * gy[b + c]


def _sample_grid_grad(task, sizes, index, gy, x, grid, ggrid, e, f, g):
    # ggrid = sum over the taps of (gy . pixel) * d weight / d coordinate; pixels outside the image do not count.
    index, pixel, real, value, room = _rooms(sizes, x)
    weight, slope = real[:12], real[12:24]
    dot, seen, slopes = room[0], value[1], value[2:]  # there is room for more taps than the one at hand
    rank, channels, xc, yp, yc = sizes[3], sizes[8], sizes[11], sizes[12], sizes[13]
    zero = type(x[0])(0)
    base, to, before, low, stop = _places(task, sizes)
    for first in range(low, stop, CHUNK):
        count = min(CHUNK, stop - first)
        _look(grid, before + first, count, sizes, index, real)
        for a in range(3):
            for p in range(count):
                slopes[a, p] = 0
        for i in range(_rows(sizes, 0)):
            for j in range(_rows(sizes, 1)):
                for k in range(_rows(sizes, 2)):
                    _taps(i, j, k, 0, count, sizes, index, weight, pixel, value)
                    if channels < NARROW:
                        for p in range(count):
                            dot[p] = 0
                        for c in range(channels):
                            _seen(x, base + c * xc, pixel, 0, count, seen)
                            for p in range(count):
                                dot[p] += seen[p] * gy[to + c * yc + (first + p) * yp] if pixel[0, p] >= 0 else zero
                    else:
                        for p in range(count):
                            sum = zero
                            if pixel[0, p] >= 0:
                                a = base + pixel[0, p]
                                b = to + (first + p) * channels
                                for c in range(channels):
                                    sum += gy[b + c] * x[a + c]
                            dot[p] = sum
                    for p in range(count):
                        slopes[0, p] += dot[p] * slope[i, p] * weight[4 + j, p] * weight[8 + k, p]
                        slopes[1, p] += dot[p] * weight[i, p] * slope[4 + j, p] * weight[8 + k, p]
                        slopes[2, p] += dot[p] * weight[i, p] * weight[4 + j, p] * slope[8 + k, p]
        for p in range(count):
            for c in range(rank):
                ggrid[(before + first + p) * rank + c] = slopes[2 - c, p]


# ------------------------------------------------------------------------------------- public side
def _in_order(a: np.ndarray) -> bool:
    """Whether images are walked in C order, as they lie there and have few channels; else they are brought to channels-last memory."""
    return a.shape[1] < NARROW and a.flags.c_contiguous


def _line(a: np.ndarray, in_order: bool) -> np.ndarray:
    """[N, C, *S] as flat memory in C order or channels-last."""
    return a.reshape(-1) if in_order else channels_last(a).reshape(-1)


def _empty(shape: tuple[int, ...], dtype: np.dtype, in_order: bool, make: Callable = np.empty) -> tuple[np.ndarray, np.ndarray]:
    """A new array [N, C, *S], and its flat memory."""
    if in_order:
        y = make(shape, dtype)
        return y, y.reshape(-1)
    memory = make((shape[0], *(1,) * (5 - len(shape)), *shape[2:], shape[1]), dtype)
    return from_channels_last(memory, len(shape) - 2), memory.reshape(-1)


def _sizes(
    shape: tuple[int, ...], grid: np.ndarray, mode: str, padding: str, align_corners: bool, x_order: bool, y_order: bool, block: int = 0
) -> np.ndarray:
    rank, places, pixels, channels = grid.shape[-1], math.prod(grid.shape[1:-1]), math.prod(shape[2:]), shape[1]
    spatial = (1,) * (3 - rank) + tuple(shape[2:])
    how = (MODES.index(mode), PADDINGS.index(padding), align_corners)
    strides = [n for order, count in ((x_order, pixels), (y_order, places)) for n in ((1, count) if order else (channels, 1))]
    return np.array([*spatial, rank, *how, places, channels, shape[0], *strides, _compiled(grid.dtype.char), block], np.int64)


def _run(function: Callable, count: int, sizes: np.ndarray, *operands: np.ndarray) -> None:
    tasks.run(tasks.compiled(function, operands[0].dtype.char), count, sizes, sizes, *operands)


def grid_sample(x: np.ndarray, grid: np.ndarray, mode: str, padding: str, align_corners: bool) -> np.ndarray:
    """x [N, C, *S] at the places of grid [N, *P, rank], coordinates (width, height[, depth]) from -1 to 1: [N, C, *P].

    mode 'nearest', 'bilinear' (in three dimensions trilinear) or 'bicubic'; outside the image padding 'zeros', 'border' or 'reflection'.
    -1 and 1 are the image's edges, or with align_corners the centres of its corner pixels.  Channels-last, but for few channels in C order.
    """
    x = normal(x)
    order = _in_order(x)
    y, memory = _empty((*x.shape[:2], *grid.shape[1:-1]), x.dtype, order)
    if y.size:
        sizes = _sizes(x.shape, grid, mode, padding, align_corners, order, order)
        few = mode == "nearest" and x.shape[1] < NARROW and math.prod(x.shape[1:]) < 1 << 31
        _run(_sample_nearest if few else _sample, len(x) * -(-sizes[7] // TASK), sizes, _line(x, order), contiguous(normal(grid)), memory)
    return y


def grid_sample_input_grad(gy: np.ndarray, grid: np.ndarray, input_size: tuple[int, ...], mode: str, padding: str, align_corners: bool) -> np.ndarray:
    """The gradient of `grid_sample` for x of shape [N, C, *input_size]."""
    gy = normal(gy)
    batch, channels = gy.shape[:2]
    order = _in_order(gy)
    gx, memory = _empty((batch, channels, *input_size), gy.dtype, order, np.zeros)
    if gy.size:
        block = BLOCK if batch < 8 else channels
        sizes = _sizes(gx.shape, grid, mode, padding, align_corners, order, order, block)
        _run(_sample_input_grad, batch * -(-channels // block), sizes, _line(gy, order), contiguous(normal(grid)), memory)
    return gx


def grid_sample_grid_grad(gy: np.ndarray, x: np.ndarray, grid: np.ndarray, mode: str, padding: str, align_corners: bool) -> np.ndarray:
    """The gradient of `grid_sample` for the grid; zeros for 'nearest'."""
    x, gy = normal(x), normal(gy)
    ggrid = np.zeros(grid.shape, gy.dtype)
    if ggrid.size and gy.size and mode != "nearest":
        x_order, y_order = _in_order(x), _in_order(gy)
        sizes = _sizes(x.shape, grid, mode, padding, align_corners, x_order, y_order)
        _run(_sample_grid_grad, len(x) * -(-sizes[7] // TASK), sizes, _line(gy, y_order), _line(x, x_order), contiguous(normal(grid)), ggrid)
    return ggrid
