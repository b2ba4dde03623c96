import numpy as np
import pytest
import scipy.signal
from hypothesis import given
from hypothesis import strategies as st

import convkit
from convkit import Tensor
from convkit.nn import functional as F
from tests.backend import SIMULATED, settings
from tests.helpers import LAYOUTS, channels_last_copy, dtypes, layouts, memory_order, numbers, relative_error, tolerance
from tests.ops import both_layouts, check_gradients, gradients, leaf, second_order_runs, seeds

CONV = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
TRANSPOSE = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}


def spread(w, dilation):
    """The last axes with zeros between their elements."""
    rank = len(dilation)
    out = np.zeros((*w.shape[:-rank], *(d * (r - 1) + 1 for r, d in zip(w.shape[-rank:], dilation, strict=True))), w.dtype)
    out[(..., *(slice(None, None, d) for d in dilation))] = w
    return out


def by_scipy(x, w, b, stride, padding, dilation, groups):
    """Convolution as sums of `scipy.signal.correlate`, one for each image and pair of channels."""
    rank = x.ndim - 2
    x = np.pad(x.astype(np.float64), [(0, 0), (0, 0), *padding])
    w = spread(w.astype(np.float64), dilation)
    step = tuple(slice(None, None, s) for s in stride)
    own, out = w.shape[1], w.shape[0] // groups
    y = np.array([
        [sum(scipy.signal.correlate(image[k // out * own + c], w[k, c], "valid", "direct")[step] for c in range(own)) for k in range(w.shape[0])]
        for image in x
    ])  # fmt: skip
    return y if b is None else y + b.astype(np.float64).reshape(-1, *(1,) * rank)


def transpose_by_scipy(x, w, b, stride, padding, output_padding, groups, dilation):
    """Transposed convolution: x with zeros between its elements, convolved in full, its frame cut off."""
    rank = x.ndim - 2
    x, w = spread(x.astype(np.float64), stride), spread(w.astype(np.float64), dilation)
    own, out = w.shape[0] // groups, w.shape[1]
    cut = (slice(None), slice(None), *(slice(p, -p or None) for p in padding))
    channels = lambda k: range(k // out * own, (k // out + 1) * own)
    y = np.array([
        [sum(scipy.signal.convolve(image[c], w[c, k % out], "full", "direct") for c in channels(k)) for k in range(out * groups)] for image in x
    ])  # fmt: skip
    y = np.pad(y, [(0, 0), (0, 0), *((0, e) for e in output_padding)])[cut]
    return y if b is None else y + b.astype(np.float64).reshape(-1, *(1,) * rank)


@st.composite
def geometries(draw, most=5 if SIMULATED else 7, channels=3):
    """(x shape, w shape, arguments): the window fits, groups divide."""
    rank = draw(st.integers(1, 3))
    most = most if rank < 3 else min(most, 4)
    each = lambda low, high: tuple(draw(st.integers(low, high)) for _ in range(rank))
    size, stride, dilation = each(1, 3), each(1, 3), each(1, 2)
    padding = tuple((draw(st.integers(0, 2)), draw(st.integers(0, 2))) for _ in range(rank))
    groups = draw(st.integers(1, 2))
    span = [d * (r - 1) + 1 for r, d in zip(size, dilation, strict=True)]
    spatial = [draw(st.integers(max(1, s - sum(p)), max(most, s))) for s, p in zip(span, padding, strict=True)]
    c, k = draw(st.integers(1, channels)), draw(st.integers(1, channels))
    args = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    return (draw(st.integers(1, 2)), c * groups, *spatial), (k * groups, c, *size), args


@settings(max_examples=40)
@given(case=geometries(), dtype=dtypes, layout=layouts, bias=st.booleans(), seed=seeds)
def test_values(case, dtype, layout, bias, seed):
    shape, w_shape, args = case
    x, w = numbers(seed, shape, dtype), numbers(seed + 1, w_shape, dtype)
    b = numbers(seed + 2, w_shape[:1], dtype) if bias else None
    y = CONV[len(shape) - 2](*(None if a is None else convkit.from_numpy(LAYOUTS[layout](a)) for a in (x, w, b)), **args)
    expected, scale = by_scipy(x, w, b, **args), by_scipy(np.abs(x), np.abs(w), None if b is None else np.abs(b), **args)
    assert y.dtype == dtype and relative_error(y.numpy(), expected, scale) < tolerance(dtype, 3e-7, 1e-15)


@st.composite
def transposed(draw, most=4):
    rank = draw(st.integers(1, 3))
    each = lambda low, high: tuple(draw(st.integers(low, high)) for _ in range(rank))
    size, stride, dilation, groups = each(1, 3), each(1, 3), each(1, 2), draw(st.integers(1, 2))
    spatial = each(1, most if rank < 3 else 2)
    extra = tuple(draw(st.integers(0, max(s, d) - 1)) for s, d in zip(stride, dilation, strict=True))
    full = [(i - 1) * s + d * (r - 1) + 1 + e for i, s, d, r, e in zip(spatial, stride, dilation, size, extra, strict=True)]
    padding = tuple(draw(st.integers(0, min(2, (n - 1) // 2))) for n in full)
    c, k = draw(st.integers(1, 2)), draw(st.integers(1, 2))
    args = {"stride": stride, "padding": padding, "output_padding": extra, "groups": groups, "dilation": dilation}
    return (draw(st.integers(1, 2)), c * groups, *spatial), (c * groups, k, *size), args


@settings(max_examples=40)
@given(case=transposed(), dtype=dtypes, layout=layouts, bias=st.booleans(), seed=seeds)
def test_values_transposed(case, dtype, layout, bias, seed):
    shape, w_shape, args = case
    x, w = numbers(seed, shape, dtype), numbers(seed + 1, w_shape, dtype)
    b = numbers(seed + 2, (w_shape[1] * args["groups"],), dtype) if bias else None
    y = TRANSPOSE[len(shape) - 2](*(None if a is None else convkit.from_numpy(LAYOUTS[layout](a)) for a in (x, w, b)), **args)
    expected, scale = (transpose_by_scipy(f(x), f(w), None if b is None else f(b), **args) for f in (np.asarray, np.abs))
    assert y.dtype == dtype and relative_error(y.numpy(), expected, scale) < tolerance(dtype, 3e-7, 1e-15)


def small(case):
    shape, w_shape, _ = case
    return np.prod(shape) <= (10 if SIMULATED else 40) and np.prod(w_shape) <= (9 if SIMULATED else 30)


@settings(max_examples=2 if SIMULATED else 60)
@given(case=geometries(most=4, channels=2).filter(small), layout=both_layouts, bias=st.booleans(), seed=seeds)
def test_gradients(case, layout, bias, seed):
    shape, w_shape, args = case
    inputs = [leaf(seed, shape, layout), leaf(seed + 1, w_shape, layout)] + [leaf(seed + 2, w_shape[:1])] * bias
    check_gradients(lambda x, w, b=None: CONV[len(shape) - 2](x, w, b, **args), *inputs)


@settings(max_examples=2 if SIMULATED else 60)
@given(case=transposed(most=3).filter(small), layout=both_layouts, bias=st.booleans(), seed=seeds)
def test_gradients_transposed(case, layout, bias, seed):
    shape, w_shape, args = case
    inputs = [leaf(seed, shape, layout), leaf(seed + 1, w_shape, layout)] + [leaf(seed + 2, (w_shape[1] * args["groups"],))] * bias
    check_gradients(lambda x, w, b=None: TRANSPOSE[len(shape) - 2](x, w, b, **args), *inputs)


def test_only_the_gradients_that_are_wanted():
    x, w, b = leaf(1, (1, 2, 4, 4)), leaf(2, (3, 2, 3, 3)), leaf(3, (3,))
    for wanted in range(3):
        inputs = [Tensor(t.array, requires_grad=i == wanted) for i, t in enumerate((x, w, b))]
        F.conv2d(*inputs).sum().backward()
        assert [t.grad is not None for t in inputs] == [i == wanted for i in range(3)]


def test_results_are_channels_last():
    x, w = leaf(1, (2, 3, 5, 6), dtype=np.float32), leaf(2, (4, 3, 3, 3), dtype=np.float32)
    y, gx, gw = gradients(lambda x, w: F.conv2d(x, w, padding=1), x, w)
    assert memory_order(y) == memory_order(channels_last_copy(y)) == memory_order(gx)


def test_padding_in_words():
    x, w = numbers(1, (1, 2, 6, 7)), numbers(2, (2, 2, 3, 4))
    t = lambda **args: F.conv2d(convkit.from_numpy(x), convkit.from_numpy(w), **args).numpy()
    np.testing.assert_array_equal(t(padding="valid"), t())
    assert t(padding="same").shape == (1, 2, 6, 7)
    np.testing.assert_allclose(t(padding="same", stride=4), by_scipy(x, w, None, (4, 4), [(0, 1), (0, 1)], (1, 1), 1), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(t(padding="same"), by_scipy(x, w, None, (1, 1), [(1, 1), (1, 2)], (1, 1), 1), rtol=1e-12, atol=1e-12)
    np.testing.assert_array_equal(t(padding=((1, 0), (0, 2))), t(padding=(1, 2))[:, :, : 6 - 1, 2:])
    np.testing.assert_array_equal(t(padding=1), t(padding=(1, 1)))


def test_one_image_without_a_batch_dimension():
    x, w = leaf(1, (2, 5, 5)), leaf(2, (3, 2, 3, 3))
    y, *_ = gradients(F.conv2d, x, w)
    np.testing.assert_array_equal(y, F.conv2d(x.unsqueeze(0), w)[0].detach().numpy())
    y, *_ = gradients(F.conv_transpose2d, leaf(1, (3, 5, 5)), w)
    assert y.shape == (2, 7, 7)


@pytest.mark.parametrize(
    "shape, w_shape", [((0, 2, 5, 5), (3, 2, 3, 3)), ((1, 1, 1, 1), (1, 1, 1, 1)), ((0, 1, 1), (1, 1, 1)), ((0, 2, 3, 3, 3), (2, 2, 3, 3, 3))]
)
def test_nothing_and_one(shape, w_shape):
    rank = len(shape) - 2
    inputs = lambda: (leaf(1, shape), leaf(2, w_shape), leaf(3, w_shape[:1]))
    y, gx, gw, gb = gradients(CONV[rank], *inputs())
    assert y.shape[:2] == (shape[0], w_shape[0])
    assert shape[0] or not (gw.any() or gb.any())
    second_order_runs(CONV[rank], *inputs())
    inputs = lambda: (leaf(1, (shape[0], w_shape[0], *shape[2:])), leaf(2, w_shape), leaf(3, w_shape[1:2]))
    assert gradients(TRANSPOSE[rank], *inputs())[0].shape[:2] == (shape[0], w_shape[1])
    second_order_runs(TRANSPOSE[rank], *inputs())


def test_nan_and_infinity():
    x, w = numbers(1, (2, 2, 6, 6), np.float32), numbers(2, (3, 2, 3, 3), np.float32)
    x[0, 1, 2, 2], x[1, 0, 5, 5] = np.nan, np.inf
    w[1, 0, 2, 2] = 0  # 0 * inf is nan
    y = F.conv2d(convkit.from_numpy(x), convkit.from_numpy(w), padding=1).numpy()
    hit = np.zeros((6, 6), bool)
    hit[1:4, 1:4] = True
    assert (np.isnan(y[0]) == hit).all()
    hit[:], hit[4:, 4:] = False, True
    assert (~np.isfinite(y[1]) == hit).all() and np.isnan(y[1, 1, 4, 4])
    w[2, 1, 0, 0] = np.nan  # a channel of the output
    y = F.conv2d(convkit.from_numpy(np.ones_like(x)), convkit.from_numpy(w)).numpy()
    assert np.isnan(y[:, 2]).all() and np.isfinite(y[:, :2]).all()


def test_errors_of_shapes():
    ones = convkit.ones
    x, w = ones(1, 3, 8, 8), ones(8, 4, 3, 3)
    for match, call in {
        r"conv2d: input has 3 channels but weight \[8, 4, 3, 3\] with groups=1 needs 4": lambda: F.conv2d(x, w),
        r"conv2d: weight \[8, 4, 3, 3\] has 8 output channels, not a positive multiple of groups=3": lambda: F.conv2d(x, w, groups=3),
        r"conv2d: weight must be 4-D, got shape \[8, 4, 3\]": lambda: F.conv2d(x, ones(8, 4, 3)),
        r"conv2d: input must be 4-D \[N, C, H, W\], got shape \[3, 8\]": lambda: F.conv2d(ones(3, 8), w),
        r"conv2d: bias must have shape \[2\], one number an output channel, got \[3\]": lambda: F.conv2d(x, ones(2, 3, 3, 3), ones(3)),
        r"conv2d: the window covers \[9, 9\] .* but the padded input is only \[8, 8\]": lambda: F.conv2d(x, ones(2, 3, 9, 9)),
        r"conv2d: the window covers \[9, 9\] \(kernel \[5, 5\], dilation \[2, 2\]\)": lambda: F.conv2d(x, ones(2, 3, 5, 5), dilation=2),
        r"conv_transpose2d: input has 3 channels but weight \[8, 4, 3, 3\] needs 8": lambda: F.conv_transpose2d(x, w),
        r"conv_transpose2d: bias must have shape \[4\]": lambda: F.conv_transpose2d(ones(1, 8, 2, 2), w, ones(8)),
        r"conv_transpose2d: output_padding must be smaller than stride": lambda: F.conv_transpose2d(ones(1, 8, 2, 2), w, output_padding=1),
        r"conv_transpose2d: the output would have size \[0, 0\]": lambda: F.conv_transpose2d(ones(1, 8, 2, 2), w, padding=2),
        r"conv1d: input must be 3-D \[N, C, W\], got shape \[1, 3, 8, 8\]": lambda: F.conv1d(x, ones(2, 3, 3)),
        r"conv3d: input must be 5-D \[N, C, D, H, W\], got shape \[3, 8\]": lambda: F.conv3d(ones(3, 8), ones(2, 3, 1, 1, 1)),
    }.items():
        with pytest.raises(ValueError, match="^" + match):
            call()


def test_errors_of_arguments():
    x, w = convkit.ones(1, 4, 8, 8), convkit.ones(8, 4, 3, 3)
    for error, match, args in [
        (ValueError, r"stride must be at least 1, got \[0, 0\]", {"stride": 0}),
        (ValueError, r"stride must be at least 1, got \[1, -1\]", {"stride": (1, -1)}),
        (ValueError, r"stride needs 2 numbers, one a dimension, got \[1, 1, 1\]", {"stride": (1, 1, 1)}),
        (TypeError, r"stride must be an int or 2 ints, got 1.5", {"stride": 1.5}),
        (TypeError, r"stride must be an int or 2 ints, got True", {"stride": True}),
        (ValueError, r"padding must be at least 0, got \[-1, -1\]", {"padding": -1}),
        (ValueError, r"padding must be 'valid', 'same' or numbers, got 'full'", {"padding": "full"}),
        (ValueError, r"dilation must be at least 1, got \[0, 0\]", {"dilation": 0}),
        (ValueError, r"groups must be at least 1, got 0", {"groups": 0}),
        (TypeError, r"groups must be an int, got 1.0", {"groups": 1.0}),
    ]:
        with pytest.raises(error, match="^conv2d: " + match):
            F.conv2d(x, w, **args)
    with pytest.raises(TypeError, match="^conv_transpose2d: padding must be numbers, got 'same'"):
        F.conv_transpose2d(x, convkit.ones(4, 8, 3, 3), padding="same")
    with pytest.raises(ValueError, match="^conv_transpose2d: output_padding must be at least 0"):
        F.conv_transpose2d(x, convkit.ones(4, 8, 3, 3), output_padding=-1)


@pytest.mark.parametrize("name, f", [("conv2d", F.conv2d), ("conv_transpose2d", F.conv_transpose2d)])
def test_errors_of_types(name, f):
    x, w = convkit.ones(1, 4, 8, 8), convkit.ones(4, 4, 3, 3)
    with pytest.raises(TypeError, match=f"^{name}: needs float32 or float64, the same for all, got input float64, weight float32"):
        f(x.double(), w)
    with pytest.raises(TypeError, match=f"^{name}: .* got input float32, weight float32, bias float64"):
        f(x, w, convkit.ones(4, dtype=np.float64))
    with pytest.raises(TypeError, match=f"^{name}: .* got input int64, weight int64"):
        f(x.long(), w.long())
    with pytest.raises(TypeError, match=f"^{name}: weight must be a tensor, got ndarray"):
        f(x, w.numpy())


def test_a_bias_alone_gets_its_gradient_without_a_copy(monkeypatch):
    x, w = convkit.tensor(numbers(0, (2, 3, 5, 5))), convkit.tensor(numbers(1, (4, 3, 3, 3)))
    b, g = convkit.zeros(4, dtype=convkit.float64, requires_grad=True), numbers(2, (2, 4, 3, 3))
    monkeypatch.setattr("convkit.ops.conv.in_channels_last", lambda _: pytest.fail("the gradient was turned"))
    F.conv2d(x, w, b).backward(convkit.tensor(g))
    np.testing.assert_allclose(b.grad.numpy(), g.sum((0, 2, 3)), rtol=1e-14)
