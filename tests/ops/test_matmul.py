import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import convkit
from convkit.nn import functional as F
from tests.backend import SIMULATED, settings
from tests.helpers import LAYOUTS, dtypes, layouts, numbers, relative_error, tolerance
from tests.ops import both_layouts, check_gradients, gradients, leaf, second_order_runs, seeds

FEW = 2 if SIMULATED else 3


@st.composite
def shapes(draw, most=6, least=1, lead=2):
    """Two shapes that can be multiplied: vectors, matrices, and stacks of matrices that broadcast."""
    size = lambda: draw(st.integers(least, most))
    m, k, n = size(), size(), size()
    stack = [size() for _ in range(draw(st.integers(0, lead)))]
    some = lambda: tuple(d if draw(st.booleans()) else 1 for d in stack)[draw(st.integers(0, len(stack))) :]
    a = draw(st.sampled_from([(k,), (*some(), m, k)]))
    b = draw(st.sampled_from([(k,), (*some(), k, n)]))
    return a, b


@settings(max_examples=40)
@given(case=shapes(), dtype=dtypes, layout=layouts, seed=seeds)
def test_values(case, dtype, layout, seed):
    a, b = numbers(seed, case[0], dtype), numbers(seed + 1, case[1], dtype)
    y = convkit.matmul(*(convkit.from_numpy(LAYOUTS[layout](t)) for t in (a, b)))
    expected, scale = (np.matmul(f(a.astype(np.float64)), f(b.astype(np.float64))) for f in (np.asarray, np.abs))
    assert y.dtype == dtype and relative_error(y.numpy(), expected, scale) < tolerance(dtype, 3e-7, 1e-15)


@settings(max_examples=80)
@given(case=shapes(most=2), layout=both_layouts, seed=seeds)
def test_gradients(case, layout, seed):
    check_gradients(convkit.matmul, leaf(seed, case[0], layout), leaf(seed + 1, case[1], layout))


@settings(max_examples=80)
@given(
    lead=st.lists(st.integers(1, 2), max_size=2), sizes=st.tuples(*[st.integers(1, FEW)] * 2), bias=st.booleans(), layout=both_layouts, seed=seeds
)  # fmt: skip
def test_linear(lead, sizes, bias, layout, seed):
    inside, outside = sizes
    inputs = [leaf(seed, (*lead, inside), layout), leaf(seed + 1, (outside, inside), layout)] + [leaf(seed + 2, (outside,))] * bias
    arrays = [t.detach().numpy() for t in inputs]
    np.testing.assert_allclose(F.linear(*inputs).detach().numpy(), arrays[0] @ arrays[1].T + (arrays[2] if bias else 0), rtol=1e-12, atol=1e-13)
    check_gradients(F.linear, *inputs)


@settings(max_examples=50)
@given(
    lead=st.lists(st.integers(1, 2), max_size=FEW - 1),
    sizes=st.tuples(*[st.integers(1, FEW)] * 3), bias=st.booleans(), layout=both_layouts, seed=seeds
)  # fmt: skip
def test_bilinear(lead, sizes, bias, layout, seed):
    i, j, k = sizes
    inputs = [leaf(seed, (*lead, i), layout), leaf(seed + 1, (*lead, j), layout), leaf(seed + 2, (k, i, j), layout)]
    inputs += [leaf(seed + 3, (k,))] * bias
    x1, x2, w, *b = (t.detach().numpy() for t in inputs)
    expected = np.einsum("...i,kij,...j->...k", x1, w, x2) + (b[0] if bias else 0)
    np.testing.assert_allclose(F.bilinear(*inputs).detach().numpy(), expected, rtol=1e-12, atol=1e-13)
    check_gradients(F.bilinear, *inputs)


def test_bilinear_of_nothing():
    y, *grads = gradients(F.bilinear, leaf(1, (0, 3)), leaf(2, (0, 2)), leaf(3, (4, 3, 2)), leaf(4, (4,)))
    assert y.shape == (0, 4) and not grads[2].any()
    second_order_runs(F.bilinear, leaf(1, (0, 3)), leaf(2, (0, 2)), leaf(3, (4, 3, 2)))


def test_a_weight_of_one_row():
    x, w, b = leaf(1, (2, 3, 4)), leaf(2, (4,)), leaf(3, ())
    np.testing.assert_allclose(F.linear(x, w, b).detach().numpy(), x.detach().numpy() @ w.detach().numpy() + b.item(), rtol=1e-12)
    check_gradients(F.linear, x, w, b)


NOTHING = [((0, 3), (3, 2)), ((2, 0), (0, 3)), ((2, 3), (3, 0)), ((0,), (0,)), ((0, 2, 3), (3, 2)), ((2, 3), (0, 3, 4)), ((5, 2, 0), (0, 3))]


@pytest.mark.parametrize("a, b", [*NOTHING, ((1, 1), (1, 1)), ((1,), (1,))])
def test_nothing_and_one(a, b):
    y, ga, gb = gradients(convkit.matmul, leaf(1, a), leaf(2, b))
    assert y.shape == np.matmul(np.zeros(a), np.zeros(b)).shape
    assert y.size and ga.size or not (ga.any() or gb.any() or y.any())
    second_order_runs(convkit.matmul, leaf(1, a), leaf(2, b))


