"""A user's own operation: what forward and backward see, what may be saved, and what is refused."""

import numpy as np
import pytest

import convkit as ck
from convkit.autograd import Function, grad, gradcheck, gradgradcheck, observed, once_differentiable


class Cube(Function):
    """Backward in tensor operations: differentiable as often as one likes."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x * x

    @staticmethod
    def backward(ctx, gy):
        (x,) = ctx.saved_tensors
        return gy * 3.0 * x * x


class ExpOf(Function):
    """Saves its output."""

    @staticmethod
    def forward(ctx, x):
        y = np.exp(x)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx, gy):
        (y,) = ctx.saved_tensors
        return gy * y


class ArraySquare(Function):
    """Backward in arrays."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    @once_differentiable
    def backward(ctx, gy):
        (x,) = ctx.saved_tensors
        return ck.Tensor(2 * x.array * gy.array)


def leaf(*values, dtype=np.float64):
    return ck.tensor(np.array(values, dtype), requires_grad=True)


def op(backward, forward=lambda ctx, *arrays: arrays[0].copy()):
    """A Function from two functions."""
    return type("Custom", (Function,), {"forward": staticmethod(forward), "backward": staticmethod(backward)})


def test_values_and_gradients_of_every_order():
    x = leaf(1.0, 2.0)
    y = Cube.apply(x)
    assert y.requires_grad and y.grad_fn.__class__ is Cube and y.shape == (2,)
    (first,) = grad(y.sum(), x, create_graph=True)
    (second,) = grad(first.sum(), x, create_graph=True)
    (third,) = grad(second.sum(), x)
    for got, expected in ((first, [3, 12]), (second, [6, 12]), (third, [6, 6])):
        assert got.tolist() == expected
    for function in (Cube, ExpOf):
        assert gradcheck(function.apply, x) and gradgradcheck(function.apply, x)


def test_forward_sees_arrays_and_what_is_no_tensor_as_it_is():
    seen = []

    def forward(ctx, x, number, nothing, word="none"):
        seen.extend([type(x), number, nothing, word])
        return x

    y = op(lambda ctx, gy: (gy, None, None), forward).apply(ck.ones(2), 3, None, word="told")
    assert seen == [type(ck.ones(2).array), 3, None, "told"] and not y.requires_grad


@pytest.mark.parametrize("needs", [(True, False), (False, True), (True, True), (False, False)])
def test_needs_input_grad(needs):
    seen = []

    def backward(ctx, gy):
        seen.append(ctx.needs_input_grad)
        return tuple(gy if need else None for need in ctx.needs_input_grad)

    def forward(ctx, a, b, flag):
        seen.append(ctx.needs_input_grad)
        return a + b

    a, b = (ck.tensor([1.0], requires_grad=need) for need in needs)
    y = op(backward, forward).apply(a, b, "flag")
    assert y.requires_grad == any(needs)
    expected = (*needs, False)
    assert seen == [expected]
    if any(needs):
        y.backward()
        assert seen == [expected, expected]
        assert (a.grad is not None, b.grad is not None) == needs
    with ck.no_grad():
        seen.clear()
        op(backward, forward).apply(a, b, "flag")
        assert seen == [(False, False, False)]


def test_grad_asks_only_for_what_leads_to_its_inputs():
    seen = []

    def backward(ctx, gy):
        seen.append(ctx.needs_input_grad)
        return gy, gy

    a, b = leaf(1.0), leaf(2.0)
    y = op(backward, lambda ctx, a, b: a + b).apply(a, b)
    grad(y, a, retain_graph=True)
    y.backward()
    assert seen == [(True, False), (True, True)] and b.grad.tolist() == [1]


def test_a_failed_grad_leaves_the_graph_as_it_was():
    failing = [True]

    def backward(ctx, gy):
        if failing[0]:
            raise KeyError("not now")
        return gy, gy

    a, b = leaf(1.0), leaf(2.0)
    y = op(backward, lambda ctx, a, b: a + b).apply(a, b)
    with pytest.raises(KeyError):
        grad(y, a)
    failing[0] = False
    y.backward()
    assert a.grad.tolist() == b.grad.tolist() == [1]


