"""Averages of weights and their learning rates against torch."""

import numpy as np
import pytest

import convkit
from convkit import nn, optim

torch = pytest.importorskip("torch", reason="torch is not installed; it is needed only to compare with")
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

AVERAGES = {
    "mean": lambda u: {},
    "mean of lists": lambda u: {"multi_avg_fn": u.get_swa_multi_avg_fn()},
    "fading": lambda u: {"avg_fn": u.get_ema_avg_fn(0.7)},
    "fading lists": lambda u: {"multi_avg_fn": u.get_ema_multi_avg_fn(0.7)},
}


@pytest.mark.parametrize("use_buffers", [False, True])
@pytest.mark.parametrize("name", AVERAGES)
def test_averages(name, use_buffers):
    if use_buffers and name == "mean of lists":
        pytest.skip("torch refuses to average its integer buffer so")
    theirs = torch.nn.Sequential(torch.nn.Conv2d(2, 3, 3), torch.nn.BatchNorm2d(3))
    mine = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3))
    averages = []
    for model, lib in ((mine, optim), (theirs, torch.optim)):
        averages.append(lib.swa_utils.AveragedModel(model, use_buffers=use_buffers, **AVERAGES[name](lib.swa_utils)))
    rng = np.random.default_rng(0)
    for _ in range(4):
        x = rng.standard_normal((3, 2, 5, 5)).astype(np.float32)
        for p in theirs.parameters():
            p.data = torch.from_numpy(rng.standard_normal(p.shape).astype(np.float32))
        theirs(torch.from_numpy(x))
        mine.load_state_dict({k: convkit.Tensor(v.numpy().copy()) for k, v in theirs.state_dict().items()})
        for average, model in zip(averages, (mine, theirs), strict=True):
            average.update_parameters(model)
    for (key, got), (other, expected) in zip(averages[0].state_dict().items(), averages[1].state_dict().items(), strict=True):
        assert key == other
        np.testing.assert_allclose(got.numpy(), expected.numpy(), rtol=1e-6, atol=1e-7, err_msg=key)
    data = [rng.standard_normal((3, 2, 5, 5)).astype(np.float32) for _ in range(3)]
    optim.swa_utils.update_bn([(convkit.from_numpy(x),) for x in data], averages[0])
    torch.optim.swa_utils.update_bn([(torch.from_numpy(x),) for x in data], averages[1])
    for got, expected in zip(averages[0].state_dict().values(), averages[1].state_dict().values(), strict=True):
        np.testing.assert_allclose(got.numpy(), expected.numpy(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("strategy", ["cos", "linear"])
@pytest.mark.parametrize("epochs", [0, 1, 7])
@pytest.mark.parametrize("swa_lr", [0.05, [0.3, 0.5]])
def test_learning_rates(strategy, epochs, swa_lr):
    seen = []
    for lib, o in ((convkit, optim), (torch, torch.optim)):
        groups = [{"params": [lib.zeros(1, requires_grad=True)], "lr": lr} for lr in (0.1, 0.4)]
        optimizer = o.SGD(groups, lr=0.1)
        other = o.lr_scheduler.ExponentialLR(optimizer, 0.9)
        schedule = o.swa_utils.SWALR(optimizer, swa_lr, epochs, strategy)
        rates = [[g["lr"] for g in optimizer.param_groups]]
        for epoch in range(15):
            (other if epoch < 3 else schedule).step()
            rates.append([g["lr"] for g in optimizer.param_groups])
        state = schedule.state_dict()
        again = o.swa_utils.SWALR(optimizer, 0.2)
        again.load_state_dict(state)
        again.step()
        rates.append([g["lr"] for g in optimizer.param_groups])
        seen.append(rates)
    np.testing.assert_allclose(seen[0], seen[1], rtol=1e-12)
