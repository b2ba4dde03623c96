"""The walk back: order, sums, roots, grad(), second derivatives."""

import threading

import numpy as np
import pytest

import convkit as ck
from convkit.autograd import backward, grad
from tests import backend


def leaf(*values, dtype=np.float64):
    return ck.tensor(np.array(values, dtype), requires_grad=True)


@pytest.mark.cpu  # about the walk, not about kernels, of which a simulator would run a hundred thousand
def test_a_hundred_thousand_operations():
    x = leaf(1.0)
    y = x
    for _ in range(100_000):
        y = y + 1.0
    y.backward()
    assert x.grad.tolist() == [1]
    del y  # no recursion in the destructor, either
    y = x
    for _ in range(100_000):
        y = y * 1.0  # saves arrays
    del y  # without a backward


def test_a_long_ladder_is_walked_once():
    # Each step uses its input twice: walking paths instead of nodes would take 2**60 steps.
    x = leaf(1.0)
    y = x
    for _ in range(60):
        y = (y + y) * 0.5
    y.backward()
    assert x.grad.tolist() == [1]


def test_shared_subgraphs_add_up():
    x = leaf(2.0, 3.0)
    shared = x * x
    (shared * shared + shared * x + shared).sum().backward()  # x^4 + x^3 + x^2
    assert x.grad.tolist() == [4 * 8 + 3 * 4 + 4, 4 * 27 + 3 * 9 + 6]


def test_an_operand_used_twice_in_one_operation():
    x = leaf(3.0)
    (x * x).backward()
    assert x.grad.tolist() == [6]
    x.grad = None
    (x - x).backward()
    assert x.grad.tolist() == [0]


def test_gradients_accumulate():
    x = leaf(2.0)
    for turn in range(1, 4):
        (x * 5.0).backward()
        assert x.grad.tolist() == [5 * turn]
    x.grad = None
    (x * 5.0).backward()
    assert x.grad.tolist() == [5]


@pytest.mark.parametrize("shape", [(), (1,), (4,), (3, 1), (3, 4), (1, 1), (2, 1, 1), (1, 3, 4)])
def test_broadcasting_is_undone(shape):
    x = ck.tensor(np.ones(shape), requires_grad=True)
    weights = np.arange(24.0).reshape(2, 3, 4)
    (x * ck.tensor(weights)).sum().backward()
    expected = weights
    for axis in range(3):
        position = axis - (3 - len(shape))
        if position < 0 or shape[position] == 1:
            expected = expected.sum(axis=axis, keepdims=True)
    assert x.grad.shape == shape
    assert np.array_equal(x.grad.numpy(), expected.reshape(shape))


def test_what_is_not_a_single_number_needs_a_gradient():
    x = leaf(1.0, 2.0)
    y = x * 3.0
    with pytest.raises(RuntimeError, match=r"backward: an output of shape \[2\] needs a gradient of that shape; only a single number does not"):
        y.backward()
    with pytest.raises(ValueError, match=r"backward: the gradient has shape \[3\] but the output has \[2\]"):
        y.backward(ck.ones(3).double())
    with pytest.raises(TypeError, match="backward: the gradient is float32 but the output is float64"):
        y.backward(ck.ones(2))
    y.backward(ck.tensor(np.array([1.0, 10.0])))
    assert x.grad.tolist() == [3, 30]
    single = leaf(2.0).reshape(1, 1)
    (single * 2.0).backward()


def test_what_needs_no_gradient_has_none():
    for y in (ck.ones(1), ck.ones(1) * 2.0, leaf(1.0).detach()):
        with pytest.raises(RuntimeError, match="backward: the output does not require a gradient"):
            y.backward()


def test_backward_of_a_leaf():
    x, given = leaf(2.0, 3.0), ck.tensor(np.array([5.0, 7.0]))
    x.backward(given)
    x.backward(given)
    assert x.grad.tolist() == [10, 14]
    assert given.tolist() == [5, 7]


