"""Copies in another memory order, and of several arrays into one, with the names of `cpu/copy.py`.

Where both arrays lie contiguous along the same axis, a copy is a walk over elements (`elementwise.run`).  Where they do not, as from planes of
channels to channels-last and back, it goes by square tiles of shared memory, so that a warp reads neighbours and writes neighbours:

    y[p, i, j] = x[p, j, i]          x contiguous along i, y along j
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import numpy as np

from . import driver
from . import elementwise as e
from .launch import cuda, kernel
from .memory import Array, asarray, empty

TILE, LINES = (4, 2) if driver.is_simulated() else (32, 8)  # a tile has TILE x TILE elements; a block, TILE x LINES threads
PITCH = TILE + 1  # from a tile's row to the next: the elements of a column are in different banks
NARROW = TILE // 2  # fewer rows or columns than this fill no tile

_BITS = {n: np.dtype(f"u{n}") for n in (1, 2, 4, 8)}  # what is copied is bits


def contiguous(a: Array) -> Array:
    """`a` itself if it is in C order, else a copy that is."""
    return a if a.flags.c_contiguous else assign(empty(a.shape, a.dtype), a)


def channels_last(a: Array) -> Array:
    """[N, C, *spatial] -> contiguous [N, D, H, W, C] with unit leading spatial dimensions; a view where the memory allows it."""
    rank = a.ndim - 2
    moved = contiguous(a.transpose(0, *range(2, a.ndim), 1))
    return moved.reshape(a.shape[0], *(1,) * (3 - rank), *a.shape[2:], a.shape[1])


def concatenate(arrays: Sequence[Array], axis: int) -> Array:
    """The arrays one behind the other along `axis`, in C order."""
    first = arrays[0]
    y = empty((*first.shape[:axis], sum(a.shape[axis] for a in arrays), *first.shape[axis + 1 :]), np.result_type(*(a.dtype for a in arrays)))
    at = 0
    for a in arrays:
        end = at + a.shape[axis]
        assign(y[(*(slice(None),) * axis, slice(at, end))], a)
        at = end
    return y


def assign(y: Array, x: Array) -> Array:
    """y[...] = x, of one shape; in the dtype of y."""
    if x.dtype == y.dtype and x.itemsize in _BITS and x.size:
        found = _tiles(x.shape, x.steps, y.steps)
        if found is not None:
            blocks, plan = found
            bits = _BITS[x.itemsize]
            a, b = x.view_as(bits), y.view_as(bits)
            _turn[bits].blocks(blocks, (TILE, LINES), a.flat, a.offset, b.flat, b.offset, plan.flat)
            return y
    return e.run(e._truth if y.dtype == np.bool_ and x.dtype != np.bool_ else e._same, [x], y)


@functools.lru_cache(maxsize=1024)
def _tiles(shape: tuple[int, ...], xs: tuple[int, ...], ys: tuple[int, ...]) -> tuple[int, Array] | None:
    """(blocks, plan) of a copy by tiles; None where a walk does as well."""
    sizes, xs, ys = e._joined(shape, xs, ys)
    near = next((d for d in range(1, len(sizes)) if xs[d] == 1 and sizes[d] >= NARROW), None)
    if near is None or len(sizes) > e.RANK or ys[0] != 1 or xs[0] == 1 or sizes[0] < NARROW:
        return None
    planes = [d for d in range(1, len(sizes)) if d != near]
    I, J = sizes[near], sizes[0]
    axes = [(sizes[d], xs[d], ys[d]) for d in planes] + [(1, 0, 0)] * (e.RANK - len(sizes))
    plan = [I, J, ys[near], xs[0], *(n for axis in axes for n in axis)]
    return math.prod(sizes[d] for d in planes) * -(-I // TILE) * -(-J // TILE), asarray(np.array(plan, np.int64))


@kernel("TiTiI", dtypes=tuple(_BITS.values()))
def _turn(x, x0, y, y0, plan):
    # plan: I, J, from one i to the next in y, from one j to the next in x; then of each axis of p its size and its strides in x and y
    tile = cuda.shared.array((TILE, PITCH), x.dtype)
    t, u, p = cuda.threadIdx.x, cuda.threadIdx.y, cuda.blockIdx.x
    I, J = plan[0], plan[1]
    many_i, many_j = (I + TILE - 1) // TILE, (J + TILE - 1) // TILE
    j0 = p % many_j * TILE
    p //= many_j
    i0 = p % many_i * TILE
    p //= many_i
    for d in range(e.RANK - 2):
        n = plan[4 + 3 * d]
        x0 += p % n * plan[5 + 3 * d]
        y0 += p % n * plan[6 + 3 * d]
        p //= n
    for k in range(u, TILE, LINES):
        if i0 + t < I and j0 + k < J:
            tile[k, t] = x[x0 + (j0 + k) * plan[3] + i0 + t]
    cuda.syncthreads()
    for k in range(u, TILE, LINES):
        if i0 + k < I and j0 + t < J:
            y[y0 + (i0 + k) * plan[2] + j0 + t] = tile[t, k]
