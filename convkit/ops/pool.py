"""Pooling: the greatest or the mean of each window, of a grid of windows, and of whole images; and back to where the greatest were."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from convkit_kernels import geometry

from ..autograd import Function, TensorBase
from ..device import kernels
from . import checks
from .elementwise import Expand, floating, where


# -------------------------------------------------------------------------------------- functions of arrays
class MaxPool(Function):
    """The greatest of each window; its position in the window is kept for the gradient.  With `places`, its position in the image too."""

    @staticmethod
    def forward(ctx, x, window, places=False):
        ctx.window, ctx.size = window, x.shape[2:]
        y, index = kernels(x).max_pool(x, window)
        ctx.save_for_backward(index)
        return (y, kernels(x).max_pool_places(index, ctx.size, window)) if places else y

    @staticmethod
    def backward(ctx, gy, *_):
        (index,) = ctx.saved_tensors
        return MaxPoolGrad.apply(gy, index.array, ctx.size, ctx.window), None, None


class MaxPoolGrad(Function):
    """Gradients sent to the positions that won."""

    @staticmethod
    def forward(ctx, gy, index, input_size, window):
        ctx.args = index, input_size, window
        return kernels(gy).max_pool_grad(gy, *ctx.args)

    @staticmethod
    def backward(ctx, g):
        return MaxPoolGather.apply(g, *ctx.args), None, None, None


class MaxPoolGather(Function):
    """x at the positions that won: the adjoint of `MaxPoolGrad`."""

    @staticmethod
    def forward(ctx, x, index, input_size, window):
        ctx.args = index, input_size, window
        return kernels(x).max_unpool_grad(x, kernels(x).max_pool_places(*ctx.args))

    @staticmethod
    def backward(ctx, gy):
        return MaxPoolGrad.apply(gy, *ctx.args), None, None, None


class MaxUnpool(Function):
    """Zeros with x at `places`; where one is named twice the last stays, or, with `add`, their sum."""

    @staticmethod
    def forward(ctx, x, places, output_size, add=False):
        ctx.save_for_backward(places)
        return kernels(x).max_unpool(x, places, output_size, add)

    @staticmethod
    def backward(ctx, gy):
        return MaxUnpoolGrad.apply(gy, *ctx.saved_tensors), None, None, None


class MaxUnpoolGrad(Function):
    """The elements at `places`: the adjoint of `MaxUnpool` that adds."""

    @staticmethod
    def forward(ctx, gy, places):
        ctx.size = gy.shape[2:]
        ctx.save_for_backward(places)
        return kernels(gy).max_unpool_grad(gy, places)

    @staticmethod
    def backward(ctx, g):
        return MaxUnpool.apply(g, *ctx.saved_tensors, ctx.size, True), None


class AvgPool(Function):
    """The mean of each window."""

    @staticmethod
    def forward(ctx, x, window, count_include_pad, divisor):
        ctx.args, ctx.size = (window, count_include_pad, divisor), x.shape[2:]
        return kernels(x).average_pool(x, window, count_include_pad, divisor)

    @staticmethod
    def backward(ctx, gy):
        window = ctx.args[0]
        if isinstance(window, geometry.Grid) and set(window.output) == {1}:  # one window: its gradient without copies
            return Expand.apply(gy * (1.0 / math.prod(ctx.size)), (*gy.shape[:2], *ctx.size)), None, None, None
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


# ------------------------------------------------------------------------------------------- checks
def pool_window(op: str, rank: int, kernel_size: Any, stride: Any, padding: Any, dilation: Any = 1, ceil_mode: bool = False) -> geometry.Window:
    """The checked window of a pooling; without a stride, windows lie side by side."""
    size = geometry.each(op, "kernel_size", kernel_size, rank, 1)
    # torch writes stride=None, or an empty tuple, for windows side by side.
    stride = size if stride is None or isinstance(stride, (tuple, list)) and not stride else stride
    window = geometry.window(op, size, stride, geometry.each(op, "padding", padding, rank, 0), dilation, 1, bool(ceil_mode))
    geometry.pool_padding(op, window)
    return window


def grid_size(op: str, rank: int, output_size: Any) -> tuple[int | None, ...]:
    """`output_size` as one number a dimension, None where the input's size stays."""
    sizes = tuple(output_size) if isinstance(output_size, (tuple, list)) else (output_size,) * rank
    if len(sizes) != rank:
        raise ValueError(f"{op}: output_size needs {rank} numbers, one a dimension, got {list(sizes)}")
    return tuple(None if n is None else geometry.each(op, "output_size", n, 1, 0)[0] for n in sizes)


