import numpy as np
import pytest
import scipy.special
from hypothesis import given
from hypothesis import strategies as st

import convkit
from convkit import Tensor
from convkit.nn import functional as F
from tests.backend import SIMULATED, settings
from tests.helpers import LAYOUTS, dtypes, layouts, numbers, tolerance
from tests.ops import both_layouts, check_gradients, gradients, leaf, second_order_runs, seeds


@st.composite
def cases(draw, most=4):
    """(shape [N, C, *S], targets with some of ignore_index, arguments but for the reduction)."""
    shape = draw(st.tuples(st.integers(1, most), st.integers(1, most))) + tuple(draw(st.lists(st.integers(1, 2), max_size=2)))
    rng = np.random.default_rng(draw(seeds))
    ignore = draw(st.sampled_from([-100, 0, shape[1]]))
    target = rng.integers(0, shape[1], (shape[0], *shape[2:]))
    target = np.where(rng.random(target.shape) < draw(st.sampled_from([0, 0.5])), ignore, target)
    weight = rng.random(shape[1]) + 0.5 if draw(st.booleans()) else None
    return shape, target.astype(draw(st.sampled_from([np.int64, np.int32]))), weight, ignore


def expected_loss(logs, target, weight, ignore, smoothing, reduction):
    """By one-hot targets in float64."""
    classes = logs.shape[1]
    weight = np.ones(classes) if weight is None else weight
    counted = target != ignore
    hot = np.moveaxis(np.eye(classes)[np.where(counted, target, 0)], -1, 1)
    q = ((1 - smoothing) * hot + smoothing / classes) * weight.reshape(-1, *(1,) * (logs.ndim - 2))
    losses = -(q * logs).sum(1) * counted
    if reduction == "none":
        return losses
    share = (weight[np.where(counted, target, 0)] * counted).sum()
    return losses.sum() if reduction == "sum" else losses.sum() / share if share else np.nan


reductions = st.sampled_from(["mean", "sum", "none"])


@settings(max_examples=40)
@given(case=cases(), smoothing=st.sampled_from([0.0, 0.1, 1.0]), reduction=reductions, dtype=dtypes, layout=layouts, seed=seeds)
def test_cross_entropy_and_nll(case, smoothing, reduction, dtype, layout, seed):
    shape, target, weight, ignore = case
    x = numbers(seed, shape, dtype, scale=3)
    w = None if weight is None else convkit.tensor(weight, dtype=dtype)
    logs = scipy.special.log_softmax(x.astype(np.float64), axis=1)
    given_x, given_t = convkit.from_numpy(LAYOUTS[layout](x)), convkit.from_numpy(LAYOUTS[layout](target))
    close = {"rtol": tolerance(dtype, 1e-5, 1e-12), "atol": tolerance(dtype, 1e-5, 1e-12)}
    y = F.cross_entropy(given_x, given_t, w, ignore_index=ignore, reduction=reduction, label_smoothing=smoothing)
    assert y.dtype == dtype
    np.testing.assert_allclose(y.numpy(), expected_loss(logs, target, weight, ignore, smoothing, reduction), **close)
    y = F.nll_loss(given_x, given_t, w, ignore_index=ignore, reduction=reduction)
    np.testing.assert_allclose(y.numpy(), expected_loss(x.astype(np.float64), target, weight, ignore, 0.0, reduction), **close)


@settings(max_examples=30)
@given(case=cases(most=3), smoothing=st.sampled_from([0.0, 0.3]), reduction=reductions, layout=both_layouts, seed=seeds)
def test_gradients(case, smoothing, reduction, layout, seed):
    shape, target, weight, ignore = case
    if reduction == "mean" and (target == ignore).all():
        target = np.where(target == ignore, (ignore == 0) if shape[1] > 1 else 0, target)
        ignore = -100
    w, t = (None if a is None else convkit.tensor(a) for a in (weight, target))
    check_gradients(
        lambda x: F.cross_entropy(x, t, w, ignore_index=ignore, reduction=reduction, label_smoothing=smoothing), leaf(seed, shape, layout)
    )
    check_gradients(lambda x: F.nll_loss(x, t, w, ignore_index=ignore, reduction=reduction), leaf(seed, shape, layout))


