"""Pooling by rank: `convkit.ops.pool` under torch's names."""

from __future__ import annotations

from typing import Any

from ...ops.pool import adaptive_avg_pool, adaptive_max_pool, avg_pool, lp_pool, max_pool, max_unpool


def max_pool1d(
    input: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:  # fmt: skip
    """`max_pool2d` over one spatial dimension."""
    return max_pool(1, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def max_pool2d(
    input: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:  # fmt: skip
    """The greatest element of each window of input [N, C, H, W]; nan if one is nan.

    Windows lie side by side unless `stride` says otherwise.  Output sizes are those of `conv2d`, rounded up with `ceil_mode`; padding is at
    most half of what the window covers, and counts as minus infinity.  The gradient goes to the first greatest element.  With
    `return_indices`, (output, indices): where each element was, as its number h * W + w in the image (int64).

    >>> import convkit
    >>> max_pool2d(convkit.arange(16).float().reshape(1, 1, 4, 4), 2).numpy()[0, 0].tolist()
    [[5.0, 7.0], [13.0, 15.0]]
    >>> max_pool2d(convkit.arange(16).float().reshape(1, 1, 4, 4), 2, return_indices=True)[1].numpy()[0, 0].tolist()
    [[5, 7], [13, 15]]
    """
    return max_pool(2, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def max_pool3d(
    input: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:  # fmt: skip
    """`max_pool2d` over three spatial dimensions."""
    return max_pool(3, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def max_pool1d_with_indices(
    input: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:  # fmt: skip
    """`max_pool2d_with_indices` over one spatial dimension."""
    return max_pool(1, input, kernel_size, stride, padding, dilation, ceil_mode, True)


def max_pool2d_with_indices(
    input: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:  # fmt: skip
    """`max_pool2d` with return_indices=True."""
    return max_pool(2, input, kernel_size, stride, padding, dilation, ceil_mode, True)


def max_pool3d_with_indices(
    input: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:  # fmt: skip
    """`max_pool2d_with_indices` over three spatial dimensions."""
    return max_pool(3, input, kernel_size, stride, padding, dilation, ceil_mode, True)


def max_unpool1d(input: Any, indices: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, output_size: Any = None) -> Any:
    """`max_unpool2d` over one spatial dimension."""
    return max_unpool(1, input, indices, kernel_size, stride, padding, output_size)


def max_unpool2d(input: Any, indices: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, output_size: Any = None) -> Any:
    """Zeros with the elements of input at `indices`, as `max_pool2d` gave them: it undoes pooling, but for the elements that were lost.

        H = (P - 1) * stride - 2 * padding + kernel_size;   W likewise

    Several sizes pool to one; `output_size`, less than a stride away from H, says which.  Where `indices` names a place twice, the last
    element in row-major order stays, and, as in torch, the gradient of that place goes to each of them.

    Raises:
        TypeError: indices of another dtype than int64.
        ValueError: shapes that differ, an impossible output_size.
        IndexError: an index outside the output.

    >>> import convkit
    >>> y, indices = max_pool2d(convkit.arange(16).float().reshape(1, 1, 4, 4), 2, return_indices=True)
    >>> max_unpool2d(y, indices, 2).numpy()[0, 0].tolist()
    [[0.0, 0.0, 0.0, 0.0], [0.0, 5.0, 0.0, 7.0], [0.0, 0.0, 0.0, 0.0], [0.0, 13.0, 0.0, 15.0]]
    """
    return max_unpool(2, input, indices, kernel_size, stride, padding, output_size)


def max_unpool3d(input: Any, indices: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, output_size: Any = None) -> Any:
    """`max_unpool2d` over three spatial dimensions."""
    return max_unpool(3, input, indices, kernel_size, stride, padding, output_size)


def avg_pool1d(input: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False, count_include_pad: bool = True) -> Any:
    """`avg_pool2d` over one spatial dimension."""
    return avg_pool(1, input, kernel_size, stride, padding, ceil_mode, count_include_pad, None)


def avg_pool2d(
    input: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False, count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Any:  # fmt: skip
    """The mean of each window of input [N, C, H, W].

    Padding counts as zeros; with count_include_pad=False only elements of the input are counted.  What a window of `ceil_mode` covers
    beyond the padding is never counted.  `divisor_override` divides instead.

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


def lp_pool1d(input: Any, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False) -> Any:
    """`lp_pool2d` over one spatial dimension."""
    return lp_pool(1, input, norm_type, kernel_size, stride, ceil_mode)


def lp_pool2d(input: Any, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False) -> Any:
    """The p-norm of each window of input [N, C, H, W], without absolute values: (sum of x ** p) ** (1 / p) with p = norm_type.

    So p = 1 is the sum, p = inf the greatest absolute value, and nan comes of a negative sum, or of negative x where p is no integer.  A
    window that `ceil_mode` lets over the edge is scaled as if it were whole: its sum is multiplied by taps / (taps inside).

    The gradient at a sum of 0, and at x = 0 for p below 1, is 0, where torch's is nan for p below 1; ValueError for p = 0.

    >>> import convkit
    >>> lp_pool2d(convkit.tensor([[[[1.0, 2.0], [2.0, 4.0]]]]), 2, 2).item()
    5.0
    """
    return lp_pool(2, input, norm_type, kernel_size, stride, ceil_mode)


def lp_pool3d(input: Any, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False) -> Any:
    """`lp_pool2d` over three spatial dimensions."""
    return lp_pool(3, input, norm_type, kernel_size, stride, ceil_mode)


def adaptive_avg_pool1d(input: Any, output_size: Any) -> Any:
    """`adaptive_avg_pool2d` over one spatial dimension."""
    return adaptive_avg_pool(1, input, output_size)


def adaptive_avg_pool2d(input: Any, output_size: Any) -> Any:
    """Means of input [N, C, H, W] over a grid of output_size windows, of any size; None keeps a size, 1 is global average pooling.

    Output row p is the mean of the input rows floor(p * H / P) up to, not including, ceil((p + 1) * H / P); columns likewise.

    >>> import convkit
    >>> adaptive_avg_pool2d(convkit.arange(10).float().reshape(1, 1, 2, 5), (1, 3)).numpy()[0, 0].tolist()
    [[3.0, 4.5, 6.0]]
    """
    return adaptive_avg_pool(2, input, output_size)


def adaptive_avg_pool3d(input: Any, output_size: Any) -> Any:
    """`adaptive_avg_pool2d` over three spatial dimensions."""
    return adaptive_avg_pool(3, input, output_size)


def adaptive_max_pool1d(input: Any, output_size: Any, return_indices: bool = False) -> Any:
    """`adaptive_max_pool2d` over one spatial dimension."""
    return adaptive_max_pool(1, input, output_size, return_indices)


def adaptive_max_pool2d(input: Any, output_size: Any, return_indices: bool = False) -> Any:
    """The greatest elements of input [N, C, H, W] over the grid of windows of `adaptive_avg_pool2d`; with their places as in `max_pool2d`.

    >>> import convkit
    >>> adaptive_max_pool2d(convkit.arange(10).float().reshape(1, 1, 2, 5), (1, 3)).numpy()[0, 0].tolist()
    [[6.0, 8.0, 9.0]]
    """
    return adaptive_max_pool(2, input, output_size, return_indices)


def adaptive_max_pool3d(input: Any, output_size: Any, return_indices: bool = False) -> Any:
    """`adaptive_max_pool2d` over three spatial dimensions."""
    return adaptive_max_pool(3, input, output_size, return_indices)


def adaptive_max_pool1d_with_indices(input: Any, output_size: Any, return_indices: bool = False) -> Any:
    """`adaptive_max_pool2d_with_indices` over one spatial dimension."""
    return adaptive_max_pool(1, input, output_size, True)


def adaptive_max_pool2d_with_indices(input: Any, output_size: Any, return_indices: bool = False) -> Any:
    """`adaptive_max_pool2d` with return_indices=True."""
    return adaptive_max_pool(2, input, output_size, True)


def adaptive_max_pool3d_with_indices(input: Any, output_size: Any, return_indices: bool = False) -> Any:
    """`adaptive_max_pool2d_with_indices` over three spatial dimensions."""
    return adaptive_max_pool(3, input, output_size, True)
