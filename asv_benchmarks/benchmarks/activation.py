"""Activations and their gradients."""

from convkit_kernels import cpu

from .common import ACTIVATIONS, DTYPES, QUICK, _Kernel, random

ROWS = [
    "threshold", "gelu", "hardtanh", "leaky_relu", "elu", "gelu_tanh", "silu", "mish", "softplus", "softsign", "hardsigmoid", "hardswish",
    "sigmoid", "logsigmoid", "tanh", "hardshrink", "softshrink",
]  # fmt: skip


class Activation(_Kernel):
    params = [["activation", "activation_grad"], ROWS[:2] if QUICK else ROWS, ["lenet1", "resnet1"], DTYPES]
    param_names = ["function", "row", "shape", "dtype"]

    def prepare(self, function, row, shape, dtype):
        x, gy = random(ACTIVATIONS[shape], dtype), random(ACTIVATIONS[shape], dtype, 1)
        if function == "activation":
            return lambda: cpu.activation(row, x, 1.0, 1.0, 1.0)
        return lambda: cpu.activation_grad(row, gy, x, 1.0, 1.0, 1.0)
