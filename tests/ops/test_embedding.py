import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import convkit
from convkit import Tensor
from convkit.nn import functional as F
from tests.helpers import LAYOUTS, dtypes, layouts, numbers
from tests.ops import check_gradients, gradients, leaf, second_order_runs, seeds


@settings(max_examples=30)
@given(
    shape=st.lists(st.integers(0, 4), max_size=3).map(tuple), rows=st.integers(1, 6), width=st.integers(1, 5), dtype=dtypes, layout=layouts,
    kind=st.sampled_from([np.int64, np.int32, np.uint8]), seed=seeds,
)  # fmt: skip
def test_values(shape, rows, width, dtype, layout, kind, seed):
    index = np.random.default_rng(seed).integers(0, rows, shape).astype(kind)
    weight = LAYOUTS[layout](numbers(seed, (rows, width), dtype))
    y = F.embedding(convkit.from_numpy(LAYOUTS[layout](np.asarray(index))), convkit.from_numpy(weight))
    assert y.dtype == dtype and np.array_equal(y.numpy(), weight[index])


@settings(max_examples=20)
@given(index=st.lists(st.integers(0, 3), max_size=6), padding=st.sampled_from([None, 0, -1]), seed=seeds)
def test_gradients(index, padding, seed):
    i = convkit.tensor(np.array(index, np.int64))
    if padding is None:
        check_gradients(lambda w: F.embedding(i, w), leaf(seed, (4, 2)))
        return
    # The padding row is a constant to the gradient, though not to differences: leave it out of them.
    y, gw = gradients(lambda w: F.embedding(i, w, padding), leaf(seed, (4, 2)))
    expected = np.bincount(index, minlength=4)[:, None].repeat(2, 1).astype(float)
    expected[padding] = 0
    assert np.array_equal(gw, expected)
    second_order_runs(lambda w: F.embedding(i, w, padding), leaf(seed, (4, 2)))


def test_the_padding_row_gets_no_second_gradient_either():
    w = leaf(1, (3, 2))
    (g,) = convkit.autograd.grad((F.embedding(convkit.tensor([0, 1, 1]), w, 1) ** 3).sum(), w, create_graph=True)
    (gg,) = convkit.autograd.grad(g.sum(), w)
    assert np.allclose(gg.numpy()[0], 6 * w.detach().numpy()[0]) and not gg.numpy()[1:].any()


@pytest.mark.parametrize("index, table", [((0,), (3, 2)), ((2, 0), (3, 2)), ((1, 1), (1, 1)), ((2,), (3, 0))])
def test_nothing_and_one(index, table):
    i = convkit.zeros(index, dtype=np.int64)
    y, gw = gradients(lambda w: F.embedding(i, w), leaf(1, table))
    assert y.shape == (*index, table[1]) and gw.sum() == y.size
    second_order_runs(lambda w: F.embedding(i, w), leaf(1, table))


def test_nan_and_infinity():
    w = Tensor(np.array([[1.0, np.nan], [np.inf, 0]], np.float32))
    np.testing.assert_array_equal(F.embedding(convkit.tensor([1, 0]), w).numpy(), [[np.inf, 0], [1, np.nan]])


def test_errors():
    w = convkit.ones(5, 2)
    for bad in ([-1, 0], [0, 5]):
        with pytest.raises(IndexError, match=rf"^embedding: indices must be 0 to 4, the rows of weight \[5, 2\], got {bad[0]} to {bad[1]}"):
            F.embedding(convkit.tensor(bad), w)
    with pytest.raises(TypeError, match="^embedding: indices must be integers, got float32"):
        F.embedding(convkit.tensor([0.0]), w)
    for row in (5, -6):
        with pytest.raises(IndexError, match=f"^embedding: padding_idx must be one of the 5 rows, got {row}"):
            F.embedding(convkit.tensor([0]), w, row)
    with pytest.raises(ValueError, match=r"^embedding: weight must be \[rows, features\], got shape \[5\]"):
        F.embedding(convkit.tensor([0]), convkit.ones(5))
    with pytest.raises(TypeError, match="^embedding: needs float32 or float64, got int64"):
        F.embedding(convkit.tensor([0]), w.long())
