"""Hooks of modules: what runs before and after `forward`, and when gradients pass a module's inputs and outputs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from ..autograd import Function, fusion
from ..tensor import RemovableHandle, Tensor


class Hook(NamedTuple):
    """A function and how it is called."""

    function: Callable
    with_kwargs: bool = False
    always_call: bool = False


def register(hooks: dict[int, Hook], hook: Hook, prepend: bool) -> RemovableHandle:
    """Add `hook` behind, or with `prepend` before, the others."""
    before = list(hooks.items()) if prepend else []
    if prepend:
        hooks.clear()
    handle = RemovableHandle(hooks, hook)
    hooks.update(before)
    return handle


def call(module: Any, args: tuple, kwargs: dict[str, Any]) -> Any:
    """`module.forward(*args, **kwargs)` between its hooks, which see the module by itself: no operation runs with one outside it."""
    fusion.settle()
    for hook in list(module._forward_pre_hooks.values()):
        if hook.with_kwargs:
            changed = hook.function(module, args, kwargs)
            if changed is not None:
                if not isinstance(changed, tuple) or len(changed) != 2:
                    raise RuntimeError(f"{type(module).__name__}: a forward pre-hook with kwargs must return None or (args, kwargs), got {changed!r}")
                args, kwargs = changed
        else:
            changed = hook.function(module, args)
            if changed is not None:
                args = changed if isinstance(changed, tuple) else (changed,)
    called: set[int] = set()
    try:
        watch = _BackwardWatch(module) if module._backward_hooks or module._backward_pre_hooks else None
        result = fusion.run(module.forward, watch.inputs(args) if watch else args, kwargs)
        fusion.settle()
        if watch:
            result = watch.outputs(result)
        for key, hook in list(module._forward_hooks.items()):
            called.add(key)
            changed = hook.function(module, args, kwargs, result) if hook.with_kwargs else hook.function(module, args, result)
            if changed is not None:
                result = changed
        return result
    except Exception:
        for key, hook in list(module._forward_hooks.items()):
            if hook.always_call and key not in called:
                hook.function(module, args, kwargs, None) if hook.with_kwargs else hook.function(module, args, None)
        raise


class _BackwardWatch:
    """Runs a module's backward hooks: marks on its inputs and outputs see the gradients that pass there."""

    def __init__(self, module: Any) -> None:
        self.module = module
        self.grad_output: tuple = ()
        self.tensors: list[int] = []  # positions of the tensors among the arguments
        self.marked: list[int] = []  # of those whose gradients the hooks wait for

    def inputs(self, args: tuple) -> tuple:
        self.tensors = [i for i, a in enumerate(args) if isinstance(a, Tensor)]
        self.marked = [i for i in self.tensors if args[i].requires_grad]
        return _replaced(args, self.marked, self.call)

    def outputs(self, result: Any) -> Any:
        if isinstance(result, Tensor):
            return _replaced((result,), [0], self.keep)[0]
        if not isinstance(result, tuple | list):
            return result
        return type(result)(_replaced(tuple(result), [i for i, r in enumerate(result) if isinstance(r, Tensor)], self.keep))

    def keep(self, grads: tuple) -> tuple:
        for hook in list(self.module._backward_pre_hooks.values()):
            changed = hook.function(self.module, grads)
            if changed is not None:
                grads = changed if isinstance(changed, tuple) else (changed,)
        self.grad_output = grads
        if not self.marked:
            self.call(())
        return grads

    def call(self, grads: tuple) -> tuple:
        known = dict(zip(self.marked, grads, strict=True))
        grad_input = tuple(known.get(i) for i in self.tensors)
        for hook in list(self.module._backward_hooks.values()):
            changed = hook.function(self.module, grad_input, self.grad_output)
            if changed is not None:
                grad_input = changed if isinstance(changed, tuple) else (changed,)
        return tuple(g for i, g in zip(self.tensors, grad_input, strict=True) if i in known)


def _replaced(values: tuple, where: list[int], passed: Callable[[tuple], tuple]) -> tuple:
    """`values` with marks that call `passed` on the tensors at `where`."""
    marks = _Mark.apply(*(values[i] for i in where), passed=passed) if where else ()
    found = dict(zip(where, marks, strict=True))
    return tuple(found.get(i, value) for i, value in enumerate(values))


class _Mark(Function):
    """Passes arrays through, and lets `passed` see or replace their gradients."""

    @staticmethod
    def forward(ctx: Any, *arrays: Any, passed: Callable[[tuple], tuple]) -> tuple:  # type: ignore[override]
        ctx.passed = passed
        return arrays

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple:
        return ctx.passed(grads)
