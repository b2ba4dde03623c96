"""Arithmetic, comparison, elementary functions and products of matrices."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from ....autograd import Function
from ....nn import functional as F
from ....ops import elementwise, functions, products
from ....ops.matmul import matmul
from ..node import Node, Run, is_float, made, plain, row


def _choose(floats: Any, ints: Any) -> Run:
    """`floats` on floating tensors, NumPy's `ints` on others, which have no gradient and stay in their dtype."""
    return lambda *x: floats(*x) if is_float(x[0]) else made(ints(*(t.array for t in x)))


def _over_all(two: Run) -> Run:
    """An operation of two, over any number of operands."""
    return lambda *x: functools.reduce(two, x)


def _trunc_div(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Division of integers towards zero."""
    return (np.sign(a) * np.sign(b) * (np.abs(a) // np.abs(b))).astype(a.dtype)


def _power(x: Any, y: Any) -> Any:
    """x to the power of y in the dtype of x, whatever that of y."""
    if is_float(x):
        return x ** y.to(x.dtype)
    return made(np.power(x.array, y.array).astype(x.dtype))


class Erf(Function):
    """The error function; its derivative is 2 / sqrt(pi) * exp(-x^2)."""

    @staticmethod
    def forward(ctx, x):
        from scipy.special import erf

        ctx.save_for_backward(x)
        return erf(x)

    @staticmethod
    def backward(ctx, gy):
        (x,) = ctx.saved_tensors
        return gy * (-(x * x)).exp() * (2 / np.pi**0.5)


_add = _choose(lambda a, b: a + b, np.add)
plain(
    Add=_add,
    Sub=_choose(lambda a, b: a - b, np.subtract),
    Mul=_choose(lambda a, b: a * b, np.multiply),
    Div=_choose(lambda a, b: a / b, _trunc_div),
    Pow=_power,
    Sum=_over_all(_add),
    Mean=lambda *x: functools.reduce(lambda a, b: a + b, x) * (1.0 / len(x)),
    Max=_over_all(_choose(elementwise.maximum, np.maximum)),
    Min=_over_all(_choose(elementwise.minimum, np.minimum)),
    Sqrt=functions.sqrt,
    Exp=functions.exp,
    Log=functions.log,
    Abs=_choose(functions.abs, np.abs),
    Neg=_choose(lambda x: -x, np.negative),
    Reciprocal=lambda x: 1.0 / x,
    Erf=lambda x: Erf.apply(elementwise.floating("Erf", x)),
    Where=lambda c, a, b: elementwise.where(c, a, b) if is_float(a) else made(np.where(c.array, a.array, b.array)),
    Sign=lambda x: made(np.sign(x.array)),
    Floor=lambda x: made(np.floor(x.array)),
    Ceil=lambda x: made(np.ceil(x.array)),
    Round=lambda x: made(np.round(x.array)),
    **{name.title(): getattr(functions, name) for name in ("sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "asinh", "acosh", "atanh")},
    IsNaN=lambda x: made(np.isnan(x.array)),
    Not=lambda x: made(~x.array),
    And=lambda a, b: made(a.array & b.array),
    Or=lambda a, b: made(a.array | b.array),
    Xor=lambda a, b: made(a.array ^ b.array),
    Equal=lambda a, b: made(a.array == b.array),
    Greater=lambda a, b: made(a.array > b.array),
    GreaterOrEqual=lambda a, b: made(a.array >= b.array),
    Less=lambda a, b: made(a.array < b.array),
    LessOrEqual=lambda a, b: made(a.array <= b.array),
    MatMul=_choose(matmul, np.matmul),
)


@row("Mod")
def mod(node: Node) -> Run:
    """The remainder: with the divisor's sign, or with `fmod` the dividend's."""
    return (lambda a, b: made(np.fmod(a.array, b.array))) if node.get("fmod", 0) else (lambda a, b: made(np.mod(a.array, b.array)))


@row("Gemm")
def gemm(node: Node) -> Run:
    """alpha * A' B' + beta * C, where ' transposes if the attributes say so, and C broadcasts."""
    alpha, beta = node.get("alpha", 1.0), node.get("beta", 1.0)
    trans_a, trans_b = node.get("transA", 0), node.get("transB", 0)

    def run(a: Any, b: Any, c: Any = None) -> Any:
        a, w = a.T if trans_a else a, b if trans_b else b.T
        if c is not None and beta == 1 == alpha and c.shape == w.shape[:1]:
            return F.linear(a, w, c)
        y = F.linear(a, w)
        y = y if alpha == 1 else y * alpha
        return y if c is None else y + (c if beta == 1 else c * beta)

    return run


@row("Einsum")
def einsum(node: Node) -> Run:
    """Sums of products in Einstein's notation."""
    equation = node.get("equation")
    return lambda *x: products.einsum(equation, *x)
