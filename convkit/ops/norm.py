"""Batch normalisation (Ioffe and Szegedy, 2015)."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..autograd import Function, TensorBase, is_grad_enabled, no_grad, version_of
from ..device import kernels
from .elementwise import floating
from .reduce import mean, sum


def _channels(t: Any, ndim: int) -> Any:
    """[C] -> [1, C, 1, ...], to broadcast over [N, C, ...]."""
    return t.reshape(1, -1, *(1,) * (ndim - 2))


class BatchNorm(Function):
    """y = (x - mean) * inv_std * weight + bias with the batch's own statistics; also gives mean and biased variance [C]."""

    @staticmethod
    def forward(ctx, x, weight, bias, eps):
        k = kernels(x)
        mean_, var = k.batch_norm_stats(x)
        inv_std = (1.0 / np.sqrt(var + np.asarray(eps, var.dtype))).astype(x.dtype)
        ctx.eps = eps
        ctx.save_for_backward(x, weight, mean_, inv_std)
        ctx.mark_non_differentiable(mean_, var)
        return k.batch_norm(x, mean_, inv_std, weight, bias), mean_, var

    @staticmethod
    def backward(ctx, gy, _mean, _var):
        x, weight, mean_, inv_std = ctx.saved_tensors
        need_x, need_w, need_b, _ = ctx.needs_input_grad
        if not is_grad_enabled():
            grads = kernels(x.array).batch_norm_grad(gy.array, x.array, mean_.array, inv_std.array, None if weight is None else weight.array)
            return tuple(TensorBase.result(g) if need else None for g, need in zip(grads, (need_x, need_w, need_b), strict=True)) + (None,)
        # The same with operations that can be differentiated again; the statistics are functions of x here.
        over = (0, *range(2, x.ndim))
        away = x - mean(x, over, True)
        rate = (mean(away * away, over, True) + ctx.eps) ** -0.5
        xhat = away * rate
        g = gy if weight is None else gy * _channels(weight, x.ndim)
        gx = rate * (g - mean(g, over, True) - xhat * mean(g * xhat, over, True)) if need_x else None
        return gx, sum(gy * xhat, over) if need_w else None, sum(gy, over) if need_b else None, None


class Normalise(Function):
    """y = (x - mean) * inv_std * weight + bias with given statistics [C]."""

    @staticmethod
    def forward(ctx, x, weight, bias, mean_, inv_std):
        ctx.save_for_backward(x, weight, mean_, inv_std)
        return kernels(x).batch_norm(x, mean_, inv_std, weight, bias)

    @staticmethod
    def backward(ctx, gy):
        x, weight, mean_, inv_std = ctx.saved_tensors
        need_x, need_w, need_b, _, _ = ctx.needs_input_grad
        over = (0, *range(2, x.ndim))
        rate = _channels(inv_std, x.ndim)
        gx = gy * (rate if weight is None else rate * _channels(weight, x.ndim)) if need_x else None
        gw = sum(gy * (x - _channels(mean_, x.ndim)) * rate, over) if need_w else None
        return gx, gw, sum(gy, over) if need_b else None, None, None


def batch_norm(
    x: Any, running_mean: Any = None, running_var: Any = None, weight: Any = None, bias: Any = None,
    training: bool = False, momentum: float = 0.1, eps: float = 1e-5,
) -> Any:  # fmt: skip
    """x [N, C, ...] normalised for each channel: y = (x - mean) / sqrt(var + eps) * weight + bias.

    With `training` the statistics are the batch's (variance divided by the count), and running_mean and running_var, if given,
    move towards them in place by `momentum` (the variance then divided by count - 1, as in torch).  Otherwise the running
    statistics are used.  weight, bias and statistics have shape [C].
    """
    floating("batch_norm", x)
    if x.ndim < 2:
        raise ValueError(f"batch_norm: input must be [N, C, ...], got shape {list(x.shape)}")
    for name, t in (("weight", weight), ("bias", bias), ("running_mean", running_mean), ("running_var", running_var)):
        if t is not None and t.shape != (x.shape[1],):
            raise ValueError(f"batch_norm: {name} must have shape [{x.shape[1]}], one number a channel, got {list(t.shape)}")
        if t is not None and t.dtype != x.dtype:
            raise TypeError(f"batch_norm: input is {x.dtype} but {name} is {t.dtype}; convert with .to(dtype)")
    if not training:
        if running_mean is None or running_var is None:
            raise ValueError("batch_norm: training=False needs running_mean and running_var")
        inv_std = (1.0 / np.sqrt(running_var.array + np.asarray(eps, x.dtype))).astype(x.dtype)
        return Normalise.apply(x, weight, bias, running_mean.array.copy(), inv_std)
    count = x.array.size // max(1, x.shape[1])
    if count <= 1 and x.array.size:
        raise ValueError(f"batch_norm: needs more than one value a channel to train, got input {list(x.shape)}")
    y, batch_mean, batch_var = BatchNorm.apply(x, weight, bias, eps)
    if count:
        with no_grad():
            for running, new in ((running_mean, batch_mean.array), (running_var, batch_var.array * (count / (count - 1)))):
                if running is not None:
                    running.array[...] = (1 - momentum) * running.array + momentum * new
                    version_of(running)[0] += 1
    return y
