import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.backend import SIMULATED, kernels, settings
from tests.helpers import LAYOUTS, channels_last_copy, dtypes, layouts, numbers, relative_error, same, same_with_one_and_two_threads, tolerance
from tests.reference import reduce as reference


@st.composite
def shapes_and_axes(draw, least=0):
    shape = tuple(draw(st.lists(st.integers(least, 6), min_size=1, max_size=4)))
    axes = draw(st.sets(st.integers(0, len(shape) - 1), min_size=0))
    return shape, tuple(sorted(axes))


@settings(max_examples=60, deadline=None)
@given(case=shapes_and_axes(), keepdims=st.booleans(), dtype=dtypes, layout=layouts, seed=st.integers(0, 99))
def test_sum(case, keepdims, dtype, layout, seed):
    shape, axes = case
    x = LAYOUTS[layout](numbers(seed, shape, dtype, mean=1))
    y = kernels.sum(x, axes, keepdims)
    assert y.dtype == dtype
    assert relative_error(y, reference.sum(x, axes, keepdims), reference.sum(np.abs(x), axes, keepdims)) < tolerance(dtype, 3e-7, 1e-15)
    y = kernels.sum(x, axes, keepdims, terms="squares")
    assert y.dtype == dtype and relative_error(y, reference.sum(x, axes, keepdims, terms="squares")) < tolerance(dtype, 3e-7, 1e-15)
    x = np.where(x > 2, dtype(np.nan), x)
    y, expected = (k.sum(x, axes, keepdims, terms="not nan") for k in (kernels, reference))
    assert relative_error(y, expected, reference.sum(np.abs(x), axes, keepdims, terms="not nan")) < tolerance(dtype, 3e-7, 1e-15)


@pytest.mark.parametrize("name", ["amax", "amin"])
@settings(max_examples=30, deadline=None)
@given(case=shapes_and_axes(1), keepdims=st.booleans(), dtype=dtypes, layout=layouts, nan=st.booleans())
def test_largest_and_smallest(name, case, keepdims, dtype, layout, nan):
    shape, axes = case
    x = numbers(3, shape, dtype)
    if nan:
        x.flat[x.size // 2] = np.nan
    x = LAYOUTS[layout](x)
    y = getattr(kernels, name)(x, axes, keepdims)
    assert np.array_equal(y, getattr(reference, name)(x, axes, keepdims), equal_nan=True)


@pytest.mark.parametrize("name", ["argmax", "argmin"])
@settings(max_examples=30, deadline=None)
@given(case=shapes_and_axes(1), dtype=dtypes, layout=layouts, nan=st.booleans(), flat=st.booleans())
def test_places(name, case, dtype, layout, nan, flat):
    shape, axes = case
    x = np.round(numbers(3, shape, dtype))  # ties
    if nan:
        x.flat[x.size // 2] = np.nan
    x = LAYOUTS[layout](x)
    axis = None if flat or not axes else axes[0]
    y = getattr(kernels, name)(x, axis)
    assert y.dtype == np.int64 and np.array_equal(y, getattr(reference, name)(x, axis))


@pytest.mark.cpu  # sizes that a simulator takes minutes for
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(16, 1, 250, 250), (16, 3, 144, 145), (16, 30, 45, 46), (16, 64, 31, 32), (16, 130, 22, 22), (3, 70_001, 5, 1)])
def test_a_million_numbers_keep_their_digits(shape, dtype):
    x = numbers(1, shape, dtype, mean=0.5)
    for layout in (np.ascontiguousarray, channels_last_copy):
        for axes in ((0, 2, 3), (2, 3), (0, 1, 2, 3), (1,), (0,), (3,), (1, 3)):
            expected = np.sum(x, axis=axes, dtype=np.longdouble).astype(np.float64)
            squares = kernels.sum(layout(x), axes, False, "squares")
            assert relative_error(squares, np.sum(x.astype(np.longdouble) ** 2, axis=axes)) < tolerance(x.dtype.type, 3e-7, 1e-15)
            y = kernels.sum(layout(x), axes, False)
            assert relative_error(y, expected) < tolerance(dtype, 1e-7, 1e-15), axes
            assert np.max(np.abs(y - expected) / np.abs(expected).max()) < tolerance(dtype, 3e-7, 1e-14), axes


