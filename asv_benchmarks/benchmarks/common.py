"""What the benchmarks share: the table of shapes, random arrays in channels-last memory, and the machine's measured peak."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterable

import numpy as np

from convkit_kernels import geometry
from convkit_kernels.cpu import machine, runtime

# CONVKIT_BENCH_QUICK=1 takes two shapes and float32 of everything: enough to see that each benchmark runs (quick.py).
QUICK = bool(os.environ.get("CONVKIT_BENCH_QUICK"))
DTYPES = ["float32"] if QUICK else ["float32", "float64"]
THREADS = [1, runtime.get_num_threads()] if runtime.get_num_threads() > 1 and not QUICK else [1]


def some(table: Iterable[str]) -> list[str]:
    """The names of a table of cases: all, or two for a quick pass."""
    return list(table)[:2] if QUICK else list(table)


# name: (N, C, H, W, K, window, stride, padding, dilation, groups)
CONVS = {
    "stem-mnist": (64, 1, 28, 28, 32, 3, 1, 0, 1, 1),
    "lenet2": (64, 6, 14, 14, 16, 5, 1, 0, 1, 1),
    "3x3-16": (128, 16, 32, 32, 16, 3, 1, 1, 1, 1),
    "3x3-64": (64, 64, 16, 16, 64, 3, 1, 1, 1, 1),
    "3x3-128": (8, 128, 28, 28, 128, 3, 1, 1, 1, 1),
    "3x3-256": (8, 256, 14, 14, 256, 3, 1, 1, 1, 1),
    "7x7-stem": (8, 3, 224, 224, 64, 7, 2, 3, 1, 1),
    "1x1-256": (8, 256, 28, 28, 64, 1, 1, 0, 1, 1),
    "3x3-s2": (8, 64, 56, 56, 128, 3, 2, 1, 1, 1),
    "3x3-d2": (8, 64, 56, 56, 64, 3, 1, 2, 2, 1),
    "depthwise": (32, 64, 56, 56, 64, 3, 1, 1, 1, 64),
    "groups4": (16, 64, 28, 28, 64, 3, 1, 1, 1, 4),
}
# name: (N, C, H, W)
ACTIVATIONS = {"lenet1": (64, 6, 28, 28), "keras1": (128, 32, 26, 26), "resnet1": (128, 16, 32, 32), "resnet3": (128, 64, 8, 8)}


def random(shape: tuple[int, ...], dtype: str = "float32", seed: int = 0) -> np.ndarray:
    """Normal numbers; 4-D shapes [N, C, H, W] lie in memory channels-last, as activations do."""
    rng = np.random.default_rng(seed)
    if len(shape) != 4:
        return rng.standard_normal(shape).astype(dtype)
    n, c, h, w = shape
    return rng.standard_normal((n, h, w, c)).astype(dtype).transpose(0, 3, 1, 2)


class ConvCase:
    """Arrays of one row of CONVS."""

    def __init__(self, name: str, dtype: str):
        n, c, h, w, k, r, stride, padding, dilation, groups = CONVS[name]
        self.window = geometry.window("conv2d", (r, r), stride, padding, dilation, groups)
        self.x, self.w, self.b = random((n, c, h, w), dtype), random((k, c // groups, r, r), dtype, 1), random((k,), dtype, 2)
        self.gy = random((n, k, *self.window.output_size((h, w))), dtype, 3)
        self.flop = 2 * self.gy.size * (c // groups) * r * r


@functools.cache
def peak_gflops(dtype: str, threads: int) -> float:
    """What this machine reaches now on `threads` threads."""
    before = runtime.get_num_threads()
    runtime.set_num_threads(threads)
    try:
        return machine.peak_gflops(dtype, 0.4)
    finally:
        runtime.set_num_threads(before)


class _Kernel:
    """A benchmark of one call: `prepare(*params)` returns it; it is warmed up before it is timed."""

    def setup(self, *params: object) -> None:
        self.call = self.prepare(*params)
        self.call()

    def prepare(self, *params: object) -> Callable[[], object]:
        raise NotImplementedError

    def time_call(self, *params: object) -> None:
        self.call()
