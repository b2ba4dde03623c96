import numpy as np
import pytest
import scipy.special
from hypothesis import given
from hypothesis import strategies as st

from tests.backend import kernels, settings
from tests.helpers import (
    LAYOUTS,
    channels_last_copy,
    dtypes,
    layouts,
    memory_order,
    numbers,
    relative_error,
    same_with_one_and_two_threads,
    tolerance,
)
from tests.reference import softmax as reference

shapes = st.lists(st.integers(1, 6), min_size=1, max_size=4).map(tuple)


@settings(max_examples=50, deadline=None)
@given(shape=shapes, axis=st.integers(-4, 3), dtype=dtypes, layout=layouts, seed=st.integers(0, 99))
def test_softmax_its_logarithm_and_gradients(shape, axis, dtype, layout, seed):
    axis = axis % len(shape) - (len(shape) if axis < 0 else 0)
    x, gy = LAYOUTS[layout](numbers(seed, shape, dtype, 3)), LAYOUTS[layout](numbers(seed + 1, shape, dtype))
    limit = tolerance(dtype, 5e-7, 1e-15)
    for name in ("softmax", "log_softmax"):
        y = getattr(kernels, name)(x, axis)
        assert y.dtype == dtype
        assert relative_error(y, getattr(reference, name)(x, axis)) < limit
        gx = getattr(kernels, name + "_grad")(gy, y, axis)
        expected = getattr(reference, name + "_grad")(gy, y, axis)
        assert np.linalg.norm(gx - expected) < 4 * limit * (np.linalg.norm(gy) + np.linalg.norm(expected))


large = pytest.mark.cpu  # sizes where its walks change


@pytest.mark.parametrize(
    "shape, axis",
    [
        *(pytest.param(*case, marks=large) for case in [
            ((128, 1000), 1), ((1000, 128), 0), ((3, 21, 30, 31), 1), ((1500, 12), 1), ((300, 32), 1), ((300, 33), 1), ((600, 1), 1)]),
        ((3, 300), 1), ((300, 3), 0), ((2, 21, 3, 5), 1), ((40, 12), 1), ((50, 1), 1), ((2, 3, 40, 2), 2),
    ],
)  # fmt: skip
def test_many_classes(shape, axis):
    x = numbers(1, shape, np.float32, 5)
    for layout in (np.ascontiguousarray, channels_last_copy):
        assert relative_error(kernels.softmax(layout(x), axis), scipy.special.softmax(x.astype(np.float64), axis)) < 3e-7
        assert relative_error(kernels.log_softmax(layout(x), axis), scipy.special.log_softmax(x.astype(np.float64), axis)) < 3e-7


def test_large_scores_lose_nothing():
    """x - max is exact here; x - (max + log sum) would not be."""
    x = np.array([[1e4, 1e4 - 1, 1e4 - 2]], np.float32)
    assert relative_error(kernels.log_softmax(x, 1), scipy.special.log_softmax(x.astype(np.float64), 1)) < 2e-7


def test_rows_with_infinity():
    x = np.array([[0, -np.inf, 1], [-np.inf] * 3, [np.inf, 0, 0], [np.nan, 0, 0]], np.float32)
    y = kernels.softmax(x, 1)
    assert y[0, 1] == 0 and np.isclose(y[0].sum(), 1) and np.isnan(y[1:]).all()
    z = kernels.log_softmax(x, 1)
    assert np.isneginf(z[0, 1]) and np.isnan(z[1:]).all()


def test_empty_and_memory_order():
    assert kernels.softmax(np.zeros((0, 3), np.float32), 1).shape == (0, 3)
    assert kernels.log_softmax(np.zeros((3, 0), np.float32), 1).shape == (3, 0)
    for x in (numbers(1, (2, 3, 4, 5)), channels_last_copy(numbers(1, (2, 3, 4, 5)))):
        for axis in range(4):
            assert memory_order(kernels.softmax(x, axis)) == memory_order(x)


@settings(max_examples=40, deadline=None)
@given(
    shape=st.lists(st.integers(1, 5), min_size=2, max_size=4).map(tuple), dtype=dtypes, layout=layouts, weighted=st.booleans(),
    smoothing=st.sampled_from([0.0, 0.1, 1.0]), ignore=st.sampled_from([-100, 0]), seed=st.integers(0, 99),
)  # fmt: skip
def test_cross_entropy_and_its_gradient(shape, dtype, layout, weighted, smoothing, ignore, seed):
    rng = np.random.default_rng(seed)
    x = LAYOUTS[layout](numbers(seed, shape, dtype, 3))
    target = LAYOUTS[layout](rng.integers(0, shape[1], (shape[0], *shape[2:])))
    weight = rng.random(shape[1]).astype(dtype) if weighted else None
    loss, y = kernels.cross_entropy(x, target, weight, ignore, smoothing)
    expected, log_probabilities = reference.cross_entropy(x, target, weight, ignore, smoothing)
    limit = tolerance(dtype, 1e-6, 1e-14)
    # Where the target is nearly certain the loss is the difference of much larger numbers.
    assert loss.dtype == dtype and np.linalg.norm(loss - expected) < limit * (1 + np.linalg.norm(x))
    assert np.linalg.norm(y - log_probabilities) < limit * (1 + np.linalg.norm(x))
    g = LAYOUTS[layout](numbers(seed + 1, target.shape, dtype))
    gx = kernels.cross_entropy_grad(g, y, target, weight, ignore, smoothing)
    expected = reference.cross_entropy_grad(g, log_probabilities, target, weight, ignore, smoothing)
    assert np.linalg.norm(gx - expected) < 4 * limit * (np.linalg.norm(g) + np.linalg.norm(expected))


@pytest.mark.cpu
def test_same_bits_whatever_the_number_of_threads():
    x, g = numbers(1, (301, 77), np.float32), numbers(2, (301, 77), np.float32)
    target = np.arange(301) % 77
    assert same_with_one_and_two_threads(lambda: (kernels.softmax(x, 1), kernels.log_softmax(x, 1)))
    assert same_with_one_and_two_threads(lambda: (kernels.softmax_grad(g, x, 1), kernels.log_softmax_grad(g, x, 1)))
    assert same_with_one_and_two_threads(lambda: kernels.cross_entropy(x, target, None, -100, 0.1))
    assert same_with_one_and_two_threads(lambda: kernels.cross_entropy_grad(g[:, 0], x, target, None, -100, 0.1))
