"""Resampling along axes by tables: what padding and interpolation are made of."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from convkit_kernels.tables import Table

from ..autograd import Function
from ..device import kernels


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
