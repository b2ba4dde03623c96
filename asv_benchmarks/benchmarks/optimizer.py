"""Parameter updates: one large array, and the ten of a LeNet, where the cost of a launch counts."""

import numpy as np

from convkit_kernels import cpu

from .common import DTYPES, _Kernel, random

SHAPES = {
    "1000": [(1000,)],
    "1000000": [(1000000,)],
    "lenet": [(6, 1, 5, 5), (6,), (16, 6, 5, 5), (16,), (120, 400), (120,), (84, 120), (84,), (10, 84), (10,)],
}
# kind: (states kept, numbers)
KINDS = {
    "sgd": ("a", (1, 0, 0.01, 0.9, 1, 0)),
    "adam": ("ab", (1, 0, 1, 1e-3, 0.9, 0.1, 0.999, 1e-3, 1, 1e-8)),
    "rmsprop": ("a", (1, 0, 0.01, 0.99, 0.01, 1e-8, 0, 0)),
}


class Update(_Kernel):
    params = [list(KINDS), list(SHAPES), DTYPES]
    param_names = ["optimizer", "shapes", "dtype"]

    def prepare(self, optimizer, shapes, dtype):
        kept, numbers = KINDS[optimizer]
        p = [random(s, dtype) for s in SHAPES[shapes]]
        g = [random(s, dtype, 1) for s in SHAPES[shapes]]
        states = [tuple(np.zeros_like(x) if s in kept else None for s in "abc") for x in p]
        return lambda: cpu.optimizer_step(optimizer, p, g, states, numbers)
