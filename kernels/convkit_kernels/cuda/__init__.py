"""GPU kernels: @cuda.jit loops over arrays on the device, twins of `convkit_kernels.cpu`: the same files, functions and arguments.

`memory.Array` is their array; `launch.kernel` makes a kernel; `driver` alone speaks to CUDA.
"""

from .copy import channels_last, concatenate, contiguous
from .elementwise import (
    abs,
    add,
    binary,
    clamp,
    clamp_grad,
    div,
    exp,
    log,
    maximum,
    minimum,
    mul,
    neg,
    pow,
    sign,
    sqrt,
    sub,
    unary,
    where,
)
from .reduce import amax, amin, prod, sum

__all__ = [
    "abs", "add", "amax", "amin", "binary", "channels_last", "clamp", "clamp_grad", "concatenate", "contiguous", "div", "exp", "log", "maximum",
    "minimum", "mul", "neg", "pow", "prod", "sign", "sqrt", "sub", "sum", "unary", "where",
]  # fmt: skip
