"""The device that a run of the tests is about: `pytest --device cuda:sim`, or cuda; the CPU otherwise.

    kernels     in tests/kernels: the kernels of that device, which take and give NumPy arrays all the same
    settings    Hypothesis' settings, with fewer examples where each takes long
    use         for tests of tensors: makes them on that device

Tests that are about the CPU alone say so by `pytestmark = pytest.mark.cpu`, or on themselves, and why.
"""

from __future__ import annotations

import ctypes
import importlib
import os
from typing import Any

import hypothesis
import numpy as np

DEVICE = os.environ.get("CONVKIT_TEST_DEVICE", "cpu")
SIMULATED = DEVICE == "cuda:sim"
# Where kernels run as Python, an example takes a thousand times as long.
EXAMPLES = int(os.environ.get("CONVKIT_TEST_EXAMPLES", 2 if SIMULATED else 0)) or None


def settings(*args: Any, max_examples: int = 100, **options: Any) -> Any:
    """Hypothesis' settings; the device may need fewer examples."""
    return hypothesis.settings(*args, max_examples=min(max_examples, EXAMPLES or max_examples), **options)


# ----------------------------------------------------------------------------------------- kernels
class _Kernels:
    """The kernels of a device as functions of NumPy arrays."""

    def __getattr__(self, name: str) -> Any:
        function = getattr(importlib.import_module("convkit_kernels.cuda"), name)

        def run(*args: Any, **options: Any) -> Any:
            there = [_to_device(value) for value in args]
            result = _to_host(function(*there, **{key: _to_device(value) for key, value in options.items()}))
            if name in IN_PLACE:
                _write_back(args, there)
            return result

        return run


IN_PLACE = ("optimizer_step",)  # kernels that change their arguments


def _write_back(here: Any, there: Any) -> None:
    for a, b in zip(here, there, strict=True):
        if isinstance(a, (list, tuple)):
            _write_back(a, b)
        elif isinstance(a, np.ndarray) and a.flags.writeable:
            a[...] = b.get()


def _to_device(value: Any) -> Any:
    if type(value) in (list, tuple):
        return type(value)(map(_to_device, value))
    return _as_it_lies(value) if type(value) is np.ndarray else value


def _as_it_lies(a: np.ndarray) -> Any:
    """A copy on the device, with gaps and backwards where `a` is."""
    from convkit_kernels.cuda.memory import asarray, place
    from convkit_kernels.layout import normal, order_of

    a = normal(a)
    if order_of(a) is not None or not a.size:
        return asarray(a)
    low, high = np.lib.array_utils.byte_bounds(a)
    memory = asarray(np.frombuffer((ctypes.c_uint8 * (high - low)).from_address(low), np.uint8).copy())
    return place(memory.buffer, a.shape, a.strides, a.dtype, a.__array_interface__["data"][0] - low)


def _to_host(value: Any) -> Any:
    if isinstance(value, (tuple, list)):
        return type(value)(map(_to_host, value))
    return value.get() if isinstance(value, np.ndarray) and type(value) is not np.ndarray else value


def _kernels() -> Any:
    if DEVICE == "cpu":
        return importlib.import_module("convkit_kernels.cpu")
    from convkit import device

    device.check(DEVICE)
    return _Kernels()


kernels: Any = _kernels()


def gpu() -> str:
    """For tests of the GPU backend itself, in every run: the device they use, simulated if the run is about the CPU."""
    from convkit import device

    return device.check("cuda:sim" if DEVICE == "cpu" else DEVICE)


# ----------------------------------------------------------------------------------------- tensors
def use() -> None:
    """Let tensors be made on the device, also `Tensor(array)` and `from_numpy(array)`, and let `numpy()` read them."""
    if DEVICE == "cpu":
        return
    import convkit
    from convkit import device
    from convkit.autograd import TensorBase

    convkit.set_default_device(DEVICE)
    plain, plain_numpy, plain_array = TensorBase.__init__, convkit.Tensor.numpy, convkit.Tensor.__array__

    def made(self: Any, array: Any, requires_grad: bool = False) -> None:
        plain(self, device.move(array, DEVICE) if type(array) is np.ndarray else array, requires_grad)

    def result(array: Any, requires_grad: bool = False) -> Any:
        # What the library makes of its own results: it must not be helped.
        tensor = convkit.Tensor.__new__(convkit.Tensor)
        plain(tensor, array, requires_grad)
        return tensor

    convkit.Tensor.__init__ = made  # type: ignore[method-assign]
    TensorBase.result = staticmethod(result)  # type: ignore[assignment]
    convkit.Tensor.numpy = lambda self: plain_numpy(self.cpu())  # type: ignore[method-assign]
    convkit.Tensor.__array__ = lambda self, *args, **options: plain_array(self.cpu(), *args, **options)  # type: ignore[method-assign]
    convkit.from_numpy = convkit.Tensor  # type: ignore[assignment,misc]
