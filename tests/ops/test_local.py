import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import convkit
from convkit.nn import functional as F
from tests.backend import settings
from tests.helpers import LAYOUTS, dtypes, layouts, numbers, relative_error, tolerance
from tests.ops import both_layouts, check_gradients, gradients, leaf, second_order_runs, seeds

LOCAL = {1: F.locally_connected1d, 2: F.locally_connected2d, 3: F.locally_connected3d}
CONV = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}


@st.composite
def geometries(draw, most=6, channels=3):
    """(x shape, weight shape, arguments)."""
    rank = draw(st.integers(1, 3))
    most = most if rank < 3 else min(most, 3)
    each = lambda low, high: tuple(draw(st.integers(low, high)) for _ in range(rank))
    size, stride, dilation = each(1, 2), each(1, 2), each(1, 2)
    padding = tuple((draw(st.integers(0, 1)), draw(st.integers(0, 1))) for _ in range(rank))
    span = [d * (r - 1) + 1 for r, d in zip(size, dilation, strict=True)]
    inside = [draw(st.integers(max(1, s - sum(p)), max(most, s))) for s, p in zip(span, padding, strict=True)]
    out = [(n + sum(p) - s) // t + 1 for n, p, s, t in zip(inside, padding, span, stride, strict=True)]
    regions = out if draw(st.booleans()) else [draw(st.integers(1, n)) for n in out]
    c, k = draw(st.integers(1, channels)), draw(st.integers(1, channels))
    return (draw(st.integers(1, 2)), c, *inside), (*regions, *size, c, k), {"stride": stride, "padding": padding, "dilation": dilation}


def by_convolutions(x, w, b, **args):
    """A convolution with each region's weights, of which only the region's places are kept."""
    rank = x.ndim - 2
    regions = w.shape[:rank]
    y = None
    for g in np.ndindex(*regions):
        weight = np.moveaxis(w[g], (-1, -2), (0, 1))
        part = CONV[rank](*map(convkit.from_numpy, (x, np.ascontiguousarray(weight), b[g])), **args).numpy()
        y = np.zeros_like(part) if y is None else y
        places = np.ix_(*([o for o in range(n) if o * m // n == i] for n, m, i in zip(part.shape[2:], regions, g, strict=True)))
        y[(slice(None), slice(None), *places)] = part[(slice(None), slice(None), *places)]
    return y


@settings(max_examples=30)
@given(case=geometries(), dtype=dtypes, layout=layouts, seed=seeds)
def test_values(case, dtype, layout, seed):
    shape, w_shape, args = case
    rank = len(shape) - 2
    x, w, b = numbers(seed, shape, dtype), numbers(seed + 1, w_shape, dtype), numbers(seed + 2, (*w_shape[:rank], w_shape[-1]), dtype)
    y = LOCAL[rank](*(convkit.from_numpy(LAYOUTS[layout](a)) for a in (x, w, b)), **args)
    assert y.dtype == dtype and relative_error(y.numpy(), by_convolutions(x, w, b, **args)) < tolerance(dtype, 2e-6)


def small(case):
    return np.prod(case[0]) <= 16 and np.prod(case[1]) <= 24


@settings(max_examples=30)
@given(case=geometries(most=4, channels=2).filter(small), layout=both_layouts, bias=st.booleans(), seed=seeds)
def test_gradients(case, layout, bias, seed):
    shape, w_shape, args = case
    rank = len(shape) - 2
    inputs = [leaf(seed, shape, layout), leaf(seed + 1, w_shape)] + [leaf(seed + 2, (*w_shape[:rank], w_shape[-1]))] * bias
    check_gradients(lambda x, w, b=None: LOCAL[rank](x, w, b, **args), *inputs)


def test_nothing_and_one():
    f = F.locally_connected2d
    y, gx, gw, gb = gradients(f, leaf(1, (0, 2, 3, 4)), leaf(2, (2, 3, 2, 2, 2, 5)), leaf(3, (2, 3, 5)))
    assert y.shape == (0, 5, 2, 3) and not gw.any() and not gb.any()
    second_order_runs(f, leaf(1, (0, 2, 3, 4)), leaf(2, (2, 3, 2, 2, 2, 5)), leaf(3, (2, 3, 5)))
    y, gx, gw, gb = gradients(f, leaf(1, (1, 1, 1, 1)), leaf(2, (1,) * 6), leaf(3, (1, 1, 1)))
    assert y.shape == gx.shape == (1, 1, 1, 1) and gb.item() == 1


def test_one_image_without_a_batch_dimension_and_padding_in_words():
    x, w = leaf(1, (2, 5, 4)), leaf(2, (3, 2, 3, 2, 2, 4))
    y = F.locally_connected2d(x, w, stride=2, padding="same")
    assert y.shape == (4, 3, 2)
    same = F.locally_connected2d(x.unsqueeze(0), w, stride=2, padding=((1, 1), (0, 0)))[0]
    np.testing.assert_array_equal(y.detach().numpy(), same.detach().numpy())


def test_nan_reaches_its_windows_and_its_region():
    x, w = np.ones((1, 1, 6), np.float32), np.ones((2, 2, 1, 1), np.float32)
    x[0, 0, 3] = np.nan
    np.testing.assert_array_equal(np.isnan(F.locally_connected1d(*map(convkit.from_numpy, (x, w))).numpy()[0, 0]), [0, 0, 1, 1, 0])
    w[1, 0] = np.nan
    np.testing.assert_array_equal(np.isnan(F.locally_connected1d(*map(convkit.from_numpy, (np.ones_like(x), w))).numpy()[0, 0]), [0, 0, 0, 1, 1])


def test_errors():
    ones, f = convkit.ones, F.locally_connected2d
    x, w = ones(1, 3, 4, 5), ones(2, 2, 2, 2, 3, 4)
    for match, call in {
        r"locally_connected2d: weight must be 6-D \[\*regions, \*window, C, K\], got shape \[2, 2, 3, 4\]": lambda: f(x, ones(2, 2, 3, 4)),
        r"locally_connected2d: input must be 4-D \[N, C, H, W\], got shape \[3, 4\]": lambda: f(ones(3, 4), w),
        r"locally_connected2d: input has 2 channels but weight .* needs 3": lambda: f(ones(1, 2, 4, 5), w),
        r"locally_connected2d: weight \[4, 2, .*\] has \[4, 2\] regions, of 1 to \[3, 4\]": lambda: f(x, ones(4, 2, 2, 2, 3, 4)),
        r"locally_connected2d: bias must have shape \[2, 2, 4\], .* got \[4\]": lambda: f(x, w, ones(4)),
        r"locally_connected2d: the window covers \[5, 5\]": lambda: f(x, ones(1, 1, 5, 5, 3, 4)),
        r"locally_connected2d: stride must be at least 1": lambda: f(x, w, stride=0),
    }.items():
        with pytest.raises(ValueError, match="^" + match):
            call()
    with pytest.raises(TypeError, match="^locally_connected2d: .* got input float64, weight float32"):
        f(x.double(), w)
