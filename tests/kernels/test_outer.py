"""The panels of weight gradients, where units are parts of images or several; `test_conv.py` runs them at the edge of memory."""

import numba
import numpy as np
import pytest

from convkit_kernels.algorithm import conv_algorithm
from convkit_kernels.cpu import conv_weight_grad, outer
from convkit_kernels.cpu.microkernel import address, call_code
from tests.helpers import same_with_one_and_two_threads
from tests.kernels.test_conv import Case, error, small, window
from tests.reference import conv as reference

CASES = {
    "lines of several images": Case(window((3, 3), 1, 1), 40, (5, 6), 18, 3),
    "few channels, several images": Case(window((3, 3), 1, 1), 40, (5, 6), 3, 10),
    "columns cut": Case(window((3, 3), 1, 1), 1, (40, 150), 17, 2),
    "few channels, columns cut": Case(window((3, 3), 2, 1), 1, (60, 301), 2, 3),
    "taps that skip classes": Case(window((3, 2), (3, 4), 2, (6, 2)), 2, (40, 30), 19, 3),
    "one dimension": Case(window((4,), 1, 0), 9, (64,), 20, 37),
    "the gradient copied": Case(window((5, 5), 1, 2), 3, (7, 8), 17, 70),
    "the gradient copied, columns cut": Case(window((3, 3), 1, 2, 2), 1, (9, 135), 34, 50),
    "groups": Case(window((3, 3), 1, 1, groups=3), 3, (9, 8), 9, 12),
    "groups of many channels": Case(window((3, 3), 2, 1, groups=2), 3, (9, 8), 40, 70),
    "planes outside": Case(window((3, 3, 2), (1, 2, 1), (2, 1, 1)), 2, (3, 7, 6), 17, 5),
    "taps that see nothing": Case(window((5, 1), 1, (4, 0)), 3, (1, 5), 18, 5),
    "a slice of panels for each thread": Case(window((3, 3), 1, 1), 1, (6, 6), 130, 40),
    "float64": Case(window((3, 3), 1, 1), 3, (20, 21), 20, 33, np.float64),
}


@pytest.fixture(autouse=True)
def direct():
    with conv_algorithm("direct"):
        yield


@pytest.mark.parametrize("name", CASES)
def test_against_plain_loops(name):
    case = CASES[name]
    got, expected = conv_weight_grad(case.x, case.gy, case.window), reference.conv_weight_grad(case.x, case.gy, case.window)
    assert error(got, expected, case.terms[2]) <= small(case.dtype)
    assert same_with_one_and_two_threads(lambda: conv_weight_grad(case.x, case.gy, case.window))


def test_nan_reaches_only_what_sees_it():
    """Lines outside an image are not multiplied, nor what lies beside a panel's channels and a block's filters."""
    case = Case(window((3, 3), 1, 1), 4, (5, 6), 18, 35)
    case.gy[:, 34, 2] = np.nan
    case.x[:, 17, 2] = np.nan
    gw = conv_weight_grad(case.x, case.gy, case.window)
    assert np.isnan(gw[34]).all() and np.isnan(gw[:, 17]).all()
    assert np.isfinite(gw[:34, :17]).all()


@numba.njit
def strip(code, x, step, y, n):
    call_code(code, (address(x), step, address(y), n))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("width, pitch", [(1, 1), (3, 3), (5, 6), (13, 14), (14, 14), (16, 16), (21, 32), (32, 32)])
def test_copies_of_pixels(width, pitch, dtype):
    x, y = np.arange(5 * 40, dtype=dtype).reshape(5, 40), np.full((6, pitch), -1, dtype)
    strip(outer.copier(width, pitch, np.dtype(dtype)), x, x.strides[0], y, 5)
    assert (y[:5, :width] == x[:, :width]).all()
    assert (y[:5, width:] == -1).all() and (y[5] == -1).all()
    strip(outer.copier(width, pitch, np.dtype(dtype)), x, x.strides[0], y, 0)
    assert (y[0, :width] == x[0, :width]).all()
