"""Convolutions, transposed and depthwise-separable ones in one to three dimensions: one class each, the rank is a number."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from convkit_kernels.geometry import Window, check_output_padding, each, output_padding_for, window

from ...ops.conv import conv
from ...tensor import Tensor
from .. import functional as F
from .. import init
from ..module import Module
from ..parameter import Parameter, new_parameter
from .checks import positive

Numbers = int | Iterable[int]


PADDING_MODES = ("zeros", "reflect", "replicate", "circular")


class _Conv(Module):
    """All convolutions: their numbers, their weights, and how these start."""

    rank: int
    transposed = False
    weight: Parameter
    bias: Parameter | None

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Numbers,
        stride: Numbers = 1,
        padding: Any = 0,
        dilation: Numbers = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        size = each(name, "kernel_size", kernel_size, self.rank, 1)
        # What 'same' pads follows from the input; here it is only a word.
        checked = window(name, size, stride, "valid" if isinstance(padding, str) and padding == "same" else padding, dilation, groups)
        self.in_channels = positive(name, "in_channels", in_channels)
        self.out_channels = positive(name, "out_channels", out_channels)
        for what, channels in (("in_channels", in_channels), ("out_channels", out_channels)):
            if channels % groups:
                raise ValueError(f"{name}: {what} must be divisible by groups, got {channels} and groups={groups}")
        modes = PADDING_MODES[:1] if self.transposed else PADDING_MODES
        if padding_mode not in modes:
            raise ValueError(f"{name}: padding_mode must be {' or '.join(map(repr, modes))}, got {padding_mode!r}")
        self.kernel_size, self.stride, self.dilation, self.groups = size, checked.stride, checked.dilation, groups
        self.padding: Any = padding
        if not isinstance(padding, str):
            even = all(before == after for before, after in checked.padding)
            self.padding = tuple(before for before, _ in checked.padding) if even else checked.padding
        self.padding_mode = padding_mode
        ends = (in_channels, out_channels // groups) if self.transposed else (out_channels, in_channels // groups)
        self.weight = new_parameter(name, (*ends, *size), device, dtype)
        self.register_parameter("bias", new_parameter(name, (out_channels,), device, dtype) if bias else None)
        self.reset_parameters()

    def forward(self, input: Tensor) -> Tensor:
        padding = self.padding
        if self.padding_mode != "zeros":
            input, padding = self._framed(input), 0
        return conv(self.rank, input, self.weight, self.bias, self.stride, padding, self.dilation, self.groups)

    def _framed(self, x: Tensor) -> Tensor:
        """x with the frame of `padding_mode` around it."""
        pairs = window(type(self).__name__, self.kernel_size, self.stride, self.padding, self.dilation, inside=x.shape[-self.rank :]).padding
        return F.pad(x, [n for pair in reversed(pairs) for n in pair], mode=self.padding_mode) if any(map(any, pairs)) else x

    def reset_parameters(self) -> None:
        """Draw weight and bias anew, uniform on +-1 / sqrt(fan_in)."""
        init.reset_like_torch(self.weight, self.bias)

    def extra_repr(self) -> str:
        parts = [f"{self.in_channels}, {self.out_channels}", f"kernel_size={self.kernel_size}", f"stride={self.stride}"]
        defaults = {"padding": (0,) * self.rank, "output_padding": (0,) * self.rank, "dilation": (1,) * self.rank, "groups": 1}
        for name, default in defaults.items():
            value = getattr(self, name, default)
            if value != default:
                parts.append(f"{name}={value}")
        if self.bias is None:
            parts.append("bias=False")
        if self.padding_mode != "zeros":
            parts.append(f"padding_mode={self.padding_mode}")
        return ", ".join(parts)


class Conv2d(_Conv):
    """2-D convolution (cross-correlation) of images: input [N, C, H, W] -> output [N, K, P, Q].

        y[n, k, p, q] = bias[k] + sum over c, r, s of  x[n, c, p*stride + r*dilation - padding, q*... ] * weight[k, c, r, s]
        P = (H + 2*padding - dilation*(R - 1) - 1) // stride + 1,   Q likewise

    Args:
        in_channels: C.
        out_channels: K, the number of filters.
        kernel_size: R = S, or (R, S).
        stride, padding, dilation: a number, or one a dimension.  padding may be 'valid' (none), a (before, after) pair a dimension, or
            'same': P = ceil(H / stride), an odd total of padding putting its extra row after.  (torch refuses 'same' with a stride.)
        groups: the channels are cut into this many groups, each with filters of its own; C for a depthwise convolution.
        bias: add one number an output channel.
        padding_mode: what the frame is filled with: 'zeros', 'reflect', 'replicate' or 'circular', as in `F.pad`.

    Parameters: weight [K, C / groups, R, S] and bias [K], both uniform on +-1 / sqrt(fan_in) with fan_in = C / groups * R * S.

    Raises:
        ValueError: channels that groups do not divide, numbers below their least value, an unknown padding_mode.

    V. Dumoulin, F. Visin, "A guide to convolution arithmetic for deep learning", 2016, arXiv:1603.07285.

    >>> from convkit import nn, zeros
    >>> layer = nn.Conv2d(3, 8, kernel_size=5)
    >>> layer(zeros(1, 3, 32, 32)).shape
    (1, 8, 28, 28)
    >>> sum(p.numel() for p in layer.parameters())
    608
    """

    rank = 2


class Conv1d(_Conv):
    """1-D convolution of sequences: input [N, C, L] -> output [N, K, P]; see `Conv2d`.  weight is [K, C / groups, R].

    >>> from convkit import nn, zeros
    >>> nn.Conv1d(16, 4, 3)(zeros(2, 16, 20)).shape
    (2, 4, 18)
    """

    rank = 1


class Conv3d(_Conv):
    """3-D convolution of volumes: input [N, C, D, H, W] -> output [N, K, O, P, Q]; see `Conv2d`.

    weight is [K, C / groups, T, R, S].

    >>> from convkit import nn, zeros
    >>> nn.Conv3d(1, 4, 3, padding=1)(zeros(1, 1, 4, 6, 6)).shape
    (1, 4, 4, 6, 6)
    """

    rank = 3


class _ConvTranspose(_Conv):
    transposed = True

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Numbers,
        stride: Numbers = 1,
        padding: Numbers = 0,
        output_padding: Numbers = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Numbers = 1,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        name = type(self).__name__
        if isinstance(padding, str):
            raise ValueError(f"{name}: padding must be numbers, got {padding!r}")
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias, padding_mode, device, dtype)
        self.output_padding = each(name, "output_padding", output_padding, self.rank, 0)
        check_output_padding(name, self.output_padding, self._window())

    def _window(self) -> Window:
        return window(type(self).__name__, self.kernel_size, self.stride, self.padding, self.dilation)

    def forward(self, input: Tensor, output_size: Sequence[int] | None = None) -> Tensor:  # type: ignore[override]
        extra = self.output_padding if output_size is None else self._reach(input, output_size)
        return _CONV_TRANSPOSE[self.rank](input, self.weight, self.bias, self.stride, self.padding, extra, self.groups, self.dilation)

    def _reach(self, x: Tensor, output_size: Sequence[int]) -> tuple[int, ...]:
        """The output_padding that gives `output_size`, in which the sizes before the spatial ones may be left out."""
        name, wanted = type(self).__name__, tuple(output_size)
        if len(wanted) not in (self.rank, x.ndim):
            raise ValueError(f"{name}: output_size needs {self.rank} numbers, one a dimension, or {x.ndim} like the input, got {list(wanted)}")
        return output_padding_for(name, each(name, "output_size", wanted[-self.rank :], self.rank, 0), x.shape[-self.rank :], self._window())


class ConvTranspose2d(_ConvTranspose):
    """2-D transposed convolution, which enlarges images: input [N, C, P, Q] -> output [N, K, H, W].

    It is the gradient of a `Conv2d` with the same numbers with respect to its input; not the inverse of a convolution.

        H = (P - 1)*stride + dilation*(R - 1) + 1 - 2*padding + output_padding,   W likewise

    A convolution gives the same P for `stride` sizes H in a row; `output_padding`, less than stride or dilation, chooses among them, and so
    does `layer(x, output_size=(H, W))`.  Parameters: weight [C, K / groups, R, S] and bias [K].

    Raises:
        ValueError: as `Conv2d`; an output_padding that is too large; an output_size out of reach.

    >>> from convkit import nn, zeros
    >>> nn.ConvTranspose2d(8, 4, 2, stride=2)(zeros(1, 8, 7, 7)).shape
    (1, 4, 14, 14)
    """

    rank = 2


class ConvTranspose1d(_ConvTranspose):
    """1-D transposed convolution: input [N, C, P] -> output [N, K, L]; see `ConvTranspose2d`.

    >>> from convkit import nn, zeros
    >>> nn.ConvTranspose1d(8, 4, 4, stride=2, padding=1)(zeros(1, 8, 7)).shape
    (1, 4, 14)
    """

    rank = 1


class ConvTranspose3d(_ConvTranspose):
    """3-D transposed convolution: input [N, C, O, P, Q] -> output [N, K, D, H, W]; see `ConvTranspose2d`.

    >>> from convkit import nn, zeros
    >>> nn.ConvTranspose3d(4, 2, 2, stride=2)(zeros(1, 4, 2, 3, 3)).shape
    (1, 2, 4, 6, 6)
    """

    rank = 3


class _DepthwiseSeparable(Module):
    rank: int

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Numbers,
        stride: Numbers = 1,
        padding: Any = 0,
        dilation: Numbers = 1,
        depth_multiplier: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        between = positive(name, "in_channels", in_channels) * positive(name, "depth_multiplier", depth_multiplier)
        make = _LAYERS[self.rank]
        self.depthwise = make(in_channels, between, kernel_size, stride, padding, dilation, in_channels, False, padding_mode, device, dtype)
        self.pointwise = make(between, out_channels, 1, bias=bias, device=device, dtype=dtype)

    def forward(self, input: Tensor) -> Tensor:
        return self.pointwise(self.depthwise(input))


class DepthwiseSeparableConv2d(_DepthwiseSeparable):
    """A convolution in two steps: first every channel by itself, then 1x1 across channels; input [N, C, H, W] -> output [N, K, P, Q].

    `depthwise` is a `Conv2d` of groups = C without a bias, from C to C * depth_multiplier channels; it takes kernel_size, stride, padding,
    dilation and padding_mode.  `pointwise` is a `Conv2d` of size 1 with the bias.  Together C*M*(R*S + K) weights in place of
    C*K*R*S.  There is nothing between the two, as in Xception; MobileNet puts batch norm and relu there: for that, put two `Conv2d` in a row.

    L. Sifre, "Rigid-motion scattering for image classification", 2014; F. Chollet, "Xception: deep learning with depthwise separable
    convolutions", CVPR 2017; A. Howard et al., "MobileNets", 2017.

    >>> from convkit import nn, zeros
    >>> layer = nn.DepthwiseSeparableConv2d(16, 32, 3, padding=1)
    >>> layer(zeros(1, 16, 8, 8)).shape, sum(p.numel() for p in layer.parameters())
    ((1, 32, 8, 8), 688)
    """

    rank = 2


class DepthwiseSeparableConv1d(_DepthwiseSeparable):
    """`DepthwiseSeparableConv2d` for sequences [N, C, L].

    >>> from convkit import nn, zeros
    >>> nn.DepthwiseSeparableConv1d(4, 8, 3)(zeros(1, 4, 10)).shape
    (1, 8, 8)
    """

    rank = 1


class DepthwiseSeparableConv3d(_DepthwiseSeparable):
    """`DepthwiseSeparableConv2d` for volumes [N, C, D, H, W].

    >>> from convkit import nn, zeros
    >>> nn.DepthwiseSeparableConv3d(4, 8, 3)(zeros(1, 4, 5, 5, 5)).shape
    (1, 8, 3, 3, 3)
    """

    rank = 3


_LAYERS = {1: Conv1d, 2: Conv2d, 3: Conv3d}
_CONV_TRANSPOSE = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}
