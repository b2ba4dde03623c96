"""Kernels that the memory bounds: the bytes that they read and write a second, beside those of a copy in the same run."""

import numpy as np

from convkit_kernels import cpu, geometry
from convkit_kernels.cpu import machine, runtime

from .common import DTYPES, SECONDS, THREADS, copy_gbytes, random, some

SHAPE = (32, 64, 56, 56)  # more than caches hold
HALVES = geometry.window("pool", (2, 2), 2)
DEPTHWISE = geometry.window("conv2d", (3, 3), 1, 1, 1, SHAPE[1])


def norm(x, gy):
    """A batch norm's second pass: its first is `norm_stats`."""
    mean, var = cpu.norm_stats(x, x.shape[1], True)
    inv_std, weight = (1 / np.sqrt(var + 1e-5)).astype(x.dtype), np.ones(x.shape[1], x.dtype)
    return lambda: cpu.norm(x, mean, inv_std, weight, weight), [x]


def norm_grad(x, gy):
    mean, var = cpu.norm_stats(x, x.shape[1], True)
    inv_std, weight = (1 / np.sqrt(var + 1e-5)).astype(x.dtype), np.ones(x.shape[1], x.dtype)
    return lambda: cpu.norm_grad(gy, x, mean, inv_std, weight, None, True, False), [gy, x]


def depthwise(x, gy):
    w = random((SHAPE[1], 1, 3, 3), x.dtype)
    return lambda: cpu.conv_forward(x, w, None, DEPTHWISE), [x]


def sgd(x, gy):
    p, g, momentum = x.reshape(-1), gy.reshape(-1), np.zeros(x.size, x.dtype)
    return lambda: cpu.optimizer_step("sgd", [p], [g], [(momentum, None, None)], (1, 0, 0.0, 0.9, 1, 0)), [p, p, g, momentum, momentum]


# name: gives, for an image and a gradient, the call and the arrays that it reads (and those that it writes in place); what it returns is written
CASES = {
    "add": lambda x, gy: (lambda: cpu.add(x, gy), [x, gy]),
    "relu": lambda x, gy: (lambda: cpu.activation("threshold", x, 0.0, 0.0), [x]),
    "relu_grad": lambda x, gy: (lambda: cpu.activation_grad("threshold", gy, x, 0.0, 0.0), [x, gy]),
    "sum": lambda x, gy: (lambda: cpu.sum(x, (0, 2, 3), False), [x]),
    "norm_stats": lambda x, gy: (lambda: cpu.norm_stats(x, x.shape[1], True), [x]),
    "norm": norm,
    "norm_grad": norm_grad,
    "max_pool": lambda x, gy: (lambda: cpu.max_pool(x, HALVES), [x]),
    "average_pool": lambda x, gy: (lambda: cpu.average_pool(x, HALVES, True, None), [x]),
    "depthwise": depthwise,
    "sgd": sgd,
}


class Bandwidth:
    params = [some(CASES), DTYPES, THREADS]
    param_names = ["kernel", "dtype", "threads"]

    def setup(self, kernel, dtype, threads):
        runtime.set_num_threads(threads)
        self.call, read = CASES[kernel](random(SHAPE, dtype), random(SHAPE, dtype, 1))
        written = self.call()
        arrays = [*read, *(written if isinstance(written, tuple) else [written])]
        self.bytes = sum(a.nbytes for a in arrays if isinstance(a, np.ndarray))

    def track_gbytes(self, kernel, dtype, threads):
        return self.bytes / machine.best_seconds(self.call, SECONDS) / 1e9

    def track_percent_of_copy(self, kernel, dtype, threads):
        return 100 * self.track_gbytes(kernel, dtype, threads) / copy_gbytes(threads)

    track_gbytes.unit, track_percent_of_copy.unit = "GB/s", "%"
