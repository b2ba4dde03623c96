"""3x3 convolutions by Winograd's F(4x4, 3x3): 36 products in place of 144 for each 4x4 tile of output pixels.

With B, G and A the matrices of Lavin and Gray ("Fast Algorithms for Convolutional Neural Networks", 2016), for each tile, x being its 6x6 patch:

    forward            y = A' [ sum over channels of (G w G') * (B' x B) ] A
    weight gradient   dw = G' [ sum over tiles    of (B' x B) * (A g A') ] G

where * multiplies element by element, so that each of the 36 places is a matrix product of its own: tiles by channels by channels.
The input gradient is a forward pass of gy with mirrored weights.  Multiplying sums of pixels loses a digit: the relative error by norm
is 1e-6 to 2e-6 in float32 where a direct sum's is 2e-7 to 8e-7.  A NaN or an infinity in a pixel or a weight makes every output of the tiles
it meets NaN, where a direct sum would reach the nine outputs around it only.

A transform is a codelet: straight-line code over a vector of channels at a time, emitted with llvmlite.  It finds pixels by a
table of addresses, in which pixels outside the image are a row of zeros that is only read, or a row that nobody reads.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from llvmlite import binding as llvm
from llvmlite import ir
from numba import prange, types
from numba.extending import intrinsic

from .matmul import pack
from .microkernel import I1, I32, I64, address, call_tile, clear_bytes, compiled, isa, row_split, split_kernels, tile_for
from .runtime import MOST_THREADS, inline, kernel

LEAST_TILES = {"sums": 14, "outer": 56}  # that a block of transformed weights or weight gradients meets at once
UNITS = 8  # of work at least, if there are tiles enough
PLACES = 36


# ------------------------------------------------------------------------------------- codelets
# The points of interpolation are 0, +-3/4, +-3/2 and infinity: all constants are exact, and the error is half that of the usual 0, +-1, +-2
# (compare Barabasz et al., "Error analysis and improving the accuracy of Winograd convolution", 2020).
_A, _B = 3 / 4, 3 / 2
_P, _Q = _A**2, _B**2


def _input(add: Callable, sub: Callable, mul: Callable, x: list) -> list:
    """B' x, 6 -> 6: the coefficients of x times each point's polynomial, the product of (t - other point)."""
    a_even, a_odd = sub(x[4], mul(x[2], _Q)), mul(sub(x[3], mul(x[1], _Q)), _A)
    b_even, b_odd = sub(x[4], mul(x[2], _P)), mul(sub(x[3], mul(x[1], _P)), _B)
    first, last = (add(sub(mul(x[i], _P * _Q), mul(x[i + 2], _P + _Q)), x[i + 4]) for i in (0, 1))
    return [first, add(a_even, a_odd), sub(a_even, a_odd), add(b_even, b_odd), sub(b_even, b_odd), last]


def _output(add: Callable, sub: Callable, mul: Callable, m: list) -> list:
    """A' m, 6 -> 4: powers of the points."""
    a_even, a_odd, b_even, b_odd = add(m[1], m[2]), sub(m[1], m[2]), add(m[3], m[4]), sub(m[3], m[4])
    return [
        add(add(m[0], a_even), b_even),
        add(mul(a_odd, _A), mul(b_odd, _B)),
        add(mul(a_even, _P), mul(b_even, _Q)),
        add(add(mul(a_odd, _A * _P), mul(b_odd, _B * _Q)), m[5]),
    ]


def _gradient(add: Callable, sub: Callable, mul: Callable, g: list) -> list:
    """A g, 4 -> 6: g as a polynomial, at the points."""
    a_even, a_odd = add(g[0], mul(g[2], _P)), add(mul(g[1], _A), mul(g[3], _A * _P))
    b_even, b_odd = add(g[0], mul(g[2], _Q)), add(mul(g[1], _B), mul(g[3], _B * _Q))
    return [g[0], add(a_even, a_odd), sub(a_even, a_odd), add(b_even, b_odd), sub(b_even, b_odd), g[3]]


