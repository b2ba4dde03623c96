"""Pooling in one to three dimensions: the largest or the mean number of a window, of a grid of windows, and of a whole image."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from ...ops import checks, pool
from ...tensor import Tensor
from ..module import Module

Numbers = int | Iterable[int]
Sizes = int | None | Sequence[int | None]


class _Windows(Module):
    """What layers with sliding windows share: the numbers, their checks, and how they are shown."""

    rank: int
    shown: tuple[str, ...] = ("kernel_size", "stride", "padding")

    def __init__(self, kernel_size: Numbers, stride: Numbers | None, padding: Numbers, dilation: Numbers = 1, ceil_mode: bool = False) -> None:
        super().__init__()
        pool.pool_window(type(self).__name__, self.rank, kernel_size, stride, padding, dilation, ceil_mode)
        self.kernel_size, self.stride = kernel_size, kernel_size if stride is None else stride
        self.padding, self.dilation, self.ceil_mode = padding, dilation, ceil_mode

    def extra_repr(self) -> str:
        return ", ".join(f"{name}={getattr(self, name)}" for name in self.shown)


class _MaxPool(_Windows):
    shown = ("kernel_size", "stride", "padding", "dilation", "ceil_mode")

    def __init__(
        self,
        kernel_size: Numbers,
        stride: Numbers | None = None,
        padding: Numbers = 0,
        dilation: Numbers = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
    ) -> None:
        super().__init__(kernel_size, stride, padding, dilation, ceil_mode)
        self.return_indices = return_indices

    def forward(self, input: Tensor) -> Any:
        return pool.max_pool(self.rank, input, self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode, self.return_indices)


class MaxPool2d(_MaxPool):
    """The largest number of each window: input [N, C, H, W] -> output [N, C, P, Q].

        P = (H + 2*padding - dilation*(R - 1) - 1) // stride + 1,   rounded up with ceil_mode;   Q likewise

    `stride` is the kernel size unless given.  The padding counts as minus infinity and is at most half of what the window covers.
    With `return_indices` the output is a pair: the numbers, and where each was, as h * W + w (int64), for `MaxUnpool2d`.

    Raises:
        ValueError: numbers below their least value, padding above half the window.

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


class _MaxUnpool(_Windows):
    def __init__(self, kernel_size: Numbers, stride: Numbers | None = None, padding: Numbers = 0) -> None:
        super().__init__(kernel_size, stride, padding)

    def forward(self, input: Tensor, indices: Tensor, output_size: Sequence[int] | None = None) -> Tensor:
        return pool.max_unpool(self.rank, input, indices, self.kernel_size, self.stride, self.padding, output_size)


class MaxUnpool2d(_MaxUnpool):
    """Numbers put back where `MaxPool2d` found them, zeros elsewhere: input and indices [N, C, P, Q] -> output [N, C, H, W].

        H = (P - 1) * stride - 2 * padding + R;   W likewise

    `output_size`, given to the call, says which of the sizes that pool to [P, Q] is meant.  See `nn.functional.max_unpool2d`.

    M. D. Zeiler, R. Fergus, "Visualizing and understanding convolutional networks", ECCV 2014.

    >>> from convkit import nn, tensor
    >>> x = tensor([[[[1.0, 2.0], [4.0, 3.0]]]])
    >>> nn.MaxUnpool2d(2)(*nn.MaxPool2d(2, return_indices=True)(x)).numpy()[0, 0].tolist()
    [[0.0, 0.0], [4.0, 0.0]]
    """

    rank = 2


class MaxUnpool1d(_MaxUnpool):
    """Numbers put back where `MaxPool1d` found them: input and indices [N, C, P] -> output [N, C, L]; see `MaxUnpool2d`."""

    rank = 1


class MaxUnpool3d(_MaxUnpool):
    """Numbers put back where `MaxPool3d` found them: input and indices [N, C, O, P, Q] -> output [N, C, D, H, W]; see `MaxUnpool2d`."""

    rank = 3


