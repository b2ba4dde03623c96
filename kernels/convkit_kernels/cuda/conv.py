"""Convolution in one to three dimensions, its two gradients, and products of matrices: tiles of sums in registers.

    sums     y[m, k] = sum over taps t and channels c of  x[pixel(m, t), c] w[k, t, c]         forward, input gradient, matrix product
    outer    gw[k, t, c] = sum over pixels m of  gy[m, k] x[pixel(m, t), c]                    weight gradient

x is never written out as a matrix: a block reads the pixels that its rows see, tap by tap, 0 where a tap falls on padding ("implicit
GEMM").  In each dimension row m, at place p, sees with tap r

    place * stride - padding + r * dilation              forward
    (place + padding - r * dilation) / stride            input gradient, where that is a whole number

which is (place * mul + offset[r]) / div for both.  A block of 256 threads computes 128 x 128 results, each thread 8 x 8, from tiles of x and w in
shared
memory, DEPTH steps at a time; while it multiplies, the next step's numbers are on their way in registers.
"""

from __future__ import annotations

import numba

from . import driver
from .launch import cuda, kernel

# Results of a block, results of a thread, and steps of a tile.
ROWS, COLUMNS, TALL, WIDE, DEPTH = (8, 8, 4, 4, 4) if driver.is_simulated() else (128, 128, 8, 8, 8)
ACROSS = COLUMNS // WIDE
THREADS = ROWS // TALL * ACROSS
LOADS = ROWS * DEPTH // THREADS  # numbers of a tile that each thread fetches
HEAD = 32  # of the plan, before the offsets of the taps


