"""Window sums to few channels, whose tiles slide: against plain loops, to the edge of the image; in every layout and order: test_conv.py."""

import importlib

import numpy as np
import pytest

from convkit_kernels import geometry
from convkit_kernels.cpu import conv_forward, conv_input_grad, microkernel
from tests.helpers import LAYOUTS, numbers, same, same_with_one_and_two_threads
from tests.reference import conv as reference

conv = importlib.import_module("convkit_kernels.cpu.conv")
CASES = {  # channels, filters, (rows, columns), window, stride, padding, dilation of rows
    "lenet": (1, 6, (28, 9), (5, 5), 1, 2, 1),
    "narrow": (2, 3, (7, 5), (5, 5), 1, ((1, 3), (0, 4)), 1),
    "one row of taps": (4, 5, (6, 12), (1, 6), 1, (0, 3), 1),
    "rows apart": (1, 3, (13, 8), (3, 5), (2, 1), (2, 1), (3, 1)),
    "one vector": (3, 3, (6, 6), (4, 5), 1, (1, 4), 1),
}


def case(name, dtype):
    c, k, inside, size, stride, padding, dilation = CASES[name]
    win = geometry.window("sliding", size, stride, padding, dilation)
    x = LAYOUTS["channels-last"](numbers(1, (17, c, *inside), dtype))
    return win, x, numbers(2, (k, c, *size), dtype), numbers(3, (k,), dtype)


def slides(x, w, win):
    return conv._forward(x.shape, x.strides, x.dtype, w.shape, win, False, False).direct.places is not None


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", CASES)
def test_against_plain_loops(name, dtype):
    win, x, w, b = case(name, dtype)
    y = conv_forward(x, w, b, win)
    add = LAYOUTS["channels-last"](numbers(4, y.shape, dtype))
    both = conv_forward(x, w, b, win, add, True)
    tolerance = {"rtol": 1e-5, "atol": 2e-5} if dtype == np.float32 else {"rtol": 1e-12, "atol": 1e-12}
    assert np.allclose(y[:3], reference.conv_forward(x[:3], w, b, win), **tolerance)
    assert same(both, np.where(y + add <= 0, dtype(0), y + add))
    same_with_one_and_two_threads(lambda: conv_forward(x, w, b, win))


def test_some_slide_on_a_machine_with_wide_vectors():
    if microkernel.isa().name != "avx512":
        pytest.skip("another machine slides elsewhere")
    found = {(name, dtype.__name__) for name in CASES for dtype in (np.float32, np.float64) if slides(*case(name, dtype)[1:3], case(name, dtype)[0])}
    assert ("lenet", "float32") in found and {name for name, _ in found} == set(CASES)
    win, x, w, _ = case("lenet", np.float32)
    assert not slides(x[:15], w, win)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_input_gradient_against_plain_loops(dtype):
    win = geometry.window("sliding", (5, 5), 1, (0, 1))
    gy = LAYOUTS["channels-last"](numbers(1, (16, 16, 6, 7), dtype))
    w, b = numbers(2, (16, 3, 5, 5), dtype), numbers(3, (3,), dtype)
    gx = conv_input_grad(gy, w, b, (10, 9), win)
    assert np.allclose(gx[:2], reference.conv_input_grad(gy[:2], w, b, (10, 9), win), rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nan_and_inf_reach_only_what_sees_them(value):
    win, x, w, b = case("lenet", np.float32)
    struck = x.copy(order="K")
    places = [(3, 14, 4), (4, 0, 0), (5, 27, 8)]
    for n, i, j in places:
        struck[n, 0, i, j] = value
    changed = conv_forward(struck, w, b, win) != conv_forward(x, w, b, win)
    expected = np.zeros_like(changed)
    for n, i, j in places:
        expected[n, :, max(0, i - 2) : i + 3, max(0, j - 2) : j + 3] = True
    assert np.array_equal(changed, expected)
