"""Normalisation, one group of numbers after the other."""

import math

import numpy as np


def _groups(shape, blocks, groups):
    """The places of each (block, group) of an array [N, C, *S]."""
    places = {(o, g): [] for o in range(blocks) for g in range(groups)}
    for place in np.ndindex(*shape):
        places[place[0] if blocks > 1 else 0, place[1] * groups // shape[1]].append(place)
    return places


def norm_stats(x, groups, batch):
    blocks = 1 if batch else x.shape[0]
    means, variances = np.full((blocks, groups), np.nan), np.full((blocks, groups), np.nan)
    for key, places in _groups(x.shape, blocks, groups).items():
        values = [float(x[place]) for place in places]
        if values:
            means[key] = math.fsum(values) / len(values)
            variances[key] = math.fsum((v - means[key]) ** 2 for v in values) / len(values)
    return means, variances


def norm(x, mean, inv_std, weight, bias, add=None, relu=False):
    y = np.empty(x.shape)
    for key, places in _groups(x.shape, *mean.shape).items():
        for place in places:
            c = place[1]
            value = (float(x[place]) - float(mean[key])) * float(inv_std[key])
            y[place] = value * (1 if weight is None else float(weight[c])) + (0 if bias is None else float(bias[c]))
            if add is not None:
                y[place] += float(add[place])
            if relu and y[place] <= 0:
                y[place] = 0
    return y


def norm_grad(gy, x, mean, inv_std, weight, bias, centred, relu, given=False):
    if relu:
        gy = np.where(norm(x, mean, inv_std, weight, bias) <= 0, 0, gy)
    channels = x.shape[1]
    gx, gweight, gbias = np.zeros(x.shape), np.zeros(channels), np.zeros(channels)
    for key, places in _groups(x.shape, *mean.shape).items():
        xhat = {p: (float(x[p]) - float(mean[key])) * float(inv_std[key]) for p in places}
        g = {p: float(gy[p]) * (1 if weight is None else float(weight[p[1]])) for p in places}
        first = math.fsum(g.values()) / max(1, len(places)) if centred else 0.0
        second = math.fsum(g[p] * xhat[p] for p in places) / max(1, len(places))
        for p in places:
            gx[p] = float(inv_std[key]) * (g[p] if given else g[p] - first - xhat[p] * second)
            gweight[p[1]] += float(gy[p]) * xhat[p]
            gbias[p[1]] += float(gy[p])
    return gx, gweight, gbias
