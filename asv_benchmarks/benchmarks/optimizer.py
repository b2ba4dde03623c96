"""Parameter updates."""

import numpy as np

from convkit_kernels import cpu

from .common import DTYPES, _Kernel, random


class Update(_Kernel):
    params = [["sgd", "adam"], [1000, 1000000], DTYPES]
    param_names = ["optimizer", "size", "dtype"]

    def prepare(self, optimizer, size, dtype):
        p, g, m, v = random((size,), dtype), random((size,), dtype, 1), np.zeros(size, dtype), np.zeros(size, dtype)
        if optimizer == "sgd":
            return lambda: cpu.sgd_update(p, g, m, 0.01, 0.9, 0.0, 0.0, False, False)
        return lambda: cpu.adam_update(p, g, m, v, 1e-3, 0.9, 0.999, 1e-8, 0.0, False, 1)
