"""Sums, means, extremes over dimensions."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..autograd import Function, TensorBase
from ..device import kernels
from .elementwise import Expand
from .indexing import Gather
from .shape import axis

Dim = Any  # None, an int or a tuple of ints


_max = max


def axes(op: str, dim: Dim, ndim: int) -> tuple[int, ...]:
    """`dim` as a sorted tuple of non-negative axes; all of them for None or (); IndexError out of range, ValueError if one repeats."""
    if dim is None or dim == ():
        return tuple(range(ndim))
    dims = dim if isinstance(dim, (tuple, list)) else (dim,)
    out = []
    for d in dims:
        if not isinstance(d, (int, np.integer)) or isinstance(d, bool):
            raise TypeError(f"{op}: dim must be an int or ints, got {dim!r}")
        if not -_max(ndim, 1) <= d < _max(ndim, 1):
            raise IndexError(f"{op}: dim {d} is out of range for a tensor of {ndim} dimensions")
        out.append(int(d) % _max(ndim, 1))
    if len(set(out)) != len(out):
        raise ValueError(f"{op}: a dimension is named twice in {tuple(dims)}")
    return tuple(sorted(out)) if ndim else ()


class Sum(Function):
    @staticmethod
    def forward(ctx, x, axes, keepdim):
        ctx.shape = x.shape
        ctx.kept = tuple(1 if i in axes else n for i, n in enumerate(x.shape))
        return kernels(x).sum(x, axes, keepdim)

    @staticmethod
    def backward(ctx, gy):
        return Expand.apply(gy.reshape(ctx.kept), ctx.shape), None, None


class _Extreme(Function):
    """amax or amin: elements that tie share the gradient equally."""

    op = ""

    @classmethod
    def forward(cls, ctx, x, axes, keepdim):
        ctx.axes, ctx.kept = axes, tuple(1 if i in axes else n for i, n in enumerate(x.shape))
        y = getattr(kernels(x), cls.op)(x, axes, True)
        ctx.save_for_backward(x, y)
        # A copy, so that a change of the result in place does not reach what was saved.
        return y if keepdim else y.reshape([n for i, n in enumerate(x.shape) if i not in axes]).copy()

    @staticmethod
    def backward(ctx, gy):
        x, y = (t.array for t in ctx.saved_tensors)
        wins = (x == y) | (np.isnan(x) & np.isnan(y))
        share = wins / wins.sum(axis=ctx.axes, keepdims=True)
        return gy.reshape(ctx.kept) * TensorBase.result(share.astype(x.dtype)), None, None


class Amax(_Extreme):
    op = "amax"


class Amin(_Extreme):
    op = "amin"


def sum(x: Any, dim: Dim = None, keepdim: bool = False) -> Any:
    """Sum over `dim` (an int, several, or all)."""
    if x.array.dtype.kind in "bui":
        return TensorBase.result(x.array.sum(axis=axes("sum", dim, x.ndim), keepdims=keepdim, dtype=np.int64))
    return Sum.apply(x, axes("sum", dim, x.ndim), keepdim)


def mean(x: Any, dim: Dim = None, keepdim: bool = False) -> Any:
    """Mean over `dim`; nan over nothing."""
    if x.array.dtype.kind != "f":
        raise TypeError(f"mean: needs a floating dtype, got {x.dtype}; convert with .to(convkit.float32)")
    over = axes("mean", dim, x.ndim)
    count = int(np.prod([x.array.shape[a] for a in over]))
    return sum(x, over, keepdim) * (1.0 / count if count else float("nan"))


def var(x: Any, dim: Dim = None, correction: int = 1, keepdim: bool = False, unbiased: bool | None = None) -> Any:
    """Variance over `dim`, divided by count - correction (1: Bessel's)."""
    if unbiased is not None:
        correction = int(unbiased)
    over = axes("var", dim, x.ndim)
    count = int(np.prod([x.array.shape[a] for a in over]))
    away = x - mean(x, over, True)
    rest = count - correction
    return sum(away * away, over, keepdim) * (1.0 / rest if rest > 0 else float("nan"))


def std(x: Any, dim: Dim = None, correction: int = 1, keepdim: bool = False, unbiased: bool | None = None) -> Any:
    """Standard deviation over `dim`: the square root of `var`."""
    return var(x, dim, correction, keepdim, unbiased).sqrt()


def amax(x: Any, dim: Dim = (), keepdim: bool = False) -> Any:
    """Greatest element over `dim`; nan if one is nan.  Elements that tie share the gradient."""
    return Amax.apply(x, _not_empty("amax", x, axes("amax", dim, x.ndim)), keepdim)


def amin(x: Any, dim: Dim = (), keepdim: bool = False) -> Any:
    """Least element over `dim`; nan if one is nan.  Elements that tie share the gradient."""
    return Amin.apply(x, _not_empty("amin", x, axes("amin", dim, x.ndim)), keepdim)


def _not_empty(op: str, x: Any, over: tuple[int, ...]) -> tuple[int, ...]:
    if any(x.array.shape[a] == 0 for a in over):
        raise ValueError(f"{op}: the extreme of nothing is undefined; the input has shape {list(x.array.shape)}")
    return over


def _arg(op: str, x: Any, dim: int | None, keepdim: bool) -> Any:
    d = None if dim is None else axis(op, dim, _max(x.ndim, 1))
    _not_empty(op, x, axes(op, d, x.ndim))
    index = getattr(kernels(x.array), op)(x.array, d)
    return TensorBase.result(np.expand_dims(index, d) if keepdim and d is not None else np.asarray(index))


def argmax(x: Any, dim: int | None = None, keepdim: bool = False) -> Any:
    """Index (int64) of the first greatest element along `dim`, or in the flattened tensor."""
    return _arg("argmax", x, dim, keepdim)


def argmin(x: Any, dim: int | None = None, keepdim: bool = False) -> Any:
    """Index (int64) of the first least element along `dim`, or in the flattened tensor."""
    return _arg("argmin", x, dim, keepdim)


def _with_index(op: str, x: Any, dim: int | None, keepdim: bool) -> Any:
    if dim is None:
        return amax(x) if op == "max" else amin(x)
    dim = axis(op, dim, x.ndim)
    _not_empty(op, x, (dim,))
    index = _arg("arg" + op, x, dim, True)
    values = Gather.apply(x, dim, index.array)
    if not keepdim:
        values, index = values.squeeze(dim), index.squeeze(dim)
    return values, index


def max(x: Any, dim: int | None = None, keepdim: bool = False) -> Any:
    """Greatest element of all, or (values, indices) along `dim`; the gradient then goes to the first greatest."""
    return _with_index("max", x, dim, keepdim)


def min(x: Any, dim: int | None = None, keepdim: bool = False) -> Any:
    """Least element of all, or (values, indices) along `dim`; the gradient then goes to the first least."""
    return _with_index("min", x, dim, keepdim)
