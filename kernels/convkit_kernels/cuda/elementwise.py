"""Operations element by element, with the names of `cpu/elementwise.py`; the scalar formulas are the CPU's.

Operands need not lie alike: dimensions are joined where they lie behind each other for all operands, and what is left is walked as a line, or by
coordinates in up to `RANK` dimensions.  A broadcast operand has strides of 0 and is never written out.  Results have the memory order of the first
operand that has the result's shape.  A thread takes four neighbours at once, by accesses of 16 bytes for float32, where lines are a multiple of four.
"""

from __future__ import annotations

import builtins
import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numba
import numpy as np

from ..cpu import elementwise as cpu
from . import mathfunctions as m
from .launch import Kernel, cuda
from .memory import Array, asarray, empty, empty_like
from .vectors import load4, writer

RANK = 5  # dimensions that a kernel walks; more are rare once neighbours are joined, and are taken in slices

Operand = Any


# -------------------------------------------------------------------------------------- two walks
@functools.cache
def _walks(row: Callable, dtypes: tuple[np.dtype, ...], result: np.dtype, count: int) -> tuple[Kernel, Kernel]:
    """The kernels of a formula of so many operands, which take `count` elements at once: along lines, each with its step, and over `RANK` dimensions.

    Four at once lie side by side, in an operand too unless its step is 0; n are the fours then, and steps are those from one to the next.
    """
    row = m.row(row)
    read, write = _reader(count), writer(count)

    if count == 4:

        def of_one(p, a, b, c):
            return row(p[0], a, b, c), row(p[1], a, b, c), row(p[2], a, b, c), row(p[3], a, b, c)

        def of_two(p, q, a, b, c):
            return row(p[0], q[0], a, b, c), row(p[1], q[1], a, b, c), row(p[2], q[2], a, b, c), row(p[3], q[3], a, b, c)

        def of_three(p, q, r, a, b, c):
            return (
                row(p[0], q[0], r[0], a, b, c), row(p[1], q[1], r[1], a, b, c), row(p[2], q[2], r[2], a, b, c), row(p[3], q[3], r[3], a, b, c)
            )  # fmt: skip

    else:

        def of_one(p, a, b, c):
            return (row(p[0], a, b, c),)

        def of_two(p, q, a, b, c):
            return (row(p[0], q[0], a, b, c),)

        def of_three(p, q, r, a, b, c):
            return (row(p[0], q[0], r[0], a, b, c),)

    of_one, of_two, of_three = m.device(of_one), m.device(of_two), m.device(of_three)

    def one(n, x, x0, u, y, y0, v, a, b, c):
        for i in range(cuda.grid(1), n, cuda.gridsize(1)):
            write(y, y0 + i * v, of_one(read(x, x0 + i * u, u), a, b, c))

    def two(n, x, x0, u, k, k0, v, y, y0, w, a, b, c):
        for i in range(cuda.grid(1), n, cuda.gridsize(1)):
            write(y, y0 + i * w, of_two(read(x, x0 + i * u, u), read(k, k0 + i * v, v), a, b, c))

    def three(n, x, x0, u, k, k0, v, t, t0, w, y, y0, z, a, b, c):
        for i in range(cuda.grid(1), n, cuda.gridsize(1)):
            write(y, y0 + i * z, of_three(read(x, x0 + i * u, u), read(k, k0 + i * v, v), read(t, t0 + i * w, w), a, b, c))

    def one_strided(n, dims, s, x, x0, u, y, y0, v, a, b, c):
        for i in range(cuda.grid(1), n, cuda.gridsize(1)):
            at = _coordinates(i, dims, s)
            write(y, _place(y0, at, v), of_one(read(x, _place(x0, at, u), u[0]), a, b, c))

    def two_strided(n, dims, s, x, x0, u, k, k0, v, y, y0, w, a, b, c):
        for i in range(cuda.grid(1), n, cuda.gridsize(1)):
            at = _coordinates(i, dims, s)
            write(y, _place(y0, at, w), of_two(read(x, _place(x0, at, u), u[0]), read(k, _place(k0, at, v), v[0]), a, b, c))

    def three_strided(n, dims, s, x, x0, u, k, k0, v, t, t0, w, y, y0, z, a, b, c):
        for i in range(cuda.grid(1), n, cuda.gridsize(1)):
            at = _coordinates(i, dims, s)
            p, q, r = read(x, _place(x0, at, u), u[0]), read(k, _place(k0, at, v), v[0]), read(t, _place(t0, at, w), w[0])
            write(y, _place(y0, at, z), of_three(p, q, r, a, b, c))

    line, strided = ((one, one_strided), (two, two_strided), (three, three_strided))[len(dtypes) - 1]
    kinds = [numba.from_dtype(d)[::1] for d in (*dtypes, result)]
    number = next((numba.from_dtype(d) for d in dtypes if d.kind == "f"), numba.float32)
    i, places = numba.int64, numba.types.UniTuple(numba.int64, RANK)
    types_line = [i, *(t for kind in kinds for t in (kind, i, i)), number, number, number]
    types_strided = [i, i, numba.types.UniTuple(numba.uint32, RANK), *(t for kind in kinds for t in (kind, i, places)), number, number, number]
    for walk in (line, strided):
        walk.__name__ = walk.__qualname__ = f"{row.__name__}_{walk.__name__}_{count}"
    return Kernel(line, types_line), Kernel(strided, types_strided)


