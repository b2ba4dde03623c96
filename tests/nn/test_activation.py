"""Activation layers against their formulas."""

import numpy as np
import pytest

import convkit
from convkit import nn

FORMULAS = [
    (nn.ReLU(), lambda x: np.maximum(x, 0)),
    (nn.ReLU(inplace=True), lambda x: np.maximum(x, 0)),
    (nn.Tanh(), np.tanh),
    (nn.Sigmoid(), lambda x: 1 / (1 + np.exp(-x))),
    (nn.Softmax(1), lambda x: np.exp(x) / np.exp(x).sum(1, keepdims=True)),
    (nn.Softmax(-1), lambda x: np.exp(x) / np.exp(x).sum(-1, keepdims=True)),
    (nn.LogSoftmax(1), lambda x: x - np.log(np.exp(x).sum(1, keepdims=True))),
]


@pytest.mark.parametrize(("layer", "formula"), FORMULAS, ids=[repr(layer) for layer, _ in FORMULAS])
def test_values(layer, formula):
    x = convkit.randn(3, 4, 5, dtype=np.float64)
    before = x.numpy().copy()
    np.testing.assert_allclose(layer(x).numpy(), formula(before), rtol=1e-12, atol=1e-15)
    np.testing.assert_array_equal(x.numpy(), before)
    assert list(layer.parameters()) == []


def test_softmax_wants_a_dimension():
    with pytest.raises(TypeError, match="LogSoftmax: dim must be an int, got None"):
        nn.LogSoftmax()
