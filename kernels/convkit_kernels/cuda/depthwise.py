"""Convolutions whose groups have one channel: no sums over channels, so no tiles; each thread computes results of its own.

    sums     y[m, k] = sum over taps t, j of  x[see(m, t), channel(k) + j] w[t, j, k]      + bias[k], + add[m, k], max with 0
    outer    gw[t, k] = sum over places m of  gy[m, k] x[see(m, t), k // multiple]

Forward, channel(k) = k // multiple and j = 0; in the input gradient channel(k) = k * multiple and j < multiple.  Neighbouring threads have
neighbouring channels: what they read and write lies side by side.  Plans are those of `tiles.py`.
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
from .vectors import divide, load, load4, require, store4

LANES, LINES = (4, 2) if driver.is_simulated() else (32, 8)  # channels and places that a block of `outer` works on at a time


@m.device
def _cut(value):
    return value if value > type(value)(0) or value != value else type(value)(0)


@functools.cache
def family(vector: bool) -> Family:
    """The kernel of sums: four channels a thread, read at once, or one."""
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
            begin = x0 + plan[job + X] + image * plan[view + SN] + divide(k * rows, multiple) * plan[view + SC]
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


def run(sums: Sums, vector: bool, x: Array, w: Array, bias: Array | None, add: Array | None, y: Array, rows: int, multiple: int) -> None:
    """Launch: w [tap, rows, columns] in the order of the plan; `blocks` of the plan are phases, `each` results."""
    require("convolution", 2**32 - 1, results=y.size)  # which threads number
    b, a = y if bias is None else bias, y if add is None else add
    across = min(-(-y.size // ((4 if vector else 1) * THREADS)), 4096)
    family(vector)[x.dtype].blocks(
        (across, sums.blocks), THREADS, x.flat, x.offset, w.flat, w.offset, b.flat, b.offset, a.flat, a.offset, y.flat, y.offset,
        rows, multiple, sums.plan.flat,
    )  # fmt: skip


@kernel("TiTiTiI")
def _outer(x, x0, gy, g0, y, multiple, plan):
    # y[part, tap, k] = sum over the places of a part; a block does LANES channels of one tap, LINES places at a time
    total = cuda.shared.array((LINES, LANES), x.dtype)
    lane, line, tap, part = cuda.threadIdx.x, cuda.threadIdx.y, cuda.blockIdx.y, cuda.blockIdx.z
    view = plan[HEAD + VIEW]
    columns, each, size2 = plan[view + COLUMNS], plan[view + CHANNELS], plan[view + SIZE2]
    k = cuda.blockIdx.x * LANES + lane
    value = x.dtype.type(0)
    if k < columns:
        stop = min(plan[view + PLACES], (part + 1) * each)
        offset = view + OFFSETS + OFFSET * tap
        begin = x0 + divide(k, multiple) * plan[view + SC]
        r = part * each + line
        q = divide(r, size2)
        p = divide(q, plan[view + SIZE1])
        image = divide(p, plan[view + SIZE0])
        o0, o1, o2 = p - image * plan[view + SIZE0], q - p * plan[view + SIZE1], r - q * size2
        for r in range(part * each + line, stop, LINES):
            p0, p1 = o0 * plan[view + STRIDE0] + plan[offset], o1 * plan[view + STRIDE0 + 1] + plan[offset + 1]
            p2 = o2 * plan[view + STRIDE0 + 2] + plan[offset + 2]
            inside = p0 >= 0 and p0 < plan[view + INSIDE0] and p1 >= 0 and p1 < plan[view + INSIDE0 + 1]
            if inside and p2 >= 0 and p2 < plan[view + INSIDE0 + 2]:
                place = begin + image * plan[view + SN] + p0 * plan[view + S0] + p1 * plan[view + S0 + 1] + p2 * plan[view + S0 + 2]
                value += load(x, place) * load(gy, g0 + r * columns + k)
            o2 += LINES
            while o2 >= size2:
                o2 -= size2
                o1 += 1
                if o1 >= plan[view + SIZE1]:
                    o1 = numba.int64(0)
                    o0 += 1
                    if o0 >= plan[view + SIZE0]:
                        o0 = numba.int64(0)
                        image += 1
    total[line, lane] = value
    cuda.syncthreads()
    if line == 0 and k < columns:
        for other in range(1, LINES):
            value += total[other, lane]
        y[(part * plan[view + TAPS] + tap) * columns + k] = value


def run_outer(plan: Array, parts: int, taps: int, x: Array, gy: Array, y: Array, multiple: int) -> None:
    """Launch: y [parts, taps, columns]."""
    across = -(-gy.shape[-1] // LANES)
    _outer[x.dtype].blocks((across, taps, parts), (LANES, LINES), x.flat, x.offset, gy.flat, gy.offset, y.flat, multiple, plan.flat)
