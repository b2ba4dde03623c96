"""Element by element: arithmetic with broadcasting, and the elementary functions."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from ..autograd import Function, TensorBase, fusion
from ..device import kernels
from . import checks

Operand = Any  # a tensor, or a number beside a tensor
FLOATS = (np.dtype(np.float32), np.dtype(np.float64))  # to compare with types, which NumPy converts each time, takes a microsecond


def _shape_and_dtype(a: Any) -> tuple[tuple[int, ...], Any]:
    return (a.shape, a.dtype) if isinstance(a, np.ndarray) else ((), None)


def decisive(a: Any, b: Any) -> Any:
    """The one of two operands, arrays or numbers, that says where the result lives: a host's array without dimensions may stand beside any."""
    return a if isinstance(a, np.ndarray) and (a.ndim or not isinstance(b, np.ndarray) or (type(b) is np.ndarray and not b.ndim)) else b


def check_broadcast(op: str, a: Any, b: Any) -> None:
    """ValueError naming `op` if the shapes of two arrays do not broadcast."""
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray) and a.shape != b.shape and a.shape and b.shape:
        try:
            np.broadcast_shapes(a.shape, b.shape)
        except ValueError:
            raise ValueError(f"{op}: shapes {list(a.shape)} and {list(b.shape)} do not broadcast") from None


def _category(dtype: np.dtype) -> int:
    if dtype.kind not in "biuf":
        raise TypeError(f"result_type: needs real numbers or booleans, got dtype {dtype}")
    return "biuf".index(dtype.kind) and (1 if dtype.kind in "iu" else 2)


_WEAK = {bool: np.dtype(bool), int: np.dtype(np.int64), float: np.dtype(np.float32)}


def result_type(*values: Any) -> np.dtype:
    """The dtype in which tensors, arrays and Python numbers meet, by torch's rule.

    There are three categories: booleans below integers below floats.  Tensors with dimensions decide; tensors without dimensions count only
    if their category is higher than that, and numbers only if theirs is higher than both (an int is then int64, a float float32).
    Among those of the highest category that count, dtypes promote as in NumPy.

    >>> import convkit
    >>> convkit.result_type(convkit.ones(2), convkit.tensor(1.0, dtype=convkit.float64)).name
    'float32'
    """
    groups: tuple[list, list, list] = [], [], []
    for v in values:
        v = v.array if isinstance(v, TensorBase) else v
        if isinstance(v, np.ndarray):
            groups[0 if v.ndim else 1].append(v.dtype)
        else:
            kind = type(v.item() if isinstance(v, np.generic) else v)
            if kind not in _WEAK:
                raise TypeError(f"result_type: needs tensors, arrays and numbers, got {kind.__name__}")
            groups[2].append(_WEAK[kind])
    found: np.dtype | None = None
    for dtypes in groups:
        if dtypes:
            highest = max(_category(d) for d in dtypes)
            dtype = np.result_type(*(d for d in dtypes if _category(d) == highest))
            if found is None or _category(dtype) > _category(found):
                found = dtype
    if found is None:
        raise TypeError("result_type: needs at least one tensor or number")
    return found


def operands(op: str, a: Any, b: Any, fractions: bool = False) -> tuple[Any, Any]:
    """a and b as arrays of one dtype, or Python numbers beside an array, by the rule of `result_type`; TypeError for anything else.

    With `fractions`, integers become float32: quotients are no integers.
    """
    array, other = (a, b) if type(a) is np.ndarray else (b, a)
    if type(array) is np.ndarray and array.dtype.kind == "f":  # mostly
        kind = type(other)
        if kind is np.ndarray and other.dtype is array.dtype or kind is float or kind is int:
            return a, b
    a, b = (v.item() if isinstance(v, np.generic) else v for v in (a, b))
    for v in (a, b):
        if not isinstance(v, (np.ndarray, int, float)):
            raise TypeError(f"{op}: needs tensors, arrays or numbers, got {type(v).__name__}")
        if isinstance(v, np.ndarray) and v.dtype.kind not in "biuf":
            raise TypeError(f"{op}: needs real numbers or booleans, got dtype {v.dtype}")
        if isinstance(v, int) and not -(2**63) <= v < 2**63:
            raise ValueError(f"{op}: {v} is no number of 64 bits")
    dtype = result_type(a, b)
    dtype = np.dtype(np.float32) if fractions and dtype.kind != "f" else dtype
    a, b = (v.astype(dtype) if isinstance(v, np.ndarray) and v.dtype != dtype else v for v in (a, b))
    if not isinstance(a, np.ndarray) and not isinstance(b, np.ndarray):
        if op != "where":
            raise TypeError(f"{op}: needs at least one tensor, got {a!r} and {b!r}")
        a = np.asarray(a, dtype)
    return a, b


