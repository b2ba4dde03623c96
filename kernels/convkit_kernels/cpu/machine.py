"""What this machine can do, measured: multiply-adds that stay in registers, and bytes that a copy moves."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from numba import prange

from .microkernel import address, call_code, copy_bytes, isa, tile_for, tile_kernel
from .runtime import get_num_threads, kernel

PIECES = 64  # of the memory that is copied


def peak_gflops(dtype: str = "float32", seconds: float = 0.2) -> float:
    """10^9 operations a second, two for each multiply-add, on the threads in use: of register tiles whose operands stay in the first-level cache."""
    kind = np.dtype(dtype)
    tile, run, repeats, threads = tile_for(14, 1024, kind), 1024, 400, get_num_threads()
    x, w = np.ones(tile.rows * 64, kind), np.ones(64 * tile.columns, kind)
    y = np.zeros((threads, tile.rows * tile.columns), kind)
    taps = np.zeros(run // 64, np.int64)  # the taps read the same operands again
    code = tile_kernel(tile, tile.rows, kind)
    best = best_seconds(lambda: _multiply(code, x, w, y, np.zeros(tile.columns, kind), taps, tile.columns, repeats), seconds)
    return 2.0 * threads * repeats * run * tile.rows * tile.columns / best / 1e9


def copy_gbytes(seconds: float = 0.2, size: int = 1 << 26) -> float:
    """10^9 bytes a second that copying moves, read and written, for `size` bytes (more than caches hold), on the threads in use."""
    x, y = np.ones(size, np.uint8), np.empty(size, np.uint8)
    return 2.0 * size / best_seconds(lambda: _copy(x, y), seconds) / 1e9


def seconds_of(cost: float, gflops: float, dtype: str = "float32") -> float:
    """What a cost of `choice.py`, in vector instructions of one thread, comes to on the threads that reach `gflops` together."""
    return cost * 2 * (isa().bytes // np.dtype(dtype).itemsize) / (gflops * 1e9)


def best_seconds(call: Callable[[], object], seconds: float) -> float:
    """The fastest of the calls that fit into `seconds`: a shared machine adds time, never removes it."""
    call()
    best, stop = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < stop:
        start = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - start)
    return best


@kernel
def _multiply(code, x, w, y, start, taps, columns, repeats):
    """One thread for each row of y runs the tile again and again."""
    size = x.itemsize
    for thread in prange(y.shape[0]):
        to = address(y) + size * thread * y.shape[1]
        for _ in range(repeats):
            call_code(code, (address(x), address(taps), 64, 1, address(w), address(taps), columns, taps.size, 64,
                             address(start), 0, to, columns, columns))  # fmt: skip


@kernel
def _copy(x, y):
    """y = x, in pieces."""
    for piece in prange(PIECES):
        first, end = piece * x.size // PIECES, (piece + 1) * x.size // PIECES
        copy_bytes(address(y) + first, address(x) + first, end - first)
