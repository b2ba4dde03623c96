"""Averages of weights against their formulas."""

import numpy as np
import pytest

import convkit
from convkit import nn, optim
from convkit.optim import swa_utils


def model(seed):
    convkit.manual_seed(seed)
    net = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(12, 2))
    net(convkit.randn(5, 2, 4, 4))  # running statistics of its own
    return net


MODELS = [model(seed) for seed in range(4)]


def values(net):
    return [t.detach().numpy().copy() for t in (*net.parameters(), *net.buffers())]


def folded(step, weights):
    average = weights[0].astype(np.float64)
    for n, w in enumerate(weights[1:], 1):
        average = step(average, w, n)
    return average


MEAN = lambda average, w, n: average + (w - average) / (n + 1)
FADING = lambda average, w, n: 0.7 * average + 0.3 * w
CASES = {
    "mean": ({}, MEAN),
    "mean of lists": ({"multi_avg_fn": swa_utils.get_swa_multi_avg_fn()}, MEAN),
    "fading": ({"avg_fn": swa_utils.get_ema_avg_fn(0.7)}, FADING),
    "fading lists": ({"multi_avg_fn": swa_utils.get_ema_multi_avg_fn(0.7)}, FADING),
    "own": ({"avg_fn": lambda average, w, n: average * 0.5 + w * n.item()}, lambda average, w, n: average * 0.5 + w * n),
}


@pytest.mark.parametrize("use_buffers", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_averages(name, use_buffers):
    settings, step = CASES[name]
    averaged = swa_utils.AveragedModel(MODELS[0], use_buffers=use_buffers, **settings)
    before = [values(net) for net in MODELS]
    for net in MODELS:
        averaged.update_parameters(net)
    assert averaged.n_averaged.item() == 4
    parameters = len(list(MODELS[0].parameters()))
    for i, (got, *weights) in enumerate(zip(values(averaged.module), *before, strict=True)):
        if got.dtype == np.int64:  # the count of batches: 1 in every model
            assert got == (1 if not use_buffers or name != "own" else got)
        elif i < parameters or use_buffers:
            np.testing.assert_allclose(got, folded(step, weights), rtol=1e-5, atol=1e-6)
        else:
            np.testing.assert_array_equal(got, weights[-1])
    for net, kept in zip(MODELS, before, strict=True):
        for got, expected in zip(values(net), kept, strict=True):
            np.testing.assert_array_equal(got, expected)
    x = convkit.randn(2, 2, 4, 4)
    np.testing.assert_array_equal(averaged.eval()(x).detach().numpy(), averaged.module(x).detach().numpy())


def test_state_moves_over():
    averaged = swa_utils.AveragedModel(MODELS[0])
    averaged.update_parameters(MODELS[1])
    assert next(iter(averaged.state_dict())) == "n_averaged" and "module.0.weight" in averaged.state_dict()
    twin = swa_utils.AveragedModel(MODELS[2])
    twin.load_state_dict(averaged.state_dict())
    for got, expected in zip(values(twin), values(averaged), strict=True):
        np.testing.assert_array_equal(got, expected)


def test_update_bn():
    net, batches = model(0), [convkit.randn(4, 2, 4, 4) for _ in range(3)]
    net.eval()
    swa_utils.update_bn([(x, None) for x in batches], net)
    norm = net[1]
    assert norm.momentum == 0.1 and not net.training and norm.num_batches_tracked.item() == 3
    means = [net[0](x).detach().numpy().mean((0, 2, 3)) for x in batches]
    np.testing.assert_allclose(norm.running_mean.numpy(), np.mean(means, 0), rtol=1e-4, atol=1e-6)
    with pytest.raises(ValueError, match="input has 3 channels"):  # modes and momenta survive
        swa_utils.update_bn([convkit.ones(1, 3, 4, 4)], net)
    assert norm.momentum == 0.1 and not net.training
    swa_utils.update_bn(iter(()), nn.Linear(2, 2))


def test_swalr_beside_another_schedule():
    optimizer = optim.SGD([convkit.zeros(1, requires_grad=True)], lr=1.0)
    other = optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
    schedule = swa_utils.SWALR(optimizer, 0.05, anneal_epochs=4, anneal_strategy="linear")
    seen = []
    for epoch in range(8):
        (other if epoch < 2 else schedule).step()
        seen.append(optimizer.param_groups[0]["lr"])
    np.testing.assert_allclose(seen, [0.5, 0.25, 0.2, 0.15, 0.1, 0.05, 0.05, 0.05])
    twin = swa_utils.SWALR(optimizer, 0.3)
    twin.load_state_dict(schedule.state_dict())
    assert (twin.anneal_epochs, twin._anneal_strategy, twin._step_count) == (4, "linear", 7)


def test_errors():
    optimizer = optim.SGD([convkit.zeros(1, requires_grad=True)], lr=1.0)
    for match, call in {
        "AveragedModel: needs avg_fn or multi_avg_fn, not both": lambda: swa_utils.AveragedModel(
            MODELS[0], avg_fn=swa_utils.get_swa_avg_fn(), multi_avg_fn=swa_utils.get_swa_multi_avg_fn()
        ),
        r"AveragedModel: the model has parameters \[\[2, 2\], \[2\]\], the average": lambda: swa_utils.AveragedModel(MODELS[0]).update_parameters(
            nn.Linear(2, 2)
        ),
        "get_ema_avg_fn: decay must be in 0 .. 1, got 1.5": lambda: swa_utils.get_ema_avg_fn(1.5),
        "get_ema_multi_avg_fn: decay must be in 0 .. 1, got -1": lambda: swa_utils.get_ema_multi_avg_fn(-1),
        "SWALR: anneal_strategy must be 'cos' or 'linear', got 'step'": lambda: swa_utils.SWALR(optimizer, 0.1, anneal_strategy="step"),
        "SWALR: anneal_epochs must be an int of at least 0, got -1": lambda: swa_utils.SWALR(optimizer, 0.1, -1),
        "SWALR: swa_lr needs one number for each of 1 groups, got 2": lambda: swa_utils.SWALR(optimizer, [0.1, 0.2]),
    }.items():
        with pytest.raises(ValueError, match="^" + match):
            call()
    with pytest.raises(TypeError, match="SWALR: needs an optimizer, got int"):
        swa_utils.SWALR(3, 0.1)
