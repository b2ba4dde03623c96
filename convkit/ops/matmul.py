"""Products of matrices, and the dense layer."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..autograd import Function, TensorBase, fusion
from ..device import kernels
from .activation import ActivationGrad
from .elementwise import FLOATS, fit
from .reduce import Sum


class MatMul(Function):
    """a [..., M, K] @ b [..., K, N]; leading dimensions broadcast."""

    @staticmethod
    def forward(ctx, a, b):
        if a.dtype.kind != "f":  # integers, which have no gradient
            return np.matmul(a, b)
        ctx.save_for_backward(a, b)
        return kernels(a).matmul(a, b)

    @staticmethod
    def backward(ctx, gy):
        a, b = ctx.saved_tensors
        need_a, need_b = ctx.needs_input_grad
        ga = fit(MatMul.apply(gy, b.transpose(-1, -2)), (a.shape, a.dtype)) if need_a else None
        if not need_b:
            return ga, None
        if b.ndim == 2 and a.ndim > 2:  # one product over all leading dimensions, not one for each
            rows = math.prod(a.shape[:-1])
            a, gy = a.reshape(rows, a.shape[-1]), gy.reshape(rows, gy.shape[-1])
        return ga, fit(MatMul.apply(a.transpose(-1, -2), gy), (b.shape, b.dtype))


class Linear(Function):
    """y = x w^T + b + add with x [M, in], w [out, in], b [out], add [M, out], and max(y, 0) with `relu`."""

    @staticmethod
    def forward(ctx, x, w, b, add=None, relu=False):
        y = kernels(x).matmul(x, w.T, b, add, relu)
        ctx.save_for_backward(x, w, y if relu else None)
        return y

    @staticmethod
    def backward(ctx, gy):
        x, w, y = ctx.saved_tensors
        need_x, need_w, need_b, *rest = ctx.needs_input_grad
        if y is not None:
            gy = ActivationGrad.apply(gy, y, "relu")
        return (
            MatMul.apply(gy, w) if need_x else None,
            LinearWeightGrad.apply(x, gy) if need_w else None,
            Sum.apply(gy, (0,), False) if need_b else None,
            gy if any(rest) else None,
            None,
        )


class LinearWeightGrad(Function):
    """gw = gy^T x with x [M, in], gy [M, out]."""

    @staticmethod
    def forward(ctx, x, gy):
        ctx.save_for_backward(x, gy)
        return kernels(x).matmul(gy.T, x)

    @staticmethod
    def backward(ctx, g):
        x, gy = ctx.saved_tensors
        need_x, need_gy = ctx.needs_input_grad
        return MatMul.apply(gy, g) if need_x else None, Linear.apply(x, g, None) if need_gy else None


def same_dtype(op: str, *, integers: bool = False, **tensors: Any) -> None:
    """TypeError unless all are tensors (None is skipped) of one floating dtype, or, if `integers`, of one dtype of integers."""
    dtypes = []
    for name, t in tensors.items():
        if isinstance(t, TensorBase):
            dtypes.append(t.array.dtype)
        elif t is not None or name != "bias":
            raise TypeError(f"{op}: {name} must be a tensor, got {type(t).__name__}")
    first = dtypes[0]
    if dtypes.count(first) < len(dtypes) or not (first in FLOATS or integers and first.kind in "iu"):
        told = ", ".join(f"{name} {t.array.dtype}" for name, t in tensors.items() if t is not None)
        wanted = "float32, float64 or integers" if integers else "float32 or float64"
        raise TypeError(f"{op}: needs {wanted}, the same for all, got {told}; convert with .to(dtype)")


def matmul(input: Any, other: Any) -> Any:
    """Matrix product with torch's rules: 1-D operands are vectors, leading dimensions broadcast.  Integers wrap around, as elsewhere.

    >>> import convkit
    >>> (convkit.ones(2, 3) @ convkit.ones(3)).numpy().tolist()
    [3.0, 3.0]
    """
    same_dtype("matmul", integers=True, input=input, other=other)
    p, q = input.array.shape, other.array.shape
    if not p or not q:
        raise ValueError(f"matmul: needs at least 1 dimension each, got shapes {list(p)} and {list(q)}")
    left, right = len(p) == 1, len(q) == 1
    if p[-1] != q[0 if right else -2]:
        raise ValueError(f"matmul: the last dimension of {list(p)} must match the {'only' if right else 'second last'} of {list(q)}")
    input, other = input.unsqueeze(0) if left else input, other.unsqueeze(1) if right else other
    if len(p) > 2 and len(q) > 2:
        try:
            np.broadcast_shapes(p[:-2], q[:-2])
        except ValueError:
            raise ValueError(f"matmul: leading dimensions of {list(p)} and {list(q)} do not broadcast") from None
    y = MatMul.apply(input, other)
    y = y.squeeze(-2) if left else y
    return y.squeeze(-1) if right else y


def linear(input: Any, weight: Any, bias: Any = None) -> Any:
    """input [..., in] times the transpose of weight [out, in], plus bias [out] -> [..., out].

    A weight [in] with a bias [] gives one number a row: [...].  ValueError for sizes that do not fit.

    >>> import convkit
    >>> linear(convkit.ones(2, 3), convkit.ones(1, 3), convkit.ones(1)).numpy().tolist()
    [[4.0], [4.0]]
    """
    same_dtype("linear", integers=True, input=input, weight=weight, bias=bias)
    shape, sizes = input.array.shape, weight.array.shape
    if len(sizes) not in (1, 2):
        raise ValueError(f"linear: weight must be [out, in] or [in], got shape {list(sizes)}")
    if not shape or shape[-1] != sizes[-1]:
        raise ValueError(f"linear: input {list(shape)} must end in the {sizes[-1]} features of weight {list(sizes)}")
    if bias is not None and bias.array.shape != sizes[:-1]:
        raise ValueError(f"linear: bias must have shape {list(sizes[:-1])}, one number an output feature, got {list(bias.shape)}")
    if len(sizes) == 1 or weight.array.dtype.kind != "f":
        y = matmul(input, weight.t())
        return y if bias is None else y + bias
    if len(shape) == 2:
        return fusion.later(Linear, (shape[0], sizes[0]), input, weight, bias)
    return Linear.apply(input.reshape(math.prod(shape[:-1]), shape[-1]), weight, bias).reshape(*shape[:-1], sizes[0])


def bilinear(input1: Any, input2: Any, weight: Any, bias: Any = None) -> Any:
    """y[..., k] = bias[k] + sum over i, j of x1[..., i] * weight[k, i, j] * x2[..., j], of x1 [..., I], x2 [..., J], weight [K, I, J], bias [K].

    It is `linear` of the outer product of the rows, an array [..., I * J].  ValueError for sizes that do not fit; the leading
    sizes of both inputs must be the same.

    >>> import convkit
    >>> bilinear(convkit.ones(5, 2), convkit.ones(5, 3), convkit.ones(4, 2, 3)).numpy()[0].tolist()
    [6.0, 6.0, 6.0, 6.0]
    """
    same_dtype("bilinear", integers=True, input1=input1, input2=input2, weight=weight, bias=bias)
    if weight.ndim != 3:
        raise ValueError(f"bilinear: weight must be 3-D [out, in1, in2], got shape {list(weight.shape)}")
    for i, x in ((1, input1), (2, input2)):
        if not x.ndim or x.shape[-1] != weight.shape[i]:
            raise ValueError(f"bilinear: input{i} {list(x.shape)} must end in the {weight.shape[i]} features of weight {list(weight.shape)}")
    if input1.shape[:-1] != input2.shape[:-1]:
        raise ValueError(f"bilinear: the leading sizes of input1 {list(input1.shape)} and input2 {list(input2.shape)} must be the same")
    if bias is not None and bias.shape != weight.shape[:1]:
        raise ValueError(f"bilinear: bias must have shape {list(weight.shape[:1])}, one number an output feature, got {list(bias.shape)}")
    k, i, j = weight.shape
    pairs = input1.unsqueeze(-1) * input2.unsqueeze(-2)
    return linear(pairs.reshape(*input1.shape[:-1], i * j), weight.reshape(k, i * j), bias)
