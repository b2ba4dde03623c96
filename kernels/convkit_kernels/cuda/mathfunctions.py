"""What the scalar formulas shared with the CPU call: the names of `cpu/mathfunctions.py`, and of `math` and `numpy`, for the device.

A formula (a row of the tables in `cpu/activation.py`, `cpu/loss.py` ...) is a plain function.  `row` gives its twin for the device: the same code,
whose `m`, `np` and `math` are this module.  float32 stays float32: the device computes float64 at a thirtieth to a half of that speed.
On the device these are the compiler's own functions (libdevice, at most 2 units in the last place), in the simulator NumPy's.
"""

from __future__ import annotations

import ctypes
import functools
import math
import sys
import types as python_types
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils

from . import driver

inf, nan, pi = math.inf, math.nan, math.pi
float32, float64, int32, int64 = np.float32, np.float64, np.int32, np.int64


def device(function: Callable) -> Callable:
    """Decorator of what kernels call: compiled into them; a plain function in the simulator."""
    if driver.is_simulated():
        return function
    from numba.cuda.extending import register_jitable

    return register_jitable(function)


def _operation(name: str, operands: int, simulated: Callable) -> Callable:
    """The operation `name` of LLVM, or of libdevice, on so many numbers of one float type; in the simulator a NumPy function."""
    if driver.is_simulated():
        return simulated
    from numba.cuda.extending import intrinsic

    def typed(number: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            kind = args[0].type
            signature = ir.FunctionType(kind, [kind] * operands)
            if name.startswith("__nv_"):
                called = cgutils.get_or_insert_function(builder.module, signature, name + "f" * isinstance(kind, ir.FloatType))
            else:
                called = builder.module.declare_intrinsic(name, [kind], signature)
            return builder.call(called, args)

        return number(*[number] * operands), generate

    def one(typing_context, a):
        return typed(a) if isinstance(a, types.Float) else None

    def two(typing_context, a, b):
        return typed(a) if isinstance(a, types.Float) and a == b else None

    def three(typing_context, a, b, c):
        return typed(a) if isinstance(a, types.Float) and a == b == c else None

    return intrinsic((one, two, three)[operands - 1])


floor = _operation("llvm.floor", 1, np.floor)
ceil = _operation("llvm.ceil", 1, np.ceil)
trunc = _operation("llvm.trunc", 1, np.trunc)
rint = _operation("__nv_rint", 1, np.rint)  # NVVM does not know llvm.rint
sqrt = _operation("llvm.sqrt", 1, np.sqrt)
fabs: Any = np.abs if driver.is_simulated() else math.fabs  # NVVM refuses llvm.fabs
copysign = _operation("llvm.copysign", 2, np.copysign)
fma = _operation("llvm.fma", 3, lambda a, b, c: type(a)(np.longdouble(a) * np.longdouble(b) + np.longdouble(c)))

# The library's functions of one number.
_library = np if driver.is_simulated() else math
_names = (
    {"acos": "arccos", "acosh": "arccosh", "asin": "arcsin", "asinh": "arcsinh", "atan": "arctan", "atan2": "arctan2", "atanh": "arctanh"}
    if _library is np
    else {}
)
acos, acosh, asin, asinh, atan, atan2, atanh, cos, cosh, exp, exp2, expm1, log, log10, log1p, log2, sin, sinh, tan, tanh = (
    getattr(_library, _names.get(name, name))
    for name in ("acos", "acosh", "asin", "asinh", "atan", "atan2", "atanh", "cos", "cosh", "exp", "exp2", "expm1", "log", "log10", "log1p", "log2",
                 "sin", "sinh", "tan", "tanh")
)  # fmt: skip
erfc: Any = (lambda x: type(x)(math.erfc(x))) if driver.is_simulated() else math.erfc


@device
def maximum(a, b):
    """The larger of a and b; NaN if either is NaN."""
    return a if (a > b) | (a != a) else b


@device
def minimum(a, b):
    """The smaller of a and b; NaN if either is NaN."""
    return a if (a < b) | (a != a) else b


@device
def sigmoid(x):
    """1 / (1 + exp(-x))."""
    one = type(x)(1)
    e = exp(-fabs(x))
    return (one if x >= type(x)(0) else e) / (one + e)


@device
def knee(x):
    """log(1 + exp(-|x|)): the distance of a soft relu, log(1 + exp(x)), from max(x, 0)."""
    return log1p(exp(-fabs(x)))


@device
def softplus(x):
    """log(1 + exp(x)) in a form that cannot overflow."""
    return maximum(x, type(x)(0)) + knee(x)


@device
def normal(x):
    """(P(x), p(x)) of the standard normal distribution: P(x) = (1 + erf(x / sqrt 2)) / 2 and its derivative p."""
    # In the tail erfc magnifies the rounding of its argument: what was rounded away, d, is put in by erfc's derivative.
    root = type(x)(0.7071067811865476)
    z = x * root
    d = fma(x, root, -z) + x * type(x)(0.7071067811865476 - float64(root))
    e = exp(type(x)(-0.5) * (x * x))
    cdf = type(x)(0.5) * erfc(-z) + (d * e * type(x)(0.5641895835477563) if d == d else type(x)(0))
    return cdf, e * type(x)(0.3989422804014327)


@device
def turn(u):
    """(cos, sin) of the angle 2 pi u, 0 <= u <= 1."""
    angle = u * type(u)(2 * pi)
    return cos(angle), sin(angle)


@device
def divide(a, b):
    """a / b, rounded correctly."""
    return a / b


@device
def subtract(a, b):
    """a - b."""
    return a - b


fmod: Any = np.fmod if driver.is_simulated() else math.fmod
power: Any = np.power if driver.is_simulated() else math.pow


# --------------------------------------------------------------------------- memory by its address
if driver.is_simulated():

    def _place_of(address: Any, i: Any, like: Any) -> Any:
        return (ctypes.c_float if like.itemsize == 4 else ctypes.c_double).from_address(int(address + i * like.itemsize))

    def load(address, i, like):
        """Element i of the numbers of like's type at an address."""
        return type(like)(_place_of(address, i, like).value)

    def store(address, i, value):
        """Element i of the numbers at an address becomes `value`."""
        _place_of(address, i, value).value = value

else:
    from numba.cuda.extending import intrinsic as _intrinsic

    def _pointer_to(context: Any, builder: Any, number: Any, address: Any, i: Any) -> Any:
        memory = ir.PointerType(context.get_data_type(number), 1)  # 1: global memory
        return builder.gep(builder.inttoptr(address, memory), [i])

    @_intrinsic
    def load(typing_context, address, i, like):
        """Element i of the numbers of like's type at an address."""

        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return builder.load(_pointer_to(context, builder, like, args[0], args[1]))

        return like(types.int64, types.int64, like), generate

    @_intrinsic
    def store(typing_context, address, i, value):
        """Element i of the numbers at an address becomes `value`."""

        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            builder.store(args[2], _pointer_to(context, builder, value, args[0], args[1]))
            return context.get_dummy_value()

        return types.void(types.int64, types.int64, value), generate


@functools.cache
def row(formula: Callable, **others: Callable) -> Callable:
    """The twin for the device of a formula shared with the CPU; `others` are the twins of what else it calls, by name."""
    here = sys.modules[__name__]
    formula = getattr(formula, "py_func", formula)
    names = {**formula.__globals__, "m": here, "np": here, "math": here, **others}
    return device(python_types.FunctionType(formula.__code__, names, formula.__name__, None, formula.__closure__))
