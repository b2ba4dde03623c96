"""How alike, or how far from each other, vectors are."""

from __future__ import annotations

from ...tensor import Tensor
from .. import functional as F
from ..module import Module


class CosineSimilarity(Module):
    """The cosine of the angle between vectors along dimension `dim`; see `functional.cosine_similarity`.

    >>> from convkit import nn, tensor
    >>> nn.CosineSimilarity()(tensor([[1.0, 0.0]]), tensor([[0.0, 2.0]])).tolist()
    [0.0]
    """

    def __init__(self, dim: int = 1, eps: float = 1e-8) -> None:
        super().__init__()
        self.dim, self.eps = dim, eps

    def forward(self, x1: Tensor, x2: Tensor) -> Tensor:
        return F.cosine_similarity(x1, x2, self.dim, self.eps)


class PairwiseDistance(Module):
    """The distance of norm p between vectors [..., D], one by one; see `functional.pairwise_distance`.

    >>> from convkit import nn, tensor
    >>> nn.PairwiseDistance(p=1, eps=0.0)(tensor([[1.0, 0.0]]), tensor([[0.0, 2.0]])).tolist()
    [3.0]
    """

    def __init__(self, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> None:
        super().__init__()
        self.norm, self.eps, self.keepdim = p, eps, keepdim

    def forward(self, x1: Tensor, x2: Tensor) -> Tensor:
        return F.pairwise_distance(x1, x2, self.norm, self.eps, self.keepdim)
