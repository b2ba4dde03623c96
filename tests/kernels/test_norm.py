import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.backend import SIMULATED, kernels, settings
from tests.helpers import LAYOUTS, channels_last_copy, dtypes, layouts, numbers, relative_error, same, same_with_one_and_two_threads, tolerance
from tests.reference import norm as reference

# [N, C, *S] and the number of groups
shapes = st.tuples(st.integers(1, 4), st.integers(1, 5), st.integers(1, 3), st.lists(st.integers(1, 5), max_size=3)).map(
    lambda t: ((t[0], t[1] * t[2], *t[3]), t[1])
)


@settings(max_examples=60, deadline=None)
@given(
    case=shapes,
    batch=st.booleans(),
    dtype=dtypes,
    layout=layouts,
    other=layouts,
    affine=st.booleans(),
    centred=st.booleans(),
    relu=st.booleans(),
    adds=st.booleans(),
    seed=st.integers(0, 99),
)
def test_norm_and_its_gradient(case, batch, dtype, layout, other, affine, centred, relu, adds, seed):
    shape, groups = case
    x, gy = LAYOUTS[layout](numbers(seed, shape, dtype, mean=0.5)), LAYOUTS[other](numbers(seed + 1, shape, dtype))
    mean, variance = kernels.norm_stats(x, groups, batch)
    limit = tolerance(dtype, 1e-6, 1e-14)
    expected_mean, expected_variance = reference.norm_stats(x, groups, batch)
    assert mean.dtype == variance.dtype == dtype and mean.shape == variance.shape == (1 if batch else shape[0], groups)
    scale, _ = reference.norm_stats(np.abs(x), groups, batch)
    assert relative_error(mean, expected_mean, scale) < limit and np.allclose(variance, expected_variance, rtol=limit, atol=limit**2)
    inv_std = (1 / np.sqrt(variance + 0.1)).astype(dtype)
    mean = mean if centred else np.zeros_like(mean)
    weight, bias = (numbers(seed + 2, shape[1:2], dtype), numbers(seed + 3, shape[1:2], dtype)) if affine else (None, None)
    add = LAYOUTS[other](numbers(seed + 4, shape, dtype)) if adds else None
    y = kernels.norm(x, mean, inv_std, weight, bias, add, relu)
    expected = reference.norm(x, mean, inv_std, weight, bias, add, relu)
    assert y.dtype == dtype and relative_error(y, expected, np.abs(expected) + 1) < limit
    if relu:  # a number too near to the bend is cut off by one of the two only
        near = np.abs(reference.norm(x, mean, inv_std, weight, bias)) < 1e-5
        gy = np.where(near, dtype(0), gy)
    for constant in (False, True)[: 1 if relu else 2]:  # statistics of x, or given ones
        got = kernels.norm_grad(gy, x, mean, inv_std, weight, bias, centred, relu, constant)
        for a, b in zip(got, reference.norm_grad(gy, x, mean, inv_std, weight, bias, centred, relu, constant), strict=True):
            assert a.dtype == dtype and np.linalg.norm(a - b) <= 10 * limit * (np.linalg.norm(b) + np.linalg.norm(gy))


