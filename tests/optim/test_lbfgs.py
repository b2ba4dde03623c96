"""L-BFGS: minima it must find, what it keeps, what it refuses."""

import json

import numpy as np
import pytest

import convkit
from convkit import optim


def rosenbrock(w):
    a, b = w[:-1], w[1:]
    return ((b - a * a) ** 2 * 100 + (1 - a) ** 2).sum()


def learning(w, loss=rosenbrock, **settings):
    optimizer = optim.LBFGS([w], **settings)

    def closure():
        optimizer.zero_grad()
        value = loss(w)
        value.backward()
        return value

    return optimizer, closure


def test_a_curved_valley():
    w = convkit.tensor(np.array([-1.2, 1.0]), requires_grad=True)
    optimizer, closure = learning(w, max_iter=100, line_search_fn="strong_wolfe")
    first = optimizer.step(closure)
    assert first.item() == pytest.approx(rosenbrock(convkit.tensor(np.array([-1.2, 1.0]))).item())
    np.testing.assert_allclose(np.array(w.detach()), 1, rtol=1e-4)
    assert optimizer.state[w]["n_iter"] < 60


def test_a_quadratic_without_line_search():
    target, weight = np.arange(6.0), np.array([1.0, 2.0, 4.0, 0.5, 3.0, 1.0])
    w = convkit.zeros(6, dtype=np.float64, requires_grad=True)
    optimizer, closure = learning(w, lambda w: (convkit.tensor(weight) * (w - convkit.tensor(target)) ** 2).sum(), history_size=4)
    for _ in range(3):
        optimizer.step(closure)
    np.testing.assert_allclose(np.array(w.detach()), target, atol=1e-4)
    assert len(optimizer.state[w]["old_dirs"]) <= 4


def test_limits():
    w = convkit.tensor(np.array([-1.2, 1.0]), requires_grad=True)
    optimizer, closure = learning(w, max_iter=5, lr=1e-3)
    optimizer.step(closure)
    assert optimizer.state[w]["n_iter"] == 5 and optimizer.state[w]["func_evals"] == 5
    optimizer, closure = learning(w, max_iter=50, max_eval=3, lr=1e-3)
    optimizer.step(closure)
    assert optimizer.state[w]["func_evals"] == 3
    at_rest = convkit.tensor(np.array([1.0, 1.0]), requires_grad=True)
    optimizer, closure = learning(at_rest)
    optimizer.step(closure)
    assert optimizer.state[at_rest]["n_iter"] == 0 and at_rest.tolist() == [1, 1]


def test_state_goes_round():
    start = np.array([-1.2, 1.0, 0.3])
    w, twin = convkit.tensor(start, requires_grad=True), convkit.tensor(start, requires_grad=True)
    optimizer, closure = learning(w, max_iter=4, line_search_fn="strong_wolfe")
    optimizer.step(closure)
    other, again = learning(twin, max_iter=4, line_search_fn="strong_wolfe")
    twin.detach().copy_(w)
    other.load_state_dict(optimizer.state_dict())
    json.dumps(optimizer.state_dict(), default=lambda tensor: tensor.tolist())
    for _ in range(2):
        optimizer.step(closure)
        other.step(again)
    np.testing.assert_array_equal(np.array(w.detach()), np.array(twin.detach()))


def test_errors():
    w = convkit.zeros(1, requires_grad=True)
    with pytest.raises(ValueError, match="LBFGS: all parameters are learnt together, in one group, got 2 groups"):
        optim.LBFGS([{"params": w}, {"params": convkit.zeros(1)}])
    with pytest.raises(ValueError, match="LBFGS: line_search_fn must be None or 'strong_wolfe', got 'armijo'"):
        optim.LBFGS([w], line_search_fn="armijo")
    with pytest.raises(ValueError, match="LBFGS: lr must be 0 or larger, got -1"):
        optim.LBFGS([w], lr=-1)
