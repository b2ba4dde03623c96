"""Losses that compare numbers: element by element, and by margins.  Those over classes are in `classification`."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..autograd import Function, TensorBase, is_grad_enabled
from ..device import kernels
from . import checks
from .activation import sigmoid
from .distance import at_least, pairwise_distance
from .elementwise import Cast, clamp, floating, minimum, where
from .functions import exp, log
from .reduce import mean, sum

Switch = Any  # torch's size_average and reduce, which only None leaves alone


# ------------------------------------------------------------------------------- what all losses share
def reduced(op: str, values: Any, reduction: str, size_average: Switch = None, reduce: Switch = None, share: Any = None) -> Any:
    """`values` as they are ('none'), their 'mean' or their 'sum'; with `share` the mean is the sum divided by the sum of that.

    The one place that checks a loss's reduction and refuses torch's switches from before there was one.
    """
    check_reduction(op, reduction, size_average, reduce)
    if reduction == "none":
        return values
    if reduction == "sum":
        return sum(values)
    return mean(values) if share is None else sum(values) / sum(share)


def check_reduction(op: str, reduction: Any, size_average: Switch = None, reduce: Switch = None) -> None:
    """ValueError unless `reduction` is 'none', 'mean' or 'sum', and for torch's old switches."""
    if size_average is not None or reduce is not None:
        raise ValueError(f"{op}: size_average and reduce are torch's switches from before `reduction`; use reduction='none', 'mean' or 'sum'")
    if reduction not in ("none", "mean", "sum"):
        raise ValueError(f"{op}: reduction must be 'none', 'mean' or 'sum', got {reduction!r}")


def tensor(op: str, t: Any) -> Any:
    """t itself; TypeError unless it is a tensor."""
    if not isinstance(t, TensorBase):
        raise TypeError(f"{op}: needs tensors, got {type(t).__name__}")
    return t


def together(op: str, *tensors: Any) -> tuple[Any, ...]:
    """Tensors in the floating dtype that the first and the other floating ones promote to; integers and booleans take it too."""
    floating(op, tensors[0])
    for t in tensors[1:]:
        tensor(op, t)
    dtype = np.result_type(*(t.array.dtype for t in tensors if t.array.dtype.kind == "f"))
    return tuple(t if t.array.dtype == dtype else Cast.apply(t, dtype) for t in tensors)


def of_one_shape(op: str, input: Any, target: Any) -> tuple[Any, Any]:
    """(input, target) `together`; ValueError unless they have one shape.

    torch broadcasts with a warning, because [N, 1] beside [N] silently compares all with all; here that is an error.
    """
    input, target = together(op, input, target)
    if input.shape != target.shape:
        raise ValueError(f"{op}: input {list(input.shape)} and target {list(target.shape)} must have one shape; reshape or expand one of them")
    return input, target


def _broadcasting(op: str, *tensors: Any) -> tuple[Any, ...]:
    tensors = together(op, *tensors)
    try:
        np.broadcast_shapes(*(t.shape for t in tensors))
    except ValueError:
        raise ValueError(f"{op}: shapes {', '.join(str(list(t.shape)) for t in tensors)} do not broadcast") from None
    return tensors


def _weight(op: str, name: str, weight: Any, input: Any) -> Any:
    """`weight` as a tensor of the input's dtype that broadcasts to its shape."""
    (_, weight) = together(op, input, weight)
    try:
        fits = np.broadcast_shapes(weight.shape, input.shape) == input.shape
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(f"{op}: {name} {list(weight.shape)} does not broadcast to the input's shape {list(input.shape)}")
    return weight


# ---------------------------------------------------------------------------------- element by element
def _l1_slope(x: Any, t: Any) -> Any:
    """The sign of x - t, and nan for nan: flat, so that nothing has to be recorded."""
    one = np.broadcast_to(np.ones((), x.array.dtype, like=x.array), x.array.shape)
    return TensorBase.result(kernels(x.array).pointwise_loss_grad("smooth_l1", one, x.array, t.array, 0.0))


def _log_at_least(x: Any) -> Any:
    return clamp(log(x), min=-100.0)


