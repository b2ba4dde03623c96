"""Random numbers and dropout."""

import numpy as np

from convkit_kernels import cpu

from .common import DTYPES, _Kernel
from .common import random as normal_array


class Draw(_Kernel):
    params = [["uniform", "normal", "dropout", "dropout of 4 million"], DTYPES]
    param_names = ["function", "dtype"]

    def prepare(self, function, dtype):
        if function == "dropout":
            x = normal_array((128, 64, 14, 14), dtype)
            return lambda: cpu.dropout(x, 0.5, 0, 0)
        if function == "dropout of 4 million":
            x = normal_array((1 << 22,), dtype)
            return lambda: cpu.dropout(x, 0.5, 0, 0)
        return lambda: getattr(cpu, function)((1 << 20,), 0, 0, np.dtype(dtype))
