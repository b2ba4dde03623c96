"""Losses."""

from __future__ import annotations

from typing import Any

import numpy as np

from .activation import floating, log_softmax
from .elementwise import check_broadcast
from .reduce import mean, sum
from .shape import Gather


def reduced(op: str, values: Any, reduction: str) -> Any:
    """`values` as they are ('none'), their 'mean' or their 'sum'."""
    if reduction == "none":
        return values
    if reduction in ("mean", "sum"):
        return mean(values) if reduction == "mean" else sum(values)
    raise ValueError(f"{op}: reduction must be 'none', 'mean' or 'sum', got {reduction!r}")


def mse_loss(x: Any, target: Any, reduction: str = "mean") -> Any:
    """Squared differences of x and target, which have one shape."""
    check_broadcast("mse_loss", x.array, target.array)
    if x.shape != target.shape:
        raise ValueError(f"mse_loss: input {list(x.shape)} and target {list(target.shape)} must have one shape")
    away = x - target
    return reduced("mse_loss", away * away, reduction)


def _weights(op: str, x: Any, weight: Any) -> np.ndarray | None:
    if weight is None:
        return None
    if weight.shape != (x.shape[1],):
        raise ValueError(f"{op}: weight must have shape [{x.shape[1]}], one number a class, got {list(weight.shape)}")
    return weight.array.astype(x.dtype)


def nll_loss(x: Any, target: Any, weight: Any = None, ignore_index: int = -100, reduction: str = "mean", op: str = "nll_loss") -> Any:
    """-x at the target class: the negative log-likelihood of log-probabilities x [N, C, ...] for classes target [N, ...].

    Elements whose target is `ignore_index` count nothing; with `weight` [C] each counts as much as its class, and the mean is
    the weighted one.  IndexError for a target that is no class.
    """
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
    if not counted.all():
        t = np.where(counted, t, 0)
    if t.size and (t.min() < 0 or t.max() >= classes):
        bad = t[(t < 0) | (t >= classes)].flat[0]
        raise IndexError(f"{op}: targets must be classes 0 to {classes - 1} (or ignore_index {ignore_index}), got {int(bad)}")
    picked = Gather.apply(x, 1, t[:, None].astype(np.int64)).squeeze(1)
    per_class = _weights(op, x, weight)
    share = counted.astype(x.dtype) if per_class is None else per_class[t] * counted
    if reduction == "mean":
        total = float(share.sum(dtype=np.float64))
        if per_class is None and counted.all():
            return -mean(picked)
        return -sum(picked * type(x).result(share)) * (1.0 / total if total else float("nan"))
    return reduced(op, -(picked * type(x).result(share)), reduction)


def cross_entropy(
    x: Any, target: Any, weight: Any = None, ignore_index: int = -100, reduction: str = "mean", label_smoothing: float = 0.0
) -> Any:
    """Cross entropy of the classes `target` [N, ...] under the softmax of logits x [N, C, ...].

    loss = -log(softmax(x)[target]); with label_smoothing e, the target is (1 - e) times the class plus e / C of every class.

    >>> import convkit
    >>> convkit.nn.functional.cross_entropy(convkit.zeros(4, 10), convkit.tensor([1, 2, 3, 4])).item()  # log(10)
    2.3025851249694824
    """
    if not 0.0 <= label_smoothing <= 1.0:
        raise ValueError(f"cross_entropy: label_smoothing must be 0 to 1, got {label_smoothing}")
    if x.ndim == 1:
        x, target = x.unsqueeze(0), target.unsqueeze(0) if target.ndim == 0 else target
        loss = cross_entropy(x, target, weight, ignore_index, reduction, label_smoothing)
        return loss.squeeze(0) if reduction == "none" else loss
    if x.ndim < 2:
        raise ValueError(f"cross_entropy: input must be [N, C, ...], got shape {list(x.shape)}")
    logs = log_softmax(floating("cross_entropy", x), 1)
    loss = nll_loss(logs, target, weight, ignore_index, reduction, "cross_entropy")
    if not label_smoothing:
        return loss
    per_class = _weights("cross_entropy", x, weight)
    t = target.array
    counted = (t != ignore_index).astype(x.dtype)
    share = np.ones(x.shape[1], x.dtype) if per_class is None else per_class
    every = -sum(logs * type(x).result(share.reshape(1, -1, *(1,) * (x.ndim - 2))), 1) * type(x).result(counted)
    if reduction == "mean":
        total = float((counted * (1 if per_class is None else per_class[np.where(counted > 0, t, 0)])).sum(dtype=np.float64))
        smooth = sum(every) * (1.0 / total if total else float("nan"))
    else:
        smooth = reduced("cross_entropy", every, reduction)
    return loss * (1.0 - label_smoothing) + smooth * (label_smoothing / x.shape[1])
