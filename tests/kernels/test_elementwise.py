import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from convkit_kernels.cpu import elementwise
from convkit_kernels.cpu.elementwise import LARGE
from tests.backend import SIMULATED, kernels, settings
from tests.helpers import (
    LAYOUTS,
    channels_last_copy,
    dtypes,
    layouts,
    memory_order,
    numbers,
    relative_error,
    same,
    same_with_one_and_two_threads,
    tolerance,
)
from tests.reference import elementwise as reference

FUNCTIONS = ["exp", "neg", "abs", "sign", "log", "sqrt"]
ARITHMETIC = ["add", "sub", "mul", "div", "maximum", "minimum"]
UFUNCS = dict(zip(ARITHMETIC, [np.add, np.subtract, np.multiply, np.divide, np.maximum, np.minimum], strict=True))

shapes = st.lists(st.integers(0, 5), min_size=0, max_size=5).map(tuple)
images = st.tuples(st.integers(0, 3), st.integers(1, 7), st.integers(1, 5), st.integers(1, 5))


def positive(name: str, x: np.ndarray) -> np.ndarray:
    return np.abs(x) + x.dtype.type(0.1) if name in ("log", "sqrt") else x


@pytest.mark.parametrize("name", FUNCTIONS)
@settings(max_examples=25, deadline=None)
@given(shape=shapes, dtype=dtypes, layout=layouts, seed=st.integers(0, 99))
def test_functions(name, shape, dtype, layout, seed):
    x = LAYOUTS[layout](positive(name, numbers(seed, shape, dtype, 2)))
    before = x.copy()
    y = getattr(kernels, name)(x)
    assert y.dtype.newbyteorder("=") == dtype and y.shape == shape
    assert relative_error(y, getattr(reference, name)(x)) < tolerance(dtype, 3e-7, 1e-15)
    assert same(x, before)


@settings(max_examples=50, deadline=None)
@given(
    shape=shapes,
    dtype=dtypes,
    layout=layouts,
    other=layouts,
    low=st.sampled_from([None, -1.0, 0.0]),
    high=st.sampled_from([None, 0.5, 2.0]),
    seed=st.integers(0, 99),
)
def test_clamp_and_its_gradient(shape, dtype, layout, other, low, high, seed):
    x, gy = LAYOUTS[layout](numbers(seed, shape, dtype)), LAYOUTS[other](numbers(seed + 1, shape, dtype))
    assert same(kernels.clamp(x, low, high), reference.clamp(x, low, high).astype(dtype))
    assert same(kernels.clamp_grad(gy, x, low, high), reference.clamp_grad(gy, x, low, high).astype(dtype))


def test_clamp_takes_integers():
    assert np.array_equal(kernels.clamp(np.arange(5), 1, 3), [1, 1, 2, 3, 3])


@pytest.mark.parametrize("name", ARITHMETIC)
@settings(max_examples=25, deadline=None)
@given(
    shape=shapes, ones=st.tuples(st.integers(0, 31), st.integers(0, 31)), drop=st.integers(0, 5), dtype=dtypes, layout=layouts, other=layouts,
    seed=st.integers(0, 99),
)  # fmt: skip
def test_small_arithmetic_broadcasts(name, shape, ones, drop, dtype, layout, other, seed):
    first = tuple(1 if ones[0] >> i & 1 else n for i, n in enumerate(shape))
    second = tuple(1 if ones[1] >> i & 1 else n for i, n in enumerate(shape))[drop:]
    a, b = LAYOUTS[layout](numbers(seed, first, dtype)), LAYOUTS[other](numbers(seed + 1, second, dtype))
    y, expected = getattr(kernels, name)(a, b), getattr(reference, name)(a, b)
    assert y.shape == expected.shape and y.dtype == dtype
    assert relative_error(y, expected) < tolerance(dtype, 1e-7, 2e-16)


BIG = (2, 4, 5, 3) if SIMULATED else (4, 24, 20, 20)
# Shapes that broadcast to BIG: those that repeat along the innermost memory of either layout, and others.
N, C, H, W = BIG
PARTNERS = [BIG, (), (1,), (C, 1, 1), (1, C, 1, 1), (W,), (H, W), (C, H, W), (N, 1, 1, 1), (1, 1, H, 1), (N, C, 1, 1)]


@pytest.mark.parametrize("name", ARITHMETIC)
@pytest.mark.parametrize("layout", ["C order", "channels-last", "gaps", "read-only channels-last", "negative strides"])
def test_large_arithmetic_is_exact(name, layout):
    assert math.prod(BIG) > LARGE or SIMULATED
    for dtype in (np.float32, np.float64):
        a = LAYOUTS[layout](numbers(1, BIG, dtype))
        for partner in PARTNERS:
            b = channels_last_copy(numbers(2, partner, dtype))
            for p, q in ((a, b), (b, a)):
                y = getattr(kernels, name)(p, q)
                assert same(y, UFUNCS[name](p, q)), (partner, dtype)
                if layout in ("C order", "channels-last") and partner != BIG:
                    assert memory_order(y) == memory_order(a)
        assert same(getattr(kernels, name)(a, 0.3), UFUNCS[name](a, 0.3))
        assert same(getattr(kernels, name)(0.3, a), UFUNCS[name](0.3, a))


