"""Activations and their gradients: rows of one table, each a formula and a derivative, compiled on first use.

    y  = formula(x, a, b, c)
    gx = derivative(gy, k, a, b, c)        k is x, or y in the rows hardtanh, sigmoid and tanh

a, b and c are the row's parameters; a row takes as many as it needs.  float32 is computed by `mathfunctions` without a call or a
branch, so that every loop vectorises.  Infinities and NaN come out as the formula has them: x sigmoid(x) at -inf is NaN.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import prange, types
from numba.extending import intrinsic, register_jitable

from ..layout import flat
from . import mathfunctions as m
from .elementwise import CHUNK, dense, in_order_of, line
from .microkernel import address
from .runtime import STRICT, kernel, native

# ---------------------------------------------------------------------------------------- formulas
# Constants take the type of x: a bare 0.5 would turn float32 arithmetic into float64.
# Functions that kernels call, as `inline` makes them, but still plain functions: so the cache knows a row again in another process.
_formula = register_jitable(**STRICT)


@_formula
def _threshold(x, a, b, c):
    # x above a, else b.  relu is a = b = 0.
    return b if x <= a else x


@_formula
def _threshold_grad(g, x, a, b, c):
    return type(x)(0) if x <= a else g


@_formula
def _hardtanh(x, a, b, c):
    # x limited to [a, b].
    return m.minimum(m.maximum(x, a), b)


@_formula
def _hardtanh_grad(g, y, a, b, c):
    return type(y)(0) if (y <= a) | (y >= b) else g


@_formula
def _leaky_relu(x, a, b, c):
    # x above 0, else a x.
    return x if x > type(x)(0) else a * x


@_formula
def _leaky_relu_grad(g, x, a, b, c):
    return g if x > type(x)(0) else a * g


@_formula
def _elu(x, a, b, c):
    # b x above 0, else a (exp(c x) - 1).
    return b * x if x > type(x)(0) else a * m.expm1(c * x)


@_formula
def _elu_grad(g, x, a, b, c):
    return g * b if x > type(x)(0) else g * a * c * m.exp(c * x)


@_formula
def _gelu(x, a, b, c):
    # x P(x), P the normal distribution.
    cdf, _ = m.normal(x)
    return x * cdf


@_formula
def _gelu_grad(g, x, a, b, c):
    cdf, density = m.normal(x)
    return g * (cdf + x * density)


_GELU, _GELU_CUBE = math.sqrt(2 / math.pi), 0.044715


@_formula
def _gelu_tanh(x, a, b, c):
    # x (1 + tanh(u)) / 2, u = sqrt(2 / pi) (x + 0.044715 x^3); that is x sigmoid(2 u).
    u = type(x)(2 * _GELU) * (x + type(x)(_GELU_CUBE) * (x * x * x))
    return x * m.sigmoid(u)


@_formula
def _gelu_tanh_grad(g, x, a, b, c):
    u = type(x)(2 * _GELU) * (x + type(x)(_GELU_CUBE) * (x * x * x))
    slope = type(x)(2 * _GELU) * (type(x)(1) + type(x)(3 * _GELU_CUBE) * (x * x))
    s = m.sigmoid(u)
    return g * (s + x * slope * (s * m.sigmoid(-u)))


@_formula
def _silu(x, a, b, c):
    # x sigmoid(x).
    return x * m.sigmoid(x)


@_formula
def _silu_grad(g, x, a, b, c):
    s = m.sigmoid(x)
    return g * (s * (type(x)(1) + x * (type(x)(1) - s)))


@_formula
def _mish(x, a, b, c):
    # x tanh(log(1 + e)), e = exp(x); that is x n / (n + 2), n = e (e + 2), and x from 20 on.
    e = m.exp(type(x)(20) if x > type(x)(20) else x)
    n = e * (e + type(x)(2))
    return x * (n / (n + type(x)(2)))


@_formula
def _mish_grad(g, x, a, b, c):
    # n / (n + 2) + x 4 e (1 + e) / (n + 2)^2
    e = m.exp(type(x)(20) if x > type(x)(20) else x)
    n = e * (e + type(x)(2))
    over = n + type(x)(2)
    return g * (n / over + x * ((type(x)(4) * e * (type(x)(1) + e)) / (over * over)))


@_formula
def _softplus(x, a, b, c):
    # log(1 + exp(a x)) / a, and x where a x is above b; as max(z, 0) + log(1 + exp(-|z|)) it cannot overflow.
    z = a * x
    soft = m.maximum(z, type(x)(0)) + m.log1p(m.exp(-abs(z)))
    return x if z > b else m.divide(soft, a)


@_formula
def _softplus_grad(g, x, a, b, c):
    z = a * x
    return g if z > b else g * m.sigmoid(z)


@_formula
def _softsign(x, a, b, c):
    # x / (1 + |x|).
    return x / (type(x)(1) + abs(x))


@_formula
def _softsign_grad(g, x, a, b, c):
    over = type(x)(1) + abs(x)
    return g / over / over + type(x)(0) * (x / over)  # the sum only passes on that inf / inf is NaN


@_formula
def _hardsigmoid(x, a, b, c):
    # min(max(x + 3, 0), 6) / 6.
    return m.divide(m.minimum(m.maximum(x + type(x)(3), type(x)(0)), type(x)(6)), type(x)(6))


@_formula
def _hardsigmoid_grad(g, x, a, b, c):
    return m.divide(g, type(x)(6)) if (x > type(x)(-3)) & (x < type(x)(3)) else type(x)(0)


@_formula
def _hardswish(x, a, b, c):
    # x min(max(x + 3, 0), 6) / 6.
    return x * m.divide(m.minimum(m.maximum(x + type(x)(3), type(x)(0)), type(x)(6)), type(x)(6))


@_formula
def _hardswish_grad(g, x, a, b, c):
    inside = g * (m.divide(x, type(x)(3)) + type(x)(0.5))
    above = type(x)(0) if x <= type(x)(-3) else g
    return inside if (x > type(x)(-3)) & (x < type(x)(3)) else above


@_formula
def _sigmoid(x, a, b, c):
    # 1 / (1 + exp(-x)).
    return m.sigmoid(x)


@_formula
def _sigmoid_grad(g, y, a, b, c):
    return g * y * (type(y)(1) - y)


@_formula
def _logsigmoid(x, a, b, c):
    # log(sigmoid(x)) = min(x, 0) - log(1 + exp(-|x|)).
    return m.minimum(x, type(x)(0)) - m.log1p(m.exp(-abs(x)))


@_formula
def _logsigmoid_grad(g, x, a, b, c):
    return g * m.sigmoid(-x)


@_formula
def _tanh(x, a, b, c):
    return m.tanh(x)


@_formula
def _tanh_grad(g, y, a, b, c):
    return g * (type(y)(1) - y * y)


@_formula
def _hardshrink(x, a, b, c):
    # 0 on [-a, a], else x.
    return type(x)(0) if (x >= -a) & (x <= a) else x


@_formula
def _hardshrink_grad(g, x, a, b, c):
    return type(x)(0) if (x >= -a) & (x <= a) else g


@_formula
def _softshrink(x, a, b, c):
    # x brought nearer to 0 by a, and 0 on [-a, a].
    shrunk = x - a if x > a else x + a
    return type(x)(0) if (x >= -a) & (x <= a) else shrunk


# ---------------------------------------------------------------------------------------- the table
@intrinsic
def _call(typing_context: Any, function: Any, args: Any, a: Any, b: Any, c: Any) -> Any:
    """In a kernel: call the `native` function with the address `function` on args, (x, k, y, count), and the parameters."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        kinds = [ir.IntType(64)] * 4 + [ir.DoubleType()] * 3
        target = ir.FunctionType(ir.VoidType(), kinds).as_pointer()
        builder.call(builder.inttoptr(values[0], target), [builder.extract_value(values[1], i) for i in range(4)] + list(values[2:]))
        return context.get_dummy_value()

    return types.void(types.intp, types.UniTuple(types.intp, 4), types.float64, types.float64, types.float64), generate


