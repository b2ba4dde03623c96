"""Schedules against torch, over fifty epochs: learning rates, momenta, arguments."""

import inspect
import math

import numpy as np
import pytest

import convkit
from convkit import optim

torch = pytest.importorskip("torch", reason="torch is not installed; it is needed only to compare with")
# torch warns of closed forms, and of steps in another order than it expects.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

# Each is made twice, of convkit's schedules `s` and of torch's.
CASES = {
    "lambda": lambda s, o: s.LambdaLR(o, [lambda t: 0.9**t, lambda t: 1 / (1 + t)]),
    "multiplicative": lambda s, o: s.MultiplicativeLR(o, [lambda t: 0.9, lambda t: t / (1 + t)]),
    "step": lambda s, o: s.StepLR(o, 7, gamma=0.5),
    "multi step": lambda s, o: s.MultiStepLR(o, [3, 20, 20, 30]),
    "constant": lambda s, o: s.ConstantLR(o),
    "linear": lambda s, o: s.LinearLR(o),
    "linear down": lambda s, o: s.LinearLR(o, 1.0, 0.1, 30),
    "exponential": lambda s, o: s.ExponentialLR(o, 0.93),
    "polynomial": lambda s, o: s.PolynomialLR(o, 40, 1.7),
    "cosine": lambda s, o: s.CosineAnnealingLR(o, 13, eta_min=0.01),
    "cosine over zero": lambda s, o: s.CosineAnnealingLR(o, 25),
    "restarts": lambda s, o: s.CosineAnnealingWarmRestarts(o, 7, eta_min=0.02),
    "longer restarts": lambda s, o: s.CosineAnnealingWarmRestarts(o, 3, 2),
    "triangular": lambda s, o: s.CyclicLR(o, 0.1, 0.7, 4, 6),
    "triangular2": lambda s, o: s.CyclicLR(o, [0.1, 0.2], [0.7, 0.9], 7, mode="triangular2"),
    "exp_range": lambda s, o: s.CyclicLR(o, 0.1, 0.7, 7, mode="exp_range", gamma=0.97, base_momentum=0.7),
    "own cycle": lambda s, o: s.CyclicLR(o, 0.1, 0.7, 7, scale_fn=lambda x: 1 / (5 ** (x * 0.0001)), scale_mode="iterations"),
    "one cycle": lambda s, o: s.OneCycleLR(o, 0.8, 51),
    "one cycle linear": lambda s, o: s.OneCycleLR(o, [0.8, 0.3], epochs=3, steps_per_epoch=18, anneal_strategy="linear", three_phase=True),
    "sequence": lambda s, o: s.SequentialLR(o, [s.LinearLR(o, 0.1, total_iters=5), s.CosineAnnealingLR(o, 20), s.ExponentialLR(o, 0.9)], [5, 25]),
    "sequence of cycles": lambda s, o: s.SequentialLR(o, [s.ConstantLR(o, 0.1, 20), s.CosineAnnealingWarmRestarts(o, 5)], [10]),
    "chain": lambda s, o: s.ChainedScheduler([s.ConstantLR(o, 0.1, 20), s.ExponentialLR(o, 0.9)]),
    "chain with a floor": lambda s, o: s.ChainedScheduler([s.CosineAnnealingLR(o, 60, 0.05), s.StepLR(o, 10)], optimizer=o),
    "chain of three": lambda s, o: s.ChainedScheduler([s.LinearLR(o), s.PolynomialLR(o, 70, 2.0), s.MultiStepLR(o, [10, 30], 0.5)]),
}


def optimizers(kind="SGD"):
    made = []
    for lib in (convkit, torch):
        groups = [{"params": [lib.zeros(1, requires_grad=True)], "lr": lr} for lr in (0.1, 0.4)]
        made.append(getattr(lib.optim if lib is torch else optim, kind)(groups, **({"momentum": 0.9} if kind == "SGD" else {})))
    return made


def settings(o):
    return [value for g in o.param_groups for value in (g["lr"], g["betas"][0] if "betas" in g else g["momentum"])]


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("kind", ["SGD", "Adam"])
def test_fifty_epochs(name, kind):
    mine, other = optimizers(kind)
    schedule, theirs = CASES[name](optim.lr_scheduler, mine), CASES[name](torch.optim.lr_scheduler, other)
    for t in range(50):
        np.testing.assert_allclose(settings(mine), settings(other), rtol=1e-10, atol=1e-15, err_msg=f"epoch {t}")
        np.testing.assert_allclose(schedule.get_last_lr(), theirs.get_last_lr(), rtol=1e-10, atol=1e-15)
        if not name.startswith("chain"):
            assert schedule.last_epoch == theirs.last_epoch
        other.step()
        schedule.step()
        theirs.step()


@pytest.mark.parametrize("name", ["step", "multi step", "linear", "exponential", "cosine", "polynomial", "lambda", "multiplicative", "constant"])
def test_a_rate_changed_on_the_way(name):
    mine, other = optimizers()
    schedule, theirs = CASES[name](optim.lr_scheduler, mine), CASES[name](torch.optim.lr_scheduler, other)
    for t in range(20):
        if t in (2, 9, 13):
            for o in (mine, other):
                o.param_groups[0]["lr"] *= 1.7
        other.step()
        schedule.step()
        theirs.step()
        np.testing.assert_allclose(settings(mine), settings(other), rtol=1e-10, atol=1e-15, err_msg=f"epoch {t}")


@pytest.mark.parametrize("name", ["step", "multi step", "linear", "exponential", "cosine", "polynomial", "lambda", "multiplicative", "constant"])
def test_torchs_state_loads(name):
    mine, other = optimizers()
    schedule, theirs = CASES[name](optim.lr_scheduler, mine), CASES[name](torch.optim.lr_scheduler, other)
    other.step()
    for _ in range(10):
        theirs.step()
    schedule.load_state_dict(theirs.state_dict())
    for a, b in zip(mine.param_groups, other.param_groups, strict=True):
        a["lr"] = b["lr"]
    for _ in range(10):
        schedule.step()
        theirs.step()
        np.testing.assert_allclose(settings(mine), settings(other), rtol=1e-10, atol=1e-15)


PLATEAUS = [
    {}, {"mode": "max", "patience": 2}, {"factor": 0.5, "patience": 1, "cooldown": 3, "min_lr": [0.02, 0.0]}, {"threshold": 0.05, "patience": 0},
    {"threshold_mode": "abs", "threshold": 0.1, "patience": 3, "eps": 0.01},
]  # fmt: skip


@pytest.mark.parametrize("options", PLATEAUS, ids=str)
def test_plateau(options):
    mine, other = optimizers()
    schedule = optim.lr_scheduler.ReduceLROnPlateau(mine, **options)
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(other, **options)
    rng = np.random.default_rng(0)
    for t in range(50):
        loss = float(2 * math.exp(-t / 10) + 0.1 * rng.standard_normal()) if t != 20 else float("nan")
        schedule.step(loss)
        theirs.step(loss)
        np.testing.assert_allclose(settings(mine), settings(other), rtol=1e-12)
        for key in ("best", "num_bad_epochs", "cooldown_counter", "last_epoch"):
            assert getattr(schedule, key) == getattr(theirs, key), (t, key)


@pytest.mark.parametrize("name", optim.lr_scheduler.__all__)
def test_arguments(name):
    mine, theirs = (inspect.signature(getattr(m.lr_scheduler, name)).parameters for m in (optim, torch.optim))
    assert [(p.name, p.kind, p.default) for p in mine.values()] == [(p.name, p.kind, p.default) for p in theirs.values()]