class _AvgPool(_Windows):
    def __init__(
        self,
        kernel_size: Numbers,
        stride: Numbers | None = None,
        padding: Numbers = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> None:
        super().__init__(kernel_size, stride, padding, 1, ceil_mode)
        if divisor_override is not None and self.rank == 1:
            raise ValueError(f"{type(self).__name__}: divisor_override is for two and three dimensions, got {divisor_override}")
        pool.divisor(type(self).__name__, divisor_override)
        self.count_include_pad, self.divisor_override = count_include_pad, divisor_override

    def forward(self, input: Tensor) -> Tensor:
        return pool.avg_pool(
            self.rank, input, self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad, self.divisor_override
        )


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


class _LPPool(_Windows):
    shown = ("norm_type", "kernel_size", "stride", "ceil_mode")

    def __init__(self, norm_type: float, kernel_size: Numbers, stride: Numbers | None = None, ceil_mode: bool = False) -> None:
        super().__init__(kernel_size, stride, 0, 1, ceil_mode)
        if norm_type == 0:
            raise ValueError(f"{type(self).__name__}: norm_type must be a number other than 0, got {norm_type}")
        self.norm_type = norm_type

    def forward(self, input: Tensor) -> Tensor:
        return pool.lp_pool(self.rank, input, self.norm_type, self.kernel_size, self.stride, self.ceil_mode)


class LPPool2d(_LPPool):
    """The p-norm of each window, (sum of x ** p) ** (1 / p) with p = norm_type: input [N, C, H, W] -> output [N, C, P, Q].

    Sizes as in `AvgPool2d`; see `nn.functional.lp_pool2d`.

    P. Sermanet, S. Chintala, Y. LeCun, "Convolutional neural networks applied to house numbers digit classification", ICPR 2012.

    >>> from convkit import nn, tensor
    >>> nn.LPPool2d(2, 2)(tensor([[[[1.0, 2.0], [2.0, 4.0]]]])).item()
    5.0
    """

    rank = 2


class LPPool1d(_LPPool):
    """The p-norm of each window of a sequence: input [N, C, L] -> output [N, C, P]; see `LPPool2d`."""

    rank = 1


class LPPool3d(_LPPool):
    """The p-norm of each window of a volume: input [N, C, D, H, W] -> output [N, C, O, P, Q]; see `LPPool2d`."""

    rank = 3


class _Adaptive(Module):
    """What layers with a grid of windows share."""

    rank: int

    def __init__(self, output_size: Sizes) -> None:
        super().__init__()
        pool.grid_size(type(self).__name__, self.rank, output_size)
        self.output_size = output_size

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"


class _AdaptiveAvgPool(_Adaptive):
    def forward(self, input: Tensor) -> Tensor:
        return pool.adaptive_avg_pool(self.rank, input, self.output_size)


class AdaptiveAvgPool2d(_AdaptiveAvgPool):
    """Average pooling to a given size: input [N, C, H, W] -> output [N, C, P, Q] with (P, Q) = output_size; None keeps a size.

    output_size 1 is global average pooling: one number a channel, whatever the size of the image.  Windows are as nearly equal as can
    be: output row p is the mean of the input rows floor(p * H / P) up to, not including, ceil((p + 1) * H / P).

    M. Lin, Q. Chen, S. Yan, "Network in network", ICLR 2014, for global average pooling.

    >>> from convkit import nn, zeros
    >>> nn.AdaptiveAvgPool2d(1)(zeros(1, 8, 7, 9)).shape
    (1, 8, 1, 1)
    >>> nn.AdaptiveAvgPool2d((5, None))(zeros(1, 8, 7, 9)).shape
    (1, 8, 5, 9)
    """

    rank = 2


class AdaptiveAvgPool1d(_AdaptiveAvgPool):
    """Average pooling to a given length: input [N, C, L] -> output [N, C, P]; see `AdaptiveAvgPool2d`."""

    rank = 1


class AdaptiveAvgPool3d(_AdaptiveAvgPool):
    """Average pooling to a given size: input [N, C, D, H, W] -> output [N, C, O, P, Q]; see `AdaptiveAvgPool2d`."""

    rank = 3


class _AdaptiveMaxPool(_Adaptive):
    def __init__(self, output_size: Sizes, return_indices: bool = False) -> None:
        super().__init__(output_size)
        self.return_indices = return_indices

    def forward(self, input: Tensor) -> Any:
        return pool.adaptive_max_pool(self.rank, input, self.output_size, self.return_indices)


class AdaptiveMaxPool2d(_AdaptiveMaxPool):
    """Max pooling to a given size, over the windows of `AdaptiveAvgPool2d`: input [N, C, H, W] -> output [N, C, P, Q].

    With `return_indices` the output is a pair, as in `MaxPool2d`.

    >>> from convkit import nn, zeros
    >>> nn.AdaptiveMaxPool2d((5, 3))(zeros(1, 8, 7, 9)).shape
    (1, 8, 5, 3)
    """

    rank = 2


class AdaptiveMaxPool1d(_AdaptiveMaxPool):
    """Max pooling to a given length: input [N, C, L] -> output [N, C, P]; see `AdaptiveMaxPool2d`."""

    rank = 1


class AdaptiveMaxPool3d(_AdaptiveMaxPool):
    """Max pooling to a given size: input [N, C, D, H, W] -> output [N, C, O, P, Q]; see `AdaptiveMaxPool2d`."""

    rank = 3


class _Global(Module):
    """What layers with one window, the whole image, share."""

    rank: int

    def __init__(self, flatten: bool = False) -> None:
        super().__init__()
        self.flatten = flatten

    def pool(self, x: Tensor) -> Tensor:
        """One number a channel, with spatial dimensions of size 1."""
        raise NotImplementedError(f"{type(self).__name__} needs a method pool")

    def forward(self, input: Tensor) -> Tensor:
        if checks.tensor(type(self).__name__, input).ndim != self.rank + 2:
            raise ValueError(f"{type(self).__name__}: input must be {self.rank + 2}-D, got shape {list(input.shape)}")
        return self.pool(input)

    def extra_repr(self) -> str:
        return f"flatten={self.flatten}"


class _GlobalAvgPool(_Global):
    def pool(self, x: Tensor) -> Tensor:
        return pool.global_avg_pool(x, self.flatten)


class GlobalAvgPool2d(_GlobalAvgPool):
    """The mean of each channel: input [N, C, H, W] -> output [N, C, 1, 1], or [N, C] with `flatten`.

    >>> from convkit import nn, tensor
    >>> nn.GlobalAvgPool2d(flatten=True)(tensor([[[[1.0, 2.0], [3.0, 6.0]]]])).numpy().tolist()
    [[3.0]]
    """

    rank = 2


class GlobalAvgPool1d(_GlobalAvgPool):
    """The mean of each channel of a sequence: input [N, C, L] -> output [N, C, 1] or [N, C]; see `GlobalAvgPool2d`."""

    rank = 1


class GlobalAvgPool3d(_GlobalAvgPool):
    """The mean of each channel of a volume: input [N, C, D, H, W] -> output [N, C, 1, 1, 1] or [N, C]; see `GlobalAvgPool2d`."""

    rank = 3


class _GlobalMaxPool(_Global):
    def pool(self, x: Tensor) -> Tensor:
        return pool.global_max_pool(x, self.flatten)


class GlobalMaxPool2d(_GlobalMaxPool):
    """The largest number of each channel: input [N, C, H, W] -> output [N, C, 1, 1], or [N, C] with `flatten`.

    >>> from convkit import nn, tensor
    >>> nn.GlobalMaxPool2d(flatten=True)(tensor([[[[1.0, 2.0], [3.0, 6.0]]]])).numpy().tolist()
    [[6.0]]
    """

    rank = 2


class GlobalMaxPool1d(_GlobalMaxPool):
    """The largest number of each channel of a sequence: input [N, C, L] -> output [N, C, 1] or [N, C]; see `GlobalMaxPool2d`."""

    rank = 1


class GlobalMaxPool3d(_GlobalMaxPool):
    """The largest number of each channel of a volume: input [N, C, D, H, W] -> output [N, C, 1, 1, 1] or [N, C]; see `GlobalMaxPool2d`."""

    rank = 3
