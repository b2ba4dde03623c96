"""Pooling: the largest element, or the mean, of each window; and unpooling, which puts elements back where they came from.

    max_pool       y[n, p, q, c] = max over r, s of x[n, p * stride - padding + r * dilation, q * ... + s * ..., c]
    average_pool   the sum in place of the max, divided by the number of elements

over the canonical [N, D, H, W, C]; taps outside the input do not take part.  A window is a `geometry.Window`, the same everywhere, or
a `geometry.Grid`, whose windows differ in size: all that the walk of `windows.py` sees of either is one table (`_walk`).  An image in C order
is a batch of images of one channel, and so is pooled as it stands.

The gradient of an average reads the table backwards: each element of gx collects from the windows that see it.  The gradient of a
maximum goes where the maximum was, and so does unpooling; a task is some channels of an image.  So no two threads write to one place,
and overlapping windows always add up in the same order.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from ..geometry import MAX_RANK, Grid, Window
from ..layout import dense_order, in_c_order, normal
from . import tasks, windows
from .copy import channels_last, contiguous
from .elementwise import div
from .microkernel import address
from .reduce import sum as sum_over
from .windows import Walk, walk_of

Windows = Window | Grid
Sizes = tuple[int, ...]
# Channels that one task scatters: whole cache lines.
BLOCK = 16
# Elements that one task gathers, about.
TASK = 4096
# Elements from which on one window that sees everything is a sum like others; in C order it always is one.
MANY = 256
# Below it, the place of a window that sees nothing.
NOTHING = -(1 << 40)
# Windows side by side from which on an image in C order is pooled as it stands, each channel an image of its own.
PLANE = 4


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


def _columns(window: Windows, size: int, output: int, backward: bool) -> tuple[np.ndarray, int, np.ndarray]:
    """(first, apart, seen): what a column sees, as `windows.walk_of` takes it; the tap of a column is its place in the window."""
    axis = window.rank - 1
    start, number, step = window.places(axis, size, output)
    if not backward:
        tap, first = np.arange(max(number, default=1)), np.array(start, np.int64)
        place = first[:, None] + tap * step
        return first, step, (place >= 0) & (place < size) & (tap < np.array(number, np.int64)[:, None])
    o, i, _ = _pairs(window, (size,) * window.rank, (output,) * window.rank)[2]
    first, count = np.full(size, output), np.bincount(i, minlength=size)
    np.minimum.at(first, i, o)
    # Of the windows that see an input, each lies as far from the next.
    apart = step // math.gcd(step, window.stride[axis]) if isinstance(window, Window) else 1
    return np.where(count, first, 0), apart, np.arange(count.max(initial=1)) < count[:, None]


@functools.lru_cache(maxsize=256)
def _walk(window: Windows, input_size: Sizes, output_size: Sizes, channels: int, dtype: np.dtype, backward: bool) -> Walk:
    """Which lines and elements of x each line and element of y sees; backward, of gy those of gx."""
    sizes = (math.prod(input_size[:-1]), input_size[-1], output_size[-1])
    if backward:
        sizes = (math.prod(output_size[:-1]), output_size[-1], input_size[-1])
    rows = _rows(window, input_size, output_size, backward)
    return walk_of(rows, _columns(window, input_size[-1], output_size[-1], backward), sizes, channels, dtype)


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
def _shares(
    window: Windows, input_size: Sizes, output_size: Sizes, count_include_pad: bool, override: int | None, channels: int, dtype: np.dtype
) -> tuple[str, np.ndarray, np.ndarray]:
    """How a walk makes means of sums: its operation, and the factors of its rows and elements."""
    rows, columns = _divisors(window, input_size, output_size, count_include_pad, override)
    elements = _walk(window, input_size, output_size, channels, dtype, False).elements
    return _exactly(rows.astype(dtype), np.where(elements < 0, 1, columns[elements // channels]).astype(dtype))


@functools.lru_cache(maxsize=256)
def _shares_of_grad(
    window: Windows, input_size: Sizes, output_size: Sizes, count_include_pad: bool, override: int | None, channels: int, dtype: np.dtype
) -> tuple[np.ndarray | None, str, np.ndarray, np.ndarray]:
    """The same for the walk of the gradient; windows of different sizes are divided by the array that stands first, before the sum."""
    rows, columns = _divisors(window, input_size, output_size, count_include_pad, override)
    alike = (rows == rows[:1]).all() and (columns == columns[:1]).all()
    before = None if alike else np.multiply.outer(rows, columns).reshape(output_size).astype(dtype)
    divisor = rows[0] * columns[0] if alike and rows.size and columns.size else 1
    elements = _walk(window, input_size, output_size, channels, dtype, True).elements
    return before, *_exactly(np.full(math.prod(input_size[:-1]), divisor, dtype), np.ones(elements.size, dtype))


def _exactly(rows: np.ndarray, columns: np.ndarray) -> tuple[str, np.ndarray, np.ndarray]:
    """Dividing by rows * columns, or, where these are powers of two, the product with the inverse, which is as exact and sooner there."""
    if all((np.frexp(a)[0] == 0.5).all() for a in (rows, columns)):
        return "scaled", 1 / rows, 1 / columns
    return "sum", rows, columns


@functools.lru_cache(maxsize=256)
def _sees_everything(window: Windows, input_size: Sizes, output_size: Sizes) -> bool:
    """Whether there is one window, and it sees each element once."""
    return math.prod(output_size) == 1 and all(window.places(a, n, 1) == ([0], [n], 1) for a, n in enumerate(input_size))


# ----------------------------------------------------------------------------------------- kernels
@functools.cache
def _scatter(kind: np.dtype) -> Callable:
    """The task for taps or places of this type."""

    def scatter(task, plan, index, x, y, taps, d, e, f, g):
        # y[n, base[i] + offset[won[n, i, c]], c] = x[n, i, c], or += it, and 0 elsewhere; all flat, with offsets times channels.
        inputs, outputs, channels, blocks, add, won = plan[0], plan[1], plan[2], plan[3], plan[4] != 0, tasks.pointer(address(taps), kind)
        zero = type(x[0])(0)
        n, low = task // blocks, task % blocks * BLOCK
        start = n * outputs * channels + low
        if channels == 1:
            for j in range(start, start + outputs):
                y[j] = zero
            for i in range(inputs):
                if index[i] > NOTHING:
                    k = n * inputs + i
                    place = start + index[i] + index[inputs + won[k]]
                    y[place] = y[place] + x[k] if add else x[k]
            return
        count = min(channels - low, BLOCK)
        runs, length = (1, outputs * channels) if blocks == 1 else (outputs, count)
        for r in range(runs):
            for j in range(start + r * channels, start + r * channels + length):
                y[j] = zero
        for i in range(inputs):
            if index[i] > NOTHING:
                first, at = start + index[i] * channels, (n * inputs + i) * channels + low
                for c in range(count):
                    place = first + c + index[inputs + won[at + c]]
                    y[place] = y[place] + x[at + c] if add else x[at + c]

    scatter.__name__ = scatter.__qualname__ = f"_scatter_{kind.name}"
    return scatter


@functools.cache
def _locate(kind: np.dtype) -> Callable:
    """The task for taps of this type."""

    def locate(task, plan, places, a, b, c, d, e, f, g):
        # places[n, o, c] = the first place of window o + how far the tap that won lies from there; -1 where a window sees nothing
        outputs, channels, parts, each = plan[0], plan[1], plan[2], plan[3]
        base, offset = tasks.pointer(tasks.data_of(plan[4]), np.int64), tasks.pointer(tasks.data_of(plan[5]), np.int64)
        won = tasks.pointer(tasks.data_of(plan[6]), kind)
        n, low = task // parts, task % parts * each
        for o in range(low, min(outputs, low + each)):
            first, start = base[o], (n * outputs + o) * channels
            for k in range(start, start + channels):
                places[k] = max(first + offset[won[k]], -1)

    locate.__name__ = locate.__qualname__ = f"_locate_{kind.name}"
    return locate


def _gather(task, plan, places, x, y, c, d, e, f, g):
    # y[n, o, c] = x[n, places[n, o, c], c], or 0 where the place is outside
    outputs, inputs, channels, parts, each = plan[0], plan[1], plan[2], plan[3], plan[4]
    zero = type(x[0])(0)
    n, low = task // parts, task % parts * each
    start = n * inputs * channels
    for o in range(n * outputs + low, n * outputs + min(outputs, low + each)):
        for k in range(o * channels, (o + 1) * channels):
            y[k] = x[start + places[k] * channels + k - o * channels] if 0 <= places[k] < inputs else zero


# ------------------------------------------------------------------------------------- public side
def _parts(outputs: int, channels: int) -> tuple[int, int]:
    """(parts of an image, windows of each) for tasks that read the table of windows."""
    each = max(1, TASK // channels)
    return -(-outputs // each), each


def _planes(a: np.ndarray, width: int) -> np.ndarray | None:
    """[N, C, *S] in C order as [N * C, 1, *S], which is channels-last as it stands, if lines of `width` windows are worth it; else None."""
    if a.shape[1] > 1 and width >= PLANE and a.flags.c_contiguous:
        return a.reshape(a.shape[0] * a.shape[1], 1, *a.shape[2:])
    return None


def _images(batch: int, channels: int, spatial: Sequence[int], dtype: np.dtype | type) -> np.ndarray:
    """New [N, C, *S] in channels-last memory."""
    rank = len(spatial)
    return np.empty((batch, *spatial, channels), dtype).transpose(0, rank + 1, *range(1, rank + 1))


# ------------------------------------------------------------------------------------------- plans
class _Images(NamedTuple):
    """How images [N, C, *S] of one shape are walked, and what comes of them, of spatial size `output`, lies in memory."""

    batch: int
    channels: int  # as the walk sees them: images in C order are a batch of images of one channel
    copied: bool  # to channels-last memory first
    shape: Sizes  # of the result in memory
    axes: Sizes  # by which it becomes [N, C, *output]

    def bring(self, a: np.ndarray) -> np.ndarray:
        """Any array [N, C, *] in the order in which the images are walked."""
        return contiguous(a) if self.axes[1] == 1 else channels_last(a)


def _images_of(shape: Sizes, strides: Sizes, itemsize: int, width: int, output: Sizes) -> _Images:
    """Images in C order are walked as they stand if lines of `width` windows are worth it; else in channels-last memory."""
    batch, channels, *spatial = shape
    turned, rank = in_c_order(shape, strides, itemsize), len(spatial)
    if turned and width >= PLANE:
        return _Images(batch * channels, 1, False, (batch, channels, *output), tuple(range(rank + 2)))
    return _Images(batch, channels, turned is not False, (batch, *output, channels), (0, rank + 1, *range(1, rank + 1)))


class _Pooling(NamedTuple):
    """A walk over images of one shape."""

    images: _Images
    dtype: np.dtype
    walk: windows.Planned | None  # None where there is nothing to make
    before: np.ndarray | None = None  # what divides the images first

    def run(self, x: np.ndarray, won: np.ndarray | None = None) -> np.ndarray:
        """What is made of x; `won` is where the taps of maxima are written to, in memory like the result's."""
        y = np.empty(self.images.shape, self.dtype)
        if self.walk is not None:
            if self.before is not None:
                x = self.images.bring(div(x, self.before))
            elif self.images.copied:
                x = channels_last(x)
            if won is None:
                self.walk.run(x, y)
            else:
                self.walk.run(x, y, won)
        return y.transpose(self.images.axes)


