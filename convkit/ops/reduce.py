"""Sums, means, extremes over dimensions."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ..autograd import Function, TensorBase, enable_grad, grad, is_grad_enabled
from ..device import kernels, may_be
from . import checks
from .elementwise import Cast, Expand, as_float, floating, maximum, minimum, where
from .indexing import Gather
from .shape import axis, cat

Dim = Any  # None, an int or a tuple of ints


_max = max


class ValuesIndices(NamedTuple):
    """What reductions that choose an element return: the elements, and where they stood (int64)."""

    values: Any
    indices: Any


def axes(op: str, dim: Dim, ndim: int) -> tuple[int, ...]:
    """`dim` as a sorted tuple of non-negative axes; all of them for None or (); IndexError out of range, ValueError if one repeats."""
    if dim is None or isinstance(dim, tuple) and not dim:
        return tuple(range(ndim))
    dims = dim if isinstance(dim, (tuple, list)) else (dim,)
    out, limit = [], ndim or 1
    for d in dims:
        if type(d) is not int and (not isinstance(d, (int, np.integer)) or isinstance(d, bool)):
            raise TypeError(f"{op}: dim must be an int or ints, got {dim!r}")
        if not -limit <= d < limit:
            raise IndexError(f"{op}: dim {d} is out of range for a tensor of {ndim} dimensions")
        out.append(int(d) % limit)
    if len(set(out)) != len(out):
        raise ValueError(f"{op}: a dimension is named twice in {tuple(dims)}")
    return tuple(sorted(out)) if ndim else ()


class Sum(Function):
    @staticmethod
    def forward(ctx, x, axes, keepdim, terms="all"):
        ctx.shape, ctx.axes = x.shape, axes
        return kernels(x).sum(x, axes, bool(keepdim), terms)

    @staticmethod
    def backward(ctx, gy):
        if gy.array.ndim < len(ctx.shape) and ctx.axes != tuple(range(len(ctx.axes))):  # axes that go from the front come back by broadcasting
            gy = gy.reshape([1 if i in ctx.axes else n for i, n in enumerate(ctx.shape)])
        return Expand.apply(gy, ctx.shape), None, None


class Mean(Sum):
    """The sum divided by the number of elements; nan over nothing."""

    @staticmethod
    def forward(ctx, x, axes, keepdim):
        count = math.prod([x.shape[a] for a in axes])
        ctx.share = 1.0 / count if count else float("nan")
        return kernels(x).mul(Sum.forward(ctx, x, axes, keepdim), ctx.share)

    @staticmethod
    def backward(ctx, gy):
        return Sum.backward(ctx, gy * ctx.share)


class NanSum(Sum):
    """The sum of what is not nan."""

    @staticmethod
    def forward(ctx, x, axes, keepdim):
        ctx.save_for_backward(x)
        return Sum.forward(ctx, x, axes, keepdim, "not nan")

    @staticmethod
    def backward(ctx, gy):
        x = ctx.saved_tensors[0].array
        gx, *_ = Sum.backward(ctx, gy)
        return where(TensorBase.result(~np.isnan(x)), gx, 0.0) if may_be(np.isnan, x) else gx, None, None


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
        wins = x == y
        if may_be(np.isnan, y):
            wins |= np.isnan(x) & np.isnan(y)
        won = wins.astype(x.dtype)
        gy = gy.reshape(ctx.kept)
        if may_be(lambda wins: np.count_nonzero(wins) > y.size, wins):  # some tie
            gy = gy * TensorBase.result(1 / kernels(x).sum(won, ctx.axes, True))
        return gy * TensorBase.result(won), None, None


class Amax(_Extreme):
    op = "amax"


class Amin(_Extreme):
    op = "amin"


class Var(Function):
    """sum((x - mean)^2) / max(count - correction, 0) over the axes, which stay with size 1."""

    @staticmethod
    def forward(ctx, x, axes, correction):
        ctx.axes = axes
        count = math.prod(x.shape[a] for a in axes)
        rest = _max(count - correction, 0)
        ctx.scale = 1.0 / rest if rest else float("inf")
        ctx.save_for_backward(x)
        k = kernels(x)
        away = k.sub(x, k.mul(k.sum(x, axes, True), 1.0 / count if count else float("nan")))
        return k.mul(k.sum(away, axes, True, "squares"), ctx.scale)

    @staticmethod
    def backward(ctx, gy):
        (x,) = ctx.saved_tensors
        return gy * (x - mean(x, ctx.axes, True)) * (2.0 * ctx.scale), None, None


class Length(Function):
    """sqrt(sum(x^2)) over the axes, which stay with size 1; where it is 0, so is its gradient."""

    @staticmethod
    def forward(ctx, x, axes):
        k = kernels(x)
        y = k.sqrt(k.sum(x, axes, True, "squares"))
        ctx.save_for_backward(x, y)
        return y

    @staticmethod
    def backward(ctx, gy):
        x, y = ctx.saved_tensors
        if not may_be(np.logical_not, y.array):
            return x * (gy / y), None
        still = TensorBase.result(y.array == 0)
        return x * where(still, 0.0, gy / where(still, 1.0, y)), None


class LogSumExp(Function):
    """log(sum(exp(x))) over the axes, which stay with size 1; the greatest element is subtracted first, so that nothing overflows."""

    @staticmethod
    def forward(ctx, x, axes):
        k = kernels(x)
        top = k.amax(x, axes, True) if x.size else np.zeros([1 if i in axes else n for i, n in enumerate(x.shape)], x.dtype, like=x)
        top = np.where(np.isfinite(top), top, 0).astype(x.dtype)
        y = k.add(k.log(k.sum(k.exp(k.sub(x, top)), axes, True)), top)
        ctx.save_for_backward(x, y)
        return y

    @staticmethod
    def backward(ctx, gy):
        x, y = ctx.saved_tensors
        shift = (
            y if not may_be(lambda y: ~np.isfinite(y), y.array) else where(TensorBase.result(np.isfinite(y.array)), y, 0.0)
        )  # over nothing but -inf: no nan
        return gy * (x - shift).exp(), None


class Prod(Function):
    """The product over one axis."""

    @staticmethod
    def forward(ctx, x, axes, keepdim):
        ctx.axis = axes[0]
        y = kernels(x).prod(x, axes, keepdim)
        ctx.save_for_backward(x, y)
        return y

    @staticmethod
    def backward(ctx, gy):
        x, y = ctx.saved_tensors
        size = np.abs(y.array)
        if ((size >= np.finfo(y.array.dtype).tiny) & (size < np.inf)).all():
            return gy * y / x, None, None
        # Division by x would be by 0, or of a product that left the range: each gradient is the product of the others.
        if is_grad_enabled():
            return _grad_of(_by_pairs, x, ctx.axis, gy), None, None  # the same product, in operations
        if _divides(x.array, ctx.axis):
            return gy * y / x, None, None
        return gy * TensorBase.result(_of_others(x.array, ctx.axis)), None, None


def _divides(x: np.ndarray, axis: int) -> bool:
    """Is y / x, in float32, the product of the others though y left the range?  It is where y is so small that all others give 0, too."""
    if x.dtype != np.float32 or not x.all():
        return False
    with np.errstate(over="ignore"):
        size = np.abs(kernels(x).prod(x.astype(np.float64), (axis,), True))
    limits = np.finfo(np.float32)
    return bool((((size >= limits.tiny) & (size <= limits.max)) | (size < 2.0**-300)).all())  # x is 2^-149 or more


def _of_others(x: np.ndarray, axis: int) -> np.ndarray:
    """For each element the product of those before it and those behind it; taken in float64, which they may leave less easily."""
    wide, n = x.astype(np.float64), x.shape[axis]
    before, after = kernels(x).scan("prod", wide, axis), kernels(x).scan("prod", wide, axis, True)
    y = np.empty_like(x)

    def at(start: int, end: int) -> tuple[slice, ...]:
        return (*(slice(None),) * axis, slice(start, end))

    with np.errstate(all="ignore"):
        if n == 1:
            y.fill(1)
        else:
            y[at(0, 1)], y[at(n - 1, n)] = after[at(1, 2)], before[at(n - 2, n - 1)]
            np.multiply(before[at(0, n - 2)], after[at(2, n)], out=y[at(1, n - 1)], casting="same_kind")
    return y


def _grad_of(function: Callable, x: Any, axis: int, gy: Any) -> Any:
    """For a backward: the gradient of x from that of function(x, axis), which is made of operations."""
    recorded = is_grad_enabled()
    x = x if recorded and x.requires_grad else TensorBase.result(x.array, requires_grad=True)
    with enable_grad():
        y = function(x, axis)
    return grad(y, x, gy, retain_graph=True, create_graph=recorded)[0]


def _by_pairs(x: Any, d: int) -> Any:
    """The product along d, which stays with size 1."""
    n = x.array.shape[d]
    rests = []
    while n > 1:
        half = n // 2
        if n % 2:
            rests.append(_part(x, d, n - 1, n))
        x, n = _part(x, d, 0, half) * _part(x, d, half, 2 * half), half
    for rest in rests:
        x = x * rest
    return x


class Scan(Function):
    """The running sum along an axis; its gradient is the running sum from the other end."""

    @staticmethod
    def forward(ctx, x, axis, backwards):
        ctx.axis, ctx.backwards = axis, backwards
        return kernels(x).scan("sum", x, axis, backwards)

    @staticmethod
    def backward(ctx, gy):
        return Scan.apply(gy, ctx.axis, not ctx.backwards), None, None


class Cumprod(Function):
    """The running product along an axis."""

    @staticmethod
    def forward(ctx, x, axis):
        ctx.axis = axis
        y = kernels(x).scan("prod", x, axis)
        ctx.save_for_backward(x, y)
        return y

    @staticmethod
    def backward(ctx, gy):
        x, y = ctx.saved_tensors
        if x.array.all():
            return Scan.apply(gy * y, ctx.axis, True) / x, None
        return _grad_of(_by_doubling, x, ctx.axis, gy), None  # division by x would be by 0


class Logcumsumexp(Function):
    """log(sum(exp(x))) of the elements up to each one along an axis, or from each one on if `backwards`."""

    @staticmethod
    def forward(ctx, x, axis, backwards):
        ctx.axis, ctx.backwards = axis, backwards
        y = kernels(x).scan("logsumexp", x, axis, backwards)
        ctx.save_for_backward(x, y)
        return y

    @staticmethod
    def backward(ctx, gy):
        # gx_i = sum over k >= i of gy_k exp(x_i - y_k), where neither exp(x) nor exp(-y) need be finite: the sums are taken of logarithms.
        x, y = ctx.saved_tensors

        def part(g):
            some = TensorBase.result(g.array > 0)
            sizes = where(some, where(some, g, 1.0).log() - y, -np.inf)
            return (Logcumsumexp.apply(sizes, ctx.axis, not ctx.backwards) + x).exp()

        return part(gy) - part(-gy), None, None


def _by_doubling(x: Any, d: int) -> Any:
    """The running product along d: after the step of width w, element i is the product of 2 w factors."""
    y, width, n = x, 1, x.array.shape[d]
    while width < n:
        y = cat([_part(y, d, 0, width), _part(y, d, width, n) * _part(y, d, 0, n - width)], d)
        width *= 2
    return y


class Chosen(Function):
    """A number found in x by value: the elements equal to it share the gradient."""

    @staticmethod
    def forward(ctx, x, value):
        ctx.save_for_backward(x, value)
        return value.copy()

    @staticmethod
    def backward(ctx, gy):
        x, y = (t.array for t in ctx.saved_tensors)
        wins = (x == y) | (np.isnan(x) & np.isnan(y))
        return gy * TensorBase.result((wins / wins.sum()).astype(x.dtype)), None


def _part(x: Any, dim: int, start: int, end: int) -> Any:
    return x[(slice(None),) * dim + (slice(start, end),)]


def _dropped(y: Any, over: tuple[int, ...], keepdim: bool) -> Any:
    """y, whose reduced axes have size 1, without them unless `keepdim`."""
    return y if keepdim else y.reshape([n for i, n in enumerate(y.array.shape) if i not in over])


def _typed(op: str, x: Any, dtype: Any) -> Any:
    if dtype is None:
        return x
    dtype = checks.dtype(op, dtype)
    return x if x.array.dtype == dtype else Cast.apply(x, dtype)


def _floats(op: str, x: Any, dtype: Any = None) -> Any:
    x = _typed(op, checks.tensor(op, x), dtype)
    if x.array.dtype.kind != "f":
        raise TypeError(f"{op}: needs a floating dtype, got {x.dtype}; convert with .to(convkit.float32)")
    return x


# ------------------------------------------------------------------------------------ sums and means
def sum(input: Any, dim: Dim = None, keepdim: bool = False, *, dtype: Any = None) -> Any:
    """Sum over `dim` (an int, several, or all), of input converted to `dtype` if given; integers give int64."""
    input = _typed("sum", checks.tensor("sum", input), dtype)
    if input.array.dtype.kind in "bui":
        return TensorBase.result(checks.array(input.array.sum(axis=axes("sum", dim, input.ndim), keepdims=bool(keepdim), dtype=dtype or np.int64)))
    return Sum.apply(input, axes("sum", dim, input.ndim), keepdim)


def mean(input: Any, dim: Dim = None, keepdim: bool = False, *, dtype: Any = None) -> Any:
    """Mean over `dim`; nan over nothing."""
    input = _floats("mean", input, dtype)
    return Mean.apply(input, axes("mean", dim, input.ndim), keepdim)


def nansum(input: Any, dim: Dim = None, keepdim: bool = False, *, dtype: Any = None) -> Any:
    """Sum over `dim` of what is not nan."""
    input = _typed("nansum", checks.tensor("nansum", input), dtype)
    return NanSum.apply(input, axes("nansum", dim, input.ndim), keepdim) if input.array.dtype.kind == "f" else sum(input, dim, keepdim)


def nanmean(input: Any, dim: Dim = None, keepdim: bool = False, *, dtype: Any = None) -> Any:
    """Mean over `dim` of what is not nan."""
    input = _floats("nanmean", input, dtype)
    count = (~np.isnan(input.array)).sum(axis=axes("nanmean", dim, input.ndim), keepdims=bool(keepdim))
    return nansum(input, dim, keepdim) / TensorBase.result(checks.array(count).astype(input.array.dtype))


def prod(input: Any, dim: int | None = None, keepdim: bool = False, *, dtype: Any = None) -> Any:
    """Product over `dim`, or of all elements; integers give int64.  Each gradient is the product of the other factors, also where some are 0."""
    checks.tensor("prod", input)
    input = _typed("prod", input, dtype if dtype is not None else np.int64 if input.array.dtype.kind in "iub" else None)
    shape = input.array.shape
    if dim is None:
        input, d = input.reshape(-1), 0
    else:
        d = axis("prod", dim, _max(input.ndim, 1))
        input = input if input.ndim else input.reshape(1)
    y = Prod.apply(input, (d,), True)
    if dim is None or not shape:
        return y.reshape([1] * len(shape) if keepdim else [])
    return _dropped(y, (d,), keepdim)


def _spread(op: str, x: Any, dim: Any, unbiased: Any, correction: Any) -> tuple[Any, tuple[int, ...], float]:
    if isinstance(dim, bool):  # torch's older form: var(x, unbiased)
        dim, unbiased = None, dim
    if correction is None:
        correction = 1 if unbiased is None else int(bool(unbiased))
    x = _floats(op, x)
    return x, axes(op, dim, x.ndim), checks.number(op, "correction", correction)


def var(input: Any, dim: Dim = None, unbiased: bool | None = None, keepdim: bool = False, *, correction: float | None = None) -> Any:
    """Variance over `dim`, divided by count - correction (1: Bessel's; `unbiased=False` is 0)."""
    input, over, correction = _spread("var", input, dim, unbiased, correction)
    return _dropped(Var.apply(input, over, correction), over, keepdim)


def _root(v: Any) -> Any:
    """Square root whose gradient at 0 is 0, not inf."""
    if not may_be(np.logical_not, v.array):
        return v.sqrt()
    still = TensorBase.result(v.array == 0)
    return where(still, 0.0, where(still, 1.0, v).sqrt())


def std(input: Any, dim: Dim = None, unbiased: bool | None = None, keepdim: bool = False, *, correction: float | None = None) -> Any:
    """Standard deviation over `dim`: the square root of `var`; where it is 0, its gradient is 0."""
    input, over, correction = _spread("std", input, dim, unbiased, correction)
    return _dropped(_root(Var.apply(input, over, correction)), over, keepdim)


def var_mean(input: Any, dim: Dim = None, unbiased: bool | None = None, keepdim: bool = False, *, correction: float | None = None) -> tuple[Any, Any]:
    """(`var`, `mean`) over `dim`."""
    input, over, correction = _spread("var_mean", input, dim, unbiased, correction)
    return _dropped(Var.apply(input, over, correction), over, keepdim), mean(input, over, keepdim)


def std_mean(input: Any, dim: Dim = None, unbiased: bool | None = None, keepdim: bool = False, *, correction: float | None = None) -> tuple[Any, Any]:
    """(`std`, `mean`) over `dim`."""
    input, over, correction = _spread("std_mean", input, dim, unbiased, correction)
    return _dropped(_root(Var.apply(input, over, correction)), over, keepdim), mean(input, over, keepdim)


def norm(input: Any, p: float | str | None = "fro", dim: Dim = None, keepdim: bool = False, dtype: Any = None) -> Any:
    """(sum |input|^p)^(1/p) over `dim`; p 'fro' is 2, inf the greatest and -inf the least |input|, 0 the number of elements that are not 0.

    Where the norm is 0, so is its gradient.

    >>> import convkit
    >>> convkit.norm(convkit.tensor([3.0, -4.0])).item()
    5.0
    """
    input = _floats("norm", input, dtype)
    over = axes("norm", dim, input.ndim)
    if p is None or isinstance(p, str) and p == "fro":
        p = 2
    if isinstance(p, str):
        raise ValueError(f"norm: p must be a number or 'fro', got {p!r}")
    checks.number("norm", "p", p)
    if p == 2:
        return _dropped(Length.apply(input, over), over, keepdim)
    if p < 0:
        _not_empty("norm", input, over)
    if p == 1:
        return sum(input.abs(), over, keepdim)
    if p == 0:
        flat = where(TensorBase.result(np.zeros(input.array.shape, bool, like=input.array)), input, 0.0)  # in the graph, with a gradient of 0
        return sum(TensorBase.result((input.array != 0).astype(input.array.dtype)) + flat, over, keepdim)
    if abs(p) == float("inf"):
        return (amax if p > 0 else amin)(input.abs(), over, keepdim)
    zero = TensorBase.result(input.array == 0)
    some = may_be(np.logical_not, input.array)
    size = input.abs() if not some else where(zero, 0.0 if p > 0 else float("inf"), where(zero, 1.0, input).abs())
    total = sum((where(zero, 0.0, where(zero, 1.0, size) ** p) if p > 0 and some else size**p), over, True)
    nothing = TensorBase.result(total.array == 0)
    return _dropped(where(nothing, 0.0, where(nothing, 1.0, total) ** (1.0 / p)), over, keepdim)


def logsumexp(input: Any, dim: Dim, keepdim: bool = False) -> Any:
    """log(sum(exp(input))) over `dim`, without overflow."""
    input = as_float("logsumexp", input)
    over = axes("logsumexp", dim, input.ndim)
    return _dropped(LogSumExp.apply(input, over), over, keepdim)


def count_nonzero(input: Any, dim: Dim = None) -> Any:
    """How many elements over `dim` are not 0 (int64; no gradient)."""
    over = axes("count_nonzero", dim, checks.tensor("count_nonzero", input).ndim)
    return TensorBase.result(checks.array(np.count_nonzero(input.array, axis=over)).astype(np.int64))


# ---------------------------------------------------------------------------------------- running
def cumsum(input: Any, dim: int, *, dtype: Any = None) -> Any:
    """The sum so far along `dim`; integers give int64."""
    return _running("cumsum", Scan, input, dim, dtype, False)


def cumprod(input: Any, dim: int, *, dtype: Any = None) -> Any:
    """The product so far along `dim`; integers give int64."""
    return _running("cumprod", Cumprod, input, dim, dtype)


def logcumsumexp(input: Any, dim: int) -> Any:
    """log(sum(exp(input))) so far along `dim`, without overflow; TypeError for integers.

    >>> import convkit
    >>> [round(v, 3) for v in logcumsumexp(convkit.tensor([1000.0, 1000.0]), 0).tolist()]
    [1000.0, 1000.693]
    """
    return _running("logcumsumexp", Logcumsumexp, floating("logcumsumexp", input), dim, None, False)


def _running(op: str, rule: Any, x: Any, dim: int, dtype: Any, *told: Any) -> Any:
    d = axis(op, dim, _max(checks.tensor(op, x).ndim, 1))
    x = _typed(op, x, dtype if dtype is not None else np.int64 if x.array.dtype.kind in "iub" else None)
    if x.array.dtype.kind == "f":
        floating(op, x)
    return rule.apply(x, d, *told) if x.ndim else x.clone()


# --------------------------------------------------------------------------------------- extremes
def amax(input: Any, dim: Dim = (), keepdim: bool = False) -> Any:
    """Greatest element over `dim`; nan if one is nan.  Elements that tie share the gradient."""
    return Amax.apply(input, _not_empty("amax", input, axes("amax", dim, checks.tensor("amax", input).ndim)), keepdim)


def amin(input: Any, dim: Dim = (), keepdim: bool = False) -> Any:
    """Least element over `dim`; nan if one is nan.  Elements that tie share the gradient."""
    return Amin.apply(input, _not_empty("amin", input, axes("amin", dim, checks.tensor("amin", input).ndim)), keepdim)


def _not_empty(op: str, x: Any, over: tuple[int, ...]) -> tuple[int, ...]:
    if any(x.array.shape[a] == 0 for a in over):
        raise ValueError(f"{op}: the extreme of nothing is undefined; the input has shape {list(x.array.shape)}")
    return over


def _arg(op: str, x: Any, dim: int | None, keepdim: bool) -> Any:
    checks.tensor(op, x)
    d = None if dim is None else axis(op, dim, _max(x.ndim, 1))
    _not_empty(op, x, axes(op, d, x.ndim))
    if not x.ndim:
        return TensorBase.result(np.zeros((), np.int64, like=x.array))
    index = getattr(kernels(x.array), op)(x.array, d)
    if keepdim:
        index = index.reshape([1] * x.ndim) if d is None else np.expand_dims(index, d)
    return TensorBase.result(index)


def argmax(input: Any, dim: int | None = None, keepdim: bool = False) -> Any:
    """Index (int64) of the first greatest element along `dim`, or in the flattened tensor."""
    return _arg("argmax", input, dim, keepdim)


def argmin(input: Any, dim: int | None = None, keepdim: bool = False) -> Any:
    """Index (int64) of the first least element along `dim`, or in the flattened tensor."""
    return _arg("argmin", input, dim, keepdim)


def _extreme(op: str, x: Any, dim: Any, keepdim: bool) -> Any:
    checks.tensor(op, x)
    if isinstance(dim, TensorBase):
        return (maximum if op == "max" else minimum)(x, dim)
    if dim is None:
        return amax(x) if op == "max" else amin(x)
    if not x.ndim:
        axis(op, dim, 1)
        return ValuesIndices(x.clone(), TensorBase.result(np.zeros((), np.int64, like=x.array)))
    d = axis(op, dim, x.ndim)
    _not_empty(op, x, (d,))
    index = _arg("arg" + op, x, d, True)
    values = Gather.apply(x, d, index.array)
    return ValuesIndices(_dropped(values, (d,), keepdim), _dropped(index, (d,), keepdim))


def max(input: Any, dim: Any = None, keepdim: bool = False, *, other: Any = None) -> Any:
    """Greatest element of all; (values, indices) along `dim`, where the gradient goes to the first greatest; or `maximum` of two tensors.

    >>> import convkit
    >>> values, indices = convkit.max(convkit.tensor([[1.0, 3.0], [5.0, 2.0]]), 1)
    >>> values.tolist(), indices.tolist()
    ([3.0, 5.0], [1, 0])
    """
    return _extreme("max", input, dim if other is None else other, keepdim)


def min(input: Any, dim: Any = None, keepdim: bool = False, *, other: Any = None) -> Any:
    """Least element of all; (values, indices) along `dim`, where the gradient goes to the first least; or `minimum` of two tensors."""
    return _extreme("min", input, dim if other is None else other, keepdim)


def aminmax(input: Any, *, dim: int | None = None, keepdim: bool = False) -> tuple[Any, Any]:
    """(`amin`, `amax`) along one dimension or of all."""
    over = () if dim is None else dim
    return amin(input, over, keepdim), amax(input, over, keepdim)