_OF_A, _OF_B = 1 / (2 * _P * (_P - _Q)), 1 / (2 * _Q * (_Q - _P))  # one over each point's polynomial at the point


def _weights(add: Callable, sub: Callable, mul: Callable, w: list) -> list:
    """G w, 3 -> 6: w as a polynomial, at the points, over each point's polynomial there."""
    a_even, a_odd = mul(add(w[0], mul(w[2], _P)), _OF_A), mul(w[1], _A * _OF_A)
    b_even, b_odd = mul(add(w[0], mul(w[2], _Q)), _OF_B), mul(w[1], _B * _OF_B)
    return [mul(w[0], 1 / (_P * _Q)), add(a_even, a_odd), sub(a_even, a_odd), add(b_even, b_odd), sub(b_even, b_odd), w[2]]


def _weight_gradient(add: Callable, sub: Callable, mul: Callable, u: list) -> list:
    """G' u, 6 -> 3."""
    a_even, a_odd = mul(add(u[1], u[2]), _OF_A), mul(sub(u[1], u[2]), _A * _OF_A)
    b_even, b_odd = mul(add(u[3], u[4]), _OF_B), mul(sub(u[3], u[4]), _B * _OF_B)
    return [add(add(mul(u[0], 1 / (_P * _Q)), a_even), b_even), add(a_odd, b_odd), add(add(mul(a_even, _P), mul(b_even, _Q)), u[5])]


# name: (the transform of one dimension, places in, places out, does it add a bias?, is its source not padded to whole vectors?, its result?)
CODELETS = {
    "input": (_input, 6, 6, False, True, False),
    "output": (_output, 6, 4, True, False, True),
    "gradient": (_gradient, 4, 6, False, True, False),
    "weights": (_weights, 3, 6, False, True, True),
    "weight_gradient": (_weight_gradient, 6, 3, False, False, False),
}
_lock = threading.Lock()


def codelet(name: str, dtype: np.dtype) -> int:
    """Address of a codelet, which takes the 7 integers of `call_codelet`; compiled on first use, in about 20 ms."""
    with _lock:
        return _codelet(name, np.dtype(dtype).char)


