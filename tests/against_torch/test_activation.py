"""Activations, norms and dropout beside torch's: values and gradients on ordinary and extreme numbers, and what both refuse."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: nothing to compare with")

import convkit  # noqa: E402
from convkit.nn import functional as F  # noqa: E402

TF = torch.nn.functional
NAMES = [
    "relu", "relu6", "leaky_relu", "elu", "selu", "celu", "gelu", "silu", "mish", "softplus", "softsign", "hardtanh", "hardsigmoid", "hardswish",
    "sigmoid", "logsigmoid", "tanh", "tanhshrink", "hardshrink", "softshrink",
]  # fmt: skip
EXTREME = [0.0, -0.0, 1e-45, -1e-45, 0.5, -0.5, 3, -3, 6, -6, 1e4, -1e4, np.inf, -np.inf, np.nan]


def both(ours, theirs, *arrays):
    """(results and gradients of ours, of theirs) for a gradient of ones."""
    out = []
    for f, tensor in ((ours, convkit.tensor), (theirs, torch.tensor)):
        inputs = [tensor(a).requires_grad_() for a in arrays]
        y = f(*inputs)
        y.backward(tensor(np.ones(y.shape, arrays[0].dtype)))
        out.append([y.detach().numpy(), *(x.grad.numpy() for x in inputs)])
    return zip(*out, strict=True)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_activations(name, dtype):
    x = np.concatenate([np.random.default_rng(0).standard_normal(500) * 4, EXTREME]).astype(dtype)
    (y, expected_y), (gx, expected_gx) = both(getattr(F, name), getattr(TF, name), x)
    near = {"rtol": 2e-5, "atol": 1e-6} if dtype == np.float32 else {"rtol": 1e-10, "atol": 1e-14}
    if name == "hardsigmoid":  # torch's float64 gradient has the sixth of float32
        near["rtol"] = 1e-7
    if name == "gelu":  # torch's is nan at infinity, where the limit is infinity
        y, expected_y = y[~np.isposinf(x)], expected_y[~np.isposinf(x)]
    np.testing.assert_allclose(y, expected_y, **near)
    # Beside infinity and nan, torch's gradients depend on its vector instructions.
    np.testing.assert_allclose(gx[np.isfinite(x)], expected_gx[np.isfinite(x)], **near)


@pytest.mark.parametrize(
    "call, shapes",
    [
        (lambda F, x, w, b: F.layer_norm(x, [4, 5], w, b), [(3, 4, 5), (4, 5), (4, 5)]),
        (lambda F, x, w, b: F.group_norm(x, 2, w, b), [(3, 4, 5), (4,), (4,)]),
        (lambda F, x, w, b: F.instance_norm(x, None, None, w, b), [(3, 4, 5), (4,), (4,)]),
        (lambda F, x, w, b: F.batch_norm(x, None, None, w, b, True), [(3, 4, 5), (4,), (4,)]),
        (lambda F, x, w: F.rms_norm(x, [5], w), [(3, 4, 5), (5,)]),
        (lambda F, x: F.local_response_norm(x, 3, 0.1), [(3, 4, 5)]),
        (lambda F, x: F.local_response_norm(x, 4, 0.1), [(3, 4, 5, 2)]),
        (lambda F, x, w: F.prelu(x, w), [(3, 4, 5), (4,)]),
        (lambda F, x: F.glu(x, 1), [(3, 4, 5)]),
        (lambda F, x: F.gelu(x, approximate="tanh"), [(3, 4, 5)]),
        (lambda F, x: F.softmin(x, 1) ** 2, [(3, 4, 5)]),
    ],
)
def test_norms_and_others(call, shapes):
    arrays = [np.random.default_rng(i).standard_normal(shape) for i, shape in enumerate(shapes)]
    for got, expected in both(lambda *a: call(F, *a), lambda *a: call(TF, *a), *arrays):
        np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    "call",
    [
        lambda F, ones: F.glu(ones(2, 3)),
        lambda F, ones: F.gelu(ones(2), approximate="erf"),
        lambda F, ones: F.softshrink(ones(2), -1.0),
        lambda F, ones: F.hardtanh(ones(2), 2, -2),
        lambda F, ones: F.prelu(ones(2, 3), ones(2)),
        lambda F, ones: F.celu(ones(2), 0.0),
        lambda F, ones: F.softmax(ones(2, 3), 5),
        lambda F, ones: F.group_norm(ones(2, 4, 3), 3),
        lambda F, ones: F.layer_norm(ones(2, 4), [3]),
        lambda F, ones: F.instance_norm(ones(2, 4, 1)),
        lambda F, ones: F.batch_norm(ones(1, 4), None, None, training=True),
        lambda F, ones: F.local_response_norm(ones(2, 3), 2),
        lambda F, ones: F.dropout(ones(2), 1.5),
        lambda F, ones: F.dropout1d(ones(2, 2, 2, 2)),
    ],
)
def test_both_refuse(call):
    for functions, ones in ((F, convkit.ones), (TF, torch.ones)):
        with pytest.raises((ValueError, TypeError, RuntimeError, IndexError)):
            call(functions, ones)


def test_dropout_of_nan_is_nan():
    for functions, tensor in ((F, convkit.tensor), (TF, torch.tensor)):
        assert np.isnan(functions.dropout(tensor([np.nan] * 50), 0.5).numpy()).all()
