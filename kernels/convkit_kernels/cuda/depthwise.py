"""Convolutions whose groups have few channels: no tiles, which would be nearly empty; each thread computes results of its own.

    sums     y[m, k] = sum over taps t, j < rows of  x[see(m, t), channel(k) + j] w[t, j, k]      + bias[k], + add[m, k], max with 0
    outer    gw[t, j, k] = sum over places m of  gy[m, k] x[see(m, t), channel(k) + j]            channel(k) = k // multiple * rows

`rows` and `multiple` are the channels that a group has of x and of y: both 1 in depthwise convolutions.  Neighbouring threads have neighbouring
channels: what they read and write lies side by side.  Plans are those of `tiles.py`.
"""

from __future__ import annotations

import functools

import numba
import numpy as np

from . import driver
from . import mathfunctions as m
from .launch import THREADS, Family, cuda, kernel
from .memory import Array
from .tiles import (
    ADD,
    BIAS,
    CHANNELS,
    COLUMNS,
    HEAD,
    INSIDE0,
    JOB,
    LINEAR,
    NOWHERE,
    OFFSET,
    OFFSETS,
    PLACES,
    RELU,
    S0,
    SC,
    SIZE0,
    SIZE1,
    SIZE2,
    SN,
    STRIDE0,
    TAPS,
    VIEW,
    Y0,
    Y1,
    Y2,
    YN,
    Sums,
    W,
    X,
    Y,
)
from .vectors import divide, load, load4, reader, require, store4, within

MOST = 4 if driver.is_simulated() else 16  # channels of a group; tiles of 32 columns are half full with as many
TALL = 2 if driver.is_simulated() else 4  # places that a thread of `grouped` works on, with the same weights
# Threads across (channels) and down (places) of a block of `outer`, for one channel and for four a thread.
LANES, LINES = ({1: 4, 4: 2}, {1: 2, 4: 2}) if driver.is_simulated() else ({1: 32, 4: 8}, {1: 8, 4: 32})


def suits(groups: int, rows: int, multiple: int) -> bool:
    """Is a convolution with so many channels in a group, before and after, one for this file?"""
    return groups > 1 and (rows == 1 or multiple == 1 or max(rows, multiple) <= MOST)


def unit(vector: bool, rows: int, multiple: int) -> int:
    """Channels that a thread of `outer` takes at once."""
    return 4 if vector and not (rows % 4 or multiple % 4) else 1


@m.device
def _cut(value):
    return value if value > type(value)(0) or value != value else type(value)(0)


