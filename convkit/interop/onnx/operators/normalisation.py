"""Normalisation over batches, layers, groups, images and neighbouring channels."""

from __future__ import annotations

from typing import Any

import numpy as np

from ....autograd import no_grad
from ....nn import functional as F
from ....ops import reduce
from ....ops.arrange import repeat_interleave
from ....ops.norm import over_groups
from ..node import Node, Run, row


@row("BatchNormalization", settings=(3, 4), mode=True)
def batch_norm(node: Node) -> Run:
    """With running statistics; with the batch's where the file says so, or in training mode, where the running ones move as in torch."""
    eps, momentum = node.get("epsilon", 1e-5), node.get("momentum", 0.9)
    asked = node.get("training_mode", 0) if node.version >= 14 else 0
    if node.version < 14 and node.makes(1):
        raise node.refuse("training outputs of versions before 14 are not supported")
    if node.version < 9 and not node.get("spatial", 1):
        raise node.refuse("spatial=0 is not supported")

    def run(x: Any, scale: Any, bias: Any, mean: Any, var: Any, *, training: bool) -> Any:
        if asked:
            over = (0, *range(2, x.ndim))
            y = F.batch_norm(x, None, None, scale, bias, training=True, eps=eps)
            with no_grad():
                batch = reduce.mean(x, over), reduce.var(x, over, correction=0)
                return (y, *(old * momentum + new * (1 - momentum) for old, new in zip((mean, var), batch, strict=True)))
        return F.batch_norm(x, mean, var, scale, bias, training=training, momentum=1 - momentum, eps=eps)

    return run


@row("InstanceNormalization")
def instance_norm(node: Node) -> Run:
    """Each channel of each image by its own mean and variance."""
    eps = node.get("epsilon", 1e-5)
    return lambda x, scale, bias: over_groups(node.op, x, x.shape[1], scale, bias, eps)


@row("LayerNormalization")
def layer_norm(node: Node) -> Run:
    """Over all axes from `axis` on; where asked for also the mean and the inverse standard deviation."""
    axis, eps, many = node.get("axis", -1), node.get("epsilon", 1e-5), node.makes(1)
    node.one_of("stash_type", (1,), 1)

    def run(x: Any, scale: Any, bias: Any = None) -> Any:
        shape = x.shape[axis % x.ndim :]
        if all(t is None or t.shape == shape for t in (scale, bias)):
            y = F.layer_norm(x, shape, scale, bias, eps)
        else:  # they broadcast
            y = F.layer_norm(x, shape, eps=eps) * scale
            y = y if bias is None else y + bias
        if not many:
            return y
        axes = tuple(range(axis % x.ndim, x.ndim))
        return y, reduce.mean(x, axes, True), (reduce.var(x, axes, correction=0, keepdim=True) + eps).rsqrt()

    return run


@row("GroupNormalization")
def group_norm(node: Node) -> Run:
    """Each group of channels of each image; scale and bias are one a group before version 21, and one a channel since."""
    eps, groups = node.get("epsilon", 1e-5), node.get("num_groups")
    node.one_of("stash_type", (1,), 1)

    def run(x: Any, scale: Any, bias: Any) -> Any:
        if node.version < 21:
            scale, bias = (repeat_interleave(t, x.shape[1] // groups) for t in (scale, bias))
        return over_groups(node.op, x, groups, scale, bias, eps)

    return run


@row("LRN")
def local_response_norm(node: Node) -> Run:
    """x / (bias + alpha / size * sum of squares)^beta, over `size` channels around each: of an even number one more after than before."""
    size, alpha, beta, bias = node.get("size"), node.get("alpha", 1e-4), node.get("beta", 0.75), node.get("bias", 1.0)

    def run(x: Any) -> Any:
        squares = F.pad(x * x, (*[0, 0] * (x.ndim - 2), (size - 1) // 2, size // 2))
        total = squares[:, : x.shape[1]]
        for k in range(1, size):
            total = total + squares[:, k : k + x.shape[1]]
        return x / (total * (alpha / size) + bias) ** beta

    return run


@row("LpNormalization")
def lp_normalization(node: Node) -> Run:
    """x divided by its p-norm along an axis; 0 where that is 0."""
    axis, p = node.get("axis", -1), node.one_of("p", (1, 2), 2)

    def run(x: Any) -> Any:
        norm = reduce.sum(x.abs() if p == 1 else x * x, axis, True)
        norm = norm if p == 1 else norm.sqrt()
        return x / (norm + (norm == 0).to(x.dtype))

    return run


@row("MeanVarianceNormalization")
def mean_variance(node: Node) -> Run:
    """x less its mean, over its standard deviation plus 1e-9."""
    axes = tuple(node.get("axes", [0, 2, 3]))

    def run(x: Any) -> Any:
        away = x - reduce.mean(x, axes, True)
        return away / (reduce.mean(away * away, axes, True).sqrt() + np.float32(1e-9).item())

    return run
