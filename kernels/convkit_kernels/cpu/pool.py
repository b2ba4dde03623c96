"""Pooling: the largest element, or the mean, of each window; and unpooling, which puts elements back where they came from.

    max_pool       y[n, p, q, c] = max over r, s of x[n, p * stride - padding + r * dilation, q * ... + s * ..., c]
    average_pool   the sum in place of the max, divided by the number of elements

over the canonical [N, D, H, W, C]; taps outside the input do not take part.  A window is a `geometry.Window`, the same everywhere, or
a `geometry.Grid`, whose windows differ in size: all that kernels see of either is one table (`_walk`).  It works on lines, the rows of an
image as W * C numbers side by side: which lines a line of the output sees, and which pieces of those its own pieces see.  Where
the steps between windows are short, as few channels make them, pieces would be short too, and a loop over a few numbers costs more
than it does: there the windows at every place are computed, in pieces as long as the line, and those between the steps are dropped.
An image in C order is a batch of images of one channel, and so is pooled as it stands.

The gradient of an average reads the table backwards: each element of gx collects from the windows that see it.  The gradient of a
maximum goes where the maximum was, and so does unpooling; a task is some channels of an image.  So no two threads write to one place,
and overlapping windows always add up in the same order.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import numpy as np
from numba import prange

from ..geometry import MAX_RANK, Grid, Window
from ..layout import normal
from .copy import channels_last, contiguous
from .elementwise import div
from .reduce import sum as sum_over
from .runtime import kernel

Windows = Window | Grid
Sizes = tuple[int, ...]
# Windows that step by fewer numbers than this along a line are computed at every place, and those between the steps thrown away.
DENSE = 32
# Lines that one task writes, at most.
LINES = 8
# Channels that one task scatters: whole cache lines.
BLOCK = 16
# Pixels that one task gathers.
PIXELS = 64
# Elements from which on one window that sees everything is a sum like others; in C order it always is one.
MANY = 256
# Below it, the place of a window that sees nothing.
NOTHING = -(1 << 40)
# Numbers in a line from which on an image in C order is pooled as it stands, each channel an image of its own.
PLANE = 96
NO_STEPS = np.zeros(0, np.uint64)


# ------------------------------------------------------------------------------------ window walk
@functools.lru_cache(maxsize=256)
def _numbers(window: Windows, input_size: Sizes, output_size: Sizes) -> tuple[int, ...]:
    """The number of taps along each dimension: those of the largest window."""
    return tuple(max(window.places(axis, i, o)[1], default=1) for axis, (i, o) in enumerate(zip(input_size, output_size, strict=True)))


def _pairs(window: Windows, input_size: Sizes, output_size: Sizes) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """(output place, input place, tap) of each tap inside the input, along each of three dimensions."""
    axes = [(np.zeros(1, np.int64),) * 3] * (MAX_RANK - window.rank)
    for axis, (size, output) in enumerate(zip(input_size, output_size, strict=True)):
        start, number, step = window.places(axis, size, output)
        o, r = np.nonzero(np.arange(max(number, default=1)) < np.array(number, np.int64)[:, None])
        i = np.array(start, np.int64)[o] + r * step
        inside = (i >= 0) & (i < size)
        axes.append((o[inside], i[inside], r[inside]))
    return axes


def _table(here: np.ndarray, there: np.ndarray, tap: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """(start, seen): place p sees the pairs (there, tap) seen[start[p] : start[p + 1]], in the order of the taps."""
    order = np.lexsort((tap, here))
    return np.searchsorted(here[order], np.arange(count + 1)), np.stack([there[order], tap[order]], axis=1)


def _rows(window: Windows, input_size: Sizes, output_size: Sizes, backward: bool) -> tuple[np.ndarray, np.ndarray]:
    """`_table` of the rows: depth and height together; a row's tap is the number of its first one.  Backward: input rows see output rows."""
    one = (1,) * (MAX_RANK - window.rank)
    numbers = (*one, *_numbers(window, input_size, output_size))
    (d_out, d_in, d_tap), (h_out, h_in, h_tap), _ = _pairs(window, input_size, output_size)
    outputs = np.add.outer(d_out * (one + output_size)[1], h_out).ravel()
    inputs = np.add.outer(d_in * (one + input_size)[1], h_in).ravel()
    taps = np.add.outer(d_tap * numbers[1], h_tap).ravel() * numbers[2]
    if backward:
        return _table(inputs, outputs, taps, math.prod(input_size[:-1]))
    return _table(outputs, inputs, taps, math.prod(output_size[:-1]))


