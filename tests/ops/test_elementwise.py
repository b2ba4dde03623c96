import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import convkit
from convkit import Tensor
from tests.backend import settings
from tests.helpers import LAYOUTS, channels_last_copy, dtypes, layouts, memory_order, numbers, relative_error, same, tolerance
from tests.ops import apart, both_layouts, check_gradients, gradients, leaf, second_order_runs, seeds

BINARY = {
    "add": (lambda a, b: a + b, np.add),
    "sub": (lambda a, b: a - b, np.subtract),
    "mul": (lambda a, b: a * b, np.multiply),
    "div": (lambda a, b: a / b, np.divide),
    "maximum": (convkit.maximum, np.maximum),
    "minimum": (convkit.minimum, np.minimum),
}
UNARY = {"neg": (lambda x: -x, np.negative), "exp": (convkit.exp, np.exp), "abs": (convkit.abs, np.abs)}
POSITIVE = {"log": (convkit.log, np.log), "sqrt": (convkit.sqrt, np.sqrt)}
shapes = st.lists(st.integers(1, 3), max_size=4).map(tuple)


@st.composite
def broadcast(draw, most=4):
    """Two shapes that broadcast."""
    full = draw(st.lists(st.integers(1, 4), max_size=most))
    part = lambda: tuple(n if draw(st.booleans()) else 1 for n in full)[draw(st.integers(0, len(full))) :]
    return (part(), tuple(full)) if draw(st.booleans()) else (tuple(full), part())


@settings(max_examples=40)
@given(name=st.sampled_from(sorted(BINARY)), case=broadcast(), dtype=dtypes, one=layouts, two=layouts, seed=seeds)
def test_binary_values(name, case, dtype, one, two, seed):
    ours, numpys = BINARY[name]
    a, b = numbers(seed, case[0], dtype), numbers(seed + 1, case[1], dtype)
    y = ours(convkit.from_numpy(LAYOUTS[one](a)), convkit.from_numpy(LAYOUTS[two](b)))
    assert same(y.numpy(), np.asarray(numpys(a, b)))  # IEEE arithmetic: not a bit apart


@settings(max_examples=30)
@given(name=st.sampled_from([*UNARY, *POSITIVE]), shape=shapes, dtype=dtypes, layout=layouts, seed=seeds)
def test_unary_values(name, shape, dtype, layout, seed):
    ours, numpys = (UNARY | POSITIVE)[name]
    x = numbers(seed, shape, dtype)
    x = np.asarray(np.abs(x)) if name in POSITIVE else x
    y = ours(convkit.from_numpy(LAYOUTS[layout](x)))
    assert y.dtype == dtype and relative_error(y.numpy(), numpys(x.astype(np.float64))) < tolerance(dtype, 2e-7, 1e-15)


@settings(max_examples=30)
@given(case=broadcast(), dtype=dtypes, layout=layouts, low=st.sampled_from([None, -0.5, 0]), high=st.sampled_from([None, 0.5, 1]), seed=seeds)
def test_pow_clamp_and_where_values(case, dtype, layout, low, high, seed):
    a, b = numbers(seed, case[0], dtype), numbers(seed + 1, case[1], dtype)
    t, u = (convkit.from_numpy(LAYOUTS[layout](v)) for v in (a, b))
    np.testing.assert_allclose((abs(t) ** u).numpy(), np.abs(a) ** b, rtol=tolerance(dtype, 1e-5, 1e-13))
    for exponent in (2, 3, -1, 0, 0.5):
        np.testing.assert_allclose((abs(t) ** exponent).numpy(), np.abs(a) ** exponent, rtol=tolerance(dtype, 1e-6, 1e-14))
    np.testing.assert_allclose((2.0**t).numpy(), 2.0**a, rtol=tolerance(dtype, 1e-6, 1e-14))
    y = convkit.where(t > 0, t, u)
    assert same(y.numpy(), np.where(a > 0, a, b))
    if low is not None or high is not None:
        assert same(t.clamp(low, high).numpy(), np.asarray(np.clip(a, low, high), dtype))


