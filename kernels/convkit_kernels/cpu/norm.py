"""Normalisation: y = (x - mean) inv_std weight + bias over batches, layers, groups or instances, the statistics, and the gradient.

All see x as blocks [O, M, C] of contiguous memory, with statistics for each block and each of G groups of channels:

    batch       S. Ioffe, C. Szegedy, 2015                  O = 1, M = N S      G = C
    instance    D. Ulyanov, A. Vedaldi, V. Lempitsky, 2016  O = N, M = S        G = C
    group       Y. Wu, K. He, 2018                          O = N, M = S        G
    layer       J. L. Ba, J. R. Kiros, G. E. Hinton, 2016   O = rows, M = 1     G = 1, C = length of a row

Rows [C] are joined to rows of some 256 numbers, so that loops fill vector registers even for one channel, and blocks are cut to parts
that stay in the cache.  Sums are kept in float64.
"""

from __future__ import annotations

import numpy as np
from numba import prange

from ..layout import contiguous, normal
from . import mathfunctions as m
from .runtime import inline, kernel

# Elements that a task sums, that one normalises, and to which rows are joined.
SUM, MAP, WIDTH = 65536, 16384, 256


@inline
def _add_groups(columns, group_of, sums):
    sums[:] = 0.0
    for w in range(columns.size):
        sums[group_of[w]] += columns[w]


