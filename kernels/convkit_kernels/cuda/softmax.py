"""Softmax over one axis, its logarithm, their gradients, and the cross entropy that classifiers train on; the formulas are those of `cpu/softmax.py`.

Memory is [outer, C, inner] with the axis of C classes in the middle: inner = 1 where a row of classes lies together, as in channels-last order, and
planes of classes in C order.  `lanes` threads of a block share a row, and `lines` = THREADS / lanes rows a block.  Neighbouring threads take
neighbouring classes where those lie together (their numbers are `step` = 1 apart), else neighbouring rows (`step` = lines).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from ..cpu.softmax import _exp_term, _itself, _log, _log_softmax, _log_softmax_grad, _own_term, _product_term, _softmax, _softmax_grad
from ..layout import dense_order
from . import driver
from . import mathfunctions as m
from .blocks import added
from .blocks import greatest as greatest_of
from .copy import assign, contiguous
from .launch import cuda, kernel
from .memory import Array, empty, empty_like
from .reduce import sum

THREADS, WARP = (4, 2) if driver.is_simulated() else (256, 32)
TOGETHER = 16  # classes that are added up first: the more numbers one is added to, the more digits the sum loses


@m.device
def _mine(lanes, step):
    """(this thread's row, lane) in the whole grid."""
    t, lines = cuda.threadIdx.x, THREADS // lanes
    line, lane = (t // lanes, t % lanes) if step == 1 else (t % step, t // step)
    return cuda.blockIdx.x * lines + line, lane


class _Row:
    """The kernel of one operation: `greatest` tells whether it subtracts the maximum."""

    def __init__(self, greatest: bool, term: Callable, rest: Callable, result: Callable):
        name = result.__name__
        term, rest, result = m.row(term), m.row(rest), m.row(result)

        def rows(x, x0, b, b0, y, y0, count, classes, inner, lanes, step):
            shared = cuda.shared.array(THREADS, x.dtype)
            t = cuda.threadIdx.x
            row, lane = _mine(lanes, step)
            first = t - lane * step  # of the threads that share the row
            start = row // inner * classes * inner + row % inner
            zero = x.dtype.type(0)
            top, total = zero, zero
            if greatest:
                if row < count:
                    top = x[x0 + start + min(lane, classes - 1) * inner]
                    for j in range(lane + lanes, classes, lanes):
                        top = m.maximum(top, x[x0 + start + j * inner])
                shared[t] = top
                greatest_of(shared, t, lane, lanes, step)
                top = shared[first]
                cuda.syncthreads()
            if row < count:
                for group in range(lane, classes, TOGETHER * lanes):
                    some = zero
                    for j in range(group, min(group + TOGETHER * lanes, classes), lanes):
                        some += term(x[x0 + start + j * inner], b[b0 + start + j * inner], top)
                    total += some
            shared[t] = total
            added(shared, t, lane, lanes, step)
            over = rest(shared[first])
            if row < count:
                for j in range(lane, classes, lanes):
                    p, q = x[x0 + start + j * inner], b[b0 + start + j * inner]
                    y[y0 + start + j * inner] = result(p, q, term(p, q, top), top, over)

        rows.__name__ = rows.__qualname__ = name
        self.rows = kernel("TiTiTiiiiii")(rows)

    def run(self, axis: int, x: Array, b: Array | None = None) -> Array:
        """The result along `axis`, in the memory order of x."""
        axis %= x.ndim
        if dense_order(x.shape, x.strides, x.itemsize) is None:
            x = x.copy()
        y = empty_like(x)
        if not y.size:
            return y
        b = x if b is None else assign(empty_like(x), b) if b.strides != x.strides else b
        sizes = _sizes(y, axis)
        self.rows[x.dtype].blocks(_blocks(sizes), THREADS, x.flat, x.offset, b.flat, b.offset, y.flat, y.offset, *sizes)
        return y


def _sizes(y: Array, axis: int) -> tuple[int, int, int, int, int]:
    """(rows, classes, inner, lanes, step) of a dense array."""
    classes = y.shape[axis]
    inner = math.prod(n for n, s in zip(y.shape, y.strides, strict=True) if s < y.strides[axis] and n != 1) if classes > 1 else 1
    most = 1 << (classes - 1).bit_length()  # lanes, a power of two
    lanes = min(most, THREADS if inner == 1 else max(1, THREADS // WARP))
    return y.size // classes, classes, inner, lanes, 1 if inner == 1 else THREADS // lanes


def _blocks(sizes: tuple[int, int, int, int, int]) -> int:
    return -(-sizes[0] * sizes[3] // THREADS)


_SOFTMAX = _Row(True, _exp_term, _itself, _softmax)
_LOG_SOFTMAX = _Row(True, _exp_term, _log, _log_softmax)
_SOFTMAX_GRAD = _Row(False, _product_term, _itself, _softmax_grad)
_LOG_SOFTMAX_GRAD = _Row(False, _own_term, _itself, _log_softmax_grad)


def softmax(x: Array, axis: int) -> Array:
    """exp(x) / (sum of exp(x) along `axis`).  A row of -inf only, or with inf, gives NaN."""
    return _SOFTMAX.run(axis, x)


def log_softmax(x: Array, axis: int) -> Array:
    """log(softmax(x)) without the loss of digits where softmax is small."""
    return _LOG_SOFTMAX.run(axis, x)


def softmax_grad(gy: Array, y: Array, axis: int) -> Array:
    """The gradient of `softmax`, from its result y."""
    return _SOFTMAX_GRAD.run(axis, gy, y)


def log_softmax_grad(gy: Array, y: Array, axis: int) -> Array:
    """The gradient of `log_softmax`, from its result y."""
    return _LOG_SOFTMAX_GRAD.run(axis, gy, y)


# ----------------------------------------------------------------------------------- cross entropy
# loss = -(1 - e) w_t y_t - e / C sum_j w_j y_j, and 0 where the target is `ignored`; e = smoothing, `weighted`: are there weights, or are all 1?
@kernel("ITiTiTitiiiiiii")
def _loss(target, y, y0, weight, w0, loss, l0, smoothing, ignored, weighted, count, classes, inner, lanes, step):
    shared = cuda.shared.array(THREADS, y.dtype)
    t = cuda.threadIdx.x
    row, lane = _mine(lanes, step)
    start = row // inner * classes * inner + row % inner
    one = y.dtype.type(1)
    total = y.dtype.type(0)
    if row < count and smoothing > total:
        for j in range(lane, classes, lanes):
            total += (weight[w0 + j] if weighted else one) * y[y0 + start + j * inner]
    shared[t] = total
    added(shared, t, lane, lanes, step)
    if row < count and lane == 0:
        k = target[row]
        total = -smoothing / y.dtype.type(classes) * shared[t]
        if k >= 0 and k != ignored:
            total += (smoothing - one) * (weight[w0 + k] if weighted else one) * y[y0 + start + k * inner]
        else:
            total = y.dtype.type(0)
        loss[l0 + row] = total


# loss = -sum_j q_j y_j with q_j = w_j ((1 - e) [j = t] + e / C), y = log softmax(x), so gx_j = g (exp(y_j) sum_k q_k - q_j).
@kernel("ITiTiTiTiTitiiiiiii")
def _loss_grad(target, g, g0, y, y0, weight, w0, all_weights, a0, gx, x0, smoothing, ignored, weighted, count, classes, inner, lanes, step):
    row, lane = _mine(lanes, step)
    start = row // inner * classes * inner + row % inner
    zero, one = y.dtype.type(0), y.dtype.type(1)
    if row < count:
        k, slope = target[row], g[g0 + row]
        counts = k >= 0 and k != ignored
        certain = (one - smoothing) * (weight[w0 + k] if weighted and counts else one)
        everywhere = smoothing / y.dtype.type(classes)
        whole = certain + (everywhere * all_weights[a0] if weighted and smoothing > zero else smoothing)
        for j in range(lane, classes, lanes):
            q = everywhere * (weight[w0 + j] if weighted else one)
            if j == k:
                q += certain
            gx[x0 + start + j * inner] = slope * (m.exp(y[y0 + start + j * inner]) * whole - q) if counts else zero


def _classes(y: Array, target: Array, weight: Array | None) -> tuple[Array, Array, int]:
    """(class numbers in a line, weights of classes, whether they count)."""
    targets = contiguous(target.astype(np.int64, copy=False)).reshape(-1)
    targets = targets.copy() if targets.offset else targets
    return targets, y if weight is None else contiguous(weight.astype(y.dtype, copy=False)), int(weight is not None)


def _planes_or_rows(a: Array) -> Array:
    """a [N, C, *S] itself if its memory is C order or [N, *S, C], else a copy in channels-last order; always dense."""
    if a.flags.c_contiguous:
        return a
    order = (0, *range(2, a.ndim), 1)
    last = a.transpose(order)
    return a if last.flags.c_contiguous else last.copy().transpose(0, a.ndim - 1, *range(1, a.ndim - 1))


def cross_entropy(x: Array, target: Array, weight: Array | None, ignore_index: int, label_smoothing: float) -> tuple[Array, Array]:
    """Cross entropy of class scores x [N, C, *S] with class numbers target [N, *S]: (loss [N, *S], log_softmax(x) over C).

        loss = -(1 - e) w_t y_t - e / C sum_j w_j y_j        y = log_softmax(x), t = target, e = label_smoothing

    and 0 where the target is `ignore_index`.
    """
    y = log_softmax(_planes_or_rows(x), 1)
    loss = empty(target.shape, y.dtype)
    if y.size:
        targets, weights, weighted = _classes(y, target, weight)
        sizes = _sizes(y, 1)
        if not label_smoothing:  # a thread a row: each reads one number
            sizes = (*sizes[:3], 1, THREADS)
        _loss[y.dtype].blocks(
            _blocks(sizes), THREADS, targets.flat, y.flat, y.offset, weights.flat, weights.offset, loss.flat, loss.offset,
            label_smoothing, ignore_index, weighted, *sizes,
        )  # fmt: skip
    elif loss.size:
        loss[...] = 0
    return loss, y


def cross_entropy_grad(g: Array, log_probabilities: Array, target: Array, weight: Array | None, ignore_index: int, label_smoothing: float) -> Array:
    """The gradient of `cross_entropy` to x, from the gradient g [N, *S] of its loss and the log-probabilities it gave."""
    y = _planes_or_rows(log_probabilities)
    gx = empty_like(y)
    if gx.size:
        targets, weights, weighted = _classes(y, target, weight)
        g = contiguous(g.astype(y.dtype, copy=False))
        total = sum(weights, (0,), False) if weighted and label_smoothing else weights
        sizes = _sizes(y, 1)
        _loss_grad[y.dtype].blocks(
            _blocks(sizes), THREADS, targets.flat, g.flat, g.offset, y.flat, y.offset, weights.flat, weights.offset, total.flat, total.offset,
            gx.flat, gx.offset, label_smoothing, ignore_index, weighted, *sizes,
        )  # fmt: skip
    return gx
