"""Operations element by element.

    arithmetic   add, sub, mul, div, maximum, minimum, pow, neg, abs, sqrt, sign     y = a op b, with broadcasting
    functions    exp, log, clamp, where
    gradients    clamp_grad                                                          gx from gy and x

Arithmetic rounds as IEEE 754 says, so it does not matter who does it: NumPy where the arrays are small or oddly shaped,
a parallel kernel where they are large.  The functions always run in a kernel: their last bit must not depend on the size.

Results have the memory order of the first operand that has the result's shape.  Operands in another order are copied to it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numba import prange

from ..layout import flat, normal, order_of
from . import mathfunctions as m
from .runtime import kernel

# Elements that one thread takes at a time: 16 KB of float32, so that three operands fit the first cache.
CHUNK = 4096
# From this many elements on, two threads beat NumPy's one.
LARGE = 32768

Operand = np.ndarray | float


# ------------------------------------------------------------------------------- operands in memory
def dense(a: np.ndarray) -> np.ndarray:
    """`a` if its elements fill one block of memory that kernels can read, else a copy in the nearest such order."""
    a = normal(a)
    return a if a.flags.c_contiguous or order_of(a) is not None else a.copy(order="K")


def line(a: np.ndarray) -> np.ndarray:
    """The elements of a dense `a` in memory order, as one contiguous axis for a kernel to read."""
    view = flat(a)
    if view is None:
        raise ValueError("line: the array is not dense")  # a mistake in a kernel's caller
    return view


def in_order_of(a: np.ndarray, like: np.ndarray) -> np.ndarray:
    """`a`, of the shape of the dense array `like`, in its memory order: `a` itself or a copy."""
    a = normal(a)
    if a.strides == like.strides and a.itemsize == like.itemsize or order_of(a) == order_of(like):
        return a
    out = np.empty_like(like, dtype=a.dtype)
    out[...] = a
    return out


# --------------------------------------------------------------------------------------- functions
def _function(formula: Callable) -> Callable:
    """The kernel y = formula(x)."""

    def run(x, y):
        for chunk in prange((x.size + CHUNK - 1) // CHUNK):
            part = x[chunk * CHUNK : (chunk + 1) * CHUNK]
            out = y[chunk * CHUNK : (chunk + 1) * CHUNK]
            for i in range(part.size):
                out[i] = formula(part[i])

    run.__name__ = run.__qualname__ = formula.__name__
    run.__module__ = __name__
    return kernel(run)


def _map(run: Callable, x: np.ndarray) -> np.ndarray:
    x = dense(x)
    y = np.empty_like(x)
    run(line(x), flat(y))
    return y


_exp = _function(m.exp)
_log = _function(m.log)


def exp(x: np.ndarray) -> np.ndarray:
    """e to the power x."""
    return _map(_exp, x)


def log(x: np.ndarray) -> np.ndarray:
    """Natural logarithm; -inf at 0, NaN below."""
    return _map(_log, x)


@kernel
def _clamp(x, low, high, y):
    for chunk in prange((x.size + CHUNK - 1) // CHUNK):
        part = x[chunk * CHUNK : (chunk + 1) * CHUNK]
        out = y[chunk * CHUNK : (chunk + 1) * CHUNK]
        for i in range(part.size):
            out[i] = m.minimum(m.maximum(part[i], low), high)


def clamp(x: np.ndarray, low: float | None, high: float | None) -> np.ndarray:
    """min(max(x, low), high); None is no bound; NaN stays NaN."""
    if x.dtype.kind != "f":
        return np.clip(x, low, high)
    x = dense(x)
    y = np.empty_like(x)
    number = x.dtype.type
    _clamp(line(x), number(-np.inf if low is None else low), number(np.inf if high is None else high), flat(y))
    return y


# --------------------------------------------------------------------------------------- gradients
@kernel
def _clamp_grad(gy, x, low, high, gx):
    zero = x.dtype.type(0)
    for chunk in prange((gx.size + CHUNK - 1) // CHUNK):
        g = gy[chunk * CHUNK : (chunk + 1) * CHUNK]
        part = x[chunk * CHUNK : (chunk + 1) * CHUNK]
        out = gx[chunk * CHUNK : (chunk + 1) * CHUNK]
        for i in range(out.size):
            value = g[i]
            out[i] = value if (part[i] >= low) & (part[i] <= high) else zero


def clamp_grad(gy: np.ndarray, x: np.ndarray, low: float | None, high: float | None) -> np.ndarray:
    """gy where low <= x <= high, 0 elsewhere and where x is NaN; None is no bound."""
    gy = dense(gy)
    x = in_order_of(x, gy)
    gx = np.empty_like(gy)
    number = x.dtype.type
    _clamp_grad(line(gy), line(x), number(-np.inf if low is None else low), number(np.inf if high is None else high), flat(gx))
    return gx


# -------------------------------------------------------------------------------------- arithmetic
# The table of the operations that a kernel shares with NumPy: the numbers tell the kernel which one it is.
_ADD, _SUB, _MUL, _DIV, _MAXIMUM, _MINIMUM = range(6)


@kernel
def _arithmetic(operation, a, b, y, size, a_repeats, b_repeats):
    # y = a op b over flat memory, `size` elements at a time.  A repeated operand has just `size` elements, the same for
    # all parts: a number written `size` times, or channel vectors side by side.
    for chunk in prange((y.size + size - 1) // size):
        low, high = chunk * size, min((chunk + 1) * size, y.size)
        out = y[low:high]
        p = a[: high - low] if a_repeats else a[low:high]
        q = b[: high - low] if b_repeats else b[low:high]
        if operation == _ADD:
            for i in range(out.size):
                out[i] = p[i] + q[i]
        elif operation == _SUB:
            for i in range(out.size):
                out[i] = p[i] - q[i]
        elif operation == _MUL:
            for i in range(out.size):
                out[i] = p[i] * q[i]
        elif operation == _DIV:
            for i in range(out.size):
                out[i] = m.divide(p[i], q[i])
        elif operation == _MAXIMUM:
            for i in range(out.size):
                out[i] = m.maximum(p[i], q[i])
        else:
            for i in range(out.size):
                out[i] = m.minimum(p[i], q[i])


@kernel
def _choose(condition, a, b, y, size, condition_repeats, a_repeats, b_repeats):
    # y = a where condition, else b; parts and repeats as in `_arithmetic`.
    for chunk in prange((y.size + size - 1) // size):
        low, high = chunk * size, min((chunk + 1) * size, y.size)
        out = y[low:high]
        t = condition[: high - low] if condition_repeats else condition[low:high]
        p = a[: high - low] if a_repeats else a[low:high]
        q = b[: high - low] if b_repeats else b[low:high]
        for i in range(out.size):
            yes, no = p[i], q[i]
            out[i] = yes if t[i] else no


def _binary(ufunc: np.ufunc, operation: int, a: Operand, b: Operand) -> np.ndarray:
    like = a if not isinstance(b, np.ndarray) or (isinstance(a, np.ndarray) and a.size >= b.size) else b
    if like.size >= LARGE and like.dtype.kind == "f":  # type: ignore[union-attr]
        like = dense(like)  # type: ignore[arg-type]
        lines = _lines((a, b), like, (like.dtype, like.dtype))
        if lines is not None:
            y = np.empty_like(like)
            _arithmetic(operation, *lines[0], flat(y), *lines[1:])
            return y
    return _by_numpy(ufunc, a, b)


def _lines(operands: Sequence[Operand], like: np.ndarray, dtypes: Sequence[np.dtype]) -> tuple[Any, ...] | None:
    """The operands flat in the memory order of `like`, the part size, and for each operand whether it repeats from part to part.

    None where a kernel cannot walk them together: other types than `dtypes`, or too few repetitions to share among threads (a channel
    vector repeats from pixel to pixel in channels-last memory, and from image to image in C order).
    """
    size = CHUNK
    patterns: list[np.ndarray | None] = []  # what repeats, None for a full operand
    for operand, dtype in zip(operands, dtypes, strict=True):
        if not isinstance(operand, np.ndarray):
            patterns.append(np.full(1, operand, dtype))
            continue
        if operand.dtype != dtype or operand.ndim > like.ndim:
            return None
        if operand.shape == like.shape:
            patterns.append(None)
            continue
        aligned = normal(operand).reshape((1,) * (like.ndim - operand.ndim) + operand.shape)
        if any(n not in (1, full) for n, full in zip(aligned.shape, like.shape, strict=True)):
            return None
        # In memory order, the axes before the first along which the operand varies are those over which it repeats; it is written
        # out over the others, if it is constant along some.
        order = order_of(like) or ()
        first = next((i for i, axis in enumerate(order) if aligned.shape[axis] != 1), len(order))
        inner = order[first:]
        rest = tuple(axis for axis in range(like.ndim) if axis not in inner)
        pattern = aligned.transpose(rest + inner).reshape([aligned.shape[axis] for axis in inner])
        pattern = np.broadcast_to(pattern, [like.shape[axis] for axis in inner]).reshape(-1)
        if pattern.size > 1:
            if size not in (CHUNK, pattern.size * max(1, CHUNK // pattern.size)) or pattern.size > like.size // 4:
                return None  # two lengths, or too few parts to share among threads
            size = pattern.size * max(1, CHUNK // pattern.size)
        patterns.append(pattern)
    if all(pattern is not None for pattern in patterns):
        return None
    lines = []
    for operand, repeated in zip(operands, patterns, strict=True):
        if repeated is None:
            lines.append(line(in_order_of(operand, like)))  # type: ignore[arg-type]
        else:
            lines.append(np.tile(repeated, size // repeated.size))
    return lines, size, *(pattern is not None for pattern in patterns)


def _by_numpy(ufunc: Callable, a: Operand, b: Operand) -> np.ndarray:
    with np.errstate(all="ignore"):
        y = np.asarray(ufunc(a, b))
    if y.ndim < 2 or (isinstance(a, np.ndarray) and isinstance(b, np.ndarray) and a.strides == b.strides):
        return y
    # NumPy chooses C order where its operands disagree.
    for operand in (a, b):
        if isinstance(operand, np.ndarray) and operand.shape == y.shape:
            order = order_of(operand)
            if order is not None and order != order_of(y):
                out = np.empty_like(operand, dtype=y.dtype)
                out[...] = y
                return out
            break
    return y


def add(a: Operand, b: Operand) -> np.ndarray:
    """a + b, broadcast against each other."""
    return _binary(np.add, _ADD, a, b)


def sub(a: Operand, b: Operand) -> np.ndarray:
    """a - b, broadcast against each other."""
    return _binary(np.subtract, _SUB, a, b)


def mul(a: Operand, b: Operand) -> np.ndarray:
    """a b, broadcast against each other."""
    return _binary(np.multiply, _MUL, a, b)


def div(a: Operand, b: Operand) -> np.ndarray:
    """a / b, broadcast against each other; integers give float64."""
    return _binary(np.true_divide, _DIV, a, b)


def maximum(a: Operand, b: Operand) -> np.ndarray:
    """The larger of a and b, broadcast against each other; NaN where either is NaN."""
    return _binary(np.maximum, _MAXIMUM, a, b)


def minimum(a: Operand, b: Operand) -> np.ndarray:
    """The smaller of a and b, broadcast against each other; NaN where either is NaN."""
    return _binary(np.minimum, _MINIMUM, a, b)


def pow(a: Operand, b: Operand) -> np.ndarray:
    """a to the power b, broadcast against each other; NaN for a negative number to a fraction."""
    if isinstance(a, np.ndarray) and a.dtype.kind == "f" and np.ndim(b) == 0:
        if b == 2:
            return mul(a, a)  # correctly rounded, as the general power is at best
        if b == -1:
            return div(a.dtype.type(1), a)
    return _by_numpy(np.power, a, b)


def neg(x: np.ndarray) -> np.ndarray:
    """-x."""
    return np.asarray(np.negative(x))


def abs(x: np.ndarray) -> np.ndarray:
    """The absolute value of x."""
    return np.asarray(np.absolute(x))


def sqrt(x: np.ndarray) -> np.ndarray:
    """Square root; NaN below 0."""
    with np.errstate(invalid="ignore"):
        return np.asarray(np.sqrt(x))


def sign(x: np.ndarray) -> np.ndarray:
    """-1, 0 or 1 with the sign of x; NaN for NaN."""
    with np.errstate(invalid="ignore"):
        return np.asarray(np.sign(x))


def where(condition: np.ndarray, a: Operand, b: Operand) -> np.ndarray:
    """a where `condition` (bool) holds, b elsewhere, all three broadcast against each other."""
    operands = [np.asarray(o) for o in (condition, a, b)]
    shape = np.broadcast(*operands).shape
    like = next((o for o in operands if o.shape == shape), None)
    dtype = next((o.dtype for o in (a, b) if isinstance(o, np.ndarray)), operands[1].dtype)
    if like is not None and like.size >= LARGE and dtype.kind == "f":
        like = dense(like)
        lines = _lines((condition, a, b), like, (np.dtype(bool), dtype, dtype))
        if lines is not None:
            y = np.empty_like(like, dtype=dtype)
            _choose(*lines[0], flat(y), *lines[1:])
            return y
    y = np.where(condition, a, b)
    return y if like is None or order_of(like) is None else in_order_of(y, like)


# -------------------------------------------------------------------------------------- two tables
# What no training loop waits for: NumPy's loops, each a row, so that a backend has two functions to write and not fifty.
_UNARY: dict[str, Callable] = {
    "acos": np.arccos, "acosh": np.arccosh, "asin": np.arcsin, "asinh": np.arcsinh, "atan": np.arctan, "atanh": np.arctanh,
    "bitwise_not": np.invert, "ceil": np.ceil, "cos": np.cos, "cosh": np.cosh, "exp2": np.exp2, "expm1": np.expm1, "floor": np.floor,
    "isfinite": np.isfinite, "isinf": np.isinf, "isnan": np.isnan, "log10": np.log10, "log1p": np.log1p, "log2": np.log2,
    "logical_not": np.logical_not, "round": np.rint, "signbit": np.signbit, "sin": np.sin, "sinh": np.sinh, "tan": np.tan, "trunc": np.trunc,
}  # fmt: skip


def _div_trunc(a: Any, b: Any) -> Any:
    quotient = np.true_divide(a, b)
    return np.trunc(quotient) if np.result_type(a, b).kind == "f" else (a - np.fmod(a, b)) // b


_BINARY: dict[str, Callable] = {
    "atan2": np.arctan2, "bitwise_and": np.bitwise_and, "bitwise_left_shift": np.left_shift, "bitwise_or": np.bitwise_or,
    "bitwise_right_shift": np.right_shift, "bitwise_xor": np.bitwise_xor, "div_trunc": _div_trunc, "eq": np.equal,
    "floor_divide": np.floor_divide, "fmod": np.fmod, "ge": np.greater_equal, "gt": np.greater, "le": np.less_equal,
    "logical_and": np.logical_and, "logical_or": np.logical_or, "logical_xor": np.logical_xor, "lt": np.less, "ne": np.not_equal,
    "remainder": np.remainder,
}  # fmt: skip


def unary(name: str, x: np.ndarray) -> np.ndarray:
    """The function `name` of each element; for arguments outside its domain, NaN."""
    with np.errstate(all="ignore"):
        return np.asarray(_UNARY[name](x))


def binary(name: str, a: Operand, b: Operand) -> np.ndarray:
    """a `name` b, broadcast against each other; comparisons and logic give booleans."""
    return _by_numpy(_BINARY[name], a, b)
