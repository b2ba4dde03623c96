"""Exchange with other programs: state dictionaries as safetensors and as torch's files, models as ONNX.

`interop.onnx` is imported when first named; it needs the package onnx.
"""

from __future__ import annotations

import importlib as _importlib
import os
from typing import Any

from .. import device as devices
from . import array_api, safetensors, torch_checkpoint
from .safetensors import save

__all__ = ["array_api", "load", "onnx", "safetensors", "save", "torch_checkpoint"]


def load(f: str | os.PathLike, map_location: Any = None, *, weights_only: bool = True) -> dict[str, Any]:
    """Tensors by name from a file: one that `convkit.save` wrote (safetensors), or one of torch (.pt, .pth, .th).

    The file's first bytes decide, not its name.  Nothing that a file says is executed.  What torch saved comes back as it was nested
    there: `load("resnet20.th")["state_dict"]`; see `interop.torch_checkpoint.load`.  `map_location` is None or 'cpu'; `weights_only` is
    torch's, and changes nothing here.  FileNotFoundError if there is no such file, ValueError if it is damaged or holds something else than data.
    """
    if map_location is not None:
        devices.check(map_location)
    with open(os.fspath(f), "rb") as file:  # an int would be somebody's open file
        start = file.read(16)
    return torch_checkpoint.load(f) if torch_checkpoint.recognised(start) else safetensors.load(f)


def __getattr__(name: str) -> object:
    if name == "onnx":
        return _importlib.import_module("convkit.interop.onnx")
    raise AttributeError(f"module 'convkit.interop' has no attribute {name!r}")
