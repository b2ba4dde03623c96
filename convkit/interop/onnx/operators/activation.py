"""Activations, softmax and dropout."""

from __future__ import annotations

from typing import Any

import numpy as np

from ....nn import functional as F
from ....ops.activation import PRelu
from ....ops.elementwise import clamp, maximum, minimum, where
from ....tensor import Tensor
from ..node import Node, Run, is_float, made, plain, row

plain(
    Relu=lambda x: F.relu(x) if is_float(x) else made(np.maximum(x.array, 0)),
    Sigmoid=F.sigmoid,
    Tanh=F.tanh,
    Softsign=F.softsign,
    Softplus=F.softplus,
    Mish=F.mish,
    HardSwish=F.hardswish,
    PRelu=PRelu.apply,
)


@row("LeakyRelu")
def leaky_relu(node: Node) -> Run:
    """x where positive, alpha * x elsewhere."""
    alpha = node.get("alpha", 0.01)
    return lambda x: F.leaky_relu(x, alpha)


@row("ThresholdedRelu")
def thresholded_relu(node: Node) -> Run:
    """x where greater than alpha, 0 elsewhere."""
    alpha = node.get("alpha", 1.0)
    return lambda x: where(x > alpha, x, 0.0)


@row("Shrink")
def shrink(node: Node) -> Run:
    """x moved towards 0 by `bias` where |x| > lambd, else 0."""
    limit, bias = node.get("lambd", 0.5), node.get("bias", 0.0)
    if bias in (0.0, limit):
        return lambda x: (F.softshrink if bias else F.hardshrink)(x, limit)
    return lambda x: where(x > limit, x - bias, where(x < -limit, x + bias, x * 0.0))


@row("Elu")
def elu(node: Node) -> Run:
    """x where positive, alpha * (exp(x) - 1) elsewhere."""
    alpha = node.get("alpha", 1.0)
    return lambda x: F.elu(x, alpha)


SELU = 1.6732632423543772, 1.0507009873554805  # torch's alpha and gamma; ONNX's defaults are these in float32


@row("Selu")
def selu(node: Node) -> Run:
    """gamma * elu(x, alpha)."""
    alpha, gamma = node.get("alpha", SELU[0]), node.get("gamma", SELU[1])
    if np.float32(alpha) == np.float32(SELU[0]) and np.float32(gamma) == np.float32(SELU[1]):
        return F.selu
    return lambda x: F.elu(x, alpha) * gamma


@row("Celu")
def celu(node: Node) -> Run:
    """max(0, x) + min(0, alpha * (exp(x / alpha) - 1))."""
    alpha = node.get("alpha", 1.0)
    return lambda x: F.celu(x, alpha)


@row("Gelu")
def gelu(node: Node) -> Run:
    """x times the normal distribution function, or its approximation by tanh."""
    approximate = node.one_of("approximate", ("none", "tanh"), "none")
    return lambda x: F.gelu(x, approximate=approximate)


@row("Swish")
def swish(node: Node) -> Run:
    """x * sigmoid(alpha * x)."""
    alpha = node.get("alpha", 1.0)
    return lambda x: x * F.sigmoid(x if alpha == 1 else x * alpha)


@row("HardSigmoid")
def hard_sigmoid(node: Node) -> Run:
    """alpha * x + beta, limited to 0 and 1."""
    alpha, beta = node.get("alpha", 0.2), node.get("beta", 0.5)
    return lambda x: clamp(x * alpha + beta, 0.0, 1.0)


@row("Clip", settings=(1, 2))
def clip(node: Node) -> Run:
    """x limited to two bounds: attributes before version 11, inputs since.  The upper one wins where they cross."""
    fixed = (node.get("min"), node.get("max")) if node.version < 11 else None

    def run(x: Any, low: Any = None, high: Any = None) -> Any:
        if fixed:
            low, high = fixed
        if is_float(x):
            low, high = (b.item() if isinstance(b, Tensor) else b for b in (low, high))
            if low is not None and high is not None:
                low = min(low, high)
            return x if low is None and high is None else clamp(x, low, high)
        x = x if low is None else maximum(x, low)
        return x if high is None else minimum(x, high)

    return run


def _normalised(over: Any, node: Node) -> Run:
    """Since version 13 along one axis, by default the last; before, along all axes from `axis` on together, by default from 1 on."""
    if node.version >= 13:
        axis = node.get("axis", -1)
        return lambda x: over(x, axis)
    start = node.get("axis", 1)

    def flattened(x: Any) -> Any:
        at = start % x.ndim if x.ndim else 0
        rows = int(np.prod(x.shape[:at]))
        return over(x.reshape(rows, x.array.size // max(rows, 1)), 1).reshape(x.shape)

    return flattened


@row("Softmax")
def softmax(node: Node) -> Run:
    """exp(x) / sum(exp(x))."""
    return _normalised(F.softmax, node)


@row("LogSoftmax")
def log_softmax(node: Node) -> Run:
    """log(softmax(x))."""
    return _normalised(F.log_softmax, node)


@row("Dropout", settings=(1, 2), mode=True)
def dropout(node: Node) -> Run:
    """x, and where asked for a mask of what is kept.

    Since version 12 the file may ask for training by an input; before, and without that input, the module's own mode decides.  With the
    attribute `seed` the mask is the one that ONNX's reference draws, by NumPy's old generator.
    """
    fixed = node.get("ratio", 0.5) if node.version < 12 else None
    seed, mask = node.get("seed"), node.makes(1)

    def run(x: Any, ratio: Any = None, asked: Any = None, *, training: bool) -> Any:
        p = fixed if fixed is not None else 0.5 if ratio is None else float(ratio.item())
        if not (training or (asked is not None and bool(asked.item()))) or p == 0:
            return (x, made(np.ones(x.shape, np.bool_))) if mask else x
        if seed is None and not mask:
            return F.dropout(x, p, True)
        kept = made(np.random.RandomState(seed).uniform(0, 1.0, x.shape) >= p)
        y = where(kept, x * (1 / (1 - p)), 0.0)
        return (y, kept) if mask else y

    return run
