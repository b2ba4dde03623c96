"""Products under their many names, einsum: against NumPy, with gradients."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import convkit
from convkit import Tensor
from tests.backend import SIMULATED, settings
from tests.helpers import numbers
from tests.ops import check_gradients, leaf

M, N, V, W, X3, Y3 = (leaf(i, s) for i, s in enumerate([(2, 3), (3, 4), (3,), (4,), (2, 2, 3), (2, 3, 2)]))
CASES = {
    "mm": (convkit.mm, (M, N), np.matmul),
    "mv": (convkit.mv, (M, V), np.matmul),
    "dot": (convkit.dot, (V, V.detach() * 2), np.dot),
    "inner": (convkit.inner, (M, V), np.inner),
    "outer": (convkit.outer, (V, W), np.outer),
    "bmm": (convkit.bmm, (X3, Y3), np.matmul),
    "addmm": (lambda x, a, b: convkit.addmm(x, a, b, beta=0.5, alpha=2), (W, M, N), lambda x, a, b: 0.5 * x + 2 * a @ b),
    "addmv": (lambda x, a, v: x.addmv(a, v), (leaf(9, (2,)), M, V), lambda x, a, v: x + a @ v),
    "addr": (lambda x, a, b: x.addr(a, b, alpha=3), (N, V, W), lambda x, a, b: x + 3 * np.outer(a, b)),
    "baddbmm": (convkit.baddbmm, (leaf(9, (2, 1)), X3, Y3), lambda x, a, b: x + a @ b),
    "addbmm": (convkit.addbmm, (leaf(9, (2, 2)), X3, Y3), lambda x, a, b: x + (a @ b).sum(0)),
    "tensordot": (lambda a, b: convkit.tensordot(a, b, ([1, 2], [2, 1])), (X3, Y3), lambda a, b: np.tensordot(a, b, ([1, 2], [2, 1]))),
    "tensordot 1": (lambda a, b: convkit.tensordot(a, b, 1), (X3, N), lambda a, b: np.tensordot(a, b, 1)),
    "tensordot 0": (lambda a, b: convkit.tensordot(a, b, 0), (V, W), lambda a, b: np.tensordot(a, b, 0)),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_values_and_gradients(name):
    ours, inputs, numpys = CASES[name]
    y = ours(*inputs)
    np.testing.assert_allclose(y.detach().numpy(), numpys(*(t.detach().numpy() for t in inputs)), rtol=1e-12)
    check_gradients(ours, *inputs)


EQUATIONS = [
    "ij,jk->ik", "ij,jk", "bij,bjk->bik", "i,j->ij", "i,i->", "i,i", "ij->ji", "ji", "ij->", "ii->i", "ii", "iij->ij", "ij,ij->ij", "ij,ij->i",
    "ij,j->i", "bi,ij,bj->b", "...ij,...jk->...ik", "...i->...", "i...,i...->...", "ij,kl->ijkl", "bij,kj->bik", "ab,bc,cd->ad", "ijk,ijk->",
    "b...j,jk->b...k", "ij,k->i",
]  # fmt: skip


@pytest.mark.parametrize("equation", EQUATIONS)
@settings(max_examples=1 if SIMULATED else 4)
@given(
    sizes=st.fixed_dictionaries({v: st.integers(1, 2 if SIMULATED else 3) for v in "abcdijkl"}),
    dots=st.lists(st.integers(1, 2), max_size=2),
    seed=st.integers(0, 99),
)
def test_einsum(equation, sizes, dots, seed):
    inputs = []
    for i, term in enumerate(equation.split("->")[0].split(",")):
        before, three, after = term.partition("...")
        shape = [sizes[v] for v in before] + (dots if three else []) + [sizes[v] for v in after]
        inputs.append(leaf(seed + i, tuple(shape)))
    y = convkit.einsum(equation, *inputs)
    np.testing.assert_allclose(y.detach().numpy(), np.einsum(equation, *(t.detach().numpy() for t in inputs)), rtol=1e-11, atol=1e-13)
    if sum(t.numel() for t in inputs) < 40:
        check_gradients(lambda *ts: convkit.einsum(equation, *ts), *inputs)


def test_einsum_spelled_by_numbers_and_sizes_of_one():
    a, b = Tensor(numbers(0, (2, 3))), Tensor(numbers(1, (3, 4)))
    assert np.allclose(convkit.einsum(a, [0, 1], b, [1, 2], [0, 2]).numpy(), a.numpy() @ b.numpy())
    assert np.allclose(convkit.einsum(a, [0, 1], b, [1, 2]).numpy(), a.numpy() @ b.numpy())
    assert np.allclose(convkit.einsum("ij,ij->ij", a, a[:1]).numpy(), a.numpy() * a.numpy()[:1])
    assert np.allclose(convkit.einsum("ij,ij->", a[:1], a).item(), (a.numpy() * a.numpy()[:1]).sum())
    empty = convkit.einsum("ij,jk->ik", convkit.ones(2, 0), convkit.ones(0, 3))
    assert empty.tolist() == [[0] * 3] * 2


def test_beta_0_leaves_the_input_out():
    nan = convkit.full((2, 4), float("nan"))
    assert not convkit.addmm(nan, convkit.ones(2, 3), convkit.ones(3, 4), beta=0).isnan().any()


ERRORS = {
    r"mm: mat2 must have 2 dimensions, got shape \[3\]": lambda: convkit.mm(M, V),
    r"bmm: needs as many matrices": lambda: convkit.bmm(X3, convkit.ones(3, 3, 2).double()),
    r"mv: input must have 2 dimensions": lambda: convkit.mv(V, V),
    r"dot: needs vectors of one length, got 3 and 4": lambda: convkit.dot(V, W),
    r"inner: the last dimensions must agree": lambda: convkit.inner(M, W),
    r"outer: vec2 must have 1 dimension, got shape": lambda: convkit.outer(V, M),
    r"addmm: input \[3, 3\] does not expand to the product's shape \[2, 4\]": lambda: convkit.addmm(convkit.ones(3, 3).double(), M, N),
    r"tensordot: dimensions 0 of \[2, 3\] and 0 of \[3, 4\] must have one size": lambda: convkit.tensordot(M, N, ([0], [0])),
    r"einsum: 'ij,jk->ik' names 2 operands, got 1": lambda: convkit.einsum("ij,jk->ik", M),
    r"einsum: 'j' has sizes 3 and 4": lambda: convkit.einsum("ij,j->i", M, W),
    r"einsum: 'ijk' in 'ijk->i' names 3 dimensions of an operand of shape \[2, 3\]": lambda: convkit.einsum("ijk->i", M),
    r"einsum: the result of 'ij->k' must name dimensions": lambda: convkit.einsum("ij->k", M),
    r"einsum: the result of 'ij->ii' must name": lambda: convkit.einsum("ij->ii", M),
    r"einsum: 'i1' in 'i1->i' must be letters": lambda: convkit.einsum("i1->i", M),
    r"einsum: 'i' has sizes 2 and 3 in one operand": lambda: convkit.einsum("ii->i", M),
}  # fmt: skip


@pytest.mark.parametrize("match", ERRORS)
def test_errors(match):
    with pytest.raises(ValueError, match="^" + match):
        ERRORS[match]()


def test_errors_of_types():
    with pytest.raises(TypeError, match="addmm: needs float32, float64 or integers, the same for all, got input float32"):
        convkit.addmm(convkit.ones(4), M, N)
    with pytest.raises(TypeError, match="mm: input must be a tensor, got ndarray"):
        convkit.mm(np.ones((2, 2)), M)


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int32, np.int64])
@pytest.mark.parametrize("name", CASES)
def test_integers(name, dtype):
    if name == "addmm":  # its case has fractions
        return
    if SIMULATED and dtype == np.int8:
        pytest.skip("what a GPU wraps around, the numbers that the simulator is made of refuse")
    ours, inputs, numpys = CASES[name]
    whole = [(t.detach().numpy() * 9).astype(np.int64).astype(dtype) for t in inputs]  # products wrap around in the small dtypes
    y = ours(*(Tensor(v) for v in whole))
    expected = np.asarray(numpys(*whole)).astype(dtype)
    assert y.dtype == dtype and (y.detach().numpy() == expected).all()


def test_integers_with_fractions_are_refused():
    a = convkit.ones(2, 2).long()
    assert convkit.addmm(a, a, a, beta=2, alpha=3).tolist() == [[8, 8], [8, 8]]
    with pytest.raises(TypeError, match="addmm: beta and alpha of integers must be integers, got 1 and 0.5"):
        convkit.addmm(a, a, a, alpha=0.5)
