"""Matrix products by register tiles.

    y[m, n] = bias[n] + sum over k of a[m, k] * b[k, n]      then, if asked for, + add[m, n], and max(y, 0)

Rows of a tile are rows of a, columns are columns of b.  Work is cut into units: some tiles of rows, some blocks of columns, and of a long sum of few
numbers a part.  A unit goes through its part in chunks.  Of each it packs b into blocks of whole vectors, which stay in the second-level cache,
turning them where columns of b lie along memory (x @ w.T); then each tile of rows passes over all blocks from the first-level cache.  Rows of a are
read where they lie, or copied where only a piece of each is wanted (pieces a power of two apart would share few places of the cache); columns of a
(gradients x.T @ g, planes of an image) are packed a band of tiles at a time.  So no operand is copied as a whole, whichever way it lies.

Between chunks the sums wait in y.  While a tile multiplies it asks for what will be read next, as memory is far: neither waits for the other.
A batch of products is one launch: tables say where the matrices of each product begin, so operands that are broadcast are not copied.
(Goto and van de Geijn, "Anatomy of high-performance matrix multiplication", 2008.)
"""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import numpy as np
from numba import types

from . import tasks
from .copy import contiguous, copier, turner
from .finish import finish_kernel
from .microkernel import CACHE_LINE, address, call_code, clear_bytes, copy_bytes, isa, row_split, split_kernels, tile_for
from .runtime import MOST_THREADS

