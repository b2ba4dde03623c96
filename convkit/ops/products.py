"""Products of vectors, matrices and tensors under their many names: all are transposes, reshapes and `matmul`."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

from ..autograd import TensorBase
from . import checks
from .arrange import diagonal, movedim
from .matmul import matmul, same_dtype
from .shape import axis, expand, ints, permute, reshape


def _ranks(op: str, *told: tuple[str, Any, int]) -> None:
    for name, tensor, ndim in told:
        if not isinstance(tensor, TensorBase):
            raise TypeError(f"{op}: {name} must be a tensor, got {type(tensor).__name__}")
        if tensor.ndim != ndim:
            raise ValueError(f"{op}: {name} must have {ndim} dimension{'s' * (ndim > 1)}, got shape {list(tensor.shape)}")


def mm(input: Any, mat2: Any) -> Any:
    """Matrix [M, K] times matrix [K, N]."""
    _ranks("mm", ("input", input, 2), ("mat2", mat2, 2))
    return matmul(input, mat2)


def bmm(input: Any, mat2: Any) -> Any:
    """Matrices [B, M, K] times matrices [B, K, N], pair by pair."""
    _ranks("bmm", ("input", input, 3), ("mat2", mat2, 3))
    if input.shape[0] != mat2.shape[0]:
        raise ValueError(f"bmm: needs as many matrices on both sides, got {list(input.shape)} and {list(mat2.shape)}")
    return matmul(input, mat2)


def mv(input: Any, vec: Any) -> Any:
    """Matrix [M, K] times vector [K]."""
    _ranks("mv", ("input", input, 2), ("vec", vec, 1))
    return matmul(input, vec)


def dot(input: Any, tensor: Any) -> Any:
    """The sum of the products of two vectors of one length."""
    _ranks("dot", ("input", input, 1), ("tensor", tensor, 1))
    if input.shape != tensor.shape:
        raise ValueError(f"dot: needs vectors of one length, got {input.shape[0]} and {tensor.shape[0]}")
    return matmul(input, tensor)


def inner(input: Any, other: Any) -> Any:
    """Sums of products over the last dimensions of both; a product if one is a number."""
    if not checks.tensor("inner", input).ndim or not checks.tensor("inner", other).ndim:
        return input * other
    if input.shape[-1] != other.shape[-1]:
        raise ValueError(f"inner: the last dimensions must agree, got {list(input.shape)} and {list(other.shape)}")
    return tensordot(input, other, ([-1], [-1]))


def outer(input: Any, vec2: Any) -> Any:
    """[M, N]: each of M numbers times each of N."""
    _ranks("outer", ("input", input, 1), ("vec2", vec2, 1))
    return reshape(input, -1, 1) * vec2


def _plus(op: str, x: Any, product: Any, beta: float, alpha: float) -> Any:
    checks.number(op, "beta", beta), checks.number(op, "alpha", alpha)
    if product.array.dtype.kind != "f" and not (isinstance(beta, int) and isinstance(alpha, int)):
        raise TypeError(f"{op}: beta and alpha of integers must be integers, got {beta} and {alpha}")
    product = product if alpha == 1 else product * alpha
    if beta == 0:  # then nan in x does not count, as in torch
        return product
    try:
        expand(x, product.shape)
    except ValueError:
        raise ValueError(f"{op}: input {list(x.shape)} does not expand to the product's shape {list(product.shape)}") from None
    return (x if beta == 1 else x * beta) + product


def addmm(input: Any, mat1: Any, mat2: Any, *, beta: float = 1, alpha: float = 1) -> Any:
    """beta input + alpha (mat1 [M, K] times mat2 [K, N]); input broadcasts to [M, N]."""
    same_dtype("addmm", integers=True, input=input, mat1=mat1, mat2=mat2)
    return _plus("addmm", input, mm(mat1, mat2), beta, alpha)


def addmv(input: Any, mat: Any, vec: Any, *, beta: float = 1, alpha: float = 1) -> Any:
    """beta input + alpha (mat [M, K] times vec [K]); input broadcasts to [M]."""
    same_dtype("addmv", integers=True, input=input, mat=mat, vec=vec)
    return _plus("addmv", input, mv(mat, vec), beta, alpha)


def addr(input: Any, vec1: Any, vec2: Any, *, beta: float = 1, alpha: float = 1) -> Any:
    """beta input + alpha (vec1 [M] outer vec2 [N]); input broadcasts to [M, N]."""
    return _plus("addr", input, outer(vec1, vec2), beta, alpha)


def baddbmm(input: Any, batch1: Any, batch2: Any, *, beta: float = 1, alpha: float = 1) -> Any:
    """beta input + alpha (batch1 [B, M, K] times batch2 [B, K, N]); input broadcasts to [B, M, N]."""
    same_dtype("baddbmm", integers=True, input=input, batch1=batch1, batch2=batch2)
    return _plus("baddbmm", input, bmm(batch1, batch2), beta, alpha)


def addbmm(input: Any, batch1: Any, batch2: Any, *, beta: float = 1, alpha: float = 1) -> Any:
    """beta input + alpha times the sum over B of batch1 [B, M, K] times batch2 [B, K, N]; input broadcasts to [M, N]."""
    same_dtype("addbmm", integers=True, input=input, batch1=batch1, batch2=batch2)
    return _plus("addbmm", input, bmm(batch1, batch2).sum(0, dtype=batch1.dtype), beta, alpha)


def tensordot(a: Any, b: Any, dims: Any = 2) -> Any:
    """Sums of products over pairs of dimensions: the last `dims` of a and first of b, or the two lists of `dims`."""
    checks.tensor("tensordot", a), checks.tensor("tensordot", b)
    dims = dims.tolist() if isinstance(dims, TensorBase) else dims
    if isinstance(dims, int):
        if not 0 <= dims <= min(a.ndim, b.ndim):
            raise ValueError(f"tensordot: dims must be 0 to {min(a.ndim, b.ndim)} for {list(a.shape)} and {list(b.shape)}, got {dims}")
        dims = range(a.ndim - dims, a.ndim), range(dims)
    if not isinstance(dims, (tuple, list)) or len(dims) != 2:
        raise TypeError(f"tensordot: dims must be an int or two lists of ints, got {dims!r}")
    left, right = ([axis("tensordot", d, t.ndim) for d in ints("tensordot", ds)] for t, ds in zip((a, b), dims, strict=True))
    if len(left) != len(right) or len(set(left)) != len(left) or len(set(right)) != len(right):
        raise ValueError(f"tensordot: dims must be two lists of one length that name no dimension twice, got {left} and {right}")
    for i, j in zip(left, right, strict=True):  # a dimension of size 1 stands for any size
        if a.shape[i] != b.shape[j]:
            if 1 not in (a.shape[i], b.shape[j]):
                raise ValueError(f"tensordot: dimensions {i} of {list(a.shape)} and {j} of {list(b.shape)} must have one size")
            a, b = a.sum(i, True) if b.shape[j] == 1 else a, b.sum(j, True) if a.shape[i] == 1 else b
    rows, columns = [d for d in range(a.ndim) if d not in left], [d for d in range(b.ndim) if d not in right]
    m, n, k = math.prod(a.shape[d] for d in rows), math.prod(b.shape[d] for d in columns), math.prod(a.shape[d] for d in left)
    y = matmul(reshape(permute(a, rows + left), m, k), reshape(permute(b, right + columns), k, n))
    return reshape(y, [a.shape[d] for d in rows] + [b.shape[d] for d in columns])


# ------------------------------------------------------------------------------------------ einsum
def einsum(equation: Any, *operands: Any) -> Any:
    """Sums of products named by letters, as in 'bij,bjk->bik': letters that are not in the result are summed over.

    '...' stands for dimensions that broadcast; a letter twice in an operand takes its diagonal; without '->', the result has the
    letters that occur once, in alphabetical order.  Operands are multiplied from left to right, each pair as a matrix product.

    >>> import convkit
    >>> convkit.einsum("ij,j->i", convkit.ones(2, 3), convkit.ones(3)).tolist()
    [3.0, 3.0]
    """
    if not isinstance(equation, (str, TensorBase)):
        raise TypeError(f"einsum: needs an equation, such as 'ij,jk->ik', or tensors each with its list of numbers, got {equation!r}")
    if not isinstance(equation, str):
        equation, operands = _spelled(equation, operands)
    if len(operands) == 1 and isinstance(operands[0], (tuple, list)):
        operands = tuple(operands[0])
    operands = checks.tensors("einsum", operands)
    terms, result = _labels(equation, tuple(x.array.shape for x in operands))
    parts = [_diagonals(x, term) for x, term in zip(operands, terms, strict=True)]
    sizes: dict[str, int] = {}
    for x, term in parts:
        for label, n in zip(term, x.shape, strict=True):
            if sizes.setdefault(label, n) != n and n != 1:
                if sizes[label] != 1:
                    raise ValueError(f"einsum: {label!r} has sizes {sizes[label]} and {n} in {equation!r}")
                sizes[label] = n
    x, term = parts[0]
    for i, (other, others) in enumerate(parts[1:], 2):
        later = set(result).union(*(t for _, t in parts[i:]))
        x, term = _pair(x, term, other, others, later)
    gone = [d for d, label in enumerate(term) if label not in result]
    for d in gone:  # one that was never met by its full size
        if x.shape[d] != sizes[term[d]]:
            x = expand(x, [sizes[term[d]] if k == d else n for k, n in enumerate(x.shape)])
    if gone:
        x, term = x.sum(tuple(gone)), [label for label in term if label in result]
    return permute(x, [term.index(label) for label in result]) if x is operands[0] else _ordered(x, term, result)


def _ordered(x: Any, own: list[str], wanted: list[str]) -> Any:
    """x with the dimensions `own` in another order."""
    return x if own == wanted else permute(x, [own.index(label) for label in wanted])


def _sized(x: Any, *shape: int) -> Any:
    return x if x.array.shape == shape else reshape(x, shape)


def _spelled(first: Any, rest: Sequence[Any]) -> tuple[str, tuple[Any, ...]]:
    """einsum(x, [0, 1], y, [1, 2], [0, 2]) as an equation."""

    def spell(term: Sequence[Any]) -> str:
        return "".join("..." if label is Ellipsis else chr((ord("A") if label < 26 else ord("a") - 26) + label) for label in term)

    told = [first, *rest]
    equation = ",".join(spell(term) for term in told[1::2][: len(told) // 2])
    if len(told) % 2:
        equation += "->" + spell(told[-1])
    return equation, tuple(told[0 : len(told) // 2 * 2 : 2])


@functools.lru_cache(maxsize=256)
def _labels(equation: str, shapes: tuple[tuple[int, ...], ...]) -> tuple[list[list[str]], list[str]]:
    """A label for each dimension of each operand, and of the result; the dimensions of '...' are named 0, 1 ... from the last."""
    left, arrow, right = equation.replace(" ", "").partition("->")
    words = left.split(",")
    if len(words) != len(shapes):
        raise ValueError(f"einsum: {equation!r} names {len(words)} operands, got {len(shapes)}")
    dots = 0
    terms = []
    for word, shape in zip(words, shapes, strict=True):
        before, three, after = word.partition("...")
        if not (before + after).isalpha() and before + after:
            raise ValueError(f"einsum: {word!r} in {equation!r} must be letters and one '...'")
        hidden = len(shape) - len(before + after)
        if hidden < 0 or (hidden and not three):
            raise ValueError(f"einsum: {word!r} in {equation!r} names {len(before + after)} dimensions of an operand of shape {list(shape)}")
        dots = max(dots, hidden)
        terms.append([*before, *(str(k) for k in range(hidden - 1, -1, -1)), *after])
    hidden_labels = [str(k) for k in range(dots - 1, -1, -1)]
    if not arrow:
        every = [label for term in terms for label in term]
        return terms, hidden_labels + sorted(label for label in set(every) if every.count(label) == 1 and label not in hidden_labels)
    before, three, after = right.partition("...")
    result = [*before, *(hidden_labels if three else []), *after]
    unknown = set(result) - {label for term in terms for label in term} - set(hidden_labels)
    if len(set(result)) != len(result) or unknown or not (before + after).isalpha() and before + after:
        raise ValueError(f"einsum: the result of {equation!r} must name dimensions of the operands, each once")
    return terms, result


def _diagonals(x: Any, term: list[str]) -> tuple[Any, list[str]]:
    for label in dict.fromkeys(term):
        while term.count(label) > 1:
            i = term.index(label)
            j = term.index(label, i + 1)
            if x.shape[i] != x.shape[j]:
                raise ValueError(f"einsum: {label!r} has sizes {x.shape[i]} and {x.shape[j]} in one operand of shape {list(x.shape)}")
            x = movedim(diagonal(x, 0, i, j), -1, i)
            term = term[:j] + term[j + 1 :]
    return x, term


def _pair(a: Any, left: list[str], b: Any, right: list[str], later: set[str]) -> tuple[Any, list[str]]:
    """The product of two operands, summed over the labels that nothing later needs, and its labels."""
    for label in set(left) & set(right):  # sizes of 1 broadcast
        i, j = left.index(label), right.index(label)
        if a.shape[i] != b.shape[j]:
            n = max(a.shape[i], b.shape[j]) if 0 not in (a.shape[i], b.shape[j]) else 0
            a = expand(a, [n if k == i else m for k, m in enumerate(a.shape)])
            b = expand(b, [n if k == j else m for k, m in enumerate(b.shape)])
    for own, other in ((left, right), (right, left)):
        alone = [label for label in own if label not in other and label not in later]
        if alone:
            summed = tuple(own.index(label) for label in alone)
            a, b = (a.sum(summed), b) if own is left else (a, b.sum(summed))
    left, right = ([label for label in own if label in other or label in later] for own, other in ((left, right), (right, left)))
    both = [label for label in left if label in right]
    batch, summed_over = [v for v in both if v in later], [v for v in both if v not in later]
    rows, columns = [v for v in left if v not in both], [v for v in right if v not in both]
    size = {**dict(zip(left, a.shape, strict=True)), **dict(zip(right, b.shape, strict=True))}
    names = batch + rows + columns
    if not summed_over:  # nothing to add up
        shape_a = [size[v] for v in batch + rows] + [1] * len(columns)
        shape_b = [size[v] for v in batch] + [1] * len(rows) + [size[v] for v in columns]
        a, b = (_ordered(t, own, order) for t, own, order in ((a, left, batch + rows), (b, right, batch + columns)))
        return reshape(a, shape_a) * reshape(b, shape_b), names
    many = [math.prod(size[v] for v in labels) for labels in (batch, rows, summed_over, columns)]
    a, b = _ordered(a, left, batch + rows + summed_over), _ordered(b, right, batch + summed_over + columns)
    first = many[:1] if batch else []
    y = matmul(_sized(a, *first, many[1], many[2]), _sized(b, *first, many[2], many[3]))
    return _sized(y, *(size[v] for v in names)), names
