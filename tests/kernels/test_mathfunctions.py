"""The float32 formulas in units of the last place, on every magnitude there is."""

import numpy as np
import pytest
from numba import prange

from convkit_kernels.cpu import mathfunctions as m
from convkit_kernels.cpu.runtime import kernel
from tests.helpers import ulps
from tests.reference import mathfunctions as reference

SPECIAL = [0.0, -0.0, np.inf, -np.inf, np.nan, 1.0, -1.0, 1e-45, -1e-45, 1e-38, 3.4e38, -3.4e38]


def every_magnitude(count: int = 200_000) -> np.ndarray:
    """float32 numbers spread over all bit patterns that are numbers."""
    bits = np.linspace(0, 0xFFFFFFFF, count).astype(np.uint32).view(np.float32)
    return bits[np.isfinite(bits)]


def _kernel_of(function):
    def run(x, y):
        for i in prange(x.size):
            y[i] = function(x[i])

    run.__name__ = run.__qualname__ = f"only_{function.__name__}"
    return kernel(run)


@kernel
def _normal(x, cdf, density):
    for i in prange(x.size):
        cdf[i], density[i] = m.normal(x[i])


RUN = {name: _kernel_of(getattr(m, name)) for name in ("exp", "log", "tanh", "sigmoid", "expm1", "log1p")}


def compute(name: str, x: np.ndarray) -> np.ndarray:
    y = np.empty_like(x)
    RUN[name](x, y)
    return y


def evaluate(name: str, x: np.ndarray) -> np.ndarray:
    return np.array([getattr(reference, name)(float(v)) for v in x])


@pytest.mark.parametrize(
    "name, low, high, limit", [("exp", -87.3, 88.7, 1.5), ("sigmoid", -87, 87, 2.5), ("tanh", -10, 10, 2.5), ("expm1", -20, 88, 2.5)]
)
def test_float32_is_accurate_where_it_varies(name, low, high, limit):
    x = np.linspace(low, high, 300_000).astype(np.float32)
    assert ulps(compute(name, x), evaluate(name, x)) < limit


@pytest.mark.parametrize(
    "name, low, high, limit", [("exp", -708, 709.7, 2.5), ("sigmoid", -700, 700, 4), ("tanh", -20, 20, 4.5), ("tanh", -1e-3, 1e-3, 4.5)]
)
def test_float64_is_accurate_where_it_varies(name, low, high, limit):
    x = np.linspace(low, high, 100_001)
    expected = evaluate(name, x)
    with np.errstate(invalid="ignore"):
        assert np.nanmax(np.abs(compute(name, x) - expected) / np.spacing(np.abs(expected))) < limit
    x = np.array([-np.inf, -1e300, -746.0, -745.1, 709.9, np.inf, np.nan, 1e-320, -0.0])
    np.testing.assert_allclose(
        compute(name, x), [np.inf if name == "exp" and v > 709.8 else evaluate(name, np.array([v]))[0] for v in x], rtol=1e-15, atol=5e-324
    )
    assert np.signbit(compute(name, x)[-1]) == (name == "tanh")


def test_normal_is_accurate_in_both_tails():
    """P(x) and p(x) to units of the last place, down to where P(x) ends as a normal number."""
    x = np.linspace(-13, 13, 300_000).astype(np.float32)
    got = np.empty((2, x.size), np.float32)
    _normal(x, *got)
    for y, expected, limit in zip(got, np.array([reference.normal(float(v)) for v in x]).T, (5, 3), strict=True):
        assert ulps(y, expected) < limit
    x = np.array([np.nan, np.inf, -np.inf, 0, -0.0, 1e4, -1e4, 3e38, -3e38, -15], np.float32)
    got = np.empty((2, x.size), np.float32)
    _normal(x, *got)
    np.testing.assert_array_equal(got[0], [np.nan, 1, 0, 0.5, 0.5, 1, 0, 1, 0, 0])
    np.testing.assert_allclose(got[1], [np.nan, 0, 0, 0.3989423, 0.3989423, 0, 0, 0, 0, 0], rtol=1e-7, atol=3e-45)