@pytest.mark.cpu  # the operation's forward uses methods of NumPy's arrays
def test_several_outputs_and_those_without_a_gradient():
    def forward(ctx, x):
        largest = x.max(keepdims=True)
        ctx.mark_non_differentiable(largest)
        ctx.save_for_backward(x)
        return x * 2, largest, x.argmax(keepdims=True), x * x

    received = []

    def backward(ctx, gdouble, glargest, gindex, gsquare):
        received.extend(g.tolist() for g in (gdouble, glargest, gindex, gsquare))
        (x,) = ctx.saved_tensors
        return gdouble * 2.0 + gsquare * 2.0 * x

    x = leaf(1.0, 3.0)
    double, largest, index, square = op(backward, forward).apply(x)
    assert [t.requires_grad for t in (double, largest, index, square)] == [True, False, False, True]
    assert largest.is_leaf and index.dtype == np.int64
    square.sum().backward()
    assert x.grad.tolist() == [2, 6]
    assert received == [[0, 0], [0], [0], [1, 1]]  # zeros for outputs that nothing used


def test_none_instead_of_a_gradient():
    a, b = leaf(1.0), leaf(2.0)
    y = op(lambda ctx, gy: (None, gy), lambda ctx, a, b: a + b).apply(a * 1.0, b)
    y.backward()
    assert a.grad is None and b.grad.tolist() == [1]
    x = leaf(1.0)
    op(lambda ctx, gy: None).apply(x).backward()
    assert x.grad is None


def test_arguments_at_the_end_that_need_none_may_be_left_out():
    x = leaf(2.0)
    op(lambda ctx, gy: gy * 5.0, lambda ctx, x, flag: x.copy()).apply(x, "flag").backward()
    assert x.grad.tolist() == [5]


@pytest.mark.parametrize(
    ("result", "error", "words"),
    [
        (lambda gy: (gy.sum(), gy), RuntimeError, r"Custom.backward returned a gradient of shape \[\] for an argument of shape \[2\]"),
        (lambda gy: (gy,), RuntimeError, "Custom.backward returned 1 gradients for 2 arguments"),
        (lambda gy: (gy, gy, gy), RuntimeError, "Custom.backward returned 3 gradients for 2 arguments"),
        (lambda gy: (gy.array, gy), TypeError, "Custom.backward must return tensors or None, got (nda|A)rray"),
        (lambda gy: (gy, 1.0), TypeError, "Custom.backward must return tensors or None, got float"),
    ],
)
def test_wrong_results_of_backward(result, error, words):
    a, b = leaf(1.0, 2.0), leaf(1.0, 2.0)
    y = op(lambda ctx, gy: result(gy), lambda ctx, a, b: a + b).apply(a, b)
    with pytest.raises(error, match=words):
        y.sum().backward()


def test_none_for_arguments_that_do_not_exist_is_harmless():
    x = leaf(1.0)
    op(lambda ctx, gy: (gy, None)).apply(x).backward()
    assert x.grad.tolist() == [1]


def test_a_gradient_takes_the_dtype_of_its_argument():
    x = leaf(1.0, dtype=np.float32)
    op(lambda ctx, gy: gy.double()).apply(x).backward()
    assert x.grad.dtype == np.float32


def test_missing_methods():
    with pytest.raises(NotImplementedError, match="a Function needs a forward"):
        Function.apply(ck.ones(1))
    forward_only = type("ForwardOnly", (Function,), {"forward": staticmethod(lambda ctx, x: x)})
    with pytest.raises(NotImplementedError, match="needs a backward"):
        forward_only.apply(leaf(1.0)).backward()


# ------------------------------------------------------------------------------- saved arrays
def test_saved_may_be_anything():
    def forward(ctx, x, flag):
        ctx.save_for_backward(x, None, np.arange(3))
        ctx.kept = "kept"
        return x * 1

    def backward(ctx, gy):
        x, nothing, other = ctx.saved_tensors
        assert nothing is None and other.tolist() == [0, 1, 2] and ctx.kept == "kept"
        assert not x.requires_grad  # no graph is recorded in a plain backward
        return gy * x, None

    x = leaf(3.0)
    op(backward, forward).apply(x, True).backward()
    assert x.grad.tolist() == [3]


