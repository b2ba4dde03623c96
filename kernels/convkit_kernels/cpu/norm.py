"""Normalisation: y = (x - mean) inv_std weight + bias over batches, layers, groups or instances, the statistics, and the gradient.

With `relu` the result is max(y, 0), in the same pass, and the gradient knows where y was cut off by computing it again from x, which it
reads anyway: `_affine` is strict so that all of them get the same bits.

All see x, in channels-last memory, as blocks [O, M, C], with statistics for each block and each of G groups of channels:

    batch       S. Ioffe, C. Szegedy, 2015                  O = 1, M = N S      G = C
    instance    D. Ulyanov, A. Vedaldi, V. Lempitsky, 2016  O = N, M = S        G = C
    group       Y. Wu, K. He, 2018                          O = N, M = S        G
    layer       J. L. Ba, J. R. Kiros, G. E. Hinton, 2016   O = rows, M = 1     G = 1, C = length of a row

Rows [C] are joined to rows of some 256 numbers, so that loops fill vector registers even for one channel, and blocks are cut to parts
that stay in the cache.  Where G = 1 a block is a line of numbers with one mean and one deviation.  In C order each plane of a channel of an
image is such a line too; what planes have in common is put together afterwards.  Sums are kept in float64.
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
from .elementwise import in_order_of
from .finish import finish_kernel
from .microkernel import address, call_code
from .runtime import FASTMATH, inline

# Elements that a task sums, that one normalises, and to which rows are joined; and how long a plane of C order must be not to be copied.
SUM, MAP, WIDTH, PLANE = 65536, 16384, 256, 32
# Rows from whose mean sums of squares are taken.
FIRST = 16
# Joined rows, which loops name one by one, that are added up in x's own type, before float64: short sums lose no digits.  They go by pieces of so
# many numbers, whose sums lie on the stack, which no operand can share: the compiler need not ask whether one does, and makes vectors.
FEW, PIECE = 8, 64

# A plan is (units, parts, size, step, together, width, channels, columns, cut, finish): a unit is a part of `step` numbers of a block of `size`, a
# task takes `together` of them, and columns repeat every `width` numbers, the joined row.  `columns` asks for sums of columns beside those of
# lines, `cut` for max(y, 0); `finish` is code that joined rows of y go through, or 0.
_part_of = register_jitable(fastmath=FASTMATH, error_model="numpy")


@_part_of
def _cut(memory, unit, plan):
    # Unit number `unit` of the memory.
    start = unit // plan[1] * plan[2]
    high = start + min(plan[2], (unit % plan[1] + 1) * plan[3])
    return numba.carray(memory, high)[start + unit % plan[1] * plan[3] : high]


@_part_of
def _begin(unit, plan):
    # The place in memory of the unit's first number.
    return unit // plan[1] * plan[2] + unit % plan[1] * plan[3]


@_part_of
def _rows(scratch, task, count, width):
    # The `count` rows of scratch memory that are the task's own.
    return numba.carray(scratch, ((task + 1) * count, width))[task * count :]


@_part_of
def _add_joined(columns, sums):
    # sums[c] = the sum of columns c, c + channels, c + 2 channels, ...
    channels = sums.size
    for c in range(channels):
        sums[c] = columns[c]
    for first in range(channels, columns.size, channels):
        row = columns[first : first + channels]
        for c in range(channels):
            sums[c] += row[c]


_sums = tasks.stack(2 * PIECE)


@_part_of
def _add_sums(sums, size, columns, at, width):
    # columns[0 and 1, at ...] += the sums of a piece
    first, second = at, at + width
    for w in range(size):
        columns[first + w] += sums[w]
    for w in range(size):
        columns[second + w] += sums[PIECE + w]


@inline
def _affine(x, center, scale, shift):
    return (x - center) * scale + shift


@inline
def _kept(g, x, center, scale, shift, relu):
    # g where y is above 0 (or NaN), else 0
    zero = type(g)(0)
    return zero if relu & (_affine(x, center, scale, shift) <= zero) else g


@inline
def _terms(g, x, center, scale, shift, relu):
    kept = _kept(g, x, center, scale, shift, relu)
    return kept, (x - center) * kept


@_part_of
def _cut_off(x, center, scale, shift, gy, out):
    # out = gy where y = (x - center) scale + shift is above 0 (or NaN), else 0
    zero = out.dtype.type(0)
    for w in range(x.size):
        out[w] = zero if _affine(x[w], center[w], scale[w], shift[w]) <= zero else gy[w]


# --------------------------------------------------------------------------------------- statistics
def _moments_of_lines(task, plan, index, x, partial, c, d, e, f, g):
    # partial[unit] = (mean, sum of (x - mean)^2): two passes, the second from the cache.
    out = numba.carray(partial, (plan[0], 2))
    for unit in range(task * plan[4], min(plan[0], (task + 1) * plan[4])):
        part = _cut(x, unit, plan)
        total = 0.0
        for i in range(part.size):
            total += part[i]
        total /= part.size
        rest = 0.0
        for i in range(part.size):
            away = part[i] - total
            rest += away * away
        out[unit, 0], out[unit, 1] = total, rest


def _moments_of_columns(task, plan, index, x, partial, scratch, own, e, f, g):
    # The same of each channel, partial[unit, 0 or 1, channel].  One pass: sums of d and d^2, d = x - shift, shift being the mean of the first rows.
    width, channels = plan[5], plan[6]
    out = numba.carray(partial, (plan[0], 2, channels))
    sums, center, few = _rows(scratch, task, 2, width), _rows(own, task, 1, width)[0], _sums(x)
    columns, squares = sums[0], sums[1]
    for unit in range(task * plan[4], min(plan[0], (task + 1) * plan[4])):
        part = _cut(x, unit, plan)
        mean, square = out[unit, 0], out[unit, 1]
        rows = part.size // channels
        some = min(rows, FIRST)
        for c in range(channels):
            mean[c] = 0.0
        for r in range(some):
            row = part[r * channels : (r + 1) * channels]
            for c in range(channels):
                mean[c] += row[c]
        for first in range(0, width, channels):
            shift = center[first : first + channels]
            for c in range(channels):
                shift[c] = mean[c] / some if abs(mean[c]) < np.inf else 0.0
        begin, quick = _begin(unit, plan), part.size // (FEW * width) * (FEW * width)
        while True:
            sums[:] = 0.0
            for first in range(0, quick, FEW * width):
                for low in range(0, width, PIECE):
                    size, middle, r0 = min(PIECE, width - low), task * width + low, begin + first + low
                    tasks.ahead(part[first + low * FEW : first + (low + size) * FEW])
                    r1, r2, r3, r4 = r0 + width, r0 + 2 * width, r0 + 3 * width, r0 + 4 * width
                    r5, r6, r7 = r0 + 5 * width, r0 + 6 * width, r0 + 7 * width
                    for w in range(size):
                        mid = own[middle + w]
                        d0, d1, d2, d3 = x[r0 + w] - mid, x[r1 + w] - mid, x[r2 + w] - mid, x[r3 + w] - mid
                        d4, d5, d6, d7 = x[r4 + w] - mid, x[r5 + w] - mid, x[r6 + w] - mid, x[r7 + w] - mid
                        few[w] = d0 + d1 + d2 + d3 + d4 + d5 + d6 + d7
                        few[PIECE + w] = d0 * d0 + d1 * d1 + d2 * d2 + d3 * d3 + d4 * d4 + d5 * d5 + d6 * d6 + d7 * d7
                    _add_sums(few, size, scratch, 2 * task * width + low, width)
            for at in range(quick, part.size, width):
                row = part[at : at + width]
                for w in range(row.size):
                    away = np.float64(row[w]) - center[w]
                    columns[w] += away
                    squares[w] += away * away
            _add_joined(columns, mean)
            _add_joined(squares, square)
            total = 0.0
            for c in range(channels):
                total += square[c]
            if quick == 0 or total < np.inf:
                break
            quick = 0  # squares of floats left their range
        for c in range(channels):
            square[c] = m.maximum(square[c] - mean[c] * mean[c] / rows, 0.0)
            mean[c] = center[c] + mean[c] / rows


# ------------------------------------------------------------------------------------- normalisation
def _lines(task, plan, index, x, table, affine, y, add, f, g):
    # y = (x - mean) scale weight + bias + shift, table[block] = (mean, inv_std, scale, shift)
    width, relu, of, two = plan[5], plan[8] != 0, numba.carray(table, (plan[0], 4)), numba.carray(affine, (2, plan[5]))
    weight, bias = two[0], two[1]
    for unit in range(task * plan[4], min(plan[0], (task + 1) * plan[4])):
        part, out, more = _cut(x, unit, plan), _cut(y, unit, plan), _cut(add, unit, plan)
        block = unit // plan[1]
        mean, scale, shift = of[block, 0], of[block, 2], of[block, 3]
        zero = part.dtype.type(0)
        for at in range(0, part.size, width):
            row, z = part[at : at + width], out[at : at + width]
            for w in range(row.size):
                value = _affine(row[w], mean, scale * weight[w], bias[w] + shift)
                z[w] = zero if relu & (value <= zero) else value
            if plan[9]:
                call_code(plan[9], (address(z), address(more[at:]), row.size, 1, row.size))


def _columns(task, plan, index, x, table, y, add, e, f, g):
    # y = (x - center) scale + shift, table[block] = these three, of a joined row
    width, relu, of = plan[5], plan[8] != 0, numba.carray(table, (plan[0] // plan[1], 3, plan[5]))
    for unit in range(task * plan[4], min(plan[0], (task + 1) * plan[4])):
        part, out, more = _cut(x, unit, plan), _cut(y, unit, plan), _cut(add, unit, plan)
        three = of[unit // plan[1]]
        center, scale, shift = three[0], three[1], three[2]
        zero = part.dtype.type(0)
        for at in range(0, part.size, width):
            row, z = part[at : at + width], out[at : at + width]
            tasks.ahead(row)
            for w in range(row.size):
                value = _affine(row[w], center[w], scale[w], shift[w])
                z[w] = zero if relu & (value <= zero) else value
            if plan[9]:
                call_code(plan[9], (address(z), address(more[at:]), row.size, 1, row.size))


# ------------------------------------------------------------------------------------------ gradient
def _sums_of_lines(task, plan, index, gy, x, table, affine, partial, columns, scratch):
    # partial[unit] = (sum of gy weight, sum of gy weight xhat), xhat = (x - mean) inv_std, table[block] = (mean, inv_std, scale, shift);
    # columns[task] = (sum of gy, sum of gy xhat), a column each, unless the plan asks for none.
    width, of, out = plan[5], numba.carray(table, (plan[0], 4)), numba.carray(partial, (plan[0], 2))
    sums, room, two = _rows(columns, task, 2, width), _rows(scratch, task, 4, width), numba.carray(affine, (2, width))
    weight = two[0]
    if plan[7]:
        for w in range(width):
            sums[0, w] = 0.0
            sums[1, w] = 0.0
    for unit in range(task * plan[4], min(plan[0], (task + 1) * plan[4])):
        part, grad = _cut(x, unit, plan), _cut(gy, unit, plan)
        mean, inv_std = of[unit // plan[1], 0], of[unit // plan[1], 1]
        if plan[8]:
            _line(of[unit // plan[1]], two, room)
        total, product = 0.0, 0.0
        for at in range(0, part.size, width):
            row, h = part[at : at + width], grad[at : at + width]
            if plan[8]:
                _cut_off(row, room[0], room[1], room[2], h, room[3])
                h = room[3]
            for w in range(row.size):
                total += h[w] * weight[w]
                product += h[w] * weight[w] * ((row[w] - mean) * inv_std)
            if plan[7]:
                first, second = sums[0], sums[1]
                for w in range(row.size):
                    first[w] += h[w]
                    second[w] += h[w] * ((row[w] - mean) * inv_std)
        out[unit, 0], out[unit, 1] = total, product


@_part_of
def _line(numbers, affine, room):
    # The center, scale and shift of each column of a line, for `_cut_off`, as `_lines` has them.
    for w in range(affine.shape[1]):
        room[0, w] = numbers[0]
        room[1, w] = numbers[2] * affine[0, w]
        room[2, w] = affine[1, w] + numbers[3]


def _sums_of_columns(task, plan, index, gy, x, table, partial, scratch, f, g):
    # partial[unit] = (sum of gy, sum of gy (x - center)) of each channel, table[block] = (center, scale, shift) of a joined row
    width, channels, relu = plan[5], plan[6], plan[8] != 0
    out, of = numba.carray(partial, (plan[0], 2, channels)), numba.carray(table, (plan[0] // plan[1], 3, width))
    sums, few = _rows(scratch, task, 2, width), _sums(x)
    first, second = sums[0], sums[1]
    for unit in range(task * plan[4], min(plan[0], (task + 1) * plan[4])):
        part, grad = _cut(x, unit, plan), _cut(gy, unit, plan)
        three = of[unit // plan[1]]
        center, scale, shift = three[0], three[1], three[2]
        sums[:] = 0.0
        begin, quick = _begin(unit, plan), part.size // (FEW * width) * (FEW * width)
        for start in range(0, quick, FEW * width):
            for low in range(0, width, PIECE):
                size, r0 = min(PIECE, width - low), begin + start + low
                tasks.ahead(part[start + low * FEW : start + (low + size) * FEW])
                tasks.ahead(grad[start + low * FEW : start + (low + size) * FEW])
                r1, r2, r3, r4 = r0 + width, r0 + 2 * width, r0 + 3 * width, r0 + 4 * width
                r5, r6, r7 = r0 + 5 * width, r0 + 6 * width, r0 + 7 * width
                at = unit // plan[1] * 3 * width + low
                for w in range(size):
                    mid, by, to = table[at + w], table[at + width + w], table[at + 2 * width + w]
                    k0, p0 = _terms(gy[r0 + w], x[r0 + w], mid, by, to, relu)
                    k1, p1 = _terms(gy[r1 + w], x[r1 + w], mid, by, to, relu)
                    k2, p2 = _terms(gy[r2 + w], x[r2 + w], mid, by, to, relu)
                    k3, p3 = _terms(gy[r3 + w], x[r3 + w], mid, by, to, relu)
                    k4, p4 = _terms(gy[r4 + w], x[r4 + w], mid, by, to, relu)
                    k5, p5 = _terms(gy[r5 + w], x[r5 + w], mid, by, to, relu)
                    k6, p6 = _terms(gy[r6 + w], x[r6 + w], mid, by, to, relu)
                    k7, p7 = _terms(gy[r7 + w], x[r7 + w], mid, by, to, relu)
                    few[w] = k0 + k1 + k2 + k3 + k4 + k5 + k6 + k7
                    few[PIECE + w] = p0 + p1 + p2 + p3 + p4 + p5 + p6 + p7
                _add_sums(few, size, scratch, 2 * task * width + low, width)
        for at in range(quick, part.size, width):
            p, h = part[at : at + width], grad[at : at + width]
            for w in range(p.size):
                kept = _kept(h[w], p[w], center[w], scale[w], shift[w], relu)
                first[w] += kept
                second[w] += (p[w] - center[w]) * kept
        _add_joined(first, out[unit, 0])
        _add_joined(second, out[unit, 1])


def _grad_of_lines(task, plan, index, gy, x, table, affine, gx, scratch, g):
    # gx = inv_std (gy weight own - first - xhat second), first and second being the means of gy weight and of gy weight xhat,
    # table[block] = (mean, inv_std, scale, shift, first, second, own)
    width, of = plan[5], numba.carray(table, (plan[0], 7))
    room, two = _rows(scratch, task, 4, width), numba.carray(affine, (2, width))
    weight = two[0]
    for unit in range(task * plan[4], min(plan[0], (task + 1) * plan[4])):
        part, grad, out = _cut(x, unit, plan), _cut(gy, unit, plan), _cut(gx, unit, plan)
        row = of[unit // plan[1]]
        mean, scale, first, second, own = row[0], row[1], row[4], row[5], row[6]
        if plan[8]:
            _line(row, two, room)
        for at in range(0, part.size, width):
            p, h, z = part[at : at + width], grad[at : at + width], out[at : at + width]
            if plan[8]:
                _cut_off(p, room[0], room[1], room[2], h, room[3])
                h = room[3]
            for w in range(p.size):
                z[w] = scale * (h[w] * (weight[w] * own) - first - (p[w] - mean) * scale * second)


def _grad_of_columns(task, plan, index, gy, x, table, gx, e, f, g):
    # gx = gy scale - first - (x - center) second, table[block] = (center, scale, shift, first, second) of a joined row
    width, relu, of = plan[5], plan[8] != 0, numba.carray(table, (plan[0] // plan[1], 5, plan[5]))
    for unit in range(task * plan[4], min(plan[0], (task + 1) * plan[4])):
        part, grad, out = _cut(x, unit, plan), _cut(gy, unit, plan), _cut(gx, unit, plan)
        five = of[unit // plan[1]]
        center, scale, shift = five[0], five[1], five[2]
        first, second = five[3], five[4]
        for at in range(0, part.size, width):
            p, h, z = part[at : at + width], grad[at : at + width], out[at : at + width]
            tasks.ahead(p)
            tasks.ahead(h)
            for w in range(p.size):
                kept = _kept(h[w], p[w], center[w], scale[w], shift[w], relu)
                z[w] = kept * scale[w] - first[w] - (p[w] - center[w]) * second[w]


# --------------------------------------------------------------------------------------- in Python
class _Blocks:
    """How memory [blocks, rows, channels] is cut: joined rows, parts, tasks of some `task` elements.  `lines`: a block is one line of numbers."""

    def __init__(self, blocks: int, rows: int, channels: int, lines: bool, task: int, columns: bool, cut: bool, finish: int):
        joined = min(max(1, WIDTH // channels), max(1, rows))
        step = -(-max(task, 64 * channels) // (joined * channels)) * joined  # rows in a part: whole joined rows, and many
        self.parts = max(1, -(-rows // step))
        together = max(1, task // max(1, min(step, rows) * channels))
        if columns:  # each task has sums of all columns: of long rows a few tasks, or these would be more than x
            together = max(together, -(-blocks * self.parts // max(FEW, task // (joined * channels))))
        self.channels, self.blocks, self.lines, self.rows, self.step = channels, blocks, lines, rows, step
        self.width, self.units = joined * channels, blocks * self.parts
        self.tasks = -(-self.units // together)
        self.plan = np.array([self.units, self.parts, rows * channels, step * channels, together, self.width, channels, columns, cut, finish])

    def affine(self, weight: np.ndarray | None, bias: np.ndarray | None, dtype: np.dtype) -> np.ndarray:
        """weight and bias [C], or ones and zeros, as often as rows are joined."""
        both = np.empty((2, self.width // self.channels, self.channels), dtype)
        both[0], both[1] = 1 if weight is None else weight, 0 if bias is None else bias
        return both

    def table(self, dtype: np.dtype, *numbers: np.ndarray | None) -> np.ndarray:
        """Numbers [blocks, C] or [C], or 0, of the columns of a joined row of each block."""
        table = np.empty((self.blocks, len(numbers), self.width // self.channels, self.channels), dtype)
        for i, number in enumerate(numbers):
            table[:, i] = 0 if number is None else number[..., None, :]
        return table

    def counts(self) -> np.ndarray:
        """Elements of a line, or of a column, in each part."""
        rows = np.full(self.parts, self.step)
        rows[-1] = self.rows - self.step * (self.parts - 1)
        return rows * self.channels if self.lines else rows

    def run(self, function: Callable, dtype: np.dtype, doubles: tuple[int, ...], *operands: np.ndarray) -> None:
        """The function for each task; operands may have any shape, those numbered `doubles` are float64."""
        lines = [a.reshape(-1).view(dtype) for a in operands]
        tasks.run(tasks.compiled(function, dtype.char, doubles), self.tasks, self.plan, self.plan, *lines, flush=True)


_blocks_of = functools.lru_cache(maxsize=1024)(_Blocks)


def _memory(x: np.ndarray) -> tuple[np.ndarray, bool]:
    """(contiguous memory, whether it is that of planes [N, C, *S] and not channels-last [N, *S, C])."""
    last = x.transpose(0, *range(2, x.ndim), 1)
    if x.flags.c_contiguous and not last.flags.c_contiguous and math.prod(x.shape[2:]) >= PLANE:
        return x, True
    return contiguous(last), False


def _shaped(memory: np.ndarray, planes: bool) -> np.ndarray:
    """Memory as [N, C, *S]."""
    return memory if planes else memory.transpose(0, memory.ndim - 1, *range(1, memory.ndim - 1))


def _in_order(a: np.ndarray, memory: np.ndarray, planes: bool) -> np.ndarray:
    """The memory of a [N, C, *S] in the order of `memory`."""
    a = in_order_of(a, _shaped(memory, planes))
    return a if planes else a.transpose(0, *range(2, a.ndim), 1)


def _blocks(x: np.ndarray, planes: bool, blocks: int, groups: int, task: int, cut: bool = False, finish: int = 0) -> _Blocks:
    if planes:
        return _blocks_of(x.shape[0] * x.shape[1], math.prod(x.shape[2:]), 1, True, task, False, cut, finish)
    return _blocks_of(blocks, x.size // (x.shape[1] * blocks), x.shape[1], groups == 1, task, groups == 1, cut, finish)


def _of_channels(numbers: np.ndarray, channels: int) -> np.ndarray:
    """Numbers [..., G] for each channel [..., C]."""
    return numbers if numbers.shape[-1] == channels else np.repeat(numbers, channels // numbers.shape[-1], axis=-1)


def _of_planes(table: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Numbers [1 or N, G] or [C] for each plane [N, C]."""
    return np.broadcast_to(_of_channels(table, x.shape[1]), x.shape[:2])