@pytest.mark.parametrize("axes", [(0, 2), (1,), (2,)])
def test_large_sums_leave_nan_out(axes):
    x = numbers(1, (10, 6, 8) if SIMULATED else (40, 30, 50), np.float32)
    holes = np.where(x > 1, np.float32(np.nan), x)
    expected, size = (np.nansum(a, axis=axes, dtype=np.float64) for a in (holes, abs(holes)))
    assert relative_error(kernels.sum(holes, axes, False, "not nan"), expected, size) < 3e-7


def test_memory_order_stays():
    x = channels_last_copy(numbers(1, (4, 8, 6, 6), np.float32))
    assert kernels.sum(x, (0,), False).strides == (4, 192, 32)  # [C, H, W] in the order H, W, C
    assert kernels.sum(x, (2, 3), True).shape == (4, 8, 1, 1)


def test_integers_and_empty():
    assert kernels.sum(np.arange(10, dtype=np.int32), (0,), False) == 45
    assert np.array_equal(kernels.sum(np.zeros((0, 3), np.float32), (0,), False), [0, 0, 0])
    assert kernels.sum(np.zeros((3, 0), np.float32), (0,), True).shape == (1, 0)
    assert kernels.sum(np.array(2.5, np.float32), (), False) == 2.5


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_reach_their_sums_only(value):
    x = numbers(1, (3, 8, 4, 5) if SIMULATED else (6, 40, 20, 20), np.float32)
    x[2, 7, 3, 4] = value
    for layout in (np.ascontiguousarray, channels_last_copy):
        for axes in ((0, 2, 3), (2, 3), (1,), (0,), (0, 1, 2, 3), (1, 3)):
            y = kernels.sum(layout(x), axes, False)
            assert np.count_nonzero(~np.isfinite(y)) == 1
            assert np.array_equal(y[~np.isfinite(y)], [value], equal_nan=True)


def test_same_bits_whatever_the_number_of_threads():
    x = numbers(1, (3, 5, 6, 7) if SIMULATED else (7, 33, 61, 67), np.float32)
    for layout in (np.ascontiguousarray, channels_last_copy):
        for axes in ((0, 2, 3), (2, 3), (0, 1, 2, 3), (1,), (0,)):
            assert same_with_one_and_two_threads(lambda layout=layout, axes=axes: kernels.sum(layout(x), axes, False))


def test_sum_of_ones_counts():
    for count in (1, 255, 256, 257, *(() if SIMULATED else (65535, 65536, 65537, 1_000_003))):
        assert kernels.sum(np.ones(count, np.float32), (0,), False) == np.float32(count)
        assert math.prod(kernels.sum(np.ones((count, 1), np.float32), (0,), True).shape) == 1


