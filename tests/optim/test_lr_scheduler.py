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
    "constant": (lambda o: lr_scheduler.ConstantLR(o, 0.2, 4), lambda base, t: base * (0.2 if t < 4 else 1)),
    "polynomial": (lambda o: lr_scheduler.PolynomialLR(o, 8, 2.0), lambda base, t: base * (1 - min(t, 8) / 8) ** 2),
    "multiplicative": (lambda o: lr_scheduler.MultiplicativeLR(o, lambda t: 0.9), lambda base, t: base * 0.9**t),
    "restarts": (lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 3, eta_min=0.01), lambda base, t: cosine(base, 0.01, t % 3 / 3)),
    "longer restarts": (
        lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 2, 2),
        lambda base, t: cosine(base, 0, t / 2 if t < 2 else (t - 2) / 4 if t < 6 else (t - 6) / 8),
    ),
    "chain": (
        lambda o: lr_scheduler.ChainedScheduler([lr_scheduler.LinearLR(o, 0.5, total_iters=3), lr_scheduler.CosineAnnealingLR(o, 20)]),
        lambda base, t: base * (0.5 + 0.5 * min(t, 3) / 3) * (1 + math.cos(math.pi * t / 20)) / 2,
    ),
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
        assert name == "chain" or schedule.last_epoch == t
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


def test_a_rate_changed_by_hand_is_carried_on():
    o = optimizer()
    schedule = lr_scheduler.ExponentialLR(o, 0.5)
    o.param_groups[0]["lr"] = 7
    for factor in (0.5, 0.25):
        schedule.step()
        assert [g["lr"] for g in o.param_groups] == [7 * factor, BASE[1] * factor]
    schedule.step(3)  # as if nothing had been changed
    assert [g["lr"] for g in o.param_groups] == [base / 8 for base in BASE]


def test_a_rate_changed_where_a_schedule_overwrites():
    o = optimizer()
    schedule = lr_scheduler.LambdaLR(o, lambda t: t + 1)
    o.param_groups[0]["lr"] = 7
    schedule.step()
    assert [g["lr"] for g in o.param_groups] == [base * 2 for base in BASE]


def test_two_schedules_of_one_optimizer_multiply():
    o = optimizer()
    warm, decay = lr_scheduler.ConstantLR(o, 0.5, 3), lr_scheduler.ExponentialLR(o, 0.9)
    for t in range(8):
        expected = [base * (0.5 if t < 3 else 1) * 0.9**t for base in BASE]
        assert [g["lr"] for g in o.param_groups] == pytest.approx(expected, rel=1e-14)
        warm.step()
        decay.step()


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


