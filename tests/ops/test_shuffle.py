import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import convkit
from convkit.nn import functional as F
from tests.backend import SIMULATED, settings
from tests.helpers import LAYOUTS, channels_last_copy, dtypes, layouts, memory_order, numbers, same
from tests.ops import both_layouts, check_gradients, gradients, leaf, second_order_runs, seeds


def shuffled(x, r):
    *batch, c, h, w = x.shape
    c //= r * r
    y = np.zeros((*batch, c, h * r, w * r), x.dtype)
    for k, i, j in np.ndindex(c, r, r):
        y[..., k, i::r, j::r] = x[..., k * r * r + i * r + j, :, :]
    return y


def dealt(x, g):
    y = np.zeros_like(x)
    per = x.shape[1] // g
    for i, k in np.ndindex(g, per):
        y[:, k * g + i] = x[:, i * per + k]
    return y


shapes = st.tuples(st.integers(0, 2), st.integers(1, 2), st.integers(1, 3), st.integers(1, 3))


@settings(max_examples=40)
@given(shape=shapes, r=st.integers(1, 3), extra=st.booleans(), dtype=dtypes, layout=layouts, seed=seeds)
def test_pixel_shuffle(shape, r, extra, dtype, layout, seed):
    n, c, h, w = shape
    x = numbers(seed, (*([2] if extra else []), n, c * r * r, h, w), dtype)
    y = F.pixel_shuffle(convkit.from_numpy(LAYOUTS[layout](x)), r)
    assert same(y.numpy(), shuffled(x, r)) and same(F.pixel_unshuffle(y, r).numpy(), x)
    assert same(F.pixel_unshuffle(convkit.from_numpy(LAYOUTS[layout](y.numpy())), r).numpy(), x)


@settings(max_examples=40)
@given(spatial=st.lists(st.integers(0, 3), min_size=1, max_size=3), per=st.integers(1, 3), g=st.integers(1, 3), dtype=dtypes, layout=layouts)
def test_channel_shuffle(spatial, per, g, dtype, layout):
    x = numbers(1, (2, per * g, *spatial), dtype)
    assert same(F.channel_shuffle(convkit.from_numpy(LAYOUTS[layout](x)), g).numpy(), dealt(x, g))


@settings(max_examples=2 if SIMULATED else 20)
@given(r=st.integers(1, 2), c=st.integers(1, 2), size=st.tuples(*[st.integers(1, 2)] * 2), layout=both_layouts, seed=seeds)
def test_gradients(r, c, size, layout, seed):
    h, w = size
    check_gradients(lambda x: F.pixel_shuffle(x, r), leaf(seed, (1, c * r * r, h, w), layout))
    check_gradients(lambda x: F.pixel_unshuffle(x, r), leaf(seed, (1, c, h * r, w * r), layout))
    check_gradients(lambda x: F.channel_shuffle(x, r), leaf(seed, (1, c * r, h, w), layout))


@pytest.mark.parametrize("call", [lambda x: F.pixel_shuffle(x, 2), lambda x: F.pixel_unshuffle(x, 2), lambda x: F.channel_shuffle(x, 4)])
def test_memory_order(call):
    for x in (numbers(1, (2, 8, 4, 6)), channels_last_copy(numbers(1, (2, 8, 4, 6)))):
        y, gx = gradients(call, convkit.tensor(x, requires_grad=True))
        assert memory_order(y) == memory_order(x)
        if x.flags.c_contiguous:
            assert y.flags.c_contiguous


def test_nothing():
    for f in (lambda x: F.pixel_shuffle(x, 2), lambda x: F.pixel_unshuffle(x, 2), lambda x: F.channel_shuffle(x, 2)):
        gradients(f, leaf(1, (0, 4, 2, 2)))
        second_order_runs(lambda x, f=f: f(x * x), leaf(1, (0, 4, 2, 2)))


def test_integers():
    assert F.pixel_shuffle(convkit.arange(4).reshape(1, 4, 1, 1), 2).tolist() == [[[[0, 1], [2, 3]]]]


X = convkit.zeros(1, 6, 3, 4)
WRONG = {
    r"pixel_shuffle: input must have at least 3 dimensions, got shape \[3, 4\]": (ValueError, lambda: F.pixel_shuffle(X[0, 0], 2)),
    r"pixel_shuffle: channels must be a multiple of upscale_factor\^2 = 4, got 6": (ValueError, lambda: F.pixel_shuffle(X, 2)),
    r"pixel_shuffle: upscale_factor must be at least 1, got 0": (ValueError, lambda: F.pixel_shuffle(X, 0)),
    r"pixel_shuffle: upscale_factor must be an int, got 2.0": (TypeError, lambda: F.pixel_shuffle(X, 2.0)),
    r"pixel_unshuffle: height and width must be multiples of downscale_factor=2": (ValueError, lambda: F.pixel_unshuffle(X, 2)),
    r"pixel_unshuffle: downscale_factor must be at least 1, got -1": (ValueError, lambda: F.pixel_unshuffle(X, -1)),
    r"channel_shuffle: channels must be a multiple of groups=4, got 6": (ValueError, lambda: F.channel_shuffle(X, 4)),
    r"channel_shuffle: groups must be at least 1, got 0": (ValueError, lambda: F.channel_shuffle(X, 0)),
    r"channel_shuffle: input must have at least 3 dimensions": (ValueError, lambda: F.channel_shuffle(X[0, 0], 2)),
    r"channel_shuffle: needs a tensor, got ndarray": (TypeError, lambda: F.channel_shuffle(X.numpy(), 2)),
}


@pytest.mark.parametrize("match", WRONG)
def test_errors(match):
    error, call = WRONG[match]
    with pytest.raises(error, match="^" + match):
        call()
