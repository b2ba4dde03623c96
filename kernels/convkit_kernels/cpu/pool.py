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

import numpy as np

from ..geometry import MAX_RANK, Grid, Window
from ..layout import normal
from . import tasks, windows
from .copy import channels_last, contiguous
from .elementwise import div
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

    def scatter(task, plan, index, x, y, c, d, e, f, g):
        # y[n, base[i] + offset[won[n, i, c]], c] = x[n, i, c], or += it, and 0 elsewhere; all flat, with offsets times channels.
        inputs, outputs, channels, blocks, add, won = plan[0], plan[1], plan[2], plan[3], plan[4] != 0, tasks.pointer(tasks.data_of(plan[5]), kind)
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


def _run_scatter(x: np.ndarray, won: np.ndarray, y: np.ndarray, table: np.ndarray, add: bool) -> None:
    """Zeros in y [N, C, *S] but for x at `won`: table is base and offset times channels, one after the other."""
    batch, channels, *output = y.shape
    blocks = -(-channels // BLOCK)
    won = channels_last(normal(won))
    plan = np.array([math.prod(x.shape[2:]), math.prod(output), channels, blocks, add, id(won)])
    tasks.run(tasks.compiled(_scatter(won.dtype), y.dtype.char), batch * blocks, plan, table, channels_last(x), y)


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


def max_pool(x: np.ndarray, window: Windows) -> tuple[np.ndarray, np.ndarray]:
    """The largest element of each window of x [N, C, *S], and its tap: its number inside the window, row by row.

    In a grid, all windows number their taps as the largest does.  Taps are uint8 if a window has at most 256 elements, int32
    otherwise.  Of equals the first counts; NaN is larger than all else.  Both results are in the order of x, channels-last or C.
    """
    x = normal(x)
    planes = _planes(x, window.output_size(x.shape[2:])[-1])
    if planes is not None:
        y, index = max_pool(planes, window)
        return y.reshape(*x.shape[:2], *y.shape[2:]), index.reshape(*x.shape[:2], *y.shape[2:])
    batch, channels, *spatial = x.shape
    size, output = tuple(spatial), window.output_size(spatial)
    taps = math.prod(_numbers(window, size, output))
    y = _images(batch, channels, output, x.dtype)
    index = _images(batch, channels, output, np.uint8 if taps <= 256 else np.int32)
    if y.size:
        flat = channels_last(x)
        windows.run("max", _walk(window, size, output, channels, x.dtype, False), flat, y, flat, flat, index)
    return y, index


def max_pool_grad(gy: np.ndarray, index: np.ndarray, input_size: Sequence[int], window: Windows) -> np.ndarray:
    """The gradient of `max_pool` for x of spatial size `input_size`: gy goes where the maximum came from.  In the order of index."""
    gy = normal(gy)
    planes = _planes(index, index.shape[-1])
    if planes is not None:
        return max_pool_grad(contiguous(gy).reshape(planes.shape), planes, input_size, window).reshape(*gy.shape[:2], *input_size)
    batch, channels, *output = gy.shape
    gx = _images(batch, channels, input_size, gy.dtype)
    if gx.size:
        base, offset = _place_tables(window, tuple(input_size), tuple(output))
        _run_scatter(gy, index, gx, np.concatenate([base, offset * channels]), True)
    return gx


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
    x = normal(x)
    planes = _planes(x, x.shape[-1])
    if planes is not None:
        return max_unpool(planes, contiguous(normal(places)).reshape(planes.shape), output_size, add).reshape(*x.shape[:2], *output_size)
    y = _images(x.shape[0], x.shape[1], output_size, x.dtype)
    if y.size:
        base, offset = np.zeros(math.prod(x.shape[2:]), np.int64), np.arange(math.prod(output_size)) * x.shape[1]
        _run_scatter(x, places, y, np.concatenate([base, offset]), add)
    return y


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
    batch, channels, *spatial = x.shape
    output = window.output_size(spatial)
    size = tuple(spatial)
    if (math.prod(spatial) > MANY or x.flags.c_contiguous) and x.size and _sees_everything(window, size, output):
        # One window sees everything: many numbers to one sum, where `sum` keeps more digits and more threads busy.
        y = sum_over(x, tuple(range(2, x.ndim)), True)
        rows, columns = _divisors(window, size, output, count_include_pad, divisor_override)
        y /= x.dtype.type(rows[0] * columns[0])
        return y
    planes = _planes(x, window.output_size(x.shape[2:])[-1])
    if planes is not None:
        return average_pool(planes, window, count_include_pad, divisor_override).reshape(batch, channels, *output)
    y = _images(batch, channels, output, x.dtype)
    if y.size:
        op, rows, columns = _shares(window, size, output, count_include_pad, divisor_override, channels, x.dtype)
        windows.run(op, _walk(window, size, output, channels, x.dtype, False), channels_last(x), y, rows, columns)
    return y


def average_pool_grad(
    gy: np.ndarray, input_size: Sequence[int], window: Windows, count_include_pad: bool, divisor_override: int | None
) -> np.ndarray:
    """The gradient of `average_pool` for x of spatial size `input_size`.  In the order of gy."""
    gy = normal(gy)
    # With a stride, elements side by side see windows that are not, which costs more than another order of the small gy.
    planes = _planes(gy, gy.shape[-1]) if isinstance(window, Window) and window.stride[-1] == 1 else None
    if planes is not None:
        return average_pool_grad(planes, input_size, window, count_include_pad, divisor_override).reshape(*gy.shape[:2], *input_size)
    batch, channels, *output = gy.shape
    gx = _images(batch, channels, input_size, gy.dtype)
    if gx.size:
        shapes = window, tuple(input_size), tuple(output)
        before, op, rows, columns = _shares_of_grad(*shapes, count_include_pad, divisor_override, channels, gy.dtype)
        walk = _walk(*shapes, channels, gy.dtype, True)
        windows.run(op, walk, channels_last(gy if before is None else div(gy, before)), gx, rows, columns)
    return gx
