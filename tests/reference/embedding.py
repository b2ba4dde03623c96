"""Rows picked from a table, and bags of them."""

import numpy as np


def embedding(weight, index):
    y = np.empty((*index.shape, weight.shape[1]))
    for place in np.ndindex(*index.shape):
        y[place] = weight[int(index[place])]
    return y


def embedding_grad(gy, index, rows):
    gw = np.zeros((rows, gy.shape[-1]))
    for place in np.ndindex(*index.shape):
        gw[int(index[place])] += gy[place]
    return gw


def scatter(x, index, axis, size, base=None, put=False):
    y = np.zeros((*x.shape[:axis], size, *x.shape[axis + 1 :])) if base is None else np.array(base, np.float64)
    for place in np.ndindex(*x.shape):
        at = int(index[place] if index.ndim == x.ndim else index[place[axis]])
        if at >= 0:
            to = (*place[:axis], at, *place[axis + 1 :])
            y[to] = x[place] if put else y[to] + x[place]
    return y


def gather(x, index, axis):
    y = np.empty((*x.shape[:axis], index.shape[axis if index.ndim == x.ndim else 0], *x.shape[axis + 1 :]))
    for place in np.ndindex(*y.shape):
        at = int(index[place] if index.ndim == x.ndim else index[place[axis]])
        y[place] = x[(*place[:axis], at, *place[axis + 1 :])]
    return y


def gather_sum(x, index):
    total = 0.0
    for n in range(len(index)):
        total += float(x[n, int(index[n])])
    return np.array(total)


def embedding_bag(weight, index, start, scale, mode):
    y = np.zeros((len(start) - 1, weight.shape[1]))
    which = np.full(y.shape if mode == "max" else (0, 0), -1)
    for b in range(len(start) - 1):
        members = range(start[b], start[b + 1])
        for j in range(weight.shape[1]) if members else ():
            values = [float(weight[index[k], j]) * (1 if scale is None else float(scale[k])) for k in members]
            if mode == "max":
                best = max(range(len(values)), key=lambda i: values[i])  # the first of equals
                y[b, j], which[b, j] = values[best], index[members[best]]
            else:
                y[b, j] = sum(values) / (len(values) if mode == "mean" else 1)
    return y, which


def embedding_bag_grad(gy, index, start, scale, which, rows, mode):
    gw = np.zeros((rows, gy.shape[1]))
    for b, j in np.ndindex(*gy.shape):
        if mode == "max":
            if which[b, j] >= 0:
                gw[which[b, j], j] += gy[b, j]
            continue
        for k in range(start[b], start[b + 1]):
            factor = 1 / (start[b + 1] - start[b]) if mode == "mean" else 1 if scale is None else float(scale[k])
            gw[index[k], j] += factor * gy[b, j]
    return gw
