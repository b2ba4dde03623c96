"""Losses that compare numbers: values in NumPy, first and second derivatives, errors in words."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import convkit
from convkit import Tensor
from convkit.nn import functional as F
from tests.backend import settings
from tests.helpers import LAYOUTS, dtypes, layouts, numbers, tolerance
from tests.ops import both_layouts, check_gradients, gradients, leaf, second_order_runs, seeds

reductions = st.sampled_from(["mean", "sum", "none"])
shapes = st.lists(st.integers(1, 3), max_size=3).map(tuple).filter(lambda s: np.prod(s) <= 9)


def softplus(x):
    return np.logaddexp(0, x)


def log(x):
    return np.maximum(np.log(np.maximum(x, 1e-300)), -100)


def clipped(away, width):
    """The square below `width`, its tangent above."""
    return np.where(np.abs(away) < width, away**2 / 2, width * (np.abs(away) - width / 2))


# name: (arguments but for the reduction, the formula in NumPy, what its numbers are)
LOSSES = {
    "mse_loss": [({}, lambda x, t: (x - t) ** 2, "any")],
    "l1_loss": [({}, lambda x, t: np.abs(x - t), "any")],
    "smooth_l1_loss": [({}, lambda x, t: clipped(x - t, 1.0), "any"), ({"beta": 0.5}, lambda x, t: clipped(x - t, 0.5) / 0.5, "any"),
                       ({"beta": 0.0}, lambda x, t: np.abs(x - t), "any")],
    "huber_loss": [({}, lambda x, t: clipped(x - t, 1.0), "any"), ({"delta": 0.5}, lambda x, t: clipped(x - t, 0.5), "any")],
    "binary_cross_entropy": [({}, lambda x, t: -t * log(x) - (1 - t) * log(1 - x), "probabilities")],
    "binary_cross_entropy_with_logits": [({}, lambda x, t: t * softplus(-x) + (1 - t) * softplus(x), "any")],
    "kl_div": [({}, lambda x, t: t * (np.log(t) - x), "probabilities"), ({"log_target": True}, lambda x, t: np.exp(t) * (t - x), "any")],
    "soft_margin_loss": [({}, lambda x, t: softplus(-t * x), "any")],
    "poisson_nll_loss": [({}, lambda x, t: np.exp(x) - t * x, "any"),
                         ({"log_input": False, "eps": 0.1}, lambda x, t: x - t * np.log(x + 0.1), "probabilities"),
                         ({"full": True}, lambda x, t: np.exp(x) - t * x, "probabilities")],  # no count above 1: no term of Stirling's
}  # fmt: skip
CASES = [(name, options, formula, kind) for name, rows in LOSSES.items() for options, formula, kind in rows]
expected = {"none": lambda v: v, "sum": np.sum, "mean": np.mean}


def operands(seed, shape, kind, dtype=np.float64):
    if kind == "probabilities":
        rng = np.random.default_rng(seed)
        return rng.uniform(0.1, 0.9, shape).astype(dtype), rng.uniform(0.1, 0.9, shape).astype(dtype)
    return numbers(seed, shape, dtype), numbers(seed + 1, shape, dtype)


@settings(max_examples=100)
@given(case=st.sampled_from(CASES), shape=shapes, reduction=reductions, dtype=dtypes, layout=layouts, seed=seeds)
def test_values(case, shape, reduction, dtype, layout, seed):
    name, options, formula, kind = case
    x, t = operands(seed, shape, kind, dtype)
    y = getattr(F, name)(*(convkit.from_numpy(LAYOUTS[layout](a)) for a in (x, t)), reduction=reduction, **options)
    wanted = expected[reduction](formula(x.astype(np.float64), t.astype(np.float64)))
    assert y.dtype == dtype
    np.testing.assert_allclose(y.numpy(), wanted, rtol=tolerance(dtype, 1e-5, 1e-12), atol=tolerance(dtype, 1e-5, 1e-12))


@settings(max_examples=100)
@given(case=st.sampled_from(CASES), shape=shapes, reduction=reductions, layout=both_layouts, seed=seeds)
def test_gradients_of_both_operands(case, shape, reduction, layout, seed):
    name, options, _, kind = case
    x, t = (Tensor(LAYOUTS[layout](a), requires_grad=True) for a in operands(seed, shape, kind))
    away = np.abs(np.abs(x.detach().numpy() - t.detach().numpy())[..., None] - [0, 0.5, 1])
    if kind == "any" and name != "mse_loss" and away.min() < 1e-4:
        return  # a kink
    check_gradients(lambda x, t: getattr(F, name)(x, t, reduction=reduction, **options), x, t)


@settings(max_examples=15)
@given(shape=st.lists(st.integers(1, 2), min_size=1, max_size=3).map(tuple), reduction=reductions, seed=seeds)
def test_weights(shape, reduction, seed):
    x, t = leaf(seed, shape), leaf(seed + 1, shape)
    p, q = (Tensor(a, requires_grad=True) for a in operands(seed, shape, "probabilities"))
    w = np.random.default_rng(seed).uniform(0.5, 2, shape)
    weight, last = Tensor(w, requires_grad=True), Tensor(w[(0,) * (len(shape) - 1)], requires_grad=True)
    means = {"mse_loss": w.sum(), "l1_loss": w.sum(), "huber_loss": w.size}
    for name, divisor in means.items():
        values = LOSSES[name][0][1](x.detach().numpy(), t.detach().numpy()) * w
        got = getattr(F, name)(x, t, weight=weight, reduction=reduction).detach().numpy()
        np.testing.assert_allclose(got, values.sum() / divisor if reduction == "mean" else expected[reduction](values), rtol=1e-11)
    check_gradients(lambda x, t, w: F.mse_loss(x, t, weight=w, reduction=reduction), x, t, weight)
    values = LOSSES["binary_cross_entropy"][0][1](p.detach().numpy(), q.detach().numpy()) * last.detach().numpy()
    np.testing.assert_allclose(F.binary_cross_entropy(p, q, last, reduction=reduction).detach().numpy(), expected[reduction](values), rtol=1e-11)
    a = x.detach().numpy()
    values = w * (last.detach().numpy() * q.detach().numpy() * softplus(-a) + (1 - q.detach().numpy()) * softplus(a))
    f = lambda x, q, w, v: F.binary_cross_entropy_with_logits(x, q, w, reduction=reduction, pos_weight=v)
    np.testing.assert_allclose(f(x, q, weight, last).detach().numpy(), expected[reduction](values), rtol=1e-11)
    check_gradients(f, x, q, weight, last)


def test_stirlings_term():
    x, t = convkit.tensor(np.zeros(3)), np.array([1.0, 3.0, 10.0])
    extra = np.where(t > 1, t * np.log(t) - t + np.log(2 * np.pi * t) / 2, 0)
    np.testing.assert_allclose(F.poisson_nll_loss(x, convkit.tensor(t), full=True, reduction="none").numpy(), 1 + extra, rtol=1e-12)


@settings(max_examples=20)
@given(shape=st.lists(st.integers(1, 3), min_size=1, max_size=3).map(tuple), form=st.sampled_from(["full", "short", "one", "number"]),
       full=st.booleans(), reduction=reductions, seed=seeds)  # fmt: skip
def test_gaussian(shape, form, full, reduction, seed):
    x, t = leaf(seed, shape), leaf(seed + 1, shape)
    v = np.random.default_rng(seed).uniform(0.5, 2, shape)
    v = {"full": v, "short": v[..., 0], "one": v[..., :1], "number": np.array(0.7)}[form]
    wide = v[..., None] if form == "short" else v
    values = (np.log(wide) + (x.detach().numpy() - t.detach().numpy()) ** 2 / wide + (np.log(2 * np.pi) if full else 0)) / 2
    f = lambda x, t, v: F.gaussian_nll_loss(x, t, v, full, reduction=reduction)
    if form == "number":
        np.testing.assert_allclose(f(x, t, 0.7).detach().numpy(), expected[reduction](values), rtol=1e-11)
        return
    v = Tensor(v, requires_grad=True)
    np.testing.assert_allclose(f(x, t, v).detach().numpy(), expected[reduction](values), rtol=1e-11)
    check_gradients(f, x, t, v)


# ------------------------------------------------------------------------------------------ by margins
@settings(max_examples=12)
@given(rows=st.integers(1, 2), width=st.integers(1, 3), margin=st.sampled_from([0.0, 0.5]), reduction=reductions, seed=seeds)
def test_margins(rows, width, margin, reduction, seed):
    a, b, c = (leaf(seed + i, (rows, width)) for i in range(3))
    signs = np.where(np.random.default_rng(seed).random((rows, width)) < 0.5, -1.0, 1.0)
    t, one = convkit.tensor(signs), convkit.tensor(signs[:, 0])
    x, y, z = a.detach().numpy(), b.detach().numpy(), c.detach().numpy()
    cosine = (x * y).sum(1) / np.sqrt(((x**2).sum(1) + 1e-12) * ((y**2).sum(1) + 1e-12))
    near, far, other = (np.sqrt(((u - v + 1e-6) ** 2).sum(1)) for u, v in ((x, y), (x, z), (y, z)))
    for f, inputs, arguments in [
        (lambda a: F.hinge_embedding_loss(a, t, margin, reduction=reduction), (a,), np.where(signs == 1, x, margin - x)),
        (lambda a, b: F.margin_ranking_loss(a, b, t, margin, reduction=reduction), (a, b), -signs * (x - y) + margin),
        (lambda a, b: F.cosine_embedding_loss(a, b, one, margin, reduction=reduction), (a, b),
         np.where(signs[:, 0] == 1, 1 - cosine, cosine - margin)),
        (lambda a, b, c: F.triplet_margin_loss(a, b, c, 1 + margin, reduction=reduction), (a, b, c), near - far + 1 + margin),
        (lambda a, b, c: F.triplet_margin_loss(a, b, c, 1.0, swap=True, reduction=reduction), (a, b, c), near - np.minimum(far, other) + 1),
    ]:  # fmt: skip
        values = np.where(signs == 1, x, np.maximum(arguments, 0)) if len(inputs) == 1 else np.maximum(arguments, 0)
        np.testing.assert_allclose(f(*inputs).detach().numpy(), expected[reduction](values), rtol=1e-9, atol=1e-12)
        if np.abs(arguments).min() > 1e-4 and (width > 1 or len(inputs) != 2) and np.abs(far - other).min() > 1e-4:
            check_gradients(f, *inputs)


def test_a_distance_of_ones_own():
    a, b, c = (leaf(i, (3, 2)) for i in range(3))
    distance = lambda u, v: (u - v).abs().sum(-1)
    y = F.triplet_margin_with_distance_loss(a, b, c, distance_function=distance, margin=2.0, reduction="none")
    near, far = np.abs(a.detach().numpy() - b.detach().numpy()).sum(1), np.abs(a.detach().numpy() - c.detach().numpy()).sum(1)
    np.testing.assert_allclose(y.detach().numpy(), np.maximum(near - far + 2, 0))


# ---------------------------------------------------------------------------------------- at the edges
TWO = ["mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss", "binary_cross_entropy", "binary_cross_entropy_with_logits", "kl_div",
       "soft_margin_loss", "poisson_nll_loss", "hinge_embedding_loss"]  # fmt: skip


@pytest.mark.parametrize("name", TWO)
@pytest.mark.parametrize("shape", [(0, 3), (2, 0), (1, 1), ()])
def test_nothing_and_one(name, shape):
    f = getattr(F, name)
    t = convkit.tensor(np.full(shape, 0.5))
    make = lambda: Tensor(np.full(shape, 0.25), requires_grad=True)
    for reduction in ("none", "sum"):
        assert gradients(lambda x, r=reduction: f(x, t, reduction=r), make())[1].shape == shape
        second_order_runs(lambda x, r=reduction: f(x, t, reduction=r), make())
    assert np.isnan(f(make(), t).item()) == (0 in shape)  # torch's mean over nothing


@pytest.mark.parametrize("name", [n for n in TWO if n != "binary_cross_entropy"])
def test_nan_and_infinity(name):
    x = Tensor(np.array([np.nan, np.inf, -np.inf, 0.5], np.float32), requires_grad=True)
    t = convkit.tensor([1.0, 1.0, 1.0, 1.0])
    y = getattr(F, name)(x, t, reduction="none")
    assert np.isnan(y.detach().numpy()[0]) and np.isfinite(y.detach().numpy()[3])
    assert np.isinf(y.detach().numpy()[1:3]).any() or name == "binary_cross_entropy_with_logits"
    y.backward(convkit.ones(4))
    assert np.isnan(x.grad.numpy()[0]) or name in ("kl_div", "hinge_embedding_loss")
    assert np.isfinite(x.grad.numpy()[3])


def test_large_scores_overflow_nowhere():
    x, t = convkit.tensor([1000.0, -1000.0, 1000.0, -1000.0]), convkit.tensor([0.0, 1.0, 1.0, 0.0])
    for pos in (None, convkit.tensor([2.0])):
        y = F.binary_cross_entropy_with_logits(x, t, reduction="none", pos_weight=pos)
        assert y.tolist() == [1000, 1000 if pos is None else 2000, 0, 0]
    assert F.soft_margin_loss(x, t * 2 - 1, reduction="none").tolist() == [1000, 1000, 0, 0]


def test_broadcast_gradients_are_not_written_out_and_right():
    for f in (F.mse_loss, F.l1_loss):
        (_, gm, _), (_, gs, _) = (gradients(lambda x, t, f=f, r=r: f(x, t, reduction=r), leaf(1, (5000,)), leaf(2, (5000,))) for r in ("mean", "sum"))
        np.testing.assert_allclose(gm * 5000, gs, rtol=1e-12)


def test_other_dtypes_are_promoted():
    x = convkit.ones(2)
    assert F.mse_loss(x, convkit.tensor([0, 1])).dtype == np.float32
    assert F.mse_loss(x, convkit.zeros(2, dtype=np.float64)).dtype == np.float64
    t = convkit.zeros(2, dtype=np.float64, requires_grad=True)
    assert gradients(lambda x, t: F.l1_loss(x, t), convkit.ones(2, requires_grad=True), t)[1].dtype == np.float32


@pytest.mark.parametrize("name", [*TWO, "cosine_embedding_loss", "margin_ranking_loss", "triplet_margin_loss"])
def test_errors_that_all_share(name):
    f = getattr(F, name)
    x = convkit.full((2, 3), 0.5)
    rest = {"cosine_embedding_loss": (x, convkit.ones(2)), "margin_ranking_loss": (x, x), "triplet_margin_loss": (x, x)}.get(name, (x,))
    with pytest.raises(ValueError, match=f"^{name}: reduction must be 'none', 'mean' or 'sum', got 'max'"):
        f(x, *rest, reduction="max")
    if name != "huber_loss":
        for old in ("size_average", "reduce"):
            with pytest.raises(ValueError, match=f"^{name}: size_average and reduce are torch's switches from before `reduction`; use"):
                f(x, *rest, **{old: True})
    with pytest.raises(TypeError, match=f"^{name}: needs float32 or float64, got int64"):
        f(x.long(), *rest)
    with pytest.raises(TypeError, match=f"^{name}: .*float|^{name}: .*tensor"):
        f(x, *rest[:-1], 3.0)
    with pytest.raises(ValueError, match=f"^{name}: "):
        f(x, *rest[:-1], convkit.ones(5, 3))


def test_errors():
    x = convkit.ones(2, 3)
    for error, match, call in [
        (ValueError, r"mse_loss: input \[2, 3\] and target \[2\] must have one shape; reshape or expand", lambda: F.mse_loss(x, convkit.ones(2))),
        (ValueError, r"mse_loss: weight \[3\] must have the input's shape \[2, 3\]", lambda: F.mse_loss(x, x, weight=convkit.ones(3))),
        (ValueError, "smooth_l1_loss: beta must not be negative, got -1", lambda: F.smooth_l1_loss(x, x, beta=-1)),
        (ValueError, "huber_loss: delta must be positive, got 0", lambda: F.huber_loss(x, x, delta=0)),
        (ValueError, "binary_cross_entropy: all elements of input must be between 0 and 1, got 2 to 2", lambda: F.binary_cross_entropy(x * 2, x)),
        (ValueError, "binary_cross_entropy: all elements of target must be between 0 and 1", lambda: F.binary_cross_entropy(x, x * np.nan)),
        (TypeError, "binary_cross_entropy: target must be a tensor of the input's dtype float32, got float64",
         lambda: F.binary_cross_entropy(x, x.double())),
        (ValueError, r"binary_cross_entropy: weight \[2\] does not broadcast to the input's shape \[2, 3\]",
         lambda: F.binary_cross_entropy(x, x, convkit.ones(2))),
        (ValueError, r"binary_cross_entropy_with_logits: pos_weight \[2\] does not broadcast",
         lambda: F.binary_cross_entropy_with_logits(x, x, pos_weight=convkit.ones(2))),
        (ValueError, "gaussian_nll_loss: var must not be negative, got -1", lambda: F.gaussian_nll_loss(x, x, -x)),
        (ValueError, r"gaussian_nll_loss: var \[3\] must have the input's shape \[2, 3\], up to one",
         lambda: F.gaussian_nll_loss(x, x, convkit.ones(3))),
        (ValueError, r"margin_ranking_loss: input1 \[2, 3\], input2 \[2, 3\] and target \[3\] must have as many dimensions",
         lambda: F.margin_ranking_loss(x, x, convkit.ones(3))),
        (ValueError, r"cosine_embedding_loss: needs inputs \[N, D\] and target \[N\]", lambda: F.cosine_embedding_loss(x, x, x)),
        (ValueError, "triplet_margin_loss: margin must be greater than 0, got 0", lambda: F.triplet_margin_loss(x, x, x, margin=0)),
        (ValueError, "triplet_margin_loss: anchor, positive and negative must have as many dimensions, got 2, 2 and 1",
         lambda: F.triplet_margin_loss(x, x, convkit.ones(3))),
    ]:  # fmt: skip
        with pytest.raises(error, match=f"^{match}"):
            call()


def test_batchmean_without_dimensions_is_the_value():
    x, t = convkit.tensor(-1.0), convkit.tensor(0.5)
    assert F.kl_div(x, t, reduction="batchmean").item() == F.kl_div(x, t, reduction="none").item() == pytest.approx(0.5 * np.log(0.5) + 0.5)
