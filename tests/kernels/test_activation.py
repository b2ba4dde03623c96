import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.backend import kernels, settings
from tests.helpers import LAYOUTS, channels_last_copy, dtypes, layouts, memory_order, numbers, same, same_with_one_and_two_threads, tolerance
from tests.reference import activation as reference

PARAMETERS = {
    "threshold": (0.3, -0.5, 0),
    "hardtanh": (-0.7, 1.2, 0),
    "leaky_relu": (0.2, 0, 0),
    "elu": (1.3, 0.9, 0.7),
    "softplus": (1.5, 2.0, 0),
    "hardshrink": (0.6, 0, 0),
    "softshrink": (0.6, 0, 0),
    "nan_to_num": (0.5, 7.0, -8.0),
}
FROM_RESULT = ("hardtanh", "sigmoid", "tanh")
NAMES = sorted(reference.ROWS)
shapes = st.lists(st.integers(0, 5), min_size=0, max_size=5).map(tuple)


def parameters(name: str) -> tuple:
    return PARAMETERS.get(name, (0.0, 0.0, 0.0))


def close(got, expected, size, dtype):
    """Within a few units in the last place of the result or of the formula's largest term."""
    assert got.shape == expected.shape
    assert np.array_equal(np.isnan(got), np.isnan(expected))
    np.testing.assert_array_less(np.abs(got - expected), tolerance(dtype, 1e-6, 1e-14) * (np.abs(expected) + size) + 1e-44)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=20)
@given(shape=shapes, dtype=dtypes, layout=layouts, other=layouts, seed=st.integers(0, 99))
def test_values_and_gradients(name, shape, dtype, layout, other, seed):
    x, gy = LAYOUTS[layout](numbers(seed, shape, dtype, 3)), LAYOUTS[other](numbers(seed + 1, shape, dtype))
    before = x.copy()
    y = kernels.activation(name, x, *parameters(name))
    expected = reference.activation(name, x, *parameters(name))
    assert y.dtype.newbyteorder("=") == dtype and same(x, before)
    close(y, expected, np.abs(expected) * x * x, dtype)  # an error of x in the last place grows so in the tails
    k = expected.astype(dtype) if name in FROM_RESULT else x
    close(kernels.activation_grad(name, gy, k, *parameters(name)), reference.activation_grad(name, gy, k, *parameters(name)), np.abs(gy), dtype)


@settings(max_examples=60)
@given(
    shape=st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(1, 40), st.integers(1, 9)), axis=st.integers(0, 3),
    dtype=dtypes, layout=layouts, other=layouts, seed=st.integers(0, 99),
)  # fmt: skip
def test_gates_read_halves_where_they_lie(shape, axis, dtype, layout, other, seed):
    shape = tuple(2 * n if i == axis else n for i, n in enumerate(shape))
    x = LAYOUTS[layout](numbers(seed, shape, dtype, 3))
    a, b = np.split(x, 2, axis)
    gy = LAYOUTS[other](numbers(seed + 1, a.shape, dtype))
    y, gb = kernels.activation("glu", a, b), kernels.activation_grad("glu", gy, a, b)
    close(y, reference.activation("glu", a, b), np.abs(a), dtype)
    close(gb, reference.activation_grad("glu", gy, a, b), np.abs(a * gy), dtype)
    if layout in ("C", "channels-last"):
        assert memory_order(y) == memory_order(np.empty_like(a))


@settings(max_examples=60)
@given(
    shape=st.tuples(st.integers(0, 9), st.integers(0, 5), st.integers(0, 4), st.integers(1, 4)), ones=st.integers(0, 15), drop=st.integers(0, 4),
    dtype=dtypes, layout=layouts, other=layouts, seed=st.integers(0, 99),
)  # fmt: skip
def test_leaky_relu_takes_an_array_of_slopes(shape, ones, drop, dtype, layout, other, seed):
    x, gy = LAYOUTS[layout](numbers(seed, shape, dtype, 3)), LAYOUTS[other](numbers(seed + 1, shape, dtype))
    a = LAYOUTS[other](numbers(seed + 2, tuple(1 if ones >> i & 1 else n for i, n in enumerate(shape))[drop:], dtype))
    y, gx = kernels.activation("leaky_relu", x, a), kernels.activation_grad("leaky_relu", gy, x, a)
    assert same(y, reference.activation("leaky_relu", x, a, 0, 0).astype(dtype))
    assert same(gx, reference.activation_grad("leaky_relu", gy, x, a, 0, 0).astype(dtype))