@pytest.mark.parametrize("shape", [(2, 3, 4, 5)] if SIMULATED else [(2, 3, 4, 5), (8, 16, 24, 24)])
def test_results_have_the_memory_order_of_the_first_operand(shape):
    a, b = channels_last_copy(numbers(1, shape, np.float32)), numbers(2, shape, np.float32)
    for name in ARITHMETIC:
        assert memory_order(getattr(kernels, name)(a, b)) == (0, 2, 3, 1), name
        assert memory_order(getattr(kernels, name)(b, a)) == (0, 1, 2, 3), name
    for name in FUNCTIONS:
        assert memory_order(getattr(kernels, name)(positive(name, a))) == (0, 2, 3, 1), name
    assert memory_order(kernels.clamp(a, 0, 1)) == memory_order(kernels.where(a > 0, b, 0.0)) == (0, 2, 3, 1)
    assert memory_order(kernels.add(a, b[:1])) == memory_order(kernels.add(b[:1], a)) == (0, 2, 3, 1)


@pytest.mark.parametrize("size", [20, 2 * LARGE])
def test_nan_and_infinity_propagate_without_warnings(size):
    special = np.resize(np.array([np.nan, np.inf, -np.inf, 0, -0.0, 1, -1, 3e38], np.float32), size)
    other = np.roll(special, size // 3)
    for name in ARITHMETIC:
        with np.errstate(all="ignore"):
            expected = UFUNCS[name](special, other)
        assert same(getattr(kernels, name)(special, other), expected), name
    assert same(kernels.clamp(special, 0, None), np.maximum(special, 0))
    assert same(kernels.sqrt(special[:20]), reference.sqrt(special[:20]).astype(np.float32))
    assert same(kernels.sign(special[:20]), reference.sign(special[:20]).astype(np.float32))
    assert np.array_equal(kernels.pow(special[:8], 2.0), [np.nan, np.inf, np.inf, 0, 0, 1, 1, np.inf], equal_nan=True)


def test_clamp_grad_passes_inside_and_at_the_edges():
    x = np.array([1, 0, -0.0, -1, np.nan, np.inf], np.float32)
    assert np.array_equal(kernels.clamp_grad(np.full(6, 2, np.float32), x, -0.5, 1.0), [2, 2, 2, 0, 0, 0])


@settings(max_examples=30, deadline=None)
@given(shape=images, layout=layouts, dtype=dtypes, power=st.sampled_from([0.0, 0.5, 1.0, 2.0, 3.0, -1.0, -0.5, 2.7]), seed=st.integers(0, 99))
def test_pow(shape, layout, dtype, power, seed):
    x = LAYOUTS[layout](np.abs(numbers(seed, shape, dtype)) + dtype(0.2))
    expected = reference.pow(x, power)
    assert relative_error(kernels.pow(x, power), expected) < tolerance(dtype, 3e-7, 1e-15)
    assert relative_error(kernels.pow(x, np.full(shape, power, dtype)), expected) < tolerance(dtype, 3e-7, 1e-15)


@settings(max_examples=40, deadline=None)
@given(shape=images, layout=layouts, other=layouts, full=st.tuples(st.booleans(), st.booleans(), st.booleans()), dtype=dtypes)
def test_where(shape, layout, other, full, dtype):
    parts = [shape if f else (shape[1], 1, 1) for f in full]
    condition = LAYOUTS[layout](numbers(1, parts[0]) > 0)
    a, b = LAYOUTS[other](numbers(2, parts[1], dtype)), LAYOUTS[layout](numbers(3, parts[2], dtype))
    y, expected = kernels.where(condition, a, b), reference.where(condition, a, b)
    assert y.dtype == dtype and np.array_equal(y, expected) and y.shape == expected.shape


@pytest.mark.parametrize("layout", ["C order", "channels-last", "gaps", "read-only"])
def test_large_where(layout):
    x, other = LAYOUTS[layout](numbers(1, BIG, np.float32)), numbers(2, BIG, np.float32)
    for a, b in ((x, 0.0), (0.0, x), (x, other), (x[:1, :, :1, :1], x), (x, np.float32(2)), (1.0, 2.0)):
        y = kernels.where(x > 0, a, b)
        assert np.array_equal(y, np.where(x > 0, a, b))


def test_integers_are_numpys():
    a, b = np.arange(6).reshape(2, 3), np.array([1, 2, 3])
    assert same(kernels.add(a, b), a + b) and same(kernels.div(a, b), a / b) and same(kernels.neg(a), -a)
    big = np.arange(2 * LARGE)
    assert same(kernels.mul(big, big), big * big)


def test_same_bits_whatever_the_number_of_threads():
    x, y = numbers(1, (100_003,), np.float32, 3), numbers(2, (100_003,), np.float32)
    for name in ("exp", "log"):
        assert same_with_one_and_two_threads(lambda name=name: getattr(kernels, name)(x))
    for name in ARITHMETIC:
        assert same_with_one_and_two_threads(lambda name=name: getattr(kernels, name)(x, y))


def test_the_size_does_not_change_the_bits():
    x = np.abs(numbers(1, (40_000,), np.float32, 3))
    for name in ("exp", "log"):
        whole = getattr(kernels, name)(x)
        assert same(whole[:4096], getattr(kernels, name)(x[:4096]))


@settings(max_examples=30)
@given(shape=shapes, dtype=dtypes, layout=layouts, other=layouts, seed=st.integers(0, 99))
def test_lerp(shape, dtype, layout, other, seed):
    start, end = LAYOUTS[layout](numbers(seed, shape, dtype)), LAYOUTS[other](numbers(seed + 1, shape, dtype))
    for weight in (0.25, 0.75, LAYOUTS[layout](numbers(seed + 2, shape, dtype, mean=0.5))):
        y, expected = kernels.lerp(start, end, weight), reference.lerp(start, end, weight)
        assert y.shape == expected.shape
        np.testing.assert_allclose(y, expected, rtol=tolerance(dtype, 1e-6, 1e-15), atol=tolerance(dtype, 3e-6, 3e-15))


ROUNDED = {"ceil", "floor", "round", "trunc", "isnan", "isinf", "isfinite", "signbit", "logical_not", "bitwise_not"}


@pytest.mark.parametrize("name", sorted({*elementwise._UNARY, "frac", "rsqrt"}))
@settings(max_examples=15, deadline=None)
@given(shape=shapes, dtype=dtypes, layout=layouts, seed=st.integers(0, 99))
def test_unary_rows(name, shape, dtype, layout, seed):
    x = numbers(seed, shape, dtype, scale=2)
    if name == "bitwise_not":
        x = np.round(x).astype(np.int64)
    y, expected = kernels.unary(name, LAYOUTS[layout](x)), reference.unary(name, x)
    assert y.shape == x.shape and y.dtype == (np.bool_ if name.startswith("is") or name in ("signbit", "logical_not") else x.dtype)
    if name in ROUNDED:
        assert np.array_equal(y, expected)
    else:
        assert np.array_equal(np.isnan(y), np.isnan(expected))
        np.testing.assert_allclose(y, expected, rtol=tolerance(dtype, 1e-6, 1e-14), atol=tolerance(dtype, 1e-6, 1e-14))


@pytest.mark.parametrize("name", sorted(elementwise._BINARY))
@settings(max_examples=15, deadline=None)
@given(shape=shapes, dtype=dtypes, layout=layouts, seed=st.integers(0, 99))
def test_binary_rows(name, shape, dtype, layout, seed):
    a, b = np.round(numbers(seed, shape, dtype, scale=2)), np.round(np.abs(numbers(seed + 1, shape[1:], dtype))) + 1
    if name.startswith("bitwise"):
        a, b = a.astype(np.int64), b.astype(np.int64)
    y, expected = kernels.binary(name, LAYOUTS[layout](a), b), reference.binary(name, a, b)
    assert y.shape == expected.shape
    np.testing.assert_allclose(y, expected, rtol=tolerance(dtype, 1e-6, 1e-14))


@pytest.mark.parametrize("name", ["fmod", "remainder", "floor_divide"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rests_of_division_are_exact(name, dtype):
    r = np.random.default_rng(0)
    special = np.array([0, -0.0, 1, -1, np.inf, -np.inf, np.nan, 1e-45, -1e-40, 3e38, -3e38, 2, 3, 0.1, -0.1, 5, 7, 1e-38], dtype)
    sizes = np.exp(r.uniform(-80, 80, (2, LARGE))) * r.choice([-1, 1], (2, LARGE))  # quotients up to 1e69
    near = r.integers(-(10**6), 10**6, LARGE) * dtype(0.1), dtype(0.1) * r.integers(1, 30, LARGE)  # quotients that are almost whole
    pairs = [r.standard_normal((2, LARGE)), sizes, near, (np.resize(np.repeat(special, special.size), LARGE), np.resize(special, LARGE))]
    for a, b in [(a.astype(dtype), b.astype(dtype)) for a, b in pairs]:
        with np.errstate(all="ignore"):
            assert same(kernels.binary(name, a, b), elementwise._BINARY[name](a, b))
            assert same(kernels.binary(name, a, 0.7), elementwise._BINARY[name](a, dtype(0.7)))


def test_operands_that_both_repeat():
    """As in an outer product: large ones go by rows, in several threads."""
    a, b = np.linspace(-1, 1, 700)[:, None], np.linspace(2, 3, 600)
    c, d = numbers(1, (3, 1, 400, 1)), numbers(2, (500, 1, 5))
    for x, y in ((a, b), (a.astype(np.float32), b.astype(np.float32)), (c, d), (d, c)):
        assert np.array_equal(kernels.mul(x, y), x * y) and np.array_equal(kernels.sub(x, y), x - y)
        assert np.array_equal(kernels.binary("gt", x, y), x > y)