def test_several_roots():
    x, z = leaf(2.0), leaf(3.0)
    shared = x * z
    backward([shared * 2.0, shared * x], [None, ck.tensor(np.array([10.0]))])
    assert x.grad.tolist() == [2 * 3 + 10 * 2 * 2 * 3] and z.grad.tolist() == [2 * 2 + 10 * 4]
    x.grad = None
    backward((x * 2.0, x * 3.0))  # None for all
    assert x.grad.tolist() == [5]
    y = x * 2.0
    backward([y, y])  # the same twice
    assert x.grad.tolist() == [9]


def test_an_output_and_an_intermediate_as_roots():
    x = leaf(2.0)
    middle = x * 3.0
    backward([middle * 5.0, middle])
    assert x.grad.tolist() == [18]


# ----------------------------------------------------------------------------------- grad()
def test_grad_leaves_grad_alone():
    x, z = leaf(2.0), leaf(3.0)
    gx, gz = grad(x * x * z, [x, z])
    assert gx.tolist() == [12] and gz.tolist() == [4]
    assert x.grad is None and z.grad is None
    assert not gx.requires_grad


def test_grad_of_what_lies_between():
    x = leaf(2.0)
    middle = x * 3.0
    y = middle * middle
    assert grad(y, middle, retain_graph=True)[0].tolist() == [12]
    assert [g.tolist() for g in grad(y, [x, middle, y, x], retain_graph=True)] == [[36], [12], [1], [36]]
    assert grad([y, middle], [x], [None, ck.tensor(np.array([100.0]))])[0].tolist() == [336]


def test_grad_of_an_output_by_its_number():
    x = leaf(4.0, 6.0)
    first, second = x.split(1)
    g = grad((first * second).sum(), [first, second])
    assert [t.tolist() for t in g] == [[6], [4]]


def test_unused_inputs():
    x, other = leaf(2.0), leaf(3.0)
    later = x * 5.0
    with pytest.raises(RuntimeError, match="grad: input 1 is not part of the graph of the outputs; pass allow_unused=True"):
        grad(x * x, [x, other])
    assert grad(x * x, other, allow_unused=True) == (None,)
    gx, gl = grad(x * x, [x, later], allow_unused=True)
    assert gx.tolist() == [4] and gl is None
    with pytest.raises(RuntimeError, match="grad: input 0 does not require a gradient"):
        grad(x * x, ck.ones(1))


def test_grad_frees_the_graph_unless_told_not_to():
    x = leaf(2.0)
    y = x * x
    grad(y, x, retain_graph=True)
    grad(y, x)
    with pytest.raises(RuntimeError, match=r"Mul.backward: its saved arrays were freed .*pass retain_graph=True"):
        grad(y, x)


def test_create_graph_keeps_the_graph():
    x = leaf(2.0)
    y = x * x * x
    (g,) = grad(y, x, create_graph=True)
    assert g.requires_grad and g.tolist() == [12]
    (gg,) = grad(g, x, create_graph=True)
    (ggg,) = grad(gg, x)
    assert gg.tolist() == [12] and ggg.tolist() == [6]


def test_backward_with_create_graph():
    x = leaf(2.0)
    (x * x * x).backward(create_graph=True)
    assert x.grad.requires_grad and x.grad.tolist() == [12]
    g, x.grad = x.grad, None
    g.backward()
    assert x.grad.tolist() == [12]


def test_a_gradient_penalty():
    # d/dw of (d/dx f(w x))^2: an ordinary loss that contains a gradient.
    w, x = leaf(3.0), leaf(2.0)
    (gx,) = grad((w * x * x).sum(), x, create_graph=True)  # 2 w x
    (gx * gx).sum().backward()  # 4 w^2 x^2
    assert w.grad.tolist() == [8 * 3 * 4] and x.grad.tolist() == [8 * 9 * 2]


