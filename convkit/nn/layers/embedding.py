"""Embedding: a vector for each word, and for each bag of words."""

from __future__ import annotations

from typing import Any

from ...autograd import no_grad
from ...tensor import Tensor
from .. import functional as F
from .. import init
from ..module import Module
from ..parameter import Parameter, new_parameter
from .checks import positive


class _Table(Module):
    """What both layers share: the table `weight` [num_embeddings, embedding_dim] and the options for picking rows."""

    weight: Parameter

    def __init__(
        self, num_embeddings: int, embedding_dim: int, padding_idx: int | None, max_norm: float | None, norm_type: float,
        scale_grad_by_freq: bool, sparse: bool, _weight: Tensor | None, _freeze: bool, device: Any, dtype: Any,
    ) -> None:  # fmt: skip
        super().__init__()
        layer = type(self).__name__
        if sparse:
            raise ValueError(f"{layer}: sparse gradients are not supported; with sparse=False the gradient is an array of the weight's shape")
        self.num_embeddings = positive(layer, "num_embeddings", num_embeddings)
        self.embedding_dim = positive(layer, "embedding_dim", embedding_dim)
        self.padding_idx = _row(layer, padding_idx, num_embeddings)
        self.max_norm, self.norm_type, self.scale_grad_by_freq, self.sparse = max_norm, norm_type, scale_grad_by_freq, sparse
        if _weight is None:
            self.weight = new_parameter(layer, (num_embeddings, embedding_dim), device, dtype)
            self.weight.requires_grad_(not _freeze)
            self.reset_parameters()
        else:
            if tuple(_weight.shape) != (num_embeddings, embedding_dim):
                raise ValueError(f"{layer}: _weight must have shape [{num_embeddings}, {embedding_dim}], got {list(_weight.shape)}")
            self.weight = Parameter(_weight, requires_grad=not _freeze)

    def reset_parameters(self) -> None:
        """Draw the table anew; the padding row is 0."""
        init.normal_(self.weight)
        if self.padding_idx is not None:
            with no_grad():
                self.weight[self.padding_idx] = 0

    @classmethod
    def _around(cls, embeddings: Tensor, freeze: bool, options: dict[str, Any]) -> Any:
        if len(embeddings.shape) != 2:
            raise ValueError(f"{cls.__name__}.from_pretrained: embeddings must be 2-D, got shape {list(embeddings.shape)}")
        layer = cls(*embeddings.shape, _weight=embeddings, **options)
        layer.weight.requires_grad_(not freeze)
        return layer

    def _shown(self, last: dict[str, Any]) -> str:
        """torch's line: what differs from the default."""
        options = {"max_norm": (self.max_norm, None), "norm_type": (self.norm_type, 2), "scale_grad_by_freq": (self.scale_grad_by_freq, False)}
        named = [f"{name}={value}" for name, (value, default) in options.items() if value != default]
        return ", ".join([f"{self.num_embeddings}, {self.embedding_dim}", *named, *(f"{k}={v!r}" for k, v in last.items() if v is not None)])


