"""What `train.fit` compares in Python before it replays a step."""

import itertools
import logging
import re
import signal
import sys
import threading
from collections import deque
from functools import partial
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import NamedTuple

import numpy as np
import pytest

import convkit
from convkit import nn
from convkit.nn import functional as F
from convkit.train.surroundings import Surroundings
from tests import backend

DEVICE = backend.gpu()


class Pair(NamedTuple):
    first: object
    second: object


# What is somewhere in Python, and how it changes.
class Slotted:
    __slots__ = ("__hidden", "number")

    def __init__(self):
        self.number, self.__hidden = 1.0, 1.0

    def hide(self):
        self.__hidden = 2.0


class Config:
    scale = 1.0
    nested = [[[[[[1.0]]]]]]


config = ModuleType("settings_of_a_test")
factor = 1.0


def scaled(x):
    return x * config.scale * inner_factor(x)


def inner_factor(x):
    return sum(factor for _ in range(1))


def imports(x):
    import settings_of_a_test as imported

    return x * imported.scale


def with_memory(x, seen=[0]):  # noqa: B006 (that it is seen is what is tested)
    return x * Config.scale * seen[0]


class Property:
    number = 1.0

    @property
    def value(self):
        return factor

    @staticmethod
    def apply(x):
        return x * Config.nested[0][0][0][0][0][0]


FOUND = {
    "a module's attribute": (lambda: scaled, lambda held: setattr(config, "scale", 2.0)),
    "a module imported inside": (lambda: imports, lambda held: setattr(config, "scale", 2.0)),
    "a helper's variable": (lambda: scaled, lambda held: globals().update(factor=2.0)),
    "a property's variable": (Property, lambda held: globals().update(factor=2.0)),
    "a partial's function's variable": (lambda: partial(scaled, 2.0), lambda held: globals().update(factor=2.0)),
    "a default": (lambda: with_memory, lambda held: held.__defaults__[0].append(1)),
    "an attribute of a function": (lambda: with_memory, lambda held: setattr(held, "calls", 1)),
    "a class's attribute": (Property, lambda held: setattr(Property, "number", 2.0)),
    "another class's attribute": (lambda: with_memory, lambda held: setattr(Config, "scale", 2.0)),
    "deep in lists": (Property, lambda held: Config.nested[0][0][0][0][0].append(2.0)),
    "a set": (lambda: {1, 2}, lambda held: held.add(3)),
    "a deque": (lambda: deque([1]), lambda held: held.rotate() or held.append(2)),
    "a slot": (Slotted, lambda held: setattr(held, "number", 2.0)),
    "a hidden slot": (Slotted, lambda held: held.hide()),
    "an array": (lambda: np.ones(3), lambda held: held.__imul__(0.9)),
    "a tensor on the host": (lambda: convkit.ones(3, device="cpu"), lambda held: held.array.__imul__(0.9)),
    "an object's attribute": (lambda: SimpleNamespace(a=SimpleNamespace(b=[SimpleNamespace(c=1)])), lambda held: setattr(held.a.b[0], "c", 2)),
}  # fmt: skip


@pytest.fixture
def found_again(monkeypatch):
    """What the tests change outside is as it was."""
    monkeypatch.setitem(sys.modules, "settings_of_a_test", config)
    for owner, name, value in (
        (config, "scale", 1.0), (Config, "scale", 1.0), (Config, "nested", [[[[[[1.0]]]]]]), (Property, "number", 1.0),
        (sys.modules[__name__], "factor", 1.0), (with_memory, "__defaults__", ([0],)),
    ):  # fmt: skip
        monkeypatch.setattr(owner, name, value, raising=False)
    yield
    vars(with_memory).clear()


@pytest.mark.parametrize("name", FOUND)
def test_what_changes_in_python_is_seen(found_again, name):
    make, change = FOUND[name]
    model = nn.Linear(3, 2).to(DEVICE)
    model.held = make()
    found = Surroundings(model, F.mse_loss)
    assert (found.trouble, found.hooked, found.changed(), found.drawn()) == (None, None, None, None)
    change(model.held)
    assert "changed" in found.changed()


UNKNOWN = {
    "an iterator": lambda: iter([1]), "a generator": lambda: (i for i in [1]), "bytes": lambda: bytearray(3), "a large array": lambda: np.ones(3000),
    "objects": lambda: np.array([None]), "a counter's method": lambda: itertools.count().__next__, "a large list": lambda: [0] * 10_001,
    "a file": lambda: open(__file__),
}  # fmt: skip


@pytest.mark.parametrize("name", UNKNOWN)
def test_what_cannot_be_compared(name):
    model = nn.Linear(3, 2).to(DEVICE)
    model.held = UNKNOWN[name]()
    assert re.search("cannot be compared|to be compared", Surroundings(model, F.mse_loss).trouble)
    if hasattr(model.held, "close"):
        model.held.close()


def test_what_needs_no_comparing():
    model = nn.Linear(3, 2).to(DEVICE)
    model.held = [
        logging.getLogger("x"), logging, np, convkit, nn.Linear,
        int, "a", b"b", 1, 2.0, None, ..., np.float32, np.dtype("f4"), np.float32(1), slice(1), range(3),
        frozenset({1}), partial(scaled, 1), Path("x"), signal.SIGINT, F.relu, np.sum, np.add, len, [].append, re.compile("x"), threading.Lock(),
        nn.CrossEntropyLoss(), Config, scaled, convkit.random.Generator(3), NamedTuple, Pair(1, None),
    ]  # fmt: skip
    found = Surroundings(model, partial(F.cross_entropy, label_smoothing=0.1))
    assert (found.trouble, found.changed()) == (None, None)


@pytest.mark.parametrize("name", convkit.models.names())
def test_the_library_s_models_can_be_compared(name):
    found = Surroundings(convkit.models.create(name).to(DEVICE), nn.CrossEntropyLoss())
    assert (found.trouble, found.changed()) == (None, None)
