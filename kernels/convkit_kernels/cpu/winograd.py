"""3x3 convolutions, dilated ones too, by Winograd's F(4x4, 3x3): 36 products in place of 144 for each 4x4 tile of output pixels.

With B, G and A the matrices of Lavin and Gray ("Fast Algorithms for Convolutional Neural Networks", 2016), for each tile, x being its 6x6 patch:

    forward            y = A' [ sum over channels of (G w G') * (B' x B) ] A
    weight gradient   dw = G' [ sum over tiles    of (B' x B) * (A g A') ] G

where * multiplies element by element, so that each of the 36 places is a matrix product of its own: tiles by channels by channels.
The input gradient is a forward pass of gy with mirrored weights.  Multiplying sums of pixels loses a digit: the relative error by norm
is 1e-6 to 2e-6 in float32 where a direct sum's is 2e-7 to 8e-7.  A NaN or an infinity in a pixel or a weight makes every output of the tiles
it meets NaN, where a direct sum would reach the nine outputs around it only.

A tile of a dilated convolution is 16 pixels as far apart as its taps: each of dilation^2 phases of the image is convolved by itself.

A transform is a codelet: straight-line code over a vector of channels at a time, emitted with llvmlite.  It finds pixels by a table of addresses
that it makes for each tile, in which pixels outside the image are a row of zeros that is only read, or a row that nobody reads.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numba
import numpy as np
from llvmlite import binding as llvm
from llvmlite import ir
from numba import prange

from .choice import tiles_along
from .denormals import flush_denormals, set_float_mode
from .finish import positive
from .lanes import I32, I64, accesses, below, fetch, splat
from .microkernel import CACHE_LINE, address, call_code, clear_bytes, compiled, fetch_line, isa, row_split, split_kernels, tile_for
from .runtime import MOST_THREADS, inline, kernel

LEAST_TILES = {"few": 28, "sums": 24, "alone": 14, "outer": 56}  # that transformed weights (few, or more) or their gradients (a part's, or all) meet
PARTS, PARTS_BYTES = 16, 1 << 21  # of a weight gradient, at most
TILES_BYTES = 1 << 18  # of transformed tiles beside a part's transformed weights, all in the second-level cache
FEW = 1 << 18  # bytes of transformed weights, which leave room in the second-level cache for more tiles and for the pixels of the next
UNITS = 4  # of work at least, if there are tiles enough: each reads all transformed weights, which may be more than the caches hold
PIECES = 8  # of a transform of weights
PLACES = 36  # of a transformed tile


# ------------------------------------------------------------------------------------- codelets
# The points of interpolation are 0, +-3/4, +-3/2 and infinity: all constants are exact, and the error is half that of the usual 0, +-1, +-2
# (compare Barabasz et al., "Error analysis and improving the accuracy of Winograd convolution", 2020).
_A, _B = 3 / 4, 3 / 2
_P, _Q = _A**2, _B**2


def _at_both(add: Callable, mul: Callable, even: Any, odd: Any, c: float) -> list:
    """A polynomial at c and at -c, from the parts with even and with odd powers: two multiply-adds."""
    return [add(even, mul(odd, c)), add(even, mul(odd, -c))]


def _input(add: Callable, sub: Callable, mul: Callable, x: list) -> list:
    """B' x, 6 -> 6: the coefficients of x times each point's polynomial, the product of (t - other point)."""
    a_even, a_odd = sub(x[4], mul(x[2], _Q)), sub(x[3], mul(x[1], _Q))
    b_even, b_odd = sub(x[4], mul(x[2], _P)), sub(x[3], mul(x[1], _P))
    first, last = (add(sub(x[i + 4], mul(x[i + 2], _P + _Q)), mul(x[i], _P * _Q)) for i in (0, 1))
    return [first, *_at_both(add, mul, a_even, a_odd, _A), *_at_both(add, mul, b_even, b_odd, _B), last]


def _output(add: Callable, sub: Callable, mul: Callable, m: list) -> list:
    """A' m, 6 -> 4: powers of the points."""
    a_even, a_odd, b_even, b_odd = add(m[1], m[2]), sub(m[1], m[2]), add(m[3], m[4]), sub(m[3], m[4])
    return [
        add(add(m[0], a_even), b_even),
        add(mul(a_odd, _A), mul(b_odd, _B)),
        add(mul(a_even, _P), mul(b_even, _Q)),
        add(add(m[5], mul(a_odd, _A * _P)), mul(b_odd, _B * _Q)),
    ]