def _numbers_of_lines(
    x: np.ndarray, planes: bool, mean: np.ndarray, inv_std: np.ndarray, weight: np.ndarray | None, bias: np.ndarray | None
) -> list[np.ndarray | float]:  # fmt: skip
    """Mean, inv_std, scale and shift of each line: those of a plane hold its channel's weight and bias."""
    if not planes:
        return [mean, inv_std, inv_std, 0]
    mean, inv_std = _of_planes(mean, x), _of_planes(inv_std, x)
    return [mean, inv_std, inv_std if weight is None else inv_std * np.asarray(weight, x.dtype), 0 if bias is None else bias]


def _numbers_of_columns(
    x: np.ndarray, mean: np.ndarray, inv_std: np.ndarray, weight: np.ndarray | None, bias: np.ndarray | None
) -> list[np.ndarray | None]:  # fmt: skip
    """Mean, inv_std weight and bias for each channel."""
    mean, scale = _of_channels(mean, x.shape[1]), _of_channels(inv_std, x.shape[1])
    return [mean, scale if weight is None else scale * np.asarray(weight, x.dtype), bias]


def _table(dtype: np.dtype, *columns: np.ndarray | float) -> np.ndarray:
    """Columns, each broadcast to the first, side by side: the numbers of a line together."""
    table = np.empty((*np.shape(columns[0]), len(columns)), dtype)
    for i, column in enumerate(columns):
        table[..., i] = column
    return table


