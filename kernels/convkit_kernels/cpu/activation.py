"""Activations and their gradients: rows of one table, each a formula and a derivative, compiled on first use.

    y  = formula(x, a, b, c)
    gx = derivative(gy, k, a, b, c)        k is x, or y in the rows hardtanh, sigmoid and tanh

a, b and c are the row's parameters; a row takes as many as it needs.  float32 is computed by `mathfunctions` without a call or a
branch, so that every loop vectorises.  Infinities and NaN come out as the formula has them: x sigmoid(x) at -inf is NaN.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from ..layout import normal
from . import mathfunctions as m
from .elementwise import broadcast, dense, each, formula, in_runs, long_formula


# ---------------------------------------------------------------------------------------- formulas
@formula
def _threshold(x, a, b, c):
    # x above a, else b.  relu is a = b = 0.
    return b if x <= a else x


@formula
def _threshold_grad(g, x, a, b, c):
    return type(x)(0) if x <= a else g


@formula
def _hardtanh(x, a, b, c):
    # x limited to [a, b].
    return m.minimum(m.maximum(x, a), b)


@formula
def _hardtanh_grad(g, y, a, b, c):
    return type(y)(0) if (y <= a) | (y >= b) else g


@formula
def _leaky_relu(x, a, b, c):
    # x above 0, else a x.
    return x if x > type(x)(0) else a * x


@formula
def _leaky_relu_grad(g, x, a, b, c):
    return g if x > type(x)(0) else a * g


@formula
def _prelu(x, w, a, b, c):
    # x above 0, else w x.
    return x if x > type(x)(0) else w * x


@formula
def _prelu_grad(g, x, w, a, b, c):
    return g if x > type(x)(0) else w * g


@long_formula
def _elu(x, a, b, c):
    # b x above 0, else a (exp(c x) - 1).
    return b * x if x > type(x)(0) else a * m.expm1(c * x)


@long_formula
def _elu_grad(g, x, a, b, c):
    return g * b if x > type(x)(0) else g * a * c * m.exp(c * x)


@long_formula
def _gelu(x, a, b, c):
    # x P(x), P the normal distribution.
    cdf, _ = m.normal(x)
    return x * cdf


@long_formula
def _gelu_grad(g, x, a, b, c):
    cdf, density = m.normal(x)
    return g * (cdf + x * density)


_GELU, _GELU_CUBE = math.sqrt(2 / math.pi), 0.044715


@long_formula
def _gelu_tanh(x, a, b, c):
    # x (1 + tanh(u)) / 2, u = sqrt(2 / pi) (x + 0.044715 x^3); that is x sigmoid(2 u).
    u = type(x)(2 * _GELU) * (x + type(x)(_GELU_CUBE) * (x * x * x))
    return x * m.sigmoid(u)


@long_formula
def _gelu_tanh_grad(g, x, a, b, c):
    u = type(x)(2 * _GELU) * (x + type(x)(_GELU_CUBE) * (x * x * x))
    slope = type(x)(2 * _GELU) * (type(x)(1) + type(x)(3 * _GELU_CUBE) * (x * x))
    s = m.sigmoid(u)
    return g * (s + x * slope * (s * m.sigmoid(-u)))


@long_formula
def _silu(x, a, b, c):
    # x sigmoid(x).
    return x * m.sigmoid(x)


@long_formula
def _silu_grad(g, x, a, b, c):
    s = m.sigmoid(x)
    return g * (s * (type(x)(1) + x * (type(x)(1) - s)))


@long_formula
def _mish(x, a, b, c):
    # x tanh(log(1 + e)), e = exp(x); that is x n / (n + 2), n = e (e + 2), and x from 20 on.
    e = m.exp(type(x)(20) if x > type(x)(20) else x)
    n = e * (e + type(x)(2))
    return x * (n / (n + type(x)(2)))


@long_formula
def _mish_grad(g, x, a, b, c):
    # n / (n + 2) + x 4 e (1 + e) / (n + 2)^2
    e = m.exp(type(x)(20) if x > type(x)(20) else x)
    n = e * (e + type(x)(2))
    over = n + type(x)(2)
    return g * (n / over + x * ((type(x)(4) * e * (type(x)(1) + e)) / (over * over)))


@long_formula
def _softplus(x, a, b, c):
    # log(1 + exp(a x)) / a, and x where a x is above b.
    z = a * x
    return x if z > b else m.divide(m.softplus(z), a)


@long_formula
def _softplus_grad(g, x, a, b, c):
    z = a * x
    return g if z > b else g * m.sigmoid(z)


@formula
def _softsign(x, a, b, c):
    # x / (1 + |x|).
    return x / (type(x)(1) + abs(x))


@formula
def _softsign_grad(g, x, a, b, c):
    over = type(x)(1) + abs(x)
    return g / over / over + type(x)(0) * (x / over)  # the sum only passes on that inf / inf is NaN


@formula
def _hardsigmoid(x, a, b, c):
    # min(max(x + 3, 0), 6) / 6.
    return m.divide(m.minimum(m.maximum(x + type(x)(3), type(x)(0)), type(x)(6)), type(x)(6))


@formula
def _hardsigmoid_grad(g, x, a, b, c):
    return m.divide(g, type(x)(6)) if (x > type(x)(-3)) & (x < type(x)(3)) else type(x)(0)


@formula
def _hardswish(x, a, b, c):
    # x min(max(x + 3, 0), 6) / 6.
    return x * m.divide(m.minimum(m.maximum(x + type(x)(3), type(x)(0)), type(x)(6)), type(x)(6))


@formula
def _hardswish_grad(g, x, a, b, c):
    inside = g * (m.divide(x, type(x)(3)) + type(x)(0.5))
    above = type(x)(0) if x <= type(x)(-3) else g
    return inside if (x > type(x)(-3)) & (x < type(x)(3)) else above


@long_formula
def _sigmoid(x, a, b, c):
    # 1 / (1 + exp(-x)).
    return m.sigmoid(x)


@formula
def _sigmoid_grad(g, y, a, b, c):
    return g * y * (type(y)(1) - y)


@long_formula
def _logsigmoid(x, a, b, c):
    # log(sigmoid(x)) = -log(1 + exp(-x)).
    return type(x)(0) - m.softplus(-x)


@long_formula
def _logsigmoid_grad(g, x, a, b, c):
    return g * m.sigmoid(-x)


@long_formula
def _tanh(x, a, b, c):
    return m.tanh(x)


@formula
def _tanh_grad(g, y, a, b, c):
    return g * (type(y)(1) - y * y)


@formula
def _hardshrink(x, a, b, c):
    # 0 on [-a, a], else x.
    return type(x)(0) if (x >= -a) & (x <= a) else x


@formula
def _hardshrink_grad(g, x, a, b, c):
    return type(x)(0) if (x >= -a) & (x <= a) else g


@formula
def _softshrink(x, a, b, c):
    # x brought nearer to 0 by a, and 0 on [-a, a].
    shrunk = x - a if x > a else x + a
    return type(x)(0) if (x >= -a) & (x <= a) else shrunk


@formula
def _nan_to_num(x, a, b, c):
    # a for NaN, b for infinity, c for -infinity.
    finite = x if x - x == type(x)(0) else b if x > type(x)(0) else c
    return finite if x == x else a


@formula
def _nan_to_num_grad(g, x, a, b, c):
    return g if x - x == type(x)(0) else type(x)(0)


@long_formula
def _glu(x, w, a, b, c):
    # x sigmoid(w)
    return x * m.sigmoid(w)


@long_formula
def _glu_grad(g, x, w, a, b, c):
    # Its derivative to w.
    s = m.sigmoid(w)
    return g * (x * (s * (type(x)(1) - s)))


# ---------------------------------------------------------------------------------------- the table
_ROWS = {
    "threshold": (_threshold, _threshold_grad),
    "hardtanh": (_hardtanh, _hardtanh_grad),
    "leaky_relu": (_leaky_relu, _leaky_relu_grad),
    "elu": (_elu, _elu_grad),
    "gelu": (_gelu, _gelu_grad),
    "gelu_tanh": (_gelu_tanh, _gelu_tanh_grad),
    "silu": (_silu, _silu_grad),
    "mish": (_mish, _mish_grad),
    "softplus": (_softplus, _softplus_grad),
    "softsign": (_softsign, _softsign_grad),
    "hardsigmoid": (_hardsigmoid, _hardsigmoid_grad),
    "hardswish": (_hardswish, _hardswish_grad),
    "sigmoid": (_sigmoid, _sigmoid_grad),
    "logsigmoid": (_logsigmoid, _logsigmoid_grad),
    "tanh": (_tanh, _tanh_grad),
    "hardshrink": (_hardshrink, _hardshrink_grad),
    "softshrink": (_softshrink, _hardshrink_grad),
    "nan_to_num": (_nan_to_num, _nan_to_num_grad),
}
# Rows of two arrays: the second is `a`.
_PAIRS = {"leaky_relu": (_prelu, _prelu_grad), "glu": (_glu, _glu_grad)}


def activation(name: str, x: np.ndarray, a: float | np.ndarray = 0.0, b: float = 0.0, c: float = 0.0) -> np.ndarray:
    """Row `name` of the table for each element of x, in the memory order of x.

    In leaky_relu a may be an array that broadcasts to x: a slope for each channel, say.  In glu it is one: x sigmoid(a).
    """
    if isinstance(a, np.ndarray):
        return _pair(_PAIRS[name][0], [x, a])
    x = dense(x)
    return each(_ROWS[name][0], x, [x], a, b, c)


def _pair(row: Callable, operands: list[np.ndarray]) -> np.ndarray:
    operands = [normal(operand) for operand in operands]
    y = in_runs(row, operands)
    if y is None:
        operands[0] = dense(operands[0])
        y = broadcast(row, operands[0], operands)
    return y


def activation_grad(name: str, gy: np.ndarray, k: np.ndarray, a: float | np.ndarray = 0.0, b: float = 0.0, c: float = 0.0) -> np.ndarray:
    """gy times the derivative of row `name` at x, from k: the result y in the rows hardtanh, sigmoid and tanh, else x.

    For threshold with b <= a, relu among them, k may be either.  In glu the derivative is that to the array a.  In the memory order of gy.
    """
    if isinstance(a, np.ndarray):
        return _pair(_PAIRS[name][1], [gy, k, a])
    gy = dense(gy)
    return each(_ROWS[name][1], gy, [gy, k], a, b, c)
