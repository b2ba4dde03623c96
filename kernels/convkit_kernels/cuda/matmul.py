"""Matrix products by the tiles of `tiles.py`.

    y[m, n] = bias[n] + sum over k of a[m, k] * b[k, n]      then, if asked for, + add[m, n], and max(y, 0)

a and b are read where they lie, in whichever direction their numbers are neighbours; with other strides, one by one.  A batch of products is one
launch: the plan says where the matrices of each begin, so operands that are broadcast are not copied.
"""

from __future__ import annotations

import functools
import math

import numpy as np

from . import tensorcore, tiles
from .copy import contiguous
from .memory import Array, empty


def matmul(a: Array, b: Array, bias: Array | None = None, add: Array | None = None, relu: bool = False) -> Array:
    """a [..., M, K] times b [..., K, N], plus bias [N] -> [..., M, N]; leading dimensions broadcast.

    Plus `add`, of the shape of y, and then max(y, 0) with `relu`, before y is stored: the same bits as one after the other.
    """
    if a.dtype.kind in "iu" and a.dtype != np.int64:  # they wrap around all the same
        return matmul(a.astype(np.int64), b.astype(np.int64)).astype(a.dtype)
    if b.ndim == 2 and a.ndim > 2:  # one product of all rows
        rows = math.prod(a.shape[:-1])
        y = matmul(a.reshape(rows, a.shape[-1]), b, bias, None if add is None else contiguous(add).reshape(rows, b.shape[-1]), relu)
        return y.reshape(*a.shape[:-1], b.shape[-1])
    batch = () if a.ndim == b.ndim == 2 else np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    y = empty((*batch, a.shape[-2], b.shape[-1]), a.dtype)
    multiply(a, b, bias, y, add, relu)
    return y


def multiply(a: Array, b: Array, bias: Array | None, y: Array, add: Array | None = None, relu: bool = False) -> None:
    """y [..., M, N], in C order, = a [..., M, K] times b [..., K, N] + bias [N] + add [..., M, N], and max(y, 0) with `relu`."""
    if not y.size:
        return
    add = None if add is None else contiguous(add)
    bias = None if bias is None else contiguous(bias)
    aligned = not (a.offset % 4 or b.offset % 4 or y.offset % 4)
    sums = _plan(a.shape, a.steps, b.shape, b.steps, y.shape, a.dtype, aligned, (bias is not None, add is not None, relu), tensorcore.terms())
    tiles.run_and_finish(sums, a, b, bias, add, relu, y, y.shape[-1])


@functools.lru_cache(maxsize=1024)
def _plan(
    a: tuple[int, ...], a_steps: tuple[int, ...], b: tuple[int, ...], b_steps: tuple[int, ...], y: tuple[int, ...], dtype: np.dtype, aligned: bool,
    epilogue: tuple[bool, bool, bool], terms: int,
) -> tiles.Sums:  # fmt: skip
    *batch, m, n = y
    k, (am, ak), (bk, bn) = a[-1], a_steps[-2:], b_steps[-2:]
    deep_a, deep_b = ak == 1 or am != 1, bn != 1 and bk == 1
    of_a, of_b = _places(a[:-2], a_steps[:-2], tuple(batch)), _places(b[:-2], b_steps[:-2], tuple(batch))
    others = (*a_steps[:-2], *b_steps[:-2], am if deep_a else ak, bn if deep_b else bk)
    sizes = (k if deep_a or deep_b else 0, 0 if deep_a else m, 0 if deep_b else n)  # those that are read 4 at a time
    vector = dtype == np.float32 and aligned and 1 in (am, ak) and 1 in (bk, bn) and not any(s % 4 for s in (*others, *sizes))
    if deep_a:  # rows are pixels, of k channels
        view = tiles.view(m, (1, 1, m), (1, 1, m), (1, 1, 1), (0, 0, 0, am, ak), k, ((0, 0, 0),) if k else (), n, bk, bn, (0, 0, 0, n))
    else:  # steps are pixels, of m channels
        view = tiles.view(k, (1, 1, k), (1, 1, k), (1, 1, 1), (0, 0, 0, ak, am), m, ((0, 0, 0),), n, bk, bn, (0, 0, 0, n))
    count = math.prod(batch)
    jobs = np.stack([of_a, of_b, np.arange(count) * (m * n), np.zeros(count, np.int64), np.zeros(count, np.int64)], 1)
    return tiles.prepare("matmul", deep_a, deep_b, vector, dtype, [view], jobs, math.prod(y), 1, n % 4 == 0, epilogue, terms)


def _places(shape: tuple[int, ...], steps: tuple[int, ...], batch: tuple[int, ...]) -> np.ndarray:
    """Where the matrix of an operand begins that each product of the batch takes."""
    places = np.zeros((1,) * (len(batch) - len(shape)) + shape, np.int64)
    for d, (size, step) in enumerate(zip(shape, steps, strict=True)):
        places += (np.arange(size) * step).reshape(-1, *(1,) * (len(shape) - 1 - d))
    return np.broadcast_to(places, batch).reshape(-1)
