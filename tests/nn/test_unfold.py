"""Windows as columns, and back: the layers."""

import numpy as np

import convkit
from convkit import nn


def test_the_layers_are_the_functions():
    x = convkit.randn(2, 3, 7, 6)
    options = {"kernel_size": (3, 2), "dilation": (1, 2), "padding": (1, 0), "stride": 2}
    y = nn.Unfold(**options)(x)
    np.testing.assert_array_equal(y.numpy(), nn.functional.unfold(x, **options).numpy())
    np.testing.assert_array_equal(nn.Fold((7, 6), **options)(y).numpy(), nn.functional.fold(y, (7, 6), **options).numpy())
    assert nn.Unfold(2, 1, 0, 1)(x).shape == (2, 12, 30)
    assert repr(nn.Unfold(3, padding=1)) == "Unfold(kernel_size=3, dilation=1, padding=1, stride=1)"
    assert repr(nn.Fold((5, 5), 2)) == "Fold(output_size=(5, 5), kernel_size=2, dilation=1, padding=0, stride=1)"
