"""gradcheck and gradgradcheck find wrong gradients and only those."""

import numpy as np
import pytest

import convkit as ck
from convkit.autograd import Function, gradcheck, gradgradcheck


def leaf(*shape, seed=0):
    return ck.tensor(np.random.default_rng(seed).standard_normal(shape), requires_grad=True)


def scaled(first, second=1.0):
    """x^3 with its first derivative wrong by a factor, and the derivative of that by another."""

    class Gradient(Function):
        @staticmethod
        def forward(ctx, gy, x):
            ctx.save_for_backward(gy, x)
            return first * 3 * gy * x * x

        @staticmethod
        def backward(ctx, g):
            gy, x = ctx.saved_tensors
            return g * x * x * (3.0 * first), g * gy * x * (6.0 * first * second)

    class Cube(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x**3

        @staticmethod
        def backward(ctx, gy):
            return Gradient.apply(gy, *ctx.saved_tensors)

    return Cube.apply


def test_right_gradients_pass():
    x = leaf(2, 3)
    assert gradcheck(scaled(1.0), x) is True
    assert gradgradcheck(scaled(1.0), x) is True


def test_a_wrong_gradient_is_told():
    x = leaf(2, 3)
    with pytest.raises(RuntimeError, match=r"gradcheck: input 0, element \[\d, \d\], output element \d: the gradient is .* but differences give"):
        gradcheck(scaled(1.01), x)
    assert gradcheck(scaled(1.01), x, raise_exception=False) is False


def test_a_wrong_second_derivative_is_told():
    x = leaf(2, 3)
    wrong = scaled(1.0, 1.01)
    assert gradcheck(wrong, x)
    with pytest.raises(RuntimeError, match="gradcheck: input 0"):
        gradgradcheck(wrong, x)
    assert gradgradcheck(wrong, x, raise_exception=False) is False


def test_a_gradient_that_is_missing_is_told():
    with pytest.raises(RuntimeError, match=r"\(2 of 4 differ\)"):
        gradcheck(lambda x: x * x.detach(), leaf(2))
    # One that depends on x, but says it does not.
    with pytest.raises(RuntimeError, match="the gradient is 0 but"):
        gradcheck(lambda x: (x * 2.0).detach(), leaf(2))


def test_a_gradient_of_one_element_only():
    class Forgets(Function):
        @staticmethod
        def forward(ctx, x):
            return 2 * x

        @staticmethod
        def backward(ctx, gy):
            g = 2 * gy.array
            g[-1] = 0
            return ck.Tensor(g)

    with pytest.raises(RuntimeError, match=r"element \[4\], output element 4: the gradient is 0 but differences give 2.* \(1 of 25 differ\)"):
        gradcheck(Forgets.apply, leaf(5))


def test_several_inputs_and_outputs():
    a, b = leaf(2, 2), leaf(2, seed=1)
    constant = ck.tensor(np.ones(2))

    def function(a, b, constant):
        return a * b, (a * a).sum(), ck.arange(3), a.detach() * 0.0 + constant

    assert gradcheck(function, (a, b, constant))
    assert gradgradcheck(lambda a, b, c: function(a, b, c)[:2], (a, b, constant))
    with pytest.raises(RuntimeError, match="gradcheck: input 1"):
        gradcheck(lambda a, b: (a * b, a * b.detach()), (a, b))


def test_memory_order_does_not_matter():
    x = ck.tensor(np.asfortranarray(np.random.default_rng(0).standard_normal((2, 3))), requires_grad=True)
    assert gradcheck(lambda x: x * ck.tensor(np.arange(6.0).reshape(2, 3)), x)


def test_nothing_to_check_is_right():
    x = ck.tensor(np.zeros((0, 3)), requires_grad=True)
    assert gradcheck(lambda x: x * 2.0, x) and gradgradcheck(lambda x: x * x, x)


def test_inputs_stay_as_they_were():
    x = leaf(3)
    before = x.numpy().copy() if not x.requires_grad else x.detach().numpy().copy()
    gradcheck(lambda x: x * x, x)
    assert np.array_equal(x.detach().numpy(), before) and x.grad is None


def test_what_cannot_be_checked():
    with pytest.raises(ValueError, match="gradcheck: input 0 must be float64 for differences of 1e-06, got float32"):
        gradcheck(lambda x: x, ck.ones(2, requires_grad=True))
    with pytest.raises(ValueError, match="gradcheck: no input requires a gradient"):
        gradcheck(lambda x: x, ck.ones(2))


def test_gradgradcheck_with_weights_of_one_s_own():
    x = leaf(3)
    assert gradgradcheck(lambda x: x * x * x, x, ck.tensor(np.ones(3), requires_grad=True))
