"""Losses element by element: how far x is from its target.

    loss = value(x, t, p)        gx = g slope(x, t, p)        slope = d value / d x

`KINDS` is the table of the formulas; p is the one parameter that some of them have (beta, delta).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import prange, types
from numba.extending import overload, register_jitable

from ..layout import flat
from . import mathfunctions as m
from .elementwise import CHUNK, dense, in_order_of, line
from .runtime import STRICT, kernel


# -------------------------------------------------------------------------------- what formulas use
def _like(x: Any, value: float) -> Any:
    """The constant `value` in the type of x; callable from kernels only."""
    raise NotImplementedError


@overload(_like, jit_options=STRICT)
def _like_overload(x, value):
    if x == types.float32:
        return lambda x, value: np.float32(value)
    return lambda x, value: float(value)


@register_jitable(**STRICT)
def _log1p(x):
    # log(1 + x): the rounding error of u = 1 + x cancels in log(u) / (u - 1), the slope of a chord near 1 (W. Kahan).
    u = _like(x, 1.0) + x
    step = u - _like(x, 1.0)
    return x if step == _like(x, 0.0) else m.log(u) * (x / step)


@register_jitable(**STRICT)
def _sign(x):
    zero, one = _like(x, 0.0), _like(x, 1.0)
    return one if x > zero else -one if x < zero else x  # x itself where it is 0 or NaN


# -------------------------------------------------------------------------------------- the formulas
@register_jitable(**STRICT)
def _mse(x, t, p):
    """(x - t)^2"""
    return (x - t) * (x - t)


@register_jitable(**STRICT)
def _mse_slope(x, t, p):
    return (x - t) + (x - t)


@register_jitable(**STRICT)
def _smooth_l1(x, t, p):
    """(x - t)^2 / (2 p) where |x - t| < p, else |x - t| - p / 2; p = 0 is |x - t|"""
    half = _like(x, 0.5)
    away = abs(x - t)
    return half * away * away / p if away < p else away - half * p


@register_jitable(**STRICT)
def _smooth_l1_slope(x, t, p):
    return (x - t) / p if abs(x - t) < p else _sign(x - t)


@register_jitable(**STRICT)
def _huber(x, t, p):
    """(x - t)^2 / 2 where |x - t| <= p, else p (|x - t| - p / 2)"""
    half = _like(x, 0.5)
    away = abs(x - t)
    return half * away * away if away <= p else p * (away - half * p)


@register_jitable(**STRICT)
def _huber_slope(x, t, p):
    return m.minimum(m.maximum(x - t, -p), p)


@register_jitable(**STRICT)
def _bce(x, t, p):
    """-t log x - (1 - t) log(1 - x), each logarithm at least -100"""
    one, least = _like(x, 1.0), _like(x, -100.0)
    return (t - one) * m.maximum(_log1p(-x), least) - t * m.maximum(m.log(x), least)


@register_jitable(**STRICT)
def _bce_slope(x, t, p):
    return (x - t) / m.maximum((_like(x, 1.0) - x) * x, _like(x, 1e-12))


@register_jitable(**STRICT)
def _softplus(x):
    # log(1 + exp(x)) in a form that cannot overflow.
    return m.maximum(x, _like(x, 0.0)) + _log1p(m.exp(-abs(x)))


@register_jitable(**STRICT)
def _bce_with_logits(x, t, p):
    """-t log s - (1 - t) log(1 - s) where s = sigmoid(x), which is (1 - t) x + log(1 + exp(-x))"""
    return (_like(x, 1.0) - t) * x + _softplus(-x)


@register_jitable(**STRICT)
def _bce_with_logits_slope(x, t, p):
    return m.sigmoid(x) - t


@register_jitable(**STRICT)
def _kl_div(x, t, p):
    """t (log t - x), and 0 log 0 = 0"""
    zero = _like(x, 0.0)
    return (zero if t == zero else t * m.log(t)) - t * x


@register_jitable(**STRICT)
def _kl_div_slope(x, t, p):
    return -t


@register_jitable(**STRICT)
def _kl_div_log(x, t, p):
    """exp(t) (t - x)"""
    return m.exp(t) * (t - x)


@register_jitable(**STRICT)
def _kl_div_log_slope(x, t, p):
    return -m.exp(t)


@register_jitable(**STRICT)
def _soft_margin(x, t, p):
    """log(1 + exp(-t x))"""
    return _softplus(-t * x)


@register_jitable(**STRICT)
def _soft_margin_slope(x, t, p):
    return -t * m.sigmoid(-t * x)


# ---------------------------------------------------------------------------------------- the walks
# y = loss(x, t, p) and gx = g slope(x, t, p), CHUNK elements at a time; a g or a target that repeats has CHUNK elements, the same for
# all parts.  Two kernels each, so that who needs squares only does not wait while the others compile.
_MSE, _SMOOTH_L1, _HUBER, _BCE, _BCE_WITH_LOGITS, _KL_DIV, _KL_DIV_LOG, _SOFT_MARGIN = range(8)


@kernel
def _differences(kind, x, target, p, y, repeats):
    for chunk in prange((x.size + CHUNK - 1) // CHUNK):
        low, high = chunk * CHUNK, min((chunk + 1) * CHUNK, x.size)
        part = x[low:high]
        t = target[: high - low] if repeats else target[low:high]
        out = y[low:high]
        if kind == _MSE:
            for i in range(out.size):
                out[i] = _mse(part[i], t[i], p)
        elif kind == _SMOOTH_L1:
            for i in range(out.size):
                out[i] = _smooth_l1(part[i], t[i], p)
        else:
            for i in range(out.size):
                out[i] = _huber(part[i], t[i], p)


@kernel
def _slopes_of_differences(kind, g, x, target, p, gx, g_repeats, repeats):
    for chunk in prange((x.size + CHUNK - 1) // CHUNK):
        low, high = chunk * CHUNK, min((chunk + 1) * CHUNK, x.size)
        factor = g[: high - low] if g_repeats else g[low:high]
        part = x[low:high]
        t = target[: high - low] if repeats else target[low:high]
        out = gx[low:high]
        if kind == _MSE:
            for i in range(out.size):
                out[i] = factor[i] * _mse_slope(part[i], t[i], p)
        elif kind == _SMOOTH_L1:
            for i in range(out.size):
                out[i] = factor[i] * _smooth_l1_slope(part[i], t[i], p)
        else:
            for i in range(out.size):
                out[i] = factor[i] * _huber_slope(part[i], t[i], p)


@kernel
def _entropies(kind, x, target, p, y, repeats):
    for chunk in prange((x.size + CHUNK - 1) // CHUNK):
        low, high = chunk * CHUNK, min((chunk + 1) * CHUNK, x.size)
        part = x[low:high]
        t = target[: high - low] if repeats else target[low:high]
        out = y[low:high]
        if kind == _BCE:
            for i in range(out.size):
                out[i] = _bce(part[i], t[i], p)
        elif kind == _BCE_WITH_LOGITS:
            for i in range(out.size):
                out[i] = _bce_with_logits(part[i], t[i], p)
        elif kind == _KL_DIV:
            for i in range(out.size):
                out[i] = _kl_div(part[i], t[i], p)
        elif kind == _KL_DIV_LOG:
            for i in range(out.size):
                out[i] = _kl_div_log(part[i], t[i], p)
        else:
            for i in range(out.size):
                out[i] = _soft_margin(part[i], t[i], p)


@kernel
def _slopes_of_entropies(kind, g, x, target, p, gx, g_repeats, repeats):
    for chunk in prange((x.size + CHUNK - 1) // CHUNK):
        low, high = chunk * CHUNK, min((chunk + 1) * CHUNK, x.size)
        factor = g[: high - low] if g_repeats else g[low:high]
        part = x[low:high]
        t = target[: high - low] if repeats else target[low:high]
        out = gx[low:high]
        if kind == _BCE:
            for i in range(out.size):
                out[i] = factor[i] * _bce_slope(part[i], t[i], p)
        elif kind == _BCE_WITH_LOGITS:
            for i in range(out.size):
                out[i] = factor[i] * _bce_with_logits_slope(part[i], t[i], p)
        elif kind == _KL_DIV:
            for i in range(out.size):
                out[i] = factor[i] * _kl_div_slope(part[i], t[i], p)
        elif kind == _KL_DIV_LOG:
            for i in range(out.size):
                out[i] = factor[i] * _kl_div_log_slope(part[i], t[i], p)
        else:
            for i in range(out.size):
                out[i] = factor[i] * _soft_margin_slope(part[i], t[i], p)


# name: (number, kernel of the loss, kernel of the slope)
KINDS = {
    "mse": (_MSE, _differences, _slopes_of_differences),
    "smooth_l1": (_SMOOTH_L1, _differences, _slopes_of_differences),
    "huber": (_HUBER, _differences, _slopes_of_differences),
    "bce": (_BCE, _entropies, _slopes_of_entropies),
    "bce_with_logits": (_BCE_WITH_LOGITS, _entropies, _slopes_of_entropies),
    "kl_div": (_KL_DIV, _entropies, _slopes_of_entropies),
    "kl_div_log": (_KL_DIV_LOG, _entropies, _slopes_of_entropies),
    "soft_margin": (_SOFT_MARGIN, _entropies, _slopes_of_entropies),
}


def _operand(a: np.ndarray, like: np.ndarray) -> tuple[np.ndarray, bool]:
    """(elements of `a` in the memory order of `like`, whether they repeat): one number broadcast to an array is not written out."""
    if a.size > CHUNK and not any(a.strides):
        return np.full(CHUNK, a[(0,) * a.ndim], like.dtype), True
    return line(in_order_of(a, like)), False


def pointwise_loss(kind: str, x: np.ndarray, target: np.ndarray, parameter: float) -> np.ndarray:
    """The loss `kind` of each element of x; `target` has its shape and dtype."""
    x = dense(x)
    y = np.empty_like(x)
    t, repeats = _operand(target, x)
    number, run, _ = KINDS[kind]
    run(number, line(x), t, x.dtype.type(parameter), flat(y), repeats)
    return y


def pointwise_loss_grad(kind: str, g: np.ndarray, x: np.ndarray, target: np.ndarray, parameter: float) -> np.ndarray:
    """The gradient of `pointwise_loss` to x, from the gradient g of its result."""
    x = dense(x)
    gx = np.empty_like(x)
    factor, g_repeats = _operand(g, x)
    t, repeats = _operand(target, x)
    number, _, run = KINDS[kind]
    run(number, factor, line(x), t, x.dtype.type(parameter), flat(gx), g_repeats, repeats)
    return gx