CHUNK = 256  # steps of a sum, at most: a tile's rows of a fill half of the first-level cache
B_BYTES = 1 << 18  # of packed b: a quarter of a second-level cache
MOST_PARTS, PART_STEPS, PART_BYTES = 16, 256, 1 << 19  # of a sum: so many at most, of so many steps at least, where y is at most so large
MOST_TILES, FEW_TILES = 64, 8  # of rows that a unit takes: at most, and at least while there are columns to cut
BAND_TILES = 8  # of columns of a that are packed at a time
IN_PLACE_TILES, IN_PLACE_BYTES = 5, 512  # of rows at most, and of a row of b: longer ones would share places of the first-level cache
ADDED = 4096  # numbers of partial sums that are added at a time
HALF_LINE = CACHE_LINE // 2
TURNED = 256  # places of windows that are turned at a time, on the stack
MACS = 160  # bytes of numbers that a tile multiplies and adds in a nanosecond, about: 40 of float32


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
    down = not b.flags.c_contiguous and b.swapaxes(-1, -2).flags.carray
    plan = _plan(a.shape, b.shape, tuple(batch), a.dtype, by_columns, down, add is not None, relu)
    start = plan.zeros if bias is None else contiguous(bias)
    a, b = contiguous(a.swapaxes(-1, -2) if by_columns else a), contiguous(b.swapaxes(-1, -2) if down else b)
    more = y if add is None else contiguous(add)
    sums = np.empty(plan.sums, y.dtype) if plan.sums[0] else y
    scratch = np.empty(plan.frames, y.dtype)
    tasks.run(plan.code, plan.units, plan.numbers, plan.places, a, b, start, y, more, sums, scratch=scratch, flush=True, work=plan.work)
    if plan.sums[0]:
        numbers = np.array([plan.sums[0], y.size, plan.numbers[FINISH], y.itemsize])
        tasks.run(tasks.compiled(_add, y.dtype.char), -(-y.size // ADDED), numbers, numbers, y, sums, more, work=sums.size / 2)


def finish(y: np.ndarray, add: np.ndarray | None, relu: bool) -> None:
    """What is done to sums of products, for sums without products: y + add, then max(y, 0), in place."""
    if add is not None:
        y += add.reshape(y.shape)
    if relu:
        y[y <= 0] = 0


_NO_TAPS = np.zeros(1, np.int64)


# Places in the numbers of a plan.
M, N, K, SIZE, BATCH = range(5)  # of the product, bytes of a number, products
XROW, XINC, XKIND, XPITCH, XTILE, BAND = range(5, 11)  # steps between rows and along the sum in a; how it is read; once packed, numbers from one step
# or row to the next, and of a tile; tiles that are packed at a time
WINC, WBLOCK, WKIND, TURN, LANES = range(
    11, 16
)  # numbers from a row of b to the next, and from block to block; how it is read; what turns lanes x lanes
COLUMNS, CHUNK_STEPS, PARTS, TOGETHER, GROUPS, WIDE, ACROSS = range(
    16, 23
)  # of a block; of a chunk; of a sum; of units: tiles, blocks, and how many units
COPY_A, COPY_B = 23, 24  # code that copies rows of whole vectors
SPLIT = 25  # 3 numbers: how `row_split` cuts rows into tiles
CODE = 28  # 4: the micro-kernels of whole blocks of columns and of the last
FINISH = 32  # code that adds, and cuts off at 0, or 0

IN_PLACE, COPIED, PACKED = range(3)


class _Plan(NamedTuple):
    """What a product takes besides arrays."""

    code: int
    units: int
    numbers: np.ndarray  # as `_product` reads them
    places: np.ndarray  # a block of zeros, then which matrix of a each product takes, and which of b
    zeros: np.ndarray  # for no bias
    sums: tuple[int, ...]  # the shape of the sums of the parts behind the first: [parts - 1, products, M, N]
    frames: tuple[int, int]
    work: float  # see `tasks.run`


@functools.lru_cache(maxsize=1024)
def _plan(
    a: tuple[int, ...], b: tuple[int, ...], batch: tuple[int, ...], dtype: np.dtype, by_columns: bool, down: bool, adds: bool, relu: bool
) -> _Plan:
    """For operands of shapes a and b; `by_columns` where columns of a lie along memory, `down` where those of b do."""
    m, k, n, size = a[-2], a[-1], b[-1], dtype.itemsize
    tile, lanes = tile_for(m, n, dtype), isa().bytes // dtype.itemsize
    of_a, of_b = _places(a[:-2], batch), _places(b[:-2], batch)
    products = of_a.size
    split = row_split(m, tile.rows)
    height, _, tiles = split
    blocks = -(-n // tile.columns)
    # Nothing that fixes the order of a sum may depend on the threads, or on how many products there are.
    parts = max(1, min(MOST_PARTS, k // PART_STEPS, PART_BYTES // (m * n * size)))
    steps = -(-k // parts)
    chunk = min(steps, -(-steps // -(-steps // CHUNK) // 16) * 16)
    # Rows are cut first, as every unit packs b, then columns, then rows into fewer tiles.
    wide = min(blocks, max(1, B_BYTES // (chunk * tile.columns * size)))
    across = -(-blocks // wide)
    wanted = max(1, 4 * MOST_THREADS // (products * parts))
    groups = max(-(-tiles // MOST_TILES), min(wanted // across, tiles // FEW_TILES))
    if groups * across < wanted:
        wide = -(-blocks // min(blocks, -(-wanted // groups)))
        across = -(-blocks // wide)
        groups = max(groups, min(tiles, wanted // across))
    together = -(-tiles // groups)
    groups = -(-tiles // together)
    if by_columns:
        xrow, xinc, xkind, band = 1, m, PACKED, min(BAND_TILES, together)
        xpitch = -(-height * size // HALF_LINE) * HALF_LINE // size
        xtile = xpitch * chunk
    else:
        xrow, xinc, xkind, band = k, 1, COPIED if chunk < k else IN_PLACE, 1
        xpitch = chunk + CACHE_LINE // size
        xtile = xpitch * height
    little = tiles == 1 or (tiles <= IN_PLACE_TILES and n * size <= IN_PLACE_BYTES)  # to pack b would take longer than to read it as it lies
    wkind = IN_PLACE if little and not down else PACKED
    winc, wblock = (tile.columns, chunk * tile.columns) if wkind else (n, tile.columns)
    whole = split_kernels(tile, split, dtype, by_columns, soon=True)
    part = split_kernels(tile.last(n), split, dtype, by_columns, not wkind, soon=True) if n % tile.columns else whole
    numbers = (m, n, k, size, products, xrow, xinc, xkind, xpitch, xtile, band, winc, wblock, wkind, turner(size) if down else 0, lanes,
               tile.columns, chunk, parts, together, groups, wide, across, copier(size, -(-height // lanes)), copier(size, tile.vectors),
               *split, *whole, *part, finish_kernel(dtype, adds, relu))  # fmt: skip
    frame = (wide * wblock if wkind else 0) + (band * xtile if xkind else 0)
    return _Plan(
        tasks.compiled(_product, dtype.char), products * parts * groups * across, np.array(numbers, np.int64),
        np.concatenate([np.zeros(tile.columns, np.int64), of_a, of_b]), np.zeros(n, dtype), (parts - 1, products, m, n),
        (MOST_THREADS if frame else 1, -(-frame // CACHE_LINE) * CACHE_LINE), products * m * n * k * size / MACS,
    )  # fmt: skip


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


def _product(task, plan, places, a, b, start, y, add, sums, frame):
    # A unit of y: tiles of rows x blocks of columns x a part of the sum, of one product.
    m, n, run, size = plan[M], plan[N], plan[K], plan[SIZE]
    xrow, xinc, xkind, xpitch, xtile, band = plan[XROW], plan[XINC], plan[XKIND], plan[XPITCH], plan[XTILE], plan[BAND]
    winc, wblock, wkind, turn, lanes = plan[WINC], plan[WBLOCK], plan[WKIND], plan[TURN], plan[LANES]
    columns, chunk, parts, wide = plan[COLUMNS], plan[CHUNK_STEPS], plan[PARTS], plan[WIDE]
    height, many, finish, batch = plan[SPLIT], plan[SPLIT + 1], plan[FINISH], plan[BATCH]
    group, rest = task % plan[GROUPS], task // plan[GROUPS]
    begin, rest = rest % plan[ACROSS] * wide, rest // plan[ACROSS]
    part, item = rest % parts, rest // parts
    first, last = group * plan[TOGETHER], min(plan[SPLIT + 2], (group + 1) * plan[TOGETHER])
    end = min(begin + wide, (n + columns - 1) // columns)
    low, high = part * run // parts, (part + 1) * run // parts
    x0 = address(a) + size * (places[columns + item] * m * run + first * height * xrow)
    w0 = address(b) + size * (places[columns + batch + item] * run * n + begin * columns * (run if turn else 1))
    result = size * item * m * n + (address(sums) + size * (part - 1) * batch * m * n if part else address(y))
    some, xs, ws = min(n - begin * columns, wide * columns), address(frame), address(frame) + (size * band * xtile if xkind else 0)
    for k in range(low, high, chunk):
        steps, ahead = min(chunk, high - k), k + chunk < run
        if wkind:
            for s in range(0, steps, lanes):
                for j in range(0, some, columns):
                    here, to = min(columns, some - j), ws + size * (j // columns * wblock + s * columns)
                    if turn:
                        for c in range(0, here, lanes):
                            call_code(turn, (w0 + size * ((j + c) * run + k + s), size * run, to + size * c, size * columns,
                                             min(lanes, steps - s), min(lanes, here - c)))  # fmt: skip
                    else:
                        call_code(plan[COPY_B], (w0 + size * ((k + s) * n + j), size * n, to, size * columns, min(lanes, steps - s), here))
        # What tiles ask for: lines of the next chunk of b, each tile one line of all rows of b, then of a; or the next rows.
        wsoon, wapart = w0 + size * (k + chunk) * (1 if turn else n), size * (run if turn else n)
        wlines = size * (chunk if turn else some) if ahead and wkind else 0
        xsoon, xapart = x0 + size * (k + chunk) * xinc, size * (xinc if xkind == PACKED else xrow)
        xlines = size * (min(m, last * height) - first * height if xkind == PACKED else chunk) if ahead else 0
        asked = 0
        for t in range(first, last):
            i, rows = t * height - max(0, t - many), height if t < many else height - 1
            x, xr, xi = x0 + size * ((i - first * height) * xrow + k * xinc), xrow, xinc
            soon, apart, later = x + size * rows * xrow, size * rows // (end - begin), size * rows // (end - begin) * steps
            if xkind == PACKED:
                place = (t - first) % band
                if place == 0:
                    for s in range(0, steps, lanes):
                        for u in range(t, min(t + band, last)):
                            top = u * height - max(0, u - many)
                            source, to = x + size * (top - i + s * xinc), xs + size * ((u - t) * xtile + s * xpitch)
                            call_code(
                                plan[COPY_A], (source, size * xinc, to, size * xpitch, min(lanes, steps - s), height if u < many else height - 1)
                            )
                soon, apart = x + size * (band - place) * height + place * (end - begin) * CACHE_LINE, size * xinc
                x, xi, later = xs + size * place * xtile, xpitch, CACHE_LINE
            elif xkind == COPIED:
                for r in range(rows):
                    copy_bytes(xs + size * r * xpitch, x + size * r * xrow, size * steps)
                x, xr = xs, xpitch
            for block in range(begin, end):
                if ahead:
                    soon, apart, later = x, 0, 0
                    if asked < wlines:
                        soon, apart = wsoon + asked, wapart
                    elif asked - wlines < xlines:
                        soon, apart = xsoon + asked - wlines, xapart
                    asked += CACHE_LINE
                at = result + size * (i * n + block * columns)
                before = at if k > low else address(places) if part else address(start) + size * block * columns
                w = (ws if wkind else w0 + size * k * n) + size * (block - begin) * wblock
                call_code(
                    plan[CODE + (0 if t < many else 1) + (2 if (block + 1) * columns > n else 0)],
                    (x, address(places), xr, xi, w, address(places), winc, 1, steps, before, n if k > low else 0, at, n,
                     min(columns, n - block * columns), soon, apart),
                )  # fmt: skip
                soon += later
                if finish and parts == 1 and k + chunk >= run:
                    call_code(finish, (at, address(add) + at - address(y), n, rows, min(columns, n - block * columns)))


def _add(task, plan, index, y, sums, add, c, d, e, f):
    # y[i] += sum over parts of sums[part, i], for a piece of i, which then is finished
    parts, size, finish = plan[0], plan[1], plan[2]
    first, end = task * ADDED, min(size, (task + 1) * ADDED)
    for part in range(parts):
        for i in range(first, end):
            y[i] += sums[part * size + i]
    if finish:
        call_code(finish, (address(y) + plan[3] * first, address(add) + plan[3] * first, end - first, 1, end - first))
