"""`convkit.profile` of a net on a device, and what it measures the device by."""

import pytest

import convkit
from convkit import nn
from tests import backend

DEVICE = backend.gpu()

from convkit_kernels.cuda import driver, machine  # noqa: E402


@pytest.fixture(scope="module")
def profiles():
    """Of one net on the CPU and on the device."""
    net, x = nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(16, 3)), convkit.randn(2, 2, 4, 4)
    return [convkit.profile(net.to(device), x.to(device), repeats=1) for device in ("cpu", DEVICE)]


def test_work_is_what_it_is_on_the_cpu(profiles):
    here, there = ({layer.name: layer for layer in found.layers} for found in profiles)
    assert list(there) == list(here)
    for name, layer in there.items():
        assert (layer.kind, layer.output_shape) == (here[name].kind, here[name].output_shape)
        assert (layer.forward.macs, layer.backward.macs) == (here[name].forward.macs, here[name].backward.macs)
        assert name == "" or layer.forward.seconds > 0 and layer.backward.seconds > 0
    assert [there[name].forward.bytes for name in "1234"] == [here[name].forward.bytes for name in "1234"]


def test_it_says_where_it_was_measured(profiles):
    here, there = profiles
    assert (here.device, there.device) == ("cpu", DEVICE)
    assert "threads, float32" in str(here) and f"{DEVICE}, float32; this machine now" in str(there)
    assert there.seconds >= there.overhead > 0 and there.peak_gflops > 0 and there.copy_gbytes > 0


def test_an_operation_ends_when_its_kernels_do(monkeypatch):
    waited = []
    monkeypatch.setattr(driver, "synchronize", lambda: waited.append(1))
    convkit.profile(nn.ReLU(), convkit.ones(3, device=DEVICE), backward=False, repeats=1)
    assert len(waited) >= 2 * (2 + 1)  # before and after the operation, and at the end, of the two steps


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_peak_and_bandwidth(dtype):
    assert machine.peak_gflops(dtype, 0.01) > 0 and machine.copy_gbytes(0.01) > 0
