"""Tensors by name in a safetensors file: a format that holds numbers only, so that reading one never runs code."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .. import device as devices
from ..files import write_whole
from ..ops.creation import from_numpy
from ..tensor import Tensor


def _library() -> Any:
    try:
        import safetensors.numpy
    except ImportError:
        raise ImportError("safetensors files need the package safetensors: pip install 'convkit[train]'") from None
    return safetensors


def save(obj: Mapping[str, Any], f: str | os.PathLike) -> None:
    """Write tensors (or arrays) by name, such as a `state_dict()`, to a safetensors file, whole or not at all.

    TypeError for a value that is neither tensor nor array; OSError, with the file as it was before, where writing fails.

    >>> import convkit, tempfile, os
    >>> path = os.path.join(tempfile.mkdtemp(), "weights.safetensors")
    >>> convkit.save({"w": convkit.ones(2)}, path)
    >>> convkit.load(path)["w"].tolist()
    [1.0, 1.0]
    """
    if not isinstance(obj, Mapping):
        raise TypeError(f"save: needs a dictionary of tensors, such as a state_dict(), got {type(obj).__name__}")
    arrays = {}
    for name, value in obj.items():
        if not isinstance(name, str):
            raise TypeError(f"save: names must be text, got {name!r}")
        array = value.array if isinstance(value, Tensor) else value
        if not isinstance(array, np.ndarray):
            raise TypeError(f"save: {name!r} must be a tensor or an array, got {type(value).__name__}")
        arrays[name] = np.asarray(devices.move(array, "cpu"), order="C")
    write_whole(Path(f), _library().numpy.save(arrays))


def load(f: str | os.PathLike) -> dict[str, Tensor]:
    """Tensors by name, in alphabetical order, from a safetensors file; FileNotFoundError if there is none, ValueError if it is damaged."""
    library = _library()
    content = Path(f).read_bytes()
    try:
        arrays = library.numpy.load(content)
    except Exception as error:  # the library's own error, and what its header parser raises
        raise ValueError(f"load: {os.fspath(f)} is no whole safetensors file: {error}") from None
    return {name: from_numpy(arrays[name]) for name in sorted(arrays)}
