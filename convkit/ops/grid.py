"""Images sampled at the places of a grid, and the grids of affine maps (spatial transformer networks)."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..autograd import Function, TensorBase, once_differentiable
from ..device import kernels
from .elementwise import floating
from .matmul import matmul, same_dtype
from .shape import permute, reshape

MODES = ("bilinear", "nearest", "bicubic")
PADDINGS = ("zeros", "border", "reflection")


class GridSample(Function):
    """x at the places of the grid; the gradients can be taken once."""

    @staticmethod
    def forward(ctx, x, grid, *how):
        ctx.how, ctx.size = how, x.shape[2:]
        ctx.save_for_backward(x, grid)
        return kernels(x).grid_sample(x, grid, *how)

    @staticmethod
    @once_differentiable
    def backward(ctx, gy):
        x, grid = (t.array for t in ctx.saved_tensors)
        need_x, need_grid = ctx.needs_input_grad[:2]
        k = kernels(x)
        gx = TensorBase.result(k.grid_sample_input_grad(gy.array, grid, ctx.size, *ctx.how)) if need_x else None
        ggrid = TensorBase.result(k.grid_sample_grid_grad(gy.array, x, grid, *ctx.how)) if need_grid else None
        return gx, ggrid, None, None, None


def grid_sample(input: Any, grid: Any, mode: str = "bilinear", padding_mode: str = "zeros", align_corners: bool | None = None) -> Any:
    """`input` [N, C, H, W] at the places of `grid` [N, P, Q, 2]: [N, C, P, Q]; likewise [N, C, D, H, W] and [N, O, P, Q, 3].

    A place is (x, y) or (x, y, z), width first, from -1 to 1 across the image: its edges, or with align_corners the centres of its corner
    pixels.  mode 'bilinear' (of volumes trilinear), 'nearest', or 'bicubic' (of images only).  What lies outside is 0 ('zeros'), the nearest
    pixel of the edge ('border'), or the mirrored image ('reflection').

    The memory of the result is channels-last.  Gradients for both arguments can be taken once.  A place that is NaN gives NaN.
    ValueError for shapes and modes that do not fit, TypeError for other dtypes.  M. Jaderberg et al., "Spatial transformer networks", 2015.

    >>> import convkit
    >>> x = convkit.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])
    >>> grid_sample(x, convkit.tensor([[[[0.0, 0.0], [-0.5, 0.5]]]])).tolist()
    [[[[2.5, 3.0]]]]
    """
    op = "grid_sample"
    floating(op, input)
    same_dtype(op, input=input, grid=grid)
    if mode not in MODES:
        raise ValueError(f"{op}: mode must be 'bilinear', 'nearest' or 'bicubic', got {mode!r}")
    if padding_mode not in PADDINGS:
        raise ValueError(f"{op}: padding_mode must be 'zeros', 'border' or 'reflection', got {padding_mode!r}")
    x, g = input.array.shape, grid.array.shape
    if len(x) not in (4, 5) or len(g) != len(x):
        raise ValueError(f"{op}: needs input [N, C, H, W] and grid [N, P, Q, 2], or both with a depth, got {list(x)} and {list(g)}")
    if g[-1] != len(x) - 2:
        raise ValueError(f"{op}: the places of an input {list(x)} have {len(x) - 2} coordinates, but the grid's last size is {g[-1]}")
    if g[0] != x[0]:
        raise ValueError(f"{op}: input and grid must have the same batch size, got {x[0]} and {g[0]}")
    if 0 in x[2:]:
        raise ValueError(f"{op}: input must have pixels, got shape {list(x)}")
    if mode == "bicubic" and len(x) == 5:
        raise ValueError(f"{op}: mode 'bicubic' takes 4-D input only, got shape {list(x)}")
    return GridSample.apply(input, grid, mode, padding_mode, bool(align_corners))


def affine_grid(theta: Any, size: Sequence[int], align_corners: bool | None = None) -> Any:
    """The grid for `grid_sample` that theta [N, 2, 3] maps an image of size [N, C, H, W] to: [N, H, W, 2]; likewise [N, 3, 4] for volumes.

        grid[n, h, w] = theta[n] @ (x_w, y_h, 1)

    with x and y spread over -1 to 1 as `grid_sample` counts them.  ValueError for shapes that do not fit.

    >>> import convkit
    >>> affine_grid(convkit.tensor([[[1.0, 0.0, 0.5], [0.0, 1.0, 0.0]]]), (1, 1, 1, 2)).tolist()
    [[[[0.0, 0.0], [1.0, 0.0]]]]
    """
    op = "affine_grid"
    floating(op, theta)
    try:
        sizes = [operator.index(n) for n in size]
    except TypeError:
        raise TypeError(f"{op}: size must be a sequence of ints, got {size!r}") from None
    rank = len(sizes) - 2
    if rank not in (2, 3):
        raise ValueError(f"{op}: size must be [N, C, H, W] or [N, C, D, H, W], got {sizes}")
    if min(sizes) < 1:
        raise ValueError(f"{op}: sizes must be at least 1, got {sizes}")
    if theta.array.shape != (sizes[0], rank, rank + 1):
        raise ValueError(f"{op}: theta must have shape {[sizes[0], rank, rank + 1]} for size {sizes}, got {list(theta.array.shape)}")
    lines = [_places(n, bool(align_corners)) for n in sizes[:1:-1]]  # width first
    places = np.stack([*np.meshgrid(*lines[::-1], indexing="ij")[::-1], np.ones(sizes[2:])], -1)
    places = np.asarray(places.astype(theta.array.dtype).reshape(1, -1, rank + 1), like=theta.array)
    grid = matmul(TensorBase.result(places), permute(theta, 0, 2, 1))
    return reshape(grid, (sizes[0], *sizes[2:], rank))


def _places(count: int, align_corners: bool) -> np.ndarray:
    """Coordinates of `count` pixels between -1 and 1."""
    if align_corners:
        return np.linspace(-1, 1, count) if count > 1 else np.zeros(1)
    return (2 * np.arange(count) + 1) / count - 1
