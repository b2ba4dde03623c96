"""Convolution layers: their weights, their numbers, their errors; values against plain sums."""

import numpy as np
import pytest

import convkit
from convkit import nn
from tests import backend

CONV = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
TRANSPOSE = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}


def by_hand(x, w, b, stride, padding, dilation, groups):
    """y[n, k, o] = b[k] + sum over c and taps r of x[n, c, o*stride + r*dilation - padding] * w[k, c, r], rank by rank."""
    rank = x.ndim - 2
    x = np.pad(x, [(0, 0), (0, 0)] + [(padding, padding)] * rank)
    out = [(n - dilation * (r - 1) - 1) // stride + 1 for n, r in zip(x.shape[2:], w.shape[2:], strict=True)]
    y = np.zeros((x.shape[0], w.shape[0], *out))
    per = w.shape[0] // groups
    for k in range(w.shape[0]):
        channels = slice(k // per * w.shape[1], (k // per + 1) * w.shape[1])
        for o in np.ndindex(*out):
            window = tuple(slice(i * stride, i * stride + dilation * (r - 1) + 1, dilation) for i, r in zip(o, w.shape[2:], strict=True))
            y[(slice(None), k, *o)] = (x[(slice(None), channels, *window)] * w[k]).reshape(x.shape[0], -1).sum(1) + b[k]
    return y


@pytest.mark.parametrize(("rank", "groups", "stride", "dilation"), [(1, 1, 2, 1), (1, 2, 1, 2), (2, 1, 1, 1), (2, 2, 2, 2), (3, 2, 2, 1)])
def test_values(rank, groups, stride, dilation):
    layer = CONV[rank](4, 6, 3, stride=stride, padding=1, dilation=dilation, groups=groups, dtype=np.float64)
    x = convkit.randn(2, 4, *(7, 6, 5)[:rank], dtype=np.float64)
    expected = by_hand(x.numpy(), layer.weight.detach().numpy(), layer.bias.detach().numpy(), stride, 1, dilation, groups)
    np.testing.assert_allclose(layer(x).detach().numpy(), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_a_transposed_convolution_is_the_adjoint(rank):
    """<conv(x), y> = <x, transposed(y)> for weights in the same memory."""
    options = {"stride": 2, "padding": 1, "dilation": 2, "groups": 2, "bias": False, "dtype": np.float64}
    conv, back = CONV[rank](4, 6, 3, **options), TRANSPOSE[rank](6, 4, 3, **options)
    back.load_state_dict(conv.state_dict())
    x = convkit.randn(2, 4, *(8, 7, 9)[:rank], dtype=np.float64)
    y = conv(x)
    g = convkit.randn(*y.shape, dtype=np.float64)
    out = back(g, output_size=x.shape)
    assert out.shape == x.shape
    np.testing.assert_allclose((y * g).sum().item(), (x * out).sum().item(), rtol=1e-11)


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_shapes_of_weights_and_outputs(rank):
    n = 3 if backend.SIMULATED else 6
    x = convkit.zeros(2, 4, *[n] * rank)
    layer = CONV[rank](4, 6, 3, groups=2)
    assert layer.weight.shape == (6, 2, *[3] * rank) and layer.bias.shape == (6,) and layer(x).shape == (2, 6, *[n - 2] * rank)
    layer = TRANSPOSE[rank](4, 6, 3, stride=2, output_padding=1, groups=2)
    assert layer.weight.shape == (4, 3, *[3] * rank) and layer.bias.shape == (6,) and layer(x).shape == (2, 6, *[2 * n + 2] * rank)
    assert list(CONV[rank](1, 1, 1, bias=False).state_dict()) == ["weight"]


def test_padding_words_and_pairs():
    x = convkit.ones(1, 1, 5, 5)
    assert nn.Conv2d(1, 1, 3, padding="same", dilation=2)(x).shape == (1, 1, 5, 5)
    assert nn.Conv2d(1, 1, (2, 4), padding="same")(x).shape == (1, 1, 5, 5)
    assert nn.Conv2d(1, 1, 3, padding="valid")(x).shape == (1, 1, 3, 3)
    layer = nn.Conv2d(1, 1, 3, padding=((0, 2), (1, 0)))
    assert layer.padding == ((0, 2), (1, 0)) and layer(x).shape == (1, 1, 5, 4)
    assert nn.Conv2d(1, 1, 3, padding=(1, 2)).padding == (1, 2)


@pytest.mark.parametrize("size", range(1, 12))
def test_same_with_a_stride(size):
    """ceil(in / stride) places, and no more padding than they need, the odd one after."""
    for kernel, stride, dilation in [(3, 2, 1), (2, 3, 1), (4, 2, 1), (5, 3, 2), (1, 2, 1), (2, 4, 3)]:
        layer = nn.Conv1d(1, 1, kernel, stride, padding="same", dilation=dilation, dtype=np.float64)
        x, out = convkit.randn(1, 1, size, dtype=np.float64), -(-size // stride)
        total = max(0, (out - 1) * stride + dilation * (kernel - 1) + 1 - size)
        padded = convkit.nn.functional.pad(x, (total // 2, total - total // 2))
        expected = convkit.nn.functional.conv1d(padded, layer.weight, layer.bias, stride, 0, dilation)
        assert layer(x).shape == (1, 1, out) == expected.shape
        np.testing.assert_array_equal(layer(x).detach().numpy(), expected.detach().numpy())


@pytest.mark.parametrize(("mode", "numpy_s"), [("reflect", "reflect"), ("replicate", "edge"), ("circular", "wrap")])
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_padding_modes(mode, numpy_s, rank):
    layer = CONV[rank](2, 3, 3, stride=2, padding=2, dilation=2, padding_mode=mode, dtype=np.float64)
    x = convkit.randn(2, 2, *(7, 6, 5)[:rank], dtype=np.float64)
    frame = np.pad(x.numpy(), [(0, 0), (0, 0)] + [(2, 2)] * rank, mode=numpy_s)
    expected = by_hand(frame, layer.weight.detach().numpy(), layer.bias.detach().numpy(), 2, 0, 2, 1)
    np.testing.assert_allclose(layer(x).detach().numpy(), expected, rtol=1e-12, atol=1e-12)
    if rank == 1 or not backend.SIMULATED:  # hundreds of calls
        assert convkit.autograd.gradcheck(layer, convkit.randn(1, 2, *[5] * rank, dtype=np.float64, requires_grad=True))


def test_padding_modes_with_words_and_pairs():
    x = convkit.randn(2, 1, 6, 5)
    for padding, stride, pairs in [
        ("same", 1, ((0, 1), (1, 1))),
        ("same", 2, ((0, 0), (1, 1))),
        ("valid", 1, ((0, 0), (0, 0))),
        (((0, 2), (1, 0)), 1, ((0, 2), (1, 0))),
    ]:
        layer = nn.Conv2d(1, 1, (2, 3), stride, padding, padding_mode="circular")
        frame = convkit.from_numpy(np.pad(x.numpy(), ((0, 0), (0, 0), *pairs), mode="wrap"))
        expected = nn.functional.conv2d(frame, layer.weight, layer.bias, stride)
        np.testing.assert_array_equal(layer(x).detach().numpy(), expected.detach().numpy())
    assert repr(layer).endswith("padding_mode=circular)")
    assert layer(x[0]).shape == (1, 7, 4)


@pytest.mark.parametrize("layer", [nn.Conv2d(8, 16, 5, groups=2), nn.ConvTranspose2d(16, 8, 5, groups=2), nn.Linear(100, 60)])
def test_initial_weights_are_uniform_within_one_over_root_fan_in(layer):
    convkit.manual_seed(3)
    layer.reset_parameters()
    fan_in = layer.weight.shape[1] * int(np.prod(layer.weight.shape[2:]))
    bound = 1 / np.sqrt(fan_in)
    w, b = layer.weight.detach().numpy(), layer.bias.detach().numpy()
    for values in (w, b):
        assert np.abs(values).max() <= bound and np.abs(values).max() > 0.8 * bound
    assert abs(w.std() / (bound / np.sqrt(3)) - 1) < 0.05 and abs(w.mean()) < bound * 0.05
    convkit.manual_seed(3)
    layer.reset_parameters()
    np.testing.assert_array_equal(layer.weight.detach().numpy(), w)  # the seed fixes them


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: nn.Conv2d(3, 4, 3, groups=2), ValueError, "Conv2d: in_channels must be divisible by groups, got 3 and groups=2"),
        (lambda: nn.Conv1d(4, 3, 3, groups=2), ValueError, "Conv1d: out_channels must be divisible by groups, got 3 and groups=2"),
        (lambda: nn.Conv2d(0, 4, 3), ValueError, "Conv2d: in_channels must be at least 1, got 0"),
        (lambda: nn.Conv2d(3, 4.0, 3), TypeError, "Conv2d: out_channels must be an int, got 4.0"),
        (lambda: nn.Conv2d(3, 4, 0), ValueError, "Conv2d: kernel_size must be at least 1"),
        (lambda: nn.Conv3d(3, 4, (3, 3)), ValueError, "Conv3d: kernel_size needs 3 numbers"),
        (lambda: nn.Conv2d(3, 4, 3, stride=0), ValueError, "Conv2d: stride must be at least 1"),
        (lambda: nn.Conv2d(3, 4, 3, padding=-1), ValueError, "Conv2d: padding must be at least 0"),
        (lambda: nn.Conv2d(3, 4, 3, padding="full"), ValueError, "Conv2d: padding must be 'valid', 'same' or numbers"),
        (
            lambda: nn.Conv2d(3, 4, 3, padding_mode="mirror"),
            ValueError,
            "Conv2d: padding_mode must be 'zeros' or 'reflect' or 'replicate' or 'circular', got 'mirror'",
        ),
        (
            lambda: nn.ConvTranspose2d(3, 4, 3, padding_mode="reflect"),
            ValueError,
            "ConvTranspose2d: padding_mode must be 'zeros', got 'reflect'",
        ),
        (lambda: nn.Conv2d(3, 4, 3, dtype=np.int64), TypeError, "Conv2d: dtype must be floating, got int64"),
        (lambda: nn.ConvTranspose2d(3, 4, 3, padding="same"), ValueError, "ConvTranspose2d: padding must be numbers, got 'same'"),
        (lambda: nn.ConvTranspose2d(3, 4, 3, output_padding=1), ValueError, "output_padding must be smaller than stride or dilation"),
    ],
)
def test_errors_come_at_construction(make, error, message):
    with pytest.raises(error) as raised:
        make()
    assert message in str(raised.value)


def test_output_size_out_of_reach():
    layer = nn.ConvTranspose2d(1, 1, 3, stride=2)
    x = convkit.zeros(1, 1, 4, 4)
    assert [layer(x, output_size=(n, n)).shape[2] for n in (9, 10)] == [9, 10]
    assert layer(x[0], output_size=(1, 10, 9)).shape == (1, 10, 9)
    with pytest.raises(ValueError) as caught:
        layer(x, output_size=(11, 9))
    assert str(caught.value) == (
        "ConvTranspose2d: output_size [11, 9] is out of reach: (input - 1)*stride + dilation*(kernel - 1) + 1 - padding before - after, and up to "
        "stride - 1 more, is for H: (4 - 1)*2 + 1*(3 - 1) + 1 - 0 - 0 = 9, so 9 to 10 can be asked for, got 11; "
        "W: (4 - 1)*2 + 1*(3 - 1) + 1 - 0 - 0 = 9, so 9 to 10 can be asked for, got 9"
    )
    # A dilation allows output_padding beyond the stride, but no convolution maps that size to the input's.
    with pytest.raises(ValueError, match="so 10 to 10 can be asked for, got 11"):
        nn.ConvTranspose1d(1, 1, 3, dilation=3)(x[:, :, 0], output_size=(11,))
    for wrong in ((9,), (1, 9, 9), (1, 1, 1, 9, 9)):
        with pytest.raises(ValueError, match=r"ConvTranspose2d: output_size needs 2 numbers, one a dimension, or 4 like the input"):
            layer(x, output_size=wrong)
    with pytest.raises(TypeError, match="ConvTranspose2d: output_size must be an int or 2 ints"):
        layer(x, output_size=(9.5, 9))


def test_repr():
    assert repr(nn.Conv2d(8, 8, 3, padding=1, dilation=2, groups=8, bias=False)) == (
        "Conv2d(8, 8, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1), dilation=(2, 2), groups=8, bias=False)"
    )
    assert repr(nn.Conv1d(1, 2, 3, padding="same")) == "Conv1d(1, 2, kernel_size=(3,), stride=(1,), padding=same)"
    assert repr(nn.ConvTranspose2d(1, 2, 3, stride=2, output_padding=1)) == (
        "ConvTranspose2d(1, 2, kernel_size=(3, 3), stride=(2, 2), output_padding=(1, 1))"
    )


@pytest.mark.parametrize("rank", [1, 2])
@pytest.mark.parametrize("transposed", [False, True])
def test_gradients(rank, transposed):
    layer = (TRANSPOSE if transposed else CONV)[rank](2, 2, 3, stride=2, dtype=np.float64)
    size = 3 if backend.SIMULATED else 5
    x = convkit.randn(1, 2, *[size] * rank, dtype=np.float64, requires_grad=True)

    def run(x, w, b):
        layer._parameters.update(weight=w, bias=b)
        return layer(x)

    inputs = (x, layer.weight, layer.bias)
    assert convkit.autograd.gradcheck(run, inputs)


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_depthwise_separable(rank):
    kind = {1: nn.DepthwiseSeparableConv1d, 2: nn.DepthwiseSeparableConv2d, 3: nn.DepthwiseSeparableConv3d}[rank]
    layer = kind(4, 6, 3, stride=2, padding=1, dilation=1, depth_multiplier=2, padding_mode="replicate", dtype=np.float64)
    shapes = {name: p.shape for name, p in layer.named_parameters()}
    one = (1,) * rank
    assert shapes == {"depthwise.weight": (8, 1, *[3] * rank), "pointwise.weight": (6, 8, *one), "pointwise.bias": (6,)}
    x = convkit.randn(2, 4, *(7, 6, 5)[:rank], dtype=np.float64)
    # The two steps are one convolution, with the product of the weights.
    deep = layer.depthwise.weight.detach().numpy().reshape(4, 2, -1)
    across = layer.pointwise.weight.detach().numpy().reshape(6, 4, 2)
    w = np.einsum("cmt,kcm->kct", deep, across).reshape(6, 4, *[3] * rank)
    frame = np.pad(x.numpy(), [(0, 0), (0, 0)] + [(1, 1)] * rank, mode="edge")
    expected = by_hand(frame, w, layer.pointwise.bias.detach().numpy(), 2, 0, 1, 1)
    np.testing.assert_allclose(layer(x).detach().numpy(), expected, rtol=1e-11, atol=1e-12)
    assert kind(4, 6, 3, bias=False).pointwise.bias is None
    with pytest.raises(ValueError, match=f"{kind.__name__}: depth_multiplier must be at least 1, got 0"):
        kind(4, 6, 3, depth_multiplier=0)