class Embedding(_Table):
    """A table of vectors: input of integers [...] -> output [..., embedding_dim], row by row of `weight`.

    Parameters: weight [num_embeddings, embedding_dim], normal with mean 0 and variance 1.  The row `padding_idx`, if given,
    starts at 0 and gets no gradient; it may count from the end.  Other options as in `functional.embedding`.

    Raises:
        ValueError: sizes below 1, a padding_idx out of range, sparse=True.

    >>> from convkit import nn, tensor
    >>> words = nn.Embedding(10, 4, padding_idx=0)
    >>> vectors = words(tensor([[1, 2, 0]]))
    >>> vectors.shape, vectors[0, 2].tolist()
    ((1, 3, 4), [0.0, 0.0, 0.0, 0.0])
    """

    def __init__(
        self, num_embeddings: int, embedding_dim: int, padding_idx: int | None = None, max_norm: float | None = None, norm_type: float = 2.0,
        scale_grad_by_freq: bool = False, sparse: bool = False, _weight: Tensor | None = None, _freeze: bool = False, device: Any = None,
        dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__(num_embeddings, embedding_dim, padding_idx, max_norm, norm_type, scale_grad_by_freq, sparse, _weight, _freeze, device, dtype)

    @classmethod
    def from_pretrained(
        cls, embeddings: Tensor, freeze: bool = True, padding_idx: int | None = None, max_norm: float | None = None, norm_type: float = 2.0,
        scale_grad_by_freq: bool = False, sparse: bool = False,
    ) -> Embedding:  # fmt: skip
        """A layer around a given table [num_embeddings, embedding_dim], which is learnt only if `freeze` is False."""
        options = {"padding_idx": padding_idx, "max_norm": max_norm, "norm_type": norm_type, "scale_grad_by_freq": scale_grad_by_freq}
        return cls._around(embeddings, freeze, {**options, "sparse": sparse})

    def forward(self, input: Tensor) -> Tensor:
        return F.embedding(input, self.weight, self.padding_idx, self.max_norm, self.norm_type, self.scale_grad_by_freq, self.sparse)

    def extra_repr(self) -> str:
        padding = "" if self.padding_idx is None else f", padding_idx={self.padding_idx}"
        sizes = f"{self.num_embeddings}, {self.embedding_dim}"
        return self._shown({}).replace(sizes, sizes + padding, 1)


class EmbeddingBag(_Table):
    """The sum, mean or maximum of the vectors of each bag of integers: [B, L], or [L] and offsets [B] -> [B, embedding_dim].

    Parameters: weight [num_embeddings, embedding_dim], normal with mean 0 and variance 1; options as in `functional.embedding_bag`.

    Raises:
        ValueError: sizes below 1, a padding_idx out of range, another mode, sparse=True.

    >>> from convkit import nn, tensor
    >>> nn.EmbeddingBag(10, 4, mode="sum")(tensor([1, 2, 4, 5]), tensor([0, 3])).shape
    (2, 4)
    """

    def __init__(
        self, num_embeddings: int, embedding_dim: int, max_norm: float | None = None, norm_type: float = 2.0, scale_grad_by_freq: bool = False,
        mode: str = "mean", sparse: bool = False, _weight: Tensor | None = None, include_last_offset: bool = False,
        padding_idx: int | None = None, device: Any = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__(num_embeddings, embedding_dim, padding_idx, max_norm, norm_type, scale_grad_by_freq, sparse, _weight, False, device, dtype)
        if mode not in ("sum", "mean", "max"):
            raise ValueError(f"EmbeddingBag: mode must be 'sum', 'mean' or 'max', got {mode!r}")
        self.mode, self.include_last_offset = mode, include_last_offset

    @classmethod
    def from_pretrained(
        cls, embeddings: Tensor, freeze: bool = True, max_norm: float | None = None, norm_type: float = 2.0, scale_grad_by_freq: bool = False,
        mode: str = "mean", sparse: bool = False, include_last_offset: bool = False, padding_idx: int | None = None,
    ) -> EmbeddingBag:  # fmt: skip
        """A layer around a given table [num_embeddings, embedding_dim], which is learnt only if `freeze` is False."""
        options = {"max_norm": max_norm, "norm_type": norm_type, "scale_grad_by_freq": scale_grad_by_freq, "mode": mode, "sparse": sparse}
        return cls._around(embeddings, freeze, {**options, "include_last_offset": include_last_offset, "padding_idx": padding_idx})

    def forward(self, input: Tensor, offsets: Tensor | None = None, per_sample_weights: Tensor | None = None) -> Tensor:
        return F.embedding_bag(
            input, self.weight, offsets, self.max_norm, self.norm_type, self.scale_grad_by_freq, self.mode, self.sparse,
            per_sample_weights, self.include_last_offset, self.padding_idx,
        )  # fmt: skip

    def extra_repr(self) -> str:
        return self._shown({"mode": self.mode, "padding_idx": self.padding_idx})


def _row(layer: str, padding_idx: int | None, rows: int) -> int | None:
    if padding_idx is None:
        return None
    if not -rows <= padding_idx < rows:
        raise ValueError(f"{layer}: padding_idx must be between {-rows} and {rows - 1}, got {padding_idx}")
    return padding_idx % rows
