"""Checks of layers' arguments, made when a layer is built."""

from __future__ import annotations

from typing import Any

from ...ops import checks


def positive(layer: str, name: str, value: Any, least: int = 1) -> int:
    """`value` as an int of at least `least`; TypeError or ValueError naming `layer` and `name` otherwise."""
    return checks.whole(layer, name, value, least)
