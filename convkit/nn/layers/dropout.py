"""Dropout."""

from __future__ import annotations

from ...tensor import Tensor
from .. import functional as F
from ..module import Module


class Dropout(Module):
    """In training mode sets each number to 0 with probability p and multiplies the others by 1 / (1 - p); else gives its input.

    The choice comes from convkit's generator, which `manual_seed` sets.  `inplace` changes nothing.
    ValueError unless 0 <= p <= 1.

    N. Srivastava et al., "Dropout: a simple way to prevent neural networks from overfitting", JMLR 15, 2014.

    >>> from convkit import nn, ones
    >>> layer = nn.Dropout(0.5)
    >>> sorted(set(layer(ones(100)).tolist()))
    [0.0, 2.0]
    >>> layer.eval()(ones(3)).tolist()
    [1.0, 1.0, 1.0]
    """

    def __init__(self, p: float = 0.5, inplace: bool = False) -> None:
        super().__init__()
        if not 0 <= p <= 1:
            raise ValueError(f"Dropout: p must be between 0 and 1, got {p}")
        self.p, self.inplace = p, inplace

    def forward(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.p, self.training)

    def extra_repr(self) -> str:
        return f"p={self.p}, inplace={self.inplace}"
