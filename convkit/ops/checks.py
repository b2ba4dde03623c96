"""Checks of arguments that operations of many families share."""

from __future__ import annotations

import operator
from collections.abc import Iterable
from typing import Any

import numpy as np

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


def array(value: Any) -> np.ndarray:
    """value itself if it is an array, else, of a number, one without dimensions."""
    return value if isinstance(value, np.ndarray) else np.asarray(value)


def number(op: str, name: str, value: Any) -> Any:
    """The number `value` itself; TypeError for text, None, lists and the like."""
    if not is_number(value):
        raise TypeError(f"{op}: {name} must be a number, got {value!r}")
    return value


def numbers(op: str, **values: Any) -> None:
    """TypeError, naming the argument, for a value that is no number."""
    for name, value in values.items():
        number(op, name, value)


def is_number(value: Any) -> bool:
    """Is it a number that a float can hold, or an array or tensor without dimensions?"""
    if type(value) is float:
        return True
    try:
        float(value)
    except (TypeError, ValueError, OverflowError):
        return False
    return not isinstance(value, (str, bytes)) and not (hasattr(value, "ndim") and value.ndim)


def whole(op: str, name: str, value: Any, least: int = -(2**63), most: int = 2**63 - 1) -> int:
    """`value` as an int; TypeError for anything that is no integer, booleans among them, ValueError outside `least` to `most`."""
    number = as_int(value)
    if number is None:
        raise TypeError(f"{op}: {name} must be an int, got {value!r}")
    if number < least:
        raise ValueError(f"{op}: {name} must be at least {least}, got {number}")
    if number > most:
        raise ValueError(f"{op}: {name} must be at most {most}, got {number}")
    return number


def as_int(value: Any) -> int | None:
    """An integer, also of NumPy or a tensor without dimensions, as an int; None for anything else, booleans among it."""
    if type(value) is int:
        return value
    try:
        return None if isinstance(value, bool) or (hasattr(value, "ndim") and value.ndim) else operator.index(value)
    except TypeError:
        return None


def dtype(op: str, value: Any) -> np.dtype:
    """The NumPy dtype; TypeError if it is not one of real numbers or booleans."""
    try:
        found = np.dtype(value)
    except (TypeError, ValueError):
        raise TypeError(f"{op}: needs a dtype, got {value!r}") from None
    if value is None or found.kind not in "fiub":
        raise TypeError(f"{op}: the dtype must be of real numbers or booleans, got {value!r}")
    return found
