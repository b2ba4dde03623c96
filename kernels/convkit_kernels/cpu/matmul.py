"""Matrix products by register tiles.

    y[m, n] = bias[n] + sum over k of a[m, k] * b[k, n]      then, if asked for, + add[m, n], and max(y, 0)

Rows of a tile are rows of a, columns are columns of b; a is read where it lies, by rows or by columns, so neither
x @ w.T nor the gradient x.T @ g copies its first operand.  b is read in place if
few rows of a share it; otherwise it is packed once into blocks of whole vectors.  A batch of products is one launch:
tables say where the matrices of each product begin, so operands that are broadcast are not copied.

The sum over k is cut into chunks: the rows of a block of b that one chunk reads stay in the cache while all tiles of rows
of a unit pass over them.  Between chunks the sums wait in y.
"""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import numpy as np
from numba import types

from . import tasks
from .copy import contiguous, turner
from .finish import finish_kernel
from .microkernel import CACHE_LINE, address, call_code, clear_bytes, copy_bytes, isa, row_split, split_kernels, tile_for
from .runtime import MOST_THREADS

PACK_FROM_ROWS = 128  # below, packing b costs more than its strided reads
TILES_OF_UNIT = 20  # tiles of rows, at most, that one unit of parallel work computes for one block of columns; fewer where cores would idle
CHUNK = 256  # of the sum over k
TURNED = 256  # places of windows that are turned at a time, on the stack
MACS = 160  # bytes of numbers that a tile multiplies and adds in a nanosecond, about: 40 of float32
CHUNK_BY_COLUMNS = 128  # where rows of a are far apart in memory, so that each number of the chunk stands in a cache line of its own


def matmul(a: np.ndarray, b: np.ndarray, bias: np.ndarray | None = None, add: np.ndarray | None = None, relu: bool = False) -> np.ndarray:
    """a [..., M, K] times b [..., K, N], plus bias [N] -> [..., M, N]; leading dimensions broadcast.

    Plus `add`, of the shape of y, and then max(y, 0) with `relu`, before y is stored: the same bits as one after the other.
    """
    if b.ndim == 2 and a.ndim > 2:  # one product of all rows
        rows, n = math.prod(a.shape[:-1]), b.shape[-1]
        y = matmul(contiguous(a).reshape(rows, a.shape[-1]), b, bias, add, relu)
        return y.reshape(*a.shape[:-1], n)
    batch = () if a.ndim == b.ndim == 2 else np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    y = np.empty((*batch, a.shape[-2], b.shape[-1]), a.dtype)
    multiply(a, b, bias, y, add, relu)
    return y


