import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.lib.stride_tricks import sliding_window_view

import convkit
from convkit import Tensor
from convkit.nn import functional as F
from tests.backend import SIMULATED, settings
from tests.helpers import LAYOUTS, channels_last_copy, dtypes, layouts, memory_order, numbers, same, tolerance
from tests.ops import apart, both_layouts, check_gradients, gradients, leaf, second_order_runs, seeds

MAX = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}
AVERAGE = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}
LP = {1: F.lp_pool1d, 2: F.lp_pool2d, 3: F.lp_pool3d}
UNPOOL = {1: F.max_unpool1d, 2: F.max_unpool2d, 3: F.max_unpool3d}
ADAPTIVE = {1: F.adaptive_avg_pool1d, 2: F.adaptive_avg_pool2d, 3: F.adaptive_avg_pool3d}
ADAPTIVE_MAX = {1: F.adaptive_max_pool1d, 2: F.adaptive_max_pool2d, 3: F.adaptive_max_pool3d}


@st.composite
def geometries(draw, dilate=True, most=7):
    """(input shape [N, C, *S], arguments): the window fits, padding is at most half of it."""
    rank = draw(st.integers(1, 3))
    most = most if rank < 3 else 4
    each = lambda low, high: tuple(draw(st.integers(low, high)) for _ in range(rank))
    size, stride, dilation = each(1, 3), draw(st.sampled_from([None, each(1, 3)])), each(1, 2 if dilate else 1)
    span = [d * (r - 1) + 1 for r, d in zip(size, dilation, strict=True)]
    padding = tuple(draw(st.integers(0, n // 2)) for n in span)
    spatial = [draw(st.integers(max(1, s - 2 * p), max(most, s))) for s, p in zip(span, padding, strict=True)]
    args = {"kernel_size": size, "stride": stride, "padding": padding, "ceil_mode": draw(st.booleans())}
    return (draw(st.integers(1, 2)), draw(st.integers(1, 2)), *spatial), args | ({"dilation": dilation} if dilate else {})


def windows(x, kernel_size, stride, padding, ceil_mode, dilation=None, fill=0.0):
    """[N, C, *out, *kernel] of the padded input; what ceil_mode adds beyond the padding is nan."""
    rank = x.ndim - 2
    stride, dilation = stride or kernel_size, dilation or (1,) * rank
    span = [d * (r - 1) + 1 for r, d in zip(kernel_size, dilation, strict=True)]
    x = np.pad(x, [(0, 0), (0, 0), *((p, p) for p in padding)], constant_values=fill)
    out = []
    for n, p, s, step in zip(x.shape[2:], padding, span, stride, strict=True):
        count = (n - s) // step + 1
        if ceil_mode and (n - s) % step and count * step < n - p:  # a last window that starts inside the input or the padding before it
            count += 1
        out.append(count)
    more = [max(0, (o - 1) * step + s - n) for o, step, s, n in zip(out, stride, span, x.shape[2:], strict=True)]
    x = np.pad(x, [(0, 0), (0, 0), *((0, m) for m in more)], constant_values=np.nan)
    views = sliding_window_view(x, span, axis=tuple(range(2, x.ndim)))
    places, taps = (slice(None, o * s, s) for o, s in zip(out, stride, strict=True)), (slice(None, None, d) for d in dilation)
    return views[(slice(None), slice(None), *places, *taps)]


@settings(max_examples=40)
@given(case=geometries(), dtype=dtypes, layout=layouts, seed=seeds)
def test_max_values(case, dtype, layout, seed):
    shape, args = case
    x = np.round(numbers(seed, shape, dtype), 1)
    y = MAX[len(shape) - 2](convkit.from_numpy(LAYOUTS[layout](x)), **args)
    seen = windows(x, **args, fill=-np.inf)
    seen = np.where(np.isnan(seen), -np.inf, seen)
    assert same(y.numpy(), seen.max(tuple(range(len(shape), seen.ndim))).astype(dtype))


@settings(max_examples=40)
@given(case=geometries(dilate=False), dtype=dtypes, layout=layouts, count=st.booleans(), seed=seeds)
def test_average_values(case, dtype, layout, count, seed):
    shape, args = case
    x = numbers(seed, shape, dtype)
    y = AVERAGE[len(shape) - 2](convkit.from_numpy(LAYOUTS[layout](x)), **args, count_include_pad=count)
    seen, inside = windows(x.astype(np.float64), **args), windows(np.ones(shape), **args)
    over = tuple(range(len(shape), seen.ndim))
    number = (~np.isnan(seen)).sum(over) if count else np.nansum(inside, over)
    assert y.dtype == dtype
    np.testing.assert_allclose(y.numpy(), np.nansum(seen, over) / number, rtol=tolerance(dtype, 1e-5, 1e-12), atol=tolerance(dtype, 1e-6, 1e-14))


def test_divisor_override():
    x = numbers(1, (1, 2, 4, 4))
    y = F.avg_pool2d(convkit.from_numpy(x), 2, divisor_override=3).numpy()
    np.testing.assert_allclose(y, x.reshape(1, 2, 2, 2, 2, 2).sum((3, 5)) / 3)
    check_gradients(lambda x: F.avg_pool2d(x, 2, divisor_override=3), leaf(1, (1, 1, 4, 4)))


small = lambda **options: geometries(most=5, **options).filter(lambda c: np.prod(c[0]) <= 30)


@settings(max_examples=60)
@given(case=small(), layout=both_layouts, seed=seeds)
def test_max_gradients(case, layout, seed):
    shape, args = case
    f = lambda x: MAX[len(shape) - 2](x, **args)
    assume(np.isfinite(f(apart(seed, shape)).detach().numpy()).all())  # a window whose taps all lie outside gives -inf
    check_gradients(f, apart(seed, shape, layout))


@settings(max_examples=60)
@given(case=small(dilate=False), layout=both_layouts, count=st.booleans(), seed=seeds)
def test_average_gradients(case, layout, count, seed):
    shape, args = case
    check_gradients(lambda x: AVERAGE[len(shape) - 2](x, **args, count_include_pad=count), leaf(seed, shape, layout))


@settings(max_examples=40)
@given(case=geometries(), layout=layouts, seed=seeds)
def test_indices_are_where_the_maxima_were(case, layout, seed):
    shape, args = case
    x = np.round(numbers(seed, shape), 1)  # ties
    y, indices = MAX[len(shape) - 2](convkit.from_numpy(LAYOUTS[layout](x)), **args, return_indices=True)
    assert same(y.numpy(), MAX[len(shape) - 2](convkit.from_numpy(x), **args).numpy()) and indices.dtype == np.int64
    places, values = indices.numpy().reshape(*shape[:2], -1), y.numpy().reshape(*shape[:2], -1)
    assert np.array_equal(places < 0, np.isneginf(values))  # windows that see nothing
    taken = np.take_along_axis(x.reshape(*shape[:2], -1), np.maximum(places, 0), 2)
    assert np.array_equal(np.where(places < 0, -np.inf, taken), values)
    # The first of equals: no earlier place of the window has the value; enough to see it where the window is everything.
    whole = ADAPTIVE_MAX[len(shape) - 2](convkit.from_numpy(LAYOUTS[layout](x)), 1, return_indices=True)[1]
    assert np.array_equal(whole.numpy().reshape(shape[:2]), x.reshape(*shape[:2], -1).argmax(2))


def unpooled_case(draw):
    rank = draw(st.integers(1, 3))
    each = lambda low, high: tuple(draw(st.integers(low, high)) for _ in range(rank))
    size, stride, inputs = each(1, 3), each(1, 3), each(1, 2)
    padding = tuple(draw(st.integers(0, r // 2)) for r in size)
    usual = [(n - 1) * s - 2 * p + r for n, s, p, r in zip(inputs, stride, padding, size, strict=True)]
    assume(min(usual) > 0)
    output = tuple(draw(st.integers(max(1, u - s + 1), u + s - 1)) for u, s in zip(usual, stride, strict=True))
    assume(np.prod(output) >= np.prod(inputs) and np.prod(output) <= 40)
    return (draw(st.integers(1, 2)), draw(st.integers(1, 2)), *inputs), output, {"kernel_size": size, "stride": stride, "padding": padding}


@settings(max_examples=2 if SIMULATED else 40)
@given(case=st.composite(unpooled_case)(), layout=both_layouts, seed=seeds)
def test_unpooling_and_its_gradients(case, layout, seed):
    shape, output, args = case
    rng = np.random.default_rng(seed)
    places = np.stack([rng.permutation(np.prod(output))[: np.prod(shape[2:])] for _ in range(shape[0] * shape[1])]).reshape(shape)
    f = lambda x: UNPOOL[len(output)](x, convkit.from_numpy(places), **args, output_size=output)
    x = leaf(seed, shape, layout)
    expected = np.zeros((*shape[:2], np.prod(output)))
    np.put_along_axis(expected, places.reshape(*shape[:2], -1), x.detach().numpy().reshape(*shape[:2], -1), 2)
    assert same(f(x).detach().numpy(), expected.reshape(*shape[:2], *output))
    check_gradients(f, x)


def test_unpooling_undoes_pooling():
    x = convkit.from_numpy(np.arange(25.0).reshape(1, 1, 5, 5))
    y, indices = F.max_pool2d(x, 2, return_indices=True)
    for size in ((5, 5), (1, 1, 5, 5)):
        back = F.max_unpool2d(y, indices, 2, output_size=size)
        assert np.array_equal(back.numpy(), np.where(np.isin(x.numpy(), y.numpy()), x.numpy(), 0))
    assert F.max_unpool2d(*F.max_pool2d(x[:, :, :4, :4], 2, return_indices=True), 2).shape == (1, 1, 4, 4)
    assert np.array_equal(F.max_unpool2d(y[0], indices[0], 2, output_size=(5, 5)).numpy(), back[0].numpy())


def test_of_two_elements_for_one_place_the_last_stays_and_both_get_its_gradient():
    x = Tensor(np.array([[[1.0, 2.0]]]), requires_grad=True)
    places = convkit.tensor([[[1, 1]]])
    y, gx = gradients(lambda x: F.max_unpool1d(x, places, 2), x, gradient=np.array([[[5.0, 6.0, 7.0, 8.0]]]))
    assert y.tolist() == [[[0, 2, 0, 0]]] and gx.tolist() == [[[6, 6]]]


@settings(max_examples=3 if SIMULATED else 30)
@given(case=small(dilate=False), p=st.sampled_from([1, 2, 3, 0.5, 1.5, np.inf, -np.inf, -1]), layout=both_layouts, seed=seeds)
def test_lp_values_and_gradients(case, p, layout, seed):
    shape, args = case
    args = {k: v for k, v in args.items() if k != "padding"}
    assume(all(n >= r for n, r in zip(shape[2:], args["kernel_size"], strict=True)))
    x = Tensor(np.abs(apart(seed, shape, layout).detach().numpy()) + 0.5, requires_grad=True)
    f = lambda x: LP[len(shape) - 2](x, p, **args)
    seen = windows(x.detach().numpy(), **args, padding=(0,) * (len(shape) - 2))
    over = tuple(range(len(shape), seen.ndim))
    if np.isinf(p):
        expected = (np.nanmax if p > 0 else np.nanmin)(seen, over)
    else:
        expected = (np.nanmean(seen**p, over) * np.prod(args["kernel_size"])) ** (1 / p)
    np.testing.assert_allclose(f(x).detach().numpy(), expected, rtol=1e-12)
    if not np.isinf(p):
        check_gradients(f, x)


@pytest.mark.parametrize("p", [0.5, 1, 1.5, 2, 3])
def test_the_gradient_of_the_lp_pool_of_zeros_is_zero(p):
    x = leaf(1, (1, 1, 6))
    x.array[...] = [0, 0, 1, 2, 0, 4]
    y, gx = gradients(lambda x: F.lp_pool1d(x, p, 2), x)
    assert y[0, 0, 0] == 0 and np.isfinite(gx).all() and (gx[0, 0, :2] == (p == 1)).all() and gx[0, 0, 3] > 0
    second_order_runs(lambda x: F.lp_pool1d(x, p, 2), x)
    first = convkit.autograd.grad(F.lp_pool1d(x, p, 2).sum(), x, create_graph=True)[0]
    if p != 1:
        assert np.isfinite(convkit.autograd.grad(first.sum(), x)[0].numpy()).all()


def test_lp_pool_of_negative_numbers():
    x = convkit.tensor([[[-1.0, -2.0, 1.0, -3.0]]])
    assert F.lp_pool1d(x, 1, 2).numpy().tolist() == [[[-3, -2]]]
    assert F.lp_pool1d(x, np.inf, 2).numpy().tolist() == [[[2, 3]]]
    assert np.isnan(F.lp_pool1d(x, 3, 2).numpy()).all() and np.isnan(F.lp_pool1d(x, 1.5, 2).numpy()).all()


@st.composite
def grids(draw):
    rank = draw(st.integers(1, 3))
    size = tuple(draw(st.integers(1, 6 if rank < 3 else 3)) for _ in range(rank))
    output = tuple(draw(st.one_of(st.none(), st.integers(1, 5 if rank < 3 else 3))) for _ in range(rank))
    return (draw(st.integers(1, 2)), draw(st.integers(1, 2)), *size), output


@settings(max_examples=60)
@given(case=grids(), layout=layouts, seed=seeds)
def test_adaptive(case, layout, seed):
    shape, output = case
    rank, x = len(output), convkit.from_numpy(LAYOUTS[layout](numbers(seed, shape)))
    mean, (greatest, indices) = ADAPTIVE[rank](x, output), ADAPTIVE_MAX[rank](x, output, return_indices=True)
    size = tuple(n if o is None else o for o, n in zip(output, shape[2:], strict=True))
    assert mean.shape == greatest.shape == (*shape[:2], *size)
    plane = np.arange(np.prod(shape[2:])).reshape(shape[2:])
    for place in np.ndindex(*size):
        window = tuple(slice(i * n // o, -(-(i + 1) * n // o)) for i, n, o in zip(place, shape[2:], size, strict=True))
        seen = x.numpy()[(..., *window)].reshape(*shape[:2], -1)
        np.testing.assert_allclose(mean.detach().numpy()[(..., *place)], seen.mean(2), rtol=1e-12, atol=1e-15)
        assert np.array_equal(greatest.detach().numpy()[(..., *place)], seen.max(2))
        assert np.array_equal(indices.numpy()[(..., *place)], plane[window].ravel()[seen.argmax(2)])


@settings(max_examples=2 if SIMULATED else 40)
@given(case=grids().filter(lambda c: np.prod(c[0]) <= (12 if SIMULATED else 30)), layout=both_layouts, seed=seeds)
def test_adaptive_gradients(case, layout, seed):
    shape, output = case
    check_gradients(lambda x: ADAPTIVE[len(output)](x, output), leaf(seed, shape, layout))
    check_gradients(lambda x: ADAPTIVE_MAX[len(output)](x, output), apart(seed, shape, layout))


def test_adaptive_sizes():
    x = convkit.from_numpy(numbers(1, (2, 3, 4, 6)))
    assert F.adaptive_avg_pool2d(x, 2).shape == (2, 3, 2, 2) and F.adaptive_avg_pool2d(x, (None, 1)).shape == (2, 3, 4, 1)
    np.testing.assert_allclose(F.adaptive_avg_pool2d(x, 1).numpy()[:, :, 0, 0], x.numpy().mean((2, 3)))
    assert F.adaptive_avg_pool2d(x[0], 1).shape == (3, 1, 1) and F.adaptive_max_pool2d(x[0], (3, None)).shape == (3, 3, 6)
    assert [t.shape for t in F.adaptive_max_pool2d_with_indices(x[0], 2)] == [(3, 2, 2)] * 2
    assert F.adaptive_avg_pool2d(x, 0).shape == F.adaptive_max_pool2d(x, 0).shape == (2, 3, 0, 0)
    assert gradients(lambda x: F.adaptive_max_pool2d(x, 0), leaf(1, (1, 2, 3, 3)))[1].sum() == 0


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_global_pooling(rank):
    x = apart(1, (1, 3, *(2, 1, 3)[:rank]) if SIMULATED else (2, 3, *(2, 3, 2)[:rank]))
    rows = x.detach().numpy().reshape(*x.shape[:2], -1)
    for f, expected in ((F.global_avg_pool, rows.mean(2)), (F.global_max_pool, rows.max(2))):
        np.testing.assert_allclose(f(x).detach().numpy(), expected.reshape(*x.shape[:2], *(1,) * rank), rtol=1e-14)
        np.testing.assert_allclose(f(x, flatten=True).detach().numpy(), expected, rtol=1e-14)
        check_gradients(lambda x, f=f: f(x, flatten=True), x)


def test_the_gradient_goes_to_the_first_of_equals():
    x = Tensor(np.zeros((1, 1, 2, 4)), requires_grad=True)
    assert gradients(lambda x: F.max_pool2d(x, 2), x)[1].tolist() == [[[[1, 0, 1, 0], [0, 0, 0, 0]]]]


@pytest.mark.parametrize("pool", [F.max_pool2d, F.avg_pool2d])
def test_memory_is_channels_last(pool):
    x = Tensor(channels_last_copy(numbers(1, (2, 3, 4, 6), np.float32)), requires_grad=True)
    y, gx = gradients(lambda x: pool(x, 2), x)
    assert memory_order(y) == memory_order(gx) == memory_order(x.array)


def test_one_image_without_a_batch_dimension():
    x = leaf(1, (3, 4, 4))
    for pool in (F.max_pool2d, F.avg_pool2d):
        y = gradients(lambda x, pool=pool: pool(x, 2), x)[0]
        assert np.array_equal(y, pool(x.unsqueeze(0), 2)[0].detach().numpy())
    y, indices = F.max_pool2d(x, 2, return_indices=True)
    assert y.shape == indices.shape == (3, 2, 2) and F.max_pool2d_with_indices(x, 2)[1].shape == (3, 2, 2)


@pytest.mark.parametrize("shape", [(0, 2, 4, 4), (1, 1, 2, 2), (0, 2, 4), (0, 1, 2, 2, 2)])
def test_nothing_and_one(shape):
    rank = len(shape) - 2
    for f in (
        lambda x: MAX[rank](x, 2),
        lambda x: AVERAGE[rank](x, 2),
        lambda x: ADAPTIVE[rank](x, 1),
        lambda x: MAX[rank](x, 1),
        lambda x: LP[rank](x, 2, 2),
        lambda x: ADAPTIVE[rank](x, 3),
        lambda x: ADAPTIVE_MAX[rank](x, 3),
        lambda x: UNPOOL[rank](*MAX[rank](x, 2, return_indices=True), 2),
    ):
        assert gradients(f, leaf(1, shape))[0].shape[:2] == shape[:2]
        second_order_runs(f, leaf(1, shape))


def test_nan_and_infinity():
    x = numbers(1, (1, 1, 4, 4), np.float32)
    x[0, 0, 0, 1], x[0, 0, 0, 2], x[0, 0, 2, 0], x[0, 0, 2:, 2:] = np.nan, np.inf, -np.inf, -np.inf
    t = convkit.from_numpy(x)
    y = F.max_pool2d(t, 2).numpy()[0, 0]
    assert np.isnan(y[0, 0]) and np.isposinf(y[0, 1]) and np.isfinite(y[1, 0]) and np.isneginf(y[1, 1])
    y = F.avg_pool2d(t, 2).numpy()[0, 0]
    assert np.isnan(y[0, 0]) and np.isposinf(y[0, 1]) and np.isneginf(y[1]).all()
    gx = gradients(lambda x: F.max_pool2d(x, 2), Tensor(x, requires_grad=True))[1]
    assert gx[0, 0, 0].tolist() == [0, 1, 1, 0] and gx.sum() == 4


@pytest.mark.parametrize("name", ["max_pool2d", "avg_pool2d"])
def test_errors(name):
    f, x = getattr(F, name), convkit.ones(1, 2, 5, 5)
    for error, match, call in [
        (ValueError, r"stride must be at least 1, got \[0, 0\]", lambda: f(x, 2, 0)),
        (ValueError, r"kernel_size must be at least 1, got \[0, 0\]", lambda: f(x, 0)),
        (ValueError, r"kernel_size needs 2 numbers, one a dimension, got \[2, 2, 2\]", lambda: f(x, (2, 2, 2))),
        (TypeError, r"kernel_size must be an int or 2 ints, got 2.5", lambda: f(x, 2.5)),
        (ValueError, r"padding must be at least 0, got \[-1, -1\]", lambda: f(x, 2, padding=-1)),
        (ValueError, r"padding must be at most half the window, got padding \[\[2, 2\], \[2, 2\]\] and window \[3, 3\]", lambda: f(x, 3, padding=2)),
        (ValueError, r"the window covers \[6, 6\] .* but the padded input is only \[5, 5\]", lambda: f(x, 6)),
        (ValueError, r"input must be 4-D \[N, C, H, W\], or 3-D without N, got shape \[5, 5\]", lambda: f(convkit.ones(5, 5), 2)),
        (ValueError, r"only the batch may be empty, got shape \[1, 0, 5, 5\]", lambda: f(convkit.ones(1, 0, 5, 5), 2)),
        (TypeError, r"needs float32 or float64, got int64", lambda: f(x.long(), 2)),
    ]:
        with pytest.raises(error, match=f"^{name}: {match}"):
            call()


def test_errors_of_one_pooling():
    x = convkit.ones(1, 2, 6, 6)
    with pytest.raises(ValueError, match=r"^max_pool2d: the window covers \[7, 7\] \(kernel \[3, 3\], dilation \[3, 3\]\)"):
        F.max_pool2d(x, 3, dilation=3)
    with pytest.raises(ValueError, match="^avg_pool2d: divisor_override must not be 0"):
        F.avg_pool2d(x, 2, divisor_override=0)
    for f, name in ((F.adaptive_avg_pool2d, "adaptive_avg_pool2d"), (F.adaptive_max_pool2d, "adaptive_max_pool2d")):
        for error, match, call in [
            (ValueError, r"output_size must be at least 0, got \[-1\]", lambda f=f: f(x, -1)),
            (ValueError, r"output_size needs 2 numbers, one a dimension, got \[1, 2, 3\]", lambda f=f: f(x, (1, 2, 3))),
            (TypeError, r"output_size must be", lambda f=f: f(x, 1.5)),
            (ValueError, r"input must be 4-D \[N, C, H, W\], or 3-D without N, got shape \[6\]", lambda f=f: f(convkit.ones(6), 1)),
            (ValueError, r"only the batch.* may be empty, got shape \[1, 2, 0, 6\]", lambda f=f: f(convkit.ones(1, 2, 0, 6), 1)),
            (TypeError, r"needs float32 or float64", lambda f=f: f(x.long(), 1)),
        ]:
            with pytest.raises(error, match=f"^{name}: {match}"):
                call()
    with pytest.raises(ValueError, match="^global_avg_pool: input must be .* one to three spatial dimensions, got shape"):
        F.global_avg_pool(convkit.ones(2, 3))
    with pytest.raises(ValueError, match="^lp_pool2d: norm_type must be a number other than 0, got 0"):
        F.lp_pool2d(x, 0, 2)
    with pytest.raises(TypeError, match="^avg_pool2d: divisor_override must be an int, got 1.5"):
        F.avg_pool2d(x, 2, divisor_override=1.5)


def test_errors_of_unpooling():
    y, indices = F.max_pool2d(convkit.arange(36).float().reshape(1, 1, 6, 6), 2, return_indices=True)
    for error, match, call in [
        (TypeError, "indices must be a tensor of int64, got float32", lambda: F.max_unpool2d(y, y, 2)),
        (TypeError, "indices must be a tensor of int64, got list", lambda: F.max_unpool2d(y, [1], 2)),
        (ValueError, r"indices must have the input's shape \[1, 1, 3, 3\], got \[1, 1, 2, 3\]", lambda: F.max_unpool2d(y, indices[:, :, :2], 2)),
        (IndexError, r"indices must be 0 to 35, for outputs of \[6, 6\]; got 37 to 65", lambda: F.max_unpool2d(y, indices + 30, 2)),
        (IndexError, r"indices must be 0 to 15, for outputs of \[4, 4\]", lambda: F.max_unpool2d(y, indices, 2, 1)),
        (ValueError, r"output_size needs 2 or 4 numbers, got \[6\]", lambda: F.max_unpool2d(y, indices, 2, output_size=(6,))),
        (ValueError, r"output_size must lie within \[5 to 7, 5 to 7\] for input \[3, 3\], got \[8, 6\]",
         lambda: F.max_unpool2d(y, indices, 2, output_size=(8, 6))),
        (ValueError, r"input must be 4-D \[N, C, H, W\], or 3-D", lambda: F.max_unpool2d(y[0, 0], indices[0, 0], 2)),
        (ValueError, "stride must be at least 1", lambda: F.max_unpool2d(y, indices, 2, 0)),
    ]:  # fmt: skip
        with pytest.raises(error, match=f"^max_unpool2d: {match}"):
            call()