@pytest.mark.parametrize(
    "shape, groups",
    [
        *(pytest.param(*case, marks=pytest.mark.cpu) for case in [((3, 5, 40, 41), 5), ((3, 6, 9, 9), 2), ((2, 1, 30, 31), 1), ((40, 70), 1)]),
        ((2, 6, 5, 4), 2), ((3, 4, 3, 3), 4), ((2, 1, 9, 7), 1), ((8, 20), 1), ((2, 3, 1, 1), 3),
    ],
)  # fmt: skip
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_relu_in_the_same_pass_has_the_same_bits(shape, groups, dtype):
    x, gy, weight, bias = (numbers(i, s, dtype) for i, s in enumerate((shape, shape, shape[1:2], shape[1:2])))
    weight[0], bias[0] = -0.0, -0.0  # a channel of zeros
    x.flat[-1] = np.nan
    x.flat[-2] = np.inf
    mean, variance = kernels.norm_stats(numbers(5, shape, dtype), groups, True)
    for layout in (np.ascontiguousarray, channels_last_copy):
        x, gy = layout(x), layout(gy)
        y = kernels.norm(x, mean, variance, weight, bias)
        fused = kernels.norm(x, mean, variance, weight, bias, None, True)
        expected = kernels.activation("threshold", y)
        assert same(fused, expected) and np.array_equal(np.signbit(fused), np.signbit(expected))
        finite = np.where(np.isfinite(x), x, 0)
        cut = kernels.activation_grad("threshold", gy, kernels.norm(finite, mean, variance, weight, bias))
        got = kernels.norm_grad(gy, finite, mean, variance, weight, bias, True, True)
        for a, b in zip(got, kernels.norm_grad(cut, finite, mean, variance, weight, None, True, False), strict=True):
            assert same(a, b)


# Shapes that are cut into several parts and tasks, and rows that are joined.
LARGE = [((16, 1, 100, 101), 1), ((16, 3, 60, 61), 3), ((8, 30, 40, 41), 5), ((8, 64, 32, 31), 1), ((4, 300, 20, 21), 300), ((5000, 70), 7)]
# The same on other devices, whose parts are as small as their arrays must be.
SMALL = [((3, 1, 7, 9), 1), ((3, 3, 5, 5), 3), ((2, 6, 4, 5), 3), ((20, 56), 7)]


