import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import convkit
from convkit import Tensor
from convkit.nn import functional as F
from tests.backend import settings
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


@settings(max_examples=20)
@given(index=st.lists(st.integers(0, 3), min_size=1, max_size=6), seed=seeds)
def test_gradients_by_frequency(index, seed):
    i = convkit.tensor(np.array(index, np.int64))
    y, gw = gradients(lambda w: F.embedding(i, w, scale_grad_by_freq=True), leaf(seed, (4, 2)))
    assert np.array_equal(gw, (np.bincount(index, minlength=4) > 0)[:, None].repeat(2, 1))
    second_order_runs(lambda w: F.embedding(i, w, scale_grad_by_freq=True), leaf(seed, (4, 2)))


@pytest.mark.parametrize("norm_type", [1.0, 2.0, np.inf])
def test_max_norm(norm_type):
    """Rows that are picked are shortened in place, before the graph; others stay."""
    w = leaf(1, (4, 3))
    w.array *= 5
    before = w.detach().numpy().copy()
    y = F.embedding(convkit.tensor([0, 2, 2]), w, max_norm=1.0, norm_type=norm_type)
    norms = np.linalg.norm(before, norm_type, axis=1, keepdims=True)
    expected = np.where(np.isin(np.arange(4), [0, 2])[:, None] & (norms > 1), before / (norms + 1e-7), before)
    np.testing.assert_allclose(w.detach().numpy(), expected, rtol=1e-12)
    np.testing.assert_array_equal(y.detach().numpy(), w.detach().numpy()[[0, 2, 2]])
    y.sum().backward()
    assert w.grad.numpy()[:, 0].tolist() == [1, 0, 2, 0]
    square = (w * w).sum()
    w.array *= 5
    F.embedding(convkit.tensor([1]), w, max_norm=1.0)
    with pytest.raises(RuntimeError, match="changed in place"):
        square.backward()


@settings(max_examples=60)
@given(sizes=st.lists(st.integers(0, 3), min_size=1, max_size=4), mode=st.sampled_from(["sum", "mean", "max"]), weighted=st.booleans(),
       padding=st.sampled_from([None, 1]), last=st.booleans(), seed=seeds)  # fmt: skip
def test_bags(sizes, mode, weighted, padding, last, seed):
    rng = np.random.default_rng(seed)
    cuts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    index = rng.integers(0, 4, cuts[-1])
    weighted = weighted and mode == "sum"
    w, scale = leaf(seed, (4, 2)), Tensor(rng.random(index.size), requires_grad=True)
    options = {"mode": mode, "include_last_offset": last, "padding_idx": padding}
    i, offsets = convkit.tensor(index), convkit.tensor(cuts if last else cuts[:-1])
    f = lambda w, s: F.embedding_bag(i, w, offsets, per_sample_weights=s if weighted else None, **options)
    expected = np.zeros((len(sizes), 2))
    for b, (low, high) in enumerate(zip(cuts[:-1], cuts[1:], strict=True)):
        rows = [w.detach().numpy()[index[k]] * (scale.detach().numpy()[k] if weighted else 1) for k in range(low, high) if index[k] != padding]
        if rows:
            expected[b] = {"sum": np.sum, "mean": np.mean, "max": np.max}[mode](rows, axis=0)
    np.testing.assert_allclose(f(w, scale).detach().numpy(), expected, rtol=1e-12)
    if weighted:
        check_gradients(f, w, scale, second=False)
    else:
        check_gradients(lambda w: f(w, None), w, second=False)


def test_bags_of_one_length_and_by_frequency():
    w, i = leaf(1, (5, 3)), np.array([[0, 1, 1], [4, 1, 0]])
    for mode in ("sum", "mean", "max"):
        y = F.embedding_bag(convkit.tensor(i), w, mode=mode)
        np.testing.assert_allclose(y.detach().numpy(), getattr(np, mode)(w.detach().numpy()[i], axis=1), rtol=1e-12)
    _, gw = gradients(lambda w: F.embedding_bag(convkit.tensor(i), w, mode="sum", scale_grad_by_freq=True), leaf(1, (5, 3)))
    assert np.allclose(gw[:, 0], [1, 1, 0, 0, 1])
    y = F.embedding_bag(convkit.tensor(i), w, mode="sum", per_sample_weights=convkit.tensor(np.full((2, 3), 2.0)))
    np.testing.assert_allclose(y.detach().numpy(), 2 * w.detach().numpy()[i].sum(1), rtol=1e-12)
    assert F.embedding_bag(convkit.zeros(0, dtype=np.int64), w, convkit.zeros(0, dtype=np.int64)).shape == (0, 3)
    F.embedding_bag(convkit.tensor(i), w, max_norm=0.5)
    assert np.linalg.norm(w.detach().numpy()[[0, 1, 4]], axis=1).max() < 0.5001


