"""Pooling in one to three dimensions: the largest or the mean number of a window."""

from __future__ import annotations

from collections.abc import Iterable

from convkit_kernels.geometry import each, window

from ...tensor import Tensor
from .. import functional as F
from ..module import Module

Numbers = int | Iterable[int]


class _MaxPool(Module):
    rank: int

    def __init__(
        self,
        kernel_size: Numbers,
        stride: Numbers | None = None,
        padding: Numbers = 0,
        dilation: Numbers = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
    ) -> None:
        super().__init__()
        _check(type(self).__name__, self.rank, kernel_size, stride, padding, dilation)
        self.kernel_size, self.stride = kernel_size, kernel_size if stride is None else stride
        self.padding, self.dilation, self.ceil_mode = padding, dilation, ceil_mode
        if return_indices:
            raise ValueError(f"{type(self).__name__}: return_indices must be False; convkit gives the numbers only")

    def forward(self, x: Tensor) -> Tensor:
        return _MAX[self.rank](x, self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode)

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, dilation={self.dilation}, ceil_mode={self.ceil_mode}"


class MaxPool2d(_MaxPool):
    """The largest number of each window: input [N, C, H, W] -> output [N, C, P, Q].

        P = (H + 2*padding - dilation*(R - 1) - 1) // stride + 1,   rounded up with ceil_mode;   Q likewise

    `stride` is the kernel size unless given.  The padding counts as minus infinity and is at most half the window.

    Raises:
        ValueError: numbers below their least value, padding above half the window, return_indices.

    >>> from convkit import nn, zeros
    >>> nn.MaxPool2d(2)(zeros(1, 8, 28, 28)).shape
    (1, 8, 14, 14)
    """

    rank = 2


class MaxPool1d(_MaxPool):
    """The largest number of each window of a sequence: input [N, C, L] -> output [N, C, P]; see `MaxPool2d`."""

    rank = 1


class MaxPool3d(_MaxPool):
    """The largest number of each window of a volume: input [N, C, D, H, W] -> output [N, C, O, P, Q]; see `MaxPool2d`."""

    rank = 3


class _AvgPool(Module):
    rank: int

    def __init__(
        self,
        kernel_size: Numbers,
        stride: Numbers | None = None,
        padding: Numbers = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> None:
        super().__init__()
        _check(type(self).__name__, self.rank, kernel_size, stride, padding, 1)
        self.kernel_size, self.stride = kernel_size, kernel_size if stride is None else stride
        self.padding, self.ceil_mode, self.count_include_pad = padding, ceil_mode, count_include_pad
        if divisor_override is not None and self.rank == 1:
            raise ValueError(f"{type(self).__name__}: divisor_override is for two and three dimensions, got {divisor_override}")
        self.divisor_override = divisor_override

    def forward(self, x: Tensor) -> Tensor:
        extra = () if self.divisor_override is None else (self.divisor_override,)
        return _AVG[self.rank](x, self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad, *extra)

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class AvgPool2d(_AvgPool):
    """The mean of each window: input [N, C, H, W] -> output [N, C, P, Q], sizes as in `MaxPool2d` with dilation 1.

    The padding is zeros; `count_include_pad=False` leaves them out of the mean.  `divisor_override` divides the sums instead of
    the number of elements.

    >>> from convkit import nn, tensor
    >>> nn.AvgPool2d(2)(tensor([[[[1.0, 2.0], [3.0, 6.0]]]])).item()
    3.0
    """

    rank = 2


class AvgPool1d(_AvgPool):
    """The mean of each window of a sequence: input [N, C, L] -> output [N, C, P]; see `AvgPool2d`."""

    rank = 1


class AvgPool3d(_AvgPool):
    """The mean of each window of a volume: input [N, C, D, H, W] -> output [N, C, O, P, Q]; see `AvgPool2d`."""

    rank = 3


class _AdaptiveAvgPool(Module):
    rank: int

    def __init__(self, output_size: Numbers) -> None:
        super().__init__()
        if not (isinstance(output_size, Iterable) and any(n is None for n in output_size)):
            each(type(self).__name__, "output_size", output_size, self.rank, 1)
        self.output_size = output_size

    def forward(self, x: Tensor) -> Tensor:
        return _ADAPTIVE[self.rank](x, self.output_size)

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"


class AdaptiveAvgPool2d(_AdaptiveAvgPool):
    """Average pooling to a given size: input [N, C, H, W] -> output [N, C, P, Q] with (P, Q) = output_size.

    output_size 1 is global average pooling: one number a channel, whatever the size of the image.  Otherwise P must
    divide H, and Q must divide W.

    M. Lin, Q. Chen, S. Yan, "Network in network", ICLR 2014, for global average pooling.

    >>> from convkit import nn, zeros
    >>> nn.AdaptiveAvgPool2d(1)(zeros(1, 8, 7, 9)).shape
    (1, 8, 1, 1)
    """

    rank = 2


class AdaptiveAvgPool1d(_AdaptiveAvgPool):
    """Average pooling to a given length: input [N, C, L] -> output [N, C, P]; see `AdaptiveAvgPool2d`."""

    rank = 1


class AdaptiveAvgPool3d(_AdaptiveAvgPool):
    """Average pooling to a given size: input [N, C, D, H, W] -> output [N, C, O, P, Q]; see `AdaptiveAvgPool2d`."""

    rank = 3


def _check(layer: str, rank: int, kernel_size: Numbers, stride: Numbers | None, padding: Numbers, dilation: Numbers) -> None:
    size = each(layer, "kernel_size", kernel_size, rank, 1)
    win = window(layer, size, size if stride is None else stride, each(layer, "padding", padding, rank, 0), dilation)
    if any(before > n // 2 for n, (before, _) in zip(size, win.padding, strict=True)):
        raise ValueError(f"{layer}: padding must be at most half the window, got padding {padding} and kernel_size {kernel_size}")


_MAX = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}
_AVG = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}
_ADAPTIVE = {1: F.adaptive_avg_pool1d, 2: F.adaptive_avg_pool2d, 3: F.adaptive_avg_pool3d}