def _gradient(add: Callable, sub: Callable, mul: Callable, g: list) -> list:
    """A g, 4 -> 6: g as a polynomial, at the points."""
    a_even, a_odd, b_even, b_odd = (add(g[i], mul(g[i + 2], square)) for square in (_P, _Q) for i in (0, 1))
    return [g[0], *_at_both(add, mul, a_even, a_odd, _A), *_at_both(add, mul, b_even, b_odd, _B), g[3]]


_OF_A, _OF_B = 1 / (2 * _P * (_P - _Q)), 1 / (2 * _Q * (_Q - _P))  # one over each point's polynomial at the point


def _weights(add: Callable, sub: Callable, mul: Callable, w: list) -> list:
    """G w, 3 -> 6: w as a polynomial, at the points, over each point's polynomial there."""
    a_even, b_even = mul(add(w[0], mul(w[2], _P)), _OF_A), mul(add(w[0], mul(w[2], _Q)), _OF_B)
    a, b = _at_both(add, mul, a_even, w[1], _A * _OF_A), _at_both(add, mul, b_even, w[1], _B * _OF_B)
    return [mul(w[0], 1 / (_P * _Q)), *a, *b, w[2]]


def _weight_gradient(add: Callable, sub: Callable, mul: Callable, u: list) -> list:
    """G' u, 6 -> 3."""
    a_even, a_odd = mul(add(u[1], u[2]), _OF_A), mul(sub(u[1], u[2]), _A * _OF_A)
    b_even, b_odd = mul(add(u[3], u[4]), _OF_B), mul(sub(u[3], u[4]), _B * _OF_B)
    return [add(add(mul(u[0], 1 / (_P * _Q)), a_even), b_even), add(a_odd, b_odd), add(add(mul(a_even, _P), mul(b_even, _Q)), u[5])]


# name: (the transform of one dimension, places in, places out, what its source is, what its result is, does it add a bias?)
# Pixels are vectors of channels, and not padded to whole vectors; planes are; of windows each lane has its own.
CODELETS = {
    "input": (_input, 6, 6, "pixels", "planes", False),
    "output": (_output, 6, 4, "planes", "pixels", True),
    "gradient": (_gradient, 4, 6, "pixels", "planes", False),
    "weights": (_weights, 3, 6, "windows", "planes", False),
    "weight_gradient": (_weight_gradient, 6, 3, "planes", "windows", False),
}
AHEAD = 8  # vectors: 36 planes of weights are more streams than a processor follows by itself, so each vector asks for one that comes later


def codelet(name: str, dtype: np.dtype, add: bool = False, relu: bool = False) -> int:
    """Address of a codelet, compiled on first use, in about 20 ms.

    Of pixels it takes (view, image, i, j, outside, planes, at, bias, away, whole, rest): the address of a `_view` of images, of an image, where the
    first pixel is, the address to use for pixels outside the image, the table of planes and what is added to it, the address of the bias, what leads
    from a pixel to what is added to it, whole vectors of channels and channels beyond them.  Of windows it takes (planes, at, windows, window, lanes,
    whole, rest): tables of addresses and what is added to each, and the address of a table of where the window of each lane is, in bytes.

    With `add` something is added to each pixel; with `relu` what is not above 0 becomes 0."""
    char = np.dtype(dtype).char
    return compiled(f"winograd-{name}-{char}-{add}-{relu}", lambda: _emit(name, char, add, relu))


