import numpy as np
import pytest
import scipy.special
from hypothesis import given
from hypothesis import strategies as st

import convkit
from convkit import Tensor
from convkit.nn import functional as F
from tests.backend import SIMULATED, settings
from tests.helpers import LAYOUTS, channels_last_copy, dtypes, layouts, memory_order, numbers, tolerance
from tests.ops import apart, both_layouts, check_gradients, gradients, leaf, second_order_runs, seeds

FORMULAS = {
    "relu": lambda x: np.maximum(x, 0),
    "relu6": lambda x: np.clip(x, 0, 6),
    "threshold": lambda x, t, v: np.where(x > t, x, v),
    "hardtanh": lambda x, low=-1, high=1: np.clip(x, low, high),
    "leaky_relu": lambda x, slope=0.01: np.where(x > 0, x, slope * x),
    "elu": lambda x, alpha=1: np.where(x > 0, x, alpha * np.expm1(x)),
    "selu": lambda x: 1.0507009873554805 * np.where(x > 0, x, 1.6732632423543772 * np.expm1(x)),
    "celu": lambda x, alpha=1: np.where(x > 0, x, alpha * np.expm1(x / alpha)),
    "gelu": lambda x: x * scipy.special.ndtr(x),
    "gelu tanh": lambda x: 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))),
    "silu": lambda x: x * scipy.special.expit(x),
    "mish": lambda x: x * np.tanh(np.logaddexp(0, x)),
    "softplus": lambda x, beta=1, threshold=20: np.where(beta * x > threshold, x, np.logaddexp(0, beta * x) / beta),
    "softsign": lambda x: x / (1 + np.abs(x)),
    "hardsigmoid": lambda x: np.clip(x + 3, 0, 6) / 6,
    "hardswish": lambda x: x * np.clip(x + 3, 0, 6) / 6,
    "sigmoid": scipy.special.expit,
    "logsigmoid": lambda x: -np.logaddexp(0, -x),
    "tanh": np.tanh,
    "tanhshrink": lambda x: x - np.tanh(x),
    "hardshrink": lambda x, lambd=0.5: np.where(np.abs(x) > lambd, x, 0),
    "softshrink": lambda x, lambd=0.5: np.sign(x) * np.maximum(np.abs(x) - lambd, 0),
}
NAMES = sorted(FORMULAS)
# (name, parameters): with the defaults, where there are any, and with others.
CASES = [(name, ()) for name in NAMES if name != "threshold"] + [
    ("threshold", (0.31, -0.2)), ("threshold", (-0.51, 0.7)), ("hardtanh", (-0.31, 1.31)), ("leaky_relu", (0.3,)), ("leaky_relu", (-0.2,)),
    ("elu", (0.7,)), ("elu", (-0.5,)), ("celu", (0.6,)), ("celu", (-0.8,)), ("softplus", (2.0, 1.01)), ("softplus", (0.5,)),
    ("hardshrink", (0.31,)), ("softshrink", (0.31,)),
]  # fmt: skip


def function(name):
    return (lambda x: F.gelu(x, approximate="tanh")) if name == "gelu tanh" else getattr(F, name)


OVER_AXIS = {"softmax": scipy.special.softmax, "log_softmax": scipy.special.log_softmax}
shapes = st.lists(st.integers(1, 4), min_size=0, max_size=4).map(tuple)


@settings(max_examples=100)
@given(case=st.sampled_from(CASES), shape=shapes, dtype=dtypes, layout=layouts, seed=seeds)
def test_values(case, shape, dtype, layout, seed):
    name, parameters = case
    x = numbers(seed, shape, dtype, scale=3)
    y = function(name)(convkit.from_numpy(LAYOUTS[layout](x)), *parameters)
    expected = FORMULAS[name](x.astype(np.float64), *parameters)
    size = max(np.linalg.norm(x), np.linalg.norm(expected))  # celu of a negative alpha grows exponentially
    assert y.dtype == dtype and np.linalg.norm(y.numpy() - expected) <= tolerance(dtype, 5e-7, 1e-14) * (size + 1)


@settings(max_examples=40)
@given(name=st.sampled_from(sorted(OVER_AXIS)), shape=shapes.filter(len), dtype=dtypes, layout=layouts, seed=seeds, data=st.data())
def test_values_over_an_axis(name, shape, dtype, layout, seed, data):
    dim = data.draw(st.integers(-len(shape), len(shape) - 1))
    x = numbers(seed, shape, dtype, scale=3)
    y = getattr(F, name)(convkit.from_numpy(LAYOUTS[layout](x)), dim)
    expected = OVER_AXIS[name](x.astype(np.float64), axis=dim)
    assert y.dtype == dtype and np.abs(y.numpy() - expected).max() < tolerance(dtype, 3e-6, 1e-14)


