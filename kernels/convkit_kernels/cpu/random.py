"""Random numbers from a counter: each depends on (seed, offset, place) only, so threads and call order do not matter.

Philox4x32-10 of J. K. Salmon, M. A. Moraes, R. O. Dror and D. E. Shaw, "Parallel random numbers: as easy as 1, 2, 3" (SC 2011),
turns a counter of four 32-bit words and a key of two into four random words.  The seed is the key, the offset the upper half
of the counter: one offset for each call, and no two calls share a number.

Places are those of memory.  A block of 4096 words has the counters 1024 b ... 1024 b + 1023, and word j of counter k stands at
4096 b + 1024 j + (k mod 1024), so that a loop over counters writes each of the four words side by side.  A float64 takes two words.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numba import types
from numba.extending import register_jitable

from .. import layout
from . import mathfunctions as m
from . import tasks
from .copy import contiguous
from .elementwise import in_order_of
from .microkernel import address
from .runtime import inline

COUNTERS = 1024
WORDS = 4 * COUNTERS

_U = np.uint64
_LOW = _U(0xFFFFFFFF)


_words = tasks.stack(WORDS, types.uint32)  # room for the words of a block, and for as many bytes of numbers made of them
_singles, _doubles = tasks.stack(WORDS, types.float32), tasks.stack(WORDS // 2, types.float64)


@register_jitable
def philox(counter, offset, seed):
    """The four words of a counter."""
    # Words live in the lower halves of 64-bit integers, which hold a product of two words whole.
    c0, c1, c2, c3 = counter & _LOW, counter >> _U(32), offset & _LOW, offset >> _U(32)
    key0, key1 = seed & _LOW, seed >> _U(32)
    for _ in range(10):
        a, b = c0 * _U(0xD2511F53), c2 * _U(0xCD9E8D57)
        c0, c1, c2, c3 = (b >> _U(32)) ^ c1 ^ key0, b & _LOW, (a >> _U(32)) ^ c3 ^ key1, a & _LOW
        key0, key1 = (key0 + _U(0x9E3779B9)) & _LOW, (key1 + _U(0xBB67AE85)) & _LOW
    return c0, c1, c2, c3


@inline
def _philox(bits, block, offset, seed):
    for k in range(COUNTERS):
        words = philox(_U(block) * _U(COUNTERS) + _U(k), offset, seed)
        bits[k], bits[COUNTERS + k], bits[2 * COUNTERS + k], bits[3 * COUNTERS + k] = words


# ------------------------------------------------------------------ tasks: a block each, plan = (size, offset, seed, threshold)
def _bits(task, plan, index, y, b, c, d, e, f, g):
    out = tasks.pointer(address(y), np.uint32)
    bits, start = _words(y), task * WORDS
    _philox(bits, task, _U(plan[1]), _U(plan[2]))
    for i in range(min(WORDS, plan[0] - start)):
        out[start + i] = bits[i]


def _uniform32(task, plan, index, y, b, c, d, e, f, g):
    # The upper 24 bits: as many as a float32 holds.
    bits, start = _words(y), task * WORDS
    _philox(bits, task, _U(plan[1]), _U(plan[2]))
    for i in range(min(WORDS, plan[0] - start)):
        y[start + i] = np.float32(np.int32(bits[i] >> 8)) * np.float32(2.0**-24)


def _uniform64(task, plan, index, y, b, c, d, e, f, g):
    # 53 bits: 27 of word 2 j and 26 of word 2 j + 1.
    bits, start = _words(y), task * (WORDS // 2)
    _philox(bits, task, _U(plan[1]), _U(plan[2]))
    for i in range(min(WORDS // 2, plan[0] - start)):
        k = i // COUNTERS * COUNTERS + i
        y[start + i] = (np.float64(bits[k] >> 5) * 67108864.0 + np.float64(bits[k + COUNTERS] >> 6)) * 2.0**-53


def _normal32(task, plan, index, y, b, c, d, e, f, g):
    # Words 2 j and 2 j + 1 give the numbers at their places: G. E. P. Box and M. E. Muller, "A note on the generation of random
    # normal deviates", 1958.  The half added to a word keeps the logarithm finite.
    bits, normals, start = _words(y), _singles(y), task * WORDS
    _philox(bits, task, _U(plan[1]), _U(plan[2]))
    for j in range(0, WORDS, 2 * COUNTERS):
        for k in range(j, j + COUNTERS):
            u = np.float32(bits[k]) * np.float32(2.0**-32) + np.float32(2.0**-33)
            radius = np.float32(np.sqrt(np.float32(-2.0) * m.log(u)))
            cosine, sine = m.turn(np.float32(np.int32(bits[k + COUNTERS] >> 8)) * np.float32(2.0**-24))
            normals[k] = radius * cosine
            normals[k + COUNTERS] = radius * sine
    for i in range(min(WORDS, plan[0] - start)):
        y[start + i] = normals[i]


def _normal64(task, plan, index, y, b, c, d, e, f, g):
    bits, normals, start = _words(y), _doubles(y), task * (WORDS // 2)
    _philox(bits, task, _U(plan[1]), _U(plan[2]))
    for k in range(COUNTERS):
        u = (np.float64(bits[k] >> 5) * 67108864.0 + np.float64(bits[k + COUNTERS] >> 6) + 0.5) * 2.0**-53
        v = (np.float64(bits[k + 2 * COUNTERS] >> 5) * 67108864.0 + np.float64(bits[k + 3 * COUNTERS] >> 6)) * 2.0**-53
        radius = np.sqrt(-2.0 * m.log(u))
        cosine, sine = m.turn(v)
        normals[k] = radius * cosine
        normals[k + COUNTERS] = radius * sine
    for i in range(min(WORDS // 2, plan[0] - start)):
        y[start + i] = normals[i]


def _dropout(task, plan, index, x, y, scale, d, e, f, g):
    bits, start, threshold = _words(y), task * WORDS, plan[3]
    kept, zero = scale[0], scale[0] - scale[0]
    _philox(bits, task, _U(plan[1]), _U(plan[2]))
    for i in range(min(WORDS, plan[0] - start)):
        y[start + i] = x[start + i] * (kept if bits[i] >= threshold else zero)


def _run(task: Callable, words: int, seed: int, offset: int, *lines: np.ndarray, threshold: int = 0) -> None:
    """The blocks of a task that takes so many words for a number."""
    size = lines[0].size
    plan = np.array([size, offset, seed, threshold], np.uint64).view(np.int64)
    tasks.run(tasks.compiled(task, lines[0].dtype.char), -(-size * words // WORDS), plan, plan, *lines)


def random_bits(count: int, seed: int, offset: int) -> np.ndarray:
    """`count` random words (uint32): what all other numbers are made of."""
    y = np.empty(count, np.uint32)
    _run(_bits, 1, seed, offset, y.view(np.float32))
    return y


def uniform(shape: Sequence[int], seed: int, offset: int, dtype: np.dtype) -> np.ndarray:
    """Numbers in [0, 1), all multiples of 2^-24 (float32) or 2^-53 (float64) equally likely; seed and offset are below 2^64."""
    y = np.empty(shape, dtype)
    _run(_uniform32 if y.itemsize == 4 else _uniform64, y.itemsize // 4, seed, offset, y.reshape(-1))
    return y


def normal(shape: Sequence[int], seed: int, offset: int, dtype: np.dtype) -> np.ndarray:
    """Numbers from the normal distribution of mean 0 and variance 1; seed and offset are below 2^64."""
    y = np.empty(shape, dtype)
    _run(_normal32 if y.itemsize == 4 else _normal64, y.itemsize // 4, seed, offset, y.reshape(-1))
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
    scale = np.array([1 / (1 - p)], x.dtype)
    _run(_dropout, 1, seed, offset, memory.reshape(-1), y.reshape(-1), scale, threshold=round(p * 2**32))
    if x.ndim > 2:
        y = np.moveaxis(y, -1, 1)
    return y if layout.order_of(x) is None else in_order_of(y, x)
