"""Batch normalisation: statistics of each channel, y = (x - mean) inv_std weight + bias, and its gradient.

S. Ioffe and C. Szegedy, "Batch Normalization", 2015.  Kernels see x flat in channels-last memory, [M, C] with M = N * S,
and join its rows to rows of `width` numbers, a multiple of C; vectors over the channels are repeated as often.  So loops
fill vector registers even for one channel.  Sums are kept in float64.
"""

from __future__ import annotations

import math

import numpy as np
from numba import prange

from ..layout import channels_last, from_channels_last, normal
from .reduce import joined_rows
from .runtime import kernel


@kernel
def _moments(x, shift, partial, step):
    # partial[task, 0] = sum of d, partial[task, 1] = sum of d^2, d = x - shift, a column each; two rows at a time.
    width = shift.size
    for task in prange(partial.shape[0]):
        part = x[task * step : min(x.size, (task + 1) * step)]
        first = partial[task, 0]
        second = partial[task, 1]
        first[:] = 0.0
        second[:] = 0.0
        pairs = part.size // (2 * width)
        for r in range(pairs):
            a, b = part[2 * r * width : (2 * r + 1) * width], part[(2 * r + 1) * width : (2 * r + 2) * width]
            for w in range(width):
                d, e = a[w] - shift[w], b[w] - shift[w]
                first[w] += d + e
                second[w] += d * d + e * e
        for start in range(2 * pairs * width, part.size, width):
            a = part[start : start + width]  # the last one may be shorter
            for w in range(a.size):
                d = a[w] - shift[w]
                first[w] += d
                second[w] += d * d


