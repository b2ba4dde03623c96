"""Pooling: the largest element, or the mean, of each window; and unpooling, which puts elements back where they came from.

    max_pool       y[n, p, q, c] = max over r, s of x[n, p * stride - padding + r * dilation, q * ... + s * ..., c]
    average_pool   the sum in place of the max, divided by the number of elements

over the canonical [N, D, H, W, C]; taps outside the input do not take part.  A window is a `geometry.Window`, the same everywhere, or
a `geometry.Grid`, whose windows differ in size: all that kernels see of either is a table of what each output row sees, and one for the
columns.  Where the elements of a line (a row of an image: W * C numbers side by side) are few channels, the loops run along the
line; where channels are many, along the channels.

The gradient of an average reads the tables backwards: each element of gx collects from the windows that see it.  The gradient of a
maximum goes where the maximum was; images and blocks of channels are tasks.  So no two threads write to one place, and
overlapping windows always add up in the same order.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import numpy as np
from numba import prange

from ..geometry import MAX_RANK, Grid, Window
from ..layout import channels_last, normal
from .elementwise import div
from .reduce import sum as sum_over
from .runtime import kernel

Windows = Window | Grid
Sizes = tuple[int, ...]
# Pieces of a line of at least this many numbers, on average, are read as pieces; shorter ones element by element.
PIECE = 48
# A window slides over all places of a line if its stride is at most 2, or the numbers from one output to the next are at most these.
SLIDE = 32
# Below it, the place of a window that sees nothing.
NOTHING = -(1 << 40)
# Channels that one task of unpooling takes: whole cache lines.
BLOCK = 16


# ------------------------------------------------------------------------------------ window walk
def _numbers(window: Windows, input_size: Sizes, output_size: Sizes) -> list[int]:
    """The number of taps along each dimension: those of the largest window."""
    return [max(window.places(axis, i, o)[1], default=1) for axis, (i, o) in enumerate(zip(input_size, output_size, strict=True))]


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
def _tap_walk(window: Windows, input_size: Sizes, output_size: Sizes) -> tuple[np.ndarray, ...]:
    """(row_start, row_seen, column_start, column_seen): see `_table`."""
    return *_rows(window, input_size, output_size, False), *_table(*_pairs(window, input_size, output_size)[2], output_size[-1])


@functools.lru_cache(maxsize=256)
def _slide_walk(window: Window, input_size: Sizes, output_size: Sizes, channels: int) -> tuple[np.ndarray, ...]:
    """(row_start, row_seen, shifts, first, keep) for a window that slides along a line of elements from the first output to the last.

    By tap s the elements low .. high see those of the line from `at` on, with (low, high, at) = shifts[s]; `first` is the first tap by
    which an element sees anything, `keep` are the elements that outputs need.
    """
    width, size, stride, dilation, before = input_size[-1], window.size[-1], window.stride[-1], window.dilation[-1], window.padding[-1][0]
    places = (output_size[-1] - 1) * stride + 1
    shifts, first = np.zeros((size, 3), np.int64), np.zeros(places, np.int64)
    for s in reversed(range(size)):
        shift = s * dilation - before
        low, high = max(0, -shift), max(0, -shift, min(places, width - shift))
        shifts[s] = low, high, low + shift
        first[low:high] = s
    keep = (np.arange(0, places, stride)[:, None] * channels + np.arange(channels)).ravel()
    # Unsigned, so that there is no test for counting from the end.
    return *_rows(window, input_size, output_size, False), shifts * channels, np.repeat(first, channels), keep.astype(np.uint64)


@functools.lru_cache(maxsize=256)
def _sum_walk(window: Windows, input_size: Sizes, output_size: Sizes, channels: int, backward: bool) -> tuple[np.ndarray, ...]:
    """(row_start, row_seen, at, pieces): inside a line, element j sees the elements at[k, j] for all k; the place after the line is none.

    Or, instead, `pieces` lists what sees what, as (to, from, length).
    """
    here, there, tap = _pairs(window, input_size, output_size)[2]
    size, there_size = output_size[-1], input_size[-1]
    if backward:
        here, there, size, there_size = there, here, there_size, size
    rows = _rows(window, input_size, output_size, backward)
    order = np.lexsort((here, tap))
    to, source, by = here[order], there[order], tap[order]
    joined = (np.diff(to) == 1) & (np.diff(source) == 1) & (np.diff(by) == 0)
    starts = np.flatnonzero(np.concatenate([[True], ~joined])) if to.size else np.zeros(0, np.int64)
    length = np.diff(np.append(starts, to.size))
    if length.sum() * channels >= PIECE * length.size:
        return *rows, np.empty((0, size * channels), np.uint64), np.stack([to[starts], source[starts], length], axis=1) * channels
    order = np.lexsort((tap, here))
    here, there = here[order], there[order]
    turn = np.arange(here.size) - np.searchsorted(here, here)
    at = np.full((turn.max() + 1, size), there_size)
    at[turn, here] = there
    elements = np.minimum(at[:, :, None] * channels + np.arange(channels), there_size * channels)
    return *rows, elements.reshape(len(at), -1).astype(np.uint64), np.empty((0, 3), np.int64)


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


# ----------------------------------------------------------------------------------------- kernels
# In all of these, of equals the first tap wins, and of NaN the last, as taps come in order.
@kernel
def _max_slide(x, y, index, lines, row_start, row_seen, shifts, first, keep):
    # Lines of x and y.  The window slides over every place of a line, so that each tap is one run over the line; `keep` names the
    # places where an output is.  Cheaper than it looks: short loops over few channels cost more than the places that are dropped.
    rows = row_start.size - 1
    for task in prange(y.shape[0]):
        row, base = task % rows, task // rows * lines
        best, which = np.empty(first.size, x.dtype), np.empty(first.size, index.dtype)
        start = row_seen[row_start[row], 1] if row_start[row] < row_start[row + 1] else 0
        for j in range(first.size):
            best[j], which[j] = -np.inf, first[j] + start
        for a in range(row_start[row], row_start[row + 1]):
            line = x[base + row_seen[a, 0]]
            for s in range(shifts.shape[0]):
                low, high, at = shifts[s, 0], shifts[s, 1], shifts[s, 2]
                number = index.dtype.type(row_seen[a, 1] + s)
                values, out, out_tap = line[at : at + high - low], best[low:high], which[low:high]
                for j in range(out.size):
                    v = values[j]
                    better = (v > out[j]) | (v != v)
                    out[j] = v if better else out[j]
                    out_tap[j] = number if better else out_tap[j]
        for j in range(keep.size):
            y[task, j] = best[keep[j]]
        for j in range(keep.size):
            index[task, j] = which[keep[j]]


@kernel
def _max_taps(x, y, index, lines, row_start, row_seen, column_start, column_seen, sizes):
    # Pixels of x and y, [pixels, C], window by window: for windows of any kind.  Taps are taken four at a time: a loop over the
    # channels costs its overhead once for four loads.
    rows, columns = row_start.size - 1, column_start.size - 1
    channels, width, taps = x.shape[1], sizes[0], sizes[1]
    for task in prange(y.shape[0] // columns):
        base = task // rows * lines
        found = np.empty((taps + 3, 2), np.int64)
        for q in range(columns):
            o, count, row = task * columns + q, 0, task % rows
            for a in range(row_start[row], row_start[row + 1]):
                for b in range(column_start[q], column_start[q + 1]):
                    found[count, 0] = (base + row_seen[a, 0]) * width + column_seen[b, 0]
                    found[count, 1] = row_seen[a, 1] + column_seen[b, 1]
                    count += 1
            first = index.dtype.type(found[0, 1] if count else 0)
            for c in range(channels):
                y[o, c] = -np.inf
                index[o, c] = first
            for extra in range(count, (count + 3) // 4 * 4):  # repeats of the last tap change nothing
                found[extra, 0], found[extra, 1] = found[count - 1, 0], found[count - 1, 1]
            for k in range(0, count, 4):
                i0, i1, i2, i3 = found[k, 0], found[k + 1, 0], found[k + 2, 0], found[k + 3, 0]
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
def _max_grad(gy, index, base, offset, gx, sizes):
    # gx[n, base[o] + offset[index[n, o, c]], c] += gy[n, o, c], all flat.  A task is a block of an image's channels, so no two meet.
    outputs, inputs, channels, blocks = sizes[0], sizes[1], sizes[2], sizes[3]
    zero = gx.dtype.type(0)
    for task in prange(sizes[4]):
        n, low = task // blocks, task % blocks * BLOCK
        count = min(channels - low, BLOCK)
        start = n * inputs * channels + low
        runs, length = (1, inputs * channels) if blocks == 1 else (inputs, count)
        for i in range(runs):
            run = start + i * channels
            for j in range(length):
                gx[np.uint64(run + j)] = zero  # unsigned: no test for counting from the end
        for o in range(outputs):
            if base[o] > NOTHING:
                first = start + base[o] * channels
                at = (n * outputs + o) * channels + low
                for c in range(count):
                    k = np.uint64(at + c)
                    gx[np.uint64(first + c + offset[np.uint64(index[k])])] += gy[k]


@kernel
def _sum_seen(x, y, row_divisor, divisor, lines, row_start, row_seen, at, pieces):
    # y[o] = sum of x[i] over the places i that o sees, divided: average pooling, and read backwards its gradient.
    rows, width = row_start.size - 1, x.shape[1]
    zero = x.dtype.type(0)
    for task in prange(y.shape[0]):
        row, base = task % rows, task // rows * lines
        partial = np.empty(width + 1, x.dtype)
        total = y[task]
        for j in range(width + 1):
            partial[j] = zero
        for a in range(row_start[row], row_start[row + 1]):
            line = x[base + row_seen[a, 0]]
            for j in range(width):
                partial[j] += line[j]
        for j in range(total.size):
            total[j] = zero
        for k in range(at.shape[0]):
            seen = at[k]
            for j in range(total.size):
                total[j] += partial[seen[j]]
        for k in range(pieces.shape[0]):
            to, start, length = pieces[k, 0], pieces[k, 1], pieces[k, 2]
            values, out = partial[start : start + length], total[to : to + length]
            for j in range(out.size):
                out[j] += values[j]
        by_row = row_divisor[row]
        for j in range(total.size):
            total[j] /= by_row * divisor[j]


@kernel
def _places(index, base, offset, places):
    # places[o] = the first place of window o + how far its tap lies from there
    size = base.size
    for task in prange(index.shape[0]):
        first = base[task % size]
        for c in range(index.shape[1]):
            places[task, c] = max(first + offset[index[task, c]], -1)


@kernel
def _unpool(x, places, y, add):
    # y[n, places[n, i, c], c] = x[n, i, c], in the order of i
    batch, inputs, channels = x.shape
    outputs = y.shape[1]
    blocks = (channels + BLOCK - 1) // BLOCK
    for task in prange(batch * blocks):
        n, low = task // blocks, task % blocks * BLOCK
        for i in range(inputs):
            for c in range(low, min(channels, low + BLOCK)):
                place = places[n, i, c]
                if 0 <= place < outputs:
                    y[n, place, c] = y[n, place, c] + x[n, i, c] if add else x[n, i, c]


@kernel
def _take(x, places, y):
    # y[n, i, c] = x[n, places[n, i, c], c]
    batch, outputs, channels = y.shape
    inputs = x.shape[1]
    parts = (outputs + 63) // 64
    zero = x.dtype.type(0)
    for task in prange(batch * parts):
        n, low = task // parts, task % parts * 64
        for i in range(low, min(outputs, low + 64)):
            for c in range(channels):
                place = places[n, i, c]
                y[n, i, c] = x[n, place, c] if 0 <= place < inputs else zero


# ------------------------------------------------------------------------------------- public side
def _pixels(a: np.ndarray) -> np.ndarray:
    """[N, C, *S] as contiguous [N, pixels, C]."""
    memory = channels_last(a)
    return memory.reshape(memory.shape[0], math.prod(memory.shape[1:-1]), memory.shape[-1])


def _flat(a: np.ndarray) -> np.ndarray:
    """[N, C, *S] as one axis, channels innermost."""
    return channels_last(a).reshape(-1)


def _points(a: np.ndarray) -> np.ndarray:
    """[N, C, *S] as contiguous [pixels of all images, C]."""
    memory = channels_last(a)
    return memory.reshape(math.prod(memory.shape[:-1]), memory.shape[-1])


def _lines(a: np.ndarray) -> np.ndarray:
    """[N, C, *S] as contiguous [lines, W * C]."""
    memory = channels_last(a)
    return memory.reshape(math.prod(memory.shape[:3]), memory.shape[3] * memory.shape[4])


def _images(batch: int, channels: int, spatial: Sequence[int], dtype: np.dtype | type) -> np.ndarray:
    """New [N, C, *S] in channels-last memory."""
    rank = len(spatial)
    return np.empty((batch, *spatial, channels), dtype).transpose(0, rank + 1, *range(1, rank + 1))


def max_pool(x: np.ndarray, window: Windows) -> tuple[np.ndarray, np.ndarray]:
    """The largest element of each window of x [N, C, *S], and its tap: its number inside the window, row by row.

    In a grid, all windows number their taps as the largest does.  Taps are uint8 if a window has at most 256 elements, int32
    otherwise.  Of equals the first counts; NaN is larger than all else.  Both results are channels-last.
    """
    x = normal(x)
    batch, channels, *spatial = x.shape
    size, output = tuple(spatial), window.output_size(spatial)
    taps, lines = math.prod(_numbers(window, size, output)), math.prod(size[:-1])
    y = _images(batch, channels, output, x.dtype)
    index = _images(batch, channels, output, np.uint8 if taps <= 256 else np.int32)
    if not y.size:
        return y, index
    if isinstance(window, Window) and (window.stride[-1] <= 2 or window.stride[-1] * channels <= SLIDE):
        _max_slide(_lines(x), _lines(y), _lines(index), lines, *_slide_walk(window, size, output, channels))
    else:
        sizes = np.array([size[-1], taps])
        _max_taps(_points(x), _points(y), _points(index), lines, *_tap_walk(window, size, output), sizes)
    return y, index


def max_pool_grad(gy: np.ndarray, index: np.ndarray, input_size: Sequence[int], window: Windows) -> np.ndarray:
    """The gradient of `max_pool` for x of spatial size `input_size`: gy goes where the maximum came from.  Channels-last."""
    gy = normal(gy)
    batch, channels, *output = gy.shape
    gx = _images(batch, channels, input_size, gy.dtype)
    if gx.size:
        base, offset = _place_tables(window, tuple(input_size), tuple(output))
        blocks = -(-channels // BLOCK)
        sizes = np.array([base.size, math.prod(input_size), channels, blocks, batch * blocks])
        _max_grad(_flat(gy), _flat(normal(index)), base, offset * channels, _flat(gx), sizes)
    return gx


def max_pool_places(index: np.ndarray, input_size: Sequence[int], window: Windows) -> np.ndarray:
    """Where the maxima of `max_pool` lie (int64): their numbers in the flattened spatial dimensions, -1 for a window that sees nothing."""
    index = normal(index)
    batch, channels, *output = index.shape
    places = _images(batch, channels, output, np.int64)
    if places.size:
        tables = _place_tables(window, tuple(input_size), tuple(output))
        _places(_points(index), *tables, _points(places))
    return places


def max_unpool(x: np.ndarray, places: np.ndarray, output_size: Sequence[int], add: bool) -> np.ndarray:
    """Zeros [N, C, *output_size] with the elements of x at `places` in the flattened spatial dimensions.  Channels-last.

    Where a place is named twice, the last element in row-major order stays, or, if `add`, their sum.  Places outside get nothing.
    """
    x = normal(x)
    y = _images(x.shape[0], x.shape[1], output_size, x.dtype)
    y.fill(0)
    if x.size:
        _unpool(_pixels(x), _pixels(normal(places)), _pixels(y), add)
    return y


def max_unpool_grad(gy: np.ndarray, places: np.ndarray) -> np.ndarray:
    """The elements of gy [N, C, *S] at `places` in its flattened spatial dimensions, 0 outside.  Channels-last."""
    gy = normal(gy)
    gx = _images(gy.shape[0], gy.shape[1], places.shape[2:], gy.dtype)
    if gx.size:
        _take(_pixels(gy), _pixels(normal(places)), _pixels(gx))
    return gx


def average_pool(x: np.ndarray, window: Windows, count_include_pad: bool, divisor_override: int | None) -> np.ndarray:
    """The mean of each window of x [N, C, *S].  Channels-last.

    The divisor is `divisor_override` if given; else the number of elements of the window that lie inside the input, or inside
    the input and its padding if `count_include_pad`.
    """
    x = normal(x)
    batch, channels, *spatial = x.shape
    output = window.output_size(spatial)
    rows, columns = _divisors(window, tuple(spatial), output, count_include_pad, divisor_override)
    if x.size and math.prod(output) == 1 and all(window.places(a, n, 1) == ([0], [n], 1) for a, n in enumerate(spatial)):
        # One window sees everything: many numbers to one sum, where `sum` keeps more digits and more threads busy.
        y = sum_over(x, tuple(range(2, x.ndim)), True)
        y /= x.dtype.type(rows[0] * columns[0])
        return y
    y = _images(batch, channels, output, x.dtype)
    if y.size:
        start, seen, at, pieces = _sum_walk(window, tuple(spatial), output, channels, False)
        divisors = rows.astype(x.dtype), np.repeat(columns, channels).astype(x.dtype)
        _sum_seen(_lines(x), _lines(y), *divisors, math.prod(spatial[:-1]), start, seen, at, pieces)
    return y


def average_pool_grad(
    gy: np.ndarray, input_size: Sequence[int], window: Windows, count_include_pad: bool, divisor_override: int | None
) -> np.ndarray:
    """The gradient of `average_pool` for x of spatial size `input_size`.  Channels-last."""
    gy = normal(gy)
    batch, channels, *output = gy.shape
    gx = _images(batch, channels, input_size, gy.dtype)
    if gx.size:
        rows, columns = _divisors(window, tuple(input_size), tuple(output), count_include_pad, divisor_override)
        divisor = 1
        if gy.size and (rows == rows[0]).all() and (columns == columns[0]).all():
            divisor = rows[0] * columns[0]
        else:  # windows of different sizes: each must be divided before the sum
            gy = div(gy, np.multiply.outer(rows, columns).reshape(output).astype(gy.dtype))
        start, seen, at, pieces = _sum_walk(window, tuple(input_size), tuple(output), channels, True)
        divisors = np.full(start.size - 1, divisor, gy.dtype), np.ones(gx.shape[-1] * channels, gy.dtype)
        _sum_seen(_lines(gy), _lines(gx), *divisors, math.prod(output[:-1]), start, seen, at, pieces)
    return gx