class SumTo(Function):
    """Undo broadcasting: sum over the axes that grew.  Its gradient broadcasts again."""

    @staticmethod
    def forward(ctx, x, shape):
        ctx.shape = x.shape
        extra = x.ndim - len(shape)
        axes = tuple(range(extra)) + tuple(i + extra for i, n in enumerate(shape) if n == 1 and x.shape[i + extra] != 1)
        return kernels(x).sum(x, axes, True).reshape(shape)

    @staticmethod
    def backward(ctx, gy):
        return Expand.apply(gy, ctx.shape), None


class Expand(Function):
    """Repeat along axes of size 1 and new leading axes; a view."""

    @staticmethod
    def forward(ctx, x, shape):
        ctx.shape = x.shape
        return np.broadcast_to(x, shape)

    @staticmethod
    def backward(ctx, gy):
        return SumTo.apply(gy, ctx.shape), None


class Cast(Function):
    """The same numbers in another dtype."""

    @staticmethod
    def forward(ctx, x, dtype):
        ctx.dtype = x.dtype
        return x.astype(dtype)

    @staticmethod
    def backward(ctx, gy):
        return Cast.apply(gy, ctx.dtype), None


def fit(g: Any, like: tuple) -> Any:
    """The gradient of an operand of shape and dtype `like` from the gradient g of the broadcast, promoted result."""
    shape, dtype = like
    if g.array.shape != shape:
        g = SumTo.apply(g, shape)
    return g if dtype is None or g.array.dtype == dtype else Cast.apply(g, dtype)


def _number(value: float, beside: np.ndarray) -> np.ndarray:
    """A number as an array, in the dtype of the floating array beside it, so that gradients stay in that dtype."""
    return np.asarray(value, beside.dtype if beside.dtype.kind == "f" else None)


class _Binary(Function):
    """a op b; `op` names the kernel."""

    op = ""
    keeps = True  # does backward need the operands?
    fractions = False  # do integers give floats?

    @classmethod
    def forward(cls, ctx, a, b):
        p, q = operands(cls.op, a, b, cls.fractions)
        check_broadcast(cls.op, p, q)
        if cls.keeps and True in ctx.needs_input_grad:  # as they came: a copy in the common dtype would have no place in the graph
            ctx.save_for_backward(a if isinstance(a, np.ndarray) else _number(a, b), b if isinstance(b, np.ndarray) else _number(b, a))
        return cls.compute(p, q)

    @classmethod
    def compute(cls, a, b):
        """The result, an array."""
        return getattr(kernels(decisive(a, b)), cls.op)(a, b)

    @classmethod
    def backward(cls, ctx, gy):
        a, b = ctx.saved_tensors if cls.keeps else (None, None)
        need_a, need_b = ctx.needs_input_grad
        return (
            fit(cls.left(gy, a, b), ctx._edges[0][2:]) if need_a else None,
            fit(cls.right(gy, a, b), ctx._edges[1][2:]) if need_b else None,
        )

    @staticmethod
    def left(gy, a, b):
        """Gradient with respect to a, before broadcasting is undone."""
        raise NotImplementedError

    @staticmethod
    def right(gy, a, b):
        """Gradient with respect to b."""
        raise NotImplementedError


class Add(_Binary):
    op, keeps = "add", False

    @staticmethod
    def left(gy, a, b):
        return gy

    @staticmethod
    def right(gy, a, b):
        return gy


class Sub(_Binary):
    op, keeps = "sub", False

    @staticmethod
    def left(gy, a, b):
        return gy

    @staticmethod
    def right(gy, a, b):
        return -gy


class Mul(_Binary):
    op = "mul"

    @staticmethod
    def left(gy, a, b):
        return gy * b

    @staticmethod
    def right(gy, a, b):
        return gy * a


class Div(_Binary):
    op, fractions = "div", True

    @staticmethod
    def left(gy, a, b):
        return gy / b

    @staticmethod
    def right(gy, a, b):
        return -gy * (a / b / b)


