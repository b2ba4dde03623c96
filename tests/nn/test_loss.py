"""Losses against their formulas."""

import numpy as np
import pytest

import convkit
from convkit import nn


def log_softmax(x):
    x = x - x.max(1, keepdims=True)
    return x - np.log(np.exp(x).sum(1, keepdims=True))


def by_hand(logp, target, weight, ignore, smoothing):
    """(losses, weights of the targets) of log-probabilities [N, C, ...] and class numbers [N, ...]."""
    classes = logp.shape[1]
    weight = np.ones(classes) if weight is None else weight
    losses, weights = np.zeros(target.shape), np.zeros(target.shape)
    for place in np.ndindex(*target.shape):
        y = target[place]
        if y == ignore:
            continue
        row = logp[(place[0], slice(None), *place[1:])]
        losses[place] = -(1 - smoothing) * weight[y] * row[y] - smoothing / classes * (weight * row).sum()
        weights[place] = weight[y]
    return losses, weights


@pytest.mark.parametrize("shape", [(6, 4), (2, 4, 3, 2)])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_cross_entropy_and_nll(shape, weighted, smoothing):
    rng = np.random.default_rng(0)
    x, target = rng.standard_normal(shape), rng.integers(0, 4, (shape[0], *shape[2:]))
    target.flat[1] = 2
    weight = rng.random(4) + 0.5 if weighted else None
    tensors = None if weight is None else convkit.tensor(weight)
    for ignore in (-100, 2):
        losses, weights = by_hand(log_softmax(x), target, weight, ignore, smoothing)
        expected = {"none": losses, "sum": losses.sum(), "mean": losses.sum() / weights.sum()}
        for reduction, value in expected.items():
            loss = nn.CrossEntropyLoss(tensors, ignore_index=ignore, reduction=reduction, label_smoothing=smoothing)
            np.testing.assert_allclose(loss(convkit.tensor(x), convkit.tensor(target)).numpy(), value, rtol=1e-9)
            if not smoothing:
                nll = nn.NLLLoss(tensors, ignore_index=ignore, reduction=reduction)
                np.testing.assert_allclose(nll(convkit.tensor(log_softmax(x)), convkit.tensor(target)).numpy(), value, rtol=1e-9)


def test_mse():
    x, y = np.random.default_rng(1).standard_normal((2, 3, 4))
    for reduction, reduce in (("mean", np.mean), ("sum", np.sum), ("none", lambda a: a)):
        got = nn.MSELoss(reduction)(convkit.tensor(x), convkit.tensor(y)).numpy()
        np.testing.assert_allclose(got, reduce((x - y) ** 2), rtol=1e-12)


def test_weight_is_a_buffer():
    loss = nn.CrossEntropyLoss(convkit.ones(3))
    assert list(loss.state_dict()) == ["weight"] and list(loss.parameters()) == []
    assert loss.double().weight.dtype == np.float64
    assert list(nn.NLLLoss().state_dict()) == []


def test_errors():
    with pytest.raises(ValueError, match="MSELoss: reduction must be 'mean', 'sum' or 'none', got 'avg'"):
        nn.MSELoss("avg")
    with pytest.raises(ValueError, match="CrossEntropyLoss: label_smoothing must be between 0 and 1, got 2"):
        nn.CrossEntropyLoss(label_smoothing=2)
