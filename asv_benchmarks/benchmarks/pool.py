"""Pooling, forward and backward."""

from convkit_kernels import cpu, geometry

from .common import DTYPES, _Kernel, random, some

# name: (N, C, H, W, window, stride)
POOLS = {"2x2": (64, 32, 32, 32, 2, 2), "3x3s2": (8, 64, 112, 112, 3, 2), "lenet1": (64, 6, 28, 28, 2, 2)}


class Pool(_Kernel):
    params = [["max", "max_grad", "average", "average_grad"], some(POOLS), DTYPES]
    param_names = ["function", "shape", "dtype"]

    def prepare(self, function, shape, dtype):
        n, c, h, w, r, stride = POOLS[shape]
        window = geometry.window("pool", (r, r), stride)
        x = random((n, c, h, w), dtype)
        y, index = cpu.max_pool(x, window)
        return {
            "max": lambda: cpu.max_pool(x, window),
            "max_grad": lambda: cpu.max_pool_grad(y, index, (h, w), window),
            "average": lambda: cpu.average_pool(x, window, True, None),
            "average_grad": lambda: cpu.average_pool_grad(y, (h, w), window, True, None),
        }[function]
