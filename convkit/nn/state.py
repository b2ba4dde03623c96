"""Loading a module's state: names and shapes are compared first, so that a state that does not fit changes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from convkit_kernels import layout

from .. import device as devices
from ..autograd import fusion, no_grad
from ..tensor import Tensor


def join(path: str, name: str) -> str:
    """The dotted name of `name` in the module at `path`."""
    return f"{path}.{name}" if path else name


class IncompatibleKeys(NamedTuple):
    """What `load_state_dict` found: names that the state lacks, and names that the module lacks."""

    missing_keys: list[str]
    unexpected_keys: list[str]

    def __repr__(self) -> str:
        if not self.missing_keys and not self.unexpected_keys:
            return "<All keys matched successfully>"
        return f"IncompatibleKeys(missing_keys={self.missing_keys}, unexpected_keys={self.unexpected_keys})"


def load(module: Any, state: Mapping[str, Any], strict: bool, assign: bool) -> IncompatibleKeys:
    """What `Module.load_state_dict` does."""
    owner = type(module).__name__
    if not isinstance(state, Mapping):
        raise TypeError(f"{owner}.load_state_dict: the state must be a dictionary of arrays, got {type(state).__name__}")
    own: dict[str, Tensor] = {}
    optional: set[str] = set()
    for path, part in module.named_modules(remove_duplicate=False):
        for name, tensor in part._own_state():
            own[join(path, name)] = tensor
            if name in part._optional_buffers:
                optional.add(join(path, name))
    missing = [name for name in own if name not in state and name not in optional]
    unexpected = [name for name in state if name not in own]
    problems = []
    if strict:
        problems += [f"missing: {', '.join(missing)}"] if missing else []
        problems += [f"unexpected: {', '.join(unexpected)}"] if unexpected else []
    arrays = {}
    for name, tensor in own.items():
        if name in state:
            value = state[name]
            arrays[name] = array = value.array if isinstance(value, Tensor) else np.asarray(value)
            if array.dtype.kind not in "fiub":
                problems.append(f"{name}: {type(value).__name__} of {array.dtype} in the state, numbers in the module")
            elif tuple(array.shape) != tensor.shape:
                problems.append(f"{name}: shape {list(array.shape)} in the state, {list(tensor.shape)} in the module")
            elif assign and (array.dtype.kind == "f") != (tensor.dtype.kind == "f"):
                problems.append(f"{name}: {array.dtype} in the state cannot take the place of {tensor.dtype} in the module")
    if problems:
        lines = "\n  ".join(problems)
        raise RuntimeError(f"{owner}.load_state_dict: the state does not fit, nothing was loaded:\n  {lines}")
    with no_grad():
        for name, array in arrays.items():
            if assign:
                fusion.settle(own[name].array)
                own[name].array = devices.move(layout.normal(array), own[name].device)
            else:
                own[name].copy_(array)
    return IncompatibleKeys(missing, unexpected)
