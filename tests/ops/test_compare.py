"""Comparison, logic, bits."""

import operator

import numpy as np
import pytest

import convkit
from convkit import Tensor
from tests.helpers import numbers

A, B = np.array([1.0, 2.0, np.nan, -0.0]), np.array([1.0, 3.0, np.nan, 0.0])
I, J = np.array([6, 3, -5]), np.array([3, 5, 2])
COMPARISONS = {"eq": np.equal, "ne": np.not_equal, "lt": np.less, "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal}
BITS = {
    "bitwise_and": operator.and_, "bitwise_or": operator.or_, "bitwise_xor": operator.xor, "bitwise_left_shift": operator.lshift,
    "bitwise_right_shift": operator.rshift,
}  # fmt: skip


@pytest.mark.parametrize("name", COMPARISONS)
def test_comparisons(name):
    a, b = Tensor(A, requires_grad=True), Tensor(B)
    for y in (getattr(convkit, name)(a, b), getattr(a, name)(b), getattr(operator, name)(a, b)):
        assert y.dtype == np.bool_ and not y.requires_grad and np.array_equal(y.numpy(), COMPARISONS[name](A, B))
    assert getattr(convkit, name)(a, 2).tolist() == COMPARISONS[name](A, 2).tolist()
    with pytest.raises(ValueError, match=rf"^{name}: shapes \[4\] and \[3\] do not broadcast"):
        getattr(convkit, name)(a, convkit.ones(3))


def test_operands_meet_in_their_common_dtype():
    big = convkit.tensor([2**53 + 1])
    assert (big == convkit.tensor([2**53])).tolist() == [False]
    assert (convkit.tensor([16777217]) == convkit.tensor([16777216.0])).tolist() == [True]  # float32, as in torch


def test_logic():
    a, b = convkit.tensor([0.0, 1.0, 2.0, 0.0]), convkit.tensor([0, 0, 3, 4])
    assert convkit.logical_and(a, b).tolist() == [False, False, True, False]
    assert a.logical_or(b).tolist() == [False, True, True, True] and a.logical_xor(b).tolist() == [False, True, False, True]
    assert a.logical_not().tolist() == [True, False, False, True]


@pytest.mark.parametrize("name", BITS)
def test_bits(name):
    if name.endswith("shift"):
        expected = BITS[name](I, abs(J))
        assert BITS[name](Tensor(I), Tensor(abs(J))).tolist() == getattr(convkit, name)(Tensor(I), Tensor(abs(J))).tolist() == expected.tolist()
    else:
        assert BITS[name](Tensor(I), Tensor(J)).tolist() == getattr(Tensor(I), name)(3 * 0 + Tensor(J)).tolist() == BITS[name](I, J).tolist()
        assert BITS[name](Tensor(I > 3), Tensor(J > 3)).dtype == np.bool_
        assert BITS[name](7, Tensor(I)).tolist() == BITS[name](7, I).tolist()
    with pytest.raises(TypeError, match=f"{name}: needs integers or booleans, got float32"):
        BITS[name](convkit.ones(2), Tensor(J))


def test_not():
    assert (~convkit.tensor([True, False])).tolist() == [False, True] and (~convkit.tensor([0, 5])).tolist() == [-1, -6]
    with pytest.raises(TypeError, match="bitwise_not: needs integers or booleans"):
        ~convkit.ones(2)


def test_what_they_are():
    x = convkit.tensor([1.0, float("nan"), float("inf"), -float("inf"), -0.0])
    assert x.isnan().tolist() == [False, True, False, False, False] and x.isinf().tolist() == [False, False, True, True, False]
    assert x.isfinite().tolist() == [True, False, False, False, True] and x.signbit().tolist()[3:] == [True, True]
    assert convkit.arange(2).isnan().tolist() == [False, False]


def test_close_and_equal():
    a = Tensor(numbers(0, (3, 4)))
    assert convkit.allclose(a, a + 1e-9) and not convkit.allclose(a, a + 1.0) and convkit.equal(a, a.clone()) and not a.equal(a.reshape(-1))
    nan = convkit.tensor([float("nan")])
    assert not nan.allclose(nan) and nan.allclose(nan, equal_nan=True)
    assert convkit.isclose(convkit.tensor([1.0, 1.0]), convkit.tensor([1.1, 1.0]), rtol=0.0, atol=0.05).tolist() == [False, True]
    with pytest.raises(TypeError, match="isclose: needs two tensors of one dtype, got float64 and float32"):
        convkit.isclose(a, a.float())


def test_all_and_any():
    x = convkit.tensor([[True, False, True], [True, True, True]])
    assert x.all().item() is False and x.any().item() is True and x.all(1).tolist() == [False, True]
    assert x.any((0, 1), keepdim=True).tolist() == [[True]] and convkit.all(x, 0).tolist() == [True, False, True]
    assert convkit.ones(0).all().item() is True and convkit.ones(0).any().item() is False
    assert convkit.tensor(np.array([2, 0], np.uint8)).any().dtype == np.uint8
    with pytest.raises(IndexError, match="all: dim 2 is out of range"):
        x.all(2)
