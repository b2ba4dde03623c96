"""Sums of products by tiles in registers: the one kernel of convolutions, their gradients and products of matrices.

    y[r, k] = sum over steps s of  x[r, s] w[s, k]                                      then + bias[k], + add[r, k], max with 0

w is a matrix in memory.  x is what windows see of pixels, and is never written out ("implicit GEMM"):

    deep     row r is a place m of a window, step s a tap and a channel     x[r, s] = pixels[see(m, tap), c]     forward, input gradient
    wide     row r is a tap and a channel, step s a place m                 x[r, s] = pixels[see(m, tap), c]     weight gradient

    see(m, tap) = place(m) * stride + offset[tap] in each of three dimensions; 0 where that is outside

Steps run over taps and channels without gaps, so few channels (the first layer of a network) waste nothing: neighbouring threads then fetch
neighbouring steps number by number, where four channels at a time are 16 bytes.  A plain matrix is pixels in a row, seen through one tap.
A block computes ROWS x COLUMNS results, each thread TALL x WIDE, from tiles of x and w in shared memory, DEPTH steps at a time: while it
multiplies one tile, the numbers of the next are on their way to registers, and go to the other half of shared memory.  Each sum is taken step by
step, in the same order in every kind of tile but those of tensor cores (`tensorcore.py`).

In shared memory tiles lie as [step, row].  A thread that fetched 4 neighbouring steps of one row (16 bytes) writes them into 4 lines; so that 32
threads do that in different banks, the rows of steps 4 to 7 are exchanged in blocks of 8, and so on (`place ^ mixed(step)`).
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import NamedTuple

import numba
import numpy as np

from . import driver, tensorcore
from . import mathfunctions as m
from .launch import Family, cuda, kernel
from .memory import Array, asarray, empty
from .vectors import ALIGNED_BY, divide, load, load4, require, store4, within


class Tile(NamedTuple):
    """Results of a block and of a thread, and steps at a time."""

    rows: int
    columns: int
    tall: int
    wide: int
    depth: int

    @property
    def threads(self) -> int:
        """Threads of a block."""
        return self.rows * self.columns // (self.tall * self.wide)


if driver.is_simulated():
    TENSOR = Tile(16, 16, 4, 2, 8)
    LARGE, MIDDLE, NARROW = Tile(32, 16, 8, 4, 8), Tile(16, 16, 4, 4, 8), Tile(16, 8, 8, 4, 8)
    SINGLE, SLIM, DOUBLE = Tile(16, 16, 4, 4, 8), Tile(16, 16, 4, 4, 4), Tile(16, 16, 4, 4, 4)  # of numbers that are read one by one
else:
    TENSOR = Tile(128, 64, 8, 4, 16)
    LARGE, MIDDLE, NARROW = Tile(128, 128, 8, 8, 8), Tile(64, 64, 8, 4, 16), Tile(128, 32, 8, 4, 16)
    SINGLE, SLIM, DOUBLE = Tile(64, 64, 8, 4, 8), Tile(64, 32, 4, 4, 8), Tile(64, 64, 4, 4, 16)  # of numbers that are read one by one

# Places in a plan: of all jobs; of a job (a group, a product, a phase ...); of how a job sees pixels, before what is known of its taps: three offsets
# and where the tap's first line of w begins, which matters where w is read by steps (deep) as x is.
TILES, ACROSS, JOBS, EACH, PART, BIAS, ADD, RELU, ALIGNED, HEAD = range(10)
X, W, Y, B, VIEW, JOB = range(6)
(PLACES, SIZE0, SIZE1, SIZE2, INSIDE0, INSIDE1, INSIDE2, STRIDE0, STRIDE1, STRIDE2, SN, S0, S1, S2, SC, CHANNELS, TAPS, COLUMNS, W_STEP, W_COLUMN,
 LINEAR, YN, Y0, Y1, Y2, OFFSETS) = range(26)  # fmt: skip
OFFSET, TAP_W = 4, 3  # numbers of a tap; the place of w among them
NOWHERE = np.int64(-(2**62))  # a place outside of x, however far one goes from there


@functools.cache
def family(deep_x: bool, deep_w: bool, vector: bool, tile: Tile, terms: int = 0) -> Family:
    """The kernel for x and w that are read 4 steps (deep) or 4 rows or columns at a time, `vector`, or one by one.

    `terms`: how many products of tensor cores make one of float32; 0 for none.
    """
    ROWS, COLS, TALL, WIDE, DEPTH = tile
    THREADS, UNIT = tile.threads, 4 if vector else 1
    LINE_X, LINE_W = ROWS + 8, COLS + 8  # of shared memory; a multiple of 16 bytes, and no two of four lines begin in the same bank
    MIX_X, MIX_W = (ROWS - 1 if deep_x else 0), (COLS - 1 if deep_w else 0)
    X_LANES, W_LANES = (DEPTH if deep_x else ROWS) // UNIT, (DEPTH if deep_w else COLS) // UNIT
    X_LOADS, W_LOADS = ROWS * DEPTH // UNIT // THREADS, COLS * DEPTH // UNIT // THREADS
    X_PACE, W_PACE = THREADS // X_LANES, THREADS // W_LANES
    ROOM_X, NEXT_X, NEXT_W = 2 * DEPTH * LINE_X, X_LOADS * UNIT, W_LOADS * UNIT
    HALVES = 1 if terms else TALL // 4
    HALF, LAST, LINE_Y = ROWS // HALVES, TALL - 4, COLS + 4
    ROOM = max(ROOM_X + 2 * DEPTH * LINE_W, HALF * LINE_Y)
    GAP_X, GAP_W = ROWS // max(1, TALL // 4), COLS // max(1, WIDE // 4)  # between the fours of a thread
    TOGETHER = deep_x and deep_w  # a thread fetches the same steps of x and w
    LANES = min(8, COLS // WIDE)
    WARPS = COLS // WIDE // LANES
    assert_fits = X_LOADS * THREADS * UNIT == ROWS * DEPTH and W_LOADS * THREADS * UNIT == COLS * DEPTH and X_PACE and W_PACE
    if not assert_fits:
        raise ValueError(f"tiles: {tile} cannot be shared out among {THREADS} threads")

    @m.device
    def cut(value):
        return value if value > type(value)(0) or value != value else type(value)(0)

    @m.device
    def mixed(step, mask):
        return (step // 4 % 4 * 8) & mask

    @m.device
    def multiply(total, room, x, w, t, row, column, part_x, part_w, bits):
        for s in range(DEPTH):
            for i in range(0, TALL, 4):
                place = x + s * LINE_X + ((row + i // 4 * GAP_X) ^ mixed(s, MIX_X))
                part_x[i], part_x[i + 1], part_x[i + 2], part_x[i + 3] = load4(room, place)
            for j in range(0, WIDE, 4):
                place = w + s * LINE_W + ((column + j // 4 * GAP_W) ^ mixed(s, MIX_W))
                part_w[j], part_w[j + 1], part_w[j + 2], part_w[j + 3] = load4(room, place)
            for i in range(TALL):
                for j in range(WIDE):
                    total[i, j] += part_x[i] * part_w[j]

    if driver.is_simulated():  # the same, in a few steps of NumPy
        s, of_x, of_w = np.arange(DEPTH)[:, None], *(np.arange(n) // 4 * gap + np.arange(n) % 4 for n, gap in ((TALL, GAP_X), (WIDE, GAP_W)))

        def multiply(total, room, x, w, t, row, column, part_x, part_w, bits):
            a = room[x + s * LINE_X + ((row + of_x) ^ mixed(s, MIX_X))]
            b = room[w + s * LINE_W + ((column + of_w) ^ mixed(s, MIX_W))]
            for step in range(DEPTH):
                total += a[step, :, None] * b[step]

    @m.device
    def advance(at, image, i, n, size0, size1, size2):
        # `at[:, i]` of `image[i]` is the place of a window; n places further.
        at[2, i] += n
        while at[2, i] >= size2:
            at[2, i] -= size2
            at[1, i] += 1
            if at[1, i] >= size1:
                at[1, i] = 0
                at[0, i] += 1
                if at[0, i] >= size0:
                    at[0, i] = 0
                    image[i] += 1

    TOTAL, PART_X, BITS = (TALL, WIDE), TALL, 1
    lay = mixed
    if terms:
        multiply, lay, blocks, BITS = tensorcore.products(ROWS, COLS, DEPTH, THREADS, LINE_X, LINE_W, MIX_X, MIX_W, LINE_Y, terms, mixed)
        TOTAL, PART_X = (blocks, 4), 4 * blocks
    TOTAL_I, TOTAL_J = TOTAL

    def sums(x, x0, w, w0, bias, b0, add, a0, y, y0, plan):
        zero = x.dtype.type(0)
        room = cuda.shared.array(ROOM, x.dtype, alignment=ALIGNED_BY)  # tiles of x, then tiles of w; in the end, results
        total = cuda.local.array(TOTAL, x.dtype)
        part_x, part_w = cuda.local.array(PART_X, x.dtype), cuda.local.array(WIDE, x.dtype)
        bits = cuda.local.array((2, BITS), numba.uint32)
        next_x, next_w = cuda.local.array(NEXT_X, x.dtype), cuda.local.array(NEXT_W, x.dtype)
        here = cuda.local.array(X_LOADS, numba.int64)  # where each pixel that is fetched begins; negative outside
        image = cuda.local.array(X_LOADS, numba.int64)  # deep: where each begins; wide: which
        at = cuda.local.array((3, X_LOADS), numba.int32)  # deep: place * stride of each row; wide: place of each step
        for i in range(TOTAL_I):
            for j in range(TOTAL_J):
                total[i, j] = zero

        # The tile, the job and the part of its sum that this block computes.
        t, block = cuda.threadIdx.x, cuda.blockIdx.x
        turn = divide(block, plan[TILES])
        block -= turn * plan[TILES]
        part, down = divide(turn, plan[JOBS]), divide(block, plan[ACROSS])
        job = HEAD + (turn - part * plan[JOBS]) * JOB
        first_row, first_column = down * ROWS, (block - down * plan[ACROSS]) * COLS
        view = plan[job + VIEW]
        C, columns = plan[view + CHANNELS], plan[view + COLUMNS]
        size1, size2 = plan[view + SIZE1], plan[view + SIZE2]
        seen, places = plan[view + TAPS] * C, plan[view + PLACES]
        rows, steps = (places, seen) if deep_x else (seen, places)
        start = part * plan[EACH]
        stop = min(steps, start + plan[EACH]) if first_row < rows else start

        # What this thread fetches: of x UNIT steps of X_LOADS rows, or UNIT rows at X_LOADS steps; of w likewise.
        lane_x, line_x = t % X_LANES * UNIT, t // X_LANES
        lane_w, line_w = t % W_LANES * UNIT, t // W_LANES
        if deep_x:
            c = start + lane_x
        else:
            c = first_row + lane_x
        tap = divide(c, C)
        c -= tap * C
        p = line_x + (first_row if deep_x else start)
        q = divide(p, size2)
        at[2, 0] = p - q * size2
        p = divide(q, size1)
        at[1, 0] = q - p * size1
        image[0] = divide(p, plan[view + SIZE0])
        at[0, 0] = p - image[0] * plan[view + SIZE0]
        for i in range(1, X_LOADS):
            at[0, i], at[1, i], at[2, i], image[i] = at[0, i - 1], at[1, i - 1], at[2, i - 1], image[i - 1]
            advance(at, image, i, X_PACE, plan[view + SIZE0], size1, size2)
        if deep_x:
            for i in range(X_LOADS):
                image[i] = x0 + plan[job + X] + image[i] * plan[view + SN]
                for d in range(3):
                    at[d, i] *= plan[view + STRIDE0 + d]
                if first_row + line_x + i * X_PACE >= rows:
                    image[i] = NOWHERE
        step_w, column_w = plan[view + W_STEP], plan[view + W_COLUMN]
        from_w = w0 + plan[job + W]
        if TOGETHER:
            from_w += (first_column + line_w) * column_w
        elif deep_w:
            from_w += (start + lane_w) * step_w + (first_column + line_w) * column_w
        else:
            from_w += (start + line_w) * step_w + (first_column + lane_w) * column_w
        moved, tap_w, of_w = True, numba.int64(0), from_w

        row = (t // 32 // WARPS * (32 // LANES) + t % 32 // LANES) * 4  # of the tile, this thread's first four
        column = (t // 32 % WARPS * LANES + t % LANES) * 4
        half = 1
        for step in range(start - DEPTH, stop, DEPTH):
            coming = step + DEPTH
            if coming < stop:
                if deep_x:
                    if moved and tap < plan[view + TAPS]:
                        offset = view + OFFSETS + OFFSET * tap
                        for i in range(X_LOADS):
                            here[i] = image[i]
                        for d in range(3):
                            p = plan[offset + d]
                            for i in range(X_LOADS):
                                to = at[d, i] + p
                                here[i] = here[i] + to * plan[view + S0 + d] if within(to, plan[view + INSIDE0 + d]) else NOWHERE
                        if TOGETHER:
                            tap_w = plan[offset + TAP_W]
                    if TOGETHER:
                        of_w = from_w + tap_w + c * step_w
                    for i in range(X_LOADS):
                        inside = here[i] >= 0 and coming + lane_x < stop
                        if vector:
                            next_x[4 * i], next_x[4 * i + 1], next_x[4 * i + 2], next_x[4 * i + 3] = (
                                load4(x, here[i] + c) if inside else (zero, zero, zero, zero)
                            )
                        else:
                            next_x[i] = load(x, here[i] + c * plan[view + SC]) if inside else zero
                    c += DEPTH
                    moved = c >= C
                    while c >= C:
                        c -= C
                        tap += 1
                else:
                    offset = view + OFFSETS + OFFSET * tap
                    for i in range(X_LOADS):
                        inside = first_row + lane_x < rows and coming + line_x + i * X_PACE < stop
                        place = x0 + plan[job + X] + image[i] * plan[view + SN] + c * plan[view + SC]
                        if inside:
                            for d in range(3):
                                p = at[d, i] * plan[view + STRIDE0 + d] + plan[offset + d]
                                inside = inside and within(p, plan[view + INSIDE0 + d])
                                place += p * plan[view + S0 + d]
                        if vector:
                            next_x[4 * i], next_x[4 * i + 1], next_x[4 * i + 2], next_x[4 * i + 3] = (
                                load4(x, place) if inside else (zero, zero, zero, zero)
                            )
                        else:
                            next_x[i] = load(x, place) if inside else zero
                        advance(at, image, i, DEPTH, plan[view + SIZE0], size1, size2)
                for i in range(W_LOADS):
                    if deep_w:
                        inside = coming + lane_w < stop and first_column + line_w + i * W_PACE < columns
                        place = (of_w if TOGETHER else from_w) + i * W_PACE * column_w
                    else:
                        inside = coming + line_w + i * W_PACE < stop and first_column + lane_w < columns
                        place = from_w + i * W_PACE * step_w
                    if vector:
                        next_w[4 * i], next_w[4 * i + 1], next_w[4 * i + 2], next_w[4 * i + 3] = (
                            load4(w, place) if inside else (zero, zero, zero, zero)
                        )
                    else:
                        next_w[i] = load(w, place) if inside else zero
                if not TOGETHER:
                    from_w += DEPTH * step_w

            if step >= start:
                multiply(total, room, half * DEPTH * LINE_X, ROOM_X + half * DEPTH * LINE_W, t, row, column, part_x, part_w, bits)

            half = 1 - half
            if coming < stop:
                for i in range(X_LOADS):
                    if deep_x:
                        for u in range(UNIT):
                            place = (line_x + i * X_PACE) ^ mixed(lane_x + u, MIX_X)
                            room[(half * DEPTH + lane_x + u) * LINE_X + place] = next_x[i * UNIT + u]
                    elif vector:
                        place = (half * DEPTH + line_x + i * X_PACE) * LINE_X + lane_x
                        store4(room, place, next_x[4 * i], next_x[4 * i + 1], next_x[4 * i + 2], next_x[4 * i + 3])
                    else:
                        room[(half * DEPTH + line_x + i * X_PACE) * LINE_X + lane_x] = next_x[i]
                for i in range(W_LOADS):
                    if deep_w:
                        for u in range(UNIT):
                            place = (line_w + i * W_PACE) ^ mixed(lane_w + u, MIX_W)
                            room[ROOM_X + (half * DEPTH + lane_w + u) * LINE_W + place] = next_w[i * UNIT + u]
                    elif vector:
                        place = ROOM_X + (half * DEPTH + line_w + i * W_PACE) * LINE_W + lane_w
                        store4(room, place, next_w[4 * i], next_w[4 * i + 1], next_w[4 * i + 2], next_w[4 * i + 3])
                    else:
                        room[ROOM_X + (half * DEPTH + line_w + i * W_PACE) * LINE_W + lane_w] = next_w[i]
            cuda.syncthreads()

        # Results go to shared memory, HALF rows at a time, and from there to y: neighbouring threads then write neighbours.
        for h in range(HALVES):
            if terms:
                lay(total, room, t)
            else:
                for i in range(4):
                    for j in range(0, WIDE, 4):
                        place = (row + i) * LINE_Y + column + j // 4 * GAP_W
                        if h:
                            store4(room, place, total[LAST + i, j], total[LAST + i, j + 1], total[LAST + i, j + 2], total[LAST + i, j + 3])
                        else:
                            store4(room, place, total[i, j], total[i, j + 1], total[i, j + 2], total[i, j + 3])
            cuda.syncthreads()
            for e in range(t, HALF * COLS // 4, THREADS):
                down = e // (COLS // 4)
                r, k = first_row + h * HALF + down, first_column + e % (COLS // 4) * 4
                if r < rows and k < columns:
                    to = plan[job + Y] + part * plan[PART] + k
                    if plan[view + LINEAR]:
                        to += r * plan[view + Y2]
                    else:
                        q = divide(r, size2)
                        p = divide(q, size1)
                        n = divide(p, plan[view + SIZE0])
                        to += (r - q * size2) * plan[view + Y2] + (q - p * size1) * plan[view + Y1]
                        to += (p - n * plan[view + SIZE0]) * plan[view + Y0] + n * plan[view + YN]
                    v0, v1, v2, v3 = load4(room, down * LINE_Y + k - first_column)
                    if plan[ALIGNED]:
                        if plan[BIAS]:
                            u0, u1, u2, u3 = load4(bias, b0 + plan[job + B] + k)
                            v0, v1, v2, v3 = v0 + u0, v1 + u1, v2 + u2, v3 + u3
                        if plan[ADD]:
                            u0, u1, u2, u3 = load4(add, a0 + to)
                            v0, v1, v2, v3 = v0 + u0, v1 + u1, v2 + u2, v3 + u3
                        if plan[RELU]:
                            v0, v1, v2, v3 = cut(v0), cut(v1), cut(v2), cut(v3)
                        store4(y, y0 + to, v0, v1, v2, v3)
                    else:
                        for u in range(min(4, columns - k)):
                            value = room[down * LINE_Y + k - first_column + u]
                            if plan[BIAS]:
                                value += load(bias, b0 + plan[job + B] + k + u)
                            if plan[ADD]:
                                value += load(add, a0 + to + u)
                            y[y0 + to + u] = cut(value) if plan[RELU] else value
            cuda.syncthreads()

    units, ways = {0: "", 1: "tf32_", 3: "tf32x3_"}[terms], "_".join("deep" if deep else "wide" for deep in (deep_x, deep_w))
    sums.__name__ = sums.__qualname__ = f"sums_{units}{ways}_{4 if vector else 1}_{ROWS}x{COLS}"
    registers = 128 if tile is LARGE and not terms else None  # so that two blocks fit a multiprocessor
    capability = tensorcore.CAPABILITY if terms else (0, 0)
    return Family(sums, "TiTiTiTiTiI", (np.float32,) if vector else (np.float32, np.float64), registers, capability)


# --------------------------------------------------------------------------------------- the launch
BLOCKS, LEAST_STEPS = (6, 16) if driver.is_simulated() else (264, 256)  # blocks that fill a large GPU; steps of a part of a sum, at least
MOST_PARTS = 64


class Sums(NamedTuple):
    """What one launch takes besides arrays."""

    plan: Array
    family: Family
    threads: int
    blocks: int
    parts: int  # each with results of its own, one after the other in a buffer
    each: int  # results of a part


def view(
    places: int, sizes: Sequence[int], inside: Sequence[int], stride: Sequence[int], steps: Sequence[int], channels: int,
    offsets: Sequence[Sequence[int]], columns: int, w_step: int, w_column: int, y_steps: Sequence[int], linear: bool = True,
    taps_w: Sequence[int] | None = None,
) -> list[int]:  # fmt: skip
    """The numbers of a view: windows at `places`, `sizes` of them in each dimension, over pixels of sizes `inside`.

    `steps` are the pixels' strides of n, the dimensions and c, those of y are of n and the dimensions; `linear`: y's rows follow each other.
    `taps_w`: where each tap of w begins; one after the other, by default.
    """
    seen = offsets if channels else ()
    begins = (tap * channels * w_step for tap in range(len(seen))) if taps_w is None else taps_w
    return [places, *(max(1, n) for n in sizes), *inside, *stride, *steps, max(1, channels), len(seen), columns, w_step, w_column, linear, *y_steps,
            *(number for offset, w in zip(seen, begins, strict=False) for number in (*offset, w))]  # fmt: skip


def check(op: str, views: Sequence[Sequence[int]]) -> None:
    """ValueError where the kernels' numbers of 32 bits do not suffice; what lies where in memory is counted by 64."""
    for v in views:
        dimensions = [(v[SIZE0 + d] - 1) * v[STRIDE0 + d] + max((abs(o) for o in v[OFFSETS + d :: OFFSET]), default=0) for d in range(3)]
        require(op, rows=v[PLACES], products_in_a_sum=v[CHANNELS] * v[TAPS], columns=v[COLUMNS])
        require(op, pixels_in_a_dimension=max(*v[INSIDE0 : INSIDE0 + 3], *dimensions))


