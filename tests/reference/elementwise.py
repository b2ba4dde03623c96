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


def neg(x):
    return _each(lambda v: -v, x)


def abs(x):
    return _each(lambda v: -v if v < 0 else v, x)


def sqrt(x):
    return _each(lambda v: math.nan if math.isnan(v) or v < 0 else math.sqrt(v), x)


def sign(x):
    return _each(lambda v: v if math.isnan(v) else float((v > 0) - (v < 0)), x)


def where(condition, a, b):
    return _each(lambda t, u, v: u if t else v, condition, a, b)
