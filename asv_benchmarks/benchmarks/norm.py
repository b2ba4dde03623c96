"""Normalisation over batches, images, groups and rows."""

import numpy as np

from convkit_kernels import cpu

from .common import ACTIVATIONS, DTYPES, _Kernel, random, some

# name: (shape, groups, over the whole batch)
CASES = {name: (shape, shape[1], True) for name, shape in ACTIVATIONS.items()} | {
    "instance": ((32, 64, 32, 32), 64, False),
    "group": ((32, 64, 32, 32), 8, False),
    "layer": ((64 * 196, 192), 1, False),
}


class Norm(_Kernel):
    params = [["stats", "forward", "grad", "forward relu", "forward add relu", "grad relu"], some(CASES), DTYPES]
    param_names = ["function", "case", "dtype"]

    def prepare(self, function, case, dtype):
        shape, groups, batch = CASES[case]
        x, gy = random(shape, dtype), random(shape, dtype, 1)
        mean, var = cpu.norm_stats(x, groups, batch)
        inv_std = (1 / np.sqrt(var + 1e-5)).astype(dtype)
        weight = np.ones(shape[1], dtype)
        return {
            "stats": lambda: cpu.norm_stats(x, groups, batch),
            "forward": lambda: cpu.norm(x, mean, inv_std, weight, weight),
            "forward relu": lambda: cpu.norm(x, mean, inv_std, weight, weight, None, True),
            "forward add relu": lambda: cpu.norm(x, mean, inv_std, weight, weight, gy, True),
            "grad": lambda: cpu.norm_grad(gy, x, mean, inv_std, weight, weight, True, False),
            "grad relu": lambda: cpu.norm_grad(gy, x, mean, inv_std, weight, weight, True, True),
        }[function]
