"""Operations that can be differentiated once only."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from .graph import Function, TensorBase, _Leaf, _mode, no_grad


def once_differentiable(backward: Callable) -> Callable:
    """Mark a backward that computes with arrays: differentiating it again is an error that says so, not a wrong zero."""

    @functools.wraps(backward)
    def wrapped(ctx: Function, *grads: Any) -> Any:
        with no_grad():
            out = backward(ctx, *grads)
        if not _mode.recording:
            return out
        single = not isinstance(out, tuple)
        # Tied to the inputs too: saved arrays depend on them.
        ties = [*grads, *(_standing_for(edge) for edge in ctx._edges if edge is not None)]
        dead = [g if g is None else _Once.apply(*ties, value=g.array, name=type(ctx).__name__) for g in ((out,) if single else out)]
        return dead[0] if single else tuple(dead)

    return wrapped


def _standing_for(edge: tuple) -> Any:
    """A tensor at the place of an argument in the graph; its numbers and its shape do not matter."""
    node, index, _, dtype = edge
    if isinstance(node, _Leaf):
        return node.tensor
    tensor = TensorBase.result(np.zeros((), dtype))
    tensor.node, tensor.index, tensor.requires_grad = node, index, True
    return tensor


class _Once(Function):
    """Passes `value` on, tied to the gradients it was computed from, and refuses to be differentiated."""

    @staticmethod
    def forward(ctx: Any, *grads: Any, **told: Any) -> Any:
        ctx.name = told["name"]
        return told["value"]

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        raise RuntimeError(f"{ctx.name}: this operation can be differentiated once only")
