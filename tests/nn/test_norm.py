"""Batch normalisation: values, running statistics, modes."""

import numpy as np
import pytest

import convkit
from convkit import nn
from convkit.nn import functional as F

LAYERS = [(nn.BatchNorm1d, (6, 3)), (nn.BatchNorm1d, (4, 3, 5)), (nn.BatchNorm2d, (4, 3, 5, 6)), (nn.BatchNorm3d, (2, 3, 4, 2, 3))]


def statistics(x):
    over = (0, *range(2, x.ndim))
    return x.mean(over), x.var(over), x.var(over, ddof=1)


def normalised(x, mean, var, weight, bias, eps=1e-5):
    shape = (1, -1, *[1] * (x.ndim - 2))
    xhat = (x - mean.reshape(shape)) / np.sqrt(var.reshape(shape) + eps)
    return xhat * weight.reshape(shape) + bias.reshape(shape)


@pytest.mark.parametrize(("kind", "shape"), LAYERS)
@pytest.mark.parametrize("momentum", [0.1, 0.7, None])
def test_training_and_evaluation(kind, shape, momentum):
    layer = kind(3, momentum=momentum, dtype=np.float64)
    nn.init.uniform_(layer.weight, 0.5, 2)
    nn.init.normal_(layer.bias)
    w, b = layer.weight.detach().numpy(), layer.bias.detach().numpy()
    mean, var = np.zeros(3), np.ones(3)
    for step in range(1, 4):
        x = np.random.default_rng(step).standard_normal(shape) * step + step
        batch_mean, biased, unbiased = statistics(x)
        np.testing.assert_allclose(layer(convkit.tensor(x)).detach().numpy(), normalised(x, batch_mean, biased, w, b), rtol=1e-9, atol=1e-9)
        factor = 1 / step if momentum is None else momentum
        mean, var = (1 - factor) * mean + factor * batch_mean, (1 - factor) * var + factor * unbiased
        np.testing.assert_allclose(layer.running_mean.numpy(), mean, rtol=1e-12)
        np.testing.assert_allclose(layer.running_var.numpy(), var, rtol=1e-12)
        assert layer.num_batches_tracked.item() == step
    layer.eval()
    np.testing.assert_allclose(layer(convkit.tensor(x)).detach().numpy(), normalised(x, mean, var, w, b), rtol=1e-9, atol=1e-9)
    assert layer.num_batches_tracked.item() == 3
    np.testing.assert_allclose(layer.running_mean.numpy(), mean, rtol=1e-12)


def test_flags():
    x = convkit.randn(5, 3, 4, 4)
    plain = nn.BatchNorm2d(3, affine=False)
    assert list(plain.parameters()) == [] and plain(x).shape == x.shape
    untracked = nn.BatchNorm2d(3, track_running_stats=False)
    assert list(untracked.state_dict()) == ["weight", "bias"] and untracked.num_batches_tracked is None
    np.testing.assert_array_equal(untracked.eval()(x).detach().numpy(), untracked.train()(x).detach().numpy())
    layer = nn.BatchNorm2d(3)
    layer(x)
    layer.reset_running_stats()
    assert layer.running_var.tolist() == [1, 1, 1] and layer.running_mean.tolist() == [0, 0, 0] and layer.num_batches_tracked.item() == 0
    assert "affine=False" in repr(plain) and "track_running_stats=False" in repr(untracked)


def test_statistics_gather_under_no_grad_and_are_not_learnt():
    layer = nn.BatchNorm2d(2)
    with convkit.no_grad():
        layer(convkit.ones(2, 2, 3, 3))
    np.testing.assert_allclose(layer.running_mean.numpy(), [0.1, 0.1], rtol=1e-6)
    assert not layer.running_mean.requires_grad


def test_gradients():
    layer = nn.BatchNorm1d(2, dtype=np.float64)
    x = convkit.randn(4, 2, dtype=np.float64, requires_grad=True)
    assert convkit.autograd.gradcheck(lambda x: layer(x) ** 2, x)
    assert convkit.autograd.gradcheck(lambda x: layer.eval()(x) ** 2, x)


def test_errors():
    with pytest.raises(ValueError, match="BatchNorm2d: num_features must be at least 1, got 0"):
        nn.BatchNorm2d(0)
    with pytest.raises(ValueError, match=r"BatchNorm2d: input must be 4-D \[N, C, ...\], got shape \[2, 3\]"):
        nn.BatchNorm2d(3)(convkit.zeros(2, 3))
    with pytest.raises(ValueError, match="BatchNorm1d: input must be 2-D or 3-D"):
        nn.BatchNorm1d(3)(convkit.zeros(2, 3, 4, 4))
    with pytest.raises(ValueError, match="BatchNorm2d: input has 4 channels but num_features is 3"):
        nn.BatchNorm2d(3)(convkit.zeros(2, 4, 5, 5))
    with pytest.raises(ValueError, match="more than one value a channel"):
        nn.BatchNorm1d(3)(convkit.zeros(1, 3))


