"""What is done to sums before they are stored, against NumPy; whole convolutions and products with it: test_conv.py, test_matmul.py."""

import ctypes

import numpy as np
import pytest

from convkit_kernels.cpu.finish import finish_kernel

PROTOTYPE = ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * 5)


@pytest.mark.parametrize("adds, relu", [(True, False), (False, True), (True, True)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("rows, cols, gap", [(1, 1, 0), (3, 16, 0), (3, 5, 4), (2, 37, 1)])
def test_sums_are_added_to_and_cut_off(rows, cols, gap, dtype, adds, relu):
    rng = np.random.default_rng(rows)
    y, add = rng.standard_normal((2, rows, cols + gap)).astype(dtype)
    y[0, 0], y[-1, -1 - gap] = np.nan, np.inf
    expected, got = y.copy(), y.copy()
    inside = expected[:, :cols]
    if adds:
        inside += add[:, :cols]
    if relu:
        inside[inside <= 0] = 0
    PROTOTYPE(finish_kernel(np.dtype(dtype), adds, relu))(got.ctypes.data, add.ctypes.data, cols + gap, rows, cols)
    assert np.array_equal(got, expected, equal_nan=True)


def test_nothing_to_do_is_no_code():
    assert finish_kernel(np.dtype(np.float32), False, False) == 0
