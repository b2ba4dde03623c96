"""What a step finds in Python, so that a replay, which does not look, is made only while all of it is as it was."""

from __future__ import annotations

import datetime
import decimal
import enum
import fractions
import logging
import operator
import pathlib
import random
import re
import sys
import threading
import types
import weakref
from collections import OrderedDict, defaultdict, deque
from collections.abc import Iterator, Sequence
from types import CodeType, FunctionType, MemberDescriptorType, ModuleType
from typing import Any, cast

import numpy as np

from .. import cuda, device
from ..autograd import TensorBase
from ..nn import Module

LARGE = 10_000  # parts that are compared before each step, at most
SMALL = 1 << 14  # bytes of an array on the host that is compared, at most
LIBRARIES = frozenset({"builtins", "convkit", "convkit_kernels", "numba", "numpy"}) | sys.stdlib_module_names

_FIXED = (
    int, float, complex, str, bytes, type(None), type(...), type(NotImplemented), np.generic, np.dtype, slice, range, enum.Enum, re.Pattern,
    pathlib.PurePath, datetime.date, datetime.time, datetime.timedelta, decimal.Decimal, fractions.Fraction, CodeType, types.GenericAlias,
    types.UnionType, logging.Logger, type(threading.Lock()), type(threading.RLock()),
)  # fmt: skip
_NUMBERS = (int, float, complex, str, bytes, np.generic)
_KNOWN = (object, dict, OrderedDict, defaultdict, list, set, deque, tuple, frozenset, types.SimpleNamespace, BaseException)
_INSIDE = ("__self__", "__func__", "__wrapped__", "func", "args", "keywords", "fget", "fset", "fdel")  # of methods, partials, properties
_BUILT_IN = 1 << 8  # among a type's `__flags__`: it is not made by Python code (Py_TPFLAGS_IMMUTABLETYPE)


