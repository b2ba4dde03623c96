import numpy as np
import pytest
import scipy.special
from hypothesis import given, settings
from hypothesis import strategies as st

import convkit
from convkit import Tensor
from convkit.nn import functional as F
from tests.helpers import LAYOUTS, channels_last_copy, dtypes, layouts, memory_order, numbers, relative_error, tolerance
from tests.ops import apart, both_layouts, check_gradients, gradients, leaf, second_order_runs, seeds

NAMES = ["relu", "tanh", "sigmoid"]
FORMULAS = {"relu": lambda x: np.maximum(x, 0), "tanh": np.tanh, "sigmoid": scipy.special.expit}
OVER_AXIS = {"softmax": scipy.special.softmax, "log_softmax": scipy.special.log_softmax}
shapes = st.lists(st.integers(1, 4), min_size=0, max_size=4).map(tuple)


@settings(max_examples=40)
@given(name=st.sampled_from(NAMES), shape=shapes, dtype=dtypes, layout=layouts, seed=seeds)
def test_values(name, shape, dtype, layout, seed):
    x = numbers(seed, shape, dtype, scale=3)
    y = getattr(F, name)(convkit.from_numpy(LAYOUTS[layout](x)))
    assert y.dtype == dtype and relative_error(y.numpy(), FORMULAS[name](x.astype(np.float64))) < tolerance(dtype, 2e-7, 1e-15)


@settings(max_examples=40)
@given(name=st.sampled_from(sorted(OVER_AXIS)), shape=shapes.filter(len), dtype=dtypes, layout=layouts, seed=seeds, data=st.data())
def test_values_over_an_axis(name, shape, dtype, layout, seed, data):
    dim = data.draw(st.integers(-len(shape), len(shape) - 1))
    x = numbers(seed, shape, dtype, scale=3)
    y = getattr(F, name)(convkit.from_numpy(LAYOUTS[layout](x)), dim)
    expected = OVER_AXIS[name](x.astype(np.float64), axis=dim)
    assert y.dtype == dtype and np.abs(y.numpy() - expected).max() < tolerance(dtype, 3e-6, 1e-14)


@settings(max_examples=30)
@given(name=st.sampled_from(NAMES), shape=shapes, layout=both_layouts, seed=seeds)
def test_gradients(name, shape, layout, seed):
    check_gradients(getattr(F, name), apart(seed, shape, layout))


@settings(max_examples=30)
@given(name=st.sampled_from(sorted(OVER_AXIS)), shape=shapes.filter(lambda s: 0 < len(s) < 4), layout=both_layouts, seed=seeds, data=st.data())
def test_gradients_over_an_axis(name, shape, layout, seed, data):
    dim = data.draw(st.integers(-len(shape), len(shape) - 1))
    check_gradients(lambda x: getattr(F, name)(x, dim), leaf(seed, shape, layout))


@pytest.mark.parametrize("name", NAMES)
def test_memory_order_stays(name):
    x = Tensor(channels_last_copy(numbers(1, (2, 3, 4, 5), np.float32)), requires_grad=True)
    y, gx = gradients(getattr(F, name), x)
    assert memory_order(y) == memory_order(gx) == memory_order(x.array)


@pytest.mark.parametrize("shape", [(0,), (0, 3), (3, 0), (2, 0, 4), (1, 1, 1, 1), (0, 3, 2, 2)])
def test_nothing_and_one(shape):
    for name in NAMES:
        assert gradients(getattr(F, name), leaf(1, shape))[0].shape == shape
        second_order_runs(getattr(F, name), leaf(1, shape))
    for name in OVER_AXIS:
        for dim in range(len(shape)):
            f = lambda x, name=name, dim=dim: getattr(F, name)(x, dim)
            assert gradients(f, leaf(1, shape))[0].shape == shape
            second_order_runs(f, leaf(1, shape))


def test_a_number_alone():
    assert F.softmax(convkit.tensor(3.0), 0).item() == 1 and F.log_softmax(convkit.tensor(3.0), -1).item() == 0
    assert F.relu(convkit.tensor(-2.0)).shape == ()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_nan_and_infinity(dtype):
    x = convkit.from_numpy(np.array([np.nan, np.inf, -np.inf, 0, -0.0], dtype))
    np.testing.assert_array_equal(F.relu(x).numpy(), [np.nan, np.inf, 0, 0, 0])
    np.testing.assert_array_equal(F.tanh(x).numpy(), [np.nan, 1, -1, 0, 0])
    np.testing.assert_array_equal(F.sigmoid(x).numpy(), [np.nan, 1, 0, 0.5, 0.5])
    rows = np.array([[1, np.nan, 2], [1, np.inf, 2], [0, -np.inf, 0], [-np.inf] * 3], dtype)
    y = F.softmax(convkit.from_numpy(rows), 1).numpy()
    assert np.isnan(y[[0, 1, 3]]).all(axis=1)[[0, 2]].all() and np.isnan(y[1, 1])
    np.testing.assert_array_equal(y[2], [0.5, 0, 0.5])
    log = F.log_softmax(convkit.from_numpy(rows), 1).numpy()
    assert np.isnan(log[[0, 3]]).all() and np.isneginf(log[2, 1]) and abs(log[2, 0] + np.log(2)) < 1e-6


def test_gradients_beside_nan_and_infinity():
    x = convkit.from_numpy(np.array([np.nan, np.inf, -np.inf, 0.0, 2.0])).requires_grad_()
    assert gradients(F.relu, x)[1][1:].tolist() == [1, 0, 0, 1]
    for f in (F.tanh, F.sigmoid):
        x.grad = None
        g = gradients(f, x)[1]
        assert np.isnan(g[0]) and g[1] == g[2] == 0
    x = convkit.from_numpy(np.array([0.0, -np.inf, 1.0])).requires_grad_()
    assert np.isfinite(gradients(lambda x: F.log_softmax(x, 0)[0], x)[1]).all()  # a class that is ruled out


def test_large_numbers_neither_overflow_nor_lose_digits():
    x = convkit.tensor([[1000.0, 1000.0, -1000.0]], requires_grad=True)
    np.testing.assert_array_equal(F.softmax(x, 1).detach().numpy(), [[0.5, 0.5, 0]])
    y, gx = gradients(lambda x: F.log_softmax(x, 1)[:, 2:], x)
    assert y[0, 0] == pytest.approx(-2000 - np.log(2)) and gx.tolist() == [[-0.5, -0.5, 1]]
    np.testing.assert_array_equal(F.sigmoid(convkit.tensor([-1000.0, 1000.0])).numpy(), [0, 1])


@pytest.mark.parametrize("name", [*NAMES, *OVER_AXIS])
def test_errors(name):
    f = getattr(F, name)
    more = (0,) if name in OVER_AXIS else ()
    for bad in (convkit.tensor([1, 2]), convkit.tensor([True])):
        with pytest.raises(TypeError, match=f"^{name}: needs float32 or float64, got (int64|bool)"):
            f(bad, *more)
    if more:
        for dim in (2, -3):
            with pytest.raises(IndexError, match=f"^{name}: dim {dim} is out of range for a tensor of 2 dimensions"):
                f(convkit.ones(2, 3), dim)
        with pytest.raises(TypeError, match=f"^{name}: dim must be an int, got 'rows'"):
            f(convkit.ones(2, 3), "rows")
