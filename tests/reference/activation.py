"""Activations and their derivatives: the formulas of their definitions, one number at a time."""

import math

import numpy as np

from . import mathfunctions as m


def _gelu_u(x):
    return math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)


def _times(a, b):
    """a b, where a product of 0 and infinity is NaN without a warning."""
    return math.nan if (a == 0 and math.isinf(b)) or (b == 0 and math.isinf(a)) else a * b


def _softsign(x):
    return math.nan if math.isinf(x) else x / (1 + abs(x))


def _hard(x):
    return min(max(x + 3, 0.0), 6.0) / 6 if x == x else x


def _density(x):
    return m.exp(-0.5 * x * x) / math.sqrt(2 * math.pi)


def _mish_slope(x):
    t, s = math.tanh(m.log1p(m.exp(min(x, 40.0)))), m.sigmoid(x)
    return t + _times(x, s * (1 - t * t))


# name: (y from x and the parameters, dy / dx from k and the parameters); k is y in hardtanh, sigmoid and tanh, else x
ROWS = {
    "threshold": (lambda x, a, b, c: b if x <= a else x, lambda x, a, b, c: float(not x <= a)),
    "hardtanh": (lambda x, a, b, c: x if x != x else min(max(x, a), b), lambda y, a, b, c: float(not (y <= a or y >= b))),
    "leaky_relu": (lambda x, a, b, c: x if x > 0 else a * x, lambda x, a, b, c: 1.0 if x > 0 else a),
    "elu": (lambda x, a, b, c: b * x if x > 0 else a * m.expm1(c * x), lambda x, a, b, c: b if x > 0 else a * c * m.exp(c * x)),
    "gelu": (lambda x, a, b, c: _times(x, m.normal(x)[0]), lambda x, a, b, c: m.normal(x)[0] + _times(x, _density(x))),
    "gelu_tanh": (
        lambda x, a, b, c: _times(x, m.sigmoid(2 * _gelu_u(x))),
        lambda x, a, b, c: (
            m.sigmoid(2 * _gelu_u(x))
            + _times(x, 2 * m.sigmoid(2 * _gelu_u(x)) * m.sigmoid(-2 * _gelu_u(x)) * math.sqrt(2 / math.pi) * (1 + 3 * 0.044715 * x * x))
        ),
    ),
    "silu": (lambda x, a, b, c: _times(x, m.sigmoid(x)), lambda x, a, b, c: m.sigmoid(x) * (1 + _times(x, m.sigmoid(-x)))),
    "mish": (lambda x, a, b, c: _times(x, math.tanh(m.log1p(m.exp(min(x, 40.0))))), lambda x, a, b, c: _mish_slope(x)),
    "softplus": (
        lambda x, a, b, c: x if a * x > b else (max(a * x, 0.0) + m.log1p(m.exp(-abs(a * x)))) / a if x == x else x,
        lambda x, a, b, c: 1.0 if a * x > b else m.sigmoid(a * x),
    ),
    "softsign": (lambda x, a, b, c: _softsign(x), lambda x, a, b, c: math.nan if math.isinf(x) else 1 / (1 + abs(x)) ** 2),
    "hardsigmoid": (lambda x, a, b, c: _hard(x), lambda x, a, b, c: 1 / 6 if -3 < x < 3 else 0.0),
    "hardswish": (lambda x, a, b, c: _times(x, _hard(x)), lambda x, a, b, c: x / 3 + 0.5 if -3 < x < 3 else float(not x <= -3)),
    "sigmoid": (lambda x, a, b, c: m.sigmoid(x), lambda y, a, b, c: y * (1 - y)),
    "logsigmoid": (lambda x, a, b, c: min(x, 0.0) - m.log1p(m.exp(-abs(x))) if x == x else x, lambda x, a, b, c: m.sigmoid(-x)),
    "tanh": (lambda x, a, b, c: m.tanh(x), lambda y, a, b, c: 1 - y * y),
    "hardshrink": (lambda x, a, b, c: 0.0 if -a <= x <= a else x, lambda x, a, b, c: float(not -a <= x <= a)),
    "softshrink": (
        lambda x, a, b, c: 0.0 if -a <= x <= a else x - math.copysign(a, x) if x == x else x,
        lambda x, a, b, c: float(not -a <= x <= a),
    ),
    "nan_to_num": (lambda x, a, b, c: a if x != x else {math.inf: b, -math.inf: c}.get(x, x), lambda x, a, b, c: float(math.isfinite(x))),
}


def _parameters(x, *values):
    """The parameters as the kernel sees them: in the type of x."""
    return [float(np.asarray(v, x.dtype.newbyteorder("="))) for v in values]


def _everywhere(x, a, b, c):
    """(element, a, b, c) for each element of x; a may be an array that broadcasts to x."""
    b, c = _parameters(x, b, c)
    slopes = np.broadcast_to(np.asarray(a, x.dtype.newbyteorder("=")), x.shape)
    return [(float(v), float(p), b, c) for v, p in zip(x.ravel(), slopes.ravel(), strict=True)]


def activation(name, x, a, b=0, c=0):
    if name == "glu":
        return np.array([_times(float(v), m.sigmoid(float(w))) for v, w in zip(x.ravel(), a.ravel(), strict=True)], np.float64).reshape(x.shape)
    formula = ROWS[name][0]
    return np.array([formula(*values) for values in _everywhere(x, a, b, c)], np.float64).reshape(x.shape)


def activation_grad(name, gy, k, a, b=0, c=0):
    if name == "glu":  # to a
        slopes = [_times(float(v), m.sigmoid(float(w)) * m.sigmoid(-float(w))) for v, w in zip(k.ravel(), a.ravel(), strict=True)]
        return np.array(slopes, np.float64).reshape(k.shape) * gy
    slope = ROWS[name][1]
    slopes = [slope(*values) for values in _everywhere(k, a, b, c)]
    # Where a row lets nothing pass, not even NaN and infinity pass.
    return np.array([s * float(g) if s else 0.0 for s, g in zip(slopes, gy.ravel(), strict=True)], np.float64).reshape(k.shape)
