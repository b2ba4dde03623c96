"""Convolutions and transposed convolutions in one to three dimensions: one class each, the rank is a number."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from convkit_kernels.geometry import each, window

from ...tensor import Tensor
from .. import functional as F
from .. import init
from ..module import Module
from ..parameter import Parameter, new_parameter
from .checks import positive

Numbers = int | Iterable[int]


class _ConvBase(Module):
    """What convolutions and transposed convolutions share: their numbers, their weights, and how these start."""

    rank: int
    transposed: bool
    weight: Parameter
    bias: Parameter | None

    def _setup(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Numbers,
        stride: Numbers,
        padding: Any,
        dilation: Numbers,
        groups: int,
        bias: bool,
        padding_mode: str,
        device: Any,
        dtype: Any,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        size = each(name, "kernel_size", kernel_size, self.rank, 1)
        checked = window(name, size, stride, padding, dilation, groups)
        self.in_channels = positive(name, "in_channels", in_channels)
        self.out_channels = positive(name, "out_channels", out_channels)
        for what, channels in (("in_channels", in_channels), ("out_channels", out_channels)):
            if channels % groups:
                raise ValueError(f"{name}: {what} must be divisible by groups, got {channels} and groups={groups}")
        if padding_mode != "zeros":
            raise ValueError(f"{name}: padding_mode must be 'zeros', got {padding_mode!r}; use F.pad before the layer for another border")
        self.kernel_size, self.stride, self.dilation, self.groups = size, checked.stride, checked.dilation, groups
        self.padding: Any = padding
        if not isinstance(padding, str):
            even = all(before == after for before, after in checked.padding)
            self.padding = tuple(before for before, _ in checked.padding) if even else checked.padding
        self.padding_mode = padding_mode
        if self.transposed:
            shape = (in_channels, out_channels // groups, *size)
        else:
            shape = (out_channels, in_channels // groups, *size)
        self.weight = new_parameter(name, shape, device, dtype)
        self.register_parameter("bias", new_parameter(name, (out_channels,), device, dtype) if bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weight and bias anew, uniform on +-1 / sqrt(fan_in)."""
        init.reset_like_torch(self.weight, self.bias)

    def extra_repr(self) -> str:
        parts = [f"{self.in_channels}, {self.out_channels}", f"kernel_size={self.kernel_size}", f"stride={self.stride}"]
        defaults = {"padding": (0,) * self.rank, "output_padding": (0,) * self.rank, "dilation": (1,) * self.rank, "groups": 1}
        for name, default in defaults.items():
            value = getattr(self, name, default)
            if value != default:
                parts.append(f"{name}={value!r}")
        if self.bias is None:
            parts.append("bias=False")
        return ", ".join(parts)


class _Conv(_ConvBase):
    transposed = False

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
        self._setup(in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias, padding_mode, device, dtype)

    def forward(self, x: Tensor) -> Tensor:
        return _CONV[self.rank](x, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups)


class Conv2d(_Conv):
    """2-D convolution (cross-correlation) of images: input [N, C, H, W] -> output [N, K, P, Q].

        y[n, k, p, q] = bias[k] + sum over c, r, s of  x[n, c, p*stride + r*dilation - padding, q*... ] * weight[k, c, r, s]
        P = (H + 2*padding - dilation*(R - 1) - 1) // stride + 1,   Q likewise

    Args:
        in_channels: C.
        out_channels: K, the number of filters.
        kernel_size: R = S, or (R, S).
        stride, padding, dilation: a number, or one a dimension.  padding may be 'valid' (none), 'same' (P = H for stride 1), or a
            (before, after) pair a dimension.
        groups: the channels are cut into this many groups, each with filters of its own; C for a depthwise convolution.
        bias: add one number an output channel.

    Parameters: weight [K, C / groups, R, S] and bias [K], both uniform on +-1 / sqrt(fan_in) with fan_in = C / groups * R * S.

    Raises:
        ValueError: channels that groups do not divide, numbers below their least value, another padding_mode than 'zeros'.

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


class _ConvTranspose(_ConvBase):
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
        self._setup(in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias, padding_mode, device, dtype)
        self.output_padding = each(name, "output_padding", output_padding, self.rank, 0)
        for extra, s, d in zip(self.output_padding, self.stride, self.dilation, strict=True):
            if extra >= max(s, d):
                raise ValueError(
                    f"{name}: output_padding must be smaller than stride or dilation, "
                    f"got output_padding {list(self.output_padding)}, stride {list(self.stride)}, dilation {list(self.dilation)}"
                )

    def forward(self, x: Tensor, output_size: Sequence[int] | None = None) -> Tensor:
        extra = self.output_padding if output_size is None else self._reach(x, output_size)
        return _CONV_TRANSPOSE[self.rank](x, self.weight, self.bias, self.stride, self.padding, extra, self.groups, self.dilation)

    def _reach(self, x: Tensor, output_size: Sequence[int]) -> tuple[int, ...]:
        """The output_padding that gives `output_size`, which may include N and C."""
        name, wanted = type(self).__name__, tuple(output_size)[-self.rank :]
        if len(output_size) not in (self.rank, self.rank + 2):
            raise ValueError(f"{name}: output_size needs {self.rank} numbers, one a dimension, got {list(output_size)}")
        win = window(name, self.kernel_size, self.stride, self.padding, self.dilation)
        least = win.input_size(x.shape[-self.rank :])
        extra = tuple(w - n for w, n in zip(wanted, least, strict=True))
        if any(not 0 <= e < max(s, d) for e, s, d in zip(extra, self.stride, self.dilation, strict=True)):
            most = [n + max(s, d) - 1 for n, s, d in zip(least, self.stride, self.dilation, strict=True)]
            raise ValueError(f"{name}: output_size must be between {list(least)} and {most}, got {list(wanted)}")
        return extra


class ConvTranspose2d(_ConvTranspose):
    """2-D transposed convolution, which enlarges images: input [N, C, P, Q] -> output [N, K, H, W].

    It is the gradient of a `Conv2d` with the same numbers with respect to its input; not the inverse of a convolution.

        H = (P - 1)*stride + dilation*(R - 1) + 1 - 2*padding + output_padding,   W likewise

    Several sizes H give a convolution the same P; `output_padding`, less than stride or dilation, chooses among them, and so
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


_CONV = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
_CONV_TRANSPOSE = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}