@functools.lru_cache(maxsize=256)
def _walk(window: Windows, input_size: Sizes, output_size: Sizes, channels: int, backward: bool) -> tuple[np.ndarray, ...]:
    """(row_start, row_seen, pieces, steps): which lines a line sees, and what its elements see of the elements of each of those.

    `pieces` lists, as (to, from, length, tap), which elements see what.  Where `steps` is not empty, pieces speak of a line of
    windows a step of 1 apart in the place of the output's (of gy's, backward), whose element j is steps[j] of that line.
    """
    rows = _rows(window, input_size, output_size, backward)
    size, output = input_size[-1], output_size[-1]
    if isinstance(window, Window) and window.stride[-1] > 1 and output > 1 and window.stride[-1] * channels < DENSE:
        start, number, step = window.places(window.rank - 1, size, output)
        taps = np.arange(number[0])
        low = np.maximum(0, -start[0] - taps * step)
        length = np.minimum(start[-1] - start[0] + 1, size - start[0] - taps * step) - low
        pieces = np.stack([low * channels, (low + start[0] + taps * step) * channels, length * channels, taps], axis=1)[length > 0]
        steps = np.add.outer((np.array(start) - start[0]) * channels, np.arange(channels)).ravel()
        return *rows, np.ascontiguousarray(pieces[:, [1, 0, 2, 3] if backward else [0, 1, 2, 3]]), steps.astype(np.uint64)
    here, there, tap = _pairs(window, input_size, output_size)[2]
    if backward:
        here, there = there, here
    order = np.lexsort((here, tap))
    to, source, by = here[order], there[order], tap[order]
    joined = (np.diff(to) == 1) & (np.diff(source) == 1) & (np.diff(by) == 0)
    starts = np.flatnonzero(np.concatenate([[True], ~joined])) if to.size else np.zeros(0, np.int64)
    length = np.diff(np.append(starts, to.size))
    pieces = np.stack([to[starts] * channels, source[starts] * channels, length * channels, by[starts]], axis=1)
    return *rows, pieces, NO_STEPS


@functools.lru_cache(maxsize=256)
def _first(window: Windows, input_size: Sizes, output_size: Sizes, channels: int) -> np.ndarray:
    """The first tap by which each element of a line that `_walk` writes sees anything."""
    *_, pieces, steps = _walk(window, input_size, output_size, channels, False)
    first = np.zeros(steps[-1] + 1 if steps.size else output_size[-1] * channels, np.int64)
    for to, _, length, tap in reversed(pieces.tolist()):
        first[to : to + length] = tap
    return first


@functools.lru_cache(maxsize=256)
def _place_tables(window: Windows, input_size: Sizes, output_size: Sizes) -> tuple[np.ndarray, np.ndarray]:
    """(place of the first tap of each window, how far each tap lies from there); far below 0 where a window sees nothing."""
    base, offset, pitch = np.zeros(1, np.int64), np.zeros(1, np.int64), math.prod(input_size)
    for axis, (size, output, taps) in enumerate(zip(input_size, output_size, _numbers(window, input_size, output_size), strict=True)):
        pitch //= size
        start, number, step = window.places(axis, size, output)
        first, tap = np.array(start, np.int64), np.arange(taps) * step
        seen = (first[:, None] + tap >= 0) & (first[:, None] + tap < size)
        first[~seen.any(axis=1)] = 2 * NOTHING
        base, offset = np.add.outer(base, first * pitch).ravel(), np.add.outer(offset, tap * pitch).ravel()
    return base, offset