def norm_stats(x: np.ndarray, groups: int, batch: bool) -> tuple[np.ndarray, np.ndarray]:
    """(mean, variance), each [1, groups] over the whole batch or [N, groups], of x [N, C, *S] with its channels in `groups` groups.

    The variance is the biased one, divided by the count.  Means of parts and sums of squares around them are put together as in
    T. F. Chan, G. H. Golub, R. J. LeVeque, 1979: no digits are lost where the mean is much larger than the deviation.
    """
    x = normal(x)
    blocks = 1 if batch else x.shape[0]
    if not x.size:
        return np.full((blocks, groups), np.nan, x.dtype), np.full((blocks, groups), np.nan, x.dtype)
    memory, planes = _memory(x)
    by = _blocks(x, planes, blocks, groups, SUM)
    if by.lines:
        partial = np.empty((by.units, 2))
        by.run(_moments_of_lines, x.dtype, (1,), memory, partial)
        shape = (blocks, -1, groups, x.shape[1] // groups if planes else 1, by.parts)
    else:
        partial = np.empty((by.units, 2, x.shape[1]))
        by.run(_moments_of_columns, x.dtype, (1, 2), memory, partial, np.empty((by.tasks, 2, by.width)), np.empty((by.tasks, by.width), x.dtype))
        shape = (blocks, by.parts, groups, x.shape[1] // groups, 1)
    means, squares, count = partial[:, 0].reshape(shape), partial[:, 1].reshape(shape), x.size // (blocks * groups)
    if means.size > blocks * groups:
        counts = by.counts() if by.lines else by.counts()[:, None, None, None]
        with np.errstate(all="ignore"):  # NaN and infinity in, NaN and infinity out
            mean = (means * counts).sum(axis=(1, 3, 4), keepdims=True) / count
            squares = (squares + counts * (means - mean) ** 2).sum(axis=(1, 3, 4))
            means = mean
    with np.errstate(over="ignore"):
        return means.reshape(blocks, groups).astype(x.dtype), (squares.reshape(blocks, groups) / count).astype(x.dtype)


def norm(
    x: np.ndarray, mean: np.ndarray, inv_std: np.ndarray, weight: np.ndarray | None, bias: np.ndarray | None,
    add: np.ndarray | None = None, relu: bool = False,
) -> np.ndarray:  # fmt: skip
    """y = (x - mean) inv_std weight + bias for x [N, C, *S], mean and inv_std [1 or N, G], weight and bias [C] or None.

    Plus `add`, of y's shape, and then max(y, 0) with `relu`: the same bits as one after the other.  Channels-last, or in C order if x is and has
    planes of some length.
    """
    x = normal(x)
    memory, planes = _memory(x)
    y, dtype = np.empty_like(memory), x.dtype
    if not x.size:
        return _shaped(y, planes)
    more, finish = y, 0
    if add is not None:
        finish = finish_kernel(dtype, True, relu)
        more = _in_order(add, memory, planes)
    by = _blocks(x, planes, mean.shape[0], mean.shape[1], MAP, relu and not finish, finish)
    if by.lines:
        rows = by.affine(None, None, dtype) if planes else by.affine(weight, bias, dtype)
        by.run(_lines, dtype, (), memory, _table(dtype, *_numbers_of_lines(x, planes, mean, inv_std, weight, bias)), rows, y, more)
    else:
        by.run(_columns, dtype, (), memory, by.table(dtype, *_numbers_of_columns(x, mean, inv_std, weight, bias)), y, more)
    return _shaped(y, planes)


def norm_grad(
    gy: np.ndarray, x: np.ndarray, mean: np.ndarray, inv_std: np.ndarray,
    weight: np.ndarray | None, bias: np.ndarray | None, centred: bool, relu: bool, given: bool = False,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:  # fmt: skip
    """(gx, gweight [C], gbias [C]) of `norm` where mean and inv_std are the statistics of x itself.  gx has the memory order of `norm`.

    xhat    = (x - mean) inv_std
    gbias   = sum gy,   gweight = sum gy xhat
    gx      = inv_std (gy weight - mean(gy weight) - xhat mean(gy weight xhat))         means over what the statistics are over

    Without `centred`, mean is a constant 0, as in root mean square normalisation, and the first mean is left out.  With `relu` gy counts as 0
    where xhat weight + bias <= 0; bias is used for nothing else.  With `given` statistics, which are no functions of x, gx = inv_std gy weight
    (without `relu`).
    """
    x = normal(x)
    memory, planes = _memory(x)
    gx, dtype, channels = np.empty_like(memory), x.dtype, x.shape[1]
    if not x.size:
        return _shaped(gx, planes), np.zeros(channels, dtype), np.zeros(channels, dtype)
    gmemory = _in_order(gy, memory, planes)
    blocks, groups = mean.shape
    by = _blocks(x, planes, blocks, groups, SUM, relu)
    if by.lines:
        rows = by.affine(None, None, dtype) if planes else by.affine(weight, bias, dtype)
        partial, columns = np.empty((by.units, 2)), np.empty((1 if planes else by.tasks, 2, by.width))
        lines, scratch = _numbers_of_lines(x, planes, mean, inv_std, weight, bias), np.empty((by.tasks if relu else 0, 4, by.width), dtype)
        by.run(_sums_of_lines, dtype, (4, 5), gmemory, memory, _table(dtype, *lines), rows, partial, columns, scratch)
    else:
        partial, numbers = np.empty((by.units, 2, channels)), _numbers_of_columns(x, mean, inv_std, weight, bias)
        by.run(_sums_of_columns, dtype, (3, 4), gmemory, memory, by.table(dtype, *numbers), partial, np.empty((by.tasks, 2, by.width)))
    with np.errstate(all="ignore"):
        if planes:
            sums = partial.reshape(x.shape[0], channels, by.parts, 2).sum(axis=2)
            gbias, gweight = sums.sum(axis=0).T.astype(dtype)
            if weight is not None:
                sums = sums * np.asarray(weight, float)[:, None]
            sums = sums.reshape(x.shape[0], groups, -1, 2).sum(axis=2)
            sums = (sums.sum(axis=0, keepdims=True) if blocks == 1 else sums).transpose(0, 2, 1)
        elif by.lines:
            sums = partial.reshape(blocks, by.parts, 2, 1).sum(axis=1)
            gbias, gweight = columns.sum(axis=0).reshape(2, -1, channels).sum(axis=1).astype(dtype)
        else:
            sums = partial.reshape(blocks, by.parts, 2, channels).sum(axis=1)
            sums[:, 1] *= _of_channels(inv_std, channels)
            gbias, gweight = sums.sum(axis=0).astype(dtype)
            if weight is not None:
                sums *= weight
            if groups < channels:
                sums = sums.reshape(blocks, 2, groups, -1).sum(axis=3)
        if given:  # x must have no part in it: it may be NaN
            return norm(_shaped(gmemory, planes), np.zeros_like(mean), inv_std, weight, None), gweight, gbias
        sums = (sums * (blocks * groups / x.size)).astype(dtype)
        first, second = sums[:, 0] if centred else np.zeros_like(sums[:, 0]), sums[:, 1]
        by = _blocks(x, planes, blocks, groups, MAP, relu)
        if by.lines:
            if planes:
                first, second = _of_planes(first, x), _of_planes(second, x)
            table = _table(dtype, *lines, first, second, 1 if weight is None or not planes else weight)
            by.run(_grad_of_lines, dtype, (), gmemory, memory, table, rows, gx, np.empty((by.tasks if relu else 0, 4, by.width), dtype))
        else:
            each = (_of_channels(inv_std * a, channels) for a in (first, inv_std * second))
            by.run(_grad_of_columns, dtype, (), gmemory, memory, by.table(dtype, *numbers, *each), gx)
    return _shaped(gx, planes), gweight, gbias
