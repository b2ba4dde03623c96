"""The same numbers in another arrangement: views, indexing, joining."""

from __future__ import annotations

import itertools
import math
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from convkit_kernels.layout import from_channels_last, is_channels_last

from ..autograd import Function, version_of
from ..device import kernels, move
from . import checks
from .elementwise import Cast, Expand, result_type

LARGE = 4096  # elements, below which a copy by NumPy is done sooner


class Reshape(Function):
    @staticmethod
    def forward(ctx, x, shape):
        ctx.shape = x.shape
        if not x.flags.c_contiguous:
            try:
                return np.reshape(x, shape, copy=False)
            except ValueError:  # no view of this memory has that shape
                x = kernels(x).contiguous(x)
        return x.reshape(shape)

    @staticmethod
    def backward(ctx, gy):
        return Reshape.apply(gy, ctx.shape), None


class Permute(Function):
    @staticmethod
    def forward(ctx, x, dims):
        ctx.dims = dims
        return x.transpose(dims)

    @staticmethod
    def backward(ctx, gy):
        return Permute.apply(gy, tuple(np.argsort(ctx.dims).tolist())), None


class Cat(Function):
    @staticmethod
    def forward(ctx, *arrays, dim):
        ctx.dim, ctx.ends = dim, np.cumsum([a.shape[dim] for a in arrays]).tolist()
        return joined(arrays, dim)

    @staticmethod
    def backward(ctx, gy):
        return tuple(g if need else None for g, need in zip(Split.apply(gy, ctx.dim, ctx.ends), ctx.needs_input_grad, strict=True))


class Split(Function):
    """The parts of x along `dim` up to each of `ends`; views.  What Cat joins, whose adjoint it is: all gradients go back in one pass."""

    @staticmethod
    def forward(ctx, x, dim, ends):
        ctx.dim, before = dim, (slice(None),) * dim
        return tuple(x[(*before, slice(a, b))] for a, b in itertools.pairwise((0, *ends)))

    @staticmethod
    def backward(ctx, *grads):
        return Cat.apply(*grads, dim=ctx.dim), None, None


def joined(arrays: Sequence[np.ndarray], dim: int) -> np.ndarray:
    """Arrays one behind the other, in the memory order of the first that is not one thick: channels-last parts make a channels-last whole."""
    first = next((a for a in arrays if a.shape[dim] != 1), arrays[0])
    join = kernels(first).concatenate
    if first.flags.c_contiguous or 0 in first.strides:  # broadcast arrays have no order
        return join(arrays, dim)
    order = sorted(range(first.ndim), key=lambda d: (first.shape[d] != 1, -abs(first.strides[d])))
    return join([a.transpose(order) for a in arrays], order.index(dim)).transpose(np.argsort(order))


def copied(x: np.ndarray) -> np.ndarray:
    """A copy in x's memory order, the nearest one without gaps."""
    if x.size < LARGE:
        return x.copy(order="K")
    axes = sorted(range(x.ndim), key=lambda d: -abs(x.strides[d]))
    return kernels(x).concatenate([x.transpose(axes)], 0).transpose(np.argsort(axes))


def filled(shape: tuple[int, ...], value: float, like: np.ndarray, dtype: Any = None) -> np.ndarray:
    """An array of one number beside `like`, and of its dtype unless another is named; by threads where it is large."""
    one = np.full((), value, like.dtype if dtype is None else dtype, like=like)
    return kernels(like).contiguous(np.broadcast_to(one, shape))


class Move(Function):
    """The same numbers on another device."""

    @staticmethod
    def forward(ctx, x, device):
        ctx.device = x.device
        return move(x, device)

    @staticmethod
    def backward(ctx, gy):
        return Move.apply(gy, ctx.device), None


class Clone(Function):
    """A copy in NumPy's `order`, with a gradient."""

    @staticmethod
    def forward(ctx, x, order="K"):
        return copied(x) if order == "K" or x.flags.c_contiguous else kernels(x).contiguous(x)

    @staticmethod
    def backward(ctx, gy):
        return gy, None


class ChannelsLast(Function):
    """The same numbers in channels-last memory."""

    @staticmethod
    def forward(ctx, x):
        return from_channels_last(kernels(x).channels_last(x), x.ndim - 2)

    @staticmethod
    def backward(ctx, gy):
        return gy


# -------------------------------------------------------------------------------------- functions
def view_of(y: Any, x: Any) -> Any:
    """y; views share their memory's counter of in-place changes."""
    base = y.array.base  # NumPy's views of views know the first owner of the memory
    if base is not None and (base is x.array or base is x.array.base):
        y._version = version_of(x)
    return y


