"""Pooling and unpooling, with the names of `cpu/pool.py`, whose tables of windows these are: see there.

A thread makes one output at a time, or those of four channels, and neighbouring threads neighbouring channels, or in C order neighbouring columns.
Gradients gather: an element of gx looks at the windows that see it, a maximum's gradient only at those whose maximum it was.  Only `max_unpool`,
whose places may be any, scatters: where several elements name a place, they first find out which of them is the last.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import numba
import numpy as np

from ..cpu import pool as cpu
from ..geometry import Grid, Window
from . import elementwise as e
from . import windows
from .embedding import scatter
from .launch import cuda, kernel
from .memory import Array, asarray, empty
from .reduce import sum as sum_over
from .vectors import fits, reader, require, writer
from .windows import COLUMN_NUMBER, COLUMN_PLACE, LENGTH, ROW_NUMBER, ROW_PLACE, Lists, dense, images, in_planes, seen

Windows = Window | Grid
Sizes = tuple[int, ...]


@functools.lru_cache(maxsize=512)
def _plan(window: Windows, input_size: Sizes, output_size: Sizes, channels: int, backward: bool, divisors: tuple[bytes, ...] = ()) -> Array:
    """What each output sees, with the number of the tap; backward, what windows see each input."""
    start, seen = cpu._rows(window, input_size, output_size, backward)
    o, i, tap = cpu._pairs(window, input_size, output_size)[2]
    here, there, count, size = (i, o, input_size[-1], output_size) if backward else (o, i, output_size[-1], input_size)
    first, column = cpu._table(here, there, tap, count)
    rows: Lists = (start, seen[:, 0], seen[:, 1])
    columns: Lists = (first, column[:, 0], column[:, 1])
    numbers = [np.frombuffer(d, np.int64) for d in divisors]
    return windows.plan_of(rows, columns, size[-1] * channels, channels, math.prod(size) * channels, numbers)


def _sizes(size: Sizes, channels: int) -> tuple[int, int]:
    """(rows of an image, numbers of a row)."""
    return math.prod(size[:-1]), size[-1] * channels


# ----------------------------------------------------------------------------------------- maximum
def _max(count):
    read, write = reader(count), writer(count)

    def maxima(rows, x, x0, y, index, plan):
        # y = the maximum over both lists, and its tap; of NaN the last stays, of other equals the first.
        best, taps = cuda.local.array(count, x.dtype), cuda.local.array(count, index.dtype)
        length, row_place, row_tap = plan[LENGTH], plan[ROW_PLACE], plan[ROW_NUMBER]
        column_place, column_tap = plan[COLUMN_PLACE], plan[COLUMN_NUMBER]
        for row in range(cuda.blockIdx.x * cuda.blockDim.y + cuda.threadIdx.y, rows, cuda.gridDim.x * cuda.blockDim.y):
            for i in range(count * (cuda.blockIdx.y * cuda.blockDim.x + cuda.threadIdx.x), length, count * cuda.gridDim.y * cuda.blockDim.x):
                image, _, j0, j1, _, k0, k1 = seen(row, i, plan)
                first = plan[row_tap + j0] + plan[column_tap + k0] if j0 < j1 and k0 < k1 else 0
                for n in range(count):
                    best[n], taps[n] = x.dtype.type(-math.inf), first
                for j in range(j0, j1):
                    line = x0 + image + plan[row_place + j]
                    for k in range(k0, k1):
                        values, tap = read(x, line + plan[column_place + k]), plan[row_tap + j] + plan[column_tap + k]
                        for n in range(count):
                            if values[n] > best[n] or values[n] != values[n]:
                                best[n], taps[n] = values[n], tap
                write(y, row * length + i, best)
                write(index, row * length + i, taps)

    maxima.__name__ = maxima.__qualname__ = f"max_{count}"
    return maxima


def _max_grad(count):
    read, write = reader(count), writer(count)

    def gradient(rows, gy, g0, index, index0, gx, plan):
        # gx = the sum over both lists of what has this element for its maximum
        total = cuda.local.array(count, gy.dtype)
        length, row_place, row_tap = plan[LENGTH], plan[ROW_PLACE], plan[ROW_NUMBER]
        column_place, column_tap = plan[COLUMN_PLACE], plan[COLUMN_NUMBER]
        for row in range(cuda.blockIdx.x * cuda.blockDim.y + cuda.threadIdx.y, rows, cuda.gridDim.x * cuda.blockDim.y):
            for i in range(count * (cuda.blockIdx.y * cuda.blockDim.x + cuda.threadIdx.x), length, count * cuda.gridDim.y * cuda.blockDim.x):
                image, _, j0, j1, _, k0, k1 = seen(row, i, plan)
                for n in range(count):
                    total[n] = gy.dtype.type(0)
                for j in range(j0, j1):
                    for k in range(k0, k1):
                        place, tap = image + plan[row_place + j] + plan[column_place + k], plan[row_tap + j] + plan[column_tap + k]
                        taps, values = read(index, index0 + place), read(gy, g0 + place)
                        for n in range(count):
                            if taps[n] == tap:
                                total[n] += values[n]
                write(gx, row * length + i, total)

    gradient.__name__ = gradient.__qualname__ = f"max_grad_{count}"
    return gradient


def _places(n, index, index0, places, table, channels, pixels, taps):
    # places[o, c] = the first place of window o + how far the tap lies from there; table = the first places, then the distances
    for i in range(cuda.grid(1), n, cuda.gridsize(1)):
        places[i] = max(table[i // channels % pixels] + table[pixels + index[index0 + i]], -1)


# Taps are uint8 or int32.
_TAPS = {np.dtype(np.uint8): "B", np.dtype(np.int32): "J"}
_MAX = {(taps, count): kernel(f"iTiT{letter}I")(_max(count)) for taps, letter in _TAPS.items() for count in (1, 4)}
_MAX_GRAD = {(taps, count): kernel(f"iTi{letter}iTI")(_max_grad(count)) for taps, letter in _TAPS.items() for count in (1, 4)}
_PLACES = kernel("iTiIIiii", dtypes=tuple(_TAPS))(_places)


def max_pool(x: Array, window: Windows) -> tuple[Array, Array]:
    """The largest element of each window of x [N, C, *S], and its tap: its number inside the window, row by row.

    In a grid, all windows number their taps as the largest does.  Taps are uint8 if a window has at most 256 elements, int32
    otherwise.  Of equals the first counts; NaN is larger than all else.  Both results are in the order of x, channels-last or C.
    """
    batch, channels, *spatial = x.shape
    size, output = tuple(spatial), window.output_size(spatial)
    taps = np.dtype(np.uint8 if math.prod(cpu._numbers(window, size, output)) <= 256 else np.int32)
    planes = in_planes(x)
    y, index = (images(batch, channels, output, dtype, planes) for dtype in (x.dtype, taps))
    if y.size:
        many, inner = (batch * channels, 1) if planes else (batch, channels)
        x = dense(x, planes)
        plan = _plan(window, size, output, inner, False)
        count = 4 if fits(inner, x) else 1
        windows.run(_MAX[taps, count][x.dtype], many, _sizes(output, inner), x.flat, x.offset, y.flat, index.flat, plan.flat, count=count)
    return y, index


def max_pool_grad(gy: Array, index: Array, input_size: Sequence[int], window: Windows) -> Array:
    """The gradient of `max_pool` for x of spatial size `input_size`: gy goes where the maximum came from.  In the order of index."""
    batch, channels, *output = gy.shape
    size, planes = tuple(input_size), in_planes(index)
    gx = images(batch, channels, size, gy.dtype, planes)
    if gx.size:
        many, inner = (batch * channels, 1) if planes else (batch, channels)
        gy, index = dense(gy, planes), dense(index, planes)
        plan = _plan(window, size, tuple(output), inner, True)
        count = 4 if fits(inner, gy, index) else 1
        run = _MAX_GRAD[index.dtype, count][gy.dtype]
        windows.run(run, many, _sizes(size, inner), gy.flat, gy.offset, index.flat, index.offset, gx.flat, plan.flat, count=count)
    return gx


@functools.lru_cache(maxsize=256)
def _place_tables(window: Windows, input_size: Sizes, output_size: Sizes) -> Array:
    return asarray(np.concatenate(cpu._place_tables(window, input_size, output_size)))


def max_pool_places(index: Array, input_size: Sequence[int], window: Windows) -> Array:
    """Where the maxima of `max_pool` lie (int64): their numbers in the flattened spatial dimensions, -1 for a window that sees nothing."""
    batch, channels, *output = index.shape
    planes = in_planes(index)
    places = images(batch, channels, output, np.int64, planes)
    if places.size:
        table = _place_tables(window, tuple(input_size), tuple(output))
        index, pixels = dense(index, planes), math.prod(output)
        inner = 1 if planes else channels
        _PLACES[index.dtype](places.size, places.size, index.flat, index.offset, places.flat, table.flat, inner, pixels, table.size - pixels)
    return places


@kernel("iIiJiii", dtypes=(np.int32,))
def _last(n, places, p0, owner, channels, inputs, outputs):
    # owner[n, places[n, i, c], c] = the largest i + 1 of all that name the place
    for at in range(cuda.grid(1), n, cuda.gridsize(1)):
        place, line = places[p0 + at], at // channels
        if 0 <= place and place < outputs:
            cuda.atomic.max(owner, (line // inputs * outputs + place) * channels + at % channels, numba.int32(line % inputs + 1))


@kernel("iTiIiJTiii")
def _scatter(n, x, x0, places, p0, owner, y, channels, inputs, outputs):
    # y[n, places[n, i, c], c] = x[n, i, c] of the owner of the place
    for at in range(cuda.grid(1), n, cuda.gridsize(1)):
        place, line = places[p0 + at], at // channels
        if 0 <= place and place < outputs:
            to = (line // inputs * outputs + place) * channels + at % channels
            if owner[to] == line % inputs + 1:
                y[to] = x[x0 + at]


def max_unpool(x: Array, places: Array, output_size: Sequence[int], add: bool) -> Array:
    """Zeros [N, C, *output_size] with the elements of x at `places` in the flattened spatial dimensions.  Channels-last.

    Where a place is named twice, the last element in row-major order stays, or, if `add`, their sum.
    """
    batch, channels, *spatial = x.shape
    lines, outputs = (batch, math.prod(spatial), channels), math.prod(output_size)
    x, places = (dense(a, False).reshape(lines) for a in (x, places))
    if add:
        inside = (places >= 0) & (places < outputs)  # type: ignore[operator]
        y = scatter(x, e.where(inside, places, -1), 1, outputs)  # type: ignore[arg-type]
    else:
        y = e.fill(empty((batch, outputs, channels), x.dtype), 0)
        if y.size and x.size:
            require("max_unpool", pixels_of_an_image=lines[1])
            owner, walk = e.fill(empty(y.shape, np.int32), 0), (channels, lines[1], outputs)
            _last[owner.dtype](x.size, x.size, places.flat, places.offset, owner.flat, *walk)
            _scatter[x.dtype](x.size, x.size, x.flat, x.offset, places.flat, places.offset, owner.flat, y.flat, *walk)
    rank = len(spatial)
    return y.reshape((batch, *output_size, channels)).transpose(0, rank + 1, *range(1, rank + 1))


@kernel("iTiIiTiii")
def _gather(n, x, x0, places, p0, y, channels, inputs, outputs):
    # y[n, o, c] = x[n, places[n, o, c], c], or 0 where the place is outside
    for i in range(cuda.grid(1), n, cuda.gridsize(1)):
        place = places[p0 + i]
        inside = 0 <= place and place < inputs
        y[i] = x[x0 + (i // (channels * outputs) * inputs + place) * channels + i % channels] if inside else x.dtype.type(0)


def max_unpool_grad(gy: Array, places: Array) -> Array:
    """The elements of gy [N, C, *S] at `places` in its flattened spatial dimensions, 0 outside.  Channels-last."""
    batch, channels, *spatial = gy.shape
    gx = images(batch, channels, places.shape[2:], gy.dtype, False)
    if gx.size:
        outputs = math.prod(places.shape[2:])
        gy, places = dense(gy, False), dense(places, False)
        _gather[gy.dtype](gx.size, gx.size, gy.flat, gy.offset, places.flat, places.offset, gx.flat, channels, math.prod(spatial), outputs)
    return gx


# ----------------------------------------------------------------------------------------- average
@functools.lru_cache(maxsize=512)
def _mean_plan(window: Windows, input_size: Sizes, output_size: Sizes, channels: int, count_include_pad: bool, override: int | None) -> Array:
    divisors = cpu._divisors(window, input_size, output_size, count_include_pad, override)
    return _plan(window, input_size, output_size, channels, False, tuple(d.tobytes() for d in divisors))


@functools.lru_cache(maxsize=512)
def _mean_grad_plan(
    window: Windows, input_size: Sizes, output_size: Sizes, channels: int, count_include_pad: bool, override: int | None, dtype: np.dtype
) -> tuple[Array | None, Array]:
    """(what gy is divided by before the sum, for windows of different sizes; the plan of the sum)."""
    rows, columns = cpu._divisors(window, input_size, output_size, count_include_pad, override)
    alike = (rows == rows[:1]).all() and (columns == columns[:1]).all()
    before = None if alike else asarray(np.multiply.outer(rows, columns).reshape(output_size).astype(dtype))
    divisor = rows[0] * columns[0] if alike and rows.size and columns.size else 1
    after = np.full(math.prod(input_size[:-1]), divisor), np.ones(input_size[-1], np.int64)
    return before, _plan(window, input_size, output_size, channels, True, tuple(d.tobytes() for d in after))


def _share(x, a, b, c):
    return x / a


def average_pool(x: Array, window: Windows, count_include_pad: bool, divisor_override: int | None) -> Array:
    """The mean of each window of x [N, C, *S].  In the order of x.

    The divisor is `divisor_override` if given; else the number of elements of the window that lie inside the input, or inside
    the input and its padding if `count_include_pad`.
    """
    batch, channels, *spatial = x.shape
    size, output = tuple(spatial), window.output_size(spatial)
    if x.size and cpu._sees_everything(window, size, output):
        rows, columns = cpu._divisors(window, size, output, count_include_pad, divisor_override)
        y = sum_over(x, tuple(range(2, x.ndim)), True)
        return e.run(_share, [y], y, float(rows[0] * columns[0]))
    planes = in_planes(x)
    y = images(batch, channels, output, x.dtype, planes)
    if y.size:
        many, inner = (batch * channels, 1) if planes else (batch, channels)
        plan = _mean_plan(window, size, output, inner, count_include_pad, divisor_override)
        x = dense(x, planes)
        windows.sums(x, y, many, _sizes(output, inner), inner, plan)
    return y


def average_pool_grad(gy: Array, input_size: Sequence[int], window: Windows, count_include_pad: bool, divisor_override: int | None) -> Array:
    """The gradient of `average_pool` for x of spatial size `input_size`.  In the order of gy."""
    batch, channels, *output = gy.shape
    size, planes = tuple(input_size), in_planes(gy)
    gx = images(batch, channels, size, gy.dtype, planes)
    if gx.size:
        many, inner = (batch * channels, 1) if planes else (batch, channels)
        before, plan = _mean_grad_plan(window, size, tuple(output), inner, count_include_pad, divisor_override, gy.dtype)
        gy = dense(gy if before is None else e.div(gy, before), planes)
        windows.sums(gy, gx, many, _sizes(size, inner), inner, plan)
    return gx
