"""Locally connected layers: convolutions that do not share their weights, or only within regions."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from convkit_kernels.geometry import each, window

from ...tensor import Tensor
from .. import functional as F
from .. import init
from ..module import Module
from ..parameter import Parameter, new_parameter
from .checks import positive

Numbers = int | Iterable[int]


class _LocallyConnected(Module):
    rank: int
    weight: Parameter
    bias: Parameter | None

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        input_size: Numbers,
        kernel_size: Numbers,
        stride: Numbers = 1,
        padding: Any = 0,
        dilation: Numbers = 1,
        regions: Numbers | None = None,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        self.in_channels = positive(name, "in_channels", in_channels)
        self.out_channels = positive(name, "out_channels", out_channels)
        self.input_size = each(name, "input_size", input_size, self.rank, 1)
        self.kernel_size = each(name, "kernel_size", kernel_size, self.rank, 1)
        checked = window(name, self.kernel_size, stride, padding, dilation, inside=self.input_size)
        self.stride, self.padding, self.dilation = checked.stride, checked.padding, checked.dilation
        self.output_size = checked.output_size(self.input_size, name)
        self.regions = self.output_size if regions is None else each(name, "regions", regions, self.rank, 1)
        if any(r > o for r, o in zip(self.regions, self.output_size, strict=True)):
            raise ValueError(f"{name}: regions must be at most {list(self.output_size)}, the places of the output, got {list(self.regions)}")
        self.weight = new_parameter(name, (*self.regions, *self.kernel_size, in_channels, out_channels), device, dtype)
        self.register_parameter("bias", new_parameter(name, (*self.regions, out_channels), device, dtype) if bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weight and bias anew, uniform on +-1 / sqrt(in_channels * taps), as a convolution's."""
        bound = 1 / math.sqrt(self.in_channels * math.prod(self.kernel_size))
        for p in (self.weight, self.bias):
            if p is not None:
                init.uniform_(p, -bound, bound)

    def forward(self, input: Tensor) -> Tensor:
        if input.shape[-self.rank :] != self.input_size:
            raise ValueError(f"{type(self).__name__}: the layer is made for inputs of size {list(self.input_size)}, got shape {list(input.shape)}")
        return _LOCAL[self.rank](input, self.weight, self.bias, self.stride, self.padding, self.dilation)

    def extra_repr(self) -> str:
        parts = [f"{self.in_channels}, {self.out_channels}, input_size={self.input_size}, kernel_size={self.kernel_size}, stride={self.stride}"]
        if any(map(any, self.padding)):
            parts.append(f"padding={self.padding}")
        if any(d != 1 for d in self.dilation):
            parts.append(f"dilation={self.dilation}")
        if self.regions != self.output_size:
            parts.append(f"regions={self.regions}")
        if self.bias is None:
            parts.append("bias=False")
        return ", ".join(parts)


class LocallyConnected2d(_LocallyConnected):
    """A convolution that learns other weights for every place: input [N, C, H, W] -> output [N, K, P, Q].

    Args:
        in_channels, out_channels: C and K.
        input_size: H and W; it fixes the number of places, P x Q as for `Conv2d`, and so the number of weights.
        kernel_size, stride, padding, dilation: as for `Conv2d`.
        regions: cut the output into this grid, say (2, 2), of parts as equal as can be, and share weights within each; None shares nothing.
        bias: add one number a region and output channel.

    Parameters: weight [*regions, R, S, C, K] and bias [*regions, K], both uniform on +-1 / sqrt(C * R * S).

    Raises:
        ValueError: more regions than places, a window that does not fit, an input of another size.

    Y. Taigman, M. Yang, M. Ranzato, L. Wolf, "DeepFace: closing the gap to human-level performance in face verification", CVPR 2014.
    torch has no such layer; Keras 2 had, with the weights [P, Q, R*S*C, K].

    >>> from convkit import nn, zeros
    >>> layer = nn.LocallyConnected2d(3, 8, input_size=10, kernel_size=3)
    >>> layer(zeros(2, 3, 10, 10)).shape, layer.weight.shape
    ((2, 8, 8, 8), (8, 8, 3, 3, 3, 8))
    >>> nn.LocallyConnected2d(3, 8, 10, 3, regions=(2, 2)).weight.shape
    (2, 2, 3, 3, 3, 8)
    """

    rank = 2


class LocallyConnected1d(_LocallyConnected):
    """`LocallyConnected2d` for sequences [N, C, L]: weight [regions, R, C, K].

    >>> from convkit import nn, zeros
    >>> nn.LocallyConnected1d(2, 4, 9, 3, stride=2)(zeros(1, 2, 9)).shape
    (1, 4, 4)
    """

    rank = 1


class LocallyConnected3d(_LocallyConnected):
    """`LocallyConnected2d` for volumes [N, C, D, H, W]: weight [*regions, T, R, S, C, K].

    >>> from convkit import nn, zeros
    >>> nn.LocallyConnected3d(1, 2, (3, 4, 5), 2, regions=1)(zeros(1, 1, 3, 4, 5)).shape
    (1, 2, 2, 3, 4)
    """

    rank = 3


_LOCAL = {1: F.locally_connected1d, 2: F.locally_connected2d, 3: F.locally_connected3d}