def _batched(op: str, rank: int, x: Any, run: Callable[[Any], Any]) -> Any:
    """run(x) of a tensor of floats; a single image [C, *S] goes as a batch of one."""
    if checks.tensor(op, x).array.ndim != rank + 1:
        return run(x)
    y = run(x.unsqueeze(0))
    return tuple(t.squeeze(0) for t in y) if isinstance(y, tuple) else y.squeeze(0)


def _image(op: str, rank: int, x: Any, filled: int = 1) -> None:
    """TypeError or ValueError unless x is [N, C, *S] of floats with something in it from dimension `filled` on."""
    shape = floating(op, x).array.shape
    if len(shape) != rank + 2:
        axes = ", ".join(("N", "C", *"DHW"[3 - rank :]))
        raise ValueError(f"{op}: input must be {rank + 2}-D [{axes}], or {rank + 1}-D without N, got shape {list(shape)}")
    if 0 in shape[filled:]:
        raise ValueError(f"{op}: only the {'batch' if filled == 1 else 'batch and the channels'} may be empty, got shape {list(shape)}")


def _grid(op: str, rank: int, x: Any, output_size: Any) -> geometry.Grid:
    return geometry.Grid(tuple(n if o is None else o for o, n in zip(grid_size(op, rank, output_size), x.shape[2:], strict=True)))


def _fits(op: str, x: Any, window: geometry.Window) -> None:
    _image(op, window.rank, x)
    geometry.pooled_size(op, x.array.shape[2:], window)


# ------------------------------------------------------------------------------------------- functions
def max_pool(rank: int, x: Any, kernel_size: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool, return_indices: bool = False) -> Any:
    """See `nn.functional.max_pool2d`."""
    op = f"max_pool{rank}d"
    window = pool_window(op, rank, kernel_size, stride, padding, dilation, ceil_mode)

    def run(x: Any) -> Any:
        _fits(op, x, window)
        return MaxPool.apply(x, window, bool(return_indices))

    return _batched(op, rank, x, run)


def max_unpool(rank: int, x: Any, indices: Any, kernel_size: Any, stride: Any, padding: Any, output_size: Any) -> Any:
    """See `nn.functional.max_unpool2d`."""
    op = f"max_unpool{rank}d"
    floating(op, x)
    if not isinstance(indices, TensorBase) or indices.array.dtype != np.int64:
        raise TypeError(f"{op}: indices must be a tensor of int64, got {getattr(indices, 'dtype', type(indices).__name__)}")
    if indices.array.shape != x.array.shape:
        raise ValueError(f"{op}: indices must have the input's shape {list(x.array.shape)}, got {list(indices.array.shape)}")
    if x.ndim == rank + 1:
        return max_unpool(rank, x.unsqueeze(0), indices.unsqueeze(0), kernel_size, stride, padding, output_size).squeeze(0)
    _image(op, rank, x)
    size = _unpooled_size(op, x, pool_window(op, rank, kernel_size, stride, padding), output_size)
    text = f"{op}: indices must be 0 to {math.prod(size) - 1}, for outputs of {list(size)}; got {{least}} to {{most}}"
    places, _ = kernels(indices.array).inside(indices.array, 0, math.prod(size) - 1, IndexError, text)
    return MaxUnpool.apply(x, TensorBase.result(places), size)


def _unpooled_size(op: str, x: Any, window: geometry.Window, output_size: Any) -> tuple[int, ...]:
    """The size that pooling made x.shape of; `output_size` says which one where several are possible."""
    usual = window.input_size(x.shape[2:])
    if output_size is None:
        size = usual
    else:
        if not isinstance(output_size, (tuple, list)):
            raise TypeError(f"{op}: output_size must be a tuple of ints, got {output_size!r}")
        wanted = tuple(output_size)
        if len(wanted) not in (window.rank, window.rank + 2):
            raise ValueError(f"{op}: output_size needs {window.rank} or {window.rank + 2} numbers, got {list(wanted)}")
        size = geometry.each(op, "output_size", wanted[-window.rank :], window.rank, 0)
        for n, u, s in zip(size, usual, window.stride, strict=True):
            if not u - s < n < u + s:
                allowed = ", ".join(f"{u - s + 1} to {u + s - 1}" for u, s in zip(usual, window.stride, strict=True))
                raise ValueError(f"{op}: output_size must lie within [{allowed}] for input {list(x.shape[2:])}, got {list(size)}")
    if min(size) < 1:
        raise ValueError(f"{op}: the output would have size {list(size)} for input {list(x.shape[2:])}")
    return size


