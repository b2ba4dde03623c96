"""Embedding: a vector for each word."""

from __future__ import annotations

from typing import Any

from ...autograd import no_grad
from ...tensor import Tensor
from .. import functional as F
from .. import init
from ..module import Module
from ..parameter import Parameter, new_parameter
from .checks import positive


class Embedding(Module):
    """A table of vectors: input of integers [...] -> output [..., embedding_dim], row by row of `weight`.

    Parameters: weight [num_embeddings, embedding_dim], normal with mean 0 and variance 1.  The row `padding_idx`, if given,
    starts at 0 and gets no gradient; it may count from the end.

    Raises:
        ValueError: sizes below 1, a padding_idx out of range.

    >>> from convkit import nn, tensor
    >>> words = nn.Embedding(10, 4, padding_idx=0)
    >>> vectors = words(tensor([[1, 2, 0]]))
    >>> vectors.shape, vectors[0, 2].tolist()
    ((1, 3, 4), [0.0, 0.0, 0.0, 0.0])
    """

    weight: Parameter

    def __init__(self, num_embeddings: int, embedding_dim: int, padding_idx: int | None = None, device: Any = None, dtype: Any = None) -> None:
        super().__init__()
        self.num_embeddings = positive("Embedding", "num_embeddings", num_embeddings)
        self.embedding_dim = positive("Embedding", "embedding_dim", embedding_dim)
        self.padding_idx = _row(padding_idx, num_embeddings)
        self.weight = new_parameter("Embedding", (num_embeddings, embedding_dim), device, dtype)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the table anew; the padding row is 0."""
        init.normal_(self.weight)
        if self.padding_idx is not None:
            with no_grad():
                self.weight[self.padding_idx] = 0

    @classmethod
    def from_pretrained(cls, embeddings: Tensor, freeze: bool = True, padding_idx: int | None = None) -> Embedding:
        """A layer around a given table [num_embeddings, embedding_dim], which is learnt only if `freeze` is False."""
        if len(embeddings.shape) != 2:
            raise ValueError(f"Embedding.from_pretrained: embeddings must be 2-D, got shape {list(embeddings.shape)}")
        layer = cls.__new__(cls)
        Module.__init__(layer)
        layer.num_embeddings, layer.embedding_dim = embeddings.shape
        layer.padding_idx = _row(padding_idx, embeddings.shape[0])
        layer.weight = Parameter(embeddings, requires_grad=not freeze)
        return layer

    def forward(self, x: Tensor) -> Tensor:
        return F.embedding(x, self.weight, self.padding_idx)

    def extra_repr(self) -> str:
        padding = "" if self.padding_idx is None else f", padding_idx={self.padding_idx}"
        return f"{self.num_embeddings}, {self.embedding_dim}{padding}"


def _row(padding_idx: int | None, rows: int) -> int | None:
    if padding_idx is None:
        return None
    if not -rows <= padding_idx < rows:
        raise ValueError(f"Embedding: padding_idx must be between {-rows} and {rows - 1}, got {padding_idx}")
    return padding_idx % rows
