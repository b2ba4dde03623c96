"""Schedules, epoch by epoch, against their formulas."""

import json
import math

import pytest

import convkit
from convkit import optim
from convkit.optim import lr_scheduler

BASE = (0.1, 0.4)


def optimizer(kind=optim.SGD, **settings):
    groups = [{"params": [convkit.zeros(1)], "lr": lr} for lr in BASE]
    return kind(groups, **(settings or ({"momentum": 0.9} if kind is optim.SGD else {})))


def cosine(a, b, part):
    return b + (a - b) * (1 + math.cos(math.pi * part)) / 2


SCHEDULES = {
    "step": (lambda o: lr_scheduler.StepLR(o, 3, gamma=0.5), lambda base, t: base * 0.5 ** (t // 3)),
    "multi step": (lambda o: lr_scheduler.MultiStepLR(o, [7, 2, 4], gamma=0.5), lambda base, t: base * 0.5 ** ((t >= 2) + (t >= 4) + (t >= 7))),
    "exponential": (lambda o: lr_scheduler.ExponentialLR(o, 0.9), lambda base, t: base * 0.9**t),
    "linear": (lambda o: lr_scheduler.LinearLR(o, 0.2, 0.8, 4), lambda base, t: base * (0.2 + 0.6 * min(t, 4) / 4)),
    "warm-up": (lr_scheduler.LinearLR, lambda base, t: base * (1 / 3 + 2 / 3 * min(t, 5) / 5)),
    "cosine": (lambda o: lr_scheduler.CosineAnnealingLR(o, 8, eta_min=0.01), lambda base, t: cosine(base, 0.01, t / 8)),
    "lambda": (lambda o: lr_scheduler.LambdaLR(o, lambda t: 1 / (1 + t)), lambda base, t: base / (1 + t)),
    "sequence": (
        lambda o: lr_scheduler.SequentialLR(
            o, [lr_scheduler.LinearLR(o, 0.5, total_iters=3), lr_scheduler.CosineAnnealingLR(o, 6), lr_scheduler.ExponentialLR(o, 0.5)], [3, 9]
        ),
        lambda base, t: base * (0.5 + 0.5 * t / 3) if t < 3 else cosine(base, 0, (t - 3) / 6) if t < 9 else base * 0.5 ** (t - 9),
    ),
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_values(name):
    make, formula = SCHEDULES[name]
    o = optimizer()
    schedule = make(o)
    for t in range(13):
        assert schedule.last_epoch == t
        expected = pytest.approx([formula(base, t) for base in BASE], rel=1e-12)
        assert schedule.get_last_lr() == expected and [g["lr"] for g in o.param_groups] == expected
        o.step()
        schedule.step()
    assert [g["initial_lr"] for g in o.param_groups] == list(BASE)


@pytest.mark.parametrize("name", SCHEDULES)
def test_resuming_gives_the_same_numbers(name):
    make, _ = SCHEDULES[name]
    o = optimizer()
    schedule = make(o)
    for _ in range(4):
        schedule.step()
    state = json.loads(json.dumps([schedule.state_dict(), o.state_dict()]))
    p = optimizer()
    resumed = make(p)
    p.load_state_dict(state[1])
    resumed.load_state_dict(state[0])
    assert resumed.get_last_lr() == schedule.get_last_lr() and p.param_groups[1]["lr"] == o.param_groups[1]["lr"]
    for _ in range(8):
        schedule.step()
        resumed.step()
        assert [g["lr"] for g in p.param_groups] == [g["lr"] for g in o.param_groups]


@pytest.mark.parametrize("strategy", ["cos", "linear"])
@pytest.mark.parametrize("three_phase", [False, True])
@pytest.mark.parametrize("kind", [optim.SGD, optim.Adam])
def test_one_cycle(strategy, three_phase, kind):
    total, start, high = 20, 0.3, (1.0, 2.0)
    o = optimizer(kind)
    schedule = lr_scheduler.OneCycleLR(o, list(high), epochs=4, steps_per_epoch=5, pct_start=start, anneal_strategy=strategy, three_phase=three_phase)
    mix = cosine if strategy == "cos" else lambda a, b, part: a + (b - a) * part
    up = start * total - 1  # 5
    for t in range(total):
        if t <= up:
            lr, momentum = (1 / 25, 1, t / up), (0.95, 0.85, t / up)
        elif three_phase and t <= 2 * up:
            lr, momentum = (1, 1 / 25, (t - up) / up), (0.85, 0.95, (t - up) / up)
        elif three_phase:
            lr, momentum = (1 / 25, 1 / 25e4, (t - 2 * up) / (total - 1 - 2 * up)), (0.95, 0.95, 0)
        else:
            lr, momentum = (1, 1 / 25e4, (t - up) / (total - 1 - up)), (0.85, 0.95, (t - up) / (total - 1 - up))
        assert schedule.get_last_lr() == pytest.approx([h * mix(*lr) for h in high], rel=1e-9), t
        for group in o.param_groups:
            got = group["betas"][0] if kind is optim.Adam else group["momentum"]
            assert got == pytest.approx(mix(*momentum), rel=1e-12)
        schedule.step()
    with pytest.raises(ValueError, match="OneCycleLR: the cycle has 20 steps, this is step 21"):
        schedule.step()


def test_one_cycle_without_momentum():
    o = optimizer()
    lr_scheduler.OneCycleLR(o, 1.0, 10, cycle_momentum=False)
    assert o.param_groups[0]["momentum"] == 0.9 and o.param_groups[0]["lr"] == pytest.approx(1 / 25)


def test_last_epoch_goes_on_from_there():
    o = optimizer()
    with pytest.raises(KeyError, match="each group of the optimizer needs an 'initial_lr'"):
        lr_scheduler.ExponentialLR(o, 0.5, last_epoch=3)
    for group in o.param_groups:
        group["initial_lr"] = group["lr"]
    assert lr_scheduler.ExponentialLR(o, 0.5, last_epoch=3).get_last_lr() == [base * 0.5**4 for base in BASE]


def test_a_rate_changed_by_hand_lasts_until_the_next_step():
    o = optimizer()
    schedule = lr_scheduler.ExponentialLR(o, 0.5)
    o.param_groups[0]["lr"] = 7
    assert o.param_groups[0]["lr"] == 7
    schedule.step()
    assert o.param_groups[0]["lr"] == BASE[0] * 0.5


def test_a_group_added_later_joins():
    o = optimizer()
    schedule = lr_scheduler.ExponentialLR(o, 0.5)
    o.add_param_group({"params": convkit.zeros(1), "lr": 8.0})
    schedule.step()
    assert schedule.get_last_lr() == [BASE[0] / 2, BASE[1] / 2, 4.0]


def test_a_function_for_each_group():
    o = optimizer()
    schedule = lr_scheduler.LambdaLR(o, [lambda t: t + 1, lambda t: 2.0])
    schedule.step()
    assert schedule.get_last_lr() == [BASE[0] * 2, BASE[1] * 2] and "lr_lambdas" not in schedule.state_dict()


def errors():
    s, o = lr_scheduler, optimizer()
    linear, other = s.LinearLR(o), s.LinearLR(optimizer())
    return [
        (TypeError, "StepLR: needs an optimizer, got list", lambda: s.StepLR([], 1)),
        (ValueError, "StepLR: step_size must be at least 1, got 0", lambda: s.StepLR(o, 0)),
        (ValueError, "CosineAnnealingLR: T_max must be at least 1, got 0", lambda: s.CosineAnnealingLR(o, 0)),
        (ValueError, "LinearLR: factors must be in 0 .. 1", lambda: s.LinearLR(o, start_factor=0)),
        (ValueError, "LinearLR: total_iters must be at least 1", lambda: s.LinearLR(o, total_iters=0)),
        (ValueError, "LambdaLR: needs one function for each of 2 groups, got 1", lambda: s.LambdaLR(o, [lambda t: 1])),
        (ValueError, "OneCycleLR: give total_steps, or epochs and steps_per_epoch", lambda: s.OneCycleLR(o, 1.0, epochs=3)),
        (ValueError, "OneCycleLR: total_steps must be at least 1", lambda: s.OneCycleLR(o, 1.0, 0)),
        (ValueError, "OneCycleLR: pct_start must be between 0 and 1, got 2", lambda: s.OneCycleLR(o, 1.0, 9, pct_start=2)),
        (ValueError, "OneCycleLR: anneal_strategy must be 'cos' or 'linear', got 'exp'", lambda: s.OneCycleLR(o, 1.0, 9, anneal_strategy="exp")),
        (ValueError, "OneCycleLR: max_lr needs one number for each of 2 groups, got 3", lambda: s.OneCycleLR(o, [1.0, 1.0, 1.0], 9)),
        (ValueError, "SequentialLR: needs one milestone less than schedulers", lambda: s.SequentialLR(o, [linear], [3])),
        (ValueError, "SequentialLR: milestones must rise", lambda: s.SequentialLR(o, [linear] * 3, [3, 2])),
        (ValueError, "SequentialLR: every scheduler must set the learning rate of the same", lambda: s.SequentialLR(o, [linear, other], [3])),
    ]


@pytest.mark.parametrize(("error", "message", "make"), errors(), ids=lambda value: value if isinstance(value, str) else "")
def test_errors(error, message, make):
    with pytest.raises(error) as raised:
        make()
    assert message in str(raised.value)
