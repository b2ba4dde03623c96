"""Taking elements out and putting them in: by slices, integers, booleans, and along a dimension.

`GetItem` and `PutItem` are each other's adjoints, and everything that reads by index or adds by index is one of them with a key of
its own; `IndexPut` is a copy with some elements replaced.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from convkit_kernels.layout import order_of

from ..autograd import Function, TensorBase
from ..device import kernels
from . import checks
from .elementwise import FLOATS, Cast, fit, where
from .shape import axis, copied, filled, reshape, view_of

Key = Any  # what NumPy takes between brackets


class GetItem(Function):
    """x[key]; elements taken twice get the gradient twice."""

    @staticmethod
    def forward(ctx, x, key):
        ctx.shape, ctx.key = x.shape, key
        return x[key]

    @staticmethod
    def backward(ctx, gy):
        return PutItem.apply(gy, ctx.key, ctx.shape), None


class PutItem(Function):
    """Zeros of `shape` with x added at `key`: the adjoint of GetItem."""

    @staticmethod
    def forward(ctx, x, key, shape):
        ctx.key = key
        return placed(x, key, shape)

    @staticmethod
    def backward(ctx, gy):
        return GetItem.apply(gy, ctx.key), None, None


class Gather(Function):
    """y[..., i, ...] = x[..., index[..., i, ...], ...] along `dim`; index is as large as x in other dimensions, or one vector for all."""

    @staticmethod
    def forward(ctx, x, dim, index):
        ctx.dim, ctx.index, ctx.shape, ctx.order = dim, index, x.shape, order(x)
        return gathered(x, dim, index, ctx.order)

    @staticmethod
    def backward(ctx, gy):
        return ScatterAdd.apply(gy, ctx.dim, ctx.index, ctx.shape, ctx.order), None, None


class ScatterAdd(Function):
    """Zeros of `shape`, whose dimensions lie in memory in `order`, with x added at `index` along `dim`: the adjoint of Gather."""

    @staticmethod
    def forward(ctx, x, dim, index, shape, order):
        ctx.dim, ctx.index = dim, index
        if x.dtype in FLOATS:
            return _moved(kernels(x).scatter, order, dim, index, x, size=shape[dim])
        return placed(x, (*(slice(None),) * dim, index) if index.ndim < x.ndim else along(index, dim), shape)

    @staticmethod
    def backward(ctx, gy):
        return Gather.apply(gy, ctx.dim, ctx.index), None, None, None, None


class Scatter(Function):
    """A copy of x, floats, with `source` at `index` along `dim`: in the place of what was there, or added to it."""

    @staticmethod
    def forward(ctx, x, source, dim, index, accumulate):
        ctx.dim, ctx.index, ctx.accumulate = dim, index, accumulate
        return _moved(kernels(x).scatter, order(x), dim, index, source, x, size=x.shape[dim], put=not accumulate)

    @staticmethod
    def backward(ctx, gy):
        need_x, need_source, *_ = ctx.needs_input_grad
        gx = gs = None
        if need_source:
            gs = Gather.apply(gy, ctx.dim, ctx.index)
        if need_x:
            gx = gy
            if not ctx.accumulate:
                shape = [ctx.index.size if d == ctx.dim else n for d, n in enumerate(gy.array.shape)]
                nothing = TensorBase.result(filled(shape if ctx.index.ndim < gy.array.ndim else ctx.index.shape, 0, gy.array))
                gx = Scatter.apply(gy, nothing, ctx.dim, ctx.index, False)
        return gx, gs, None, None, None


def gathered(x: np.ndarray, dim: int, index: np.ndarray, order: tuple[int, ...] | None) -> np.ndarray:
    """What `Gather` gives of an array whose dimensions lie in memory in `order`."""
    if order is None or x.dtype not in FLOATS:  # x that is broadcast is not written out
        return np.take_along_axis(x, index, dim) if index.ndim == x.ndim else x.take(index, dim)
    return _moved(kernels(x).gather, order, dim, index, x)


def _moved(kernel: Any, order: tuple[int, ...] | None, dim: int, index: np.ndarray, x: np.ndarray, base: Any = None, **told: Any) -> np.ndarray:
    """The kernel's result along `dim` of arrays whose dimensions lie in memory in `order`, which it keeps."""
    in_turn = tuple(range(x.ndim))
    if order is None or order == in_turn:
        return kernel(x, index, dim, **told) if base is None else kernel(x, index, dim, base=base, **told)
    index = index.transpose(order) if index.ndim == x.ndim else index
    if base is not None:
        told["base"] = base.transpose(order)
    return kernel(x.transpose(order), index, order.index(dim), **told).transpose(np.argsort(order))


