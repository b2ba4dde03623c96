"""`Optimizer`: groups of parameters with their settings, and what is kept for each parameter between steps."""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping
from typing import Any

import numpy as np

from .. import device as devices
from ..autograd import compute_waiting, enable_grad, no_grad, version_of
from ..device import kernels
from ..ops import checks
from ..ops.creation import zeros_like
from ..tensor import RemovableHandle, Tensor

# Settings of torch's that choose between its implementations: there is one here, so they can only be off.
_ONE_IMPLEMENTATION = {
    "foreach": "a step is one launch for all parameters already",
    "fused": "a step is one launch for all parameters already",
    "capturable": "train.fit replays forward, loss and backward; a step is one launch behind them",
    "differentiable": "a step records no graph",
}
# Settings that may not be negative, wherever they occur.
_NOT_NEGATIVE = ("lr", "eps", "weight_decay", "momentum", "alpha", "lr_decay", "initial_accumulator_value", "momentum_decay")


class Optimizer:
    """Base of the optimisers: derive from it, and write `_update`, or `step` as in torch.

    `param_groups` is a list of dictionaries: 'params', a list of tensors, and the settings that hold for them ('lr', ...), which
    may be changed at any time.  `state[parameter]` is a dictionary of tensors and numbers kept between steps.

    Args:
        params: tensors, pairs (name, tensor) as `named_parameters()` gives them, or dictionaries {'params': tensors, setting: value, ...}
            for groups with settings of their own.
        defaults: the settings of groups that do not say otherwise.

    Raises:
        TypeError: something that is not a tensor, or a single tensor.
        ValueError: no parameters, one given twice, one that is not a leaf, a setting that makes no sense.
        RuntimeError: a setting of torch's that chooses an implementation which is not there (foreach, fused, capturable, differentiable).
    """

    _state_arrays: tuple[str, ...] = ()  # names in a parameter's state that are tensors of its shape

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "step" in cls.__dict__:  # so that hooks run around a step of one's own, too
            cls.step = _with_hooks(cls.step)  # type: ignore[method-assign]

    def __init__(self, params: Iterable[Any], defaults: dict[str, Any]) -> None:
        name = type(self).__name__
        if isinstance(params, Tensor):
            raise TypeError(f"{name}: params must be a list of tensors or of dictionaries, got one tensor")
        if isinstance(params, (set, frozenset, Mapping)):
            raise TypeError(f"{name}: params must be a list of tensors or of dictionaries, got a {type(params).__name__}")
        if not isinstance(params, Iterable):
            raise TypeError(f"{name}: params must be a list of tensors or of dictionaries, got {params!r}")
        groups = list(params)
        if not groups:
            raise ValueError(f"{name}: there are no parameters to learn; the list is empty (an iterator can be used once only)")
        self.defaults = dict(defaults)
        self.state: defaultdict[Tensor, dict[str, Any]] = defaultdict(dict)
        self.param_groups: list[dict[str, Any]] = []
        self._pre_hooks: dict[int, Callable] = {}
        self._post_hooks: dict[int, Callable] = {}
        for group in groups if isinstance(groups[0], Mapping) else [{"params": groups}]:
            self.add_param_group(group)

    def add_param_group(self, param_group: Mapping[str, Any]) -> None:
        """Learn more parameters: {'params': tensors, setting: value, ...}."""
        name = type(self).__name__
        if not isinstance(param_group, Mapping) or "params" not in param_group:
            raise TypeError(f"{name}: a group must be a dictionary with 'params', got {param_group!r}")
        params = param_group["params"]
        if isinstance(params, (set, frozenset)):
            raise TypeError(f"{name}: parameters must come in an order, got a {type(params).__name__}")
        if not isinstance(params, Iterable):
            raise TypeError(f"{name}: params must be tensors, got {params!r}")
        params = [params] if isinstance(params, Tensor) else list(params)
        names = None
        if params and all(isinstance(p, tuple) and len(p) == 2 for p in params):
            names, params = [n for n, _ in params], [p for _, p in params]
        if self.param_groups and (names is None) != ("param_names" not in self.param_groups[0]):
            raise ValueError(f"{name}: all groups must have named parameters, or none")
        known = {id(p) for g in self.param_groups for p in g["params"]}
        for p in params:
            if not isinstance(p, Tensor):
                raise TypeError(f"{name}: parameters must be tensors, got {type(p).__name__}")
            if not p.is_leaf:
                raise ValueError(f"{name}: a parameter of shape {list(p.shape)} is the result of an operation; only leaves can be learnt")
            if id(p) in known:
                raise ValueError(f"{name}: a parameter of shape {list(p.shape)} was given twice")
            known.add(id(p))
        settings = {**self.defaults, **{k: v for k, v in param_group.items() if k != "params"}}
        self._check(settings)
        self.param_groups.append({"params": params, **({"param_names": names} if names else {}), **settings})

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
        compute_waiting()
        with no_grad():
            for group in self.param_groups:
                learning = [p for p in group["params"] if p.grad is not None]
                if learning:
                    self._update_group(learning, group)
                for p in learning:
                    version_of(p)[0] += 1  # a graph made before must not be walked with the new numbers
        return loss

    def _update_group(self, params: list[Tensor], group: dict[str, Any]) -> None:
        """Change parameters of one group, all of which have gradients."""
        for p in params:
            self._update(p.array, p.grad.array, self.state[p], group)

    def _update(self, param: Any, grad: Any, state: dict[str, Any], group: dict[str, Any]) -> None:
        """Change the array `param` in place, given the array `grad`."""
        raise NotImplementedError(f"{type(self).__name__}: write an _update method")

    def _check(self, settings: Mapping[str, Any]) -> None:
        """Raise ValueError for settings that make no sense."""
        name = type(self).__name__
        for key in _NOT_NEGATIVE:
            if key in settings and not checks.number(name, key, settings[key]) >= 0:
                raise ValueError(f"{name}: {key} must be 0 or larger, got {settings[key]}")
        betas = settings.get("betas")
        if betas is not None and not isinstance(betas, Collection):
            raise TypeError(f"{name}: betas must be two numbers, got {betas!r}")
        if betas is not None and (len(betas) != 2 or not all(0 <= checks.number(name, "betas", beta) < 1 for beta in betas)):
            raise ValueError(f"{name}: betas must be two numbers in [0, 1), got {betas}")
        for key, reason in _ONE_IMPLEMENTATION.items():
            if settings.get(key):
                raise RuntimeError(f"{name}: {key} must be None or False: {reason}")

    # ---------------------------------------------------------------------------------- hooks
    def register_step_pre_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call `hook(optimizer, args, kwargs)` before each step; what it returns, if not None, replaces (args, kwargs)."""
        return RemovableHandle(self._pre_hooks, hook)

    def register_step_post_hook(self, hook: Callable[..., None]) -> RemovableHandle:
        """Call `hook(optimizer, args, kwargs)` after each step."""
        return RemovableHandle(self._post_hooks, hook)

    # ---------------------------------------------------------------------------------- state
    def state_dict(self) -> dict[str, Any]:
        """{'state': {number: {...}}, 'param_groups': [...]}, as in torch.

        Parameters appear by their number in the order of the groups.  The tensors share the optimiser's memory, as those of
        `Module.state_dict` share the module's.
        """
        numbers = {id(p): i for i, p in enumerate(self._every())}
        state = {numbers[id(p)]: dict(kept) for p, kept in self.state.items() if kept}
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
        state: defaultdict[Tensor, dict[str, Any]] = defaultdict(dict)
        for number, values in kept.items():
            p = by_number.get(number, by_number.get(_as_int(number)))
            if p is None:
                raise ValueError(f"{name}.load_state_dict: the state keeps numbers for parameter {number}, which is in no group")
            state[p] = {key: self._restored(key, value, p, number) for key, value in values.items()}
        settings = [{k: _plain(v) for k, v in g.items() if k not in ("params", "param_names")} for g in saved]
        for group in settings:
            self._check(group)
        for mine, group in zip(self.param_groups, settings, strict=True):
            mine.update(group)
        self.state = state

    def _restored(self, key: str, value: Any, p: Tensor, number: Any) -> Any:
        if key not in self._state_arrays:
            return _copied(value)
        if value is None:
            return None
        array = value.array if isinstance(value, Tensor) else np.asarray(value)
        if tuple(array.shape) != p.shape:
            raise ValueError(
                f"{type(self).__name__}.load_state_dict: {key} of parameter {number} has shape {list(array.shape)}, the parameter has {list(p.shape)}"
            )
        out = zeros_like(p.detach())
        out.array[...] = devices.move(array, p.device)
        return out

    def _every(self) -> list[Tensor]:
        return [p for group in self.param_groups for p in group["params"]]

    def __repr__(self) -> str:
        lines = []
        for i, group in enumerate(self.param_groups):
            lines.append(f"group {i}: {len(group['params'])} parameters")
            lines += [f"    {key}: {group[key]}" for key in sorted(group) if key != "params"]
        return f"{type(self).__name__} (\n  " + "\n  ".join(lines) + "\n)"


class Elementwise(Optimizer):
    """Base of the optimisers whose step is one formula for each element: the rows of the kernel `optimizer_step`.

    Derive from it, and write `_formula`, `_tick` and `_numbers`; and `_start` if a state does not start at 0.
    """

    def _formula(self, group: dict[str, Any]) -> tuple[str, tuple[str | None, str | None, str | None]]:
        """With the settings of `group`: the kind of formula, and the names of the states that it keeps as a, b and c."""
        raise NotImplementedError

    def _start(self, name: str, param: Tensor, group: dict[str, Any]) -> Tensor:
        """A state of `param` before its first step."""
        return zeros_like(param.detach())

    def _tick(self, group: dict[str, Any], state: dict[str, Any], fresh: bool) -> Hashable:
        """Count a step in `state`, which is `fresh` if a tensor was just added to it; gives all that its numbers depend on besides the settings."""
        state["step"] = step = state.get("step", 0) + 1
        return step

    def _numbers(self, group: dict[str, Any], tick: Any) -> tuple[float, ...]:
        """The formula's numbers but for the first one, which says which way is down."""
        raise NotImplementedError

    def _update_group(self, params: list[Tensor], group: dict[str, Any]) -> None:
        kind, names = self._formula(group)
        together: dict[Any, tuple[list, list, list]] = {}  # parameters of one dtype that have made the same number of steps
        for p in params:
            state, array, grad = self.state[p], p.array, p.grad.array
            fresh = False
            arrays: list[Any] = []
            for name in names:
                if name is None:
                    arrays.append(None)
                    continue
                kept = state.get(name)
                if kept is None:
                    kept = state[name] = self._start(name, p, group)
                    fresh = True
                elif kept.array.dtype != array.dtype or kept.array.shape != array.shape or type(kept.array) is not type(array):
                    kept = state[name] = self._restored(name, kept, p, "")  # the parameter was converted
                arrays.append(kept.array)
            if grad.shape != array.shape:
                raise ValueError(f"{type(self).__name__}.step: a parameter of shape {list(array.shape)} has a gradient of shape {list(grad.shape)}")
            if grad.dtype is not array.dtype and grad.dtype != array.dtype:
                grad = p.grad.to(array.dtype).array
            key = array.dtype, self._tick(group, state, fresh)
            found = together.get(key)
            if found is None:
                found = together[key] = ([], [], [])
            found[0].append(array)
            found[1].append(grad)
            found[2].append(arrays)
        sign = -1.0 if group["maximize"] else 1.0
        for (_, tick), (arrays, grads, states) in together.items():
            kernels(arrays[0]).optimizer_step(kind, arrays, grads, states, (sign, *self._numbers(group, tick)))


