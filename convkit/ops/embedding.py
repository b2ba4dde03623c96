"""Rows of a table: one by one, in bags, and as one-hot vectors."""

from __future__ import annotations

from typing import Any

import numpy as np

from convkit_kernels import geometry

from ..autograd import Function, TensorBase, fusion, once_differentiable, version_of
from ..device import kernels
from . import checks, indexing
from .elementwise import floating


class Embedding(Function):
    """y[...] = weight[index[...]]; in the gradient each row is divided by its number of places if `by_freq`."""

    @staticmethod
    def forward(ctx, weight, index, padding_idx, by_freq):
        ctx.index, ctx.rows, ctx.padding_idx, ctx.by_freq = index, weight.shape[0], padding_idx, by_freq
        return kernels(weight).embedding(weight, index)

    @staticmethod
    def backward(ctx, gy):
        gw = EmbeddingGrad.apply(gy, ctx.index, ctx.rows, ctx.padding_idx)
        return gw * _one_by_count(ctx.index, ctx.rows, gw.dtype) if ctx.by_freq else gw, None, None, None


class EmbeddingGrad(Function):
    """Gradients added up row by row, leaving out `padding_idx`."""

    @staticmethod
    def forward(ctx, gy, index, rows, padding_idx):
        ctx.index, ctx.padding_idx = index, padding_idx
        gw = kernels(gy).embedding_grad(gy, index, rows)
        if padding_idx is not None:
            gw[padding_idx] = 0
        return gw

    @staticmethod
    def backward(ctx, g):
        y = Embedding.apply(g, ctx.index, None, False)
        if ctx.padding_idx is not None:
            y = y * TensorBase.result((ctx.index != ctx.padding_idx).astype(y.dtype)[..., None])
        return y, None, None, None


class EmbeddingBag(Function):
    """y[b] = the sum, mean or maximum of rows of weight; of a sum the rows may be scaled."""

    @staticmethod
    def forward(ctx, weight, scale, index, start, mode, by_freq):
        ctx.index, ctx.start, ctx.mode, ctx.by_freq, ctx.rows = index, start, mode, by_freq, weight.shape[0]
        y, ctx.which = kernels(weight).embedding_bag(weight, index, start, scale, mode)
        if scale is not None:
            ctx.save_for_backward(weight, scale)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx, gy):
        weight, scale = (t.array for t in ctx.saved_tensors or (gy, gy))
        scaled = bool(ctx.saved_tensors)
        need_weight, need_scale, *_ = ctx.needs_input_grad
        k = kernels(gy.array)
        gw = gs = None
        if need_weight:
            gw = TensorBase.result(k.embedding_bag_grad(gy.array, ctx.index, ctx.start, scale if scaled else None, ctx.which, ctx.rows, ctx.mode))
            if ctx.by_freq:
                gw = gw * _one_by_count(ctx.index, ctx.rows, gw.dtype)
        if need_scale:
            counts = np.diff(ctx.start)
            bag = np.repeat(np.arange(counts.size, like=counts), counts)
            gs = TensorBase.result(k.sum(k.mul(k.embedding(gy.array, bag), k.embedding(weight, ctx.index)), (1,), False))
        return gw, gs, None, None, None, None


def _one_by_count(index: np.ndarray, rows: int, dtype: Any) -> Any:
    """1 / the number of places of each row, [rows, 1]."""
    counts = kernels(index).scatter(np.ones(index.size, like=index), index.reshape(-1), 0, rows)
    return TensorBase.result((1 / np.maximum(counts, 1)).astype(dtype)[:, None])


# ------------------------------------------------------------------------------------------ the checks
def _table(op: str, index: Any, weight: Any, padding_idx: int | None, sparse: bool) -> tuple[np.ndarray, int | None]:
    """(the indices as integers, padding_idx counted from the front), checked against weight [V, D]."""
    if sparse:
        raise ValueError(f"{op}: sparse gradients are not supported; with sparse=False the gradient is an array of the weight's shape")
    if not isinstance(index, TensorBase):
        raise TypeError(f"{op}: needs a tensor of indices, got {type(index).__name__}")
    i = index.array
    if i.dtype.kind not in "iu":
        raise TypeError(f"{op}: indices must be integers, got {i.dtype}")
    if floating(op, weight).ndim != 2:
        raise ValueError(f"{op}: weight must be [rows, features], got shape {list(weight.shape)}")
    rows = weight.shape[0]
    text = f"{op}: indices must be 0 to {rows - 1}, the rows of weight {list(weight.shape)}, got {{least}} to {{most}}"
    i, _ = kernels(i).inside(i, 0, rows - 1, IndexError, text)
    if padding_idx is not None:
        padding_idx = checks.whole(op, "padding_idx", padding_idx)
        if not -rows <= padding_idx < rows:
            raise IndexError(f"{op}: padding_idx must be one of the {rows} rows, got {padding_idx}")
        padding_idx %= rows
    return i, padding_idx


