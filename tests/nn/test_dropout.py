"""Dropout: how many, by how much, and when."""

import numpy as np
import pytest

import convkit
from convkit import nn


def test_drops_with_probability_p_and_keeps_the_mean():
    convkit.manual_seed(0)
    y = nn.Dropout(0.3)(convkit.ones(200, 500)).numpy()
    assert np.allclose(np.unique(y), [0, 1 / 0.7])
    assert abs((y == 0).mean() - 0.3) < 0.01 and abs(y.mean() - 1) < 0.01


def test_the_gradient_goes_where_the_numbers_went():
    x = convkit.ones(1000, requires_grad=True)
    y = nn.Dropout(0.5)(x)
    y.sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), y.detach().numpy())


def test_seed_and_modes():
    layer, x = nn.Dropout(), convkit.randn(100)
    convkit.manual_seed(5)
    first, second = layer(x).numpy(), layer(x).numpy()
    convkit.manual_seed(5)
    np.testing.assert_array_equal(layer(x).numpy(), first)
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(layer.eval()(x).numpy(), x.numpy())
    np.testing.assert_array_equal(nn.Dropout(0.0)(x).numpy(), x.numpy())
    assert not np.any(nn.Dropout(1.0)(x).numpy())
    assert repr(layer) == "Dropout(p=0.5, inplace=False)"


@pytest.mark.parametrize("p", [-0.1, 1.1, float("nan")])
def test_p_is_a_probability(p):
    with pytest.raises(ValueError, match="Dropout: p must be between 0 and 1"):
        nn.Dropout(p)
