"""Dropout."""

from __future__ import annotations

from typing import Any

from ...ops import checks
from ...ops.activation import not_inplace
from ...tensor import Tensor
from .. import functional as F
from ..module import Module


class Dropout(Module):
    """In training mode sets each number to 0 with probability p and multiplies the others by 1 / (1 - p); else gives its input.

    The choice comes from convkit's generator, which `manual_seed` sets.  ValueError unless 0 <= p <= 1, and for `inplace=True`.

    N. Srivastava et al., "Dropout: a simple way to prevent neural networks from overfitting", JMLR 15, 2014.

    >>> from convkit import nn, ones
    >>> layer = nn.Dropout(0.5)
    >>> sorted(set(layer(ones(100)).tolist()))
    [0.0, 2.0]
    >>> layer.eval()(ones(3)).tolist()
    [1.0, 1.0, 1.0]
    """

    function: Any = F.dropout

    def __init__(self, p: float = 0.5, inplace: bool = False) -> None:
        super().__init__()
        not_inplace(type(self).__name__, inplace)
        if not 0 <= checks.number(type(self).__name__, "p", p) <= 1:
            raise ValueError(f"{type(self).__name__}: p must be between 0 and 1, got {p}")
        self.p, self.inplace = p, inplace

    def forward(self, input: Tensor) -> Tensor:
        return type(self).function(input, self.p, self.training)

    def extra_repr(self) -> str:
        return f"p={self.p}, inplace={self.inplace}"


class Dropout1d(Dropout):
    """`Dropout` of whole channels of [N, C, L] or [C, L].

    >>> from convkit import nn, ones
    >>> nn.Dropout1d(1.0)(ones(2, 3, 4)).sum().item()
    0.0
    """

    function = F.dropout1d


class Dropout2d(Dropout):
    """`Dropout` of whole channels of [N, C, H, W].

    >>> from convkit import nn, ones
    >>> nn.Dropout2d(1.0)(ones(2, 3, 4, 4)).sum().item()
    0.0
    """

    function = F.dropout2d


class Dropout3d(Dropout):
    """`Dropout` of whole channels of [N, C, D, H, W] or [C, D, H, W].

    >>> from convkit import nn, ones
    >>> nn.Dropout3d(1.0)(ones(2, 3, 2, 2, 2)).sum().item()
    0.0
    """

    function = F.dropout3d


class AlphaDropout(Dropout):
    """Dropout for nets of `SELU`: keeps mean 0 and variance 1; see `functional.alpha_dropout`.

    >>> from convkit import nn, ones
    >>> len(set(nn.AlphaDropout(0.5)(ones(100)).tolist()))
    2
    """

    function = F.alpha_dropout


class FeatureAlphaDropout(Dropout):
    """`AlphaDropout` of whole channels of [N, C, ...].

    >>> from convkit import nn, ones
    >>> nn.FeatureAlphaDropout(0.5)(ones(2, 3, 4)).shape
    (2, 3, 4)
    """

    function = F.feature_alpha_dropout
