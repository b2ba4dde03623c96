"""The windows of an image laid side by side (im2col), and their sum back into an image (col2im), with the names of `cpu/unfold.py`.

    unfold    y[n, c*taps + t, o]        =        x[n, c, o*stride + t*dilation - padding],  0 outside the image
    fold      x[n, c, i]                 = sum of y[n, c*taps + t, o] over all o, t with o*stride + t*dilation - padding = i

A thread of `unfold` writes the taps of one place, and neighbouring threads those of neighbouring places; `fold` gathers by the lists of `windows.py`.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import numpy as np

from ..cpu import pool as cpu
from ..geometry import Window
from . import windows
from .copy import contiguous
from .launch import cuda, kernel
from .memory import Array, asarray, empty

# Places in the plan that tells a kernel the sizes; 3 numbers each.
INSIDE, OUT, SIZE, STEP, SPREAD, BEFORE = range(0, 18, 3)


@functools.lru_cache(maxsize=256)
def _plan(inside: tuple[int, ...], out: tuple[int, ...], window: Window) -> Array:
    size, stride, padding, dilation = window.canonical
    one = (1,) * (3 - window.rank)
    return asarray(np.array([*one, *inside, *one, *out, *size, *stride, *dilation, *(p for p, _ in padding)], np.int64))


@kernel("iTiTI")
def _unfold(images, x, x0, y, plan):
    D, H, W = plan[INSIDE], plan[INSIDE + 1], plan[INSIDE + 2]
    P, Q = plan[OUT + 1], plan[OUT + 2]
    R, S = plan[SIZE + 1], plan[SIZE + 2]
    places, taps = plan[OUT] * P * Q, plan[SIZE] * R * S
    zero = x.dtype.type(0)
    for image in range(cuda.blockIdx.x * cuda.blockDim.y + cuda.threadIdx.y, images, cuda.gridDim.x * cuda.blockDim.y):
        base = x0 + image * D * H * W
        for place in range(cuda.blockIdx.y * cuda.blockDim.x + cuda.threadIdx.x, places, cuda.gridDim.y * cuda.blockDim.x):
            row = place // Q
            d0 = row // P * plan[STEP] - plan[BEFORE]
            h0 = row % P * plan[STEP + 1] - plan[BEFORE + 1]
            w0 = place % Q * plan[STEP + 2] - plan[BEFORE + 2]
            to = image * taps * places + place
            for i in range(plan[SIZE]):
                d = d0 + i * plan[SPREAD]
                for j in range(R):
                    h = h0 + j * plan[SPREAD + 1]
                    line = base + (d * H + h) * W
                    inside = 0 <= d and d < D and 0 <= h and h < H
                    for k in range(S):
                        w = w0 + k * plan[SPREAD + 2]
                        y[to] = x[line + w] if inside and 0 <= w and w < W else zero
                        to += places


def unfold(x: Array, window: Window) -> Array:
    """x [N, C, *in] -> y [N, C * taps, places], contiguous: column o holds what the window sees at place o."""
    out = window.output_size(x.shape[2:])
    batch, channels, *inside = x.shape
    y = empty((batch, channels * math.prod(window.size), math.prod(out)), x.dtype)
    if y.size:
        x = contiguous(x)
        windows.run(_unfold[x.dtype], batch * channels, (1, math.prod(out)), x.flat, x.offset, y.flat, _plan(tuple(inside), out, window).flat)
    return y


@functools.lru_cache(maxsize=256)
def _fold_plan(window: Window, input_size: tuple[int, ...], output_size: tuple[int, ...]) -> Array:
    """For the rows and columns of an image: the taps and places of y that fall there."""
    start, seen = cpu._rows(window, input_size, output_size, True)
    o, i, tap = cpu._pairs(window, input_size, output_size)[2]
    first, column = cpu._table(i, o, tap, input_size[-1])
    places, taps = math.prod(output_size), math.prod(window.size)
    nothing = np.zeros(0, np.int64)
    rows = start, seen[:, 0] * output_size[-1] + seen[:, 1] * places, nothing
    columns = first, column[:, 0] + column[:, 1] * places, nothing
    return windows.plan_of(rows, columns, 1, 1, taps * places)


def fold(y: Array, input_size: Sequence[int], window: Window) -> Array:
    """y [N, C * taps, places] -> x [N, C, *input_size], contiguous: the adjoint of `unfold`."""
    size = tuple(input_size)
    x = empty((y.shape[0], y.shape[1] // math.prod(window.size), *size), y.dtype)
    if x.size:
        plan = _fold_plan(window, size, window.output_size(size))
        windows.sums(contiguous(y), x, x.shape[0] * x.shape[1], (math.prod(size[:-1]), size[-1]), 1, plan)
    return x