def multiply(a: np.ndarray, b: np.ndarray, bias: np.ndarray | None, y: np.ndarray, add: np.ndarray | None = None, relu: bool = False) -> None:
    """y [..., M, N], contiguous, = a [..., M, K] times b [..., K, N] + bias [N] + add [..., M, N], and max(y, 0) with `relu`."""
    *batch, m, n = y.shape
    k = a.shape[-1]
    if not y.size:
        return
    if not k:
        y[...] = 0 if bias is None else bias
        finish(y, add, relu)
        return
    by_columns = not a.flags.c_contiguous and a.swapaxes(-1, -2).flags.c_contiguous
    plan = _plan(a.shape, b.shape, tuple(batch), a.dtype, by_columns, add is not None, relu)
    start = plan.zeros if bias is None else contiguous(bias)
    a = contiguous(a.swapaxes(-1, -2) if by_columns else a)
    if plan.packed:
        down = b.swapaxes(-1, -2)
        b, strides = (down, (k * n, 1, k)) if down.flags.carray else (contiguous(b), (k * n, n, 1))
        b = pack(b, _NO_TAPS, (b.size // (k * n), k, n), strides, plan.columns)
    else:
        b = contiguous(b)
    more = y if add is None else contiguous(add)
    tasks.run(plan.code, plan.units, plan.numbers, plan.places, a, b, start, y, more, flush=True, work=plan.work)


def finish(y: np.ndarray, add: np.ndarray | None, relu: bool) -> None:
    """What is done to sums of products, for sums without products: y + add, then max(y, 0), in place."""
    if add is not None:
        y += add.reshape(y.shape)
    if relu:
        y[y <= 0] = 0


_NO_TAPS = np.zeros(1, np.int64)


# Places in the numbers of a plan; those before are read one after the other.
BATCH = 15  # products
SPLIT = 16  # 3 numbers: how `row_split` cuts rows into tiles
CODE = 19  # 4: the micro-kernels of whole blocks of columns and of the last
FINISH = 23  # code that adds, and cuts off at 0, or 0


class _Plan(NamedTuple):
    """What a product takes besides arrays."""

    code: int
    packed: bool  # b, into blocks of columns
    columns: int
    units: int
    numbers: np.ndarray  # as `_product` reads them
    places: np.ndarray  # 0, then which matrix of a each product takes, and which of b
    zeros: np.ndarray  # for no bias
    work: float  # see `tasks.run`


@functools.lru_cache(maxsize=1024)
def _plan(a: tuple[int, ...], b: tuple[int, ...], batch: tuple[int, ...], dtype: np.dtype, by_columns: bool, adds: bool, relu: bool) -> _Plan:
    """For operands of shapes a and b; `by_columns` where columns of a are contiguous."""
    m, k, n = a[-2], a[-1], b[-1]
    tile = tile_for(m, n, dtype)
    of_a, of_b = _places(a[:-2], batch), _places(b[:-2], batch)
    xrow, xinc = (1, m) if by_columns else (k, 1)
    packed = m >= PACK_FROM_ROWS
    if packed:
        winc, wblock, many = tile.columns, k * tile.columns, -(-n // tile.columns) * tile.columns * k
    else:
        winc, wblock, many = n, tile.columns, k * n
    split = row_split(m, tile.rows)
    whole = split_kernels(tile, split, dtype, by_columns)
    part = split_kernels(tile.last(n), split, dtype, by_columns, not packed) if n % tile.columns else whole
    chunk = CHUNK_BY_COLUMNS if by_columns else CHUNK
    blocks = -(-n // tile.columns)
    together = max(4, min(TILES_OF_UNIT, split[2] * blocks * of_a.size // (4 * MOST_THREADS)))
    groups = -(-split[2] // together)
    numbers = (xrow, xinc, m * k, winc, wblock, many, k, chunk, together, groups, blocks, n, m, tile.columns, dtype.itemsize, of_a.size,
               *split, *whole, *part, finish_kernel(dtype, adds, relu))  # fmt: skip
    index = np.concatenate([_NO_TAPS, of_a, of_b])
    work = of_a.size * m * n * k * dtype.itemsize / MACS
    units, code = of_a.size * groups * blocks, tasks.compiled(_product, dtype.char)
    return _Plan(code, packed, tile.columns, units, np.array(numbers, np.int64), index, np.zeros(n, dtype), work)


def _places(own: tuple[int, ...], batch: tuple[int, ...]) -> np.ndarray:
    """Which matrix of an operand with leading dimensions `own` each product of the batch takes."""
    return np.array(np.broadcast_to(np.arange(math.prod(own)).reshape(own), batch).reshape(-1))


def pack(b: np.ndarray, taps: np.ndarray, shape: tuple[int, int, int], strides: tuple[int, int, int], columns: int) -> np.ndarray:
    """Dense b, whose element (tap, g, i, j) stands at taps[tap] + strides . (g, i, j), with (g, i, j) inside `shape`
    -> [G, blocks, taps * I, columns]: blocks of `columns` columns, the last filled up with zeros."""
    whole, plan = _pack_plan(shape, strides, taps.size, columns, b.itemsize)
    packed = np.empty(whole, b.dtype)
    tasks.run(tasks.compiled(_pack, b.dtype.char), whole[0] * whole[1], plan, taps, b, packed, work=packed.size)
    return packed


@functools.lru_cache(maxsize=1024)
def _pack_plan(
    shape: tuple[int, int, int], strides: tuple[int, int, int], ntaps: int, columns: int, size: int
) -> tuple[tuple[int, int, int, int], np.ndarray]:
    """The shape of packed matrices, and what `_pack` takes."""
    (groups, rows, n), (sg, si, sj) = shape, strides
    blocks = -(-n // columns)
    lanes, window = isa().bytes // size, min(si or sj, sj)  # numbers of a window, which lie together
    turn = turner(size) if sj > 1 and columns > 1 and window <= TURNED else 0
    # Windows that follow each other, so many that they fill whole vectors, if these have room; or one.
    together = TURNED // window // lanes * lanes or TURNED // window if window == si else 1
    plan = np.array([blocks, rows, n, columns, ntaps, sg, si, sj, size, turn, lanes, window, together], np.int64)
    return (groups, blocks, ntaps * rows, columns), plan


_room = tasks.stack((TURNED + 1) * CACHE_LINE, types.uint8)


def _pack(task, plan, taps, b, packed, c, d, e, f, g):
    # Columns that are neighbours are copied.  Else blocks of as many rows and columns as a vector has lanes are turned in registers: straight into
    # their place, or, where taps of a window are neighbours, which go to places far apart, on the stack.
    blocks, rows, n = plan[0], plan[1], plan[2]
    columns, ntaps = plan[3], plan[4]
    sg, si, sj = plan[5], plan[6], plan[7]
    size, turn, lanes = plan[8], plan[9], plan[10]
    window, together = plan[11], plan[12]
    first = task % blocks * columns
    count = min(columns, n - first)
    source, result = task // blocks * sg + first * sj, task * ntaps * rows * columns
    if count < columns:
        clear_bytes(address(packed) + size * result, size * ntaps * rows * columns)
    if not turn:
        for i in range(rows):
            for tap in range(ntaps):
                at, to = source + taps[tap] + i * si, result + (tap * rows + i) * columns
                if sj == 1:
                    copy_bytes(address(packed) + size * to, address(b) + size * at, size * count)
                else:
                    for j in range(count):
                        packed[to + j] = b[at + j * sj]
        return
    room = (address(_room(packed)) + CACHE_LINE - 1) // CACHE_LINE * CACHE_LINE
    for j in range(0, count, lanes):
        x, y, many = address(b) + size * (source + j * sj), address(packed) + size * (result + j), min(lanes, count - j)
        if si == 1:
            for tap in range(ntaps):
                for i in range(0, rows, lanes):
                    to = y + size * columns * (tap * rows + i)
                    call_code(turn, (x + size * (taps[tap] + i), size * sj, to, size * columns, min(lanes, rows - i), many))
            continue
        for i in range(0, rows, together):
            here = min(together, rows - i)
            numbers = (here - 1) * si + window
            for q in range(0, numbers, lanes):
                call_code(turn, (x + size * (i * si + q), size * sj, room + size * lanes * q, size * lanes, min(lanes, numbers - q), many))
            for r in range(here):
                for tap in range(ntaps):
                    at, to = room + size * lanes * (r * si + taps[tap]), y + size * columns * (tap * rows + i + r)
                    if size * many == CACHE_LINE:  # a constant is one instruction, not a call
                        copy_bytes(to, at, CACHE_LINE)
                    else:
                        copy_bytes(to, at, size * many)


def _product(task, plan, index, a, b, start, y, add, f, g):
    # A unit of y: `together` tiles of rows x one block of columns of one product, in chunks of the sum.
    xrow, xinc, xmany = plan[0], plan[1], plan[2]
    winc, wblock, wmany = plan[3], plan[4], plan[5]
    run, chunk, together = plan[6], plan[7], plan[8]
    groups, blocks, n = plan[9], plan[10], plan[11]
    m, columns, size = plan[12], plan[13], plan[14]
    height, many, tiles = plan[SPLIT], plan[SPLIT + 1], plan[SPLIT + 2]
    finish, tap = plan[FINISH], address(index)
    item, block, group = task // (groups * blocks), task // groups % blocks, task % groups
    j = block * columns
    code = CODE + (2 if j + columns > n else 0)
    x = address(a) + size * index[1 + item] * xmany
    w = address(b) + size * (index[1 + plan[BATCH] + item] * wmany + block * wblock)
    for k in range(0, run, chunk):
        for t in range(group * together, min(tiles, (group + 1) * together)):
            i = t * height - max(0, t - many)
            to = size * ((item * m + i) * n + j)
            at = address(y) + to
            call_code(
                plan[code + (0 if t < many else 1)],
                (x + size * (i * xrow + k * xinc), tap, xrow, xinc,
                 w + size * k * winc, tap, winc, 1, min(chunk, run - k),
                 at if k else address(start) + size * j, n if k else 0, at, n, min(columns, n - j)),
            )  # fmt: skip
            if finish and k + chunk >= run:
                call_code(finish, (at, address(add) + to, n, height if t < many else height - 1, min(columns, n - j)))
