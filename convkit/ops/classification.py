"""Losses over classes: cross entropy and its relatives, Dice and focal loss."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..autograd import Function, TensorBase, is_grad_enabled
from ..device import kernels
from . import checks
from .activation import log_softmax, relu, sigmoid, softmax
from .elementwise import Expand, floating
from .functions import exp
from .indexing import Gather, ScatterAdd, gathered, one_hot, order
from .loss import Pointwise, Switch, check_reduction, of_one_shape, reduced, tensor, together
from .reduce import mean, sum


def _classes(op: str, x: Any, target: Any, ignore_index: int = -100) -> tuple[np.ndarray, np.ndarray | None]:
    """(class numbers, which of them count; None for all), checked against the scores x [N, C, ...]."""
    t, (batch, classes, *places) = target.array, x.array.shape
    if t.shape != (batch, *places):
        raise ValueError(f"{op}: input {list(x.shape)} needs targets of shape {[batch, *places]}, got {list(t.shape)}")
    text = f"{op}: targets must be classes 0 to {classes - 1} (or ignore_index {ignore_index}), got {{first}}"
    t, none_ignored = kernels(t).inside(t, 0, classes - 1, IndexError, text, checks.whole(op, "ignore_index", ignore_index))
    return t, None if none_ignored else t != ignore_index


def _weight_of_classes(op: str, x: Any, weight: Any) -> np.ndarray | None:
    if weight is None:
        return None
    if checks.tensor(f"{op}: weight", weight).shape != (x.shape[1],):
        raise ValueError(f"{op}: weight must have shape [{x.shape[1]}], one number a class, got {list(weight.shape)}")
    return weight.array.astype(x.dtype, copy=False)


def _targets(op: str, x: Any, target: Any, weight: Any, ignore_index: int) -> tuple[np.ndarray, np.ndarray | None, np.ndarray | None]:
    """(class numbers, weight of each class, weight of each element), checked; None for weights that are all 1."""
    if target.array.dtype.kind not in "iu":
        raise TypeError(f"{op}: class targets must be integers, got {target.dtype}")
    t, counted = _classes(op, x, target, ignore_index)
    per_class = _weight_of_classes(op, x, weight)
    if counted is None:
        return t, per_class, None if per_class is None else _at(per_class, t)
    if per_class is None:
        return t, None, counted.astype(x.dtype)
    return t, per_class, np.where(counted, _at(per_class, np.where(counted, t, 0)), 0).astype(x.dtype)


def _at(per_class: np.ndarray, t: np.ndarray) -> np.ndarray:
    """per_class[t], of classes that were checked."""
    return gathered(per_class, 0, t.reshape(-1), order(per_class)).reshape(t.shape)


def _factor(op: str, t: np.ndarray, share: np.ndarray | None, reduction: str, size_average: Switch, reduce: Switch) -> Any:
    """What the sum of the losses is multiplied by, None for no sum; the mean is weighted by `share`, and nan over nothing."""
    check_reduction(op, reduction, size_average, reduce)
    if reduction == "none":
        return None
    if reduction == "sum":
        return 1.0
    if share is None:
        return 1.0 / t.size if t.size else float("nan")
    with np.errstate(divide="ignore"):  # of nothing the sum is 0, and 0 times infinity nan
        return checks.array((1.0 / share.sum(dtype=np.float64)).astype(share.dtype))


def _times(g: Any, factor: Any) -> Any:
    return g * (factor if isinstance(factor, float) else TensorBase.result(factor))


def _batched(op: str, x: Any, target: Any) -> tuple[Any, Any, bool]:
    """(x [N, C, ...], its target, whether a batch of one was made of x [C])."""
    if not floating(op, x).ndim:
        raise ValueError(f"{op}: input must be [N, C, ...] or [C], got shape {list(x.shape)}")
    target = tensor(op, target)
    if x.ndim > 1:
        return x, target, False
    if target.array.dtype.kind in "iu" and target.ndim:
        raise ValueError(f"{op}: input {list(x.shape)} needs a target of shape [], got {list(target.shape)}")
    return x.unsqueeze(0), target.unsqueeze(0), True


class NegativeLikelihood(Function):
    """loss[n, ...] = -x[n, target[n, ...], ...], times `share` [n, ...] if given; with a `factor`, their sum times that."""

    @staticmethod
    def forward(ctx, x, target, ignore_index, share, factor):
        k, ignored = kernels(x), None if share is None else target == ignore_index
        if ignored is not None:
            target = np.where(ignored, 0, target)
        ctx.args, ctx.target, ctx.x = (share, factor), target, (x.shape, order(x))
        if x.ndim == 2 and x.flags.c_contiguous and share is None and factor is not None:  # mostly
            return k.mul(k.gather_sum(x, target), -factor)
        y = gathered(x, 1, target[:, None], ctx.x[1])[:, 0]
        if share is not None:
            y = np.where(ignored, share, k.mul(y, share))  # 0, whatever x is there
        return k.neg(y) if factor is None else k.mul(k.sum(y, tuple(range(y.ndim)), False), -factor)

    @staticmethod
    def backward(ctx, g):
        (share, factor), index = ctx.args, ctx.target[:, None]
        g = -g.unsqueeze(1) if factor is None else Expand.apply(_times(g, -factor), index.shape)
        if share is not None:
            g = g * TensorBase.result(share[:, None])
        return ScatterAdd.apply(g, 1, index, *ctx.x), None, None, None, None


def nll_loss(
    input: Any, target: Any, weight: Any = None, size_average: Switch = None, ignore_index: int = -100, reduce: Switch = None,
    reduction: str = "mean",
) -> Any:  # fmt: skip
    """-x at the target class: the negative log-likelihood of log-probabilities x [N, C, ...] (or [C]) for classes target [N, ...].

    Elements whose target is `ignore_index` count nothing; with `weight` [C] each counts as much as its class, and the mean is
    the weighted one.

    Raises:
        IndexError: a target that is no class.
        ValueError: shapes that do not fit, a wrong reduction.
        TypeError: an input that is not floating, targets that are not integers.

    >>> import convkit
    >>> nll_loss(convkit.tensor([[-1.0, -2.0], [-3.0, -4.0]]), convkit.tensor([0, 1])).item()
    2.5
    """
    x, target, alone = _batched("nll_loss", input, target)
    t, _, share = _targets("nll_loss", x, target, weight, ignore_index)
    factor = _factor("nll_loss", t, share, reduction, size_average, reduce)
    loss = NegativeLikelihood.apply(x, t, ignore_index, share, factor)
    return loss.squeeze(0) if alone and reduction == "none" else loss


class CrossEntropy(Function):
    """loss[n, ...] = -sum over classes c of q[c] * log_softmax(x)[n, c, ...], with the target distribution q of `cross_entropy`.

    With a `share`, their sum times that.
    """

    @staticmethod
    def forward(ctx, x, target, weight, ignore_index, label_smoothing, share):
        ctx.args, ctx.share = (target, weight, ignore_index, label_smoothing), share
        loss, logs = kernels(x).cross_entropy(x, *ctx.args)
        ctx.save_for_backward(x, logs)
        return loss if share is None else kernels(x).mul(kernels(x).sum(loss, tuple(range(loss.ndim)), False), share)

    @staticmethod
    def backward(ctx, g):
        x, logs = ctx.saved_tensors
        nothing = (None,) * 5
        if not is_grad_enabled():
            array = g.array
            k = kernels(array)
            if ctx.share is not None:
                one, array = k.mul(array, ctx.share), np.empty(ctx.args[0].shape, array.dtype, like=array)
                array[...] = one
            return TensorBase.result(k.cross_entropy_grad(array, logs.array, *ctx.args)), *nothing
        if ctx.share is not None:
            g = Expand.apply(_times(g, ctx.share), ctx.args[0].shape)
        # gx = g * (softmax(x) * sum(q) - q), in operations that can be differentiated again; q does not depend on x.
        target, weight, ignore_index, smoothing = ctx.args
        counted = target != ignore_index
        classes = x.shape[1]
        q = (1 - smoothing) * one_hot(np.where(counted, target, 0), classes, x.dtype) + smoothing / classes
        q = np.moveaxis(q * (1 if weight is None else weight) * counted[..., None], -1, 1).astype(x.dtype)
        total = TensorBase.result(q.sum(1, keepdims=True))
        return g.unsqueeze(1) * (softmax(x, 1) * total - TensorBase.result(q)), *nothing


def cross_entropy(
    input: Any, target: Any, weight: Any = None, size_average: Switch = None, ignore_index: int = -100, reduce: Switch = None,
    reduction: str = "mean", label_smoothing: float = 0.0,
) -> Any:  # fmt: skip
    """Cross entropy of `target` under the softmax of scores x [N, C, ...] (or [C]).

        loss = -sum over c of q[c] * log(softmax(x)[c])      q[c] = weight[c] * ((1 - e) * [c is the target] + e / C)

    with e = label_smoothing.  The target is class numbers [N, ...], or probabilities in the shape of x, which take the place of
    [c is the target].  Elements whose target is `ignore_index` count nothing; the mean over class numbers is weighted by the
    weight of the target classes, that over probabilities divides by the number of distributions, as in torch.

    Raises:
        IndexError: a target that is no class.
        ValueError: shapes that do not fit, label_smoothing outside 0 to 1, an ignore_index beside probabilities, a wrong reduction.
        TypeError: an input that is not floating, class numbers that are not integers.

    C. Szegedy et al., "Rethinking the Inception architecture for computer vision", CVPR 2016, for label smoothing.

    >>> import convkit
    >>> convkit.nn.functional.cross_entropy(convkit.zeros(4, 10), convkit.tensor([1, 2, 3, 4])).item()  # log(10)
    2.3025851249694824
    """
    op = "cross_entropy"
    if not 0.0 <= checks.number("cross_entropy", "label_smoothing", label_smoothing) <= 1.0:
        raise ValueError(f"{op}: label_smoothing must be 0 to 1, got {label_smoothing}")
    x, t, alone = _batched(op, input, target)
    if t.array.dtype.kind == "f" and t.shape == x.shape:
        loss = _of_probabilities(op, x, t, weight, size_average, ignore_index, reduce, reduction, label_smoothing)
    else:
        classes, per_class, share = _targets(op, x, t, weight, ignore_index)
        factor = _factor(op, classes, share, reduction, size_average, reduce)
        loss = CrossEntropy.apply(x, classes, per_class, ignore_index, float(label_smoothing), factor)
    return loss.squeeze(0) if alone and reduction == "none" else loss


def _of_probabilities(
    op: str, x: Any, t: Any, weight: Any, size_average: Switch, ignore_index: int, reduce: Switch, reduction: str, smoothing: float
) -> Any:
    if ignore_index >= 0:
        raise ValueError(f"{op}: ignore_index is a class number and does not apply to probabilities, got {ignore_index}")
    x, t = together(op, x, t)
    if smoothing:
        t = t * (1.0 - smoothing) + smoothing / x.shape[1]
    per_class = _weight_of_classes(op, x, weight)
    if per_class is not None:
        t = t * TensorBase.result(per_class.reshape(-1, *(1,) * (x.ndim - 2)))
    return reduced(op, -sum(t * log_softmax(x, 1), 1), reduction, size_average, reduce)


def multilabel_soft_margin_loss(
    input: Any, target: Any, weight: Any = None, size_average: Switch = None, reduce: Switch = None, reduction: str = "mean"
) -> Any:  # fmt: skip
    """The mean over classes, the last dimension, of the binary cross entropies of scores [..., C] and targets of 0 or 1.

    `weight` [C] multiplies each class.  ValueError for shapes that differ and a wrong reduction, TypeError for an input that is not
    floating.

    >>> import convkit
    >>> round(multilabel_soft_margin_loss(convkit.zeros(2, 3), convkit.ones(2, 3)).item(), 4)  # log(2)
    0.6931
    """
    op = "multilabel_soft_margin_loss"
    x, t = of_one_shape(op, input, target)
    if not x.ndim:
        raise ValueError(f"{op}: needs scores [..., C], got a tensor without dimensions")
    values = Pointwise.apply(x, t, "bce_with_logits", 0.0)
    if weight is not None:
        values = values * together(op, x, weight)[1]
    return reduced(op, mean(values, -1), reduction, size_average, reduce)


def multi_margin_loss(
    input: Any, target: Any, p: int = 1, margin: float = 1.0, weight: Any = None, size_average: Switch = None, reduce: Switch = None,
    reduction: str = "mean",
) -> Any:  # fmt: skip
    """How far the target's score stands above the others less than by `margin`, of scores x [N, C] (or [C]) and class numbers t [N].

        loss = w[t] / C sum over c != t of max(0, margin - x[t] + x[c])^p          p is 1 or 2, w is `weight` [C]

    Raises:
        IndexError: a target that is no class.
        ValueError: shapes that do not fit, another p, a wrong reduction.
        TypeError: an input that is not floating, targets that are not integers.

    >>> import convkit
    >>> multi_margin_loss(convkit.tensor([[0.5, 0.0, 0.25]]), convkit.tensor([0])).item()  # (0.5 + 0.75) / 3
    0.4166666865348816
    """
    op = "multi_margin_loss"
    if p not in (1, 2):
        raise ValueError(f"{op}: p must be 1 or 2, got {p}")
    x, target, alone = _batched(op, input, target)
    if x.ndim != 2 or not x.shape[1]:
        raise ValueError(f"{op}: input must be [N, C] or [C] with some classes, got shape {list(input.shape)}")
    t, per_class, share = _targets(op, x, target, weight, ignore_index=-(1 << 62))
    z = relu(x - (Gather.apply(x, 1, t[:, None]) - checks.number(op, "margin", margin)))
    others = (np.arange(x.shape[1], like=t) != t[:, None]).astype(x.dtype)
    losses = sum((z if p == 1 else z * z) * TensorBase.result(others), 1) * (1.0 / x.shape[1])
    loss = reduced(op, losses if share is None else losses * TensorBase.result(share), reduction, size_average, reduce)
    return loss.squeeze(0) if alone and reduction == "none" else loss


def multilabel_margin_loss(input: Any, target: Any, size_average: Switch = None, reduce: Switch = None, reduction: str = "mean") -> Any:
    """How far scores of labels stand above those of the other classes less than by 1, of scores x [N, C] (or [C]).

        loss = 1 / C sum over labels t, and classes c that are none, of max(0, 1 - x[t] + x[c])

    The target, of the shape of x, lists each row's labels; the first -1 ends the list, and what comes after it is not read.
    Takes a number of memory for each row, label and class.

    Raises:
        IndexError: a target that is no class and not -1.
        ValueError: shapes that differ, a wrong reduction.
        TypeError: an input that is not floating, targets that are not integers.

    >>> import convkit
    >>> x, labels = convkit.tensor([[0.1, 0.2, 0.4, 0.8]]), convkit.tensor([[3, 0, -1, 1]])
    >>> round(multilabel_margin_loss(x, labels).item(), 4)
    0.85
    """
    op = "multilabel_margin_loss"
    t = tensor(op, target).array
    if t.dtype.kind not in "iu":
        raise TypeError(f"{op}: class targets must be integers, got {target.dtype}")
    if floating(op, input).ndim not in (1, 2) or t.shape != input.shape or not t.shape[-1]:
        raise ValueError(f"{op}: input [N, C] or [C] and target must have one shape, got {list(input.shape)} and {list(t.shape)}")
    x, t = (input, t) if input.ndim == 2 else (input.unsqueeze(0), t[None])
    rows, classes = t.shape
    if t.size and not (-1 <= t.min() and t.max() < classes):
        raise IndexError(f"{op}: targets must be classes 0 to {classes - 1}, or -1 behind the last, got {int(t.min())} to {int(t.max())}")
    listed = np.logical_and.accumulate(t >= 0, 1)
    most = int(listed.sum(1).max(initial=0))
    listed, t = listed[:, :most], np.where(listed, t, 0)[:, :most]
    other = np.ones((rows, classes), x.dtype, like=t)
    other[np.nonzero(listed)[0], t[listed]] = 0
    pairs = TensorBase.result(listed[:, :, None] * other[:, None])
    gaps = relu(x.unsqueeze(1) - Gather.apply(x, 1, t).unsqueeze(2) + 1.0)
    loss = reduced(op, sum(gaps * pairs, (1, 2)) * (1.0 / classes), reduction, size_average, reduce)
    return loss.squeeze(0) if input.ndim == 1 and reduction == "none" else loss


# --------------------------------------------------------------------------------------------- our own
def dice_loss(input: Any, target: Any, smooth: float = 1.0, reduction: str = "mean") -> Any:
    """1 - D of each image and class, where D is the overlap of probabilities p [N, C, ...] with a target g: 1 if they agree.

        loss[n, c] = 1 - (2 sum p g + smooth) / (sum p^2 + sum g^2 + smooth)          sums over an image's places

    The target has the shape of p, or is class numbers [N, ...].  `smooth` keeps the loss of a class that is nowhere finite.
    'none' gives [N, C].

    Raises:
        IndexError: a target that is no class.
        ValueError: shapes that do not fit, a negative smooth, a wrong reduction.
        TypeError: an input that is not floating.

    F. Milletari, N. Navab, S.-A. Ahmadi, "V-Net: Fully convolutional neural networks for volumetric medical image segmentation",
    3DV 2016.

    >>> import convkit
    >>> dice_loss(convkit.tensor([[[1.0, 0.0]]]), convkit.tensor([[[1.0, 1.0]]]), smooth=0.0, reduction="none").tolist()
    [[0.3333333134651184]]
    """
    op = "dice_loss"
    if floating(op, input).ndim < 2:
        raise ValueError(f"{op}: input must be [N, C, ...], got shape {list(input.shape)}")
    if not checks.number(op, "smooth", smooth) >= 0:
        raise ValueError(f"{op}: smooth must not be negative, got {smooth}")
    p, g = input, tensor(op, target)
    if g.shape != p.shape and g.array.dtype.kind in "iu":
        classes, _ = _classes(op, p, g, ignore_index=-(1 << 62))
        g = TensorBase.result(np.moveaxis(one_hot(classes, p.shape[1], p.dtype), -1, 1))
    p, g = of_one_shape(op, p, g)
    if p.ndim == 2:
        p, g = p.unsqueeze(-1), g.unsqueeze(-1)
    places = tuple(range(2, p.ndim))
    overlap = sum(p * g, places) * 2.0 + smooth
    return reduced(op, 1.0 - overlap / (sum(p * p, places) + sum(g * g, places) + smooth), reduction)


def focal_loss(input: Any, target: Any, alpha: Any = None, gamma: float = 2.0, reduction: str = "mean") -> Any:
    """Cross entropy in which what is already well classified counts little: -a (1 - q)^gamma log q, q the target's probability.

    Of scores x, before a sigmoid, with targets of 0 to 1 in the shape of x: q = sigmoid(x) where the target is 1, else
    1 - sigmoid(x), and a = alpha where the target is 1, else 1 - alpha (1 if alpha is None).  Of scores x [N, C, ...], before a
    softmax, with class numbers [N, ...]: q is the softmax at the target, and alpha, [C] or None, weighs the classes.

    Raises:
        IndexError: a target that is no class.
        ValueError: shapes that do not fit, a negative gamma, an alpha outside 0 to 1, a wrong reduction.
        TypeError: an input that is not floating.

    T.-Y. Lin et al., "Focal loss for dense object detection", ICCV 2017: alpha = 0.25, gamma = 2.

    >>> import convkit
    >>> round(focal_loss(convkit.zeros(1), convkit.ones(1)).item(), 4)  # log(2) / 4
    0.1733
    """
    op = "focal_loss"
    if not checks.number(op, "gamma", gamma) >= 0:
        raise ValueError(f"{op}: gamma must not be negative, got {gamma}")
    if tensor(op, target).array.dtype.kind in "iu" and target.shape != floating(op, input).shape:
        if input.ndim < 2:
            raise ValueError(f"{op}: input must be [N, C, ...], got shape {list(input.shape)}")
        if not (alpha is None or isinstance(alpha, TensorBase)):
            raise TypeError(f"{op}: with class numbers alpha must be a tensor [C] or None, got {alpha!r}")
        losses = cross_entropy(input, target, reduction="none")
        losses = _modulated(losses, 1.0 - exp(-losses), gamma)
        per_class = _weight_of_classes(op, input, alpha)
        return reduced(op, losses if per_class is None else losses * TensorBase.result(_at(per_class, target.array)), reduction)
    x, t = of_one_shape(op, input, target)
    # 1 - q, without the loss of digits of 1 - sigmoid(x) where that is small.
    losses = _modulated(Pointwise.apply(x, t, "bce_with_logits", 0.0), sigmoid(x) * (1.0 - t) + sigmoid(-x) * t, gamma)
    if alpha is not None:
        if not 0 <= alpha <= 1:
            raise ValueError(f"{op}: alpha must be 0 to 1, got {alpha}")
        losses = losses * (t * (2.0 * alpha - 1.0) + (1.0 - alpha))
    return reduced(op, losses, reduction)


def _modulated(losses: Any, miss: Any, gamma: float) -> Any:
    return losses if gamma == 0 else losses * (miss * miss if gamma == 2 else miss**gamma)