@functools.lru_cache(maxsize=256)
def _divisors(window: Windows, input_size: Sizes, output_size: Sizes, count_include_pad: bool, override: int | None) -> tuple[np.ndarray, np.ndarray]:
    """What output row p and column q divide their sums by: `override`, or how many elements they see, of the padding included or not."""
    counts = [np.ones(1, np.int64)] * (MAX_RANK - window.rank)
    for axis, (size, output) in enumerate(zip(input_size, output_size, strict=True)):
        start, number, step = window.places(axis, size, output)
        tap = np.arange(max(number, default=1))
        place = np.array(start, np.int64)[:, None] + tap * step
        before, after = window.padding[axis] if isinstance(window, Window) and count_include_pad else (0, 0)
        seen = (place >= -before) & (place < size + after) & (tap < np.array(number, np.int64)[:, None])
        counts.append(np.maximum(np.count_nonzero(seen, axis=1), 1))
    rows, columns = np.multiply.outer(counts[0], counts[1]).ravel(), counts[2]
    if override is not None:
        rows, columns = np.full_like(rows, override), np.ones_like(columns)
    return rows, columns


@functools.lru_cache(maxsize=256)
def _line_divisors(
    window: Windows, input_size: Sizes, output_size: Sizes, count_include_pad: bool, override: int | None, channels: int, dtype: np.dtype
) -> tuple[np.ndarray, np.ndarray]:
    """`_divisors` as `_sum_seen` reads them: of the rows, and of the elements of a line as `_walk` writes it."""
    rows, columns = _divisors(window, input_size, output_size, count_include_pad, override)
    divisor, steps = np.repeat(columns, channels).astype(dtype), _walk(window, input_size, output_size, channels, False)[-1]
    if steps.size:
        apart = np.ones(steps[-1] + 1, dtype)
        apart[steps], divisor = divisor, apart
    return rows.astype(dtype), divisor


@functools.lru_cache(maxsize=256)
def _sees_everything(window: Windows, input_size: Sizes, output_size: Sizes) -> bool:
    """Whether there is one window, and it sees each element once."""
    return math.prod(output_size) == 1 and all(window.places(a, n, 1) == ([0], [n], 1) for a, n in enumerate(input_size))


