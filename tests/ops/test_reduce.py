import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import convkit
from convkit import Tensor
from tests.backend import SIMULATED, settings
from tests.helpers import LAYOUTS, channels_last_copy, dtypes, layouts, numbers, same, tolerance
from tests.ops import apart, both_layouts, check_gradients, gradients, leaf, second_order_runs, seeds


@st.composite
def cases(draw, most=4, least=1):
    """(shape, dim or dims or None, keepdim)."""
    shape = tuple(draw(st.lists(st.integers(least, min(most, 2) if SIMULATED else most), max_size=3 if SIMULATED else 4)))
    ndim = len(shape)
    one = st.integers(-ndim, ndim - 1)
    several = st.lists(one, unique_by=lambda d: d % ndim, min_size=1, max_size=ndim).map(tuple)
    return shape, draw(st.one_of(st.none(), one, several)) if ndim else None, draw(st.booleans())


def count_of(shape, dim):
    """How many numbers there are to a result."""
    dims = range(len(shape)) if dim is None else (dim,) if isinstance(dim, int) else dim
    return int(np.prod([shape[d] for d in dims]))


@settings(max_examples=40)
@given(case=cases(), dtype=dtypes, layout=layouts, seed=seeds)
def test_values(case, dtype, layout, seed):
    shape, dim, keep = case
    x = numbers(seed, shape, dtype)
    t, wide = convkit.from_numpy(LAYOUTS[layout](x)), x.astype(np.float64)
    close = {"rtol": tolerance(dtype, 1e-5, 1e-12), "atol": tolerance(dtype, 2e-6, 1e-14)}
    for name in ("sum", "mean"):
        y = getattr(t, name)(dim, keep)
        assert y.dtype == dtype
        np.testing.assert_allclose(y.numpy(), getattr(wide, name)(dim, keepdims=keep), **close)
    if count_of(shape, dim) > 1:
        np.testing.assert_allclose(t.var(dim, keepdim=keep).numpy(), wide.var(dim, keepdims=keep, ddof=1), **close)
        np.testing.assert_allclose(t.std(dim, keepdim=keep).numpy(), wide.std(dim, keepdims=keep, ddof=1), **close)
        np.testing.assert_allclose(t.var(dim, 0, keep).numpy(), wide.var(dim, keepdims=keep), **close)
        np.testing.assert_array_equal(t.var(dim, keepdim=keep, unbiased=False).numpy(), t.var(dim, 0, keep).numpy())
    for name in ("amax", "amin"):
        assert same(getattr(t, name)(() if dim is None else dim, keep).numpy(), np.asarray(getattr(x, name[1:])(dim, keepdims=keep)))


@settings(max_examples=30)
@given(
    shape=st.lists(st.integers(1, 4), min_size=1, max_size=4).map(tuple), keep=st.booleans(), dtype=dtypes, layout=layouts, seed=seeds, data=st.data()
)  # fmt: skip
def test_extremes_and_where_they_are(shape, keep, dtype, layout, seed, data):
    dim = data.draw(st.integers(-len(shape), len(shape) - 1))
    x = np.round(numbers(seed, shape, dtype))  # ties
    t = convkit.from_numpy(LAYOUTS[layout](x))
    for name in ("max", "min"):
        values, index = getattr(t, name)(dim, keep)
        arg = getattr(np, "arg" + name)(x, dim, keepdims=keep)
        assert index.dtype == np.int64 and np.array_equal(index.numpy(), arg)
        assert np.array_equal(getattr(t, "arg" + name)(dim, keep).numpy(), arg)
        assert same(values.numpy(), np.asarray(getattr(x, name)(dim, keepdims=keep)))
        assert getattr(t, name)().item() == getattr(x, name)() and getattr(t, "arg" + name)().item() == getattr(x, "arg" + name)()