class Surroundings:
    """What forward and the loss find in Python, and what is reached from there.

    - Attributes of modules, of other objects and of classes; what is in their lists, dictionaries, sets and tuples, at any depth.
    - What functions name outside, enclose or have as defaults.  Functions of the libraries are taken as they are; all others are opened.
    - Tensors and their memory; small arrays on the host, by value.

    Compared by identity, which takes a tenth of a microsecond for each list or dictionary; numbers that are not the same object by value.
    Attributes:
        hooked: what has hooks.
        trouble: what cannot be compared.
    """

    def __init__(self, *roots: Any) -> None:
        self.hooked: str | None = None
        self.trouble: str | None = None
        self._seen: dict[int, Any] = {}
        self._classes: set[type] = set()
        self._count = 0
        self._todo: list[tuple[str, Any]] = []
        self._names: set[str] = set()  # that functions have
        self._modules: list[ModuleType] = []
        self._parts: list[tuple[str, Any, tuple]] = []  # what is changed then, a view of the parts of something, and the parts
        self._empty: list[Any] = []
        self._tensors: list[tuple[str, Any, Any, bool]] = []
        self._arrays: list[tuple[str, Any, tuple]] = []
        self._generators: list[Any] = []
        self._settings = _settings()
        for root in roots:
            self._todo.append((type(root).__name__ if isinstance(root, Module) else getattr(root, "__name__", "the loss"), root))
            self._walk()
        self._random = self._states()

    # ----------------------------------------------------------------------------------- what is there
    def _walk(self) -> None:
        looked: set[tuple[int, str]] = set()
        while self._todo:
            while self._todo and self.trouble is None:
                self._look(*self._todo.pop())
            if self.trouble is not None:
                return
            for module in self._modules:  # of these only what some function has the name of
                names = [name for name in self._names if name in vars(module) and (id(module), name) not in looked]
                looked.update((id(module), name) for name in names)
                self._add(module.__name__, _Named(vars(module), names, told=True))

    def _look(self, told: str, value: Any) -> None:
        kind = type(value)
        if isinstance(value, _FIXED) or kind.__module__ == "typing" or id(value) in self._seen:
            return
        self._seen[id(value)] = value
        base = next(c for c in kind.__mro__ if c.__flags__ & _BUILT_IN)
        if isinstance(value, TensorBase):
            self._tensors.append((told, value, value.array, value.requires_grad))
            if value._hooks:
                self.hooked = self.hooked or told
            self._todo.append((told, value.array))
        elif isinstance(value, np.ndarray):
            self._array(told, value)
        elif isinstance(value, (np.random.Generator, np.random.RandomState, random.Random)):
            self._generators.append(value)
        elif isinstance(value, ModuleType):
            if not _of_library(value.__name__):
                self._modules.append(value)
        elif isinstance(value, type):
            self._class(value)
        elif isinstance(value, FunctionType):
            self._function(value)
        elif isinstance(value, weakref.ref):
            self._todo.append((told, value()))
        elif _of_library(kind.__module__) and base not in _KNOWN and (callable(value) or hasattr(kind, "__get__")):
            self._todo += [(told, getattr(value, name, None)) for name in _INSIDE]
        elif base not in _KNOWN:
            self.trouble = f"{told} holds a {kind.__name__}, which cannot be compared"
        else:
            self._object(told, value)

    def _object(self, told: str, value: Any) -> None:
        if isinstance(value, Module):
            told = type(value).__name__
            if value._hooked():
                self.hooked = self.hooked or told
        if isinstance(value, (tuple, frozenset)):
            self._todo += [(told, part) for part in value]
        elif isinstance(value, (list, set, deque, dict)):
            self._add(told, value.values() if isinstance(value, dict) else value)
        attributes = getattr(value, "__dict__", None)
        if isinstance(attributes, dict):
            self._add(told, attributes.values(), each=isinstance(value, Module))
        made = [c for c in type(value).__mro__ if not c.__flags__ & _BUILT_IN]
        slots = [s for c in made if "__slots__" in vars(c) for s in vars(c).values() if isinstance(s, MemberDescriptorType)]
        if slots:
            self._add(told, _Slots(value, slots))
        self._class(type(value))

    def _array(self, told: str, array: np.ndarray) -> None:
        if device.of(array) != "cpu":
            return  # what is in it is read by the replay
        if array.nbytes > SMALL or array.dtype.hasobject:
            self.trouble = f"{told} holds an array on the host of {array.nbytes} bytes, which is too much to be compared"
            return
        self._count += array.nbytes // 16
        self._arrays.append((told, array, _content(array)))

    def _function(self, function: FunctionType) -> None:
        of_library = _of_library(function.__globals__.get("__name__"))
        names: set[str] = set() if of_library else set(_names(function.__code__))
        told = f"what {function.__qualname__} names"
        self._add(told, _Named(function.__globals__, [n for n in names if n in function.__globals__], function), function.__qualname__)
        if function.__dict__ or not of_library:
            self._add(function.__qualname__, function.__dict__.values())
        self._names |= names
        package = function.__globals__.get("__package__")
        for name in names:  # imported inside
            found = [sys.modules[full] for full in (name, f"{package}.{name}") if full in sys.modules]
            self._todo += [(told, module) for module in found if isinstance(module, ModuleType)]

    def _class(self, kind: type) -> None:
        if issubclass(kind, enum.Enum):
            return
        for c in kind.__mro__:
            if c.__flags__ & _BUILT_IN or _of_library(c.__module__) or c in self._classes:
                continue
            self._classes.add(c)
            values = vars(c).values()
            self._parts.append((c.__name__, values, tuple(values)))
            for name, value in vars(c).items():
                of_python = name.startswith("__") and name.endswith("__") and not isinstance(value, FunctionType)
                if not of_python and name != "_abc_impl" and not (name == "__init__" and issubclass(c, Module)):
                    self._todo.append((f"{c.__name__}.{name}", value))

    def _add(self, told: str, view: Any, inside: str | None = None, each: bool = False) -> None:
        """Compare the parts of `view`, and look into them; `each` by its key."""
        parts = tuple(view)
        self._count += len(parts)
        if not parts:
            self._empty.append(view)
        elif self._count > LARGE:
            self.trouble = f"{told} and what else is there has more than {LARGE} parts, too many to be compared"
        else:
            self._parts.append((told, view, parts))
            names = [f"{told}.{key}" for key in view.mapping] if each else [inside or told] * len(parts)
            self._todo.extend(zip(names, parts, strict=True))

    # ---------------------------------------------------------------------------------- what is other
    def changed(self) -> str | None:
        """What is not as it was."""
        for told, view, parts in self._parts:
            if len(view) != len(parts) or not all(map(operator.is_, view, parts)):
                now = tuple(view)
                if len(now) != len(parts) or not all(map(_alike, now, parts)):
                    return f"{told}{_name(view, now, parts)} changed"
        for told, tensor, array, learnt in self._tensors:
            if tensor.array is not array or tensor.requires_grad is not learnt or tensor._hooks and self.hooked is None:
                return f"the tensor {told} changed"
        for told, array, content in self._arrays:
            if _content(array) != content:
                return f"the array {told} changed"
        if any(map(len, self._empty)):
            return "a list or dictionary of a module, or its hooks, changed"
        return None if self._settings == _settings() else "a setting changed"

    def drawn(self) -> str | None:
        """Whether random numbers were drawn from Python's generators or NumPy's."""
        return None if self._random == self._states() else "random numbers were drawn on the host"

    def _states(self) -> list[Any]:
        _, key, *rest = cast(Any, np.random.get_state())
        return [random.getstate(), key.tobytes(), rest, *map(_state, self._generators)]


