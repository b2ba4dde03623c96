"""What all optimisers share: groups, checks, state."""

import json

import numpy as np
import pytest

import convkit
from convkit import nn, optim


def parameters():
    rng = np.random.default_rng(0)
    return [nn.Parameter(convkit.tensor(rng.standard_normal(shape))) for shape in ((3, 4), (5,), (2, 3, 3, 3))]


def steps(optimizer, params, count=3, seed=1):
    rng = np.random.default_rng(seed)
    for _ in range(count):
        for p in params:
            p.grad = convkit.tensor(rng.standard_normal(p.shape))
        optimizer.step()


MAKERS = {
    "sgd": lambda p: optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.01),
    "plain": lambda p: optim.SGD(p, lr=0.1),
    "adam": lambda p: optim.Adam(p, lr=0.1),
    "adamw": lambda p: optim.AdamW(p, lr=0.1),
}


@pytest.mark.parametrize(
    ("params", "error", "message"),
    [
        ([], ValueError, "SGD: there are no parameters to learn; the list is empty"),
        (iter([]), ValueError, "SGD: there are no parameters to learn"),
        (convkit.zeros(3), TypeError, "SGD: params must be a list of tensors or of dictionaries, got one tensor"),
        ({convkit.zeros(3)}, TypeError, "got a set"),
        ({"params": []}, TypeError, "got a dict"),
        ([np.zeros(3)], TypeError, "SGD: parameters must be tensors, got ndarray"),
        ([{"lr": 1}], TypeError, "SGD: a group must be a dictionary with 'params'"),
        ([convkit.ones(3, requires_grad=True) * 2], ValueError, r"SGD: a parameter of shape \[3\] is the result of an operation"),
    ],
)
def test_parameters_are_checked(params, error, message):
    with pytest.raises(error, match=message):
        optim.SGD(params, lr=0.1)


def test_a_parameter_is_learnt_once():
    p, q = convkit.zeros(2), convkit.zeros(3)
    with pytest.raises(ValueError, match=r"SGD: a parameter of shape \[2\] was given twice"):
        optim.SGD([p, q, p])
    optimizer = optim.SGD([p])
    with pytest.raises(ValueError, match="was given twice"):
        optimizer.add_param_group({"params": [q, p]})
    assert len(optimizer.param_groups) == 1
    with pytest.raises(ValueError, match="SGD: lr must be 0 or larger, got -2"):
        optimizer.add_param_group({"params": q, "lr": -2})
    optimizer.add_param_group({"params": q, "lr": 2.0})
    assert optimizer.param_groups[1]["lr"] == 2 and optimizer.param_groups[1]["momentum"] == 0


def test_groups_have_their_own_settings():
    a, b = nn.Parameter(convkit.ones(1)), nn.Parameter(convkit.ones(1))
    optimizer = optim.SGD([{"params": [a], "lr": 0.5}, {"params": iter([b]), "weight_decay": 1.0}], lr=0.25)
    a.grad, b.grad = convkit.ones(1), convkit.ones(1)
    optimizer.step()
    assert (a.item(), b.item()) == (1 - 0.5 * 1, 1 - 0.25 * (1 + 1 * 1))
    optimizer.param_groups[0]["lr"] = 0.0
    optimizer.step()
    assert a.item() == 0.5


def test_zero_grad_and_parameters_without_gradient():
    params = parameters()
    optimizer = optim.SGD(params, lr=0.1, momentum=0.9)
    params[0].grad = convkit.tensor(np.ones((3, 4)))
    before = [np.array(p.detach()) for p in params]
    optimizer.step()
    assert [np.array_equal(p.detach(), b) for p, b in zip(params, before, strict=True)] == [False, True, True]
    assert len(optimizer.state) == 1 and params[0] in optimizer.state
    optimizer.zero_grad(set_to_none=False)
    assert not np.any(params[0].grad.numpy()) and params[1].grad is None
    optimizer.zero_grad()
    assert params[0].grad is None


def test_step_with_a_closure_gives_its_loss():
    w = convkit.tensor([3.0], requires_grad=True)
    optimizer = optim.SGD([w], lr=0.5)

    def closure():
        optimizer.zero_grad()
        loss = (w * w).sum()
        loss.backward()
        return loss

    with convkit.no_grad():  # the closure records all the same
        assert optimizer.step(closure).item() == 9
    assert w.item() == 0 and optimizer.step() is None


def test_a_step_is_noticed_by_a_graph_made_before():
    w = convkit.ones(3, requires_grad=True)
    loss = (w * w).sum()
    w.grad = convkit.ones(3)
    optim.SGD([w], lr=0.1).step()
    with pytest.raises(RuntimeError, match="changed in place"):
        loss.backward()