# kind: (derivative with respect to x, and to the target), in tensor operations; None: minus that of x.
SLOPES: dict[str, tuple[Callable, Callable | None]] = {
    "mse": (lambda x, t, p: (x - t) * 2.0, None),
    "smooth_l1": (lambda x, t, p: clamp((x - t) / p, -1.0, 1.0) if p else _l1_slope(x, t), None),
    "huber": (lambda x, t, p: clamp(x - t, -p, p), None),
    "bce": (lambda x, t, p: (x - t) / clamp((1.0 - x) * x, min=1e-12), lambda x, t, p: _log_at_least(1.0 - x) - _log_at_least(x)),
    "bce_with_logits": (lambda x, t, p: sigmoid(x) - t, lambda x, t, p: -x),
    "kl_div": (lambda x, t, p: -t, lambda x, t, p: log(t) + 1.0 - x),
    "kl_div_log": (lambda x, t, p: -exp(t), lambda x, t, p: exp(t) * (t - x + 1.0)),
    "soft_margin": (lambda x, t, p: -t * sigmoid(-t * x), lambda x, t, p: -x * sigmoid(-t * x)),
}


class Pointwise(Function):
    """loss[i] = f(x[i], target[i], p), f one of the kernels' table; the gradient to x is fused, until it is differentiated itself."""

    @staticmethod
    def forward(ctx, x, target, kind, p):
        ctx.kind, ctx.p = kind, p
        ctx.save_for_backward(x, target)
        return kernels(x).pointwise_loss(kind, x, target, p)

    @staticmethod
    def backward(ctx, g):
        x, target = ctx.saved_tensors
        need_x, need_target, *_ = ctx.needs_input_grad
        by_x, by_target = SLOPES[ctx.kind]
        gx = gt = None
        if need_x or by_target is None:
            if is_grad_enabled():
                gx = g * by_x(x, target, ctx.p)
            else:
                gx = TensorBase.result(kernels(x.array).pointwise_loss_grad(ctx.kind, g.array, x.array, target.array, ctx.p))
        if need_target:
            gt = -gx if by_target is None else g * by_target(x, target, ctx.p)
        return gx if need_x else None, gt, None, None


def _weighted(op: str, values: Any, input: Any, weight: Any, reduction: str, size_average: Switch, reduce: Switch, by_share: bool = True) -> Any:
    """`reduced` with a weight for each element; torch's mean divides by the weights' sum, in the Huber loss by their number."""
    if weight is None:
        return reduced(op, values, reduction, size_average, reduce)
    if checks.tensor(f"{op}: weight", weight).shape != input.shape:
        raise ValueError(f"{op}: weight {list(weight.shape)} must have the input's shape {list(input.shape)}")
    weight = _weight(op, "weight", weight, input)
    return reduced(op, values * weight, reduction, size_average, reduce, share=weight if by_share else None)


def mse_loss(
    input: Any, target: Any, size_average: Switch = None, reduce: Switch = None, reduction: str = "mean", weight: Any = None
) -> Any:  # fmt: skip
    """Squared error (x - t)^2 of input and target, which have one shape.

    `weight`, of that shape too, multiplies each element; the mean is then divided by the sum of the weights.

    Raises:
        ValueError: shapes that differ (torch broadcasts with a warning), another reduction than 'none', 'mean' and 'sum'.
        TypeError: an input that is not floating.

    >>> import convkit
    >>> mse_loss(convkit.tensor([1.0, 2.0]), convkit.tensor([1.0, 4.0])).item()
    2.0
    """
    x, t = of_one_shape("mse_loss", input, target)
    return _weighted("mse_loss", Pointwise.apply(x, t, "mse", 0.0), x, weight, reduction, size_average, reduce)


def l1_loss(
    input: Any, target: Any, size_average: Switch = None, reduce: Switch = None, reduction: str = "mean", weight: Any = None
) -> Any:  # fmt: skip
    """Absolute error |x - t|, whose derivative at 0 is 0; arguments and errors as in `mse_loss`.

    >>> import convkit
    >>> l1_loss(convkit.tensor([1.0, 2.0]), convkit.tensor([1.0, 4.0]), reduction="sum").item()
    2.0
    """
    x, t = of_one_shape("l1_loss", input, target)
    return _weighted("l1_loss", Pointwise.apply(x, t, "smooth_l1", 0.0), x, weight, reduction, size_average, reduce)