@kernel
def _normalise(x, mean, scale, bias, y, size):
    # y = (x - mean) scale + bias, `size` elements at a time, for which the three vectors are repeated.
    for chunk in prange((x.size + size - 1) // size):
        part = x[chunk * size : (chunk + 1) * size]
        out = y[chunk * size : (chunk + 1) * size]
        for i in range(part.size):
            out[i] = (part[i] - mean[i]) * scale[i] + bias[i]


@kernel
def _grad_sums(gy, x, mean, inv_std, partial, step):
    # partial[task, 0] = sum of gy, partial[task, 1] = sum of gy (x - mean) inv_std, a column each.
    width = mean.size
    for task in prange(partial.shape[0]):
        part, gpart = x[task * step : min(x.size, (task + 1) * step)], gy[task * step : min(x.size, (task + 1) * step)]
        first = partial[task, 0]
        second = partial[task, 1]
        first[:] = 0.0
        second[:] = 0.0
        pairs = part.size // (2 * width)
        for r in range(pairs):
            a, b = part[2 * r * width : (2 * r + 1) * width], part[(2 * r + 1) * width : (2 * r + 2) * width]
            g, h = gpart[2 * r * width : (2 * r + 1) * width], gpart[(2 * r + 1) * width : (2 * r + 2) * width]
            for w in range(width):
                first[w] += g[w] + h[w]
                second[w] += ((a[w] - mean[w]) * g[w] + (b[w] - mean[w]) * h[w]) * inv_std[w]
        for start in range(2 * pairs * width, part.size, width):
            a, g = part[start : start + width], gpart[start : start + width]  # the last ones may be shorter
            for w in range(a.size):
                first[w] += g[w]
                second[w] += (a[w] - mean[w]) * inv_std[w] * g[w]


@kernel
def _grad_input(gy, x, mean, inv_std, scale, gbias, gweight, gx, size):
    # gx = scale (gy - gbias - (x - mean) inv_std gweight), with gbias and gweight divided by M already.
    for chunk in prange((x.size + size - 1) // size):
        part = x[chunk * size : (chunk + 1) * size]
        g = gy[chunk * size : (chunk + 1) * size]
        out = gx[chunk * size : (chunk + 1) * size]
        for i in range(part.size):
            out[i] = scale[i] * (g[i] - gbias[i] - (part[i] - mean[i]) * inv_std[i] * gweight[i])


def _memory(x: np.ndarray) -> np.ndarray:
    """x [N, C, *S], with up to three spatial axes, as contiguous channels-last memory."""
    return channels_last(x)


def _repeat(vector: np.ndarray, size: int, dtype: np.dtype) -> np.ndarray:
    return np.tile(np.asarray(vector, dtype), size // vector.size)


def _chunk(channels: int) -> int:
    """Elements a task normalises at a time: whole rows, few enough that the repeated vectors stay in the first cache."""
    return channels * max(1, 1024 // channels)


def _columns(partial: np.ndarray, channels: int) -> np.ndarray:
    """Sums [2, C] of partial sums [tasks, 2, width]."""
    return partial.sum(axis=0).reshape(2, -1, channels).sum(axis=1)


def batch_norm_stats(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(mean [C], variance [C]) over all axes of x [N, C, *S] but the second; the variance is the biased one, divided by the count.

    Sums run over x - shift and its square, where shift is the mean of some 32 places: without it the variance would lose the digits
    that a mean much larger than the deviation takes up.
    """
    x = normal(x)
    channels = x.shape[1]
    if not x.size:
        return np.full(channels, np.nan, x.dtype), np.full(channels, np.nan, x.dtype)
    memory = _memory(x).reshape(-1, channels)
    count = memory.shape[0]
    with np.errstate(all="ignore"):  # NaN and infinity in, NaN and infinity out
        shift = memory[:: (count + 31) // 32].mean(axis=0, dtype=np.float64).astype(x.dtype)
        shift[~np.isfinite(shift)] = 0
        width, step = joined_rows(channels)
        partial = np.empty((math.ceil(x.size / step), 2, width))
        _moments(memory.reshape(-1), _repeat(shift, width, np.dtype(np.float64)), partial, step)
        first, second = _columns(partial, channels) / count
        mean = shift + first
        variance = np.maximum(second - first * first, 0)
    return mean.astype(x.dtype), variance.astype(x.dtype)


def batch_norm(x: np.ndarray, mean: np.ndarray, inv_std: np.ndarray, weight: np.ndarray | None, bias: np.ndarray | None) -> np.ndarray:
    """(x - mean) inv_std weight + bias for x [N, C, *S] and vectors [C]; without weight or bias, 1 or 0 in their place.  Channels-last."""
    x = normal(x)
    memory = _memory(x)
    y = np.empty_like(memory)
    channels = x.shape[1]
    if x.size:
        size = _chunk(channels)
        scale = inv_std if weight is None else inv_std * weight
        vectors = [_repeat(v, size, x.dtype) for v in (mean, scale, np.zeros(channels) if bias is None else bias)]
        _normalise(memory.reshape(-1), *vectors, y.reshape(-1), size)
    return from_channels_last(y, x.ndim - 2)


def batch_norm_grad(
    gy: np.ndarray, x: np.ndarray, mean: np.ndarray, inv_std: np.ndarray, weight: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(gx, gweight [C], gbias [C]) where mean and inv_std are the statistics of x itself, as in training.  gx is channels-last.

    xhat    = (x - mean) inv_std
    gbias   = sum gy,   gweight = sum gy xhat
    gx      = weight inv_std (gy - gbias / M - xhat gweight / M)
    """
    x = normal(x)
    memory, gmemory = _memory(x), _memory(normal(gy))
    gx = np.empty_like(memory)
    channels = x.shape[1]
    if not x.size:
        return from_channels_last(gx, x.ndim - 2), np.zeros(channels, x.dtype), np.zeros(channels, x.dtype)
    width, step = joined_rows(channels)
    partial = np.empty((math.ceil(x.size / step), 2, width))
    _grad_sums(gmemory.reshape(-1), memory.reshape(-1), _repeat(mean, width, x.dtype), _repeat(inv_std, width, x.dtype), partial, step)
    gbias, gweight = _columns(partial, channels)
    count = x.size // channels
    size = _chunk(channels)
    scale = inv_std if weight is None else inv_std * weight
    vectors = [_repeat(v, size, x.dtype) for v in (mean, inv_std, scale, gbias / count, gweight / count)]
    _grad_input(gmemory.reshape(-1), memory.reshape(-1), *vectors, gx.reshape(-1), size)
    return from_channels_last(gx, x.ndim - 2), gweight.astype(x.dtype), gbias.astype(x.dtype)
