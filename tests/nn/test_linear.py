"""Dense layers and layers that reshape."""

import numpy as np
import pytest

import convkit
from convkit import nn


def test_linear():
    layer = nn.Linear(4, 3, dtype=np.float64)
    x = convkit.randn(2, 5, 4, dtype=np.float64)
    w, b = layer.weight.detach().numpy(), layer.bias.detach().numpy()
    expected = np.einsum("nli,oi->nlo", x.numpy(), w) + b
    np.testing.assert_allclose(layer(x).detach().numpy(), expected, rtol=1e-12)
    layer = nn.Linear(4, 3, bias=False)
    assert layer.bias is None and list(layer.state_dict()) == ["weight"]
    assert repr(layer) == "Linear(in_features=4, out_features=3, bias=False)"
    with pytest.raises(ValueError, match="Linear: in_features must be at least 1, got 0"):
        nn.Linear(0, 3)
    with pytest.raises(TypeError, match="Linear: out_features must be an int, got '3'"):
        nn.Linear(4, "3")


def test_bilinear():
    layer = nn.Bilinear(4, 3, 5, dtype=np.float64)
    x1, x2 = convkit.randn(2, 4, dtype=np.float64), convkit.randn(2, 3, dtype=np.float64)
    expected = np.einsum("ni,kij,nj->nk", x1.numpy(), layer.weight.detach().numpy(), x2.numpy()) + layer.bias.detach().numpy()
    np.testing.assert_allclose(layer(x1, x2).detach().numpy(), expected, rtol=1e-12)
    assert repr(nn.Bilinear(4, 3, 5, bias=False)) == "Bilinear(in1_features=4, in2_features=3, out_features=5, bias=False)"
    layer = nn.Bilinear(100, 30, 20)
    for p in layer.parameters():
        assert 0.08 < np.abs(p.detach().numpy()).max() <= 0.1
    with pytest.raises(ValueError, match="Bilinear: in2_features must be at least 1, got 0"):
        nn.Bilinear(4, 0, 3)


def test_reshaping():
    x = convkit.arange(24).reshape(2, 3, 2, 2)
    assert nn.Identity(1, two=2)(x) is x
    np.testing.assert_array_equal(nn.Flatten()(x).numpy(), x.numpy().reshape(2, 12))
    np.testing.assert_array_equal(nn.Flatten(0, 1)(x).numpy(), x.numpy().reshape(6, 2, 2))
    np.testing.assert_array_equal(nn.Unflatten(1, (3, -1))(nn.Flatten()(x)).numpy(), x.numpy().reshape(2, 3, 4))
    np.testing.assert_array_equal(nn.Unflatten(-1, (2, 1))(x).numpy(), x.numpy()[..., None])
    with pytest.raises(IndexError, match="Unflatten: dim 4 is out of range"):
        nn.Unflatten(4, (1, 1))(x)
    assert repr(nn.Flatten()) == "Flatten(start_dim=1, end_dim=-1)"
    assert repr(nn.Unflatten(1, (3, 4))) == "Unflatten(dim=1, unflattened_size=(3, 4))"


def test_flatten_follows_the_shape_not_the_memory():
    """A convolution's output lies channels-last in memory; its flattened form is still in the order of C, H, W."""
    y = nn.Conv2d(2, 3, 1)(convkit.randn(2, 2, 4, 5))
    np.testing.assert_array_equal(nn.Flatten()(y).detach().numpy(), np.ascontiguousarray(y.detach().numpy()).reshape(2, -1))
