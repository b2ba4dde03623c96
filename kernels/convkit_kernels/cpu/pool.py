"""Pooling: the largest element, or the mean, of each window.

    max_pool       y[n, p, q, c] = max over r, s of x[n, p * stride - padding + r * dilation, q * ... + s * ..., c]
    average_pool   the sum in place of the max, divided by the number of elements

over the canonical [N, D, H, W, C]; taps outside the input do not take part.  Loops run over output rows, then over the
taps of a window, and innermost over the channels, which lie side by side: every load is contiguous whatever the stride.

Which elements a window sees is written down once (`_walk`), for the rows and for the columns.  Read backwards, the same
table says which windows see an element, and that is how the gradients go: each element of gx collects from its windows.  So
no two threads write to one place, and overlapping windows always add up in the same order.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import numpy as np
from numba import prange

from ..geometry import MAX_RANK, Window
from ..layout import channels_last, normal
from .elementwise import mul
from .reduce import sum as sum_over
from .runtime import inline, kernel


# ------------------------------------------------------------------------------------ window walk
@functools.lru_cache(maxsize=256)
def _walk(window: Window, input_size: tuple[int, ...], output_size: tuple[int, ...], backward: bool) -> tuple[np.ndarray, ...]:
    """Which places see which: (row_start, row_seen, column_start, column_seen).

    Row r of the output sees the input rows row_seen[row_start[r] : row_start[r + 1]], each a pair (number of its first pixel,
    number of its first tap); likewise column q.  The sum of two pairs is (pixel, tap).  Backward: input rows see output rows.
    """
    size, stride, padding, dilation = window.canonical
    one = (1,) * (MAX_RANK - window.rank)
    inputs, outputs = one + input_size, one + output_size
    here_size, there_size = (inputs, outputs) if backward else (outputs, inputs)
    here, there, taps = [], [], []
    for axis in range(MAX_RANK):
        o, r = np.indices((outputs[axis], size[axis])).reshape(2, -1)
        i = o * stride[axis] - padding[axis][0] + r * dilation[axis]
        inside = (i >= 0) & (i < inputs[axis])
        o, r, i = o[inside], r[inside], i[inside]
        here.append(i if backward else o)
        there.append((o if backward else i) * math.prod(there_size[axis + 1 :]))
        taps.append(r * math.prod(size[axis + 1 :]))
    # Depth and height make one table: the rows.
    row, seen, tap = (np.add.outer(a, b).ravel() for a, b in ((here[0] * here_size[1], here[1]), there[:2], taps[:2]))
    return *_table(row, seen, tap, here_size[0] * here_size[1]), *_table(here[2], there[2], taps[2], here_size[2])


def _table(here: np.ndarray, there: np.ndarray, tap: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """(start, seen): the pairs (there, tap) of each place `here`, in the order of the taps."""
    order = np.lexsort((tap, here))
    return np.searchsorted(here[order], np.arange(count + 1)), np.stack([there[order], tap[order]], axis=1)


@inline
def _list(found, row, column, row_start, row_seen, column_start, column_seen):
    """Write the pairs (pixel, tap) that (row, column) sees to `found`, and give their number."""
    count = 0
    for a in range(row_start[row], row_start[row + 1]):
        for b in range(column_start[column], column_start[column + 1]):
            found[count, 0] = row_seen[a, 0] + column_seen[b, 0]
            found[count, 1] = row_seen[a, 1] + column_seen[b, 1]
            count += 1
    return count


# Kernels take memory as [pixels, C]; `size` is the number of pixels of one sample of the array they read, `taps` that of a window.
@kernel
def _max_pool(x, y, index, size, taps, row_start, row_seen, column_start, column_seen):
    # Taps are taken four at a time: a loop over the channels costs its overhead once for four loads.
    rows, columns = row_start.size - 1, column_start.size - 1
    channels = x.shape[1]
    for task in prange(y.shape[0] // columns):
        base = task // rows * size
        found = np.empty((taps + 3, 2), np.int64)
        for q in range(columns):
            o = task * columns + q
            count = _list(found, task % rows, q, row_start, row_seen, column_start, column_seen)
            first = index.dtype.type(found[0, 1] if count else 0)
            for c in range(channels):
                y[o, c] = -np.inf
                index[o, c] = first
            for extra in range(count, (count + 3) // 4 * 4):  # repeats of the last tap change nothing
                found[extra, 0], found[extra, 1] = found[count - 1, 0], found[count - 1, 1]
            for k in range(0, count, 4):
                i0, i1, i2, i3 = base + found[k, 0], base + found[k + 1, 0], base + found[k + 2, 0], base + found[k + 3, 0]
                t0, t1 = index.dtype.type(found[k, 1]), index.dtype.type(found[k + 1, 1])
                t2, t3 = index.dtype.type(found[k + 2, 1]), index.dtype.type(found[k + 3, 1])
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
def _max_pool_grad(gy, index, gx, size, taps, row_start, row_seen, column_start, column_seen):
    # gx[i] = sum of gy[o] over the windows o that see i and remember the tap that falls on it.
    rows, columns = row_start.size - 1, column_start.size - 1
    channels = gx.shape[1]
    zero = gx.dtype.type(0)
    for task in prange(gx.shape[0] // columns):
        base = task // rows * size
        found = np.empty((taps, 2), np.int64)
        for q in range(columns):
            i = task * columns + q
            count = _list(found, task % rows, q, row_start, row_seen, column_start, column_seen)
            for c in range(channels):
                gx[i, c] = zero
            for k in range(count):
                o, tap = base + found[k, 0], index.dtype.type(found[k, 1])
                for c in range(channels):
                    value = gy[o, c]
                    gx[i, c] += value if index[o, c] == tap else zero


@kernel
def _max_pool_gather(x, index, y, size, taps, row_start, row_seen, column_start, column_seen):
    rows, columns = row_start.size - 1, column_start.size - 1
    zero = x.dtype.type(0)
    for task in prange(y.shape[0] // columns):
        found = np.empty((taps, 2), np.int64)
        place = np.empty(taps, np.int64)
        for q in range(columns):
            o = task * columns + q
            place[0] = -1  # for a window that sees nothing
            for k in range(_list(found, task % rows, q, row_start, row_seen, column_start, column_seen)):
                place[found[k, 1]] = task // rows * size + found[k, 0]
            for c in range(x.shape[1]):
                i = place[index[o, c]]
                y[o, c] = x[i, c] if i >= 0 else zero


@kernel
def _sum_seen(x, y, scale, size, taps, row_start, row_seen, column_start, column_seen):
    # y[o] = scale[o] * sum of x[i] over the places i that o sees: average pooling, and read backwards its gradient.
    rows, columns = row_start.size - 1, column_start.size - 1
    channels = x.shape[1]
    for task in prange(y.shape[0] // columns):
        base = task // rows * size
        found = np.empty((taps, 2), np.int64)
        for q in range(columns):
            o = task * columns + q
            count = _list(found, task % rows, q, row_start, row_seen, column_start, column_seen)
            factor = scale[task % rows * columns + q]
            for c in range(channels):
                y[o, c] = 0
            for k in range(0, count - 3, 4):  # four at a time share one load and one store of y
                i0, i1, i2, i3 = base + found[k, 0], base + found[k + 1, 0], base + found[k + 2, 0], base + found[k + 3, 0]
                for c in range(channels):
                    y[o, c] += ((x[i0, c] + x[i1, c]) + (x[i2, c] + x[i3, c])) * factor
            for k in range(count // 4 * 4, count):
                i0 = base + found[k, 0]
                for c in range(channels):
                    y[o, c] += x[i0, c] * factor


# ------------------------------------------------------------------------------------- public side
def _pixels(a: np.ndarray) -> np.ndarray:
    """[N, C, *S] as contiguous [pixels, C]."""
    memory = channels_last(a)
    return memory.reshape(math.prod(memory.shape[:-1]), memory.shape[-1])


def _images(a: np.ndarray, batch: int, spatial: Sequence[int]) -> np.ndarray:
    """[pixels, C] as [N, C, *S], channels-last."""
    return a.reshape(batch, *spatial, a.shape[1]).transpose(0, len(spatial) + 1, *range(1, len(spatial) + 1))


def max_pool(x: np.ndarray, window: Window) -> tuple[np.ndarray, np.ndarray]:
    """The largest element of each window of x [N, C, *S], and its tap: its number inside the window, row by row.

    Taps are uint8 if the window has at most 256 elements, int32 otherwise.  Of equals the first counts; NaN is larger than
    all else.  Both results are channels-last.
    """
    x = normal(x)
    batch, channels, *spatial = x.shape
    output, taps = window.output_size(spatial), math.prod(window.size)
    y = np.empty((batch * math.prod(output), channels), x.dtype)
    index = np.empty(y.shape, np.uint8 if taps <= 256 else np.int32)
    _max_pool(_pixels(x), y, index, math.prod(spatial), taps, *_walk(window, tuple(spatial), output, False))
    return _images(y, batch, output), _images(index, batch, output)


def max_pool_grad(gy: np.ndarray, index: np.ndarray, input_size: Sequence[int], window: Window) -> np.ndarray:
    """The gradient of `max_pool` for x of spatial size `input_size`: gy goes where the maximum came from.  Channels-last."""
    gy = normal(gy)
    batch, channels, *output = gy.shape
    gx = np.empty((batch * math.prod(input_size), channels), gy.dtype)
    walk = _walk(window, tuple(input_size), tuple(output), True)
    _max_pool_grad(_pixels(gy), _pixels(normal(index)), gx, math.prod(output), math.prod(window.size), *walk)
    return _images(gx, batch, input_size)


def max_pool_gather(x: np.ndarray, index: np.ndarray, window: Window) -> np.ndarray:
    """The elements of x at the taps that `max_pool` gave: the adjoint of `max_pool_grad`.  Channels-last."""
    x = normal(x)
    batch, channels, *spatial = x.shape
    output = index.shape[2:]
    y = np.empty((batch * math.prod(output), channels), x.dtype)
    walk = _walk(window, tuple(spatial), output, False)
    _max_pool_gather(_pixels(x), _pixels(normal(index)), y, math.prod(spatial), math.prod(window.size), *walk)
    return _images(y, batch, output)


@functools.lru_cache(maxsize=256)
def _divisor(window: Window, input_size: tuple[int, ...], output_size: tuple[int, ...], count_include_pad: bool, override: int | None) -> np.ndarray:
    """What each output place divides its sum by: `override`, or how many elements it sees, those of the padding included or not."""
    counts = []
    for size, output, r, stride, (before, after), dilation in zip(
        input_size, output_size, window.size, window.stride, window.padding, window.dilation, strict=True
    ):
        taps = np.arange(output)[:, None] * stride - before + np.arange(r) * dilation
        low, high = (-before, size + after) if count_include_pad else (0, size)
        counts.append(np.count_nonzero((taps >= low) & (taps < high), axis=1))
    product = functools.reduce(np.multiply.outer, counts)
    return np.full(product.shape, override) if override is not None else np.maximum(product, 1)


def average_pool(x: np.ndarray, window: Window, count_include_pad: bool, divisor_override: int | None) -> np.ndarray:
    """The mean of each window of x [N, C, *S].  Channels-last.

    The divisor is `divisor_override` if given; else the number of elements of the window that lie inside the input, or inside
    the input and its padding if `count_include_pad`.
    """
    x = normal(x)
    batch, channels, *spatial = x.shape
    output = window.output_size(spatial)
    scale = (1 / _divisor(window, tuple(spatial), output, count_include_pad, divisor_override)).astype(x.dtype).ravel()
    if x.size and window.size == tuple(spatial) and math.prod(output) == 1 and not any(map(any, window.padding)):
        # One window sees everything: many numbers to one sum, where `sum` keeps more digits and more threads busy.
        y = sum_over(x, tuple(range(2, x.ndim)), True)
        y *= scale[0]
        return y
    y = np.empty((batch * math.prod(output), channels), x.dtype)
    _sum_seen(_pixels(x), y, scale, math.prod(spatial), math.prod(window.size), *_walk(window, tuple(spatial), output, False))
    return _images(y, batch, output)


def average_pool_grad(gy: np.ndarray, input_size: Sequence[int], window: Window, count_include_pad: bool, divisor_override: int | None) -> np.ndarray:
    """The gradient of `average_pool` for x of spatial size `input_size`.  Channels-last."""
    gy = normal(gy)
    batch, channels, *output = gy.shape
    scale = (1 / _divisor(window, tuple(input_size), tuple(output), count_include_pad, divisor_override)).astype(gy.dtype)
    factor = scale.flat[0] if scale.size else scale.dtype.type(1)
    if (scale != factor).any():  # windows of different sizes: each must be scaled before the sum
        gy, factor = mul(gy, scale), scale.dtype.type(1)
    gx = np.empty((batch * math.prod(input_size), channels), gy.dtype)
    walk = _walk(window, tuple(input_size), tuple(output), True)
    factors = np.full(math.prod(input_size), factor)
    _sum_seen(_pixels(gy), gx, factors, math.prod(output), math.prod(window.size), *walk)
    return _images(gx, batch, input_size)
