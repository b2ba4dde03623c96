"""Neighbours in a `Sequential` that run as one operation: passes over memory less, forward and backward.

batch normalisation, ReLU               the same bits
convolution or dense layer, ReLU        the same bits
convolution, batch normalisation        in evaluation, where no gradient is recorded: the normalisation, y = s x + t by channel, is folded
                                        into the convolution's weights, so the last bits may differ; a ReLU behind it joins in
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..autograd import is_grad_enabled, is_observed
from ..tensor import Tensor
from .layers.activation import ReLU
from .layers.conv import Conv1d, Conv2d, Conv3d
from .layers.linear import Linear
from .layers.norm import BatchNorm1d, BatchNorm2d, BatchNorm3d
from .module import Module
from .utils.fusion import folded

_NORMS = {Conv1d: BatchNorm1d, Conv2d: BatchNorm2d, Conv3d: BatchNorm3d}
_BEFORE_RELU = frozenset((*_NORMS, Linear, *_NORMS.values()))
_BEHIND = frozenset((ReLU, *_NORMS.values()))


def run(modules: Iterable[Module], x: Any) -> Any:
    """The modules one after the other, as few operations as can be."""
    every = [*modules, None, None]
    i = 0
    while (first := every[i]) is not None:
        i += 1
        if type(first) not in _BEFORE_RELU or type(every[i]) not in _BEHIND or not _plain(first, type(first)):
            x = first(x)
            continue
        options: dict[str, Any] = {}
        if type(first) in _NORMS and _folds(first, every[i], x):
            options["weights"] = _folded(first, every[i])
            i += 1
        if _plain(every[i], ReLU):
            options["relu"] = True
            i += 1
        x = first.forward(x, **options)
    return x


def _plain(module: Any, *kinds: type) -> bool:
    """Whether a module is exactly one of these layers, and nobody would notice that it was not called: it has no hooks and no forward of its own."""
    return type(module) in kinds and not module._hooked() and "forward" not in module.__dict__


def _folds(conv: Any, norm: Any, x: Any) -> bool:
    """Whether `norm` can be folded into `conv`: it uses its running statistics, which fit, and nobody asks for gradients or looks on."""
    if not _plain(norm, _NORMS[type(conv)]) or norm.training or norm.running_mean is None or norm.running_var is None or is_observed():
        return False
    given = [x, *(t for t in (conv.weight, conv.bias, norm.weight, norm.bias) if t is not None)]
    if is_grad_enabled() and any(t.requires_grad for t in given):
        return False
    same = all(t.dtype == x.dtype for t in (*given, norm.running_mean, norm.running_var))
    return same and x.ndim == conv.rank + 2 and norm.num_features == conv.out_channels


def _folded(conv: Any, norm: Any) -> list[Tensor]:
    """Weight and bias of the convolution that does both."""
    tensors = conv.weight, conv.bias, norm.running_mean, norm.running_var, norm.weight, norm.bias
    arrays: list[Any] = [None if t is None else t.array for t in tensors]
    return [Tensor(a) for a in folded(*arrays, eps=norm.eps)]