def smooth_l1_loss(
    input: Any, target: Any, size_average: Switch = None, reduce: Switch = None, reduction: str = "mean", beta: float = 1.0
) -> Any:  # fmt: skip
    """(x - t)^2 / (2 beta) where |x - t| < beta, else |x - t| - beta / 2.

    ValueError for a negative beta; beta = 0 is `l1_loss`; other errors as in `mse_loss`.
    (R. Girshick, "Fast R-CNN", ICCV 2015.)

    >>> import convkit
    >>> smooth_l1_loss(convkit.tensor([0.0, 0.0]), convkit.tensor([1.0, 3.0]), reduction="none").tolist()
    [0.5, 2.5]
    """
    x, t = of_one_shape("smooth_l1_loss", input, target)
    if not checks.number("smooth_l1_loss", "beta", beta) >= 0:
        raise ValueError(f"smooth_l1_loss: beta must not be negative, got {beta}")
    return reduced("smooth_l1_loss", Pointwise.apply(x, t, "smooth_l1", float(beta)), reduction, size_average, reduce)


def huber_loss(input: Any, target: Any, reduction: str = "mean", delta: float = 1.0, weight: Any = None) -> Any:
    """(x - t)^2 / 2 where |x - t| <= delta, else delta (|x - t| - delta / 2).

    `weight`, of the input's shape, multiplies each element and does not change what the mean divides by.
    ValueError unless delta > 0; other errors as in `mse_loss`.
    (P. J. Huber, "Robust estimation of a location parameter", 1964.)

    >>> import convkit
    >>> huber_loss(convkit.tensor([0.0, 0.0]), convkit.tensor([1.0, 3.0]), reduction="none", delta=2.0).tolist()
    [0.5, 4.0]
    """
    x, t = of_one_shape("huber_loss", input, target)
    if not checks.number("huber_loss", "delta", delta) > 0:
        raise ValueError(f"huber_loss: delta must be positive, got {delta}")
    return _weighted("huber_loss", Pointwise.apply(x, t, "huber", float(delta)), x, weight, reduction, None, None, by_share=False)


def binary_cross_entropy(
    input: Any, target: Any, weight: Any = None, size_average: Switch = None, reduce: Switch = None, reduction: str = "mean"
) -> Any:  # fmt: skip
    """-w (t log x + (1 - t) log(1 - x)) of probabilities x and targets t, both from 0 to 1 and of one shape.

    Each logarithm is at least -100, as in torch, so that the loss stays finite.  `weight` broadcasts to the input.  Train on
    scores with `binary_cross_entropy_with_logits` instead: that is more exact.

    Raises:
        ValueError: shapes that differ, numbers outside 0 to 1 (or nan), a weight that does not broadcast, a wrong reduction.
        TypeError: an input that is not floating, or a target of another dtype.

    >>> import convkit
    >>> round(binary_cross_entropy(convkit.tensor([0.5, 0.5]), convkit.tensor([0.0, 1.0])).item(), 4)  # log(2)
    0.6931
    """
    op = "binary_cross_entropy"
    x, t = floating(op, input), target
    if not isinstance(t, TensorBase) or t.array.dtype != x.array.dtype:
        raise TypeError(f"{op}: target must be a tensor of the input's dtype {x.dtype}, got {getattr(t, 'dtype', type(t).__name__)}")
    x, t = of_one_shape(op, x, t)
    for name, a in (("input", x.array), ("target", t.array)):
        kernels(a).inside(a, 0, 1, ValueError, f"{op}: all elements of {name} must be between 0 and 1, got {{least:g}} to {{most:g}}")
    values = Pointwise.apply(x, t, "bce", 0.0)
    return reduced(op, values if weight is None else values * _weight(op, "weight", weight, x), reduction, size_average, reduce)


