"""Changes in place: `x.add_(y)` writes its result into the memory of x.

A tensor that requires a gradient can be changed under `no_grad()` only.  (torch records some such changes; here a saved array is never
rewritten behind the graph's back.)  Every change counts in the version that views share, so that a backward which needs the old numbers refuses.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..autograd import is_grad_enabled, version_of
from .indexing import index_key


def _refuse_recording(op: str, x: Any) -> None:
    if x.requires_grad and is_grad_enabled():
        raise RuntimeError(
            f"{op}: a tensor that requires a gradient can only be changed in place under no_grad(); "
            "where, index_put, masked_fill and scatter make a changed copy that passes gradients on"
        )


def changing(op: str, x: Any) -> np.ndarray:
    """The array of x, about to be changed by `op`; RuntimeError while a graph is recorded through x."""
    _refuse_recording(op, x)
    version_of(x)[0] += 1
    return x.array


def setitem(x: Any, key: Any, value: Any) -> None:
    """x[key] = value, which broadcasts."""
    changing("assignment", x)[index_key(key)] = getattr(value, "array", value)


def copy_(x: Any, source: Any) -> Any:
    """Overwrite the elements with `source`, which broadcasts."""
    changing("copy_", x)[...] = getattr(source, "array", source)
    return x


def fill_(x: Any, value: Any) -> Any:
    """Overwrite every element with `value`."""
    changing("fill_", x)[...] = value
    return x


def zero_(x: Any) -> Any:
    """Overwrite every element with 0."""
    return fill_(x, 0)


def add_(x: Any, other: Any, alpha: float = 1.0) -> Any:
    """Add alpha * other in place."""
    value = getattr(other, "array", other)
    a = changing("add_", x)
    a += value if alpha == 1 else value * np.asarray(alpha, a.dtype)
    return x


def sub_(x: Any, other: Any, alpha: float = 1.0) -> Any:
    """Subtract alpha * other in place."""
    value = getattr(other, "array", other)
    a = changing("sub_", x)
    a -= value if alpha == 1 else value * np.asarray(alpha, a.dtype)
    return x


def mul_(x: Any, other: Any) -> Any:
    """Multiply in place."""
    a = changing("mul_", x)
    a *= getattr(other, "array", other)
    return x


def div_(x: Any, other: Any) -> Any:
    """Divide in place."""
    a = changing("div_", x)
    a /= getattr(other, "array", other)
    return x


def clamp_(x: Any, min: float | None = None, max: float | None = None) -> Any:
    """Limit in place."""
    if min is None and max is None:
        raise ValueError("clamp_: needs min or max")
    a = changing("clamp_", x)
    np.clip(a, min, max, out=a)
    return x
