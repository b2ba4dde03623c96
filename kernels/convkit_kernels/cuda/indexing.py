"""Elements chosen by arrays: a[i, :, j], a[mask], and what is put or added there.

A key is integers, slices, None, `...`, and arrays of integers or booleans on either side.  What has no arrays is a view of memory (`Array`); of
arrays, the places in memory are numbers that a kernel computes.  A result's size depends on what is in a mask, so that the host waits for its
count.  Whether places that are computed on the device lie inside is checked there, and told later (`checks.py`).
"""

from __future__ import annotations

import functools
import math
from typing import Any, NamedTuple

import numba
import numpy as np

from . import checks
from . import elementwise as e
from .copy import assign
from .embedding import scatter_places
from .launch import Kernel, cuda, kernel
from .memory import Array, asarray, empty, place
from .reduce import nonzero
from .vectors import require

_i = numba.int64
_steps = numba.types.UniTuple(_i, e.RANK)
KINDS = (np.float32, np.float64, np.int64, np.int32, np.uint8, np.bool_)


@functools.cache
def _chosen(dtype: np.dtype, read: bool) -> Kernel:
    """y[...] = x[..., index[...], ...] or, without `read`, the place in memory of what stands there.

    `size` and `step` are those of the dimension chosen from, where negative numbers count from its end.
    """

    def chosen(n, dims, s, x, x0, u, index, i0, v, size, step, y, y0, w):
        for i in range(cuda.grid(1), n, cuda.gridsize(1)):
            at = e._coordinates(i, dims, s)
            k = index[e._place(i0, at, v)]
            if k < 0:
                k += size
            place = e._place(x0, at, u) + k * step
            y[e._place(y0, at, w)] = x[place] if read else place

    chosen.__name__ = chosen.__qualname__ = "chosen" if read else "places"
    kind, ints = numba.from_dtype(dtype)[::1], _i[::1]
    sizes = numba.types.UniTuple(numba.uint32, e.RANK)
    return Kernel(chosen, [_i, _i, sizes, kind, _i, _steps, ints, _i, _steps, _i, _i, kind if read else ints, _i, _steps])


@kernel("iITTi", KINDS)
def _put(n, places, y, x, x0):
    for i in range(cuda.grid(1), n, cuda.gridsize(1)):
        y[places[i]] = x[x0 + i]


# ------------------------------------------------------------------------------------------ keys
class _Places(NamedTuple):
    """What a key chooses: `rest`, a view of the result's shape (of what the arrays chose the first), and places along one more dimension."""

    rest: Array
    places: Array  # of the result's shape
    size: int  # of the dimension: negative places count from its end
    step: int
    once: bool  # is nothing named twice?


def _resolved(a: Array, key: Any) -> _Places:
    parts = [np.asarray(k) if isinstance(k, list) else k for k in (key if isinstance(key, tuple) else (key,))]
    parts = [k if not isinstance(k, np.ndarray) or k.dtype.kind in "iub" else _floats(k) for k in parts]
    used = sum(k.ndim if isinstance(k, np.ndarray) and k.dtype == np.bool_ else k is not None and k is not Ellipsis for k in parts)
    if used > a.ndim:
        raise IndexError(f"too many indices for array: array is {a.ndim}-dimensional, but {used} were indexed")
    at = next((i for i, k in enumerate(parts) if k is Ellipsis), len(parts))
    parts[at : at + 1] = [slice(None)] * (a.ndim - used)

    basic: list[Any] = []  # slices and None, and whole dimensions where arrays choose
    chosen: list[tuple[int, Any]] = []  # (the dimension of a[basic], an array or an integer)
    order: list[int] = []  # where in the key arrays and integers stand
    once, dim, axis = True, 0, 0  # of a, of a[basic]
    for i, part in enumerate(parts):
        if isinstance(part, np.ndarray) and part.dtype == np.bool_:
            if part.shape != a.shape[axis : axis + part.ndim]:
                raise IndexError(f"boolean index did not match indexed array: its shape is {part.shape}, not {a.shape[axis : axis + part.ndim]}")
            order.append(i)
            if not part.ndim:  # what is chosen of a dimension of size 1: all or nothing
                chosen.append((dim, _Inside(asarray(np.zeros(int(part), np.int64)))))
                basic.append(None)
                dim += 1
                continue
            found = nonzero(part) if isinstance(part, Array) else asarray(np.argwhere(part))
            for d in range(part.ndim):
                chosen.append((dim + d, _Inside(found[:, d])))
            basic += [slice(None)] * part.ndim
            dim, axis = dim + part.ndim, axis + part.ndim
        elif isinstance(part, (np.ndarray, int, np.integer)):
            once &= not isinstance(part, np.ndarray) or not part.ndim
            n = a.shape[axis]
            if not isinstance(part, Array):
                low, high = (int(part.min()), int(part.max())) if isinstance(part, np.ndarray) and part.size else (0, -1)
                if not isinstance(part, np.ndarray):
                    low = high = int(part)
                if low < -n or high >= n:
                    raise IndexError(f"index {low if low < -n else high} is out of bounds for axis {axis} with size {n}")
                part = int(part) % n if not isinstance(part, np.ndarray) else _Inside(asarray(part.astype(np.int64) % max(n, 1)))
            chosen.append((dim, part))
            basic.append(slice(None))
            order.append(i)
            dim, axis = dim + 1, axis + 1
        else:
            basic.append(part)
            dim, axis = dim + 1, axis + (part is not None)
    view = a._as(a.view[tuple(basic)])
    together = order == list(range(order[0], order[-1] + 1))

    index, size, step = None, 0, 0
    first: list[Any] = [slice(None)] * view.ndim
    arrays = [(d, part) for d, part in chosen if not isinstance(part, int)]
    for d, part in chosen:
        first[d] = part if isinstance(part, int) else 0
    sizes = [(p.array if isinstance(p, _Inside) else p).shape for _, p in arrays]
    try:
        shape = np.broadcast_shapes(*sizes)
    except ValueError:
        raise IndexError(f"shape mismatch: indexing arrays could not be broadcast together with shapes {' '.join(map(str, sizes))}") from None
    for d, part in arrays:
        inside = isinstance(part, _Inside)
        n, s = view.shape[d], view.steps[d]
        places = (
            part.array if inside else checks.inside(part, -n, n - 1, IndexError, f"index {{first}} is out of bounds for a dimension of size {n}")[0]
        )
        if len(arrays) == 1:
            index, size, step = places, n, s
        else:
            places = (places if inside else places % n) * s  # type: ignore[operator]
            index, size, step = places if index is None else index + places, 0, 1  # type: ignore[operator]
    lengths = [n for d, n in enumerate(view.shape) if isinstance(first[d], slice)]
    if math.prod(shape) and any(not view.shape[d] for d, _ in arrays):
        raise IndexError(f"index is out of bounds for an array of shape {a.shape}")
    result_at = sum(isinstance(k, slice) for k in first[: chosen[0][0]]) if together else 0
    whole = (*lengths[:result_at], *shape, *lengths[result_at:])
    if not math.prod(whole):
        nothing = empty(whole, a.dtype)
        return _Places(nothing, empty(whole, np.int64), 0, 0, once)
    rest = _spread(view.view[(*first, Ellipsis)], result_at, shape)
    index = index._as(np.broadcast_to(_spread(index.view, index.ndim, (1,) * (len(lengths) - result_at)), whole))  # type: ignore[union-attr]
    return _Places(view._as(rest), index, size, step, once)