@functools.cache
def _codelet(name: str, char: str) -> int:
    step, before, after, biased, masked_in, masked_out = CODELETS[name]
    dtype = np.dtype(char)
    lanes = isa().bytes // dtype.itemsize
    scalar, suffix = (ir.FloatType(), "f32") if dtype.itemsize == 4 else (ir.DoubleType(), "f64")
    vec = ir.VectorType(scalar, lanes)
    vp, ip, mask_type = vec.as_pointer(), I64.as_pointer(), ir.VectorType(I1, lanes)
    module = ir.Module(f"winograd_{name}_{suffix}")
    module.triple = llvm.get_process_triple()
    fn = ir.Function(module, ir.FunctionType(ir.VoidType(), [ip, I64, ip, I64, I64, I64, I64]), module.name)
    sources, source, results, result, bias, whole, rest = fn.args
    load_some = ir.Function(module, ir.FunctionType(vec, [vp, I32, mask_type, vec]), f"llvm.masked.load.v{lanes}{suffix}.p0")
    store_some = ir.Function(module, ir.FunctionType(ir.VoidType(), [vec, vp, I32, mask_type]), f"llvm.masked.store.v{lanes}{suffix}.p0")
    entry, loop, next_, tail, last, exit_ = (fn.append_basic_block(n) for n in ("entry", "loop", "next", "tail", "last", "exit"))
    b = ir.IRBuilder(entry)
    align, zero, flags = ir.Constant(I32, dtype.itemsize), ir.Constant(vec, [0.0] * lanes), ("contract", "reassoc")

    def add(u: Any, v: Any) -> Any:
        return b.fadd(u, v, flags=flags)

    def sub(u: Any, v: Any) -> Any:
        return b.fsub(u, v, flags=flags)

    def mul(v: Any, c: float) -> Any:
        return b.fmul(v, ir.Constant(vec, [float(c)] * lanes), flags=flags)

    def place(table: Any, k: int, base: Any, offset: Any) -> Any:
        return b.inttoptr(b.add(b.load(b.gep(table, [ir.Constant(I64, k)])), b.add(base, offset)), vp)

    def body(offset: Any, mask: Any) -> None:
        """One vector of channels: down the columns of the patch, then along its rows."""

        def load(pointer: Any, masked: bool) -> Any:
            if masked and mask is not None:
                return b.call(load_some, [pointer, align, mask, zero])
            value = b.load(pointer)
            value.align = dtype.itemsize
            return value

        columns = [
            step(add, sub, mul, [load(place(sources, i * before + j, source, offset), masked_in) for i in range(before)]) for j in range(before)
        ]
        shift = load(b.inttoptr(b.add(bias, offset), vp), True) if biased else None
        for i in range(after):
            for j, value in enumerate(step(add, sub, mul, [column[i] for column in columns])):
                to, value = place(results, i * after + j, result, offset), add(value, shift) if biased else value
                if masked_out and mask is not None:
                    b.call(store_some, [value, to, align, mask])
                else:
                    b.store(value, to).align = dtype.itemsize

    b.cbranch(b.icmp_signed(">", whole, ir.Constant(I64, 0)), loop, tail)
    b.position_at_end(loop)
    t = b.phi(I64)
    t.add_incoming(ir.Constant(I64, 0), entry)
    body(b.mul(t, ir.Constant(I64, isa().bytes)), None)
    b.branch(next_)
    b.position_at_end(next_)
    following = b.add(t, ir.Constant(I64, 1))
    t.add_incoming(following, next_)
    b.cbranch(b.icmp_signed("<", following, whole), loop, tail)
    b.position_at_end(tail)
    b.cbranch(b.icmp_signed(">", rest, ir.Constant(I64, 0)), last, exit_)
    b.position_at_end(last)
    index = ir.VectorType(I32, lanes)
    undef = ir.Constant(index, ir.Undefined)
    rests = b.shuffle_vector(b.insert_element(undef, b.trunc(rest, I32), ir.Constant(I32, 0)), undef, ir.Constant(index, [0] * lanes))
    body(b.mul(whole, ir.Constant(I64, isa().bytes)), b.icmp_signed("<", ir.Constant(index, list(range(lanes))), rests))
    b.branch(exit_)
    b.position_at_end(exit_)
    b.ret_void()
    return compiled(module, module.name)


