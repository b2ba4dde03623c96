"""Comparison, logic and bits: results are booleans or integers, so nothing here has a gradient."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..autograd import TensorBase
from ..device import kernels
from . import checks
from .elementwise import Operand, check_broadcast, decisive, operands
from .reduce import axes


def _array(name: str, v: Any) -> Any:
    """What a tensor holds, or a list as an array; numbers and arrays as they are."""
    if isinstance(v, TensorBase):
        return v.array
    try:
        found = np.asarray(v) if isinstance(v, (list, tuple)) else v
    except ValueError:
        found = None
    if not isinstance(found, (np.ndarray, np.generic, int, float)) or getattr(found, "dtype", np.dtype(bool)).kind not in "biuf":
        raise TypeError(f"{name}: needs tensors, arrays or numbers, got {v!r}")
    return found


def _binary(name: str, a: Operand, b: Operand) -> Any:
    """A row of the kernels' table `binary`, in the dtype that the operands have in common."""
    a, b = operands(name, _array(name, a), _array(name, b))
    check_broadcast(name, a, b)
    return TensorBase.result(kernels(decisive(a, b)).binary(name, a, b))


def _comparison(name: str, text: str) -> Any:
    def function(input: Any, other: Any) -> Any:
        return _binary(name, input, other)

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
def _truth(name: str, v: Any) -> Any:
    v = _array(name, v)
    return v if isinstance(v, np.ndarray) and v.dtype == np.bool_ else checks.array(v).astype(np.bool_)


def logical_and(input: Any, other: Any) -> Any:
    """Are both not zero?"""
    return _binary("logical_and", _truth("logical_and", input), _truth("logical_and", other))


def logical_or(input: Any, other: Any) -> Any:
    """Is one not zero?"""
    return _binary("logical_or", _truth("logical_or", input), _truth("logical_or", other))


def logical_xor(input: Any, other: Any) -> Any:
    """Is just one not zero?"""
    return _binary("logical_xor", _truth("logical_xor", input), _truth("logical_xor", other))


def logical_not(input: Any) -> Any:
    """Which elements are zero."""
    return _which("logical_not", input)


# -------------------------------------------------------------------------------------------- bits
def _bits(name: str, a: Any, b: Any) -> Any:
    for v in (a, b):
        dtype = checks.array(_array(name, v)).dtype
        if dtype.kind not in "iub":
            raise TypeError(f"{name}: needs integers or booleans, got {dtype}")
    return _binary(name, a, b)


def bitwise_and(input: Any, other: Any) -> Any:
    """Bits that are set in both."""
    return _bits("bitwise_and", input, other)


def bitwise_or(input: Any, other: Any) -> Any:
    """Bits that are set in one or both."""
    return _bits("bitwise_or", input, other)


def bitwise_xor(input: Any, other: Any) -> Any:
    """Bits that are set in just one."""
    return _bits("bitwise_xor", input, other)


def bitwise_left_shift(input: Any, other: Any) -> Any:
    """input with its bits moved up by `other` places."""
    return _bits("bitwise_left_shift", input, other)


def bitwise_right_shift(input: Any, other: Any) -> Any:
    """input with its bits moved down by `other` places, keeping the sign."""
    return _bits("bitwise_right_shift", input, other)


def bitwise_not(input: Any) -> Any:
    """Every bit turned over; not, for booleans."""
    if checks.tensor("bitwise_not", input).array.dtype.kind not in "iub":
        raise TypeError(f"bitwise_not: needs integers or booleans, got {input.dtype}")
    return TensorBase.result(kernels(input.array).unary("bitwise_not", input.array))


# ----------------------------------------------------------------------------------- what they are
def _which(name: str, x: Any) -> Any:
    return TensorBase.result(kernels(checks.tensor(name, x).array).unary(name, x.array))


def isnan(input: Any) -> Any:
    """Which elements are nan."""
    return _which("isnan", input)


def isinf(input: Any) -> Any:
    """Which elements are infinite."""
    return _which("isinf", input)


def isfinite(input: Any) -> Any:
    """Which elements are neither nan nor infinite."""
    return _which("isfinite", input)


def signbit(input: Any) -> Any:
    """Which elements have a minus sign, -0 among them."""
    return _which("signbit", input)


def isclose(input: Any, other: Any, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> Any:
    """Where |input - other| <= atol + rtol |other|; infinities are close to themselves, and nan to nan if `equal_nan`."""
    if not isinstance(input, TensorBase) or not isinstance(other, TensorBase):
        raise TypeError(f"isclose: needs two tensors, got {type(input).__name__} and {type(other).__name__}")
    if input.array.dtype != other.array.dtype:
        raise TypeError(f"isclose: needs two tensors of one dtype, got {input.dtype} and {other.dtype}")
    if not (checks.number("isclose", "rtol", rtol) >= 0 and checks.number("isclose", "atol", atol) >= 0):
        raise ValueError(f"isclose: rtol and atol must not be negative, got {rtol} and {atol}")
    check_broadcast("isclose", input.array, other.array)
    return TensorBase.result(checks.array(np.isclose(input.array, other.array, rtol, atol, equal_nan)))


def allclose(input: Any, other: Any, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> bool:
    """Are all elements close, as `isclose` says?"""
    return bool(isclose(input, other, rtol, atol, equal_nan).array.all())


def equal(input: Any, other: Any) -> bool:
    """Have two tensors the same shape and elements?"""
    checks.tensor("equal", input), checks.tensor("equal", other)
    return input.array.shape == other.array.shape and bool((input.array == other.array).all())


def all(input: Any, dim: Any = None, keepdim: bool = False) -> Any:
    """Are all elements along `dim` (an int, several, or all) not zero?"""
    return _truths(np.all, "all", input, dim, keepdim)


def any(input: Any, dim: Any = None, keepdim: bool = False) -> Any:
    """Is one element along `dim` (an int, several, or all) not zero?"""
    return _truths(np.any, "any", input, dim, keepdim)


def _truths(test: Any, op: str, x: Any, dim: Any, keepdim: bool) -> Any:
    y = checks.array(test(checks.tensor(op, x).array, axis=axes(op, dim, x.ndim), keepdims=bool(keepdim)))
    return TensorBase.result(y.astype(np.uint8) if x.array.dtype == np.uint8 else y)  # torch's uint8 was once its boolean