@kernel("TiTiTiTiTiI")
def _sums(x, x0, w, w0, bias, b0, extra, e0, y, y0, plan):
    # plan: M, K, C, taps, sizes of m (3), sizes of x (3), mul (3), div (3), strides of x (n, 3, c, group), of w (k, c, group), of y (m, group),
    #       bias?, extra?, relu?; then for each tap its offsets (3) and its place in w
    tile_x = cuda.shared.array((2, DEPTH, ROWS), x.dtype)
    tile_w = cuda.shared.array((2, DEPTH, COLUMNS), x.dtype)
    total = cuda.local.array((TALL, WIDE), x.dtype)
    next_x = cuda.local.array(LOADS, x.dtype)
    next_w = cuda.local.array(LOADS, x.dtype)
    image = cuda.local.array(LOADS, numba.int64)  # where the image of each row begins, -1 for a row beyond the last
    at = cuda.local.array((3, LOADS), numba.int64)  # place * mul of each row
    zero = x.dtype.type(0)

    t, group = cuda.threadIdx.x, cuda.blockIdx.z
    first_row, first_column = cuda.blockIdx.x * ROWS, cuda.blockIdx.y * COLUMNS
    M, K, C, steps = plan[0], plan[1], plan[2], plan[2] * plan[3]
    lane, line = t % DEPTH, t // DEPTH  # this thread fetches step `lane` of a tile for rows line, line + THREADS // DEPTH ...
    for i in range(LOADS):
        m = first_row + line + i * (THREADS // DEPTH)
        image[i] = -1
        if m < M:
            for d in range(2, -1, -1):
                at[d, i] = m % plan[4 + d] * plan[10 + d]
                m //= plan[4 + d]
            image[i] = x0 + m * plan[16] + group * plan[21]
    for i in range(TALL):
        for j in range(WIDE):
            total[i, j] = zero

    down, across = t // ACROSS * TALL, t % ACROSS * WIDE
    for step in range(0, steps + DEPTH, DEPTH):
        # What comes next is fetched before what is here is multiplied.
        here = step // DEPTH % 2
        r = step + lane
        for i in range(LOADS):
            next_x[i] = zero
            next_w[i] = zero
        if r < steps:
            tap, c = r // C, r % C
            offset = HEAD + 4 * tap
            for i in range(LOADS):
                place, inside = image[i] + c * plan[20], image[i] >= 0
                for d in range(3):
                    above = at[d, i] + plan[offset + d]
                    i_d = above // plan[13 + d]
                    inside = inside and above >= 0 and i_d < plan[7 + d] and i_d * plan[13 + d] == above
                    place += i_d * plan[17 + d]
                if inside:
                    next_x[i] = x[place]
                k = first_column + line + i * (THREADS // DEPTH)
                if k < K:
                    next_w[i] = w[w0 + group * plan[24] + k * plan[22] + c * plan[23] + plan[offset + 3]]
        for i in range(LOADS):
            tile_x[here, lane, line + i * (THREADS // DEPTH)] = next_x[i]
            tile_w[here, lane, line + i * (THREADS // DEPTH)] = next_w[i]
        cuda.syncthreads()
        for s in range(DEPTH):
            for i in range(TALL):
                for j in range(WIDE):
                    total[i, j] += tile_x[here, s, down + i] * tile_w[here, s, across + j]

    for i in range(TALL):
        m = first_row + down + i
        for j in range(WIDE):
            k = first_column + across + j
            if m < M and k < K:
                place = m * plan[25] + group * plan[26] + k
                value = total[i, j]
                if plan[27]:
                    value += bias[b0 + group * K + k]
                if plan[28]:
                    value += extra[e0 + place]
                if plan[29]:
                    value = value if value > zero or value != value else zero
                y[y0 + place] = value


@kernel("TiTiTI")
def _outer(x, x0, gy, g0, gw, plan):
    # plan: as of `_sums`, with the pixels of a part in place 22; gw is [part, group, k, c, tap]
    tile_x = cuda.shared.array((2, DEPTH, ROWS), x.dtype)
    tile_g = cuda.shared.array((2, DEPTH, COLUMNS), x.dtype)
    total = cuda.local.array((TALL, WIDE), x.dtype)
    zero = x.dtype.type(0)

    t, M, K, C, taps = cuda.threadIdx.x, plan[0], plan[1], plan[2], plan[3]
    groups, each = plan[23], plan[22]
    part, group = cuda.blockIdx.z // groups, cuda.blockIdx.z % groups
    first_row, first_column = cuda.blockIdx.x * ROWS, cuda.blockIdx.y * COLUMNS
    row, k = first_row + t % ROWS, first_column + t % COLUMNS  # what this thread fetches
    tap, c = row // C, row % C
    offset = HEAD + 4 * tap
    for i in range(TALL):
        for j in range(WIDE):
            total[i, j] = zero

    down, across = t // ACROSS * TALL, t % ACROSS * WIDE
    start, stop = part * each, min(M, (part + 1) * each)
    for step in range(start, stop, DEPTH):
        here = (step - start) // DEPTH % 2
        for i in range(LOADS):
            s = t // ROWS + i * (THREADS // ROWS)
            value_x, value_g = zero, zero
            if step + s < stop:
                m, inside, place = step + s, row < taps * C, x0 + group * plan[21] + c * plan[20]
                if inside:
                    for d in range(2, -1, -1):
                        above = m % plan[4 + d] * plan[10 + d] + plan[offset + d]
                        inside = inside and 0 <= above and above < plan[7 + d]
                        place += above * plan[17 + d]
                        m //= plan[4 + d]
                if inside:
                    value_x = x[place + m * plan[16]]
                if k < K:
                    value_g = gy[g0 + (step + s) * plan[25] + group * plan[26] + k]
            tile_x[here, s, t % ROWS] = value_x
            tile_g[here, s, t % COLUMNS] = value_g
        cuda.syncthreads()
        for s in range(DEPTH):
            for i in range(TALL):
                for j in range(WIDE):
                    total[i, j] += tile_x[here, s, down + i] * tile_g[here, s, across + j]

    for i in range(TALL):
        r = first_row + down + i
        for j in range(WIDE):
            column = first_column + across + j
            if r < taps * C and column < K:
                gw[(((part * groups + group) * K + column) * C + r % C) * taps + r // C] = total[i, j]
