"""Convolution and transposed convolution in one to three dimensions.

Three functions are each other's gradients, so every derivative of every order is one of them:

    y  = conv(x, w)          gx = input_grad(gy, w)      gw = weight_grad(x, gy)

Kernels read images in channels-last memory, or turn what they read of one in C order.  An image that several will read is brought into
channels-last memory here, once for all of them.
"""

from __future__ import annotations

from typing import Any

from convkit_kernels import geometry

from ..autograd import Function, fusion, is_grad_enabled
from ..device import kernels
from .activation import ActivationGrad
from .matmul import same_dtype
from .pad import pad
from .reduce import Sum
from .shape import in_channels_last


def _bias_grad(gy: Any) -> Any:
    return Sum.apply(gy, (0, *range(2, gy.array.ndim)), False)


class Conv(Function):
    """y = conv(x, w) + b + add, and max(y, 0) with `relu`."""

    @staticmethod
    def forward(ctx, x, w, b, window, add=None, relu=False):
        y = kernels(x).conv_forward(x, w, b, window, add, relu)
        ctx.window = window
        ctx.save_for_backward(x, w, y if relu else None)
        return y

    @staticmethod
    def backward(ctx, gy):
        x, w, y = ctx.saved_tensors
        need_x, need_w, need_b, *rest = ctx.needs_input_grad
        if y is not None:
            gy = ActivationGrad.apply(gy, y, "relu")
        gadd = gy if any(rest) else None
        if need_x or need_w:  # several will read it
            gy = in_channels_last(gy)
        return (
            ConvInputGrad.apply(gy, w, None, x.shape[2:], ctx.window) if need_x else None,
            ConvWeightGrad.apply(x, gy, ctx.window) if need_w else None,
            _bias_grad(gy) if need_b else None,
            None,
            gadd,
            None,
        )


class ConvInputGrad(Function):
    """gx = input_grad(gy, w) + b: the gradient of `Conv` for its input, and the transposed convolution of gy."""

    @staticmethod
    def forward(ctx, gy, w, b, input_size, window):
        ctx.window = window
        ctx.save_for_backward(gy, w)
        return kernels(gy).conv_input_grad(gy, w, b, input_size, window)

    @staticmethod
    def backward(ctx, g):
        gy, w = ctx.saved_tensors
        need_gy, need_w, need_b, _, _ = ctx.needs_input_grad
        g = in_channels_last(g)
        return (
            Conv.apply(g, w, None, ctx.window) if need_gy else None,
            ConvWeightGrad.apply(g, gy, ctx.window) if need_w else None,
            _bias_grad(g) if need_b else None,
            None,
            None,
        )


class ConvWeightGrad(Function):
    """gw = weight_grad(x, gy)."""

    @staticmethod
    def forward(ctx, x, gy, window):
        ctx.window = window
        ctx.save_for_backward(x, gy)
        return kernels(x).conv_weight_grad(x, gy, window)

    @staticmethod
    def backward(ctx, g):
        x, gy = ctx.saved_tensors
        need_x, need_gy, _ = ctx.needs_input_grad
        return (
            ConvInputGrad.apply(gy, g, None, x.shape[2:], ctx.window) if need_x else None,
            Conv.apply(x, g, None, ctx.window) if need_gy else None,
            None,
        )


def _to_read(x: Any, weight: Any) -> Any:
    """x in channels-last memory if the gradient of the weight will read it too; else x itself."""
    return in_channels_last(x) if weight.requires_grad and is_grad_enabled() else x


def _shape(t: Any) -> Any:
    return None if t is None else t.array.shape


def _check_weight(op: str, weight: Any, rank: int) -> None:
    if weight.array.ndim != rank + 2:
        raise ValueError(f"{op}: weight must be {rank + 2}-D, got shape {list(weight.shape)}")


def conv(rank: int, x: Any, weight: Any, bias: Any, stride: Any, padding: Any, dilation: Any, groups: int) -> Any:
    """Convolution over `rank` spatial dimensions; see `nn.functional.conv2d`."""
    op = f"conv{rank}d"
    same_dtype(op, input=x, weight=weight, bias=bias)
    _check_weight(op, weight, rank)
    shape, sizes = x.array.shape, weight.array.shape
    if len(shape) == rank + 1:  # one image without a batch dimension
        return conv(rank, x.unsqueeze(0), weight, bias, stride, padding, dilation, groups).squeeze(0)
    inside = shape[2:] if len(shape) == rank + 2 else None  # another rank is refused below
    window = geometry.window(op, sizes[2:], stride, padding, dilation, groups, inside=inside)
    out = geometry.conv_shapes(op, shape, sizes, _shape(bias), window)
    return fusion.later(Conv, out, x if window.pointwise else _to_read(x, weight), weight, bias, window)


def conv_transpose(rank: int, x: Any, weight: Any, bias: Any, stride: Any, padding: Any, output_padding: Any, groups: int, dilation: Any) -> Any:
    """Transposed convolution over `rank` spatial dimensions; see `nn.functional.conv_transpose2d`."""
    op = f"conv_transpose{rank}d"
    same_dtype(op, input=x, weight=weight, bias=bias)
    _check_weight(op, weight, rank)
    if isinstance(padding, str):
        raise TypeError(f"{op}: padding must be numbers, got {padding!r}")
    if x.ndim == rank + 1:
        return conv_transpose(rank, x.unsqueeze(0), weight, bias, stride, padding, output_padding, groups, dilation).squeeze(0)
    window = geometry.window(op, weight.shape[2:], stride, padding, dilation, groups)
    extra = geometry.each(op, "output_padding", output_padding, rank, 0)
    shape = geometry.conv_transpose_shapes(op, x.shape, weight.shape, _shape(bias), window, extra)
    # Where output_padding reaches the stride (a dilation allows it), the convolution of the result has more places than x: they are zeros of x.
    surplus = [e // s for e, s in zip(extra, window.stride, strict=True)]
    if any(surplus):
        x = pad(x, [n for e in reversed(surplus) for n in (0, e)])
    return ConvInputGrad.apply(_to_read(x, weight), weight, bias, shape[2:], window)
