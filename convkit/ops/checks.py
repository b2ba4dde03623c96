"""Checks of arguments that operations of many families share."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..autograd import TensorBase


def tensor(op: str, x: Any) -> Any:
    """x itself; TypeError unless it is a tensor."""
    if not isinstance(x, TensorBase):
        raise TypeError(f"{op}: needs a tensor, got {type(x).__name__}")
    return x


def tensors(op: str, values: Any) -> tuple[Any, ...]:
    """The tensors of a sequence, one at least; TypeError for anything else, ValueError for none."""
    if isinstance(values, (TensorBase, str)) or not isinstance(values, Iterable):
        raise TypeError(f"{op}: needs a sequence of tensors, got {type(values).__name__}")
    found = tuple(tensor(op, v) for v in values)
    if not found:
        raise ValueError(f"{op}: needs at least one tensor")
    return found


def number(op: str, name: str, value: Any) -> Any:
    """The number `value` itself; TypeError for text, None, lists and the like."""
    if not hasattr(value, "__float__"):
        raise TypeError(f"{op}: {name} must be a number, got {value!r}")
    return value


def whole(op: str, name: str, value: Any) -> Any:
    """The integer `value` itself; TypeError for anything else."""
    if not hasattr(value, "__index__") or isinstance(value, bool):
        raise TypeError(f"{op}: {name} must be an int, got {value!r}")
    return value