class IndexPut(Function):
    """A copy of x with values at `key`: in place of what was there, or added to it."""

    @staticmethod
    def forward(ctx, x, values, key, accumulate):
        ctx.key, ctx.accumulate, ctx.values = key, accumulate, (np.shape(values), getattr(values, "dtype", None))
        if accumulate:
            return added(x, key, values)
        y = copied(x)
        y[key] = values
        return y

    @staticmethod
    def backward(ctx, gy):
        need_x, need_values, *_ = ctx.needs_input_grad
        gx = None if not need_x else gy if ctx.accumulate else IndexPut.apply(gy, 0, ctx.key, False)
        return gx, fit(GetItem.apply(gy, ctx.key), ctx.values) if need_values else None, None, None


def order(x: np.ndarray) -> tuple[int, ...] | None:
    """The dimensions of x as they lie in memory; None where it has gaps."""
    found = order_of(x)
    return None if found is None else (*(d for d in range(x.ndim) if d not in found), *found)


def _lists(key: Key) -> tuple[tuple, list[np.ndarray], bool]:
    """(the parts of a key, those that are lists, whether it names nothing twice, as slices and masks do)."""
    parts = key if isinstance(key, tuple) else (key,)
    lists = [checks.array(k) for k in parts if isinstance(k, (np.ndarray, list))]
    return parts, lists, all(k.dtype == np.bool_ for k in lists)


def _by_number(parts: tuple, lists: list[np.ndarray], shape: tuple[int, ...]) -> bool:
    """Is each part of a key a list of numbers along a dimension of its own?  Slices and masks are not."""
    return len(lists) == len(parts) <= len(shape) and all(k.dtype != np.bool_ for k in lists)


def _within(key: Key, shape: tuple[int, ...]) -> Key:
    """The key; IndexError if one of its lists leaves its dimension."""
    parts, lists, _ = _lists(key)
    if not _by_number(parts, lists, shape):
        return key  # which will be looked up
    sizes = [k.shape for k in lists]
    try:
        np.broadcast_shapes(*sizes)
    except ValueError:
        raise IndexError(f"shape mismatch: indexing arrays could not be broadcast together with shapes {' '.join(map(str, sizes))}") from None
    text = "index {{first}} is out of bounds for axis {} with size {}"
    return tuple(kernels(k).inside(k, -n, n - 1, IndexError, text.format(d, n))[0] for d, (k, n) in enumerate(zip(lists, shape, strict=False)))


def added(x: np.ndarray, key: Key, values: Any) -> np.ndarray:
    """A copy of x with `values` added at `key`: where an element is named twice, both count."""
    once = _lists(key)[2]
    if x.dtype in FLOATS and x.size and not once:
        values, key = np.asarray(values, x.dtype, like=x), _within(key, x.shape)
        return placed(values, key, x.shape, x) if x.flags.c_contiguous else kernels(x).add(x, placed(values, key, x.shape))
    y = copied(x)
    if once:
        y[key] += values
    else:
        np.add.at(y, key, values)
    return y


def placed(values: np.ndarray, key: Key, shape: tuple[int, ...], base: np.ndarray | None = None) -> np.ndarray:
    """Zeros of `shape`, or a copy of `base` for a key of lists, with `values` added at `key`."""
    parts, lists, once = _lists(key)
    size = math.prod(shape)
    if once or values.dtype not in FLOATS or not size:
        y = filled(shape, 0, values)
        if once:
            y[key] = values
        else:
            np.add.at(y, key, values)
        return y
    rows = len(parts) == 1  # of a table, picked by number; else single elements
    if rows:
        places = lists[0]
    elif len(parts) == len(shape) and _by_number(parts, lists, shape):
        places = np.ravel_multi_index(tuple(np.broadcast_arrays(*lists)), shape, mode="wrap")  # type: ignore[call-overload]
    else:
        places = np.arange(size, like=values).reshape(shape)[key]
    if not places.size:
        return np.zeros(shape, values.dtype, like=values) if base is None else copied(base)
    count = shape[0] if rows else size
    values = np.broadcast_to(values, places.shape + (shape[1:] if rows else ()))
    places = np.asarray(places.reshape(-1) % count, like=values)
    if base is not None:
        values, base = values.reshape(places.size, -1), base.reshape(count, -1)
        return kernels(values).scatter(values, places, 0, count, base=base).reshape(shape)
    if rows:
        return kernels(values).embedding_grad(values.reshape(places.size, -1), places, count).reshape(shape)
    return kernels(values).scatter(values.reshape(-1), places, 0, count).reshape(shape)


