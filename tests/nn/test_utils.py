"""Clipping, vectors of parameters, reparametrised weights, merged layers."""

import math

import numpy as np
import pytest

import convkit
from convkit import nn
from convkit.nn import functional as F
from convkit.nn import utils
from tests.backend import SIMULATED


def with_gradients(*gradients):
    out = []
    for g in gradients:
        p = nn.Parameter(convkit.zeros(*np.shape(g), dtype=np.float64))
        p.grad = convkit.tensor(np.array(g, np.float64))
        out.append(p)
    return out


@pytest.mark.parametrize("p", [2, 1, 3.5, 0, math.inf, -math.inf])
def test_norms(p):
    params = with_gradients([[1.0, -2.0], [0.0, 4.0]], [-3.0, 5.0, 0.5], 2.5)
    whole = np.concatenate([np.ravel(q.grad.numpy()) for q in params])
    parts = [np.linalg.norm(np.ravel(q.grad.numpy()), p) for q in params]
    expected = np.linalg.norm(whole, p) if p else np.linalg.norm(parts, 0)  # order 0 counts the parts, as in torch
    assert utils.get_total_norm([q.grad for q in params], p).item() == pytest.approx(expected, rel=1e-14)
    before = [q.grad.numpy().copy() for q in params]
    assert utils.clip_grad_norm_(iter([*params, nn.Parameter(convkit.ones(1))]), 0.5, p).item() == pytest.approx(expected, rel=1e-14)
    factor = min(1, 0.5 / (expected + 1e-6))
    for q, b in zip(params, before, strict=True):
        np.testing.assert_allclose(q.grad.numpy(), b * factor, rtol=1e-14)


def test_small_gradients_stay():
    (p,) = with_gradients([0.3, 0.4])
    utils.clip_grad_norm_(p, 0.6)
    assert p.grad.tolist() == [0.3, 0.4]
    assert utils.clip_grad_norm_([], 1.0).item() == 0 and utils.clip_grad_norm_([nn.Parameter(convkit.ones(2))], 1.0).item() == 0


def test_gradients_that_are_not_finite():
    params = with_gradients([np.inf, 1.0], [1.0])
    with pytest.raises(RuntimeError, match="get_total_norm: the norm of order 2.0 is inf"):
        utils.clip_grad_norm_(params, 1.0, error_if_nonfinite=True)
    assert params[0].grad.tolist() == [np.inf, 1.0]
    assert utils.clip_grad_norm_(params, 1.0).item() == np.inf
    assert np.isnan(params[0].grad.numpy()[0]) and params[1].grad.tolist() == [0.0]


def test_clipping_values():
    params = with_gradients([[-3.0, 0.5], [2.0, np.nan]], 7.0)
    utils.clip_grad_value_(params, 1.5)
    np.testing.assert_array_equal(params[0].grad.numpy(), [[-1.5, 0.5], [1.5, np.nan]])
    assert params[1].grad.item() == 1.5


def test_vectors():
    net = nn.Sequential(nn.Conv2d(2, 3, 2), nn.Linear(3, 1))
    vector = utils.parameters_to_vector(net.parameters())
    np.testing.assert_array_equal(vector.detach().numpy(), np.concatenate([np.ravel(np.array(p.detach())) for p in net.parameters()]))
    (vector * vector).sum().backward()
    np.testing.assert_array_equal(net[1].weight.grad.numpy(), 2 * np.array(net[1].weight.detach()))
    utils.vector_to_parameters(vector.detach() + 1, net.parameters())
    np.testing.assert_array_equal(utils.parameters_to_vector(net.parameters()).detach().numpy(), vector.detach().numpy() + 1)
    with pytest.raises(RuntimeError, match=r"the parameters need a vector of 31 numbers, got shape \[3\]"):
        utils.vector_to_parameters(convkit.zeros(3), net.parameters())
    with pytest.raises(TypeError, match="vec must be a tensor, got list"):
        utils.vector_to_parameters([1.0], net.parameters())
    with pytest.raises(ValueError, match="there are no parameters"):
        utils.parameters_to_vector([])


