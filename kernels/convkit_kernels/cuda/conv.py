"""Convolution in one to three dimensions and its two gradients, by the tiles of `tiles.py`.

    forward            y[m, k] = bias[k] + sum over taps t, channels c of  x[o*stride + t, c] w[k, c, t]
    input gradient     the same sum of gy, in phases: pixels a, a + stride, a + 2*stride ... of the input see the same taps
    weight gradient    gw[k, c, t] = sum over places m of  gy[m, k] x[o*stride + t, c], in parts, which are added in a fixed order

Where pixels are read four channels at a time, weights are first written as [group, tap, channel, column] for the first two, so that they can be,
too; else they are read where they lie.  Groups and phases are jobs of one launch.  Groups of few channels are the part of `depthwise.py`.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from itertools import product
from typing import NamedTuple

import numpy as np

from ..geometry import Window
from ..layout import from_channels_last
from . import depthwise, tensorcore, tiles
from .copy import contiguous
from .launch import cuda, kernel
from .matmul import matmul, multiply
from .memory import Array, asarray, empty

OP = "convolution"  # in errors
Five = tuple[int, int, int, int, int]


# ------------------------------------------------------------------------------------- public
def conv_forward(
    x: Array, w: Array, bias: Array | None, window: Window, add: Array | None = None, relu: bool = False
) -> Array:  # fmt: skip
    """x [N, C, *in] with w [K, C/groups, *window] and bias [K] -> y [N, K, *out], channels-last in memory.

    Plus `add`, of y's shape, and then max(y, 0) with `relu`, before y is stored: the same bits as one after the other.
    """
    out = window.output_size(x.shape[2:])
    y = empty((x.shape[0], *_three(out), w.shape[0]), x.dtype)
    add = None if add is None else _last(add)
    if window.pointwise:
        multiply(_last(x).reshape(-1, x.shape[1]), w.reshape(w.shape[:2]).T, bias, y.reshape(-1, w.shape[0]), _rows(add), relu)
    elif y.size:
        k = w.shape[0] // window.groups
        x, vector = _source(x, window.groups, k)
        epilogue = (bias is not None, add is not None, relu)
        plan = _plan_forward(window, x.shape, x.steps, w.shape, w.steps, x.dtype, vector, epilogue, tensorcore.terms())
        if depthwise.suits(window.groups, w.shape[1], k):
            depthwise.run(plan.sums, vector, x, _arranged(w, plan.weights), _flat(bias), add, y, w.shape[1], k)
        else:
            tiles.run_and_finish(plan.sums, x, _arranged(w, plan.weights) if vector else w, _flat(bias), add, relu, y, w.shape[0])
    return _result(y, window)


def conv_input_grad(gy: Array, w: Array, bias: Array | None, input_size: Sequence[int], window: Window) -> Array:
    """gy [N, K, *out] with w [K, C/groups, *window] -> gx [N, C, *input_size]: the adjoint of `conv_forward`, and the
    transposed convolution, for which `bias` [C] may be added."""
    channels = w.shape[1] * window.groups
    gx = empty((gy.shape[0], *_three(input_size), channels), gy.dtype)
    if window.pointwise:
        multiply(_last(gy).reshape(-1, w.shape[0]), w.reshape(w.shape[:2]), bias, gx.reshape(-1, channels))
    elif gx.size:
        k = w.shape[0] // window.groups
        gy, vector = _source(gy, window.groups, w.shape[1])
        sizes, epilogue = tuple(input_size), (bias is not None, False, False)
        plan = _plan_backward(window, gy.shape, gy.steps, w.shape, w.steps, sizes, gy.dtype, vector, epilogue, tensorcore.terms())
        if depthwise.suits(window.groups, k, w.shape[1]):
            depthwise.run(plan.sums, vector, gy, _arranged(w, plan.weights), _flat(bias), None, gx, k, w.shape[1])
        else:
            tiles.run_and_finish(plan.sums, gy, _arranged(w, plan.weights) if vector else w, _flat(bias), None, False, gx, channels)
    return _result(gx, window)


def conv_weight_grad(x: Array, gy: Array, window: Window) -> Array:
    """x [N, C, *in] and gy [N, K, *out] -> gw [K, C/groups, *window], contiguous."""
    c, k = x.shape[1] // window.groups, gy.shape[1]
    if window.pointwise:
        return matmul(_last(gy).reshape(-1, k).T, _last(x).reshape(-1, c)).reshape(k, c, *window.size)
    gw = empty((k, c, *window.size), x.dtype)
    if not gw.size:
        return gw
    taps, gy = math.prod(window.size), _last(gy)
    k //= window.groups
    x, vector = _source(x, window.groups, k)
    vector = vector and gy.shape[-1] % 4 == 0 and gy.offset % 4 == 0
    if depthwise.suits(window.groups, c, k):
        unit = depthwise.unit(vector, c, k)
        plan, parts = _plan_depthwise(window, x.shape, x.steps, gy.shape, unit)
        sums = empty((parts, taps, c, gy.shape[-1]), x.dtype)
        depthwise.run_outer(plan, parts, taps, x, gy, sums, c, k, unit)
        _turn[x.dtype](gw.size, gw.size, parts, taps, c, gy.shape[-1], sums.flat, sums.offset, gw.flat, gw.offset)
        return gw
    vector = vector and k % 4 == 0
    outer = _plan_outer(window, x.shape, x.steps, gy.shape, x.dtype, vector, tensorcore.terms())
    sums = empty((outer.parts, outer.each), x.dtype)
    tiles.run(outer, x, gy, None, None, sums)
    _turn[x.dtype](gw.size, gw.size, outer.parts, taps, c, k, sums.flat, sums.offset, gw.flat, gw.offset)
    return gw


# ------------------------------------------------------------------------------------- operands
def _three(sizes: Sequence[int]) -> tuple[int, int, int]:
    return (1,) * (3 - len(sizes)) + tuple(sizes)  # type: ignore[return-value]


def _result(y: Array, window: Window) -> Array:
    return from_channels_last(y, window.rank)  # type: ignore[arg-type,return-value]


def _last(a: Array) -> Array:
    """[N, C, *S] as [N, *S, C] in C order: a view of channels-last memory, else a copy."""
    return contiguous(a.transpose(0, *range(2, a.ndim), 1))


def _rows(a: Array | None) -> Array | None:
    return None if a is None else a.reshape(-1, a.shape[-1])


def _flat(a: Array | None) -> Array | None:
    return None if a is None else contiguous(a)


def _source(x: Array, groups: int, k: int) -> tuple[Array, bool]:
    """(x or a copy in channels-last memory, can it be read four channels at a time?); k: channels of a group of what x is summed to."""
    if depthwise.suits(groups, x.shape[1] // groups, k):
        x = _channels_side_by_side(x)
        groups = 1 if x.shape[1] == groups else groups
    if x.dtype != np.float32 or x.shape[1] // groups % 4:
        return x, False
    if x.offset % 4 or x.steps[1] != 1 or any(s % 4 for i, s in enumerate(x.steps) if i != 1 and x.shape[i] > 1):
        last = _last(x)
        x = last.transpose(0, last.ndim - 1, *range(1, last.ndim - 1))
        if last.offset % 4:
            x = x.copy(order="K")
    return x, True


def _channels_side_by_side(x: Array) -> Array:
    """x if its channels are neighbours in memory, else a copy in channels-last memory."""
    if x.steps[1] == 1:
        return x
    last = _last(x)
    return last.transpose(0, last.ndim - 1, *range(1, last.ndim - 1))


def _steps(shape: tuple[int, ...], steps: tuple[int, ...]) -> Five:
    """Strides in elements of n, three dimensions and c."""
    n, c, *spatial = (s if size > 1 else 0 for s, size in zip(steps, shape, strict=True))
    return (n, *(0,) * (3 - len(spatial)), *spatial, c)  # type: ignore[return-value]


class _Weights(NamedTuple):
    """How weights are written for the tiles: [group, tap, row, column], columns filled up to a multiple of 4."""

    numbers: Array  # taps, rows, columns, columns filled up, strides of group, row and column, a group's columns; then where each tap begins
    size: int


class _Plan(NamedTuple):
    sums: tiles.Sums
    weights: _Weights


def _weights(window: Window, shape: tuple[int, ...], steps: tuple[int, ...], taps: Sequence[tuple[int, ...]], turned: bool, alone: bool) -> _Weights:
    """For these taps of w [K, C/groups, *size]; rows are its channels, or, `turned`, its filters.

    `alone`: for `depthwise.py`, as one group whose columns are all channels of the result.
    """
    k, c, groups = shape[0] // window.groups, shape[1], window.groups
    of_row, of_column, rows, own = (steps[0], steps[1], k, c) if turned else (steps[1], steps[0], c, k)
    columns, wide = own, -(-own // 4) * 4
    if alone:
        columns, wide, groups = own * groups, own * groups, 1
    numbers = [len(taps), rows, columns, wide, k * steps[0], of_row, of_column, own, *_tap_places(window, steps, taps)]
    return _Weights(asarray(np.array(numbers, np.int64)), groups * len(taps) * rows * wide)


def _tap_places(window: Window, steps: tuple[int, ...], taps: Sequence[tuple[int, ...]]) -> list[int]:
    strides = (0,) * (3 - window.rank) + steps[2:]
    return [sum(r * s for r, s in zip(tap, strides, strict=True)) for tap in taps]


def _arranged(w: Array, weights: _Weights) -> Array:
    arranged = empty((weights.size,), w.dtype)
    _arrange[w.dtype](weights.size, weights.size, w.flat, w.offset, arranged.flat, arranged.offset, weights.numbers.flat)
    return arranged


@kernel("iTiTiI")
def _arrange(n, w, w0, y, y0, plan):
    # y[g, tap, row, column] = w[...]
    taps, rows, columns, wide = plan[0], plan[1], plan[2], plan[3]
    for i in range(cuda.grid(1), n, cuda.gridsize(1)):
        column, rest = i % wide, i // wide
        row, rest = rest % rows, rest // rows
        tap, group = rest % taps, rest // taps
        value = w.dtype.type(0)
        if column < columns:
            more, column = column // plan[7], column % plan[7]
            value = w[w0 + (group + more) * plan[4] + row * plan[5] + column * plan[6] + plan[8 + tap]]
        y[y0 + i] = value


@kernel("iiiiiTiTi")
def _turn(n, parts, taps, channels, filters, x, x0, gw, g0):
    # gw[g, k, c, tap] = sum over parts of x[part, g, tap, c, k]
    for i in range(cuda.grid(1), n, cuda.gridsize(1)):
        k, rest = i % filters, i // filters
        c, rest = rest % channels, rest // channels
        tap, group = rest % taps, rest // taps
        value = x[x0 + i]
        for part in range(1, parts):
            value += x[x0 + part * n + i]
        gw[g0 + ((group * filters + k) * channels + c) * taps + tap] = value


# ------------------------------------------------------------------------------------- plans
def _forward_taps(window: Window) -> tuple[list[tuple[int, ...]], list[tuple[int, ...]]]:
    """(the taps of a window, where each stands relative to the place of the window)."""
    size, _, padding, dilation = window.canonical
    taps = list(product(*map(range, size)))
    return taps, [tuple(r * d - p for r, d, (p, _) in zip(tap, dilation, padding, strict=True)) for tap in taps]


@functools.lru_cache(maxsize=1024)
def _plan_forward(
    window: Window, x: tuple[int, ...], x_steps: tuple[int, ...], w: tuple[int, ...], w_steps: tuple[int, ...], dtype: np.dtype, vector: bool,
    epilogue: tuple[bool, bool, bool], terms: int,
) -> _Plan:  # fmt: skip
    groups, c, filters = window.groups, w[1], w[0]
    taps, offsets = _forward_taps(window)
    if not c:
        taps, offsets = [], []
    alone = depthwise.suits(groups, c, filters // groups)
    weights = _weights(window, w, w_steps, taps, False, alone)
    groups = 1 if alone else groups
    k = filters // groups
    inside, out = _three(x[2:]), _three(window.output_size(x[2:]))
    steps, places, wide = _steps(x, x_steps), x[0] * math.prod(out), -(-k // 4) * 4
    y_steps = (math.prod(out) * filters, out[1] * out[2] * filters, out[2] * filters, filters)
    arranged = vector or alone
    of_w = (wide, 1, y_steps) if arranged else (w_steps[1], w_steps[0], y_steps, True, _tap_places(window, w_steps, taps))
    view = tiles.view(places, out, inside, window.canonical[1], steps, c, offsets, k, *of_w)
    group = len(taps) * c * wide if arranged else k * w_steps[0]
    jobs = [(g * c * steps[4], g * group, g * k, g * k, 0) for g in range(groups)]
    sums = tiles.prepare(OP, True, not arranged, vector, dtype, [view], np.array(jobs), places * filters, not alone, k % 4 == 0, epilogue, terms)
    return _Plan(sums._replace(blocks=1) if alone else sums, weights)


@functools.lru_cache(maxsize=1024)
def _plan_backward(
    window: Window, gy: tuple[int, ...], gy_steps: tuple[int, ...], w: tuple[int, ...], w_steps: tuple[int, ...], inside: tuple[int, ...],
    dtype: np.dtype, vector: bool, epilogue: tuple[bool, bool, bool], terms: int,
) -> _Plan:  # fmt: skip
    groups, c, k = window.groups, w[1], w[0] // window.groups
    size, stride, padding, dilation = window.canonical
    whole, out, steps, channels, wide = _three(inside), _three(gy[2:]), _steps(gy, gy_steps), c * groups, -(-c // 4) * 4
    alone = depthwise.suits(groups, k, c)
    arranged = vector or alone
    if alone:  # one job a phase
        groups, c, wide = 1, channels, channels
    of_pixel = (math.prod(whole) * channels, whole[1] * whole[2] * channels, whole[2] * channels, channels)
    taps: list[tuple[int, ...]] = []
    views: list[list[int]] = []
    jobs: list[tuple[int, ...]] = []
    for first in product(*map(range, stride)):
        # Pixel a + stride*o sees place o + t through tap r where a + padding - r*dilation = stride*t.
        seen = [
            [(r, (a + p - r * d) // s) for r in range(n) if (a + p - r * d) % s == 0]
            for a, n, s, (p, _), d in zip(first, size, stride, padding, dilation, strict=True)
        ]
        sizes = [max(0, -(-(n - a) // s)) for n, a, s in zip(whole, first, stride, strict=True)]
        if not math.prod(sizes):
            continue
        here = list(product(*seen))
        offsets = [tuple(t for _, t in tap) for tap in here]
        y_steps = (of_pixel[0], *(s * p for s, p in zip(stride, of_pixel[1:], strict=True)))
        pixels, linear, chosen = gy[0] * math.prod(sizes), stride == (1, 1, 1), [tuple(r for r, _ in tap) for tap in here]
        of_w = (wide, 1, y_steps, linear) if arranged else (w_steps[0], w_steps[1], y_steps, linear, _tap_places(window, w_steps, chosen))
        begins = sum(a * p for a, p in zip(first, of_pixel[1:], strict=True))
        begins_w = len(taps) * k * wide if arranged else 0
        jobs += [(g * k * steps[4], begins_w, begins + g * c, g * c, len(views), g) for g in range(groups)]
        views.append(tiles.view(pixels, sizes, out, (1, 1, 1), steps, k, offsets, c, *of_w))
        taps += chosen
    table = np.array(jobs)
    table[:, tiles.W] += table[:, 5] * (len(taps) * k * wide if arranged else k * w_steps[0])
    weights = _weights(window, w, w_steps, taps, True, alone)
    split = stride == (1, 1, 1) and not alone
    sums = tiles.prepare(OP, True, not arranged, vector, dtype, views, table[:, :5], gy[0] * of_pixel[0], split, c % 4 == 0, epilogue, terms)
    return _Plan(sums._replace(blocks=len(views)) if alone else sums, weights)


@functools.lru_cache(maxsize=1024)
def _plan_outer(
    window: Window, x: tuple[int, ...], x_steps: tuple[int, ...], gy: tuple[int, ...], dtype: np.dtype, vector: bool, terms: int
) -> tiles.Sums:  # fmt: skip
    groups, c, filters = window.groups, x[1] // window.groups, gy[-1]
    k, taps = filters // groups, math.prod(window.size)
    inside, out = _three(x[2:]), _three(gy[1:-1])
    steps = _steps(x, x_steps)
    offsets = _forward_taps(window)[1]
    view = tiles.view(x[0] * math.prod(out), out, inside, window.canonical[1], steps, c, offsets, k, filters, 1, (0, 0, 0, k))
    jobs = [(g * c * steps[4], g * k, g * taps * c * k, 0, 0) for g in range(groups)]
    nothing = (False, False, False)
    return tiles.prepare(OP, False, False, vector, dtype, [view], np.array(jobs), groups * taps * c * k, True, k % 4 == 0, nothing, terms)


@functools.lru_cache(maxsize=1024)
def _plan_depthwise(window: Window, x: tuple[int, ...], x_steps: tuple[int, ...], gy: tuple[int, ...], unit: int) -> tuple[Array, int]:
    """(plan, parts) of the weight gradient by `depthwise.py`; the plan says how many places a part has."""
    inside, out, taps = _three(x[2:]), _three(gy[1:-1]), math.prod(window.size)
    places = x[0] * math.prod(out)
    blocks = math.prod(depthwise.blocks_of_outer(gy[-1], taps, x[1] // window.groups, unit))
    parts = max(1, min(4 * tiles.BLOCKS // blocks, places // (16 * depthwise.LINES[unit]), tiles.MOST_PARTS))
    each = -(-places // parts)
    view = tiles.view(places, out, inside, window.canonical[1], _steps(x, x_steps), each, _forward_taps(window)[1], gy[-1], 0, 0, (0, 0, 0, 0))
    tiles.check(OP, [view])
    head = np.zeros(tiles.HEAD + tiles.JOB, np.int64)
    head[tiles.HEAD + tiles.VIEW] = len(head)
    return asarray(np.concatenate([head, np.array(view, np.int64)])), parts