def along(index: np.ndarray, dim: int) -> Key:
    """The key that names the elements at `index` along `dim`, each in its own place of the other dimensions."""
    grid = np.ogrid[tuple(slice(n) for n in index.shape)]
    return tuple(index if i == dim else g for i, g in enumerate(grid))


# --------------------------------------------------------------------------------------- by a key
def index_key(key: Any) -> Key:
    """An index with tensors replaced by arrays; IndexError for arrays that are no integers or booleans."""
    if isinstance(key, tuple):
        return tuple(index_key(list(k) if isinstance(k, tuple) else k) for k in key)
    if isinstance(key, TensorBase):
        array = key.array
        if array.dtype == np.uint8:
            return array.astype(np.bool_)  # as torch does: uint8 was once its boolean
        return array if array.ndim or array.dtype.kind not in "iu" else int(array)
    return np.asarray(key) if isinstance(key, (bool, np.bool_)) else key  # a mask without dimensions, and no number


def getitem(x: Any, key: Any) -> Any:
    """x[key] as in NumPy: integers, slices, None, ..., integer and boolean arrays or tensors; slices are views."""
    try:
        key = index_key(key)
        if isinstance(key, np.ndarray) and key.dtype == np.bool_ and key.size and key.shape == x.array.shape[: key.ndim]:
            return _masked(x, key)
        return view_of(GetItem.apply(x, key), x)
    except IndexError as error:
        raise IndexError(f"indexing a tensor of shape {list(x.array.shape)}: {error}") from None


def _masked(x: Any, mask: np.ndarray) -> Any:
    """x[mask], by numbers: the places of what is true are found at once, and gathered by threads."""
    return Gather.apply(reshape(x, (mask.size, *x.array.shape[mask.ndim :])), 0, np.asarray(np.flatnonzero(mask), like=x.array))


def index_put(input: Any, indices: Any, values: Any, accumulate: bool = False) -> Any:
    """A copy of input with input[indices] = values (a tensor that broadcasts), or, with `accumulate`, += values; both pass gradients on.

    >>> import convkit
    >>> convkit.index_put(convkit.zeros(3), (convkit.tensor([0, 0]),), convkit.tensor(1.0), accumulate=True).tolist()
    [2.0, 0.0, 0.0]
    """
    if not isinstance(indices, (tuple, list)):
        raise TypeError(f"index_put: indices must be a tuple of tensors, got {type(indices).__name__}")
    key = tuple(slice(None) if k is None else index_key(k) for k in indices)
    return _put("index_put", input, key, values, accumulate)


def _put(op: str, x: Any, key: Key, values: Any, accumulate: bool = False) -> Any:
    checks.tensor(op, x)
    if not isinstance(values, TensorBase):
        checks.number(op, "the value", values)
    elif values.array.dtype != x.array.dtype:
        raise TypeError(f"{op}: values must have the tensor's dtype {x.dtype}, got {values.dtype}")
    try:
        return IndexPut.apply(x, values, key, accumulate)
    except IndexError as error:
        raise IndexError(f"{op}: a tensor of shape {list(x.shape)}: {error}") from None
    except (ValueError, OverflowError) as error:  # an infinite number in a tensor of integers
        raise ValueError(f"{op}: {error}") from None


