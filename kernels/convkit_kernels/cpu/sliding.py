"""Window sums to few channels, by tiles whose sums slide along the rows of an image.

    y[i, q, k] = start[k] + sum over r, s, c of  x[i*step + rows[r], q + s - left, c] * w[r, s, c, k]

Where K is small, a vector of y's channels is mostly empty.  A tile here holds for each of its rows i the sums of the S neighbouring pixels that see
one column of the image, S * K numbers side by side.  When the column has been added to all of them, the first pixel is whole: it is stored, the
others move down by K lanes, and the next pixel comes in with `start`.  The taps of a row so fill vectors together, each number of x is read once
for all of them, and columns outside the image are neither read nor added.

Tiles are called as those of `microkernel` are, with whole rows as pixels: a row of x is W * C channels, a row of y is Q * K.  The strides are part
of their code, which is made for small images of one width.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir

from .choice import ADD_LANES, Taps, spacing
from .lanes import I1, I32, I64
from .microkernel import Piece, compiled, isa, start_tile
from .runtime import digest

IMAGES = 16  # at least, as each is one task
WIDTH = 32  # of an image, at most: each width takes code of its own, which costs half a second
ROWS = 4  # of y, at least: fewer sums would wait for each other
EACH = 4  # FMAs that it costs to store and to move a vector


class Sliding(NamedTuple):
    """Sums of one size."""

    channels: int
    filters: int
    width: int  # columns of the image
    out: int  # columns of y
    left: int  # columns that the first window reaches over the edge
    across: int  # S
    rows: tuple[int, ...]  # where rows of taps stand, from the first on
    step: int  # of rows
    vectors: int  # of the sums of a row


def sliding(source: tuple[int, ...], y: tuple[int, ...], taps: Taps, step: tuple[int, ...], dtype: np.dtype) -> Sliding | None:
    """How sums of a source [N, D, H, W, C] slide into y [N, P0, P1, P2, K], or None where other tiles do with less."""
    images, depth, _, width, c = source
    k, s, r, out = y[4], len(taps[2]), len(taps[1]), y[3]
    lanes = isa().bytes // dtype.itemsize
    vectors, left = -(-s * k // lanes), -taps[2][0]
    if images * depth < IMAGES or y[2] < ROWS or not s <= width <= WIDTH or s < 2 or step[2] > 1 or spacing(taps[2]) > 1 or not 0 <= left < s:
        return None
    if vectors not in isa().tiles or (s - 1) * k < (vectors - 1) * lanes:  # the first pixel is inside one vector
        return None
    others = min(r * s * c, k * (r * -(-s * c // lanes) + ADD_LANES))
    if vectors * (r * c + EACH) * width / out > 0.8 * others:
        return None
    return Sliding(c, k, width, out, left, s, tuple(t - taps[1][0] for t in taps[1]), step[1], vectors)


def places(shape: Sliding, taps: np.ndarray, strides: tuple[int, int], dtype: np.dtype) -> np.ndarray:
    """Where packed weights [C, R, numbers of a row of sums] come from: tap t, channel c and filter k stand at taps[t] + strides . (c, k).

    The sums end with the last lane.  What comes before is never stored.
    """
    rows, s = len(shape.rows), shape.across
    found = np.zeros((shape.channels, rows, shape.vectors * isa().bytes // dtype.itemsize), np.int64)
    # The first pixel sees the column by its last tap.
    columns = taps.reshape(rows, s, 1)[:, ::-1] + np.arange(shape.filters) * strides[1]
    found[:, :, found.shape[2] - s * shape.filters :] = columns.reshape(rows, -1) + np.arange(shape.channels)[:, None, None] * strides[0]
    return found


def sliding_kernel(shape: Sliding, rows: int, pieces: tuple[Piece, ...], dtype: np.dtype) -> int:
    """Address of the tile for `rows` rows; `pieces` says which of them see which row of taps, if not all do."""
    seen = tuple((p.first, p.end) for p in pieces) or ((0, rows),) * len(shape.rows)
    return compiled(f"slide-{dtype.char}-{digest(shape, rows, seen)}", lambda: _emit(shape, rows, seen, dtype))


def _emit(shape: Sliding, rows: int, seen: tuple[tuple[int, int], ...], dtype: np.dtype) -> ir.Module:
    c, k, width, out, left, across, taps, step, vectors = shape
    lanes = isa().bytes // dtype.itemsize
    unused = vectors * lanes - across * k
    module, fn, scalar, vec, fma, load, store = start_tile("slide", digest(shape, rows, seen), dtype, lanes)
    x, xtaps, _, _, w, *_, start, _, y, _, _ = fn.args
    b = ir.IRBuilder(fn.append_basic_block("entry"))
    undefined, opaque = ir.Constant(vec, ir.Undefined), ir.FunctionType(x.type, [x.type])

    def const(n: int) -> ir.Constant:
        return ir.Constant(I64, n)

    def lanes_of(one: Any, two: Any, numbers: list[int]) -> Any:
        return b.shuffle_vector(one, two, ir.Constant(ir.VectorType(I32, lanes), numbers))

    def mask(numbers: range) -> ir.Constant:
        return ir.Constant(ir.VectorType(I1, lanes), [i in numbers for i in range(lanes)])

    def loop(first: int, end: int, carried: list, body: Any) -> list:
        """for i from first to before end: carried = body(i, carried)"""
        if end - first < 2:
            return body(const(first), carried) if first < end else carried
        before, inside, after = b.block, fn.append_basic_block(), fn.append_basic_block()
        b.branch(inside)
        b.position_at_end(inside)
        phis = [b.phi(I64), *(b.phi(value.type) for value in carried)]
        new = body(phis[0], phis[1:])
        following = b.add(phis[0], const(1))
        for phi, one, two in zip(phis, [const(first), *carried], [following, *new], strict=True):
            phi.add_incoming(one, before)
            phi.add_incoming(two, b.block)
        b.cbranch(b.icmp_signed("<", following, const(end)), inside, after)
        b.position_at_end(after)
        return new

    def column(t: Any, sums: list) -> list:
        """The sums after column t of the image."""

        def channel(i: Any, sums: list) -> list:
            new = list(sums)
            xt = b.gep(b.gep(x, [b.load(xtaps)]), [b.add(b.mul(t, const(c)), i)])
            wt = b.gep(w, [b.mul(i, const(len(taps) * vectors * lanes))])
            for r, (row, (low, high)) in enumerate(zip(taps, seen, strict=True)):
                # Rows see numbers that others see by another tap: LLVM would rather keep them all, and has no room.
                at = b.asm(opaque, "", "=r,0", [xt], False)
                weights = [load(b, b.gep(wt, [const((r * vectors + v) * lanes)])) for v in range(vectors)]
                for n in range(low, high):
                    number = b.load(b.gep(at, [const((n * step + row) * width * c)]))
                    value = lanes_of(b.insert_element(undefined, number, I32(0)), undefined, [0] * lanes)
                    for v in range(vectors):
                        new[n * vectors + v] = b.call(fma, [value, weights[v], new[n * vectors + v]])
            return new

        return loop(0, c, sums, channel)

    def moved(t: Any, sums: list, some: Any) -> list:
        """The sums for the next column, after storing the first pixel, if it is `some`."""
        to = b.gep(y, [b.sub(b.mul(b.sub(t, const(skip)), const(k)), const(unused))])
        new = []
        for n in range(rows):
            own = [*sums[n * vectors : (n + 1) * vectors], bias]
            store(b, own[0], b.gep(to, [const(n * out * k)]), some)
            new += [lanes_of(own[v], own[v + 1], list(range(k, k + lanes))) for v in range(vectors)]
        return new

    bias = load(b, start, mask(range(k)))
    first = mask(range(unused, unused + k))
    # Sums begin left of y: the first `skip` pixels are outside.
    skip = across - 1 - left
    begin = [lanes_of(bias, undefined, [max(0, v * lanes + i - unused) % k for i in range(lanes)]) for v in range(vectors)] * rows
    nowhere = mask(range(0))
    end = min(width, skip + out)
    sums = loop(0, end, begin, lambda t, s: moved(t, column(t, s), b.select(b.icmp_signed(">=", t, const(skip)), first, nowhere) if skip else first))
    loop(end, skip + out, sums, lambda t, s: moved(t, s, first))
    b.ret_void()
    return module