@intrinsic
def call_codelet(typing: Any, code: Any, args: Any) -> Any:
    """In @njit code: run the codelet at address `code` on the 7 integers (sources, source, results, result, bias, whole, rest): tables of
    addresses and what is added to each, the address of the bias, whole vectors of channels and channels beyond them."""

    def codegen(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        target = ir.FunctionType(ir.VoidType(), [I64] * 7).as_pointer()
        builder.call(builder.inttoptr(values[0], target), [builder.extract_value(values[1], i) for i in range(7)])
        return context.get_dummy_value()

    return types.void(types.intp, types.UniTuple(types.intp, 7)), codegen


# ------------------------------------------------------------------------------------ the tiles
# The plan of a convolution, one array of integers.
H, W, TOP, LEFT, P, Q, DOWN, ACROSS, TILES, TOGETHER, THREADS = range(11)  # image, patch offset, output, tiles of an image, all tiles, of a unit


def _plan(images: int, image: tuple[int, int], corner: tuple[int, int], out: tuple[int, int], most: int, least_units: int) -> np.ndarray:
    """Tiles are numbered through all images; `most` of them at a time."""
    down, across = -(-out[0] // 4), -(-out[1] // 4)
    tiles = images * down * across
    units = max(-(-tiles // most), min(least_units, -(-tiles // 14)))
    return np.array([*image, *corner, *out, down, across, tiles, -(-tiles // units), MOST_THREADS], np.int64)


def _up(n: int, lanes: int) -> int:
    """n rounded up to whole vectors."""
    return -(-n // lanes) * lanes


def _planes(elements: int, dtype: np.dtype) -> np.ndarray:
    """Memory [36, elements and more]: an odd number of cache lines for each place, or all places would fall on the same few sets of the caches."""
    line = 64 // dtype.itemsize
    return np.empty((PLACES, (_up(elements, line) // line | 1) * line), dtype)


@inline
def _pixels(table, at, count, image, outside, height, width, i, j, channels, size):
    """Into table from `at`: addresses of count x count pixels from row i, column j of the image at `image`; `outside` beyond its edges."""
    for a in range(count):
        for b in range(count):
            inside = 0 <= i + a < height and 0 <= j + b < width
            table[at + a * count + b] = image + size * ((i + a) * width + j + b) * channels if inside else outside


def sums(
    source: np.ndarray, w: np.ndarray, taps: np.ndarray, shape: tuple[int, int, int], strides: tuple[int, int, int],
    bias: np.ndarray, corner: tuple[int, int], y: np.ndarray,
) -> None:  # fmt: skip
    """y [N, P, Q, K] = 3x3 window sums of source [N, H, W, C], the first window's first tap at pixel `corner`, plus bias [K].

    The weights w, taps, shape and strides are those that `matmul.pack` takes.
    """
    (n, high, wide, c), (_, p, q, k), dtype = source.shape, y.shape, y.dtype
    lanes = isa().bytes // dtype.itemsize
    wide_c, wide_k = _up(c, lanes), _up(k, lanes)
    # As many tiles as make the traffic of tiles and of weights equal, if neither stays in the cache.
    most = max(LEAST_TILES["sums"], c * k // (2 * (c + k)))
    plan = _plan(n, (high, wide), corner, (p, q), most, UNITS)
    together = int(plan[TOGETHER])
    tile = tile_for(together, k, dtype)
    packed = pack(w, taps, shape, strides, tile)
    blocks = packed.shape[1]
    u = _planes(blocks * c * tile.columns, dtype)
    _transform_weights(packed.reshape(blocks, 9, c * tile.columns), u, codelet("weights", dtype), lanes)
    split = row_split(together, tile.rows)
    _tile_sums(source.reshape(-1), u, bias, y.reshape(-1), plan, split, split_kernels(tile, split, dtype), tile.columns, c, k, (wide_c, wide_k),
               (codelet("input", dtype), codelet("output", dtype)), lanes)  # fmt: skip


@kernel
def _transform_weights(w, u, code, lanes):
    """u[36, blocks * C * columns and more] = G w G' of w [blocks, 9, C * columns]."""
    blocks, _, many = w.shape
    size = w.itemsize
    pieces = 4
    for unit in prange(blocks * pieces):
        block, piece = unit // pieces, unit % pieces
        first, end = piece * (many // lanes) // pieces, (piece + 1) * (many // lanes) // pieces
        places = np.empty(9 + u.shape[0], np.int64)
        for k in range(9):
            places[k] = size * k * many
        for k in range(u.shape[0]):
            places[9 + k] = size * k * u.shape[1]
        rest = many % lanes if piece == pieces - 1 else 0
        call_codelet(code, (address(places), address(w) + size * (block * 9 * many + first * lanes), address(places) + 72,
                            address(u) + size * (block * many + first * lanes), 0, end - first, rest))  # fmt: skip


@kernel
def _tile_sums(source, u, bias, y, plan, split, kernels, columns, channels, filters, wide, codelets, lanes):
    """A unit is `together` tiles: transform their patches, multiply each of the 36 places, transform back."""
    wide_c, wide_k = wide
    height, many, tiles = split
    together, total, blocks = plan[TOGETHER], plan[TILES], (filters + columns - 1) // columns
    size, line = source.itemsize, 64 // source.itemsize
    # A place's plane is an odd number of cache lines, or planes would fall on the same few sets of the cache.
    plane_v, plane_m = (together * wide_c // line | 1) * line + 2 * line, (together * wide_k // line | 1) * line + 2 * line
    space = PLACES * (plane_v + plane_m) + 2 * line
    scratch = np.empty(plan[THREADS] * space + 2 * line, source.dtype)
    zeros = np.zeros(max(channels, columns) + line, source.dtype)
    unread = np.empty(plan[THREADS] * (wide_k + line), source.dtype)
    tap = np.zeros(1, np.int64)
    for unit in prange((total + together - 1) // together):
        me = numba.get_thread_id()
        table = np.empty(36 + 16 + 36 + 36, np.int64)
        patch, pixels, places_v, places_m = address(table), address(table) + 8 * 36, address(table) + 8 * 52, address(table) + 8 * 88
        for place in range(36):
            table[52 + place] = size * place * plane_v
            table[88 + place] = size * place * plane_m
        v = address(scratch) + size * (me * space)
        v += -v % 64
        m = v + size * PLACES * plane_v
        first = unit * together
        count = min(together, total - first)
        for t in range(count):
            i, j = (first + t) // plan[ACROSS] % plan[DOWN], (first + t) % plan[ACROSS]
            image = address(source) + size * ((first + t) // (plan[DOWN] * plan[ACROSS])) * plan[H] * plan[W] * channels
            _pixels(table, 0, 6, image, address(zeros), plan[H], plan[W], i * 4 + plan[TOP], j * 4 + plan[LEFT], channels, size)
            call_codelet(codelets[0], (patch, 0, places_v, v + size * t * wide_c, 0, channels // lanes, channels % lanes))
        for place in range(36):
            if count < together:
                clear_bytes(v + size * (place * plane_v + count * wide_c), size * (together - count) * wide_c)
            for block in range(blocks):
                for r in range(tiles):
                    row = r * height - max(0, r - many)
                    call_tile(
                        kernels[0 if r < many else 1],
                        (v + size * (place * plane_v + row * wide_c), address(tap), wide_c, 1,
                         address(u) + size * (place * u.shape[1] + block * channels * columns), address(tap), columns, 1, channels,
                         address(zeros), 0, m + size * (place * plane_m + row * wide_k + block * columns), wide_k,
                         min(columns, wide_k - block * columns)),
                    )  # fmt: skip
        for t in range(count):
            i, j = (first + t) // plan[ACROSS] % plan[DOWN], (first + t) % plan[ACROSS]
            image = address(y) + size * ((first + t) // (plan[DOWN] * plan[ACROSS])) * plan[P] * plan[Q] * filters
            _pixels(table, 36, 4, image, address(unread) + size * me * (wide_k + line), plan[P], plan[Q], i * 4, j * 4, filters, size)
            call_codelet(codelets[1], (places_m, m + size * t * wide_k, pixels, 0, address(bias), filters // lanes, filters % lanes))


def outer(source: np.ndarray, grad: np.ndarray, corner: tuple[int, int]) -> np.ndarray:
    """dw [9, C, K rounded up to whole vectors] of source [N, H, W, C] and grad [N, P, Q, K], the first window's first tap at pixel `corner`."""
    (n, high, wide, c), (_, p, q, k), dtype = source.shape, grad.shape, grad.dtype
    lanes = isa().bytes // dtype.itemsize
    wide_c, wide_k = _up(c, lanes), _up(k, lanes)
    plan = _plan(n, (high, wide), corner, (p, q), max(LEAST_TILES["outer"], c * k // (c + k)), 1)
    tile = tile_for(c, wide_k, dtype)
    split = row_split(c, tile.rows)
    du, dw = _planes(c * wide_k, dtype), np.empty((9, c, wide_k), dtype)
    codelets = (codelet("input", dtype), codelet("gradient", dtype), codelet("weight_gradient", dtype))
    whole = split_kernels(tile, split, dtype, unit_rows=True)
    part = split_kernels(tile, split, dtype, unit_rows=True, masked=True) if wide_k % tile.columns else whole
    _tile_outer(source.reshape(-1), grad.reshape(-1), du, dw, plan, split, whole + part, tile.columns, k, wide_c, codelets, lanes)
    return dw


@kernel
def _tile_outer(source, grad, du, dw, plan, split, kernels, columns, filters, wide_c, codelets, lanes):
    """A chunk of tiles at a time, in two phases: transform the patches of both images; multiply at each of the 36 places."""
    _, channels, wide_k = dw.shape
    height, many, tiles = split
    together, total = plan[TOGETHER], plan[TILES]
    size, line = source.itemsize, 64 // source.itemsize
    plane_v, plane_g = (together * wide_c // line | 1) * line + 2 * line, (together * wide_k // line | 1) * line + 2 * line
    v_all, g_all = np.empty(PLACES * plane_v + line, source.dtype), np.empty(PLACES * plane_g + line, source.dtype)
    v, g = address(v_all) + -address(v_all) % 64, address(g_all) + -address(g_all) % 64
    zeros, tap = np.zeros(max(channels, wide_k, columns) + line, source.dtype), np.zeros(1, np.int64)
    for first in range(0, total, together):
        count = min(together, total - first)
        for group in prange((count + 13) // 14):
            table = np.empty(36 + 36 + 36, np.int64)
            for place in range(36):
                table[36 + place] = size * place * plane_v
                table[72 + place] = size * place * plane_g
            for t in range(group * 14, min(count, group * 14 + 14)):
                n, i, j = (first + t) // (plan[DOWN] * plan[ACROSS]), (first + t) // plan[ACROSS] % plan[DOWN], (first + t) % plan[ACROSS]
                image = address(source) + size * n * plan[H] * plan[W] * channels
                _pixels(table, 0, 6, image, address(zeros), plan[H], plan[W], i * 4 + plan[TOP], j * 4 + plan[LEFT], channels, size)
                call_codelet(codelets[0], (address(table), 0, address(table) + 288, v + size * t * wide_c, 0, channels // lanes, channels % lanes))
                image = address(grad) + size * n * plan[P] * plan[Q] * filters
                _pixels(table, 0, 4, image, address(zeros), plan[P], plan[Q], i * 4, j * 4, filters, size)
                call_codelet(codelets[1], (address(table), 0, address(table) + 576, g + size * t * wide_k, 0, filters // lanes, filters % lanes))
        for unit in prange(36 * tiles):
            place, r = unit // tiles, unit % tiles
            row = r * height - max(0, r - many)
            for j in range(0, wide_k, columns):
                to = address(du) + size * (place * du.shape[1] + row * wide_k + j)
                call_tile(
                    kernels[(0 if r < many else 1) + (2 if j + columns > wide_k else 0)],
                    (v + size * (place * plane_v + row), address(tap), 1, wide_c, g + size * (place * plane_g + j), address(tap), wide_k, 1, count,
                     to if first else address(zeros), wide_k if first else 0, to, wide_k, min(columns, wide_k - j)),
                )  # fmt: skip
    for c in prange(channels):
        places = np.empty(36 + 9, np.int64)
        for place in range(36):
            places[place] = size * place * du.shape[1]
        for place in range(9):
            places[36 + place] = size * place * channels * wide_k
        call_codelet(codelets[2], (address(places), address(du) + size * c * wide_k, address(places) + 288, address(dw) + size * c * wide_k, 0,
                                   wide_k // lanes, 0))  # fmt: skip
