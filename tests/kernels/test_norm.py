import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from convkit_kernels import cpu as kernels
from tests.helpers import LAYOUTS, channels_last_copy, dtypes, layouts, numbers, relative_error, same, same_with_one_and_two_threads, tolerance
from tests.reference import norm as reference

shapes = st.tuples(st.integers(1, 4), st.integers(1, 9), st.lists(st.integers(1, 5), max_size=3)).map(lambda t: (t[0], t[1], *t[2]))


@settings(max_examples=50, deadline=None)
@given(shape=shapes, dtype=dtypes, layout=layouts, other=layouts, affine=st.booleans(), seed=st.integers(0, 99))
def test_batch_norm_and_its_gradient(shape, dtype, layout, other, affine, seed):
    x, gy = LAYOUTS[layout](numbers(seed, shape, dtype, mean=0.5)), LAYOUTS[other](numbers(seed + 1, shape, dtype))
    mean, variance = kernels.batch_norm_stats(x)
    limit = tolerance(dtype, 1e-6, 1e-14)
    expected_mean, expected_variance = reference.batch_norm_stats(x)
    assert mean.dtype == variance.dtype == dtype
    scale, _ = reference.batch_norm_stats(np.abs(x))
    assert relative_error(mean, expected_mean, scale) < limit and np.allclose(variance, expected_variance, rtol=limit, atol=limit**2)
    inv_std = (1 / np.sqrt(variance + 0.1)).astype(dtype)
    weight, bias = (numbers(seed + 2, shape[1:2], dtype), numbers(seed + 3, shape[1:2], dtype)) if affine else (None, None)
    y = kernels.batch_norm(x, mean, inv_std, weight, bias)
    expected = reference.batch_norm(x, mean, inv_std, weight, bias)
    assert y.dtype == dtype and relative_error(y, expected, np.abs(expected) + 1) < limit
    got = kernels.batch_norm_grad(gy, x, mean, inv_std, weight)
    for a, b in zip(got, reference.batch_norm_grad(gy, x, mean, inv_std, weight), strict=True):
        assert a.dtype == dtype and np.linalg.norm(a - b) < 10 * limit * (np.linalg.norm(b) + np.linalg.norm(gy))


@pytest.mark.parametrize("shape", [(16, 1, 100, 101), (16, 3, 60, 61), (8, 30, 40, 41), (8, 64, 32, 31), (4, 300, 20, 21), (5000, 70)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_large_arrays(shape, dtype):
    x, gy = numbers(1, shape, dtype, 2, 3), numbers(2, shape, dtype)
    axes = tuple(i for i in range(len(shape)) if i != 1)
    wide = x.astype(np.longdouble)
    for layout in (np.ascontiguousarray, channels_last_copy):
        mean, variance = kernels.batch_norm_stats(layout(x))
        assert relative_error(mean, wide.mean(axes)) < tolerance(dtype, 1e-7, 1e-15)
        assert relative_error(variance, wide.var(axes)) < tolerance(dtype, 2e-7, 1e-14)
        inv_std = 1 / np.sqrt(variance)
        y = kernels.batch_norm(layout(x), mean, inv_std, None, None)
        assert abs(y.mean()) < 1e-5 and abs(y.std() - 1) < 1e-5
        gx, gweight, gbias = kernels.batch_norm_grad(layout(gy), layout(x), mean, inv_std, None)
        assert relative_error(gbias, gy.sum(axes, dtype=np.longdouble)) < tolerance(dtype, 1e-6, 1e-13)
        assert relative_error(gweight, (gy * y.astype(np.longdouble)).sum(axes)) < tolerance(dtype, 1e-5, 1e-12)
        # The gradient is orthogonal to what normalisation removes.
        assert np.abs(gx.sum(axes, dtype=np.float64)).max() < tolerance(dtype, 0.02, 1e-9)


@pytest.mark.parametrize("mean", [1e3, 1e4])
def test_a_mean_much_larger_than_the_deviation(mean):
    x = numbers(1, (16, 5, 40, 40), np.float32, 1, mean)
    x[0, 0, 0, 0] = 0  # an outlier in the first place must not matter
    got = kernels.batch_norm_stats(channels_last_copy(x))
    wide = x.astype(np.longdouble)
    assert relative_error(got[0], wide.mean((0, 2, 3))) < 1e-7
    assert relative_error(got[1], wide.var((0, 2, 3))) < 1e-6


def test_nan_and_infinity_stay_in_their_channel():
    x = numbers(1, (4, 6, 9, 9), np.float32)
    x[1, 2, 3, 3], x[2, 4, 1, 1] = np.nan, np.inf
    mean, variance = kernels.batch_norm_stats(channels_last_copy(x))
    assert np.isnan(mean[2]) and np.isposinf(mean[4]) and np.isfinite(mean[[0, 1, 3, 5]]).all()
    assert np.array_equal(np.isnan(variance), [False, False, True, False, True, False])


def test_nothing_and_one():
    mean, variance = kernels.batch_norm_stats(np.zeros((0, 3, 2, 2), np.float32))
    assert np.isnan(mean).all() and np.isnan(variance).all()
    one = np.ones(3, np.float32)
    assert kernels.batch_norm(np.zeros((0, 3, 2, 2), np.float32), one, one, None, None).shape == (0, 3, 2, 2)
    gx, gweight, gbias = kernels.batch_norm_grad(np.zeros((0, 3), np.float32), np.zeros((0, 3), np.float32), one, one, one)
    assert gx.shape == (0, 3) and not gweight.any() and not gbias.any()
    mean, variance = kernels.batch_norm_stats(np.full((1, 3), 7, np.float32))
    assert same(mean, 7 * one) and not variance.any()


def test_same_bits_whatever_the_number_of_threads():
    x, gy = numbers(1, (9, 21, 50, 50), np.float32), numbers(2, (9, 21, 50, 50), np.float32)
    mean, variance = kernels.batch_norm_stats(x)
    assert same_with_one_and_two_threads(lambda: kernels.batch_norm_stats(x))
    assert same_with_one_and_two_threads(lambda: kernels.batch_norm(x, mean, variance, mean, variance))
    assert same_with_one_and_two_threads(lambda: kernels.batch_norm_grad(gy, x, mean, variance, None))
