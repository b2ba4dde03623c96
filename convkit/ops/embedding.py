"""Rows of a table."""

from __future__ import annotations

from typing import Any

from ..autograd import Function
from ..device import kernels
from .elementwise import floating


class Embedding(Function):
    """y[...] = weight[index[...]]."""

    @staticmethod
    def forward(ctx, weight, index, padding_idx):
        ctx.index, ctx.rows, ctx.padding_idx = index, weight.shape[0], padding_idx
        return kernels(weight).embedding(weight, index)

    @staticmethod
    def backward(ctx, gy):
        return EmbeddingGrad.apply(gy, ctx.index, ctx.rows, ctx.padding_idx), None, None


class EmbeddingGrad(Function):
    """Gradients added up row by row, leaving out `padding_idx`."""

    @staticmethod
    def forward(ctx, gy, index, rows, padding_idx):
        ctx.index, ctx.padding_idx = index, padding_idx
        gw = kernels(gy).embedding_grad(gy, index, rows)
        if padding_idx is not None:
            gw[padding_idx] = 0
        return gw

    @staticmethod
    def backward(ctx, g):
        y = Embedding.apply(g, ctx.index, None)
        if ctx.padding_idx is not None:
            y = y * type(y)((ctx.index != ctx.padding_idx).astype(y.dtype)[..., None])
        return y, None, None, None


def embedding(index: Any, weight: Any, padding_idx: int | None = None) -> Any:
    """The rows of weight [V, D] at `index` (integers of any shape) -> [*index.shape, D].

    The row `padding_idx` gets no gradient.  IndexError for an index outside 0 .. V-1.
    """
    i = index.array
    if i.dtype.kind not in "iu":
        raise TypeError(f"embedding: indices must be integers, got {i.dtype}")
    if floating("embedding", weight).ndim != 2:
        raise ValueError(f"embedding: weight must be [rows, features], got shape {list(weight.shape)}")
    rows = weight.shape[0]
    if i.size and (i.min() < 0 or i.max() >= rows):
        raise IndexError(f"embedding: indices must be 0 to {rows - 1}, the rows of weight {list(weight.shape)}, got {int(i.min())} to {int(i.max())}")
    if padding_idx is not None:
        if not -rows <= padding_idx < rows:
            raise IndexError(f"embedding: padding_idx must be one of the {rows} rows, got {padding_idx}")
        padding_idx %= rows
    return Embedding.apply(weight, i, padding_idx)