def test_log1p_is_accurate_for_all_numbers_above_minus_one():
    x = np.concatenate([every_magnitude(), np.linspace(-0.9999, 2, 200_000).astype(np.float32)])
    x = x[x > -1]
    assert ulps(compute("log1p", x), evaluate("log1p", x)) < 3.5


def test_log_is_accurate_for_all_positive_numbers():
    x = np.concatenate([every_magnitude(), np.linspace(0.5, 2, 200_000).astype(np.float32)])
    x = x[x > 0]
    assert ulps(compute("log", x), evaluate("log", x)) < 2.5


@pytest.mark.parametrize("name", sorted(RUN))
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_special_values(name, dtype):
    x = np.array(SPECIAL, dtype)
    got, expected = compute(name, x), evaluate(name, x)
    with np.errstate(over="ignore"):
        expected = expected.astype(dtype)
    np.testing.assert_allclose(got, expected, rtol=3e-7, atol=3e-45)
    assert np.array_equal(np.isnan(got), np.isnan(expected))


@pytest.mark.parametrize("name", ["exp", "tanh", "sigmoid", "expm1"])
def test_float32_on_every_magnitude(name):
    x = every_magnitude()
    with np.errstate(over="ignore"):
        expected = evaluate(name, x).astype(np.float32)
    got = compute(name, x)
    finite = np.isfinite(expected) & (np.abs(expected) > 1.2e-38)
    np.testing.assert_allclose(got[finite], expected[finite], rtol=3e-7)
    assert np.array_equal(got[np.isinf(expected)], expected[np.isinf(expected)])
    np.testing.assert_allclose(got[~finite & ~np.isinf(expected)], expected[~finite & ~np.isinf(expected)], atol=3e-45)


def test_exp_underflows_gradually():
    x = np.linspace(-103, -88, 1000).astype(np.float32)
    np.testing.assert_allclose(compute("exp", x), np.exp(x.astype(np.float64)), atol=1.5e-45)


def test_tanh_keeps_the_sign_of_zero():
    assert np.array_equal(np.signbit(compute("tanh", np.array([0.0, -0.0], np.float32))), [False, True])


@kernel
def _turn(u, cosine, sine):
    for i in prange(u.size):
        cosine[i], sine[i] = m.turn(u[i])


@kernel
def _two(a, b, out):
    for i in prange(a.size):
        out[0, i] = m.maximum(a[i], b[i])
        out[1, i] = m.minimum(a[i], b[i])
        out[2, i] = m.divide(a[i], b[i])
        out[3, i] = m.subtract(a[i], b[i])


@pytest.mark.parametrize("dtype, limit", [(np.float32, 1.5e-7), (np.float64, 1e-15)])
def test_turn_gives_cosine_and_sine(dtype, limit):
    u = np.linspace(0, 1, 100_001).astype(dtype)
    cosine, sine = np.empty_like(u), np.empty_like(u)
    _turn(u, cosine, sine)
    expected = np.array([reference.turn(float(v)) for v in u]).T
    np.testing.assert_allclose([cosine, sine], expected, atol=limit)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_two_operands(dtype):
    a, b = (v.ravel().astype(dtype) for v in np.meshgrid(SPECIAL[:7] + [3.0, 7.0], SPECIAL[:7] + [3.0, 7.0]))
    out = np.empty((4, a.size), dtype)
    _two(a, b, out)
    for row, name in zip(out, ["maximum", "minimum", "divide", "subtract"], strict=True):
        expected = [getattr(reference, name)(float(u), float(v)) for u, v in zip(a, b, strict=True)]
        assert np.array_equal(row, np.array(expected).astype(dtype), equal_nan=True), name
