"""Modules that hold modules: `Sequential`, `ModuleList`, `ModuleDict`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from operator import index
from typing import Any

from .module import Module


class _Numbered(Module):
    """Modules named '0', '1', ..., with the manners of a list."""

    def _at(self, key: int) -> str:
        names = list(self._modules)
        try:
            position = index(key)
        except TypeError:
            raise TypeError(f"{type(self).__name__}: an index must be an int or a slice, got {key!r}") from None
        if not -len(names) <= position < len(names):
            raise IndexError(f"{type(self).__name__}: index {position} is out of range for {len(names)} modules")
        return names[position]

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
        for module in list(modules):
            self.append(module)
        return self

    __iadd__ = extend

    def insert(self, position: int, module: Module) -> Any:
        """Put a module before `position`; those behind get new numbers."""
        every = list(self)
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

    def forward(self, x: Any) -> Any:
        for module in self._modules.values():
            x = module(x)  # type: ignore[misc]
        return x

    def __getitem__(self, key: int | slice) -> Any:
        if isinstance(key, slice):
            return type(self)(dict(list(self._modules.items())[key]))  # type: ignore[arg-type]
        return self._modules[self._at(key)]


class ModuleList(_Numbered):
    """A list whose modules are registered; it computes nothing itself.

    >>> from convkit import nn
    >>> branches = nn.ModuleList(nn.Conv1d(8, 4, k) for k in (3, 4, 5))
    >>> [branch.kernel_size for branch in branches]
    [(3,), (4,), (5,)]
    """

    def __init__(self, modules: Iterable[Module] = ()) -> None:
        super().__init__()
        self.extend(modules)

    def __getitem__(self, key: int | slice) -> Any:
        if isinstance(key, slice):
            return type(self)(list(self._modules.values())[key])  # type: ignore[arg-type]
        return self._modules[self._at(key)]


class ModuleDict(Module):
    """A dictionary whose modules are registered; it computes nothing itself.

    >>> from convkit import nn
    >>> heads = nn.ModuleDict({"class": nn.Linear(8, 10), "box": nn.Linear(8, 4)})
    >>> list(heads), heads["box"].out_features
    (['class', 'box'], 4)
    """

    def __init__(self, modules: Mapping[str, Module] | Iterable[tuple[str, Module]] = ()) -> None:
        super().__init__()
        self.update(modules)

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

    def update(self, modules: Mapping[str, Module] | Iterable[tuple[str, Module]]) -> None:
        """Add or replace modules."""
        for name, module in dict(modules).items():
            self[name] = module


def _checked(owner: str, module: Any) -> Module:
    if not isinstance(module, Module):
        raise TypeError(f"{owner}: expects modules, got {type(module).__name__}")
    return module