def avg_pool(
    rank: int, x: Any, kernel_size: Any, stride: Any, padding: Any, ceil_mode: bool, count_include_pad: bool, divisor_override: int | None
) -> Any:
    """See `nn.functional.avg_pool2d`."""
    op = f"avg_pool{rank}d"
    by = divisor(op, divisor_override)
    window = pool_window(op, rank, kernel_size, stride, padding, 1, ceil_mode)

    def run(x: Any) -> Any:
        _fits(op, x, window)
        return AvgPool.apply(x, window, bool(count_include_pad), by)

    return _batched(op, rank, x, run)


def divisor(op: str, override: Any) -> int | None:
    """`override` as an int; ValueError or TypeError unless sums can be divided by it."""
    number = None if override is None else checks.whole(op, "divisor_override", override)
    if number == 0:
        raise ValueError(f"{op}: divisor_override must not be 0")
    return number


def lp_pool(rank: int, x: Any, norm_type: float, kernel_size: Any, stride: Any, ceil_mode: bool) -> Any:
    """See `nn.functional.lp_pool2d`."""
    op = f"lp_pool{rank}d"
    p = float(checks.number(op, "norm_type", norm_type))
    if p == 0 or math.isnan(p):
        raise ValueError(f"{op}: norm_type must be a number other than 0, got {norm_type}")
    window = pool_window(op, rank, kernel_size, stride, 0, 1, ceil_mode)

    def run(x: Any) -> Any:
        _fits(op, x, window)
        if math.isinf(p):
            return MaxPool.apply(x.abs(), window) if p > 0 else -MaxPool.apply(-x.abs(), window)
        # torch takes the mean and multiplies by the number of taps: with ceil_mode a window over the edge counts as if it were whole.
        powers = _power(x, p)
        if ceil_mode:
            return _power(AvgPool.apply(powers, window, True, None) * float(math.prod(window.size)), 1 / p)
        return _power(AvgPool.apply(powers, window, True, 1), 1 / p)

    return _batched(op, rank, x, run)


def _power(x: Any, p: float) -> Any:
    """x ** p, with all derivatives 0 where x is 0 and they would be infinite."""
    if p == 1:
        return x
    if p >= 2:
        return x * x if p == 2 else x**p
    zero = TensorBase.result(x.array == 0)
    some = where(zero, 1.0, x)
    return where(zero, 0.0 if p > 0 else math.inf, some.sqrt() if p == 0.5 else some**p)


def adaptive_avg_pool(rank: int, x: Any, output_size: Any) -> Any:
    """See `nn.functional.adaptive_avg_pool2d`."""
    op = f"adaptive_avg_pool{rank}d"

    def run(x: Any) -> Any:
        _image(op, rank, x, 2)
        return AvgPool.apply(x, _grid(op, rank, x, output_size), True, None)

    return _batched(op, rank, x, run)


def adaptive_max_pool(rank: int, x: Any, output_size: Any, return_indices: bool = False) -> Any:
    """See `nn.functional.adaptive_max_pool2d`."""
    op = f"adaptive_max_pool{rank}d"

    def run(x: Any) -> Any:
        _image(op, rank, x)
        return MaxPool.apply(x, _grid(op, rank, x, output_size), bool(return_indices))

    return _batched(op, rank, x, run)


def _whole(op: str, x: Any, pool: Callable[..., Any], flatten: bool) -> Any:
    rank = floating(op, x).ndim - 2
    if rank not in (1, 2, 3):
        raise ValueError(f"{op}: input must be [N, C] and one to three spatial dimensions, got shape {list(x.shape)}")
    y = pool(rank, x, 1)
    return y.flatten(1) if flatten else y


def global_avg_pool(input: Any, flatten: bool = False) -> Any:
    """The mean of each channel of each image: [N, C, *S] -> [N, C, 1, ...], or [N, C] with `flatten`.

    >>> import convkit
    >>> global_avg_pool(convkit.arange(8).float().reshape(1, 2, 2, 2), flatten=True).numpy().tolist()
    [[1.5, 5.5]]
    """
    return _whole("global_avg_pool", input, adaptive_avg_pool, flatten)


def global_max_pool(input: Any, flatten: bool = False) -> Any:
    """The greatest of each channel of each image: [N, C, *S] -> [N, C, 1, ...], or [N, C] with `flatten`; the gradient goes to the first.

    >>> import convkit
    >>> global_max_pool(convkit.arange(8).float().reshape(1, 2, 2, 2), flatten=True).numpy().tolist()
    [[3.0, 7.0]]
    """
    return _whole("global_max_pool", input, adaptive_max_pool, flatten)
