"""What there is of a GPU.

Work on a GPU is queued: operations return before it is done, and reading a result (`.cpu()`, `.item()`) waits for it.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType

from . import device


def _driver() -> ModuleType:
    return importlib.import_module("convkit_kernels.cuda.driver")


def _memory() -> ModuleType:
    return importlib.import_module("convkit_kernels.cuda.memory")


def is_available() -> bool:
    """Can tensors live on a GPU?  (The simulator is one in a process that was started with NUMBA_ENABLE_CUDASIM=1.)"""
    return device_count() > 0


def device_count() -> int:
    """Number of GPUs that this process can use: 1 or 0.  CUDA_VISIBLE_DEVICES says which of several."""
    return int(trouble() is None)


def trouble() -> str | None:
    """Why no GPU can be used, and what would help; None if one can."""
    return device.trouble()


def get_device_name() -> str:
    """What the GPU is called; RuntimeError if there is none."""
    if not _in_use() and (found := trouble()):
        raise RuntimeError(f"cuda: {found}")
    return _driver().description()


def synchronize() -> None:
    """Wait until the GPU's work is done; nothing to wait for without one."""
    if _in_use():
        _driver().synchronize()


def memory_allocated() -> int:
    """Bytes of the GPU's memory that tensors use."""
    return _memory().pool.allocated if _in_use() else 0


def memory_reserved() -> int:
    """Bytes of the GPU's memory that tensors use or that are kept for later ones."""
    return _memory().pool.reserved if _in_use() else 0


def empty_cache() -> None:
    """Give the memory that is kept for later tensors back to the driver."""
    if _in_use():
        _memory().pool.empty()


def set_fp32_precision(name: str) -> None:
    """How products of float32 numbers in convolutions and matrix products are taken on a GPU; ValueError for an unknown name.

    "ieee", the default, as they are.  "tf32x3" by tensor cores in three parts, as exact (error by norm below 2e-6), but infinity becomes NaN.
    "tf32" by tensor cores, of numbers rounded to 10 bits behind the point (relative error 1e-3), which is torch's `allow_tf32`.
    """
    _tensorcore().set_precision(name)


def fp32_precision() -> str:
    """How products of float32 numbers are taken on a GPU."""
    return _tensorcore().precision()


def _tensorcore() -> ModuleType:
    if not _in_use() and (found := trouble()):
        raise RuntimeError(f"cuda: {found}")
    return importlib.import_module("convkit_kernels.cuda.tensorcore")


def recordings() -> ModuleType:
    """What notes the launches of a step and repeats them: a GPU that is in use has it."""
    return importlib.import_module("convkit_kernels.cuda.graph")


def _in_use() -> bool:
    return "convkit_kernels.cuda" in sys.modules
