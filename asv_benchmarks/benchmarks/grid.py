"""Sampling images at the places of a grid, and its gradients."""

import numpy as np

from convkit_kernels import cpu

from .common import DTYPES, _Kernel, random, some

# name: (N, C, H, W); the last two in C order, as images come
SHAPES = {"channels": (8, 64, 64, 64), "images": (4, 3, 128, 128), "digits": (64, 1, 28, 28)}


class Grid(_Kernel):
    params = [["sample", "input_grad", "grid_grad"], some(["bilinear", "bicubic", "nearest"]), some(SHAPES), DTYPES]
    param_names = ["function", "mode", "shape", "dtype"]

    def prepare(self, function, mode, shape, dtype):
        n, c, h, w = SHAPES[shape]
        x, gy = random((n, c, h, w), dtype), random((n, c, h, w), dtype, 1)
        if c < 8:
            x, gy = x.copy(order="C"), gy.copy(order="C")
        grid = np.random.default_rng(2).uniform(-1.1, 1.1, (n, h, w, 2)).astype(dtype)
        how = (mode, "zeros", False)
        return {
            "sample": lambda: cpu.grid_sample(x, grid, *how),
            "input_grad": lambda: cpu.grid_sample_input_grad(gy, grid, (h, w), *how),
            "grid_grad": lambda: cpu.grid_sample_grid_grad(gy, x, grid, *how),
        }[function]
