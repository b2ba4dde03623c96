"""Whether numbers lie inside their range: class numbers before a loss, indices before a gather."""

import numpy as np

from convkit_kernels import cpu

from .common import _Kernel


class Inside(_Kernel):
    params = [[64, 1_000_000], ["int64", "int32", "float32"]]
    param_names = ["size", "dtype"]

    def prepare(self, size, dtype):
        x = (np.arange(size) % 10).astype(dtype)
        return lambda: cpu.inside(x, 0, 9, IndexError, "{first}")