def masked_fill(input: Any, mask: Any, value: Any) -> Any:
    """A copy of input with `value` (a number, or a tensor without dimensions) where the boolean `mask`, which broadcasts, holds."""
    checks.tensor("masked_fill", input)
    if checks.tensor("masked_fill: the mask", mask).array.dtype != np.bool_:
        raise TypeError(f"masked_fill: the mask must be boolean, got {mask.dtype}")
    if isinstance(value, TensorBase):
        if value.ndim:
            raise ValueError(f"masked_fill: the value must have no dimensions, got shape {list(value.shape)}")
        value = value if value.array.dtype == input.array.dtype else Cast.apply(value, input.array.dtype)
    else:
        checks.number("masked_fill", "the value", value)
        if input.array.dtype.kind in "iu" and not np.isfinite(value):
            raise ValueError(f"masked_fill: {value} is no number of the tensor's dtype {input.dtype}")
        value = TensorBase.result(np.asarray(value).astype(input.array.dtype))
    return where(mask, value, input)


def masked_select(input: Any, mask: Any) -> Any:
    """The elements where the boolean `mask` holds (input and mask broadcast), in one dimension."""
    checks.tensor("masked_select", input)
    if checks.tensor("masked_select: the mask", mask).array.dtype != np.bool_:
        raise TypeError(f"masked_select: the mask must be boolean, got {mask.dtype}")
    try:
        shape = np.broadcast_shapes(input.shape, mask.shape)
    except ValueError:
        raise ValueError(f"masked_select: shapes {list(input.shape)} and {list(mask.shape)} do not broadcast") from None
    return getitem(input.expand(shape), mask.expand(shape))


def nonzero(input: Any, *, as_tuple: bool = False) -> Any:
    """Where input is not 0: [count, dimensions] (int64), or a tuple with a vector for each dimension."""
    a = checks.tensor("nonzero", input).array
    if as_tuple:
        return tuple(TensorBase.result(i) for i in kernels(a).nonzero(np.atleast_1d(a)).T.copy())
    return TensorBase.result(kernels(a).nonzero(a) if a.ndim else np.zeros((int(a != 0), 0), np.int64, like=a))


argwhere = nonzero


# --------------------------------------------------------------------------------- along a dimension
def _whole(op: str, index: Any) -> np.ndarray:
    if not isinstance(index, TensorBase):
        raise TypeError(f"{op}: index must be a tensor, got {type(index).__name__}")
    if index.array.dtype.kind not in "iu":
        raise TypeError(f"{op}: index must hold integers, got {index.dtype}")
    return index.array


def _inside(op: str, index: np.ndarray, n: int, d: int, negative: bool = False) -> np.ndarray:
    """The index; IndexError if it leaves 0 .. n-1 (or -n .. n-1)."""
    text = f"{op}: indices {{least}} to {{most}} leave dimension {d} of size {n}"
    return kernels(index).inside(index, -n if negative else 0, n - 1, IndexError, text)[0]


def _smaller(op: str, x: Any, dim: int, index: Any) -> tuple[int, np.ndarray]:
    """The dimension and the index of gather and scatter: of x's rank, inside x along `dim`, no larger than x elsewhere."""
    d, i = axis(op, dim, max(checks.tensor(op, x).array.ndim, 1)), _whole(op, index)
    if not i.size and i.ndim != x.array.ndim:  # torch lets an empty index of any rank pass
        return d, np.zeros((0,) * max(x.array.ndim, 1), np.int64, like=i)
    if max(i.ndim, 1) != max(x.array.ndim, 1):
        raise ValueError(f"{op}: index must hold integers and have {x.array.ndim} dimensions, got {i.dtype} of shape {list(i.shape)}")
    i = _inside(op, i, x.array.shape[d] if x.array.ndim else 1, d)
    if any(k != d and m > n for k, (n, m) in enumerate(zip(x.array.shape, i.shape, strict=False))):
        raise ValueError(f"{op}: index {list(i.shape)} is larger than the input {list(x.array.shape)}")
    return d, i


def gather(input: Any, dim: int, index: Any) -> Any:
    """The elements of input at `index` (int64, of input's rank) along `dim`; IndexError out of range."""
    d, i = _smaller("gather", input, dim, index)
    if not i.size:
        return GetItem.apply(input.reshape(-1), np.zeros(index.array.shape, np.int64, like=index.array))
    if not input.array.ndim or not i.ndim:
        return input.reshape(-1)[i.reshape(-1)].reshape(i.shape)
    shape = tuple(n if k == d else min(n, m) for k, (n, m) in enumerate(zip(input.array.shape, i.shape, strict=True)))
    small = input if shape == input.array.shape else input[tuple(slice(n) for n in shape)]
    return Gather.apply(small, d, i)