@pytest.mark.parametrize("shape", [(0, 3), (0, 2, 3), (2, 0, 3), (2, 0)])
def test_linear_of_nothing(shape):
    y, gx, gw, gb = gradients(F.linear, leaf(1, shape), leaf(2, (4, shape[-1])), leaf(3, (4,)))
    assert y.shape == (*shape[:-1], 4) and not gw.any()
    second_order_runs(F.linear, leaf(1, shape), leaf(2, (4, shape[-1])), leaf(3, (4,)))


def test_nan_and_infinity():
    a, b = np.ones((2, 3), np.float32), np.ones((3, 2), np.float32)
    a[0, 1], b[2, 1] = np.nan, np.inf
    np.testing.assert_array_equal((convkit.from_numpy(a) @ convkit.from_numpy(b)).numpy(), [[np.nan, np.nan], [3, np.inf]])
    b[:] = 0
    a[0, 1] = np.inf
    y = (convkit.from_numpy(a) @ convkit.from_numpy(b)).numpy()
    assert np.isnan(y[0]).all() and not y[1].any()  # inf * 0


def test_integers():
    a, w = convkit.tensor([[1, 2], [3, 4]]), convkit.tensor([[1, -1], [0, 2], [5, 5]])
    assert (a @ a).tolist() == [[7, 10], [15, 22]] and (a @ a).dtype == np.int64
    assert F.linear(a, w).tolist() == [[-1, 4, 15], [-1, 8, 35]]
    assert F.linear(a, w, convkit.tensor([1, 2, 3])).tolist() == [[0, 6, 18], [0, 10, 38]]
    assert convkit.zeros(2, 0).long().matmul(convkit.zeros(0, 3).long()).tolist() == [[0, 0, 0], [0, 0, 0]]


def test_errors():
    ones = convkit.ones
    for match, call in {
        r"matmul: the last dimension of \[2, 3\] must match the second last of \[2, 3\]": lambda: ones(2, 3) @ ones(2, 3),
        r"matmul: the last dimension of \[2, 3\] must match the only of \[2\]": lambda: ones(2, 3) @ ones(2),
        r"matmul: needs at least 1 dimension each, got shapes \[\] and \[3\]": lambda: ones(()) @ ones(3),
        r"matmul: leading dimensions of \[2, 3, 4\] and \[3, 4, 5\] do not broadcast": lambda: ones(2, 3, 4) @ ones(3, 4, 5),
        r"linear: input \[2, 3\] must end in the 4 features of weight \[5, 4\]": lambda: F.linear(ones(2, 3), ones(5, 4)),
        r"linear: bias must have shape \[5\], one number an output feature, got \[4\]": lambda: F.linear(ones(2, 4), ones(5, 4), ones(4)),
        r"linear: weight must be \[out, in\] or \[in\], got shape \[\]": lambda: F.linear(ones(2, 4), ones(())),
        r"linear: weight must be \[out, in\] or \[in\], got shape \[1, 5, 4\]": lambda: F.linear(ones(2, 4), ones(1, 5, 4)),
        r"linear: bias must have shape \[\], one number an output feature, got \[1\]": lambda: F.linear(ones(2, 4), ones(4), ones(1)),
        r"bilinear: input2 \[2, 5\] must end in the 4 features of weight \[6, 3, 4\]": lambda: F.bilinear(ones(2, 3), ones(2, 5), ones(6, 3, 4)),
        r"bilinear: the leading sizes of input1 \[2, 3\] and input2 \[1, 4\] must be": lambda: F.bilinear(ones(2, 3), ones(1, 4), ones(6, 3, 4)),
        r"bilinear: weight must be 3-D \[out, in1, in2\], got shape \[3, 4\]": lambda: F.bilinear(ones(2, 3), ones(2, 4), ones(3, 4)),
        r"bilinear: bias must have shape \[6\], .* got \[1\]": lambda: F.bilinear(ones(2, 3), ones(2, 4), ones(6, 3, 4), ones(1)),
    }.items():
        with pytest.raises(ValueError, match="^" + match):
            call()
    with pytest.raises(ValueError, match=r"^matmul: the last dimension of \[3\] must match the only of \[2\]"):
        convkit.tensor([5, 5, 0]) @ convkit.tensor([0, 5])
    with pytest.raises(TypeError, match="^matmul: needs float32, float64 or integers, the same for all, got input int64, other float32"):
        ones(2, 2).long() @ ones(2, 2)
    with pytest.raises(TypeError, match="^matmul: needs float32, float64 or integers, the same for all, got input float32, other float64"):
        ones(2, 2) @ ones(2, 2).double()
    with pytest.raises(TypeError, match="^matmul: needs float32, float64 or integers, the same for all, got input bool, other bool"):
        ones(2, 2).bool() @ ones(2, 2).bool()
    with pytest.raises(TypeError, match="^matmul: other must be a tensor, got int"):
        ones(2, 2) @ 2
    with pytest.raises(TypeError, match="^linear: .* got input float32, weight float32, bias float64"):
        F.linear(ones(2, 2), ones(2, 2), ones(2).double())
