"""Activations and their gradients, with the names of `cpu/activation.py`; the formulas are the CPU's."""

from __future__ import annotations

from typing import Any

from ..cpu.activation import _PAIRS, _ROWS
from .elementwise import broadcast, each
from .memory import Array


def activation(name: str, x: Array, a: Any = 0.0, b: float = 0.0, c: float = 0.0) -> Array:
    """Row `name` of the table for each element of x, in the memory order of x; in leaky_relu and glu a may be an array."""
    if isinstance(a, Array):
        return broadcast(_PAIRS[name][0], x, [x, a])
    return each(_ROWS[name][0], x, [x], a, b, c)


def activation_grad(name: str, gy: Array, k: Array, a: Any = 0.0, b: float = 0.0, c: float = 0.0) -> Array:
    """gy times the derivative of row `name` at x, from k: the result y in the rows hardtanh, sigmoid and tanh, else x."""
    if isinstance(a, Array):
        return broadcast(_PAIRS[name][1], gy, [gy, k, a])
    return each(_ROWS[name][1], gy, [gy, k], a, b, c)
