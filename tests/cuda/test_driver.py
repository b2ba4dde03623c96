"""Names of devices, what is said where one is missing, and that nobody pays for a GPU who has none."""

from types import SimpleNamespace

import pytest

import convkit
from convkit import cuda, device
from tests import backend

NAME = backend.gpu()

from convkit_kernels.cuda import driver  # noqa: E402


def test_the_device_of_this_process():
    assert NAME == driver.name() == device.check(NAME) and driver.trouble() is None
    assert cuda.get_device_name() == driver.description()
    cuda.synchronize()
    assert driver.memory()


@pytest.mark.cpu
def test_the_simulator_is_named_as_such():
    assert NAME == "cuda:sim" and "simulator" in cuda.get_device_name() and driver.is_simulated()
    # It is nobody's GPU who did not ask for it by name, or by the environment.
    assert not cuda.is_available() and cuda.device_count() == 0 and cuda.trouble() == "this process simulates a GPU, whose name is 'cuda:sim'"
    with pytest.raises(RuntimeError, match="device 'cuda': this process simulates a GPU, whose name is 'cuda:sim'"):
        device.check("cuda")
    assert device.check("auto") == "cpu"


@pytest.mark.cpu
def test_an_old_gpu_is_named(monkeypatch):
    def told(*gpus):
        monkeypatch.setattr(driver, "module", lambda: SimpleNamespace(gpus=[SimpleNamespace(compute_capability=found) for found in gpus]))
        return driver.trouble()

    monkeypatch.setattr(driver, "is_simulated", lambda: False)
    monkeypatch.setattr(driver, "_least_capability", lambda: (7, 5))
    assert told() == "the driver finds no NVIDIA GPU"
    assert told((7, 5)) is None and told((9, 0), (6, 1)) is None
    assert told((6, 1)).startswith("the GPU has compute capability 6.1, and the installed compiler makes code for 7.5 and later")


@pytest.mark.parametrize("name", ["gpu", "cuda:x", "cpu:1", "", 0, "mps"])
def test_other_names_are_refused(name):
    with pytest.raises(ValueError, match="device must be 'cpu', 'cuda', 'cuda:sim' or 'auto', got"):
        device.check(name)


def test_another_gpu_is_chosen_by_the_environment():
    with pytest.raises(RuntimeError, match="device 'cuda:3': a process uses one GPU, cuda:0; CUDA_VISIBLE_DEVICES=3 in its environment"):
        device.check("cuda:3")


@pytest.mark.parametrize(
    "op", [lambda a, b: a + b, lambda a, b: a * b, lambda a, b: convkit.cat([a, b]), lambda a, b: convkit.where(a > 0, a, b), lambda a, b: a @ b]
)
def test_devices_are_not_mixed(op):
    here, there = convkit.ones(2, 2, device="cpu"), convkit.ones(2, 2, device=NAME)
    if here.device == there.device:
        pytest.skip("this run makes all tensors on the GPU")
    for a, b in ((here, there), (there, here)):
        with pytest.raises((RuntimeError, TypeError), match=r"cpu.*cuda|cuda.*cpu"):
            op(a, b)


def test_moving_there_and_back():
    x = convkit.arange(6, device="cpu").reshape(2, 3).float()
    y = x.to(NAME)
    assert y.device == NAME and (y + 1).device == NAME and y.cpu().device == "cpu" and (y * 2).cpu().tolist() == (x * 2).tolist()
    assert y.to(NAME) is y


# ------------------------------------------------------------------------------- in processes of their own
WITHOUT_PACKAGE = """
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "numba_cuda":
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Missing())
sys.modules["numba_cuda"] = None
import importlib.util
plain = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name == "numba_cuda" else plain(name, *rest)
"""
WITHOUT_DRIVER = """
from convkit import device
device._has_library = lambda: False
"""
TELL = """
import logging, sys, convkit
logging.basicConfig(stream=sys.stdout, format="%(levelname)s %(message)s")
print(convkit.device.check("auto"), convkit.device.check("auto"))
print(convkit.cuda.is_available(), convkit.cuda.memory_allocated())
try:
    convkit.zeros(2).to("cuda")
except RuntimeError as error:
    print(error)
print([m for m in sys.modules if m.split(".")[:2] in (["numba", "cuda"], ["numba_cuda"]) and sys.modules[m]])
"""
PLAIN = {"NUMBA_ENABLE_CUDASIM": None, "CONVKIT_TEST_DEVICE": None}


@pytest.mark.cpu
def test_without_numba_cuda(python):
    """`auto` is the CPU and says nothing above INFO; 'cuda' says what to install; Numba's CUDA target is not imported."""
    said = python(WITHOUT_PACKAGE + TELL, **PLAIN).stdout.splitlines()
    assert said[0] == "cpu cpu" and said[1] == "False 0"
    assert said[2].startswith("device 'cuda': the package numba-cuda is missing: pip install 'convkit[cuda13]'") and said[3] == "[]"


@pytest.mark.cpu
def test_with_numba_cuda_but_no_driver(python):
    """`auto` is the CPU and says so once; 'cuda' says what is missing; Numba's CUDA target is not imported."""
    pytest.importorskip("numba_cuda", reason="numba-cuda is not installed")
    said = python(WITHOUT_DRIVER + TELL, **PLAIN).stdout.splitlines()
    assert said[0].startswith("WARNING device 'auto' is the CPU: NVIDIA's driver is not installed")
    assert said[1:3] == ["cpu cpu", "False 0"] and said[3].startswith("device 'cuda': NVIDIA's driver is not installed") and said[4] == "[]"


@pytest.mark.cpu
def test_a_process_has_the_simulator_or_a_gpu(python):
    code = """
from convkit import device
import convkit_kernels.cuda.driver
try:
    device.check("cuda:sim")
except RuntimeError as error:
    print(error)
"""
    pytest.importorskip("numba_cuda", reason="numba-cuda is not installed")
    assert python(code, **PLAIN).stdout.startswith("device 'cuda:sim': this process uses its GPU already; start another with NUMBA_ENABLE_CUDASIM=1")
    code = "from convkit import cuda, device; print(device.check('auto'), device.check('cuda:0'), cuda.is_available())"
    assert python(code, NUMBA_ENABLE_CUDASIM="1").stdout.strip() == "cuda:sim cuda:sim True"
