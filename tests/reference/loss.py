"""Losses element by element."""

import math

import numpy as np


def _log(x):
    return math.nan if x < 0 or x != x else math.log(x) if x else -math.inf


def _exp(x):
    return math.exp(x) if x < 700 else math.inf


def _sigmoid(x):
    return 1 / (1 + _exp(-x))


def _softplus(x):
    return max(x, 0.0) + math.log1p(_exp(-abs(x)))


def _sign(x):
    return (x > 0) - (x < 0)


def _clip(x, low, high):
    return max(low, min(high, x))


VALUES = {
    "mse": lambda x, t, p: (x - t) ** 2,
    "smooth_l1": lambda x, t, p: (x - t) ** 2 / (2 * p) if abs(x - t) < p else abs(x - t) - p / 2,
    "huber": lambda x, t, p: (x - t) ** 2 / 2 if abs(x - t) <= p else p * (abs(x - t) - p / 2),
    "bce": lambda x, t, p: -t * max(_log(x), -100) - (1 - t) * (max(math.log1p(-x), -100) if x < 1 else -100),
    "bce_with_logits": lambda x, t, p: ((1 - t) * x + max(-x, 0.0)) + math.log1p(_exp(-abs(x))),  # what may cancel is added first
    "kl_div": lambda x, t, p: (t * _log(t) if t else 0) - t * x,
    "kl_div_log": lambda x, t, p: _exp(t) * (t - x),
    "soft_margin": lambda x, t, p: _softplus(-t * x),
}
SLOPES = {
    "mse": lambda x, t, p: 2 * (x - t),
    "smooth_l1": lambda x, t, p: _clip((x - t) / p, -1, 1) if p else _sign(x - t),
    "huber": lambda x, t, p: _clip(x - t, -p, p),
    "bce": lambda x, t, p: (x - t) / max(x * (1 - x), 1e-12),
    "bce_with_logits": lambda x, t, p: _sigmoid(x) - t,
    "kl_div": lambda x, t, p: -t,
    "kl_div_log": lambda x, t, p: -_exp(t),
    "soft_margin": lambda x, t, p: -t * _sigmoid(-t * x),
}


def pointwise_loss(kind, x, target, parameter):
    y = np.empty(x.shape)
    for place in np.ndindex(*x.shape):
        y[place] = VALUES[kind](float(x[place]), float(target[place]), parameter)
    return y


def pointwise_loss_grad(kind, g, x, target, parameter):
    gx = np.empty(x.shape)
    for place in np.ndindex(*x.shape):
        gx[place] = float(g[place]) * SLOPES[kind](float(x[place]), float(target[place]), parameter)
    return gx
