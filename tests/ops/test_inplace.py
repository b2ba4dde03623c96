"""Changes in place."""

import numpy as np
import pytest

import convkit as ck
from tests.helpers import channels_last_copy, numbers

UNREADABLE = ["read-only", "read-only channels-last", "unaligned", "other byte order"]  # for kernels, so these are copied


def test_in_place_changes():
    a = np.array([[1.0, 2.0], [3.0, 4.0]], np.float32)
    t = ck.from_numpy(a)
    steps = [
        (lambda: t.add_(1), a + 1), (lambda: t.sub_(np.float32(1)), a), (lambda: t.mul_(ck.tensor([1.0, 10.0])), a * [1, 10]),
        (lambda: t.div_(10), a * [0.1, 1]), (lambda: t.add_(ck.ones(2, 2), alpha=2), a * [0.1, 1] + 2),
        (lambda: t.sub_(2.0, alpha=0.5), a * [0.1, 1] + 1), (lambda: t.clamp_(1.2, 4), np.clip(a * [0.1, 1] + 1, 1.2, 4)),
        (lambda: t.copy_(ck.tensor([[1], [2]])), np.array([[1, 1], [2, 2]])), (lambda: t.fill_(3), np.full((2, 2), 3)),
        (lambda: t.zero_(), np.zeros((2, 2))),
    ]  # fmt: skip
    expected = [np.array(e, np.float32) for _, e in steps]  # before a changes
    for (change, _), e in zip(steps, expected, strict=True):
        assert change() is t
        assert t.dtype == np.float32 and np.allclose(t.numpy(), e, rtol=1e-6)


def test_in_place_on_views_and_layouts():
    x = ck.from_numpy(channels_last_copy(numbers(0, (2, 3, 4, 4), np.float32)))
    before = x.numpy().copy()
    x[:, 1].zero_()
    x[0, 0, 1:3].add_(1)
    before[:, 1] = 0
    before[0, 0, 1:3] += 1
    assert np.array_equal(x.numpy(), before)
    row = ck.ones(3)
    with pytest.raises(ValueError, match="read-only"):
        row.expand(2, 3).zero_()


def test_assignment():
    x = ck.zeros(3, 4)
    x[1] = 5
    x[:, 0] = ck.tensor([1.0, 2.0, 3.0])
    x[2, 1:] = np.array([7, 8, 9])
    x[x > 7.5] = -1.0
    x[ck.tensor([0]), ck.tensor([3])] = 6
    assert x.tolist() == [[1, 0, 0, 6], [2, 5, 5, 5], [3, 7, -1, -1]]
    with pytest.raises(ValueError, match="broadcast"):
        x[0] = ck.ones(3)


def test_augmented_assignment_makes_a_new_tensor():
    x = ck.ones(2, requires_grad=True)
    y = x
    y += 1.0
    y *= 3.0
    assert x.tolist() == [1, 1] and y.tolist() == [6, 6]
    y.sum().backward()
    assert x.grad.tolist() == [3, 3]


def test_in_place_errors():
    with pytest.raises(TypeError, match="ast"):  # NumPy: cannot cast
        ck.tensor([1, 2]).add_(0.5)
    with pytest.raises(ValueError, match="broadcast"):
        ck.ones(2).add_(ck.ones(3))


def test_writing_what_does_not_fit():
    with pytest.raises(ValueError, match="fill_: cannot convert float infinity to integer"):
        ck.tensor([1, 2]).fill_(float("inf"))
    with pytest.raises(TypeError, match="cumsum_: a result of int64 cannot be cast to the tensor's bool"):
        ck.tensor([True, False]).cumsum_(0)
    for shape in ((3,), (2, 2, 3)):
        with pytest.raises(ValueError, match="fill_diagonal_: needs a matrix, or more dimensions of one size"):
            ck.zeros(shape).fill_diagonal_(1)
    x = ck.zeros(2, 3)
    x.fill_diagonal_(1)
    assert x.tolist() == [[1, 0, 0], [0, 1, 0]]


def test_one_number_in_a_vector_goes_where_a_number_goes():
    x, y = ck.zeros(()), ck.zeros(2)
    x[()] = ck.tensor([3.0])
    y[1] = ck.tensor([[4.0]])
    assert x.tolist() == 3 and y.tolist() == [0, 4]
