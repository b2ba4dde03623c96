"""Losses as layers: each is a function of `nn.functional` with its parameters kept."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from ...ops.loss import check_reduction
from ...tensor import Tensor
from .. import functional as F
from ..module import Module
from .distance import PairwiseDistance


class _Loss(Module):
    """A row of the table of losses: `function(*inputs, **parameters)`.

    The layer's arguments are those arguments of the function that have a default, in its order, but for `without`; they are
    attributes of the same names, and tensors among them are buffers.
    """

    function: Callable[..., Tensor]
    keyword_only = False  # as in torch, where a layer is so
    without: tuple[str, ...] = ()

    def __init_subclass__(cls) -> None:
        if "function" not in cls.__dict__:
            return
        cls._signature = _signature_of_layer(cls)
        cls._kept = [name for name in cls._signature.parameters if name not in ("size_average", "reduce")]
        cls.__signature__ = cls._signature  # type: ignore[attr-defined]  # what help() and inspect show

    _signature: inspect.Signature
    _kept: list[str]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()
        name = type(self).__name__
        try:
            given = self._signature.bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(f"{name}: {error}; it takes {self._signature}") from None
        given.apply_defaults()
        values = given.arguments
        also = ("batchmean",) if self.function is F.kl_div else ()
        if values["reduction"] not in also:
            check_reduction(name, values["reduction"], values.get("size_average"), values.get("reduce"))
        for key in self._kept:
            if key in ("weight", "pos_weight") or isinstance(values[key], Tensor):
                self.register_buffer(key, values[key])
            else:
                setattr(self, key, values[key])

    def forward(self, *inputs: Tensor, **named: Tensor) -> Tensor:
        return type(self).function(*inputs, **named, **{key: getattr(self, key) for key in self._kept})


def _signature_of_layer(cls: type[_Loss]) -> inspect.Signature:
    parameters = [
        p.replace(kind=p.KEYWORD_ONLY if cls.keyword_only else p.kind)
        for p in inspect.signature(cls.function).parameters.values()
        if p.default is not p.empty and p.name not in cls.without
    ]
    return inspect.Signature(parameters)


# ------------------------------------------------------------------------------------- over classes
class CrossEntropyLoss(_Loss):
    """`functional.cross_entropy` of scores [N, C, ...], before a softmax, and class numbers [N, ...] or probabilities.

    >>> from convkit import nn, tensor, zeros
    >>> round(nn.CrossEntropyLoss()(zeros(2, 10), tensor([3, 7])).item(), 4)   # log(10)
    2.3026
    """

    function = staticmethod(F.cross_entropy)


class NLLLoss(_Loss):
    """`functional.nll_loss` of log-probabilities [N, C, ...], of a `LogSoftmax`, and class numbers [N, ...].

    >>> from convkit import nn, tensor
    >>> nn.NLLLoss()(tensor([[-1.0, -2.0]]), tensor([1])).item()
    2.0
    """

    function = staticmethod(F.nll_loss)


class MultiLabelSoftMarginLoss(_Loss):
    """`functional.multilabel_soft_margin_loss` of scores and targets of 0 or 1, both [..., C].

    >>> from convkit import nn, zeros
    >>> round(nn.MultiLabelSoftMarginLoss()(zeros(2, 3), zeros(2, 3)).item(), 4)
    0.6931
    """

    function = staticmethod(F.multilabel_soft_margin_loss)


class MultiMarginLoss(_Loss):
    """`functional.multi_margin_loss` of scores [N, C] and class numbers [N].

    >>> from convkit import nn, tensor, zeros
    >>> nn.MultiMarginLoss()(zeros(1, 4), tensor([2])).item()
    0.75
    """

    function = staticmethod(F.multi_margin_loss)


class MultiLabelMarginLoss(_Loss):
    """`functional.multilabel_margin_loss` of scores [N, C] and, as long, lists of labels that end at the first -1.

    >>> from convkit import nn, tensor, zeros
    >>> nn.MultiLabelMarginLoss()(zeros(1, 4), tensor([[3, 0, -1, 1]])).item()
    1.0
    """

    function = staticmethod(F.multilabel_margin_loss)


class DiceLoss(_Loss):
    """`functional.dice_loss` of probabilities [N, C, ...] and a target of that shape or class numbers: 1 - overlap.

    >>> from convkit import nn, ones
    >>> nn.DiceLoss()(ones(1, 1, 4, 4), ones(1, 1, 4, 4)).item()
    0.0
    """

    function = staticmethod(F.dice_loss)


class FocalLoss(_Loss):
    """`functional.focal_loss` of scores and targets of 0 to 1, or of scores [N, C, ...] and class numbers.

    >>> from convkit import nn, zeros, ones
    >>> round(nn.FocalLoss(alpha=0.25, gamma=2.0)(zeros(1), ones(1)).item(), 4)
    0.0433
    """

    function = staticmethod(F.focal_loss)


# -------------------------------------------------------------------------------- element by element
class MSELoss(_Loss):
    """`functional.mse_loss`: the squared error (x - t)^2.

    >>> from convkit import nn, tensor
    >>> nn.MSELoss()(tensor([1.0, 2.0]), tensor([1.0, 4.0])).item()
    2.0
    """

    function = staticmethod(F.mse_loss)
    without = ("weight",)


class L1Loss(_Loss):
    """`functional.l1_loss`: the absolute error |x - t|.

    >>> from convkit import nn, tensor
    >>> nn.L1Loss()(tensor([1.0, 2.0]), tensor([1.0, 4.0])).item()
    1.0
    """

    function = staticmethod(F.l1_loss)
    without = ("weight",)


class SmoothL1Loss(_Loss):
    """`functional.smooth_l1_loss`: squared below beta, absolute above, divided by beta.

    >>> from convkit import nn, tensor
    >>> nn.SmoothL1Loss(beta=2.0)(tensor([0.0]), tensor([1.0])).item()
    0.25
    """

    function = staticmethod(F.smooth_l1_loss)


class HuberLoss(_Loss):
    """`functional.huber_loss`: squared below delta, absolute above.

    >>> from convkit import nn, tensor
    >>> nn.HuberLoss(delta=2.0)(tensor([0.0]), tensor([3.0])).item()
    4.0
    """

    function = staticmethod(F.huber_loss)
    without = ("weight",)


class BCELoss(_Loss):
    """`functional.binary_cross_entropy` of probabilities and targets from 0 to 1.

    >>> from convkit import nn, tensor
    >>> round(nn.BCELoss()(tensor([0.5]), tensor([1.0])).item(), 4)
    0.6931
    """

    function = staticmethod(F.binary_cross_entropy)


class BCEWithLogitsLoss(_Loss):
    """`functional.binary_cross_entropy_with_logits` of scores, before a sigmoid, and targets from 0 to 1.

    >>> from convkit import nn, tensor
    >>> nn.BCEWithLogitsLoss(pos_weight=tensor([3.0]))(tensor([-100.0]), tensor([1.0])).item()
    300.0
    """

    function = staticmethod(F.binary_cross_entropy_with_logits)


class KLDivLoss(_Loss):
    """`functional.kl_div` of log-probabilities and probabilities; reduction='batchmean' is the divergence.

    >>> from convkit import nn, tensor
    >>> nn.KLDivLoss(reduction="batchmean")(tensor([[0.5, 0.5]]).log(), tensor([[0.5, 0.5]])).item()
    0.0
    """

    function = staticmethod(F.kl_div)


class SoftMarginLoss(_Loss):
    """`functional.soft_margin_loss`: log(1 + exp(-t x)) for targets of -1 or 1.

    >>> from convkit import nn, tensor
    >>> round(nn.SoftMarginLoss()(tensor([0.0]), tensor([1.0])).item(), 4)
    0.6931
    """

    function = staticmethod(F.soft_margin_loss)


class PoissonNLLLoss(_Loss):
    """`functional.poisson_nll_loss` of logarithms of rates (or rates) and counts.

    >>> from convkit import nn, tensor
    >>> nn.PoissonNLLLoss()(tensor([0.0]), tensor([3.0])).item()
    1.0
    """

    function = staticmethod(F.poisson_nll_loss)


class GaussianNLLLoss(_Loss):
    """`functional.gaussian_nll_loss` of means, targets and variances.

    >>> from convkit import nn, ones, zeros
    >>> nn.GaussianNLLLoss()(zeros(3), ones(3), ones(3)).item()
    0.5
    """

    function = staticmethod(F.gaussian_nll_loss)
    keyword_only = True


# ----------------------------------------------------------------------------------------- by margins
class HingeEmbeddingLoss(_Loss):
    """`functional.hinge_embedding_loss` of distances and targets of 1 or -1.

    >>> from convkit import nn, tensor
    >>> nn.HingeEmbeddingLoss()(tensor([0.25]), tensor([-1.0])).item()
    0.75
    """

    function = staticmethod(F.hinge_embedding_loss)


class MarginRankingLoss(_Loss):
    """`functional.margin_ranking_loss` of two tensors of scores, and 1 or -1 for which is to be the higher.

    >>> from convkit import nn, tensor
    >>> nn.MarginRankingLoss()(tensor([1.0]), tensor([3.0]), tensor([1.0])).item()
    2.0
    """

    function = staticmethod(F.margin_ranking_loss)


class CosineEmbeddingLoss(_Loss):
    """`functional.cosine_embedding_loss` of two batches of vectors, and 1 or -1 for alike or different.

    >>> from convkit import nn, tensor
    >>> nn.CosineEmbeddingLoss()(tensor([[1.0, 0.0]]), tensor([[0.0, 1.0]]), tensor([1])).item()
    1.0
    """

    function = staticmethod(F.cosine_embedding_loss)


class TripletMarginLoss(_Loss):
    """`functional.triplet_margin_loss` of anchors, positives and negatives, [N, D] each.

    >>> from convkit import nn, zeros
    >>> nn.TripletMarginLoss(margin=0.5)(zeros(2, 3), zeros(2, 3), zeros(2, 3)).item()
    0.5
    """

    function = staticmethod(F.triplet_margin_loss)


class TripletMarginWithDistanceLoss(_Loss):
    """`functional.triplet_margin_with_distance_loss`: a distance function of your own.

    >>> from convkit import nn, zeros
    >>> nn.TripletMarginWithDistanceLoss(distance_function=nn.PairwiseDistance(1))(zeros(2, 3), zeros(2, 3), zeros(2, 3)).item()
    1.0
    """

    function = staticmethod(F.triplet_margin_with_distance_loss)
    keyword_only = True
    distance_function: Any

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.distance_function is None:
            self.distance_function = PairwiseDistance()
