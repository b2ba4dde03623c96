"""Exchange with other programs: state dictionaries as safetensors and as torch's files, models as ONNX.

`interop.onnx` is imported when first named; it needs the package onnx.
"""

from __future__ import annotations

import importlib as _importlib
import os
from typing import Any

from .. import device as devices
from ..tensor import Tensor
from . import array_api, safetensors, torch_checkpoint
from .safetensors import save

__all__ = ["array_api", "load", "onnx", "safetensors", "save", "torch_checkpoint"]


def load(f: str | os.PathLike, map_location: Any = None, *, weights_only: bool = True) -> dict[str, Any]:
    """Tensors by name from a file: one that `convkit.save` wrote (safetensors), or one of torch (.pt, .pth, .th).

    The file's first bytes decide, not its name. Nothing that a file says is executed. What torch saved comes back as it was nested there:
    `load("resnet20.th")["state_dict"]`; see `interop.torch_checkpoint.load`. `map_location` names the device of the tensors (the CPU);
    `weights_only` is torch's, and changes nothing here. FileNotFoundError if there is no such file, ValueError if it is damaged or holds
    something else than data.
    """
    device = devices.check("cpu" if map_location is None else map_location)
    with open(os.fspath(f), "rb") as file:  # an int would be somebody's open file
        start = file.read(16)
    found = torch_checkpoint.load(f) if torch_checkpoint.recognised(start) else safetensors.load(f)
    return found if device == "cpu" else _moved(found, device)


def _moved(value: Any, device: str) -> Any:
    """`value` with all the tensors in it on `device`."""
    if isinstance(value, Tensor):
        return value.to(device)
    if isinstance(value, dict):
        return type(value)((key, _moved(part, device)) for key, part in value.items())
    return type(value)(_moved(part, device) for part in value) if type(value) in (list, tuple) else value


def __getattr__(name: str) -> object:
    if name == "onnx":
        return _importlib.import_module("convkit.interop.onnx")
    raise AttributeError(f"module 'convkit.interop' has no attribute {name!r}")