# ----------------------------------------------------------------------------------------- kernels
# They take memory as lines, [rows of all images, W * C]; `lines` is the number of lines of an image in the array that they read.
@kernel
def _max_seen(x, y, index, lines, block, row_start, row_seen, pieces, steps, first):
    # Of equals the first tap wins, and of NaN the last, as taps come in order.
    rows = row_start.size - 1
    for task in prange((y.shape[0] + block - 1) // block):
        dense = np.empty(first.size, x.dtype)
        by = np.empty(first.size, index.dtype)
        for o in range(task * block, min(y.shape[0], (task + 1) * block)):
            row, base = o % rows, o // rows * lines
            best = dense if steps.size else y[o]
            which = by if steps.size else index[o]
            start = row_seen[row_start[row], 1] if row_start[row] < row_start[row + 1] else 0
            for j in range(best.size):
                best[j] = -np.inf
            for j in range(best.size):
                which[j] = start + first[j]
            for a in range(row_start[row], row_start[row + 1]):
                line, number = x[base + row_seen[a, 0]], row_seen[a, 1]
                for k in range(pieces.shape[0]):
                    to, source, length, t = pieces[k, 0], pieces[k, 1], pieces[k, 2], index.dtype.type(number + pieces[k, 3])
                    for j in range(length):
                        i, p = np.uint64(source + j), np.uint64(to + j)  # unsigned: no test for counting from the end
                        v, b, w = line[i], best[p], which[p]
                        better = (v > b) | (v != v)
                        best[p] = v if better else b
                        which[p] = t if better else w
            for j in range(steps.size):
                y[o, j] = best[steps[j]]
            for j in range(steps.size):
                index[o, j] = which[steps[j]]


@kernel
def _scatter(x, index, base, offset, y, sizes):
    # y[n, base[i] + offset[index[n, i, c]], c] = x[n, i, c], or += it, and 0 elsewhere; all flat, with offsets times channels.
    inputs, outputs, channels, blocks = sizes[0], sizes[1], sizes[2], sizes[3]
    add = sizes[5] != 0
    zero = y.dtype.type(0)
    for task in prange(sizes[4]):
        n, low = task // blocks, task % blocks * BLOCK
        count = min(channels - low, BLOCK)
        start = n * outputs * channels + low
        runs, length = (1, outputs * channels) if blocks == 1 else (outputs, count)
        for r in range(runs):
            run = start + r * channels
            for j in range(length):
                y[np.uint64(run + j)] = zero  # unsigned: no test for counting from the end
        for i in range(inputs):
            if base[i] > NOTHING:
                first, at = start + base[i] * channels, (n * inputs + i) * channels + low
                for c in range(count):
                    k = np.uint64(at + c)
                    place = np.uint64(first + c + offset[np.uint64(index[k])])
                    y[place] = y[place] + x[k] if add else x[k]


@kernel
def _places(index, base, offset, places, channels):
    # places[o, c] = the first place of window o + how far the tap lies from there
    pixels = places.size // channels
    for task in prange((pixels + PIXELS - 1) // PIXELS):
        for o in range(task * PIXELS, min(pixels, (task + 1) * PIXELS)):
            first, at = base[o % base.size], o * channels
            for c in range(channels):
                k = np.uint64(at + c)
                places[k] = max(first + offset[np.uint64(index[k])], -1)


@kernel
def _gather(x, places, y, sizes):
    # y[n, o, c] = x[n, places[n, o, c], c], or 0 where the place is outside; all flat.
    outputs, inputs, channels = sizes[0], sizes[1], sizes[2]
    pixels = y.size // channels
    zero = x.dtype.type(0)
    for task in prange((pixels + PIXELS - 1) // PIXELS):
        for o in range(task * PIXELS, min(pixels, (task + 1) * PIXELS)):
            image, at = o // outputs * inputs, o * channels
            for c in range(channels):
                k = np.uint64(at + c)
                place = places[k]
                y[k] = x[np.uint64((image + place) * channels + c)] if 0 <= place < inputs else zero


@kernel
def _sum_seen(x, y, row_divisor, divisor, lines, block, row_start, row_seen, pieces, steps, backward):
    # y[o] = sum of x[i] over the places i that o sees, divided: average pooling, and read backwards its gradient.
    rows, zero = row_start.size - 1, x.dtype.type(0)
    spread, pick = steps.size > 0 and backward, steps.size > 0 and not backward
    for task in prange((y.shape[0] + block - 1) // block):
        partial = np.empty(x.shape[1], x.dtype)
        dense = np.empty(steps[steps.size - 1] + 1 if steps.size else 0, x.dtype)
        for j in range(dense.size):
            dense[j] = zero
        for o in range(task * block, min(y.shape[0], (task + 1) * block)):
            row, base = o % rows, o // rows * lines
            for j in range(partial.size):
                partial[j] = zero
            for a in range(row_start[row], row_start[row + 1]):
                line = x[base + row_seen[a, 0]]
                for j in range(partial.size):
                    partial[j] += line[j]
            if spread:
                for j in range(steps.size):
                    dense[steps[j]] = partial[j]
            source = dense if spread else partial
            total = dense if pick else y[o]
            for j in range(total.size):
                total[j] = zero
            for k in range(pieces.shape[0]):
                to, start, length = pieces[k, 0], pieces[k, 1], pieces[k, 2]
                for j in range(length):
                    total[np.uint64(to + j)] += source[np.uint64(start + j)]
            by_row = row_divisor[row]
            for j in range(total.size):
                total[j] /= by_row * divisor[j]
            if pick:
                for j in range(steps.size):
                    y[o, j] = dense[steps[j]]


# ------------------------------------------------------------------------------------- public side
def _flat(a: np.ndarray) -> np.ndarray:
    """[N, C, *S] as one axis, channels innermost."""
    return channels_last(a).reshape(-1)


def _lines(a: np.ndarray) -> np.ndarray:
    """[N, C, *S] as contiguous [lines, W * C]."""
    memory = channels_last(a)
    return memory.reshape(math.prod(memory.shape[:3]), memory.shape[3] * memory.shape[4])


def _planes(a: np.ndarray, window: Windows, width: int) -> np.ndarray | None:
    """[N, C, *S] in C order as [N * C, 1, *S], which is channels-last as it stands, if lines of `width` numbers are worth it; else None."""
    if a.shape[1] > 1 and width >= PLANE and a.flags.c_contiguous and isinstance(window, Window):
        return a.reshape(a.shape[0] * a.shape[1], 1, *a.shape[2:])
    return None


def _block(lines: np.ndarray) -> int:
    """Lines that one task writes: several share scratch memory where there are many."""
    return max(1, min(LINES, len(lines) // 16))


def _images(batch: int, channels: int, spatial: Sequence[int], dtype: np.dtype | type) -> np.ndarray:
    """New [N, C, *S] in channels-last memory."""
    rank = len(spatial)
    return np.empty((batch, *spatial, channels), dtype).transpose(0, rank + 1, *range(1, rank + 1))


def max_pool(x: np.ndarray, window: Windows) -> tuple[np.ndarray, np.ndarray]:
    """The largest element of each window of x [N, C, *S], and its tap: its number inside the window, row by row.

    In a grid, all windows number their taps as the largest does.  Taps are uint8 if a window has at most 256 elements, int32
    otherwise.  Of equals the first counts; NaN is larger than all else.  Both results are in the order of x, channels-last or C.
    """
    x = normal(x)
    planes = _planes(x, window, x.shape[-1])
    if planes is not None:
        y, index = max_pool(planes, window)
        return y.reshape(*x.shape[:2], *y.shape[2:]), index.reshape(*x.shape[:2], *y.shape[2:])
    batch, channels, *spatial = x.shape
    size, output = tuple(spatial), window.output_size(spatial)
    taps, lines = math.prod(_numbers(window, size, output)), math.prod(size[:-1])
    y = _images(batch, channels, output, x.dtype)
    index = _images(batch, channels, output, np.uint8 if taps <= 256 else np.int32)
    if not y.size:
        return y, index
    walk = _walk(window, size, output, channels, False)
    rows = _lines(y)
    _max_seen(_lines(x), rows, _lines(index), lines, _block(rows), *walk, _first(window, size, output, channels))
    return y, index


def max_pool_grad(gy: np.ndarray, index: np.ndarray, input_size: Sequence[int], window: Windows) -> np.ndarray:
    """The gradient of `max_pool` for x of spatial size `input_size`: gy goes where the maximum came from.  In the order of index."""
    gy = normal(gy)
    planes = _planes(index, window, input_size[-1])
    if planes is not None:
        return max_pool_grad(contiguous(gy).reshape(planes.shape), planes, input_size, window).reshape(*gy.shape[:2], *input_size)
    batch, channels, *output = gy.shape
    gx = _images(batch, channels, input_size, gy.dtype)
    if gx.size:
        base, offset = _place_tables(window, tuple(input_size), tuple(output))
        _scatter(_flat(gy), _flat(normal(index)), base, offset * channels, _flat(gx), _scatter_sizes(gy, gx, True))
    return gx


def _scatter_sizes(x: np.ndarray, y: np.ndarray, add: bool) -> np.ndarray:
    batch, channels, *output = y.shape
    blocks = -(-channels // BLOCK)
    return np.array([math.prod(x.shape[2:]), math.prod(output), channels, blocks, batch * blocks, add])


def max_pool_places(index: np.ndarray, input_size: Sequence[int], window: Windows) -> np.ndarray:
    """Where the maxima of `max_pool` lie (int64): their numbers in the flattened spatial dimensions, -1 for a window that sees nothing."""
    index = normal(index)
    planes = _planes(index, window, input_size[-1])
    if planes is not None:
        return max_pool_places(planes, input_size, window).reshape(index.shape)
    batch, channels, *output = index.shape
    places = _images(batch, channels, output, np.int64)
    if places.size:
        _places(_flat(index), *_place_tables(window, tuple(input_size), tuple(output)), _flat(places), channels)
    return places


def max_unpool(x: np.ndarray, places: np.ndarray, output_size: Sequence[int], add: bool) -> np.ndarray:
    """Zeros [N, C, *output_size] with the elements of x at `places` in the flattened spatial dimensions.  Channels-last.

    Where a place is named twice, the last element in row-major order stays, or, if `add`, their sum.
    """
    x = normal(x)
    y = _images(x.shape[0], x.shape[1], output_size, x.dtype)
    if y.size:
        base, offset = np.zeros(math.prod(x.shape[2:]), np.int64), np.arange(math.prod(output_size)) * x.shape[1]
        _scatter(_flat(x), _flat(normal(places)), base, offset, _flat(y), _scatter_sizes(x, y, add))
    return y


def max_unpool_grad(gy: np.ndarray, places: np.ndarray) -> np.ndarray:
    """The elements of gy [N, C, *S] at `places` in its flattened spatial dimensions, 0 outside.  Channels-last."""
    gy = normal(gy)
    gx = _images(gy.shape[0], gy.shape[1], places.shape[2:], gy.dtype)
    if gx.size:
        sizes = np.array([math.prod(places.shape[2:]), math.prod(gy.shape[2:]), gy.shape[1]])
        _gather(_flat(gy), _flat(normal(places)), _flat(gx), sizes)
    return gx


def average_pool(x: np.ndarray, window: Windows, count_include_pad: bool, divisor_override: int | None) -> np.ndarray:
    """The mean of each window of x [N, C, *S].  In the order of x.

    The divisor is `divisor_override` if given; else the number of elements of the window that lie inside the input, or inside
    the input and its padding if `count_include_pad`.
    """
    x = normal(x)
    batch, channels, *spatial = x.shape
    output = window.output_size(spatial)
    size = tuple(spatial)
    if (math.prod(spatial) > MANY or x.flags.c_contiguous) and x.size and _sees_everything(window, size, output):
        # One window sees everything: many numbers to one sum, where `sum` keeps more digits and more threads busy.
        y = sum_over(x, tuple(range(2, x.ndim)), True)
        rows, columns = _divisors(window, size, output, count_include_pad, divisor_override)
        y /= x.dtype.type(rows[0] * columns[0])
        return y
    planes = _planes(x, window, x.shape[-1])
    if planes is not None:
        return average_pool(planes, window, count_include_pad, divisor_override).reshape(batch, channels, *output)
    y = _images(batch, channels, output, x.dtype)
    if y.size:
        walk, written = _walk(window, size, output, channels, False), _lines(y)
        divisors = _line_divisors(window, size, output, count_include_pad, divisor_override, channels, x.dtype)
        _sum_seen(_lines(x), written, *divisors, math.prod(spatial[:-1]), _block(written), *walk, False)
    return y


def average_pool_grad(
    gy: np.ndarray, input_size: Sequence[int], window: Windows, count_include_pad: bool, divisor_override: int | None
) -> np.ndarray:
    """The gradient of `average_pool` for x of spatial size `input_size`.  In the order of gy."""
    gy = normal(gy)
    planes = _planes(gy, window, input_size[-1])
    if planes is not None:
        return average_pool_grad(planes, input_size, window, count_include_pad, divisor_override).reshape(*gy.shape[:2], *input_size)
    batch, channels, *output = gy.shape
    gx = _images(batch, channels, input_size, gy.dtype)
    if gx.size:
        rows, columns = _divisors(window, tuple(input_size), tuple(output), count_include_pad, divisor_override)
        divisor = 1
        if gy.size and (rows == rows[0]).all() and (columns == columns[0]).all():
            divisor = rows[0] * columns[0]
        else:  # windows of different sizes: each must be divided before the sum
            gy = div(gy, np.multiply.outer(rows, columns).reshape(output).astype(gy.dtype))
        walk = _walk(window, tuple(input_size), tuple(output), channels, True)
        divisors, written = (np.full(len(walk[0]) - 1, divisor, gy.dtype), np.ones(gx.shape[-1] * channels, gy.dtype)), _lines(gx)
        _sum_seen(_lines(gy), written, *divisors, math.prod(output[:-1]), _block(written), *walk, True)
    return gx
