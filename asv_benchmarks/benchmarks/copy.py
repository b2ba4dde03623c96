"""Copies between planes of channels and channels-last memory, and of two images into one."""

import numpy as np

from convkit_kernels import cpu

from .common import DTYPES, _Kernel, random


class Copy(_Kernel):
    params = [["to channels-last", "to planes"], [(64, 64, 16, 16), (8, 64, 56, 56), (128, 3, 32, 32)], DTYPES]
    param_names = ["way", "shape", "dtype"]

    def prepare(self, way, shape, dtype):
        x = random(shape, dtype)
        x = np.moveaxis(x, 1, -1) if way == "to channels-last" else np.moveaxis(x, -1, 1)
        return lambda: cpu.contiguous(x)


class Concatenate(_Kernel):
    params = [[(4, 16, 128, 128), (8, 64, 56, 56)], DTYPES]
    param_names = ["shape", "dtype"]

    def prepare(self, shape, dtype):
        n, c, *spatial = shape
        parts = [random((n, *spatial, c), dtype) for _ in range(2)]
        return lambda: cpu.concatenate(parts, 3)
