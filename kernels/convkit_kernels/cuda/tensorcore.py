"""Products of tiles by tensor cores: `mma.sync`, with which 32 threads multiply 16x8 by 8x8 numbers at once.

Tensor cores multiply float32 numbers that are rounded to TF32, 10 bits behind the point.  What a product then is, `precision` chooses:

    "ieee"      no tensor cores: float32 as it is (the default)
    "tf32x3"    x = big + small, each a TF32 number: x w = small_x big_w + big_x small_w + big_x big_w, as exact as float32 (relative error by norm
                below 2e-6); infinity becomes NaN
    "tf32"      x w = big_x big_w: relative error 1e-3

Tensor cores cut off where float32 units round, so that long sums would drift: sums of one tile's steps are added to the total by float32 units.
Who holds what of the 16x8 results, and of both operands, is laid down in "PTX ISA", section mma.m16n8k8: thread 4 g + q has rows g and g + 8 of
the left operand, column g of the right, at steps q and q + 4; and columns 2 q and 2 q + 1 of the result.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from . import driver
from . import mathfunctions as m
from .vectors import load, mma, split

PRECISIONS = {"ieee": 0, "tf32x3": 3, "tf32": 1}  # products of TF32 numbers for one of float32
CAPABILITY = (8, 0)  # of GPUs with TF32
_precision = "ieee"


def set_precision(name: str) -> None:
    """Choose how float32 products are taken from now on; ValueError for an unknown name."""
    global _precision
    if name not in PRECISIONS:
        raise ValueError(f"cuda: the precision of float32 products is one of {', '.join(PRECISIONS)}, got {name!r}")
    _precision = name


def precision() -> str:
    """How float32 products are taken."""
    return _precision


def terms() -> int:
    """Products of TF32 numbers for one of float32; 0 without tensor cores, or on a GPU that has none for TF32."""
    return PRECISIONS[_precision] if _precision == "ieee" or driver.capability() >= CAPABILITY else 0


def products(
    ROWS: int, COLS: int, DEPTH: int, THREADS: int, LINE_X: int, LINE_W: int, MIX_X: int, MIX_W: int, LINE_Y: int, TERMS: int, mixed: Callable
) -> tuple[Any, Any, int, int]:
    """(multiply, lay, results of a thread / 4, numbers of w it holds) for a tile: `multiply` adds a tile's products, `lay` writes the results to
    shared memory as rows.

    Results are total[i * NJ + j, 0..3] for blocks of 16x8, DOWN x NJ of them for each 32 threads.
    """
    WARPS = THREADS // 32
    ACROSS = 2 if WARPS > 1 else 1  # groups of 32 threads beside each other
    DOWN, NJ = ROWS // (WARPS // ACROSS) // 16, COLS // ACROSS // 8
    PAIRS = 2 * NJ

    @m.device
    def multiply(total, room, x, w, t, row, column, chunk, unused, bits):
        g, q = t % 32 // 4, t % 4
        row, column = t // 32 // ACROSS * (16 * DOWN) + g, t // 32 % ACROSS * (8 * NJ) + g
        big, small = bits[0], bits[1]
        for i in range(4 * DOWN * NJ):
            chunk[i] = total.dtype.type(0)
        for s in range(0, DEPTH, 8):
            for j in range(NJ):
                big[2 * j], small[2 * j] = split(load(room, w + (s + q) * LINE_W + ((column + 8 * j) ^ mixed(s, MIX_W))))
                big[2 * j + 1], small[2 * j + 1] = split(load(room, w + (s + 4 + q) * LINE_W + ((column + 8 * j) ^ mixed(s + 4, MIX_W))))
            for i in range(DOWN):
                b0, s0 = split(load(room, x + (s + q) * LINE_X + ((row + 16 * i) ^ mixed(s, MIX_X))))
                b1, s1 = split(load(room, x + (s + q) * LINE_X + ((row + 16 * i + 8) ^ mixed(s, MIX_X))))
                b2, s2 = split(load(room, x + (s + 4 + q) * LINE_X + ((row + 16 * i) ^ mixed(s + 4, MIX_X))))
                b3, s3 = split(load(room, x + (s + 4 + q) * LINE_X + ((row + 16 * i + 8) ^ mixed(s + 4, MIX_X))))
                for j in range(NJ):
                    o = 4 * (i * NJ + j)
                    c0, c1, c2, c3 = chunk[o], chunk[o + 1], chunk[o + 2], chunk[o + 3]
                    if TERMS == 3:
                        c0, c1, c2, c3 = mma(s0, s1, s2, s3, big[2 * j], big[2 * j + 1], c0, c1, c2, c3)
                        c0, c1, c2, c3 = mma(b0, b1, b2, b3, small[2 * j], small[2 * j + 1], c0, c1, c2, c3)
                    chunk[o], chunk[o + 1], chunk[o + 2], chunk[o + 3] = mma(b0, b1, b2, b3, big[2 * j], big[2 * j + 1], c0, c1, c2, c3)
        for i in range(DOWN * NJ):
            for u in range(4):
                total[i, u] += chunk[4 * i + u]

    @m.device
    def lay(total, room, t):
        row, column = t // 32 // ACROSS * (16 * DOWN) + t % 32 // 4, t // 32 % ACROSS * (8 * NJ) + t % 4 * 2
        for i in range(DOWN):
            for j in range(NJ):
                place = (row + 16 * i) * LINE_Y + column + 8 * j
                room[place], room[place + 1] = total[i * NJ + j, 0], total[i * NJ + j, 1]
                room[place + 8 * LINE_Y], room[place + 8 * LINE_Y + 1] = total[i * NJ + j, 2], total[i * NJ + j, 3]

    return multiply, lay, DOWN * NJ, PAIRS