@functools.cache
def _reader(count: int) -> Callable:
    """The function (a, place, step) that gives `count` elements from a place on or, with a step of 0, as often the one there."""

    def one(a, place, step):
        return (a[place],)

    def four(a, place, step):
        if step != 0:
            return load4(a, place)
        number = a[place]
        return number, number, number, number

    return m.device(one if count == 1 else four)


@m.device
def _coordinates(i, dims, s):
    """Where element i is in each of the dimensions, innermost first: 32 bits, whose division costs a third of that of 64."""
    rest, none = np.uint32(i), np.uint32(0)
    whole = np.uint32(rest // s[0])
    a, b, c, d, e = np.uint32(rest - whole * s[0]), whole, none, none, none
    if dims > 2:
        rest, whole = whole, np.uint32(whole // s[1])
        b, c = np.uint32(rest - whole * s[1]), whole
    if dims > 3:
        rest, whole = whole, np.uint32(whole // s[2])
        c, d = np.uint32(rest - whole * s[2]), whole
    if dims > 4:
        rest, whole = whole, np.uint32(whole // s[3])
        d, e = np.uint32(rest - whole * s[3]), whole
    return np.int64(a), np.int64(b), np.int64(c), np.int64(d), np.int64(e)


@m.device
def _place(first, at, steps):
    """The place of the element at these coordinates."""
    return first + at[0] * steps[0] + at[1] * steps[1] + at[2] * steps[2] + at[3] * steps[3] + at[4] * steps[4]


@functools.lru_cache(maxsize=4096)
def _joined(shape: tuple[int, ...], *strides: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
    """(shape, strides ...) with dimensions joined where they lie behind each other for all, innermost first in the last operand's memory."""
    axes = sorted((d for d, n in enumerate(shape) if n != 1), key=lambda d: builtins.abs(strides[-1][d]))
    sizes: list[int] = []
    steps: list[list[int]] = [[] for _ in strides]
    for d in axes:
        if sizes and all(t[d] == s[-1] * sizes[-1] for s, t in zip(steps, strides, strict=True)):
            sizes[-1] *= shape[d]
        else:
            sizes.append(shape[d])
            for s, t in zip(steps, strides, strict=True):
                s.append(t[d])
    return tuple(sizes), *map(tuple, steps)


@functools.lru_cache(maxsize=4096)
def _walk(shape: tuple[int, ...], aligned: bool, *strides: tuple[int, ...]) -> tuple[int, int, int, tuple[int, ...], list[Any]]:
    """(elements at once, how many times, dimensions, their sizes, steps of each operand: a number along a line, else `RANK` of them)."""
    sizes, *steps = _joined(shape, *strides)
    count = 1
    if aligned and sizes and sizes[0] % 4 == 0 and all(s[0] == 1 and not any(n % 4 for n in s[1:]) or s[0] == 0 for s in steps) and steps[-1][0]:
        count = 4
        sizes, steps = (sizes[0] // 4, *sizes[1:]), [(4 * s[0], *s[1:]) for s in steps]
    times, dims = math.prod(sizes), len(sizes)
    if dims < 2:
        return count, times, dims, sizes, [s[0] if s else 0 for s in steps]
    more = (0,) * (RANK - dims)
    return count, times, dims, sizes + more, [s + more for s in steps]


def run(row: Callable, operands: Sequence[Array], y: Array, a: float = 0.0, b: float = 0.0, c: float = 0.0) -> Array:
    """y = row(*operands, a, b, c) for each element; operands have the shape of y, with strides of 0 where they are broadcast."""
    if not y.size:
        return y
    arrays = [*operands, y]
    places = [o.offset for o in arrays]
    count, times, dims, sizes, steps = _walk(y.shape, not any(p & 3 for p in places), *(o.steps for o in arrays))
    if dims <= RANK and (dims < 2 or times < 2**32):
        line, strided = _walks(row, tuple(o.dtype for o in operands), y.dtype, count)
        numbers = (v for o, p, s in zip(arrays, places, steps, strict=True) for v in (o.flat, p, s))
        if dims < 2:
            line(times, times, *numbers, a, b, c)
        else:
            strided(times, times, dims, sizes, *numbers, a, b, c)
    else:  # a slice of the shortest dimension at a time
        size, axis = min((n, d) for d, n in enumerate(y.shape) if n > 1)
        for k in range(size):
            at = (*(slice(None),) * axis, k)
            run(row, [o[at] for o in operands], y[at], a, b, c)
    return y


@functools.lru_cache(maxsize=4096)
def _kept(content: bytes, dtype: np.dtype) -> Array:
    return asarray(np.frombuffer(content, dtype)[0])


def constant(value: Any, dtype: Any) -> Array:
    """A number on the device, which stays there: a number that an operation was given before is not sent again."""
    return _kept(np.asarray(value).astype(dtype).tobytes(), np.dtype(dtype))


def _sent(value: Any, dtype: np.dtype) -> Array:
    return asarray(np.asarray(value, dtype)) if np.ndim(value) else constant(np.asarray(value, dtype), dtype)


def _same(x, a, b, c):
    return x


def _truth(x, a, b, c):
    return x != 0


def fill(y: Array, value: Any) -> Array:
    """Every element of y becomes `value`."""
    return run(_same, [_broadcast(constant(value, y.dtype), y.shape)], y)


def _broadcast(a: Array, shape: tuple[int, ...]) -> Array:
    return a if a.shape == shape else a._as(np.broadcast_to(a.view, shape))


def each(row: Callable, like: Array, operands: Sequence[Array], a: float = 0.0, b: float = 0.0, c: float = 0.0) -> Array:
    """row(*operands, a, b, c) element by element, in the shape, dtype and memory order of `like`."""
    return run(row, operands, empty_like(like), a, b, c)


def broadcast(row: Callable, like: Array, operands: Sequence[Array]) -> Array:
    """As `each`, of operands that broadcast to `like`."""
    return each(row, like, [_broadcast(o, like.shape) for o in operands])


# --------------------------------------------------------------------------------------- functions
def exp(x: Array) -> Array:
    """e to the power x."""
    return each(cpu._exp, x, [x])


def log(x: Array) -> Array:
    """Natural logarithm; -inf at 0, NaN below."""
    return each(cpu._log, x, [x])


def clamp(x: Array, low: float | None, high: float | None) -> Array:
    """min(max(x, low), high); None is no bound; NaN stays NaN."""
    if x.dtype.kind != "f":
        limits = np.iinfo(x.dtype)
        return minimum(maximum(x, limits.min if low is None else low), limits.max if high is None else high)
    return each(cpu._clamp, x, [x], -math.inf if low is None else low, math.inf if high is None else high)


def clamp_grad(gy: Array, x: Array, low: float | None, high: float | None) -> Array:
    """gy where low <= x <= high, 0 elsewhere and where x is NaN; None is no bound."""
    return each(cpu._clamp_grad, gy, [gy, x], -math.inf if low is None else low, math.inf if high is None else high)


def lerp(start: Array, end: Array, weight: Operand) -> Array:
    """start + weight (end - start), where `weight` is a number or an array; arrays have one shape and type."""
    if isinstance(weight, Array):
        return each(cpu._lerp_by, start, [start, end, weight])
    return each(cpu._lerp, start, [start, end], float(weight))


# -------------------------------------------------------------------------------------- arithmetic
def _typed(a: Operand, b: Operand) -> np.dtype:
    # The dtype of the result by NumPy's rules, where Python's numbers are weak.
    return np.result_type(*(o.dtype if isinstance(o, (Array, np.ndarray, np.generic)) else o for o in (a, b)))


def _binary(row: Callable, a: Operand, b: Operand, dtype: np.dtype | None = None, result: Any = None) -> Array:
    dtype = _typed(a, b) if dtype is None else dtype
    shape = np.broadcast_shapes(*(np.shape(o) for o in (a, b)))
    operands = [o if isinstance(o, Array) else _sent(o, dtype) for o in (a, b)]
    like = next((o for o in operands if o.shape == shape), None)
    y = empty(shape, result or dtype) if like is None else empty_like(like, result or dtype)
    return run(row, [_broadcast(o if o.dtype == dtype else o.astype(dtype), shape) for o in operands], y)


def add(a: Operand, b: Operand) -> Array:
    """a + b, broadcast against each other."""
    return _binary(cpu._add, a, b)


def sub(a: Operand, b: Operand) -> Array:
    """a - b, broadcast against each other."""
    return _binary(cpu._sub, a, b)


def mul(a: Operand, b: Operand) -> Array:
    """a b, broadcast against each other."""
    return _binary(cpu._mul, a, b)


def div(a: Operand, b: Operand) -> Array:
    """a / b, broadcast against each other; integers give float64."""
    dtype = _typed(a, b)
    return _binary(cpu._div, a, b, dtype if dtype.kind == "f" else np.dtype(np.float64))


def maximum(a: Operand, b: Operand) -> Array:
    """The larger of a and b, broadcast against each other; NaN where either is NaN."""
    return _binary(cpu._maximum, a, b)


def minimum(a: Operand, b: Operand) -> Array:
    """The smaller of a and b, broadcast against each other; NaN where either is NaN."""
    return _binary(cpu._minimum, a, b)


def _power(x, k, a, b, c):
    return m.power(x, k)


def pow(a: Operand, b: Operand) -> Array:
    """a to the power b, broadcast against each other; NaN for a negative number to a fraction."""
    if isinstance(a, Array) and a.dtype.kind == "f" and not isinstance(b, Array):
        if b == 2:
            return mul(a, a)
        if b == 3:
            return each(cpu._cube, a, [a])
        if b == 0.5:
            return sqrt(a)
        if b == -1:
            return div(1.0, a)
        if b == -2:
            return div(1.0, mul(a, a))
    return _binary(_power, a, b)


def _negative(x, a, b, c):
    return -x


def _absolute(x, a, b, c):
    return -x if x < 0 else x + type(x)(0)


def _square_root(x, a, b, c):
    return math.sqrt(x)


def _signum(x, a, b, c):
    return type(x)(x > 0) - type(x)(x < 0)


def neg(x: Array) -> Array:
    """-x."""
    return each(_negative, x, [x])


def abs(x: Array) -> Array:
    """The absolute value of x."""
    return each(_absolute, x, [x])


def sqrt(x: Array) -> Array:
    """Square root; NaN below 0."""
    return each(_square_root, x, [x])


def sign(x: Array) -> Array:
    """-1, 0 or 1 with the sign of x; 0 for NaN."""
    return each(cpu._sign if x.dtype.kind == "f" else _signum, x, [x])


def where(condition: Array, a: Operand, b: Operand) -> Array:
    """a where `condition` (bool) holds, b elsewhere, all three broadcast against each other."""
    dtype = _typed(a, b) if isinstance(a, Array) == isinstance(b, Array) else (a if isinstance(a, Array) else b).dtype
    shape = np.broadcast_shapes(*(np.shape(o) for o in (condition, a, b)))
    condition = condition if isinstance(condition, Array) else _sent(condition, _bool)
    operands = [condition, *(o.astype(dtype, copy=False) if isinstance(o, Array) else _sent(o, dtype) for o in (a, b))]
    like = next((o for o in operands if o.shape == shape), None)
    return run(cpu._where, [_broadcast(o, shape) for o in operands], empty(shape, dtype) if like is None else empty_like(like, dtype))


# -------------------------------------------------------------------------------------- two tables
def _function(name: str) -> Callable:
    function = getattr(m, name)

    def row(x, a, b, c):
        return function(x)

    row.__name__ = name
    return row


def _isfinite(x, a, b, c):
    return x - x == type(x)(0)


def _isinf(x, a, b, c):
    return (x == x) & (x - x != type(x)(0))


def _isnan(x, a, b, c):
    return x != x


def _signbit(x, a, b, c):
    return m.copysign(type(x)(1), x) < type(x)(0)


def _invert(x, a, b, c):
    return ~x


def _not(x, a, b, c):
    return x == 0


_bool = np.dtype(np.bool_)
# name: (formula, dtype of the result if it is not the operand's)
_UNARY: dict[str, tuple[Callable, np.dtype | None]] = {
    **{name: (_function(name), None) for name in (
        "acos", "acosh", "asin", "asinh", "atan", "atanh", "ceil", "cos", "cosh", "exp2", "expm1", "floor", "log10", "log1p", "log2",
        "sin", "sinh", "tan", "trunc")},
    "round": (_function("rint"), None), "bitwise_not": (_invert, None),
    "frac": (cpu._frac, None), "rsqrt": (cpu._rsqrt, None),
    "isfinite": (_isfinite, _bool), "isinf": (_isinf, _bool), "isnan": (_isnan, _bool), "logical_not": (_not, _bool), "signbit": (_signbit, _bool),
}  # fmt: skip


def unary(name: str, x: Array) -> Array:
    """The function `name` of each element; for arguments outside its domain, NaN."""
    formula, result = _UNARY[name]
    if name == "bitwise_not" and x.dtype == np.bool_:
        formula = _not
    if x.dtype.kind != "f" and name in ("isfinite", "isinf", "isnan"):
        return fill(empty_like(x, _bool), name == "isfinite")
    return run(formula, [x], empty_like(x, result))


def _eq(x, k, a, b, c):
    return x == k


def _ne(x, k, a, b, c):
    return x != k


def _lt(x, k, a, b, c):
    return x < k


def _le(x, k, a, b, c):
    return x <= k


def _and(x, k, a, b, c):
    return (x != 0) & (k != 0)


def _or(x, k, a, b, c):
    return (x != 0) | (k != 0)


def _xor(x, k, a, b, c):
    return (x != 0) != (k != 0)


def _bit_and(x, k, a, b, c):
    return x & k


def _bit_or(x, k, a, b, c):
    return x | k


def _bit_xor(x, k, a, b, c):
    return x ^ k


def _left(x, k, a, b, c):
    return x << k


def _right(x, k, a, b, c):
    return x >> k


def _atan2(x, k, a, b, c):
    return m.atan2(x, k)


def _trunc_divide(x, k, a, b, c):
    return m.trunc(x / k)


# Of integers: a division by 0 gives 0, as NumPy's does.
def _whole_floor(x, k, a, b, c):
    return x // k if k != 0 else k


def _whole_remainder(x, k, a, b, c):
    return x % k if k != 0 else k


def _whole_trunc(x, k, a, b, c):
    q = x // k if k != 0 else k
    return q + 1 if k != 0 and q < 0 and q * k != x else q


def _whole_fmod(x, k, a, b, c):
    r = x % k if k != 0 else k
    return r - k if r != 0 and (x < 0) != (k < 0) else r


# name: (formula of floats, formula of integers, dtype of the result if it is not the operands')
_BINARY: dict[str, tuple[Callable, Callable, np.dtype | None]] = {
    "eq": (_eq, _eq, _bool), "ne": (_ne, _ne, _bool), "lt": (_lt, _lt, _bool), "le": (_le, _le, _bool),
    "logical_and": (_and, _and, _bool), "logical_or": (_or, _or, _bool), "logical_xor": (_xor, _xor, _bool),
    "bitwise_and": (_bit_and, _bit_and, None), "bitwise_or": (_bit_or, _bit_or, None), "bitwise_xor": (_bit_xor, _bit_xor, None),
    "bitwise_left_shift": (_left, _left, None), "bitwise_right_shift": (_right, _right, None), "atan2": (_atan2, _atan2, None),
    "floor_divide": (cpu._floor_divide, _whole_floor, None), "remainder": (cpu._remainder, _whole_remainder, None),
    "fmod": (cpu._fmod, _whole_fmod, None), "div_trunc": (_trunc_divide, _whole_trunc, None),
}  # fmt: skip


def binary(name: str, a: Operand, b: Operand) -> Array:
    """a `name` b, broadcast against each other; comparisons and logic give booleans."""
    if name in ("gt", "ge"):
        return binary({"gt": "lt", "ge": "le"}[name], b, a)
    floats, whole, result = _BINARY[name]
    dtype = _typed(a, b)
    if dtype == np.bool_ and name.startswith("bitwise"):
        floats, whole = {"bitwise_and": (_and, _and), "bitwise_or": (_or, _or), "bitwise_xor": (_xor, _xor)}[name]
    return _binary(floats if dtype.kind == "f" else whole, a, b, dtype, result)
