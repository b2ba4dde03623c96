"""Modules that hold modules or parameters: `Sequential`, `ModuleList`, `ModuleDict`, `ParameterList`, `ParameterDict`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from operator import index
from typing import Any

from ..tensor import Tensor
from .module import Module
from .parameter import Parameter


class _Numbered(Module):
    """Modules named '0', '1', ..., with the manners of a list."""

    def _at(self, key: int) -> str:
        return _name_at(self, list(self._modules), key, "modules")

    def _renumber(self, modules: Iterable[Module]) -> None:
        modules = [_checked(type(self).__name__, m) for m in modules]
        self._modules.clear()
        for i, module in enumerate(modules):
            self._modules[str(i)] = module

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._modules.values())

    def __setitem__(self, key: int, module: Module) -> None:
        self._modules[self._at(key)] = _checked(type(self).__name__, module)

    def __delitem__(self, key: int | slice) -> None:
        names = list(self._modules)
        for name in names[key] if isinstance(key, slice) else [self._at(key)]:
            del self._modules[name]
        if names == [str(i) for i in range(len(names))]:
            self._renumber(list(self))

    def append(self, module: Module) -> Any:
        """Add a module at the end; gives the container itself."""
        self.add_module(str(len(self)), _checked(type(self).__name__, module))
        return self

    def extend(self, modules: Iterable[Module]) -> Any:
        """Add modules at the end; gives the container itself."""
        for module in _several(type(self).__name__, modules):
            self.append(module)
        return self

    def __iadd__(self, modules: Iterable[Module]) -> Any:
        return self.extend(modules)

    def pop(self, key: int | slice) -> Any:
        """Remove the module at `key` and give it; a slice gives a container of the same kind."""
        removed = self[key]  # type: ignore[index]
        del self[key]
        return removed

    def insert(self, position: int, module: Module) -> Any:
        """Put a module before `position`; those behind get new numbers."""
        every = list(self)
        if not -len(every) <= position <= len(every):
            raise IndexError(f"{type(self).__name__}: cannot insert at {position} among {len(every)} modules")
        every.insert(position, module)
        self._renumber(every)
        return self


class Sequential(_Numbered):
    """Modules one after the other: `Sequential(a, b)(x)` is `b(a(x))`.

    Also takes one dictionary of names and modules.  An int gives a module, a slice a Sequential of the same modules.

    >>> from convkit import nn, zeros
    >>> net = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    >>> net(zeros(5, 4)).shape
    (5, 2)
    >>> net[:2]
    Sequential(
      (0): Linear(in_features=4, out_features=3, bias=True)
      (1): ReLU()
    )
    """

    def __init__(self, *modules: Module | Mapping[str, Module]) -> None:
        super().__init__()
        named: Iterable[tuple[str, Any]]
        if len(modules) == 1 and isinstance(modules[0], Mapping):
            named = modules[0].items()
        else:
            named = ((str(i), module) for i, module in enumerate(modules))
        for name, module in named:
            self.add_module(name, _checked("Sequential", module))

    def forward(self, input: Any) -> Any:
        for module in self._modules.values():
            input = module(input)  # type: ignore[misc]
        return input

    def __getitem__(self, key: int | slice) -> Any:
        if isinstance(key, slice):
            return type(self)(dict(list(self._modules.items())[key]))  # type: ignore[arg-type]
        return self._modules[self._at(key)]

    def __add__(self, other: Sequential) -> Sequential:
        """The modules of both, one after the other."""
        if not isinstance(other, Sequential):
            raise ValueError(f"Sequential: adds another Sequential, got {type(other).__name__}")
        return Sequential(*self, *other)

    def __mul__(self, times: int) -> Sequential:
        """The same modules, shared, `times` times over."""
        return Sequential(*(list(self) * _times(times)))

    __rmul__ = __mul__

    def __imul__(self, times: int) -> Sequential:
        own = list(self)
        return self.extend(own * (_times(times) - 1))


class ModuleList(_Numbered):
    """A list whose modules are registered; it computes nothing itself.

    >>> from convkit import nn
    >>> branches = nn.ModuleList(nn.Conv1d(8, 4, k) for k in (3, 4, 5))
    >>> [branch.kernel_size for branch in branches]
    [(3,), (4,), (5,)]
    """

    def __init__(self, modules: Iterable[Module] | None = None) -> None:
        super().__init__()
        self.extend(() if modules is None else modules)

    def __getitem__(self, key: int | slice) -> Any:
        if isinstance(key, slice):
            return type(self)(list(self._modules.values())[key])  # type: ignore[arg-type]
        return self._modules[self._at(key)]

    def __add__(self, other: Iterable[Module]) -> ModuleList:
        """A list of the modules of both."""
        return ModuleList([*self, *_several("ModuleList", other)])

    def __repr__(self) -> str:
        """As torch prints it: neighbours that look alike on one line, such as (0-2): 3 x Linear(...)."""
        groups: list[list[Any]] = []  # [first, last, what they look like]
        for i, text in enumerate(map(repr, self)):
            if groups and groups[-1][2] == text:
                groups[-1][1] = i
            else:
                groups.append([i, i, text])
        lines = [f"({a}): {text}" if a == b else f"({a}-{b}): {b - a + 1} x {text}" for a, b, text in groups]
        return _tree(type(self).__name__, lines)


class ModuleDict(Module):
    """A dictionary whose modules are registered; it computes nothing itself.

    >>> from convkit import nn
    >>> heads = nn.ModuleDict({"class": nn.Linear(8, 10), "box": nn.Linear(8, 4)})
    >>> list(heads), heads["box"].out_features
    (['class', 'box'], 4)
    """

    def __init__(self, modules: Mapping[str, Module] | Iterable[tuple[str, Module]] | None = None) -> None:
        super().__init__()
        self.update(() if modules is None else modules)

    def __getitem__(self, key: str) -> Any:
        return self._modules[key]

    def __setitem__(self, key: str, module: Module) -> None:
        self.add_module(key, _checked("ModuleDict", module))

    def __delitem__(self, key: str) -> None:
        del self._modules[key]

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[str]:
        return iter(self._modules)

    def __contains__(self, key: object) -> bool:
        return key in self._modules

    def keys(self) -> Iterable[str]:
        """The names."""
        return self._modules.keys()

    def values(self) -> Iterable[Any]:
        """The modules."""
        return self._modules.values()

    def items(self) -> Iterable[tuple[str, Any]]:
        """(name, module) pairs."""
        return self._modules.items()

    def pop(self, key: str) -> Any:
        """Remove a module and give it."""
        return self._modules.pop(key)

    def clear(self) -> None:
        """Remove all modules."""
        self._modules.clear()

    def update(self, modules: Mapping[str, Module] | Iterable[tuple[str, Module]]) -> None:
        """Add or replace modules, of a dictionary, a ModuleDict, or (name, module) pairs."""
        for name, module in _pairs("ModuleDict", modules):
            self[name] = module


# ---------------------------------------------------------------------------------------- parameters
class ParameterList(Module):
    """A list whose tensors are parameters; a tensor that is none becomes one.

    >>> from convkit import nn, ones
    >>> scales = nn.ParameterList([ones(2), ones(3)])
    >>> scales.append(ones(4)) is scales, len(scales), [name for name, _ in scales.named_parameters()]
    (True, 3, ['0', '1', '2'])
    """

    def __init__(self, values: Iterable[Tensor] | None = None) -> None:
        super().__init__()
        self.extend(() if values is None else values)

    def _at(self, key: int) -> str:
        return _name_at(self, list(self._parameters), key, "parameters")

    def __getitem__(self, key: int | slice) -> Any:
        if isinstance(key, slice):
            return type(self)(list(self)[key])
        return self._parameters[self._at(key)]

    def __setitem__(self, key: int, value: Tensor) -> None:
        self._parameters[self._at(key)] = _parameter("ParameterList", value)

    def __len__(self) -> int:
        return len(self._parameters)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._parameters.values())

    def append(self, value: Tensor) -> ParameterList:
        """Add a parameter at the end; gives the list itself."""
        self._parameters[str(len(self))] = _parameter("ParameterList", value)
        return self

    def extend(self, values: Iterable[Tensor]) -> ParameterList:
        """Add parameters at the end; gives the list itself."""
        for value in _several("ParameterList", values):
            self.append(value)
        return self

    def __iadd__(self, values: Iterable[Tensor]) -> ParameterList:
        return self.extend(values)

    def __repr__(self) -> str:
        return _shown(self)


class ParameterDict(Module):
    """A dictionary whose tensors are parameters; a tensor that is none becomes one.  The order is that of insertion.

    >>> from convkit import nn, ones
    >>> scales = nn.ParameterDict({"left": ones(2)})
    >>> scales["right"] = ones(3)
    >>> list(scales), len(list(scales.parameters()))
    (['left', 'right'], 2)
    """

    def __init__(self, parameters: Mapping[str, Tensor] | Iterable[tuple[str, Tensor]] | None = None) -> None:
        super().__init__()
        self.update(() if parameters is None else parameters)

    def __getitem__(self, key: str) -> Any:
        return self._parameters[key]

    def __setitem__(self, key: str, value: Tensor) -> None:
        if not isinstance(key, str) or not key or "." in key:
            raise ValueError(f"ParameterDict: a name must be a non-empty string without '.', got {key!r}")
        self._parameters[key] = _parameter("ParameterDict", value)

    def __delitem__(self, key: str) -> None:
        del self._parameters[key]

    def __len__(self) -> int:
        return len(self._parameters)

    def __iter__(self) -> Iterator[str]:
        return iter(self._parameters)

    def __reversed__(self) -> Iterator[str]:
        return reversed(list(self._parameters))

    def __contains__(self, key: object) -> bool:
        return key in self._parameters

    def __or__(self, other: Mapping[str, Tensor]) -> ParameterDict:
        """The parameters of both; those of `other` win."""
        both = self.copy()
        both.update(other)
        return both

    def __ror__(self, other: Mapping[str, Tensor]) -> ParameterDict:
        return ParameterDict(other).__or__(self)  # type: ignore[operator, arg-type]

    def __ior__(self, other: Mapping[str, Tensor]) -> ParameterDict:
        self.update(other)
        return self

    @classmethod
    def fromkeys(cls, keys: Iterable[str], default: Tensor) -> ParameterDict:
        """A dictionary of one parameter, shared, under several names."""
        value = _parameter("ParameterDict", default)
        return cls((key, value) for key in keys)

    def keys(self) -> Iterable[str]:
        """The names."""
        return self._parameters.keys()

    def values(self) -> Iterable[Any]:
        """The parameters."""
        return self._parameters.values()

    def items(self) -> Iterable[tuple[str, Any]]:
        """(name, parameter) pairs."""
        return self._parameters.items()

    def get(self, key: str, default: Any = None) -> Any:
        """The parameter of that name, or `default`."""
        return self._parameters.get(key, default)

    def setdefault(self, key: str, default: Tensor) -> Any:
        """The parameter of that name, which is `default` if there was none."""
        if key not in self:
            self[key] = default
        return self[key]

    def pop(self, key: str) -> Any:
        """Remove a parameter and give it."""
        return self._parameters.pop(key)

    def popitem(self) -> tuple[str, Any]:
        """Remove the last (name, parameter) and give it."""
        return self._parameters.popitem()

    def clear(self) -> None:
        """Remove all parameters."""
        self._parameters.clear()

    def copy(self) -> ParameterDict:
        """Another dictionary of the same parameters."""
        return ParameterDict(self.items())

    def update(self, parameters: Mapping[str, Tensor] | Iterable[tuple[str, Tensor]]) -> None:
        """Add or replace parameters, of a dictionary, a ParameterDict, or (name, tensor) pairs."""
        for name, value in _pairs("ParameterDict", parameters):
            self[name] = value

    def __repr__(self) -> str:
        return _shown(self)


# ------------------------------------------------------------------------------------ what they share
def _name_at(container: Module, names: list[str], key: int, what: str) -> str:
    try:
        position = index(key)
    except TypeError:
        raise TypeError(f"{type(container).__name__}: an index must be an int or a slice, got {key!r}") from None
    if not -len(names) <= position < len(names):
        raise IndexError(f"{type(container).__name__}: index {position} is out of range for {len(names)} {what}")
    return names[position]


def _several(owner: str, values: Any) -> list[Any]:
    """A list of what is iterated over, taken before anything changes."""
    if not isinstance(values, Iterable) or isinstance(values, Tensor):
        raise TypeError(f"{owner}: needs several values, such as a list, got {type(values).__name__}")
    return list(values)


def _pairs(owner: str, values: Any) -> list[tuple[str, Any]]:
    """(name, value) of a dictionary, a container of ours, or an iterable of pairs."""
    if hasattr(values, "items"):
        return list(values.items())
    pairs = _several(owner, values)
    for pair in pairs:
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            raise ValueError(f"{owner}: needs (name, value) pairs, got {pair!r}")
    return [(name, value) for name, value in pairs]


def _times(times: Any) -> int:
    if isinstance(times, bool) or not isinstance(times, int):
        raise TypeError(f"Sequential: is multiplied by an int, got {times!r}")
    if times < 1:
        raise ValueError(f"Sequential: is multiplied by 1 or more, got {times}")
    return times


def _parameter(owner: str, value: Any) -> Parameter:
    if not isinstance(value, Tensor):
        raise TypeError(f"{owner}: holds parameters, got {type(value).__name__}")
    return value if isinstance(value, Parameter) else Parameter(value)


def _shown(container: Module) -> str:
    """As torch prints it: the dtype and the shape of each parameter."""
    lines = []
    for name, p in container._parameters.items():
        if p is not None:
            lines.append(f"({name}): Parameter containing: [{p.dtype} of size {'x'.join(map(str, p.shape))}]")
    return _tree(type(container).__name__, lines)


def _tree(name: str, lines: list[str]) -> str:
    body = "".join("\n  " + line.replace("\n", "\n  ") for line in lines)
    return f"{name}({body}\n)" if lines else f"{name}()"


def _checked(owner: str, module: Any) -> Module:
    if not isinstance(module, Module):
        raise TypeError(f"{owner}: expects modules, got {type(module).__name__}")
    return module