@pytest.mark.parametrize("name", MAKERS)
def test_gradients_in_any_memory_order(name):
    """A gradient that lies in another order than its parameter, or with gaps, is the same gradient."""
    plain, other = parameters(), parameters()
    first, second = MAKERS[name](plain), MAKERS[name](other)
    for seed in range(3):
        for p, q in zip(plain, other, strict=True):
            g = np.random.default_rng(seed).standard_normal(p.shape)
            wide = np.zeros([2 * n for n in g.shape])
            view = wide[tuple(slice(None, None, 2) for _ in g.shape)]
            view[...] = g
            p.grad = convkit.tensor(g)
            q.grad = convkit.Tensor(np.asfortranarray(g) if seed else view)
        first.step()
        second.step()
    for p, q in zip(plain, other, strict=True):
        np.testing.assert_array_equal(np.array(p.detach()), np.array(q.detach()))


@pytest.mark.parametrize("name", MAKERS)
def test_state_goes_round(name):
    """Three steps, then three more: with a new optimiser that loaded the state, and without."""
    params, twins = parameters(), parameters()
    optimizer = MAKERS[name](params)
    steps(optimizer, params)
    optimizer.param_groups[0]["lr"] = 0.05
    for p, q in zip(params, twins, strict=True):
        q.detach().copy_(p)
    other = MAKERS[name](twins)
    state = optimizer.state_dict()
    assert state["param_groups"][0]["params"] == [0, 1, 2] and set(state["state"]) == (set() if name == "plain" else {0, 1, 2})
    other.load_state_dict(state)
    assert other.param_groups[0]["lr"] == 0.05 and other.param_groups[0]["params"][0] is twins[0]
    steps(optimizer, params, seed=2)
    steps(other, twins, seed=2)
    for p, q in zip(params, twins, strict=True):
        np.testing.assert_array_equal(np.array(p.detach()), np.array(q.detach()))


def test_state_has_torchs_shape_and_survives_json():
    params = parameters()
    optimizer = optim.Adam(params, lr=0.1)
    steps(optimizer, params, count=2)
    state = optimizer.state_dict()
    assert set(state) == {"state", "param_groups"} and set(state["state"][0]) == {"step", "exp_avg", "exp_avg_sq"}
    assert state["state"][2]["exp_avg"].shape == (2, 3, 3, 3) and state["state"][0]["step"] == 2
    text = json.dumps(state, default=lambda tensor: tensor.tolist())
    other = optim.Adam(parameters())
    other.load_state_dict(json.loads(text))
    assert other.param_groups[0]["betas"] == (0.9, 0.999)
    for p, kept in other.state.items():
        assert kept["exp_avg"].shape == p.shape and kept["step"] == 2
    as_torch = optim.Adam(parameters())  # torch's step is a tensor
    as_torch.load_state_dict({**state, "state": {k: {**v, "step": convkit.tensor(2.0)} for k, v in state["state"].items()}})
    steps(as_torch, as_torch.param_groups[0]["params"], count=1)
    assert as_torch.state_dict()["state"][0]["step"] == 3


def test_a_state_that_does_not_fit_changes_nothing():
    params = parameters()
    optimizer = MAKERS["sgd"](params)
    steps(optimizer, params, count=1)
    before = optimizer.state_dict()
    wrong = {"state": {0: {"momentum_buffer": np.zeros(7)}}, "param_groups": before["param_groups"]}
    with pytest.raises(ValueError, match=r"momentum_buffer of parameter 0 has shape \[7\], the parameter has \[3, 4\]"):
        optimizer.load_state_dict(wrong)
    with pytest.raises(ValueError, match=r"the state has groups of \[3, 1\] parameters, this optimiser has \[3\]"):
        optimizer.load_state_dict({"state": {}, "param_groups": [*before["param_groups"], {"params": [3]}]})
    with pytest.raises(ValueError, match="keeps numbers for parameter 9, which is in no group"):
        optimizer.load_state_dict({"state": {9: {}}, "param_groups": before["param_groups"]})
    with pytest.raises(ValueError, match="lr must be 0 or larger"):
        optimizer.load_state_dict({"state": {}, "param_groups": [{**before["param_groups"][0], "lr": -1}]})
    assert optimizer.param_groups[0]["lr"] == 0.1
    after = optimizer.state_dict()
    for i in range(3):
        np.testing.assert_array_equal(after["state"][i]["momentum_buffer"].numpy(), before["state"][i]["momentum_buffer"].numpy())


def test_an_optimiser_of_ones_own():
    class Sign(optim.Optimizer):
        def __init__(self, params, lr):
            super().__init__(params, {"lr": lr})

        def _update(self, param, grad, state, group):
            param -= group["lr"] * np.sign(grad)

    w = convkit.tensor([1.0, -1.0], requires_grad=True)
    (w * w).sum().backward()
    Sign([w], 0.25).step()
    assert w.tolist() == [0.75, -0.75]


def test_repr():
    text = repr(optim.SGD(parameters(), lr=0.5))
    assert text.startswith("SGD (\n  group 0: 3 parameters\n") and "    lr: 0.5\n" in text