class Pow(_Binary):
    op = "pow"

    @staticmethod
    def left(gy, a, b):
        # Where b is 0 the derivative is 0, also at a = 0, where b * a**(b-1) would be 0 * inf.
        if b.array.ndim:
            return gy * where(b.array == 0, 0.0, b * a ** (b - 1))
        n = b.array.item()
        return gy * 0.0 if n == 0 else gy * (a * 2.0) if n == 2 and not b.requires_grad else gy * (b * a ** (b - 1))

    @staticmethod
    def right(gy, a, b):
        if not a.array.ndim and not a.requires_grad and a.array > 0:
            return gy * (a**b * math.log(a.array.item()))
        # Where a is 0 the derivative 0**b * log(0) is 0 for b >= 0, not 0 * -inf.
        still = (a.array == 0) & (b.array >= 0)
        return gy * where(still, 0.0, a**b * where(still, 1.0, a).log())


class Remainder(_Binary):
    """a - b floor(a / b): the sign of the divisor, as Python's %."""

    op = "remainder"
    rounded = "floor"

    @classmethod
    def compute(cls, a, b):
        _no_division_by_zero(cls.op, a, b)
        return kernels(decisive(a, b)).binary(cls.op, a, b)

    @classmethod
    def left(cls, gy, a, b):
        return gy

    @classmethod
    def right(cls, gy, a, b):
        return -gy * div(a.detach(), b.detach(), rounding_mode=cls.rounded)  # flat, like any rounding


class Fmod(Remainder):
    """a - b trunc(a / b): the sign of the dividend, as C's fmod."""

    op, rounded = "fmod", "trunc"


class FloorDivide(_Binary):
    """a / b rounded down: flat, so its derivative is 0."""

    op, keeps = "floor_divide", False

    @classmethod
    def compute(cls, a, b):
        _no_division_by_zero(cls.op, a, b)
        return kernels(decisive(a, b)).binary(cls.op, a, b)

    @staticmethod
    def left(gy, a, b):
        return TensorBase.result(np.zeros_like(gy.array))

    right = left


class DivTrunc(FloorDivide):
    """a / b rounded towards 0."""

    op = "div_trunc"


class Atan2(_Binary):
    """The angle of the point (b, a)."""

    op, fractions = "atan2", True

    @classmethod
    def compute(cls, a, b):
        return kernels(decisive(a, b)).binary(cls.op, a, b)

    @staticmethod
    def left(gy, a, b):
        return gy * (b / (a * a + b * b))

    @staticmethod
    def right(gy, a, b):
        return -gy * (a / (a * a + b * b))


def _no_division_by_zero(op: str, a: Any, b: Any) -> None:
    if all(v.dtype.kind in "iub" if isinstance(v, np.ndarray) else not isinstance(v, float) for v in (a, b)) and not bool(np.all(b)):
        raise RuntimeError(f"{op}: division of integers by zero")


class _Choice(_Binary):
    """The greater or the lesser; equal operands share the gradient."""

    @classmethod
    def left(cls, gy, a, b):
        return gy * _share(cls.op, a.array, b.array)

    @classmethod
    def right(cls, gy, a, b):
        return gy * _share(cls.op, b.array, a.array)


class Maximum(_Choice):
    op = "maximum"


class Minimum(_Choice):
    op = "minimum"


def _share(op: str, a: np.ndarray, b: np.ndarray) -> Any:
    loses = a < b if op == "maximum" else a > b  # nan does not lose: the gradient reaches it
    return TensorBase.result((1.0 - loses - 0.5 * (a == b)).astype(np.result_type(a, b)))


class Clamp(Function):
    """x limited to [low, high]; the gradient passes where x is inside, edges included."""

    @staticmethod
    def forward(ctx, x, low, high):
        ctx.limits = low, high
        ctx.save_for_backward(x)
        return kernels(x).clamp(x, low, high)

    @staticmethod
    def backward(ctx, gy):
        (x,) = ctx.saved_tensors
        return ClampGrad.apply(gy, x.detach(), *ctx.limits), None, None


class ClampGrad(Function):
    """gy where x is inside [low, high], else 0: linear in gy, so it is its own gradient."""

    @staticmethod
    def forward(ctx, gy, x, low, high):
        ctx.limits = low, high
        ctx.save_for_backward(x)
        return kernels(gy).clamp_grad(gy, x, low, high)

    @staticmethod
    def backward(ctx, ggx):
        (x,) = ctx.saved_tensors
        return ClampGrad.apply(ggx, x, *ctx.limits), None, None, None


