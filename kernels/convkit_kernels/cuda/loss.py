"""Losses element by element, with the names of `cpu/loss.py`; the formulas are the CPU's."""

from __future__ import annotations

from ..cpu import loss as cpu
from .elementwise import each
from .memory import Array


def pointwise_loss(kind: str, x: Array, target: Array, parameter: float) -> Array:
    """The loss `kind` of each element of x; `target` has its shape and dtype."""
    return each(cpu.KINDS[kind][0], x, [x, target], parameter)


def pointwise_loss_grad(kind: str, g: Array, x: Array, target: Array, parameter: float) -> Array:
    """The gradient of `pointwise_loss` to x, from the gradient g of its result."""
    return each(cpu.KINDS[kind][1], x, [g, x, target], parameter)
