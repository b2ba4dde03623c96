"""The windows of images as columns, and back."""

from __future__ import annotations

from typing import Any

from convkit_kernels import geometry

from ..autograd import Function
from ..device import kernels
from .matmul import same_dtype


class Unfold(Function):
    """Column o of y holds what the window sees at place o; linear, and the adjoint of `Fold`."""

    @staticmethod
    def forward(ctx, x, window):
        ctx.size, ctx.window = x.shape[2:], window
        return kernels(x).unfold(x, window)

    @staticmethod
    def backward(ctx, gy):
        return Fold.apply(gy, ctx.size, ctx.window), None


class Fold(Function):
    """Every column added back where its window lies."""

    @staticmethod
    def forward(ctx, y, size, window):
        ctx.window = window
        return kernels(y).fold(y, size, window)

    @staticmethod
    def backward(ctx, gx):
        return Unfold.apply(gx, ctx.window), None, None


def _check_pairs(op: str, **given: Any) -> None:
    """ValueError for a sequence of one number: here, as in torch, it does not stand for two."""
    for name, value in given.items():
        if isinstance(value, (tuple, list)) and len(value) == 1:
            raise ValueError(f"{op}: {name} needs 2 numbers, one a dimension, got {list(value)}")


def unfold(input: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1) -> Any:
    """The windows of images [N, C, H, W] as columns: [N, C*R*S, L] for L = P*Q places of an R x S window (im2col).

        y[n, (c*R + r)*S + s, p*Q + q] = x[n, c, p*stride + r*dilation - padding, q*stride + ...],  0 outside the image

    P and Q are those of `conv2d`, which is a product of matrices on these columns.  An image without N gives columns without N.
    ValueError for another rank, for nothing but N being 0, and for a window that does not fit.

    >>> import convkit
    >>> unfold(convkit.arange(9.0).reshape(1, 1, 3, 3), 2).numpy()[0].tolist()
    [[0.0, 1.0, 3.0, 4.0], [1.0, 2.0, 4.0, 5.0], [3.0, 4.0, 6.0, 7.0], [4.0, 5.0, 7.0, 8.0]]
    """
    same_dtype("unfold", input=input)
    if input.ndim == 3:
        return unfold(input.unsqueeze(0), kernel_size, dilation, padding, stride).squeeze(0)
    _check_pairs("unfold", kernel_size=kernel_size, dilation=dilation, padding=padding, stride=stride)
    window = geometry.window("unfold", geometry.each("unfold", "kernel_size", kernel_size, 2, 1), stride, padding, dilation)
    geometry.unfold_shapes("unfold", input.shape, window)
    return Unfold.apply(input, window)


def fold(input: Any, output_size: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1) -> Any:
    """Columns [N, C*R*S, L] added up into images [N, C, H, W] of `output_size` (col2im): the adjoint of `unfold`, not its inverse.

    Each number of a column is added where its window saw it, so a pixel gets as many terms as windows see it; fold(unfold(x))
    is x times that number.  ValueError where L is not the number of places of the window in `output_size`.

    >>> import convkit
    >>> fold(convkit.ones(1, 4, 4), (3, 3), 2).numpy()[0, 0].tolist()
    [[1.0, 2.0, 1.0], [2.0, 4.0, 2.0], [1.0, 2.0, 1.0]]
    """
    same_dtype("fold", input=input)
    if input.ndim == 2:
        return fold(input.unsqueeze(0), output_size, kernel_size, dilation, padding, stride).squeeze(0)
    _check_pairs("fold", output_size=output_size, kernel_size=kernel_size, dilation=dilation, padding=padding, stride=stride)
    size = geometry.each("fold", "output_size", output_size, 2, 1)
    window = geometry.window("fold", geometry.each("fold", "kernel_size", kernel_size, 2, 1), stride, padding, dilation)
    geometry.fold_shapes("fold", input.shape, size, window)
    return Fold.apply(input, size, window)
