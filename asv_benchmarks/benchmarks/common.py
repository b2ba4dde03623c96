"""What the benchmarks share: the tables of shapes, random arrays in channels-last memory, and the machine's measured peak."""

from __future__ import annotations

import functools
import os
import pathlib
import sys
from collections.abc import Callable, Iterable

import numpy as np

from convkit_kernels import geometry
from convkit_kernels.cpu import machine, runtime

sys.path.append(str(pathlib.Path(__file__).parents[1]))  # asv shows its processes this package alone
import versus

# CONVKIT_BENCH_QUICK=1 takes two shapes and float32 of everything: enough to see that each benchmark runs (quick.py).
QUICK = bool(os.environ.get("CONVKIT_BENCH_QUICK"))
DTYPES = ["float32"] if QUICK else ["float32", "float64"]
SECONDS = 0.02 if QUICK else 0.4  # to look for the fastest call
THREADS = [1, runtime.get_num_threads()] if runtime.get_num_threads() > 1 and not QUICK else [1]


def some(table: Iterable[str]) -> list[str]:
    """The names of a table of cases: all, or two for a quick pass."""
    return list(table)[:2] if QUICK else list(table)


# name: (N, C, H, W, K, window, stride, padding, dilation, groups)
CONVS = {name.removeprefix("conv-"): row for name, row in versus.CONVS.items()}
# The same layer on ever more pixels, of one image or of many.
GROWING = {f"{n}x{h}x{h}": (n, 16, h, h, 16, 3, 1, 1, 1, 1) for n, h in ((1, 256), (16, 256), (1, 1024), (1, 2048))}
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
    """Arrays of one row of CONVS or GROWING."""

    def __init__(self, name: str, dtype: str):
        n, c, h, w, k, r, stride, padding, dilation, groups = (CONVS | GROWING)[name]
        self.window = geometry.window("conv2d", (r, r), stride, padding, dilation, groups)
        self.x, self.w, self.b = random((n, c, h, w), dtype), random((k, c // groups, r, r), dtype, 1), random((k,), dtype, 2)
        self.gy = random((n, k, *self.window.output_size((h, w))), dtype, 3)
        self.flop = 2 * self.gy.size * (c // groups) * r * r


@functools.cache
def peak_gflops(dtype: str, threads: int) -> float:
    """What this machine computes now on `threads` threads."""
    runtime.set_num_threads(threads)
    return machine.peak_gflops(dtype, SECONDS)


@functools.cache
def copy_gbytes(threads: int) -> float:
    """What this machine copies now on `threads` threads."""
    runtime.set_num_threads(threads)
    return machine.copy_gbytes(SECONDS)


class _Peak:
    """GFLOP/s of one call, and its share of the peak measured in the same run: `prepare(*params)` returns the call and its operations.

    The last parameters are a dtype and a number of threads.
    """

    def setup(self, *params: object) -> None:
        runtime.set_num_threads(params[-1])
        self.call, self.flop = self.prepare(*params)

    def prepare(self, *params: object) -> tuple[Callable[[], object], float]:
        raise NotImplementedError

    def track_gflops(self, *params: object) -> float:
        return self.flop / machine.best_seconds(self.call, SECONDS) / 1e9

    def track_percent_of_peak(self, *params: object) -> float:
        return 100 * self.track_gflops(*params) / peak_gflops(*params[-2:])

    track_gflops.unit, track_percent_of_peak.unit = "GFLOP/s", "%"


class _Kernel:
    """A benchmark of one call, which `prepare(*params)` returns: asv's samples are the mean of as many warm calls as take a hundredth of a second."""

    call: Callable[[], object] | None = None

    def setup(self, *params: object) -> None:
        if self.call is None:  # asv asks for a setup before each call that it times, and reads `number` after it
            self.call = self.prepare(*params)
            self.number = max(1, int(0.01 / machine.best_seconds(self.call, 0.01)))

    def prepare(self, *params: object) -> Callable[[], object]:
        raise NotImplementedError

    def time_call(self, *params: object) -> None:
        self.call()
