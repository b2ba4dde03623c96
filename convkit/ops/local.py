"""Locally connected layers: convolutions with weights for each region of the output.

Three functions are each other's gradients, as for `conv`; the bias is the weight of a channel of ones.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from convkit_kernels import geometry

from ..autograd import Function, TensorBase
from ..device import kernels
from .matmul import same_dtype


class Local(Function):
    """y = local(x, w) + b."""

    @staticmethod
    def forward(ctx, x, w, b, window):
        ctx.window = window
        ctx.save_for_backward(x, w)
        return kernels(x).local_forward(x, w, b, window)

    @staticmethod
    def backward(ctx, gy):
        x, w = ctx.saved_tensors
        need_x, need_w, need_b, _ = ctx.needs_input_grad
        regions = w.shape[: ctx.window.rank]
        return (
            LocalInputGrad.apply(gy, w, x.shape[2:], ctx.window) if need_x else None,
            LocalWeightGrad.apply(x, gy, regions, ctx.window) if need_w else None,
            _bias_grad(gy, regions) if need_b else None,
            None,
        )


class LocalInputGrad(Function):
    """gx = input_grad(gy, w)."""

    @staticmethod
    def forward(ctx, gy, w, input_size, window):
        ctx.window = window
        ctx.save_for_backward(gy, w)
        return kernels(gy).local_input_grad(gy, w, input_size, window)

    @staticmethod
    def backward(ctx, g):
        gy, w = ctx.saved_tensors
        need_gy, need_w, _, _ = ctx.needs_input_grad
        return (
            Local.apply(g, w, None, ctx.window) if need_gy else None,
            LocalWeightGrad.apply(g, gy, w.shape[: ctx.window.rank], ctx.window) if need_w else None,
            None,
            None,
        )


class LocalWeightGrad(Function):
    """gw = weight_grad(x, gy)."""

    @staticmethod
    def forward(ctx, x, gy, regions, window):
        ctx.window = window
        ctx.save_for_backward(x, gy)
        return kernels(x).local_weight_grad(x, gy, regions, window)

    @staticmethod
    def backward(ctx, g):
        x, gy = ctx.saved_tensors
        need_x, need_gy, _, _ = ctx.needs_input_grad
        return (
            LocalInputGrad.apply(gy, g, x.shape[2:], ctx.window) if need_x else None,
            Local.apply(x, g, None, ctx.window) if need_gy else None,
            None,
            None,
        )


def _bias_grad(gy: Any, regions: tuple[int, ...]) -> Any:
    ones = TensorBase.result(np.ones((gy.shape[0], 1, *gy.shape[2:]), gy.dtype, like=gy.array))
    one = geometry.window("bias", (1,) * len(regions))
    return LocalWeightGrad.apply(ones, gy, regions, one).reshape(*regions, gy.shape[1])


def locally_connected(rank: int, x: Any, weight: Any, bias: Any, stride: Any, padding: Any, dilation: Any) -> Any:
    """Convolution with weights for each region, over `rank` spatial dimensions; see `nn.functional.locally_connected2d`."""
    op = f"locally_connected{rank}d"
    same_dtype(op, input=x, weight=weight, bias=bias)
    if weight.ndim != 2 * rank + 2:
        raise ValueError(f"{op}: weight must be {2 * rank + 2}-D [*regions, *window, C, K], got shape {list(weight.shape)}")
    if x.ndim == rank + 1:  # one image without a batch dimension
        return locally_connected(rank, x.unsqueeze(0), weight, bias, stride, padding, dilation).squeeze(0)
    inside = x.shape[2:] if x.ndim == rank + 2 else None  # another rank is refused below
    window = geometry.window(op, weight.shape[rank : 2 * rank], stride, padding, dilation, inside=inside)
    geometry.local_shapes(op, x.shape, weight.shape, None if bias is None else bias.shape, window)
    return Local.apply(x, weight, bias, window)