def binary_cross_entropy_with_logits(
    input: Any, target: Any, weight: Any = None, size_average: Switch = None, reduce: Switch = None, reduction: str = "mean",
    pos_weight: Any = None,
) -> Any:  # fmt: skip
    """`binary_cross_entropy` of sigmoid(x), from the scores x themselves: no score is too large, no digit is lost.

        loss = w (p t log(1 + exp(-x)) + (1 - t) log(1 + exp(x)))          w = weight, p = pos_weight

    Both weights broadcast to the input; pos_weight > 1 raises recall, < 1 precision.

    Raises:
        ValueError: shapes that differ, a weight that does not broadcast, a wrong reduction.
        TypeError: an input that is not floating.

    >>> import convkit
    >>> binary_cross_entropy_with_logits(convkit.tensor([1000.0, 0.0]), convkit.tensor([0.0, 1.0]), reduction="sum").item()
    1000.6931762695312
    """
    op = "binary_cross_entropy_with_logits"
    x, t = of_one_shape(op, input, target)
    if pos_weight is None:
        values = Pointwise.apply(x, t, "bce_with_logits", 0.0)
    else:
        p = _weight(op, "pos_weight", pos_weight, x)
        one = TensorBase.result(np.broadcast_to(np.ones((), x.dtype, like=x.array), x.shape))
        values = (1.0 - t) * x + ((p - 1.0) * t + 1.0) * Pointwise.apply(x, one, "soft_margin", 0.0)
    return reduced(op, values if weight is None else values * _weight(op, "weight", weight, x), reduction, size_average, reduce)


def kl_div(
    input: Any, target: Any, size_average: Switch = None, reduce: Switch = None, reduction: str = "mean", log_target: bool = False
) -> Any:  # fmt: skip
    """t (log t - x) of log-probabilities x and probabilities t: the Kullback-Leibler divergence, element by element.

    With `log_target` the target is given as a logarithm, too.  'batchmean' divides the sum by the first size, if there is one, and is the
    divergence of the distributions; 'mean' divides by the number of elements.

    Raises:
        ValueError: shapes that differ (torch broadcasts), a wrong reduction.
        TypeError: an input that is not floating.

    >>> import convkit
    >>> p, q = convkit.tensor([[0.5, 0.5]]), convkit.tensor([[0.25, 0.75]])
    >>> round(kl_div(q.log(), p, reduction="batchmean").item(), 4)
    0.1438
    """
    x, t = of_one_shape("kl_div", input, target)
    values = Pointwise.apply(x, t, "kl_div_log" if log_target else "kl_div", 0.0)
    if reduction == "batchmean":
        total = reduced("kl_div", values, "sum", size_average, reduce)
        return total if not x.ndim else total * (1.0 / x.shape[0] if x.shape[0] else float("nan"))
    return reduced("kl_div", values, reduction, size_average, reduce)


def soft_margin_loss(input: Any, target: Any, size_average: Switch = None, reduce: Switch = None, reduction: str = "mean") -> Any:
    """log(1 + exp(-t x)) of scores x and targets t of -1 or 1, without overflow (torch gives inf where -t x > 88 in float32).

    Errors as in `mse_loss`.

    >>> import convkit
    >>> soft_margin_loss(convkit.tensor([-200.0]), convkit.tensor([1.0])).item()
    200.0
    """
    x, t = of_one_shape("soft_margin_loss", input, target)
    return reduced("soft_margin_loss", Pointwise.apply(x, t, "soft_margin", 0.0), reduction, size_average, reduce)


def poisson_nll_loss(
    input: Any, target: Any, log_input: bool = True, full: bool = False, size_average: Switch = None, eps: float = 1e-8,
    reduce: Switch = None, reduction: str = "mean",
) -> Any:  # fmt: skip
    """Negative log-likelihood of counts t under Poisson distributions: exp(x) - t x, where x is the logarithm of the rate.

    With log_input=False x is the rate: x - t log(x + eps).  `full` adds Stirling's t log t - t + log(2 pi t) / 2 where t > 1.
    ValueError for shapes that do not broadcast and a wrong reduction, TypeError for an input that is not floating.

    >>> import convkit
    >>> poisson_nll_loss(convkit.tensor([0.0]), convkit.tensor([3.0])).item()
    1.0
    """
    op = "poisson_nll_loss"
    x, t = _broadcasting(op, input, target)
    values = exp(x) - t * x if log_input else x - t * log(x + eps)
    if full:
        large = t.array > 1
        counts = where(large, t, 1.0)
        values = values + where(large, counts * log(counts) - counts + 0.5 * log(2.0 * math.pi * counts), 0.0)
    return reduced(op, values, reduction, size_average, reduce)


