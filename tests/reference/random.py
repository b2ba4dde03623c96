"""Philox4x32-10 with Python's integers, and what is made of its words."""

import math

import numpy as np

MASK = 2**32 - 1


def philox(counter, key):
    """Four words from a counter of four and a key of two (Salmon, Moraes, Dror and Shaw, 2011)."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(10):
        a, b = c0 * 0xD2511F53, c2 * 0xCD9E8D57
        c0, c1, c2, c3 = (b >> 32) ^ c1 ^ k0, b & MASK, (a >> 32) ^ c3 ^ k1, a & MASK
        k0, k1 = (k0 + 0x9E3779B9) & MASK, (k1 + 0xBB67AE85) & MASK
    return c0, c1, c2, c3


def _words(counter, seed, offset):
    return philox((counter & MASK, counter >> 32, offset & MASK, offset >> 32), (seed & MASK, seed >> 32))


def random_bits(count, seed, offset):
    words = []
    for place in range(count):
        block, inside = divmod(place, 4096)
        words.append(_words(1024 * block + inside % 1024, seed, offset)[inside // 1024])
    return np.array(words, np.uint32)


def _pairs(count, seed, offset):
    """53-bit integers from two words each, for float64: place -> (words 0 and 1, or 2 and 3)."""
    numbers = []
    for place in range(count):
        block, inside = divmod(place, 2048)
        words = _words(1024 * block + inside % 1024, seed, offset)
        pair = inside // 1024
        numbers.append((words[2 * pair] >> 5) * 2**26 + (words[2 * pair + 1] >> 6))
    return numbers


def uniform(shape, seed, offset, dtype):
    count = math.prod(shape)
    if np.dtype(dtype) == np.float32:
        values = [(int(word) >> 8) / 2**24 for word in random_bits(count, seed, offset)]
    else:
        values = [number / 2**53 for number in _pairs(count, seed, offset)]
    return np.array(values, dtype).reshape(shape)


def normal(shape, seed, offset, dtype):
    values = []
    for place in range(math.prod(shape)):
        if np.dtype(dtype) == np.float32:
            block, inside = divmod(place, 4096)
            words = _words(1024 * block + inside % 1024, seed, offset)
            pair = inside // 2048
            u, v = (words[2 * pair] + 0.5) / 2**32, (words[2 * pair + 1] >> 8) / 2**24
            second = inside // 1024 % 2 == 1
        else:
            block, inside = divmod(place, 2048)
            words = _words(1024 * block + inside % 1024, seed, offset)
            u = ((words[0] >> 5) * 2**26 + (words[1] >> 6) + 0.5) / 2**53
            v = ((words[2] >> 5) * 2**26 + (words[3] >> 6)) / 2**53
            second = inside // 1024 == 1
        radius = math.sqrt(-2 * math.log(u))
        values.append(radius * (math.sin if second else math.cos)(2 * math.pi * v))
    return np.array(values, np.float64).reshape(shape)


def dropout(x, p, seed, offset):
    moved = np.moveaxis(x, 1, -1) if x.ndim > 2 else x
    keep = np.array([int(word) >= round(p * 2**32) for word in random_bits(x.size, seed, offset)], bool).reshape(moved.shape)
    y = np.zeros(moved.shape)
    for place in np.ndindex(*moved.shape):
        y[place] = float(moved[place]) * (1 / (1 - p) if keep[place] else 0.0)
    return np.moveaxis(y, -1, 1) if x.ndim > 2 else y