@pytest.mark.parametrize("dim", [0, 1, 3, -1, None, -3])
def test_weight_norm(dim):
    layer = nn.Conv2d(3, 4, 2, dtype=np.float64)
    x, before = convkit.randn(2, 3, 5, 5, dtype=np.float64), np.array(layer.weight.detach())
    expected = layer(x).detach().numpy()
    assert utils.weight_norm(layer, dim=dim) is layer
    np.testing.assert_allclose(layer(x).detach().numpy(), expected, rtol=1e-12)
    axes = None if dim in (None, -1) else tuple(i for i in range(4) if i != dim % 4)
    norm = np.sqrt((before**2).sum(axes, keepdims=axes is not None))
    np.testing.assert_allclose(np.array(layer.weight_g.detach()), norm, rtol=1e-14)
    assert layer.weight_g.shape == norm.shape and list(layer.state_dict()) == ["bias", "weight_g", "weight_v"]
    with convkit.no_grad():
        layer.weight_g.mul_(2.0)
    np.testing.assert_allclose(
        (layer(x) - layer.bias.reshape(1, 4, 1, 1)).detach().numpy(), 2 * F.conv2d(x, convkit.tensor(before)).numpy(), rtol=1e-11
    )
    layer(x).sum().backward()
    assert layer.weight_g.grad is not None and layer.weight_v.grad.shape == before.shape
    # v is learnt across its own direction only, as far as the norm reaches.
    assert np.abs((layer.weight_v.grad.numpy() * before).sum(axes)).max() < 1e-10
    assert utils.remove_weight_norm(layer) is layer and list(layer.state_dict()) == ["bias", "weight"]
    np.testing.assert_allclose(np.array(layer.weight.detach()), 2 * before, rtol=1e-12)
    assert isinstance(layer.weight, nn.Parameter) and not layer._forward_pre_hooks


def test_weight_norm_errors():
    layer = nn.Linear(2, 2, bias=False)
    with pytest.raises(ValueError, match="weight_norm: Linear has no parameter 'bias'"):
        utils.weight_norm(layer, "bias")
    with pytest.raises(ValueError, match="remove_weight_norm: 'weight' of Linear is not computed by weight_norm"):
        utils.remove_weight_norm(layer)
    utils.weight_norm(layer)
    with pytest.raises(RuntimeError, match="weight_norm: 'weight' of Linear is computed already"):
        utils.weight_norm(layer)
    with pytest.raises(ValueError, match="remove_spectral_norm: 'weight' of Linear is not computed"):
        utils.remove_spectral_norm(layer)


def power_iterations(layer, count):
    """`count`; in the simulator a tenth, and a largest singular value far above the next, so that these are as good."""
    if not SIMULATED:
        return count
    rows = np.ones(layer.weight.ndim, int)
    rows[1 if isinstance(layer, nn.ConvTranspose2d) else 0] = -1
    weight = np.array(layer.weight.detach())
    with convkit.no_grad():
        layer.weight.mul_(convkit.tensor(np.where(np.arange(weight.shape[np.argmin(rows)]) == 0, 6.0, 1.0).reshape(rows)))
    return count // 10


@pytest.mark.parametrize("make", [lambda: nn.Linear(5, 4), lambda: nn.Conv2d(3, 4, 2), lambda: nn.ConvTranspose2d(4, 3, 2)])
def test_spectral_norm(make):
    layer = make().to(np.float64)
    iterations = power_iterations(layer, 200)
    weight, transposed = np.array(layer.weight.detach()), isinstance(layer, nn.ConvTranspose2d)
    matrix = np.moveaxis(weight, 1, 0) if transposed else weight
    matrix = matrix.reshape(matrix.shape[0], -1)
    utils.spectral_norm(layer, n_power_iterations=iterations)
    assert layer.weight_u.shape == matrix.shape[:1] and layer.weight_v.shape == matrix.shape[1:]
    x = convkit.randn(2, 5, dtype=np.float64) if weight.ndim == 2 else convkit.randn(1, weight.shape[0 if transposed else 1], 4, 4, dtype=np.float64)
    layer(x)
    np.testing.assert_allclose(layer.weight.detach().numpy(), weight / np.linalg.norm(matrix, 2), rtol=1e-6)
    u = np.array(layer.weight_u.detach())
    layer.eval()
    layer(x).sum().backward()
    np.testing.assert_array_equal(np.array(layer.weight_u.detach()), u)  # evaluation leaves the vectors alone
    assert layer.weight_orig.grad.shape == weight.shape
    assert set(layer.state_dict()) == {"bias", "weight_orig", "weight_u", "weight_v"} and [n for n, _ in layer.named_buffers()] == [
        "weight_u",
        "weight_v",
    ]
    layer.train()
    (layer(x).sum() + layer(2 * x).sum()).backward()  # two forwards before a backward
    utils.remove_spectral_norm(layer)
    assert set(layer.state_dict()) == {"bias", "weight"}
    np.testing.assert_allclose(np.linalg.norm(np.array(layer.weight.detach()) * np.linalg.norm(matrix, 2) - weight), 0, atol=1e-6)


