"""Functions of one tensor, element by element: a row each, with the derivative beside the name; and points between two."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..autograd import Function, TensorBase
from ..device import kernels
from . import checks
from .elementwise import FLOATS, as_float, where

# What integers are already.
_STEPS = {"ceil", "floor", "round", "trunc"}
# Functions that have a kernel of their own; the others are rows of the kernels' table `unary`.
_OWN = {"abs", "exp", "log", "neg", "sign", "sqrt"}


class _Row(Function):
    """y = name(x); `pull(gy, x, y)` is the gradient, of which only the arguments in `keeps` exist in backward."""

    name = ""
    keeps = ""
    pull: Callable

    @classmethod
    def forward(cls, ctx, x):
        y = getattr(kernels(x), cls.name)(x) if cls.name in _OWN else kernels(x).unary(cls.name, x)
        ctx.save_for_backward(x if "x" in cls.keeps else None, y if "y" in cls.keeps else None)
        return y

    @classmethod
    def backward(cls, ctx, gy):
        return cls.pull(gy, *ctx.saved_tensors)


def _row(name: str, keeps: str, pull: Callable, text: str, whole: bool = False) -> Any:
    """The public function for a row.  Integers become float32, unless the function is `whole`: then they stay integers."""
    rule: Any = type(name.title(), (_Row,), {"name": name, "keeps": keeps, "pull": staticmethod(pull), "__doc__": text, "__module__": __name__})

    def function(input: Any) -> Any:
        if checks.tensor(name, input).array.dtype == np.bool_ and whole and name != "abs":
            raise TypeError(f"{name}: needs numbers, got bool")
        if name in _STEPS and input.array.dtype.kind in "iu":
            return input.clone()
        return rule.apply(input if whole else as_float(name, input))

    function.__name__ = function.__qualname__ = name
    function.__doc__ = text
    return function


def _flat(gy: Any, x: Any, y: Any) -> Any:
    """The gradient of steps."""
    return TensorBase.result(np.zeros_like(gy.array))


exp: Any = _row("exp", "y", lambda gy, x, y: gy * y, "e to the power of each element; the gradient is the result.")
exp2: Any = _row("exp2", "y", lambda gy, x, y: gy * (y * math.log(2)), "2 to the power of each element.")
expm1: Any = _row("expm1", "y", lambda gy, x, y: gy * (y + 1.0), "exp(x) - 1, without cancellation near 0.")
log: Any = _row("log", "x", lambda gy, x, y: gy / x, "Natural logarithm of each element: -inf at 0, nan below.")
log2: Any = _row("log2", "x", lambda gy, x, y: gy / (x * math.log(2)), "Logarithm to base 2.")
log10: Any = _row("log10", "x", lambda gy, x, y: gy / (x * math.log(10)), "Logarithm to base 10.")
log1p: Any = _row("log1p", "x", lambda gy, x, y: gy / (x + 1.0), "log(1 + x), without cancellation near 0.")
rsqrt: Any = _row("rsqrt", "y", lambda gy, x, y: gy * (y * y * y * -0.5), "1 / sqrt(x): inf at 0, nan below.")
sqrt: Any = _row("sqrt", "y", lambda gy, x, y: gy / (y * 2.0), "Square root of each element: nan below 0.")

sin: Any = _row("sin", "x", lambda gy, x, y: gy * cos(x), "Sine of each element, in radians.")
cos: Any = _row("cos", "x", lambda gy, x, y: -gy * sin(x), "Cosine of each element, in radians.")
tan: Any = _row("tan", "y", lambda gy, x, y: gy * (1.0 + y * y), "Tangent of each element, in radians.")
asin: Any = _row("asin", "x", lambda gy, x, y: gy * rsqrt(1.0 - x * x), "Arc sine: nan outside [-1, 1].")
acos: Any = _row("acos", "x", lambda gy, x, y: -gy * rsqrt(1.0 - x * x), "Arc cosine: nan outside [-1, 1].")
atan: Any = _row("atan", "x", lambda gy, x, y: gy / (1.0 + x * x), "Arc tangent.")
sinh: Any = _row("sinh", "x", lambda gy, x, y: gy * cosh(x), "Hyperbolic sine.")
cosh: Any = _row("cosh", "x", lambda gy, x, y: gy * sinh(x), "Hyperbolic cosine.")
asinh: Any = _row("asinh", "x", lambda gy, x, y: gy * rsqrt(x * x + 1.0), "Inverse of the hyperbolic sine.")
acosh: Any = _row("acosh", "x", lambda gy, x, y: gy * rsqrt(x * x - 1.0), "Inverse of the hyperbolic cosine: nan below 1.")
atanh: Any = _row("atanh", "x", lambda gy, x, y: gy / (1.0 - x * x), "Inverse of the hyperbolic tangent: nan outside [-1, 1].")

neg: Any = _row("neg", "", lambda gy, x, y: -gy, "-x; TypeError for booleans.", whole=True)
abs: Any = _row("abs", "x", lambda gy, x, y: gy * sign(x), "Absolute value; its gradient at 0 is 0.", whole=True)
sign: Any = _row("sign", "", _flat, "-1, 0 or 1, with the sign of x; 0 for nan.  Its gradient is 0.", whole=True)
floor: Any = _row("floor", "", _flat, "The greatest integer that is not above x.  Its gradient is 0.", whole=True)
ceil: Any = _row("ceil", "", _flat, "The least integer that is not below x.  Its gradient is 0.", whole=True)
trunc: Any = _row("trunc", "", _flat, "x rounded towards 0.  Its gradient is 0.", whole=True)
_round: Any = _row("round", "", _flat, "", whole=True)


def round(input: Any, *, decimals: int = 0) -> Any:
    """input rounded to the nearest integer, halves to the even one, or to `decimals` places.  Its gradient is 0."""
    if not checks.whole("round", "decimals", decimals, -308, 308):
        return _round(input)
    if checks.tensor("round", input).array.dtype.kind != "f":
        raise TypeError(f"round: decimals are for floats, got {input.dtype}")
    scale = 10.0 ** max(decimals, -decimals)
    return _round(input * scale) / scale if decimals > 0 else _round(input / scale) * scale


_frac: Any = _row("frac", "", lambda gy, x, y: gy, "", whole=True)


def frac(input: Any) -> Any:
    """input without its integer part, with the sign of input."""
    if checks.tensor("frac", input).array.dtype not in FLOATS:
        raise TypeError(f"frac: needs a tensor of floats, got {input.dtype}")
    return _frac(input)


def positive(input: Any) -> Any:
    """input itself; TypeError for booleans."""
    if checks.tensor("positive", input).array.dtype == np.bool_:
        raise TypeError("positive: needs numbers, got bool")
    return input


def reciprocal(input: Any) -> Any:
    """1 / input."""
    return 1.0 / as_float("reciprocal", input)


def square(input: Any) -> Any:
    """input times itself."""
    return checks.tensor("square", input) * input


class NanToNum(Function):
    """x with the numbers `nan`, `top` and `bottom` in the place of nan, inf and -inf."""

    @staticmethod
    def forward(ctx, x, nan, top, bottom):
        ctx.save_for_backward(x)
        return kernels(x).activation("nan_to_num", x, nan, top, bottom)

    @staticmethod
    def backward(ctx, gy):
        return WhereFinite.apply(gy, *ctx.saved_tensors), None, None, None


class WhereFinite(Function):
    """gy where x is finite, else 0."""

    @staticmethod
    def forward(ctx, gy, x):
        ctx.save_for_backward(x)
        return kernels(gy).activation_grad("nan_to_num", gy, x)

    @staticmethod
    def backward(ctx, g):
        return WhereFinite.apply(g, *ctx.saved_tensors), None


def nan_to_num(input: Any, nan: float | None = 0.0, posinf: float | None = None, neginf: float | None = None) -> Any:
    """input with numbers in the place of nan and the infinities: by default 0 and the greatest and least of the dtype.  Those places are flat."""
    if checks.tensor("nan_to_num", input).array.dtype.kind != "f":
        return input.clone()
    for name, value in (("nan", nan), ("posinf", posinf), ("neginf", neginf)):
        if value is not None:
            checks.number("nan_to_num", name, value)
    limits = np.finfo(input.array.dtype)
    top, bottom = (float(limit) if value is None else value for limit, value in ((limits.max, posinf), (limits.min, neginf)))
    return NanToNum.apply(input, 0.0 if nan is None else nan, top, bottom)


class Lerp(Function):
    """start + weight (end - start), of tensors of one shape and type; the weight may be a number."""

    @staticmethod
    def forward(ctx, start, end, weight):
        ctx.number = None if isinstance(weight, np.ndarray) else weight
        ctx.save_for_backward(*((None, None, None) if ctx.number is not None else (start, end, weight)))
        return kernels(start).lerp(start, end, weight)

    @staticmethod
    def backward(ctx, gy):
        start, end, weight = ctx.saved_tensors
        weight = ctx.number if weight is None else weight
        need_start, need_end, need_weight = ctx.needs_input_grad
        return (
            gy * (1.0 - weight) if need_start else None,
            gy * weight if need_end else None,
            gy * (end - start) if need_weight else None,
        )


def lerp(input: Any, end: Any, weight: Any) -> Any:
    """start + weight (end - start): a point on the line between two tensors; `weight` is a number or a tensor."""
    tensors = [t for t in (input, end, weight) if not isinstance(t, (int, float))]
    if all(isinstance(t, TensorBase) and t.array.shape == input.array.shape and t.array.dtype == input.array.dtype in FLOATS for t in tensors):
        return Lerp.apply(input, end, weight)
    away = end - input
    if isinstance(weight, (int, float)):
        return input + away * weight if weight < 0.5 else end - away * (1 - weight)
    checks.tensor("lerp: the weight", weight)
    return where(weight < 0.5, input + weight * away, end - away * (1 - weight))
