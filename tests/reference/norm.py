"""Batch normalisation, channel by channel."""

import math

import numpy as np


def _channel(x, c):
    return [float(v) for v in np.moveaxis(x, 1, 0)[c].ravel()]


def batch_norm_stats(x):
    means, variances = [], []
    for c in range(x.shape[1]):
        values = _channel(x, c)
        mean = math.fsum(values) / len(values) if values else math.nan
        means.append(mean)
        variances.append(math.fsum((v - mean) ** 2 for v in values) / len(values) if values else math.nan)
    return np.array(means), np.array(variances)


def batch_norm(x, mean, inv_std, weight, bias):
    y = np.empty(x.shape)
    for n, c, *place in np.ndindex(*x.shape):
        value = (float(x[(n, c, *place)]) - float(mean[c])) * float(inv_std[c])
        y[(n, c, *place)] = value * (1 if weight is None else float(weight[c])) + (0 if bias is None else float(bias[c]))
    return y


def batch_norm_grad(gy, x, mean, inv_std, weight):
    channels = x.shape[1]
    gx, gweight, gbias = np.zeros(x.shape), np.zeros(channels), np.zeros(channels)
    count = math.prod(x.shape) // max(channels, 1)
    for c in range(channels):
        xhat = [(v - float(mean[c])) * float(inv_std[c]) for v in _channel(x, c)]
        g = _channel(gy, c)
        gbias[c] = math.fsum(g)
        gweight[c] = math.fsum(a * b for a, b in zip(g, xhat, strict=True))
        scale = float(inv_std[c]) * (1 if weight is None else float(weight[c]))
        values = [scale * (a - gbias[c] / count - b * gweight[c] / count) for a, b in zip(g, xhat, strict=True)]
        np.moveaxis(gx, 1, 0)[c] = np.reshape(values, (x.shape[0], *x.shape[2:]))
    return gx, gweight, gbias