@pytest.mark.cpu
@pytest.mark.parametrize("layout", ["C order", "channels-last"])
def test_slopes_of_channels_in_large_arrays(layout):
    x, a = LAYOUTS[layout](numbers(1, (6, 30, 21, 11), np.float32)), numbers(2, (30, 1, 1), np.float32)
    x[0, :, 0, 0] = np.nan
    y = kernels.activation("leaky_relu", x, a)
    assert same(y, np.where(x > 0, x, a * x)) and memory_order(y) == memory_order(x)
    assert same(kernels.activation_grad("leaky_relu", x, x, a), np.where(x > 0, x, a * x))
    assert same_with_one_and_two_threads(lambda: kernels.activation("leaky_relu", x, a))


EXTREME = [0.0, -0.0, 1e-45, -1e-45, 1e-38, -1e-38, 3, -3, 6, -6, 20, -20, 1e4, -1e4, 3e38, -3e38, np.inf, -np.inf, np.nan]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_extreme_numbers(name, dtype):
    x = np.resize(np.array(EXTREME, dtype), 64)  # whole vectors and the rest of a loop
    with np.errstate(all="ignore"):
        y, expected = kernels.activation(name, x, *parameters(name)), reference.activation(name, x, *parameters(name)).astype(dtype)
    np.testing.assert_allclose(y, expected, rtol=1e-6, atol=3e-45)
    ones = np.ones_like(x)
    got = kernels.activation_grad(name, ones, y if name in FROM_RESULT else x, *parameters(name))
    if name in ("gelu", "gelu_tanh", "mish"):  # x^2 overflows, or 0 meets infinity on the way: what counts is that the limit comes out
        x, got = x[np.abs(x) < 1e5], got[np.abs(x) < 1e5]
        y, ones = y[: x.size], ones[: x.size]
    expected = reference.activation_grad(name, ones, y if name in FROM_RESULT else x, *parameters(name))
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=2e-7)


@pytest.mark.parametrize("name", ["gelu", "silu", "mish", "softplus", "logsigmoid", "elu", "sigmoid"])
def test_relative_error_in_the_tail(name):
    """Large negative numbers give small results, which are as accurate as large ones."""
    x = np.linspace(-12 if name == "gelu" else -80, -1, 20_000).astype(np.float32)
    values = (20.0, 0.0, 0.0) if name != "softplus" else (1.0, 20.0, 0.0)
    values = (1.0, 1.0, 1.0) if name == "elu" else values
    expected = reference.activation(name, x, *values)
    assert np.max(np.abs(kernels.activation(name, x, *values) / expected - 1)) < 8e-7


@pytest.mark.parametrize("name", NAMES)
def test_memory_order(name):
    a, b = channels_last_copy(numbers(1, (2, 3, 5, 4), np.float32)), numbers(2, (2, 3, 5, 4), np.float32)
    assert memory_order(kernels.activation(name, a, *parameters(name))) == (0, 2, 3, 1)
    assert memory_order(kernels.activation_grad(name, a, b, *parameters(name))) == (0, 2, 3, 1)
    assert memory_order(kernels.activation_grad(name, b, a, *parameters(name))) == (0, 1, 2, 3)


@pytest.mark.cpu
@pytest.mark.parametrize("name", NAMES)
def test_threads_and_chunks(name):
    a, b = channels_last_copy(numbers(1, (5, 30, 21, 11), np.float32)), numbers(2, (5, 30, 21, 11), np.float32)
    assert same_with_one_and_two_threads(lambda: kernels.activation(name, a, *parameters(name)))
    assert same_with_one_and_two_threads(lambda: kernels.activation_grad(name, a, a, *parameters(name)))
    whole = kernels.activation(name, b.reshape(-1), *parameters(name))
    assert same(whole[:4097], kernels.activation(name, b.reshape(-1)[:4097], *parameters(name)))


def test_what_lets_nothing_pass_stops_nan_too():
    y = np.array([1, 0, -0.0, -1, np.nan, np.inf], np.float32)
    for g in (2, np.nan):
        gx = kernels.activation_grad("threshold", np.full(6, g, np.float32), y, 0.0, 0.0)
        assert np.array_equal(gx, [g, 0, 0, 0, g, g], equal_nan=True)
    assert np.array_equal(kernels.activation_grad("hardtanh", np.full(6, 2, np.float32), y, 0.0, 1.0), [0, 0, 0, 0, 2, 0])
