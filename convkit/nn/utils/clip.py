"""Limits for gradients: of their norm, all parameters together, or of each number."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from ...autograd import fusion, no_grad, version_of
from ...autograd.graph import listed
from ...device import kernels, may_be
from ...ops import checks
from ...ops.creation import zeros
from ...ops.shape import stack
from ...tensor import Tensor

Tensors = Tensor | Iterable[Tensor]


def get_total_norm(tensors: Tensors, norm_type: float = 2.0, error_if_nonfinite: bool = False, foreach: bool | None = None) -> Tensor:
    """The norm of all numbers of `tensors`, as if they were one vector: (sum |x|^p)^(1/p), the largest |x| for p = inf; 0 without tensors.

    `foreach` makes no difference.  RuntimeError for a norm that is nan or infinite, if error_if_nonfinite.

    >>> import convkit
    >>> from convkit import nn
    >>> nn.utils.get_total_norm([convkit.tensor([3.0]), convkit.tensor([[4.0, 0.0]])]).item()
    5.0
    """
    parts, p = _listed(tensors), float(checks.number("get_total_norm", "norm_type", norm_type))
    if not parts:
        return zeros(())
    with no_grad():
        if p == 2 and all(t.is_floating_point() for t in parts):  # the usual case, without tensors on the way
            arrays = [t.array for t in parts]
            squares = np.stack([kernels(a).sum(a, tuple(range(a.ndim)), False, "squares") for a in arrays])
            total = Tensor(checks.array(np.sqrt(squares.sum(dtype=np.float64)).astype(arrays[0].dtype)))
        else:
            norms = [_norm(t, p) for t in parts]
            total = norms[0] if len(norms) == 1 else _norm(stack([n.to(norms[0].dtype) for n in norms]), p)
    if error_if_nonfinite and not math.isfinite(total.item()):
        raise RuntimeError(f"get_total_norm: the norm of order {norm_type} is {total.item()}; with error_if_nonfinite=False it is used as it is")
    return total


def clip_grads_with_norm_(parameters: Tensors, max_norm: float, total_norm: Tensor, foreach: bool | None = None) -> None:
    """Multiply the gradients by min(1, max_norm / (total_norm + 1e-6)), in place."""
    limit, norm = float(checks.number("clip_grads_with_norm_", "max_norm", max_norm)), getattr(total_norm, "array", total_norm)
    factor = checks.array(np.minimum(limit / (checks.array(norm).astype(np.float64) + 1e-6), 1.0))  # nan stays
    if not may_be(lambda factor: factor != 1, factor):
        return
    for p in _listed(parameters):
        if p.grad is not None:
            grad = p.grad.array
            fusion.settle(grad)
            grad[...] = kernels(grad).mul(grad, np.asarray(factor.astype(grad.dtype), like=grad))  # inf * 0 is nan, as in torch
            version_of(p.grad)[0] += 1


def clip_grad_norm_(
    parameters: Tensors, max_norm: float, norm_type: float = 2.0, error_if_nonfinite: bool = False, foreach: bool | None = None
) -> Tensor:
    """Make the gradients of `parameters` so small, in place, that their norm together is at most max_norm; gives the norm that it was.

    See `get_total_norm` and `clip_grads_with_norm_`.

    R. Pascanu, T. Mikolov, Y. Bengio, "On the difficulty of training recurrent neural networks", ICML 2013.

    >>> import convkit
    >>> from convkit import nn
    >>> w = convkit.tensor([3.0, 4.0], requires_grad=True)
    >>> (w * w / 2).sum().backward()
    >>> nn.utils.clip_grad_norm_(w, 0.5).item(), [round(g, 4) for g in w.grad.tolist()]
    (5.0, [0.3, 0.4])
    """
    listed = _listed(parameters)
    total = get_total_norm([p.grad for p in listed if p.grad is not None], norm_type, error_if_nonfinite)
    clip_grads_with_norm_(listed, max_norm, total)
    return total


def clip_grad_value_(parameters: Tensors, clip_value: float, foreach: bool | None = None) -> None:
    """Limit each number of the gradients to -clip_value .. clip_value, in place.

    >>> import convkit
    >>> from convkit import nn
    >>> w = convkit.tensor([3.0, 0.25], requires_grad=True)
    >>> (w * w).sum().backward()
    >>> nn.utils.clip_grad_value_(w, 1)
    >>> w.grad.tolist()
    [1.0, 0.5]
    """
    limit = float(checks.number("clip_grad_value_", "clip_value", clip_value))
    with no_grad():
        for p in _listed(parameters):
            if p.grad is not None:
                p.grad.clamp_(-limit, limit)


def _listed(tensors: Any) -> list[Tensor]:
    return list(listed("nn.utils", tensors))


def _norm(x: Tensor, p: float) -> Tensor:
    x = x.detach()
    if p == 2:
        return (x * x).sum().sqrt()
    if math.isinf(p):
        return x.abs().amax() if p > 0 else x.abs().amin()
    return (x != 0).sum().to(x.dtype) if p == 0 else (x.abs() ** p).sum() ** (1 / p)