# ------------------------------------------------------------------------------ recording modes
def test_no_grad_and_enable_grad():
    x = leaf(1.0)
    with ck.no_grad():
        assert not ck.is_grad_enabled() and not (x * 2.0).requires_grad
        with ck.enable_grad():
            assert ck.is_grad_enabled() and (x * 2.0).requires_grad
        assert not ck.is_grad_enabled()
    assert ck.is_grad_enabled() and (x * 2.0).requires_grad


def test_modes_as_decorators():
    @ck.no_grad()
    def silent(x):
        """Says nothing."""
        return x * 2.0, loud(x)

    @ck.enable_grad()
    def loud(x):
        return x * 2.0

    quiet, heard = silent(leaf(1.0))
    assert not quiet.requires_grad and heard.requires_grad
    assert silent.__name__ == "silent" and silent.__doc__ == "Says nothing."


def test_modes_end_with_an_error_and_may_be_entered_again():
    mode = ck.no_grad()
    with pytest.raises(KeyError):
        with mode, mode:
            raise KeyError
    assert ck.is_grad_enabled()
    with mode:
        with mode:
            pass
        assert not ck.is_grad_enabled()
    assert ck.is_grad_enabled()


def test_each_thread_has_its_own_mode():
    x = leaf(1.0)
    entered, done, seen = threading.Event(), threading.Event(), []

    def other():
        seen.append(ck.is_grad_enabled())  # a new thread records, whatever its parent does
        with ck.no_grad():
            entered.set()
            assert done.wait(10)
            seen.append((x * 2.0).requires_grad)

    with ck.no_grad():
        thread = threading.Thread(target=other)
        thread.start()
    assert entered.wait(10)
    assert ck.is_grad_enabled() and (x * 2.0).requires_grad
    done.set()
    thread.join()
    assert seen == [True, False]


@pytest.mark.skipif(backend.SIMULATED, reason="Numba's simulator runs one kernel at a time")
def test_backward_in_two_threads_at_once():
    failed = []

    def work(k):
        for _ in range(30):
            x = leaf(*range(1, 5))
            y = x
            for _ in range(20):
                y = y * 1.0 + x
            (y * float(k)).sum().backward()
            if x.grad.tolist() != [21.0 * k] * 4:
                failed.append(x.grad)

    both = [threading.Thread(target=work, args=(k,)) for k in (1, 2)]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join()
    assert not failed


def test_backward_itself_is_not_recorded():
    x = leaf(2.0)
    (x * x).backward()
    assert x.grad.is_leaf and not x.grad.requires_grad


def test_detach():
    x = leaf(2.0)
    y = x * x
    constant = y.detach()
    assert not constant.requires_grad and constant.is_leaf and np.shares_memory(constant.array, y.array)
    (constant * x).backward()
    assert x.grad.tolist() == [4]  # not 12


def test_requires_grad_of_leaves_only():
    x = ck.tensor([1.0])
    assert not x.requires_grad and x.requires_grad_() is x and x.requires_grad
    y = x * 2.0
    with pytest.raises(RuntimeError, match="only leaves can stop requiring a gradient; use .detach"):
        y.requires_grad_(False)
    x.requires_grad_(False)
    assert not (x * 2.0).requires_grad
    with pytest.raises(RuntimeError, match="only floating tensors can require gradients, got int64"):
        ck.tensor([1]).requires_grad_()
    with pytest.raises(RuntimeError, match="only floating tensors"):
        ck.tensor([1], requires_grad=True)


def test_zeros_for_inputs_outside_the_graph():
    x, y = (ck.ones(2, requires_grad=True) for _ in range(2))
    gx, gy = grad(x.sum(), (x, y), materialize_grads=True)
    assert gx.tolist() == [1, 1] and gy.tolist() == [0, 0]
    for told in ({"only_inputs": False}, {"is_grads_batched": True}, {"materialize_grads": True, "allow_unused": False}):
        with pytest.raises(ValueError, match="^grad: "):
            grad(x.sum(), x, **told)
