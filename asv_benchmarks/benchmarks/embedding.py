"""Embedding."""

import numpy as np

from convkit_kernels import cpu

from .common import DTYPES, _Kernel, random


class Embedding(_Kernel):
    params = [["forward", "grad"], DTYPES]
    param_names = ["function", "dtype"]

    def prepare(self, function, dtype):
        table, index = random((20000, 128), dtype), np.random.default_rng(0).integers(0, 20000, (50, 64))
        gy = random((50 * 64, 128), dtype).reshape(50, 64, 128)
        return (lambda: cpu.embedding(table, index)) if function == "forward" else (lambda: cpu.embedding_grad(gy, index, 20000))
