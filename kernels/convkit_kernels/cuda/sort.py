"""The order of elements along an axis.

Lines are sorted in runs of up to `TILE` elements, each within a block's shared memory by a bitonic network; then two runs at a time are merged, where
each element finds its place by the number of elements of the other run that come before it.  Equal elements keep their order throughout.
"""

from __future__ import annotations

import math

import numba
import numpy as np

from . import driver
from . import mathfunctions as m
from .launch import cuda, kernel
from .memory import Array, empty, empty_like
from .reduce import three

TILE, THREADS = (8, 4) if driver.is_simulated() else (1024, 256)
KINDS = (np.float32, np.float64, np.int64, np.int32, np.uint8, np.bool_)


@m.device
def _before(a, b, down):
    """Does a come before b, whatever their places?  NaN is the greatest; `down` puts the greatest first."""
    return (a > b) | ((a != a) & (b == b)) if down else (b > a) | ((b != b) & (a == a))


@m.device
def _first(a, p, b, q, n, down):
    """Does a, which stood at p, come before b of q?  What stands at n is not there: it comes last."""
    return p < n and (q == n or _before(a, b, down) or (p < q and not _before(b, a, down)))


@kernel("TiTIiiiiiiii", KINDS)
def _runs(x, x0, keys, places, lines, n, B, sa, sr, sb, width, down):
    # Sorts runs of `width` elements, a power of two, of lines of n: line l begins at x0 + l // B sa + l % B sb.
    tile = cuda.shared.array(TILE, x.dtype)
    place = cuda.shared.array(TILE, numba.int64)
    t, runs = cuda.threadIdx.x, (n + width - 1) // width
    for i in range(t, TILE, THREADS):
        run = (cuda.blockIdx.x * TILE + i) // width
        line, k = run // runs, run % runs * width + i % width
        if line < lines and k < n:
            tile[i] = x[x0 + line // B * sa + line % B * sb + k * sr]
            place[i] = k
        else:
            place[i] = n
    size = 2
    while size <= width:
        step = size // 2
        while step > 0:
            cuda.syncthreads()
            for pair in range(t, TILE // 2, THREADS):
                i = 2 * pair - (pair & (step - 1))
                j = i + step
                low, high = (j, i) if (i & (width - 1)) & size == 0 else (i, j)  # every second pair of runs is put in the opposite order
                if _first(tile[low], place[low], tile[high], place[high], n, down):
                    a, p = tile[i], place[i]
                    tile[i], place[i] = tile[j], place[j]
                    tile[j], place[j] = a, p
            step //= 2
        size *= 2
    cuda.syncthreads()
    for i in range(t, TILE, THREADS):
        run = (cuda.blockIdx.x * TILE + i) // width
        line, k = run // runs, run % runs * width + i % width
        if line < lines and k < n:
            keys[line * n + k] = tile[i]
            places[line * n + k] = place[i]


@kernel("iTITIiii", KINDS)
def _merge(total, keys, places, new_keys, new_places, n, width, down):
    # Every two neighbouring runs of `width` elements become one.
    for e in range(cuda.grid(1), total, cuda.gridsize(1)):
        k = e % n
        run, start, key = k // width, e - k, keys[e]
        other = (run ^ 1) * width
        low, high = min(n, other), min(n, other + width)
        while low < high:
            middle = (low + high) // 2
            key2 = keys[start + middle]
            if (not _before(key, key2, down)) if run & 1 else _before(key2, key, down):
                low = middle + 1
            else:
                high = middle
        to = start + run // 2 * 2 * width + (k - run * width) + low - min(n, other)
        new_keys[to] = key
        new_places[to] = places[e]


def lines(x: Array, axis: int, descending: bool = False) -> tuple[Array, Array]:
    """(the elements in order, where they stood), lines along `axis` one behind the other [line, element]."""
    n = x.shape[axis]
    x, (A, _, B, sa, sr, sb) = three(x, (axis,))
    count = A * B
    keys, places = empty((count, n), x.dtype), empty((count, n), np.int64)
    width = min(TILE, 1 << max(1, (n - 1).bit_length()))
    runs = -(-n // width) * count
    down = int(descending)
    _runs[x.dtype].blocks(
        -(-runs * width // TILE), THREADS, x.flat, x.offset, keys.flat, places.flat, count, n, B, sa, sr, sb, width, down
    )  # fmt: skip
    if width < n:
        other = empty_like(keys), empty_like(places)
        while width < n:
            _merge[x.dtype](count * n, count * n, keys.flat, places.flat, other[0].flat, other[1].flat, n, width, down)
            (keys, places), other = other, (keys, places)
            width *= 2
    return keys, places


def argsort(x: Array, axis: int, descending: bool, first: int | None = None) -> Array:
    """Indices (int64) that put x in order along `axis`, equal elements as they stood and NaN as the greatest; or the `first` of them."""
    n = x.shape[axis]
    shape = (*x.shape[:axis], *x.shape[axis + 1 :], n)
    if not math.prod(shape) or first == 0:
        return empty([n if first is None or d != axis else first for d, n in enumerate(x.shape)], np.int64)
    order = lines(x, axis, descending)[1].reshape(shape)
    if first is not None and first < n:
        order = order[..., :first].copy()
    return np.moveaxis(order, -1, axis)  # type: ignore[type-var]