def _floats_of_one_dtype(x: Any, source: Any) -> bool:
    return isinstance(source, TensorBase) and source.array.dtype == x.array.dtype and x.array.dtype in FLOATS


def _scatter(op: str, x: Any, dim: int, index: Any, src: Any, accumulate: bool) -> Any:
    d, i = _smaller(op, x, dim, index)
    if isinstance(src, TensorBase):
        if src.ndim != x.ndim or any(m > n for m, n in zip(i.shape, src.shape, strict=False)):
            raise ValueError(f"{op}: index {list(i.shape)} is larger than the source {list(src.shape)}")
        if src.shape != i.shape:
            src = src[tuple(slice(n) for n in i.shape)]
    elif x.array.dtype in FLOATS:
        src = TensorBase.result(filled(i.shape, checks.number(op, "the value", src), x.array))
    if not i.size:
        return x.clone()
    same = all(k == d or n == m for k, (n, m) in enumerate(zip(x.shape, i.shape, strict=False)))
    if x.ndim and same and _floats_of_one_dtype(x, src):
        return Scatter.apply(x, src, d, i, accumulate)
    return _put(op, x, along(i, d) if x.ndim else (), src, accumulate)


def scatter(input: Any, dim: int, index: Any, src: Any = None, *, value: Any = None, reduce: str | None = None) -> Any:
    """A copy of input with input[..., index[..., i, ...], ...] = src[..., i, ...] along `dim` (a tensor or a number); `reduce='add'` adds."""
    if (src is None) == (value is None):
        raise TypeError("scatter: needs a source, either src or value")
    if reduce not in (None, "add"):
        raise ValueError(f"scatter: reduce must be None or 'add', got {reduce!r}")
    return _scatter("scatter", input, dim, index, value if src is None else src, reduce == "add")


def scatter_add(input: Any, dim: int, index: Any, src: Any) -> Any:
    """A copy of input with src[..., i, ...] added at input[..., index[..., i, ...], ...] along `dim`; what is named twice gets both."""
    if not isinstance(src, TensorBase):
        raise TypeError(f"scatter_add: src must be a tensor, got {type(src).__name__}")
    return _scatter("scatter_add", input, dim, index, src, True)


def take_along_dim(input: Any, indices: Any, dim: int | None = None) -> Any:
    """The elements at `indices` along `dim`; their other dimensions broadcast.  Without `dim`, of the flattened tensor."""
    checks.tensor("take_along_dim", input)
    i = _whole("take_along_dim", indices)
    if dim is None:
        return take(input, indices).reshape(-1)
    d = axis("take_along_dim", dim, input.ndim)
    if i.ndim != input.ndim:
        raise ValueError(f"take_along_dim: indices must have {input.ndim} dimensions, got shape {list(i.shape)}")
    try:
        shape = np.broadcast_shapes(*(s[:d] + (1,) + s[d + 1 :] for s in (input.shape, i.shape)))
    except ValueError:
        raise ValueError(f"take_along_dim: shapes {list(input.shape)} and {list(i.shape)} do not broadcast beside dimension {d}") from None
    own, other = (shape[:d] + (n,) + shape[d + 1 :] for n in (input.shape[d], i.shape[d]))
    index = np.broadcast_to(_inside("take_along_dim", i, input.shape[d], d, negative=True) % max(input.shape[d], 1), other)
    return Gather.apply(input.expand(own), d, index)


def take(input: Any, index: Any) -> Any:
    """The elements of the flattened tensor at `index`, in the shape of `index`."""
    i = _inside("take", _whole("take", index), checks.tensor("take", input).array.size, 0, negative=True)
    return GetItem.apply(input.reshape(-1), i)


def _vector(op: str, x: Any, dim: int, index: Any, negative: bool = False) -> tuple[int, np.ndarray, Key]:
    """The dimension, the vector of indices along it, and the key for them."""
    d, i = axis(op, dim, max(checks.tensor(op, x).ndim, 1)), _whole(op, index)
    if i.ndim > 1:
        raise ValueError(f"{op}: index must be a vector, got shape {list(i.shape)}")
    n = x.shape[d] if x.ndim else 1
    i = _inside(op, i.reshape(-1), n, d, negative)
    return d, i, (*(slice(None),) * d, i % max(n, 1) if negative else i)


