"""Pooling: the largest element, or the mean, of each window.

    max_pool       y[n, p, q, c] = max over r, s of x[n, p * stride - padding + r * dilation, q * ... + s * ..., c]
    average_pool   the sum in place of the max, divided by the number of elements

over the canonical [N, D, H, W, C]; taps outside the input do not take part.  Loops run over output rows, then over the
taps of a window, and innermost over the channels, which lie side by side: every load is contiguous whatever the stride.

The gradients gather: each element of gx collects from the windows that cover it, in the order of the taps.  So no two
threads write to one place, and overlapping windows always add up in the same order.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numba import prange

from ..geometry import MAX_RANK, Window
from ..layout import channels_last, from_channels_last, normal
from .elementwise import readable
from .reduce import sum as sum_over
from .runtime import inline, kernel


# ------------------------------------------------------------------------------------ window walk
@inline
def _tap_range(o, size, window, stride, before, dilation):
    """The taps [first, last) of the window of output `o` along one axis that fall inside the input, and where tap 0 falls."""
    start = o * stride - before
    first = 0 if start >= 0 else (-start + dilation - 1) // dilation
    last = min(window, (size - start + dilation - 1) // dilation)
    return start, first, max(first, last)


@inline
def _covering(i, r, output, stride, before, dilation):
    """The output whose tap `r` falls on input `i` along one axis, or -1."""
    far = i + before - r * dilation
    if far < 0 or far % stride != 0 or far // stride >= output:
        return -1
    return far // stride


@inline
def _covering_table(size, output, window, stride, before, dilation):
    """`_covering` for every input and tap along one axis: divisions are slow, and all rows share these."""
    table = np.empty((size, window), np.int64)
    for i in range(size):
        for r in range(window):
            table[i, r] = _covering(i, r, output, stride, before, dilation)
    return table


@inline
def _covering_rows(z, h, planes, rows, windows, strides, before, dilations):
    """The output rows that see input row (z, h): how many, their planes and rows, and the tap number of their first tap."""
    found = np.empty((windows[0] * windows[1], 3), np.int64)
    count = 0
    for a in range(windows[0]):
        d = _covering(z, a, planes, strides[0], before[0], dilations[0])
        if d < 0:
            continue
        for b in range(windows[1]):
            p = _covering(h, b, rows, strides[1], before[1], dilations[1])
            if p >= 0:
                found[count, 0] = d
                found[count, 1] = p
                found[count, 2] = (a * windows[1] + b) * windows[2]
                count += 1
    return count, found


# Kernels take memory as [pixels, C] and sizes apart: `whole` = (N, D, H, W) of the input, `output` its counterpart.
@kernel
def _max_pool(x, y, index, whole, output, windows, strides, before, dilations):
    # The taps of a window are taken four at a time: a loop over the channels costs its overhead once for four loads.
    batch, depth, height, width = whole
    _, planes, rows, columns = output
    channels = x.shape[1]
    for task in prange(batch * planes * rows):
        n, d, p = task // (planes * rows), task // rows % planes, task % rows
        z0, a0, a1 = _tap_range(d, depth, windows[0], strides[0], before[0], dilations[0])
        y0, b0, b1 = _tap_range(p, height, windows[1], strides[1], before[1], dilations[1])
        place = np.empty(windows[0] * windows[1] * windows[2] + 3, np.int64)
        tap = np.empty(place.size, index.dtype)
        for q in range(columns):
            o = task * columns + q
            x0, c0, c1 = _tap_range(q, width, windows[2], strides[2], before[2], dilations[2])
            count = 0
            for a in range(a0, a1):
                for b in range(b0, b1):
                    line = ((n * depth + z0 + a * dilations[0]) * height + y0 + b * dilations[1]) * width + x0
                    for c in range(c0, c1):
                        place[count] = line + c * dilations[2]
                        tap[count] = (a * windows[1] + b) * windows[2] + c
                        count += 1
            first = tap[0] if count else index.dtype.type(0)
            for c in range(channels):
                y[o, c] = -np.inf
                index[o, c] = first
            for extra in range(count, (count + 3) // 4 * 4):  # repeats of the last tap change nothing
                place[extra] = place[count - 1]
                tap[extra] = tap[count - 1]
            for k in range(0, count, 4):
                i0, i1, i2, i3 = place[k], place[k + 1], place[k + 2], place[k + 3]
                t0, t1, t2, t3 = tap[k], tap[k + 1], tap[k + 2], tap[k + 3]
                for c in range(channels):
                    best, which = y[o, c], index[o, c]
                    v = x[i0, c]
                    better = (v > best) | (v != v)
                    best, which = v if better else best, t0 if better else which
                    v = x[i1, c]
                    better = (v > best) | (v != v)
                    best, which = v if better else best, t1 if better else which
                    v = x[i2, c]
                    better = (v > best) | (v != v)
                    best, which = v if better else best, t2 if better else which
                    v = x[i3, c]
                    better = (v > best) | (v != v)
                    y[o, c], index[o, c] = v if better else best, t3 if better else which


@kernel
def _max_pool_grad(gy, index, gx, whole, output, windows, strides, before, dilations):
    # gx[i] = sum of gy[o] over the windows o that cover i and remember the tap that falls on it.
    batch, depth, height, width = whole
    _, planes, rows, columns = output
    channels = gx.shape[1]
    zero = gx.dtype.type(0)
    covering = _covering_table(width, columns, windows[2], strides[2], before[2], dilations[2])
    for task in prange(batch * depth * height):
        n, z, h = task // (depth * height), task // height % depth, task % height
        count, found = _covering_rows(z, h, planes, rows, windows, strides, before, dilations)
        for w in range(width):
            i = task * width + w
            for c in range(channels):
                gx[i, c] = zero
            for k in range(count):
                line = ((n * planes + found[k, 0]) * rows + found[k, 1]) * columns
                for e in range(windows[2]):
                    q = covering[w, e]
                    if q < 0:
                        continue
                    o = line + q
                    tap = index.dtype.type(found[k, 2] + e)
                    for c in range(channels):
                        value = gy[o, c]
                        gx[i, c] += value if index[o, c] == tap else zero


@kernel
def _max_pool_gather(x, index, y, whole, output, windows, strides, before, dilations):
    batch, depth, height, width = whole
    _, planes, rows, columns = output
    zero = x.dtype.type(0)
    for task in prange(batch * planes * rows):
        n, d, p = task // (planes * rows), task // rows % planes, task % rows
        place = np.empty(windows[0] * windows[1] * windows[2], np.int64)
        for q in range(columns):
            o = task * columns + q
            k = 0
            for a in range(windows[0]):
                z = d * strides[0] - before[0] + a * dilations[0]
                for b in range(windows[1]):
                    h = p * strides[1] - before[1] + b * dilations[1]
                    for e in range(windows[2]):
                        w = q * strides[2] - before[2] + e * dilations[2]
                        inside = (z >= 0) & (z < depth) & (h >= 0) & (h < height) & (w >= 0) & (w < width)
                        place[k] = ((n * depth + z) * height + h) * width + w if inside else -1
                        k += 1
            for c in range(x.shape[1]):
                i = place[index[o, c]]
                y[o, c] = x[i, c] if i >= 0 else zero


@kernel
def _average_pool(x, y, scale, whole, output, windows, strides, before, dilations):
    # scale[o] = 1 / (elements of window o), over the output places of one sample.
    batch, depth, height, width = whole
    _, planes, rows, columns = output
    channels = x.shape[1]
    for task in prange(batch * planes * rows):
        n, d, p = task // (planes * rows), task // rows % planes, task % rows
        z0, a0, a1 = _tap_range(d, depth, windows[0], strides[0], before[0], dilations[0])
        y0, b0, b1 = _tap_range(p, height, windows[1], strides[1], before[1], dilations[1])
        place = np.empty(windows[0] * windows[1] * windows[2], np.int64)
        for q in range(columns):
            o = task * columns + q
            x0, c0, c1 = _tap_range(q, width, windows[2], strides[2], before[2], dilations[2])
            count = 0
            for a in range(a0, a1):
                for b in range(b0, b1):
                    line = ((n * depth + z0 + a * dilations[0]) * height + y0 + b * dilations[1]) * width + x0
                    for c in range(c0, c1):
                        place[count] = line + c * dilations[2]
                        count += 1
            factor = scale[d, p, q]
            for c in range(channels):
                y[o, c] = 0
            k = 0
            while k + 4 <= count:  # four taps share one load and one store of y
                i0, i1, i2, i3 = place[k], place[k + 1], place[k + 2], place[k + 3]
                for c in range(channels):
                    y[o, c] += ((x[i0, c] + x[i1, c]) + (x[i2, c] + x[i3, c])) * factor
                k += 4
            while k < count:
                i0 = place[k]
                for c in range(channels):
                    y[o, c] += x[i0, c] * factor
                k += 1


@kernel
def _average_pool_grad(gy, gx, scale, whole, output, windows, strides, before, dilations):
    # gx[i] = sum of gy[o] scale[o] over the windows o that cover i.
    batch, depth, height, width = whole
    _, planes, rows, columns = output
    channels = gx.shape[1]
    covering = _covering_table(width, columns, windows[2], strides[2], before[2], dilations[2])
    for task in prange(batch * depth * height):
        n, z, h = task // (depth * height), task // height % depth, task % height
        count, found = _covering_rows(z, h, planes, rows, windows, strides, before, dilations)
        for w in range(width):
            i = task * width + w
            for c in range(channels):
                gx[i, c] = 0
            for k in range(count):
                d, p = found[k, 0], found[k, 1]
                line = ((n * planes + d) * rows + p) * columns
                for e in range(windows[2]):
                    q = covering[w, e]
                    if q < 0:
                        continue
                    factor = scale[d, p, q]
                    for c in range(channels):
                        gx[i, c] += gy[line + q, c] * factor


# ------------------------------------------------------------------------------------- public side
class _Walk:
    """The canonical sizes of one pooling, and its arrays as the kernels take them."""

    def __init__(self, batch: int, channels: int, input_size: Sequence[int], output_size: Sequence[int], window: Window) -> None:
        size, stride, padding, dilation = window.canonical
        one = (1,) * (MAX_RANK - window.rank)
        self.channels = channels
        self.rank = window.rank
        self.input = (batch, *one, *input_size)
        self.output = (batch, *one, *output_size)
        self.geometry = (self.input, self.output, size, stride, tuple(before for before, _ in padding), dilation)

    def read(self, a: np.ndarray) -> np.ndarray:
        """An [N, C, *S] operand as [pixels, C]."""
        return readable(channels_last(normal(a)).reshape(a.size // self.channels if self.channels else 0, self.channels))

    def make(self, size: Sequence[int], dtype: np.dtype | type) -> np.ndarray:
        """An empty result [pixels, C]."""
        return np.empty((math.prod(size), self.channels), dtype)

    def give(self, a: np.ndarray, size: Sequence[int]) -> np.ndarray:
        """A result [pixels, C] as [N, C, *S], channels-last."""
        return from_channels_last(a.reshape(*size, self.channels), self.rank)


def max_pool(x: np.ndarray, window: Window) -> tuple[np.ndarray, np.ndarray]:
    """The largest element of each window of x [N, C, *S], and its tap: its number inside the window, row by row.

    Taps are uint8 if the window has at most 256 elements, int32 otherwise.  Of equals the first counts; NaN is larger than
    all else.  Both results are channels-last.
    """
    walk = _Walk(*x.shape[:2], x.shape[2:], window.output_size(x.shape[2:]), window)
    y = walk.make(walk.output, x.dtype)
    index = walk.make(walk.output, np.uint8 if math.prod(window.size) <= 256 else np.int32)
    _max_pool(walk.read(x), y, index, *walk.geometry)
    return walk.give(y, walk.output), walk.give(index, walk.output)


def max_pool_grad(gy: np.ndarray, index: np.ndarray, input_size: Sequence[int], window: Window) -> np.ndarray:
    """The gradient of `max_pool` for x of spatial size `input_size`: gy goes where the maximum came from.  Channels-last."""
    walk = _Walk(*gy.shape[:2], input_size, gy.shape[2:], window)
    gx = walk.make(walk.input, gy.dtype)
    _max_pool_grad(walk.read(gy), walk.read(index), gx, *walk.geometry)
    return walk.give(gx, walk.input)


def max_pool_gather(x: np.ndarray, index: np.ndarray, window: Window) -> np.ndarray:
    """The elements of x at the taps that `max_pool` gave: the adjoint of `max_pool_grad`.  Channels-last."""
    walk = _Walk(*x.shape[:2], x.shape[2:], index.shape[2:], window)
    y = walk.make(walk.output, x.dtype)
    _max_pool_gather(walk.read(x), walk.read(index), y, *walk.geometry)
    return walk.give(y, walk.output)


def average_pool(x: np.ndarray, window: Window, count_include_pad: bool, divisor_override: int | None) -> np.ndarray:
    """The mean of each window of x [N, C, *S].  Channels-last.

    The divisor is `divisor_override` if given; else the number of elements of the window that lie inside the input, or inside
    the input and its padding if `count_include_pad`.
    """
    spatial = window.output_size(x.shape[2:])
    scale = _scale(window, x.shape[2:], spatial, count_include_pad, divisor_override, x.dtype)
    if x.size and window.size == x.shape[2:] and not any(map(any, window.padding)) and max(window.dilation) == 1:
        # One window is everything: many numbers to one sum, for which `sum` keeps more digits and more threads busy.
        y = sum_over(x, tuple(range(2, x.ndim)), True)
        y *= scale.ravel()[0]
        return y
    walk = _Walk(*x.shape[:2], x.shape[2:], spatial, window)
    y = walk.make(walk.output, x.dtype)
    _average_pool(walk.read(x), y, scale, *walk.geometry)
    return walk.give(y, walk.output)


def average_pool_grad(
    gy: np.ndarray, input_size: Sequence[int], window: Window, count_include_pad: bool, divisor_override: int | None
) -> np.ndarray:
    """The gradient of `average_pool` for x of spatial size `input_size`.  Channels-last."""
    scale = _scale(window, input_size, gy.shape[2:], count_include_pad, divisor_override, gy.dtype)
    walk = _Walk(*gy.shape[:2], input_size, gy.shape[2:], window)
    gx = walk.make(walk.input, gy.dtype)
    _average_pool_grad(walk.read(gy), gx, scale, *walk.geometry)
    return walk.give(gx, walk.input)


def _scale(
    window: Window, input_size: Sequence[int], output_size: Sequence[int], count_include_pad: bool, divisor_override: int | None, dtype: np.dtype
) -> np.ndarray:
    """1 / divisor for each output place [P0, P1, P2]."""
    counts = [np.ones(1)] * (MAX_RANK - window.rank)
    for size, output, r, stride, (before, after), dilation in zip(
        input_size, output_size, window.size, window.stride, window.padding, window.dilation, strict=True
    ):
        taps = np.arange(output)[:, None] * stride - before + np.arange(r) * dilation
        low, high = (-before, size + after) if count_include_pad else (0, size)
        counts.append(np.count_nonzero((taps >= low) & (taps < high), axis=1))
    if divisor_override is not None:
        return np.full([len(count) for count in counts], 1 / divisor_override, dtype)
    product = counts[0][:, None, None] * counts[1][:, None] * counts[2]
    return (1 / np.maximum(product, 1)).astype(dtype)
