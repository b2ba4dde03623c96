"""NumPy's functions and operators of device arrays, so that code that is written with them works on a device too.

The tables name the kernel of each function; functions that only look at memory otherwise (`expand_dims`, `moveaxis` ...) are done by NumPy on the
array's `view`.  Any other function is a TypeError: nothing is copied to the host behind anybody's back.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from . import checks, indexing, reduce, sort
from . import elementwise as e
from .copy import assign, concatenate, contiguous
from .embedding import gather, repeated, scatter, scatter_into
from .matmul import matmul
from .memory import Array, asarray, empty, empty_like

UFUNCS: dict[np.ufunc, Callable] = {
    np.add: e.add, np.subtract: e.sub, np.multiply: e.mul, np.true_divide: e.div, np.maximum: e.maximum, np.minimum: e.minimum, np.power: e.pow,
    np.negative: e.neg, np.absolute: e.abs, np.sqrt: e.sqrt, np.sign: e.sign, np.exp: e.exp, np.log: e.log, np.square: lambda a: e.mul(a, a),
    np.matmul: matmul, np.greater: lambda a, b: e.binary("lt", b, a), np.greater_equal: lambda a, b: e.binary("le", b, a),
    np.divmod: lambda a, b: (e.binary("floor_divide", a, b), e.binary("remainder", a, b)),
    **{f: (lambda a, b, name=name: e.binary(name, a, b)) for name, f in e.cpu._BINARY.items() if isinstance(f, np.ufunc)},
    **{f: (lambda a, name=name: e.unary(name, a)) for name, f in e.cpu._UNARY.items()},
}  # fmt: skip

FEW = 4096  # numbers that stay on the device for the next time they are asked for
VIEWS = (np.broadcast_to, np.diagonal, np.expand_dims, np.flip, np.moveaxis, np.squeeze, np.swapaxes, np.transpose, np.atleast_1d)


def refuse(name: str) -> Any:
    """TypeError for what would need the host."""
    raise TypeError(f"cuda: there is no kernel for NumPy's {name}; use .cpu() to go on on the host")


def ufunc(function: np.ufunc, method: str, inputs: tuple, options: dict) -> Any:
    """What `__array_ufunc__` is asked for."""
    (out,), casting = options.pop("out", (None,)), options.pop("casting", "same_kind")
    if function is np.add and method == "at":
        return indexing.put(inputs[0], inputs[1], inputs[2], True)
    if function is np.logical_and and method == "accumulate":
        return _all_so_far(*inputs, **options)
    kernel = UFUNCS.get(function)
    if kernel is None or method != "__call__" or options:
        return refuse(f"{function.__name__}{'' if method == '__call__' else '.' + method}")
    y = kernel(*inputs)
    if out is None:
        return y
    if not np.can_cast(y.dtype, out.dtype, casting):
        raise TypeError(f"Cannot cast ufunc {function.__name__!r} output from {y.dtype!r} to {out.dtype!r} with casting rule {casting!r}")
    if y.shape != out.shape:
        raise ValueError(f"non-broadcastable output operand with shape {out.shape} doesn't match the broadcast shape {y.shape}")
    setitem(out, ..., y)
    return out


def function(function: Callable, args: tuple, options: dict) -> Any:
    """What `__array_function__` is asked for."""
    if function in VIEWS:
        if function is np.flip and not args[0].ndim:  # NumPy would read it
            return args[0]
        return args[0]._as(function(args[0].view, *args[1:], **options))
    found = FUNCTIONS.get(function)
    return refuse(function.__name__) if found is None else found(*args, **options)


def copy(a: Array, order: str = "C") -> Array:
    """A copy in C order or, with order 'K', in the same."""
    return assign(empty_like(a) if order == "K" else empty(a.shape, a.dtype), a)


def cast(a: Array, dtype: np.dtype) -> Array:
    """The same numbers in another dtype; booleans are whether a number is not 0."""
    return e.run(e._truth if dtype == np.bool_ else e._same, [a], empty_like(a, dtype))


# ---------------------------------------------------------------------------------------- by a key
def getitem(a: Array, key: tuple) -> Array:
    """a[key] where arrays choose elements."""
    return indexing.getitem(a, key)


def setitem(a: Array, key: Any, value: Any) -> None:
    """a[key] = value."""
    parts = key if isinstance(key, tuple) else (key,)
    mask = parts[0] if len(parts) == 1 else None
    if isinstance(mask, Array) and mask.dtype == np.bool_ and mask.shape == a.shape and not np.ndim(value):
        e.run(e.cpu._where, [mask, indexing.spread(value, a.dtype, a.shape), a], a)  # nobody needs to know how many
    else:
        indexing.put(a, key, value)


def _put_along_axis(a: Array, index: Array, values: Any, axis: int) -> None:
    n, axis = a.shape[axis], axis % a.ndim
    beside = index.ndim == a.ndim and (*a.shape[:axis], index.shape[axis], *a.shape[axis + 1 :]) == index.shape
    if beside and index.size and a.flags.c_contiguous and not a.offset and a.dtype in indexing.KINDS:
        index, _ = checks.inside(index, -n, n - 1, IndexError, f"index {{first}} is out of bounds for axis {axis} with size {n}")
        values = e._broadcast(indexing.sent(values, a.dtype), index.shape)
        scatter_into(a, values.copy() if np.may_share_memory(values.view, a.view) else values, index % n, axis, True)  # type: ignore[arg-type]
        return
    grid: list[Any] = [i.reshape([-1 if d == k else 1 for k in range(a.ndim)]) for d, i in enumerate(map(np.arange, index.shape))]
    grid[axis] = index
    indexing.put(a, tuple(grid), values)


def _take(a: Any, index: Any, axis: int | None = None) -> Array:
    if axis is None:
        return _take(a.reshape(-1), index, 0)
    a, index = (i if isinstance(i, Array) else asarray(np.asarray(i)) for i in (a, index))
    return a[(*(slice(None),) * (axis % a.ndim), index)]


def _take_along_axis(a: Array, index: Array, axis: int) -> Array:
    return gather(a, index % a.shape[axis], axis % a.ndim)  # type: ignore[operator]


# ------------------------------------------------------------------------------------- reductions
def _axes(a: Array, axis: Any) -> tuple[int, ...]:
    axes = range(a.ndim) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    return tuple(sorted(d % max(a.ndim, 1) for d in axes))


def _reduced(kernel: Callable) -> Callable:
    def run(a: Array, axis: Any = None, dtype: Any = None, keepdims: bool = False, initial: Any = None) -> Array:
        y = kernel(a if dtype is None else a.astype(dtype, copy=False), _axes(a, axis), keepdims)
        return y if dtype is None else y.astype(dtype, copy=False)

    return run


def _extreme(kernel: Callable, choice: Callable, name: str) -> Callable:
    def run(a: Array, axis: Any = None, keepdims: bool = False, initial: Any = None) -> Array:
        axes = _axes(a, axis)
        if initial is None and not math.prod(a.shape[d] for d in axes):
            raise ValueError(f"zero-size array to reduction operation {name} which has no identity")
        y = kernel(a, axes, keepdims)
        return y if initial is None else choice(y, initial)

    return run


def _truths(kernel: Callable) -> Callable:
    def run(a: Array, axis: Any = None, keepdims: bool = False) -> Array:
        return kernel(a if a.dtype == np.bool_ else a != 0, _axes(a, axis), keepdims)  # type: ignore[attr-defined]

    return run


def _placed(kernel: Callable) -> Callable:
    def run(a: Array, axis: int | None = None, keepdims: bool = False) -> Array:
        y = kernel(a, None if axis is None else axis % a.ndim)
        return y if not keepdims else y.reshape([1] * a.ndim if axis is None else [1 if d == axis % a.ndim else n for d, n in enumerate(a.shape)])

    return run


_any, _all = _truths(reduce.amax), _truths(reduce.amin)
_min, _max = _extreme(reduce.amin, e.minimum, "minimum"), _extreme(reduce.amax, e.maximum, "maximum")


def _cumsum(a: Array, axis: int | None = None, dtype: Any = None) -> Array:
    if axis is None:
        a, axis = a.reshape(-1), 0
    a = a.astype(np.int64 if dtype is None and a.dtype.kind in "bi" else dtype or a.dtype, copy=False)
    return reduce.scan("sum", a, axis % a.ndim)


def _all_so_far(a: Array, axis: int = 0) -> Array:
    truth = a.astype(np.bool_, copy=False)
    return _cumsum(~truth, axis) == 0  # type: ignore[operator,return-value]


def _bincount(a: Array, weights: Any = None, minlength: int = 0) -> Array:
    size = max(minlength, _max(a, initial=0).item() + 1 if a.size else 0)
    ones = e.fill(empty(a.shape, np.int64), 1) if weights is None else indexing.sent(weights, np.dtype(np.float64))
    return scatter(ones, indexing.sent(a, np.dtype(np.int64)), 0, size)


def _repeat(a: Any, repeats: Any, axis: int | None = None) -> Array:
    a, axis = (a.reshape(-1), 0) if axis is None else (a, axis)
    ends: Any
    if not np.ndim(repeats):
        ends = np.arange(1, a.shape[axis] + 1) * int(repeats)
    elif isinstance(repeats, Array):
        ends = _cumsum(repeats)
    else:
        ends = np.cumsum(repeats)
    ends = ends if isinstance(ends, Array) else asarray(ends)
    return _take(a, repeated(ends), axis)


def _norm(a: Array, ord: Any = None, axis: int | None = None, keepdims: bool = False) -> Array:
    size = e.abs(a)
    if ord is None or ord == 2:
        return e.sqrt(reduce.sum(a, _axes(a, axis), keepdims, "squares"))
    if math.isinf(ord):
        return (_max if ord > 0 else _min)(size, axis, keepdims)
    if ord == 0:
        return reduce.sum(a != 0, _axes(a, axis), keepdims).astype(a.dtype)  # type: ignore[arg-type]
    return e.pow(reduce.sum(e.pow(size, ord), _axes(a, axis), keepdims), 1 / ord)


# ------------------------------------------------------------------------------------------- order
def _argsort(a: Array, axis: int = -1, kind: Any = None, stable: Any = None) -> Array:
    return sort.argsort(a, axis % a.ndim, False)


def _sorted(a: Array, axis: int = -1, **_: Any) -> Array:
    axis %= a.ndim
    keys, _places = sort.lines(a, axis) if a.size else (a, a)
    return np.moveaxis(keys.reshape(*a.shape[:axis], *a.shape[axis + 1 :], a.shape[axis]), -1, axis)  # type: ignore[type-var]


def _unique(
    a: Array, return_index: bool = False, return_inverse: bool = False, return_counts: bool = False, axis: int | None = None,
    equal_nan: bool = True,
) -> Any:  # fmt: skip
    if return_index:
        return refuse("unique with return_index")
    rows: Any = a.reshape(-1, 1) if axis is None else np.moveaxis(a, axis, 0).reshape(a.shape[axis], -1)  # type: ignore[type-var]
    if not a.size:
        nothing = empty((0,), np.int64)
        found = (a.reshape(-1).copy(), *([empty(a.shape, np.int64)] if return_inverse else []), *([nothing] if return_counts else []))
        return found if len(found) > 1 else found[0]
    order = sort.argsort(rows[:, -1], 0, False)
    for column in range(rows.shape[1] - 2, -1, -1):  # what is equal here stays in the order of the columns behind
        order = order[sort.argsort(rows[:, column][order], 0, False)]  # type: ignore[index]
    rows = rows[order]
    differ = rows[1:] != rows[:-1]
    if equal_nan and a.dtype.kind == "f":
        differ = differ & ~(np.isnan(rows[1:]) & np.isnan(rows[:-1]))
    begins = e.fill(empty((len(rows),), np.bool_), True)
    begins[1:] = _any(differ, 1)
    first: Any = reduce.flatnonzero(begins)
    values = rows[first]
    if axis is not None:
        values = np.moveaxis(values.reshape(first.size, *a.shape[:axis], *a.shape[axis + 1 :]), 0, axis)
    out = [values.reshape(-1) if axis is None else values]
    if return_inverse:
        inverse = empty((len(rows),), np.int64)
        indexing.put(inverse, order, _cumsum(begins) - 1)  # type: ignore[operator]
        out.append(inverse.reshape(a.shape) if axis is None else inverse)
    if return_counts:
        out.append(concatenate([first[1:], e.fill(empty((1,), np.int64), len(rows))], 0) - first)
    return tuple(out) if len(out) > 1 else out[0]


# ---------------------------------------------------------------------------------------- creation
def _full(shape: Any, value: Any, dtype: Any = None, order: str = "C", **_: Any) -> Array:
    shape = (shape,) if isinstance(shape, (int, np.integer)) else tuple(shape)
    return e.fill(empty(shape, np.asarray(value).dtype if dtype is None else dtype), value)


def _made(make: Callable) -> Callable:
    """Of what NumPy makes on the host, to be sent: `np.arange(5, like=x)`."""
    return lambda *args, **options: asarray(make(*args, **options))


def _arange(*args: Any, **options: Any) -> Array:
    numbers = np.arange(*args, **options)
    return _kept(numbers.tobytes(), numbers.dtype).copy() if numbers.size <= FEW else asarray(numbers)


@functools.lru_cache(maxsize=256)
def _kept(content: bytes, dtype: np.dtype) -> Array:
    return asarray(np.frombuffer(content, dtype))


def _as_array(a: Any, dtype: Any = None, **_: Any) -> Array:
    if not isinstance(a, Array):
        a = np.asarray(a, dtype)
        return asarray(a) if a.ndim else e.constant(a, a.dtype).copy()
    return a if dtype is None else a.astype(dtype, copy=False)


def _concatenate(arrays: Any, axis: int | None = 0) -> Array:
    arrays = [_as_array(a) for a in arrays]
    if axis is None:
        return concatenate([a.reshape(-1) for a in arrays], 0)
    dtype = np.result_type(*(a.dtype for a in arrays))
    return concatenate([a.astype(dtype, copy=False) for a in arrays], axis % arrays[0].ndim)


def _isclose(a: Any, b: Any, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> Any:
    near = (abs(a - b) <= atol + rtol * abs(b)) & np.isfinite(b) | (a == b)
    return near | (np.isnan(a) & np.isnan(b)) if equal_nan else near


def _array_equal(a: Any, b: Any, equal_nan: bool = False) -> bool:
    if a.shape != b.shape:
        return False
    same = (a == b) | (np.isnan(a) & np.isnan(b)) if equal_nan else a == b
    return bool(_all(same))


def _diff(a: Any) -> Any:
    return a[..., 1:] - a[..., :-1]


def _ravel_multi_index(indices: Any, shape: tuple[int, ...], mode: str = "raise") -> Any:
    if mode != "wrap":
        return refuse("ravel_multi_index that raises")
    place: Any = 0
    for i, n in zip(indices, shape, strict=True):
        place = place * n + i % n
    return place


def _broadcast_arrays(*arrays: Any) -> tuple[Array, ...]:
    shape = np.broadcast_shapes(*(a.shape for a in arrays))
    return tuple(e._broadcast(_as_array(a), shape) for a in arrays)


FUNCTIONS: dict[Any, Callable] = {
    np.reshape: lambda a, shape, copy=None: a._as(np.reshape(a.view, shape, copy=False)) if copy is False else a.reshape(shape),
    np.ravel: lambda a: a.reshape(-1),
    np.shape: lambda a: a.shape,
    np.ndim: lambda a: a.ndim,
    np.size: lambda a: a.size,
    np.copy: lambda a, order="K": copy(a, order),
    np.ascontiguousarray: contiguous,
    np.result_type: lambda *args: np.result_type(*(a.dtype if isinstance(a, Array) else a for a in args)),
    np.may_share_memory: lambda a, b: isinstance(a, Array) and isinstance(b, Array) and np.may_share_memory(a.view, b.view),
    np.shares_memory: lambda a, b: isinstance(a, Array) and isinstance(b, Array) and np.shares_memory(a.view, b.view),
    np.concatenate: _concatenate,
    np.stack: lambda arrays, axis=0: _concatenate([np.expand_dims(_as_array(a), axis) for a in arrays], axis),  # type: ignore[call-overload]
    np.append: lambda a, b: _concatenate([a, b], None),
    np.broadcast_arrays: _broadcast_arrays,
    # elements
    np.where: lambda condition, *two: e.where(condition, *two) if two else np.nonzero(condition),
    np.clip: lambda a, low=None, high=None: e.minimum(a if low is None else e.maximum(a, low), high) if high is not None else e.maximum(a, low),
    np.isclose: _isclose, np.array_equal: _array_equal,
    np.diff: _diff,
    # by index
    np.take: _take, np.take_along_axis: _take_along_axis, np.put_along_axis: _put_along_axis, np.repeat: _repeat, np.bincount: _bincount,
    np.flatnonzero: reduce.flatnonzero, np.nonzero: lambda a: tuple(reduce.nonzero(a).T), np.argwhere: reduce.nonzero,
    np.ravel_multi_index: _ravel_multi_index,
    # reductions
    np.sum: _reduced(reduce.sum), np.prod: _reduced(reduce.prod), np.any: _any, np.all: _all, np.amin: _min, np.amax: _max, np.min: _min,
    np.max: _max, np.argmax: _placed(reduce.argmax), np.argmin: _placed(reduce.argmin), np.cumsum: _cumsum, np.linalg.norm: _norm,
    np.mean: lambda a, axis=None, keepdims=False: e.div(reduce.sum(a, _axes(a, axis), keepdims), math.prod(a.shape[d] for d in _axes(a, axis))),
    np.count_nonzero: lambda a, axis=None, keepdims=False: reduce.sum(a if a.dtype == np.bool_ else a != 0, _axes(a, axis), keepdims),
    np.argsort: _argsort, np.sort: _sorted, np.unique: _unique,
    np.partition: lambda a, kth, axis=-1: _sorted(a, axis),
    # creation, like an array of the device
    np.asarray: _as_array, np.array: _as_array, np.arange: _arange, np.eye: _made(np.eye), np.tri: _made(np.tri),
    np.empty: lambda shape, dtype=np.float64, **_: empty((shape,) if isinstance(shape, int) else shape, dtype),
    np.zeros: lambda shape, dtype=np.float64, **_: _full(shape, 0, dtype),
    np.ones: lambda shape, dtype=None, **_: _full(shape, 1, dtype or np.float64),
    np.full: _full,
    np.empty_like: lambda a, dtype=None, shape=None: empty_like(a, dtype, shape),
    np.zeros_like: lambda a, dtype=None, shape=None: e.fill(empty_like(a, dtype, shape), 0),
    np.ones_like: lambda a, dtype=None, shape=None: e.fill(empty_like(a, dtype, shape), 1),
    np.full_like: lambda a, value, dtype=None, shape=None: e.fill(empty_like(a, dtype, shape), value),
}  # fmt: skip

# Methods of arrays that are NumPy's functions.
METHODS = {
    name: FUNCTIONS[f]
    for name, f in {
        "sum": np.sum, "prod": np.prod, "any": np.any, "all": np.all, "min": np.min, "max": np.max, "argmax": np.argmax, "argmin": np.argmin,
        "mean": np.mean, "cumsum": np.cumsum, "take": np.take, "repeat": np.repeat, "argsort": np.argsort, "clip": np.clip, "nonzero": np.nonzero,
    }.items()
}  # fmt: skip
