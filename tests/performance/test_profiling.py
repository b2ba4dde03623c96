"""`convkit.profile`: work by hand, nothing left changed, files whole."""

import json

import numpy as np
import pytest

import convkit
from convkit import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.out = nn.Linear(8, 5)

    def forward(self, x):
        return self.out(nn.functional.relu(self.norm(self.conv(x))).mean((2, 3)))


def test_work_by_hand():
    found = convkit.profile(Net(), convkit.randn(4, 3, 6, 7), repeats=1)
    layers = {layer.name: layer for layer in found.layers}
    assert list(layers) == ["conv", "norm", "", "out"]  # the ReLU and the mean are the net's own
    conv, out = layers["conv"], layers["out"]
    pixels, weights = 4 * 6 * 7, 8 * 3 * 9
    assert conv.output_shape == (4, 8, 6, 7) and conv.kind == "Conv2d"
    assert conv.forward.macs == pixels * weights and conv.backward.macs == pixels * weights  # no gradient for the images
    # The images are read and written once more, to bring them to channels-last memory.
    assert conv.forward.bytes == 4 * (3 * pixels * 3 + weights + 8 + pixels * 8) and conv.memory == 4 * pixels * (3 + 8)
    assert out.forward.macs == 4 * 8 * 5 and out.backward.macs == 2 * 4 * 8 * 5
    assert layers["norm"].forward.macs == 0 and layers["norm"].backward.bytes >= 4 * 3 * pixels * 8
    assert all(layer.forward.seconds > 0 and layer.backward.seconds > 0 for layer in found.layers)
    assert found.seconds > found.overhead and found.peak_gflops > 0 and found.copy_gbytes > 0
    limit, reached = found.bound(layers["norm"].forward)
    work = layers["norm"].forward
    assert limit == "copy" and reached == pytest.approx(1e-9 * work.bytes / work.seconds / found.copy_gbytes)


@pytest.mark.parametrize(
    "function", [lambda x: x.prod(1), lambda x: x.exp() + x.sin()], ids=["a backward with gradients of its own", "a sum of gradients"]
)
def test_what_the_walk_back_does_is_backward(function):
    class Of(nn.Module):
        def forward(self, x):
            return function(x)

    x = convkit.zeros(4, 3, requires_grad=True)
    (layer,) = convkit.profile(Of(), x, repeats=1).layers
    alone = convkit.profile(Of(), x, backward=False, repeats=1).layers[0]
    assert layer.forward.bytes == alone.forward.bytes and layer.output_shape == alone.output_shape and layer.memory == alone.memory
    assert layer.backward.seconds > 0 and layer.backward.bytes > 0 and x.grad is None


def test_without_backward_and_in_evaluation():
    net = Net().eval()
    found = convkit.profile(net, convkit.randn(2, 3, 5, 5), backward=False, repeats=2)
    assert not any(layer.backward.seconds or layer.backward.macs for layer in found.layers)
    assert not net.training and net.conv.weight.grad is None


def test_the_model_stays_as_it_is():
    net = Net()
    net(convkit.randn(2, 3, 5, 5)).sum().backward()
    grads = [p.grad for p in net.parameters()]
    before = {name: array.copy() for name, array in ((n, t.numpy()) for n, t in net.state_dict().items())}
    hooks = [(len(m._forward_hooks), len(m._forward_pre_hooks)) for m in net.modules()]
    convkit.profile(net, convkit.randn(2, 3, 5, 5), repeats=1)
    assert all(p.grad is g for p, g in zip(net.parameters(), grads, strict=True))
    assert all(np.array_equal(before[n], t.numpy()) for n, t in net.state_dict().items())
    assert [(len(m._forward_hooks), len(m._forward_pre_hooks)) for m in net.modules()] == hooks


def test_an_error_in_the_model_leaves_it_as_it_was():
    net = Net()
    hooks = [(len(m._forward_hooks), len(m._forward_pre_hooks)) for m in net.modules()]
    with pytest.raises(ValueError, match="conv2d"):
        convkit.profile(net, convkit.randn(2, 4, 5, 5))
    assert [(len(m._forward_hooks), len(m._forward_pre_hooks)) for m in net.modules()] == hooks
    assert net(convkit.randn(2, 3, 5, 5)).shape == (2, 5)  # operations run by themselves again


def test_tables_and_files(tmp_path):
    found = convkit.profile(Net(), convkit.randn(2, 3, 8, 8), repeats=1)
    table = str(found)
    assert [line.split()[0] for line in table.splitlines()[2:6]] == ["conv", "norm", "Net", "out"]
    assert "graph and dispatch" in table and table.splitlines()[-2].startswith("total")
    saved = json.loads(found.save(tmp_path / "profile.json").read_text())
    assert saved["layers"][0]["forward"]["macs"] == found.layers[0].forward.macs and saved["threads"] == found.threads
    pytest.importorskip("matplotlib", reason="matplotlib draws the roofline")
    assert found.plot(tmp_path / "roofline.png").read_bytes().startswith(b"\x89PNG")


def test_wrong_arguments():
    with pytest.raises(TypeError, match="profile: model must be a Module, got int"):
        convkit.profile(3, convkit.ones(1))
    with pytest.raises(ValueError, match="profile: repeats must be at least 1, got 0"):
        convkit.profile(Net(), convkit.ones(1), repeats=0)


def test_peak_and_bandwidth_are_those_of_the_machine():
    from convkit_kernels.cpu import machine

    assert machine.peak_gflops("float32", 0.02) > 1 and machine.peak_gflops("float64", 0.02) > 0.5
    assert machine.copy_gbytes(0.02, 1 << 22) > 0.1
