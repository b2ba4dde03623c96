"""The walk that pooling, unfolding and resampling share: each output adds up what two lists name.

    y[m, p, q, b] = sum over i in rows(p), j in columns(q) of x[m, i, j, b]

Rows are all axes of an image before its last, as one; b, which lies contiguous, is the channels, or nothing.  A list says, for each output,
which places it sees; backwards, of a gradient, which windows see a place: so each output gathers, alone and in a fixed order.

The lists lie in one plan, of int64, that is made once for each geometry.  Where b are a multiple of four, a thread takes four of them, by
loads of 16 bytes.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..layout import is_channels_last
from . import copy, driver
from . import mathfunctions as m
from .launch import THREADS, Family, cuda, kernel
from .memory import Array, asarray, empty
from .vectors import fits, reader, writer

MOST = 2 if driver.is_simulated() else 1 << 30  # blocks of rows
ACROSS = 1 if driver.is_simulated() else 65535  # blocks of a row

# Places in the plan: rows of an image, numbers of a row of y, b, numbers of an image of x; where the parts begin, 0 for divisors that are not there.
ROWS, LENGTH, INNER, IMAGE, ROW_PLACE, ROW_NUMBER, COLUMN_START, COLUMN_PLACE, COLUMN_NUMBER, DIVISORS, ROW_START = range(11)

Lists = tuple[np.ndarray, np.ndarray, np.ndarray]  # (start, place, number): output p sees place[start[p] : start[p + 1]], each with its number


def plan_of(rows: Lists, columns: Lists, line: int, inner: int, image: int, divisors: Sequence[np.ndarray] = ()) -> Array:
    """The plan of a walk over x [image = lines x `line` numbers, of which `inner` for each column]; divisors of the rows and columns of y."""
    parts = [rows[0], rows[1] * line, rows[2], columns[0], columns[1] * inner, columns[2], *divisors]
    place = ROW_START + np.cumsum([part.size for part in parts])
    head = [rows[0].size - 1, (columns[0].size - 1) * inner, inner, image, *place[:5], place[5] if divisors else 0]
    return asarray(np.concatenate([head, *parts]).astype(np.int64))


def run(function: Any, images: int, plan_sizes: tuple[int, int], *args: Any, count: int = 1) -> None:
    """A kernel whose threads walk over the rows of all images, and along each by `count` numbers: (rows of all, *args)."""
    rows, length = images * plan_sizes[0], plan_sizes[1] // count
    if not rows * length:
        return
    across = min(THREADS, 1 << (length - 1).bit_length())
    down = THREADS // across
    function.blocks((min(MOST, -(-rows // down)), min(ACROSS, -(-length // across))), (across, down), rows, *args)


@m.device
def seen(row, i, plan):
    """Of number i of a row of y: the image of x, with b; p, and the begin and end of what it sees of the rows; q, and those of the columns."""
    inner, column_start = plan[INNER], plan[COLUMN_START]
    image, p = row // plan[ROWS], row % plan[ROWS]
    q, b = i // inner, i % inner
    rows, columns = ROW_START + p, column_start + q
    return image * plan[IMAGE] + b, p, plan[rows], plan[rows + 1], q, plan[columns], plan[columns + 1]


@functools.cache
def _family(count: int, weighted: bool) -> Family:
    """The kernel of sums of `count` neighbours b a thread, each with weights or not."""
    read, write = reader(count), writer(count)

    def sums(rows, x, x0, row_weight, column_weight, y, plan):
        # y = the sum over both lists, each with its weight, / (the row's divisor * the column's)
        total, part = cuda.local.array(count, x.dtype), cuda.local.array(count, x.dtype)
        length, divisors, row_place, column_place = plan[LENGTH], plan[DIVISORS], plan[ROW_PLACE], plan[COLUMN_PLACE]
        for row in range(cuda.blockIdx.x * cuda.blockDim.y + cuda.threadIdx.y, rows, cuda.gridDim.x * cuda.blockDim.y):
            for i in range(count * (cuda.blockIdx.y * cuda.blockDim.x + cuda.threadIdx.x), length, count * cuda.gridDim.y * cuda.blockDim.x):
                image, p, j0, j1, q, k0, k1 = seen(row, i, plan)
                for n in range(count):
                    total[n] = x.dtype.type(0)
                for j in range(j0, j1):
                    line = x0 + image + plan[row_place + j]
                    if weighted:
                        for n in range(count):
                            part[n] = x.dtype.type(0)
                        for k in range(k0, k1):
                            values = read(x, line + plan[column_place + k])
                            for n in range(count):
                                part[n] += column_weight[k] * values[n]
                        for n in range(count):
                            total[n] += row_weight[j] * part[n]
                    else:
                        for k in range(k0, k1):
                            values = read(x, line + plan[column_place + k])
                            for n in range(count):
                                total[n] += values[n]
                if divisors:
                    divisor = x.dtype.type(plan[divisors + p] * plan[divisors + plan[ROWS] + q])
                    for n in range(count):
                        total[n] /= divisor
                write(y, row * length + i, total)

    sums.__name__ = sums.__qualname__ = f"{'weighted' if weighted else 'sums'}_{count}"
    return kernel("iTiTTTI")(sums)


def sums(x: Array, y: Any, images: int, sizes: tuple[int, int], inner: int, plan: Array, weights: tuple[Array, Array] | None = None) -> None:
    """y = the sums, or means, over the lists of a plan for so many images of (rows, numbers of a row, of which `inner` lie together)."""
    count = 4 if fits(inner, x) else 1
    rows, columns = (x, x) if weights is None else weights
    family = _family(count, weights is not None)
    run(family[x.dtype], images, sizes, x.flat, x.offset, rows.flat, columns.flat, y.flat, plan.flat, count=count)


# ----------------------------------------------------------------------------------------- images
def in_planes(a: Array) -> bool:
    """Is an array [N, C, *S] in C order, and not channels-last too?  Then it is N * C images of one channel."""
    return a.flags.c_contiguous and not is_channels_last(a)  # type: ignore[arg-type]


def dense(a: Array, planes: bool) -> Array:
    """[N, C, *S] in C order, or [N, D, H, W, C]; a copy where the memory is another."""
    return copy.contiguous(a) if planes else copy.channels_last(a)


def images(batch: int, channels: int, spatial: Sequence[int], dtype: Any, planes: bool) -> Array:
    """New [N, C, *S] in C order or channels-last memory."""
    if planes:
        return empty((batch, channels, *spatial), dtype)
    rank = len(spatial)
    return empty((batch, *spatial, channels), dtype).transpose(0, rank + 1, *range(1, rank + 1))