def prepare(
    op: str, deep_x: bool, deep_w: bool, vector: bool, dtype: np.dtype, views: Sequence[Sequence[int]], jobs: np.ndarray, results: int,
    split: bool | int, aligned: bool, epilogue: tuple[bool, bool, bool], terms: int,
) -> Sums:  # fmt: skip
    """The launch for `jobs` [count, X W Y B VIEW], whose views are numbered; `results` are those of all jobs, in one block of memory.

    `split`: may the sums be cut into parts?  A number is that of the jobs that count for it: what the results of a job are depends on it.
    `epilogue`: are there a bias, something to add, a relu?  Where there are parts, none of this is done.
    `terms`: as in `family`.  `op` is named in errors.
    """
    check(op, views)
    places, seen = max(v[PLACES] for v in views), max(v[CHANNELS] * v[TAPS] for v in views)
    rows, steps = (places, seen) if deep_x else (seen, places)
    columns = views[0][COLUMNS]
    tile = tile_for(rows, columns, len(jobs), dtype, vector, bool(split))
    tile = MIDDLE if tile is LARGE and deep_w and not deep_x else tile  # where LARGE has too few registers
    terms = terms if vector and columns > NARROW.columns else 0
    tile = TENSOR if terms else tile
    across = -(-columns // tile.columns)
    tiles = -(-rows // tile.rows) * across
    parts = min(BLOCKS // (tiles * (len(jobs) if split is True else split)), steps // LEAST_STEPS, MOST_PARTS) if split else 1
    each = -(-steps // max(1, parts) // tile.depth) * tile.depth or tile.depth
    parts = max(1, -(-steps // each))
    require(op, tiles_of_results=tiles * len(jobs) * parts)
    bias, add, relu = epilogue if parts == 1 else (False, False, False)
    head = [tiles, across, len(jobs), each, results, bias, add, relu, aligned and results % 4 == 0]
    begins = np.cumsum([HEAD + JOB * len(jobs), *map(len, views)])
    table = np.array(jobs, np.int64)
    table = np.concatenate([table[:, :VIEW], begins[table[:, VIEW]][:, None]], 1)
    numbers = np.concatenate([np.array(head, np.int64), table.reshape(-1), *(np.array(v, np.int64) for v in views)])
    return Sums(asarray(numbers), family(deep_x, deep_w, vector, tile, terms), tile.threads, tiles * len(jobs) * parts, parts, results)


def tile_for(rows: int, columns: int, jobs: int, dtype: np.dtype, vector: bool, split: bool) -> Tile:
    """The tile that wastes little and still gives every multiprocessor work."""
    if dtype != np.float32:
        return DOUBLE
    if not vector:
        return SLIM if columns <= SLIM.columns else SINGLE
    if columns <= NARROW.columns:
        return NARROW
    tiles = -(-rows // LARGE.rows) * -(-columns // LARGE.columns)
    wanted = rows > LARGE.rows // 2 and columns > LARGE.columns // 2
    return LARGE if wanted and (split or tiles * jobs >= BLOCKS // 2) else MIDDLE


def run(sums: Sums, x: Array, w: Array, bias: Array | None, add: Array | None, y: Array) -> None:
    """Launch; y, or the parts of y, are written where the plan says."""
    b, a = y if bias is None else bias, y if add is None else add
    sums.family[x.dtype].blocks(
        sums.blocks, sums.threads, x.flat, x.offset, w.flat, w.offset, b.flat, b.offset, a.flat, a.offset, y.flat, y.offset, sums.plan.flat
    )


def run_and_finish(sums: Sums, x: Array, w: Array, bias: Array | None, add: Array | None, relu: bool, y: Array, columns: int) -> None:
    """Launch, and add up the parts; y [..., columns] is in C order, and so is `add`."""
    bias, add = _four(bias), _four(add)
    if sums.parts == 1:
        return run(sums, x, w, bias, add, y)
    parts = empty((sums.parts, y.size), y.dtype)
    run(sums, x, w, None, None, parts)
    b, a = y if bias is None else bias, y if add is None else add
    _finish[y.dtype](
        y.size, y.size, sums.parts, columns, parts.flat, parts.offset, b.flat, b.offset, a.flat, a.offset, y.flat, y.offset,
        bias is not None, add is not None, relu,
    )  # fmt: skip
    return None


def _four(a: Array | None) -> Array | None:
    """The array itself, or a copy that four numbers at a time can be read from: one that begins at a multiple of four."""
    return a if a is None or a.offset % 4 == 0 else a.copy()


@kernel("iiiTiTiTiTiiii")
def _finish(n, parts, columns, x, x0, bias, b0, add, a0, y, y0, has_bias, has_add, relu):
    # y[i] = bias[i % columns] + sum over parts of x[part, i], + add[i], and max(y, 0)
    zero = x.dtype.type(0)
    for i in range(cuda.grid(1), n, cuda.gridsize(1)):
        value = x[x0 + i]
        for part in range(1, parts):
            value += x[x0 + part * n + i]
        if has_bias:
            value += bias[b0 + i % columns]
        if has_add:
            value += add[a0 + i]
        if relu:
            value = value if value > zero or value != value else zero
        y[y0 + i] = value
