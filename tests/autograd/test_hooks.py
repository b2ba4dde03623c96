"""Hooks: on leaves and between, watching and replacing, and taking them away."""

import numpy as np
import pytest

import convkit as ck
from convkit.autograd import grad


def leaf(*values):
    return ck.tensor(np.array(values, np.float64), requires_grad=True)


def test_a_leaf_s_hook_sees_the_whole_gradient_once():
    x, seen = leaf(3.0), []
    x.register_hook(lambda g: seen.append(g.tolist()))
    (x * x + x).backward()
    assert seen == [[7]] and x.grad.tolist() == [7]
    (x * 2.0).backward()
    assert seen == [[7], [2]] and x.grad.tolist() == [9]


def test_a_hook_between_sees_the_sum_over_its_users():
    x, seen = leaf(3.0), []
    middle = x * 2.0
    middle.register_hook(lambda g: seen.append(g.tolist()))
    (middle * 5.0 + middle).backward()
    assert seen == [[6]] and x.grad.tolist() == [12]


def test_a_hook_replaces():
    x = leaf(3.0)
    middle = x * 2.0
    middle.register_hook(lambda g: g * 10.0)
    x.register_hook(lambda g: g + 1.0)
    (middle * 5.0).backward()
    assert x.grad.tolist() == [5 * 10 * 2 + 1]


def test_hooks_run_in_order_and_go():
    x = leaf(1.0)
    first = x.register_hook(lambda g: g + 1.0)
    second = x.register_hook(lambda g: g * 10.0)
    x.register_hook(lambda g: None)
    (x * 1.0).backward()
    assert x.grad.tolist() == [20]
    first.remove()
    first.remove()  # harmless
    x.grad = None
    (x * 1.0).backward()
    assert x.grad.tolist() == [10]
    second.remove()
    x.grad = None
    (x * 1.0).backward()
    assert x.grad.tolist() == [1]


def test_hooks_on_one_of_several_outputs():
    x, seen = leaf(1.0, 2.0, 3.0), []
    values, _ = x.max(0, True)
    values.register_hook(lambda g: seen.append(g.tolist()))
    values.sum().backward()
    assert seen == [[1]] and x.grad.tolist() == [0, 0, 1]


def test_a_hook_may_remove_itself():
    x, seen = leaf(1.0), []

    def once(g):
        seen.append(g.tolist())
        handle.remove()

    handle = x.register_hook(once)
    for _ in range(2):
        (x * 2.0).backward()
    assert seen == [[2]]


def test_hooks_run_for_grad_and_second_derivatives():
    x, seen = leaf(2.0), []
    x.register_hook(lambda g: seen.append(g.tolist()))
    middle = x * x
    middle.register_hook(lambda g: g * 3.0)
    (g,) = grad(middle * 1.0, x, create_graph=True)
    assert g.tolist() == [12] and seen == [[12]]
    (gg,) = grad(g, x)
    assert gg.tolist() == [6]


def test_retain_grad():
    x = leaf(2.0)
    middle = x * 3.0
    assert middle.grad is None
    middle.retain_grad()
    (middle * middle).backward(retain_graph=True)
    assert middle.grad.tolist() == [12] and x.grad.tolist() == [36]
    x.retain_grad()  # a leaf's is kept anyway
    (x * 1.0).backward()
    assert x.grad.tolist() == [37]


def test_retained_gradients_accumulate():
    middle = leaf(2.0) * 3.0
    middle.retain_grad()
    y = middle * 5.0
    y.backward(retain_graph=True)
    y.backward()
    assert middle.grad.tolist() == [10]


def test_a_hook_s_wrong_results():
    x = leaf(1.0, 2.0)
    handle = x.register_hook(lambda g: ck.ones(3))
    with pytest.raises(RuntimeError, match=r"hook returned shape \[3\] for a gradient of shape \[2\]"):
        (x * 2.0).sum().backward()
    handle.remove()
    x.register_hook(lambda g: 3.0)
    with pytest.raises(TypeError, match="hook must return a tensor or None, got float"):
        (x * 2.0).sum().backward()


def test_what_needs_no_gradient_takes_no_hook():
    with pytest.raises(RuntimeError, match="register_hook: the tensor does not require a gradient"):
        ck.ones(1).register_hook(print)
