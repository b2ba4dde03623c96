"""Optimisers against torch: the same arguments, steps, states and refusals."""

import inspect

import numpy as np
import pytest

import convkit
from convkit import optim

torch = pytest.importorskip("torch", reason="torch is not installed; it is needed only to compare with")

SHAPES = [(4, 3), (5,), (2, 3, 2, 2), ()]
CASES = {
    "SGD": [
        {"lr": 0.1}, {"lr": 0.1, "weight_decay": 0.1, "maximize": True}, {"lr": 0.1, "momentum": 0.9}, {"lr": 0.1, "momentum": 0.9, "dampening": 0.3},
        {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.1, "nesterov": True}, {"lr": 0.1, "momentum": 0.5, "nesterov": True, "maximize": True},
    ],
    "Adam": [
        {}, {"lr": 0.1, "weight_decay": 0.1}, {"lr": 0.1, "amsgrad": True, "maximize": True}, {"betas": (0.5, 0.9), "eps": 1e-2},
        {"lr": 0.1, "weight_decay": 0.1, "decoupled_weight_decay": True},
    ],
    "AdamW": [{}, {"lr": 0.1, "weight_decay": 0.3, "amsgrad": True}, {"lr": 0.1, "maximize": True}],
    "NAdam": [
        {}, {"lr": 0.1, "weight_decay": 0.1, "momentum_decay": 0.1},
        {"lr": 0.1, "weight_decay": 0.1, "decoupled_weight_decay": True, "maximize": True},
    ],
    "RAdam": [
        {}, {"lr": 0.1, "weight_decay": 0.1, "betas": (0.8, 0.9)},
        {"lr": 0.1, "weight_decay": 0.1, "decoupled_weight_decay": True, "maximize": True},
    ],
    "Adamax": [{}, {"lr": 0.1, "weight_decay": 0.1, "maximize": True}, {"betas": (0.5, 0.9), "eps": 1e-2}],
    "RMSprop": [
        {}, {"lr": 0.1, "alpha": 0.9, "weight_decay": 0.1, "maximize": True}, {"momentum": 0.9}, {"centered": True},
        {"centered": True, "momentum": 0.5},
    ],
    "Adagrad": [{}, {"lr": 0.1, "lr_decay": 0.1, "weight_decay": 0.1, "initial_accumulator_value": 0.5}, {"eps": 1e-2, "maximize": True}],
    "Adadelta": [{}, {"lr": 0.5, "rho": 0.8, "eps": 1e-3, "weight_decay": 0.1, "maximize": True},
    ],
    "Rprop": [{}, {"lr": 0.1, "etas": (0.4, 1.3), "step_sizes": (1e-3, 0.5), "maximize": True}],
    "ASGD": [{}, {"lr": 0.1, "lambd": 0.01, "alpha": 0.5, "t0": 5, "weight_decay": 0.1, "maximize": True}],
}  # fmt: skip


def pairs(dtype, seed=0):
    rng = np.random.default_rng(seed)
    values = [np.asarray(rng.standard_normal(s), dtype) for s in SHAPES]
    ours = [convkit.tensor(v, requires_grad=True) for v in values]
    theirs = [torch.tensor(v, requires_grad=True) for v in values]
    return ours, theirs


def give_gradients(ours, theirs, rng):
    for p, q in zip(ours, theirs, strict=True):
        g = np.asarray(rng.standard_normal(p.shape) * 10 ** rng.uniform(-2, 1), p.dtype)
        p.grad, q.grad = convkit.tensor(g), torch.tensor(g)


def compare(got, expected, rtol, what):
    got, expected = (np.asarray(x.detach() if hasattr(x, "detach") else x, np.float64) for x in (got, expected))
    assert got.shape == expected.shape, what
    scale = np.abs(expected).max(initial=0) + 1e-30
    assert np.abs(got - expected).max(initial=0) <= rtol * scale, (what, np.abs(got - expected).max() / scale)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize(("dtype", "rtol"), [(np.float64, 1e-12), (np.float32, 1e-6)])
def test_twenty_steps(name, dtype, rtol):
    for settings in CASES[name]:
        ours, theirs = pairs(dtype)
        mine = getattr(optim, name)(ours, **settings)
        other = getattr(torch.optim, name)(theirs, **settings)
        rng = np.random.default_rng(1)
        for t in range(20):
            give_gradients(ours, theirs, rng)
            if t in (3, 4):  # a parameter may go without
                ours[1].grad, theirs[1].grad = None, None
            mine.step()
            other.step()
            for p, q in zip(ours, theirs, strict=True):
                compare(p, q, rtol, (name, settings, t))
        for p, q in zip(ours, theirs, strict=True):
            kept, wanted = mine.state[p], other.state[q]
            assert set(kept) == {k for k, v in wanted.items() if v is not None}, (name, settings)
            for key, value in kept.items():
                compare(value, wanted[key], rtol * 10 if dtype == np.float32 else rtol, (name, settings, key))


@pytest.mark.parametrize("name", CASES)
def test_arguments_and_groups(name):
    assert arguments(name, optim) == arguments(name, torch.optim)
    for settings in CASES[name]:
        ours, others = pairs(np.float32)
        a, b = getattr(optim, name), getattr(torch.optim, name)
        assert a(ours, **settings).state_dict()["param_groups"] == b(others, **settings).state_dict()["param_groups"]
        assert a(ours, **settings).defaults == b(others, **settings).defaults


