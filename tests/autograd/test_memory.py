"""Who owns a gradient's memory, when a graph's memory goes, and changes in place."""

import gc
import weakref

import numpy as np
import pytest

import convkit as ck
from convkit.autograd import Function, grad


def leaf(*values):
    return ck.tensor(np.array(values, np.float64), requires_grad=True)


@pytest.fixture
def no_collector():
    """Memory must go by reference counts: a graph's arrays are too large to wait for the collector of cycles."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


class Through(Function):
    """Passes the gradient's array on as it is."""

    @staticmethod
    def forward(ctx, *arrays):
        return sum(arrays[1:], arrays[0].copy())

    @staticmethod
    def backward(ctx, gy):
        return tuple(gy for _ in ctx.needs_input_grad)


# ---------------------------------------------------------------------------------- whose memory
def test_the_caller_s_gradient_stays_the_caller_s():
    for create_graph in (False, True):
        x, given = leaf(1.0, 2.0), ck.tensor(np.array([3.0, 4.0]))
        for y in (x, Through.apply(x), x + 0.0, x.reshape(2), x.clone()):
            x.grad = None
            y.backward(given, create_graph=create_graph)
            assert x.grad.tolist() == [3, 4] and not np.shares_memory(x.grad.array, given.array)
            with ck.no_grad():
                x.grad.detach().zero_()
            assert given.tolist() == [3, 4]


def test_leaves_do_not_share_a_gradient():
    a, b, c = leaf(1.0, 2.0), leaf(1.0, 2.0), leaf(1.0, 2.0)
    for y in (Through.apply(a, b, c) * 2.0, (a + b + c) * 2.0, (a + b.reshape(2) + c.clone()) * 2.0):
        for x in (a, b, c):
            x.grad = None
        y.sum().backward()
        a.grad.zero_()
        assert b.grad.tolist() == c.grad.tolist() == [2, 2]
        assert not np.shares_memory(b.grad.array, c.grad.array)


def test_a_gradient_is_no_view_of_what_was_saved():
    class Dot(Function):
        """The gradient is the saved array itself."""

        @staticmethod
        def forward(ctx, a, b):
            ctx.save_for_backward(a, b)
            return np.sum(a * b)

        @staticmethod
        def backward(ctx, gy):
            a, b = ctx.saved_tensors
            return b, a

    for wrap in (lambda t: t, lambda t: t.reshape(2)):
        a, b = leaf(1.0, 2.0), leaf(3.0, 4.0)
        Dot.apply(wrap(a), wrap(b)).backward()
        a.grad.zero_()
        b.grad.zero_()
        assert a.tolist() == [1, 2] and b.tolist() == [3, 4]


def test_what_a_hook_keeps_stays():
    x, kept = leaf(1.0, 2.0), []
    x.register_hook(kept.append)
    y = x * 2.0
    y.register_hook(kept.append)
    y.retain_grad()
    Through.apply(y).backward(ck.ones(2).double())
    x.grad.zero_()
    assert [k.tolist() for k in kept] == [[1, 1], [2, 2]] and y.grad.tolist() == [1, 1]
    y.grad.zero_()
    assert kept[0].tolist() == [1, 1]


def test_a_gradient_can_be_written():
    x = leaf(1.0, 2.0)
    x.sum().backward()  # one number, broadcast
    x.grad.zero_()
    assert x.grad.array.flags.writeable and x.grad.array.strides == (8,)


def test_accumulation_makes_no_change_in_place():
    x = leaf(1.0)
    (x * 2.0).backward()
    before = x.grad
    (x * 2.0).backward()
    assert before.tolist() == [2] and x.grad.tolist() == [4]


# ------------------------------------------------------------------------------ when memory goes
def intermediate(x):
    """A graph's output, and a weak reference to an array that only the graph holds."""
    middle = ck.exp(x)
    return (middle * middle).sum(), weakref.ref(middle.array)


@pytest.mark.usefixtures("no_collector")
def test_backward_frees_saved_arrays_while_the_output_lives():
    x = leaf(1.0, 2.0)
    y, saved = intermediate(x)
    assert saved() is not None
    y.backward(retain_graph=True)
    assert saved() is not None
    y.backward()
    assert saved() is None and y.grad_fn is not None


@pytest.mark.usefixtures("no_collector")
def test_deleting_the_output_frees_the_graph():
    x = leaf(1.0, 2.0)
    y, saved = intermediate(x)
    node = weakref.ref(y.grad_fn) if hasattr(type(y.grad_fn), "__weakref__") else None
    del y
    assert saved() is None and (node is None or node() is None)


@pytest.mark.usefixtures("no_collector")
def test_grad_and_create_graph_free_when_their_results_go():
    x = leaf(1.0, 2.0)
    y, saved = intermediate(x)
    (g,) = grad(y, x, create_graph=True)
    (gg,) = grad(g.sum(), x)
    assert gg.shape == (2,)
    del y, g, gg
    assert saved() is None


@pytest.mark.usefixtures("no_collector")
def test_a_leaf_goes_with_its_last_user():
    x = leaf(1.0, 2.0)
    gone, array = weakref.ref(x), weakref.ref(x.array)
    y, _ = intermediate(x)
    del x
    assert gone() is not None  # the graph holds it
    y.backward()
    del y
    assert gone() is None and array() is None