def index_select(input: Any, dim: int, index: Any) -> Any:
    """The slices of input at `index` (a vector of integers) along `dim`."""
    d, i, _ = _vector("index_select", input, dim, index)
    if not input.ndim:
        return input.reshape(1)[i].reshape(()) if i.size == 1 else input.reshape(1)[i]
    return Gather.apply(input, d, i)


def index_add(input: Any, dim: int, index: Any, source: Any, *, alpha: float = 1) -> Any:
    """A copy of input with alpha times the slices of `source` added to those at `index` along `dim`."""
    return _index_put("index_add", input, dim, index, source if checks.number("index_add", "alpha", alpha) == 1 else source * alpha, True)


def index_copy(input: Any, dim: int, index: Any, source: Any) -> Any:
    """A copy of input with the slices of `source` in the place of those at `index` along `dim`."""
    return _index_put("index_copy", input, dim, index, source, False)


def _index_put(op: str, x: Any, dim: int, index: Any, source: Any, accumulate: bool) -> Any:
    d, i, key = _vector(op, x, dim, index)
    checks.tensor(f"{op}: source", source)
    expected = x.shape[:d] + (i.size,) + x.shape[d + 1 :] if x.ndim else (i.size,)
    if source.shape != expected and not (not x.ndim and source.array.size == 1):
        raise ValueError(f"{op}: source must have shape {list(expected)}, got {list(source.shape)}")
    if not x.ndim:
        return _put(op, x.reshape(1), key, source.reshape(1), accumulate).reshape(())
    if _floats_of_one_dtype(x, source):
        return Scatter.apply(x, source, d, i, accumulate)
    return _put(op, x, key, source, accumulate)


def index_fill(input: Any, dim: int, index: Any, value: Any) -> Any:
    """A copy of input with `value` (a number, or a tensor without dimensions) in the slices at `index` along `dim`."""
    d, _, key = _vector("index_fill", input, dim, index, negative=True)
    key = (*key[:-1], np.unique(key[-1]))  # a value that is written twice counts once
    if isinstance(value, TensorBase) and value.ndim:
        raise ValueError(f"index_fill: the value must have no dimensions, got shape {list(value.shape)}")
    if isinstance(value, TensorBase) and value.array.dtype != input.array.dtype:
        value = Cast.apply(value, input.array.dtype)
    if not input.ndim:
        return _put("index_fill", input.reshape(1), key, value).reshape(())
    return _put("index_fill", input, key, value)


def select(input: Any, dim: int, index: int) -> Any:
    """The slice at `index` along `dim`, without that dimension; a view."""
    d = axis("select", dim, checks.tensor("select", input).ndim)
    index = checks.whole("select", "index", index)
    if not -input.shape[d] <= index < input.shape[d]:
        raise IndexError(f"select: index {index} leaves dimension {d} of size {input.shape[d]}")
    return input[(slice(None),) * d + (index,)]


def narrow(input: Any, dim: int, start: Any, length: int) -> Any:
    """`length` slices from `start` on along `dim`; a view."""
    d = axis("narrow", dim, checks.tensor("narrow", input).ndim)
    if isinstance(start, TensorBase) and (start.ndim or start.dtype.kind not in "iu"):
        raise TypeError(f"narrow: start must be an int or an integer tensor without dimensions, got {start.dtype} of shape {list(start.shape)}")
    n, first, length = input.shape[d], checks.whole("narrow", "start", start), checks.whole("narrow", "length", length)
    first += n if first < 0 else 0
    if length < 0 or not 0 <= first <= n - length:
        raise IndexError(f"narrow: {length} from {int(start)} on leaves dimension {d} of size {n}")
    return input[(slice(None),) * d + (slice(first, first + length),)]


def one_hot(index: np.ndarray, classes: int, dtype: Any) -> np.ndarray:
    """[*index.shape, classes] with a one at each index."""
    y = filled((*index.shape, classes), 0, index, dtype)
    np.put_along_axis(y, index[..., None], 1, -1)
    return y
