"""Adam and AdamW, step by step, against their formulas."""

import numpy as np
import pytest

import convkit
from convkit import nn, optim


@pytest.mark.parametrize("kind", [optim.Adam, optim.AdamW])
@pytest.mark.parametrize("settings", [{}, {"weight_decay": 0.2}, {"betas": (0.5, 0.9), "eps": 1e-2}], ids=str)
@pytest.mark.parametrize(("dtype", "rtol"), [(np.float64, 1e-12), (np.float32, 5e-6)])
def test_steps(kind, settings, dtype, rtol):
    rng = np.random.default_rng(0)
    w = rng.standard_normal((4, 3, 3, 3)).astype(dtype)
    p = nn.Parameter(convkit.tensor(w))
    optimizer = kind([p], lr=0.05, **settings)
    beta1, beta2 = settings.get("betas", (0.9, 0.999))
    eps = settings.get("eps", 1e-8)
    decay = settings.get("weight_decay", 0.01 if kind is optim.AdamW else 0.0)
    expected, m, v = w.astype(np.float64), 0.0, 0.0
    for t in range(1, 6):
        grad = rng.standard_normal(w.shape).astype(dtype)
        p.grad = convkit.tensor(grad)
        optimizer.step()
        g = grad.astype(np.float64)
        if kind is optim.AdamW:
            expected = expected * (1 - 0.05 * decay)
        else:
            g = g + decay * expected
        m, v = beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g * g
        expected = expected - 0.05 * (m / (1 - beta1**t)) / (np.sqrt(v / (1 - beta2**t)) + eps)
        np.testing.assert_allclose(np.array(p.detach()), expected, rtol=rtol, atol=rtol)
    assert optimizer.state[p]["step"] == 5
    np.testing.assert_allclose(optimizer.state[p]["exp_avg"], m, rtol=rtol * 10, atol=rtol)
    np.testing.assert_allclose(optimizer.state[p]["exp_avg_sq"], v, rtol=rtol * 10, atol=rtol)


@pytest.mark.parametrize("betas", [(1.0, 0.9), (0.9, -0.1), (0.9,)])
def test_betas(betas):
    with pytest.raises(ValueError, match=r"AdamW: betas must be two numbers in \[0, 1\), got"):
        optim.AdamW([convkit.zeros(1)], betas=betas)


def test_errors():
    with pytest.raises(ValueError, match="Adam: eps must be 0 or larger, got -1"):
        optim.Adam([convkit.zeros(1)], eps=-1)
