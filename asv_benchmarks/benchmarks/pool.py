"""Pooling, forward and backward, and unpooling."""

import numpy as np

from convkit_kernels import cpu, geometry

from .common import DTYPES, _Kernel, random, some

# name: (N, C, H, W, window, stride, padding); window 0 is an adaptive grid of 7 x 7
POOLS = {
    "2x2": (128, 32, 26, 26, 2, 2, 0),
    "lenet1": (64, 6, 28, 28, 2, 2, 0),
    "3x3s2": (128, 16, 32, 32, 3, 2, 1),
    "3x3s2-stem": (8, 64, 112, 112, 3, 2, 1),
    "3x3s1": (8, 64, 56, 56, 3, 1, 1),
    "adaptive": (8, 64, 56, 56, 0, 0, 0),
}


class Pool(_Kernel):
    params = [["max", "max_grad", "max_places", "average", "average_grad"], some(POOLS), DTYPES]
    param_names = ["function", "shape", "dtype"]

    def prepare(self, function, shape, dtype):
        n, c, h, w, r, stride, padding = POOLS[shape]
        window = geometry.window("pool", (r, r), stride, padding) if r else geometry.Grid((7, 7))
        x = random((n, c, h, w), dtype)
        y, index = cpu.max_pool(x, window)
        return {
            "max": lambda: cpu.max_pool(x, window),
            "max_grad": lambda: cpu.max_pool_grad(y, index, (h, w), window),
            "max_places": lambda: cpu.max_pool_places(index, (h, w), window),
            "average": lambda: cpu.average_pool(x, window, True, None),
            "average_grad": lambda: cpu.average_pool_grad(y, (h, w), window, True, None),
        }[function]


class Unpool(_Kernel):
    params = [["max_unpool", "max_unpool_grad"], ["2x2", "lenet1"], DTYPES]
    param_names = ["function", "shape", "dtype"]

    def prepare(self, function, shape, dtype):
        n, c, h, w, r, stride, padding = POOLS[shape]
        window = geometry.window("pool", (r, r), stride, padding)
        y, index = cpu.max_pool(random((n, c, h, w), dtype), window)
        places = np.asarray(cpu.max_pool_places(index, (h, w), window))
        g = random((n, c, h, w), dtype, 1)
        return {"max_unpool": lambda: cpu.max_unpool(y, places, (h, w), False), "max_unpool_grad": lambda: cpu.max_unpool_grad(g, places)}[function]
