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


@pytest.mark.parametrize(
    "kind, shape", [(nn.Dropout1d, (9, 8, 7)), (nn.Dropout2d, (9, 8, 3, 3)), (nn.Dropout3d, (9, 8, 2, 2, 2)), (nn.FeatureAlphaDropout, (9, 8, 5))]
)
def test_layers_that_drop_channels(kind, shape):
    convkit.manual_seed(0)
    layer, x = kind(0.5), convkit.ones(*shape)
    rows = layer(x).numpy().reshape(shape[0] * shape[1], -1)
    assert (rows == rows[:, :1]).all() and len(np.unique(rows)) == 2
    assert layer.eval()(x) is x and repr(layer) == f"{kind.__name__}(p=0.5, inplace=False)"


def test_alpha_dropout_and_inplace():
    x = convkit.randn(1000)
    assert nn.AlphaDropout(0.2).eval()(x) is x and abs(nn.AlphaDropout(0.2)(x).mean().item()) < 0.2
    for kind in (nn.Dropout, nn.Dropout1d, nn.AlphaDropout):
        with pytest.raises(ValueError, match=f"^{kind.__name__}: inplace=True is not supported"):
            kind(inplace=True)
        with pytest.raises(ValueError, match=f"^{kind.__name__}: p must be between 0 and 1"):
            kind(1.5)
