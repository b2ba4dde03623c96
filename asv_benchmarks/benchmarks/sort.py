"""Sorting, and the greatest few."""

from convkit_kernels import cpu

from .common import DTYPES, _Kernel, random


class Sort(_Kernel):
    params = [[None, 5], [(64, 1000), (8, 100_000)], DTYPES]
    param_names = ["first", "shape", "dtype"]

    def prepare(self, first, shape, dtype):
        x = random(shape, dtype)
        return lambda: cpu.argsort(x, 1, True, first)
