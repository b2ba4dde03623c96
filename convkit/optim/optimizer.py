"""`Optimizer`: groups of parameters with their settings, and what is kept for each parameter between steps."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from ..autograd import enable_grad, no_grad, version_of
from ..ops.creation import zeros_like
from ..tensor import Tensor


class Optimizer:
    """Base of the optimisers: derive from it, and write `_update`.

    `param_groups` is a list of dictionaries: 'params', a list of tensors, and the settings that hold for them ('lr', ...), which
    may be changed at any time.  `state[parameter]` is a dictionary of arrays and numbers kept between steps.

    Args:
        params: tensors, or dictionaries {'params': tensors, setting: value, ...} for groups with settings of their own.
        defaults: the settings of groups that do not say otherwise.

    Raises:
        TypeError: something that is not a tensor, or a single tensor.
        ValueError: no parameters, one given twice, one that is not a leaf, a setting that makes no sense.
    """

    _state_arrays: tuple[str, ...] = ()  # names in a parameter's state that are arrays of its shape

    def __init__(self, params: Iterable[Any], defaults: dict[str, Any]) -> None:
        name = type(self).__name__
        if isinstance(params, Tensor):
            raise TypeError(f"{name}: params must be a list of tensors or of dictionaries, got one tensor")
        if isinstance(params, (set, frozenset, Mapping)):
            raise TypeError(f"{name}: params must be a list of tensors or of dictionaries, got a {type(params).__name__}")
        groups = list(params)
        if not groups:
            raise ValueError(f"{name}: there are no parameters to learn; the list is empty (an iterator can be used once only)")
        self.defaults = dict(defaults)
        self.state: dict[Tensor, dict[str, Any]] = {}
        self.param_groups: list[dict[str, Any]] = []
        for group in groups if isinstance(groups[0], Mapping) else [{"params": groups}]:
            self.add_param_group(group)

    def add_param_group(self, group: Mapping[str, Any]) -> None:
        """Learn more parameters: {'params': tensors, setting: value, ...}."""
        name = type(self).__name__
        if not isinstance(group, Mapping) or "params" not in group:
            raise TypeError(f"{name}: a group must be a dictionary with 'params', got {group!r}")
        params = group["params"]
        params = [params] if isinstance(params, Tensor) else list(params)
        known = {id(p) for g in self.param_groups for p in g["params"]}
        for p in params:
            if not isinstance(p, Tensor):
                raise TypeError(f"{name}: parameters must be tensors, got {type(p).__name__}")
            if not p.is_leaf:
                raise ValueError(f"{name}: a parameter of shape {list(p.shape)} is the result of an operation; only leaves can be learnt")
            if id(p) in known:
                raise ValueError(f"{name}: a parameter of shape {list(p.shape)} was given twice")
            known.add(id(p))
        settings = {**self.defaults, **{k: v for k, v in group.items() if k != "params"}}
        self._check(settings)
        self.param_groups.append({"params": params, **settings})

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients of the last step, or set them to zero."""
        for p in self._every():
            if set_to_none:
                p.grad = None
            elif p.grad is not None:
                p.grad = zeros_like(p.grad)

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Change every parameter that has a gradient; gives what `closure`, called first if there is one, returned."""
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        with no_grad():
            for group in self.param_groups:
                for p in group["params"]:
                    if p.grad is not None:
                        self._update(p.array, p.grad.array, self.state.setdefault(p, {}), group)
                        version_of(p)[0] += 1  # a graph made before must not be walked with the new numbers
        return loss

    def _update(self, param: Any, grad: Any, state: dict[str, Any], group: dict[str, Any]) -> None:
        """Change the array `param` in place, given the array `grad`."""
        raise NotImplementedError(f"{type(self).__name__}: write an _update method")

    def _check(self, settings: Mapping[str, Any]) -> None:
        """Raise ValueError for settings that make no sense."""
        for key in ("lr", "eps", "weight_decay"):
            if key in settings and not settings[key] >= 0:
                raise ValueError(f"{type(self).__name__}: {key} must be 0 or larger, got {settings[key]}")

    # ---------------------------------------------------------------------------------- state
    def state_dict(self) -> dict[str, Any]:
        """{'state': {number: {...}}, 'param_groups': [...]}, as in torch.

        Parameters appear by their number in the order of the groups.  The tensors share the optimiser's memory, as those of
        `Module.state_dict` share the module's.
        """
        numbers = {id(p): i for i, p in enumerate(self._every())}
        state = {
            numbers[id(p)]: {k: Tensor(v) if k in self._state_arrays and v is not None else v for k, v in kept.items()}
            for p, kept in self.state.items()
            if kept
        }
        groups = [{**{k: v for k, v in g.items() if k != "params"}, "params": [numbers[id(p)] for p in g["params"]]} for g in self.param_groups]
        return {"state": state, "param_groups": groups}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from a `state_dict()`: settings and copies of what was kept, for the same parameters in the same order.

        ValueError, and no change, if the groups or the shapes are not those of this optimiser.
        """
        name = type(self).__name__
        saved, kept = state_dict["param_groups"], state_dict["state"]
        sizes, own = [len(g["params"]) for g in saved], [len(g["params"]) for g in self.param_groups]
        if sizes != own:
            raise ValueError(f"{name}.load_state_dict: the state has groups of {sizes} parameters, this optimiser has {own}")
        by_number = dict(zip([i for g in saved for i in g["params"]], self._every(), strict=True))
        state: dict[Tensor, dict[str, Any]] = {}
        for number, values in kept.items():
            p = by_number.get(number, by_number.get(_as_int(number)))
            if p is None:
                raise ValueError(f"{name}.load_state_dict: the state keeps numbers for parameter {number}, which is in no group")
            state[p] = {key: self._restored(key, value, p, number) for key, value in values.items()}
        settings = [{k: _plain(v) for k, v in g.items() if k != "params"} for g in saved]
        for group in settings:
            self._check(group)
        for mine, group in zip(self.param_groups, settings, strict=True):
            mine.update(group)
        self.state = state

    def _restored(self, key: str, value: Any, p: Tensor, number: Any) -> Any:
        if value is None or key not in self._state_arrays:
            return _plain(value)
        array = value.array if isinstance(value, Tensor) else np.asarray(value)
        if tuple(array.shape) != p.shape:
            raise ValueError(
                f"{type(self).__name__}.load_state_dict: {key} of parameter {number} has shape {list(array.shape)}, the parameter has {list(p.shape)}"
            )
        out = like(p.array)
        out[...] = array
        return out

    def _every(self) -> list[Tensor]:
        return [p for group in self.param_groups for p in group["params"]]

    def __repr__(self) -> str:
        lines = []
        for i, group in enumerate(self.param_groups):
            lines.append(f"group {i}: {len(group['params'])} parameters")
            lines += [f"    {key}: {group[key]}" for key in sorted(group) if key != "params"]
        return f"{type(self).__name__} (\n  " + "\n  ".join(lines) + "\n)"


def like(array: Any) -> Any:
    """An array of zeros in the shape, dtype, layout and device of `array`."""
    return zeros_like(Tensor(array)).array


def _plain(value: Any) -> Any:
    """Numbers that were saved as arrays or tensors, as Python numbers; anything else as it is."""
    if isinstance(value, (Tensor, np.ndarray, np.generic)):
        return value.item() if value.size == 1 or isinstance(value, Tensor) else value
    return tuple(map(_plain, value)) if isinstance(value, (tuple, list)) else value


def _as_int(number: Any) -> Any:
    """JSON makes strings of numbers."""
    return int(number) if isinstance(number, str) and number.isdigit() else number
