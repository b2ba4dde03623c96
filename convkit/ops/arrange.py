"""More arrangements, made of the views, joins and indices of `shape` and `indexing`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from convkit_kernels import geometry

from ..autograd import Function, TensorBase
from . import checks
from .elementwise import where
from .indexing import PutItem, index_select
from .shape import axis, broadcast_to, cat, copied, expand, ints, joined, many, permute, reshape, split, transpose, unsqueeze


class Flip(Function):
    """The dimensions `dims` run backwards; its own adjoint."""

    @staticmethod
    def forward(ctx, x, dims):
        ctx.dims = dims
        return copied(np.flip(x, dims))

    @staticmethod
    def backward(ctx, gy):
        return Flip.apply(gy, ctx.dims), None


class Roll(Function):
    """Moved by `shift` places along `dim`; its adjoint moves back."""

    @staticmethod
    def forward(ctx, x, shift, dim):
        ctx.shift, ctx.dim = shift, dim
        before, cut = (slice(None),) * dim, -shift % x.shape[dim]
        return joined([x[(*before, slice(cut, None))], x[(*before, slice(cut))]], dim)

    @staticmethod
    def backward(ctx, gy):
        return Roll.apply(gy, -ctx.shift, ctx.dim), None, None


def _dims(op: str, dims: Any, ndim: int) -> tuple[int, ...]:
    """Dimensions counted from the front, each named once."""
    given = dims if isinstance(dims, (tuple, list)) else (dims,)
    out = tuple(axis(op, d, ndim) for d in given)
    if len(set(out)) != len(out):
        raise ValueError(f"{op}: a dimension is named twice in {tuple(given)}")
    return out


# -------------------------------------------------------------------------------- order of dimensions
def t(input: Any) -> Any:
    """The transpose of a matrix; a vector as it is."""
    if checks.tensor("t", input).ndim > 2:
        raise ValueError(f"t: needs at most 2 dimensions, got shape {list(input.shape)}; use transpose or mT")
    return transpose(input, 0, 1) if input.ndim == 2 else input


def movedim(input: Any, source: Any, destination: Any) -> Any:
    """Dimensions `source` moved to `destination`; the others stay in order; a view."""
    start, end = (_dims("movedim", d, max(checks.tensor("movedim", input).ndim, 1)) for d in (source, destination))
    if len(start) != len(end):
        raise ValueError(f"movedim: source {source} and destination {destination} differ in length")
    if not input.ndim:
        return permute(input, [])
    order = [d for d in range(input.ndim) if d not in start]
    for to, d in sorted(zip(end, start, strict=True)):
        order.insert(to, d)
    return permute(input, order)


def adjoint(x: Any) -> Any:
    """The last two dimensions exchanged."""
    if x.ndim < 2:
        raise ValueError(f"mT: needs 2 dimensions at least, got shape {list(x.shape)}")
    return transpose(x, -2, -1)


def flip(input: Any, *dims: Any, **named: Any) -> Any:
    """A copy in which the dimensions `dims` run backwards."""
    over = _dims("flip", many("flip", "dims", dims, named), max(checks.tensor("flip", input).ndim, 1))
    return Flip.apply(input, over if input.ndim else ())


def fliplr(input: Any) -> Any:
    """The second dimension backwards."""
    return flip(input, 1)


def flipud(input: Any) -> Any:
    """The first dimension backwards."""
    axis("flipud", 0, checks.tensor("flipud", input).ndim)
    return flip(input, 0)


def roll(input: Any, shifts: Any, dims: Any = None) -> Any:
    """Elements moved by `shifts` places along `dims`; what leaves at the end comes in at the start.  Without `dims`, in the flattened tensor."""
    shifts = ints("roll", shifts if isinstance(shifts, (tuple, list)) else (shifts,))
    checks.tensor("roll", input)
    if dims is None or isinstance(dims, tuple) and not dims:
        if len(shifts) != 1:
            raise ValueError(f"roll: shifts {shifts} need as many dims")
        return reshape(roll(reshape(input, -1), shifts, 0), input.shape)
    dims = dims if isinstance(dims, (tuple, list)) else (dims,)
    if len(dims) != len(shifts):
        raise ValueError(f"roll: shifts {shifts} and dims {tuple(dims)} differ in length")
    for shift, dim in zip(shifts, dims, strict=True):
        d = axis("roll", dim, input.ndim)
        if input.shape[d] and shift % input.shape[d]:
            input = Roll.apply(input, shift, d)
    return input


def rot90(input: Any, k: int = 1, dims: Sequence[int] = (0, 1)) -> Any:
    """Turned k times by a quarter, from the first of two dimensions towards the second."""
    if not isinstance(dims, (tuple, list)) or len(dims) != 2:
        raise ValueError(f"rot90: needs two dims, got {dims!r}")
    k = checks.whole("rot90", "k", k)
    a, b = _dims("rot90", tuple(dims), checks.tensor("rot90", input).ndim)
    if k % 4 == 0:
        return input.clone()
    if k % 4 == 2:
        return flip(input, a, b)
    return transpose(flip(input, b), a, b) if k % 4 == 1 else flip(transpose(input, a, b), b)


# --------------------------------------------------------------------------------------- repetition
def repeat(x: Any, *repeats: Any, **named: Any) -> Any:
    """Copies of x side by side, `repeats` times in each dimension; more repeats than dimensions make new leading ones."""
    times = ints("repeat", many("repeat", "repeats", repeats, named))
    if len(times) < x.ndim or min(times, default=0) < 0:
        raise ValueError(f"repeat: needs a number of copies, not negative, for each of {x.ndim} dimensions, got {list(times)}")
    shape = (1,) * (len(times) - x.ndim) + x.shape
    geometry.fits("repeat", tuple(k * n for k, n in zip(times, shape, strict=True)))
    apart = reshape(x, [m for n in shape for m in (1, n)])
    wide = expand(apart, [m for k, n in zip(times, shape, strict=True) for m in (k, n)])
    y = reshape(wide, [k * n for k, n in zip(times, shape, strict=True)])
    return y.clone() if max(times, default=1) == 1 else y


def tile(input: Any, *dims: Any, **named: Any) -> Any:
    """Copies of input side by side, like `repeat`; missing leading numbers are 1."""
    dims = many("tile", "dims", dims, named)
    return repeat(input, (1,) * (checks.tensor("tile", input).ndim - len(dims)) + tuple(dims))


def repeat_interleave(input: Any = None, repeats: Any = None, dim: int | None = None, *, output_size: int | None = None) -> Any:
    """Each element along `dim` (of the flattened tensor without one) `repeats` times; a tensor of repeats has one for each element.

    Repeats alone give the numbers 0, 1, 2 ..., each repeated as often as its own element says.
    """
    if input is None or repeats is None:
        repeats = input if repeats is None else repeats
        if not isinstance(repeats, TensorBase) or repeats.array.ndim != 1:
            raise ValueError(f"repeat_interleave: repeats alone must be a vector, got {repeats!r}")
        input = TensorBase.result(np.arange(repeats.array.size, like=repeats.array))
    checks.tensor("repeat_interleave", input)
    if dim is None:
        input, dim = reshape(input, -1), 0
    d = axis("repeat_interleave", dim, max(input.ndim, 1))
    input = input if input.ndim else reshape(input, 1)
    counts = checks.array(
        getattr(repeats, "array", repeats if checks.as_int(repeats) is None else checks.whole("repeat_interleave", "repeats", repeats))
    )
    if counts.dtype.kind not in "iu" or counts.ndim > 1 or (counts.size and counts.min() < 0):
        raise ValueError(f"repeat_interleave: repeats must be integers that are not negative, one or a vector, got {repeats!r}")
    if counts.size not in (1, input.shape[d]):
        raise ValueError(f"repeat_interleave: {counts.size} repeats for {input.shape[d]} elements along dimension {d}")
    geometry.fits("repeat_interleave", (int(counts.max(initial=0)), input.shape[d]))
    index = np.repeat(np.arange(input.shape[d], like=input.array), counts.reshape(-1) if counts.size > 1 else int(counts.reshape(-1)[0]))
    if output_size is not None and index.size != output_size:
        raise ValueError(f"repeat_interleave: output_size {output_size} is not the sum of the repeats, {index.size}")
    return index_select(input, d, TensorBase.result(index))


def expand_as(x: Any, other: Any) -> Any:
    """Repeated to the shape of `other`, without copying."""
    return expand(x, checks.tensor("expand_as", other).shape)


def view_as(x: Any, other: Any) -> Any:
    """The same elements under the shape of `other`."""
    return reshape(x, checks.tensor("view_as", other).shape)


reshape_as = view_as


def broadcast_tensors(*tensors: Any) -> tuple[Any, ...]:
    """Tensors repeated, without copying, to the shape to which they broadcast."""
    try:
        shape = np.broadcast_shapes(*(checks.tensor("broadcast_tensors", t).shape for t in tensors))
    except ValueError:
        raise ValueError(f"broadcast_tensors: shapes {', '.join(str(list(t.shape)) for t in tensors)} do not broadcast") from None
    return tuple(broadcast_to(t, shape) for t in tensors)


def meshgrid(*tensors: Any, indexing: str = "ij") -> tuple[Any, ...]:
    """Coordinates of a grid: of n vectors, n tensors of n dimensions.  `indexing` 'xy' exchanges the first two dimensions."""
    if len(tensors) == 1 and isinstance(tensors[0], (tuple, list)):
        tensors = tuple(tensors[0])
    if indexing not in ("ij", "xy"):
        raise ValueError(f"meshgrid: indexing must be 'ij' or 'xy', got {indexing!r}")
    if not tensors or any(checks.tensor("meshgrid", v).ndim > 1 for v in tensors):
        raise ValueError("meshgrid: needs vectors or numbers, one at least")
    if len({v.dtype for v in tensors}) > 1:
        raise TypeError(f"meshgrid: dtypes must agree, got {', '.join(str(v.dtype) for v in tensors)}")
    sizes = [v.array.size for v in tensors]
    many = len(tensors)
    grids = [expand(reshape(v, [-1 if i == k else 1 for i in range(many)]), sizes) for k, v in enumerate(tensors)]
    return tuple(transpose(g, 0, 1) for g in grids) if indexing == "xy" and many > 1 else tuple(grids)


# -------------------------------------------------------------------------------- joining, parting
def hstack(tensors: Sequence[Any]) -> Any:
    """Tensors joined along the second dimension, vectors along their only one."""
    parts = [reshape(v, 1) if not v.ndim else v for v in checks.tensors("hstack", tensors)]
    return cat(parts, 0 if parts[0].ndim == 1 else 1)


def vstack(tensors: Sequence[Any]) -> Any:
    """Tensors joined along the first dimension; vectors are rows."""
    return cat([reshape(v, 1, -1) if v.ndim < 2 else v for v in checks.tensors("vstack", tensors)], 0)


def unbind(input: Any, dim: int = 0) -> tuple[Any, ...]:
    """The slices along `dim`, without that dimension; views."""
    d = axis("unbind", dim, checks.tensor("unbind", input).ndim)
    shape = input.shape[:d] + input.shape[d + 1 :]
    return tuple(reshape(part, shape) for part in split(input, 1, d)) if input.shape[d] else ()


def tensor_split(input: Any, indices_or_sections: Any, dim: int = 0) -> tuple[Any, ...]:
    """Parts of nearly equal size (the first ones one longer), or cut before the indices listed, along `dim`; views."""
    d = axis("tensor_split", dim, checks.tensor("tensor_split", input).ndim)
    n = input.shape[d]
    told = indices_or_sections.tolist() if isinstance(indices_or_sections, TensorBase) else indices_or_sections
    if isinstance(told, int):
        geometry.fits("tensor_split", (told,))
        if told < 1:
            raise ValueError(f"tensor_split: needs at least 1 part, got {told}")
        return split(input, [n // told + (i < n % told) for i in range(told)], d)
    cuts = [0, *ints("tensor_split", told), n]
    return tuple(input[(slice(None),) * d + (slice(a, b),)] for a, b in zip(cuts[:-1], cuts[1:], strict=True))


def unflatten(input: Any, dim: int, sizes: Sequence[int]) -> Any:
    """Dimension `dim` parted into `sizes`, one of which may be -1."""
    d = axis("unflatten", dim, checks.tensor("unflatten", input).ndim)
    sizes = ints("unflatten", sizes)
    known, n = math.prod(s for s in sizes if s != -1), input.shape[d]
    if not sizes or sizes.count(-1) > 1 or min(sizes) < -1 or (known != n if -1 not in sizes else not known or n % known):
        raise ValueError(f"unflatten: dimension {d} of size {n} does not part into {list(sizes)}")
    return reshape(input, (*input.shape[:d], *(n // known if s == -1 else s for s in sizes), *input.shape[d + 1 :]))


# ---------------------------------------------------------------------------- triangles, diagonals
def tril(input: Any, diagonal: int = 0) -> Any:
    """The lower triangle of matrices [..., M, N], up to the given diagonal; 0 elsewhere."""
    if checks.tensor("tril", input).ndim < 2:
        raise ValueError(f"tril: needs 2 dimensions at least, got shape {list(input.shape)}")
    return where(
        TensorBase.result(np.tri(input.shape[-2], input.shape[-1], checks.whole("tril", "diagonal", diagonal), bool, like=input.array)),
        input,
        input.array.dtype.type(0),
    )


def triu(input: Any, diagonal: int = 0) -> Any:
    """The upper triangle of matrices [..., M, N], from the given diagonal on; 0 elsewhere."""
    if checks.tensor("triu", input).ndim < 2:
        raise ValueError(f"triu: needs 2 dimensions at least, got shape {list(input.shape)}")
    return where(
        TensorBase.result(~np.tri(input.shape[-2], input.shape[-1], checks.whole("triu", "diagonal", diagonal) - 1, bool, like=input.array)),
        input,
        input.array.dtype.type(0),
    )


def diagonal(input: Any, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Any:
    """The elements input[i, i + offset] of two dimensions, as a new last dimension; a copy (torch gives a view)."""
    a, b = _dims("diagonal", (dim1, dim2), checks.tensor("diagonal", input).ndim)
    offset = checks.whole("diagonal", "offset", offset)
    input = movedim(input, (a, b), (-2, -1))
    m, n = input.shape[-2:]
    i = np.arange(max(0, min(m + min(offset, 0), n - max(offset, 0)))) - min(offset, 0)
    return input[(..., i, i + offset)]


_diagonal = diagonal  # an argument of `diag` has that name


def diag(input: Any, diagonal: int = 0) -> Any:
    """A matrix with the vector `input` on a diagonal, or the diagonal of a matrix."""
    if checks.tensor("diag", input).ndim == 2:
        return _diagonal(input, diagonal)
    if input.ndim != 1:
        raise ValueError(f"diag: needs a vector or a matrix, got shape {list(input.shape)}")
    return diag_embed(input, diagonal)


def diag_embed(input: Any, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Any:
    """Matrices, in dimensions dim1 and dim2, with the last dimension of input on a diagonal; 0 elsewhere."""
    a, b = _dims("diag_embed", (dim1, dim2), checks.tensor("diag_embed", input).ndim + 1)
    n = input.shape[-1] + abs(checks.whole("diag_embed", "offset", offset))
    geometry.fits("diag_embed", (*input.shape[:-1], n, n))
    i = np.arange(input.shape[-1]) - min(offset, 0)
    return movedim(PutItem.apply(input, (..., i, i + offset), (*input.shape[:-1], n, n)), (-2, -1), (a, b))


def atleast(x: Any, ndim: int) -> Any:
    """x with leading dimensions of size 1, so that it has `ndim` at least."""
    while x.ndim < ndim:
        x = unsqueeze(x, 0)
    return x


def column_stack(tensors: Sequence[Any]) -> Any:
    """Vectors as the columns of a matrix; matrices side by side."""
    return cat([reshape(v, -1, 1) if v.ndim < 2 else v for v in checks.tensors("column_stack", tensors)], 1)


def dstack(tensors: Sequence[Any]) -> Any:
    """Tensors joined along the third dimension."""
    return cat([unsqueeze(atleast(v, 2), 2) if v.ndim < 3 else v for v in checks.tensors("dstack", tensors)], 2)


def trace(input: Any) -> Any:
    """Sum of a matrix's diagonal."""
    if checks.tensor("trace", input).ndim != 2:
        raise ValueError(f"trace: needs a matrix, got shape {list(input.shape)}")
    return diagonal(input).sum()