@settings(max_examples=40)
@given(name=st.sampled_from(sorted(BINARY)), case=broadcast(3).filter(lambda c: np.prod(c[0]) * np.prod(c[1]) < 200), layout=both_layouts, seed=seeds)
def test_binary_gradients(name, case, layout, seed):
    a, b = apart(seed, case[0], layout), apart(seed + 1, case[1], layout)
    b = Tensor(b.detach().numpy() + 0.05, requires_grad=True)  # no two elements of a and b are equal
    check_gradients(BINARY[name][0], a, b)


@settings(max_examples=30)
@given(name=st.sampled_from([*UNARY, *POSITIVE]), shape=shapes.filter(lambda s: np.prod(s) < 30), layout=both_layouts, seed=seeds)
def test_unary_gradients(name, shape, layout, seed):
    x = apart(seed, shape, layout)
    if name in POSITIVE:
        x = Tensor(np.abs(x.detach().numpy()) + 0.3, requires_grad=True)
    check_gradients((UNARY | POSITIVE)[name][0], Tensor(x.array / (1 + np.abs(x.array).max()) if name == "exp" else x.array, requires_grad=True))


@settings(max_examples=20)
@given(case=broadcast(2), layout=both_layouts, seed=seeds)
def test_gradients_of_pow_clamp_and_where(case, layout, seed):
    base = Tensor(LAYOUTS[layout](0.5 + np.random.default_rng(seed).random(case[0])), requires_grad=True)
    exponent = leaf(seed + 1, case[1], layout)
    check_gradients(lambda a, b: a**b, base, exponent)
    check_gradients(lambda a: a**3 + a**-1 + 2.0**a, base)
    a, b = apart(seed, case[0], layout), apart(seed + 1, case[1], layout)
    check_gradients(lambda a: a.clamp(-0.4, 0.6), a)
    check_gradients(lambda a: a.clamp(min=-0.4), a)
    condition = convkit.tensor(np.random.default_rng(seed).random(np.broadcast_shapes(*case)) > 0.5)
    check_gradients(lambda a, b: convkit.where(condition, a, b), a, b)
    check_gradients(lambda a: convkit.where(condition, a, 0.0) + convkit.where(condition, 1, a), a)


@pytest.mark.parametrize("name", sorted(BINARY))
def test_numbers_on_either_side(name):
    ours, numpys = BINARY[name]
    x = numbers(1, (3, 4), np.float32)
    for number in (2, 0.5, True, np.float64(0.1), np.float32(3), np.int64(2)):
        plain = number.item() if isinstance(number, np.generic) else number
        for y, expected in ((ours(convkit.from_numpy(x), number), numpys(x, plain)), (ours(number, convkit.from_numpy(x)), numpys(plain, x))):
            assert same(y.numpy(), expected) and y.dtype == np.float32
    for f in (lambda t: ours(t, 0.35), lambda t: ours(0.35, t), lambda t: ours(t, np.float64(3)), lambda t: ours(2, t)):
        assert gradients(f, leaf(1, (3, 4), dtype=np.float32))[1].dtype == np.float32
        check_gradients(f, apart(1, (2, 3)))


def test_gradients_beside_a_number_are_computed_in_the_tensor_s_dtype():
    """A float64 number beside float32 data would make NumPy compute in float64."""
    seen = []
    x = leaf(1, (3,), dtype=np.float32)
    for f in (lambda t: t * 0.1, lambda t: 0.1 / t, lambda t: t**3.0, lambda t: t - np.float64(1), lambda t: convkit.where(t > 0, t, 0.5)):
        h = x * 1
        h.register_hook(lambda g: seen.append(g.dtype))
        f(h).sum().backward()
    assert seen == [np.float32] * 5


