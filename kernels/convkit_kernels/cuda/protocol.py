"""NumPy's functions and operators of device arrays, so that code that is written with them works on a device too.

`TABLES` name the kernel of each function; functions that only look at memory otherwise (`expand_dims`, `moveaxis` ...) are done by NumPy on the
array's `view`.  Any other function is a TypeError: nothing is copied to the host behind anybody's back.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from . import elementwise as e
from .copy import assign, concatenate, contiguous
from .memory import Array, asarray, empty, empty_like

UFUNCS: dict[np.ufunc, Callable] = {
    np.add: e.add, np.subtract: e.sub, np.multiply: e.mul, np.true_divide: e.div, np.maximum: e.maximum, np.minimum: e.minimum, np.power: e.pow,
    np.negative: e.neg, np.absolute: e.abs, np.sqrt: e.sqrt, np.sign: e.sign, np.exp: e.exp, np.log: e.log,
    **{f: (lambda a, b, name=name: e.binary(name, a, b)) for name, f in e.cpu._BINARY.items() if isinstance(f, np.ufunc)},
    **{f: (lambda a, name=name: e.unary(name, a)) for name, f in e.cpu._UNARY.items()},
}  # fmt: skip

VIEWS = (np.broadcast_to, np.diagonal, np.expand_dims, np.flip, np.moveaxis, np.squeeze, np.swapaxes, np.transpose, np.atleast_1d)


def refuse(name: str) -> Any:
    """TypeError for what would need the host."""
    raise TypeError(f"cuda: there is no kernel for NumPy's {name}; use .cpu() to go on on the host")


def ufunc(function: np.ufunc, method: str, inputs: tuple, options: dict) -> Any:
    """What `__array_ufunc__` is asked for."""
    kernel = UFUNCS.get(function)
    (out,) = options.pop("out", (None,))
    if kernel is None or method != "__call__" or options:
        return refuse(f"{function.__name__}{'' if method == '__call__' else '.' + method}")
    y = kernel(*inputs)
    if out is None:
        return y
    setitem(out, ..., y)
    return out


def function(function: Callable, args: tuple, options: dict) -> Any:
    """What `__array_function__` is asked for."""
    if function in VIEWS:
        return args[0]._as(function(args[0].view, *args[1:], **options))
    found = FUNCTIONS.get(function)
    return refuse(function.__name__) if found is None else found(*args, **options)


def copy(a: Array, order: str = "C") -> Array:
    """A copy in C order or, with order 'K', in the same."""
    return assign(empty_like(a) if order == "K" else empty(a.shape, a.dtype), a)


def cast(a: Array, dtype: np.dtype) -> Array:
    """The same numbers in another dtype; booleans are whether a number is not 0."""
    return e.run(e._truth if dtype == np.bool_ else e._same, [a], empty_like(a, dtype))


def getitem(a: Array, key: tuple) -> Array:
    """a[key] where arrays choose elements."""
    return refuse("advanced indexing")


def setitem(a: Array, key: Any, value: Any) -> None:
    """a[key] = value, for slices and integers."""
    target: Any = a[key]
    if not isinstance(value, Array) and np.ndim(value):
        value = asarray(np.asarray(value))
    if not isinstance(value, Array):
        e.fill(target, value)
    else:
        assign(target, e._broadcast(value, target.shape))


def _full(shape: Any, value: Any, dtype: Any = None, **_: Any) -> Array:
    shape = (shape,) if isinstance(shape, (int, np.integer)) else tuple(shape)
    return e.fill(empty(shape, np.asarray(value).dtype if dtype is None else dtype), value)


FUNCTIONS: dict[Callable, Callable] = {
    np.reshape: lambda a, shape, copy=None: a._as(np.reshape(a.view, shape, copy=False)) if copy is False else a.reshape(shape),
    np.ravel: lambda a: a.reshape(-1),
    np.shape: lambda a: a.shape,
    np.ndim: lambda a: a.ndim,
    np.size: lambda a: a.size,
    np.copy: lambda a, order="K": copy(a, order),
    np.ascontiguousarray: contiguous,
    np.concatenate: lambda arrays, axis=0: concatenate(arrays, axis % arrays[0].ndim),
    np.where: lambda condition, a, b: e.where(condition, a, b),
    np.empty: lambda shape, dtype=np.float64, **_: empty((shape,) if isinstance(shape, int) else shape, dtype),
    np.zeros: lambda shape, dtype=np.float64, **_: _full(shape, 0, dtype),
    np.ones: lambda shape, dtype=None, **_: _full(shape, 1, dtype or np.float64),
    np.full: _full,
    np.empty_like: lambda a, dtype=None, shape=None: empty_like(a, dtype, shape),
    np.zeros_like: lambda a, dtype=None, shape=None: e.fill(empty_like(a, dtype, shape), 0),
    np.ones_like: lambda a, dtype=None, shape=None: e.fill(empty_like(a, dtype, shape), 1),
    np.full_like: lambda a, value, dtype=None, shape=None: e.fill(empty_like(a, dtype, shape), value),
    np.result_type: lambda *args: np.result_type(*(a.view[:0].dtype if isinstance(a, Array) else a for a in args)),
}
