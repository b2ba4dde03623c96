"""What a tensor operation costs besides its kernel: tiny arrays, so that the arithmetic takes no time."""

import numpy as np

import convkit
from convkit.nn import functional as F
from convkit_kernels import cpu, geometry

from .common import _Kernel

WINDOW = geometry.window("conv2d", (3, 3), padding=1)
POOL = geometry.window("max_pool2d", (2, 2), 2)
CLASSES = np.array([0, 1, 2, 3])
SQUARE = (4, 4)
IMAGE = (1, 4, 6, 6)

# The operation of tensors, the kernels that it calls, and the shapes of its arguments.
OPS = {
    "add": (lambda x, y: x + y, cpu.add, [(8,), (8,)]),
    "mul": (lambda x, y: x * y, cpu.mul, [(8,), (8,)]),
    "add a number": (lambda x: x + 1.5, lambda x: cpu.add(x, 1.5), [(8,)]),
    "mul a number": (lambda x: x * 1.5, lambda x: cpu.mul(x, 1.5), [(8,)]),
    "relu": (convkit.relu, lambda x: cpu.activation("threshold", x, 0.0, 0.0), [(8,)]),
    "reshape": (lambda x: x.reshape(2, 4), lambda x: x.reshape(2, 4), [(8,)]),
    "sum": (lambda x: x.sum(), lambda x: cpu.sum(x, (0,), False), [(8,)]),
    "matmul": (lambda x, y: x @ y, cpu.matmul, [SQUARE, SQUARE]),
    "linear": (F.linear, lambda x, w, b: cpu.matmul(x, w.T, b), [SQUARE, SQUARE, (4,)]),
    "conv2d": (
        lambda x, w, b: F.conv2d(x, w, b, padding=1),
        lambda x, w, b: cpu.conv_forward(x, w, b, WINDOW),
        [IMAGE, (4, 4, 3, 3), (4,)],
    ),
    "max_pool2d": (lambda x: F.max_pool2d(x, 2), lambda x: cpu.max_pool(x, POOL), [IMAGE]),
    "cross_entropy": (
        lambda x: F.cross_entropy(x, convkit.Tensor(CLASSES)),
        lambda x: cpu.mul(cpu.sum(cpu.cross_entropy(x, CLASSES, None, -100, 0.0)[0], (0,), False), 0.25),
        [SQUARE],
    ),
}


class Overhead(_Kernel):
    """Seconds of one call: of the kernel, of the tensor, and of the tensor while a graph is recorded; and of the walk back over that graph."""

    params = [list(OPS), ["kernel", "tensor", "recorded", "backward"]]
    param_names = ["op", "on"]

    def prepare(self, op, on):
        ours, kernel, shapes = OPS[op]
        generator = np.random.default_rng(0)
        arrays = [generator.standard_normal(shape).astype(np.float32) for shape in shapes]
        if on == "kernel":
            return lambda: kernel(*arrays)
        tensors = [convkit.Tensor(a, requires_grad=on != "tensor") for a in arrays]
        if on != "backward":
            return lambda: ours(*tensors)
        y = ours(*tensors)
        gradient = convkit.Tensor(np.ones_like(y.array))
        return lambda: convkit.autograd.grad(y, tensors, gradient, retain_graph=True)
