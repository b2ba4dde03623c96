"""Normalisation over batches, layers, groups and instances: one operation; and local response normalisation.

`Norm` normalises x [N, C, *S] with the statistics of x itself, taken over the whole batch or each image, and over groups of channels.  `Normalise`
takes given ones, and becomes part of the convolution before it where no gradient is recorded.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ..autograd import Function, TensorBase, fusion, is_grad_enabled, is_observed, no_grad, version_of
from ..device import kernels
from . import checks
from .activation import ActivationGrad
from .conv import Conv
from .elementwise import floating
from .pool import avg_pool
from .reduce import mean, sum


class Over(NamedTuple):
    """What statistics are taken over, and how."""

    groups: int  # of channels
    batch: bool  # over the whole batch, or for each image
    eps: float
    centred: bool = True  # without: the mean counts as 0


def _rate(var: np.ndarray, eps: float, dtype: np.dtype) -> np.ndarray:
    with np.errstate(all="ignore"):
        return (1.0 / np.sqrt(var + np.asarray(eps, var.dtype))).astype(dtype)


class Statistics(Function):
    """Mean and biased variance of the array x [N, C, *S], [1, G] or [N, G]; without a gradient, for that of `Norm` knows what they are."""

    @staticmethod
    def forward(ctx, x, over):
        mean_, var = kernels(x).norm_stats(x, over.groups, over.batch)
        return (mean_, var) if over.centred else (np.zeros_like(mean_), var + mean_ * mean_)


class Norm(Function):
    """y = (x - mean) inv_std weight + bias + add for x [N, C, *S] with its own statistics, max(y, 0) with `relu`."""

    @staticmethod
    def forward(ctx, x, weight, bias, mean_, inv_std, over, add=None, relu=False):
        y = kernels(x).norm(x, mean_, inv_std, weight, bias, add, relu)
        ctx.over, ctx.relu = over, relu and add is None  # then what was cut off is found from x again
        ctx.save_for_backward(x, weight, bias if ctx.relu else None, mean_, inv_std, y if relu and not ctx.relu else None)
        return y

    @staticmethod
    def backward(ctx, gy):
        x, weight, bias, mean_, inv_std, y = ctx.saved_tensors
        need_x, need_w, need_b, *_ = ctx.needs_input_grad
        over, k = ctx.over, kernels(x.array)
        given = x.array, mean_.array, inv_std.array, *(None if t is None else t.array for t in (weight, bias))
        if y is not None:
            gy = ActivationGrad.apply(gy, y, "relu")
        rest = None, None, None, gy if ctx.needs_input_grad[6] else None, None
        if not is_grad_enabled():
            grads = k.norm_grad(gy.array, *given, over.centred, ctx.relu)
            return tuple(TensorBase.result(g) if need else None for g, need in zip(grads, (need_x, need_w, need_b), strict=True)) + rest
        # The same with operations that can be differentiated again; the statistics are functions of x here.  Channels are two axes,
        # groups and channels of a group.
        if ctx.relu:
            gy = ActivationGrad.apply(gy, TensorBase.result(k.norm(*given, None, True)), "relu")
        shape = x.shape
        each = shape[1] // over.groups
        split = (shape[0], over.groups, each, *shape[2:])
        axes = (0,) * over.batch + tuple(range(2, len(split)))
        x, gy = x.reshape(split), gy.reshape(split)
        away = x - mean(x, axes, True) if over.centred else x
        rate = (mean(away * away, axes, True) + over.eps) ** -0.5
        xhat = away * rate
        gx = None
        if need_x:
            g = gy if weight is None else gy * weight.reshape(1, over.groups, each, *(1,) * (len(shape) - 2))
            gx = g - xhat * mean(g * xhat, axes, True)
            gx = (rate * (gx - mean(g, axes, True) if over.centred else rate * gx)).reshape(shape)
        others = (0, *range(3, len(split)))
        return gx, sum(gy * xhat, others).reshape(-1) if need_w else None, sum(gy, others).reshape(-1) if need_b else None, *rest


class Normalise(Function):
    """y = (x - mean) inv_std weight + bias + add with given statistics [C], and max(y, 0) with `relu`."""

    @staticmethod
    def forward(ctx, x, weight, bias, mean_, inv_std, add=None, relu=False):
        y = kernels(x).norm(x, mean_[None], inv_std[None], weight, bias, add, relu)
        ctx.save_for_backward(x, weight, mean_, inv_std, y if relu else None)
        return y

    @staticmethod
    def backward(ctx, gy):
        x, weight, mean_, inv_std, y = ctx.saved_tensors
        need_x, need_w, need_b, *_ = ctx.needs_input_grad
        if y is not None:
            gy = ActivationGrad.apply(gy, y, "relu")
        rest = None, None, gy if ctx.needs_input_grad[5] else None, None
        if not is_grad_enabled():
            given = x.array, mean_.array[None], inv_std.array[None], None if weight is None else weight.array, None
            grads = kernels(x.array).norm_grad(gy.array, *given, True, False, True)
            needs = zip(grads, (need_x, need_w, need_b), strict=True)
            return *(TensorBase.result(grad) if need else None for grad, need in needs), *rest
        over = (0, *range(2, x.ndim))
        rate = _channels(inv_std, x.ndim)
        gx = gy * (rate if weight is None else rate * _channels(weight, x.ndim)) if need_x else None
        gw = sum(gy * (x - _channels(mean_, x.ndim)) * rate, over) if need_w else None
        return gx, gw, sum(gy, over) if need_b else None, *rest


def _channels(t: Any, ndim: int) -> Any:
    """[C] -> [1, C, 1, ...], to broadcast over [N, C, ...]."""
    return t.reshape(1, -1, *(1,) * (ndim - 2))


# ------------------------------------------------------------------------------------------ checks
def _check(op: str, x: Any, shape: Sequence[int], what: str, **tensors: Any) -> None:
    """ValueError or TypeError unless the tensors that are given have `shape`, called `what`, and the dtype of x."""
    for name, t in tensors.items():
        if t is None:
            continue
        if not isinstance(t, TensorBase):
            raise TypeError(f"{op}: {name} must be a tensor, got {type(t).__name__}")
        if t.array.shape != tuple(shape):
            raise ValueError(f"{op}: {name} must have shape {list(shape)}, {what}, got {list(t.array.shape)}")
        if t.array.dtype != x.dtype:
            raise TypeError(f"{op}: input is {x.dtype} but {name} is {t.array.dtype}; convert with .to(dtype)")


def _images(op: str, x: Any, least: int = 2) -> None:
    floating(op, x)
    if x.ndim < least:
        raise ValueError(f"{op}: input must be [N, C, ...] of at least {least} dimensions, got shape {list(x.shape)}")


def _track(running_mean: Any, running_var: Any, mean_: np.ndarray, var: np.ndarray, count: int, momentum: Any) -> None:
    """Move running statistics [C] towards those of a batch, [1 or N, C] over `count` numbers each; their mean, if several."""
    if not count or not len(mean_):
        return
    with no_grad(), np.errstate(all="ignore"):
        unbiased = count / (count - 1)
        for running, new in ((running_mean, mean_.mean(axis=0)), (running_var, var.mean(axis=0) * unbiased)):
            if running is not None:
                if not isinstance(momentum, np.ndarray):  # one on a device is a layer's own, which nobody waits for
                    checks.number("batch_norm", "momentum", momentum)
                fusion.settle(running.array)
                running.array[...] = (1 - momentum) * running.array + momentum * new
                version_of(running)[0] += 1


def _by_own(x: Any, weight: Any, bias: Any, over: Over) -> tuple[Any, Any, Any]:
    """x normalised with its own statistics, which waits for what comes behind it; and these."""
    mean_, var = Statistics.apply(x.array, over)
    return fusion.later(Norm, x.shape, x, weight, bias, mean_.array, _rate(var.array, over.eps, x.dtype), over), mean_, var


def _by_running(op: str, x: Any, running_mean: Any, running_var: Any, weight: Any, bias: Any, eps: float, flag: str) -> Any:
    if running_mean is None or running_var is None:
        raise ValueError(f"{op}: {flag}=False needs running_mean and running_var")
    y = _into_conv(x, running_mean, running_var, weight, bias, eps)
    if y is not None:
        return y
    return fusion.later(Normalise, x.shape, x, weight, bias, running_mean.array.copy(), _rate(running_var.array, eps, x.dtype))


def folded(
    weight: np.ndarray,
    bias: np.ndarray | None,
    mean: np.ndarray,
    variance: np.ndarray,
    scale: np.ndarray | None,
    offset: np.ndarray | None,
    *,
    eps: float,
    transpose: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """Weight and bias of a convolution with the normalisation behind it, in their dtypes:

    weight * s   and   (bias - mean) * s + offset       with s = scale / sqrt(variance + eps)
    """
    window = (1,) * (weight.ndim - 2)
    with np.errstate(all="ignore"):
        s = 1.0 / np.sqrt(variance + float(eps))
        if scale is not None:
            s = s * scale
        shift = (-mean if bias is None else bias - mean) * s
        if offset is not None:
            shift = shift + offset
        if transpose:  # groups lie along the input channels
            groups = s.size // weight.shape[1]
            product = (weight.reshape(groups, -1, *weight.shape[1:]) * s.reshape(groups, 1, -1, *window)).reshape(weight.shape)
        else:
            product = weight * s.reshape(-1, 1, *window)
    return product.astype(weight.dtype, copy=False), shift.astype((weight if bias is None else bias).dtype, copy=False)


def _into_conv(x: Any, running_mean: Any, running_var: Any, weight: Any, bias: Any, eps: float) -> Any:
    """The convolution that x waits for, with other weights: those that normalise, too.  None where x is something else, or gradients are recorded."""
    work = fusion.work_of(x)
    tensors = [t for t in (weight, bias, running_mean, running_var) if t is not None]
    if work is None or work.function is not Conv or work.args[-2] is not None or is_observed() or any(t.dtype != x.dtype for t in tensors):
        return None
    if work.records or work.recording and any(t.requires_grad for t in tensors):
        return None
    image, w, b, window, *_ = work.args
    arrays: list[Any] = [None if t is None else t.array for t in (w, b, running_mean, running_var, weight, bias)]
    return fusion.instead(work, image, *(TensorBase.result(a) for a in folded(*arrays, eps=eps)), window)


def over_groups(op: str, x: Any, groups: int, weight: Any, bias: Any, eps: float) -> Any:
    """`group_norm` that does not refuse a single number, of which it gives the bias."""
    _images(op, x)
    groups = checks.whole(op, "num_groups", groups)
    if groups < 1 or x.shape[1] % groups:
        raise ValueError(f"{op}: num_groups must divide the channels, got {groups} for input {list(x.shape)}")
    _check(op, x, x.shape[1:2], "one number a channel", weight=weight, bias=bias)
    return _by_own(x, weight, bias, Over(groups, False, checks.number(op, "eps", eps)))[0]


# --------------------------------------------------------------------------------------- functions
def batch_norm(
    input: Any, running_mean: Any = None, running_var: Any = None, weight: Any = None, bias: Any = None,
    training: bool = False, momentum: float = 0.1, eps: float = 1e-5,
) -> Any:  # fmt: skip
    """input [N, C, ...] normalised for each channel: y = (input - mean) / sqrt(var + eps) * weight + bias.

    With `training` the statistics are the batch's (variance divided by the count), and running_mean and running_var, if given,
    move towards them in place by `momentum` (the variance then divided by count - 1, as in torch).  Otherwise the running
    statistics are used.  weight, bias and statistics have shape [C].

    Raises:
        ValueError: a wrong shape; in training, a single number a channel, or eps not positive; else, no running statistics.

    S. Ioffe, C. Szegedy, "Batch normalization: accelerating deep network training by reducing internal covariate shift", ICML 2015.

    >>> import convkit
    >>> batch_norm(convkit.tensor([[1.0], [3.0]]), training=True, eps=1e-12).tolist()
    [[-1.0], [1.0]]
    """
    if isinstance(input, TensorBase) and input.shape == (0,):
        return input.clone()  # as torch: no channels, no statistics
    _images("batch_norm", input)
    one = "one number a channel"
    _check("batch_norm", input, input.shape[1:2], one, weight=weight, bias=bias, running_mean=running_mean, running_var=running_var)
    checks.number("batch_norm", "eps", eps)
    if eps < 0 or training and eps == 0:
        raise ValueError(f"batch_norm: eps must be {'positive' if training else 'at least 0'}, got {eps}")
    if not training:
        return _by_running("batch_norm", input, running_mean, running_var, weight, bias, eps, "training")
    count = input.array.size // max(1, input.shape[1])
    if count <= 1 and input.array.size:
        raise ValueError(f"batch_norm: needs more than one value a channel to train, got input {list(input.shape)}")
    y, batch_mean, batch_var = _by_own(input, weight, bias, Over(input.shape[1], True, eps))
    _track(running_mean, running_var, batch_mean.array, batch_var.array, count, momentum)
    return y


def instance_norm(
    input: Any, running_mean: Any = None, running_var: Any = None, weight: Any = None, bias: Any = None,
    use_input_stats: bool = True, momentum: float = 0.1, eps: float = 1e-5,
) -> Any:  # fmt: skip
    """input [N, C, ...] normalised for each channel of each image: y = (input - mean) / sqrt(var + eps) * weight + bias.

    running_mean and running_var [C], if given, move towards the mean of the images' statistics by `momentum`.  Without
    `use_input_stats` they take the place of the images' statistics.  weight and bias have shape [C].

    Raises:
        ValueError: a wrong shape; a single number a channel; without use_input_stats, no running statistics.

    D. Ulyanov, A. Vedaldi, V. Lempitsky, "Instance normalization: the missing ingredient for fast stylization", 2016.

    >>> import convkit
    >>> instance_norm(convkit.tensor([[[1.0, 3.0]]]), eps=1e-12).tolist()
    [[[-1.0, 1.0]]]
    """
    _images("instance_norm", input)
    checks.number("instance_norm", "eps", eps)
    one = "one number a channel"
    _check("instance_norm", input, input.shape[1:2], one, weight=weight, bias=bias, running_mean=running_mean, running_var=running_var)
    if not use_input_stats:
        return _by_running("instance_norm", input, running_mean, running_var, weight, bias, eps, "use_input_stats")
    count = math.prod(input.shape[2:])
    if count == 1:
        raise ValueError(f"instance_norm: needs more than one value a channel to normalise, got input {list(input.shape)}")
    y, means, variances = _by_own(input, weight, bias, Over(input.shape[1], False, eps))
    _track(running_mean, running_var, means.array, variances.array, count, momentum)
    return y


def group_norm(input: Any, num_groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Any:
    """input [N, C, ...] normalised for each image and each of `num_groups` groups of channels; weight and bias have shape [C].

    Raises:
        ValueError: a wrong shape; num_groups does not divide C; a single number to normalise.

    Y. Wu, K. He, "Group normalization", ECCV 2018.

    >>> import convkit
    >>> group_norm(convkit.tensor([[1.0, 3.0, 5.0, 5.0]]), 2, eps=1e-12).tolist()
    [[-1.0, 1.0, 0.0, 0.0]]
    """
    y = over_groups("group_norm", input, num_groups, weight, bias, eps)
    if input.shape[0] * input.shape[1] // num_groups * math.prod(input.shape[2:]) == 1:
        raise ValueError(f"group_norm: needs more than one value a group, got input {list(input.shape)} and {num_groups} groups")
    return y


def normalized_sizes(op: str, normalized_shape: Any) -> tuple[int, ...]:
    """An int or several, each at least 1, as a tuple."""
    given = normalized_shape if isinstance(normalized_shape, (tuple, list)) else (normalized_shape,)
    return tuple(checks.whole(op, "normalized_shape", n, 1) for n in given)


def _over_last(op: str, x: Any, normalized_shape: Any, weight: Any, bias: Any, over: Over) -> Any:
    """x normalised over its last dimensions, which must be `normalized_shape`."""
    floating(op, x)
    shape = normalized_sizes(op, normalized_shape)
    checks.number(op, "eps", over.eps)
    if not shape or x.shape[x.ndim - len(shape) :] != shape or x.ndim < len(shape):
        raise ValueError(f"{op}: normalized_shape must be the input's last dimensions, got {list(shape)} for input {list(x.shape)}")
    _check(op, x, shape, "the normalized_shape", weight=weight, bias=bias)
    rows = math.prod(x.shape[: x.ndim - len(shape)])
    weight, bias = (None if t is None else t.reshape(-1) for t in (weight, bias))
    return _by_own(x.reshape(rows, math.prod(shape)), weight, bias, over)[0].reshape(x.shape)


def layer_norm(input: Any, normalized_shape: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Any:
    """input normalised over its last dimensions `normalized_shape`: y = (input - mean) / sqrt(var + eps) * weight + bias.

    weight and bias have the shape `normalized_shape` (an int or several).  ValueError where shapes do not agree.
    J. L. Ba, J. R. Kiros, G. E. Hinton, "Layer normalization", 2016.

    >>> import convkit
    >>> layer_norm(convkit.tensor([[1.0, 3.0], [5.0, 1.0]]), [2], eps=1e-12).tolist()
    [[-1.0, 1.0], [1.0, -1.0]]
    """
    return _over_last("layer_norm", input, normalized_shape, weight, bias, Over(1, False, eps))


def rms_norm(input: Any, normalized_shape: Any, weight: Any = None, eps: float | None = None) -> Any:
    """input / sqrt(mean(input^2) + eps) * weight over the last dimensions `normalized_shape`; eps=None is the spacing of numbers at 1.

    weight has the shape `normalized_shape` (an int or several).  ValueError where shapes do not agree.
    B. Zhang, R. Sennrich, "Root mean square layer normalization", NeurIPS 2019.

    >>> import convkit
    >>> rms_norm(convkit.tensor([[3.0, -3.0]]), [2]).tolist()
    [[1.0, -1.0]]
    """
    eps = float(np.finfo(floating("rms_norm", input).dtype).eps) if eps is None else eps
    return _over_last("rms_norm", input, normalized_shape, weight, None, Over(1, False, eps, centred=False))


def local_response_norm(input: Any, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> Any:
    """input [N, C, ...] divided by what `size` neighbouring channels do: y = input / (k + alpha / size * sum of squares)^beta.

    The sum runs over channels c - size // 2 ... c + (size - 1) // 2, as far as there are any.
    ValueError for fewer than 3 dimensions or a size below 1.
    A. Krizhevsky, I. Sutskever, G. E. Hinton, "ImageNet classification with deep convolutional neural networks", NeurIPS 2012.

    >>> import convkit
    >>> local_response_norm(convkit.ones(1, 2, 1), 2, alpha=14.0, beta=1.0).flatten().tolist()
    [0.125, 0.06666667014360428]
    """
    _images("local_response_norm", input, 3)
    for name, value in (("alpha", alpha), ("beta", beta), ("k", k)):
        checks.number("local_response_norm", name, value)
    if checks.whole("local_response_norm", "size", size) < 1:
        raise ValueError(f"local_response_norm: size must be an int of at least 1, got {size!r}")
    if not input.array.size:
        return input
    # Channels become the axis that is pooled, places the axis that pooling leaves alone.
    squares = (input * input).flatten(2).transpose(1, 2)
    means = avg_pool(1, squares, size, 1, size // 2, False, True, None)[..., : input.shape[1]]
    return input / (means.transpose(1, 2).reshape(input.shape) * alpha + k) ** beta