def _emit(name: str, char: str, added: bool, relu: bool) -> ir.Module:
    step, before, after, kind_in, kind_out, biased = CODELETS[name]
    dtype = np.dtype(char)
    lanes = isa().bytes // dtype.itemsize
    scalar, suffix = (ir.FloatType(), "f32") if dtype.itemsize == 4 else (ir.DoubleType(), "f64")
    vec = ir.VectorType(scalar, lanes)
    vp, ip = vec.as_pointer(), I64.as_pointer()
    module = ir.Module(f"winograd_{name}_{suffix}")
    module.triple = llvm.get_process_triple()
    of_pixels = "pixels" in (kind_in, kind_out)
    kinds = [ip, *[I64] * 4, ip, *[I64] * 5] if of_pixels else [ip, I64, ip, *[I64] * 4]
    fn = ir.Function(module, ir.FunctionType(ir.VoidType(), kinds), module.name)
    if of_pixels:
        view, image, first_row, first_column, outside, planes, plane, more, away, whole, rest = fn.args
    else:
        planes, plane, windows, window, more, whole, rest = fn.args
    load_vector, store_vector = accesses(module, vec)
    entry, loop, next_, tail, last, exit_ = (fn.append_basic_block(n) for n in ("entry", "loop", "next", "tail", "last", "exit"))
    b = ir.IRBuilder(entry)
    flags = ("contract", "reassoc")

    def add(u: Any, v: Any) -> Any:
        return b.fadd(u, v, flags=flags)

    def sub(u: Any, v: Any) -> Any:
        return b.fsub(u, v, flags=flags)

    def mul(v: Any, c: float) -> Any:
        return b.fmul(v, ir.Constant(vec, [float(c)] * lanes), flags=flags)

    def pixels(image: Any) -> Any:
        """The table of the addresses of a tile's pixels, in rows of 8."""
        side, eight = before if kind_in == "pixels" else after, ir.VectorType(I64, 8)
        height, width, apart, row_bytes, pixel_bytes = (b.load(b.gep(view, [ir.Constant(I64, k)])) for k in range(VIEW_COLUMNS))
        columns, distances = (
            b.load(b.bitcast(b.gep(view, [ir.Constant(I64, k)]), eight.as_pointer()), align=8) for k in (VIEW_COLUMNS, VIEW_COLUMNS + 8)
        )
        columns, beyond = b.add(columns, splat(b, first_column, 8)), splat(b, outside, 8)
        table = b.alloca(eight, side)
        table.align = 64
        i, at = first_row, b.add(image, b.add(b.mul(first_row, row_bytes), b.mul(first_column, pixel_bytes)))
        for row in range(side):
            limit = b.select(b.icmp_unsigned("<", i, height), width, ir.Constant(I64, 0))
            inside = b.icmp_unsigned("<", columns, splat(b, limit, 8))
            b.store(b.select(inside, b.add(distances, splat(b, at, 8)), beyond), b.gep(table, [ir.Constant(I64, row)]), align=64)
            i, at = b.add(i, apart), b.add(at, b.mul(apart, row_bytes))
        return b.bitcast(table, ip)

    def body(t: Any, mask: Any) -> None:
        """One vector of channels: down the columns of the patch, then along its rows."""
        offset = b.mul(t, ir.Constant(I64, isa().bytes))
        where = b.inttoptr(b.add(more, b.mul(t, ir.Constant(I64, 8 * lanes))), ip)  # the table of lanes

        def place(kind: str, i: int, j: int, width: int, writes: bool, table: Any = None) -> Any:
            if kind == "pixels":
                return b.inttoptr(b.add(b.load(b.gep(table or spots, [ir.Constant(I64, 8 * i + j)])), offset), vp)
            table, base = (planes, plane) if kind == "planes" else (windows, window)
            at = b.add(b.load(b.gep(table, [ir.Constant(I64, i * width + j)])), base)
            if kind == "windows":  # a gather takes five times as long
                return [b.inttoptr(b.add(at, b.load(b.gep(where, [ir.Constant(I64, lane)]))), scalar.as_pointer()) for lane in range(lanes)]
            at = b.add(at, offset)
            if not of_pixels:
                fetch(b, b.inttoptr(b.add(at, ir.Constant(I64, AHEAD * isa().bytes)), vp), to_write=writes)
            return b.inttoptr(at, vp)

        def load(kind: str, pointer: Any) -> Any:
            if kind == "windows":
                value = ir.Constant(vec, ir.Undefined)
                for lane, at in enumerate(pointer):
                    value = b.insert_element(value, b.load(at), ir.Constant(I32, lane))
                return value
            return load_vector(b, pointer, mask if kind == "pixels" else None)

        columns = [step(add, sub, mul, [load(kind_in, place(kind_in, i, j, before, False)) for i in range(before)]) for j in range(before)]
        shift = load("pixels", b.inttoptr(b.add(more, offset), vp)) if biased else None
        for i in range(after):
            for j, value in enumerate(step(add, sub, mul, [column[i] for column in columns])):
                to, value = place(kind_out, i, j, after, True), add(value, shift) if biased else value
                if added:  # as an operation of its own, which a sum behind the convolution is
                    value = b.fadd(value, load("pixels", place("pixels", i, j, after, False, added_spots)))
                if relu:
                    value = positive(b, value)
                if kind_out == "windows":
                    for lane in reversed(range(lanes)):  # lanes beyond the last column stand where it does, which is written last
                        b.store(b.extract_element(value, ir.Constant(I32, lane)), to[lane])
                else:
                    store_vector(b, value, to, mask if kind_out == "pixels" else None)

    spots = pixels(image) if of_pixels else None
    added_spots = pixels(b.add(image, away)) if added else None
    b.cbranch(b.icmp_signed(">", whole, ir.Constant(I64, 0)), loop, tail)
    b.position_at_end(loop)
    t = b.phi(I64)
    t.add_incoming(ir.Constant(I64, 0), entry)
    body(t, None)
    b.branch(next_)
    b.position_at_end(next_)
    following = b.add(t, ir.Constant(I64, 1))
    t.add_incoming(following, next_)
    b.cbranch(b.icmp_signed("<", following, whole), loop, tail)
    b.position_at_end(tail)
    b.cbranch(b.icmp_signed(">", rest, ir.Constant(I64, 0)), last, exit_)
    b.position_at_end(last)
    body(whole, below(b, rest, lanes))
    b.branch(exit_)
    b.position_at_end(exit_)
    b.ret_void()
    return module