@pytest.mark.parametrize("name", ["sum", "prod", "logsumexp", "argmax", "argmin"])
@settings(max_examples=30, deadline=None)
@given(case=shapes_and_axes(1), dtype=dtypes, layout=layouts, nan=st.booleans(), backwards=st.booleans())
def test_scan(name, case, dtype, layout, nan, backwards):
    shape, axes = case
    backwards &= not name.startswith("arg")
    x = numbers(3, shape, dtype)
    if name.startswith("arg"):
        x = np.round(x)  # ties
    if nan:
        x.flat[x.size // 2] = np.nan
    axis = axes[0] if axes else 0
    y = kernels.scan(name, LAYOUTS[layout](x), axis, backwards)
    assert y.dtype == (np.int64 if name.startswith("arg") else dtype)
    expected = reference.scan(name, x, axis, backwards)
    np.testing.assert_allclose(y, expected, rtol=tolerance(dtype, 1e-5, 1e-13), atol=tolerance(dtype, 1e-5, 1e-13))
    if name.startswith("arg") and not nan:  # integers have loops of their own
        assert np.array_equal(kernels.scan(name, x.astype(np.int64), axis), expected)


@settings(max_examples=60, deadline=None)
@given(case=shapes_and_axes(), keepdims=st.booleans(), dtype=dtypes, layout=layouts, seed=st.integers(0, 99))
def test_prod(case, keepdims, dtype, layout, seed):
    shape, axes = case
    x = numbers(seed, shape, dtype, mean=1)
    y = kernels.prod(LAYOUTS[layout](x), axes, keepdims)
    expected = reference.prod(x, axes, keepdims)  # one below the normal numbers has fewer digits
    assert y.dtype == dtype and relative_error(y, expected, np.abs(expected) + np.finfo(dtype).tiny) < tolerance(dtype, 1e-5, 1e-14)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(40, 6), (6, 40), (301,)] if SIMULATED else [(2000, 16), (16, 2000), (70_001,), (300, 300)])
def test_large_products_and_scans(shape, dtype):
    x = np.exp(numbers(1, shape, dtype) * 0.05) * np.where(numbers(2, shape) > 0, 1, -1).astype(dtype)
    for axis in range(len(shape)):
        y, exact = kernels.prod(x, (axis,), False), np.prod(x.astype(np.longdouble), axis=axis)
        assert relative_error(y, exact.astype(dtype)) < tolerance(dtype, 1e-6, 1e-12)
        for name, run in (
            ("sum", np.cumsum),
            ("prod", np.cumprod),
            ("logsumexp", lambda x, axis, dtype: np.logaddexp.accumulate(x.astype(dtype), axis)),
        ):
            for backwards in (False, True):
                exact = run(np.flip(x, axis) if backwards else x, axis=axis, dtype=np.longdouble)
                exact = (np.flip(exact, axis) if backwards else exact).astype(np.float64)
                y = kernels.scan(name, x, axis, backwards)
                assert np.allclose(y, exact, rtol=tolerance(dtype, 1e-6, 1e-11), atol=tolerance(dtype, 1e-4, 1e-11))
                assert same_with_one_and_two_threads(lambda name=name, axis=axis, back=backwards: kernels.scan(name, x, axis, back))


@pytest.mark.cpu
def test_extremes_of_lines_that_threads_share():
    x = numbers(1, (9, 5, 83, 89), np.float32)
    x[3, 2, 1, 0] = np.nan
    for axes in ((2, 3), (3,), (1, 2, 3), (0, 2, 3)):
        for layout in (np.ascontiguousarray, channels_last_copy):
            for keepdims in (False, True):
                assert same(kernels.amax(layout(x), axes, keepdims), x.max(axis=axes, keepdims=keepdims))
                assert same(kernels.amin(layout(x), axes, keepdims), x.min(axis=axes, keepdims=keepdims))


def test_a_product_may_leave_the_range_of_floats_on_the_way():
    x = np.tile(np.array([1e20, 1e20, 1e20, 1e20, 1e-20, 1e-20, 1e-20, 1e-20], np.float32), (20 if SIMULATED else 4000, 1))
    assert np.allclose(kernels.prod(x, (1,), False), 1) and np.allclose(kernels.prod(x[:9].T.copy(), (0,), False), 1)
    assert np.array_equal(kernels.prod(np.array([0.0, np.inf, np.nan], np.float32), (), False), [0, np.inf, np.nan], equal_nan=True)


@settings(max_examples=40, deadline=None)
@given(case=shapes_and_axes(), layout=layouts, dtype=st.sampled_from([np.float32, np.float64, np.int64, np.bool_]), seed=st.integers(0, 99))
def test_what_is_not_0(case, layout, dtype, seed):
    x = np.round(numbers(seed, case[0])).astype(dtype)
    y = kernels.nonzero(LAYOUTS[layout](x))
    assert y.dtype == np.int64 and np.array_equal(y, reference.nonzero(x))
