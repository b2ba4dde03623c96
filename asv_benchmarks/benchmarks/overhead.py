"""What a tensor operation costs besides its kernel: 8 elements, so that the arithmetic takes no time."""

import numpy as np

import convkit

from .common import _Kernel

OPS = {
    "add": (lambda x, y: x + y, np.add),
    "mul": (lambda x, y: x * y, np.multiply),
    "add a number": (lambda x, y: x + 1.5, lambda x, y: x + 1.5),
    "relu": (lambda x, y: convkit.relu(x), lambda x, y: np.maximum(x, 0)),
    "reshape": (lambda x, y: x.reshape(2, 4), lambda x, y: x.reshape(2, 4)),
    "sum": (lambda x, y: x.sum(), lambda x, y: x.sum()),
}


class Overhead(_Kernel):
    """Seconds of one call: of NumPy, of the tensor, and of the tensor while a graph is recorded."""

    params = [list(OPS), ["numpy", "tensor", "recorded"]]
    param_names = ["op", "on"]

    def prepare(self, op, on):
        x, y = np.arange(8, dtype=np.float32), np.ones(8, np.float32)
        ours, numpys = OPS[op]
        if on == "numpy":
            return lambda: numpys(x, y)
        x, y = (convkit.Tensor(v, requires_grad=on == "recorded") for v in (x, y))
        return lambda: ours(x, y)