class ClampTensors(Function):
    """min(max(x, low), high) with limits that broadcast; None is no limit."""

    @staticmethod
    def forward(ctx, x, low, high):
        ctx.likes = [_shape_and_dtype(v) for v in (x, low, high)]
        y = x
        for op, limit in (("maximum", low), ("minimum", high)):
            if limit is not None:
                p, q = operands("clamp", y, limit)
                check_broadcast("clamp", p, q)
                y = getattr(kernels(x), op)(p, q)
        ctx.save_for_backward(x, *(checks.array(v) for v in (low, high) if v is not None))
        ctx.given = low is not None, high is not None
        return y

    @staticmethod
    def backward(ctx, gy):
        saved = [t.array for t in ctx.saved_tensors]
        x = saved[0]
        low = saved[1] if ctx.given[0] else -np.inf
        high = saved[-1] if ctx.given[1] else np.inf
        routes = (x >= low) & (x <= high), (x < low) & (low < high), (x > high) | (high < low)
        return tuple(
            fit(where(route, gy, 0.0), like) if need else None for route, like, need in zip(routes, ctx.likes, ctx.needs_input_grad, strict=True)
        )


class Where(Function):
    """a where the condition holds, else b."""

    @staticmethod
    def forward(ctx, condition, a, b):
        condition = checks.array(condition)
        if condition.dtype != np.bool_:
            raise TypeError(f"where: the condition must be boolean, got {condition.dtype}")
        ctx.a, ctx.b = _shape_and_dtype(a), _shape_and_dtype(b)
        a, b = operands("where", a, b)
        check_broadcast("where", a, b)
        check_broadcast("where", condition, a)
        check_broadcast("where", condition, b)
        ctx.save_for_backward(condition)
        return kernels(condition).where(condition, a, b)

    @staticmethod
    def backward(ctx, gy):
        (condition,) = ctx.saved_tensors
        _, need_a, need_b = ctx.needs_input_grad
        return (
            None,
            fit(where(condition, gy, 0.0), ctx.a) if need_a else None,
            fit(where(condition, 0.0, gy), ctx.b) if need_b else None,
        )


def floating(op: str, x: Any) -> Any:
    """x itself; TypeError unless it is a float32 or float64 tensor."""
    if checks.tensor(op, x).dtype not in FLOATS:
        raise TypeError(f"{op}: needs float32 or float64, got {x.dtype}; convert with .to(convkit.float32)")
    return x


def as_float(op: str, x: Any) -> Any:
    """x itself if it is a float32 or float64 tensor, in float32 if it holds integers or booleans; TypeError for anything else."""
    if isinstance(x, TensorBase) and x.array.dtype.kind in "iub":
        return Cast.apply(x, np.dtype(np.float32))
    return floating(op, x)


# ---------------------------------------------------------------------------------------- functions
def add(input: Any, other: Any, *, alpha: float = 1) -> Any:
    """input + alpha * other, broadcast against each other."""
    other = other if alpha == 1 else other * alpha
    if TensorBase._waiting in (type(input), type(other)):
        for a, b in ((input, other), (other, input)):
            if (joined := fusion.added(a, b, functools.partial(Add.apply, b))) is not None:
                return joined
    return Add.apply(input, other)


def sub(input: Any, other: Any, *, alpha: float = 1) -> Any:
    """input - alpha * other, broadcast against each other."""
    if all(isinstance(v, TensorBase) and v.array.dtype == np.bool_ for v in (input, other)):
        raise TypeError("sub: booleans have no difference; use a ^ b, or ~")
    return Sub.apply(input, other if alpha == 1 else other * alpha)


def mul(input: Any, other: Any) -> Any:
    """input times other, broadcast against each other."""
    return Mul.apply(input, other)


def div(input: Any, other: Any, *, rounding_mode: str | None = None) -> Any:
    """input / other, broadcast against each other; `rounding_mode` 'floor' or 'trunc' rounds down or towards 0 (then integers stay integers).

    >>> import convkit
    >>> convkit.div(convkit.tensor([-7, 7]), 2, rounding_mode="trunc").tolist()
    [-3, 3]
    """
    if rounding_mode is None:
        return Div.apply(input, other)
    if rounding_mode == "floor":
        return floor_divide(input, other)
    if rounding_mode != "trunc":
        raise ValueError(f"div: rounding_mode must be None, 'floor' or 'trunc', got {rounding_mode!r}")
    return DivTrunc.apply(input, other)


