"""Order: sorting, the greatest few, the middle, what is unique, how often; extremes so far.  nan counts as the greatest number.

Values carry gradients (they are gathered, so also second derivatives); indices and counts do not.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from convkit_kernels import geometry

from ..autograd import TensorBase
from ..device import kernels
from . import checks
from .elementwise import floating
from .indexing import Gather
from .reduce import Chosen, ValuesIndices
from .shape import axis, flatten


def _by_place(x: Any, index: np.ndarray, d: int, keepdim: bool = True) -> ValuesIndices:
    """The elements of x at `index` along d, and the index."""
    values, indices = Gather.apply(x, d, index), TensorBase.result(index)
    return ValuesIndices(values, indices) if keepdim else ValuesIndices(values.squeeze(d), indices.squeeze(d))


def _axis_and_size(op: str, x: Any, dim: int) -> tuple[Any, int, int]:
    """x with one dimension at least, the dimension, its size."""
    d = axis(op, dim, max(checks.tensor(op, x).ndim, 1))
    if x.array.dtype.kind == "f":
        floating(op, x)
    return (x, d, x.array.shape[d]) if x.ndim else (x.reshape(1), 0, 1)


def cummax(input: Any, dim: int) -> ValuesIndices:
    """The greatest element so far along `dim`, and where it stood, the last of equals; nan from the first nan on."""
    return _extreme_so_far("max", input, dim)


def cummin(input: Any, dim: int) -> ValuesIndices:
    """The least element so far along `dim`, and where it stood, the last of equals; nan from the first nan on."""
    return _extreme_so_far("min", input, dim)


def _extreme_so_far(name: str, x: Any, dim: int) -> ValuesIndices:
    d = axis("cum" + name, dim, max(checks.tensor("cum" + name, x).ndim, 1))
    if x.array.dtype.kind == "f":
        floating("cum" + name, x)
    if not x.ndim:
        return ValuesIndices(x.clone(), TensorBase.result(np.zeros((), np.int64)))
    index = kernels(x.array).scan("arg" + name, x.array, d)
    return ValuesIndices(Gather.apply(x, d, index), TensorBase.result(index))


def sort(input: Any, dim: int = -1, descending: bool = False, stable: bool = False) -> ValuesIndices:
    """(values in order along `dim`, where they stood); equal elements stay in order whether `stable` is asked for or not.

    >>> import convkit
    >>> values, indices = convkit.sort(convkit.tensor([3.0, 1.0, 2.0]))
    >>> values.tolist(), indices.tolist()
    ([1.0, 2.0, 3.0], [1, 2, 0])
    """
    shape = checks.tensor("sort", input).array.shape
    input, d, _ = _axis_and_size("sort", input, dim)
    values, indices = _by_place(input, kernels(input.array).argsort(input.array, d, bool(descending)), d)
    return ValuesIndices(values.reshape(shape), indices.reshape(shape)) if not shape else ValuesIndices(values, indices)


def argsort(input: Any, dim: int = -1, descending: bool = False, stable: bool = False) -> Any:
    """The indices (int64) that put input in order along `dim`."""
    y, d, _ = _axis_and_size("argsort", input, dim)
    return TensorBase.result(kernels(y.array).argsort(y.array, d, bool(descending)).reshape(input.array.shape))


def topk(input: Any, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> ValuesIndices:
    """(the k greatest elements along `dim`, where they stood), or the k least; in order whether `sorted` is asked for or not."""
    shape = checks.tensor("topk", input).array.shape
    input, d, n = _axis_and_size("topk", input, dim)
    k = checks.whole("topk", "k", k)
    if not 0 <= k <= n:
        raise ValueError(f"topk: k must be 0 to {n}, the size of dimension {d}, got {k}")
    values, indices = _by_place(input, kernels(input.array).argsort(input.array, d, bool(largest), int(k)), d)
    return ValuesIndices(values.reshape(()), indices.reshape(())) if not shape and k else ValuesIndices(values, indices)


def kthvalue(input: Any, k: int, dim: int = -1, keepdim: bool = False) -> ValuesIndices:
    """(the k-th least element along `dim`, counted from 1, where it stood)."""
    own = checks.tensor("kthvalue", input).ndim
    input, d, n = _axis_and_size("kthvalue", input, dim)
    if not 1 <= checks.whole("kthvalue", "k", k) <= n:
        raise ValueError(f"kthvalue: k must be 1 to {n}, the size of dimension {d}, got {k}")
    index = np.take(kernels(input.array).argsort(input.array, d, False, int(k)), [k - 1], d)
    return _by_place(input, index, d, keepdim and bool(own))


def median(input: Any, dim: int | None = None, keepdim: bool = False) -> Any:
    """The lower of the middle elements; nan if one is nan.  With `dim`, (values, indices); without, of all, where equals share the gradient."""
    checks.tensor("median", input)
    if dim is None:
        flat = flatten(input).array
        if not flat.size:
            raise ValueError("median: the middle of nothing is undefined")
        value = checks.array(np.partition(flat, (flat.size - 1) // 2)[(flat.size - 1) // 2])
        if flat.dtype.kind == "f" and np.isnan(flat).any():
            value = np.full_like(value, np.nan)
        return Chosen.apply(input, value) if input.requires_grad else TensorBase.result(value)
    own = input.ndim
    input, d, n = _axis_and_size("median", input, dim)
    if not n:
        raise ValueError(f"median: the middle of nothing is undefined; the input has shape {list(input.array.shape)}")
    middle = (n - 1) // 2
    lines = kernels(input.array).contiguous(np.moveaxis(input.array, d, -1))
    value = np.moveaxis(np.partition(lines, middle)[..., middle : middle + 1], -1, d)
    index = (input.array == value).argmax(d, keepdims=True)  # comparing takes a tenth of the time of moving indices about
    if input.array.dtype.kind == "f":
        lost = np.isnan(input.array)
        index = np.where(lost.any(d, keepdims=True), lost.argmax(d, keepdims=True), index)
    return _by_place(input, index, d, keepdim and bool(own))


def unique(input: Any, sorted: bool = True, return_inverse: bool = False, return_counts: bool = False, dim: int | None = None) -> Any:
    """The different elements in order (or slices along `dim`), then, as asked, where each element is among them, and how often each occurs."""
    checks.tensor("unique", input)
    d = None if dim is None else axis("unique", dim, input.ndim)
    # Asked for nothing else NumPy hashes elements, which takes ten to a hundred times as long as to sort them.
    told: Any = {"return_inverse": return_inverse, "return_counts": True, "axis": d, "equal_nan": False}
    found = np.unique(input.array, **told)
    if not (return_inverse or return_counts):
        return TensorBase.result(found[0])
    found = found if return_counts else found[:-1]
    return tuple(TensorBase.result(f if i == 0 else f.astype(np.int64)) for i, f in enumerate(found))


def bincount(input: Any, weights: Any = None, minlength: int = 0) -> Any:
    """How often each of 0, 1, 2 ... occurs in a vector of integers, or the sum of the `weights` where it does (float64)."""
    a = checks.tensor("bincount", input).array
    text = f"bincount: needs a vector of integers that are not negative, got {a.dtype} of shape {list(a.shape)}"
    if a.ndim != 1 or a.dtype.kind not in "iu":
        raise ValueError(text)
    a, _ = kernels(a).inside(a, 0, 2**63 - 1, ValueError, text)
    highest = int(kernels(a).amax(a, (0,), False)) if a.size else 0
    geometry.fits("bincount", (max(checks.whole("bincount", "minlength", minlength, 0), highest + 1),))
    if weights is not None and checks.tensor("bincount: weights", weights).array.shape != a.shape:
        raise ValueError(f"bincount: weights must have the input's shape {list(a.shape)}, got {list(weights.array.shape)}")
    counts = np.bincount(a, None if weights is None else weights.array, minlength)
    return TensorBase.result(counts.astype(np.float32) if weights is not None and weights.array.dtype == np.float32 else counts)
