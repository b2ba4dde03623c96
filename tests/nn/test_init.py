"""Initial values: bounds, moments, formulas, the seed."""

import math

import numpy as np
import pytest

import convkit
from convkit import nn
from convkit.nn import init

SHAPE = (64, 32, 3, 3)  # fan_in 288, fan_out 576


def filled(fill, *args, **options):
    convkit.manual_seed(0)
    weight = nn.Parameter(convkit.zeros(*SHAPE))
    assert fill(weight, *args, **options) is weight and weight.is_leaf and weight.requires_grad
    return weight.detach().numpy().astype(np.float64)


def assert_uniform(w, low, high):
    assert low <= w.min() and w.max() <= high
    width = high - low
    assert w.min() < low + 0.01 * width and w.max() > high - 0.01 * width
    assert abs(w.mean() - (low + high) / 2) < 0.01 * width and abs(w.std() / (width / math.sqrt(12)) - 1) < 0.02


def assert_normal(w, mean, std):
    assert abs(w.mean() - mean) < 0.03 * std and abs(w.std() / std - 1) < 0.02
    assert abs(np.mean(np.abs(w - mean) < std) - 0.6827) < 0.01 and np.abs(w - mean).max() > 3.5 * std


def test_uniform_normal_constant():
    assert_uniform(filled(init.uniform_, -2, 5), -2, 5)
    assert_normal(filled(init.normal_, 3, 0.5), 3, 0.5)
    assert np.all(filled(init.constant_, 0.25) == 0.25) and np.all(filled(init.ones_) == 1) and np.all(filled(init.zeros_) == 0)


def test_truncated_normal():
    w = filled(init.trunc_normal_, 1, 2, -1, 2)
    assert -1 <= w.min() < -0.99 and 1.99 < w.max() <= 2
    # Mean of a normal cut off to [a, b]: mean + std (phi(alpha) - phi(beta)) / (Phi(beta) - Phi(alpha)).
    alpha, beta = (-1 - 1) / 2, (2 - 1) / 2
    density = [math.exp(-z * z / 2) / math.sqrt(2 * math.pi) for z in (alpha, beta)]
    mass = 0.5 * (math.erf(beta / math.sqrt(2)) - math.erf(alpha / math.sqrt(2)))
    assert abs(w.mean() - (1 + 2 * (density[0] - density[1]) / mass)) < 0.02
    with pytest.raises(ValueError, match="trunc_normal_: a must be smaller than b, got a=2 and b=1"):
        init.trunc_normal_(convkit.zeros(1), a=2, b=1)


def test_xavier():
    bound = 1.5 * math.sqrt(6 / (288 + 576))
    assert_uniform(filled(init.xavier_uniform_, 1.5), -bound, bound)
    assert_normal(filled(init.xavier_normal_, 1.5), 0, 1.5 * math.sqrt(2 / (288 + 576)))


@pytest.mark.parametrize(("mode", "fan"), [("fan_in", 288), ("fan_out", 576)])
@pytest.mark.parametrize(("nonlinearity", "a", "gain"), [("relu", 0, math.sqrt(2)), ("leaky_relu", 0.5, math.sqrt(1.6)), ("tanh", 0, 5 / 3)])
def test_kaiming(mode, fan, nonlinearity, a, gain):
    bound = gain * math.sqrt(3 / fan)
    assert_uniform(filled(init.kaiming_uniform_, a, mode, nonlinearity), -bound, bound)
    assert_normal(filled(init.kaiming_normal_, a, mode, nonlinearity), 0, gain / math.sqrt(fan))


def test_gains():
    gains = {"linear": 1, "conv2d": 1, "conv_transpose3d": 1, "sigmoid": 1, "tanh": 5 / 3, "relu": math.sqrt(2), "selu": 0.75}
    assert all(init.calculate_gain(name) == gain for name, gain in gains.items())
    assert init.calculate_gain("leaky_relu") == math.sqrt(2 / (1 + 0.01**2)) and init.calculate_gain("leaky_relu", 1) == 1


