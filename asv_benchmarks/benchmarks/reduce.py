"""Sums and extremes over axes."""

from convkit_kernels import cpu

from .common import ACTIVATIONS, DTYPES, _Kernel, random, some

AXES = {"channels stay": (0, 2, 3), "spatial": (2, 3), "all": (0, 1, 2, 3)}


class Scan(_Kernel):
    params = [["sum", "argmax"], some(ACTIVATIONS), DTYPES]
    param_names = ["function", "shape", "dtype"]

    def prepare(self, function, shape, dtype):
        x = random(ACTIVATIONS[shape], dtype)
        return lambda: cpu.scan(function, x, 1)


class Reduce(_Kernel):
    params = [["sum", "prod", "amax"], some(AXES), some(ACTIVATIONS), DTYPES]
    param_names = ["function", "axes", "shape", "dtype"]

    def prepare(self, function, axes, shape, dtype):
        x = random(ACTIVATIONS[shape], dtype)
        return lambda: getattr(cpu, function)(x, AXES[axes], False)