class _Whole(NamedTuple):
    """The mean of whole images: a sum like others."""

    divisor: int

    def run(self, x: np.ndarray) -> np.ndarray:
        """The mean of each channel of each image."""
        y = sum_over(x, tuple(range(2, x.ndim)), True)
        y /= x.dtype.type(self.divisor)
        return y


class _Scattering(NamedTuple):
    """Elements sent to where taps or places say."""

    images: _Images
    code: int
    units: int
    plan: np.ndarray
    table: np.ndarray

    def run(self, x: np.ndarray, won: np.ndarray) -> np.ndarray:
        """Zeros but for x at `won`."""
        y = np.empty(self.images.shape, x.dtype)
        if self.units:
            tasks.run(self.code, self.units, self.plan, self.table, self.images.bring(x), y, self.images.bring(won))
        return y.transpose(self.images.axes)


def _scattering(
    images: _Images, dtype: np.dtype, kind: np.dtype, inputs: int, outputs: int, tables: tuple[np.ndarray, np.ndarray], add: bool
) -> _Scattering:  # fmt: skip
    """So many inputs of each image to as many outputs; the tables are base and offset."""
    blocks = -(-images.channels // BLOCK)
    count = images.batch * blocks if outputs else 0
    plan = np.array([inputs, outputs, images.channels, blocks, add])
    return _Scattering(images, tasks.compiled(_scatter(kind), dtype.char), count, plan, np.concatenate([tables[0], tables[1] * images.channels]))


@functools.lru_cache(maxsize=1024)
def _max(shape: Sizes, strides: Sizes, dtype: np.dtype, window: Windows) -> tuple[_Pooling, type]:
    """The walk of `max_pool`, and the type of its taps."""
    size, output = shape[2:], window.output_size(shape[2:])
    kind = np.uint8 if math.prod(_numbers(window, size, output)) <= 256 else np.int32
    images = _images_of(shape, strides, dtype.itemsize, output[-1], output)
    if not math.prod(images.shape):
        return _Pooling(images, dtype, None), kind
    walk, one = _walk(window, size, output, images.channels, dtype, False), np.ones(1, dtype)
    return _Pooling(images, dtype, windows.planned("max", walk, math.prod(images.shape), one, one, np.dtype(kind).itemsize)), kind


@functools.lru_cache(maxsize=1024)
def _max_grad(shape: Sizes, strides: Sizes, kind: np.dtype, dtype: np.dtype, input_size: Sizes, window: Windows) -> _Scattering:
    """The sending of `max_pool_grad`, for taps that lie so."""
    images = _images_of(shape, strides, kind.itemsize, shape[-1], input_size)
    outputs = math.prod(input_size) if math.prod(images.shape) else 0
    tables = _place_tables(window, input_size, shape[2:]) if outputs else (np.zeros(0, np.int64),) * 2
    return _scattering(images, dtype, kind, math.prod(shape[2:]), outputs, tables, True)


@functools.lru_cache(maxsize=1024)
def _average(
    shape: Sizes, strides: Sizes, dtype: np.dtype, window: Windows, count_include_pad: bool, override: int | None
) -> _Pooling | _Whole:  # fmt: skip
    """The walk of `average_pool`."""
    size, output = shape[2:], window.output_size(shape[2:])
    order = dense_order(shape, strides, dtype.itemsize)
    in_lines = order is not None and order == tuple(sorted(order))
    if 0 not in shape and (math.prod(size) > MANY or in_lines) and _sees_everything(window, size, output):
        # One window sees everything: many numbers to one sum, where `sum` keeps more digits and more threads busy.
        rows, columns = _divisors(window, size, output, count_include_pad, override)
        return _Whole(int(rows[0] * columns[0]))
    images = _images_of(shape, strides, dtype.itemsize, output[-1], output)
    if not math.prod(images.shape):
        return _Pooling(images, dtype, None)
    op, rows, columns = _shares(window, size, output, count_include_pad, override, images.channels, dtype)
    walk = _walk(window, size, output, images.channels, dtype, False)
    return _Pooling(images, dtype, windows.planned(op, walk, math.prod(images.shape), rows, columns))


@functools.lru_cache(maxsize=1024)
def _average_grad(
    shape: Sizes, strides: Sizes, dtype: np.dtype, input_size: Sizes, window: Windows, count_include_pad: bool, override: int | None
) -> _Pooling:  # fmt: skip
    """The walk of `average_pool_grad`."""
    # With a stride, elements side by side see windows that are not, which costs more than another order of the small gy.
    width = shape[-1] if isinstance(window, Window) and window.stride[-1] == 1 else 0
    images = _images_of(shape, strides, dtype.itemsize, width, input_size)
    if not math.prod(images.shape):
        return _Pooling(images, dtype, None)
    before, op, rows, columns = _shares_of_grad(window, input_size, shape[2:], count_include_pad, override, images.channels, dtype)
    walk = _walk(window, input_size, shape[2:], images.channels, dtype, True)
    return _Pooling(images, dtype, windows.planned(op, walk, math.prod(images.shape), rows, columns), before)


# ------------------------------------------------------------------------------------------ public
def max_pool(x: np.ndarray, window: Windows) -> tuple[np.ndarray, np.ndarray]:
    """The largest element of each window of x [N, C, *S], and its tap: its number inside the window, row by row.

    In a grid, all windows number their taps as the largest does.  Taps are uint8 if a window has at most 256 elements, int32
    otherwise.  Of equals the first counts; NaN is larger than all else.  Both results are in the order of x, channels-last or C.
    """
    x = normal(x)
    pooling, kind = _max(x.shape, x.strides, x.dtype, window)
    won: np.ndarray = np.empty(pooling.images.shape, kind)
    return pooling.run(x, won), won.transpose(pooling.images.axes)


def max_pool_grad(gy: np.ndarray, index: np.ndarray, input_size: Sequence[int], window: Windows) -> np.ndarray:
    """The gradient of `max_pool` for x of spatial size `input_size`: gy goes where the maximum came from.  In the order of index."""
    gy, index = normal(gy), normal(index)
    return _max_grad(index.shape, index.strides, index.dtype, gy.dtype, tuple(input_size), window).run(gy, index)


def max_pool_places(index: np.ndarray, input_size: Sequence[int], window: Windows) -> np.ndarray:
    """Where the maxima of `max_pool` lie (int64): their numbers in the flattened spatial dimensions, -1 for a window that sees nothing."""
    index = normal(index)
    planes = _planes(index, index.shape[-1])
    if planes is not None:
        return max_pool_places(planes, input_size, window).reshape(index.shape)
    batch, channels, *output = index.shape
    places = _images(batch, channels, output, np.int64)
    if places.size:
        base, offset = _place_tables(window, tuple(input_size), tuple(output))
        won, (parts, each) = channels_last(index), _parts(base.size, channels)
        plan = np.array([base.size, channels, parts, each, id(base), id(offset), id(won)])
        tasks.run(tasks.compiled(_locate(won.dtype), "f"), batch * parts, plan, places, places)  # the second is not read
    return places


def max_unpool(x: np.ndarray, places: np.ndarray, output_size: Sequence[int], add: bool) -> np.ndarray:
    """Zeros [N, C, *output_size] with the elements of x at `places` in the flattened spatial dimensions.  In the order of x.

    Where a place is named twice, the last element in row-major order stays, or, if `add`, their sum.
    """
    x, places = normal(x), normal(places)
    images = _images_of(x.shape, x.strides, x.itemsize, x.shape[-1], tuple(output_size))
    inputs, outputs = math.prod(x.shape[2:]), math.prod(output_size)
    tables = np.zeros(inputs, np.int64), np.arange(outputs)
    return _scattering(images, x.dtype, places.dtype, inputs, outputs, tables, add).run(x, places)


def max_unpool_grad(gy: np.ndarray, places: np.ndarray) -> np.ndarray:
    """The elements of gy [N, C, *S] at `places` in its flattened spatial dimensions, 0 outside.  In the order of gy."""
    gy = normal(gy)
    planes = _planes(gy, places.shape[-1])
    if planes is not None:
        return max_unpool_grad(planes, contiguous(normal(places)).reshape(-1, 1, *places.shape[2:])).reshape(places.shape)
    batch, channels, *output = places.shape
    gx = _images(batch, channels, output, gy.dtype)
    if gx.size:
        outputs = math.prod(output)
        parts, each = _parts(outputs, channels)
        plan = np.array([outputs, math.prod(gy.shape[2:]), channels, parts, each])
        tasks.run(tasks.compiled(_gather, gy.dtype.char), batch * parts, plan, channels_last(normal(places)), channels_last(gy), gx)
    return gx


def average_pool(x: np.ndarray, window: Windows, count_include_pad: bool, divisor_override: int | None) -> np.ndarray:
    """The mean of each window of x [N, C, *S].  In the order of x.

    The divisor is `divisor_override` if given; else the number of elements of the window that lie inside the input, or inside
    the input and its padding if `count_include_pad`.
    """
    x = normal(x)
    return _average(x.shape, x.strides, x.dtype, window, count_include_pad, divisor_override).run(x)


def average_pool_grad(
    gy: np.ndarray, input_size: Sequence[int], window: Windows, count_include_pad: bool, divisor_override: int | None
) -> np.ndarray:
    """The gradient of `average_pool` for x of spatial size `input_size`.  In the order of gy."""
    gy = normal(gy)
    return _average_grad(gy.shape, gy.strides, gy.dtype, tuple(input_size), window, count_include_pad, divisor_override).run(gy)
