"""Lengths of vectors, and how far or how alike two of them are."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..autograd import Function, TensorBase
from ..device import kernels
from . import checks
from .elementwise import floating, maximum, where
from .matmul import matmul
from .reduce import norm, sum
from .shape import axis, cat


def at_least(x: Any, least: float) -> Any:
    """max(x, least), with the gradient of x everywhere, as torch has it in some losses."""
    a = x.array
    return x + TensorBase.result(np.where(a < least, a.dtype.type(least) - a, a.dtype.type(0)))


class Root(Function):
    """sqrt(max(x, 0)), with the gradient 0 where the root is."""

    @staticmethod
    def forward(ctx, x):
        y = kernels(x).sqrt(kernels(x).maximum(x, x.dtype.type(0)))
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx, gy):
        (y,) = ctx.saved_tensors
        none = y.array == 0
        return where(none, 0.0, gy * (0.5 / where(none, 1.0, y)))


def _two(op: str, x1: Any, x2: Any) -> tuple[Any, Any]:
    if floating(op, x1).dtype != floating(op, x2).dtype:
        dtype = np.result_type(x1.dtype, x2.dtype)
        x1, x2 = x1.to(dtype), x2.to(dtype)
    try:
        np.broadcast_shapes(x1.shape, x2.shape)
    except ValueError:
        raise ValueError(f"{op}: shapes {list(x1.shape)} and {list(x2.shape)} do not broadcast") from None
    return x1, x2


def normalize(input: Any, p: float = 2.0, dim: int = 1, eps: float = 1e-12, out: Any = None) -> Any:
    """x / max(|x|, eps) with the norm |x| = (sum of |x_i|^p)^(1/p) along `dim`: vectors of length 1.

    IndexError for a dim out of range, TypeError for an input that is not floating, ValueError for `out`, which is not supported:
    results are new tensors.

    >>> import convkit
    >>> normalize(convkit.tensor([[3.0, 4.0]])).tolist()
    [[0.6000000238418579, 0.800000011920929]]
    """
    if out is not None:
        raise ValueError("normalize: out is not supported; use the result")
    if not floating("normalize", input).ndim:
        return normalize(input.unsqueeze(0), p, dim, eps).squeeze(0)
    d = axis("normalize", dim, input.ndim)
    checks.number("normalize", "eps", eps)
    return input / maximum(norm(input, p, d, True), eps)


def cosine_similarity(x1: Any, x2: Any, dim: int = 1, eps: float = 1e-8) -> Any:
    """x1 . x2 / (max(|x1|, eps) max(|x2|, eps)) along `dim` of tensors that broadcast: the cosine of the angle between vectors.

    IndexError for a dim out of range, ValueError for shapes that do not broadcast, TypeError for inputs that are not floating.

    >>> import convkit
    >>> cosine_similarity(convkit.tensor([[1.0, 0.0]]), convkit.tensor([[2.0, 0.0]])).tolist()
    [1.0]
    """
    op = "cosine_similarity"
    x1, x2 = _two(op, x1, x2)
    checks.number(op, "eps", eps)
    shape = np.broadcast_shapes(x1.shape, x2.shape)
    if not shape:
        return cosine_similarity(x1.unsqueeze(0), x2.unsqueeze(0), dim, eps)
    d = axis(op, dim, len(shape)) - len(shape)
    # A vector of one number that is repeated is as long as the others; along other dimensions nothing need be repeated.
    x1, x2 = (x if x.ndim >= -d and x.shape[d] == shape[d] else x.expand(shape) for x in (x1, x2))
    return sum((x1 / at_least(norm(x1, 2, d, True), eps)) * (x2 / at_least(norm(x2, 2, d, True), eps)), d)


def pairwise_distance(x1: Any, x2: Any, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> Any:
    """The norm |x1 - x2 + eps| = (sum of |.|^p)^(1/p) over the last dimension of tensors [..., D] that broadcast -> [...].

    `eps` keeps the derivative finite.  ValueError for shapes that do not broadcast, TypeError for inputs that are not floating.

    >>> import convkit
    >>> round(pairwise_distance(convkit.tensor([[0.0, 0.0]]), convkit.tensor([[3.0, 4.0]])).item(), 4)
    5.0
    """
    x1, x2 = _two("pairwise_distance", x1, x2)
    if not x1.ndim and not x2.ndim:
        raise ValueError("pairwise_distance: needs vectors [..., D], got tensors without dimensions")
    return norm(x1 - x2 + checks.number("pairwise_distance", "eps", eps), p, -1, keepdim)


def cdist(x1: Any, x2: Any, p: float = 2.0, compute_mode: str = "use_mm_for_euclid_dist_if_necessary") -> Any:
    """Distances of norm p between all rows of x1 [..., P, D] and all rows of x2 [..., R, D] -> [..., P, R].

    As in torch, Euclidean distances of more than 25 rows come from |a|^2 - 2 a.b + |b|^2 by a matrix product, which loses digits
    where points nearly coincide ('donot_use_mm_for_euclid_dist' never, 'use_mm_for_euclid_dist' always does so); others from
    differences, which take P * R * D numbers of memory.

    ValueError for shapes that do not fit, a negative p and another compute_mode, TypeError for inputs that are not floating.

    >>> import convkit
    >>> cdist(convkit.zeros(1, 2), convkit.tensor([[3.0, 4.0], [0.0, 1.0]])).tolist()
    [[5.0, 1.0]]
    """
    modes = ("use_mm_for_euclid_dist_if_necessary", "use_mm_for_euclid_dist", "donot_use_mm_for_euclid_dist")
    if compute_mode not in modes:
        raise ValueError(f"cdist: compute_mode must be one of {', '.join(map(repr, modes))}, got {compute_mode!r}")
    if not checks.number("cdist", "p", p) >= 0:
        raise ValueError(f"cdist: p must not be negative, got {p}")
    for x in (x1, x2):
        if floating("cdist", x).ndim < 2:
            raise ValueError(f"cdist: inputs must be [..., rows, D], got shape {list(x.shape)}")
    if x1.shape[-1] != x2.shape[-1]:
        raise ValueError(f"cdist: rows must be of one length, got {x1.shape[-1]} and {x2.shape[-1]}")
    x1, x2 = _two("cdist", x1.unsqueeze(-2), x2.unsqueeze(-3))
    many = x1.shape[-3] > 25 or x2.shape[-2] > 25
    if p == 2 and (compute_mode == modes[1] or compute_mode == modes[0] and many):
        # |a|^2 - 2 a.b + |b|^2 as one product, of (-2 a, |a|^2, 1) and (b, 1, |b|^2).
        a, b = x1.squeeze(-2), x2.squeeze(-3)
        one = TensorBase.result(np.ones((), a.dtype, like=a.array))
        a, b = (cat([-2.0 * a, sum(a * a, -1, True), one.expand(*a.shape[:-1], 1)], -1),
                cat([b, one.expand(*b.shape[:-1], 1), sum(b * b, -1, True)], -1))  # fmt: skip
        return Root.apply(matmul(a, b.transpose(-1, -2)))
    return norm(x1 - x2, p, -1, False)