@settings(max_examples=2 if SIMULATED else 30)
@given(case=cases(most=3).filter(lambda c: np.prod(c[0]) <= 27), layout=both_layouts, seed=seeds)
def test_gradients(case, layout, seed):
    shape, dim, keep = case
    x = apart(seed, shape, layout)
    for name in ("sum", "mean"):
        check_gradients(lambda x, name=name: getattr(x, name)(dim, keep), x)
    for name in ("amax", "amin"):
        check_gradients(lambda x, name=name: getattr(x, name)(() if dim is None else dim, keep), x)
    if isinstance(dim, int):
        check_gradients(lambda x: x.max(dim, keep)[0] * 2 + x.min(dim, keep)[0], x)
    if count_of(shape, dim) > 1:
        check_gradients(lambda x: x.var(dim, keepdim=keep), x)
        check_gradients(lambda x: x.std(dim, 0, keep), x)


def test_who_gets_the_gradient_of_a_tie():
    x = Tensor(np.array([[1.0, 3.0, 3.0], [2.0, 2.0, 2.0]]), requires_grad=True)
    third = pytest.approx(1 / 3)
    for f, expected in [
        (lambda x: x.amax(1), [[0, 0.5, 0.5], [third, third, third]]), (lambda x: x.max(1)[0], [[0, 1, 0], [1, 0, 0]]),
        (lambda x: x.max(), [[0, 0.5, 0.5], [0, 0, 0]]), (lambda x: x.amin(1), [[1, 0, 0], [third, third, third]]),
    ]:  # fmt: skip
        x.grad = None
        assert gradients(f, x)[1].tolist() == expected


def test_the_result_can_be_changed_in_place():
    x = Tensor(np.array([1.0, 3.0, 2.0]), requires_grad=True)
    for name in ("amax", "amin", "sum"):
        y = getattr(x, name)(0)
        y.detach().zero_()
        x.grad = None
        y.backward()
        assert x.grad.numpy().sum() in (1, 3)


@pytest.mark.parametrize("shape", [(0,), (0, 3), (3, 0), (2, 0, 4), (1, 1, 1)])
def test_nothing_and_one(shape):
    for dim in (None, *range(len(shape)), tuple(range(len(shape)))):
        for keep in (False, True):
            y, gx = gradients(lambda x, dim=dim, keep=keep: x.sum(dim, keep), leaf(1, shape))
            assert same(y, np.sum(np.zeros(shape) if 0 in shape else leaf(1, shape).array, dim, keepdims=keep))
            assert (gx == 1).all()
            second_order_runs(lambda x, dim=dim, keep=keep: (x * x).sum(dim, keep), leaf(1, shape))
            y, _ = gradients(lambda x, dim=dim, keep=keep: x.mean(dim, keep), leaf(1, shape))
            assert np.isnan(y).all() if count_of(shape, dim) == 0 else np.isfinite(y).all()
            assert np.isnan(leaf(1, shape).var(dim, keepdim=keep).detach().numpy()).all()
            if count_of(shape, dim):
                second_order_runs(lambda x, dim=dim, keep=keep: x.amax(() if dim is None else dim, keep) ** 2, leaf(1, shape))


def test_extremes_of_no_rows():
    x = leaf(1, (0, 3))
    values, index = x.max(1)
    assert values.shape == index.shape == (0,) and x.argmin(1, True).shape == (0, 1) and x.amax(1).shape == (0,)
    second_order_runs(lambda x: x.max(1)[0], x)
    for call in (lambda: x.amax(), lambda: x.max(), lambda: x.max(0), lambda: x.argmax(), lambda: x.argmax(0), lambda: x.amax(0), lambda: x.min(0)):
        with pytest.raises(ValueError, match=r"^(a|arg)?(max|min): the extreme of nothing is undefined; the input has shape \[0, 3\]"):
            call()


