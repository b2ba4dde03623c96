"""Softmax over one axis, its logarithm, their gradients, and the cross entropy that classifiers train on.

    softmax       y_j = exp(x_j - m) / s        m = max_j x_j,  s = sum_j exp(x_j - m)
    log_softmax   y_j = x_j - m - log s

Subtracting the maximum keeps exp from overflowing and changes nothing else.  Memory is [outer, C, inner] with the axis of C classes in
the middle, in any dense order of the other axes.  Channels-last, inner = 1 and a row of classes lies together; in C order classes are planes,
which go by strips of places.  Each operation is a row of formulas for both walks.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import numba
import numpy as np
from numba.extending import register_jitable

from ..layout import normal
from . import mathfunctions as m
from . import tasks
from .copy import contiguous
from .elementwise import dense, in_order_of
from .runtime import STRICT

# Below how many places side by side there is no strip but a copy to rows; up to how many classes rows go together, and numbers of them.
NARROW = 8
FEW, TOGETHER = 32, 1024

# ---------------------------------------------------------------------------------- rows of formulas
# From x and a second operand b of an element, and `top`, the maximum of x (0 in gradients):
#   term(x, b, top), its sum over the classes, rest(sum), and the result(x, b, term, top, rest).
_formula = register_jitable(**STRICT)


@_formula
def _exp_term(x, b, top):
    return m.exp(x - top)


@_formula
def _product_term(x, b, top):
    return x * b


@_formula
def _own_term(x, b, top):
    return x


@_formula
def _itself(total):
    return total


@_formula
def _log(total):
    return m.log(total)


@_formula
def _softmax(x, b, term, top, rest):
    return term / rest


@_formula
def _log_softmax(x, b, term, top, rest):
    return m.subtract(m.subtract(x, top), rest)


@_formula
def _softmax_grad(g, y, term, top, rest):
    # gx = y (gy - sum gy y)
    return y * (g - rest)


@_formula
def _log_softmax_grad(g, y, term, top, rest):
    # gx = gy - exp(y) sum gy
    return g - m.exp(y) * rest


@register_jitable
def _together(memory, start, end, classes):
    # Rows `start` to `end` of the memory as one line.
    return numba.carray(memory, end * classes)[start * classes :]


class _Row:
    """The formulas of one operation: `greatest` tells whether it subtracts the maximum."""

    def __init__(self, greatest: bool, term: Callable, rest: Callable, result: Callable):
        def few_turned(task, plan, index, x, b, y, d, e, f, g):
            tasks.wide()
            count, classes, each = plan[0], plan[1], plan[2]
            high, size, zero = min(count, (task + 1) * each), TOGETHER // classes, type(x[0])(0)
            # Rows too short for vectors go together and are turned, [classes, size], in memory of the task's own: a maximum along a row would
            # take five times as long.  There is no second operand.
            p, z = _turned(x), _turned(x)
            tops, rests = _turned(x), _turned(x)
            for start in range(task * each, high, size):
                n, at = min(size, high - start), start * classes
                for j in range(classes):
                    for i in range(n):
                        p[j * size + i] = x[at + i * classes + j]
                for i in range(n):
                    tops[i] = p[i]
                    rests[i] = zero
                for j in range(1, classes):
                    for i in range(n):
                        tops[i] = m.maximum(tops[i], p[j * size + i])
                for j in range(classes):
                    for i in range(n):
                        z[j * size + i] = term(p[j * size + i], p[j * size + i], tops[i])
                        rests[i] += z[j * size + i]
                for i in range(n):
                    rests[i] = rest(rests[i])
                for j in range(classes):
                    for i in range(n):
                        z[j * size + i] = result(p[j * size + i], p[j * size + i], z[j * size + i], tops[i], rests[i])
                for j in range(classes):
                    for i in range(n):
                        y[at + i * classes + j] = z[j * size + i]

        def few(task, plan, index, x, b, y, d, e, f, g):
            tasks.wide()
            count, classes, each = plan[0], plan[1], plan[2]
            out = numba.carray(y, (count, classes))
            zero = out.dtype.type(0)
            low, high = task * each, min(count, (task + 1) * each)
            # Rows too short for vectors go together: what all of a row share is written out for each of its numbers.
            rests = _turned(x)
            for start in range(low, high, TOGETHER // classes):
                end = min(high, start + TOGETHER // classes)
                a, c, v = _together(x, start, end, classes), _together(b, start, end, classes), _together(y, start, end, classes)
                for k in range(v.size):
                    v[k] = term(a[k], c[k], zero)
                for i in range(start, end):
                    z, first = out[i], (i - start) * classes
                    total = zero
                    for j in range(classes):
                        total += z[j]
                    for j in range(classes):
                        rests[first + j] = total
                for k in range(v.size):
                    v[k] = result(a[k], c[k], v[k], zero, rest(rests[k]))

        def rows(task, plan, index, x, b, y, d, e, f, g):
            tasks.wide()
            count, classes, each = plan[0], plan[1], plan[2]
            first, second, out = numba.carray(x, (count, classes)), numba.carray(b, (count, classes)), numba.carray(y, (count, classes))
            zero = first.dtype.type(0)
            low, high = task * each, min(count, (task + 1) * each)
            for i in range(low, high):
                p, q, z = first[i], second[i], out[i]
                top = zero
                if greatest:
                    top = p[0]
                    for j in range(classes):
                        top = m.maximum(top, p[j])
                total = zero
                for j in range(classes):
                    z[j] = term(p[j], q[j], top)
                    total += z[j]
                over = rest(total)
                for j in range(classes):
                    z[j] = result(p[j], q[j], z[j], top, over)

        def strips(task, plan, index, x, b, y, d, e, f, g):
            tasks.wide()
            outer, classes, inner, width, cuts = plan[0], plan[1], plan[2], plan[3], plan[4]
            shape = (outer * classes, inner)
            first, second, out = numba.carray(x, shape), numba.carray(b, shape), numba.carray(y, shape)
            low = task % cuts * width
            size = min(width, inner - low)
            tops, sums, some = numba.carray(_room(x), (3, tasks.WIDE))
            for i in range(size):
                tops[i] = 0
                sums[i] = 0
            start = task // cuts * classes
            if greatest:
                for i in range(size):
                    tops[i] = first[start, low + i]
                for j in range(start, start + classes):
                    p = first[j, low : low + size]
                    for i in range(size):
                        tops[i] = m.maximum(tops[i], p[i])
            # Sums of 16 classes first: the more numbers one is added to, the more digits the sum loses.
            for group in range(start, start + classes, 16):
                for i in range(size):
                    some[i] = 0
                for j in range(group, min(group + 16, start + classes)):
                    p, q, z = first[j, low : low + size], second[j, low : low + size], out[j, low : low + size]
                    for i in range(size):
                        z[i] = term(p[i], q[i], tops[i])
                        some[i] += z[i]
                for i in range(size):
                    sums[i] += some[i]
            for i in range(size):
                sums[i] = rest(sums[i])
            for j in range(start, start + classes):
                p, q, z = first[j, low : low + size], second[j, low : low + size], out[j, low : low + size]
                for i in range(size):
                    z[i] = result(p[i], q[i], z[i], tops[i], sums[i])

        few = few_turned if greatest else few
        for run, kind in ((few, "few"), (rows, "rows"), (strips, "strips")):
            run.__name__ = run.__qualname__ = result.__name__ + "_" + kind
            run.__module__ = __name__
        self.few, self.rows, self.strips = few, rows, strips

    def run(self, axis: int, x: np.ndarray, b: np.ndarray | None = None) -> np.ndarray:
        """The result along `axis`, in the memory order of x."""
        x = dense(x)
        axis %= x.ndim
        y = np.empty_like(x)
        if not y.size:
            return y
        b = x if b is None else in_order_of(b, x)
        sizes = tasks.sizes(y, axis)
        if 1 < sizes[2] < NARROW:
            moved = self.run(-1, *(contiguous(np.moveaxis(a, axis, -1)) for a in (x, b)))
            y[...] = np.moveaxis(moved, -1, axis)
            return y
        tasks.walk(self.few if sizes[1] <= FEW else self.rows, self.strips, sizes, _NONE, x, b, y)
        return y


_room, _turned = tasks.stack(3 * tasks.WIDE), tasks.stack(TOGETHER)
_NONE = np.zeros(1, np.int64)

_SOFTMAX = _Row(True, _exp_term, _itself, _softmax)
_LOG_SOFTMAX = _Row(True, _exp_term, _log, _log_softmax)
_SOFTMAX_GRAD = _Row(False, _product_term, _itself, _softmax_grad)
_LOG_SOFTMAX_GRAD = _Row(False, _own_term, _itself, _log_softmax_grad)


def softmax(x: np.ndarray, axis: int) -> np.ndarray:
    """exp(x) / (sum of exp(x) along `axis`).  A row of -inf only, or with inf, gives NaN."""
    return _SOFTMAX.run(axis, x)


def log_softmax(x: np.ndarray, axis: int) -> np.ndarray:
    """log(softmax(x)) without the loss of digits where softmax is small."""
    return _LOG_SOFTMAX.run(axis, x)


def softmax_grad(gy: np.ndarray, y: np.ndarray, axis: int) -> np.ndarray:
    """The gradient of `softmax`, from its result y."""
    return _SOFTMAX_GRAD.run(axis, gy, y)


def log_softmax_grad(gy: np.ndarray, y: np.ndarray, axis: int) -> np.ndarray:
    """The gradient of `log_softmax`, from its result y."""
    return _LOG_SOFTMAX_GRAD.run(axis, gy, y)


# ----------------------------------------------------------------------------------- cross entropy
def _loss_rows(task, plan, target, y, weight, loss, options, e, f, g):
    # loss = -(1 - e) w_t y_t - e / C sum_j w_j y_j, rows of classes
    count, classes, each = plan[0], plan[1], plan[2]
    logs, out = numba.carray(y, (count, classes)), numba.carray(loss, count)
    smoothing = options[0]
    zero = smoothing - smoothing
    for i in range(task * each, min(count, (task + 1) * each)):
        t = target[i]
        out[i] = zero
        if t >= 0:
            total = zero
            if smoothing > zero:
                for j in range(classes):
                    total += weight[j] * logs[i, j]
            out[i] = options[1] * weight[t] * logs[i, t] + options[2] * total


def _loss_strips(task, plan, target, y, weight, loss, options, e, f, g):
    # The same, planes of classes.
    outer, classes, inner, width, cuts = plan[0], plan[1], plan[2], plan[3], plan[4]
    logs, out, targets = numba.carray(y, (outer * classes, inner)), numba.carray(loss, (outer, inner)), numba.carray(target, (outer, inner))
    smoothing = options[0]
    zero = smoothing - smoothing
    low = task % cuts * width
    size = min(width, inner - low)
    start = task // cuts * classes
    result, classes_of = out[task // cuts, low : low + size], targets[task // cuts, low : low + size]
    for i in range(size):
        result[i] = zero
    if smoothing > zero:
        for j in range(classes):
            p = logs[start + j, low : low + size]
            for i in range(size):
                result[i] += weight[j] * p[i]
    for i in range(size):
        t = classes_of[i]
        result[i] = options[1] * weight[t] * logs[start + t, low + i] + options[2] * result[i] if t >= 0 else zero


def _cross_entropy_grad_rows(task, plan, target, g, y, weight, options, gx, e, f):
    # loss = -sum_j q_j y_j with q_j = weight_j ((1 - smoothing) [j = t] + smoothing / C), y = log softmax(x), so
    # gx_j = g (exp(y_j) sum_k q_k - q_j).
    tasks.wide()
    count, classes, each = plan[0], plan[1], plan[2]
    out = numba.carray(gx, (count, classes))
    low, high = task * each, min(count, (task + 1) * each)
    a, v = _together(y, low, high, classes), _together(gx, low, high, classes)
    for k in range(v.size):
        v[k] = m.exp(a[k])
    for i in range(low, high):
        z, t = out[i], target[i]
        if t < 0:
            for j in range(classes):
                z[j] = 0
            continue
        size = g[i] * (options[3] - options[1] * weight[t])
        spread = g[i] * options[2]
        for j in range(classes):
            z[j] = z[j] * size + spread * weight[j]
        z[t] += g[i] * options[1] * weight[t]


def _cross_entropy_grad_strips(task, plan, target, g, y, weight, options, gx, e, f):
    # The same, planes of classes.
    tasks.wide()
    outer, classes, inner, width, cuts = plan[0], plan[1], plan[2], plan[3], plan[4]
    logs, out = numba.carray(y, (outer * classes, inner)), numba.carray(gx, (outer * classes, inner))
    low = task % cuts * width
    size = min(width, inner - low)
    start = task // cuts * classes
    gs, targets = (
        numba.carray(g, (outer, inner))[task // cuts, low : low + size],
        numba.carray(target, (outer, inner))[task // cuts, low : low + size],
    )
    sizes, spread, counted = numba.carray(_room(g), (3, tasks.WIDE))
    zero = options[0] - options[0]
    for i in range(size):
        t = targets[i]
        sizes[i] = gs[i] * (options[3] - options[1] * weight[max(t, 0)])
        spread[i] = gs[i] * options[2]
        counted[i] = t >= 0
    for j in range(classes):
        p, z = logs[start + j, low : low + size], out[start + j, low : low + size]
        for i in range(size):
            z[i] = m.exp(p[i]) * sizes[i] + spread[i] * weight[j] if counted[i] > zero else zero
    for i in range(size):
        if targets[i] >= 0:
            out[start + targets[i], low + i] += gs[i] * options[1] * weight[targets[i]]


def _classes(y: np.ndarray, target: np.ndarray, weight: np.ndarray | None, ignored: int, smoothing: float) -> tuple[np.ndarray, ...]:
    """(class numbers, -1 where they do not count, weights of classes, the numbers that the formulas share), as kernels take them."""
    targets = contiguous(np.asarray(target, np.int64)).reshape(-1)
    if ignored >= 0:  # other numbers that are no class are negative already
        targets = np.where(targets == ignored, -1, targets)
    weights, options = _alike(y.shape[1], y.dtype, smoothing)
    if weight is not None:
        weights, options = contiguous(np.asarray(weight, y.dtype)), options.copy()
        options[3] = smoothing / y.shape[1] * weights.sum(dtype=float) if smoothing else 0.0
    return targets, weights, options


@functools.lru_cache(maxsize=64)
def _alike(classes: int, dtype: np.dtype, smoothing: float) -> tuple[np.ndarray, np.ndarray]:
    """Weights of classes that all count as much, and the numbers of the formulas."""
    return np.ones(classes, dtype), np.array([smoothing, smoothing - 1, -smoothing / classes, smoothing / classes * classes], dtype)


def _planes_or_rows(a: np.ndarray) -> np.ndarray:
    """a [N, C, *S] itself if its memory is C order or [N, *S, C], else a copy in channels-last order; always dense."""
    a = normal(a)
    if a.flags.c_contiguous and (a.ndim == 2 or math.prod(a.shape[2:]) >= NARROW):
        return a
    last = a.transpose(0, *range(2, a.ndim), 1)
    return a if last.flags.c_contiguous else np.moveaxis(contiguous(last), -1, 1)


def cross_entropy(
    x: np.ndarray, target: np.ndarray, weight: np.ndarray | None, ignore_index: int, label_smoothing: float
) -> tuple[np.ndarray, np.ndarray]:
    """Cross entropy of class scores x [N, C, *S] with class numbers target [N, *S]: (loss [N, *S], log_softmax(x) over C).

        loss = -(1 - e) w_t y_t - e / C sum_j w_j y_j        y = log_softmax(x), t = target, e = label_smoothing

    and 0 where the target is `ignore_index`.
    """
    y = log_softmax(_planes_or_rows(x), 1)
    loss = np.zeros(target.shape, y.dtype)
    if y.size:
        targets, weights, options = _classes(y, target, weight, ignore_index, label_smoothing)
        tasks.walk(_loss_rows, _loss_strips, tasks.sizes(y, 1), targets, y, weights, loss, options)
    return loss, y


def cross_entropy_grad(
    g: np.ndarray, log_probabilities: np.ndarray, target: np.ndarray, weight: np.ndarray | None, ignore_index: int, label_smoothing: float
) -> np.ndarray:
    """The gradient of `cross_entropy` to x, from the gradient g [N, *S] of its loss and the log-probabilities it gave."""
    y = _planes_or_rows(log_probabilities)
    gx = np.empty_like(y)
    if gx.size:
        targets, weights, options = _classes(y, target, weight, ignore_index, label_smoothing)
        g = contiguous(np.asarray(g, y.dtype)).reshape(-1)
        tasks.walk(_cross_entropy_grad_rows, _cross_entropy_grad_strips, tasks.sizes(y, 1), targets, g, y, weights, options, gx)
    return gx
