"""Changes in place: `x.add_(y)` writes its result into the memory of x.

A tensor that requires a gradient can be changed under `no_grad()` only.  (torch records some such changes; here what the graph has
saved is never rewritten behind its back.)  Every change counts in the version that views share, so that a backward which needs the
numbers of before refuses.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..autograd import TensorBase, fusion, is_grad_enabled, no_grad, version_of
from ..device import kernels
from ..random import Generator, default_generator
from . import activation, arrange, checks, elementwise, functions, indexing, reduce
from .creation import sampled


def _writable(op: str, x: Any) -> np.ndarray:
    """The array of x; RuntimeError while a graph is recorded through x, ValueError if several elements share one place in memory."""
    if x.requires_grad and is_grad_enabled():
        raise RuntimeError(
            f"{op}: a tensor that requires a gradient can only be changed in place under no_grad(); "
            "where, index_put, masked_fill and scatter make changed copies that pass gradients on"
        )
    if not x.array.flags.writeable:
        raise ValueError(f"{op}: the memory is read-only, as an expanded tensor's is; change a .clone()")
    fusion.settle(x.array)
    return x.array


def _write(op: str, x: Any, key: Any, value: Any) -> Any:
    """x, after x[key] = value."""
    array = _writable(op, x)
    value = value.array if isinstance(value, TensorBase) else value
    dtype = getattr(value, "dtype", None)
    narrows = dtype is not None and ((dtype.kind == "f" and array.dtype.kind != "f") or (dtype.kind in "iu" and array.dtype.kind == "b"))
    if narrows and op not in ("assignment", "copy_"):
        raise TypeError(f"{op}: a result of {dtype} cannot be cast to the tensor's {array.dtype}")
    try:
        if dtype is not None and value.ndim and value.size == 1:
            value = value.reshape(())  # NumPy puts no vector of one number in the place of a number
        array[key] = value
    except OverflowError as error:  # an infinite number in a tensor of integers
        raise ValueError(f"{op}: {error}") from None
    except (ValueError, TypeError) as error:
        raise type(error)(f"{op}: {error}") from None
    except IndexError as error:
        raise IndexError(f"{op}: a tensor of shape {list(array.shape)}: {error}") from None
    version_of(x)[0] += 1
    return x


def setitem(x: Any, key: Any, value: Any) -> None:
    """x[key] = value, which broadcasts."""
    _write("assignment", x, indexing.index_key(key), value)


def copy_(x: Any, src: Any, non_blocking: bool = False) -> Any:
    """Overwrite the elements with `src`, which broadcasts, and may be on another device."""
    if isinstance(src, TensorBase) and type(src.array) is not type(x.array):
        src = src.detach().to(x.device)
    return _write("copy_", x, ..., src)


def fill_(x: Any, value: Any) -> Any:
    """Overwrite every element with `value`, a number or a tensor without dimensions."""
    if isinstance(value, TensorBase) and value.ndim:
        raise ValueError(f"fill_: the value must have no dimensions, got shape {list(value.shape)}")
    return _write("fill_", x, ..., value.item() if isinstance(value, TensorBase) else value)


def zero_(x: Any) -> Any:
    """Overwrite every element with 0."""
    return _write("zero_", x, ..., 0)


def fill_diagonal_(x: Any, fill_value: float, wrap: bool = False) -> Any:
    """Overwrite x[i, i] of a matrix; with `wrap`, a matrix higher than wide begins its diagonal anew after a row in between."""
    if x.ndim < 2 or (x.ndim > 2 and len(set(x.shape)) > 1):
        raise ValueError(f"fill_diagonal_: needs a matrix, or more dimensions of one size, got shape {list(x.shape)}")
    if wrap and x.ndim == 2 and x.array.size:
        return _write("fill_diagonal_", x, np.divmod(np.arange(0, x.array.size, x.shape[1] + 1), x.shape[1]), fill_value)
    i = np.arange(min(x.shape))
    return _write("fill_diagonal_", x, (i,) * x.ndim, fill_value)


# -------------------------------------------------------------------------------------- arithmetic
def _arithmetic(op: str, ufunc: Any, x: Any, other: Any, alpha: float = 1) -> Any:
    a, b = _writable(op, x), other.array if isinstance(other, TensorBase) else other
    if alpha != 1:
        checks.number(op, "alpha", alpha)
        b = b * (np.asarray(alpha, a.dtype) if a.dtype.kind == "f" else alpha)
    try:
        with np.errstate(all="ignore"):
            ufunc(a, b, out=a, casting="same_kind")
    except TypeError as error:  # NumPy's error of a cast is one
        raise TypeError(f"{op}: {error}") from None
    except ValueError:
        raise ValueError(f"{op}: shape {list(np.shape(b))} does not broadcast to the tensor's {list(a.shape)}") from None
    version_of(x)[0] += 1
    return x


def add_(x: Any, other: Any, *, alpha: float = 1) -> Any:
    """Add alpha * other in place."""
    return _arithmetic("add_", np.add, x, other, alpha)


def sub_(x: Any, other: Any, *, alpha: float = 1) -> Any:
    """Subtract alpha * other in place."""
    return _arithmetic("sub_", np.subtract, x, other, alpha)


def mul_(x: Any, other: Any) -> Any:
    """Multiply in place."""
    return _arithmetic("mul_", np.multiply, x, other)


def div_(x: Any, other: Any, *, rounding_mode: str | None = None) -> Any:
    """Divide in place."""
    if rounding_mode is not None:
        return _write("div_", x, ..., elementwise.div(x.detach(), other, rounding_mode=rounding_mode))
    return _arithmetic("div_", np.true_divide, x, other)


# ---------------------------------------------------------------------- functions with their result in place
def _in_place(function: Callable) -> Callable:
    op = function.__name__ + "_"

    def method(x: Any, *args: Any, **options: Any) -> Any:
        _writable(op, x)
        try:
            with no_grad():
                y = function(x, *args, **options)
        except (ValueError, TypeError, IndexError, RuntimeError) as error:
            raise type(error)(str(error).replace(function.__name__ + ":", op + ":", 1)) from None
        if y.array.shape != x.array.shape:
            raise ValueError(f"{op}: the result has shape {list(y.shape)} but the tensor has {list(x.shape)}")
        return _write(op, x, ..., y)

    method.__name__ = method.__qualname__ = op
    method.__doc__ = f"`{function.__name__}` in place: its result overwrites the tensor."
    return method


RESULTS = {
    f.__name__ + "_": _in_place(f)
    for f in (
        activation.relu, activation.sigmoid, activation.tanh, arrange.tril, arrange.triu, elementwise.addcdiv, elementwise.addcmul,
        elementwise.clamp, elementwise.clamp_max, elementwise.clamp_min, elementwise.floor_divide, elementwise.fmod, functions.lerp,
        elementwise.pow, elementwise.remainder, functions.abs, functions.ceil, functions.cos, functions.exp, functions.expm1,
        functions.floor, functions.frac, functions.log, functions.log10, functions.log1p, functions.log2, functions.nan_to_num,
        functions.neg, functions.reciprocal, functions.round, functions.rsqrt, functions.sign, functions.sin, functions.sqrt,
        functions.square, functions.trunc, indexing.index_add, indexing.index_copy, indexing.index_fill, indexing.index_put,
        indexing.masked_fill, indexing.scatter, indexing.scatter_add, reduce.cumprod, reduce.cumsum,
    )
}  # fmt: skip
"""Methods that compute a function and write its result into the tensor, by name."""


# ---------------------------------------------------------------------------------------- at random
def _drawn(op: str, x: Any, kind: str, generator: Generator | None) -> np.ndarray:
    _writable(op, x)
    if x.array.dtype.kind != "f":
        raise TypeError(f"{op}: needs a floating dtype, got {x.dtype}")
    dtype = x.array.dtype if x.array.dtype.itemsize >= 4 else np.dtype(np.float32)
    return getattr(kernels(x.array), kind)(x.array.shape, *(generator or default_generator).take(), dtype)


def uniform_(x: Any, a: float = 0.0, b: float = 1.0, *, generator: Generator | None = None) -> Any:
    """Overwrite with uniform random numbers in [a, b)."""
    checks.numbers("uniform_", a=a, b=b)
    if not b >= a:
        raise ValueError(f"uniform_: needs a range, got {a} to {b}")
    return _write("uniform_", x, ..., _drawn("uniform_", x, "uniform", generator) * (b - a) + a)


def normal_(x: Any, mean: float = 0.0, std: float = 1.0, *, generator: Generator | None = None) -> Any:
    """Overwrite with normally distributed random numbers."""
    checks.numbers("normal_", mean=mean, std=std)
    if not std >= 0:
        raise ValueError(f"normal_: std must not be negative, got {std}")
    return _write("normal_", x, ..., _drawn("normal_", x, "normal", generator) * std + mean)


def exponential_(x: Any, lambd: float = 1.0, *, generator: Generator | None = None) -> Any:
    """Overwrite with random numbers of the density lambd exp(-lambd x)."""
    checks.numbers("exponential_", lambd=lambd)
    if not lambd > 0:
        raise ValueError(f"exponential_: lambd must be positive, got {lambd}")
    return _write("exponential_", x, ..., -np.log1p(-_drawn("exponential_", x, "uniform", generator)) / lambd)


def bernoulli_(x: Any, p: Any = 0.5, *, generator: Generator | None = None) -> Any:
    """Overwrite with 1 at probability p, a number or a tensor, else 0."""
    _writable("bernoulli_", x)
    odds = np.broadcast_to(checks.array(getattr(p, "array", p)).astype(np.float64), x.shape)
    return _write("bernoulli_", x, ..., sampled("bernoulli_", odds, generator).astype(x.array.dtype))


def random_(x: Any, low: int = 0, high: int | None = None, *, generator: Generator | None = None) -> Any:
    """Overwrite with random integers: `random_(high)` from 0, `random_(low, high)` from low, to high - 1; at most 2^24 for float32."""
    checks.numbers("random_", low=low, high=low if high is None else high)
    if high is None:
        low, high = (0, low) if low else (0, 2**24 if x.array.dtype == np.float32 else 2**31)
    if high <= low:
        raise ValueError(f"random_: high must be above low, got {low} and {high}")
    draw = kernels(x.array).uniform(_writable("random_", x).shape, *(generator or default_generator).take(), np.dtype(np.float64))
    return _write("random_", x, ..., (np.floor(draw * (high - low)) + low).astype(x.array.dtype))