def test_one_example_without_a_batch_dimension():
    x = convkit.tensor([1.0, 2.0, 3.0])
    one = F.cross_entropy(x.unsqueeze(0), convkit.tensor([2]))
    for reduction in ("mean", "sum", "none"):
        y = F.cross_entropy(x, convkit.tensor(2), reduction=reduction)
        assert y.shape == () and y.item() == one.item()


def test_first_and_second_walk_agree():
    """The fused gradient and the one in tensor operations."""
    x, t = leaf(1, (4, 3, 2)), convkit.tensor(np.array([[0, 1], [2, -100], [1, 1], [0, 2]]))
    loss = lambda: F.cross_entropy(x, t, convkit.tensor([1.0, 2.0, 0.5]), label_smoothing=0.2)
    (fused,), (recorded,) = (convkit.autograd.grad(loss(), x, create_graph=c) for c in (False, True))
    np.testing.assert_allclose(fused.numpy(), recorded.detach().numpy(), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("shape", [(0, 3), (0, 3, 2), (2, 3, 0), (1, 1)])
def test_nothing_and_one(shape):
    t = convkit.zeros((shape[0], *shape[2:]), dtype=np.int64)
    for f in (F.cross_entropy, F.nll_loss):
        for reduction in ("none", "sum"):
            assert gradients(lambda x, f=f, r=reduction: f(x, t, reduction=r), leaf(1, shape))[1].shape == shape
            second_order_runs(lambda x, f=f, r=reduction: f(x, t, reduction=r), leaf(1, shape))
        mean = f(leaf(1, shape), t).item()
        assert np.isnan(mean) == (t.numel() == 0)  # torch's mean over nothing


def test_all_targets_ignored():
    x, t = leaf(1, (2, 3)), convkit.tensor([-100, -100])
    for f in (F.cross_entropy, F.nll_loss):
        assert np.isnan(f(x, t).item()) and f(x, t, reduction="sum").item() == 0


def test_nan_and_infinity():
    x, t = np.zeros((3, 3), np.float32), convkit.tensor([0, 1, 2])
    x[0, 1], x[1, 2], x[2, 2] = np.nan, -np.inf, -np.inf
    y = F.cross_entropy(convkit.from_numpy(x), t, reduction="none").numpy()
    assert np.isnan(y[0]) and y[1] == np.float32(np.log(2)) and np.isposinf(y[2])
    x[0, 1] = np.inf
    assert np.isnan(F.cross_entropy(convkit.from_numpy(x), t, reduction="none").numpy()[0])
    far = Tensor(np.array([[1e4, -1e4]], np.float32), requires_grad=True)
    y, gx = gradients(lambda x: F.cross_entropy(x, convkit.tensor([1])), far)
    assert y == 2e4 and gx.tolist() == [[1, -1]]


@pytest.mark.parametrize("name, f", [("cross_entropy", F.cross_entropy), ("nll_loss", F.nll_loss)])
def test_errors(name, f):
    x, t = convkit.ones(2, 3), convkit.tensor([0, 1])
    for error, match, call in [
        (IndexError, r"targets must be classes 0 to 2 \(or ignore_index -100\), got 3", lambda: f(x, convkit.tensor([0, 3]))),
        (IndexError, r"targets must be classes 0 to 2 \(or ignore_index 5\), got -1", lambda: f(x, convkit.tensor([5, -1]), ignore_index=5)),
        (TypeError, "class targets must be integers, got float32", lambda: f(x, convkit.ones(2))),
        (TypeError, "needs float32 or float64, got int64", lambda: f(x.long(), t)),
        (ValueError, r"input \[2, 3\] needs targets of shape \[2\], got \[3\]", lambda: f(x, convkit.tensor([0, 1, 2]))),
        (ValueError, r"input \[2, 3, 4\] needs targets of shape \[2, 4\], got \[2\]", lambda: f(convkit.ones(2, 3, 4), t)),
        (ValueError, r"weight must have shape \[3\], one number a class, got \[2\]", lambda: f(x, t, convkit.ones(2))),
        (ValueError, "reduction must be 'none', 'mean' or 'sum', got 'avg'", lambda: f(x, t, reduction="avg")),
        (ValueError, "reduction must be 'none', 'mean' or 'sum', got 'avg'", lambda: f(x, t, convkit.ones(3), reduction="avg")),
    ]:
        with pytest.raises(error, match=f"^{name}: {match}"):
            call()


def test_errors_of_one_loss():
    x, t = convkit.ones(2, 3), convkit.tensor([0, 1])
    for smoothing in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match=f"^cross_entropy: label_smoothing must be 0 to 1, got {smoothing}"):
            F.cross_entropy(x, t, label_smoothing=smoothing)
    with pytest.raises(ValueError, match=r"^cross_entropy: input must be \[N, C, ...\] or \[C\], got shape \[\]"):
        F.cross_entropy(convkit.tensor(1.0), convkit.tensor(0))
    with pytest.raises(ValueError, match="^cross_entropy: ignore_index is a class number and does not apply to probabilities, got 1"):
        F.cross_entropy(x, x, ignore_index=1)
    with pytest.raises(ValueError, match=r"^nll_loss: input \[3\] needs a target of shape \[\], got \[1\]"):
        F.nll_loss(convkit.ones(3), convkit.tensor([1]))
    with pytest.raises(TypeError, match="^cross_entropy: needs tensors, got list"):
        F.cross_entropy(x, [0, 1])
    with pytest.raises(ValueError, match="^nll_loss: size_average and reduce are torch's switches from before `reduction`"):
        F.nll_loss(x, t, reduce=False)
    with pytest.raises(ValueError, match="^multilabel_soft_margin_loss: needs scores"):
        F.multilabel_soft_margin_loss(convkit.tensor(1.0), convkit.tensor(1.0))
    with pytest.raises(ValueError, match="^dice_loss: smooth must not be negative, got -1"):
        F.dice_loss(x, x, smooth=-1)
    with pytest.raises(ValueError, match=r"^dice_loss: input must be \[N, C, ...\], got shape \[3\]"):
        F.dice_loss(convkit.ones(3), convkit.ones(3))
    with pytest.raises(IndexError, match="^dice_loss: targets must be classes 0 to 2"):
        F.dice_loss(x, convkit.tensor([0, 3]))
    with pytest.raises(ValueError, match="^focal_loss: gamma must not be negative, got -1"):
        F.focal_loss(x, x, gamma=-1)
    with pytest.raises(ValueError, match="^focal_loss: alpha must be 0 to 1, got 2"):
        F.focal_loss(x, x, alpha=2)
    with pytest.raises(TypeError, match=r"^focal_loss: with class numbers alpha must be a tensor \[C\] or None, got 0.25"):
        F.focal_loss(x, t, alpha=0.25)


