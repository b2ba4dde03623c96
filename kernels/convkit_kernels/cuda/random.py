"""Random numbers from a counter, the same as on the CPU: a thread makes the four words of a counter, by the CPU's own function.

What a draw has for its offset is the sum of a number and of one in device memory, for the sake of replays (`graph.py`).

Word j of counter k stands at 4096 b + 1024 j + (k mod 1024), b = k / 1024, so neighbouring threads write side by side; see `cpu/random.py`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..cpu import random as cpu
from ..layout import dense_order
from . import mathfunctions as m
from .copy import assign, contiguous
from .graph import counter
from .launch import Family, cuda, kernel
from .memory import Array, empty, empty_like

_COUNTERS = cpu.COUNTERS
_U = np.uint64
_words = m.row(cpu.philox)


@kernel("iFuuI", [np.float32])
def _uniform32(n, y, offset, seed, base):
    # The upper 24 bits of each word.
    offset += _U(base[0])
    for k in range(cuda.grid(1), _counters(n, 4), cuda.gridsize(1)):
        words = _words(_U(k), offset, seed)
        place = k // _COUNTERS * (4 * _COUNTERS) + k % _COUNTERS
        for word in words:
            if place < n:
                y[place] = np.float32(np.int32(word >> _U(8))) * np.float32(2.0**-24)
            place += _COUNTERS


@kernel("iDuuI", [np.float64])
def _uniform64(n, y, offset, seed, base):
    # 53 bits: 27 of one word and 26 of the next.
    offset += _U(base[0])
    for k in range(cuda.grid(1), _counters(n, 2), cuda.gridsize(1)):
        a, b, c, d = _words(_U(k), offset, seed)
        place = k // _COUNTERS * (2 * _COUNTERS) + k % _COUNTERS
        if place < n:
            y[place] = _of_two(a, b) * 2.0**-53
        if place + _COUNTERS < n:
            y[place + _COUNTERS] = _of_two(c, d) * 2.0**-53


@m.device
def _of_two(high, low):
    return np.float64(high >> _U(5)) * 67108864.0 + np.float64(low >> _U(6))


@kernel("iFuuI", [np.float32])
def _normal32(n, y, offset, seed, base):
    # Two words give the numbers at their places.
    offset += _U(base[0])
    for k in range(cuda.grid(1), _counters(n, 4), cuda.gridsize(1)):
        a, b, c, d = _words(_U(k), offset, seed)
        place = k // _COUNTERS * (4 * _COUNTERS) + k % _COUNTERS
        for high, low in ((a, b), (c, d)):
            if place < n:
                u = np.float32(np.uint32(high)) * np.float32(2.0**-32) + np.float32(2.0**-33)
                radius = m.sqrt(np.float32(-2.0) * m.log(u))
                cosine, sine = m.turn(np.float32(np.int32(low >> _U(8))) * np.float32(2.0**-24))
                y[place] = radius * cosine
                if place + _COUNTERS < n:
                    y[place + _COUNTERS] = radius * sine
            place += 2 * _COUNTERS


@kernel("iDuuI", [np.float64])
def _normal64(n, y, offset, seed, base):
    offset += _U(base[0])
    for k in range(cuda.grid(1), _counters(n, 2), cuda.gridsize(1)):
        a, b, c, d = _words(_U(k), offset, seed)
        place = k // _COUNTERS * (2 * _COUNTERS) + k % _COUNTERS
        radius = m.sqrt(-2.0 * m.log((_of_two(a, b) + 0.5) * 2.0**-53))
        cosine, sine = m.turn(_of_two(c, d) * 2.0**-53)
        if place < n:
            y[place] = radius * cosine
        if place + _COUNTERS < n:
            y[place + _COUNTERS] = radius * sine


@kernel("iTiTituuuI")
def _dropout(n, x, x0, y, y0, kept, threshold, offset, seed, base):
    offset += _U(base[0])
    zero = kept - kept
    for k in range(cuda.grid(1), _counters(n, 4), cuda.gridsize(1)):
        words = _words(_U(k), offset, seed)
        place = k // _COUNTERS * (4 * _COUNTERS) + k % _COUNTERS
        for word in words:
            if place < n:
                y[y0 + place] = x[x0 + place] * (kept if word >= threshold else zero)
            place += _COUNTERS


@m.device
def _counters(n, each):
    """How many counters n numbers take, `each` of them a counter: all of a block but in the last one, where some of them are used in part."""
    block = each * _COUNTERS
    return n // block * _COUNTERS + min(n % block, _COUNTERS)


def _drawn(kernels: tuple[Family, Family], shape: Sequence[int], seed: int, offset: int, dtype: np.dtype) -> Array:
    y = empty(shape, dtype)
    each = 16 // y.itemsize
    run = kernels[each == 2][y.dtype]
    offset, base = counter(seed, offset)
    run(_counters(y.size, each), y.size, y.flat, _U(offset), _U(seed), base.flat)
    return y


def uniform(shape: Sequence[int], seed: int, offset: int, dtype: np.dtype) -> Array:
    """Numbers in [0, 1), all multiples of 2^-24 (float32) or 2^-53 (float64) equally likely; seed and offset are below 2^64."""
    return _drawn((_uniform32, _uniform64), shape, seed, offset, dtype)


def normal(shape: Sequence[int], seed: int, offset: int, dtype: np.dtype) -> Array:
    """Numbers from the normal distribution of mean 0 and variance 1; seed and offset are below 2^64."""
    return _drawn((_normal32, _normal64), shape, seed, offset, dtype)


def dropout(x: Array, p: float, seed: int, offset: int) -> Array:
    """x / (1 - p), but x * 0 with probability p for each element; with p = 1, for all.

    Nothing is kept for the backward pass: `dropout` of gy with the same p, seed and offset is the gradient.  An element's place is that in
    channels-last order for three axes and more, in C order otherwise, as on the CPU.
    """
    if p >= 1:
        return x * x.dtype.type(0)
    last = (0, *range(2, x.ndim), 1) if x.ndim > 2 else tuple(range(x.ndim))
    memory = contiguous(x.transpose(last))
    y = empty_like(memory)
    offset, base = counter(seed, offset)
    numbers = 1 / (1 - p), round(p * 2**32), _U(offset), _U(seed)
    _dropout[x.dtype](_counters(x.size, 4), x.size, memory.flat, memory.offset, y.flat, y.offset, *numbers, base.flat)
    if x.ndim > 2:
        y = y.transpose((0, x.ndim - 1, *range(1, x.ndim - 1)))
    return y if dense_order(x.shape, x.strides, x.itemsize) is None or y.strides == x.strides else assign(empty_like(x), y)