def test_the_seed_or_a_generator_fixes_them():
    np.testing.assert_array_equal(filled(init.normal_), filled(init.normal_))
    one = filled(init.normal_, generator=convkit.Generator(9))
    np.testing.assert_array_equal(one, filled(init.normal_, generator=convkit.Generator(9)))
    assert not np.array_equal(one, filled(init.normal_))


def test_dtype_and_shape_stay():
    weight = convkit.zeros(4, 3, dtype=np.float64)
    assert init.kaiming_normal_(weight).dtype == np.float64 and weight.shape == (4, 3)


def test_eye_and_dirac():
    np.testing.assert_array_equal(init.eye_(convkit.ones(3, 5)).numpy(), np.eye(3, 5))
    layer = nn.Conv2d(4, 4, 3, padding=1, groups=2, bias=False)
    init.dirac_(layer.weight, 2)
    x = convkit.randn(2, 4, 5, 6)
    np.testing.assert_array_equal(layer(x).detach().numpy(), x.numpy())
    w = init.dirac_(convkit.ones(2, 3, 4)).numpy()
    assert w.sum() == 2 and w[0, 0, 2] == w[1, 1, 2] == 1


@pytest.mark.parametrize("shape", [(3, 7), (7, 3), (4, 2, 3, 3), (20, 2, 3), (5, 5)])
def test_orthogonal(shape):
    convkit.manual_seed(0)
    w = init.orthogonal_(convkit.zeros(*shape, dtype=np.float64), gain=1.5).numpy().reshape(shape[0], -1)
    product = w @ w.T if w.shape[0] <= w.shape[1] else w.T @ w
    np.testing.assert_allclose(product, 1.5**2 * np.eye(min(w.shape)), atol=1e-12)
    assert init.orthogonal_(convkit.zeros(0, 3)).shape == (0, 3)


def test_sparse():
    w = init.sparse_(convkit.ones(40, 50), 0.33, std=2.0).numpy()
    assert ((w == 0).sum(0) == 14).all() and abs(w[w != 0].std() - 2) < 0.1


def test_errors():
    with pytest.raises(RuntimeError, match="uniform_: a must not be larger than b, got a=3 and b=1"):
        init.uniform_(convkit.zeros(3), 3, 1)
    with pytest.raises(RuntimeError, match="normal_: std must be 0 or larger, got -1"):
        init.normal_(convkit.zeros(3), std=-1)
    for fill, tensor in ((init.eye_, (3,)), (init.sparse_, (3, 3, 3)), (init.orthogonal_, (3,)), (init.dirac_, (3, 3))):
        with pytest.raises(ValueError, match=f"{fill.__name__}: the tensor must have .* dimensions"):
            fill(convkit.zeros(*tensor), *([0.1] if fill is init.sparse_ else []))
    with pytest.raises(ValueError, match=r"dirac_: groups must divide the first dimension, got shape \[4, 3, 3\] and groups=3"):
        init.dirac_(convkit.zeros(4, 3, 3), groups=3)
    with pytest.raises(ValueError, match="calculate_gain: the slope of leaky_relu must be a number, got True"):
        init.calculate_gain("leaky_relu", True)
    with pytest.raises(ValueError, match=r"xavier_uniform_: a fan needs a weight of 2 dimensions or more, .*, got shape \[3\]"):
        init.xavier_uniform_(convkit.zeros(3))
    with pytest.raises(ValueError, match="kaiming_normal_: mode must be 'fan_in' or 'fan_out', got 'fan'"):
        init.kaiming_normal_(convkit.zeros(3, 3), mode="fan")
    with pytest.raises(ValueError, match="calculate_gain: nonlinearity must be one of .*leaky_relu, got 'gelu'"):
        init.calculate_gain("gelu")
