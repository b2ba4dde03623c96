"""Layers inside a module that run as one operation give what they give one by one."""

import copy

import numpy as np
import pytest

import convkit
from convkit import nn
from convkit.autograd import observed
from tests.helpers import channels_last_copy

LAYERS = [(nn.BatchNorm1d, (6, 3)), (nn.BatchNorm1d, (4, 3, 5)), (nn.BatchNorm2d, (4, 3, 5, 6)), (nn.BatchNorm3d, (2, 3, 4, 2, 3))]


class Names:
    """Counts operations by name."""

    def __init__(self):
        self.seen = []

    def forward(self, ctx, arrays, options):
        self.seen.append(type(ctx).__name__)
        return type(ctx).forward(ctx, *arrays, **options)

    def backward(self, node, grads):
        return type(node).backward(node, *grads)


def operations(net, x):
    names = Names()
    with observed(names):
        net(x)
    return names.seen


def one_by_one(net, x):
    for module in net:
        x = module(x)
    return x


def pair(kind, dtype=np.float32, **options):
    net = nn.Sequential(kind(3, dtype=dtype, **options), nn.ReLU())
    for p in net.parameters():
        nn.init.normal_(p)
    return net


@pytest.mark.parametrize(("kind", "shape"), LAYERS)
@pytest.mark.parametrize("options", [{}, {"affine": False}, {"momentum": None}, {"track_running_stats": False}])
@pytest.mark.parametrize("training", [True, False])
def test_the_same_values_gradients_and_statistics(kind, shape, options, training):
    net = pair(kind, **options).train(training)
    other = copy.deepcopy(net)
    for step in range(2):
        both = []
        for module, run in ((net, net), (other, lambda x: one_by_one(other, x))):
            x = convkit.tensor(channels_last_copy(np.random.default_rng(step).standard_normal(shape, np.float32)), requires_grad=True)
            y = run(x)
            (y * y).sum().backward()
            with convkit.no_grad():
                again = run(x)
            both.append([y, again, x.grad, *(p.grad for p in module.parameters()), *module.state_dict().values()])
        for a, b in zip(*both, strict=True):
            np.testing.assert_array_equal(a.detach().numpy(), b.detach().numpy())
    assert list(net.state_dict()) == list(other.state_dict())


def test_what_runs_as_one():
    x = convkit.randn(4, 3, 5, 5)
    net = pair(nn.BatchNorm2d)
    assert operations(net, x) == ["Statistics", "Norm"] and operations(net.eval(), x) == ["Normalise"]
    assert operations(nn.Sequential(*net, nn.ReLU()), x) == ["Normalise", "Activation"]
    assert operations(nn.Sequential(net[0], nn.ReLU6()), x) == ["Normalise", "Activation"]
    assert operations(nn.Sequential(nn.InstanceNorm2d(3), nn.ReLU()), x) == ["Statistics", "Norm"]


CONVS = [
    (nn.Conv1d, nn.BatchNorm1d, (4, 3, 9), {"dilation": 2}),
    (nn.Conv2d, nn.BatchNorm2d, (4, 3, 6, 5), {"padding": 1}),
    (nn.Conv2d, nn.BatchNorm2d, (2, 3, 6, 5), {"padding": 1, "stride": 2, "groups": 3, "bias": False}),
    (nn.Conv2d, nn.BatchNorm2d, (2, 3, 6, 5), {"padding": 1, "padding_mode": "reflect"}),
    (nn.Conv3d, nn.BatchNorm3d, (2, 3, 4, 3, 4), {}),
]


