"""Softmax and cross entropy, row by row."""

import math

import numpy as np


def _by_row(formula, axis, *operands):
    moved = [np.moveaxis(np.asarray(a, np.float64), axis, -1) for a in operands]
    y = np.empty(moved[0].shape)
    for place in np.ndindex(*y.shape[:-1]):
        y[place] = formula(*(a[place] for a in moved))
    return np.moveaxis(y, -1, axis)


def _log_softmax_row(row):
    largest = max(row)
    total = math.fsum(math.exp(v - largest) for v in row)
    return [v - largest - math.log(total) for v in row]


def softmax(x, axis):
    return _by_row(lambda row: [math.exp(v) for v in _log_softmax_row(row)], axis, x)


def log_softmax(x, axis):
    return _by_row(_log_softmax_row, axis, x)


def softmax_grad(gy, y, axis):
    # dy_j / dx_k = y_j ([j = k] - y_k)
    def row(g, p):
        return [math.fsum(g[j] * p[j] * ((j == k) - p[k]) for j in range(len(p))) for k in range(len(p))]

    return _by_row(row, axis, gy, y)


def log_softmax_grad(gy, y, axis):
    # dy_j / dx_k = [j = k] - exp(y_k)
    def row(g, p):
        return [math.fsum(g[j] * ((j == k) - math.exp(p[k])) for j in range(len(p))) for k in range(len(p))]

    return _by_row(row, axis, gy, y)


def _share(classes, t, weight, label_smoothing):
    """q with loss = -sum_j q_j log p_j."""
    w = [1.0] * classes if weight is None else [float(v) for v in weight]
    return [w[j] * ((1 - label_smoothing) * (j == t) + label_smoothing / classes) for j in range(classes)]


def cross_entropy(x, target, weight, ignore_index, label_smoothing):
    y = log_softmax(x, 1)
    loss = np.zeros(target.shape)
    for n, *place in np.ndindex(*target.shape):
        t = int(target[(n, *place)])
        if t != ignore_index:
            q = _share(x.shape[1], t, weight, label_smoothing)
            loss[(n, *place)] = -math.fsum(q[j] * y[(n, j, *place)] for j in range(x.shape[1]) if q[j])
    return loss, y


def cross_entropy_grad(g, log_probabilities, target, weight, ignore_index, label_smoothing):
    classes = log_probabilities.shape[1]
    gy = np.zeros(log_probabilities.shape)
    for n, *place in np.ndindex(*target.shape):
        t = int(target[(n, *place)])
        if t != ignore_index:
            for j, q in enumerate(_share(classes, t, weight, label_smoothing)):
                gy[(n, j, *place)] = -q * g[(n, *place)]
    return log_softmax_grad(gy, log_probabilities, 1)
