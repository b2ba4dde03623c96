"""Locally connected layers."""

import numpy as np

from convkit_kernels import cpu, geometry

from .common import DTYPES, _Kernel, random, some

# name: (N, C, H, W, K, window, regions); DeepFace's L4 is 16 maps of 9x9 windows on 63x63 images, at a batch that fits in memory.
SHAPES = {
    "keras-28": (32, 16, 28, 28, 16, 3, None),
    "deepface-l5": (16, 16, 55, 55, 16, 7, None),
    "regions-2x2": (32, 32, 28, 28, 32, 3, (2, 2)),
}


class Local(_Kernel):
    params = [some(SHAPES), ["forward", "input_grad", "weight_grad"], DTYPES]
    param_names = ["shape", "direction", "dtype"]

    def prepare(self, shape, direction, dtype):
        n, c, h, w, k, r, regions = SHAPES[shape]
        window = geometry.window("local", (r, r))
        out = window.output_size((h, w))
        regions = regions or out
        x, gy = random((n, c, h, w), dtype), random((n, k, *out), dtype)
        weight = np.resize(random((r * r * c * k,), dtype), (*regions, r, r, c, k))
        return {
            "forward": lambda: cpu.local_forward(x, weight, None, window),
            "input_grad": lambda: cpu.local_input_grad(gy, weight, (h, w), window),
            "weight_grad": lambda: cpu.local_weight_grad(x, gy, regions, window),
        }[direction]
