"""Functions of one tensor: a row each."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import convkit
from convkit import Tensor
from convkit.ops import functions
from tests.backend import SIMULATED, settings
from tests.helpers import channels_last_copy, memory_order, numbers, same
from tests.ops import both_layouts, check_gradients, gradients, seeds

# name: (NumPy's function, where it is smooth: from, to)
SMOOTH = {
    "exp": (np.exp, -2, 2), "exp2": (np.exp2, -2, 2), "expm1": (np.expm1, -2, 2), "log": (np.log, 0.3, 3), "log2": (np.log2, 0.3, 3),
    "log10": (np.log10, 0.3, 3), "log1p": (np.log1p, -0.5, 3), "sqrt": (np.sqrt, 0.3, 3), "sin": (np.sin, -3, 3), "cos": (np.cos, -3, 3),
    "tan": (np.tan, -1, 1), "asin": (np.arcsin, -0.8, 0.8), "acos": (np.arccos, -0.8, 0.8), "atan": (np.arctan, -3, 3),
    "sinh": (np.sinh, -2, 2), "cosh": (np.cosh, -2, 2), "asinh": (np.arcsinh, -3, 3), "acosh": (np.arccosh, 1.3, 4),
    "atanh": (np.arctanh, -0.8, 0.8), "neg": (np.negative, -3, 3), "abs": (np.abs, 0.2, 3), "reciprocal": (np.reciprocal, 0.4, 3),
    "rsqrt": (lambda x: 1 / np.sqrt(x), 0.4, 3), "square": (np.square, -3, 3), "frac": (lambda x: x - np.trunc(x), 0.1, 0.9),
    "nan_to_num": (np.nan_to_num, -3, 3),
}  # fmt: skip
STEPS = {"sign": np.sign, "floor": np.floor, "ceil": np.ceil, "trunc": np.trunc, "round": np.rint}
shapes = st.lists(st.integers(0, 2 if SIMULATED else 3), max_size=2 if SIMULATED else 3).map(tuple)


@pytest.mark.parametrize("name", sorted(SMOOTH))
@settings(max_examples=2 if SIMULATED else 5)
@given(shape=shapes, layout=both_layouts, seed=seeds)
def test_values_and_gradients(name, shape, layout, seed):
    numpys, low, high = SMOOTH[name]
    values = low + (high - low) * np.random.default_rng(seed).random(shape)
    x = Tensor(channels_last_copy(values) if layout == "channels-last" else values, requires_grad=True)
    y = getattr(convkit, name)(x)
    np.testing.assert_allclose(y.detach().numpy(), numpys(values), rtol=1e-14, atol=1e-15)
    check_gradients(getattr(convkit, name), x)
    assert same(getattr(x, name)().detach().numpy(), y.detach().numpy())


@pytest.mark.parametrize("name", sorted(STEPS))
def test_steps_are_flat(name):
    x = numbers(0, (3, 4), scale=2)
    y, gx = gradients(getattr(convkit, name), Tensor(x, requires_grad=True))
    assert same(y, STEPS[name](x)) and not gx.any()
    whole = getattr(convkit, name)(convkit.tensor([3, -2]))
    assert whole.dtype == np.int64 and whole.tolist() == ([1, -1] if name == "sign" else [3, -2])


def test_integers_become_float32():
    for name in ("exp", "log", "sin", "sqrt", "reciprocal", "rsqrt"):
        y = getattr(convkit, name)(convkit.tensor([1, 2, 3]))
        assert y.dtype == np.float32
    assert convkit.square(convkit.tensor([3])).dtype == convkit.neg(convkit.tensor([3])).dtype == np.int64


def test_round_to_places_and_halves():
    assert convkit.tensor([0.5, 1.5, -2.5]).round().tolist() == [0, 2, -2]
    assert convkit.tensor([1.256, -0.114], dtype=convkit.float64).round(decimals=2).tolist() == [1.26, -0.11]
    assert convkit.tensor([151.0, -49.0]).round(decimals=-2).tolist() == [200, 0]
    with pytest.raises(TypeError, match="round: decimals are for floats, got int64"):
        convkit.tensor([1]).round(decimals=1)


def test_nan_infinity_and_what_has_no_value():
    x = convkit.tensor([math.nan, math.inf, -math.inf, 2.0], requires_grad=True)
    y, gx = gradients(lambda x: x.nan_to_num(1.0, 2.0, -3.0), x)
    assert y.tolist() == [1, 2, -3, 2] and gx.tolist() == [0, 0, 0, 1]
    assert convkit.nan_to_num(x.detach())[1].item() == float(np.finfo(np.float32).max)
    for name in SMOOTH:
        if name != "nan_to_num":
            assert math.isnan(getattr(convkit, name)(convkit.tensor(math.nan)).item()), name
    assert all(math.isnan(getattr(convkit, n)(convkit.tensor(v)).item()) for n, v in (("asin", 2.0), ("acosh", 0.5), ("log", -1.0), ("sqrt", -1.0)))
    assert convkit.reciprocal(convkit.tensor(0.0)).item() == convkit.rsqrt(convkit.tensor(0.0)).item() == math.inf


def test_memory_order_stays():
    x = Tensor(channels_last_copy(numbers(1, (2, 3, 4, 5), np.float32)), requires_grad=True)
    for name in ("sin", "log1p", "floor", "square", "atan"):
        y, gx = gradients(getattr(convkit, name), x)
        assert memory_order(y) == memory_order(gx) == memory_order(x.array), name
        x.grad = None


def test_errors():
    with pytest.raises(TypeError, match="sin: needs a tensor, got float"):
        convkit.sin(1.0)
    with pytest.raises(TypeError, match="cos: needs float32 or float64, got float16"):
        convkit.cos(Tensor(np.ones(2, np.float16)))
    with pytest.raises(TypeError, match="frac: needs a tensor of floats, got int64"):
        convkit.tensor([1]).frac()
    with pytest.raises(TypeError, match="positive: needs numbers, got bool"):
        +convkit.tensor([True])
    assert functions.exp.__doc__.startswith("e to the power") and convkit.Tensor.exp.__name__ == "exp"