def _shorten(weight: Any, index: np.ndarray, max_norm: float | None, norm_type: float) -> None:
    """Scale the rows of weight that are picked, in place and outside the graph, to a norm of at most max_norm."""
    if max_norm is None or not index.size:
        return
    checks.number("embedding", "max_norm", max_norm)
    rows = np.unique(index)
    norms = np.linalg.norm(weight.array[rows], norm_type, axis=1)
    long = norms > max_norm
    if long.any():
        fusion.settle(weight.array)
        weight.array[rows[long]] *= (max_norm / (norms[long] + 1e-7)).astype(weight.dtype)[:, None]
        version_of(weight)[0] += 1


# -------------------------------------------------------------------------------------- the functions
def embedding(
    input: Any, weight: Any, padding_idx: int | None = None, max_norm: float | None = None, norm_type: float = 2.0,
    scale_grad_by_freq: bool = False, sparse: bool = False,
) -> Any:  # fmt: skip
    """The rows of weight [V, D] at `input` (integers of any shape) -> [*input.shape, D].

    The row `padding_idx` gets no gradient.  With `max_norm`, rows that are picked and whose norm (`norm_type`) is greater are first
    scaled down to it, in place; no gradient passes through that.  With `scale_grad_by_freq` the gradient of a row is divided by
    the number of its places.

    Raises:
        IndexError: an index outside 0 .. V-1, a padding_idx that is no row.
        TypeError: indices that are not integers, a weight that is not floating.
        ValueError: a weight that is not 2-D; sparse=True, which is not supported: gradients are arrays of the weight's shape.

    >>> import convkit
    >>> embedding(convkit.tensor([1, 0]), convkit.tensor([[1.0, 2.0], [3.0, 4.0]])).tolist()
    [[3.0, 4.0], [1.0, 2.0]]
    """
    i, padding_idx = _table("embedding", input, weight, padding_idx, sparse)
    _shorten(weight, i, max_norm, norm_type)
    return Embedding.apply(weight, i, padding_idx, bool(scale_grad_by_freq))


def embedding_bag(
    input: Any, weight: Any, offsets: Any = None, max_norm: float | None = None, norm_type: float = 2.0, scale_grad_by_freq: bool = False,
    mode: str = "mean", sparse: bool = False, per_sample_weights: Any = None, include_last_offset: bool = False,
    padding_idx: int | None = None,
) -> Any:  # fmt: skip
    """The 'sum', 'mean' or 'max' of rows of weight [V, D] for each bag of indices -> [B, D]; an empty bag gives 0.

    `input` [B, L] holds B bags of L indices; `input` [L] is cut at `offsets` [B], where the bags start (with include_last_offset, [B + 1]:
    the last one is where the last bag ends).  `per_sample_weights`, in the input's shape, multiply the rows of a sum.  Indices equal to
    `padding_idx` are left out.  `max_norm`, `norm_type` and `scale_grad_by_freq` as in `embedding`.  Differentiable once.

    Raises:
        IndexError: an index outside 0 .. V-1, a padding_idx that is no row.
        TypeError: indices or offsets that are not integers, a weight that is not floating.
        ValueError: shapes that do not fit, offsets that do not start at 0, decrease or leave the input, another mode, weights of
            samples unless the mode is 'sum', scale_grad_by_freq in mode 'max', sparse=True.

    >>> import convkit
    >>> table = convkit.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    >>> embedding_bag(convkit.tensor([0, 1, 2]), table, convkit.tensor([0, 2])).tolist()
    [[2.0, 3.0], [5.0, 6.0]]
    """
    op = "embedding_bag"
    if mode not in ("sum", "mean", "max"):
        raise ValueError(f"{op}: mode must be 'sum', 'mean' or 'max', got {mode!r}")
    i, padding_idx = _table(op, input, weight, padding_idx, sparse)
    if mode == "max" and scale_grad_by_freq:
        raise ValueError(f"{op}: mode 'max' has no frequencies to scale the gradient by")
    start = _starts(op, i, offsets, include_last_offset)
    i = i.reshape(-1)
    scale = per_sample_weights
    if scale is not None:
        if mode != "sum":
            raise ValueError(f"{op}: per_sample_weights need mode 'sum', got {mode!r}")
        if floating(op, scale).shape != input.shape or scale.dtype != weight.dtype:
            raise ValueError(
                f"{op}: per_sample_weights must have the input's shape {list(input.shape)} and the weight's dtype {weight.dtype}, "
                f"got {list(scale.shape)} of {scale.dtype}"
            )
        scale = scale.reshape(-1)
    _shorten(weight, i, max_norm, norm_type)
    if padding_idx is not None and (i == padding_idx).any():
        kept = i != padding_idx
        start = np.concatenate([[0], np.cumsum(kept)])[start]
        i, scale = i[kept], None if scale is None else scale[kept]
    return EmbeddingBag.apply(weight, scale, i, start, mode, bool(scale_grad_by_freq))


