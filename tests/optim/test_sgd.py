"""Gradient descent, step by step, against its formula."""

import numpy as np
import pytest

import convkit
from convkit import nn, optim

CASES = [
    {},
    {"weight_decay": 0.1},
    {"momentum": 0.9},
    {"momentum": 0.9, "dampening": 0.3},
    {"momentum": 0.9, "weight_decay": 0.1, "nesterov": True},
]


@pytest.mark.parametrize("settings", CASES, ids=str)
@pytest.mark.parametrize(("dtype", "rtol"), [(np.float64, 1e-13), (np.float32, 2e-6)])
def test_steps(settings, dtype, rtol):
    rng = np.random.default_rng(0)
    w = rng.standard_normal((4, 3, 3, 3)).astype(dtype)
    p = nn.Parameter(convkit.tensor(w))
    optimizer = optim.SGD([p], lr=0.1, **settings)
    momentum, dampening = settings.get("momentum", 0), settings.get("dampening", 0)
    expected, v = w.astype(np.float64), None
    for _ in range(5):
        grad = rng.standard_normal(w.shape).astype(dtype)
        p.grad = convkit.tensor(grad)
        optimizer.step()
        g = grad + settings.get("weight_decay", 0) * expected
        if momentum:
            v = g if v is None else momentum * v + (1 - dampening) * g
            g = g + momentum * v if settings.get("nesterov") else v
        expected = expected - 0.1 * g
        np.testing.assert_allclose(np.array(p.detach()), expected, rtol=rtol, atol=rtol)
        np.testing.assert_array_equal(p.grad.numpy(), grad)  # the gradient stays as it was
    assert p.dtype == dtype


def test_momentum_can_start_later():
    p = nn.Parameter(convkit.zeros(1))
    optimizer = optim.SGD([p], lr=1.0)
    seen = []
    for momentum in (0.0, 0.5, 0.5):
        optimizer.param_groups[0]["momentum"] = momentum
        p.grad = convkit.ones(1)
        optimizer.step()
        seen.append(p.item())
    assert seen == [-1, -2, -3.5]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"lr": -0.1}, "SGD: lr must be 0 or larger, got -0.1"),
        ({"lr": float("nan")}, "SGD: lr must be 0 or larger, got nan"),
        ({"momentum": -1}, "SGD: momentum must be 0 or larger, got -1"),
        ({"weight_decay": -1}, "SGD: weight_decay must be 0 or larger, got -1"),
        ({"nesterov": True}, "SGD: nesterov needs momentum and no dampening, got momentum=0, dampening=0"),
        ({"nesterov": True, "momentum": 0.9, "dampening": 0.1}, "SGD: nesterov needs momentum and no dampening"),
    ],
)
def test_errors(settings, message):
    with pytest.raises(ValueError) as raised:
        optim.SGD([convkit.zeros(1)], **settings)
    assert message in str(raised.value)