@pytest.mark.parametrize("shape, groups", [*(pytest.param(*case, marks=pytest.mark.cpu) for case in LARGE), *SMALL])
@pytest.mark.parametrize("batch", [True, False])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_large_arrays(shape, groups, batch, dtype):
    x, gy = numbers(1, shape, dtype, 2, 3), numbers(2, shape, dtype)
    split = (shape[0], groups, shape[1] // groups, *shape[2:])
    axes = (0,) * batch + tuple(range(2, len(split)))
    wide = x.astype(np.longdouble).reshape(split)
    blocks = 1 if batch else shape[0]
    for layout in (np.ascontiguousarray, channels_last_copy):
        mean, variance = kernels.norm_stats(layout(x), groups, batch)
        assert relative_error(mean, wide.mean(axes).reshape(blocks, groups)) < tolerance(dtype, 1e-7, 1e-15)
        assert relative_error(variance, wide.var(axes).reshape(blocks, groups)) < tolerance(dtype, 2e-7, 1e-14)
        inv_std = 1 / np.sqrt(variance)
        y = kernels.norm(layout(x), mean, inv_std, None, None)
        assert abs(y.mean(dtype=np.float64)) < 1e-5 and abs(y.std(dtype=np.float64) - 1) < 1e-5
        gx, gweight, gbias = kernels.norm_grad(layout(gy), layout(x), mean, inv_std, None, None, True, False)
        columns = tuple(i for i in range(len(shape)) if i != 1)
        assert relative_error(gbias, gy.sum(columns, dtype=np.longdouble)) < tolerance(dtype, 1e-6, 1e-13)
        assert relative_error(gweight, (gy * y.astype(np.longdouble)).sum(columns)) < tolerance(dtype, 1e-5, 1e-12)
        # The gradient is orthogonal to what normalisation removes.
        assert np.abs(gx.reshape(split).sum(axes, dtype=np.float64)).max() < tolerance(dtype, 0.02, 1e-9)


@pytest.mark.parametrize("mean", [1e3, 1e4])
@pytest.mark.parametrize("groups, batch", [(6, True), (6, False), (2, False), (1, False)])
def test_a_mean_much_larger_than_the_deviation(mean, groups, batch):
    images, size = (4, 10) if SIMULATED else (16, 40)
    x = numbers(1, (images, 6, size, size), np.float32, 1, mean)
    x[0, 0, 0, 0] = 0  # an outlier in the first place must not matter
    got = kernels.norm_stats(channels_last_copy(x), groups, batch)
    wide = x.astype(np.longdouble).reshape(images, groups, 6 // groups, size, size)
    axes = (0, 2, 3, 4) if batch else (2, 3, 4)
    assert relative_error(got[0].squeeze(), wide.mean(axes).squeeze()) < 1e-7
    assert relative_error(got[1].squeeze(), wide.var(axes).squeeze()) < 1e-6


@pytest.mark.parametrize("shape, groups", [((8, 3, 16, 16), 3), ((2, 6, 9, 7), 2)])
def test_squares_may_leave_the_range_of_floats_on_the_way(shape, groups):
    x = channels_last_copy(numbers(0, shape, np.float32))
    x[1, :, 4, 4] = 3e19
    mean, variance = kernels.norm_stats(x, groups, True)
    expected = reference.norm_stats(x, groups, True)
    assert np.allclose(mean, expected[0], rtol=1e-6) and np.isfinite(variance).all() and np.allclose(variance, expected[1], rtol=1e-6)


def test_a_variance_beyond_the_range_of_floats_is_infinite():
    x = np.ones((2, 3, 4, 4), np.float32)
    x[0, 0, 0, 0] = 3e38
    assert np.array_equal(np.isinf(kernels.norm_stats(x, 3, True)[1][0]), [True, False, False])


def test_nan_and_infinity_stay_in_their_group():
    x = numbers(1, (4, 6, 9, 9), np.float32)
    x[1, 2, 3, 3], x[2, 4, 1, 1] = np.nan, np.inf
    mean, variance = kernels.norm_stats(channels_last_copy(x), 6, True)
    assert np.isnan(mean[0, 2]) and np.isposinf(mean[0, 4]) and np.isfinite(mean[0, [0, 1, 3, 5]]).all()
    assert np.array_equal(np.isnan(variance[0]), [False, False, True, False, True, False])
    for groups in (1, 3):
        mean, variance = kernels.norm_stats(x, groups, False)
        wrong = np.zeros((4, groups), bool)
        wrong[1, 2 * groups // 6] = wrong[2, 4 * groups // 6] = True
        assert np.array_equal(~np.isfinite(mean), wrong) and np.array_equal(np.isnan(variance), wrong)


def test_nothing_and_one():
    for batch, blocks in ((True, 1), (False, 0)):
        mean, variance = kernels.norm_stats(np.zeros((0, 3, 2, 2), np.float32), 3, batch)
        assert mean.shape == variance.shape == (blocks, 3) and np.isnan(mean).all() and np.isnan(variance).all()
    one = np.ones((1, 3), np.float32)
    assert kernels.norm(np.zeros((0, 3, 2, 2), np.float32), one, one, None, None).shape == (0, 3, 2, 2)
    gx, gweight, gbias = kernels.norm_grad(np.zeros((0, 3), np.float32), np.zeros((0, 3), np.float32), one, one, one[0], None, True, True)
    assert gx.shape == (0, 3) and not gweight.any() and not gbias.any()
    mean, variance = kernels.norm_stats(np.full((1, 3), 7, np.float32), 3, True)
    assert same(mean, 7 * one) and not variance.any()


@pytest.mark.cpu
@pytest.mark.parametrize("groups, batch", [(21, True), (21, False), (7, False), (1, False)])
def test_same_bits_whatever_the_number_of_threads(groups, batch):
    x, gy = numbers(1, (9, 21, 50, 50), np.float32), numbers(2, (9, 21, 50, 50), np.float32)
    mean, variance = kernels.norm_stats(x, groups, batch)
    weight = numbers(3, (21,), np.float32)
    assert same_with_one_and_two_threads(lambda: kernels.norm_stats(x, groups, batch))
    assert same_with_one_and_two_threads(lambda: kernels.norm(x, mean, variance, weight, weight, gy, True))
    assert same_with_one_and_two_threads(lambda: kernels.norm_grad(gy, x, mean, variance, weight, weight, True, True))
