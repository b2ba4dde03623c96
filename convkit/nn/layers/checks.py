"""Checks of layers' arguments, made when a layer is built."""

from __future__ import annotations

from typing import Any


def positive(layer: str, name: str, value: Any, least: int = 1) -> int:
    """`value` as an int of at least `least`; TypeError or ValueError naming `layer` and `name` otherwise."""
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(f"{layer}: {name} must be an int, got {value!r}")
    if value.__index__() < least:
        raise ValueError(f"{layer}: {name} must be at least {least}, got {value}")
    return value.__index__()
