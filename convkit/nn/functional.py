"""Functions of neural networks, under torch's names and with torch's arguments.

Shapes: N images, C input and K output channels, spatial sizes (D, H, W) as the rank has.  Each name is one call into `convkit.ops`.
"""

from __future__ import annotations

from typing import Any

from ..ops.activation import log_softmax, relu, sigmoid, softmax, tanh
from ..ops.conv import conv, conv_transpose
from ..ops.dropout import dropout
from ..ops.embedding import embedding
from ..ops.loss import cross_entropy, mse_loss, nll_loss
from ..ops.matmul import linear
from ..ops.norm import batch_norm
from ..ops.pool import adaptive_avg_pool, avg_pool, max_pool
from ..ops.shape import flatten, pad

__all__ = [
    "adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d", "avg_pool1d", "avg_pool2d", "avg_pool3d", "batch_norm",
    "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d", "cross_entropy", "dropout",
    "embedding", "flatten", "linear", "log_softmax", "max_pool1d", "max_pool2d", "max_pool3d", "mse_loss", "nll_loss", "pad", "relu",
    "sigmoid", "softmax", "tanh",
]  # fmt: skip


def conv1d(input: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1) -> Any:
    """`conv2d` over one spatial dimension: input [N, C, L], weight [K, C/groups, S]."""
    return conv(1, input, weight, bias, stride, padding, dilation, groups)


def conv2d(input: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1) -> Any:
    """Convolution (cross-correlation) of input [N, C, H, W] with weight [K, C/groups, R, S], plus bias [K] -> [N, K, P, Q].

        y[n, k, p, q] = bias[k] + sum over c, r, s of x[n, c, p*stride + r*dilation - padding, q*stride + ...] * w[k, c, r, s]
        P = (H + padding before + after - dilation*(R - 1) - 1) // stride + 1, and Q likewise

    `stride`, `padding` and `dilation` are one int or one a dimension; padding may also be 'valid', 'same', or (before, after) pairs.
    The result's memory is channels-last.  ValueError for shapes that do not fit, TypeError for dtypes that differ.
    (Dumoulin and Visin, 2016.)

    >>> import convkit
    >>> x, w = convkit.ones(1, 1, 4, 4), convkit.ones(1, 1, 3, 3)
    >>> conv2d(x, w, padding=1).numpy()[0, 0].tolist()
    [[4.0, 6.0, 6.0, 4.0], [6.0, 9.0, 9.0, 6.0], [6.0, 9.0, 9.0, 6.0], [4.0, 6.0, 6.0, 4.0]]
    """
    return conv(2, input, weight, bias, stride, padding, dilation, groups)


def conv3d(input: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1) -> Any:
    """`conv2d` over three spatial dimensions: input [N, C, D, H, W], weight [K, C/groups, T, R, S]."""
    return conv(3, input, weight, bias, stride, padding, dilation, groups)


def conv_transpose1d(
    input: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, output_padding: Any = 0, groups: int = 1, dilation: Any = 1
) -> Any:
    """`conv_transpose2d` over one spatial dimension."""
    return conv_transpose(1, input, weight, bias, stride, padding, output_padding, groups, dilation)


def conv_transpose2d(
    input: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, output_padding: Any = 0, groups: int = 1, dilation: Any = 1
) -> Any:
    """The input gradient of `conv2d` as an operation: input [N, C, H, W], weight [C, K/groups, R, S] -> [N, K, P, Q].

        P = (H - 1) * stride - 2*padding + dilation*(R - 1) + output_padding + 1, and Q likewise

    >>> import convkit
    >>> conv_transpose2d(convkit.ones(1, 1, 2, 2), convkit.ones(1, 1, 2, 2), stride=2).shape
    (1, 1, 4, 4)
    """
    return conv_transpose(2, input, weight, bias, stride, padding, output_padding, groups, dilation)


def conv_transpose3d(
    input: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, output_padding: Any = 0, groups: int = 1, dilation: Any = 1
) -> Any:
    """`conv_transpose2d` over three spatial dimensions."""
    return conv_transpose(3, input, weight, bias, stride, padding, output_padding, groups, dilation)


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
