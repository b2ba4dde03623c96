"""Winograd's algorithm against plain loops, and how exact it is; `test_conv.py` runs it at the edge of memory and on every instruction set."""

import numpy as np
import pytest
from hypothesis import example, given

from convkit_kernels.algorithm import conv_algorithm
from convkit_kernels.cpu import conv_forward, winograd
from tests.backend import settings
from tests.helpers import numbers, relative_error, same, same_with_one_and_two_threads
from tests.kernels.test_conv import Case, error, kernels, small, window, windows_of_three
from tests.reference import conv as reference


@given(windows_of_three())
@example(Case(window((3, 3), 1, 1), 2, (1, 1), 3, 3, algorithm="winograd"))
@example(Case(window((3, 3), 1, 1), 40, (7, 7), 17, 40, algorithm="winograd"))  # units that end within an image
@example(Case(window((3, 3), 1, 2, 2), 3, (19, 22), 16, 33, algorithm="winograd"))  # phases of unequal size
@example(Case(window((3, 3), 1, 8, 8), 2, (5, 6), 3, 3, algorithm="winograd"))  # more phases than pixels
@example(Case(window((1, 3, 3), 1, (0, 1, 1)), 2, (3, 6, 7), 5, 6, algorithm="winograd"))  # the planes of a volume
@example(Case(window((3, 3), 1, 1), 1, (12, 12), 33, 200, np.float64, algorithm="winograd"))
@settings(max_examples=200)
def test_against_plain_loops(case):
    for got, expected, terms, name in zip(case.run(kernels), case.run(reference), case.terms, ("y", "gx", "gw"), strict=True):
        assert got.dtype == case.dtype, name
        assert error(got, expected, terms) <= small(case.dtype, "winograd"), name


@given(windows_of_three())
@settings(max_examples=40)
def test_same_bits_for_any_number_of_threads(case):
    assert same_with_one_and_two_threads(lambda: case.run(kernels))


@pytest.mark.parametrize("channels", [64, 256])
def test_the_error_is_that_of_the_literature(channels):
    case = Case(window((3, 3), 1, 1), 2, (16, 16), channels, channels)
    exact = Case(window((3, 3), 1, 1), 2, (16, 16), channels, channels, np.float64)
    exact.x, exact.w, exact.gy, exact.b, exact.c = (a.astype(np.float64) for a in (case.x, case.w, case.gy, case.b, case.c))
    for algorithm, most in (("direct", 1e-6), ("winograd", 3e-6)):
        case.algorithm = algorithm
        for got, expected in zip(case.run(kernels), exact.run(kernels), strict=True):
            assert relative_error(got, expected) <= most, algorithm


def test_nan_spoils_the_tiles_it_meets_and_no_others():
    case = Case(window((3, 3), 1, 1), 1, (16, 16), 8, 16, algorithm="winograd")
    clean = case.run(kernels)[0]
    case.x[0, 3, 5, 6] = np.nan  # in the patches of the tiles that compute rows 4 to 7, columns 4 to 7
    y = case.run(kernels)[0]
    spoiled = np.isnan(y)
    assert spoiled[..., 4:7, 5:8].all()  # what a direct sum would spoil
    assert not spoiled[..., :4, :].any() and not spoiled[..., 8:, :].any() and not spoiled[..., :4].any() and not spoiled[..., 8:].any()
    assert same(y[~spoiled], clean[~spoiled])
    case.x[0, 3, 5, 6] = np.inf
    with np.errstate(invalid="ignore"):
        assert not np.isfinite(case.run(kernels)[0][spoiled]).any()


def test_other_windows_are_direct_whatever_is_asked_for():
    for win in (window((5, 5), 1, 2), window((3, 3), 2, 1), window((3, 3, 3), 1, 1), window((3, 3), 1, 1, 1, 2)):
        case = Case(win, 2, (9, 9, 9)[: win.rank], 64, 64)
        direct = case.run(kernels)
        case.algorithm = "winograd"
        assert same(case.run(kernels), direct)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", winograd.CODELETS)
def test_a_transform_is_a_product_with_its_matrix(name, dtype):
    """The matrices are those of Toom and Cook for these points: what polynomials are there, and how they follow from their values."""
    points = [0, 3 / 4, -3 / 4, 3 / 2, -3 / 2]
    others = [np.prod([p - q for q in points if q != p]) for p in points]
    B = np.zeros((6, 6))
    for i, p in enumerate(points):
        B[i, :5] = np.poly([q for q in points if q != p])[::-1]
    B[5] = np.poly(points)[::-1]
    A = np.vander([*points, 0], 4, increasing=True)
    G = np.vander([*points, 0], 3, increasing=True) / np.array([*others, 1])[:, None]
    A[5], G[5] = [0, 0, 0, 1], [0, 0, 1]
    matrix = {"input": B, "output": A.T, "gradient": A, "weights": G, "weight_gradient": G.T}[name]
    step, before, after, *_ = winograd.CODELETS[name]
    got = step(np.add, np.subtract, np.multiply, list(np.eye(before, dtype=dtype)))
    assert np.allclose(got, matrix, atol=1e-6 if dtype == np.float32 else 1e-14) and len(got) == after
    assert winograd.codelet(name, np.dtype(dtype)) == winograd.codelet(name, np.dtype(dtype))  # compiled once


def test_few_channels_stay_direct_and_many_do_not():
    x, w = numbers(0, (8, 64, 16, 16)), numbers(1, (64, 64, 3, 3))
    for channels, name in ((3, "direct"), (64, "winograd")):
        with conv_algorithm(name):
            expected = conv_forward(x[:, :channels], w[:, :channels], None, window((3, 3), 1, 1))
        assert same(conv_forward(x[:, :channels], w[:, :channels], None, window((3, 3), 1, 1)), expected)
