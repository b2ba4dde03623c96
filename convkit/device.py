"""Where arrays live, and which kernels work on them: the only place that chooses a backend."""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import Any

import numpy as np

_cpu: ModuleType | None = None


def kernels(array: Any) -> ModuleType:
    """The kernels for `array`'s device: `convkit_kernels.cpu` for a NumPy array.

    They are imported on first use, so that `import convkit` does not wait for Numba.
    """
    global _cpu
    if _cpu is None:
        _cpu = importlib.import_module("convkit_kernels.cpu")
    if type(array) is not np.ndarray and not isinstance(array, (np.ndarray, np.generic)):
        raise TypeError(f"convkit: no kernels for arrays of type {type(array).__name__}")
    return _cpu


def machine() -> ModuleType:
    """What measures the device that computes: `peak_gflops` and `copy_gbytes`."""
    return importlib.import_module("convkit_kernels.cpu.machine")


def of(array: Any) -> str:
    """Name of the device that holds `array`."""
    return "cpu"


def check(device: Any) -> str:
    """The name of a usable device: 'cpu'; RuntimeError for one that this build cannot use, ValueError for an unknown one."""
    name = str(device)
    if name in ("cpu", "auto"):
        return "cpu"
    if name.split(":")[0] == "cuda":
        raise RuntimeError(f"device {name!r}: this version of convkit has CPU kernels only; use device='cpu'")
    raise ValueError(f"device must be 'cpu', got {name!r}")