@kernel
def _moments(x, group_of, partial, scratch, cut):
    # partial[part] = (mean, sum of (x - mean)^2) of each group.
    rows, channels, parts, size, step, together = cut
    width = group_of.size
    for task in prange((partial.shape[0] + together - 1) // together):
        columns, squares, center = scratch[task, 0], scratch[task, 1], scratch[task, 2]
        shift = scratch[task, 3, : partial.shape[2]]
        for index in range(task * together, min(partial.shape[0], (task + 1) * together)):
            start = index % parts * step
            part = x[index // parts * size + start : index // parts * size + min(size, start + step)]
            mean, square = partial[index, 0], partial[index, 1]
            if mean.size == 1:  # two passes over a part, the second from the cache
                total = 0.0
                for i in range(part.size):
                    total += part[i]
                total /= part.size
                rest = 0.0
                for i in range(part.size):
                    d = part[i] - total
                    rest += d * d
                mean[0], square[0] = total, rest
                continue
            # One pass, two rows at a time: sums of d and d^2, d = x - shift, where shift is the mean of the first rows.
            some = part[: min(part.size, 4 * width)]
            columns[:] = 0.0
            for first in range(0, some.size, width):
                a = some[first : first + width]  # the last one may be shorter
                for w in range(a.size):
                    columns[w] += a[w]
            _add_groups(columns, group_of, shift)
            for g in range(shift.size):
                shift[g] /= some.size // shift.size
                shift[g] = shift[g] if abs(shift[g]) < np.inf else 0.0
            for w in range(width):
                center[w] = shift[group_of[w]]
            columns[:] = 0.0
            squares[:] = 0.0
            pairs = part.size // (2 * width)
            for r in range(pairs):
                a, b = part[2 * r * width : (2 * r + 1) * width], part[(2 * r + 1) * width : (2 * r + 2) * width]
                for w in range(width):
                    d, e = a[w] - center[w], b[w] - center[w]
                    columns[w] += d + e
                    squares[w] += d * d + e * e
            for first in range(2 * pairs * width, part.size, width):
                a = part[first : first + width]
                for w in range(a.size):
                    d = a[w] - center[w]
                    columns[w] += d
                    squares[w] += d * d
            each = part.size // shift.size
            _add_groups(columns, group_of, mean)
            _add_groups(squares, group_of, square)
            for g in range(shift.size):
                square[g] = m.maximum(square[g] - mean[g] * mean[g] / each, 0.0)
                mean[g] = shift[g] + mean[g] / each


@kernel
def _normalise(x, group_of, mean, inv_std, weight, bias, y, scratch, cut):
    # y = (x - mean) inv_std weight + bias
    rows, channels, parts, size, step, together = cut
    width = group_of.size
    count = mean.shape[0] * parts
    for task in prange((count + together - 1) // together):
        center, scale = scratch[task, 0], scratch[task, 1]
        for index in range(task * together, min(count, (task + 1) * together)):
            o, start = index // parts, index % parts * step
            part = x[o * size + start : o * size + min(size, start + step)]
            out = y[o * size + start : o * size + min(size, start + step)]
            if mean.shape[1] == 1:
                middle, factor = mean[o, 0], inv_std[o, 0]
                for at in range(0, part.size, width):
                    a, b = part[at : at + width], out[at : at + width]
                    for w in range(a.size):
                        b[w] = (a[w] - middle) * (factor * weight[w]) + bias[w]
                continue
            for w in range(width):
                center[w] = mean[o, group_of[w]]
                scale[w] = inv_std[o, group_of[w]] * weight[w]
            for at in range(0, part.size, width):
                a, b = part[at : at + width], out[at : at + width]
                for w in range(a.size):
                    b[w] = (a[w] - center[w]) * scale[w] + bias[w]


@kernel
def _grad_sums(gy, x, group_of, mean, inv_std, weight, partial, columns, scratch, cut):
    # partial[part] = (sum of gy weight, sum of gy weight xhat) of each group, xhat = (x - mean) inv_std;
    # columns[task] = (sum of gy, sum of gy xhat, and room for two more), a column each.
    rows, channels, parts, size, step, together = cut
    width = group_of.size
    for task in prange(columns.shape[0]):
        center, factor = scratch[task, 0], scratch[task, 1]
        first, second = columns[task, 2], columns[task, 3]
        all_first, all_second = columns[task, 0], columns[task, 1]
        all_first[:] = 0.0
        all_second[:] = 0.0
        for index in range(task * together, min(partial.shape[0], (task + 1) * together)):
            o, start = index // parts, index % parts * step
            part = x[o * size + start : o * size + min(size, start + step)]
            gpart = gy[o * size + start : o * size + min(size, start + step)]
            out_first, out_second = partial[index, 0], partial[index, 1]
            if out_first.size == 1:
                middle, scale = mean[o, 0], inv_std[o, 0]
                total, product = 0.0, 0.0
                for at in range(0, part.size, width):
                    a, g = part[at : at + width], gpart[at : at + width]
                    for w in range(a.size):
                        xhat = (a[w] - middle) * scale
                        total += g[w] * weight[w]
                        product += g[w] * weight[w] * xhat
                        all_first[w] += g[w]
                        all_second[w] += g[w] * xhat
                out_first[0], out_second[0] = total, product
                continue
            for w in range(width):
                center[w] = mean[o, group_of[w]]
                factor[w] = inv_std[o, group_of[w]]
            first[:] = 0.0
            second[:] = 0.0
            pairs = part.size // (2 * width)
            for r in range(pairs):  # two rows at a time
                a, b = part[2 * r * width : (2 * r + 1) * width], part[(2 * r + 1) * width : (2 * r + 2) * width]
                g, h = gpart[2 * r * width : (2 * r + 1) * width], gpart[(2 * r + 1) * width : (2 * r + 2) * width]
                for w in range(width):
                    first[w] += g[w] + h[w]
                    second[w] += (a[w] - center[w]) * g[w] + (b[w] - center[w]) * h[w]
            for at in range(2 * pairs * width, part.size, width):
                a, g = part[at : at + width], gpart[at : at + width]  # the last ones may be shorter
                for w in range(a.size):
                    first[w] += g[w]
                    second[w] += (a[w] - center[w]) * g[w]
            for w in range(width):
                second[w] *= factor[w]
                all_first[w] += first[w]
                all_second[w] += second[w]
                first[w] *= weight[w]
                second[w] *= weight[w]
            _add_groups(first, group_of, out_first)
            _add_groups(second, group_of, out_second)


@kernel
def _grad_input(gy, x, group_of, mean, inv_std, weight, first, second, gx, scratch, cut):
    # gx = inv_std (gy weight - first - xhat second), first and second being the means of gy weight and of gy weight xhat.
    rows, channels, parts, size, step, together = cut
    width = group_of.size
    count = mean.shape[0] * parts
    for task in prange((count + together - 1) // together):
        center, factor = scratch[task, 0], scratch[task, 1]
        one, two = scratch[task, 2], scratch[task, 3]
        for index in range(task * together, min(count, (task + 1) * together)):
            o, start = index // parts, index % parts * step
            part = x[o * size + start : o * size + min(size, start + step)]
            gpart = gy[o * size + start : o * size + min(size, start + step)]
            out = gx[o * size + start : o * size + min(size, start + step)]
            if mean.shape[1] == 1:
                middle, scale, less, slope = mean[o, 0], inv_std[o, 0], first[o, 0], second[o, 0]
                for at in range(0, part.size, width):
                    a, g, b = part[at : at + width], gpart[at : at + width], out[at : at + width]
                    for w in range(a.size):
                        b[w] = scale * (g[w] * weight[w] - less - (a[w] - middle) * scale * slope)
                continue
            for w in range(width):
                center[w] = mean[o, group_of[w]]
                factor[w] = inv_std[o, group_of[w]]
                one[w] = first[o, group_of[w]]
                two[w] = second[o, group_of[w]]
            for at in range(0, part.size, width):
                a, g, b = part[at : at + width], gpart[at : at + width], out[at : at + width]
                for w in range(a.size):
                    b[w] = factor[w] * (g[w] * weight[w] - one[w] - (a[w] - center[w]) * factor[w] * two[w])


# --------------------------------------------------------------------------------------- in Python
class _Blocks:
    """How x [N, C, *S] is cut: `blocks` blocks (1 or N), rows of C channels, joined rows, parts, tasks."""

    def __init__(self, x: np.ndarray, blocks: int, groups: int, task: int):
        channels = x.shape[1]
        rows = x.size // max(1, channels * blocks)
        joined = min(max(1, WIDTH // channels), max(1, rows))
        step = -(-max(task, 64 * channels) // (joined * channels)) * joined  # rows in a part: whole joined rows, and many
        self.parts = max(1, -(-rows // step))
        together = max(1, task // max(1, min(step, rows) * channels))
        self.channels, self.blocks, self.groups, self.rows, self.step = channels, blocks, groups, rows, step
        self.group_of = np.arange(joined * channels) % channels // (channels // groups)
        self.tasks = -(-blocks * self.parts // together)
        self.cut = np.array([rows, channels, self.parts, rows * channels, step * channels, together])

    def repeat(self, vector: np.ndarray | None, value: float, dtype: np.dtype) -> np.ndarray:
        """A vector [C], or one full of `value`, as often as rows are joined."""
        width = self.group_of.size
        return np.full(width, value, dtype) if vector is None else np.tile(np.asarray(vector, dtype), width // self.channels)

    def scratch(self, dtype: np.dtype) -> np.ndarray:
        """Four joined rows for each task."""
        return np.empty((self.tasks, 4, self.group_of.size), dtype)

    def counts(self) -> np.ndarray:
        """Elements of a group in each part."""
        rows = np.full(self.parts, self.step)
        rows[-1] = self.rows - self.step * (self.parts - 1)
        return (rows * (self.channels // self.groups))[:, None]


def _memory(x: np.ndarray) -> np.ndarray:
    """x [N, C, *S] as contiguous channels-last memory [N, *S, C]."""
    return contiguous(np.moveaxis(x, 1, -1))


def _back(memory: np.ndarray) -> np.ndarray:
    return np.moveaxis(memory, -1, 1)


def norm_stats(x: np.ndarray, groups: int, batch: bool) -> tuple[np.ndarray, np.ndarray]:
    """(mean, variance), each [1, groups] over the whole batch or [N, groups], of x [N, C, *S] with its channels in `groups` groups.

    The variance is the biased one, divided by the count.  Means of parts and sums of squares around them are put together as in
    T. F. Chan, G. H. Golub, R. J. LeVeque, 1979: no digits are lost where the mean is much larger than the deviation.
    """
    x = normal(x)
    blocks = 1 if batch else x.shape[0]
    if not x.size:
        return np.full((blocks, groups), np.nan, x.dtype), np.full((blocks, groups), np.nan, x.dtype)
    by = _Blocks(x, blocks, groups, SUM)
    partial = np.empty((blocks * by.parts, 2, groups))
    _moments(_memory(x).reshape(-1), by.group_of, partial, by.scratch(np.dtype(float)), by.cut)
    means, squares = partial[:, 0], partial[:, 1]
    count = x.size // (blocks * groups)
    if by.parts > 1:
        with np.errstate(all="ignore"):  # NaN and infinity in, NaN and infinity out
            counts = by.counts()
            means, squares = means.reshape(blocks, by.parts, groups), squares.reshape(blocks, by.parts, groups)
            mean = (means * counts).sum(axis=1) / count
            squares = (squares + counts * (means - mean[:, None]) ** 2).sum(axis=1)
            means = mean
    return means.astype(x.dtype), (squares / count).astype(x.dtype)


def norm(x: np.ndarray, mean: np.ndarray, inv_std: np.ndarray, weight: np.ndarray | None, bias: np.ndarray | None) -> np.ndarray:
    """(x - mean) inv_std weight + bias for x [N, C, *S], mean and inv_std [1 or N, G], weight and bias [C] or None.  Channels-last."""
    x = normal(x)
    memory = _memory(x)
    y = np.empty_like(memory)
    if x.size:
        by = _Blocks(x, mean.shape[0], mean.shape[1], MAP)
        dtype = memory.dtype
        _normalise(
            memory.reshape(-1), by.group_of, contiguous(mean), contiguous(inv_std), by.repeat(weight, 1, dtype), by.repeat(bias, 0, dtype),
            y.reshape(-1), by.scratch(dtype), by.cut,
        )  # fmt: skip
    return _back(y)


def norm_grad(
    gy: np.ndarray, x: np.ndarray, mean: np.ndarray, inv_std: np.ndarray, weight: np.ndarray | None, centred: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(gx, gweight [C], gbias [C]) of `norm` where mean and inv_std are the statistics of x itself.  gx is channels-last.

    xhat    = (x - mean) inv_std
    gbias   = sum gy,   gweight = sum gy xhat
    gx      = inv_std (gy weight - mean(gy weight) - xhat mean(gy weight xhat))         means over what the statistics are over

    Without `centred`, mean is a constant 0, as in root mean square normalisation, and the first mean is left out.
    """
    x = normal(x)
    memory, gmemory = _memory(x), _memory(normal(gy))
    gx = np.empty_like(memory)
    dtype, channels = memory.dtype, x.shape[1]
    if not x.size:
        return _back(gx), np.zeros(channels, dtype), np.zeros(channels, dtype)
    blocks, groups = mean.shape
    by = _Blocks(x, blocks, groups, SUM)
    mean, inv_std = contiguous(mean), contiguous(inv_std)
    weights = by.repeat(weight, 1, dtype)
    partial, columns = np.empty((blocks * by.parts, 2, groups)), by.scratch(np.dtype(float))
    _grad_sums(gmemory.reshape(-1), memory.reshape(-1), by.group_of, mean, inv_std, weights, partial, columns, by.scratch(dtype), by.cut)
    with np.errstate(all="ignore"):
        sums = partial.reshape(blocks, by.parts, 2, groups).sum(axis=1) * (blocks * groups / x.size)
        sums = sums.astype(dtype)
        first, second = np.ascontiguousarray(sums[:, 0]), np.ascontiguousarray(sums[:, 1])
        if not centred:
            first[:] = 0
        gbias, gweight = columns[:, :2].sum(axis=0).reshape(2, -1, channels).sum(axis=1).astype(dtype)
    by = _Blocks(x, blocks, groups, MAP)
    _grad_input(
        gmemory.reshape(-1), memory.reshape(-1), by.group_of, mean, inv_std, weights, first, second, gx.reshape(-1), by.scratch(dtype), by.cut
    )  # fmt: skip
    return _back(gx), gweight, gbias
