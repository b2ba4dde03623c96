"""Sizes of windows, written once for every backend.

A convolution or pooling slides a window over an input.  For each spatial dimension, with padding
(before, after), a window of R elements spaced `dilation` apart and a step of `stride`:

    span   = dilation * (R - 1) + 1                       what the window covers
    output = (input + before + after - span) // stride + 1

(Dumoulin and Visin, "A guide to convolution arithmetic for deep learning", 2016.)  The same
arithmetic read backwards gives the size of a transposed convolution:

    input  = (output - 1) * stride + span - before - after + output_padding

Kernels see three spatial dimensions always: a 1-D or 2-D window has leading dimensions of size 1.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

MAX_RANK = 3
LARGEST = 2**31 - 1  # size, stride, padding or dilation: sums of products of some stay within 64 bits
Triple = tuple[int, int, int]


@dataclass(frozen=True)
class Window:
    """A sliding window: its size, stride, padding (before, after), dilation, and the channel groups it sees.

    Every tuple has `rank` entries, in the order of the spatial dimensions (depth, height, width).
    Build one with `window()`, which checks the numbers; the kernels trust it.
    """

    size: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]
    dilation: tuple[int, ...]
    groups: int = 1
    ceil_mode: bool = False

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def _hash(self) -> int:  # every call looks its window up in some table
        return hash((self.size, self.stride, self.padding, self.dilation, self.groups, self.ceil_mode))

    @property
    def rank(self) -> int:
        """Number of spatial dimensions, 1 to 3."""
        return len(self.size)

    @cached_property
    def span(self) -> tuple[int, ...]:
        """What the window covers in each dimension, holes included."""
        return tuple(d * (r - 1) + 1 for r, d in zip(self.size, self.dilation, strict=True))

    @cached_property
    def pointwise(self) -> bool:
        """One tap, every pixel, all channels: a product of matrices?"""
        return self.groups == 1 and set(self.size) == {1} and set(self.stride) == {1} and not any(map(any, self.padding))

    @cached_property
    def canonical(self) -> tuple[Triple, Triple, tuple[tuple[int, int], ...], Triple]:
        """(size, stride, padding, dilation) with leading dimensions of size 1 up to three."""
        extra = MAX_RANK - self.rank
        one = (1,) * extra
        return one + self.size, one + self.stride, ((0, 0),) * extra + self.padding, one + self.dilation  # type: ignore[return-value]

    def output_size(self, input_size: Sequence[int], op: str = "window") -> tuple[int, ...]:
        """Spatial size of the output for an input of spatial size `input_size`; ValueError where the window does not fit."""
        out = []
        for i, span, stride, (before, after) in zip(input_size, self.span, self.stride, self.padding, strict=True):
            padded = i + before + after
            if padded < span:
                raise ValueError(
                    f"{op}: the window covers {list(self.span)} (kernel {list(self.size)}, dilation {list(self.dilation)}) "
                    f"but the padded input is only {[n + a + b for n, (a, b) in zip(input_size, self.padding, strict=True)]}"
                )
            steps, rest = divmod(padded - span, stride)
            # ceil_mode adds a last window that starts inside the input or its leading padding, as torch does.
            if self.ceil_mode and rest and (steps + 1) * stride < i + before:
                steps += 1
            out.append(steps + 1)
        return tuple(out)

    def places(self, axis: int, input_size: int, output_size: int) -> tuple[list[int], list[int], int]:
        """(start, number, step) of the windows along `axis`: window o lies on start[o] + r * step for r < number[o], the padding included."""
        stride, before = self.stride[axis], self.padding[axis][0]
        return [o * stride - before for o in range(output_size)], [self.size[axis]] * output_size, self.dilation[axis]

    def input_size(self, output_size: Sequence[int], output_padding: Sequence[int] | None = None) -> tuple[int, ...]:
        """Spatial size of the input that gives `output_size`: the output size of a transposed convolution."""
        extra = output_padding or (0,) * self.rank
        return tuple(
            (o - 1) * stride + span - before - after + e
            for o, stride, span, (before, after), e in zip(output_size, self.stride, self.span, self.padding, extra, strict=True)
        )


@dataclass(frozen=True)
class Grid:
    """Adaptive windows: along each dimension `output` windows that cover the input, each as nearly equal to the others as can be.

        window o:  floor(o * input / output)  up to, not including,  ceil((o + 1) * input / output)

    Neighbours share an element where `output` does not divide the input.  Pooling takes a grid wherever it takes a `Window`.
    """

    output: tuple[int, ...]

    @property
    def rank(self) -> int:
        """Number of spatial dimensions, 1 to 3."""
        return len(self.output)

    def output_size(self, input_size: Sequence[int], op: str = "grid") -> tuple[int, ...]:
        """The spatial size of the output, whatever that of the input."""
        return self.output

    def places(self, axis: int, input_size: int, output_size: int) -> tuple[list[int], list[int], int]:
        """(start, number, step) of the windows along `axis`, as `Window.places`."""
        start = [o * input_size // output_size for o in range(output_size)]
        stop = [-(-(o + 1) * input_size // output_size) for o in range(output_size)]
        return start, [b - a for a, b in zip(start, stop, strict=True)], 1


def window(
    op: str,
    size: Sequence[int],
    stride: int | Iterable[int] = 1,
    padding: int | str | Iterable[int | tuple[int, int]] = 0,
    dilation: int | Iterable[int] = 1,
    groups: int = 1,
    ceil_mode: bool = False,
    inside: Sequence[int] | None = None,
) -> Window:
    """A checked `Window`; an int stands for the same number in every dimension.

    `padding` is an int, one int a dimension, one (before, after) pair a dimension, 'valid' (none) or 'same':
    output size = ceil(input size / stride); an odd total puts the extra element after.  With a stride above 1 the padding
    depends on the input's spatial size, `inside`.  `op` names the operation in errors.

    >>> window("conv2d", (3, 3), padding=1).output_size((28, 28))
    (28, 28)
    """
    rank = len(size)
    size = each(op, "kernel_size", size, rank, 1)
    stride = each(op, "stride", stride, rank, 1)
    dilation = each(op, "dilation", dilation, rank, 1)
    if not isinstance(groups, int) or isinstance(groups, bool):
        raise TypeError(f"{op}: groups must be an int, got {groups!r}")
    if groups < 1:
        raise ValueError(f"{op}: groups must be at least 1, got {groups}")
    pairs: tuple[tuple[int, int], ...]
    if isinstance(padding, str):
        if padding == "valid":
            pairs = ((0, 0),) * rank
        elif padding == "same":
            if inside is None and any(s != 1 for s in stride):
                raise ValueError(f"{op}: padding='same' with stride {list(stride)} follows from the size of the input; pass the padding as numbers")
            # Of n elements the output has ceil(n / s), whose windows cover (ceil(n / s) - 1) * s + span; for stride 1 that is n + span - 1.
            total = [max(0, (-(-n // s) - 1) * s + d * (r - 1) + 1 - n) for n, s, r, d in zip(inside or size, stride, size, dilation, strict=True)]
            pairs = tuple((t // 2, t - t // 2) for t in total)
        else:
            raise ValueError(f"{op}: padding must be 'valid', 'same' or numbers, got {padding!r}")
    else:
        pairs = _pairs(op, padding, rank)
    return _window(size, stride, pairs, dilation, groups, ceil_mode)


_window = functools.lru_cache(maxsize=1024)(Window)  # equal windows are one, so that what follows from them is computed once


def several(value: Any) -> bool:
    """Is it a sequence of numbers, and no number, also as an array or tensor without dimensions?"""
    return type(value) is not int and isinstance(value, Iterable) and getattr(value, "ndim", None) != 0


def each(op: str, name: str, value: int | Iterable[int], rank: int, least: int) -> tuple[int, ...]:
    """`value` as one int a dimension, each at least `least`; TypeError or ValueError naming `op` and `name` otherwise."""
    given: Any = value if type(value) is tuple else (value,) * rank
    if len(given) == rank:  # mostly: nothing to convert and nothing to say
        for v in given:
            if type(v) is not int or not least <= v <= LARGEST:
                break
        else:
            return given
    try:
        values: tuple[Any, ...] = tuple(value) if several(value) else (value,) * rank  # type: ignore[arg-type]
        # bool is an int to Python, but `stride=True` is a mistake; NumPy integers are fine.
        ints = tuple(int(v.__index__()) for v in values if not isinstance(v, bool))
    except (AttributeError, TypeError):
        raise TypeError(f"{op}: {name} must be an int or {rank} ints, got {value!r}") from None
    if len(ints) != len(values):
        raise TypeError(f"{op}: {name} must be an int or {rank} ints, got {value!r}")
    if len(ints) == 1:
        ints = ints * rank
    if len(ints) != rank:
        raise ValueError(f"{op}: {name} needs {rank} numbers, one a dimension, got {list(ints)}")
    if any(v < least for v in ints):
        raise ValueError(f"{op}: {name} must be at least {least}, got {list(ints)}")
    if any(v > LARGEST for v in ints):
        raise ValueError(f"{op}: {name} must be at most {LARGEST}, got {list(ints)}")
    return ints


def fits(op: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    """`shape` itself; ValueError if no memory could hold so many elements."""
    if math.prod(shape) > 2**59:  # of 16 bytes at most
        raise ValueError(f"{op}: an array of shape {list(shape)} has more elements than memory has addresses")
    return shape


def _pairs(op: str, padding: int | Iterable, rank: int) -> tuple[tuple[int, int], ...]:
    if several(padding):
        values: tuple[Any, ...] = tuple(padding)  # type: ignore[arg-type]
        if values and type(values[0]) is not int and all(isinstance(v, Iterable) for v in values):
            if len(values) != rank:
                raise ValueError(f"{op}: padding needs {rank} (before, after) pairs, got {list(values)}")
            return tuple(each(op, "padding", v, 2, 0) for v in values)  # type: ignore[misc]
        padding = values
    return tuple([(p, p) for p in each(op, "padding", padding, rank, 0)])


@functools.lru_cache(maxsize=1024)
def conv_shapes(op: str, x: tuple[int, ...], w: tuple[int, ...], b: tuple[int, ...] | None, win: Window) -> tuple[int, ...]:
    """Output shape [N, K, *out] of a convolution of x [N, C, *in] with w [K, C/groups, *window]; ValueError where they do not fit."""
    if len(x) != win.rank + 2:
        raise ValueError(f"{op}: input must be {win.rank + 2}-D [N, C, {_axes(win.rank)}], got shape {list(x)}")
    if w[0] % win.groups or not w[0]:
        raise ValueError(f"{op}: weight {list(w)} has {w[0]} output channels, not a positive multiple of groups={win.groups}")
    if x[1] != w[1] * win.groups:
        raise ValueError(f"{op}: input has {x[1]} channels but weight {list(w)} with groups={win.groups} needs {w[1] * win.groups}")
    if b is not None and b != (w[0],):
        raise ValueError(f"{op}: bias must have shape [{w[0]}], one number an output channel, got {list(b)}")
    return fits(op, (x[0], w[0], *win.output_size(x[2:], op)))


def conv_transpose_shapes(
    op: str, x: tuple[int, ...], w: tuple[int, ...], b: tuple[int, ...] | None, win: Window, output_padding: tuple[int, ...]
) -> tuple[int, ...]:
    """Output shape [N, K, *out] of a transposed convolution of x [N, C, *in] with w [C, K/groups, *window]."""
    if len(x) != win.rank + 2:
        raise ValueError(f"{op}: input must be {win.rank + 2}-D [N, C, {_axes(win.rank)}], got shape {list(x)}")
    if w[0] % win.groups or not w[0]:
        raise ValueError(f"{op}: weight {list(w)} has {w[0]} input channels, not a positive multiple of groups={win.groups}")
    if x[1] != w[0]:
        raise ValueError(f"{op}: input has {x[1]} channels but weight {list(w)} needs {w[0]}")
    channels = w[1] * win.groups
    if b is not None and b != (channels,):
        raise ValueError(f"{op}: bias must have shape [{channels}], one number an output channel, got {list(b)}")
    check_output_padding(op, output_padding, win)
    out = win.input_size(x[2:], output_padding)
    if any(o < 1 for o in out):
        raise ValueError(
            f"{op}: the output would have size {list(out)}: input {list(x[2:])}, kernel {list(win.size)}, "
            f"stride {list(win.stride)}, padding {[list(p) for p in win.padding]}"
        )
    return fits(op, (x[0], channels, *out))


def check_output_padding(op: str, output_padding: tuple[int, ...], win: Window) -> None:
    """ValueError unless each output_padding is smaller than the stride or the dilation of its dimension."""
    for e, s, d in zip(output_padding, win.stride, win.dilation, strict=True):
        if e >= max(s, d):
            raise ValueError(
                f"{op}: output_padding must be smaller than stride or dilation, got output_padding {list(output_padding)}, "
                f"stride {list(win.stride)}, dilation {list(win.dilation)}"
            )


def output_padding_for(op: str, wanted: Sequence[int], input_size: Sequence[int], win: Window) -> tuple[int, ...]:
    """The output_padding that makes a transposed convolution of an input of spatial `input_size` give the size `wanted`.

    A convolution with stride s maps s sizes in a row to the same size; any of them may be wanted, no other: ValueError with the arithmetic.
    """
    least = win.input_size(input_size)
    extra = tuple(w - n for w, n in zip(wanted, least, strict=True))
    if all(0 <= e < s for e, s in zip(extra, win.stride, strict=True)):
        return extra
    told = [
        f"{axis}: ({i} - 1)*{s} + {d}*({r} - 1) + 1 - {before} - {after} = {n}, so {n} to {n + s - 1} can be asked for, got {w}"
        for axis, i, s, d, r, (before, after), n, w in zip(
            _axes(win.rank).split(", "), input_size, win.stride, win.dilation, win.size, win.padding, least, wanted, strict=True
        )
    ]
    raise ValueError(
        f"{op}: output_size {list(wanted)} is out of reach: (input - 1)*stride + dilation*(kernel - 1) + 1 - padding before - after, "
        f"and up to stride - 1 more, is for {'; '.join(told)}"
    )


def local_shapes(op: str, x: tuple[int, ...], w: tuple[int, ...], b: tuple[int, ...] | None, win: Window) -> tuple[int, ...]:
    """Output shape [N, K, *out] of a locally connected layer of x [N, C, *in] with w [*regions, *window, C, K] and b [*regions, K]."""
    if len(x) != win.rank + 2:
        raise ValueError(f"{op}: input must be {win.rank + 2}-D [N, C, {_axes(win.rank)}], got shape {list(x)}")
    if x[1] != w[-2]:
        raise ValueError(f"{op}: input has {x[1]} channels but weight {list(w)} needs {w[-2]}")
    regions = w[: win.rank]
    out = win.output_size(x[2:], op)
    if any(not 1 <= r <= o for r, o in zip(regions, out, strict=True)):
        raise ValueError(f"{op}: weight {list(w)} has {list(regions)} regions, of 1 to {list(out)}, the places of the output")
    if b is not None and b != (*regions, w[-1]):
        raise ValueError(f"{op}: bias must have shape {[*regions, w[-1]]}, one number a region and output channel, got {list(b)}")
    return (x[0], w[-1], *out)


def unfold_shapes(op: str, x: tuple[int, ...], win: Window) -> tuple[int, ...]:
    """Shape [N, C * taps, places] of the windows of x [N, C, *in] side by side."""
    if len(x) != win.rank + 2:
        raise ValueError(f"{op}: input must be {win.rank + 2}-D [N, C, {_axes(win.rank)}] or without N, got shape {list(x)}")
    if 0 in x[1:]:
        raise ValueError(f"{op}: only N may be 0, got shape {list(x)}")
    return (x[0], x[1] * math.prod(win.size), math.prod(win.output_size(x[2:], op)))


def fold_shapes(op: str, y: tuple[int, ...], size: tuple[int, ...], win: Window) -> tuple[int, ...]:
    """Shape [N, C, *size] of the image that columns y [N, C * taps, places] are added up to."""
    if len(y) != 3:
        raise ValueError(f"{op}: input must be 3-D [N, C * taps, places] or without N, got shape {list(y)}")
    taps = math.prod(win.size)
    if y[1] % taps or not y[1]:
        raise ValueError(f"{op}: input {list(y)} has {y[1]} rows, not a positive multiple of the {taps} taps of kernel_size {list(win.size)}")
    out = win.output_size(size, op)
    if y[2] != math.prod(out):
        raise ValueError(f"{op}: the window has {list(out)} = {math.prod(out)} places in output_size {list(size)}, but input {list(y)} has {y[2]}")
    return (y[0], y[1] // taps, *size)


@functools.lru_cache(maxsize=1024)
def pooled_size(op: str, inside: tuple[int, ...], win: Window) -> tuple[int, ...]:
    """Spatial size of what a pooling makes of an input of spatial size `inside`; ValueError where the window does not fit."""
    return win.output_size(inside, op)


@functools.lru_cache(maxsize=1024)
def pool_padding(op: str, win: Window) -> None:
    """ValueError unless the padding is at most half of what the window covers, holes included."""
    if any(max(pads) > span // 2 for span, pads in zip(win.span, win.padding, strict=True)):
        given = [list(p) for p in win.padding]
        raise ValueError(f"{op}: padding must be at most half the window, got padding {given} and window {list(win.span)}")


def _axes(rank: int) -> str:
    return ", ".join("DHW"[3 - rank :])
