"""Losses: one number that says how wrong predictions are."""

from __future__ import annotations

from ...tensor import Tensor
from .. import functional as F
from ..module import Module


class _Loss(Module):
    def __init__(self, reduction: str = "mean") -> None:
        super().__init__()
        if reduction not in ("mean", "sum", "none"):
            raise ValueError(f"{type(self).__name__}: reduction must be 'mean', 'sum' or 'none', got {reduction!r}")
        self.reduction = reduction


class CrossEntropyLoss(_Loss):
    """Cross-entropy of scores [N, C, ...] (before a softmax) and targets: class numbers [N, ...] or probabilities [N, C, ...].

        loss[n] = -weight[y] * log(softmax(scores[n])[y])          y = target[n]

    Args:
        weight: [C], how much each class counts; 'mean' then divides by the sum of the targets' weights.
        ignore_index: targets of this number do not count.
        reduction: 'mean', 'sum', or 'none' for one loss a target.
        label_smoothing: e replaces the target by (1 - e) * target + e / C.

    Raises:
        ValueError: another reduction, label_smoothing outside 0 .. 1.

    C. Szegedy et al., "Rethinking the Inception architecture for computer vision", CVPR 2016, for label smoothing.

    >>> from convkit import nn, tensor, zeros
    >>> round(nn.CrossEntropyLoss()(zeros(2, 10), tensor([3, 7])).item(), 4)   # log(10)
    2.3026
    """

    weight: Tensor | None

    def __init__(self, weight: Tensor | None = None, *, ignore_index: int = -100, reduction: str = "mean", label_smoothing: float = 0.0) -> None:
        super().__init__(reduction)
        if not 0 <= label_smoothing <= 1:
            raise ValueError(f"CrossEntropyLoss: label_smoothing must be between 0 and 1, got {label_smoothing}")
        self.register_buffer("weight", weight)
        self.ignore_index, self.label_smoothing = ignore_index, label_smoothing

    def forward(self, scores: Tensor, target: Tensor) -> Tensor:
        return F.cross_entropy(
            scores,
            target,
            weight=self.weight,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
            label_smoothing=self.label_smoothing,
        )


class NLLLoss(_Loss):
    """Negative log-likelihood: log-probabilities [N, C, ...] (of a `LogSoftmax`) and targets [N, ...] of class numbers.

        loss[n] = -weight[y] * log_probabilities[n, y]             y = target[n]

    Arguments as in `CrossEntropyLoss`, which is LogSoftmax and NLLLoss in one.
    """

    weight: Tensor | None

    def __init__(self, weight: Tensor | None = None, *, ignore_index: int = -100, reduction: str = "mean") -> None:
        super().__init__(reduction)
        self.register_buffer("weight", weight)
        self.ignore_index = ignore_index

    def forward(self, log_probabilities: Tensor, target: Tensor) -> Tensor:
        return F.nll_loss(log_probabilities, target, weight=self.weight, ignore_index=self.ignore_index, reduction=self.reduction)


class MSELoss(_Loss):
    """Squared error (x - y)^2 of tensors of the same shape; its mean, its sum, or 'none' for one an element.

    >>> from convkit import nn, tensor
    >>> nn.MSELoss()(tensor([1.0, 2.0]), tensor([1.0, 4.0])).item()
    2.0
    """

    def forward(self, x: Tensor, target: Tensor) -> Tensor:
        return F.mse_loss(x, target, reduction=self.reduction)
