"""Layers merged with the batch normalisation behind them, for evaluation."""

from __future__ import annotations

import copy
from typing import Any

from ...ops.norm import folded
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
    return _parameters(conv_w, conv_b, bn_rm, bn_rv, bn_eps, bn_w, bn_b, transpose)


def fuse_linear_bn_weights(
    linear_w: Tensor, linear_b: Tensor | None, bn_rm: Tensor, bn_rv: Tensor, bn_eps: float, bn_w: Tensor | None, bn_b: Tensor | None
) -> tuple[Parameter, Parameter]:
    """Weight and bias of the dense layer that is linear_w [K, C] followed by a batch normalisation; see `fuse_conv_bn_weights`."""
    return _parameters(linear_w, linear_b, bn_rm, bn_rv, bn_eps, bn_w, bn_b)


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


def _parameters(weight: Tensor, bias: Any, mean: Any, variance: Any, eps: float, scale: Any, offset: Any, transpose: bool = False) -> Any:
    arrays: list[Any] = [None if t is None else t.array for t in (weight, bias, mean, variance, scale, offset)]
    return tuple(Parameter(Tensor(a), weight.requires_grad) for a in folded(*arrays, eps=eps, transpose=transpose))