@pytest.mark.usefixtures("no_collector")
def test_retain_grad_and_hooks_make_no_cycle():
    x = leaf(1.0, 2.0)
    middle = ck.exp(x)
    gone, array = weakref.ref(middle), weakref.ref(middle.array)
    middle.retain_grad()
    middle.register_hook(lambda g: g * 1.0)
    y = middle.sum()
    y.backward()
    assert middle.grad.tolist() == [1, 1]
    del y, middle
    assert gone() is None and array() is None


@pytest.mark.usefixtures("no_collector")
def test_errors_in_backward_leave_nothing_behind():
    def fail(g):
        raise KeyError("stop")

    x = leaf(1.0, 2.0)
    y, saved = intermediate(x)
    handle = x.register_hook(fail)
    with pytest.raises(KeyError) as caught:
        y.backward()
    handle.remove()
    del y, caught
    assert saved() is None


def test_no_grad_keeps_no_graph():
    x = leaf(1.0)
    with ck.no_grad():
        middle = ck.exp(x)
        array = weakref.ref(middle.array)
        y = middle * 2.0
    del middle
    gc.collect()
    assert array() is None and y.is_leaf


# ------------------------------------------------------------------------------ changes in place
CHANGED = "a tensor that it needs was changed in place after it was used; change a copy, or change it after backward"


@pytest.mark.parametrize(
    "change",
    [
        lambda t: t.zero_(), lambda t: t.fill_(2), lambda t: t.add_(1), lambda t: t.sub_(1), lambda t: t.mul_(2), lambda t: t.div_(2),
        lambda t: t.clamp_(0, 1), lambda t: t.copy_(ck.zeros(2)), lambda t: t.__setitem__(0, 5.0), lambda t: t.reshape(2, 1).zero_(),
        lambda t: t[1:].zero_(), lambda t: t.detach().zero_(), lambda t: t.unsqueeze(0).transpose(0, 1).squeeze(1).add_(1),
        lambda t: t.expand(3, 2)[0].array.base is not None and t.data.zero_(),
    ],
)  # fmt: skip
def test_a_changed_input_is_noticed(change):
    x = leaf(1.0, 2.0)
    y = x * x
    with ck.no_grad():
        change(x)
    with pytest.raises(RuntimeError, match="Mul.backward: " + CHANGED):
        y.sum().backward()


@pytest.mark.parametrize("function", [ck.exp, ck.sqrt, ck.tanh, ck.sigmoid, ck.relu, lambda x: ck.softmax(x, 0), lambda x: x.amax(0, True)])
def test_a_changed_output_is_noticed(function):
    y = function(leaf(1.0, 2.0))
    with ck.no_grad():
        y.mul_(2)
    with pytest.raises(RuntimeError, match=CHANGED):
        y.sum().backward()


def test_a_changed_extreme_does_no_harm():
    x = leaf(1.0, 2.0)
    y = x.amax(0)
    with ck.no_grad():
        y.mul_(2)
    y.backward()
    assert x.grad.tolist() == [0, 1]


def test_a_changed_view_of_an_output_is_noticed():
    y = ck.exp(leaf(1.0, 2.0))
    view = y.reshape(2, 1)
    with ck.no_grad():
        view.mul_(2)
    with pytest.raises(RuntimeError, match=CHANGED):
        y.sum().backward()


def test_a_changed_buffer_that_needs_no_gradient_is_noticed():
    x, scale = leaf(1.0, 2.0), ck.tensor(np.array([3.0, 4.0]))
    y = x * scale
    scale.mul_(2)
    with pytest.raises(RuntimeError, match=CHANGED):
        y.sum().backward()


def test_changes_that_do_no_harm():
    x = leaf(1.0, 2.0)
    y = x + 1.0  # saves nothing
    z = ck.exp(x)  # saves its output, not x
    with ck.no_grad():
        x.mul_(2)
    (y + z).sum().backward()
    assert np.allclose(x.grad.numpy(), 1 + np.exp([1.0, 2.0]))
    with ck.no_grad():  # before it is used
        x.mul_(2)
    x.grad = None
    (x * x).sum().backward()
    assert x.grad.tolist() == [8, 16]


def test_changing_what_requires_a_gradient_needs_no_grad():
    x = leaf(1.0, 2.0)
    for op, change in (("add_", lambda: x.add_(1)), ("assignment", lambda: x.__setitem__(0, 1.0)), ("zero_|fill_", x.zero_)):
        with pytest.raises(RuntimeError, match=f"({op}): a tensor that requires a gradient can only be changed in place under no_grad"):
            change()
    assert x.tolist() == [1, 2]
    y = ck.exp(x)
    with pytest.raises(RuntimeError, match="in place under no_grad"):
        y.add_(1)


def test_an_optimiser_s_step_between_graphs():
    x = leaf(1.0)
    for _ in range(3):
        y = x * x
        x.grad = None
        y.backward()
        with ck.no_grad():
            x.sub_(x.grad, alpha=0.25)
    assert x.tolist() == [0.125]
