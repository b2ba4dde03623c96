"""What this GPU can do, measured: multiply-adds that stay in registers, and bytes that a copy moves; as `cpu/machine.py`."""

from __future__ import annotations

import numpy as np

from ..cpu.machine import best_seconds
from . import driver
from . import mathfunctions as m
from .copy import assign
from .launch import BLOCKS, THREADS, cuda, kernel
from .memory import empty

CHAINS = 8  # multiply-adds of a thread that do not wait for each other
REPEATS = 2 if driver.is_simulated() else 4096


@kernel("iiTtt")
def _multiply(n, repeats, y, factor, term):
    # Sequences a = factor a + term, each in a register.
    for i in range(cuda.grid(1), n, cuda.gridsize(1)):
        a = y[i]
        b, c, d = a + term, a - term, -a
        e, f, g, h = term - a, a * term, a * factor, factor - a  # no two are the same, or they would be one
        for _ in range(repeats):
            a, b, c, d = m.fma(a, factor, term), m.fma(b, factor, term), m.fma(c, factor, term), m.fma(d, factor, term)
            e, f, g, h = m.fma(e, factor, term), m.fma(f, factor, term), m.fma(g, factor, term), m.fma(h, factor, term)
        y[i] = a + b + c + d + (e + f + g + h)


def peak_gflops(dtype: str = "float32", seconds: float = 0.2) -> float:
    """10^9 operations a second, two for each multiply-add, of numbers that stay in registers; tensor cores, which do more, are not asked."""
    n = BLOCKS * THREADS
    y = empty((n,), dtype)
    y.fill(1)

    def call() -> None:
        _multiply[y.dtype](n, n, REPEATS, y.flat, 0.5, 0.5)
        driver.synchronize()

    return 2.0 * n * CHAINS * REPEATS / best_seconds(call, seconds) / 1e9


def copy_gbytes(seconds: float = 0.2, size: int | None = None) -> float:
    """10^9 bytes a second that copying moves, read and written, for `size` bytes: by default more than caches hold."""
    size = (1 << 8 if driver.is_simulated() else 1 << 30) if size is None else size
    x, y = (empty((size // 4,), np.float32) for _ in range(2))
    x.fill(0)

    def call() -> None:
        assign(y, x)
        driver.synchronize()

    return 2.0 * size / best_seconds(call, seconds) / 1e9
