"""Random numbers from a counter: each depends on (seed, offset, place) only, so threads and call order do not matter.

Philox4x32-10 of J. K. Salmon, M. A. Moraes, R. O. Dror and D. E. Shaw, "Parallel random numbers: as easy as 1, 2, 3" (SC 2011),
turns a counter of four 32-bit words and a key of two into four random words.  The seed is the key, the offset the upper half
of the counter: one offset for each call, and no two calls share a number.

Places are those of memory.  A block of 4096 words has the counters 1024 b ... 1024 b + 1023, and word j of counter k stands at
4096 b + 1024 j + (k mod 1024), so that a loop over counters writes each of the four words side by side.  A float64 takes two words.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numba import prange

from .. import layout
from . import mathfunctions as m
from .copy import contiguous
from .elementwise import in_order_of
from .runtime import inline, kernel

COUNTERS = 1024
WORDS = 4 * COUNTERS

_U = np.uint64
_LOW = _U(0xFFFFFFFF)


@inline
def _philox(bits, block, offset, seed):
    # Words live in the lower halves of 64-bit integers, which hold a product of two words whole.
    c2_start, c3_start = offset & _LOW, offset >> _U(32)
    for k in range(COUNTERS):
        counter = _U(block) * _U(COUNTERS) + _U(k)
        c0, c1, c2, c3 = counter & _LOW, counter >> _U(32), c2_start, c3_start
        key0, key1 = seed & _LOW, seed >> _U(32)
        for _ in range(10):
            a, b = c0 * _U(0xD2511F53), c2 * _U(0xCD9E8D57)
            c0, c1, c2, c3 = (b >> _U(32)) ^ c1 ^ key0, b & _LOW, (a >> _U(32)) ^ c3 ^ key1, a & _LOW
            key0, key1 = (key0 + _U(0x9E3779B9)) & _LOW, (key1 + _U(0xBB67AE85)) & _LOW
        bits[0, k], bits[1, k], bits[2, k], bits[3, k] = c0, c1, c2, c3


@kernel
def _bits(y, offset, seed):
    for block in prange((y.size + WORDS - 1) // WORDS):
        bits = np.empty((4, COUNTERS), np.uint32)
        _philox(bits, block, offset, seed)
        out = y[block * WORDS : (block + 1) * WORDS]
        words = bits.reshape(-1)
        for i in range(out.size):
            out[i] = words[i]


@kernel
def _uniform32(y, offset, seed):
    # The upper 24 bits: as many as a float32 holds.
    for block in prange((y.size + WORDS - 1) // WORDS):
        bits = np.empty((4, COUNTERS), np.uint32)
        _philox(bits, block, offset, seed)
        out = y[block * WORDS : (block + 1) * WORDS]
        words = bits.reshape(-1)
        for i in range(out.size):
            out[i] = np.float32(np.int32(words[i] >> 8)) * np.float32(2.0**-24)


@kernel
def _uniform64(y, offset, seed):
    # 53 bits: 27 of word 2 j and 26 of word 2 j + 1.
    half = WORDS // 2
    for block in prange((y.size + half - 1) // half):
        bits = np.empty((4, COUNTERS), np.uint32)
        _philox(bits, block, offset, seed)
        out = y[block * half : (block + 1) * half]
        for i in range(out.size):
            j, k = i // COUNTERS, i % COUNTERS
            out[i] = (np.float64(bits[2 * j, k] >> 5) * 67108864.0 + np.float64(bits[2 * j + 1, k] >> 6)) * 2.0**-53


@kernel
def _normal32(y, offset, seed):
    # Words 2 j and 2 j + 1 give the numbers at their places: G. E. P. Box and M. E. Muller, "A note on the generation of random
    # normal deviates", 1958.  The half added to a word keeps the logarithm finite.
    for block in prange((y.size + WORDS - 1) // WORDS):
        bits = np.empty((4, COUNTERS), np.uint32)
        normals = np.empty((4, COUNTERS), np.float32)
        _philox(bits, block, offset, seed)
        for j in range(0, 4, 2):
            for k in range(COUNTERS):
                u = np.float32(bits[j, k]) * np.float32(2.0**-32) + np.float32(2.0**-33)
                radius = np.float32(np.sqrt(np.float32(-2.0) * m.log(u)))
                cosine, sine = m.turn(np.float32(np.int32(bits[j + 1, k] >> 8)) * np.float32(2.0**-24))
                normals[j, k] = radius * cosine
                normals[j + 1, k] = radius * sine
        out = y[block * WORDS : (block + 1) * WORDS]
        flat = normals.reshape(-1)
        for i in range(out.size):
            out[i] = flat[i]


@kernel
def _normal64(y, offset, seed):
    half = WORDS // 2
    for block in prange((y.size + half - 1) // half):
        bits = np.empty((4, COUNTERS), np.uint32)
        _philox(bits, block, offset, seed)
        normals = np.empty((2, COUNTERS), np.float64)
        for k in range(COUNTERS):
            u = (np.float64(bits[0, k] >> 5) * 67108864.0 + np.float64(bits[1, k] >> 6) + 0.5) * 2.0**-53
            v = (np.float64(bits[2, k] >> 5) * 67108864.0 + np.float64(bits[3, k] >> 6)) * 2.0**-53
            radius = np.sqrt(-2.0 * m.log(u))
            cosine, sine = m.turn(v)
            normals[0, k] = radius * cosine
            normals[1, k] = radius * sine
        out = y[block * half : (block + 1) * half]
        flat = normals.reshape(-1)
        for i in range(out.size):
            out[i] = flat[i]


@kernel
def _dropout(x, y, threshold, scale, offset, seed):
    zero = x.dtype.type(0)
    for block in prange((x.size + WORDS - 1) // WORDS):
        bits = np.empty((4, COUNTERS), np.uint32)
        _philox(bits, block, offset, seed)
        part = x[block * WORDS : (block + 1) * WORDS]
        out = y[block * WORDS : (block + 1) * WORDS]
        words = bits.reshape(-1)
        for i in range(part.size):
            out[i] = part[i] * (scale if words[i] >= threshold else zero)


def random_bits(count: int, seed: int, offset: int) -> np.ndarray:
    """`count` random words (uint32): what all other numbers are made of."""
    y = np.empty(count, np.uint32)
    _bits(y, _U(offset), _U(seed))
    return y


def uniform(shape: Sequence[int], seed: int, offset: int, dtype: np.dtype) -> np.ndarray:
    """Numbers in [0, 1), all multiples of 2^-24 (float32) or 2^-53 (float64) equally likely; seed and offset are below 2^64."""
    y = np.empty(shape, dtype)
    (_uniform32 if y.itemsize == 4 else _uniform64)(y.reshape(-1), _U(offset), _U(seed))
    return y


def normal(shape: Sequence[int], seed: int, offset: int, dtype: np.dtype) -> np.ndarray:
    """Numbers from the normal distribution of mean 0 and variance 1; seed and offset are below 2^64."""
    y = np.empty(shape, dtype)
    (_normal32 if y.itemsize == 4 else _normal64)(y.reshape(-1), _U(offset), _U(seed))
    return y


def dropout(x: np.ndarray, p: float, seed: int, offset: int) -> np.ndarray:
    """x / (1 - p), but x * 0 with probability p for each element; with p = 1, for all.

    Nothing is kept for the backward pass: `dropout` of gy with the same p, seed and offset is the gradient.  So an element's place is
    not that in the memory of x, which gy need not share, but that in channels-last order for three axes and more, in C order otherwise.
    Other memory orders are copied there and back.
    """
    x = layout.normal(x)
    if p >= 1:
        with np.errstate(invalid="ignore"):
            return x * x.dtype.type(0)
    memory = contiguous(np.moveaxis(x, 1, -1) if x.ndim > 2 else x)
    y = np.empty_like(memory)
    number = x.dtype.type
    _dropout(memory.reshape(-1), y.reshape(-1), np.uint32(round(p * 2**32)), number(1 / (1 - p)), _U(offset), _U(seed))
    if x.ndim > 2:
        y = np.moveaxis(y, -1, 1)
    return y if layout.order_of(x) is None else in_order_of(y, x)
