"""Neighbours in a `Sequential` that run as one operation, with the same result: a pass over memory less, forward and backward."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .layers.activation import ReLU
from .layers.norm import BatchNorm1d, BatchNorm2d, BatchNorm3d
from .module import Module

_NORMS = (BatchNorm1d, BatchNorm2d, BatchNorm3d)


def run(modules: Iterable[Module], x: Any) -> Any:
    """The modules one after the other; batch normalisation and ReLU behind it are one operation."""
    every = list(modules)
    i = 0
    while i < len(every):
        first, *behind = every[i : i + 2]
        if _plain(first, *_NORMS) and behind and _plain(behind[0], ReLU):
            x = first.forward(x, relu=True)
            i += 2
        else:
            x = first(x)
            i += 1
    return x


def _plain(module: Module, *kinds: type) -> bool:
    """Whether a module is exactly one of these layers, and nobody would notice that it was not called: it has no hooks and no forward of its own."""
    return type(module) in kinds and not module._hooked() and "forward" not in module.__dict__