def test_a_number_alone():
    x = Tensor(np.array(3.0), requires_grad=True)
    for f in (lambda x: x.sum(), lambda x: x.mean(), lambda x: x.sum(0), lambda x: x.amax(), lambda x: x.max()):
        x.grad = None
        y, gx = gradients(f, x)
        assert y == 3 and gx == 1 and y.shape == ()
    assert x.argmax().item() == 0 and x.argmax(0).item() == 0


def test_a_whole_of_integers_stays_a_tensor_to_compute_with():
    i = convkit.tensor([[1, 2], [3, 4]])
    assert i.sum().array.shape == () and isinstance(i.sum().array, np.ndarray) and i.sum().dtype == np.int64
    assert i.sum(0).tolist() == [4, 6] and (i > 2).sum().item() == 2 and i.max(1)[0].tolist() == [2, 4] and i.amin().item() == 1
    assert (i > 2).sum(1, True).tolist() == [[0], [2]]


def test_nan_and_infinity():
    x = convkit.tensor([[1.0, np.nan, 3.0], [np.inf, -np.inf, 0.0], [1.0, np.inf, 2.0]])
    np.testing.assert_array_equal(x.sum(1).numpy(), [np.nan, np.nan, np.inf])
    np.testing.assert_array_equal(x.mean(1).numpy(), [np.nan, np.nan, np.inf])
    for name, expected in (("max", [np.nan, np.inf, np.inf]), ("min", [np.nan, -np.inf, 1])):
        np.testing.assert_array_equal(getattr(x, "a" + name)(1).numpy(), expected)
        np.testing.assert_array_equal(getattr(x, name)(1)[0].numpy(), expected)
        assert getattr(x, "arg" + name)(1).numpy()[0] == 1
    assert np.isnan(x.var(1).numpy()).all()
    row = Tensor(np.array([1.0, np.nan, 2.0]), requires_grad=True)
    assert gradients(lambda x: x.amax(), row)[1].tolist() == [0, 1, 0]


def test_long_sums_keep_their_digits():
    x = np.full((40, 41) if SIMULATED else (1000, 1001), 0.1, np.float32)
    assert convkit.from_numpy(x).sum().item() == pytest.approx(x.size / 10, rel=1e-6)
    assert convkit.from_numpy(x).mean().item() == pytest.approx(0.1, rel=1e-6)
    for dim, count in ((0, 2), (1, 3)):
        many = np.full((20000, count), 0.1, np.float32)[: 300 if SIMULATED else None]
        many = many if dim == 0 else many.T
        np.testing.assert_allclose(convkit.from_numpy(many).sum(dim).numpy(), many.shape[dim] / 10, rtol=1e-6)


@pytest.mark.parametrize("name", ["sum", "mean", "var", "std", "amax", "amin", "max", "min", "argmax", "argmin"])
def test_errors(name):
    f, x = getattr(convkit, name), convkit.ones(2, 3)
    told = {"std": "(std|var)"}.get(name, name)
    for dim in (2, -3):
        with pytest.raises(IndexError, match=f"^{told}: dim {dim} is out of range for a tensor of 2 dimensions"):
            f(x, dim)
    with pytest.raises(TypeError, match=f"^{told}: dim must be an int.*, got 'rows'"):
        f(x, "rows")
    with pytest.raises(TypeError, match=f"^{told}: dim must be an int.*, got 1.5"):
        f(x, 1.5)
    if name in ("sum", "mean", "var", "std", "amax", "amin"):
        with pytest.raises(ValueError, match=rf"^{told}: a dimension is named twice in \(1, -1\)"):
            f(x, (1, -1))


def test_errors_of_integers():
    for name in ("mean", "var", "std"):
        with pytest.raises(TypeError, match="needs .*float.*, got int64; convert with"):
            getattr(convkit.arange(3), name)()