def _spread(view: np.ndarray, at: int, shape: tuple[int, ...]) -> np.ndarray:
    """The view with dimensions of `shape` before dimension `at`, along which it does not change."""
    view = np.expand_dims(view, tuple(range(at, at + len(shape))))
    return np.broadcast_to(view, (*view.shape[:at], *shape, *view.shape[at + len(shape) :]))


class _Inside(NamedTuple):
    """Places that are known to be inside."""

    array: Array


def _floats(key: Any) -> Any:
    if not key.size and isinstance(key, np.ndarray) and not isinstance(key, Array):
        return key.astype(np.int64)  # an empty list
    raise IndexError("arrays used as indices must be of integer (or boolean) type")


def _walk(chosen: _Places, y: Array) -> tuple[tuple, tuple]:
    sizes, rest, index, steps = e._joined(y.shape, chosen.rest.steps, chosen.places.steps, y.steps)
    if len(sizes) > e.RANK:
        raise TypeError(f"cuda: indexing by arrays takes at most {e.RANK} dimensions apart in memory, got {len(sizes)}; copy the tensor first")
    require("indexing by arrays", 2**32 - 1, elements=y.size)  # coordinates have 32 bits
    more, a, i = (0,) * (e.RANK - len(sizes)), chosen.rest, chosen.places
    return (
        (len(sizes), sizes + more),
        (a.flat, a.offset, rest + more, i.flat, i.offset, index + more, chosen.size, chosen.step, y.flat, y.offset, steps + more),
    )


def _run(a: Array, chosen: _Places, read: bool) -> Array:
    """What is chosen of a or, without `read`, its places in a's buffer, in C order."""
    y = empty(chosen.rest.shape, a.dtype if read else np.int64)
    if y.size:
        head, tail = _walk(chosen, y)
        _chosen(a.dtype, read)(y.size, y.size, *head, *tail)
    return y


def getitem(a: Array, key: Any) -> Array:
    """a[key], a copy, in C order."""
    return _run(a, _resolved(a, key), True)


def sent(value: Any, dtype: np.dtype) -> Array:
    """A number or an array of the host on the device, in this dtype; OverflowError for an infinite number among integers."""
    if isinstance(value, Array):
        return value.astype(dtype, copy=False)
    if np.ndim(value):
        return asarray(np.asarray(value).astype(dtype))
    one = np.empty((), dtype)
    one[...] = value
    return e.constant(one, dtype)


def spread(value: Any, dtype: np.dtype, shape: tuple[int, ...]) -> Array:
    """A value on the device, in this dtype, as an array of this shape; ValueError if it has another."""
    value = sent(value, dtype)
    while value.ndim > len(shape) and value.shape[0] == 1:
        value = value[0]
    try:
        return e._broadcast(value, shape)
    except ValueError:
        raise ValueError(f"could not broadcast input array from shape {value.shape} into shape {shape}") from None


def put(a: Array, key: Any, value: Any, add: bool = False) -> None:
    """a[key] = value or, with `add`, += value, where what is named several times gets the last of its values or all of them."""
    if not any(isinstance(k, (np.ndarray, list)) for k in (key if isinstance(key, tuple) else (key,))):
        target = a[key]
        values = spread(value, a.dtype, target.shape)
        values = values + target if add else values  # type: ignore[operator,assignment]
        assign(target, values.copy() if np.may_share_memory(values.view, target.view) else values)
        return
    chosen = _resolved(a, key)
    spots, once = _run(a, chosen, False), chosen.once
    number = not np.ndim(value)
    values = spread(value, a.dtype, spots.shape)
    if not spots.size:
        return
    values, n = values.copy(), spots.size
    whole = place(a.buffer, (a.flat.size,), None, a.dtype)
    if add or not (once or number):
        scatter_places(whole, values, spots.reshape(-1), 0, (1, n, 1), whole.size, not add)
    else:
        _put[a.dtype](n, n, spots.flat, whole.flat, values.flat, values.offset)
