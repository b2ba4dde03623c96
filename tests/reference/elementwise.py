"""Operations element by element: one Python loop over the elements."""

import math

import numpy as np

from . import mathfunctions as m


def _each(formula, *operands):
    broadcast = np.broadcast(*operands)
    values = [formula(*map(float, row)) for row in broadcast]
    return np.array(values, np.float64).reshape(broadcast.shape)


def exp(x):
    return _each(m.exp, x)


def log(x):
    return _each(m.log, x)


def clamp(x, low, high):
    low = -math.inf if low is None else low
    high = math.inf if high is None else high
    return _each(lambda v: v if math.isnan(v) else min(max(v, low), high), x)


def clamp_grad(gy, x, low, high):
    low = -math.inf if low is None else low
    high = math.inf if high is None else high
    return _each(lambda g, v: g if low <= v <= high else 0.0, gy, x)


def add(a, b):
    return _each(lambda u, v: u + v, a, b)


def sub(a, b):
    return _each(lambda u, v: u - v, a, b)


def mul(a, b):
    return _each(lambda u, v: u * v, a, b)


def div(a, b):
    return _each(m.divide, a, b)


def maximum(a, b):
    return _each(m.maximum, a, b)


def minimum(a, b):
    return _each(m.minimum, a, b)


def pow(a, b):
    return _each(lambda u, v: math.nan if u < 0 and v != int(v) else u**v, a, b)


def lerp(start, end, weight):
    return _each(lambda u, v, w: u + w * (v - u), start, end, weight)


def neg(x):
    return _each(lambda v: -v, x)


def abs(x):
    return _each(lambda v: -v if v < 0 else v, x)


def sqrt(x):
    return _each(lambda v: math.nan if math.isnan(v) or v < 0 else math.sqrt(v), x)


def sign(x):
    return _each(lambda v: float((v > 0) - (v < 0)), x)


def where(condition, a, b):
    return _each(lambda t, u, v: u if t else v, condition, a, b)


def _guarded(formula):
    """Outside its domain, nan; past the greatest number, inf."""

    def run(*values):
        try:
            return formula(*values)
        except ValueError:
            return math.nan
        except OverflowError:
            return math.inf

    return run


_UNARY = {
    "acos": math.acos, "acosh": math.acosh, "asin": math.asin, "asinh": math.asinh, "atan": math.atan,
    "atanh": lambda v: math.copysign(math.inf, v) if math.fabs(v) == 1 else math.atanh(v),
    "bitwise_not": lambda v: -int(v) - 1, "ceil": math.ceil, "cos": math.cos, "cosh": math.cosh, "exp2": lambda v: 2.0**v,
    "expm1": math.expm1, "frac": lambda v: v - math.trunc(v),
    "floor": math.floor, "isfinite": math.isfinite, "isinf": math.isinf, "isnan": math.isnan, "log10": math.log10,
    "log1p": math.log1p, "log2": math.log2, "logical_not": lambda v: v == 0, "round": round,
    "rsqrt": lambda v: math.inf if v == 0 else 1 / math.sqrt(v),
    "signbit": lambda v: math.copysign(1, v) < 0,
    "sin": math.sin, "sinh": math.sinh, "tan": math.tan, "trunc": math.trunc,
}  # fmt: skip


def _remainder(u, v):
    return math.nan if v == 0 else u % v


_BINARY = {
    "atan2": math.atan2, "bitwise_and": lambda u, v: int(u) & int(v), "bitwise_left_shift": lambda u, v: int(u) << int(v),
    "bitwise_or": lambda u, v: int(u) | int(v), "bitwise_right_shift": lambda u, v: int(u) >> int(v),
    "bitwise_xor": lambda u, v: int(u) ^ int(v), "div_trunc": lambda u, v: math.trunc(u / v), "eq": lambda u, v: u == v,
    "floor_divide": lambda u, v: u // v, "fmod": math.fmod, "ge": lambda u, v: u >= v, "gt": lambda u, v: u > v, "le": lambda u, v: u <= v,
    "logical_and": lambda u, v: u != 0 and v != 0, "logical_or": lambda u, v: u != 0 or v != 0,
    "logical_xor": lambda u, v: (u != 0) != (v != 0), "lt": lambda u, v: u < v, "ne": lambda u, v: u != v, "remainder": _remainder,
}  # fmt: skip


def unary(name, x):
    return _each(_guarded(_UNARY[name]), x)


def binary(name, a, b):
    return _each(_guarded(_BINARY[name]), a, b)
