"""Losses element by element: how far x is from its target.

    loss = value(x, t, a)        gx = slope(g, x, t, a)        slope = g d value / d x

`KINDS` is the table of the formulas; a is the one parameter that some of them have (beta, delta).
"""

from __future__ import annotations

import numpy as np

from . import mathfunctions as m
from .elementwise import dense, each, formula, long_formula


@formula
def _mse(x, t, a, b, c):
    # (x - t)^2
    return (x - t) * (x - t)


@formula
def _mse_slope(g, x, t, a, b, c):
    return g * ((x - t) + (x - t))


@formula
def _smooth_l1(x, t, a, b, c):
    # (x - t)^2 / (2 a) where |x - t| < a, else |x - t| - a / 2; a = 0 is |x - t|.
    half = type(x)(0.5)
    away = abs(x - t)
    return half * away * away / a if away < a else away - half * a


@formula
def _smooth_l1_slope(g, x, t, a, b, c):
    away, one = x - t, type(x)(1)
    sign = one if away > type(x)(0) else -one if away < type(x)(0) else away  # `away` itself where it is 0 or NaN
    return g * (away / a if abs(away) < a else sign)


@formula
def _huber(x, t, a, b, c):
    # (x - t)^2 / 2 where |x - t| <= a, else a (|x - t| - a / 2).
    half = type(x)(0.5)
    away = abs(x - t)
    return half * away * away if away <= a else a * (away - half * a)


@formula
def _huber_slope(g, x, t, a, b, c):
    return g * m.minimum(m.maximum(x - t, -a), a)


@long_formula
def _bce(x, t, a, b, c):
    # -t log x - (1 - t) log(1 - x), each logarithm at least -100.
    one, least = type(x)(1), type(x)(-100)
    return (t - one) * m.maximum(m.log1p(-x), least) - t * m.maximum(m.log(x), least)


@formula
def _bce_slope(g, x, t, a, b, c):
    return g * ((x - t) / m.maximum((type(x)(1) - x) * x, type(x)(1e-12)))


@long_formula
def _bce_with_logits(x, t, a, b, c):
    # -t log s - (1 - t) log(1 - s) where s = sigmoid(x); that is (1 - t) x + log(1 + exp(-x)).  The large terms come first: they may cancel.
    return ((type(x)(1) - t) * x + m.maximum(-x, type(x)(0))) + m.knee(x)


@long_formula
def _bce_with_logits_slope(g, x, t, a, b, c):
    return g * (m.sigmoid(x) - t)


@long_formula
def _kl_div(x, t, a, b, c):
    # t (log t - x), and 0 log 0 = 0.
    return (type(x)(0) if t == type(x)(0) else t * m.log(t)) - t * x


@formula
def _kl_div_slope(g, x, t, a, b, c):
    return g * -t


@long_formula
def _kl_div_log(x, t, a, b, c):
    # exp(t) (t - x)
    return m.exp(t) * (t - x)


@long_formula
def _kl_div_log_slope(g, x, t, a, b, c):
    return g * -m.exp(t)


@long_formula
def _soft_margin(x, t, a, b, c):
    # log(1 + exp(-t x))
    return m.softplus(-t * x)


@long_formula
def _soft_margin_slope(g, x, t, a, b, c):
    return g * (-t * m.sigmoid(-t * x))


KINDS = {
    "mse": (_mse, _mse_slope),
    "smooth_l1": (_smooth_l1, _smooth_l1_slope),
    "huber": (_huber, _huber_slope),
    "bce": (_bce, _bce_slope),
    "bce_with_logits": (_bce_with_logits, _bce_with_logits_slope),
    "kl_div": (_kl_div, _kl_div_slope),
    "kl_div_log": (_kl_div_log, _kl_div_log_slope),
    "soft_margin": (_soft_margin, _soft_margin_slope),
}


def pointwise_loss(kind: str, x: np.ndarray, target: np.ndarray, parameter: float) -> np.ndarray:
    """The loss `kind` of each element of x; `target` has its shape and dtype."""
    x = dense(x)
    return each(KINDS[kind][0], x, [x, target], parameter)


def pointwise_loss_grad(kind: str, g: np.ndarray, x: np.ndarray, target: np.ndarray, parameter: float) -> np.ndarray:
    """The gradient of `pointwise_loss` to x, from the gradient g of its result."""
    x = dense(x)
    return each(KINDS[kind][1], x, [g, x, target], parameter)