@functools.cache
def family(vector: bool) -> Family:
    """The kernel of sums: four channels a thread, read at once, of groups of one; or one channel of any groups."""
    UNIT = 4 if vector else 1

    def depthwise(x, x0, w, w0, bias, b0, add, a0, y, y0, rows, multiple, plan):
        zero = x.dtype.type(0)
        job = HEAD + cuda.blockIdx.y * JOB
        view = plan[job + VIEW]
        columns, taps = plan[view + COLUMNS], plan[view + TAPS]
        size0, size1, size2 = plan[view + SIZE0], plan[view + SIZE1], plan[view + SIZE2]
        count = plan[view + PLACES] * columns // UNIT
        for i in range(cuda.grid(1), count, cuda.gridsize(1)):
            r = divide(i * UNIT, columns)
            k = i * UNIT - r * columns
            q = divide(r, size2)
            p = divide(q, size1)
            image = divide(p, size0)
            o0, o1, o2 = p - image * size0, q - p * size1, r - q * size2
            to = y0 + plan[job + Y] + k
            if plan[view + LINEAR]:
                to += r * plan[view + Y2]
            else:
                to += image * plan[view + YN] + o0 * plan[view + Y0] + o1 * plan[view + Y1] + o2 * plan[view + Y2]
            o0, o1, o2 = o0 * plan[view + STRIDE0], o1 * plan[view + STRIDE0 + 1], o2 * plan[view + STRIDE0 + 2]
            begin = x0 + plan[job + X] + image * plan[view + SN] + divide(k, multiple) * rows * plan[view + SC]
            v0, v1, v2, v3 = zero, zero, zero, zero
            for tap in range(taps):
                offset = view + OFFSETS + OFFSET * tap
                p0, p1, p2 = o0 + plan[offset], o1 + plan[offset + 1], o2 + plan[offset + 2]
                inside = p0 >= 0 and p0 < plan[view + INSIDE0] and p1 >= 0 and p1 < plan[view + INSIDE0 + 1]
                if inside and p2 >= 0 and p2 < plan[view + INSIDE0 + 2]:
                    place = begin + p0 * plan[view + S0] + p1 * plan[view + S0 + 1] + p2 * plan[view + S0 + 2]
                    of_w = w0 + plan[job + W] + tap * rows * columns + k
                    if vector:
                        x_0, x_1, x_2, x_3 = load4(x, place)
                        w_0, w_1, w_2, w_3 = load4(w, of_w)
                        v0, v1, v2, v3 = v0 + x_0 * w_0, v1 + x_1 * w_1, v2 + x_2 * w_2, v3 + x_3 * w_3
                    else:
                        for j in range(rows):
                            v0 += load(x, place + j * plan[view + SC]) * load(w, of_w + j * columns)
            if plan[BIAS]:
                v0 += load(bias, b0 + k)
                if vector:
                    v1, v2, v3 = v1 + load(bias, b0 + k + 1), v2 + load(bias, b0 + k + 2), v3 + load(bias, b0 + k + 3)
            if plan[ADD]:
                more = a0 - y0 + to
                v0 += load(add, more)
                if vector:
                    v1, v2, v3 = v1 + load(add, more + 1), v2 + load(add, more + 2), v3 + load(add, more + 3)
            if plan[RELU]:
                v0, v1, v2, v3 = _cut(v0), _cut(v1), _cut(v2), _cut(v3)
            if vector:
                store4(y, to, v0, v1, v2, v3)
            else:
                y[to] = v0

    depthwise.__name__ = depthwise.__qualname__ = f"depthwise_{UNIT}"
    return Family(depthwise, "TiTiTiTiTiiiI", (np.float32,) if vector else (np.float32, np.float64), None)