@pytest.mark.parametrize(("kind", "shape", "options"), [(k, s, o) for k, _, s, o in CONVS] + [(nn.Conv2d, (3, 6, 5), {}), (nn.Linear, (2, 5, 3), {})])
def test_a_relu_behind_a_convolution_or_a_dense_layer(kind, shape, options):
    net = nn.Sequential(kind(3, 6, **options) if kind is nn.Linear else kind(3, 6, 3, **options), nn.ReLU())
    both = []
    for run in (net, lambda x: one_by_one(net, x)):
        net.zero_grad()
        x = convkit.tensor(np.random.default_rng(0).standard_normal(shape, np.float32), requires_grad=True)
        y = run(x)
        (y * y).sum().backward()
        with convkit.no_grad():
            again = run(x)
        both.append([y, again, x.grad, *(p.grad for p in net.parameters())])
    for a, b in zip(*both, strict=True):
        np.testing.assert_array_equal(a.detach().numpy(), b.detach().numpy())
    seen = operations(net, x)
    if x.ndim == len(net[0].weight.shape):  # others are views of what waits
        assert "Activation" not in seen and ("Linear" if kind is nn.Linear else "Conv") in seen


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("affine", [False, True])
@pytest.mark.parametrize(("conv", "norm", "shape", "options"), CONVS)
def test_a_norm_is_folded_into_the_convolution_before_it(conv, norm, shape, options, affine, relu):
    net = nn.Sequential(conv(3, 6, 3, dtype=np.float64, **options), norm(6, affine=affine, dtype=np.float64), *[nn.ReLU()] * relu)
    for p in net.parameters():
        nn.init.normal_(p)
    x = convkit.tensor(np.random.default_rng(0).standard_normal(shape))
    net(x)  # statistics
    recorded = net.eval()(x)
    assert recorded.requires_grad
    with convkit.no_grad():
        y = net(x)
    np.testing.assert_allclose(y.numpy(), recorded.detach().numpy(), rtol=1e-12, atol=1e-12)
    assert not np.array_equal(y.numpy(), recorded.detach().numpy())  # so it was folded
    net.requires_grad_(False)
    np.testing.assert_array_equal(net(x).numpy(), y.numpy())
    seen, saved = [], {k: v.numpy().copy() for k, v in net.state_dict().items()}
    net[1].running_mean += 1.0  # seen at once: nothing is kept
    assert (net(x).numpy() != y.numpy()).any()
    net.load_state_dict({k: convkit.tensor(v) for k, v in saved.items()})
    handle = net[1].register_forward_hook(lambda *_: seen.append(1))
    np.testing.assert_array_equal(net(x).numpy(), recorded.detach().numpy())
    handle.remove()
    assert seen == [1]
    np.testing.assert_array_equal(net.train()(x).numpy(), one_by_one(net, x).numpy())


def test_norms_that_do_not_fit_are_not_folded():
    x = convkit.randn(2, 3, 5, 5)
    with convkit.no_grad():
        with pytest.raises(ValueError, match="^BatchNorm2d: input has 4 channels but num_features is 3"):
            nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(3)).eval()(x)
        with pytest.raises(ValueError, match="^BatchNorm2d: input must be 4-D"):
            nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).eval()(x[0])
        net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, track_running_stats=False), nn.ReLU()).eval()
        np.testing.assert_array_equal(net(x).numpy(), one_by_one(net, x).numpy())


@pytest.mark.parametrize("layer", [nn.Conv1d(2, 3, 2, dtype=np.float64), nn.Linear(4, 3, dtype=np.float64)])
def test_second_derivatives_through_a_cut_sum(layer):
    x = convkit.tensor(np.random.default_rng(0).standard_normal((4, 2, 4)), requires_grad=True)
    net, results = nn.Sequential(layer, nn.ReLU()), []
    for run in (net, lambda x: one_by_one(net, x)):
        (first,) = convkit.autograd.grad((run(x) ** 2).sum(), [x], create_graph=True)
        results.append(convkit.autograd.grad((first**2).sum(), [x])[0].numpy())
    np.testing.assert_allclose(*results, rtol=1e-9, atol=1e-12)


def test_second_derivatives():
    x = convkit.tensor(np.random.default_rng(0).standard_normal((4, 3, 2)), requires_grad=True)
    net, results = pair(nn.BatchNorm1d, np.float64), []
    for run in (net, lambda x: one_by_one(net, x)):
        (first,) = convkit.autograd.grad((run(x) ** 2).sum(), [x], create_graph=True)
        results.append(convkit.autograd.grad((first**2).sum(), [x])[0].numpy())
    np.testing.assert_allclose(*results, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("which", [0, 1])
def test_hooks_are_called_with_what_they_would_see(which):
    net, x, seen = pair(nn.BatchNorm2d), convkit.randn(4, 3, 5, 5), []
    handle = net[which].register_forward_hook(lambda module, args, result: seen.append((module, result)))
    y = net(x)
    assert seen[0][0] is net[which] and (seen[0][1].detach().numpy() < 0).any() == (which == 0) and (y.detach().numpy() >= 0).all()
    assert operations(net, x)[-2:] == ["Norm", "Activation"]
    handle.remove()
    assert operations(net, x)[-1] == "Norm"
    net[which].register_full_backward_hook(lambda module, before, after: seen.append("back"))
    net(x).sum().backward()
    assert seen[-1] == "back"


def test_a_class_or_a_forward_of_the_user_is_called():
    class Twice(nn.ReLU):
        def forward(self, x):
            return super().forward(x) * 2.0

    x = convkit.randn(4, 3, 5, 5)
    norm = nn.BatchNorm2d(3, affine=False).eval()
    assert np.array_equal(nn.Sequential(norm, Twice())(x).numpy(), nn.Sequential(norm, nn.ReLU())(x).numpy() * 2)
    own = nn.ReLU()
    own.forward = lambda x: x * 0.0
    assert not nn.Sequential(norm, own)(x).numpy().any()


def test_errors_are_those_of_the_layer():
    with pytest.raises(ValueError, match="^BatchNorm2d: input has 4 channels but num_features is 3"):
        pair(nn.BatchNorm2d)(convkit.ones(2, 4, 1, 2))