def test_second_backward():
    y = Cube.apply(leaf(1.0))
    y.backward(retain_graph=True)
    y.backward()
    with pytest.raises(RuntimeError, match=r"Cube.backward: its saved arrays were freed by an earlier backward; pass retain_graph=True"):
        y.backward()
    with pytest.raises(RuntimeError, match="freed by an earlier backward"):
        _ = y.grad_fn.saved_tensors


def test_a_constant_output_saved_stays_constant():
    # Statistics of a batch are kept for backward and given to the user, but not differentiated.
    def forward(ctx, x):
        mean = x.mean(keepdims=True)
        ctx.mark_non_differentiable(mean)
        ctx.save_for_backward(mean)
        return x * mean, mean

    def backward(ctx, gy, _):
        (mean,) = ctx.saved_tensors
        assert not mean.requires_grad
        return gy * mean

    x = leaf(1.0, 3.0)
    y, _ = op(backward, forward).apply(x)
    (g,) = grad(y.sum(), x, create_graph=True)
    assert g.tolist() == [2, 2]


# ------------------------------------------------------------------------ once differentiable
def test_once_differentiable_gives_first_derivatives():
    x = leaf(1.0, 3.0)
    ArraySquare.apply(x).sum().backward()
    assert x.grad.tolist() == [2, 6]
    assert gradcheck(ArraySquare.apply, x)


@pytest.mark.parametrize("inner", [lambda x: x, lambda x: x * 2.0])
def test_once_differentiable_refuses_second_derivatives(inner):
    x = leaf(1.0, 3.0)
    (g,) = grad(ArraySquare.apply(inner(x)).sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="ArraySquare: this operation can be differentiated once only"):
        grad(g.sum(), x)
    # Also where the gradient that came in is what is differentiated, or something else depends on x as well.
    (g,) = grad((ArraySquare.apply(inner(x)) * x).sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once only"):
        (g * x).sum().backward()


def test_once_differentiable_with_several_results():
    class Product(Function):
        @staticmethod
        def forward(ctx, a, b):
            ctx.save_for_backward(a, b)
            return a * b

        @staticmethod
        @once_differentiable
        def backward(ctx, gy):
            a, b = ctx.saved_tensors
            return ck.Tensor(gy.array * b.array) if ctx.needs_input_grad[0] else None, ck.Tensor(gy.array * a.array)

    a, b = ck.tensor([2.0]), ck.tensor([3.0], requires_grad=True)
    (g,) = grad(Product.apply(a, b), b, create_graph=True)
    assert g.tolist() == [2]
    with pytest.raises(RuntimeError, match="Product: this operation"):
        grad(g, b)


# ---------------------------------------------------------------------------------------- watching
class Seen:
    def __init__(self):
        self.forwards, self.backwards = [], []

    def forward(self, ctx, arrays, options):
        self.forwards.append((type(ctx).__name__, [getattr(a, "shape", a) for a in arrays]))
        return type(ctx).forward(ctx, *arrays, **options)

    def backward(self, node, grads):
        self.backwards.append((type(node).__name__, node.needs_input_grad))
        return type(node).backward(node, *grads)


def test_a_watch_runs_every_operation():
    a, b = (ck.ones(2, 3, requires_grad=True) for _ in range(2))
    seen = Seen()
    with observed(seen):
        y = (a * b).sum()
        y.backward(retain_graph=True)
        assert seen.forwards[0] == ("Mul", [(2, 3), (2, 3)])
        assert seen.backwards == [("Sum", (True, False, False)), ("Mul", (True, True))]
        seen.backwards.clear()
        (gb,) = grad(y, b)  # asks for one gradient only
        assert seen.backwards == [("Sum", (True, False, False)), ("Mul", (False, True))]
    assert np.array_equal(gb.numpy(), a.detach().numpy()) and y.node._edges[0][0].needs_input_grad == (True, True)
    count = len(seen.forwards)
    a * b
    assert len(seen.forwards) == count