@pytest.mark.parametrize("name, parameters", CASES)
@settings(max_examples=2 if SIMULATED else 5)
@given(shape=st.lists(st.integers(1, 3), max_size=3).map(tuple), layout=both_layouts, seed=seeds)
def test_gradients(name, parameters, shape, layout, seed):
    x = Tensor(apart(seed, shape, layout).array * 1.07, requires_grad=True)  # beside the kinks at 0.5 and 0.31, too
    check_gradients(lambda x: function(name)(x, *parameters), x)


@pytest.mark.parametrize("name", ["gelu", "gelu tanh", "silu", "mish", "softplus", "logsigmoid", "tanh", "sigmoid", "elu"])
def test_third_derivatives(name):
    def second(x):
        (g,) = convkit.autograd.grad(function(name)(x).sum(), x, create_graph=True)
        return convkit.autograd.grad(g.sum(), x, create_graph=True)[0]

    assert convkit.autograd.gradcheck(second, (convkit.tensor([-1.3, -0.2, 0.4, 2.1], dtype=np.float64, requires_grad=True),))


# x [N, C, ...] and the weight's shape
PRELU = [((2, 3), (3,)), ((2, 3, 2), (3,)), ((2, 2, 1, 2), (1,)), ((3,), (1,)), ((), (1,)), ((2, 3), ()), ((0, 2), (2,)), ((1, 2, 2), (2,))]


@settings(max_examples=24)
@given(case=st.sampled_from(PRELU), layout=both_layouts, seed=seeds)
def test_prelu(case, layout, seed):
    shape, weight = case
    x, w = apart(seed, shape, layout), leaf(seed, weight)
    y, gx, gw = gradients(F.prelu, x, w)
    a, b = x.detach().numpy(), w.detach().numpy()
    across = b.reshape(-1, *[1] * (len(shape) - 2)) if len(shape) > 1 else b.reshape(-1)[0]
    assert y.shape == shape and np.array_equal(y, np.where(a > 0, a, across * a))
    check_gradients(F.prelu, x, w)


@settings(max_examples=20)
@given(shape=st.lists(st.integers(1, 3), min_size=1, max_size=3).map(tuple), layout=both_layouts, seed=seeds, data=st.data())
def test_glu(shape, layout, seed, data):
    dim = data.draw(st.integers(-len(shape), len(shape) - 1))
    shape = tuple(2 * n if i == dim % len(shape) else n for i, n in enumerate(shape))
    x = leaf(seed, shape, layout)
    a, b = np.split(x.detach().numpy(), 2, dim)
    np.testing.assert_allclose(F.glu(x, dim).detach().numpy(), a * scipy.special.expit(b), rtol=1e-14)
    check_gradients(lambda x: F.glu(x, dim), x)


@settings(max_examples=30)
@given(name=st.sampled_from(sorted(OVER_AXIS)), shape=shapes.filter(lambda s: 0 < len(s) < 4), layout=both_layouts, seed=seeds, data=st.data())
def test_gradients_over_an_axis(name, shape, layout, seed, data):
    dim = data.draw(st.integers(-len(shape), len(shape) - 1))
    check_gradients(lambda x: getattr(F, name)(x, dim), leaf(seed, shape, layout))


@pytest.mark.parametrize("name", NAMES)
def test_memory_order_stays(name):
    x = Tensor(channels_last_copy(numbers(1, (2, 3, 4, 5), np.float32)), requires_grad=True)
    y, gx = gradients(lambda x: function(name)(x, *((0.0, 1.0) if name == "threshold" else ())), x)
    assert memory_order(y) == memory_order(gx) == memory_order(x.array)


@pytest.mark.parametrize("shape", [(0,), (0, 3), (3, 0), (2, 0, 4), (1, 1, 1, 1), (0, 3, 2, 2)])
def test_nothing_and_one(shape):
    for name, parameters in CASES:
        f = lambda x, name=name, parameters=parameters: function(name)(x, *parameters)
        assert gradients(f, leaf(1, shape))[0].shape == shape
        second_order_runs(f, leaf(1, shape))
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