def gaussian_nll_loss(input: Any, target: Any, var: Any, full: bool = False, eps: float = 1e-6, reduction: str = "mean") -> Any:
    """Negative log-likelihood of t under Gaussians of mean x and variance v: (log v + (x - t)^2 / v) / 2.

    `var`, not negative, has the input's shape, or lacks its last dimension or has size 1 in one, or is one number.  It counts as
    at least `eps`; the gradient passes as if it did not, as in torch.  `full` adds log(2 pi) / 2.

    Raises:
        ValueError: a negative variance, shapes that do not fit, a wrong reduction.
        TypeError: an input that is not floating.

    >>> import convkit
    >>> gaussian_nll_loss(convkit.zeros(2), convkit.ones(2), convkit.ones(2)).item()
    0.5
    """
    op = "gaussian_nll_loss"
    if not isinstance(var, TensorBase):
        var = TensorBase.result(np.full(floating(op, input).shape, float(checks.number(op, "var", var)), input.dtype, like=input.array))
    x, t, v = together(op, input, target, var)
    below = np.where(v.array < 0, v.array, 0)  # nan is let through
    kernels(below).inside(below, 0, math.inf, ValueError, f"{op}: var must not be negative, got {{least:g}}")
    if v.shape != x.shape:
        if v.shape == x.shape[:-1]:
            v = v.unsqueeze(-1)
        elif v.ndim != x.ndim or sorted(b for a, b in zip(x.shape, v.shape, strict=True) if a != b) != [1]:
            raise ValueError(f"{op}: var {list(v.shape)} must have the input's shape {list(x.shape)}, up to one dimension")
    x, t, v = _broadcasting(op, x, t, v)
    v = at_least(v, checks.number(op, "eps", eps))
    values = 0.5 * (log(v) + (x - t) ** 2 / v)
    return reduced(op, values + 0.5 * math.log(2 * math.pi) if full else values, reduction)


# ------------------------------------------------------------------------------------------ by margins
def hinge_embedding_loss(
    input: Any, target: Any, margin: float = 1.0, size_average: Switch = None, reduce: Switch = None, reduction: str = "mean"
) -> Any:  # fmt: skip
    """Of distances x and targets of 1 (alike) or -1 (different): x where alike, max(0, margin - x) where different.

    ValueError for shapes that do not broadcast and a wrong reduction, TypeError for an input that is not floating.

    >>> import convkit
    >>> hinge_embedding_loss(convkit.tensor([0.2, 0.2]), convkit.tensor([1.0, -1.0]), reduction="sum").item()
    1.0
    """
    op = "hinge_embedding_loss"
    x, t = _broadcasting(op, input, target)
    different = where(t.array != 1, clamp(margin - x, min=0.0), 0.0)
    return reduced(op, different + where(t.array != -1, x, 0.0), reduction, size_average, reduce)


def margin_ranking_loss(
    input1: Any, input2: Any, target: Any, margin: float = 0.0, size_average: Switch = None, reduce: Switch = None, reduction: str = "mean"
) -> Any:  # fmt: skip
    """max(0, -t (x1 - x2) + margin): t = 1 asks that x1 be ranked above x2, t = -1 the reverse.

    The three have as many dimensions and broadcast.  ValueError if they do not and for a wrong reduction, TypeError for an input
    that is not floating.

    >>> import convkit
    >>> margin_ranking_loss(convkit.tensor([1.0]), convkit.tensor([3.0]), convkit.tensor([1.0])).item()
    2.0
    """
    op = "margin_ranking_loss"
    x1, x2, t = together(op, input1, input2, target)
    if not x1.ndim == x2.ndim == t.ndim:
        raise ValueError(f"{op}: input1 {list(x1.shape)}, input2 {list(x2.shape)} and target {list(t.shape)} must have as many dimensions")
    x1, x2, t = _broadcasting(op, x1, x2, t)
    return reduced(op, clamp(-t * (x1 - x2) + margin, min=0.0), reduction, size_average, reduce)


