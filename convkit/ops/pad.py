"""Padding: a frame of one number, of the reflected image, of its edge, or of its other side."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from convkit_kernels import tables
from convkit_kernels.layout import order_of

from ..autograd import Function, TensorBase
from . import checks
from .resample import Resample, taken
from .shape import filled

MODES = ("constant", "reflect", "replicate", "circular")


class Pad(Function):
    """A constant around x; `pads` is one (before, after) pair a dimension."""

    @staticmethod
    def forward(ctx, x, pads, value):
        ctx.inside = tuple(slice(a, a + n) for n, (a, _) in zip(x.shape, pads, strict=True))
        shape = tuple(n + a + b for n, (a, b) in zip(x.shape, pads, strict=True))
        order = order_of(x) or ()
        if len(order) == x.ndim:
            y = filled(tuple(shape[i] for i in order), value, x).transpose(np.argsort(order))
        else:
            y = filled(shape, value, x)
        y[ctx.inside] = x
        return y

    @staticmethod
    def backward(ctx, gy):
        return gy[ctx.inside], None, None


def pad(input: Any, pad: Sequence[int], mode: str = "constant", value: float | None = None) -> Any:
    """`input` with a frame of pad = (before, after) numbers for the last dimension, then (before, after) for the one before it, and so on.

    `mode` says what the frame is made of, and negative numbers crop:

        'constant'    `value`, 0 unless given, around any of the dimensions
        'reflect'     d c b | a b c d | c b a      the image mirrored at its edge; less than its size on each side
        'replicate'   a a a | a b c d | d d d      the edge repeated
        'circular'    b c d | a b c d | a b c      the other side; at most its size (after cropping) on each side

    All but 'constant' take the last 1, 2 or 3 dimensions of an input [N, C, *] or [C, *].  The memory order stays as it is.
    ValueError for sizes that do not fit, for an unknown mode, and for a value where the mode takes none.

    >>> import convkit
    >>> pad(convkit.tensor([[1.0, 2.0, 3.0]]), (1, 2)).tolist()
    [[0.0, 1.0, 2.0, 3.0, 0.0, 0.0]]
    >>> pad(convkit.tensor([[1.0, 2.0, 3.0]]), (1, 2), mode="reflect").tolist()
    [[2.0, 1.0, 2.0, 3.0, 2.0, 1.0]]
    """
    checks.tensor("pad", input)
    if mode not in MODES:
        raise ValueError(f"pad: mode must be {', '.join(map(repr, MODES[:-1]))} or {MODES[-1]!r}, got {mode!r}")
    numbers = _ints(pad)
    x: Any = input
    shape = x.array.shape
    if len(numbers) % 2 or len(numbers) > 2 * len(shape):
        raise ValueError(f"pad: needs (before, after) for at most {len(shape)} dimensions, got {numbers}")
    pairs = [(0, 0)] * (len(shape) - len(numbers) // 2) + [(numbers[i], numbers[i + 1]) for i in range(len(numbers) - 2, -1, -2)]
    if mode != "constant":
        if value:
            raise ValueError(f"pad: mode {mode!r} takes no value, got {value!r}")
        return _resampled(x, numbers, pairs, mode)
    if any(n + min(a, 0) + min(b, 0) < 0 for n, (a, b) in zip(shape, pairs, strict=True)):
        raise ValueError(f"pad: {numbers} crops more than shape {list(shape)} has")
    if any(a < 0 or b < 0 for a, b in pairs):
        x = x[tuple(slice(max(0, -a), n - max(0, -b)) for n, (a, b) in zip(shape, pairs, strict=True))]
        pairs = [(max(a, 0), max(b, 0)) for a, b in pairs]
        if not any(map(any, pairs)):
            return x.clone()
    value = 0.0 if value is None else checks.number("pad", "value", value)
    if x.array.dtype.kind in "iu" and not math.isfinite(value):
        raise ValueError(f"pad: {value} is no {input.array.dtype}")
    return Pad.apply(x, tuple(pairs), value)


def _ints(pad: Any) -> list[int]:
    try:
        return [operator.index(n) for n in pad]
    except TypeError:
        raise TypeError(f"pad: pad must be a sequence of ints, got {pad!r}") from None


def _resampled(x: Any, numbers: list[int], pairs: list[tuple[int, int]], mode: str) -> Any:
    shape = x.array.shape
    rank = len(numbers) // 2
    if rank not in (1, 2, 3) or len(shape) not in (rank + 1, rank + 2):
        raise ValueError(
            f"pad: mode {mode!r} pads the last 1, 2 or 3 dimensions of an input [N, C, *] or [C, *], got {numbers} for shape {list(shape)}"
        )
    # torch refuses reflections of nothing; wrapping nothing around is fine as long as no wrapped dimension is empty.
    batch = len(shape) == rank + 2
    if mode != "circular" and 0 in shape[batch:]:
        raise ValueError(f"pad: mode {mode!r} needs an input whose sizes, but for the batch's, are not 0, got {list(shape)}")
    for n, (before, after) in zip(shape[-rank:], pairs[-rank:], strict=True):
        kept = n + min(before, 0) + min(after, 0)
        if n + before + after < (0 if mode == "circular" else 1):
            raise ValueError(f"pad: {numbers} leaves {n + before + after} of a dimension of size {n}, input {list(shape)}")
        if mode == "reflect" and max(before, after) >= n:
            raise ValueError(f"pad: reflection needs less than the dimension's size {n} on each side, got {numbers} for input {list(shape)}")
        if mode == "circular" and max(before, after) > max(kept, 0):
            raise ValueError(f"pad: wrapping around needs at most the dimension's size {kept} on each side, got {numbers} for input {list(shape)}")
    if not any(map(any, pairs)):
        return x.clone()
    walk = tuple(tables.padding(mode, n, *p) if any(p) else None for n, p in zip(shape, pairs, strict=True))
    if x.array.dtype.kind != "f":
        return TensorBase.result(taken(x.array, walk))
    if len(shape) == rank + 1:  # [C, *]: memory order is told by shapes [N, C, *]
        return Resample.apply(x.unsqueeze(0), (None, *walk)).squeeze(0)
    return Resample.apply(x, walk)