# ------------------------------------------------------------- probabilities as targets, and our own losses
few = st.lists(st.integers(1, 3), min_size=1, max_size=4).map(tuple).filter(lambda shape: np.prod(shape) <= (8 if SIMULATED else 81))


@settings(max_examples=30)
@given(shape=few, weighted=st.booleans(), smoothing=st.sampled_from([0.0, 0.3]),
       reduction=reductions, layout=both_layouts, seed=seeds)  # fmt: skip
def test_probabilities_as_targets(shape, weighted, smoothing, reduction, layout, seed):
    axis = 1 if len(shape) > 1 else 0
    x, t = leaf(seed, shape, layout), Tensor(np.random.default_rng(seed).random(shape), requires_grad=True)
    weight = np.random.default_rng(seed).random(shape[axis]) if weighted else None
    w = None if weight is None else convkit.tensor(weight)
    q = (1 - smoothing) * t.detach().numpy() + smoothing / shape[axis]
    q = q if weight is None else q * weight.reshape(-1, *(1,) * (len(shape) - axis - 1))
    losses = -(q * scipy.special.log_softmax(x.detach().numpy(), axis)).sum(axis)
    f = lambda x, t: F.cross_entropy(x, t, w, reduction=reduction, label_smoothing=smoothing)
    np.testing.assert_allclose(f(x, t).detach().numpy(), {"none": losses, "sum": losses.sum(), "mean": losses.mean()}[reduction], rtol=1e-10)
    check_gradients(f, x, t)