@kernel
def _in_chunks(function, x, k, y, a, b, c):
    # One compilation for all rows; the rows themselves are compiled without parallel loops, in a sixth of the time.
    for chunk in prange((x.size + CHUNK - 1) // CHUNK):
        start = chunk * CHUNK
        skip = start * x.itemsize
        _call(function, (address(x) + skip, address(k) + skip, address(y) + skip, min(CHUNK, x.size - start)), a, b, c)


class _Row:
    """y = formula(x, a, b, c) and gx = derivative(gy, k, a, b, c) for arrays."""

    def __init__(self, formula: Callable, derivative: Callable):
        def forward(x, k, y, count, a, b, c):
            part = numba.carray(x, count)
            out = numba.carray(y, count)
            p, q, r = part.dtype.type(a), part.dtype.type(b), part.dtype.type(c)
            for i in range(count):
                out[i] = formula(part[i], p, q, r)

        def backward(gy, k, gx, count, a, b, c):
            g = numba.carray(gy, count)
            part = numba.carray(k, count)
            out = numba.carray(gx, count)
            p, q, r = part.dtype.type(a), part.dtype.type(b), part.dtype.type(c)
            for i in range(count):
                out[i] = derivative(g[i], part[i], p, q, r)

        for run, function in ((forward, formula), (backward, derivative)):
            run.__name__ = run.__qualname__ = function.__name__
            run.__module__ = __name__
        self.forward, self.backward = forward, backward

    def run(self, function: Callable, x: np.ndarray, k: np.ndarray, a: float, b: float, c: float) -> np.ndarray:
        """The forward or backward `function` on dense arrays of one memory order."""
        y = np.empty_like(x)
        _in_chunks(_compiled(function, x.dtype.char), line(x), line(k), flat(y), float(a), float(b), float(c))
        return y


@functools.cache
def _compiled(function: Callable, char: str) -> int:
    array = types.CPointer(types.float32 if char == "f" else types.float64)
    return native(function, array, array, array, types.intp, types.float64, types.float64, types.float64)


_ROWS = {
    "threshold": _Row(_threshold, _threshold_grad),
    "hardtanh": _Row(_hardtanh, _hardtanh_grad),
    "leaky_relu": _Row(_leaky_relu, _leaky_relu_grad),
    "elu": _Row(_elu, _elu_grad),
    "gelu": _Row(_gelu, _gelu_grad),
    "gelu_tanh": _Row(_gelu_tanh, _gelu_tanh_grad),
    "silu": _Row(_silu, _silu_grad),
    "mish": _Row(_mish, _mish_grad),
    "softplus": _Row(_softplus, _softplus_grad),
    "softsign": _Row(_softsign, _softsign_grad),
    "hardsigmoid": _Row(_hardsigmoid, _hardsigmoid_grad),
    "hardswish": _Row(_hardswish, _hardswish_grad),
    "sigmoid": _Row(_sigmoid, _sigmoid_grad),
    "logsigmoid": _Row(_logsigmoid, _logsigmoid_grad),
    "tanh": _Row(_tanh, _tanh_grad),
    "hardshrink": _Row(_hardshrink, _hardshrink_grad),
    "softshrink": _Row(_softshrink, _hardshrink_grad),
}


def activation(name: str, x: np.ndarray, a: float = 0.0, b: float = 0.0, c: float = 0.0) -> np.ndarray:
    """Row `name` of the table for each element of x, in the memory order of x."""
    x = dense(x)
    row = _ROWS[name]
    return row.run(row.forward, x, x, a, b, c)


def activation_grad(name: str, gy: np.ndarray, k: np.ndarray, a: float = 0.0, b: float = 0.0, c: float = 0.0) -> np.ndarray:
    """gy times the derivative of row `name` at x, from k: the result y in the rows hardtanh, sigmoid and tanh, else x.

    For threshold with b <= a, relu among them, k may be either.  In the memory order of gy.
    """
    gy = dense(gy)
    row = _ROWS[name]
    return row.run(row.backward, gy, in_order_of(k, gy), a, b, c)