def test_types_that_meet():
    """torch's rules: integers take the dtype of the floats that they meet; integers alone give float32 where there are fractions."""
    f32, f64, i, u, b = convkit.ones(2), convkit.ones(2).double(), convkit.arange(2), convkit.tensor(np.array([1, 2], np.uint8)), convkit.ones(2) > 0
    for y, dtype in [
        (f32 + i, np.float32), (i * f32, np.float32), (f64 + i, np.float64), (f32 + f64, np.float64), (f32 * b, np.float32), (u / 255.0, np.float32),
        (i / i, np.float32), (i / 2, np.float32), (1 / (i + 1), np.float32), (i + 0.5, np.float32), (i + 1, np.int64), (u + u, np.uint8),
        (u + i, np.int64), (b * 2, np.int64), (i**2, np.int64), (f32 * np.float64(2), np.float32), (np.float64(2) * f32, np.float32),
        (f32 * np.sqrt(2), np.float32), (f32.cpu() + np.ones(2), np.float64), (np.ones(2, np.float32) - f32.cpu(), np.float32),
        (convkit.where(b, i, 0.5), np.float32), (convkit.where(b, f32, 0), np.float32), (convkit.where(b, 1, 2), np.int64),
        (convkit.maximum(i, 0.5), np.float32), (abs(i), np.int64), (-i, np.int64), (i.clamp(0, 1), np.int64),
    ]:  # fmt: skip
        assert y.dtype == dtype
    x = leaf(1, (2,), dtype=np.float32)
    assert gradients(lambda x: x * f64 + i, x)[1].dtype == np.float32


