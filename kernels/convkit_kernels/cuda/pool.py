"""Pooling and unpooling, with the names of `cpu/pool.py`, whose tables of windows these are: see there.

A thread makes one output at a time, and neighbouring threads neighbouring channels, or in C order neighbouring columns.  Gradients gather: an element
of gx looks at the windows that see it, a maximum's gradient only at those whose maximum it was.  Only `max_unpool`, whose places may be
any, scatters: one thread the elements of one channel of an image, in their order.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import numpy as np

from ..cpu import pool as cpu
from ..geometry import Grid, Window
from . import elementwise as e
from . import windows
from .launch import cuda, kernel
from .memory import Array, asarray
from .reduce import sum as sum_over
from .windows import (
    COLUMN_NUMBER,
    COLUMN_PLACE,
    COLUMN_START,
    IMAGE,
    INNER,
    LENGTH,
    ROW_NUMBER,
    ROW_PLACE,
    ROW_START,
    ROWS,
    Lists,
    dense,
    images,
    in_planes,
)

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
def _max(rows, x, x0, y, index, plan):
    # y = the maximum over both lists, and its tap; of NaN the last stays, of other equals the first.
    length, inner = plan[LENGTH], plan[INNER]
    row_place, row_tap = plan[ROW_PLACE], plan[ROW_NUMBER]
    column_start, column_place, column_tap = plan[COLUMN_START], plan[COLUMN_PLACE], plan[COLUMN_NUMBER]
    for row in range(cuda.blockIdx.x * cuda.blockDim.y + cuda.threadIdx.y, rows, cuda.gridDim.x * cuda.blockDim.y):
        m, p = row // plan[ROWS], row % plan[ROWS]
        for i in range(cuda.blockIdx.y * cuda.blockDim.x + cuda.threadIdx.x, length, cuda.gridDim.y * cuda.blockDim.x):
            q, b = i // inner, i % inner
            first, last = plan[column_start + q], plan[column_start + q + 1]
            r, end = plan[ROW_START + p], plan[ROW_START + p + 1]
            best, tap = x.dtype.type(-math.inf), 0
            if r < end and first < last:
                tap = plan[row_tap + r] + plan[column_tap + first]
            for j in range(r, end):
                line = x0 + m * plan[IMAGE] + plan[row_place + j] + b
                for k in range(first, last):
                    value = x[line + plan[column_place + k]]
                    if value > best or value != value:
                        best, tap = value, plan[row_tap + j] + plan[column_tap + k]
            y[row * length + i] = best
            index[row * length + i] = tap


def _max_grad(rows, gy, g0, index, index0, gx, plan):
    # gx = the sum over both lists of what has this element for its maximum
    length, inner = plan[LENGTH], plan[INNER]
    row_place, row_tap = plan[ROW_PLACE], plan[ROW_NUMBER]
    column_start, column_place, column_tap = plan[COLUMN_START], plan[COLUMN_PLACE], plan[COLUMN_NUMBER]
    for row in range(cuda.blockIdx.x * cuda.blockDim.y + cuda.threadIdx.y, rows, cuda.gridDim.x * cuda.blockDim.y):
        m, p = row // plan[ROWS], row % plan[ROWS]
        for i in range(cuda.blockIdx.y * cuda.blockDim.x + cuda.threadIdx.x, length, cuda.gridDim.y * cuda.blockDim.x):
            q, b = i // inner, i % inner
            first, last = plan[column_start + q], plan[column_start + q + 1]
            total = gy.dtype.type(0)
            for j in range(plan[ROW_START + p], plan[ROW_START + p + 1]):
                line, tap = m * plan[IMAGE] + plan[row_place + j] + b, plan[row_tap + j]
                for k in range(first, last):
                    place = line + plan[column_place + k]
                    if index[index0 + place] == tap + plan[column_tap + k]:
                        total += gy[g0 + place]
            gx[row * length + i] = total


def _places(n, index, index0, places, table, channels, pixels, taps):
    # places[o, c] = the first place of window o + how far the tap lies from there; table = the first places, then the distances
    for i in range(cuda.grid(1), n, cuda.gridsize(1)):
        places[i] = max(table[i // channels % pixels] + table[pixels + index[index0 + i]], -1)


# Taps are uint8 or int32.
_TAPS = {np.dtype(np.uint8): "B", np.dtype(np.int32): "J"}
_MAX = {taps: kernel(f"iTiT{letter}I")(_max) for taps, letter in _TAPS.items()}
_MAX_GRAD = {taps: kernel(f"iTi{letter}iTI")(_max_grad) for taps, letter in _TAPS.items()}
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
        windows.run(_MAX[taps][x.dtype], many, _sizes(output, inner), x.flat, x.offset, y.flat, index.flat, plan.flat)
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
        windows.run(_MAX_GRAD[index.dtype][gy.dtype], many, _sizes(size, inner), gy.flat, gy.offset, index.flat, index.offset, gx.flat, plan.flat)
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


@kernel("TiIiTiiii")
def _scatter(x, x0, places, p0, y, lines, channels, inputs, outputs_add):
    # y[n, places[n, i, c], c] = x[n, i, c], or += it; outputs_add is the number of places of y, negative to add
    add, outputs = outputs_add < 0, abs(outputs_add)
    for line in range(cuda.grid(1), lines, cuda.gridsize(1)):
        n, c = line // channels, line % channels
        for i in range(n * inputs, (n + 1) * inputs):
            place = places[p0 + i * channels + c]
            if 0 <= place and place < outputs:
                at = (n * outputs + place) * channels + c
                y[at] = y[at] + x[x0 + i * channels + c] if add else x[x0 + i * channels + c]


def max_unpool(x: Array, places: Array, output_size: Sequence[int], add: bool) -> Array:
    """Zeros [N, C, *output_size] with the elements of x at `places` in the flattened spatial dimensions.  Channels-last.

    Where a place is named twice, the last element in row-major order stays, or, if `add`, their sum.
    """
    batch, channels, *spatial = x.shape
    y = e.fill(images(batch, channels, output_size, x.dtype, False), 0)
    if y.size and x.size:
        x, places = dense(x, False), dense(places, False)
        lines, outputs = batch * channels, math.prod(output_size)
        _scatter[x.dtype](
            lines, x.flat, x.offset, places.flat, places.offset, y.flat, lines, channels, math.prod(spatial), -outputs if add else outputs
        )
    return y


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
        windows.sums(x, y, many, _sizes(output, inner), plan)
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
        windows.sums(gy, gx, many, _sizes(size, inner), plan)
    return gx
