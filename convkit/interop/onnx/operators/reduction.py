"""Sums, means, extremes and norms over axes; greatest places."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ....ops import reduce
from ....ops.functions import abs, exp, log, sqrt
from ..node import Node, Run, axes_of, is_float, made, row


def _log_sum_exp(x: Any, axes: tuple[int, ...], keep: bool) -> Any:
    """log(sum(exp(x))) with the greatest subtracted first."""
    top = np.max(x.array, axis=axes, keepdims=True, initial=-np.inf)
    top = made(np.where(np.isfinite(top), top, 0).astype(x.dtype))  # inf - inf would be nan
    y = log(reduce.sum(exp(x - top), axes, keep))
    return y + (top if keep else made(np.squeeze(top.array, axes)))


def _product(x: Any, axes: tuple[int, ...], keep: bool) -> Any:
    if not is_float(x):
        return made(np.prod(x.array, axis=axes, keepdims=keep, dtype=x.dtype))
    for a in sorted(axes, reverse=True):
        x = x.prod(a, keep)
    return x


def _extreme(floats: Callable, ints: Any, empty: float) -> Callable:
    def run(x: Any, axes: tuple[int, ...], keep: bool) -> Any:
        if is_float(x) and all(x.shape[a] for a in axes):
            return floats(x, axes, keep)
        if is_float(x):
            return made(ints.reduce(x.array, axis=axes, keepdims=keep, initial=empty))
        first = {"initial": empty > 0} if x.dtype == np.bool_ else {}
        return made(ints.reduce(x.array, axis=axes, keepdims=keep, **first))

    return run


def _sum(x: Any, axes: tuple[int, ...], keep: bool) -> Any:
    return reduce.sum(x, axes, keep) if is_float(x) else made(np.sum(x.array, axis=axes, keepdims=keep, dtype=x.dtype))


def _mean(x: Any, axes: tuple[int, ...], keep: bool) -> Any:
    return reduce.mean(x, axes, keep) if is_float(x) else made(np.mean(x.array, axis=axes, keepdims=keep).astype(x.dtype))


# name -> the reduction, and the version since which axes are an input
REDUCTIONS: dict[str, tuple[Callable, int]] = {
    "ReduceSum": (_sum, 13),
    "ReduceMean": (_mean, 18),
    "ReduceMax": (_extreme(reduce.amax, np.maximum, -np.inf), 18),
    "ReduceMin": (_extreme(reduce.amin, np.minimum, np.inf), 18),
    "ReduceProd": (_product, 18),
    "ReduceL1": (lambda x, axes, keep: _sum(abs(x), axes, keep), 18),
    "ReduceL2": (lambda x, axes, keep: sqrt(_sum(x * x, axes, keep)), 18),
    "ReduceLogSum": (lambda x, axes, keep: log(_sum(x, axes, keep)), 18),
    "ReduceLogSumExp": (_log_sum_exp, 18),
    "ReduceSumSquare": (lambda x, axes, keep: _sum(x * x, axes, keep), 18),
}


@row(*REDUCTIONS)
def reduction(node: Node) -> Run:
    """Over the axes given, or over all; over none with noop_with_empty_axes."""
    over, since = REDUCTIONS[node.op]
    keep = bool(node.get("keepdims", 1))
    nothing = bool(node.get("noop_with_empty_axes", 0))
    axes = axes_of(node, 1, since)

    def run(x: Any, given: Any = None) -> Any:
        chosen: Any = axes(given)
        if not chosen:
            if nothing:
                return x if node.op in ("ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd") else over(x[None], (0,), False)
            chosen = range(x.ndim)
        return over(x, tuple(sorted({a % x.ndim for a in chosen})), keep)

    return run


def _arg(node: Node, op: Any) -> Run:
    axis, keep, last = node.get("axis", 0), bool(node.get("keepdims", 1)), node.get("select_last_index", 0)

    def run(x: Any) -> Any:
        if last:
            index = x.array.shape[axis] - 1 - op(np.flip(x.array, axis), axis=axis)
        else:
            index = op(x.array, axis=axis)
        return made(np.expand_dims(index, axis) if keep else index)

    return run


@row("ArgMax")
def argmax(node: Node) -> Run:
    """Index of the first (or last) greatest element along an axis."""
    return _arg(node, np.argmax)


@row("ArgMin")
def argmin(node: Node) -> Run:
    """Index of the first (or last) least element along an axis."""
    return _arg(node, np.argmin)


@row("TopK", settings=(1,))
def topk(node: Node) -> Run:
    """The k greatest (or least) elements along an axis in order, and where they were; of equal ones the earlier comes first."""
    axis, largest = node.get("axis", -1), node.get("largest", 1)
    node.get("sorted", 1)  # sorted is a good order for those who ask for any
    fixed: Any = node.get("k") if node.version < 10 else None

    def run(x: Any, k: Any = None) -> Any:
        count = fixed if k is None else int(k.item())
        if largest:  # the reverse of an ascending order of the reversed axis: equal elements then keep theirs
            size = x.shape[axis]
            order = size - 1 - np.flip(np.argsort(np.flip(x.array, axis), axis=axis, kind="stable"), axis)
        else:
            order = np.argsort(x.array, axis=axis, kind="stable")
        index = made(np.ascontiguousarray(np.take(order, np.arange(count), axis)))
        return x.gather(axis, index), index

    return run


@row("CumSum", settings=(1,))
def cumsum(node: Node) -> Run:
    """Running sums along an axis; exclusive ones leave out the element itself, reverse ones run from the end."""
    exclusive, reverse = node.get("exclusive", 0), node.get("reverse", 0)

    def run(x: Any, axis: Any) -> Any:
        a = int(axis.item()) % x.ndim
        flip = (*[slice(None)] * a, slice(None, None, -1))
        x = x[flip] if reverse else x
        y = x.cumsum(a) if is_float(x) else made(np.cumsum(x.array, a, dtype=x.dtype))
        y = y - x if exclusive else y
        return y[flip] if reverse else y

    return run
