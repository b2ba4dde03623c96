"""The array API standard's names for tensor functions, for libraries written against it: `x.__array_namespace__()` gives this module.

Where torch says `dim`, the standard says `axis`.  einops, for one, rearranges tensors through it:

>>> import convkit, einops.array_api
>>> einops.array_api.rearrange(convkit.arange(6), "(a b) -> b a", a=2).tolist()
[[0, 3], [1, 4], [2, 5]]
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..ops import arrange, compare, elementwise, functions, matmul, reduce, shape
from ..ops import creation as make
from ..tensor import Tensor

bool, uint8, int8, int16, int32, int64 = (np.dtype(n) for n in ("bool", "uint8", "int8", "int16", "int32", "int64"))
float32, float64 = np.dtype("float32"), np.dtype("float64")
e, pi, inf, nan, newaxis = np.e, np.pi, np.inf, np.nan, None

# The same under both names.
abs, acos, acosh, asin, asinh = functions.abs, functions.acos, functions.acosh, functions.asin, functions.asinh
atan, atan2, atanh, ceil, cos, cosh = functions.atan, elementwise.atan2, functions.atanh, functions.ceil, functions.cos, functions.cosh
exp, expm1, floor, log, log10, log1p = functions.exp, functions.expm1, functions.floor, functions.log, functions.log10, functions.log1p
log2, negative, positive, round, sign = functions.log2, functions.neg, functions.positive, functions.round, functions.sign
sin, sinh, sqrt, square, tan, trunc = functions.sin, functions.sinh, functions.sqrt, functions.square, functions.tan, functions.trunc
add, divide, floor_divide, multiply, subtract = elementwise.add, elementwise.div, elementwise.floor_divide, elementwise.mul, elementwise.sub
maximum, minimum, pow, remainder, where = elementwise.maximum, elementwise.minimum, elementwise.pow, elementwise.remainder, elementwise.where
equal, greater, greater_equal, less, less_equal, not_equal = compare.eq, compare.gt, compare.ge, compare.lt, compare.le, compare.ne
isfinite, isinf, isnan = compare.isfinite, compare.isinf, compare.isnan
logical_and, logical_not, logical_or, logical_xor = compare.logical_and, compare.logical_not, compare.logical_or, compare.logical_xor
bitwise_and, bitwise_or, bitwise_xor, bitwise_invert = compare.bitwise_and, compare.bitwise_or, compare.bitwise_xor, compare.bitwise_not
asarray, from_dlpack, arange, eye, linspace = make.as_tensor, make.from_dlpack, make.arange, make.eye, make.linspace
zeros, ones, empty, full = make.zeros, make.ones, make.empty, make.full
zeros_like, ones_like, empty_like, full_like = make.zeros_like, make.ones_like, make.empty_like, make.full_like
broadcast_to, reshape, permute_dims, moveaxis = shape.broadcast_to, shape.reshape, shape.permute, arrange.movedim
tril, triu, unstack, meshgrid, tile, roll = arrange.tril, arrange.triu, arrange.unbind, arrange.meshgrid, arrange.tile, arrange.roll


def _named_axis(function: Any) -> Any:
    def renamed(x: Any, /, *, axis: Any = None, keepdims: Any = False, **options: Any) -> Any:
        return function(x, dim=axis, keepdim=keepdims, **options)

    renamed.__name__ = renamed.__qualname__ = function.__name__
    renamed.__doc__ = (function.__doc__ or "").replace("`dim`", "`axis`")
    return renamed


sum, mean, all, any = _named_axis(reduce.sum), _named_axis(reduce.mean), _named_axis(compare.all), _named_axis(compare.any)
argmax, argmin = _named_axis(reduce.argmax), _named_axis(reduce.argmin)
max, min = _named_axis(reduce.amax), _named_axis(reduce.amin)


def prod(x: Any, /, *, axis: Any = None, keepdims: Any = False, dtype: Any = None) -> Any:
    """Product over `axis`, one or several, or of all elements."""
    if not isinstance(axis, (tuple, list)):
        return reduce.prod(x, axis, keepdims, dtype=dtype)
    for a in sorted(reduce.axes("prod", tuple(axis), x.ndim), reverse=True):
        x = reduce.prod(x, a, keepdims, dtype=dtype)
    return x


def concat(arrays: Sequence[Any], /, *, axis: int | None = 0) -> Any:
    """Tensors joined along `axis`, or, without one, flattened first."""
    return shape.cat([shape.ravel(a) for a in arrays] if axis is None else arrays, axis or 0)


def stack(arrays: Sequence[Any], /, *, axis: int = 0) -> Any:
    """Tensors joined along a new dimension."""
    return shape.stack(arrays, axis)


def expand_dims(x: Any, /, *, axis: int = 0) -> Any:
    """With a new dimension of size 1."""
    return shape.unsqueeze(x, axis)


def squeeze(x: Any, /, axis: Any) -> Any:
    """Without dimensions of size 1."""
    return shape.squeeze(x, axis)


def flip(x: Any, /, *, axis: Any = None) -> Any:
    """Dimensions backwards; all of them without `axis`."""
    return arrange.flip(x, tuple(range(x.ndim)) if axis is None else axis)


def astype(x: Any, dtype: Any, /) -> Any:
    """In another dtype."""
    return x.to(dtype)


def matrix_transpose(x: Any, /) -> Any:
    """The last two dimensions exchanged."""
    return x.mT


matmul = matmul.matmul  # type: ignore[assignment]


def _namespace(self: Tensor, *, api_version: str | None = None) -> Any:
    """The module with the array API standard's functions."""
    return sys.modules[__name__]


Tensor.__array_namespace__ = _namespace  # type: ignore[attr-defined]
