"""Locally connected layers: numbers of weights, how they start, errors."""

import numpy as np
import pytest

import convkit
from convkit import nn

LOCAL = {1: nn.LocallyConnected1d, 2: nn.LocallyConnected2d, 3: nn.LocallyConnected3d}


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_shapes_and_values(rank):
    size = (6, 5, 4)[:rank]
    layer = LOCAL[rank](3, 4, size, 3, stride=2, padding=1, dtype=np.float64)
    out = (3, 3, 2)[:rank]
    assert layer.weight.shape == (*out, *[3] * rank, 3, 4) and layer.bias.shape == (*out, 4)
    x = convkit.randn(2, 3, *size, dtype=np.float64, requires_grad=True)
    y = layer(x)
    # The first place's window begins with padding.
    inside = x.detach().numpy()[(slice(None), slice(None), *[slice(0, 2)] * rank)]
    w = layer.weight.detach().numpy()[(*[0] * rank, *[slice(1, 3)] * rank)]
    expected = np.tensordot(inside, np.moveaxis(w, -2, 0), rank + 1) + layer.bias.detach().numpy()[(0,) * rank]
    np.testing.assert_allclose(y.detach().numpy()[(..., *[0] * rank)], expected, rtol=1e-12, atol=1e-13)
    y.sum().backward()
    assert layer.weight.grad.shape == layer.weight.shape and (layer.bias.grad.numpy() == 2).all()
    assert layer(x[0]).shape == (4, *out)


def test_regions():
    layer = nn.LocallyConnected2d(2, 3, (7, 6), 2, regions=(2, 3), bias=False)
    assert layer.weight.shape == (2, 3, 2, 2, 2, 3) and list(layer.state_dict()) == ["weight"]
    assert layer(convkit.zeros(1, 2, 7, 6)).shape == (1, 3, 6, 5)
    assert repr(layer) == ("LocallyConnected2d(2, 3, input_size=(7, 6), kernel_size=(2, 2), stride=(1, 1), regions=(2, 3), bias=False)")
    assert "padding=((0, 1), (0, 1))" in repr(nn.LocallyConnected2d(1, 1, 4, 2, padding="same", dilation=1))
    assert "dilation=(2,)" in repr(nn.LocallyConnected1d(1, 1, 5, 2, dilation=2))


def test_initial_weights():
    layer = nn.LocallyConnected2d(8, 16, 12, 5)
    bound = 1 / np.sqrt(8 * 25)
    for p in layer.parameters():
        assert 0.9 * bound < np.abs(p.detach().numpy()).max() <= bound


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: nn.LocallyConnected2d(0, 1, 5, 3), ValueError, "LocallyConnected2d: in_channels must be at least 1, got 0"),
        (lambda: nn.LocallyConnected2d(1, 1, (5, 5, 5), 3), ValueError, "LocallyConnected2d: input_size needs 2 numbers"),
        (lambda: nn.LocallyConnected1d(1, 1, 5, 3, regions=4), ValueError, r"regions must be at most \[3\], the places of the output, got \[4\]"),
        (lambda: nn.LocallyConnected1d(1, 1, 5, 6), ValueError, r"LocallyConnected1d: the window covers \[6\]"),
        (lambda: nn.LocallyConnected1d(1, 1, 5, 3, padding="full"), ValueError, "LocallyConnected1d: padding must be 'valid', 'same' or numbers"),
        (lambda: nn.LocallyConnected1d(1, 1, 5, 3)(convkit.zeros(1, 1, 6)), ValueError, r"is made for inputs of size \[5\], got shape \[1, 1, 6\]"),
    ],
)
def test_errors(make, error, message):
    with pytest.raises(error, match=message):
        make()
