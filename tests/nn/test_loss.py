"""Losses against their formulas."""

import copy
import pickle

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
        got = nn.MSELoss(reduction=reduction)(convkit.tensor(x), convkit.tensor(y)).numpy()
        np.testing.assert_allclose(got, reduce((x - y) ** 2), rtol=1e-12)


def test_weight_is_a_buffer():
    loss = nn.CrossEntropyLoss(convkit.ones(3))
    assert list(loss.state_dict()) == ["weight"] and list(loss.parameters()) == []
    assert loss.double().weight.dtype == np.float64
    assert list(nn.NLLLoss().state_dict()) == []


def test_errors():
    with pytest.raises(ValueError, match="MSELoss: reduction must be 'none', 'mean' or 'sum', got 'avg'"):
        nn.MSELoss(reduction="avg")
    with pytest.raises(ValueError, match="MSELoss: size_average and reduce are torch's switches"):
        nn.MSELoss(True)
    with pytest.raises(ValueError, match="cross_entropy: label_smoothing must be 0 to 1, got 2"):
        nn.CrossEntropyLoss(label_smoothing=2)(convkit.ones(1, 2), convkit.tensor([0]))
    with pytest.raises(TypeError, match="HuberLoss: got an unexpected keyword argument 'beta'; it takes .*delta"):
        nn.HuberLoss(beta=1)
    with pytest.raises(TypeError, match="GaussianNLLLoss: too many positional arguments"):
        nn.GaussianNLLLoss(True)
    with pytest.raises(TypeError, match="MSELoss: got an unexpected keyword argument 'weight'"):
        nn.MSELoss(weight=convkit.ones(1))


LAYERS = [name for name in dir(nn) if name.endswith("Loss")]


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_is_its_function(name):
    """With the layer's arguments, which can be changed afterwards; copies and files keep them."""
    x, y = convkit.rand(3, 3), convkit.rand(3, 3)
    classes = convkit.tensor([0, 2, 1])
    inputs = {
        "CrossEntropyLoss": (x, classes), "NLLLoss": (x, classes), "MultiMarginLoss": (x, classes), "GaussianNLLLoss": (x, y, y),
        "MultiLabelMarginLoss": (x, convkit.tensor([[0, 2, -1], [1, -1, 0], [2, 0, 1]])),
        "MarginRankingLoss": (x, y, y), "CosineEmbeddingLoss": (x, y, convkit.ones(3)), "TripletMarginLoss": (x, y, x * y),
        "TripletMarginWithDistanceLoss": (x, y, x * y),
    }.get(name, (x, y))  # fmt: skip
    layer = getattr(nn, name)(reduction="none")
    plain = type(layer).function(*inputs, reduction="none")
    assert layer.reduction == "none" and np.array_equal(layer(*inputs).numpy(), plain.numpy())
    twin = copy.deepcopy(layer)
    twin.reduction = "sum"
    assert np.allclose(twin(*inputs).item(), plain.sum().item()) and layer(*inputs).shape == plain.shape
    again = pickle.loads(pickle.dumps(layer))
    assert np.array_equal(again(*inputs).numpy(), plain.numpy()) and repr(again).startswith(name)


def test_layers_can_be_derived_from():
    class Scaled(nn.MSELoss):
        def __init__(self, factor):
            super().__init__(reduction="sum")
            self.factor = factor

        def forward(self, *inputs):
            return super().forward(*inputs) * self.factor

    assert Scaled(3)(convkit.ones(2), convkit.zeros(2)).item() == 6
    assert nn.CrossEntropyLoss()(input=convkit.zeros(1, 2), target=convkit.tensor([0])).item() > 0
