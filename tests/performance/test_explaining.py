"""`convkit.explain`: what was taken, what was refused and why, and what both cost."""

import numpy as np
import pytest

import convkit
from convkit import nn


def test_a_3x3_convolution_weighs_both_algorithms():
    layer = nn.Conv2d(64, 64, 3, padding=1)
    found = convkit.explain(layer, convkit.randn(8, 64, 16, 16), repeats=1)
    assert [(s.operation, s.phase) for s in found.steps] == [
        ("ChannelsLast", "forward"), ("Conv", "forward"), ("ConvInputGrad", "backward"), ("ConvWeightGrad", "backward"), ("Sum", "backward"),
        ("ChannelsLast", "backward"),
    ]  # fmt: skip
    turned, *sums, bias, _ = found.steps
    for step in sums:
        assert {c.algorithm: c.taken for c in step.candidates} == {"direct": False, "winograd": True}
        assert all(c.predicted > 0 and c.measured > 0 and not c.refused for c in step.candidates)
        assert step.scratch > 64 * 64 * 36 * 4  # the transformed weights
    assert turned.output == sums[0].output == "8x64x16x16 channels-last" and turned.inputs[0] == "8x64x16x16 in C order"
    assert turned.candidates == bias.candidates == ()
    assert "winograd  taken" in str(found) and "direct    not taken" in str(found)
    assert layer.weight.grad is None


def test_what_is_asked_for_is_taken():
    with convkit.conv_algorithm("direct"):
        found = convkit.explain(nn.Conv2d(64, 64, 3, padding=1), convkit.randn(8, 64, 16, 16), repeats=1)
    assert [[c.taken for c in step.candidates] for step in found.steps if step.candidates] == [[True, False]] * 3


def test_refusals_say_why():
    found = convkit.explain(nn.Conv2d(4, 8, 3, stride=2), convkit.randn(2, 4, 9, 9), repeats=1)
    refused = [[c.refused for c in step.candidates] for step in found.steps if step.candidates]
    assert refused and all(step == ["", "a stride"] for step in refused)
    assert "winograd  cannot be used: a stride" in str(found)


def test_functions_and_other_layers():
    found = convkit.explain(lambda x, y: x @ y, convkit.randn(4, 5), convkit.randn(5, 6), repeats=2)
    assert [s.operation for s in found.steps if s.operation != "Permute"] == ["MatMul"] * 3 and found.steps[0].output == "4x6 in C order"
    norm = nn.BatchNorm2d(3)
    mean = norm.running_mean.numpy().copy()
    assert convkit.explain(norm, convkit.randn(2, 3, 4, 4), repeats=1).steps
    assert np.array_equal(norm.running_mean.numpy(), mean)


def test_wrong_arguments():
    with pytest.raises(TypeError, match="explain: op must be a layer or a function, got int"):
        convkit.explain(3, convkit.ones(1))
    with pytest.raises(ValueError, match="explain: repeats must be at least 1, got 0"):
        convkit.explain(nn.ReLU(), convkit.ones(1), repeats=0)


def test_gradients_that_were_there_stay():
    layer = nn.Linear(3, 2)
    layer(convkit.ones(1, 3)).sum().backward()
    grads = [p.grad for p in layer.parameters()]
    found = convkit.explain(layer, convkit.randn(4, 3), repeats=1)
    assert all(p.grad is g for p, g in zip(layer.parameters(), grads, strict=True))
    assert "Add" not in [s.operation for s in found.steps]  # nothing was accumulated
    with pytest.raises(ValueError, match="linear"):
        convkit.explain(layer, convkit.randn(4, 4))
    assert all(p.grad is g for p, g in zip(layer.parameters(), grads, strict=True))