class _Named:
    """The values of what a function names in its module, encloses and has as defaults; or of some attributes of a module."""

    def __init__(self, names: dict[str, Any], some: list[str], function: FunctionType | None = None, told: bool = False) -> None:
        self.names, self.some, self.function = names, some, function
        self.cells = (function.__closure__ or ()) if function is not None else ()
        if told:
            self.mapping = some

    def __len__(self) -> int:
        return len(self.some) + len(self.cells) + 2 * (self.function is not None)

    def __iter__(self) -> Iterator[Any]:
        for name in self.some:
            yield self.names.get(name)
        for cell in self.cells:
            try:
                yield cell.cell_contents
            except ValueError:  # nothing is in it yet
                yield None
        if self.function is not None:
            yield self.function.__defaults__
            yield self.function.__kwdefaults__


class _Slots:
    """The values of an object's slots."""

    def __init__(self, owner: Any, slots: list[Any]) -> None:
        self.owner, self.slots = owner, slots

    def __len__(self) -> int:
        return len(self.slots)

    def __iter__(self) -> Iterator[Any]:
        for slot in self.slots:
            try:
                yield slot.__get__(self.owner)
            except AttributeError:  # nothing is in it yet
                yield None


def _of_library(module: Any) -> bool:
    return isinstance(module, str) and module.partition(".")[0] in LIBRARIES


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            yield from _names(inner)


def _content(array: np.ndarray) -> tuple:
    return array.shape, array.dtype, array.tobytes()


def _state(generator: Any) -> Any:
    if isinstance(generator, random.Random):
        return generator.getstate()
    return repr(generator.bit_generator.state if isinstance(generator, np.random.Generator) else generator.get_state(legacy=False))


def _settings() -> tuple:
    return cuda.fp32_precision(), device.get_default_device()


def _alike(a: Any, b: Any) -> bool:
    plain = type(a) is type(b) and isinstance(a, _NUMBERS)
    return a is b or plain and (a == b or a != a and b != b)


def _name(view: Any, now: Sequence, before: Sequence) -> str:
    """The key of the first value in a dictionary's view that is not what it was, to be put behind the dictionary's name."""
    if len(now) != len(before) or not hasattr(view, "mapping"):
        return ""
    at = next(i for i, (a, b) in enumerate(zip(now, before, strict=True)) if not _alike(a, b))
    return f".{list(view.mapping)[at]}"
