"""Pooling layers against plain windows."""

import numpy as np
import pytest

import convkit
from convkit import nn

MAX = {1: nn.MaxPool1d, 2: nn.MaxPool2d, 3: nn.MaxPool3d}
AVG = {1: nn.AvgPool1d, 2: nn.AvgPool2d, 3: nn.AvgPool3d}
ADAPTIVE = {1: nn.AdaptiveAvgPool1d, 2: nn.AdaptiveAvgPool2d, 3: nn.AdaptiveAvgPool3d}


def by_hand(x, size, stride, padding, reduce, border):
    rank = x.ndim - 2
    x = np.pad(x, [(0, 0), (0, 0)] + [(padding, padding)] * rank, constant_values=border)
    out = [(n - size) // stride + 1 for n in x.shape[2:]]
    y = np.zeros((*x.shape[:2], *out))
    for o in np.ndindex(*out):
        window = tuple(slice(i * stride, i * stride + size) for i in o)
        y[(..., *o)] = reduce(x[(slice(None), slice(None), *window)].reshape(*x.shape[:2], -1), axis=2)
    return y


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize(("size", "stride", "padding"), [(2, None, 0), (3, 2, 1)])
def test_values(rank, size, stride, padding):
    x = convkit.randn(2, 3, *(8, 7, 6)[:rank])
    step = size if stride is None else stride
    got = MAX[rank](size, stride, padding)(x).numpy()
    np.testing.assert_allclose(got, by_hand(x.numpy(), size, step, padding, np.max, -np.inf), rtol=1e-6)
    got = AVG[rank](size, stride, padding)(x).numpy()
    np.testing.assert_allclose(got, by_hand(x.numpy(), size, step, padding, np.mean, 0), rtol=1e-5, atol=1e-6)
    got = AVG[rank](size, stride, padding, count_include_pad=False)(x).numpy()
    np.testing.assert_allclose(got, by_hand(x.numpy(), size, step, padding, np.nanmean, np.nan), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_adaptive(rank):
    x = convkit.randn(2, 3, *[6] * rank)
    everything = tuple(range(2, 2 + rank))
    np.testing.assert_allclose(ADAPTIVE[rank](1)(x).numpy(), x.numpy().mean(everything, keepdims=True), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(ADAPTIVE[rank](2)(x).numpy(), AVG[rank](3)(x).numpy(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_layers_are_their_functions(rank):
    """The rest of the family: each layer with each of its arguments."""
    x = convkit.randn(2, 3, *(7, 6, 5)[:rank])
    layer = lambda name: getattr(nn, f"{name}{rank}d")
    f = lambda name: getattr(nn.functional, f"{name}{rank}d")
    y, indices = layer("MaxPool")(2, 2, 1, 1, True, True)(x)
    expected = f("max_pool")(x, 2, 2, 1, 1, True, True)
    assert np.array_equal(y.numpy(), expected[0].numpy()) and np.array_equal(indices.numpy(), expected[1].numpy())
    y, indices = layer("MaxPool")(2, return_indices=True)(x)
    back = layer("MaxUnpool")(2)(y, indices, output_size=x.shape)
    assert back.shape == x.shape and np.array_equal(np.unique(back.numpy()), np.unique([*y.numpy().ravel(), 0]))
    positive = x.abs()
    assert np.array_equal(layer("LPPool")(3, 2, 1, True)(positive).numpy(), f("lp_pool")(positive, 3, 2, 1, True).numpy())
    y, indices = layer("AdaptiveMaxPool")((4, 3, 2)[:rank], return_indices=True)(x)
    assert np.array_equal(np.take_along_axis(x.numpy().reshape(2, 3, -1), indices.numpy().reshape(2, 3, -1), 2), y.numpy().reshape(2, 3, -1))
    assert np.array_equal(layer("AdaptiveMaxPool")(3)(x).numpy(), f("adaptive_max_pool")(x, 3).numpy())
    assert np.array_equal(layer("AdaptiveAvgPool")((4, None, 2)[:rank])(x).numpy(), f("adaptive_avg_pool")(x, (4, None, 2)[:rank]).numpy())
    np.testing.assert_allclose(layer("GlobalAvgPool")(flatten=True)(x).numpy(), x.numpy().reshape(2, 3, -1).mean(2), rtol=1e-5, atol=1e-6)
    assert np.array_equal(layer("GlobalMaxPool")()(x).numpy(), x.numpy().reshape(2, 3, -1).max(2).reshape(2, 3, *[1] * rank))


def test_ceil_mode_divisor_and_dilation():
    x = convkit.tensor(np.arange(25, dtype=np.float32).reshape(1, 1, 5, 5))
    assert nn.MaxPool2d(2, ceil_mode=True)(x).shape == (1, 1, 3, 3) and nn.MaxPool2d(2)(x).shape == (1, 1, 2, 2)
    assert nn.MaxPool2d(2, stride=1, dilation=2)(x).numpy()[0, 0, 0].tolist() == [12, 13, 14]
    assert nn.AvgPool2d(2, divisor_override=1)(x).numpy()[0, 0, 0, 0] == 0 + 1 + 5 + 6
    assert nn.AdaptiveAvgPool2d((None, 1))(x).shape == (1, 1, 5, 1)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nn.MaxPool2d(0), "MaxPool2d: kernel_size must be at least 1"),
        (lambda: nn.MaxPool2d(2, stride=0), "MaxPool2d: stride must be at least 1"),
        (lambda: nn.MaxPool2d(3, padding=2), "MaxPool2d: padding must be at most half the window, got padding [[2, 2], [2, 2]] and window [3, 3]"),
        (lambda: nn.MaxUnpool2d(2, stride=0), "MaxUnpool2d: stride must be at least 1"),
        (lambda: nn.LPPool2d(0, 2), "LPPool2d: norm_type must be a number other than 0"),
        (lambda: nn.AvgPool2d(2, divisor_override=0), "AvgPool2d: divisor_override must not be 0"),
        (lambda: nn.AvgPool1d(2, divisor_override=3), "AvgPool1d: divisor_override is for two and three dimensions"),
        (lambda: nn.AdaptiveAvgPool2d(-1), "AdaptiveAvgPool2d: output_size must be at least 0"),
        (lambda: nn.AdaptiveMaxPool3d((1, 2)), "AdaptiveMaxPool3d: output_size needs 3 numbers, one a dimension, got [1, 2]"),
        (lambda: nn.GlobalAvgPool1d()(convkit.ones(2, 3)), "GlobalAvgPool1d: input must be 3-D, got shape [2, 3]"),
    ],
)
def test_errors_come_at_construction(make, message):
    with pytest.raises(ValueError) as raised:
        make()
    assert message in str(raised.value)


def test_repr():
    assert repr(nn.MaxPool2d(2)) == "MaxPool2d(kernel_size=2, stride=2, padding=0, dilation=1, ceil_mode=False)"
    assert repr(nn.AvgPool2d(3, 2)) == "AvgPool2d(kernel_size=3, stride=2, padding=0)"
    assert repr(nn.LPPool2d(2, 3)) == "LPPool2d(norm_type=2, kernel_size=3, stride=3, ceil_mode=False)"
    assert repr(nn.MaxUnpool1d(2)) == "MaxUnpool1d(kernel_size=2, stride=2, padding=0)"
    assert repr(nn.AdaptiveMaxPool2d((None, 3))) == "AdaptiveMaxPool2d(output_size=(None, 3))"
    assert repr(nn.GlobalMaxPool3d(flatten=True)) == "GlobalMaxPool3d(flatten=True)"
    assert repr(nn.AdaptiveAvgPool2d(1)) == "AdaptiveAvgPool2d(output_size=1)"