def test_spectral_norm_learns_through_the_norm():
    """Against differences: the singular vectors count as constants, which is exact once they are right."""
    layer = nn.Linear(3, 2, dtype=np.float64)
    utils.spectral_norm(layer, n_power_iterations=power_iterations(layer, 300))
    x = convkit.randn(4, 3, dtype=np.float64)
    layer(x)
    layer.eval()
    (layer(x) ** 2).sum().backward()
    grad, weight = layer.weight_orig.grad.numpy(), np.array(layer.weight_orig.detach())

    def loss(w):
        return ((x.numpy() @ (w / np.linalg.norm(w, 2)).T + np.array(layer.bias.detach())) ** 2).sum()

    for i in np.ndindex(2, 3):
        step = np.zeros((2, 3))
        step[i] = 1e-6
        assert grad[i] == pytest.approx((loss(weight + step) - loss(weight - step)) / 2e-6, rel=1e-6, abs=1e-8)


def test_spectral_norm_errors():
    with pytest.raises(ValueError, match="n_power_iterations must be at least 1, got 0"):
        utils.spectral_norm(nn.Linear(2, 2), n_power_iterations=0)


def used_norm(kind, features):
    bn = kind(features, dtype=np.float64)
    rng = np.random.default_rng(0)
    bn.load_state_dict({
        "weight": rng.random(features) + 0.5, "bias": rng.random(features), "running_mean": rng.random(features),
        "running_var": rng.random(features) + 0.5,
    })  # fmt: skip
    return bn.eval()


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("transpose", [True, False])
def test_fused_convolution(bias, groups, transpose):
    conv = (nn.ConvTranspose2d if transpose else nn.Conv2d)(4, 6, 3, groups=groups, bias=bias, dtype=np.float64).eval()
    bn, x = used_norm(nn.BatchNorm2d, 6), convkit.randn(2, 4, 5, 5, dtype=np.float64)
    fused = utils.fuse_conv_bn_eval(conv, bn, transpose)
    assert fused is not conv and fused.weight is not conv.weight and not fused.training
    np.testing.assert_allclose(fused(x).detach().numpy(), bn(conv(x)).detach().numpy(), rtol=1e-10, atol=1e-12)


def test_fused_dense_layer():
    linear, bn, x = nn.Linear(3, 4, dtype=np.float64).eval(), used_norm(nn.BatchNorm1d, 4), convkit.randn(5, 3, dtype=np.float64)
    np.testing.assert_allclose(utils.fuse_linear_bn_eval(linear, bn)(x).detach().numpy(), bn(linear(x)).detach().numpy(), rtol=1e-12)
    with pytest.raises(ValueError, match="bn has 4 features but linear gives 5"):
        utils.fuse_linear_bn_eval(nn.Linear(3, 5).eval(), bn)
    with pytest.raises(RuntimeError, match="fuse_linear_bn_eval: both layers must be in evaluation mode"):
        utils.fuse_linear_bn_eval(linear, bn.train())
    with pytest.raises(RuntimeError, match="has no running statistics"):
        utils.fuse_conv_bn_eval(nn.Conv2d(1, 1, 1).eval(), nn.BatchNorm2d(1, track_running_stats=False).eval())
