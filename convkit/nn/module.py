"""`Module`: parameters, buffers and layers in a tree, with the names that torch gives them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from ..autograd import compute_waiting, fusion, no_grad
from ..ops.creation import zeros_like
from ..tensor import RemovableHandle, Tensor
from . import hooks
from .parameter import Parameter
from .state import IncompatibleKeys, join, load

if TYPE_CHECKING:
    from .summary import Summary

Self = TypeVar("Self", bound="Module")


class Module:
    """A layer or a net: derive from it, call `super().__init__()`, and write `forward`.

    Assigning a `Parameter` or a `Module` to an attribute registers it, so that `parameters()`, `state_dict()`, `to()` and
    the others reach it.  A tensor that belongs to the state but is not learnt (running statistics) is a buffer:
    `register_buffer`.

    >>> from convkit import nn
    >>> class Net(nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.hidden = nn.Linear(4, 3)
    ...         self.out = nn.Linear(3, 2, bias=False)
    ...     def forward(self, x):
    ...         return self.out(self.hidden(x).relu())
    >>> net = Net()
    >>> [(name, p.shape) for name, p in net.named_parameters()]
    [('hidden.weight', (3, 4)), ('hidden.bias', (3,)), ('out.weight', (2, 3))]
    >>> net
    Net(
      (hidden): Linear(in_features=4, out_features=3, bias=True)
      (out): Linear(in_features=3, out_features=2, bias=False)
    )
    """

    training: bool
    _parameters: dict[str, Parameter | None]
    _buffers: dict[str, Tensor | None]
    _modules: dict[str, Module | None]
    # Names of buffers that a loaded state may lack: files of other programs often leave them out.
    _optional_buffers: frozenset[str] = frozenset()

    def __init__(self) -> None:
        self.__dict__.update(
            training=True,
            _parameters={},
            _buffers={},
            _modules={},
            _transient=set(),  # names of the buffers that are not part of the state
            _forward_hooks={},
            _forward_pre_hooks={},
            _backward_hooks={},
            _backward_pre_hooks={},
        )

    # ------------------------------------------------------------------------------- calling
    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the module computes; called by `module(...)`, which also runs the hooks."""
        raise NotImplementedError(f"{type(self).__name__}: write a forward method")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self._forward_pre_hooks or self._forward_hooks or self._backward_hooks or self._backward_pre_hooks:
            return hooks.call(self, args, kwargs)
        return fusion.run(self.forward, args, kwargs)

    def _hooked(self) -> bool:
        return bool(self._forward_pre_hooks or self._forward_hooks or self._backward_hooks or self._backward_pre_hooks)

    def register_forward_pre_hook(self, hook: Callable, *, prepend: bool = False, with_kwargs: bool = False) -> RemovableHandle:
        """Call `hook(module, args)` before forward; what it returns, if not None, replaces the positional arguments.

        With `with_kwargs` it is `hook(module, args, kwargs)`, which gives None or (args, kwargs); `prepend` puts it before the others.
        """
        return hooks.register(self._forward_pre_hooks, hooks.Hook(hook, with_kwargs), prepend)

    def register_forward_hook(
        self, hook: Callable, *, prepend: bool = False, with_kwargs: bool = False, always_call: bool = False
    ) -> RemovableHandle:
        """Call `hook(module, args, output)` after forward; what it returns, if not None, replaces the output.

        With `with_kwargs` it is `hook(module, args, kwargs, output)`; `prepend` puts it before the others; with `always_call` it is called,
        with None for the output, also where forward raises an error.

        >>> from convkit import nn, zeros
        >>> layer, seen = nn.Linear(4, 3), []
        >>> handle = layer.register_forward_hook(lambda module, args, output: seen.append(output.shape))
        >>> y = layer(zeros(2, 4))
        >>> handle.remove()
        >>> y = layer(zeros(5, 4))
        >>> seen
        [(2, 3)]
        """
        return hooks.register(self._forward_hooks, hooks.Hook(hook, with_kwargs, always_call), prepend)

    def register_full_backward_hook(self, hook: Callable[[Any, tuple, tuple], Any], prepend: bool = False) -> RemovableHandle:
        """Call `hook(module, grad_input, grad_output)` when the gradients of the module's inputs are known.

        Both are tuples, one entry for each tensor among the positional arguments and the outputs; None where no gradient
        flows.  What the hook returns, if not None, replaces grad_input.
        """
        return hooks.register(self._backward_hooks, hooks.Hook(hook), prepend)

    def register_full_backward_pre_hook(self, hook: Callable[[Any, tuple], Any], prepend: bool = False) -> RemovableHandle:
        """Call `hook(module, grad_output)` when the gradients of the outputs are known; what it returns, if not None, replaces them."""
        return hooks.register(self._backward_pre_hooks, hooks.Hook(hook), prepend)

    # --------------------------------------------------------------------------- registration
    def __setattr__(self, name: str, value: Any) -> None:
        kinds = self._kinds()
        if kinds is None:
            if isinstance(value, (Parameter, Module)):
                raise AttributeError(f"{type(self).__name__}: call super().__init__() before assigning {name!r}")
            object.__setattr__(self, name, value)
            return
        home = self._parameters if isinstance(value, Parameter) else self._modules if isinstance(value, Module) else None
        if home is not None:
            self.__dict__.pop(name, None)
            self._forget(name, keep=home)
            home[name] = value
            return
        for registered, wanted in kinds:
            if name in registered:
                if value is not None and not isinstance(value, wanted):
                    raise TypeError(
                        f"{type(self).__name__}: {name!r} is registered and takes a {wanted.__name__} or None, got {type(value).__name__}"
                    )
                registered[name] = value
                return
        object.__setattr__(self, name, value)

    def __getattr__(self, name: str) -> Any:  # called only where the ordinary look-up failed
        own = self.__dict__
        for kind in ("_parameters", "_modules", "_buffers"):
            if kind in own and name in own[kind]:
                return own[kind][name]
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __delattr__(self, name: str) -> None:
        if not self._forget(name):
            object.__delattr__(self, name)

    def __dir__(self) -> list[str]:
        names = {*super().__dir__(), *(name for registered, _ in self._kinds() or () for name in registered)}
        return sorted(name for name in names if not name[0].isdigit())  # numbers are no attributes that can be typed

    def _kinds(self) -> tuple[tuple[dict, type], ...] | None:
        own = self.__dict__
        if "_modules" not in own:
            return None
        return (own["_parameters"], Parameter), (own["_modules"], Module), (own["_buffers"], Tensor)

    def _forget(self, name: str, keep: dict | None = None) -> bool:
        """Remove `name` wherever it is registered, except in `keep`; was it there?"""
        found = False
        for registered, _ in self._kinds() or ():
            if registered is not keep and name in registered:
                del registered[name]
                found = True
        self._transient.discard(name)
        return found

    def _check_name(self, kind: str, name: str, own: Mapping[str, Any]) -> None:
        if not isinstance(name, str) or not name or "." in name:
            raise ValueError(f"{type(self).__name__}: the name of a {kind} must be a non-empty string without '.', got {name!r}")
        if name not in own and hasattr(self, name):
            raise KeyError(f"{type(self).__name__}: attribute {name!r} already exists")

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """Same as `self.name = parameter`; also takes None, for a parameter that this instance does without."""
        self._check_name("parameter", name, self._parameters)
        if param is not None and not isinstance(param, Parameter):
            raise TypeError(f"{type(self).__name__}: {name!r} must be a Parameter or None, got {type(param).__name__}")
        self._forget(name)
        self._parameters[name] = param

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Make `tensor` part of the module without learning it; only a persistent one is part of `state_dict()`."""
        self._check_name("buffer", name, self._buffers)
        if tensor is not None and not isinstance(tensor, Tensor):
            raise TypeError(f"{type(self).__name__}: buffer {name!r} must be a Tensor or None, got {type(tensor).__name__}")
        self._forget(name)
        self._buffers[name] = tensor
        if not persistent:
            self._transient.add(name)

    def add_module(self, name: str, module: Module | None) -> None:
        """Same as `self.name = module`, for names that are computed."""
        self._check_name("module", name, self._modules)
        if module is not None and not isinstance(module, Module):
            raise TypeError(f"{type(self).__name__}: {name!r} must be a Module or None, got {type(module).__name__}")
        self._forget(name)
        self._modules[name] = module

    register_module = add_module

    # -------------------------------------------------------------------------------- walking
    def named_modules(self, memo: set[int] | None = None, prefix: str = "", remove_duplicate: bool = True) -> Iterator[tuple[str, Module]]:
        """(name, module) of this module, named '', and of all below it, parents first; a shared one comes once."""
        memo = set() if memo is None else memo
        if remove_duplicate and id(self) in memo:
            return
        memo.add(id(self))
        yield prefix, self
        for name, child in self._modules.items():
            if child is not None:
                yield from child.named_modules(memo, join(prefix, name), remove_duplicate)

    def modules(self, remove_duplicate: bool = True) -> Iterator[Module]:
        """This module and all below it; a shared one comes once, unless `remove_duplicate` is False."""
        return (module for _, module in self.named_modules(remove_duplicate=remove_duplicate))

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """(name, module) of the modules directly below; a shared one comes once."""
        memo: set[int] = set()
        for name, child in self._modules.items():
            if child is not None and id(child) not in memo:
                memo.add(id(child))
                yield name, child

    def children(self) -> Iterator[Module]:
        """The modules directly below."""
        return (child for _, child in self.named_children())

    def get_submodule(self, target: str) -> Module:
        """The module with a dotted name, as in `named_modules`; AttributeError that names the part that does not exist."""
        module = self
        for part in filter(None, target.split(".")):
            child = module._modules.get(part)
            if child is None:
                raise AttributeError(f"{type(module).__name__} has no module {part!r} (looking for {target!r}); it has {list(module._modules)}")
            module = child
        return module

    def set_submodule(self, target: str, module: Module, strict: bool = False) -> None:
        """Put `module` in the place of the one with the dotted name `target`, or, unless `strict`, where there was none.

        AttributeError where what it would be in does not exist, or where something else than a module is; ValueError for ''.
        """
        if not target:
            raise ValueError(f"{type(self).__name__}.set_submodule: needs a name, got ''")
        if not isinstance(module, Module):
            raise TypeError(f"{type(self).__name__}.set_submodule: needs a Module, got {type(module).__name__}")
        path, _, name = target.rpartition(".")
        parent = self.get_submodule(path)
        if strict or not isinstance(getattr(parent, name, module), Module):
            parent.get_submodule(name)
        setattr(parent, name, module)

    def get_parameter(self, target: str) -> Parameter:
        """The parameter with a dotted name, as in `named_parameters`; AttributeError if there is none."""
        return self._get("_parameters", "parameter", target)

    def get_buffer(self, target: str) -> Tensor:
        """The buffer with a dotted name, as in `named_buffers`; AttributeError if there is none."""
        return self._get("_buffers", "buffer", target)

    def _get(self, kind: str, word: str, target: str) -> Any:
        path, _, name = target.rpartition(".")
        module = self.get_submodule(path)
        found = module.__dict__[kind].get(name)
        if found is None:
            raise AttributeError(f"{type(module).__name__} has no {word} {name!r} (looking for {target!r}); it has {list(module.__dict__[kind])}")
        return found

    def _named(self, kind: str, prefix: str, recurse: bool, remove_duplicate: bool) -> Iterator[tuple[str, Any]]:
        memo: set[int] = set()
        modules = self.named_modules(None, prefix, remove_duplicate) if recurse else ((prefix, self),)
        for path, module in modules:
            for name, tensor in module.__dict__[kind].items():
                if tensor is not None and not (remove_duplicate and id(tensor) in memo):
                    memo.add(id(tensor))
                    yield join(path, name), tensor

    def named_parameters(self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True) -> Iterator[tuple[str, Parameter]]:
        """(name, parameter) of all parameters; a shared one comes once, under its first name."""
        return self._named("_parameters", prefix, recurse, remove_duplicate)

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """All parameters, each once; without `recurse` this module's own only."""
        return (parameter for _, parameter in self.named_parameters(recurse=recurse))

    def named_buffers(self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True) -> Iterator[tuple[str, Tensor]]:
        """(name, tensor) of all buffers, those outside the state included."""
        return self._named("_buffers", prefix, recurse, remove_duplicate)

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        """All buffers."""
        return (buffer for _, buffer in self.named_buffers(recurse=recurse))

    def apply(self: Self, fn: Callable[[Module], Any]) -> Self:
        """Call `fn` on every module below and then on this one; gives the module itself.

        >>> from convkit import nn
        >>> def ones(module):
        ...     if isinstance(module, nn.Linear):
        ...         nn.init.ones_(module.weight)
        >>> net = nn.Sequential(nn.Linear(2, 1, bias=False)).apply(ones)
        >>> net[0].weight.tolist()
        [[1.0, 1.0]]
        """
        for child in self.children():
            child.apply(fn)
        fn(self)
        return self

    # ---------------------------------------------------------------------------------- modes
    def train(self: Self, mode: bool = True) -> Self:
        """Training mode for this module and all below: dropout drops, batch normalisation uses and gathers batch statistics."""
        if not isinstance(mode, bool):
            raise TypeError(f"train: mode must be True or False, got {mode!r}")
        for module in self.modules():
            module.training = mode
        return self

    def eval(self: Self) -> Self:
        """Evaluation mode: `train(False)`."""
        return self.train(False)

    def requires_grad_(self: Self, requires_grad: bool = True) -> Self:
        """Learn these parameters, or freeze them."""
        for parameter in self.parameters():
            parameter.requires_grad_(requires_grad)
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the parameters' gradients, or set them to zero."""
        for parameter in self.parameters():
            if set_to_none:
                parameter.grad = None
            elif parameter.grad is not None:
                parameter.grad = zeros_like(parameter.grad)

    # ----------------------------------------------------------------------- device and dtype
    def to(self: Self, *args: Any, device: Any = None, dtype: Any = None, non_blocking: bool = False) -> Self:
        """Move this module and all below, in place: `to('cpu')`, `to(convkit.float64)`, or `to(tensor)` for the tensor's both.

        Parameters stay the objects they are, so an optimizer made before keeps working.  A dtype applies to floating
        parameters and buffers only; `non_blocking` changes nothing.  TypeError for a dtype that is not floating.
        """
        for arg in args:
            if isinstance(arg, Tensor):
                device, dtype = arg.device, arg.dtype
            elif _is_dtype(arg):
                dtype = arg
            elif arg is not None and not isinstance(arg, bool):  # a bool is torch's non_blocking
                device = arg
        if dtype is not None:
            dtype = np.dtype(dtype)
            if dtype.kind != "f":
                raise TypeError(f"{type(self).__name__}.to: a module has floating dtypes, got {dtype}")

        def convert(tensor: Tensor) -> Tensor:
            if device is not None:
                tensor = tensor.to(device=device)
            if dtype is not None and np.dtype(tensor.dtype).kind == "f":
                tensor = tensor.to(dtype)
            return tensor

        compute_waiting()
        with no_grad():
            for tensor in [*self.parameters(), *self.buffers()]:
                tensor.array = convert(tensor.detach()).array
                if tensor.grad is not None:
                    tensor.grad = convert(tensor.grad)
        return self

    def cpu(self: Self) -> Self:
        """Move to the CPU."""
        return self.to("cpu")

    def cuda(self: Self, device: Any = None) -> Self:
        """Move to a GPU: number or name of the device, by default 'cuda'."""
        return self.to("cuda" if device is None else f"cuda:{device}" if isinstance(device, int) else device)

    def float(self: Self) -> Self:
        """Floating parameters and buffers as float32."""
        return self.to(np.float32)

    def double(self: Self) -> Self:
        """Floating parameters and buffers as float64."""
        return self.to(np.float64)

    def half(self: Self) -> Self:
        """Refused: float16 has no kernels here; a network in float32 is the smallest."""
        raise TypeError(f"{type(self).__name__}.half: kernels compute in float32 and float64; to store weights smaller, convert the state_dict")

    bfloat16 = half

    def type(self: Self, dst_type: Any) -> Self:
        """Floating parameters and buffers as `dst_type`."""
        return self.to(np.dtype(dst_type))

    # ---------------------------------------------------------------------------------- state
    def state_dict(self, *, destination: dict[str, Any] | None = None, prefix: str = "", keep_vars: bool = False) -> dict[str, Any]:
        """All parameters and persistent buffers by dotted name, in torch's order and with torch's names.

        As in torch the tensors share the module's memory: training goes on changing them.  For a snapshot copy them:
        `{k: v.clone() for k, v in net.state_dict().items()}`.  With `keep_vars` they are the parameters themselves, not detached;
        `destination` is a dictionary to add them to.

        >>> from convkit import nn
        >>> list(nn.BatchNorm2d(8).state_dict())
        ['weight', 'bias', 'running_mean', 'running_var', 'num_batches_tracked']
        """
        state: dict[str, Any] = {} if destination is None else destination
        for path, module in self.named_modules(None, prefix.removesuffix("."), remove_duplicate=False):
            for name, tensor in module._own_state():
                state[join(path, name)] = tensor if keep_vars else tensor.detach()
        return state

    def _own_state(self) -> Iterator[tuple[str, Tensor]]:
        for name, tensor in [*self._parameters.items(), *self._buffers.items()]:
            if tensor is not None and name not in self._transient:
                yield name, tensor

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> IncompatibleKeys:
        """Copy `state_dict` (name -> Tensor or NumPy array) into the parameters and buffers; gives (missing_keys, unexpected_keys).

        `strict` asks for exactly the names of `state_dict()`; without it, names that either side lacks are passed over.
        Shapes must agree in any case; dtypes are converted, unless `assign` makes the parameters and buffers share the memory and
        take the dtypes of the state instead.  `num_batches_tracked` of a batch normalisation may be missing.

        Raises:
            RuntimeError: one message with every missing name, unexpected name and wrong shape; the module is unchanged.
            TypeError: `state_dict` is not a mapping.

        >>> import numpy as np
        >>> from convkit import nn
        >>> layer = nn.Linear(2, 1)
        >>> layer.load_state_dict({"weight": np.ones((1, 2)), "bias": np.zeros(1)})
        <All keys matched successfully>
        >>> layer.load_state_dict({"weight": np.ones((1, 3)), "bais": np.zeros(1)})
        Traceback (most recent call last):
        RuntimeError: Linear.load_state_dict: the state does not fit, nothing was loaded:
          missing: bias
          unexpected: bais
          weight: shape [1, 3] in the state, [1, 2] in the module
        """
        return load(self, state_dict, strict, assign)

    # -------------------------------------------------------------------------------- looking
    def extra_repr(self) -> str:
        """What stands between the brackets of the module's line; layers override it."""
        return ""

    def __repr__(self) -> str:
        lines = [f"({name}): " + repr(child).replace("\n", "\n  ") for name, child in self._modules.items()]
        extra = self.extra_repr()
        if not lines:
            return f"{type(self).__name__}({extra})"
        body = "\n  ".join(([extra] if extra else []) + lines)
        return f"{type(self).__name__}(\n  {body}\n)"

    def summary(self, input_size: tuple[int, ...] | list[tuple[int, ...]], dtype: Any = None) -> Summary:
        """The layers with their output shapes, activations and parameters: see `convkit.nn.summary.summarize`."""
        from .summary import summarize

        return summarize(self, input_size, dtype)


# ------------------------------------------------------------------------------------ helpers
def _is_dtype(value: Any) -> bool:
    if value is None or isinstance(value, str):  # a string names a device
        return False
    try:
        np.dtype(value)
    except TypeError:
        return False
    return True