# ------------------------------------------------------------------------------------- the plan
# Kernels get one array of integers (as `conv.py` does): these, and behind them the addresses of codelets and register tiles.
VIEW_COLUMNS, VIEW = 5, 21  # see `_view`
SOURCE, RESULT = 0, VIEW  # views of the source, and of the result or its gradient
C, K, TOP, LEFT = range(2 * VIEW, 2 * VIEW + 4)  # channels of both, and where the first patch begins
DOWN, ACROSS, TILES, TOGETHER = range(2 * VIEW + 4, 2 * VIEW + 8)  # tiles of an image, of all images, and of a unit of work
APART_Y, APART_X = range(2 * VIEW + 8, 2 * VIEW + 10)  # pixels from one pixel of a tile to the next
WIDE_C, WIDE_K, PLANE_C, PLANE_K, LANES = range(2 * VIEW + 10, 2 * VIEW + 15)  # elements from tile to tile in a place's plane, and of the plane
COLUMNS, HEIGHT, MANY, ROWS = range(2 * VIEW + 15, 2 * VIEW + 19)  # the register tile, and how rows are split into such tiles
INTO, OUT = range(2 * VIEW + 19, 2 * VIEW + 21)  # codelets: into the transformed domain, and out of it, or into it for the gradient
ASKS, WHOLE_K = range(2 * VIEW + 21, 2 * VIEW + 23)  # does a unit ask for the pixels of the next?  K in whole vectors
PRODUCT = 2 * VIEW + 23  # register tiles: both heights, and both for a block that has not all columns


class Taps(NamedTuple):
    """Where the nine taps stand: the first, relative to an output pixel's place in the source, and how far apart they are, in rows and columns."""

    corner: tuple[int, int]
    apart: tuple[int, int]


def _table(
    source: tuple[int, ...], result: tuple[int, ...], dtype: np.dtype, taps: Taps, together: int, rows: int | None, columns: int,
    codelets: tuple[int, int], unit_rows: bool,
) -> np.ndarray:  # fmt: skip
    """The plan for `together` tiles at a time and products of `rows` (of a tile's channels, or else the tiles) by `columns`."""
    c, (n, p, q, k) = source[-1], result
    lanes = isa().bytes // dtype.itemsize
    down, across = tiles_along(p, taps.apart[0]), tiles_along(q, taps.apart[1])
    rows = together if rows is None else rows
    tile = tile_for(rows, columns, dtype)
    split = row_split(rows, tile.rows)
    whole = split_kernels(tile, split, dtype, unit_rows)
    part = split_kernels(tile.last(columns), split, dtype, unit_rows) if columns % tile.columns else whole
    wide = _apart(_up(c, lanes), dtype), _apart(columns, dtype)
    planes = [_plane(together * n, dtype) for n in wide]
    if not unit_rows:  # they take each other's place
        planes = [max(planes)] * 2
    asks = taps.apart == (1, 1) and _few(c, k, dtype)
    views = *_view(source, dtype, taps), *_view(result, dtype, taps)
    return np.array([*views, c, k, *taps.corner, down, across, n * down * across, together, *taps.apart, *wide, *planes, lanes, tile.columns, *split,
                     *codelets, asks, columns, *whole, *part], np.int64)  # fmt: skip