@kernel("TiTiTiTiTiiiI", (np.float32,))
def _grouped(x, x0, w, w0, bias, b0, add, a0, y, y0, rows, multiple, plan):
    # The same sums where `rows` and `multiple` are multiples of four: four channels k of TALL places a thread, all of one group.
    zero = x.dtype.type(0)
    total = cuda.local.array((TALL, 4), x.dtype)
    at = cuda.local.array((3, TALL), numba.int32)  # of each place: where its window stands
    begin, here = cuda.local.array(TALL, numba.int64), cuda.local.array(TALL, numba.int64)  # its image; the pixel that a tap sees, or negative
    to = cuda.local.array(TALL, numba.int64)
    job = HEAD + cuda.blockIdx.y * JOB
    view = plan[job + VIEW]
    columns, taps, places = plan[view + COLUMNS], plan[view + TAPS], plan[view + PLACES]
    size0, size1, size2, fours = plan[view + SIZE0], plan[view + SIZE1], plan[view + SIZE2], plan[view + COLUMNS] // 4
    for i in range(cuda.grid(1), (places + TALL - 1) // TALL * fours, cuda.gridsize(1)):
        r = divide(i, fours)
        k = (i - r * fours) * 4
        r *= TALL
        q = divide(r, size2)
        p = divide(q, size1)
        image = divide(p, size0)
        o0, o1, o2 = p - image * size0, q - p * size1, r - q * size2
        for u in range(TALL):
            at[0, u], at[1, u], at[2, u] = o0 * plan[view + STRIDE0], o1 * plan[view + STRIDE0 + 1], o2 * plan[view + STRIDE0 + 2]
            begin[u] = x0 + plan[job + X] + image * plan[view + SN] + divide(k, multiple) * rows if r + u < places else NOWHERE
            to[u] = y0 + plan[job + Y] + k
            if plan[view + LINEAR]:
                to[u] += (r + u) * plan[view + Y2]
            else:
                to[u] += image * plan[view + YN] + o0 * plan[view + Y0] + o1 * plan[view + Y1] + o2 * plan[view + Y2]
            for v in range(4):
                total[u, v] = zero
            o2 += 1
            if o2 == size2:
                o2 = numba.int64(0)
                o1 += 1
                if o1 == size1:
                    o1 = numba.int64(0)
                    o0 += 1
                    if o0 == size0:
                        o0 = numba.int64(0)
                        image += 1
        for tap in range(taps):
            offset = view + OFFSETS + OFFSET * tap
            for u in range(TALL):
                here[u] = begin[u]
                for d in range(3):
                    p = at[d, u] + plan[offset + d]
                    here[u] = here[u] + p * plan[view + S0 + d] if within(p, plan[view + INSIDE0 + d]) else NOWHERE
            of_w = w0 + plan[job + W] + tap * rows * columns + k
            for j in range(0, rows, 4):
                w00, w01, w02, w03 = load4(w, of_w + j * columns)
                w10, w11, w12, w13 = load4(w, of_w + (j + 1) * columns)
                w20, w21, w22, w23 = load4(w, of_w + (j + 2) * columns)
                w30, w31, w32, w33 = load4(w, of_w + (j + 3) * columns)
                for u in range(TALL):
                    if here[u] >= 0:
                        x_0, x_1, x_2, x_3 = load4(x, here[u] + j)
                        total[u, 0] += x_0 * w00 + x_1 * w10 + x_2 * w20 + x_3 * w30
                        total[u, 1] += x_0 * w01 + x_1 * w11 + x_2 * w21 + x_3 * w31
                        total[u, 2] += x_0 * w02 + x_1 * w12 + x_2 * w22 + x_3 * w32
                        total[u, 3] += x_0 * w03 + x_1 * w13 + x_2 * w23 + x_3 * w33
        for u in range(TALL):
            if r + u < places:
                for v in range(4):
                    if plan[BIAS]:
                        total[u, v] += load(bias, b0 + k + v)
                    if plan[ADD]:
                        total[u, v] += load(add, a0 + to[u] - y0 + v)
                    if plan[RELU]:
                        total[u, v] = _cut(total[u, v])
                store4(y, to[u], total[u, 0], total[u, 1], total[u, 2], total[u, 3])


def run(sums: Sums, vector: bool, x: Array, w: Array, bias: Array | None, add: Array | None, y: Array, rows: int, multiple: int) -> None:
    """Launch: w [tap, rows, columns] in the order of the plan; `blocks` of the plan are phases, `each` results."""
    require("convolution", 2**32 - 1, results=y.size)  # which threads number
    require("convolution", 65535, phases_of_strides=sums.blocks)  # blocks along y
    b, a = y if bias is None else bias, y if add is None else add
    if unit(vector, rows, multiple) == 4:
        each, kernels = 4 * TALL, _grouped
    else:
        vector = vector and rows == multiple == 1
        each, kernels = 4 if vector else 1, family(vector)
    kernels[x.dtype].blocks(
        (min(-(-y.size // (each * THREADS)), 4096), sums.blocks), THREADS, x.flat, x.offset, w.flat, w.offset, b.flat, b.offset, a.flat, a.offset,
        y.flat, y.offset, rows, multiple, sums.plan.flat,
    )  # fmt: skip


@functools.cache
def _outer(UNIT: int) -> Family:
    """The kernel of the weight gradient: one channel by one channel a thread, or four by four of one group."""
    lanes, lines, read = LANES[UNIT], LINES[UNIT], reader(UNIT)
    ALL, SQUARE = lanes * lines, UNIT * UNIT

    def outer(x, x0, gy, g0, y, rows, multiple, plan):
        # y[part, tap, j, k] = sum over the places of a part; a block does `lanes` times UNIT channels k of one tap, `lines` places at a time
        total, value = cuda.shared.array((SQUARE, ALL), x.dtype), cuda.local.array(SQUARE, x.dtype)
        lane, line, part = cuda.threadIdx.x, cuda.threadIdx.y, cuda.blockIdx.z
        tap = divide(cuda.blockIdx.x, rows // UNIT)
        j = (cuda.blockIdx.x - tap * (rows // UNIT)) * UNIT
        view = plan[HEAD + VIEW]
        columns, each, size2 = plan[view + COLUMNS], plan[view + CHANNELS], plan[view + SIZE2]
        k = (cuda.blockIdx.y * lanes + lane) * UNIT
        for e in range(SQUARE):
            value[e] = x.dtype.type(0)
        if k < columns:
            stop = min(plan[view + PLACES], (part + 1) * each)
            offset = view + OFFSETS + OFFSET * tap
            begin = x0 + (divide(k, multiple) * rows + j) * plan[view + SC]
            r = part * each + line
            q = divide(r, size2)
            p = divide(q, plan[view + SIZE1])
            image = divide(p, plan[view + SIZE0])
            o0, o1, o2 = p - image * plan[view + SIZE0], q - p * plan[view + SIZE1], r - q * size2
            for r in range(part * each + line, stop, lines):
                p0, p1 = o0 * plan[view + STRIDE0] + plan[offset], o1 * plan[view + STRIDE0 + 1] + plan[offset + 1]
                p2 = o2 * plan[view + STRIDE0 + 2] + plan[offset + 2]
                inside = within(p0, plan[view + INSIDE0]) and within(p1, plan[view + INSIDE0 + 1])
                if inside and within(p2, plan[view + INSIDE0 + 2]):
                    place = begin + image * plan[view + SN] + p0 * plan[view + S0] + p1 * plan[view + S0 + 1] + p2 * plan[view + S0 + 2]
                    a, b = read(x, place), read(gy, g0 + r * columns + k)
                    for e in range(SQUARE):
                        value[e] += a[e // UNIT] * b[e % UNIT]
                o2 += lines
                while o2 >= size2:
                    o2 -= size2
                    o1 += 1
                    if o1 >= plan[view + SIZE1]:
                        o1 = numba.int64(0)
                        o0 += 1
                        if o0 >= plan[view + SIZE0]:
                            o0 = numba.int64(0)
                            image += 1
        t = line * lanes + lane
        for e in range(SQUARE):
            total[e, t] = value[e]
        cuda.syncthreads()
        for number in range(t, SQUARE * lanes, ALL):
            e, first = number // lanes, number % lanes
            k = (cuda.blockIdx.y * lanes + first) * UNIT + e % UNIT
            if k < columns:
                result = total[e, first]
                for other in range(1, lines):
                    result += total[e, other * lanes + first]
                y[((part * plan[view + TAPS] + tap) * rows + j + e // UNIT) * columns + k] = result

    outer.__name__ = outer.__qualname__ = f"outer_{UNIT}x{UNIT}"
    return Family(outer, "TiTiTiiI", (np.float32, np.float64) if UNIT == 1 else (np.float32,), None)


def blocks_of_outer(columns: int, taps: int, rows: int, UNIT: int) -> tuple[int, int]:
    """Blocks of a part: down, of which a launch may have 2**31 - 1, and across, 65535."""
    return taps * rows // UNIT, -(-columns // (LANES[UNIT] * UNIT))


def run_outer(plan: Array, parts: int, taps: int, x: Array, gy: Array, y: Array, rows: int, multiple: int, UNIT: int) -> None:
    """Launch: y [parts, taps, rows, columns]."""
    blocks = blocks_of_outer(gy.shape[-1], taps, rows, UNIT)
    _outer(UNIT)[x.dtype].blocks(
        (*blocks, parts), (LANES[UNIT], LINES[UNIT]), x.flat, x.offset, gy.flat, gy.offset, y.flat, rows, multiple, plan.flat
    )
