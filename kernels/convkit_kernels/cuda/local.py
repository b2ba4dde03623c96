"""Locally connected layers, with the names of `cpu/local.py`, where the formulas are.

All three are one sum, for which a list says what an output o is made of:

    y[m, o, k] = bias[o, k] + sum over entries e of o, and over s, of a[m, e, s] * b[e, s, k]

                    m           o                s           a    b
    forward         images      places           C           x    weights
    input grad      images      pixels           K           gy   weights, with C for columns
    weight grad     C           regions, taps    images      x    gy

A thread sums TALL rows m of one column k, and neighbouring threads read neighbouring k: b is read once for these rows, and a for a whole warp.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import numpy as np

from ..cpu import pool as windows
from ..geometry import Window
from ..layout import from_channels_last
from . import driver
from . import elementwise as e
from .copy import channels_last, contiguous
from .launch import cuda, kernel
from .memory import Array, asarray, empty

TALL, LANES, THREADS = (2, 2, 4) if driver.is_simulated() else (4, 32, 128)

# Places in the plan; elements from one m and one s to the next in a, one s in b, one m and one o in y; then where the parts begin.
ROWS, COLUMNS, INNER, A_ROW, A_INNER, B_INNER, Y_ROW, Y_OUTPUT, A_PLACE, B_PLACE, BIAS_PLACE, START = range(12)


@kernel("TiTiTiTI")
def _sums(a, a0, b, b0, bias, bias0, y, plan):
    rows, columns, o = plan[ROWS], plan[COLUMNS], cuda.blockIdx.x
    first = (cuda.blockIdx.y * cuda.blockDim.y + cuda.threadIdx.y) * TALL
    k = cuda.blockIdx.z * cuda.blockDim.x + cuda.threadIdx.x
    if k < columns and first < rows:
        total = cuda.local.array(TALL, a.dtype)
        for i in range(TALL):
            total[i] = bias[bias0 + plan[plan[BIAS_PLACE] + o] + k] if plan[BIAS_PLACE] else a.dtype.type(0)
        for e in range(plan[START + o], plan[START + o + 1]):
            at, to = a0 + plan[plan[A_PLACE] + e], b0 + plan[plan[B_PLACE] + e] + k
            for s in range(plan[INNER]):
                factor = b[to + s * plan[B_INNER]]
                for i in range(TALL):
                    # Rows behind the last are summed as the last, and not written.
                    total[i] += a[at + min(first + i, rows - 1) * plan[A_ROW] + s * plan[A_INNER]] * factor
        for i in range(TALL):
            if first + i < rows:
                y[(first + i) * plan[Y_ROW] + o * plan[Y_OUTPUT] + k] = total[i]


@functools.lru_cache(maxsize=64)
def _triples(window: Window, inside: tuple[int, ...], out: tuple[int, ...], regions: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(place, pixel, region and tap) of each tap that falls on the image."""
    place = pixel = tap = region = np.zeros(1, np.int64)
    lead = (1,) * (3 - window.rank)
    sizes = zip((*lead, *inside), (*lead, *out), (*lead, *window.size), (*lead, *regions), windows._pairs(window, inside, out), strict=True)
    for i_size, o_size, taps, many, (o, i, r) in sizes:
        place, pixel = np.add.outer(place * o_size, o).ravel(), np.add.outer(pixel * i_size, i).ravel()
        tap, region = np.add.outer(tap * taps, r).ravel(), np.add.outer(region * many, o * many // o_size).ravel()
    return place, pixel, region * math.prod(window.size) + tap


def _plan(head: Sequence[int], here: np.ndarray, a: np.ndarray, b: np.ndarray, outputs: int, bias: np.ndarray | None = None) -> Array:
    order = np.argsort(here, kind="stable")
    start = np.searchsorted(here[order], np.arange(outputs + 1))
    place = START + start.size
    parts = [start, a[order], b[order], *([] if bias is None else [bias])]
    return asarray(np.concatenate([head, [place, place + a.size, 0 if bias is None else place + 2 * a.size], *parts]).astype(np.int64))


Sizes = tuple[int, ...]


@functools.lru_cache(maxsize=64)
def _forward_plan(n: int, c: int, k: int, inside: Sizes, out: Sizes, regions: Sizes, window: Window, biased: bool) -> Array:
    place, pixel, tap = _triples(window, inside, out, regions)
    bias = np.zeros(1, np.int64)
    for o_size, many in zip(out, regions, strict=True):
        bias = np.add.outer(bias * many, np.arange(o_size) * many // o_size).ravel()
    head = n, k, c, math.prod(inside) * c, 1, k, math.prod(out) * k, k
    return _plan(head, place, pixel * c, tap * c * k, math.prod(out), bias * k if biased else None)


@functools.lru_cache(maxsize=64)
def _input_plan(n: int, c: int, k: int, inside: Sizes, out: Sizes, regions: Sizes, window: Window) -> Array:
    place, pixel, tap = _triples(window, inside, out, regions)
    head = n, c, k, math.prod(out) * k, 1, c, math.prod(inside) * c, c
    return _plan(head, pixel, place * k, tap * c * k, math.prod(inside))


@functools.lru_cache(maxsize=64)
def _weight_plan(n: int, c: int, k: int, inside: Sizes, out: Sizes, regions: Sizes, window: Window) -> Array:
    place, pixel, tap = _triples(window, inside, out, regions)
    head = c, k, n, 1, math.prod(inside) * c, math.prod(out) * k, k, c * k
    return _plan(head, tap, pixel * c, place * k, math.prod(regions) * math.prod(window.size))


def _run(a: Array, b: Array, bias: Array, y: Array, rows: int, columns: int, outputs: int, plan: Array) -> None:
    across = min(LANES, 1 << (columns - 1).bit_length())
    down = THREADS // across
    grid = outputs, -(-rows // (down * TALL)), -(-columns // across)
    _sums[y.dtype].blocks(grid, (across, down), a.flat, a.offset, b.flat, b.offset, bias.flat, bias.offset, y.flat, plan.flat)


def local_forward(x: Array, w: Array, bias: Array | None, window: Window) -> Array:
    """x [N, C, *in] with w [*regions, *window, C, K] and bias [*regions, K] -> y [N, K, *out], channels-last in memory."""
    rank = window.rank
    n, c, *inside = x.shape
    out, k = window.output_size(inside), w.shape[-1]
    y = empty((n, *(1,) * (3 - rank), *out, k), x.dtype)
    if y.size:
        plan = _forward_plan(n, c, k, tuple(inside), out, w.shape[:rank], window, bias is not None)
        x, w = channels_last(x), contiguous(w)
        _run(x, w, w if bias is None else contiguous(bias), y, n, k, math.prod(out), plan)
    return from_channels_last(y, rank)  # type: ignore[arg-type,return-value]


def local_input_grad(gy: Array, w: Array, input_size: Sequence[int], window: Window) -> Array:
    """gy [N, K, *out] with w [*regions, *window, C, K] -> gx [N, C, *input_size]: the adjoint of `local_forward`.

    Scratch: the weights once more, with C for columns.
    """
    rank, n = window.rank, gy.shape[0]
    c, k = w.shape[-2:]
    gx = empty((n, *(1,) * (3 - rank), *input_size, c), gy.dtype)
    if gx.size:
        plan = _input_plan(n, c, k, tuple(input_size), gy.shape[2:], w.shape[:rank], window)
        gy, w = channels_last(gy), contiguous(w.swapaxes(-1, -2))
        _run(gy, w, w, gx, n, c, math.prod(input_size), plan)
    return from_channels_last(gx, rank)  # type: ignore[arg-type,return-value]


def local_weight_grad(x: Array, gy: Array, regions: Sequence[int], window: Window) -> Array:
    """x [N, C, *in] and gy [N, K, *out] -> gw [*regions, *window, C, K], contiguous."""
    n, c, k = x.shape[0], x.shape[1], gy.shape[1]
    gw = empty((*regions, *window.size, c, k), x.dtype)
    if not n:
        e.fill(gw, 0)
    elif gw.size:
        plan = _weight_plan(n, c, k, x.shape[2:], gy.shape[2:], tuple(regions), window)
        x, gy = channels_last(x), channels_last(gy)
        _run(x, gy, gy, gw, c, k, math.prod(regions) * math.prod(window.size), plan)
    return gw
