"""Sampling at places: for each axis of each place a list of (index, weight, slope), and sums over their products."""

import itertools
import math

import numpy as np


def mapped(p, n, padding, align):
    """(p brought back, its slope)."""
    slope = 1.0
    if padding == "reflection":
        low, high = (0.0, n - 1.0) if align else (-0.5, n - 0.5)
        if low == high:
            return 0.0, 0.0
        while p < low or p > high:
            p, slope = (2 * low - p if p < low else 2 * high - p), -slope
    if padding != "zeros":
        if p <= 0 or p >= n - 1:
            slope = 0.0
        p = min(max(p, 0.0), n - 1.0)
    return p, slope


def cubic(d):
    a = -0.75
    d = abs(d)
    return ((a + 2) * d - (a + 3)) * d * d + 1 if d <= 1 else (((d - 5) * d + 8) * d - 4) * a if d < 2 else 0.0


def cubic_slope(d):
    a, e = -0.75, abs(d)
    slope = (3 * (a + 2) * e - 2 * (a + 3)) * e if e <= 1 else ((3 * e - 10) * e + 8) * a if e < 2 else 0.0
    return math.copysign(1, d) * slope


def axis(g, n, mode, padding, align):
    scale = (n - 1) / 2 if align else n / 2
    p = (g + 1) * scale - (0 if align else 0.5)
    if math.isnan(p):
        return [(0, math.nan, math.nan)]
    if mode == "bicubic":
        left = math.floor(p)
        taps = [(mapped(left + k, n, padding, align)[0], cubic(p - left - k), cubic_slope(p - left - k) * scale) for k in range(-1, 3)]
    else:
        p, slope = mapped(p, n, padding, align)
        left = math.floor(p)
        if mode == "nearest":
            taps = [(round(p), 1.0, 0.0)]
        else:
            taps = [(left, 1 - (p - left), -scale * slope), (left + 1, p - left, scale * slope)]
    return [(int(i), w, s) for i, w, s in taps if 0 <= i < n]


def places(shape, grid, mode, padding, align_corners):
    """((n, *place), [taps of each axis, outermost first])."""
    for where in np.ndindex(*grid.shape[:-1]):
        coordinates = [float(g) for g in grid[where]][::-1]
        yield where, [axis(g, n, mode, padding, align_corners) for g, n in zip(coordinates, shape, strict=True)]


def grid_sample(x, grid, mode, padding, align_corners):
    y = np.zeros((*x.shape[:2], *grid.shape[1:-1]))
    for (n, *place), axes in places(x.shape[2:], grid, mode, padding, align_corners):
        for taps in itertools.product(*axes):
            weight = math.prod(w for _, w, _ in taps)
            y[(n, slice(None), *place)] += weight * x[(n, slice(None), *(i for i, _, _ in taps))].astype(np.float64)
    return y


def grid_sample_input_grad(gy, grid, input_size, mode, padding, align_corners):
    gx = np.zeros((*gy.shape[:2], *input_size))
    for (n, *place), axes in places(input_size, grid, mode, padding, align_corners):
        for taps in itertools.product(*axes):
            weight = math.prod(w for _, w, _ in taps)
            gx[(n, slice(None), *(i for i, _, _ in taps))] += weight * gy[(n, slice(None), *place)].astype(np.float64)
    return gx


def grid_sample_grid_grad(gy, x, grid, mode, padding, align_corners):
    ggrid = np.zeros(grid.shape)
    rank = grid.shape[-1]
    for (n, *place), axes in places(x.shape[2:], grid, mode, padding, align_corners):
        for taps in itertools.product(*axes):
            pixel = x[(n, slice(None), *(i for i, _, _ in taps))].astype(np.float64)
            dot = float(np.dot(gy[(n, slice(None), *place)].astype(np.float64), pixel))
            for a in range(rank):
                slope = math.prod(t[2] if b == a else t[1] for b, t in enumerate(taps))
                ggrid[(n, *place, rank - 1 - a)] += dot * slope
    return ggrid
