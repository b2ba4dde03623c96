"""Convolution and transposed convolution by rank: `convkit.ops.conv` under torch's names; locally connected layers: `convkit.ops.local`."""

from __future__ import annotations

from typing import Any

from ...ops.conv import conv, conv_transpose
from ...ops.local import locally_connected


def conv1d(input: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1) -> Any:
    """`conv2d` over one spatial dimension: input [N, C, L], weight [K, C/groups, S]."""
    return conv(1, input, weight, bias, stride, padding, dilation, groups)


def conv2d(input: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1) -> Any:
    """Convolution (cross-correlation) of input [N, C, H, W] with weight [K, C/groups, R, S], plus bias [K] -> [N, K, P, Q].

        y[n, k, p, q] = bias[k] + sum over c, r, s of x[n, c, p*stride + r*dilation - padding, q*stride + ...] * w[k, c, r, s]
        P = (H + padding before + after - dilation*(R - 1) - 1) // stride + 1, and Q likewise

    `stride`, `padding` and `dilation` are one int or one a dimension; padding may also be 'valid' (none), (before, after) pairs, or
    'same': P = ceil(H / stride), an odd total of padding putting its extra row after (torch refuses 'same' with a stride above 1).
    An input [C, H, W] is one image, and so is the result.  Its memory is channels-last.  ValueError for shapes that do not fit, TypeError
    for dtypes that differ.
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


def locally_connected1d(input: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1) -> Any:
    """`locally_connected2d` over one spatial dimension: input [N, C, L], weight [regions, S, C, K]."""
    return locally_connected(1, input, weight, bias, stride, padding, dilation)


def locally_connected2d(input: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1) -> Any:
    """A convolution of input [N, C, H, W] whose weights depend on the place: weight [A, B, R, S, C, K], bias [A, B, K] -> [N, K, P, Q].

        y[n, k, p, q] = bias[a, b, k] + sum over c, r, s of x[n, c, p*stride + r*dilation - padding, q*...] * w[a, b, r, s, c, k]
        a = p * A // P,  b = q * B // Q

    A x B regions share weights inside each; with A = P and B = Q nothing is shared, with A = B = 1 it is `conv2d`.  P and Q, `stride`,
    `padding` and `dilation` are those of `conv2d`.  Each region's weights are matrices [C, K], the order in which Keras stores them.
    There are no groups, as in Keras (torch has no such layer): cut the channels and join the results.  ValueError for shapes that do not fit.

    Y. Taigman, M. Yang, M. Ranzato, L. Wolf, "DeepFace", CVPR 2014, whose upper layers are such; Keras 2's LocallyConnected2D.

    >>> import convkit
    >>> x, w = convkit.ones(1, 1, 3, 3), convkit.arange(4.0).reshape(2, 2, 1, 1, 1, 1).expand(2, 2, 2, 2, 1, 1)
    >>> locally_connected2d(x, w).numpy()[0, 0].tolist()
    [[0.0, 4.0], [8.0, 12.0]]
    """
    return locally_connected(2, input, weight, bias, stride, padding, dilation)


def locally_connected3d(input: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1) -> Any:
    """`locally_connected2d` over three spatial dimensions: input [N, C, D, H, W], weight [*regions, T, R, S, C, K] of three regions' numbers."""
    return locally_connected(3, input, weight, bias, stride, padding, dilation)