def in_channels_last(x: Any) -> Any:
    """x [N, C, *spatial] in channels-last memory: x itself, or a copy with a gradient."""
    return x if is_channels_last(x.array) else ChannelsLast.apply(x)


def axis(op: str, dim: Any, ndim: int) -> int:
    """A dimension's number counted from the front; IndexError out of range."""
    try:
        d = operator.index(dim)
    except TypeError:
        raise TypeError(f"{op}: dim must be an int, got {dim!r}") from None
    if not -ndim <= d < ndim:
        raise IndexError(f"{op}: dim {d} is out of range for a tensor of {ndim} dimensions")
    return d % ndim


def ints(op: str, sizes: Sequence[Any]) -> tuple[int, ...]:
    """Sizes as Python ints; TypeError for anything else."""
    try:
        return tuple(map(operator.index, sizes))
    except TypeError:
        raise TypeError(f"{op}: sizes must be ints, got {tuple(sizes) if isinstance(sizes, Sequence) else sizes!r}") from None


def many(op: str, name: str, given: tuple, named: dict[str, Any]) -> tuple:
    """Numbers that may come one by one, as one sequence, or as the keyword `name`."""
    if named:
        if given or set(named) != {name}:
            raise TypeError(f"{op}: takes {name} only, once; got {', '.join(named)}")
        given = tuple(named[name]) if isinstance(named[name], (tuple, list)) else (named[name],)
    elif len(given) == 1 and isinstance(given[0], (tuple, list)):
        given = tuple(given[0])
    return given


def reshape(input: Any, *shape: Any, **named: Any) -> Any:
    """The same elements in row-major order under another `shape`; one size may be -1.  A view where the memory allows it."""
    sizes = ints("reshape", many("reshape", "shape", shape, named))
    size, product = checks.tensor("reshape", input).array.size, math.prod(sizes)
    if product != size or min(sizes, default=1) < 0:
        # One size may be -1; then -product is that of the others.
        if sizes.count(-1) != 1 or min(sizes) < -1 or not product or size % -product:
            raise ValueError(f"reshape: {size} elements of shape {list(input.array.shape)} do not fit shape {list(sizes)}")
    return view_of(Reshape.apply(input, sizes), input)


def flatten(input: Any, start_dim: int = 0, end_dim: int = -1) -> Any:
    """Dimensions start_dim to end_dim made one."""
    if not checks.tensor("flatten", input).array.ndim:
        return reshape(input, 1)
    a, b = axis("flatten", start_dim, input.array.ndim), axis("flatten", end_dim, input.array.ndim)
    if a > b:
        raise ValueError(f"flatten: start_dim {start_dim} comes after end_dim {end_dim}")
    shape = input.array.shape
    return reshape(input, (*shape[:a], math.prod(shape[a : b + 1]), *shape[b + 1 :]))


def permute(input: Any, *dims: Any, **named: Any) -> Any:
    """Dimensions in another order; a view."""
    dims = many("permute", "dims", dims, named)
    order = tuple(axis("permute", d, checks.tensor("permute", input).array.ndim) for d in dims)
    if sorted(order) != list(range(input.array.ndim)):
        raise ValueError(f"permute: needs each of {input.array.ndim} dimensions once, got {list(dims)}")
    return view_of(Permute.apply(input, order), input)


def transpose(input: Any, dim0: int, dim1: int) -> Any:
    """Two dimensions exchanged; a view."""
    order = list(range(checks.tensor("transpose", input).array.ndim))
    a, b = axis("transpose", dim0, len(order) or 1), axis("transpose", dim1, len(order) or 1)
    if a != b:
        order[a], order[b] = b, a
    return view_of(Permute.apply(input, tuple(order)), input)


def swapaxes(input: Any, axis0: int, axis1: int) -> Any:
    """`transpose` under NumPy's name."""
    return transpose(input, axis0, axis1)


def squeeze(input: Any, dim: int | Sequence[int] | None = None) -> Any:
    """Without the dimensions of size 1, or without those of `dim`, one or several, whose size is 1."""
    shape = checks.tensor("squeeze", input).array.shape
    if dim is None:
        gone = {i for i, n in enumerate(shape) if n == 1}
    else:
        dims = dim if isinstance(dim, (tuple, list)) else (dim,)
        gone = {axis("squeeze", d, max(len(shape), 1)) for d in dims}
        if len(gone) != len(dims):
            raise ValueError(f"squeeze: a dimension is named twice in {tuple(dims)}")
        gone = {d for d in gone if shape and shape[d] == 1}
    return reshape(input, [n for i, n in enumerate(shape) if i not in gone]) if gone else input


