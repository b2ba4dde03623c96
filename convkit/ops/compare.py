"""Comparison, logic and bits: results are booleans or integers, so nothing here has a gradient."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..autograd import TensorBase
from ..device import kernels
from .elementwise import Operand, check_broadcast, operands
from .reduce import axes


def _array(v: Any) -> Any:
    return v.array if isinstance(v, TensorBase) else np.asarray(v) if isinstance(v, (list, tuple)) else v


def _binary(name: str, a: Operand, b: Operand) -> Any:
    """A row of the kernels' table `binary`, in the dtype that the operands have in common."""
    a, b = operands(name, _array(a), _array(b))
    check_broadcast(name, a, b)
    return TensorBase.result(kernels(a if isinstance(a, np.ndarray) else b).binary(name, a, b))


def _comparison(name: str, text: str) -> Any:
    def function(a: Any, b: Any) -> Any:
        return _binary(name, a, b)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"{text}, element by element; nan compares as IEEE 754 says."
    return function


eq = _comparison("eq", "a == b")
ne = _comparison("ne", "a != b")
lt = _comparison("lt", "a < b")
le = _comparison("le", "a <= b")
gt = _comparison("gt", "a > b")
ge = _comparison("ge", "a >= b")


# ------------------------------------------------------------------------------------------- logic
def _truth(v: Any) -> Any:
    v = _array(v)
    return v if isinstance(v, np.ndarray) and v.dtype == np.bool_ else np.asarray(v).astype(np.bool_)


def logical_and(a: Any, b: Any) -> Any:
    """Are both not zero?"""
    return _binary("logical_and", _truth(a), _truth(b))


def logical_or(a: Any, b: Any) -> Any:
    """Is one not zero?"""
    return _binary("logical_or", _truth(a), _truth(b))


def logical_xor(a: Any, b: Any) -> Any:
    """Is just one not zero?"""
    return _binary("logical_xor", _truth(a), _truth(b))


def logical_not(x: Any) -> Any:
    """Which elements are zero."""
    return TensorBase.result(kernels(x.array).unary("logical_not", x.array))


# -------------------------------------------------------------------------------------------- bits
def _bits(name: str, a: Any, b: Any) -> Any:
    for v in (a, b):
        dtype = np.asarray(_array(v)).dtype
        if dtype.kind not in "iub":
            raise TypeError(f"{name}: needs integers or booleans, got {dtype}")
    return _binary(name, a, b)


def bitwise_and(a: Any, b: Any) -> Any:
    """Bits that are set in both."""
    return _bits("bitwise_and", a, b)


def bitwise_or(a: Any, b: Any) -> Any:
    """Bits that are set in one or both."""
    return _bits("bitwise_or", a, b)


def bitwise_xor(a: Any, b: Any) -> Any:
    """Bits that are set in just one."""
    return _bits("bitwise_xor", a, b)


def bitwise_left_shift(a: Any, b: Any) -> Any:
    """a with its bits moved up by b places."""
    return _bits("bitwise_left_shift", a, b)


def bitwise_right_shift(a: Any, b: Any) -> Any:
    """a with its bits moved down by b places, keeping the sign."""
    return _bits("bitwise_right_shift", a, b)


def bitwise_not(x: Any) -> Any:
    """Every bit turned over; not, for booleans."""
    if x.array.dtype.kind not in "iub":
        raise TypeError(f"bitwise_not: needs integers or booleans, got {x.dtype}")
    return TensorBase.result(kernels(x.array).unary("bitwise_not", x.array))


# ----------------------------------------------------------------------------------- what they are
def isnan(x: Any) -> Any:
    """Which elements are nan."""
    return TensorBase.result(kernels(x.array).unary("isnan", x.array))


def isinf(x: Any) -> Any:
    """Which elements are infinite."""
    return TensorBase.result(kernels(x.array).unary("isinf", x.array))


def isfinite(x: Any) -> Any:
    """Which elements are neither nan nor infinite."""
    return TensorBase.result(kernels(x.array).unary("isfinite", x.array))


def signbit(x: Any) -> Any:
    """Which elements have a minus sign, -0 among them."""
    return TensorBase.result(kernels(x.array).unary("signbit", x.array))


def isclose(a: Any, b: Any, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> Any:
    """Where |a - b| <= atol + rtol |b|; infinities are close to themselves, and nan to nan if `equal_nan`."""
    if not isinstance(a, TensorBase) or not isinstance(b, TensorBase):
        raise TypeError(f"isclose: needs two tensors, got {type(a).__name__} and {type(b).__name__}")
    if a.array.dtype != b.array.dtype:
        raise TypeError(f"isclose: needs two tensors of one dtype, got {a.dtype} and {b.dtype}")
    if not (rtol >= 0 and atol >= 0):
        raise ValueError(f"isclose: rtol and atol must not be negative, got {rtol} and {atol}")
    check_broadcast("isclose", a.array, b.array)
    return TensorBase.result(np.asarray(np.isclose(a.array, b.array, rtol, atol, equal_nan)))


def allclose(a: Any, b: Any, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> bool:
    """Are all elements close, as `isclose` says?"""
    return bool(isclose(a, b, rtol, atol, equal_nan).array.all())


def equal(a: Any, b: Any) -> bool:
    """Have two tensors the same shape and elements?"""
    return a.array.shape == b.array.shape and bool((a.array == b.array).all())


def all(x: Any, dim: Any = None, keepdim: bool = False) -> Any:
    """Are all elements along `dim` (an int, several, or all) not zero?"""
    return _truths(np.all, "all", x, dim, keepdim)


def any(x: Any, dim: Any = None, keepdim: bool = False) -> Any:
    """Is one element along `dim` (an int, several, or all) not zero?"""
    return _truths(np.any, "any", x, dim, keepdim)


def _truths(test: Any, op: str, x: Any, dim: Any, keepdim: bool) -> Any:
    y = np.asarray(test(x.array, axis=axes(op, dim, x.ndim), keepdims=keepdim))
    return TensorBase.result(y.astype(np.uint8) if x.array.dtype == np.uint8 else y)  # torch's uint8 was once its boolean
