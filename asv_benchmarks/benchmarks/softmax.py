"""Softmax and its logarithm."""

from convkit_kernels import cpu

from .common import DTYPES, _Kernel, random, some

SHAPES = {"digits": (128, 10), "words": (64, 20000), "pixels": (4, 12, 128, 128)}


class Softmax(_Kernel):
    params = [["softmax", "log_softmax", "softmax_grad", "log_softmax_grad"], some(SHAPES), DTYPES]
    param_names = ["function", "shape", "dtype"]

    def prepare(self, function, shape, dtype):
        x, gy = random(SHAPES[shape], dtype), random(SHAPES[shape], dtype, 1)
        call = getattr(cpu, function)
        return (lambda: call(gy, x, 1)) if function.endswith("_grad") else (lambda: call(x, 1))