@pytest.mark.parametrize("name", CASES)
def test_torchs_state_loads(name):
    """Ten steps there, ten more here: the same as twenty there.  And the other way round."""
    settings = CASES[name][-1]
    for to_torch in (False, True):
        ours, theirs = pairs(np.float64)
        mine, other = getattr(optim, name)(ours, **settings), getattr(torch.optim, name)(theirs, **settings)
        rng = np.random.default_rng(1)
        for t in range(20):
            give_gradients(ours, theirs, rng)
            if t == 10 and to_torch:
                state = mine.state_dict()
                as_torch = {
                    k: {n: torch.tensor(np.array(v), dtype=None if n in mine._state_arrays else torch.float32) for n, v in s.items()}
                    for k, s in state["state"].items()
                }
                other.load_state_dict({"state": as_torch, "param_groups": state["param_groups"]})
            elif t == 10:
                state = other.state_dict()
                kept = {k: {n: v.numpy() if hasattr(v, "numpy") else v for n, v in s.items()} for k, s in state["state"].items()}
                mine.load_state_dict({"state": kept, "param_groups": state["param_groups"]})
            mine.step()
            other.step()
        for p, q in zip(ours, theirs, strict=True):
            compare(p, q, 1e-12, (name, to_torch))


@pytest.mark.parametrize(
    "settings", [{"lr": 0.5}, {"line_search_fn": "strong_wolfe"}, {"max_iter": 7, "history_size": 3, "line_search_fn": "strong_wolfe"}]
)
def test_lbfgs(settings):
    """Logistic regression: convex, so that rounding does not grow into another path."""
    rng = np.random.default_rng(0)
    x, t = rng.standard_normal((40, 5)), (rng.random(40) > 0.5) * 1.0
    w, b = rng.standard_normal(5), rng.standard_normal(1)

    def learn(lib, module):
        params = [lib.tensor(w, requires_grad=True), lib.tensor(b, requires_grad=True)]
        inputs, targets = lib.tensor(x), lib.tensor(t)
        optimizer = module.LBFGS(params, **settings)

        def closure():
            optimizer.zero_grad()
            z = inputs @ params[0] + params[1]
            loss = ((1 + (-z).exp()).log() + (1 - targets) * z).mean() + 0.05 * (params[0] ** 2).sum()
            loss.backward()
            return loss

        seen = []
        for _ in range(4):
            seen += [optimizer.step(closure).item(), *(v for p in params for v in p.tolist())]
        kept = optimizer.state[params[0]]
        return seen, kept["func_evals"], kept["n_iter"], optimizer.state_dict()["param_groups"]

    ends = learn(convkit, optim), learn(torch, torch.optim)
    np.testing.assert_allclose(ends[0][0], ends[1][0], rtol=1e-8, atol=1e-10)
    assert ends[0][1:] == ends[1][1:]
    assert arguments("LBFGS", optim) == arguments("LBFGS", torch.optim)


def arguments(name, module):
    return [(p.name, p.kind, p.default) for p in inspect.signature(getattr(module, name)).parameters.values()]


REFUSED = [
    ("SGD", {"lr": -1}), ("SGD", {"momentum": -1}), ("SGD", {"weight_decay": -1}), ("SGD", {"nesterov": True}),
    ("SGD", {"nesterov": True, "momentum": 0.9, "dampening": 0.1}), ("Adam", {"lr": -1}), ("Adam", {"betas": (1.0, 0.9)}),
    ("Adam", {"betas": (0.9, -0.1)}), ("AdamW", {"eps": -1}), ("AdamW", {"weight_decay": -1}), ("NAdam", {"momentum_decay": -1}),
    ("NAdam", {"betas": (0.9, 1.0)}), ("RAdam", {"lr": -1}), ("RAdam", {"eps": -1}), ("Adamax", {"betas": (2, 0.9)}), ("Adamax", {"eps": -1}),
    ("RMSprop", {"alpha": -1}), ("RMSprop", {"momentum": -1}), ("RMSprop", {"eps": -1}), ("Adagrad", {"lr_decay": -1}),
    ("Adagrad", {"initial_accumulator_value": -1}), ("Adagrad", {"eps": -1}), ("Adadelta", {"rho": 1.5}), ("Adadelta", {"eps": -1}),
    ("Rprop", {"etas": (1.5, 1.2)}), ("Rprop", {"etas": (0.5, 0.9)}), ("Rprop", {"lr": -1}), ("ASGD", {"lr": -1}), ("ASGD", {"weight_decay": -1}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "settings"), REFUSED)
def test_refused_like_torch(name, settings):
    ours, theirs = pairs(np.float32)
    with pytest.raises(ValueError):
        getattr(torch.optim, name)(theirs, **settings)
    with pytest.raises(ValueError, match=name):
        getattr(optim, name)(ours, **settings)


def test_names_of_parameters():
    ours, theirs = pairs(np.float32)
    mine = optim.SGD([(f"p{i}", p) for i, p in enumerate(ours)], lr=0.1)
    other = torch.optim.SGD([(f"p{i}", p) for i, p in enumerate(theirs)], lr=0.1)
    assert mine.state_dict()["param_groups"] == other.state_dict()["param_groups"]
