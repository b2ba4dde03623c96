"""Pooling: the greatest or the mean of each window, and of whole images."""

from __future__ import annotations

from typing import Any

from convkit_kernels import geometry

from ..autograd import Function
from ..device import kernels
from .elementwise import floating
from .reduce import mean


class MaxPool(Function):
    """The greatest of each window; its position in the window is kept for the gradient."""

    @staticmethod
    def forward(ctx, x, window):
        ctx.window, ctx.size = window, x.shape[2:]
        y, index = kernels(x).max_pool(x, window)
        ctx.save_for_backward(index)
        return y

    @staticmethod
    def backward(ctx, gy):
        (index,) = ctx.saved_tensors
        return MaxPoolGrad.apply(gy, index.array, ctx.size, ctx.window), None


class MaxPoolGrad(Function):
    """Gradients sent to the positions that won."""

    @staticmethod
    def forward(ctx, gy, index, input_size, window):
        ctx.window, ctx.size = window, input_size
        ctx.save_for_backward(index)
        return kernels(gy).max_pool_grad(gy, index, input_size, window)

    @staticmethod
    def backward(ctx, g):
        (index,) = ctx.saved_tensors
        return MaxPoolGather.apply(g, index.array, ctx.window), None, None, None


class MaxPoolGather(Function):
    """x at the positions that won: the adjoint of `MaxPoolGrad`."""

    @staticmethod
    def forward(ctx, x, index, window):
        ctx.window, ctx.size = window, x.shape[2:]
        ctx.save_for_backward(index)
        return kernels(x).max_pool_gather(x, index, window)

    @staticmethod
    def backward(ctx, gy):
        (index,) = ctx.saved_tensors
        return MaxPoolGrad.apply(gy, index.array, ctx.size, ctx.window), None, None


class AvgPool(Function):
    """The mean of each window."""

    @staticmethod
    def forward(ctx, x, window, count_include_pad, divisor):
        ctx.args, ctx.size = (window, count_include_pad, divisor), x.shape[2:]
        return kernels(x).average_pool(x, window, count_include_pad, divisor)

    @staticmethod
    def backward(ctx, gy):
        return AvgPoolGrad.apply(gy, ctx.size, *ctx.args), None, None, None


class AvgPoolGrad(Function):
    """Each gradient shared by its window: the adjoint of `AvgPool`."""

    @staticmethod
    def forward(ctx, gy, input_size, window, count_include_pad, divisor):
        ctx.args = window, count_include_pad, divisor
        return kernels(gy).average_pool_grad(gy, input_size, window, count_include_pad, divisor)

    @staticmethod
    def backward(ctx, g):
        return AvgPool.apply(g, *ctx.args), None, None, None, None


def _window(op: str, rank: int, x: Any, kernel_size: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool) -> geometry.Window:
    floating(op, x)
    size = geometry.each(op, "kernel_size", kernel_size, rank, 1)
    # torch writes stride=None, or an empty tuple, for windows side by side.
    stride = size if stride is None or stride == () else stride
    window = geometry.window(op, size, stride, padding, dilation, 1, ceil_mode)
    geometry.pool_shapes(op, x.shape, window)
    return window


def max_pool(rank: int, x: Any, kernel_size: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool) -> Any:
    """See `nn.functional.max_pool2d`."""
    if x.ndim == rank + 1:
        return max_pool(rank, x.unsqueeze(0), kernel_size, stride, padding, dilation, ceil_mode).squeeze(0)
    return MaxPool.apply(x, _window(f"max_pool{rank}d", rank, x, kernel_size, stride, padding, dilation, ceil_mode))


def avg_pool(
    rank: int, x: Any, kernel_size: Any, stride: Any, padding: Any, ceil_mode: bool, count_include_pad: bool, divisor_override: int | None
) -> Any:
    """See `nn.functional.avg_pool2d`."""
    op = f"avg_pool{rank}d"
    if divisor_override == 0:
        raise ValueError(f"{op}: divisor_override must not be 0")
    if x.ndim == rank + 1:
        return avg_pool(rank, x.unsqueeze(0), kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override).squeeze(0)
    return AvgPool.apply(x, _window(op, rank, x, kernel_size, stride, padding, 1, ceil_mode), count_include_pad, divisor_override)


def adaptive_avg_pool(rank: int, x: Any, output_size: Any) -> Any:
    """See `nn.functional.adaptive_avg_pool2d`."""
    op = f"adaptive_avg_pool{rank}d"
    floating(op, x)
    if x.ndim == rank + 1:
        return adaptive_avg_pool(rank, x.unsqueeze(0), output_size).squeeze(0)
    if x.ndim != rank + 2:
        raise ValueError(f"{op}: input must be {rank + 2}-D, got shape {list(x.shape)}")
    wanted = output_size if isinstance(output_size, (tuple, list)) else (output_size,) * rank
    if len(wanted) == rank:
        wanted = [n if o is None else o for o, n in zip(wanted, x.shape[2:], strict=True)]
    sizes = list(geometry.each(op, "output_size", wanted, rank, 1))
    if all(o == 1 for o in sizes):
        return mean(x, tuple(range(2, x.ndim)), keepdim=True)
    if any(n % o for n, o in zip(x.shape[2:], sizes, strict=True)):
        raise ValueError(f"{op}: the output size must divide the input size, got output {sizes} for input {list(x.shape[2:])}")
    window = tuple(n // o for n, o in zip(x.shape[2:], sizes, strict=True))
    return avg_pool(rank, x, window, window, 0, False, True, None)
