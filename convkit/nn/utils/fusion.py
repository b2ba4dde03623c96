"""Layers merged with the batch normalisation behind them, for evaluation."""

from __future__ import annotations

import copy
from typing import Any

from ...ops.creation import ones_like, zeros_like
from ...tensor import Tensor
from ..module import Module
from ..parameter import Parameter


def fuse_conv_bn_weights(
    conv_w: Tensor,
    conv_b: Tensor | None,
    bn_rm: Tensor,
    bn_rv: Tensor,
    bn_eps: float,
    bn_w: Tensor | None,
    bn_b: Tensor | None,
    transpose: bool = False,
) -> tuple[Parameter, Parameter]:
    """Weight and bias of the convolution that is conv_w [K, C, *window] (or transposed: [C, K, *window]) followed by a batch normalisation:

    weight * s,   (bias - running mean) * s + bn bias       with s = bn weight / sqrt(running variance + eps)
    """
    scale = _scale(bn_rv, bn_eps, bn_w)
    window = (1,) * (conv_w.ndim - 2)
    if transpose:  # groups lie along the input channels
        groups = scale.numel() // conv_w.shape[1]
        each = conv_w.detach().reshape(groups, -1, *conv_w.shape[1:]) * scale.reshape(groups, 1, -1, *window)
        weight = each.reshape(*conv_w.shape)
    else:
        weight = conv_w.detach() * scale.reshape(-1, 1, *window)
    return _parameters(weight, conv_w, conv_b, bn_rm, scale, bn_b)


def fuse_linear_bn_weights(
    linear_w: Tensor, linear_b: Tensor | None, bn_rm: Tensor, bn_rv: Tensor, bn_eps: float, bn_w: Tensor | None, bn_b: Tensor | None
) -> tuple[Parameter, Parameter]:
    """Weight and bias of the dense layer that is linear_w [K, C] followed by a batch normalisation; see `fuse_conv_bn_weights`."""
    scale = _scale(bn_rv, bn_eps, bn_w)
    return _parameters(linear_w.detach() * scale.reshape(-1, 1), linear_w, linear_b, bn_rm, scale, bn_b)


def fuse_conv_bn_eval(conv: Any, bn: Any, transpose: bool = False) -> Any:
    """A copy of the convolution `conv` that gives what `conv` and then `bn` would; `transpose` for a transposed one.

    RuntimeError unless both are in evaluation mode and `bn` has running statistics.

    >>> from convkit import nn, randn
    >>> conv, bn, x = nn.Conv2d(3, 4, 3).eval(), nn.BatchNorm2d(4).eval(), randn(2, 3, 5, 5)
    >>> bool(abs((nn.utils.fuse_conv_bn_eval(conv, bn)(x) - bn(conv(x))).detach().numpy()).max() < 1e-5)
    True
    """
    fused = _copy("fuse_conv_bn_eval", conv, bn)
    fused.weight, fused.bias = fuse_conv_bn_weights(conv.weight, conv.bias, bn.running_mean, bn.running_var, bn.eps, bn.weight, bn.bias, transpose)
    return fused


def fuse_linear_bn_eval(linear: Any, bn: Any) -> Any:
    """A copy of the dense layer `linear` that gives what `linear` and then `bn` would.

    RuntimeError unless both are in evaluation mode and `bn` has running statistics; ValueError for another number of features.
    """
    fused = _copy("fuse_linear_bn_eval", linear, bn)
    if bn.num_features not in (1, linear.out_features):
        raise ValueError(f"fuse_linear_bn_eval: bn has {bn.num_features} features but linear gives {linear.out_features}")
    fused.weight, fused.bias = fuse_linear_bn_weights(linear.weight, linear.bias, bn.running_mean, bn.running_var, bn.eps, bn.weight, bn.bias)
    return fused


def _copy(op: str, layer: Module, bn: Any) -> Any:
    if layer.training or bn.training:
        raise RuntimeError(f"{op}: both layers must be in evaluation mode; call .eval() first")
    if bn.running_mean is None or bn.running_var is None:
        raise RuntimeError(f"{op}: the batch normalisation has no running statistics (track_running_stats=False)")
    return copy.deepcopy(layer)


def _scale(variance: Tensor, eps: float, weight: Tensor | None) -> Tensor:
    return (ones_like(variance) if weight is None else weight.detach()) / (variance + eps).sqrt()


def _parameters(weight: Tensor, old: Tensor, bias: Tensor | None, mean: Tensor, scale: Tensor, offset: Tensor | None) -> tuple[Parameter, Parameter]:
    shifted = ((zeros_like(mean) if bias is None else bias.detach()) - mean) * scale
    if offset is not None:
        shifted = shifted + offset.detach()
    learnt = old.requires_grad
    return Parameter(weight.to(old.dtype), learnt), Parameter(shifted.to(old.dtype if bias is None else bias.dtype), learnt)
