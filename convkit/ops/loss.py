"""Losses."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..autograd import Function, TensorBase, is_grad_enabled
from ..device import kernels
from .activation import softmax
from .elementwise import floating
from .indexing import Gather, one_hot
from .reduce import mean, sum


def reduced(op: str, values: Any, reduction: str) -> Any:
    """`values` as they are ('none'), their 'mean' or their 'sum'."""
    if reduction == "none":
        return values
    if reduction in ("mean", "sum"):
        return mean(values) if reduction == "mean" else sum(values)
    raise ValueError(f"{op}: reduction must be 'none', 'mean' or 'sum', got {reduction!r}")


def mse_loss(x: Any, target: Any, reduction: str = "mean") -> Any:
    """Squared differences of x and target, which have one shape."""
    if x.shape != target.shape:
        raise ValueError(f"mse_loss: input {list(x.shape)} and target {list(target.shape)} must have one shape")
    away = x - target
    return reduced("mse_loss", away * away, reduction)


def _targets(op: str, x: Any, target: Any, weight: Any, ignore_index: int) -> tuple[np.ndarray, np.ndarray | None, np.ndarray | None]:
    """(class numbers, weight of each class, weight of each element), checked; None for weights that are all 1."""
    floating(op, x)
    if x.ndim < 2:
        raise ValueError(f"{op}: input must be [N, C, ...], got shape {list(x.shape)}")
    t = target.array
    if t.dtype.kind not in "iu":
        raise TypeError(f"{op}: class targets must be integers, got {t.dtype}")
    if t.shape != (x.shape[0], *x.shape[2:]):
        raise ValueError(f"{op}: input {list(x.shape)} needs targets of shape {[x.shape[0], *x.shape[2:]]}, got {list(t.shape)}")
    classes = x.shape[1]
    counted = t != ignore_index
    bad = t[counted & ((t < 0) | (t >= classes))]
    if bad.size:
        raise IndexError(f"{op}: targets must be classes 0 to {classes - 1} (or ignore_index {ignore_index}), got {int(bad[0])}")
    if weight is None:
        return t, None, None if counted.all() else counted.astype(x.dtype)
    if weight.shape != (classes,):
        raise ValueError(f"{op}: weight must have shape [{classes}], one number a class, got {list(weight.shape)}")
    per_class = weight.array.astype(x.dtype)
    return t, per_class, np.where(counted, per_class[np.where(counted, t, 0)], 0).astype(x.dtype)


def _mean_by_share(op: str, losses: Any, share: np.ndarray | None, reduction: str) -> Any:
    """`reduced`, with the mean weighted by `share`; nan over nothing."""
    if reduction != "mean" or share is None:
        return reduced(op, losses, reduction)
    total = float(share.sum(dtype=np.float64))
    return sum(losses) * (1.0 / total if total else float("nan"))


def nll_loss(x: Any, target: Any, weight: Any = None, ignore_index: int = -100, reduction: str = "mean") -> Any:
    """-x at the target class: the negative log-likelihood of log-probabilities x [N, C, ...] for classes target [N, ...].

    Elements whose target is `ignore_index` count nothing; with `weight` [C] each counts as much as its class, and the mean is
    the weighted one.  IndexError for a target that is no class.
    """
    t, _, share = _targets("nll_loss", x, target, weight, ignore_index)
    if share is None:
        picked = Gather.apply(x, 1, t[:, None].astype(np.int64)).squeeze(1)
        return reduced("nll_loss", -picked, reduction)
    picked = Gather.apply(x, 1, np.where(t == ignore_index, 0, t)[:, None].astype(np.int64)).squeeze(1)
    return _mean_by_share("nll_loss", -(picked * TensorBase.result(share)), share, reduction)


class CrossEntropy(Function):
    """loss[n, ...] = -sum over classes c of q[c] * log_softmax(x)[n, c, ...], with the target distribution q of `cross_entropy`."""

    @staticmethod
    def forward(ctx, x, target, weight, ignore_index, label_smoothing):
        ctx.args = target, weight, ignore_index, label_smoothing
        loss, logs = kernels(x).cross_entropy(x, *ctx.args)
        ctx.save_for_backward(x, logs)
        return loss

    @staticmethod
    def backward(ctx, g):
        x, logs = ctx.saved_tensors
        nothing = (None,) * 4
        if not is_grad_enabled():
            return TensorBase.result(kernels(g.array).cross_entropy_grad(g.array, logs.array, *ctx.args)), *nothing
        # gx = g * (softmax(x) * sum(q) - q), in operations that can be differentiated again; q does not depend on x.
        target, weight, ignore_index, smoothing = ctx.args
        counted = target != ignore_index
        classes = x.shape[1]
        q = (1 - smoothing) * one_hot(np.where(counted, target, 0), classes, x.dtype) + smoothing / classes
        q = np.moveaxis(q * (1 if weight is None else weight) * counted[..., None], -1, 1).astype(x.dtype)
        total = TensorBase.result(q.sum(1, keepdims=True))
        return g.unsqueeze(1) * (softmax(x, 1) * total - TensorBase.result(q)), *nothing


def cross_entropy(x: Any, target: Any, weight: Any = None, ignore_index: int = -100, reduction: str = "mean", label_smoothing: float = 0.0) -> Any:
    """Cross entropy of the classes `target` [N, ...] under the softmax of logits x [N, C, ...].

        loss = -sum over c of q[c] * log(softmax(x)[c])      q[c] = weight[c] * ((1 - e) * [c is the target] + e / C)

    with e = label_smoothing.  Elements whose target is `ignore_index` count nothing; the mean is weighted by the weight of the target
    classes, as in torch.  IndexError for a target that is no class.

    >>> import convkit
    >>> convkit.nn.functional.cross_entropy(convkit.zeros(4, 10), convkit.tensor([1, 2, 3, 4])).item()  # log(10)
    2.3025851249694824
    """
    op = "cross_entropy"
    if not 0.0 <= label_smoothing <= 1.0:
        raise ValueError(f"{op}: label_smoothing must be 0 to 1, got {label_smoothing}")
    if x.ndim == 1:
        x, target = x.unsqueeze(0), target.unsqueeze(0) if target.ndim == 0 else target
        loss = cross_entropy(x, target, weight, ignore_index, reduction, label_smoothing)
        return loss.squeeze(0) if reduction == "none" else loss
    t, per_class, share = _targets(op, x, target, weight, ignore_index)
    return _mean_by_share(op, CrossEntropy.apply(x, t, per_class, ignore_index, float(label_smoothing)), share, reduction)