@settings(max_examples=15)
@given(shape=st.lists(st.integers(1, 3), min_size=1, max_size=3).map(tuple), weighted=st.booleans(), reduction=reductions, seed=seeds)
def test_multilabel_soft_margin(shape, weighted, reduction, seed):
    x, t = leaf(seed, shape), Tensor(np.random.default_rng(seed).integers(0, 2, shape).astype(np.float64))
    weight = np.random.default_rng(seed).random(shape[-1]) if weighted else np.ones(shape[-1])
    a = x.detach().numpy()
    losses = (-weight * np.where(t.detach().numpy() == 1, np.log(scipy.special.expit(a)), np.log(scipy.special.expit(-a)))).mean(-1)
    f = lambda x: F.multilabel_soft_margin_loss(x, t, convkit.tensor(weight) if weighted else None, reduction=reduction)
    np.testing.assert_allclose(f(x).detach().numpy(), {"none": losses, "sum": losses.sum(), "mean": losses.mean()}[reduction], rtol=1e-10)
    check_gradients(f, x)


@settings(max_examples=20)
@given(shape=st.lists(st.integers(1, 3), min_size=2, max_size=4).map(tuple), smooth=st.sampled_from([0.5, 1.0]), reduction=reductions,
       numbered=st.booleans(), layout=both_layouts, seed=seeds)  # fmt: skip
def test_dice(shape, smooth, reduction, numbered, layout, seed):
    rng = np.random.default_rng(seed)
    p = Tensor(LAYOUTS[layout](rng.random(shape)), requires_grad=True)
    classes = rng.integers(0, shape[1], (shape[0], *shape[2:]))
    g = np.moveaxis(np.eye(shape[1])[classes], -1, 1) if numbered else rng.random(shape)
    f = lambda p: F.dice_loss(p, convkit.tensor(classes if numbered else g), smooth, reduction)
    flat_p, flat_g = p.detach().numpy().reshape(*shape[:2], -1), g.reshape(*shape[:2], -1)
    losses = 1 - (2 * (flat_p * flat_g).sum(-1) + smooth) / ((flat_p**2).sum(-1) + (flat_g**2).sum(-1) + smooth)
    np.testing.assert_allclose(f(p).detach().numpy(), {"none": losses, "sum": losses.sum(), "mean": losses.mean()}[reduction], rtol=1e-10)
    check_gradients(f, p)


@settings(max_examples=30)
@given(shape=st.lists(st.integers(1, 3), min_size=2, max_size=3).map(tuple), gamma=st.sampled_from([0.0, 0.5, 1.0, 2.0, 3.0]),
       weighted=st.booleans(), numbered=st.booleans(), reduction=reductions, seed=seeds)  # fmt: skip
def test_focal(shape, gamma, weighted, numbered, reduction, seed):
    rng = np.random.default_rng(seed)
    x = leaf(seed, shape)
    if numbered:
        shape = (shape[0], shape[1] + 1, *shape[2:])  # one class would be certain, where gamma < 1 has no derivative
        x = leaf(seed, shape)
        t = rng.integers(0, shape[1], (shape[0], *shape[2:]))
        alpha = rng.random(shape[1]) if weighted else None
        q = np.take_along_axis(scipy.special.softmax(x.detach().numpy(), 1), t[:, None], 1)[:, 0]
        a = 1 if alpha is None else alpha[t]
        alpha = None if alpha is None else convkit.tensor(alpha)
    else:
        t = rng.integers(0, 2, shape).astype(np.float64)
        alpha = 0.25 if weighted else None
        q = np.where(t == 1, scipy.special.expit(x.detach().numpy()), scipy.special.expit(-x.detach().numpy()))
        a = np.where(t == 1, 0.25, 0.75) if weighted else 1
    losses = -a * (1 - q) ** gamma * np.log(q)
    f = lambda x: F.focal_loss(x, convkit.tensor(t), alpha, gamma, reduction)
    np.testing.assert_allclose(f(x).detach().numpy(), {"none": losses, "sum": losses.sum(), "mean": losses.mean()}[reduction], rtol=1e-9)
    check_gradients(f, x)