def unsqueeze(input: Any, dim: int) -> Any:
    """With a new dimension of size 1 at `dim`."""
    d = axis("unsqueeze", dim, checks.tensor("unsqueeze", input).array.ndim + 1)
    return reshape(input, (*input.array.shape[:d], 1, *input.array.shape[d:]))


def expand(x: Any, *size: Any, **named: Any) -> Any:
    """Repeated along dimensions of size 1, and new leading ones, without copying; -1 keeps a size."""
    sizes = ints("expand", many("expand", "size", size, named))
    extra = len(sizes) - checks.tensor("expand", x).array.ndim
    own = (1,) * max(extra, 0) + x.array.shape
    target = tuple(o if s == -1 else s for s, o in zip(sizes, own, strict=False))
    if extra < 0 or min(sizes[:extra], default=0) < 0 or any(t < 0 or o not in (1, t) for o, t in zip(own, target, strict=True)):
        raise ValueError(f"expand: shape {list(x.array.shape)} does not expand to {list(sizes)}")
    return view_of(Expand.apply(x, target), x)


def broadcast_to(input: Any, *size: Any, **named: Any) -> Any:
    """input repeated to `size` without copying; a view."""
    return expand(input, *many("broadcast_to", "size", size, named))


def ravel(input: Any) -> Any:
    """All elements in one dimension."""
    return reshape(input, -1)


def cat(tensors: Sequence[Any], dim: int = 0) -> Any:
    """Tensors joined along `dim`, in the dtype that they have in common; their other sizes must agree.  Empty vectors are left out, as in torch.

    >>> import convkit
    >>> convkit.cat([convkit.zeros(2, 3), convkit.ones(1, 3)]).shape
    (3, 3)
    """
    tensors = checks.tensors("cat", tensors)
    dtype = tensors[0].array.dtype
    if any(v.array.dtype != dtype for v in tensors):
        dtype = result_type(*tensors)
        tensors = tuple(v if v.array.dtype == dtype else Cast.apply(v, dtype) for v in tensors)
    tensors = tuple(v for v in tensors if v.array.shape != (0,)) or tensors[:1]
    shapes = [v.array.shape for v in tensors]
    if not shapes[0]:
        raise ValueError("cat: a tensor without dimensions cannot be joined; use stack")
    d = axis("cat", dim, len(shapes[0]))
    for s in shapes[1:]:
        if len(s) != len(shapes[0]) or s[:d] + s[d + 1 :] != shapes[0][:d] + shapes[0][d + 1 :]:
            raise ValueError(f"cat: sizes must agree except in dimension {d}, got {', '.join(str(list(s)) for s in shapes)}")
    return Cat.apply(*tensors, dim=d)


def stack(tensors: Sequence[Any], dim: int = 0) -> Any:
    """Tensors of one shape joined along a new dimension `dim`."""
    tensors = checks.tensors("stack", tensors)
    if len({t.array.shape for t in tensors}) > 1:
        raise ValueError(f"stack: shapes must agree, got {', '.join(str(list(t.array.shape)) for t in tensors)}")
    return cat([unsqueeze(t, dim) for t in tensors], axis("stack", dim, tensors[0].array.ndim + 1))


def split(tensor: Any, split_size_or_sections: int | Sequence[int], dim: int = 0) -> tuple[Any, ...]:
    """Consecutive parts of one size (the last may be smaller), or of the sizes listed, along `dim`; views."""
    size = split_size_or_sections
    d = axis("split", dim, checks.tensor("split", tensor).array.ndim)
    n = tensor.array.shape[d]
    if isinstance(size, int) and size < 1:
        raise ValueError(f"split: size must be at least 1, got {size}")
    size = size if isinstance(size, int) else ints("split", size)
    # Nothing at all is one part of nothing.
    sizes = [min(size, n - i) for i in range(0, n, size)] or [n] if isinstance(size, int) else list(size)
    if sum(sizes) != n or min(sizes, default=0) < 0:
        raise ValueError(f"split: sizes {sizes} do not add up to {n}, the size of dimension {d}")
    return tuple(view_of(part, tensor) for part in Split.apply(tensor, d, list(itertools.accumulate(sizes))))


def chunk(input: Any, chunks: int, dim: int = 0) -> tuple[Any, ...]:
    """At most `chunks` parts of equal size (the last may be smaller) along `dim`; views."""
    if checks.whole("chunk", "chunks", chunks) < 1:
        raise ValueError(f"chunk: needs at least 1 chunk, got {chunks}")
    n = checks.tensor("chunk", input).array.shape[axis("chunk", dim, input.array.ndim)]
    return split(input, max(1, -(-n // chunks)), dim)
