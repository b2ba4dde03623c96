import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.lib.stride_tricks import sliding_window_view

import convkit
from convkit import Tensor
from convkit.nn import functional as F
from tests.helpers import LAYOUTS, channels_last_copy, dtypes, layouts, memory_order, numbers, same, tolerance
from tests.ops import apart, both_layouts, check_gradients, gradients, leaf, second_order_runs, seeds

MAX = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}
AVERAGE = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}
ADAPTIVE = {1: F.adaptive_avg_pool1d, 2: F.adaptive_avg_pool2d, 3: F.adaptive_avg_pool3d}


@st.composite
def geometries(draw, dilate=True, most=7):
    """(input shape [N, C, *S], arguments): the window fits, padding is at most half of it."""
    rank = draw(st.integers(1, 3))
    most = most if rank < 3 else 4
    each = lambda low, high: tuple(draw(st.integers(low, high)) for _ in range(rank))
    size, stride, dilation = each(1, 3), draw(st.sampled_from([None, each(1, 3)])), each(1, 2 if dilate else 1)
    padding = tuple(draw(st.integers(0, r // 2)) for r in size)
    span = [d * (r - 1) + 1 for r, d in zip(size, dilation, strict=True)]
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


@settings(max_examples=30)
@given(case=geometries(most=5).filter(lambda c: np.prod(c[0]) <= 40), layout=both_layouts, seed=seeds)
def test_max_gradients(case, layout, seed):
    shape, args = case
    f = lambda x: MAX[len(shape) - 2](x, **args)
    assume(np.isfinite(f(apart(seed, shape)).detach().numpy()).all())  # a window whose taps all lie outside gives -inf
    check_gradients(f, apart(seed, shape, layout))


@settings(max_examples=30)
@given(case=geometries(dilate=False, most=5).filter(lambda c: np.prod(c[0]) <= 40), layout=both_layouts, count=st.booleans(), seed=seeds)
def test_average_gradients(case, layout, count, seed):
    shape, args = case
    check_gradients(lambda x: AVERAGE[len(shape) - 2](x, **args, count_include_pad=count), leaf(seed, shape, layout))


@settings(max_examples=20)
@given(out=st.lists(st.integers(1, 2), min_size=1, max_size=3), times=st.tuples(*[st.integers(1, 3)] * 3), layout=both_layouts, seed=seeds)
def test_adaptive(out, times, layout, seed):
    shape = (2, 2, *(o * t for o, t in zip(out, times, strict=False)))
    f = lambda x: ADAPTIVE[len(out)](x, tuple(out))
    x = leaf(seed, shape, layout)
    parts = x.array.reshape(2, 2, *(n for o, t in zip(out, times, strict=False) for n in (o, t)))
    np.testing.assert_allclose(f(x).detach().numpy(), parts.mean(tuple(range(3, parts.ndim, 2))), rtol=1e-12, atol=1e-15)
    if x.numel() <= 40:
        check_gradients(f, x)


def test_adaptive_sizes():
    x = convkit.from_numpy(numbers(1, (2, 3, 4, 6)))
    assert F.adaptive_avg_pool2d(x, 2).shape == (2, 3, 2, 2) and F.adaptive_avg_pool2d(x, (None, 1)).shape == (2, 3, 4, 1)
    np.testing.assert_allclose(F.adaptive_avg_pool2d(x, 1).numpy()[:, :, 0, 0], x.numpy().mean((2, 3)))
    assert F.adaptive_avg_pool2d(x[0], 1).shape == (3, 1, 1)


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


@pytest.mark.parametrize("shape", [(0, 2, 4, 4), (2, 0, 4, 4), (1, 1, 2, 2), (0, 2, 4), (0, 1, 2, 2, 2)])
def test_nothing_and_one(shape):
    rank = len(shape) - 2
    for f in (lambda x: MAX[rank](x, 2), lambda x: AVERAGE[rank](x, 2), lambda x: ADAPTIVE[rank](x, 1), lambda x: MAX[rank](x, 1)):
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
        (ValueError, r"input must be 4-D \[N, C, H, W\], got shape \[5, 5\]", lambda: f(convkit.ones(5, 5), 2)),
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
    for error, match, size in [
        (ValueError, r"the output size must divide the input size, got output \[4, 4\] for input \[6, 6\]", 4),
        (ValueError, r"output_size must be at least 1, got \[0, 0\]", 0),
        (ValueError, r"output_size needs 2 numbers, one a dimension, got \[1, 2, 3\]", (1, 2, 3)),
        (TypeError, r"output_size must be", 1.5),
    ]:
        with pytest.raises(error, match="^adaptive_avg_pool2d: " + match):
            F.adaptive_avg_pool2d(x, size)
    with pytest.raises(ValueError, match=r"^adaptive_avg_pool2d: input must be 4-D, got shape \[6\]"):
        F.adaptive_avg_pool2d(convkit.ones(6), 1)
    with pytest.raises(TypeError, match=r"^adaptive_avg_pool2d: needs float32 or float64"):
        F.adaptive_avg_pool2d(x.long(), 1)