@settings(max_examples=20)
@given(rows=st.integers(0, 3), classes=st.integers(1, 5), p=st.sampled_from([1, 2]), weighted=st.booleans(), layout=both_layouts, seed=seeds)
def test_margins_over_classes(rows, classes, p, weighted, layout, seed):
    rng = np.random.default_rng(seed)
    t, w = rng.integers(0, classes, rows), rng.random(classes) + 0.5 if weighted else None
    x = leaf(seed, (rows, classes), layout)
    a = x.detach().numpy()
    expected = [
        sum(max(0.0, 0.7 - a[n, t[n]] + a[n, c]) ** p for c in range(classes) if c != t[n]) / classes * (1 if w is None else w[t[n]])
        for n in range(rows)
    ]
    weight = None if w is None else Tensor(w)
    y = F.multi_margin_loss(x, Tensor(t), p, 0.7, weight, reduction="none")
    np.testing.assert_allclose(y.detach().numpy(), expected, rtol=1e-12)
    lists = np.array([[*rng.permutation(classes)[: rng.integers(0, classes + 1)], *[-1] * classes][:classes] for _ in range(rows)], np.int64)
    lists = lists.reshape(rows, classes)
    expected = []
    for n in range(rows):
        labels = [c for c in lists[n] if c >= 0]
        expected.append(sum(max(0.0, 1 - a[n, c] + a[n, o]) for c in labels for o in range(classes) if o not in labels) / classes)
    y = F.multilabel_margin_loss(x, Tensor(lists), reduction="none")
    np.testing.assert_allclose(y.detach().numpy(), expected, rtol=1e-12, atol=1e-15)
    if rows:
        check_gradients(lambda x: F.multi_margin_loss(x, Tensor(t), p, 0.7, weight), x)
        check_gradients(lambda x: F.multilabel_margin_loss(x, Tensor(lists)), x)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda x, t: F.multi_margin_loss(x, t, p=3), ValueError, "multi_margin_loss: p must be 1 or 2, got 3"),
        (lambda x, t: F.multi_margin_loss(x, t + 3), IndexError, "multi_margin_loss: targets must be classes 0 to 2"),
        (lambda x, t: F.multi_margin_loss(x, x), TypeError, "multi_margin_loss: class targets must be integers, got float32"),
        (lambda x, t: F.multi_margin_loss(x.unsqueeze(2), t), ValueError, r"multi_margin_loss: input must be \[N, C\] or \[C\]"),
        (lambda x, t: F.multilabel_margin_loss(x, t), ValueError, r"multilabel_margin_loss: input .* one shape, got \[2, 3\] and \[2\]"),
        (lambda x, t: F.multilabel_margin_loss(x, x), TypeError, "multilabel_margin_loss: class targets must be integers"),
        (lambda x, t: F.multilabel_margin_loss(x, x.long() + 2), IndexError, "multilabel_margin_loss: targets must be classes 0 to 2, or -1"),
    ],
)
def test_margins_refuse(call, error, words):
    with pytest.raises(error, match=words):
        call(convkit.ones(2, 3), convkit.tensor([0, 1]))


def test_what_is_ignored_is_not_read():
    x = Tensor(np.array([[np.nan, 1.0], [2.0, 3.0]]), requires_grad=True)
    y = F.nll_loss(x, convkit.tensor([-100, 1]))
    y.backward()
    assert y.item() == -3 and np.array_equal(x.grad.numpy(), [[0, 0], [0, -1]])
