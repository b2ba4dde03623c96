"""Padding layers against NumPy."""

import numpy as np
import pytest

import convkit
from convkit import nn
from convkit.nn import functional as F

NUMPY = {"ReflectionPad": "reflect", "ReplicationPad": "edge", "CircularPad": "wrap", "ZeroPad": "constant"}


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("kind", NUMPY)
def test_values(kind, rank):
    x = convkit.randn(2, 3, *(4, 3, 5)[:rank])
    layer = getattr(nn, f"{kind}{rank}d")
    pad = (1, 2, 2, 0, 0, 1)[: 2 * rank]
    pairs = [(0, 0), (0, 0), *list(zip(pad[::2], pad[1::2], strict=True))[::-1]]
    assert np.array_equal(layer(pad)(x).numpy(), np.pad(x.numpy(), pairs, NUMPY[kind]))
    assert np.array_equal(layer(1)(x).numpy(), np.pad(x.numpy(), [(0, 0)] * 2 + [(1, 1)] * rank, NUMPY[kind]))
    assert np.array_equal(layer(1)(x[0]).numpy(), layer(1)(x).numpy()[0])
    y = getattr(nn, f"ConstantPad{rank}d")(pad, 2.5)(x)
    assert np.array_equal(y.numpy(), np.pad(x.numpy(), pairs, constant_values=2.5))


def test_cropping():
    x = convkit.randn(1, 2, 5, 5)
    for name in ("ZeroPad2d", "ReflectionPad2d", "ReplicationPad2d", "CircularPad2d"):
        assert np.array_equal(getattr(nn, name)(-1)(x).numpy(), x.numpy()[:, :, 1:-1, 1:-1])


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: nn.ReflectionPad2d((1, 2)), ValueError, "ReflectionPad2d: padding needs 4 numbers, one a dimension, got [1, 2]"),
        (
            lambda: nn.ZeroPad1d((1,)),
            ValueError,
            "ZeroPad1d: padding needs 2 numbers, (before, after) for each dimension, the last one first, got (1,)",
        ),
        (lambda: nn.ZeroPad2d(1.5), TypeError, "ZeroPad2d: padding must be an int or 4 ints, got 1.5"),
        (lambda: nn.ConstantPad2d(1), TypeError, "value"),
        (lambda: nn.ReflectionPad2d(1)(convkit.ones(2, 2)), ValueError, "ReflectionPad2d: input must be 3-D or 4-D, got shape [2, 2]"),
        (lambda: nn.CircularPad1d(4)(convkit.ones(1, 1, 3)), ValueError, "wrapping around needs at most the dimension's size 3"),
    ],
)
def test_errors(make, error, message):
    with pytest.raises(error) as raised:
        make()
    assert message in str(raised.value)


def test_repr_and_functional():
    assert repr(nn.ReflectionPad2d(1)) == "ReflectionPad2d((1, 1, 1, 1))"
    assert repr(nn.ConstantPad1d((1, 2), 3.5)) == "ConstantPad1d(padding=(1, 2), value=3.5)"
    x = convkit.randn(1, 1, 4)
    assert np.array_equal(nn.ReplicationPad1d(2)(x).numpy(), F.pad(x, (2, 2), mode="replicate").numpy())
