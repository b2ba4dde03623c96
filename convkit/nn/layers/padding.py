"""Padding layers in one to three dimensions: a frame of a constant, of zeros, of the mirrored image, of its edge or of its other side."""

from __future__ import annotations

from collections.abc import Iterable

from convkit_kernels.geometry import each, several

from ...ops import checks
from ...tensor import Tensor
from .. import functional as F
from ..module import Module

Numbers = int | Iterable[int]


class _Padding(Module):
    """`padding` is one number for all sides, or (before, after) for the last dimension, then for the one before it, and so on."""

    rank: int
    mode = "constant"
    value: float = 0.0

    def __init__(self, padding: Numbers) -> None:
        super().__init__()
        name = type(self).__name__
        ints = each(name, "padding", padding, 2 * self.rank, -(2**62))
        if several(padding) and len(tuple(padding)) != 2 * self.rank:  # type: ignore[arg-type]
            raise ValueError(f"{name}: padding needs {2 * self.rank} numbers, (before, after) for each dimension, the last one first, got {padding}")
        self.padding = ints

    def forward(self, input: Tensor) -> Tensor:
        if input.ndim not in (self.rank + 1, self.rank + 2) and self.mode != "constant":
            raise ValueError(f"{type(self).__name__}: input must be {self.rank + 1}-D or {self.rank + 2}-D, got shape {list(input.shape)}")
        return F.pad(input, self.padding, self.mode, self.value)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class _ConstantPad(_Padding):
    def __init__(self, padding: Numbers, value: float) -> None:
        super().__init__(padding)
        self.value = checks.number(type(self).__name__, "value", value)

    def extra_repr(self) -> str:
        return f"padding={self.padding}, value={self.value}"


class ConstantPad2d(_ConstantPad):
    """`value` around the last two dimensions: input [..., H, W] -> output [..., top + H + bottom, left + W + right].

    `padding` is one number or (left, right, top, bottom); negative numbers crop.

    >>> from convkit import nn, zeros
    >>> nn.ConstantPad2d((1, 0, 0, 0), 7.0)(zeros(1, 1, 1, 2)).tolist()
    [[[[7.0, 0.0, 0.0]]]]
    """

    rank = 2


class ConstantPad1d(_ConstantPad):
    """`value` around the last dimension: input [..., L] -> output [..., left + L + right]; see `ConstantPad2d`."""

    rank = 1


class ConstantPad3d(_ConstantPad):
    """`value` around the last three dimensions, padding (left, right, top, bottom, front, back); see `ConstantPad2d`."""

    rank = 3


class ZeroPad2d(_Padding):
    """Zeros around the last two dimensions: input [..., H, W]; `padding` as in `ConstantPad2d`.

    >>> from convkit import nn, ones
    >>> nn.ZeroPad2d(1)(ones(1, 1, 1, 1)).sum((0, 1)).tolist()
    [[0.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 0.0]]
    """

    rank = 2


class ZeroPad1d(_Padding):
    """Zeros around the last dimension; see `ZeroPad2d`."""

    rank = 1


class ZeroPad3d(_Padding):
    """Zeros around the last three dimensions; see `ZeroPad2d`."""

    rank = 3


class ReflectionPad2d(_Padding):
    """The image mirrored at its edges, which are not repeated: input [N, C, H, W] or [C, H, W]; each side less than H or W.

    `padding` is one number or (left, right, top, bottom).

    >>> from convkit import nn, arange
    >>> nn.ReflectionPad2d((2, 1, 0, 0))(arange(3.0).reshape(1, 1, 1, 3)).tolist()
    [[[[2.0, 1.0, 0.0, 1.0, 2.0, 1.0]]]]
    """

    rank, mode = 2, "reflect"


class ReflectionPad1d(_Padding):
    """A sequence mirrored at its ends: input [N, C, L] or [C, L]; see `ReflectionPad2d`."""

    rank, mode = 1, "reflect"


class ReflectionPad3d(_Padding):
    """A volume mirrored at its faces: input [N, C, D, H, W] or [C, D, H, W]; see `ReflectionPad2d`."""

    rank, mode = 3, "reflect"


class ReplicationPad2d(_Padding):
    """The edge of the image repeated: input [N, C, H, W] or [C, H, W]; `padding` is one number or (left, right, top, bottom).

    >>> from convkit import nn, arange
    >>> nn.ReplicationPad2d((2, 1, 0, 0))(arange(3.0).reshape(1, 1, 1, 3)).tolist()
    [[[[0.0, 0.0, 0.0, 1.0, 2.0, 2.0]]]]
    """

    rank, mode = 2, "replicate"


class ReplicationPad1d(_Padding):
    """The ends of a sequence repeated: input [N, C, L] or [C, L]; see `ReplicationPad2d`."""

    rank, mode = 1, "replicate"


class ReplicationPad3d(_Padding):
    """The faces of a volume repeated: input [N, C, D, H, W] or [C, D, H, W]; see `ReplicationPad2d`."""

    rank, mode = 3, "replicate"


class CircularPad2d(_Padding):
    """The image continued by its other side: input [N, C, H, W] or [C, H, W]; each side at most H or W.

    `padding` is one number or (left, right, top, bottom).

    >>> from convkit import nn, arange
    >>> nn.CircularPad2d((2, 1, 0, 0))(arange(3.0).reshape(1, 1, 1, 3)).tolist()
    [[[[1.0, 2.0, 0.0, 1.0, 2.0, 0.0]]]]
    """

    rank, mode = 2, "circular"


class CircularPad1d(_Padding):
    """A sequence continued by its other end: input [N, C, L] or [C, L]; see `CircularPad2d`."""

    rank, mode = 1, "circular"


class CircularPad3d(_Padding):
    """A volume continued by its other side: input [N, C, D, H, W] or [C, D, H, W]; see `CircularPad2d`."""

    rank, mode = 3, "circular"
