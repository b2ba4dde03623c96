"""The windows of an image laid side by side (im2col), and their sum back into an image (col2im).

    unfold    y[n, c*taps + t, o]        =        x[n, c, o*stride + t*dilation - padding],  0 outside the image
    fold      x[n, c, i]                 = sum of y[n, c*taps + t, o] over all o, t with o*stride + t*dilation - padding = i

Each is the adjoint of the other.  Memory is [N, C, taps, *out]: a tap of a channel is one picture, made of whole rows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numba import prange

from ..geometry import Window
from ..layout import flat
from .copy import contiguous
from .runtime import inline, kernel

# Places in the plan that tells a kernel the sizes.
C = 0
INSIDE = 1  # 3 numbers: D, H, W
OUT = 4  # 3
SIZE = 7  # 3: taps
STEP = 10  # 3
SPREAD = 13  # 3: dilation
BEFORE = 16  # 3: padding
PITCH = 19  # 5: elements from one n, c, d, h, w of the image to the next


def unfold(x: np.ndarray, window: Window) -> np.ndarray:
    """x [N, C, *in] -> y [N, C * taps, places], contiguous: column o holds what the window sees at place o."""
    out = window.output_size(x.shape[2:])
    y = np.empty((x.shape[0], x.shape[1] * math.prod(window.size), math.prod(out)), x.dtype)
    if y.size:
        dense = flat(x) if x.flags.writeable and x.flags.aligned else None
        if dense is None:
            x = contiguous(x)
            dense = x.reshape(-1)
        _unfold(dense, _plan(x, out, window), y.reshape(-1))
    return y


def fold(y: np.ndarray, input_size: Sequence[int], window: Window) -> np.ndarray:
    """y [N, C * taps, places] -> x [N, C, *input_size], contiguous: the adjoint of `unfold`."""
    x = np.empty((y.shape[0], y.shape[1] // math.prod(window.size), *input_size), y.dtype)
    if x.size:
        _fold(contiguous(y).reshape(-1), _plan(x, window.output_size(input_size), window), x.reshape(-1))
    return x


def _plan(x: np.ndarray, out: tuple[int, ...], window: Window) -> np.ndarray:
    size, stride, padding, dilation = window.canonical
    one = (1,) * (3 - window.rank)
    pitch = [s // x.itemsize for s in x.strides]
    before = [p for p, _ in padding]
    return np.array(
        [x.shape[1], *one, *x.shape[2:], *one, *out, *size, *stride, *dilation, *before, *pitch[:2], *(0,) * (3 - window.rank), *pitch[2:]], np.int64
    )


@inline
def _inside(plan, axis, tap):
    """(first, end, at): the tap falls on the image for the places first to end of this axis; that of place 0 stands at `at`."""
    at, step = tap * plan[SPREAD + axis] - plan[BEFORE + axis], plan[STEP + axis]
    first = min(plan[OUT + axis], max(0, (-at + step - 1) // step))
    end = (plan[INSIDE + axis] - at + step - 1) // step
    return first, max(first, min(plan[OUT + axis], end)), at


@kernel
def _unfold(x, plan, y):
    """One picture of y, a tap of a channel, at a time."""
    O, P, Q = plan[OUT], plan[OUT + 1], plan[OUT + 2]
    R, S = plan[SIZE + 1], plan[SIZE + 2]
    taps = plan[SIZE] * R * S
    zero = x.dtype.type(0)
    for u in prange(y.size // (O * P * Q)):
        channel, tap = u // taps, u % taps
        o0, o1, d = _inside(plan, 0, tap // (R * S))
        p0, p1, h = _inside(plan, 1, tap // S % R)
        q0, q1, w = _inside(plan, 2, tap % S)
        image = channel // plan[C] * plan[PITCH] + channel % plan[C] * plan[PITCH + 1]
        step = plan[STEP + 2] * plan[PITCH + 4]
        for o in range(O):
            for p in range(P):
                row = y[((u * O + o) * P + p) * Q : ((u * O + o) * P + p + 1) * Q]
                if o < o0 or o >= o1 or p < p0 or p >= p1 or q0 == q1:
                    row[:] = zero
                    continue
                at = (
                    image
                    + (d + o * plan[STEP]) * plan[PITCH + 2]
                    + (h + p * plan[STEP + 1]) * plan[PITCH + 3]
                    + (w + q0 * plan[STEP + 2]) * plan[PITCH + 4]
                )
                row[:q0] = zero
                if step == 1:
                    row[q0:q1] = x[at : at + q1 - q0]
                else:
                    for q in range(q1 - q0):
                        row[q0 + q] = x[at + q * step]
                row[q1:] = zero


@kernel
def _fold(y, plan, x):
    """One channel of one image at a time: tap after tap, so that the sums have one order."""
    O, P, Q = plan[OUT], plan[OUT + 1], plan[OUT + 2]
    R, S = plan[SIZE + 1], plan[SIZE + 2]
    taps = plan[SIZE] * R * S
    H, W = plan[INSIDE + 1], plan[INSIDE + 2]
    size = plan[INSIDE] * H * W
    zero = x.dtype.type(0)
    for u in prange(x.size // size):
        image = x[u * size : (u + 1) * size]
        image[:] = zero
        for tap in range(taps):
            o0, o1, d = _inside(plan, 0, tap // (R * S))
            p0, p1, h = _inside(plan, 1, tap // S % R)
            q0, q1, w = _inside(plan, 2, tap % S)
            step = plan[STEP + 2]
            for o in range(o0, o1):
                for p in range(p0, p1):
                    at = ((u * taps + tap) * O + o) * P * Q + p * Q
                    to = ((d + o * plan[STEP]) * H + h + p * plan[STEP + 1]) * W + w + q0 * step
                    row = y[at + q0 : at + q1]
                    if step == 1:
                        place = image[to : to + q1 - q0]
                        for q in range(q1 - q0):
                            place[q] += row[q]
                    else:
                        for q in range(q1 - q0):
                            image[to + q * step] += row[q]
