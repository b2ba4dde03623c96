"""Taking elements out and putting them in: by slices, integers, booleans, and along a dimension."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..autograd import Function
from .shape import axis, view_of


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
        y = np.zeros(shape, x.dtype)
        parts = key if isinstance(key, tuple) else (key,)
        if any(isinstance(k, (np.ndarray, list)) for k in parts):
            np.add.at(y, key, x)
        else:
            y[key] = x
        return y

    @staticmethod
    def backward(ctx, gy):
        return GetItem.apply(gy, ctx.key), None, None


class Gather(Function):
    """y[..., i, ...] = x[..., index[..., i, ...], ...] along `dim`."""

    @staticmethod
    def forward(ctx, x, dim, index):
        ctx.dim, ctx.index, ctx.shape = dim, index, x.shape
        return np.take_along_axis(x, index, dim)

    @staticmethod
    def backward(ctx, gy):
        return ScatterAdd.apply(gy, ctx.dim, ctx.index, ctx.shape), None, None


class ScatterAdd(Function):
    """Zeros of `shape` with x added at `index` along `dim`: the adjoint of Gather."""

    @staticmethod
    def forward(ctx, x, dim, index, shape):
        ctx.dim, ctx.index = dim, index
        y = np.zeros(shape, x.dtype)
        if index.shape[dim] == 1:  # no element can be named twice
            np.put_along_axis(y, index, x, dim)
        else:
            grid = np.ogrid[tuple(slice(n) for n in index.shape)]
            np.add.at(y, tuple(index if i == dim else g for i, g in enumerate(grid)), x)
        return y

    @staticmethod
    def backward(ctx, gy):
        return Gather.apply(gy, ctx.dim, ctx.index), None, None, None


def index_key(key: Any) -> Any:
    """An index with tensors replaced by arrays."""
    if isinstance(key, tuple):
        return tuple(index_key(k) for k in key)
    return getattr(key, "array", key)


def getitem(x: Any, key: Any) -> Any:
    """x[key] as in NumPy: integers, slices, None, ..., integer and boolean arrays or tensors; slices are views."""
    try:
        return view_of(GetItem.apply(x, index_key(key)), x)
    except IndexError as error:
        raise IndexError(f"indexing a tensor of shape {list(x.array.shape)}: {error}") from None


def gather(x: Any, dim: int, index: Any) -> Any:
    """The elements of x at `index` (int64, of x's rank) along `dim`; IndexError out of range."""
    d, i = axis("gather", dim, x.array.ndim), index.array
    if i.ndim != x.array.ndim or i.dtype.kind not in "iu":
        raise ValueError(f"gather: index must hold integers and have {x.array.ndim} dimensions, got {i.dtype} of shape {list(i.shape)}")
    if i.size and (i.min() < 0 or i.max() >= x.array.shape[d]):
        raise IndexError(f"gather: indices {int(i.min())} to {int(i.max())} leave dimension {d} of size {x.array.shape[d]}")
    shape = tuple(n if k == d else min(n, m) for k, (n, m) in enumerate(zip(x.array.shape, i.shape, strict=True)))
    if any(k != d and m > n for k, (n, m) in enumerate(zip(x.array.shape, i.shape, strict=True))):
        raise ValueError(f"gather: index {list(i.shape)} is larger than the input {list(x.array.shape)}")
    small = x if shape == x.array.shape else x[tuple(slice(n) for n in shape)]
    return Gather.apply(small, d, i)


def one_hot(index: np.ndarray, classes: int, dtype: Any) -> np.ndarray:
    """[*index.shape, classes] with a one at each index."""
    y = np.zeros((*index.shape, classes), dtype)
    np.put_along_axis(y, index[..., None], 1, -1)
    return y