def floor_divide(input: Any, other: Any) -> Any:
    """input / other rounded down; RuntimeError for an integer divided by 0.  Its gradient is 0."""
    return FloorDivide.apply(input, other)


def remainder(input: Any, other: Any) -> Any:
    """What is left of input after division by other, with the sign of other, as Python's %."""
    return Remainder.apply(input, other)


def fmod(input: Any, other: Any) -> Any:
    """What is left of input after division by other, with the sign of input."""
    return Fmod.apply(input, other)


def pow(input: Any, exponent: Any) -> Any:
    """input to the power of exponent, broadcast against each other."""
    if isinstance(exponent, int) and exponent < 0 and result_type(input, exponent).kind != "f":
        raise ValueError(f"pow: integers have no integer power {exponent}; convert with .to(convkit.float32)")
    return Pow.apply(input, exponent)


def atan2(input: Any, other: Any) -> Any:
    """The angle, in -pi to pi, of the point whose height is input and whose width is other."""
    return Atan2.apply(input, other)


def maximum(input: Any, other: Any) -> Any:
    """The greater of two, element by element; nan if either is nan."""
    return Maximum.apply(input, other)


def minimum(input: Any, other: Any) -> Any:
    """The lesser of two, element by element; nan if either is nan."""
    return Minimum.apply(input, other)


def clamp(input: Any, min: Any = None, max: Any = None) -> Any:
    """input limited to [min, max], numbers or tensors that broadcast; ValueError if neither is given.

    Where min > max the result is max.  The gradient goes to input where it is inside, edges included, else to the limit that holds.
    """
    if min is None and max is None:
        raise ValueError("clamp: needs min or max")
    checks.tensor("clamp", input)
    if any(isinstance(v, TensorBase) for v in (min, max)):
        return ClampTensors.apply(input, min, max)
    if not all(v is None or isinstance(v, (int, float, np.generic)) and checks.number("clamp", "a limit", v) is v for v in (min, max)):
        raise TypeError(f"clamp: min and max must be numbers or tensors, got {min!r} and {max!r}")
    if input.array.dtype.kind in "iub":  # numbers of a higher category raise the result to theirs
        dtype = result_type(input, *(v for v in (min, max) if v is not None))
        input = input if dtype == input.array.dtype else Cast.apply(input, dtype)
    return Clamp.apply(input if input.array.dtype.kind in "iub" else floating("clamp", input), min, max)


def clamp_min(input: Any, min: Any) -> Any:
    """input, but `min` at least."""
    return clamp(input, min=min)


def clamp_max(input: Any, max: Any) -> Any:
    """input, but `max` at most."""
    return clamp(input, max=max)


def _products(op: str, *tensors_and_value: Any) -> None:
    for v in tensors_and_value[:-1]:
        checks.tensor(op, v)
    checks.number(op, "value", tensors_and_value[-1])


def addcmul(input: Any, tensor1: Any, tensor2: Any, *, value: float = 1) -> Any:
    """input + value * tensor1 * tensor2."""
    _products("addcmul", input, tensor1, tensor2, value)
    return input + (tensor1 * tensor2 if value == 1 else tensor1 * value * tensor2)


def addcdiv(input: Any, tensor1: Any, tensor2: Any, *, value: float = 1) -> Any:
    """input + value * tensor1 / tensor2; TypeError for integers."""
    _products("addcdiv", input, tensor1, tensor2, value)
    if all(v.array.dtype.kind != "f" for v in (tensor1, tensor2)):
        raise TypeError(f"addcdiv: needs floats to divide, got {tensor1.dtype} and {tensor2.dtype}")
    return input + (tensor1 / tensor2 if value == 1 else tensor1 * value / tensor2)


def where(condition: Any, input: Any = None, other: Any = None) -> Any:
    """input where `condition` (boolean) holds, else other; all three broadcast.  The condition alone gives its indices, a tensor for each dimension.

    >>> import convkit
    >>> x = convkit.tensor([-1.0, 2.0])
    >>> convkit.where(x > 0, x, 0.0).numpy().tolist()
    [0.0, 2.0]
    """
    if input is None and other is None:
        return condition.nonzero(as_tuple=True)
    return Where.apply(condition, input, other)