def _starts(op: str, index: np.ndarray, offsets: Any, include_last: bool) -> np.ndarray:
    """Where each bag starts, and where the last one ends."""
    if index.ndim == 2:
        if offsets is not None:
            raise ValueError(f"{op}: an input [B, L] has bags of one length and takes no offsets")
        return np.arange(index.shape[0] + 1, like=index) * index.shape[1]
    if index.ndim != 1 or offsets is None:
        raise ValueError(
            f"{op}: input must be [B, L], or [L] with offsets, got shape {list(index.shape)}{' without them' if offsets is None else ''}"
        )
    if not isinstance(offsets, TensorBase) or offsets.array.dtype.kind not in "iu":
        raise TypeError(f"{op}: offsets must be a tensor of integers, got {getattr(offsets, 'dtype', type(offsets).__name__)}")
    cuts = offsets.array.astype(np.int64)
    if cuts.ndim != 1 or include_last and not cuts.size:
        raise ValueError(f"{op}: offsets must be [B]{' or, with the last, [B + 1]' if include_last else ''}, got shape {list(cuts.shape)}")
    if not include_last:
        cuts = np.append(cuts, index.size)
    if cuts.size > 1 and (cuts[0] != 0 or (np.diff(cuts) < 0).any() or cuts[-1] > index.size):
        raise ValueError(f"{op}: offsets must start at 0, not decrease, and stay within the {index.size} indices, got {offsets.array.tolist()}")
    return cuts


def one_hot(input: Any, num_classes: int = -1) -> Any:
    """A one (int64) at each index: integers [...] -> [..., num_classes], by default as many as the greatest index asks for.

    TypeError for indices that are not integers, ValueError for negative ones, for one that is no class, and for no index at all
    without num_classes.

    >>> import convkit
    >>> one_hot(convkit.tensor([0, 2])).tolist()
    [[1, 0, 0], [0, 0, 1]]
    """
    if not isinstance(input, TensorBase) or input.array.dtype.kind not in "iu":
        raise TypeError(f"one_hot: needs a tensor of integers, got {getattr(input, 'dtype', type(input).__name__)}")
    i, num_classes = input.array, checks.whole("one_hot", "num_classes", num_classes)
    if not i.size and num_classes <= 0:
        raise ValueError("one_hot: num_classes must be given for a tensor without elements")
    i, _ = kernels(i).inside(i, 0, 2**63 - 1, ValueError, "one_hot: indices must not be negative, got {least}")
    if num_classes != -1 and num_classes < 1:
        raise ValueError(f"one_hot: num_classes must be positive, or -1 for as many as needed, got {num_classes}")
    if num_classes == -1:
        num_classes = int(i.max()) + 1
    geometry.fits("one_hot", (*i.shape, num_classes))
    i, _ = kernels(i).inside(i, 0, num_classes - 1, ValueError, f"one_hot: indices must be below num_classes {num_classes}, got {{most}}")
    return TensorBase.result(indexing.one_hot(i.astype(np.int64), num_classes, np.int64))
