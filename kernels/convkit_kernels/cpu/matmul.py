"""Matrix product by register tiles.

    y[m, n] = bias[n] + sum over k of a[m, k] * b[k, n]

Rows of a tile are rows of a, columns are columns of b; a is read where it lies, by rows or by columns, so neither
x @ w.T nor the gradient x.T @ g copies its first operand.  b is read in place if its rows are contiguous and
few rows of a share it; otherwise it is packed once into blocks of whole vectors.
"""

from __future__ import annotations

import numpy as np
from numba import prange

from ..layout import contiguous
from .microkernel import Tile, address, call_tile, copy_bytes, row_split, split_kernels, tile_for
from .runtime import kernel

PACK_FROM_ROWS = 128  # below, packing b costs more than its strided reads
TILES_OF_UNIT = 4  # tiles of rows that one unit of parallel work computes for one block of columns


def matmul(a: np.ndarray, b: np.ndarray, bias: np.ndarray | None = None) -> np.ndarray:
    """a [..., M, K] times b [..., K, N], plus bias [N] -> [..., M, N]; leading dimensions broadcast."""
    if b.ndim == 2:
        rows = a if a.ndim == 2 else contiguous(a).reshape(-1, a.shape[-1])
        return matmul2d(rows, b, bias).reshape(*a.shape[:-1], b.shape[-1])
    batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    a, b = np.broadcast_to(a, batch + a.shape[-2:]), np.broadcast_to(b, batch + b.shape[-2:])
    y = np.empty((*batch, a.shape[-2], b.shape[-1]), a.dtype)
    for i in np.ndindex(batch):
        matmul2d(a[i], b[i], bias, y[i])
    return y


def matmul2d(a: np.ndarray, b: np.ndarray, bias: np.ndarray | None = None, y: np.ndarray | None = None) -> np.ndarray:
    """a [M, K] times b [K, N], plus bias [N], into y [M, N] (contiguous) if given."""
    m, k, n = *a.shape, b.shape[1]
    if y is None:
        y = np.empty((m, n), a.dtype)
    if not m or not n:
        return y
    start = np.zeros(n, a.dtype) if bias is None else contiguous(bias)
    if not k:
        y[:] = start
        return y
    tile = tile_for(n, a.dtype)
    by_columns = a.flags.f_contiguous and not a.flags.c_contiguous
    a = contiguous(a.T if by_columns else a)
    xrow, xinc = (1, m) if by_columns else (k, 1)
    if m >= PACK_FROM_ROWS or not b.flags.c_contiguous:
        flat, strides = (b.T.reshape(-1), (0, 1, k)) if b.T.flags.carray else (contiguous(b).reshape(-1), (0, n, 1))
        b = pack(flat, np.zeros(1, np.int64), (1, k, n), strides, tile)
        winc, wblock, masked = tile.columns, k * tile.columns, False
    else:
        b, winc, wblock, masked = contiguous(b), n, tile.columns, n % tile.columns != 0
    split = row_split(m, tile.rows)
    whole = split_kernels(tile, split, a.dtype, by_columns)
    part = split_kernels(tile, split, a.dtype, by_columns, True) if masked else whole
    _products(a, b.reshape(-1), start, y, (xrow, xinc, winc, wblock, k), split, whole + part, tile.columns)
    return y


def pack(b: np.ndarray, taps: np.ndarray, shape: tuple[int, int, int], strides: tuple[int, int, int], tile: Tile) -> np.ndarray:
    """Flat b, whose element (tap, g, i, j) stands at taps[tap] + strides . (g, i, j), with (g, i, j) inside `shape`
    -> [G, blocks, taps * I, columns]: blocks of whole columns, the last filled up with zeros."""
    groups, rows, n = shape
    packed = np.empty((groups, -(-n // tile.columns), taps.size * rows, tile.columns), b.dtype)
    _pack(b, taps, shape, strides, tile.columns, packed.reshape(-1))
    return packed


@kernel
def _pack(b, taps, shape, strides, columns, packed):
    """A row of a block at a time, from as many places as the block has columns; the taps of a row of weights are neighbours in memory."""
    groups, rows, n = shape
    sg, si, sj = strides
    blocks = (n + columns - 1) // columns
    size, ntaps = b.itemsize, taps.size
    for u in prange(groups * blocks):
        j0 = u % blocks * columns
        many = min(columns, n - j0)
        start = u // blocks * sg + j0 * sj
        for i in range(rows):
            for tap in range(ntaps):
                at, to = start + taps[tap] + i * si, ((u * ntaps + tap) * rows + i) * columns
                row = packed[to : to + columns]
                if sj == 1:
                    copy_bytes(address(row), address(b) + size * at, size * many)
                else:
                    places = b[at : at + (many - 1) * sj + 1]
                    for j in range(many):
                        row[j] = places[j * sj]
                for j in range(many, columns):
                    row[j] = 0


@kernel
def _products(a, b, start, y, strides, split, kernels, columns):
    """All tiles of y: units of TILES_OF_UNIT tiles of rows x one block of columns, blocks outermost so that b stays cached."""
    n = y.shape[1]
    xrow, xinc, winc, wblock, run = strides
    height, many, tiles = split
    size = a.itemsize
    groups = (tiles + TILES_OF_UNIT - 1) // TILES_OF_UNIT
    blocks = (n + columns - 1) // columns
    tap = np.zeros(1, np.int64)
    for u in prange(groups * blocks):
        block, group = u // groups, u % groups
        j = block * columns
        part = 2 if j + columns > n else 0
        for t in range(group * TILES_OF_UNIT, min(tiles, (group + 1) * TILES_OF_UNIT)):
            i = t * height - max(0, t - many)
            call_tile(
                kernels[part + (0 if t < many else 1)],
                (address(a) + size * i * xrow, address(tap), xrow, xinc,
                 address(b) + size * block * wblock, address(tap), winc, 1, run,
                 address(start) + size * j, 0, address(y) + size * (i * n + j), n, min(columns, n - j)),
            )  # fmt: skip
