"""Where arrays live, and which kernels work on them: the only place that chooses a backend.

An array's type says where it lives: NumPy's on the host, `convkit_kernels.cuda.memory.Array` on a GPU.  Devices have torch's names:

    cpu          the host
    cuda, cuda:0 the GPU, the first that CUDA_VISIBLE_DEVICES lets this process see
    cuda:sim     Numba's simulator of one: kernels run as Python, which a debugger can step through; for small arrays
    auto         the GPU if there is a usable one, else the host
"""

from __future__ import annotations

import ctypes
import functools
import importlib
import importlib.util
import logging
import os
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np

_backends: dict[type, ModuleType] = {}


def kernels(array: Any) -> ModuleType:
    """The kernels for `array`'s device: `convkit_kernels.cpu` for a NumPy array.

    They are imported on first use, so that `import convkit` does not wait for Numba.
    """
    found = _backends.get(type(array))
    return _backend(array) if found is None else found


def _backend(array: Any) -> ModuleType:
    kind = type(array)
    if not issubclass(kind, (np.ndarray, np.generic)) and not kind.__module__.startswith("convkit_kernels.cuda"):
        raise TypeError(f"convkit: no kernels for arrays of type {kind.__name__}")
    module = "cpu" if issubclass(kind, (np.ndarray, np.generic)) else "cuda"
    found = _backends[kind] = importlib.import_module(f"convkit_kernels.{module}")
    return found


def kernels_on(device: str) -> ModuleType:
    """The kernels of a device, for what has no array to go by."""
    return importlib.import_module(f"convkit_kernels.{'cpu' if device == 'cpu' else 'cuda'}")


def machine(device: str = "cpu") -> ModuleType:
    """What measures a device: `peak_gflops` and `copy_gbytes`."""
    return importlib.import_module(f"convkit_kernels.{'cpu' if device == 'cpu' else 'cuda'}.machine")


def waiting(device: str) -> Callable[[], None]:
    """A function that waits until all that was asked of a device is done; on the host everything is."""
    return (lambda: None) if device == "cpu" else _driver().synchronize


def of(array: Any) -> str:
    """Name of the device that holds `array`."""
    return array.device


def may_be(test: Callable[[Any], Any], array: Any) -> bool:
    """Could `test(array)` hold somewhere?  On the host it is looked up; on a GPU it could, as nobody waits there to learn it.

    For what is done with less work where it does not hold.

    >>> may_be(np.isnan, np.zeros(3))
    False
    """
    return bool(np.any(test(array))) if array.device == "cpu" else True


def number(array: Any) -> Any:
    """The number in an array without dimensions; on a GPU, where nobody waits to learn it, the array itself."""
    return array.item() if array.device == "cpu" else array


def move(array: Any, device: str) -> Any:
    """`array` on another device, in the same memory order; itself if it is there."""
    if array.device == device:
        return array
    if device == "cpu":
        return array.get()
    return importlib.import_module("convkit_kernels.cuda.memory").asarray(array)


def shared(other: Any) -> Any:
    """An array over the GPU memory of another library's array, by `__cuda_array_interface__` or DLPack; None if it is not on a GPU."""
    if isinstance(other, (np.ndarray, np.generic, int, float, list, tuple)):
        return None
    by_interface = hasattr(other, "__cuda_array_interface__")
    if not by_interface and (not hasattr(other, "__dlpack_device__") or int(other.__dlpack_device__()[0]) != 2):
        return None
    if "convkit_kernels.cuda" not in sys.modules:
        _cuda(False)
    exchange = importlib.import_module("convkit_kernels.cuda.exchange")
    return exchange.from_interface(other) if by_interface else exchange.from_dlpack(other)


# ---------------------------------------------------------------------------------------- the names
_default = "cpu"


def get_default_device() -> str:
    """Name of the device on which tensors are made when none is named."""
    return _default


def set_default_device(device: Any) -> None:
    """Make tensors on `device` when none is named.

    >>> import convkit
    >>> convkit.set_default_device("cpu")
    >>> convkit.get_default_device()
    'cpu'
    """
    global _default
    _default = check(device)


def or_default(device: Any) -> str:
    """The name of `device`, or of the default one for None."""
    return _default if device is None else check(device)


def check(device: Any) -> str:
    """The name of a usable device; RuntimeError, with what is missing, for one that cannot be used, ValueError for an unknown one."""
    name = str(device)
    if name == "cpu":
        return name
    if name == "auto":
        return _automatic()
    kind, _, number = name.partition(":")
    if kind != "cuda" or number not in ("", "0", "sim") and not number.isdigit():
        raise ValueError(f"device must be 'cpu', 'cuda', 'cuda:sim' or 'auto', got {name!r}")
    if number not in ("", "0", "sim"):
        raise RuntimeError(
            f"device {name!r}: a process uses one GPU, cuda:0; CUDA_VISIBLE_DEVICES={number} in its environment makes that one of several"
        )
    return _cuda(number == "sim")


def trouble() -> str | None:
    """Why there is no usable GPU, and what would help; None if there is one.  Numba's CUDA target is imported only if it could be of use."""
    if importlib.import_module("numba").config.ENABLE_CUDASIM:  # a GPU only where the whole process was started for it
        asked = os.environ.get("NUMBA_ENABLE_CUDASIM", "0") != "0"
        return None if asked else "this process simulates a GPU, whose name is 'cuda:sim'"
    if importlib.util.find_spec("numba_cuda") is None:
        return "the package numba-cuda is missing: pip install 'convkit[cuda13]' (or 'convkit[cuda12]' for drivers before 580)"
    if not _has_library():
        return "NVIDIA's driver is not installed: there is no libcuda (nvcuda.dll)"
    return _driver().trouble()


def _has_library() -> bool:
    # Seen in a millisecond; Numba's CUDA target and all kernels, imported to find the same, take seconds.
    try:
        ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return False
    return True


@functools.cache
def _cuda(simulated: bool) -> str:
    if simulated and "convkit_kernels.cuda" not in sys.modules:
        importlib.import_module("numba").config.ENABLE_CUDASIM = 1  # now or never: what the kernels are made of depends on it
    if simulated and _driver().name() != "cuda:sim":
        raise RuntimeError("device 'cuda:sim': this process uses its GPU already; start another with NUMBA_ENABLE_CUDASIM=1 in its environment")
    found = None if simulated else trouble()
    if found:
        raise RuntimeError(f"device 'cuda': {found}")
    return _driver().name()


def _driver() -> ModuleType:
    return importlib.import_module("convkit_kernels.cuda.driver")


@functools.cache
def _automatic() -> str:
    found = trouble()
    if found is None:
        return _cuda(False)
    installed = importlib.util.find_spec("numba_cuda") is not None  # then somebody may wonder
    logging.getLogger("convkit").log(logging.WARNING if installed else logging.INFO, "device 'auto' is the CPU: %s", found)
    return "cpu"