def test_bags_are_differentiable_once():
    w = leaf(1, (3, 2))
    y = F.embedding_bag(convkit.tensor([[0, 1]]), w)
    (g,) = convkit.autograd.grad((y * y).sum(), w, create_graph=True)
    with pytest.raises(RuntimeError, match="EmbeddingBag: this operation can be differentiated once only"):
        g.sum().backward()


def test_one_hot():
    i = np.random.default_rng(1).integers(0, 4, (2, 3))
    i[0, 0] = 3
    y = F.one_hot(convkit.tensor(i))
    assert y.dtype == np.int64 and np.array_equal(y.numpy(), np.eye(4)[i])
    assert F.one_hot(convkit.tensor(2, dtype=np.uint8), 5).tolist() == [0, 0, 1, 0, 0]
    assert F.one_hot(convkit.zeros(0, 2, dtype=np.int64), 3).shape == (0, 2, 3)
    for error, match, call in [
        (TypeError, "one_hot: needs a tensor of integers, got float32", lambda: F.one_hot(convkit.ones(2))),
        (ValueError, "one_hot: num_classes must be given", lambda: F.one_hot(convkit.zeros(0, dtype=np.int64))),
        (ValueError, "one_hot: indices must not be negative, got -1", lambda: F.one_hot(convkit.tensor([-1]))),
        (ValueError, "one_hot: indices must be below num_classes 2, got 2", lambda: F.one_hot(convkit.tensor([2]), 2)),
        (ValueError, "one_hot: num_classes must be positive", lambda: F.one_hot(convkit.tensor([0]), -2)),
    ]:
        with pytest.raises(error, match=f"^{match}"):
            call()


def test_errors_of_bags():
    w, i, t = convkit.ones(5, 2), convkit.tensor([0, 1, 2]), convkit.tensor
    bag = F.embedding_bag
    for error, match, call in [
        (ValueError, "mode must be 'sum', 'mean' or 'max', got 'min'", lambda: bag(i, w, t([0]), mode="min")),
        (ValueError, r"input must be \[B, L\], or \[L\] with offsets, got shape \[3\] without them", lambda: bag(i, w)),
        (ValueError, r"an input \[B, L\] has bags of one length and takes no offsets", lambda: bag(i.unsqueeze(0), w, t([0]))),
        (TypeError, "offsets must be a tensor of integers, got float32", lambda: bag(i, w, t([0.0]))),
        (ValueError, r"offsets must be \[B\], got shape \[1, 1\]", lambda: bag(i, w, t([[0]]))),
        (ValueError, r"offsets must start at 0, .* got \[1\]", lambda: bag(i, w, t([1]))),
        (ValueError, r"offsets must .*, not decrease, .* got \[0, 2, 1\]", lambda: bag(i, w, t([0, 2, 1]))),
        (ValueError, r"offsets must .* stay within the 3 indices, got \[0, 4\]", lambda: bag(i, w, t([0, 4]))),
        (ValueError, "per_sample_weights need mode 'sum', got 'mean'", lambda: bag(i, w, t([0]), per_sample_weights=convkit.ones(3))),
        (ValueError, r"per_sample_weights must have the input's shape \[3\]",
         lambda: bag(i, w, t([0]), mode="sum", per_sample_weights=convkit.ones(2))),
        (ValueError, "mode 'max' has no frequencies", lambda: bag(i, w, t([0]), mode="max", scale_grad_by_freq=True)),
        (ValueError, "sparse gradients are not supported", lambda: bag(i, w, t([0]), sparse=True)),
        (IndexError, r"indices must be 0 to 4, the rows of weight \[5, 2\], got 0 to 5", lambda: bag(t([0, 5]), w, t([0]))),
        (TypeError, "needs a tensor of indices, got list", lambda: bag([0, 1], w, t([0]))),
    ]:  # fmt: skip
        with pytest.raises(error, match=f"^embedding_bag: {match}"):
            call()


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
    with pytest.raises(ValueError, match="^embedding: sparse gradients are not supported"):
        F.embedding(convkit.tensor([0]), w, sparse=True)