def settings(names: dict[str, Any]) -> dict[str, Any]:
    """The arguments of an optimiser's `__init__`, from its `locals()`: all of them but `params` are settings."""
    return {name: value for name, value in names.items() if name not in ("self", "params", "__class__")}


def _with_hooks(step: Callable) -> Callable:
    """`step` with the hooks before and after it."""

    @functools.wraps(step)
    def hooked(self: Optimizer, *args: Any, **kwargs: Any) -> Any:
        for hook in list(self._pre_hooks.values()):
            changed = hook(self, args, kwargs)
            if changed is not None:
                if not (isinstance(changed, tuple) and len(changed) == 2):
                    raise RuntimeError(f"{type(self).__name__}: a hook before the step must return None or (args, kwargs), got {changed!r}")
                args, kwargs = changed
        result = step(self, *args, **kwargs)
        for hook in list(self._post_hooks.values()):
            hook(self, args, kwargs)
        return result

    return hooked


Optimizer.step = _with_hooks(Optimizer.step)  # type: ignore[method-assign]


def _copied(value: Any) -> Any:
    """A copy of what was kept: tensors are copied, numbers that were saved as tensors or arrays become Python numbers."""
    if isinstance(value, (Tensor, np.ndarray, np.generic)):
        array = value.array if isinstance(value, Tensor) else np.asarray(value)
        return array.item() if array.ndim == 0 else Tensor(array.copy(order="K"))
    return type(value)(map(_copied, value)) if isinstance(value, (tuple, list)) else value


def _plain(value: Any) -> Any:
    """Numbers that were saved as arrays or tensors, as Python numbers; anything else as it is; lists as tuples."""
    if isinstance(value, (Tensor, np.ndarray, np.generic)):
        return value.item() if value.size == 1 or isinstance(value, Tensor) else value
    return tuple(map(_plain, value)) if isinstance(value, (tuple, list)) else value


def _as_int(number: Any) -> Any:
    """JSON makes strings of numbers."""
    return int(number) if isinstance(number, str) and number.isdigit() else number
