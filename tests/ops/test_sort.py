"""Sorting and its kin: against NumPy; ties, nan, gradients."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import convkit
from convkit import Tensor
from tests.backend import SIMULATED, settings
from tests.helpers import numbers
from tests.ops import apart, both_layouts, check_gradients, gradients, seeds

shapes = st.lists(st.integers(1, 4), min_size=1, max_size=3).map(tuple)


@settings(max_examples=40)
@given(shape=shapes, layout=both_layouts, seed=seeds, descending=st.booleans(), data=st.data())
def test_sort_topk_kthvalue_median(shape, layout, seed, descending, data):
    dim = data.draw(st.integers(-len(shape), len(shape) - 1))
    x = apart(seed, shape, layout)
    a, n = x.detach().numpy(), shape[dim]
    k = data.draw(st.integers(1, n))
    ordered = np.sort(a, dim)
    values, indices = convkit.sort(x, dim, descending)
    assert np.array_equal(values.detach().numpy(), np.flip(ordered, dim) if descending else ordered)
    assert np.array_equal(np.take_along_axis(a, indices.numpy(), dim), values.detach().numpy())
    assert np.array_equal(x.argsort(dim, descending).numpy(), indices.numpy())
    top, places = x.topk(k, dim, largest=descending)
    assert np.array_equal(top.detach().numpy(), np.take(np.flip(ordered, dim) if descending else ordered, np.arange(k), dim))
    assert np.array_equal(np.take_along_axis(a, places.numpy(), dim), top.detach().numpy())
    for keepdim in (False, True):
        kth, _ = x.kthvalue(k, dim, keepdim)
        middle, where = x.median(dim, keepdim)
        assert np.array_equal(kth.detach().numpy(), np.take(ordered, [k - 1] if keepdim else k - 1, dim))
        assert (
            np.array_equal(middle.detach().numpy(), np.take(ordered, [(n - 1) // 2] if keepdim else (n - 1) // 2, dim))
            and where.shape == middle.shape
        )
    if x.numel() <= 16:
        for f in (
            lambda x: x.sort(dim)[0],
            lambda x: x.exp().topk(k, dim)[0],
            lambda x: x.kthvalue(k, dim)[0],
            lambda x: x.median(dim)[0],
            lambda x: x.median(),
        ):
            check_gradients(f, x, second=False)
        check_gradients(lambda x: x.exp().sort(dim)[0], x)


def test_names_of_the_results_and_no_dimensions():
    pair = convkit.sort(convkit.tensor([2.0, 1.0]))
    assert pair.values.tolist() == [1, 2] and pair.indices.tolist() == [1, 0]
    number = convkit.tensor(5.0)
    for y in (number.sort(), number.topk(1), number.kthvalue(1), number.median(0), number.max(0)):
        assert y[0].shape == y[1].shape == () and y[0].item() == 5 and y[1].item() == 0
    assert number.median().item() == 5


def test_nan_is_the_greatest_and_lasts():
    x = convkit.tensor([2.0, float("nan"), 1.0])
    assert x.sort()[1].tolist() == [2, 0, 1] and x.sort(descending=True)[1].tolist() == [1, 0, 2] and x.topk(1)[1].tolist() == [1]
    assert np.isnan(x.median().item()) and x.median(0)[1].item() == 1 and np.isnan(x.median(0)[0].item())
    y, gx = gradients(lambda x: x.median(), Tensor(np.array([1.0, 3.0, 1.0, 1.0]), requires_grad=True))
    assert y == 1 and np.allclose(gx, [1 / 3, 0, 1 / 3, 1 / 3])  # equals share


def test_many_elements():
    x = Tensor(numbers(0, (3, 200 if SIMULATED else 5000), np.float32))
    assert np.array_equal(x.topk(7)[0].numpy(), -np.sort(-x.numpy(), 1)[:, :7])
    assert np.array_equal(x.kthvalue(9)[0].numpy(), np.sort(x.numpy(), 1)[:, 8])


def test_unique_and_bincount():
    x = convkit.tensor([[3, 1], [3, 2]])
    values, inverse, counts = convkit.unique(x, return_inverse=True, return_counts=True)
    assert values.tolist() == [1, 2, 3] and inverse.tolist() == [[2, 0], [2, 1]] and counts.tolist() == [1, 1, 2]
    assert convkit.unique(convkit.tensor([[1, 2], [1, 2], [0, 1]]), dim=0).tolist() == [[0, 1], [1, 2]]
    assert convkit.unique(convkit.tensor([float("nan"), float("nan")])).shape == (2,)
    assert convkit.bincount(convkit.tensor([1, 1, 3]), minlength=6).tolist() == [0, 2, 0, 1, 0, 0]
    weighted = convkit.bincount(convkit.tensor([1, 1]), convkit.tensor([0.5, 2.0]))
    assert weighted.tolist() == [0, 2.5] and weighted.dtype == np.float32


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda x: x.sort(2), IndexError, "sort: dim 2 is out of range"),
        (lambda x: x.topk(5), ValueError, "topk: k must be 0 to 3, the size of dimension 1, got 5"),
        (lambda x: x.topk(1.5), TypeError, "topk: k must be an int, got 1.5"),
        (lambda x: x.kthvalue(0), ValueError, "kthvalue: k must be 1 to 3"),
        (lambda x: x[:0].median(), ValueError, "median: the middle of nothing"),
        (lambda x: x[:0].median(0), ValueError, "median: the middle of nothing"),
        (lambda x: x.bincount(), ValueError, "bincount: needs a vector of integers"),
        (lambda x: convkit.bincount(convkit.tensor([1]), x[0]), ValueError, "bincount: weights must have the input's shape"),
    ],
)
def test_errors(call, error, words):
    with pytest.raises(error, match=words):
        call(convkit.ones(2, 3))
