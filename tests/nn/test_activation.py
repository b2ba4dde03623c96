"""Activation layers against their formulas."""

import numpy as np
import pytest
import scipy.special

import convkit
from convkit import nn

FORMULAS = [
    (nn.ReLU(), lambda x: np.maximum(x, 0)),
    (nn.ReLU6(), lambda x: np.clip(x, 0, 6)),
    (nn.LeakyReLU(0.2), lambda x: np.where(x > 0, x, 0.2 * x)),
    (nn.ELU(0.5), lambda x: np.where(x > 0, x, 0.5 * np.expm1(x))),
    (nn.CELU(0.5), lambda x: np.where(x > 0, x, 0.5 * np.expm1(2 * x))),
    (nn.SELU(), lambda x: 1.0507009873554805 * np.where(x > 0, x, 1.6732632423543772 * np.expm1(x))),
    (nn.GELU(), lambda x: x * scipy.special.ndtr(x)),
    (nn.GELU("tanh"), lambda x: 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))),
    (nn.SiLU(), lambda x: x * scipy.special.expit(x)),
    (nn.Mish(), lambda x: x * np.tanh(np.logaddexp(0, x))),
    (nn.Softplus(2.0, 1.0), lambda x: np.where(2 * x > 1, x, np.logaddexp(0, 2 * x) / 2)),
    (nn.Softsign(), lambda x: x / (1 + np.abs(x))),
    (nn.Hardtanh(-0.5, 2.0), lambda x: np.clip(x, -0.5, 2)),
    (nn.Hardsigmoid(), lambda x: np.clip(x + 3, 0, 6) / 6),
    (nn.Hardswish(), lambda x: x * np.clip(x + 3, 0, 6) / 6),
    (nn.LogSigmoid(), lambda x: -np.logaddexp(0, -x)),
    (nn.Threshold(0.1, 20.0), lambda x: np.where(x > 0.1, x, 20)),
    (nn.Tanhshrink(), lambda x: x - np.tanh(x)),
    (nn.Hardshrink(), lambda x: np.where(np.abs(x) > 0.5, x, 0)),
    (nn.Softshrink(0.2), lambda x: np.sign(x) * np.maximum(np.abs(x) - 0.2, 0)),
    (nn.GLU(1), lambda x: x[:, :2] * scipy.special.expit(x[:, 2:])),
    (nn.Softmin(1), lambda x: np.exp(-x) / np.exp(-x).sum(1, keepdims=True)),
    (nn.Softmax2d(), lambda x: np.exp(x) / np.exp(x).sum(0, keepdims=True)),
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


def test_softmax_without_a_dimension_warns():
    with pytest.warns(UserWarning, match="log_softmax: dim should be given; 1 is taken"):
        nn.LogSoftmax()(convkit.ones(2, 3))


def test_prelu_learns_its_slopes():
    layer = nn.PReLU(3, init=0.5, dtype=np.float64)
    x = convkit.randn(2, 3, 4, dtype=np.float64)
    np.testing.assert_array_equal(layer(x).detach().numpy(), np.where(x.numpy() > 0, x.numpy(), 0.5 * x.numpy()))
    layer(x).sum().backward()
    np.testing.assert_allclose(layer.weight.grad.numpy(), np.minimum(x.numpy(), 0).sum((0, 2)), rtol=1e-12)
    assert list(layer.state_dict()) == ["weight"] and repr(layer) == "PReLU(num_parameters=3)"


def test_arguments_are_shown():
    assert repr(nn.GELU("tanh")) == "GELU(approximate='tanh')" and repr(nn.Softplus()) == "Softplus(beta=1.0, threshold=20.0)"
    assert repr(nn.LeakyReLU()) == "LeakyReLU(negative_slope=0.01)" and repr(nn.ReLU()) == "ReLU()" and repr(nn.Softmax(1)) == "Softmax(dim=1)"


def test_errors():
    for kind in (nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.CELU, nn.SELU, nn.SiLU, nn.Mish, nn.Hardtanh, nn.Hardsigmoid, nn.Hardswish):
        with pytest.raises(ValueError, match=f"^{kind.__name__}: inplace=True is not supported"):
            kind(inplace=True)
    with pytest.raises(ValueError, match="^Threshold: inplace=True is not supported"):
        nn.Threshold(1, 2, True)
    with pytest.raises(ValueError, match="^Hardtanh: max_val must be greater than min_val, got 1 and 2"):
        nn.Hardtanh(2, 1)
    with pytest.raises(ValueError, match="^PReLU: num_parameters must be at least 1"):
        nn.PReLU(0)
    with pytest.raises(ValueError, match="^Softmax2d: input must be"):
        nn.Softmax2d()(convkit.ones(2, 3))
