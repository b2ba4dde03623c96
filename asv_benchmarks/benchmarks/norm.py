"""Batch normalisation."""

import numpy as np

from convkit_kernels import cpu

from .common import ACTIVATIONS, DTYPES, _Kernel, random, some


class BatchNorm(_Kernel):
    params = [["stats", "forward", "grad"], some(ACTIVATIONS), DTYPES]
    param_names = ["function", "shape", "dtype"]

    def prepare(self, function, shape, dtype):
        x, gy = random(ACTIVATIONS[shape], dtype), random(ACTIVATIONS[shape], dtype, 1)
        mean, var = cpu.batch_norm_stats(x)
        inv_std = (1 / np.sqrt(var + 1e-5)).astype(dtype)
        weight = np.ones_like(mean)
        return {
            "stats": lambda: cpu.batch_norm_stats(x),
            "forward": lambda: cpu.batch_norm(x, mean, inv_std, weight, weight),
            "grad": lambda: cpu.batch_norm_grad(gy, x, mean, inv_std, weight),
        }[function]
