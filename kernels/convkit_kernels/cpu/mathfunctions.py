"""Scalar functions for kernels to call: exp, log, tanh, the normal distribution ... without branches or library calls, so that loops vectorise.

float32 is computed here: the argument is reduced to a small interval, by bit patterns where the exponent is concerned
and in two exact steps where a constant is subtracted (W. J. Cody and W. Waite, "Software Manual for the Elementary
Functions", 1980), and a polynomial with the coefficients of Cephes (S. L. Moshier, "Methods and Programs for
Mathematical Functions", 1989; netlib.org/cephes, single precision) does the rest.  The error stays below 2.5 units in the last place;
NaN, infinities, overflow and gradual underflow come out as in IEEE 754.  float64 has exp, tanh and sigmoid in the same way, by Cephes' quotients
of polynomials, within 4.5 units; the rest goes to the C library.

Nothing here may be reassociated: (x + big) - big is a rounding, not x.  `inline` sees to that.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic, overload

from .runtime import STRICT, inline

_f = np.float32
_LOG2_E = _f(1.4426950408889634)
# ln 2 in two parts, the first with so few bits that its product with a small integer is exact.
_LN2_HIGH = _f(0.693359375)
_LN2_LOW = _f(-2.12194440e-4)
# 1.5 * 2^23: adding it rounds a float32 to an integer, which then stands in the low bits.
_ROUND = _f(12582912.0)
_ROUND_BITS = np.int32(_ROUND.view(np.int32))


# ---------------------------------------------------------------------------- maximum and minimum
def _two_operands(name: str) -> Callable:
    """The LLVM intrinsic `name`, a function of two numbers of one float type."""

    @intrinsic
    def call(typing_context: Any, a: Any, b: Any) -> Any:
        if a != b or not isinstance(a, types.Float):
            return None

        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            kind = args[0].type
            function = builder.module.declare_intrinsic(name, [kind], ir.FunctionType(kind, [kind, kind]))
            return builder.call(function, args)

        return a(a, b), generate

    return call


# NaN if either operand is NaN; unlike a comparison and a choice, a running maximum of these vectorises.
maximum = _two_operands("llvm.maximum")
minimum = _two_operands("llvm.minimum")


@intrinsic
def fma(typing_context: Any, a: Any, b: Any, c: Any) -> Any:
    """a b + c, rounded once."""
    if not isinstance(a, types.Float) or a != b or a != c:
        return None

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.fma(*args)

    return a(a, b, c), generate


# -------------------------------------------------------------------------------- float32 formulas
@inline
def _exp32_reduced(x, less):
    # (exp(r) - 1, n) with exp(x - less) = 2^n exp(r), for a small `less`: n = round(x / ln 2), |r| <= ln 2 / 2.
    shifted = x * _LOG2_E + _ROUND
    n = shifted - _ROUND
    r = (x - n * _LN2_HIGH) - n * _LN2_LOW - less
    p = _f(1.9875691500e-4)
    p = p * r + _f(1.3981999507e-3)
    p = p * r + _f(8.3334519073e-3)
    p = p * r + _f(4.1665795894e-2)
    p = p * r + _f(1.6666665459e-1)
    p = p * r + _f(5.0000001201e-1)
    return p * (r * r) + r, np.int32(_f(shifted).view(np.int32) - _ROUND_BITS)


@inline
def _exp32_parts(x, less):
    # (exp(r) - 1, a, b) with exp(x - less) = exp(r) a b.  Beyond the two bounds the result is 0 or infinite.
    x = _f(-105.0) if x < _f(-105.0) else x
    x = _f(89.0) if x > _f(89.0) else x
    p, n = _exp32_reduced(x, less)
    # 2^n as a product of two powers, each a normal number even where 2^n is not.
    half = np.int32(n >> 1)
    a = np.int32((half + 127) << 23).view(np.float32)
    b = np.int32((n - half + 127) << 23).view(np.float32)
    return p, a, b


@inline
def _exp32(x):
    p, a, b = _exp32_parts(x, _f(0.0))
    return (p + _f(1.0)) * a * b


@inline
def _expm132(x):
    # 2^n exp(r) - 1 = 2^n (exp(r) - 1) + (2^n - 1): near 0, where n = 0, nothing cancels.
    p, a, b = _exp32_parts(x, _f(0.0))
    near = p * (a * b) + (a * b - _f(1.0))
    return near if x < _f(30.0) else (p + _f(1.0)) * a * b


@inline
def _log32_normal(x, more):
    # log(x) = e ln 2 + log(1 + m), x = 2^e (1 + m), sqrt(1/2) <= 1 + m < sqrt(2), of positive normal numbers.
    # Adding the distance from sqrt(1/2) to 1 carries into the exponent exactly when the mantissa is at least sqrt(1/2).
    # `more` is added to e.
    moved = np.int32(_f(x).view(np.int32) - 0x3F3504F3)
    e = _f(np.int32(moved >> 23)) + more
    m = np.int32((moved & 0x7FFFFF) + 0x3F3504F3).view(np.float32) - _f(1.0)
    z = m * m
    p = _f(7.0376836292e-2)
    p = p * m + _f(-1.1514610310e-1)
    p = p * m + _f(1.1676998740e-1)
    p = p * m + _f(-1.2420140846e-1)
    p = p * m + _f(1.4249322787e-1)
    p = p * m + _f(-1.6668057665e-1)
    p = p * m + _f(2.0000714765e-1)
    p = p * m + _f(-2.4999993993e-1)
    p = p * m + _f(3.3333331174e-1)
    y = p * m * z + e * _LN2_LOW - _f(0.5) * z
    return m + y + e * _LN2_HIGH


@inline
def _log32(x):
    # Subnormal numbers are scaled up first.
    tiny = x < _f(1.1754944e-38)
    y = _log32_normal(x * _f(8388608.0) if tiny else x, _f(-23.0) if tiny else _f(0.0))
    y = y if x < _f(np.inf) else x  # infinity and NaN
    y = _f(-np.inf) if x == _f(0.0) else y
    return _f(np.nan) if x < _f(0.0) else y


@inline
def _log1p32(x):
    # log(1 + x) = log(u) - (u - 1 - x) / u to first order, where u is 1 + x rounded.
    u = _f(1.0) + x
    y = _log32(u) - ((u - _f(1.0)) - x) / u
    y = y if (u > _f(0.0)) & (u < _f(np.inf)) else _log32(u)
    return x if u == _f(1.0) else y


@inline
def _knee32(x):
    # As `_log1p32`, of a number that needs none of its choices.
    e = _exp32(-abs(x))
    u = _f(1.0) + e
    return _log32_normal(u, _f(0.0)) - ((u - _f(1.0)) - e) / u


@inline
def _normal32(x):
    # With t = |x|, P(-t) = exp(-t^2 / 2) q(t) / (t + 3), where q is nearly constant: a polynomial in (t - 3) / (t + 3), fitted to least
    # relative error on [0, 15], where exp(-t^2 / 2) ends.  The square is exact in two parts.
    t = abs(x)
    t = _f(15.0) if t > _f(15.0) else t
    high = np.int32(_f(t).view(np.int32) & -4096).view(np.float32)
    p, a, b = _exp32_parts(_f(-0.5) * (high * high), _f(0.5) * ((t - high) * (t + high)))
    e = (p + _f(1.0)) * a * b
    r = _f(1.0) / (t + _f(3.0))
    u = _f(1.0) - _f(6.0) * r
    q = _f(5.448940507e-05)
    q = q * u + _f(1.313307788e-04)
    q = q * u + _f(-2.447301857e-04)
    q = q * u + _f(-1.032574131e-03)
    q = q * u + _f(1.024753934e-03)
    q = q * u + _f(6.969311457e-03)
    q = q * u + _f(-1.046251286e-02)
    q = q * u + _f(-4.726268801e-02)
    q = q * u + _f(2.300176994e-01)
    q = q * u + _f(-5.093319914e-01)
    q = q * u + _f(7.290836904e-01)
    q = q * r * e
    return (q if x < _f(0.0) else _f(1.0) - q), e * _f(0.3989422804014327)


@inline
def _tanh32(x):
    # e / (e + 2) with e = exp(2 |x|) - 1 = 2^n (exp(r) - 1) + (2^n - 1), where nothing cancels; from 10 on it is 1.
    size = abs(x)
    p, n = _exp32_reduced(_f(20.0) if size > _f(10.0) else size + size, _f(0.0))
    power = np.int32((n + 127) << 23).view(np.float32)  # a normal number, as 0 <= n <= 29
    e = p * power + (power - _f(1.0))
    return math.copysign(e / (e + _f(2.0)), x)


@inline
def _sigmoid32(x):
    # The exponential of a number that is never positive cannot overflow.
    e = _exp32(-abs(x))
    return (_f(1.0) if x >= _f(0.0) else e) / (_f(1.0) + e)


@inline
def _turn32(u):
    # (cos, sin) of u turns, 0 <= u <= 1: the angle is q quarter turns and a rest of at most an eighth.
    shifted = u * _f(4.0) + _ROUND
    q = np.int32(_f(shifted).view(np.int32) - _ROUND_BITS)
    a = (u * _f(4.0) - (shifted - _ROUND)) * _f(1.5707963267948966)
    z = a * a
    s = ((_f(-1.9515295891e-4) * z + _f(8.3321608736e-3)) * z + _f(-1.6666654611e-1)) * z * a + a
    c = ((_f(2.443315711809948e-5) * z + _f(-1.388731625493765e-3)) * z + _f(4.166664568298827e-2)) * z * z - _f(0.5) * z + _f(1.0)
    odd = (q & 1) != 0
    sine = c if odd else s
    cosine = s if odd else c
    return (-cosine if ((q + 1) & 2) != 0 else cosine), (-sine if (q & 2) != 0 else sine)


# -------------------------------------------------------------------------------- float64 formulas
_ROUND64 = 6755399441055744.0  # 1.5 * 2^52
_ROUND64_BITS = np.int64(np.float64(_ROUND64).view(np.int64))


@inline
def _exp64_parts(x):
    # As `_exp32_parts`, with exp(r) - 1 = 2 r P(r^2) / (Q(r^2) - r P(r^2)).
    x = -746.0 if x < -746.0 else x
    x = 710.0 if x > 710.0 else x
    shifted = x * 1.4426950408889634 + _ROUND64
    n = shifted - _ROUND64
    r = (x - n * 6.93145751953125e-1) - n * 1.42860682030941723212e-6
    z = r * r
    p = r * ((1.26177193074810590878e-4 * z + 3.02994407707441961300e-2) * z + 9.99999999999999999910e-1)
    q = ((3.00198505138664455042e-6 * z + 2.52448340349684104192e-3) * z + 2.27265548208155028766e-1) * z + 2.0
    p /= q - p
    k = np.float64(shifted).view(np.int64) - _ROUND64_BITS
    half = k >> 1
    return p + p, np.int64((half + 1023) << 52).view(np.float64), np.int64((k - half + 1023) << 52).view(np.float64)


@inline
def _exp64(x):
    p, a, b = _exp64_parts(x)
    return (p + 1.0) * a * b


@inline
def _tanh64(x):
    # As `_tanh32`; from 20 on it is 1.
    size = abs(x)
    p, a, b = _exp64_parts(40.0 if size > 20.0 else size + size)
    e = p * (a * b) + (a * b - 1.0)
    return math.copysign(e / (e + 2.0), x)


@inline
def _sigmoid64(x):
    e = _exp64(-abs(x))
    return (1.0 if x >= 0.0 else e) / (1.0 + e)


@inline
def _knee64(x):
    return math.log1p(_exp64(-abs(x)))


@inline
def _log64(x):
    return math.log(x)


@inline
def _turn64(u):
    return math.cos(2.0 * math.pi * u), math.sin(2.0 * math.pi * u)


@inline
def _normal64(x):
    return 0.5 * math.erfc(x * -math.sqrt(0.5)), math.exp(-0.5 * (x * x)) / math.sqrt(2.0 * math.pi)


# ------------------------------------------------------------------------------- one name for both
def _of_type(single: Callable, double: Callable) -> Callable:
    """Decorator of a name for kernels to call: `single` for float32, else `double`."""

    def define(function: Callable) -> Callable:
        def chosen(x):  # bare, as the lambdas are: Numba compares them
            return (lambda x: single(x)) if x == types.float32 else (lambda x: double(x))

        overload(function, jit_options=STRICT)(chosen)
        return function

    return define


@_of_type(_exp32, _exp64)
def exp(x: Any) -> Any:
    """e to the power x; callable from kernels only, like all functions here."""
    raise NotImplementedError


@_of_type(_log32, _log64)
def log(x: Any) -> Any:
    """Natural logarithm: -inf at 0, NaN below."""
    raise NotImplementedError


@_of_type(_expm132, math.expm1)
def expm1(x: Any) -> Any:
    """exp(x) - 1 without loss of digits near 0."""
    raise NotImplementedError


@_of_type(_log1p32, math.log1p)
def log1p(x: Any) -> Any:
    """log(1 + x) without loss of digits near 0: -inf at -1, NaN below."""
    raise NotImplementedError


@_of_type(_knee32, _knee64)
def knee(x: Any) -> Any:
    """log(1 + exp(-|x|)): the distance of a soft relu, log(1 + exp(x)), from max(x, 0)."""
    raise NotImplementedError


@_of_type(_normal32, _normal64)
def normal(x: Any) -> Any:
    """(P(x), p(x)) of the standard normal distribution: P(x) = (1 + erf(x / sqrt 2)) / 2 and its derivative p."""
    raise NotImplementedError


@_of_type(_tanh32, _tanh64)
def tanh(x: Any) -> Any:
    """Hyperbolic tangent."""
    raise NotImplementedError


@_of_type(_sigmoid32, _sigmoid64)
def sigmoid(x: Any) -> Any:
    """1 / (1 + exp(-x))."""
    raise NotImplementedError


@_of_type(_turn32, _turn64)
def turn(u: Any) -> Any:
    """(cos, sin) of the angle 2 pi u, 0 <= u <= 1."""
    raise NotImplementedError


@inline
def softplus(x):
    """log(1 + exp(x)) in a form that cannot overflow."""
    return maximum(x, type(x)(0)) + knee(x)


@inline
def divide(a, b):
    """a / b rounded correctly; a kernel's own division may become a product with 1 / b."""
    return a / b


@inline
def subtract(a, b):
    """a - b, which no kernel may merge with other sums: (a - b) - c is not a - (b + c) where b is large."""
    return a - b


@inline
def fmod(a, b):
    """What is left of a after division by b, with the sign of a and exact; NaN where a is infinite or b is 0."""
    top, rest, part = type(a)(np.inf), abs(a), abs(b)
    quotient = rest / part
    if (quotient < type(a)(4194304)) & (part < top):
        rest = fma(-np.floor(quotient), part, rest)
        rest += part if rest < type(a)(0) else type(a)(0)  # the quotient was rounded up to a whole number
    elif not ((rest < top) & (part > type(a)(0))):
        rest = type(a)(np.nan)
    elif part < top:  # as one divides on paper, digit by digit
        while part <= type(a)(0.5) * rest:
            part += part
        while part >= abs(b):
            rest -= part if rest >= part else type(a)(0)
            part *= type(a)(0.5)
    return math.copysign(rest, a)
