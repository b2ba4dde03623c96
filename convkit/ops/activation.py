"""Activations.

First derivatives use one fused kernel.  While a graph is recorded (`create_graph`) the same formula is written
with tensor operations, which differentiate themselves.
"""

from __future__ import annotations

from typing import Any

from ..autograd import Function, TensorBase, is_grad_enabled
from ..device import kernels
from .elementwise import floating
from .reduce import sum
from .shape import axis


class _Activation(Function):
    """y = op(x), with the gradient from y: fused as the kernel `op`_grad, or by `pull`."""

    op = ""

    @classmethod
    def forward(cls, ctx, x):
        y = getattr(kernels(x), cls.op)(x)
        ctx.save_for_backward(y)
        return y

    @classmethod
    def backward(cls, ctx, gy):
        (y,) = ctx.saved_tensors
        if is_grad_enabled():
            return cls.pull(gy, y)
        return TensorBase.result(getattr(kernels(gy.array), cls.op + "_grad")(gy.array, y.array))

    @staticmethod
    def pull(gy, y):
        """The gradient in tensor operations."""
        raise NotImplementedError


class Relu(_Activation):
    op = "relu"

    @staticmethod
    def pull(gy, y):
        return ReluGrad.apply(gy, y.detach())


class ReluGrad(Function):
    """gy where y > 0, else 0: linear in gy, so it is its own gradient; flat in y."""

    @staticmethod
    def forward(ctx, gy, y):
        ctx.save_for_backward(y)
        return kernels(gy).relu_grad(gy, y)

    @staticmethod
    def backward(ctx, g):
        (y,) = ctx.saved_tensors
        return ReluGrad.apply(g, y), None


class Tanh(_Activation):
    op = "tanh"

    @staticmethod
    def pull(gy, y):
        return gy * (1.0 - y * y)


class Sigmoid(_Activation):
    op = "sigmoid"

    @staticmethod
    def pull(gy, y):
        return gy * y * (1.0 - y)


class _OverAxis(Function):
    """y = op(x) normalised along `dim`."""

    op = ""

    @classmethod
    def forward(cls, ctx, x, dim):
        ctx.dim = dim
        y = getattr(kernels(x), cls.op)(x, dim)
        ctx.save_for_backward(y)
        return y

    @classmethod
    def backward(cls, ctx, gy):
        (y,) = ctx.saved_tensors
        if is_grad_enabled():
            return cls.pull(gy, y, ctx.dim), None
        return TensorBase.result(getattr(kernels(gy.array), cls.op + "_grad")(gy.array, y.array, ctx.dim)), None

    @staticmethod
    def pull(gy, y, dim):
        """The gradient in tensor operations."""
        raise NotImplementedError


class Softmax(_OverAxis):
    op = "softmax"

    @staticmethod
    def pull(gy, y, dim):
        return y * (gy - sum(gy * y, dim, True))


class LogSoftmax(_OverAxis):
    op = "log_softmax"

    @staticmethod
    def pull(gy, y, dim):
        return gy - y.exp() * sum(gy, dim, True)


def relu(x: Any) -> Any:
    """max(x, 0); nan stays nan, and the gradient at 0 is 0."""
    return Relu.apply(floating("relu", x))


def tanh(x: Any) -> Any:
    """Hyperbolic tangent."""
    return Tanh.apply(floating("tanh", x))


def sigmoid(x: Any) -> Any:
    """1 / (1 + exp(-x))."""
    return Sigmoid.apply(floating("sigmoid", x))


def softmax(x: Any, dim: int) -> Any:
    """exp(x) / sum(exp(x)) along `dim`, with the greatest element subtracted first so that nothing overflows."""
    if not floating("softmax", x).ndim:
        return softmax(x.unsqueeze(0), dim).squeeze(0)
    return Softmax.apply(x, axis("softmax", dim, x.ndim))


def log_softmax(x: Any, dim: int) -> Any:
    """log(softmax(x)) along `dim`, without ever taking the logarithm of a rounded zero."""
    if not floating("log_softmax", x).ndim:
        return log_softmax(x.unsqueeze(0), dim).squeeze(0)
    return LogSoftmax.apply(x, axis("log_softmax", dim, x.ndim))
