"""Dropout of numbers and of whole channels (Srivastava et al., 2014), also for nets of selu (Klambauer et al., 2017)."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np

from ..autograd import Function
from ..device import kernels
from ..random import default_generator
from . import checks
from .activation import not_inplace
from .elementwise import floating


class Dropout(Function):
    """Elements, or whole channels of x [N, C, ...], kept with probability 1 - p and scaled by 1 / (1 - p).  The mask is a function of
    (seed, offset), so it is drawn again instead of stored, and the gradient is the same function of gy."""

    @staticmethod
    def forward(ctx, x, p, seed, offset, channels=False):
        ctx.args = p, seed, offset, channels
        k = kernels(x)
        if not channels:
            return k.dropout(x, p, seed, offset)
        factors = k.dropout(np.ones_like(x, shape=x.shape[:2]), p, seed, offset)
        return k.norm(x, np.zeros_like(factors), factors, None, None)

    @staticmethod
    def backward(ctx, gy):
        return Dropout.apply(gy, *ctx.args), None, None, None


def _checked(op: str, x: Any, p: float, training: bool, inplace: bool) -> bool:
    """Whether there is anything to drop; ValueError for a p that is no probability or inplace, TypeError unless x is floating."""
    not_inplace(op, inplace)
    if not 0.0 <= checks.number(op, "p", p) <= 1.0:
        raise ValueError(f"{op}: p must be 0 to 1, got {p}")
    floating(op, x)
    return bool(training) and p > 0.0


def dropout(input: Any, p: float = 0.5, training: bool = True, inplace: bool = False) -> Any:
    """input with elements set to zero with probability p and the others scaled by 1 / (1 - p); input itself when not training.

    >>> import convkit
    >>> dropout(convkit.ones(3), 1.0).tolist(), dropout(convkit.ones(3), training=False).tolist()
    ([0.0, 0.0, 0.0], [1.0, 1.0, 1.0])
    """
    if not _checked("dropout", input, p, training, inplace):
        return input
    return Dropout.apply(input, float(p), *default_generator.take())


def _drop_channels(op: str, x: Any, p: float, training: bool, inplace: bool, rank: int) -> Any:
    some = _checked(op, x, p, training, inplace)
    batched, single = rank + 2, rank + 1
    if x.ndim not in (batched, single):
        told = f"{op}: input must be {batched}-D [N, C, ...] or {single}-D [C, ...], got shape {list(x.shape)}"
        if rank == 1 or x.ndim < 2:
            raise ValueError(told)
        warnings.warn(f"{told}, in which dimension 1 is taken for the channels; use dropout instead", UserWarning, stacklevel=3)
    # As in torch, dropout2d reads three dimensions as [N, C, L].
    if rank == 2 and x.ndim == 3:
        warnings.warn("dropout2d: a 3-D input is taken for [N, C, L], as in torch; use dropout1d instead", UserWarning, stacklevel=3)
    if not some:
        return x
    if x.ndim == single and rank != 2:
        return Dropout.apply(x.unsqueeze(0), float(p), *default_generator.take(), True).squeeze(0)
    return Dropout.apply(x, float(p), *default_generator.take(), True)


def dropout1d(input: Any, p: float = 0.5, training: bool = True, inplace: bool = False) -> Any:
    """input [N, C, L] or [C, L] with whole channels set to zero with probability p and the others scaled by 1 / (1 - p).

    >>> import convkit
    >>> dropout1d(convkit.ones(2, 3, 4), 1.0).sum().item()
    0.0
    """
    return _drop_channels("dropout1d", input, p, training, inplace, 1)


def dropout2d(input: Any, p: float = 0.5, training: bool = True, inplace: bool = False) -> Any:
    """input [N, C, H, W] with whole channels set to zero with probability p and the others scaled by 1 / (1 - p).

    J. Tompson and others, "Efficient object localization using convolutional networks", CVPR 2015.

    >>> import convkit
    >>> dropout2d(convkit.ones(2, 3, 4, 4), 1.0).sum().item()
    0.0
    """
    return _drop_channels("dropout2d", input, p, training, inplace, 2)


def dropout3d(input: Any, p: float = 0.5, training: bool = True, inplace: bool = False) -> Any:
    """input [N, C, D, H, W] or [C, D, H, W] with whole channels set to zero with probability p and the others scaled by 1 / (1 - p).

    >>> import convkit
    >>> dropout3d(convkit.ones(2, 3, 2, 2, 2), 1.0).sum().item()
    0.0
    """
    return _drop_channels("dropout3d", input, p, training, inplace, 3)


_LEAST = 1.7580993408473766  # what selu gives at -infinity, with its sign changed


def _alpha(x: Any, p: float, channels: bool) -> Any:
    """Dropped numbers become -_LEAST; then all are scaled by `a` and moved so that mean 0 and variance 1 stay."""
    if p == 1.0:
        return x * 0.0
    a = 1.0 / math.sqrt((_LEAST**2 * p + 1.0) * (1.0 - p))
    kept = Dropout.apply(x + _LEAST, float(p), *default_generator.take(), channels)
    return kept * (a * (1.0 - p)) - _LEAST * a * (1.0 - p)


def alpha_dropout(input: Any, p: float = 0.5, training: bool = False, inplace: bool = False) -> Any:
    """input with elements set, with probability p, to what selu gives at -infinity, then scaled and moved: mean 0 and variance 1 stay.

    G. Klambauer and others, "Self-normalizing neural networks", NeurIPS 2017.

    >>> import convkit
    >>> len(set(alpha_dropout(convkit.ones(100), 0.5, training=True).tolist()))
    2
    """
    return _alpha(input, p, False) if _checked("alpha_dropout", input, p, training, inplace) else input


def feature_alpha_dropout(input: Any, p: float = 0.5, training: bool = False, inplace: bool = False) -> Any:
    """`alpha_dropout` of whole channels of input [N, C, ...]; ValueError for fewer than 2 dimensions.

    >>> import convkit
    >>> feature_alpha_dropout(convkit.ones(2, 3, 4), 0.5, training=True).shape
    (2, 3, 4)
    """
    if not _checked("feature_alpha_dropout", input, p, training, inplace):
        return input
    if input.ndim < 2:
        raise ValueError(f"feature_alpha_dropout: input must be [N, C, ...], got shape {list(input.shape)}")
    return _alpha(input, p, True)