OTHERS = [
    (nn.InstanceNorm1d(3, affine=True, dtype=np.float64), (2, 3, 5)),
    (nn.InstanceNorm2d(3, dtype=np.float64), (2, 3, 5, 4)),
    (nn.InstanceNorm3d(3, affine=True, dtype=np.float64), (2, 3, 2, 3, 2)),
    (nn.GroupNorm(2, 6, dtype=np.float64), (3, 6, 4, 4)),
    (nn.LayerNorm((3, 4), dtype=np.float64), (5, 3, 4)),
    (nn.LayerNorm(4, bias=False, dtype=np.float64), (5, 3, 4)),
    (nn.RMSNorm(4, dtype=np.float64), (5, 3, 4)),
    (nn.LocalResponseNorm(3), (2, 5, 3, 3)),
]


@pytest.mark.parametrize(("layer", "shape"), OTHERS, ids=[repr(layer) for layer, _ in OTHERS])
def test_layers_call_their_functions(layer, shape):
    x = convkit.randn(*shape, dtype=np.float64)
    name = {"Ins": "instance_norm", "Gro": "group_norm", "Lay": "layer_norm", "RMS": "rms_norm", "Loc": "local_response_norm"}[
        type(layer).__name__[:3]
    ]
    arguments = {"group_norm": (2,), "layer_norm": (getattr(layer, "normalized_shape", 0),), "rms_norm": (4,), "local_response_norm": (3,)}
    np.testing.assert_array_equal(layer(x).detach().numpy(), getattr(F, name)(x, *arguments.get(name, ())).numpy())
    for parameter in layer.parameters():  # scaled by weight and moved by bias
        nn.init.normal_(parameter)
    affine = {name: p for name, p in (("weight", layer._parameters.get("weight")), ("bias", layer._parameters.get("bias"))) if p is not None}
    np.testing.assert_array_equal(layer(x).detach().numpy(), getattr(F, name)(x, *arguments.get(name, ()), **affine).detach().numpy())
    if name == "instance_norm":
        np.testing.assert_array_equal(layer(x[0]).detach().numpy(), layer(x[:1]).detach().numpy()[0])


def test_flags_of_other_norms():
    assert list(nn.LayerNorm(3, elementwise_affine=False).state_dict()) == list(nn.InstanceNorm2d(3).state_dict()) == []
    assert list(nn.LayerNorm(3, bias=False).state_dict()) == list(nn.RMSNorm(3).state_dict()) == ["weight"]
    tracked = nn.InstanceNorm2d(2, track_running_stats=True)
    assert list(tracked.state_dict()) == ["running_mean", "running_var", "num_batches_tracked"]
    x = convkit.randn(3, 2, 4, 4)
    tracked(x)
    mean = tracked.running_mean.numpy().copy()
    np.testing.assert_allclose(mean, 0.1 * x.numpy().mean((0, 2, 3)), rtol=1e-4)
    y = tracked.eval()(x).numpy()
    np.testing.assert_array_equal(tracked.running_mean.numpy(), mean)
    np.testing.assert_allclose(y, F.batch_norm(x, tracked.running_mean, tracked.running_var).numpy())


@pytest.mark.parametrize("layer", [nn.BatchNorm2d(4, bias=False), nn.InstanceNorm2d(4, affine=True, bias=False), nn.GroupNorm(2, 4, bias=False)])
def test_norms_without_bias(layer):
    x = convkit.randn(3, 4, 5, 5)
    assert [name for name, _ in layer.named_parameters()] == ["weight"] and "affine=True, bias=False" in repr(layer)
    with convkit.no_grad():
        layer.weight.copy_(convkit.arange(1.0, 5.0))
    full = type(layer)(*((2, 4) if isinstance(layer, nn.GroupNorm) else (4,)), affine=True)
    full.load_state_dict({**layer.state_dict(), "bias": convkit.zeros(4)})
    y = layer(x)
    np.testing.assert_array_equal(y.detach().numpy(), full(x).detach().numpy())
    y.square().sum().backward()
    assert layer.weight.grad is not None and layer.bias is None


def test_errors_of_other_norms():
    for error, match, call in [
        (ValueError, "GroupNorm: num_groups must divide num_channels, got 4 and 6", lambda: nn.GroupNorm(4, 6)),
        (ValueError, "LayerNorm: normalized_shape must be at least 1, got 0", lambda: nn.LayerNorm((2, 0))),
        (ValueError, r"InstanceNorm2d: input must be 4-D .* or 3-D", lambda: nn.InstanceNorm2d(3)(convkit.ones(2, 3))),
        (ValueError, "InstanceNorm1d: input has 4 channels but num_features is 3", lambda: nn.InstanceNorm1d(3, affine=True)(convkit.ones(2, 4, 5))),
    ]:
        with pytest.raises(error, match=match):
            call()
    with pytest.warns(UserWarning, match="input has 4 channels but num_features is 3, which is not used without affine"):
        nn.InstanceNorm1d(3)(convkit.ones(2, 4, 5))