def test_softmin_and_a_dtype():
    x = numbers(1, (3, 4), np.float32)
    np.testing.assert_allclose(F.softmin(convkit.tensor(x), 1).numpy(), scipy.special.softmax(-x, axis=1), rtol=1e-6)
    for f, formula in ((F.softmax, scipy.special.softmax), (F.log_softmax, scipy.special.log_softmax)):
        y = f(convkit.tensor([[1, 2], [3, 5]]), 1, dtype=np.float64)
        assert y.dtype == np.float64
        np.testing.assert_allclose(y.numpy(), formula(np.array([[1.0, 2], [3, 5]]), axis=1), rtol=1e-14)


@pytest.mark.parametrize("shape, dim", [((4,), 0), ((2, 3), 1), ((2, 3, 4), 0), ((2, 3, 4, 5), 1)])
@pytest.mark.parametrize("name", ["softmax", "log_softmax", "softmin"])
def test_without_a_dimension_torchs_is_taken_with_a_warning(name, shape, dim):
    x = convkit.tensor(numbers(1, shape))
    with pytest.warns(UserWarning, match=f"dim should be given; {dim} is taken for {len(shape)} dimensions, as in torch") as caught:
        y = getattr(F, name)(x)
    assert caught[0].filename == __file__
    np.testing.assert_array_equal(y.numpy(), getattr(F, name)(x, dim).numpy())


@pytest.mark.parametrize("name", [*(name for name in NAMES if " " not in name), *OVER_AXIS])
def test_errors(name):
    f = getattr(F, name)
    more = (0,) if name in OVER_AXIS else (0.0, 1.0) if name == "threshold" else ()
    for bad in (convkit.tensor([1, 2]), convkit.tensor([True])):
        with pytest.raises(TypeError, match=f"^{name}: needs float32 or float64, got (int64|bool)"):
            f(bad, *more)
    if name in OVER_AXIS:
        for dim in (2, -3):
            with pytest.raises(IndexError, match=f"^{name}: dim {dim} is out of range for a tensor of 2 dimensions"):
                f(convkit.ones(2, 3), dim)
        with pytest.raises(TypeError, match=f"^{name}: dim must be an int, got 'rows'"):
            f(convkit.ones(2, 3), "rows")


INPLACE = ["relu", "relu6", "hardtanh", "leaky_relu", "elu", "selu", "celu", "silu", "mish", "hardsigmoid", "hardswish"]


@pytest.mark.parametrize("name", INPLACE)
def test_inplace_is_refused_with_the_reason(name):
    assert getattr(F, name)(convkit.ones(2), inplace=False).shape == (2,)
    with pytest.raises(ValueError, match=f"^{name}: inplace=True is not supported: the graph may need the values .* no more memory"):
        getattr(F, name)(convkit.ones(2), inplace=True)


def test_wrong_parameters():
    one = convkit.ones(2, 3)
    for error, match, call in [
        (ValueError, "hardtanh: min_val must not be above max_val, got 2 and -2", lambda: F.hardtanh(one, 2, -2)),
        (ValueError, "celu: alpha must not be 0", lambda: F.celu(one, 0.0)),
        (ValueError, "gelu: approximate must be 'none' or 'tanh', got 'erf'", lambda: F.gelu(one, "erf")),
        (ValueError, "softshrink: lambd must be at least 0, got -1", lambda: F.softshrink(one, -1)),
        (ValueError, r"glu: the size of dimension 1 must be even, got \[2, 3\]", lambda: F.glu(one)),
        (ValueError, "glu: a single number has no halves", lambda: F.glu(convkit.tensor(1.0))),
        (IndexError, "glu: dim 2 is out of range", lambda: F.glu(one, 2)),
        (ValueError, r"prelu: weight must have 1 element or 3, one a channel of the input \[2, 3\], got \[2\]", lambda: F.prelu(one, one[0, :2])),
        (ValueError, r"prelu: weight must have 1 element or 3, .*, got \[1, 1\]", lambda: F.prelu(one, convkit.ones(1, 1))),
        (TypeError, "prelu: input is float32 but weight is float64", lambda: F.prelu(one, convkit.ones(1).double())),
        (TypeError, "prelu: needs a tensor, got float", lambda: F.prelu(one, 0.1)),
        (TypeError, "elu: parameters must be numbers, got 'much'", lambda: F.elu(one, "much")),
        (TypeError, "leaky_relu: parameters must be numbers, got None", lambda: F.leaky_relu(one, None)),
    ]:
        with pytest.raises(error, match="^" + match):
            call()