def _view(images: tuple[int, ...], dtype: np.dtype, taps: Taps) -> list[int]:
    """How a codelet finds the pixels of a tile: rows and columns of an image, rows from pixel to pixel, bytes of a row and of a pixel, and of 8
    pixels side by side, as many as fill a vector, columns and bytes from the first."""
    _, height, width, channels = images
    pixel, columns = channels * dtype.itemsize, [taps.apart[1] * b for b in range(8)]
    return [height, width, taps.apart[0], width * pixel, pixel, *columns, *(pixel * column for column in columns)]


def _few(c: int, k: int, dtype: np.dtype) -> bool:
    """Are transformed weights few?"""
    return PLACES * c * k * dtype.itemsize <= FEW


def _up(n: int, lanes: int) -> int:
    """n rounded up to whole vectors."""
    return -(-n // lanes) * lanes


def _apart(n: int, dtype: np.dtype) -> int:
    """How far apart rows of n numbers are: not by a multiple of four cache lines, which would all fall on the same few sets of the cache."""
    line = CACHE_LINE // dtype.itemsize
    return n + line if n % (4 * line) == 0 else n


def _plane(elements: int, dtype: np.dtype) -> int:
    """Room for one place: an odd number of cache lines, or all 36 places would fall on the same few sets of the caches."""
    line = CACHE_LINE // dtype.itemsize
    return (-(-elements // line) | 1) * line


def _starts(plane: int, dtype: np.dtype, count: int = PLACES) -> np.ndarray:
    """Where planes begin, in bytes."""
    return np.arange(count) * (plane * dtype.itemsize)


def _tiles(image: tuple[int, ...], taps: Taps) -> int:
    """4x4 tiles of images [N, P, Q, K]."""
    return image[0] * tiles_along(image[1], taps.apart[0]) * tiles_along(image[2], taps.apart[1])


@inline
def _where(tile, plan):
    """The image of a tile, and how many are above it and to its left."""
    line = np.int64(np.uint32(tile) // np.uint32(plan[ACROSS]))  # divisions take long: these are of 32 bits
    n = np.int64(np.uint32(line) // np.uint32(plan[DOWN]))
    return n, line - n * plan[DOWN], tile - line * plan[ACROSS]


@inline
def _next(n, down, across, plan):
    """Where the next tile is."""
    across += 1
    if across == plan[ACROSS]:
        across, down = 0, down + 1
        if down == plan[DOWN]:
            down, n = 0, n + 1
    return n, down, across


@inline
def _corner(down, across, plan):
    """The first pixel of a tile.  Tiles of neighbouring phases are neighbours: they share cache lines."""
    i, j = 4 * down, 4 * across
    if plan[APART_Y] > 1:
        i -= 3 * (down % plan[APART_Y])
    if plan[APART_X] > 1:
        j -= 3 * (across % plan[APART_X])
    return i, j


@inline
def _into(first, count, source, outside, starts, v, apart, plan):
    """Transform the patches of tiles to v, an address, `apart` bytes from each other."""
    n, down, across = _where(first, plan)
    for t in range(count):
        i, j = _corner(down, across, plan)
        image = address(source) + n * plan[SOURCE] * plan[SOURCE + 3]
        call_code(plan[INTO], (address(plan) + 8 * SOURCE, image, plan[TOP] + i, plan[LEFT] + j, outside, starts, v + t * apart, 0, 0,
                               plan[C] // plan[LANES], plan[C] % plan[LANES]))  # fmt: skip
        n, down, across = _next(n, down, across, plan)


@inline
def _out(first, count, result, outside, starts, m, apart, bias, away, plan):
    """Transform m, an address, to the pixels of tiles, or these to m if they are a gradient."""
    n, down, across = _where(first, plan)
    for t in range(count):
        i, j = _corner(down, across, plan)
        image = address(result) + n * plan[RESULT] * plan[RESULT + 3]
        call_code(plan[OUT], (address(plan) + 8 * RESULT, image, i, j, outside, starts, m + t * apart, bias, away,
                              plan[K] // plan[LANES], plan[K] % plan[LANES]))  # fmt: skip
        n, down, across = _next(n, down, across, plan)


@inline
def _ask(n, row, column, view, images, plan):
    """Ask for 4 pixels of a row."""
    at = address(images) + (n * plan[view] + row) * plan[view + 3] + column * plan[view + 4]
    for line in range(at, at + 4 * plan[view + 4], CACHE_LINE):
        fetch_line(line)


# ------------------------------------------------------------------------------------- the sums
def sums(
    source: np.ndarray, w: np.ndarray, places: np.ndarray, strides: tuple[int, int, int], bias: np.ndarray, taps: Taps, y: np.ndarray,
    add: np.ndarray, relu: bool,
) -> None:  # fmt: skip
    """y [N, P, Q, K] = 3x3 window sums of source [N, H, W, C] plus bias [K], plus add (as y, flat, if it is not empty), then max(y, 0) with `relu`.

    The weights are as `matmul.pack` takes them: element (tap, i, j) stands at w[places[tap] + strides . (0, i, j)].  Scratch: the
    transformed weights, and for each thread the transformed tiles of a unit.
    """
    plan = _plan_sums(source.shape, y.shape, y.dtype, taps, strides[1:], add.size > 0, relu)
    u, scratch = np.empty(plan.weights, y.dtype), np.empty(plan.scratch, y.dtype)
    _transform(plan.code, u, plan.at, w, places * y.dtype.itemsize, *plan.windows)
    _tile_sums(source.reshape(-1), u[0], bias, y.reshape(-1), add, scratch, plan.starts, plan.zeros, plan.table)


class _Plan(NamedTuple):
    """What the kernels take besides arrays of numbers."""

    table: np.ndarray  # see "the plan"
    weights: tuple[int, int, int]  # the shape of transformed weights: parts, places, and a plane
    scratch: tuple[int, int]  # the shape of transformed tiles
    starts: np.ndarray  # of planes of tiles, in bytes
    zeros: np.ndarray
    code: int  # and what else `_transform` takes
    at: np.ndarray
    windows: tuple[np.ndarray, np.ndarray]


@functools.lru_cache(maxsize=1024)
def _plan_sums(source: tuple[int, ...], y: tuple[int, ...], dtype: np.dtype, taps: Taps, strides: tuple[int, int], add: bool, relu: bool) -> _Plan:
    """How sums of images of these shapes are done."""
    c, k, lanes = source[-1], y[-1], isa().bytes // dtype.itemsize
    # As many tiles as make the traffic of tiles and of weights equal, if neither stays in the cache; units enough for several threads.
    most, tiles = max(LEAST_TILES["few" if _few(c, k, dtype) else "sums"], c * k // (4 * (c + k))), _tiles(y, taps)
    units = max(-(-tiles // most), min(UNITS, -(-tiles // 14)))
    codelets = codelet("input", dtype), codelet("output", dtype, add, relu)
    table = _table(source, y, dtype, taps, -(-tiles // units), None, _up(k, lanes), codelets, False)
    columns, plane = int(table[COLUMNS]), int(table[PLANE_K])
    weights = 1, PLACES, _plane(_up(k, columns) * c, dtype)
    scratch = MOST_THREADS, (PLACES + 1) * plane + int(table[WIDE_K])
    return _Plan(table, weights, scratch, _starts(plane, dtype), np.zeros(max(c, columns), dtype), codelet("weights", dtype),
                 _starts(weights[2], dtype), _windows(columns, c, k, strides, dtype))  # fmt: skip


def _windows(block: int, c: int, columns: int, strides: Sequence[int], dtype: np.dtype) -> tuple[np.ndarray, np.ndarray]:
    """For `_transform`, with blocks of so many columns: where the window of each column is, from the first of its row on, in bytes, and numbers."""
    at = np.minimum(np.arange(-(-columns // block) * block), columns - 1) * (strides[1] * dtype.itemsize)
    return at, np.array([c, block, strides[0], isa().bytes // dtype.itemsize])


@kernel
def _transform(code, planes, starts, windows, taps, at, numbers):
    """Between windows [rows, columns] and planes [parts, places, blocks of columns, rows, columns of a block], of which the first part becomes the
    sum of all, in pieces."""
    rows, columns, row, lanes = numbers[0], numbers[1], numbers[2], numbers[3]
    size, pieces, count = planes.itemsize, PIECES, rows * (at.size // columns)
    for piece in prange(pieces):
        before = flush_denormals()
        first, end = piece * count // pieces, (piece + 1) * count // pieces
        for place in range(planes.shape[1]):
            total = planes[0, place, first * columns : end * columns]
            for part in range(1, planes.shape[0]):
                more = planes[part, place, first * columns : end * columns]
                for e in range(total.size):
                    total[e] += more[e]
        for i in range(first, end):
            call_code(code, (address(starts), address(planes) + size * columns * i, address(taps), address(windows) + size * (i % rows) * row,
                             address(at) + 8 * (i // rows) * columns, columns // lanes, 0))  # fmt: skip
        set_float_mode(before)


@kernel
def _tile_sums(source, u, bias, y, add, scratch, starts, zeros, plan):
    """A unit is `together` tiles: transform their patches, multiply at each of the 36 places, transform back.

    The products of a place go where the patches of the place before were, which nothing needs any more (the first: to a plane of its own).  So
    the core's own caches hold twice as many tiles, and what is written is there already."""
    together, columns, channels = plan[TOGETHER], plan[COLUMNS], plan[C]
    wide_c, wide_k, plane = plan[WIDE_C], plan[WIDE_K], plan[PLANE_K]
    size, tap, whole_k = source.itemsize, address(zeros), plan[WHOLE_K]
    for unit in prange((plan[TILES] + together - 1) // together):
        before = flush_denormals()
        me = numba.get_thread_id()
        m = address(scratch) + size * me * scratch.shape[1]
        v = m + size * plane
        first = unit * together
        count = min(together, plan[TILES] - first)
        _into(first, count, source, address(zeros), address(starts), v, size * wide_c, plan)
        # While products keep the core busy, memory brings the pixels of the unit that comes next, a few in each turn: 4 rows of each tile.
        n, down, across = _where(first + together, plan)
        rows = 4 * max(0, min(together, plan[TILES] - first - together)) if plan[ASKS] else 0
        asked, i, turn, turns = 0, 0, 0, PLACES * plan[ROWS]
        for place in range(PLACES):
            if count < together:
                clear_bytes(v + size * (place * plane + count * wide_c), size * (together - count) * wide_c)
            for j in range(0, whole_k, columns):
                for r in range(plan[ROWS]):
                    row = r * plan[HEIGHT] - max(0, r - plan[MANY])
                    call_code(
                        plan[PRODUCT + (0 if r < plan[MANY] else 1) + (2 if j + columns > whole_k else 0)],
                        (v + size * (place * plane + row * wide_c), tap, wide_c, 1,
                         address(u) + size * (place * u.shape[1] + j * channels), tap, columns, 1, channels,
                         address(zeros), 0, m + size * (place * plane + row * wide_k + j), wide_k, min(columns, whole_k - j)),
                    )  # fmt: skip
                    turn += 1
                    while asked * turns < turn * rows:
                        _ask(n, 4 * down + i, 4 * across, SOURCE, source, plan)
                        _ask(n, 4 * down + i, 4 * across, RESULT, y, plan)
                        asked, i = asked + 1, i + 1
                        if i == 4:
                            i = 0
                            n, down, across = _next(n, down, across, plan)
        unread = m + size * (scratch.shape[1] - wide_k)
        _out(first, count, y, unread, address(starts), m, size * wide_k, address(bias), address(add) - address(y), plan)
        set_float_mode(before)


# ------------------------------------------------------------------------------ the weight gradient
def outer(source: np.ndarray, grad: np.ndarray, taps: Taps, dw: np.ndarray) -> None:
    """dw [K, C, 9] of source [N, H, W, C] and grad [N, P, Q, K].

    Few channels: the tiles are dealt into parts, each with transformed weights of its own, which stay in the cache of the core that adds to
    them.  Many: all cores add to the same, each at places of its own.  Scratch: transformed weights, and transformed tiles of both images.
    """
    plan = _plan_outer(source.shape, grad.shape, grad.dtype, taps)
    du, scratch = np.empty(plan.weights, grad.dtype), np.empty(plan.scratch, grad.dtype)
    add = _add_alone if plan.weights[0] > 1 else _add_together
    add(source.reshape(-1), grad.reshape(-1), scratch, du, plan.starts, plan.zeros, plan.table)
    _transform(plan.code, du, plan.at, dw.reshape(-1), np.arange(9) * dw.itemsize, *plan.windows)


@functools.lru_cache(maxsize=1024)
def _plan_outer(source: tuple[int, ...], grad: tuple[int, ...], dtype: np.dtype, taps: Taps) -> _Plan:
    """How the weight gradient of images of these shapes is done."""
    c, k = source[-1], grad[-1]
    wide = _up(k, isa().bytes // dtype.itemsize)
    tiles, plane = _tiles(grad, taps), _plane(c * wide, dtype)
    parts = min(PARTS, PARTS_BYTES // (PLACES * plane * dtype.itemsize), -(-tiles // LEAST_TILES["outer"]))
    alone = parts >= 4
    if alone:
        together = max(LEAST_TILES["alone"], TILES_BYTES // (PLACES * (c + wide) * dtype.itemsize))
    else:
        parts, together = 1, max(LEAST_TILES["outer"], c * k // (c + k))
    table = _table(source, grad, dtype, taps, min(tiles, together), c, wide, (codelet("input", dtype), codelet("gradient", dtype)), True)
    planes = int(table[PLANE_C]), int(table[PLANE_K])
    scratch = MOST_THREADS if alone else 1, PLACES * sum(planes)
    starts = np.concatenate([_starts(plane, dtype) for plane in planes])
    return _Plan(table, (parts, PLACES, plane), scratch, starts, np.zeros(max(c, wide), dtype), codelet("weight_gradient", dtype),
                 _starts(plane, dtype), _windows(wide, c, k, (9, 9 * c), dtype))  # fmt: skip


@inline
def _transform_both(source, grad, first, count, v, g, starts, zeros, plan):
    """The patches of tiles in the source to v, and their pixels in the gradient to g, both addresses."""
    size = source.itemsize
    _into(first, count, source, address(zeros), address(starts), v, size * plan[WIDE_C], plan)
    _out(first, count, grad, address(zeros), address(starts) + 8 * PLACES, g, size * plan[WIDE_K], 0, 0, plan)


@inline
def _add_products(v, g, du, row_tile, count, size, fresh, zeros, plan):
    """Add the products of `count` tiles at one place, for one tile of rows; v, g and du are the addresses of the place's planes."""
    columns, wide_c, wide_k, tap, whole_k = plan[COLUMNS], plan[WIDE_C], plan[WIDE_K], address(zeros), plan[WHOLE_K]
    row = row_tile * plan[HEIGHT] - max(0, row_tile - plan[MANY])
    for j in range(0, whole_k, columns):
        to = du + size * (row * whole_k + j)
        call_code(
            plan[PRODUCT + (0 if row_tile < plan[MANY] else 1) + (2 if j + columns > whole_k else 0)],
            (v + size * row, tap, 1, wide_c, g + size * j, tap, wide_k, 1, count,
             address(zeros) if fresh else to, 0 if fresh else whole_k, to, whole_k, min(columns, whole_k - j)),
        )  # fmt: skip


@kernel
def _add_alone(source, grad, scratch, du, starts, zeros, plan):
    """A part is some tiles, `together` at a time: transform both images, then add the products of each place."""
    parts, size, plane_c, plane_k = du.shape[0], source.itemsize, plan[PLANE_C], plan[PLANE_K]
    for part in prange(parts):
        before = flush_denormals()
        v = address(scratch) + size * numba.get_thread_id() * scratch.shape[1]
        g, to = v + size * PLACES * plane_c, address(du) + size * part * PLACES * du.shape[2]
        begin, end = part * plan[TILES] // parts, (part + 1) * plan[TILES] // parts
        for first in range(begin, end, plan[TOGETHER]):
            count = min(plan[TOGETHER], end - first)
            _transform_both(source, grad, first, count, v, g, starts, zeros, plan)
            for u in range(PLACES * plan[ROWS]):
                place = u // plan[ROWS]
                _add_products(v + size * place * plane_c, g + size * place * plane_k, to + size * place * du.shape[2], u % plan[ROWS], count, size,
                              first == begin, zeros, plan)  # fmt: skip
        set_float_mode(before)


@kernel
def _add_together(source, grad, scratch, du, starts, zeros, plan):
    """`together` tiles at a time, in two phases that all cores share: transform both images; add the products of each place."""
    size, plane_c, plane_k = source.itemsize, plan[PLANE_C], plan[PLANE_K]
    v = address(scratch)
    g = v + size * PLACES * plane_c
    for first in range(0, plan[TILES], plan[TOGETHER]):
        count = min(plan[TOGETHER], plan[TILES] - first)
        for group in prange((count + 3) // 4):
            before = flush_denormals()
            t = group * 4
            _transform_both(source, grad, first + t, min(4, count - t), v + size * t * plan[WIDE_C], g + size * t * plan[WIDE_K], starts, zeros, plan)
            set_float_mode(before)
        for u in prange(PLACES * plan[ROWS]):
            before = flush_denormals()
            place = u // plan[ROWS]
            _add_products(v + size * place * plane_c, g + size * place * plane_k, address(du) + size * place * du.shape[2], u % plan[ROWS], count,
                          size, first == 0, zeros, plan)  # fmt: skip
            set_float_mode(before)