@pytest.mark.parametrize("mode", ["triangular", "triangular2", "exp_range", None])
@pytest.mark.parametrize("kind", [optim.SGD, optim.RAdam])
def test_cycles(mode, kind):
    o = optimizer(kind)
    settings = {"mode": mode} if mode else {"scale_fn": lambda t: 1 / (1 + t), "scale_mode": "iterations"}
    schedule = lr_scheduler.CyclicLR(o, [0.1, 0.2], [1.1, 2.2], step_size_up=3, step_size_down=5, gamma=0.9, **settings)
    for t in range(20):
        up = t % 8 / 3 if t % 8 <= 3 else 1 - (t % 8 - 3) / 5
        scale = {"triangular": 1, "triangular2": 0.5 ** (t // 8), "exp_range": 0.9**t, None: 1 / (1 + t)}[mode]
        assert schedule.get_last_lr() == pytest.approx([0.1 + up * scale, 0.2 + 2 * up * scale], rel=1e-12), t
        for group in o.param_groups:
            got = group["momentum"] if kind is optim.SGD else group["betas"][0]
            assert got == pytest.approx(0.9 - 0.1 * up * scale, rel=1e-12)
        schedule.step()


def test_fractions_of_an_epoch():
    o = optimizer()
    schedule = lr_scheduler.CosineAnnealingWarmRestarts(o, 2)
    schedule.step(2.5)
    assert schedule.last_epoch == 2 and schedule.get_last_lr() == pytest.approx([cosine(base, 0, 0.25) for base in BASE], rel=1e-12)
    schedule.step()
    assert schedule.get_last_lr() == pytest.approx([cosine(base, 0, 0.75) for base in BASE], rel=1e-12)


def test_plateau():
    o = optimizer()
    schedule = lr_scheduler.ReduceLROnPlateau(o, factor=0.5, patience=1, cooldown=2, min_lr=[0.06, 0.01])
    seen = []
    for loss in (1.0, 0.9, 0.9, 0.95, 0.9, 0.9, 0.9, 0.9, 0.8, 0.9, float("nan")):
        schedule.step(convkit.tensor(loss))
        seen.append(o.param_groups[1]["lr"] / BASE[1])
    assert seen == [1, 1, 1, 0.5, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25, 0.25]
    assert o.param_groups[0]["lr"] == 0.06 and schedule.get_last_lr() == [g["lr"] for g in o.param_groups] and schedule.last_epoch == 11
    twin = lr_scheduler.ReduceLROnPlateau(optimizer())
    twin.load_state_dict(json.loads(json.dumps(schedule.state_dict())))
    assert twin.state_dict() == schedule.state_dict() and twin.in_cooldown == schedule.in_cooldown


def test_plateau_modes():
    better = {("min", "rel"): (89, 91), ("max", "rel"): (111, 109), ("min", "abs"): (99.8, 99.95), ("max", "abs"): (100.2, 100.05)}
    for (mode, threshold_mode), (good, bad) in better.items():
        schedule = lr_scheduler.ReduceLROnPlateau(optimizer(), mode, threshold=0.1, threshold_mode=threshold_mode)
        assert schedule.is_better(good, 100) and not schedule.is_better(bad, 100)


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
        (ValueError, "PolynomialLR: total_iters must be at least 1, got 0", lambda: s.PolynomialLR(o, 0)),
        (ValueError, "ConstantLR: factor must be in 0 .. 1, got 2", lambda: s.ConstantLR(o, 2)),
        (TypeError, "MultiplicativeLR: lr_lambda must be a function or a list of functions, got 3", lambda: s.MultiplicativeLR(o, 3)),
        (ValueError, "CosineAnnealingWarmRestarts: T_0 must be an integer of at least 1, got 1.5", lambda: s.CosineAnnealingWarmRestarts(o, 1.5)),
        (ValueError, "CosineAnnealingWarmRestarts: T_mult must be an integer", lambda: s.CosineAnnealingWarmRestarts(o, 1, 0)),
        (ValueError, "the epoch must not be negative, got -1", lambda: s.CosineAnnealingWarmRestarts(o, 1).step(-1)),
        (ValueError, "CyclicLR: mode must be 'triangular', 'triangular2' or 'exp_range', got 'x'", lambda: s.CyclicLR(o, 0.1, 1, mode="x")),
        (ValueError, "CyclicLR: cycle_momentum needs an optimizer with momentum or betas", lambda: s.CyclicLR(optimizer(optim.Adagrad), 0.1, 1)),
        (ValueError, "ReduceLROnPlateau: factor must be below 1, got 1", lambda: s.ReduceLROnPlateau(o, factor=1)),
        (ValueError, "ReduceLROnPlateau: mode must be 'min' or 'max', got 'x'", lambda: s.ReduceLROnPlateau(o, "x")),
        (ValueError, "ReduceLROnPlateau: threshold_mode must be", lambda: s.ReduceLROnPlateau(o, threshold_mode="x")),
        (ValueError, "ReduceLROnPlateau: min_lr needs one number for each of 2 groups, got 1", lambda: s.ReduceLROnPlateau(o, min_lr=[1])),
        (ValueError, "ChainedScheduler: needs at least one scheduler", lambda: s.ChainedScheduler([])),
        (ValueError, "ChainedScheduler: ReduceLROnPlateau cannot take part", lambda: s.ChainedScheduler([s.ReduceLROnPlateau(o)])),
        (ValueError, "ChainedScheduler: every scheduler must set the learning rate of the same", lambda: s.ChainedScheduler([linear, other])),
        (ValueError, "SequentialLR: needs one milestone less than schedulers", lambda: s.SequentialLR(o, [linear], [3])),
        (ValueError, "SequentialLR: milestones must rise", lambda: s.SequentialLR(o, [linear] * 3, [3, 2])),
        (ValueError, "SequentialLR: every scheduler must set the learning rate of the same", lambda: s.SequentialLR(o, [linear, other], [3])),
    ]


@pytest.mark.parametrize(("error", "message", "make"), errors(), ids=lambda value: value if isinstance(value, str) else "")
def test_errors(error, message, make):
    with pytest.raises(error) as raised:
        make()
    assert message in str(raised.value)
