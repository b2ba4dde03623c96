import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import convkit
from convkit import Tensor
from convkit.nn import functional as F
from tests.backend import SIMULATED, settings
from tests.ops import apart, both_layouts, check_gradients, gradients, leaf, seeds

small = st.lists(st.integers(1, 3), min_size=1, max_size=3).map(tuple).filter(lambda s: np.prod(s) <= (4 if SIMULATED else 9))
norms = st.sampled_from([0.5, 1.0, 1.5, 2.0, 3.0, np.inf])


def norm(x, p, axis, keepdims=False):
    return np.linalg.norm(x, p, axis, keepdims) if p in (1, 2, np.inf) else (np.abs(x) ** p).sum(axis, keepdims=keepdims) ** (1 / p)


@settings(max_examples=30)
@given(shape=small, p=norms, dim=st.integers(0, 3), layout=both_layouts, seed=seeds)
def test_normalize(shape, p, dim, layout, seed):
    x, dim = apart(seed, shape, layout), dim % len(shape)
    x.array += 0.03  # no two of one size
    np.testing.assert_allclose(F.normalize(x, p, dim).detach().numpy(), x.detach().numpy() / norm(x.detach().numpy(), p, dim, True), rtol=1e-12)
    check_gradients(lambda x: F.normalize(x, p, dim), x)


@settings(max_examples=30)
@given(shape=small, dim=st.integers(0, 2), ones=st.integers(0, 7), seed=seeds)
def test_cosine_similarity(shape, dim, ones, seed):
    """Also of tensors that broadcast."""
    dim %= len(shape)
    small = tuple(1 if ones >> i & 1 else n for i, n in enumerate(shape))
    a, b = leaf(seed, shape), leaf(seed + 1, small)
    x, y = np.broadcast_arrays(a.detach().numpy(), b.detach().numpy())
    cosine = (x * y).sum(dim) / norm(x, 2, dim) / norm(y, 2, dim)
    np.testing.assert_allclose(F.cosine_similarity(a, b, dim).detach().numpy(), cosine, rtol=1e-10)
    np.testing.assert_allclose(F.cosine_similarity(b, a, dim - len(shape)).detach().numpy(), cosine, rtol=1e-10)
    if shape[dim] > 1:
        check_gradients(lambda a, b: F.cosine_similarity(a, b, dim), a, b)


@settings(max_examples=30)
@given(shape=small, p=norms, keepdim=st.booleans(), last=st.booleans(), seed=seeds)
def test_pairwise_distance(shape, p, keepdim, last, seed):
    a, b = apart(seed, shape), leaf(seed, shape[-1:] if last else shape)
    b.array *= 0.01
    away = a.detach().numpy() - b.detach().numpy() + 1e-6
    np.testing.assert_allclose(F.pairwise_distance(a, b, p, keepdim=keepdim).detach().numpy(), norm(away, p, -1, keepdim), rtol=1e-10)
    check_gradients(lambda a, b: F.pairwise_distance(a, b, p, keepdim=keepdim), a, b)


@settings(max_examples=2 if SIMULATED else 20)
@given(rows=st.tuples(st.integers(1, 3), st.integers(1, 3)), width=st.integers(1, 3), batch=st.sampled_from([(), (2,)]), p=norms,
       mode=st.sampled_from(["use_mm_for_euclid_dist", "donot_use_mm_for_euclid_dist"]), seed=seeds)  # fmt: skip
def test_cdist(rows, width, batch, p, mode, seed):
    a, b = leaf(seed, (*batch, rows[0], width)), leaf(seed + 1, (rows[1], width))
    away = a.detach().numpy()[..., :, None, :] - b.detach().numpy()[..., None, :, :]
    np.testing.assert_allclose(convkit.cdist(a, b, p, mode).detach().numpy(), norm(away, p, -1), rtol=1e-6, atol=1e-9)
    if np.abs(away).min() > 0.01 and p > 0.5:
        check_gradients(lambda a, b: convkit.cdist(a, b, p, mode), a, b)


