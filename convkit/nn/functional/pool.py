"""Pooling by rank: `convkit.ops.pool` under torch's names."""

from __future__ import annotations

from typing import Any

from ...ops.pool import adaptive_avg_pool, avg_pool, max_pool


def max_pool1d(input: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False) -> Any:
    """`max_pool2d` over one spatial dimension."""
    return max_pool(1, input, kernel_size, stride, padding, dilation, ceil_mode)


def max_pool2d(input: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False) -> Any:
    """The greatest element of each window of input [N, C, H, W]; nan if one is nan.

    Windows lie side by side unless `stride` says otherwise.  Output sizes are those of `conv2d`, rounded up with `ceil_mode`.  The
    gradient goes to the first greatest element.

    >>> import convkit
    >>> max_pool2d(convkit.arange(16).float().reshape(1, 1, 4, 4), 2).numpy()[0, 0].tolist()
    [[5.0, 7.0], [13.0, 15.0]]
    """
    return max_pool(2, input, kernel_size, stride, padding, dilation, ceil_mode)


def max_pool3d(input: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False) -> Any:
    """`max_pool2d` over three spatial dimensions."""
    return max_pool(3, input, kernel_size, stride, padding, dilation, ceil_mode)


def avg_pool1d(input: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False, count_include_pad: bool = True) -> Any:
    """`avg_pool2d` over one spatial dimension."""
    return avg_pool(1, input, kernel_size, stride, padding, ceil_mode, count_include_pad, None)


def avg_pool2d(
    input: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False, count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Any:  # fmt: skip
    """The mean of each window of input [N, C, H, W].

    Padding counts as zeros; with count_include_pad=False only elements of the input are counted.  `divisor_override` divides instead.

    >>> import convkit
    >>> avg_pool2d(convkit.arange(16).float().reshape(1, 1, 4, 4), 2).numpy()[0, 0].tolist()
    [[2.5, 4.5], [10.5, 12.5]]
    """
    return avg_pool(2, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)


def avg_pool3d(
    input: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False, count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Any:  # fmt: skip
    """`avg_pool2d` over three spatial dimensions."""
    return avg_pool(3, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)


def adaptive_avg_pool1d(input: Any, output_size: Any) -> Any:
    """`adaptive_avg_pool2d` over one spatial dimension."""
    return adaptive_avg_pool(1, input, output_size)


def adaptive_avg_pool2d(input: Any, output_size: Any) -> Any:
    """Means over a grid of output_size windows; 1 is global average pooling.  ValueError unless the output divides the input."""
    return adaptive_avg_pool(2, input, output_size)


def adaptive_avg_pool3d(input: Any, output_size: Any) -> Any:
    """`adaptive_avg_pool2d` over three spatial dimensions."""
    return adaptive_avg_pool(3, input, output_size)
