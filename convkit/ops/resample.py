"""Interpolation, and what it shares with padding: resampling along axes by tables."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from convkit_kernels import geometry, tables
from convkit_kernels.tables import Table

from ..autograd import Function
from ..device import kernels
from .elementwise import floating


class Resample(Function):
    """Each axis that has a table resampled by it; the adjoint is the same with the tables transposed."""

    @staticmethod
    def forward(ctx, x, tables):
        ctx.tables = tables
        return kernels(x).resample(x, tables)

    @staticmethod
    def backward(ctx, gy):
        return Resample.apply(gy, tuple(None if t is None else t.transposed for t in ctx.tables)), None


def taken(x: np.ndarray, tables: Sequence[Table | None]) -> np.ndarray:
    """`Resample` of integers by tables that only choose: one tap of weight 1 for each output."""
    for axis, t in enumerate(tables):
        if t is not None:
            x = x.take(t.index, axis)
    return x


# mode: (what each axis is interpolated by, the number of spatial dimensions it takes)
MODES = {
    "nearest": ("nearest", (1, 2, 3)),
    "nearest-exact": ("nearest-exact", (1, 2, 3)),
    "area": ("area", (1, 2, 3)),
    "linear": ("linear", (1,)),
    "bilinear": ("linear", (2,)),
    "trilinear": ("linear", (3,)),
    "bicubic": ("cubic", (2,)),
    "lanczos": ("lanczos", (2,)),
}


def interpolate(
    input: Any,
    size: int | Sequence[int] | None = None,
    scale_factor: float | Sequence[float] | None = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Any:
    """input [N, C, *] resized to `size`, or to floor(input size * scale_factor); [N, C, *size], in the memory order of the input.

    mode 'nearest', 'nearest-exact', 'area'             any rank; align_corners stays None
         'linear', 'bilinear', 'trilinear'              input [N, C, L], [N, C, H, W], [N, C, D, H, W]
         'bicubic', 'lanczos' (with antialias only)     input [N, C, H, W]

    Pixels are squares, and the image's edges fall together; with align_corners they are points, and the centres of the corner pixels
    do.  A scale factor is also what coordinates are divided by, unless `recompute_scale_factor` takes the ratio of the sizes instead.
    With `antialias` (bilinear, bicubic, lanczos) a smaller image is a weighted mean of all of the larger, as Pillow does it.
    `convkit_kernels.tables` has the formulas.

    ValueError for sizes, factors and modes that do not fit; TypeError for what is no number.

    >>> import convkit
    >>> x = convkit.tensor([[[1.0, 2.0]]])
    >>> interpolate(x, scale_factor=2).tolist(), interpolate(x, 4, mode="linear").tolist()
    ([[[1.0, 1.0, 2.0, 2.0]]], [[[1.0, 1.25, 1.75, 2.0]]])
    """
    op = "interpolate"
    floating(op, input)
    shape = input.array.shape
    rank = len(shape) - 2
    if not isinstance(mode, str) or mode not in MODES:
        raise ValueError(f"{op}: mode must be one of {', '.join(map(repr, MODES))}, got {mode!r}")
    kind, ranks = MODES[mode]
    if rank not in ranks:
        raise ValueError(f"{op}: mode {mode!r} takes input of {' or '.join(f'{r + 2}' for r in ranks)} dimensions [N, C, *], got shape {list(shape)}")
    if align_corners is not None and len(ranks) > 1:
        raise ValueError(f"{op}: mode {mode!r} has no align_corners, got {align_corners}")
    if antialias and kind not in ("linear", "cubic", "lanczos") or antialias and rank != 2:
        raise ValueError(f"{op}: antialias is for modes 'bilinear', 'bicubic' and 'lanczos', got {mode!r}")
    if mode == "lanczos" and (align_corners or not antialias):
        raise ValueError(f"{op}: mode 'lanczos' needs antialias=True and no align_corners, got antialias={antialias}, align_corners={align_corners}")
    if (size is None) == (scale_factor is None):
        raise ValueError(f"{op}: needs either size or scale_factor, got size={size}, scale_factor={scale_factor}")
    factors: tuple[float | None, ...] = (None,) * rank
    if size is not None:
        if recompute_scale_factor:
            raise ValueError(f"{op}: recompute_scale_factor has no meaning with a size")
        sizes = _each(op, "size", size, rank, operator.index)
    else:
        factors = _each(op, "scale_factor", scale_factor, rank, float)
        if not all(math.isfinite(f) for f in factors):  # type: ignore[arg-type]
            raise ValueError(f"{op}: scale_factor must be finite, got {scale_factor}")
        sizes = tuple(math.floor(n * f) for n, f in zip(shape[2:], factors, strict=True))
        if recompute_scale_factor or mode == "area":
            factors = (None,) * rank
    if min(sizes) < 1 or 0 in shape[1:]:
        raise ValueError(f"{op}: channels and sizes must be at least 1, got input {list(shape)} and output size {list(sizes)}")
    geometry.fits(op, (*shape[:2], *sizes))
    make = tables.antialiased if antialias else tables.interpolation
    walk = (None, None, *(make(kind, n, o, f, bool(align_corners)) for n, o, f in zip(shape[2:], sizes, factors, strict=True)))
    return Resample.apply(input, walk)


def _each(op: str, name: str, value: Any, rank: int, number: Any) -> tuple[Any, ...]:
    values = tuple(value) if geometry.several(value) else (value,) * rank
    if len(values) != rank:
        raise ValueError(f"{op}: {name} needs {rank} numbers, one a spatial dimension, got {list(values)}")
    try:
        if any(isinstance(v, bool) for v in values):
            raise TypeError
        return tuple(number(v) for v in values)
    except (TypeError, ValueError, OverflowError):
        raise TypeError(f"{op}: {name} must be a number or {rank} numbers, got {value!r}") from None
