import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import convkit
from convkit.nn import functional as F
from tests.backend import SIMULATED, settings
from tests.helpers import LAYOUTS, dtypes, layouts, numbers
from tests.ops import both_layouts, check_gradients, gradients, leaf, second_order_runs, seeds


@st.composite
def geometries(draw, most=6):
    """(x shape, arguments)."""
    each = lambda low, high: tuple(draw(st.integers(low, high)) for _ in range(2))
    args = {"kernel_size": each(1, 3), "stride": each(1, 3), "dilation": each(1, 2), "padding": each(0, 2)}
    span = [d * (r - 1) + 1 for r, d in zip(args["kernel_size"], args["dilation"], strict=True)]
    inside = [draw(st.integers(max(1, s - 2 * p), max(most, s))) for s, p in zip(span, args["padding"], strict=True)]
    return (draw(st.integers(1, 2)), draw(st.integers(1, 2)), *inside), args


def by_hand(x, kernel_size, stride, dilation, padding):
    """Column after column."""
    x = np.pad(x, ((0, 0), (0, 0), *((p, p) for p in padding)))
    places = [range(0, n - d * (r - 1), s) for n, r, s, d in zip(x.shape[2:], kernel_size, stride, dilation, strict=True)]
    (r, s), (dh, dw) = kernel_size, dilation
    columns = [x[:, :, p : p + dh * (r - 1) + 1 : dh, q : q + dw * (s - 1) + 1 : dw] for p, q in itertools.product(*places)]
    return np.stack([c.reshape(len(x), -1) for c in columns], -1)


@settings(max_examples=40)
@given(case=geometries(), dtype=dtypes, layout=layouts, seed=seeds)
def test_values(case, dtype, layout, seed):
    shape, args = case
    x = numbers(seed, shape, dtype)
    y = F.unfold(convkit.from_numpy(LAYOUTS[layout](x)), **args)
    expected = by_hand(x, **args)
    assert y.dtype == dtype
    np.testing.assert_array_equal(y.numpy(), expected)
    # Folded again, every pixel counts as often as it was seen.
    seen = F.fold(F.unfold(convkit.ones(*shape, dtype=dtype), **args), shape[2:], **args)
    np.testing.assert_allclose(F.fold(y, shape[2:], **args).numpy(), x * seen.numpy(), rtol=1e-6)


@settings(max_examples=2 if SIMULATED else 30)
@given(case=geometries(most=2 if SIMULATED else 4), layout=both_layouts, seed=seeds)
def test_gradients(case, layout, seed):
    shape, args = case
    check_gradients(lambda x: F.unfold(x, **args), leaf(seed, shape, layout))
    columns = F.unfold(leaf(seed, shape), **args).shape
    check_gradients(lambda y: F.fold(y, shape[2:], **args), leaf(seed, columns))


def test_it_makes_a_convolution():
    x, w = leaf(1, (2, 3, 6, 5)), leaf(2, (4, 3, 3, 2))
    y = (w.reshape(4, 18) @ F.unfold(x, (3, 2), padding=1)).reshape(2, 4, 6, 6)
    np.testing.assert_allclose(y.detach().numpy(), F.conv2d(x, w, padding=1).detach().numpy(), rtol=1e-12, atol=1e-12)


def test_nothing_and_one():
    y, gx = gradients(lambda x: F.unfold(x, 2), leaf(1, (0, 3, 4, 4)))
    assert y.shape == (0, 12, 9) and gx.shape == (0, 3, 4, 4)
    y, gx = gradients(lambda x: F.fold(x, 4, 2), leaf(1, (0, 12, 9)))
    assert y.shape == (0, 3, 4, 4) and gx.shape == (0, 12, 9)
    y, gx = gradients(lambda x: F.unfold(x, 1), leaf(1, (1, 1, 1, 1)))
    assert y.shape == (1, 1, 1) and gx.item() == 1
    second_order_runs(lambda x: F.unfold(x, 2), leaf(1, (0, 3, 4, 4)))


def test_one_image_without_a_batch_dimension():
    x = leaf(1, (2, 4, 5))
    y, gx = gradients(lambda x: F.unfold(x, 2), x)
    np.testing.assert_array_equal(y, F.unfold(x.unsqueeze(0), 2)[0].detach().numpy())
    assert F.fold(leaf(1, (8, 12)), (4, 5), 2).shape == (2, 4, 5)


def test_errors():
    ones = convkit.ones
    for match, call in {
        r"unfold: input must be 4-D \[N, C, H, W\] or without N, got shape \[4, 5\]": lambda: F.unfold(ones(4, 5), 2),
        r"unfold: only N may be 0, got shape \[2, 0, 4, 5\]": lambda: F.unfold(ones(2, 0, 4, 5), 2),
        r"unfold: the window covers \[9, 9\] .* but the padded input is only \[4, 5\]": lambda: F.unfold(ones(2, 1, 4, 5), 9),
        r"unfold: kernel_size needs 2 numbers, one a dimension, got \[2, 2, 2\]": lambda: F.unfold(ones(2, 1, 4, 5), (2, 2, 2)),
        r"unfold: kernel_size needs 2 numbers, one a dimension, got \[2\]": lambda: F.unfold(ones(2, 1, 4, 5), (2,)),
        r"fold: stride needs 2 numbers, one a dimension, got \[1\]": lambda: F.fold(ones(1, 4, 9), 4, 2, stride=[1]),
        r"unfold: stride must be at least 1, got \[0, 0\]": lambda: F.unfold(ones(2, 1, 4, 5), 2, stride=0),
        r"fold: input must be 3-D \[N, C \* taps, places\] or without N, got shape \[1, 1, 4, 9\]": lambda: F.fold(ones(1, 1, 4, 9), 4, 2),
        r"fold: input \[1, 6, 9\] has 6 rows, not a positive multiple of the 4 taps of kernel_size \[2, 2\]": lambda: F.fold(ones(1, 6, 9), 4, 2),
        r"fold: the window has \[3, 3\] = 9 places in output_size \[4, 4\], but input \[1, 4, 8\] has 8": lambda: F.fold(ones(1, 4, 8), 4, 2),
        r"fold: output_size needs 2 numbers": lambda: F.fold(ones(1, 4, 9), (4, 4, 4), 2),
        r"fold: the window covers \[5, 5\]": lambda: F.fold(ones(1, 25, 1), (4, 4), 5),
    }.items():
        with pytest.raises(ValueError, match="^" + match):
            call()
    with pytest.raises(TypeError, match="^unfold: needs float32 or float64, the same for all, got input int64"):
        F.unfold(ones(1, 1, 4, 4).long(), 2)
    with pytest.raises(TypeError, match="^fold: kernel_size must be an int or 2 ints, got 1.5"):
        F.fold(ones(1, 4, 9), 4, 1.5)
