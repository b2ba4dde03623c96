"""Element by element: arithmetic with broadcasting, and the elementary functions."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..autograd import Function, TensorBase
from ..device import kernels

Operand = Any  # a tensor, or a number beside a tensor


def _backend(a: Any, b: Any) -> Any:
    return kernels(a if isinstance(a, np.ndarray) else b)


def _shape_and_dtype(a: Any) -> tuple[tuple[int, ...], Any]:
    return (a.shape, a.dtype) if isinstance(a, np.ndarray) else ((), None)


def check_broadcast(op: str, a: Any, b: Any) -> None:
    """ValueError naming `op` if the shapes of two arrays do not broadcast."""
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray) and a.shape != b.shape:
        try:
            np.broadcast_shapes(a.shape, b.shape)
        except ValueError:
            raise ValueError(f"{op}: shapes {list(a.shape)} and {list(b.shape)} do not broadcast") from None


def operands(op: str, a: Any, b: Any) -> tuple[Any, Any]:
    """a and b as arrays or Python numbers that NumPy promotes as torch does; TypeError for anything else.

    NumPy makes float64 of integers that meet float32, and of anything that meets a NumPy number, as in `x * np.sqrt(2)`: here
    integers take the dtype of the floats they meet, float32 if those are a number, and numbers that of the array.
    """
    array, other = (a, b) if type(a) is np.ndarray else (b, a)
    if type(array) is np.ndarray and array.dtype.kind == "f":  # mostly
        if type(other) is float or type(other) is np.ndarray and other.dtype is array.dtype:
            return a, b
    a, b = (v.item() if isinstance(v, np.generic) else v for v in (a, b))
    for v in (a, b):
        if not isinstance(v, (np.ndarray, int, float)):
            raise TypeError(f"{op}: needs tensors, arrays or numbers, got {type(v).__name__}")
    arrays = [v for v in (a, b) if isinstance(v, np.ndarray)]
    if op == "div" or any(isinstance(v, float) or isinstance(v, np.ndarray) and v.dtype.kind == "f" for v in (a, b)):
        dtype = next((v.dtype for v in arrays if v.dtype.kind == "f"), np.dtype(np.float32))
        a, b = (v.astype(dtype) if isinstance(v, np.ndarray) and v.dtype.kind != "f" else v for v in (a, b))
        a = a if arrays else np.asarray(a, dtype)
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

    @classmethod
    def forward(cls, ctx, a, b):
        ctx.a, ctx.b = _shape_and_dtype(a), _shape_and_dtype(b)
        a, b = operands(cls.op, a, b)
        check_broadcast(cls.op, a, b)
        if cls.keeps:
            ctx.save_for_backward(a if isinstance(a, np.ndarray) else _number(a, b), b if isinstance(b, np.ndarray) else _number(b, a))
        return getattr(_backend(a, b), cls.op)(a, b)

    @classmethod
    def backward(cls, ctx, gy):
        a, b = ctx.saved_tensors if cls.keeps else (None, None)
        need_a, need_b = ctx.needs_input_grad
        return (
            fit(cls.left(gy, a, b), ctx.a) if need_a else None,
            fit(cls.right(gy, a, b), ctx.b) if need_b else None,
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
    op = "div"

    @staticmethod
    def left(gy, a, b):
        return gy / b

    @staticmethod
    def right(gy, a, b):
        return -gy * a / (b * b)


class Pow(_Binary):
    op = "pow"

    @staticmethod
    def left(gy, a, b):
        # Where b is 0 the derivative is 0, also at a = 0, where b * a**(b-1) would be 0 * inf.
        return gy * where(b.array == 0, 0.0, b * a ** (b - 1))

    @staticmethod
    def right(gy, a, b):
        # Where a is 0 the derivative 0**b * log(0) is 0 for b > 0, not 0 * -inf.
        return gy * where(a.array == 0, 0.0, a**b * log(where(a.array == 0, 1.0, a)))


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


class _Unary(Function):
    """y = op(x), keeping x or y for backward."""

    op = ""
    keeps = "y"

    @classmethod
    def forward(cls, ctx, x):
        y = getattr(kernels(x), cls.op)(x)
        ctx.save_for_backward(y if cls.keeps == "y" else x)
        return y

    @classmethod
    def backward(cls, ctx, gy):
        (kept,) = ctx.saved_tensors
        return cls.pull(gy, kept)

    @staticmethod
    def pull(gy, kept):
        """Gradient with respect to x."""
        raise NotImplementedError


class Neg(_Unary):
    op = "neg"

    @classmethod
    def forward(cls, ctx, x):
        return kernels(x).neg(x)

    @classmethod
    def backward(cls, ctx, gy):
        return -gy


class Exp(_Unary):
    op = "exp"

    @staticmethod
    def pull(gy, y):
        return gy * y


class Log(_Unary):
    op, keeps = "log", "x"

    @staticmethod
    def pull(gy, x):
        return gy / x


class Sqrt(_Unary):
    op = "sqrt"

    @staticmethod
    def pull(gy, y):
        return gy / (y * 2.0)


class Abs(_Unary):
    op, keeps = "abs", "x"

    @staticmethod
    def pull(gy, x):
        return gy * TensorBase.result(kernels(x.array).sign(x.array))


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


class Where(Function):
    """a where the condition holds, else b."""

    @staticmethod
    def forward(ctx, condition, a, b):
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
    if not isinstance(x, TensorBase):
        raise TypeError(f"{op}: needs a tensor, got {type(x).__name__}")
    if x.array.dtype not in (np.float32, np.float64):
        raise TypeError(f"{op}: needs float32 or float64, got {x.array.dtype}; convert with .to(convkit.float32)")
    return x


def exp(x: Any) -> Any:
    """e to the power of each element; the gradient is the result."""
    return Exp.apply(floating("exp", x))


def log(x: Any) -> Any:
    """Natural logarithm of each element: -inf at 0, nan below."""
    return Log.apply(floating("log", x))


def sqrt(x: Any) -> Any:
    """Square root of each element: nan below 0."""
    return Sqrt.apply(floating("sqrt", x))


def abs(x: Any) -> Any:
    """Absolute value; its gradient at 0 is 0."""
    return Abs.apply(x)


def clamp(x: Any, min: float | None = None, max: float | None = None) -> Any:
    """x limited to [min, max]; ValueError if neither is given."""
    if min is None and max is None:
        raise ValueError("clamp: needs min or max")
    if not all(v is None or isinstance(v, (int, float, np.generic)) for v in (min, max)):
        raise TypeError(f"clamp: min and max must be numbers, got {min!r} and {max!r}; use maximum and minimum for tensors")
    return Clamp.apply(x, min, max)


def maximum(a: Any, b: Any) -> Any:
    """The greater of two, element by element; nan if either is nan."""
    return Maximum.apply(a, b)


def minimum(a: Any, b: Any) -> Any:
    """The lesser of two, element by element; nan if either is nan."""
    return Minimum.apply(a, b)


def where(condition: Any, a: Any, b: Any) -> Any:
    """a where `condition` holds, else b; all three broadcast.

    >>> import convkit
    >>> x = convkit.tensor([-1.0, 2.0])
    >>> convkit.where(x > 0, x, 0.0).numpy().tolist()
    [0.0, 2.0]
    """
    return Where.apply(condition, a, b)
