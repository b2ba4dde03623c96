"""Dropout (Srivastava et al., 2014)."""

from __future__ import annotations

from typing import Any

from ..autograd import Function
from ..device import kernels
from ..random import default_generator
from .elementwise import floating


class Dropout(Function):
    """Elements kept with probability 1 - p and scaled by 1 / (1 - p).  The mask is a function of (seed, offset), so it is drawn
    again instead of stored, and the gradient is the same function of gy."""

    @staticmethod
    def forward(ctx, x, p, seed, offset):
        ctx.args = p, seed, offset
        return kernels(x).dropout(x, p, seed, offset)

    @staticmethod
    def backward(ctx, gy):
        return Dropout.apply(gy, *ctx.args), None, None, None


def dropout(x: Any, p: float = 0.5, training: bool = True) -> Any:
    """x with elements set to zero with probability p and the others scaled by 1 / (1 - p); x itself when not training."""
    if not 0.0 <= p <= 1.0:
        raise ValueError(f"dropout: p must be 0 to 1, got {p}")
    floating("dropout", x)
    if not training or p == 0.0:
        return x
    return Dropout.apply(x, float(p), *default_generator.take())
