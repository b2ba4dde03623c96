"""Softmax over one axis, its logarithm, their gradients, and the cross entropy that classifiers train on.

    softmax       y_j = exp(x_j - m) / s        m = max_j x_j,  s = sum_j exp(x_j - m)
    log_softmax   y_j = x_j - m - log s

Subtracting the maximum keeps exp from overflowing and changes nothing else.  Kernels see rows [M, C] with the axis innermost,
as classes are in channels-last memory; data in another order is copied.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numba import prange

from ..layout import contiguous, normal, order_of
from . import mathfunctions as m
from .elementwise import dense, in_order_of
from .runtime import kernel

# Elements that one thread takes at a time, in whole rows.
TASK = 4096


@kernel
def _softmax(x, y, rows):
    for task in prange((x.shape[0] + rows - 1) // rows):
        for i in range(task * rows, min(x.shape[0], (task + 1) * rows)):
            row = x[i]
            out = y[i]
            largest = row[0]
            for j in range(row.size):
                largest = m.maximum(largest, row[j])
            total = x.dtype.type(0)
            for j in range(row.size):
                e = m.exp(row[j] - largest)
                out[j] = e
                total += e
            for j in range(row.size):
                out[j] /= total


@kernel
def _log_softmax(x, y, rows):
    for task in prange((x.shape[0] + rows - 1) // rows):
        for i in range(task * rows, min(x.shape[0], (task + 1) * rows)):
            row = x[i]
            out = y[i]
            largest = row[0]
            for j in range(row.size):
                largest = m.maximum(largest, row[j])
            total = x.dtype.type(0)
            for j in range(row.size):
                total += m.exp(row[j] - largest)
            rest = m.log(total)
            for j in range(row.size):
                out[j] = m.subtract(m.subtract(row[j], largest), rest)


@kernel
def _softmax_grad(gy, y, gx, rows):
    # gx = y (gy - sum gy y)
    for task in prange((y.shape[0] + rows - 1) // rows):
        for i in range(task * rows, min(y.shape[0], (task + 1) * rows)):
            g = gy[i]
            row = y[i]
            out = gx[i]
            total = y.dtype.type(0)
            for j in range(row.size):
                total += g[j] * row[j]
            for j in range(row.size):
                out[j] = row[j] * (g[j] - total)


@kernel
def _log_softmax_grad(gy, y, gx, rows):
    # gx = gy - exp(y) sum gy
    for task in prange((y.shape[0] + rows - 1) // rows):
        for i in range(task * rows, min(y.shape[0], (task + 1) * rows)):
            g = gy[i]
            row = y[i]
            out = gx[i]
            total = y.dtype.type(0)
            for j in range(row.size):
                total += g[j]
            for j in range(row.size):
                out[j] = g[j] - m.exp(row[j]) * total


def _rows(a: np.ndarray, axis: int) -> np.ndarray | None:
    """The view [M, C] of a dense array with `axis` last, if it is last in memory."""
    order = order_of(a)
    if order is None or (order and order[-1] != axis and a.shape[axis] != 1):
        return None
    order = tuple(i for i in order if i != axis)
    rest = tuple(i for i in range(a.ndim) if i not in order and i != axis)
    return a.transpose((*rest, *order, axis)).reshape(-1, a.shape[axis])


def _along(run: Callable, axis: int, *operands: np.ndarray) -> np.ndarray:
    """run(rows of each operand, rows of the result), in the memory order of the first operand."""
    first = dense(operands[0])
    axis %= first.ndim
    y = np.empty_like(first)
    if not y.size:
        return y
    rows = _rows(y, axis)
    if rows is None:
        views = [contiguous(np.moveaxis(normal(a), axis, -1)).reshape(-1, y.shape[axis]) for a in operands]
        out = np.empty_like(views[0])
    else:
        views = [_rows(in_order_of(a, y), axis) for a in operands]  # type: ignore[misc]
        out = rows
    run(*views, out, max(1, TASK // y.shape[axis]))
    if rows is None:
        moved = np.moveaxis(y, axis, -1)
        moved[...] = out.reshape(moved.shape)
    return y


def softmax(x: np.ndarray, axis: int) -> np.ndarray:
    """exp(x) / (sum of exp(x) along `axis`).  A row of -inf only, or with inf, gives NaN."""
    return _along(_softmax, axis, x)


def log_softmax(x: np.ndarray, axis: int) -> np.ndarray:
    """log(softmax(x)) without the loss of digits where softmax is small."""
    return _along(_log_softmax, axis, x)


def softmax_grad(gy: np.ndarray, y: np.ndarray, axis: int) -> np.ndarray:
    """The gradient of `softmax`, from its result y."""
    return _along(_softmax_grad, axis, gy, y)


def log_softmax_grad(gy: np.ndarray, y: np.ndarray, axis: int) -> np.ndarray:
    """The gradient of `log_softmax`, from its result y."""
    return _along(_log_softmax_grad, axis, gy, y)


# ----------------------------------------------------------------------------------- cross entropy
@kernel
def _cross_entropy(x, target, weight, ignored, smoothing, y, loss, rows):
    zero, one = x.dtype.type(0), x.dtype.type(1)
    for task in prange((x.shape[0] + rows - 1) // rows):
        for i in range(task * rows, min(x.shape[0], (task + 1) * rows)):
            row = x[i]
            out = y[i]
            largest = row[0]
            for j in range(row.size):
                largest = m.maximum(largest, row[j])
            total = zero
            for j in range(row.size):
                total += m.exp(row[j] - largest)
            rest = m.log(total)
            for j in range(row.size):
                out[j] = m.subtract(m.subtract(row[j], largest), rest)
            t = target[i]
            if t == ignored:
                loss[i] = zero
                continue
            loss[i] = -(one - smoothing) * weight[t] * out[t]
            if smoothing > zero:
                spread = zero
                for j in range(row.size):
                    spread += weight[j] * out[j]
                loss[i] -= smoothing / row.size * spread


@kernel
def _cross_entropy_grad(g, y, target, weight, ignored, smoothing, gx, rows):
    # loss = -sum_j q_j y_j with q_j = weight_j ((1 - smoothing) [j = t] + smoothing / C), y = log softmax(x), so
    # gx_j = g (exp(y_j) sum_k q_k - q_j).
    zero, one = y.dtype.type(0), y.dtype.type(1)
    everywhere = smoothing / y.dtype.type(y.shape[1])
    total = zero
    for j in range(weight.size):
        total += weight[j]
    for task in prange((y.shape[0] + rows - 1) // rows):
        for i in range(task * rows, min(y.shape[0], (task + 1) * rows)):
            row = y[i]
            out = gx[i]
            t = target[i]
            factor = g[i]
            if t == ignored:
                out[:] = zero
                continue
            target_weight = (one - smoothing) * weight[t]
            size = factor * (target_weight + everywhere * total)
            for j in range(row.size):
                out[j] = m.exp(row[j]) * size - factor * everywhere * weight[j]
            out[t] -= factor * target_weight


def _classes_last(a: np.ndarray) -> np.ndarray:
    """[N, C, *S] -> contiguous [N * S, C]."""
    return contiguous(a.transpose(0, *range(2, a.ndim), 1)).reshape(a.size // a.shape[1], a.shape[1])


def _classes_second(a: np.ndarray) -> np.ndarray:
    """[N, *S, C] -> its view [N, C, *S]."""
    return a.transpose(0, a.ndim - 1, *range(1, a.ndim - 1))


def _like_target(a: np.ndarray, dtype: np.dtype) -> np.ndarray:
    return contiguous(np.asarray(a, dtype)).reshape(-1)


def cross_entropy(
    x: np.ndarray, target: np.ndarray, weight: np.ndarray | None, ignore_index: int, label_smoothing: float
) -> tuple[np.ndarray, np.ndarray]:
    """Cross entropy of class scores x [N, C, *S] with class numbers target [N, *S]: (loss [N, *S], log_softmax(x) over C).

        loss = -(1 - e) w_t y_t - e / C sum_j w_j y_j        y = log_softmax(x), t = target, e = label_smoothing

    and 0 where the target is `ignore_index`.  One pass does what log_softmax, a choice and a sum would do in three.
    """
    x = normal(x)
    classes = x.shape[1]
    loss = np.zeros(target.shape, x.dtype)
    y = np.empty((*target.shape, classes), x.dtype)
    if x.size:
        number = x.dtype.type
        weights = np.ones(classes, x.dtype) if weight is None else _like_target(weight, x.dtype)
        targets = _like_target(target, np.dtype(np.int64))
        rows = max(1, TASK // classes)
        _cross_entropy(_classes_last(x), targets, weights, ignore_index, number(label_smoothing), y.reshape(-1, classes), loss.reshape(-1), rows)
    return loss, _classes_second(y)


def cross_entropy_grad(
    g: np.ndarray, log_probabilities: np.ndarray, target: np.ndarray, weight: np.ndarray | None, ignore_index: int, label_smoothing: float
) -> np.ndarray:
    """The gradient of `cross_entropy` to x, from the gradient g [N, *S] of its loss and the log-probabilities it gave."""
    log_probabilities = normal(log_probabilities)
    classes = log_probabilities.shape[1]
    dtype = log_probabilities.dtype
    gx = np.empty((*target.shape, classes), dtype)
    if gx.size:
        weights = np.ones(classes, dtype) if weight is None else _like_target(weight, dtype)
        targets = _like_target(target, np.dtype(np.int64))
        _cross_entropy_grad(
            _like_target(g, dtype),
            _classes_last(log_probabilities),
            targets,
            weights,
            ignore_index,
            dtype.type(label_smoothing),
            gx.reshape(-1, classes),
            max(1, TASK // classes),
        )
    return _classes_second(gx)