def cosine_embedding_loss(
    input1: Any, input2: Any, target: Any, margin: float = 0.0, size_average: Switch = None, reduce: Switch = None, reduction: str = "mean"
) -> Any:  # fmt: skip
    """Of vectors [N, D] (or [D]) and targets [N] (or []): 1 - cos where the target is 1, max(0, cos - margin) where it is -1.

    A target that is neither counts 0, as in torch.  ValueError for shapes that do not fit and a wrong reduction, TypeError for an
    input that is not floating.

    >>> import convkit
    >>> a, b = convkit.tensor([[1.0, 0.0]]), convkit.tensor([[0.0, 2.0]])
    >>> cosine_embedding_loss(a, b, convkit.tensor([1.0])).item()
    1.0
    """
    op = "cosine_embedding_loss"
    x1, x2, t = together(op, input1, input2, target)
    if t.ndim > 1 or x1.ndim != t.ndim + 1 or x2.ndim != t.ndim + 1:
        raise ValueError(f"{op}: needs inputs [N, D] and target [N], or [D] and [], got {list(x1.shape)}, {list(x2.shape)} and {list(t.shape)}")
    _broadcasting(op, x1, x2)
    # torch's epsilon, below the root: the squares of both norms grow by 1e-12.
    dots, squares1, squares2 = sum(x1 * x2, -1), sum(x1 * x1, -1) + 1e-12, sum(x2 * x2, -1) + 1e-12
    cosine, t = _broadcasting(op, dots / (squares1 * squares2).sqrt(), t)
    alike = where(t.array == 1, 1.0 - cosine, 0.0)
    return reduced(op, alike + where(t.array == -1, clamp(cosine - margin, min=0.0), 0.0), reduction, size_average, reduce)


def triplet_margin_loss(
    anchor: Any, positive: Any, negative: Any, margin: float = 1.0, p: float = 2.0, eps: float = 1e-6, swap: bool = False,
    size_average: Switch = None, reduce: Switch = None, reduction: str = "mean",
) -> Any:  # fmt: skip
    """max(0, d(a, p) - d(a, n) + margin) of vectors [N, D] (or [D]), d the `pairwise_distance` of norm p.

    With `swap` the positive takes the anchor's place where it is nearer to the negative (V. Balntas et al., BMVC 2016).

    Raises:
        ValueError: shapes that do not broadcast or of different length, margin <= 0, a wrong reduction.
        TypeError: an input that is not floating.

    >>> import convkit
    >>> a, near, far = convkit.zeros(1, 2), convkit.zeros(1, 2), convkit.tensor([[0.0, 0.5]])
    >>> round(triplet_margin_loss(a, near, far).item(), 4)
    0.5
    """
    op = "triplet_margin_loss"
    return _triplet(op, anchor, positive, negative, lambda a, b: pairwise_distance(a, b, p, eps), margin, swap, reduction, size_average, reduce)


def triplet_margin_with_distance_loss(
    anchor: Any, positive: Any, negative: Any, *, distance_function: Callable[[Any, Any], Any] | None = None, margin: float = 1.0,
    swap: bool = False, reduction: str = "mean",
) -> Any:  # fmt: skip
    """`triplet_margin_loss` with a distance of your own: a function of two batches of vectors, by default `pairwise_distance`.

    >>> import convkit
    >>> a, near, far = convkit.zeros(1, 2), convkit.zeros(1, 2), convkit.ones(1, 2)
    >>> triplet_margin_with_distance_loss(a, near, far, distance_function=lambda x, y: (x - y).abs().sum(-1), margin=3.0).item()
    1.0
    """
    op = "triplet_margin_with_distance_loss"
    return _triplet(op, anchor, positive, negative, distance_function or pairwise_distance, margin, swap, reduction)


def _triplet(
    op: str, anchor: Any, positive: Any, negative: Any, distance: Callable, margin: float, swap: bool, reduction: str,
    size_average: Switch = None, reduce: Switch = None,
) -> Any:  # fmt: skip
    a, p, n = _broadcasting(op, anchor, positive, negative)
    if not a.ndim == p.ndim == n.ndim:
        raise ValueError(f"{op}: anchor, positive and negative must have as many dimensions, got {a.ndim}, {p.ndim} and {n.ndim}")
    if not callable(distance):
        raise TypeError(f"{op}: distance_function must be a function of two tensors, got {distance!r}")
    if not checks.number(op, "margin", margin) > 0:
        raise ValueError(f"{op}: margin must be greater than 0, got {margin}")
    far = distance(a, n)
    if swap:
        far = minimum(far, distance(p, n))
    return reduced(op, clamp(distance(a, p) - far + margin, min=0.0), reduction, size_average, reduce)
