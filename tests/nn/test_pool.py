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
        (lambda: nn.MaxPool2d(3, padding=2), "MaxPool2d: padding must be at most half the window, got padding 2 and kernel_size 3"),
        (lambda: nn.MaxPool2d(3, return_indices=True), "MaxPool2d: return_indices must be False"),
        (lambda: nn.AvgPool1d(2, divisor_override=3), "AvgPool1d: divisor_override is for two and three dimensions"),
        (lambda: nn.AdaptiveAvgPool2d(0), "AdaptiveAvgPool2d: output_size must be at least 1"),
    ],
)
def test_errors_come_at_construction(make, message):
    with pytest.raises(ValueError) as raised:
        make()
    assert message in str(raised.value)


def test_repr():
    assert repr(nn.MaxPool2d(2)) == "MaxPool2d(kernel_size=2, stride=2, padding=0, dilation=1, ceil_mode=False)"
    assert repr(nn.AvgPool2d(3, 2)) == "AvgPool2d(kernel_size=3, stride=2, padding=0)"
    assert repr(nn.AdaptiveAvgPool2d(1)) == "AdaptiveAvgPool2d(output_size=1)"