@settings(max_examples=15)
@given(shape=st.lists(st.integers(1, 4), min_size=1, max_size=3), layout=both_layouts, seed=seeds, data=st.data())
def test_logarithms_of_sums_so_far(shape, layout, seed, data):
    x, dim = numbers(seed, tuple(shape), scale=3), data.draw(st.integers(-len(shape), len(shape) - 1))
    t = Tensor(channels_last_copy(x) if layout == "channels-last" else x, requires_grad=True)
    np.testing.assert_allclose(t.logcumsumexp(dim).detach().numpy(), np.logaddexp.accumulate(x, dim), rtol=1e-13, atol=1e-14)
    check_gradients(lambda t: convkit.logcumsumexp(t, dim), t)


def test_logarithms_of_sums_so_far_beyond_the_range_of_floats():
    x = convkit.tensor([1000.0, -math.inf, 1001.0, -2000.0], requires_grad=True)
    y, gx = gradients(lambda t: t.logcumsumexp(0), x)
    np.testing.assert_allclose(y, [1000, 1000, 1001.3132617, 1001.3132617], rtol=1e-7)
    np.testing.assert_allclose(gx, [2 + 2 / (1 + math.e), 0, 2 * math.e / (1 + math.e), 0], rtol=1e-4)
    assert convkit.tensor([math.nan, 1.0]).logcumsumexp(0).isnan().all() and convkit.tensor([1.0, math.inf]).logcumsumexp(0)[1].item() == math.inf
    assert convkit.tensor(2.0).logcumsumexp(0).item() == 2 and convkit.zeros(0, 3).logcumsumexp(1).shape == (0, 3)
    with pytest.raises(TypeError, match="logcumsumexp: needs float32 or float64, got int64"):
        convkit.tensor([1]).logcumsumexp(0)


def test_the_norm_of_nothing():
    assert convkit.zeros(0).norm(3).tolist() == 0
    with pytest.raises(ValueError, match="norm: the extreme of nothing is undefined"):
        convkit.zeros(0).norm(-1)


@settings(max_examples=20)
@given(case=cases(), dtype=dtypes, layout=layouts, seed=seeds)
def test_nansum_leaves_nan_out_and_gives_it_no_gradient(case, dtype, layout, seed):
    shape, dim, keep = case
    x = numbers(seed, shape, dtype)
    x = np.where(x > 0.5, dtype(np.nan), x)
    t = convkit.from_numpy(LAYOUTS[layout](x)).requires_grad_()
    y = t.nansum(dim, keep)
    axes = tuple(range(len(shape))) if dim is None else dim
    np.testing.assert_allclose(y.detach().numpy(), np.nansum(x, axis=axes, keepdims=keep), rtol=tolerance(dtype, 1e-5, 1e-12), atol=1e-6)
    y.sum().backward()
    assert np.array_equal(t.grad.numpy(), ~np.isnan(x))
    check_gradients(lambda x: x.nansum(dim, keep), leaf(seed, shape))


def test_gradients_of_products_that_leave_the_range():
    rng = np.random.default_rng(0)
    long = rng.standard_normal((3, 1500)).astype(np.float32)  # whose products are 1e-400
    mixed = np.full((2, 8), 1e-20, np.float32)
    mixed[:, 4:] = 1e20
    mixed[1, 3] = 0
    small = np.array([[1e-30, 1e-20, 1e5], [1e30, 1e20, 1e-5], [1e-20, 0, 3], [0, 0, 3]], np.float32)
    odd = np.array([[np.inf, 2, 3], [np.nan, 2, 0]], np.float32)
    for a in (long, mixed, small, small.T.copy(), np.zeros((2, 1), np.float32), odd):
        for dim in (0, 1):
            _, gx = gradients(lambda x, dim=dim: x.prod(dim), Tensor(a, requires_grad=True))
            with np.errstate(all="ignore"):
                expected = np.stack([np.delete(a, i, dim).astype(np.longdouble).prod(dim) for i in range(a.shape[dim])], dim).astype(np.float32)
            np.testing.assert_allclose(gx, expected, rtol=1e-6, atol=1e-44)