@pytest.mark.parametrize("name", sorted(BINARY))
@pytest.mark.parametrize("size", [7, 40_000])  # NumPy's loop and the kernel's
def test_memory_order_stays(name, size):
    shape = (2, 3, 5, size // 30 + 2)
    x, y = (Tensor(channels_last_copy(numbers(i, shape, np.float32)), requires_grad=True) for i in range(2))
    channel = Tensor(numbers(3, (1, 3, 1, 1), np.float32), requires_grad=True)
    for other in (y, channel):
        results = gradients(BINARY[name][0], x, other)
        assert memory_order(results[0]) == memory_order(results[1]) == memory_order(x.array)
        assert same(results[0], BINARY[name][1](x.detach().numpy(), other.detach().numpy()))
        x.grad = None


@pytest.mark.parametrize("one, two", [((0,), (0,)), ((0, 3), (3,)), ((2, 0, 3), (1,)), ((1, 1), (1, 1)), ((), ()), ((0, 1), (1, 3)), ((), (0,))])
def test_nothing_and_one(one, two):
    for name, (ours, numpys) in BINARY.items():
        a, b = leaf(1, one), leaf(2, two)
        assert gradients(ours, a, b)[0].shape == numpys(a.detach().numpy(), b.detach().numpy()).shape, name
        second_order_runs(ours, leaf(1, one), leaf(2, two))
    for f in (*UNARY.values(), *POSITIVE.values()):
        second_order_runs(f[0], Tensor(np.abs(leaf(1, one).array), requires_grad=True))
    condition = convkit.ones(one) > 0
    second_order_runs(lambda a, b: convkit.where(condition, a, b), leaf(1, one), leaf(2, two))
    second_order_runs(lambda a: a.clamp(-1, 1) ** 2, leaf(1, one))


def test_nan_and_infinity():
    inf, nan = np.inf, np.nan
    x = convkit.tensor([nan, inf, -inf, 0.0, -1.0])
    np.testing.assert_array_equal(convkit.exp(x).numpy()[:4], [nan, inf, 0, 1])
    np.testing.assert_array_equal(convkit.log(x).numpy(), [nan, inf, nan, -inf, nan])
    np.testing.assert_array_equal(convkit.sqrt(x).numpy(), [nan, inf, nan, 0, nan])
    np.testing.assert_array_equal(abs(x).numpy(), [nan, inf, inf, 0, 1])
    np.testing.assert_array_equal(x.clamp(-2, 2).numpy(), [nan, 2, -2, 0, -1])
    np.testing.assert_array_equal((x - x).numpy(), [nan, nan, nan, 0, 0])
    np.testing.assert_array_equal((1 / x).numpy(), [nan, 0, 0, inf, -1])
    np.testing.assert_array_equal((x / 0.0).numpy(), [nan, inf, -inf, nan, -inf])
    for f in (convkit.maximum, convkit.minimum):
        assert np.isnan(f(x, 0.0).numpy()).tolist() == np.isnan(f(0.0, x).numpy()).tolist() == [True, False, False, False, False]
    np.testing.assert_array_equal(convkit.where(x > 0, x, 7.0).numpy(), [7, inf, 7, 7, 7])
    np.testing.assert_array_equal((x**2).numpy(), [nan, inf, inf, 0, 1])
    np.testing.assert_array_equal((x**0).numpy(), [1, 1, 1, 1, 1])
    assert np.isnan((x**0.5).numpy()[4])


def test_gradients_where_formulas_meet_their_edges():
    g = lambda f, *values: gradients(f, Tensor(np.array(values), requires_grad=True))[1].tolist()
    assert g(abs, 0.0, -2.0) == [0, -1]
    assert g(lambda x: x.clamp(0, 1), 0.0, 1.0, -1.0, 2.0) == [1, 1, 0, 0]
    assert g(lambda x: convkit.maximum(x, 1.0), 1.0, 0.0, 2.0) == [0.5, 0, 1]
    assert g(lambda x: convkit.minimum(x, 1.0), 1.0, 0.0, 2.0) == [0.5, 1, 0]
    for f in (convkit.maximum, convkit.minimum):
        assert g(lambda x, f=f: f(x, 1.0), np.nan) == g(lambda x, f=f: f(x, np.nan), 1.0) == [1]  # as in torch
    assert g(lambda x: x**0, 0.0, 2.0) == [0, 0]
    assert g(lambda x: x**1, 0.0, 2.0) == [1, 1]
    assert g(lambda x: x**2, 0.0, 3.0) == [0, 6]
    assert g(lambda x: 0.0**x, 1.0, 2.0) == [0, 0]
    assert g(convkit.sqrt, 0.0) == [np.inf] and g(convkit.log, 0.0) == [np.inf]
    assert g(lambda x: convkit.where(x > 0, convkit.log(x.clamp(min=1e-30)), 0.0), 2.0, 0.0) == [0.5, 0]
    same_tensor = leaf(1, (3,))
    assert gradients(lambda x: x * x - x / x, same_tensor)[1] == pytest.approx(2 * same_tensor.detach().numpy())


def test_errors_of_shapes():
    a, b = convkit.ones(2, 3), convkit.ones(4)
    for name, (ours, _) in BINARY.items():
        with pytest.raises(ValueError, match=rf"^{name}: shapes \[2, 3\] and \[4\] do not broadcast"):
            ours(a, b)
    with pytest.raises(ValueError, match=r"^pow: shapes \[2, 3\] and \[4\] do not broadcast"):
        a**b
    for condition, one, two in [(a > 0, a, b), (a > 0, b, a), (b > 0, a, a), (a > 0, b, 1)]:
        with pytest.raises(ValueError, match=r"^where: shapes \[.*\] and \[.*\] do not broadcast"):
            convkit.where(condition, one, two)


@pytest.mark.parametrize("other", ["a", None, [1, 2, 3], {}, 1j])
def test_errors_of_types(other):
    a = convkit.ones(3)
    for name, (ours, _) in BINARY.items():
        with pytest.raises(TypeError, match=f"^{name}: needs tensors, arrays or numbers, got {type(other).__name__}"):
            ours(a, other)
    with pytest.raises(TypeError, match="^where: needs tensors, arrays or numbers"):
        convkit.where(a > 0, a, other)


def test_errors_of_functions():
    for name in ("exp", "log", "sqrt"):
        with pytest.raises(TypeError, match=f"^{name}: needs float32 or float64, got float16; convert with"):
            getattr(convkit, name)(Tensor(np.ones(3, np.float16)))
    with pytest.raises(ValueError, match="^clamp: needs min or max"):
        convkit.ones(2).clamp()
    with pytest.raises(TypeError, match="^clamp: min and max must be numbers or tensors, got 'low' and None"):
        convkit.ones(2).clamp("low")
