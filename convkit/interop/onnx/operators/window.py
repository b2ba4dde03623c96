"""Convolution and pooling: windows with ONNX's paddings."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ....nn import functional as F
from ....ops import conv as convs
from ....ops import reduce
from ....ops.creation import ones
from ....ops.elementwise import maximum, where
from ....tensor import Tensor
from ..node import Node, Run, is_float, made, row

Pairs = list[tuple[int, int]]


def _pairs(pads: list[int]) -> Pairs:
    """ONNX lists all befores, then all afters."""
    rank = len(pads) // 2
    return list(zip(pads[:rank], pads[rank:], strict=True))


class Placement:
    """strides, dilations, pads and auto_pad of a node, and what they come to for an input."""

    def __init__(self, node: Node):
        self.stride, self.dilation, self.pads = node.get("strides"), node.get("dilations"), node.get("pads")
        self.auto = node.one_of("auto_pad", ("NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID"), "NOTSET")
        self.ceil = bool(node.get("ceil_mode", 0))

    def each(self, rank: int) -> tuple[list[int], list[int]]:
        """(stride, dilation), by default 1."""
        return self.stride or [1] * rank, self.dilation or [1] * rank

    def pairs(self, size: tuple[int, ...], window: tuple[int, ...] | list[int]) -> Pairs:
        """(before, after) as the node gives them; SAME makes ceil(size / stride) outputs, the odd element after (UPPER) or before."""
        rank = len(size)
        if self.auto in ("NOTSET", "VALID"):
            return _pairs(self.pads) if self.pads and self.auto == "NOTSET" else [(0, 0)] * rank
        out = []
        for n, r, s, d in zip(size, window, *self.each(rank), strict=True):
            total = max(0, (-(-n // s) - 1) * s + d * (r - 1) + 1 - n)
            out.append((total // 2, total - total // 2) if self.auto == "SAME_UPPER" else (total - total // 2, total // 2))
        return out

    def outputs(self, size: tuple[int, ...], window: list[int], pairs: Pairs) -> list[int]:
        """Output sizes; with ceil_mode a last window may reach over the padding, if it starts inside the input or the padding before it."""
        out = []
        for n, r, s, d, (before, after) in zip(size, window, *self.each(len(size)), pairs, strict=True):
            rest = n + before + after - d * (r - 1) - 1
            count = (-(-rest // s) if self.ceil else rest // s) + 1
            out.append(count - 1 if self.ceil and (count - 1) * s >= n + before else count)
        return out

    def reach(self, size: tuple[int, ...], window: list[int], pairs: Pairs) -> Pairs:
        """The padding that gives `outputs` without rounding up."""
        out = []
        for n, r, s, d, (before, after), m in zip(
            size, window, *self.each(len(size)), pairs, self.outputs(size, window, pairs), strict=True
        ):  # fmt: skip
            out.append((before, max(after, (m - 1) * s + d * (r - 1) + 1 - n - before)))
        return out


# ------------------------------------------------------------------------------------- convolution
@row("Conv")
def conv(node: Node) -> Run:
    """A convolution of any rank from 1 to 3."""
    place, group = Placement(node), node.get("group", 1)
    node.get("kernel_shape")  # the weight has it

    def run(x: Any, w: Any, b: Any = None) -> Any:
        rank = x.ndim - 2
        stride, dilation = place.each(rank)
        return convs.conv(rank, x, w, b, tuple(stride), place.pairs(x.shape[2:], w.shape[2:]), tuple(dilation), group)

    return run


@row("ConvTranspose")
def conv_transpose(node: Node) -> Run:
    """A transposed convolution; `output_shape`, or SAME with output = input * stride, say the padding in reverse."""
    place, group = Placement(node), node.get("group", 1)
    extra, wanted = node.get("output_padding"), node.get("output_shape")
    node.get("kernel_shape")

    def run(x: Any, w: Any, b: Any = None) -> Any:
        rank = x.ndim - 2
        stride, dilation = place.each(rank)
        add = extra[:rank] if extra else [0] * rank
        sizes = wanted[-rank:] if wanted else [n * s for n, s in zip(x.shape[2:], stride, strict=True)] if place.auto.startswith("SAME") else None
        if sizes is None:
            pairs = place.pairs(x.shape[2:], w.shape[2:])
        else:
            pairs = []
            for n, r, s, d, e, m in zip(x.shape[2:], w.shape[2:], stride, dilation, add, sizes, strict=True):
                total = s * (n - 1) + e + d * (r - 1) + 1 - m
                less, more = total // 2, total - total // 2
                pairs.append((less, more) if place.auto == "SAME_UPPER" else (more, less))
        limits = zip(add, stride, dilation, pairs, strict=True)
        if all(e < max(s, d) and min(p) >= 0 for e, s, d, p in limits):
            return convs.conv_transpose(rank, x, w, b, tuple(stride), pairs, tuple(add), group, tuple(dilation))
        # Padding below zero or a large output_padding: the whole, cropped or framed with zeros, then the bias.
        y = convs.conv_transpose(rank, x, w, None, tuple(stride), 0, 0, group, tuple(dilation))
        y = F.pad(y, [n for (before, after), e in zip(reversed(pairs), reversed(add), strict=True) for n in (-before, e - after)])
        return y if b is None else y + b.reshape(-1, *[1] * rank)

    return run


# ----------------------------------------------------------------------------------------- pooling
@row("MaxPool")
def max_pool(node: Node) -> Run:
    """The greatest of each window; where asked for also its place in the whole tensor, counted by rows, or with storage_order by columns."""
    place, window = Placement(node), node.get("kernel_shape")
    columns, places = node.get("storage_order", 0), node.makes(1)

    def run(x: Any) -> Any:
        rank, dtype = x.ndim - 2, x.dtype
        if not is_float(x):
            x = x.to(np.float64)
        stride, dilation = place.each(rank)
        size = x.shape[2:]
        pairs = place.reach(size, window, place.pairs(size, window))
        framed = any(a != b or a > r // 2 for (a, b), r in zip(pairs, window, strict=True))
        inner = F.pad(x, [n for pair in reversed(pairs) for n in pair], value=-np.inf) if framed else x
        padding = 0 if framed else tuple(a for a, _ in pairs)
        pool = (F.max_pool1d, F.max_pool2d, F.max_pool3d)[rank - 1]
        arguments = (inner, tuple(window), tuple(stride), padding, tuple(dilation))
        if not places:
            y = pool(*arguments)
            return y if y.dtype == dtype else y.to(dtype)
        y, index = pool(*arguments, return_indices=True)
        at = list(np.unravel_index(index.array, inner.shape[2:]))
        if framed:
            at = [i - before for i, (before, _) in zip(at, pairs, strict=True)]
        order = range(rank - 1, -1, -1) if columns else range(rank)
        flat = np.ravel_multi_index([at[i] for i in order], [size[i] for i in order], mode="clip")
        image = np.arange(x.shape[0] * x.shape[1]).reshape(*x.shape[:2], *[1] * rank) * math.prod(size)
        return y if y.dtype == dtype else y.to(dtype), made(flat + image)

    return run


def _window_sum(x: Any, window: list[int], stride: list[int], pairs: Pairs, dilation: list[int]) -> Any:
    """The sum over each window: a depthwise convolution with ones."""
    channels = x.shape[1]
    weight = ones(channels, 1, *window, dtype=x.dtype)
    return convs.conv(x.ndim - 2, x, weight, None, tuple(stride), pairs, tuple(dilation), channels)


def _counts(size: tuple[int, ...], window: list[int], place: Placement, pairs: Pairs, pads_count: bool) -> np.ndarray:
    """How many elements (and, with pads_count, places of padding) each window sees: a product over the axes."""
    total = np.ones((1,) * len(size))
    for axis, (n, r, s, d, (before, after), m) in enumerate(
        zip(size, window, *place.each(len(size)), pairs, place.outputs(size, window, pairs), strict=True)
    ):
        at = np.arange(m)[:, None] * s - before + np.arange(r) * d
        low, high = (-before, n + after) if pads_count else (0, n)
        total = total * ((at >= low) & (at < high)).sum(1).reshape([-1 if k == axis else 1 for k in range(len(size))])
    return total


@row("AveragePool")
def average_pool(node: Node) -> Run:
    """The mean of each window, over its elements of the input or, with count_include_pad, of the padding too."""
    place, window, count_pad = Placement(node), node.get("kernel_shape"), bool(node.get("count_include_pad", 0))

    def run(x: Any) -> Any:
        rank = x.ndim - 2
        stride, dilation = place.each(rank)
        size = x.shape[2:]
        pairs = place.pairs(size, window)
        if not place.ceil and set(dilation) == {1} and all(a == b <= r // 2 for (a, b), r in zip(pairs, window, strict=True)):
            pool = (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)[rank - 1]
            return pool(x, tuple(window), tuple(stride), tuple(a for a, _ in pairs), False, count_pad)
        counts = _counts(size, window, place, pairs, count_pad)
        total = _window_sum(x, window, stride, place.reach(size, window, pairs), dilation)
        return total * Tensor((1 / np.maximum(counts, 1)).astype(x.dtype))

    return run


def _root(total: Any, p: float) -> Any:
    """total ** (1 / p), with a gradient of 0 at 0."""
    if p == 1:
        return total
    positive = total > 0
    return where(positive, where(positive, total, 1.0) ** (1 / p), total * 0.0)


def _power(x: Any, p: float) -> Any:
    return x * x if p == 2 else x.abs() if p == 1 else x.abs() ** p


@row("LpPool")
def lp_pool(node: Node) -> Run:
    """The p-norm of each window."""
    place, window, p = Placement(node), node.get("kernel_shape"), node.get("p", 2)

    def run(x: Any) -> Any:
        stride, dilation = place.each(x.ndim - 2)
        pairs = place.reach(x.shape[2:], window, place.pairs(x.shape[2:], window))
        return _root(maximum(_window_sum(_power(x, p), window, stride, pairs, dilation), 0.0), p)

    return run


def _over_image(over: Callable) -> Run:
    return lambda x: over(x, tuple(range(2, x.ndim)), True)


@row("GlobalAveragePool")
def global_average_pool(node: Node) -> Run:
    """The mean of each channel."""
    return _over_image(reduce.mean)


@row("GlobalMaxPool")
def global_max_pool(node: Node) -> Run:
    """The greatest of each channel."""
    return _over_image(reduce.amax)


@row("GlobalLpPool")
def global_lp_pool(node: Node) -> Run:
    """The p-norm of each channel."""
    p = node.get("p", 2)
    return lambda x: _root(reduce.sum(_power(x, p), tuple(range(2, x.ndim)), True), p)
