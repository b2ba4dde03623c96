"""An operation of your own: a Numba kernel, its gradient, and the check that they agree.

    python examples/own_op.py [--quick]

The operation is Swish (Ramachandran et al., 2017):

    y = x * s(x)                  with s(x) = 1 / (1 + exp(-x))
    dy/dx = s(x) * (1 + x * (1 - s(x)))

`Function.forward` gets NumPy arrays, so anything that computes with arrays will do; `backward` gets tensors.
"""

import math
import sys

import numba
import numpy as np

import convkit
from convkit import nn, optim
from convkit.autograd import Function, gradcheck, once_differentiable
from convkit.nn import functional as F


@numba.njit
def swish_kernel(x, y):
    for i in range(x.size):
        y.flat[i] = x.flat[i] / (1 + math.exp(-x.flat[i]))


@numba.njit
def swish_grad_kernel(gy, x, gx):
    for i in range(x.size):
        s = 1 / (1 + math.exp(-x.flat[i]))
        gx.flat[i] = gy.flat[i] * s * (1 + x.flat[i] * (1 - s))


class Swish(Function):
    """y = x * sigmoid(x), of any shape."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        y = np.empty_like(x)
        swish_kernel(x, y)
        return y

    @staticmethod
    @once_differentiable  # the kernel computes with arrays, so this gradient has no gradient of its own
    def backward(ctx, gy):
        (x,) = ctx.saved_tensors
        gx = np.empty_like(x.array)
        swish_grad_kernel(gy.array, x.array, gx)
        return convkit.from_numpy(gx)


x = convkit.randn(3, 4, dtype=convkit.float64, requires_grad=True)
print("gradient agrees with differences:", gradcheck(Swish.apply, x))

# It takes part in a net like any other: learn the exclusive or.
convkit.manual_seed(1)
first, second = nn.Linear(2, 8), nn.Linear(8, 1)
inputs = convkit.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
wanted = convkit.tensor([[0.0], [1.0], [1.0], [0.0]])
optimizer = optim.Adam([*first.parameters(), *second.parameters()], lr=0.05)
for _ in range(200 if "--quick" in sys.argv else 500):
    outputs = second(Swish.apply(first(inputs)))
    optimizer.zero_grad()
    F.mse_loss(outputs, wanted).backward()
    optimizer.step()
for pair, output in zip(inputs.tolist(), outputs.tolist(), strict=True):
    print(f"{pair[0]:.0f} xor {pair[1]:.0f} = {output[0]:.2f}")