def test_points_that_coincide():
    a = Tensor(np.array([[1.0, 2.0], [3.0, 4.0]]), requires_grad=True)
    for p in (1.0, 2.0, 3.0):
        for mode in ("use_mm_for_euclid_dist", "donot_use_mm_for_euclid_dist"):
            y, g = gradients(lambda a, p=p, mode=mode: convkit.cdist(a, a.detach(), p, mode), Tensor(a.detach().numpy().copy(), requires_grad=True))
            assert y[0, 0] == y[1, 1] == 0 and np.isfinite(g).all()
        y, g = gradients(lambda a, p=p: F.pairwise_distance(a, a.detach(), p, eps=0.0), Tensor(a.detach().numpy().copy(), requires_grad=True))
        assert not y.any() and not g.any()
    y, g = gradients(lambda a: F.normalize(a), Tensor(np.zeros((1, 2)), requires_grad=True))
    assert not y.any() and np.array_equal(g, np.full((1, 2), 1e12))


def test_nan_and_infinity():
    x = convkit.tensor([[np.nan, 1.0], [np.inf, 1.0], [3.0, 4.0]])
    y = F.normalize(x).numpy()
    assert np.isnan(y[0]).all() and np.isnan(y[1, 0]) and y[1, 1] == 0 and np.allclose(y[2], [0.6, 0.8])
    assert np.isnan(F.pairwise_distance(x, convkit.zeros(2)).numpy()[0]) and np.isnan(F.cosine_similarity(x, x).numpy()[0])


@pytest.mark.parametrize("shape", [(0, 3), (2, 0), (1, 1)])
def test_nothing_and_one(shape):
    assert gradients(lambda x: F.normalize(x), leaf(1, shape))[1].shape == shape
    assert gradients(lambda x, y: F.pairwise_distance(x, y), leaf(1, shape), leaf(2, shape))[0].shape == shape[:1]
    assert gradients(lambda x, y: F.cosine_similarity(x, y), leaf(1, shape), leaf(2, shape))[0].shape == shape[:1]
    assert gradients(lambda x, y: convkit.cdist(x, y), leaf(1, shape), leaf(2, (4, shape[1])))[0].shape == (shape[0], 4)


def test_numbers_and_counts():
    assert F.normalize(convkit.tensor(-3.0), dim=0).item() == -1 and F.cosine_similarity(convkit.tensor(-3.0), convkit.tensor(2.0), 0).item() == -1
    y, g = gradients(
        lambda x: F.pairwise_distance(x, convkit.zeros(3, dtype=np.float64), 0, 0.0), Tensor(np.array([[0, 2.0, 3.0]]), requires_grad=True)
    )
    assert y.tolist() == [2] and not g.any()


def test_errors():
    x = convkit.ones(2, 3)
    for error, match, call in [
        (IndexError, "normalize: dim 1 is out of range", lambda: F.normalize(convkit.ones(3))),
        (ValueError, "normalize: out is not supported", lambda: F.normalize(x, out=x)),
        (TypeError, "normalize: needs float32 or float64, got int64", lambda: F.normalize(x.long())),
        (ValueError, r"cosine_similarity: shapes \[2, 3\] and \[4\] do not broadcast", lambda: F.cosine_similarity(x, convkit.ones(4))),
        (IndexError, "cosine_similarity: dim 2 is out of range", lambda: F.cosine_similarity(x, x, dim=2)),
        (TypeError, "pairwise_distance: needs float32 or float64, got int64", lambda: F.pairwise_distance(x, x.long())),
        (ValueError, "pairwise_distance: needs vectors", lambda: F.pairwise_distance(x.sum(), x.sum())),
        (ValueError, "cdist: rows must be of one length, got 3 and 4", lambda: convkit.cdist(x, convkit.ones(2, 4))),
        (ValueError, "cdist: compute_mode must be one of", lambda: convkit.cdist(x, x, compute_mode="fast")),
        (ValueError, "cdist: p must not be negative, got -1", lambda: convkit.cdist(x, x, -1)),
        (ValueError, r"cdist: inputs must be \[..., rows, D\], got shape \[3\]", lambda: convkit.cdist(x[0], x)),
    ]:
        with pytest.raises(error, match=f"^{match}"):
            call()
