"""Operations element by element.

    arithmetic   add, sub, mul, div, maximum, minimum, pow, neg, abs, sqrt, sign     y = a op b, with broadcasting
    functions    exp, log, clamp, where
    gradients    clamp_grad                                                          gx from gy and x

Arithmetic rounds as IEEE 754 says, so it does not matter who does it: NumPy where the arrays are small or oddly shaped,
a parallel kernel where they are large.  The functions always run in a kernel: their last bit must not depend on the size.

Results have the memory order of the first operand that has the result's shape.  Operands in another order are copied to it.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numba
import numpy as np
from numba import prange, types
from numba.extending import register_jitable

from ..layout import flat, normal, order_of
from . import mathfunctions as m
from . import tasks
from .copy import contiguous
from .microkernel import call_code
from .runtime import STRICT, kernel, native
from .tasks import by_elements, by_rows, data_of, wide

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
    order = order_of(like) or tuple(range(a.ndim))
    order = (*(i for i in range(a.ndim) if i not in order), *order)
    return contiguous(a.transpose(order)).transpose(sorted(range(a.ndim), key=order.__getitem__))


# ----------------------------------------------------------------------- a formula for each element
# What works element by element is a formula of one to three operands and the parameters a, b and c.  It compiles when it is first used, as
# a loop without threads that one parallel kernel, the same for all, calls for chunk after chunk: in a sixth of the time of a kernel of its own.
# Constants take the type of x: a bare 0.5 would turn float32 arithmetic into float64.

# A formula, of its own strict arithmetic; still a plain function of a module, so that the cache knows it again in another process.
formula = register_jitable(**STRICT)


def long_formula(row: Callable) -> Callable:
    """A formula that computes more than it moves: its loop has vectors as wide as the machine has them."""
    row.long = True  # type: ignore[attr-defined]
    return formula(row)


@kernel
def _in_chunks(function, alone, x, x_step, k, k_step, t, t_step, y, y_step, count, size, a, b, c):
    # Of y and the operands: the `id`, and bytes from one element to the next; from chunk to chunk 0 for what is the same for all.
    p, q, r, s = data_of(x), data_of(k), data_of(t), data_of(y)
    if alone:
        for i in range(0, count, size):
            call_code(function, (p + i * x_step, q + i * k_step, r + i * t_step, s + i * y_step, min(size, count - i), a, b, c))
    else:
        for chunk in prange((count + size - 1) // size):
            i = np.int64(chunk) * size
            call_code(function, (p + i * x_step, q + i * k_step, r + i * t_step, s + i * y_step, min(size, count - i), a, b, c))


@functools.cache
def _compiled(row: Callable, operands: int, first: np.dtype, other: np.dtype) -> int:
    """The address of a loop over the formula `row` for so many operands; `first` and `other` are the types of x and of all others."""

    long = getattr(row, "long", False)  # a constant of the loops: Numba compiles no branch that is never taken

    def one(x, k, t, y, count, a, b, c):
        if long:
            wide()
        number = type(y[0])
        p, q, r = number(a), number(b), number(c)
        for i in range(count):
            y[i] = row(x[i], p, q, r)

    def two(x, k, t, y, count, a, b, c):
        if long:
            wide()
        number = type(y[0])
        p, q, r = number(a), number(b), number(c)
        for i in range(count):
            y[i] = row(x[i], k[i], p, q, r)

    def three(x, k, t, y, count, a, b, c):
        if long:
            wide()
        number = type(y[0])
        p, q, r = number(a), number(b), number(c)
        for i in range(count):
            y[i] = row(x[i], k[i], t[i], p, q, r)

    loop = (one, two, three)[operands - 1]
    loop.__name__, loop.__module__ = row.__name__, row.__module__
    loop.__qualname__ = f"{row.__module__.rsplit('.', 1)[-1]}.{row.__name__}"  # names its file in the cache
    x, y = (types.CPointer(numba.from_dtype(dtype)) for dtype in (first, other))
    return native(loop, x, y, y, y, types.intp, types.float64, types.float64, types.float64)


def _run(
    row: Callable, lines: list[Any], y: np.ndarray, size: int, a: float = 0.0, b: float = 0.0, c: float = 0.0, steps: Sequence[int] = (),
) -> np.ndarray:  # fmt: skip
    # y = row(*lines, a, b, c) over memory.  What a row does not take is not read.  A line shorter than y is one chunk, the same for all.
    # `steps`: bytes from one number of a line to the next, counted from chunk to chunk.
    x, k, t, count = lines[0], lines[len(lines) > 1], lines[-1], y.size
    steps = steps or [line.itemsize if line.size == count else 0 for line in lines]
    function = _compiled(row, len(lines), x.dtype, y.dtype)
    alone = count <= size or 2 * count < tasks.LITTLE  # 2 nanoseconds an element
    _in_chunks(
        function, alone, id(x), steps[0], id(k), steps[len(lines) > 1], id(t), steps[-1], id(y), y.itemsize, count, size, float(a), float(b), float(c)
    )
    return y


def each(row: Callable, like: np.ndarray, operands: Sequence[np.ndarray], a: float = 0.0, b: float = 0.0, c: float = 0.0) -> np.ndarray:
    """row(*operands, a, b, c) element by element; operands have the shape and dtype of the dense array `like`, the result its memory order."""
    return _run(row, [operand if operand is like else _line_of(operand, like) for operand in operands], np.empty_like(like), CHUNK, a, b, c)


def broadcast(row: Callable, like: np.ndarray, operands: Sequence[np.ndarray]) -> np.ndarray:
    """As `each`, of operands that broadcast to `like`."""
    lines = _lines(operands, like, [like.dtype] * len(operands)) if like.size else None
    if lines is None:
        return each(row, like, [np.broadcast_to(operand, like.shape) if operand.shape != like.shape else operand for operand in operands])
    return _run(row, lines[0], np.empty_like(like), lines[1])


@functools.lru_cache(maxsize=1024)
def _runs(shape: tuple[int, ...], strides: tuple[int, ...], itemsize: int) -> tuple[tuple[int, ...], int, int] | None:
    """(axes in memory order, n, step) of memory in runs of n numbers, each n step bytes behind the last, as half of the channels lies; or None."""
    axes = tuple(sorted((i for i, size in enumerate(shape) if size != 1), key=lambda i: -strides[i]))
    n, outer = 1, len(axes)
    while outer and strides[axes[outer - 1]] == n * itemsize:
        outer -= 1
        n *= shape[axes[outer]]
    apart = strides[axes[outer - 1]] if outer else n * itemsize
    for i in reversed(axes[:outer]):
        if strides[i] != apart:
            return None
        apart *= shape[i]
    apart = strides[axes[outer - 1]] if outer else n * itemsize
    return None if apart < n * itemsize or apart % n else (axes, n, apart // n)


def in_runs(row: Callable, operands: Sequence[np.ndarray]) -> np.ndarray | None:
    """As `each`, of operands of one shape and type that may be parts of wholes, which are read where they are; None if they lie otherwise."""
    if not operands[0].size or any(o.shape != operands[0].shape or o.dtype != operands[0].dtype for o in operands):
        return None
    found = [_runs(o.shape, o.strides, o.itemsize) for o in operands]
    ways = [way for way in found if way is not None]
    sizes = {n for _, n, step in ways if step != operands[0].itemsize}
    if len(ways) < len(found) or len({axes for axes, _, _ in ways}) > 1 or len(sizes) != 1 or min(sizes) < 64:
        return None
    return _run(row, list(operands), np.empty_like(operands[0]), min(sizes), steps=[step for _, _, step in ways])


def _line_of(a: np.ndarray, like: np.ndarray) -> np.ndarray:
    # One number that was broadcast to an array is not written out but for one chunk.
    if a.size > CHUNK and not any(a.strides):
        return np.full(CHUNK, a[(0,) * a.ndim], like.dtype)
    return in_order_of(a, like)


# --------------------------------------------------------------------------------------- functions
@long_formula
def _exp(x, a, b, c):
    return m.exp(x)


@long_formula
def _log(x, a, b, c):
    return m.log(x)


@formula
def _clamp(x, a, b, c):
    return m.minimum(m.maximum(x, a), b)


@formula
def _clamp_grad(g, x, a, b, c):
    return g if (x >= a) & (x <= b) else type(g)(0)


@long_formula
def _log1p(x, a, b, c):
    return m.log1p(x)


@long_formula
def _atanh(x, a, b, c):
    # log((1 + s) / (1 - s)) / 2 with the sign of x, s = |x|
    size = math.fabs(x)
    return math.copysign(type(x)(0.5) * m.log1p((size + size) / (type(x)(1) - size)), x)


@formula
def _frac(x, a, b, c):
    return x - np.trunc(x)


@formula
def _rsqrt(x, a, b, c):
    return type(x)(1) / math.sqrt(x)


@formula
def _sign(x, a, b, c):
    one, zero = type(x)(1), type(x)(0)
    return one if x > zero else -one if x < zero else zero


@formula
def _cube(x, a, b, c):
    return x * x * x


def exp(x: np.ndarray) -> np.ndarray:
    """e to the power x."""
    x = dense(x)
    return each(_exp, x, [x])


def log(x: np.ndarray) -> np.ndarray:
    """Natural logarithm; -inf at 0, NaN below."""
    x = dense(x)
    return each(_log, x, [x])


def clamp(x: np.ndarray, low: float | None, high: float | None) -> np.ndarray:
    """min(max(x, low), high); None is no bound; NaN stays NaN."""
    if x.dtype.kind != "f":
        return np.clip(x, low, high)
    x = dense(x)
    return each(_clamp, x, [x], -math.inf if low is None else low, math.inf if high is None else high)


def clamp_grad(gy: np.ndarray, x: np.ndarray, low: float | None, high: float | None) -> np.ndarray:
    """gy where low <= x <= high, 0 elsewhere and where x is NaN; None is no bound."""
    gy = dense(gy)
    return each(_clamp_grad, gy, [gy, x], -math.inf if low is None else low, math.inf if high is None else high)


# -------------------------------------------------------------------------------------- arithmetic
@formula
def _add(x, k, a, b, c):
    return x + k


@formula
def _sub(x, k, a, b, c):
    return x - k


@formula
def _mul(x, k, a, b, c):
    return x * k


@formula
def _div(x, k, a, b, c):
    return m.divide(x, k)


@formula
def _maximum(x, k, a, b, c):
    return m.maximum(x, k)


@formula
def _minimum(x, k, a, b, c):
    return m.minimum(x, k)


@long_formula
def _fmod(x, k, a, b, c):
    # x - k trunc(x / k)
    return m.fmod(x, k)


@long_formula
def _remainder(x, k, a, b, c):
    # x - k floor(x / k), with the sign of k.
    zero, one = type(x)(0), type(x)(1)
    rest = math.fabs(m.fmod(x, k))
    other = math.fabs(k) - rest if math.copysign(one, x) * math.copysign(one, k) < zero else rest
    return math.copysign(rest if rest == zero else other, k)


@long_formula
def _floor_divide(x, k, a, b, c):
    # floor(x / k).  Where x / k, rounded, is a whole number, it may be one too many; (x - rest) / k is nearly one, but for large ones.
    quotient = m.divide(x, k)
    if (np.floor(quotient) != quotient) & (math.fabs(quotient) < type(x)(1048576)):
        return np.floor(quotient)
    zero, one = type(x)(0), type(x)(1)
    rest = m.fmod(x, k)
    less = one if math.copysign(one, x) * math.copysign(one, k) < zero else zero
    whole = (x - rest) / k - (zero if rest == zero else less)
    down = np.floor(whole)
    down += one if whole - down > type(x)(0.5) else zero
    down = math.copysign(zero, x / k) if whole == zero else down
    return x / k if k == zero else down


@formula
def _quotient(x, k, a, b, c):
    # trunc(x / k)
    return np.trunc(m.divide(x, k))


@formula
def _lerp(x, k, a, b, c):
    # x + a (k - x), from the nearer end.
    return x + a * (k - x) if a < type(x)(0.5) else k - (k - x) * (type(x)(1) - a)


@formula
def _lerp_by(x, k, t, a, b, c):
    return x + t * (k - x) if t < type(x)(0.5) else k - (k - x) * (type(x)(1) - t)


@formula
def _where(x, k, t, a, b, c):
    return k if x else t


def _binary(ufunc: Callable, row: Callable, a: Operand, b: Operand) -> np.ndarray:
    like = a if not isinstance(b, np.ndarray) or (isinstance(a, np.ndarray) and a.size >= b.size) else b
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray) and a.size >= LARGE and a.shape == b.shape and order_of(a) is None:
        like = b  # a part of a whole, as the gradient of what was joined is, is copied beside a dense operand
    # Where the memory of both has gaps, the copy that a kernel needs would take as long as NumPy's loop.
    if like.size >= LARGE and like.dtype.kind == "f" and order_of(like) is not None:  # type: ignore[union-attr, arg-type]
        like = normal(like)  # type: ignore[arg-type]
        lines = _lines((a, b), like, (like.dtype, like.dtype))
        if lines is not None:
            return _run(row, lines[0], np.empty_like(like), lines[1])
    return _by_numpy(ufunc, a, b)


def _lines(operands: Sequence[Operand], like: np.ndarray, dtypes: Sequence[np.dtype]) -> tuple[list[np.ndarray], int] | None:
    """The operands flat in the memory order of `like`, one that repeats for one chunk only, and the size of a chunk.

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
        lengths = [like.shape[axis] for axis in inner]
        length = math.prod(lengths)
        if length > 1:
            if size not in (CHUNK, length * max(1, CHUNK // length)) or length > like.size // 4:
                return None  # two lengths, or too few chunks to share among threads
            size = length * max(1, CHUNK // length)
        patterns.append(np.broadcast_to(pattern, lengths).reshape(-1))
    if all(pattern is not None for pattern in patterns):
        return None
    lines = []
    for operand, repeated in zip(operands, patterns, strict=True):
        if repeated is None:
            lines.append(in_order_of(operand, like))  # type: ignore[arg-type]
        else:
            lines.append(np.tile(repeated, size // repeated.size))
    return lines, size


def _by_numpy(ufunc: Callable, a: Operand, b: Operand) -> np.ndarray:
    if isinstance(ufunc, np.ufunc) and isinstance(a, np.ndarray) and isinstance(b, np.ndarray) and a.shape != b.shape:
        shape = np.broadcast_shapes(a.shape, b.shape)
        if shape not in (a.shape, b.shape) and math.prod(shape) >= 4 * tasks.PART:  # as the rows times the columns of an outer product
            return by_rows(ufunc, *np.broadcast_arrays(a, b))
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
    return _binary(np.add, _add, a, b)


def sub(a: Operand, b: Operand) -> np.ndarray:
    """a - b, broadcast against each other."""
    return _binary(np.subtract, _sub, a, b)


def mul(a: Operand, b: Operand) -> np.ndarray:
    """a b, broadcast against each other."""
    return _binary(np.multiply, _mul, a, b)


def div(a: Operand, b: Operand) -> np.ndarray:
    """a / b, broadcast against each other; integers give float64."""
    return _binary(np.true_divide, _div, a, b)


def maximum(a: Operand, b: Operand) -> np.ndarray:
    """The larger of a and b, broadcast against each other; NaN where either is NaN."""
    return _binary(np.maximum, _maximum, a, b)


def minimum(a: Operand, b: Operand) -> np.ndarray:
    """The smaller of a and b, broadcast against each other; NaN where either is NaN."""
    return _binary(np.minimum, _minimum, a, b)


def pow(a: Operand, b: Operand) -> np.ndarray:
    """a to the power b, broadcast against each other; NaN for a negative number to a fraction."""
    if isinstance(a, np.ndarray) and a.dtype.kind == "f" and np.ndim(b) == 0:
        if b == 2:
            return mul(a, a)  # correctly rounded, as the general power is at best
        if b == 3:
            a = dense(a)
            return each(_cube, a, [a])
        if b == -1:
            return div(a.dtype.type(1), a)
        if b == -2:
            return div(a.dtype.type(1), mul(a, a))
        if np.isfinite(b) and b != 0.5 and np.result_type(a, b) == a.dtype:  # the power 0.5 is the root
            return _power_of_size(a, float(b))
    if isinstance(b, np.ndarray) and np.ndim(a) == 0 and b.dtype.kind == "f" and np.result_type(a, b) == b.dtype:
        base = b.dtype.type(a)
        return by_elements(np.exp2 if base == 2 else functools.partial(np.power, base), b, b.dtype)
    return _by_numpy(np.power, a, b)


def _power_of_size(a: np.ndarray, b: float) -> np.ndarray:
    """a to the power b from |a|, as NumPy's power is fast for positive numbers only."""

    def power(x: np.ndarray, out: np.ndarray) -> None:
        np.absolute(x, out=out)
        np.power(out, x.dtype.type(b), out=out)
        if not b.is_integer():
            bits = out.view(f"i{out.itemsize}")  # all bits set are NaN; a choice by a mask would take four times as long
            bits |= -((x < 0) & (x > -np.inf)).astype(bits.dtype)
        elif b % 2:
            np.copysign(out, x, out=out)

    return by_elements(power, normal(a), a.dtype.newbyteorder("="))


def lerp(start: np.ndarray, end: np.ndarray, weight: Operand) -> np.ndarray:
    """start + weight (end - start), where `weight` is a number or an array; arrays have one shape and type."""
    start = dense(start)
    if isinstance(weight, np.ndarray):
        return each(_lerp_by, start, [start, end, weight])
    return each(_lerp, start, [start, end], weight)


def neg(x: np.ndarray) -> np.ndarray:
    """-x."""
    return by_elements(np.negative, x)


def abs(x: np.ndarray) -> np.ndarray:
    """The absolute value of x."""
    return by_elements(np.absolute, x)


def sqrt(x: np.ndarray) -> np.ndarray:
    """Square root; NaN below 0."""
    return by_elements(np.sqrt, x)


def sign(x: np.ndarray) -> np.ndarray:
    """-1, 0 or 1 with the sign of x; 0 for NaN."""
    if x.dtype.kind != "f":
        return np.asarray(np.sign(x))
    x = dense(x)
    return each(_sign, x, [x])


def where(condition: np.ndarray, a: Operand, b: Operand) -> np.ndarray:
    """a where `condition` (bool) holds, b elsewhere, all three broadcast against each other."""
    operands = [np.asarray(o) for o in (condition, a, b)]
    shape = np.broadcast(*operands).shape
    like = next((o for o in operands if o.shape == shape), None)
    dtype = next((o.dtype for o in (a, b) if isinstance(o, np.ndarray)), operands[1].dtype)
    if like is not None and like.size >= LARGE and dtype.kind == "f":
        found, like = like, dense(like)
        lines = _lines([like if operand is found else operand for operand in (condition, a, b)], like, (np.dtype(bool), dtype, dtype))
        if lines is not None:
            return _run(_where, lines[0], np.empty_like(like, dtype=dtype), lines[1])
    y = np.where(condition, a, b)
    return y if like is None or order_of(like) is None else in_order_of(y, like)


# -------------------------------------------------------------------------------------- two tables
# What no training loop waits for: NumPy's loops, each a row, so that a backend has two functions to write and not fifty.
_UNARY: dict[str, np.ufunc] = {
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


# Where NumPy's loop calls the C library for each number, or takes several passes.
_FORMULAS = {
    "atanh": _atanh, "div_trunc": _quotient, "floor_divide": _floor_divide, "fmod": _fmod, "frac": _frac, "log1p": _log1p,
    "remainder": _remainder, "rsqrt": _rsqrt,
}  # fmt: skip


def unary(name: str, x: np.ndarray) -> np.ndarray:
    """The function `name` of each element; for arguments outside its domain, NaN."""
    if name in _FORMULAS and x.dtype.kind == "f":
        x = dense(x)
        return each(_FORMULAS[name], x, [x])
    return by_elements(_UNARY[name], x)


def binary(name: str, a: Operand, b: Operand) -> np.ndarray:
    """a `name` b, broadcast against each other; comparisons and logic give booleans."""
    if name in _FORMULAS:
        return _binary(_BINARY[name], _FORMULAS[name], a, b)
    return _by_numpy(_BINARY[name], a, b)
