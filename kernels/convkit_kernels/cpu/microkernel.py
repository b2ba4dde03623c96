"""Register-blocked FMA tiles, emitted with llvmlite for this machine and called from @njit code by address.

One tile computes, for `rows` rows i and the columns j of one or a few vectors,

    y[i, j] = start[i, j] + sum over taps k, steps t < run of  x[xtaps[k] + i*xrow + t*xinc] * w[wtaps[k] + t*winc + j]

and holds all its sums in registers.  Rows are broadcast scalars, columns are vectors.  What the strides mean
makes it a convolution (rows = pixels, steps = channels of a window row), a weight gradient (rows = channels,
steps = pixels), or a matrix product.  `xtaps` and `wtaps` are tables of element offsets, so a window needs no
im2col buffer.  All strides and offsets count elements.

The register tile is the largest that leaves room for one row of weights: 14 rows x 2 vectors of the 32 registers
of AVX-512, 6 x 2 of the 16 of AVX2, 8 x 3 of NEON's 32.  (Goto and van de Geijn, "Anatomy of high-performance
matrix multiplication", 2008; Georganas et al., "Anatomy of high-performance deep learning convolutions on SIMD
architectures", 2018.)

A lane-wise tile reads x[xtaps[k] + i*xrow + t*xinc + j] instead: both operands are vectors, and every column keeps to itself.  That is
depthwise convolution, where columns are channels.

Where columns are one vector, every FMA would need a load of its own.  So a tile may take several neighbouring taps of a row at once, `across`:

    y[i, j] = start[i, j] + sum over taps k, steps t < run, s < across of  x[xtaps[k] + (i+s)*xrow + t*xinc] * w[wtaps[k] + (s*run + t)*winc + j]

A number of x then serves as many sums as there are taps that see it.

At the border of an image some rows of a tile do not see some taps.  Such a tile is a sequence of pieces, each a part of what its row of taps
reads, for some of the rows; so what is outside is neither read nor computed.

A tile for few columns has vectors along the sum instead, where both operands' steps are neighbours (xinc = 1), and adds the lanes up at its
end; column j of w is at w[wtaps[k] + j*winc + t].  That is a convolution to very few channels, such as the gradient for an image.
"""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from llvmlite import binding as llvm
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .lanes import BYTES, I1, I32, I64, accesses, below, fetch, splat
from .runtime import digest, kept

# Steps ahead that a tile asks for w, which comes from the second-level cache or beyond: by itself a core fetches 2 lines every 14 cycles too late.
AHEAD = 32
BETWEEN = 8  # FMAs that a core begins until the first is done: two a cycle, which take four
CACHE_LINE = 64  # bytes


@dataclass(frozen=True)
class Isa:
    """A vector instruction set: register width in bytes, how many there are, and the tiles that fill them: {vectors: rows}."""

    name: str
    bytes: int
    registers: int
    tiles: dict[int, int]
    cpu: str
    features: str


def _host_isas() -> dict[str, Isa]:
    """The instruction sets that this machine can run, best first; 'plain' is the baseline of its architecture."""
    cpu, features = llvm.get_host_cpu_name(), llvm.get_host_cpu_features()
    flags, have = features.flatten(), dict(features)
    isas = []
    if have.get("avx512f") and have.get("avx512dq") and have.get("avx512vl"):
        isas.append(Isa("avx512", 64, 32, {1: 14, 2: 14, 4: 6}, cpu, flags))
    if have.get("avx2") and have.get("fma"):
        isas.append(Isa("avx2", 32, 16, {1: 12, 2: 6}, "x86-64-v3", ""))
    if llvm.get_process_triple().startswith(("aarch64", "arm64")):
        isas.append(Isa("neon", 16, 32, {1: 14, 2: 14, 3: 8}, cpu, flags))
    isas.append(Isa("plain", 16, 16, {1: 6, 2: 4}, "", ""))
    return {i.name: i for i in isas}


@functools.cache
def isa() -> Isa:
    """The instruction set in use: the best of the host's, or the one named by the environment variable CONVKIT_ISA."""
    known = _host_isas()
    name = os.environ.get("CONVKIT_ISA") or next(iter(known))
    if name not in known:
        raise ValueError(f"CONVKIT_ISA: must be one of {', '.join(known)} on this machine, got {name!r}")
    return known[name]


@dataclass(frozen=True)
class Tile:
    """The shape of one block of columns: `vectors` registers of `lanes` numbers, how many rows fit beside them, and how many taps of a row it
    takes at once.  One lane: so many columns of sums along vectors."""

    lanes: int
    vectors: int
    rows: int
    across: int = 1

    @property
    def columns(self) -> int:
        """Columns of a block."""
        return self.lanes * self.vectors

    def last(self, columns: int) -> Tile:
        """The tile of the last block of so many columns: no more vectors than it needs."""
        return replace(self, vectors=-(-(columns % self.columns or self.columns) // self.lanes))


def _late(across: int) -> int:
    """After how many more rows a tile takes a row's second tap, and likewise its third: a sum's next FMA then need not wait for its last."""
    return BETWEEN // across


MOST_ALONG = 8  # columns of a tile along the sum


@functools.lru_cache(maxsize=1024)
def tile_for(rows: int, columns: int, dtype: np.dtype, run: int = 0, ntaps: int = 1, across: int = 1) -> Tile:
    """The tile that computes `rows` x `columns` sums in the least time, empty lanes included; `run` if each of `ntaps` reads so many neighbours of
    both operands, so that vectors may lie along the sum; `across` if so many taps of a row may be taken at once.

    A step of a tile of height h and v vectors takes h*v FMAs and h + v loads, which most machines do two of in a cycle, and one cycle more,
    and three quarters of one for each further tap that it takes at once.
    So 14 rows are best in one tile of two vectors (30 half cycles), but 16 rows in 6 + 5 + 5 of four, not in 8 + 8 of two.
    """
    this = isa()
    lanes = this.bytes // dtype.itemsize
    registers = this.registers
    choices = [Tile(lanes, v, most) for v, most in this.tiles.items()]
    if this.bytes > 16:
        choices.insert(0, Tile(lanes // 2, 1, this.tiles[1]))
    if run:  # the sums, and the operand with fewer vectors, and one of the other
        heights = (
            (v, max(h for h in range(1, this.tiles[1] + 1) if v * h + min(v, h) + 1 <= registers)) for v in range(1, min(MOST_ALONG, lanes) + 1)
        )
        choices += [Tile(1, v, h) for v, h in heights]
    if 1 < across <= registers // 4:
        choices.append(Tile(lanes, 1, registers - across - 2 - (across - 1) * _late(across), across))

    def time(tile: Tile) -> float:
        height, many, tiles = row_split(rows, tile.rows)
        heights = ((height, many), (height - 1, tiles - many))
        blocks = ((tile.vectors, -(-columns // tile.columns) - 1), (tile.last(columns).vectors, 1))
        if tile.lanes == 1:  # and the lanes of each sum
            steps = -(-run // lanes) * ntaps
            return sum(n * count * (steps * (max(h * v, h + v) + 2) + 5 * h * v + 8 * h + 20) for h, n in heights for v, count in blocks)
        a = tile.across
        steps_each = max(1, run) * ntaps / a
        return sum(n * count * (steps_each * (max(h * v * a, h + a - 1 + a * v) + 2 + 1.5 * (a - 1))) for h, n in heights for v, count in blocks)

    return min(choices, key=time)


class Piece(NamedTuple):
    """Part of a row of taps, which `entries` of the tables describe together: so many `runs`, from the run `skip` of the entry on, for the rows from
    `first` to before `end`."""

    entry: int
    skip: int
    runs: int
    first: int
    end: int


def pieces_of(q: int, rows: int, taps: tuple[int, ...], step: int, width: int, entries: int) -> tuple[Piece, ...]:
    """What a tile of `rows` pixels from q on sees through a row of taps, on images of this width; nothing if it sees all."""
    pieces: list[Piece] = []
    for s, tap in enumerate(taps):
        first, end = (min(rows, max(0, -((q * step + tap - edge) // step))) for edge in (0, width))
        if entries == 1 and pieces and pieces[-1][3:] == (first, end):
            pieces[-1] = pieces[-1]._replace(runs=pieces[-1].runs + 1)
        else:
            pieces.append(Piece(s if entries > 1 else 0, s if entries == 1 else 0, 1, first, end))
    return () if all(p[3:] == (0, rows) for p in pieces) else tuple(pieces)


def tile_kernel(
    tile: Tile, rows: int, dtype: np.dtype, unit_rows: bool = False, masked: bool = False, lanewise: bool = False, pieces: tuple[Piece, ...] = (),
    soon: bool = False,
) -> int:  # fmt: skip
    """Address of the micro-kernel for `rows` rows of `tile`; compiled on first use, in about 10 ms.

    `unit_rows` promises xrow = 1 (rows at fixed offsets).  `masked` reads only the first `cols` columns of w too (and of x, if
    `lanewise`), for operands that are not padded to whole blocks; reads of start and writes of y never pass `cols`.  `pieces` of each row
    of taps, if it is not taken whole.  `soon`: the function takes two more, an address and how many bytes later the next is; in each step it asks
    for what lies at one, for the second-level cache.

    The function takes the 14 integers or addresses that `call_code` lists.
    """
    key = (tile.lanes, tile.vectors, tile.across, rows, dtype.char, unit_rows, masked, lanewise, *([digest(pieces)] if pieces else []),
           *["soon"] * soon)  # fmt: skip
    along = tile.lanes == 1
    return compiled(
        "tile-" + "-".join(map(str, key)),
        lambda: _emit_along(tile.vectors, rows, dtype) if along else _emit(tile, rows, dtype, unit_rows, masked, lanewise, pieces, soon),
    )


def _row_addresses(b: ir.IRBuilder, xrow: Any, rows: int, itemsize: int, fp: ir.Type) -> Any:
    """A function that gives the address of row i from that of row 0, rows being `xrow` apart (None: 1).

    Row i = odd * 2**e is at x + (odd * row bytes) * 2**e, one register and a scale of the address (1, 2, 4 or 8), so that the loop
    has no arithmetic but its FMAs: a machine of four instructions a cycle has none to spare.  LLVM would rather add from row
    to row; an empty piece of assembly hides from it that the multiples are related.  More than 14 rows would take more
    multiples than there are registers: they go on from every ninth row.
    """
    if xrow is None:
        return lambda ptr, i: b.gep(ptr, [ir.Constant(I64, i)])
    opaque = ir.FunctionType(I64, [I64])
    leap = 9 if rows > 14 else 14
    odd = sorted({i // min(i & -i, 8) for i in range(1, min(rows, leap))} | ({leap} if rows > leap else set()))
    multiples = {n: b.asm(opaque, "", "=r,0", [b.mul(xrow, ir.Constant(I64, n * itemsize))], False) for n in odd}

    def row_at(ptr: Any, i: int) -> Any:
        place = b.bitcast(ptr, BYTES)
        for _ in range(i // leap):
            place = b.gep(place, [multiples[leap]])
        if i % leap:
            scale = min(i % leap & -(i % leap), 8)
            place = b.gep(place, [b.mul(multiples[i % leap // scale], ir.Constant(I64, scale))])
        return b.bitcast(place, fp)

    return row_at


class _Start(NamedTuple):
    """What emitting any tile begins with."""

    module: ir.Module
    fn: ir.Function
    scalar: ir.Type
    vec: ir.VectorType
    fma: ir.Function
    load: Callable[..., Any]  # of vectors: see `lanes.accesses`
    store: Callable[..., None]


def start_tile(kind: str, shape: str, dtype: np.dtype, lanes: int, more: int = 0) -> _Start:
    """A module with the function of a tile, which takes the 14 arguments that `call_code` lists, and so many more integers."""
    scalar, suffix = (ir.FloatType(), "f32") if dtype.itemsize == 4 else (ir.DoubleType(), "f64")
    vec, fp, ip = ir.VectorType(scalar, lanes), scalar.as_pointer(), I64.as_pointer()
    name = f"{kind}_{suffix}_{shape}"
    module = ir.Module(name)
    module.triple = llvm.get_process_triple()
    fn = ir.Function(module, ir.FunctionType(ir.VoidType(), [fp, ip, I64, I64, fp, ip, I64, I64, I64, fp, I64, fp, I64, I64, *[I64] * more]), name)
    # fmuladd becomes one FMA where the target has it, a product and a sum where not (never a call of the C library).
    fma = ir.Function(module, ir.FunctionType(vec, [vec] * 3), f"llvm.fmuladd.v{lanes}{suffix}")
    return _Start(module, fn, scalar, vec, fma, *accesses(module, vec))


def _emit(
    tile: Tile, rows: int, dtype: np.dtype, unit_rows: bool, masked: bool, lanewise: bool, pieces: tuple[Piece, ...] = (), soon: bool = False
) -> ir.Module:  # fmt: skip
    lanes, vectors, across = tile.lanes, tile.vectors, tile.across
    kind = f"_{across}" * (across > 1) + "_unit" * unit_rows + "_masked" * masked + "_lanewise" * lanewise + f"_{digest(pieces)}" * bool(pieces)
    module, fn, scalar, vec, fma, load_at, store = start_tile("tile", f"{rows}x{vectors}x{lanes}{kind}" + "_soon" * soon, dtype, lanes, 2 * soon)
    x, xtaps, xrow, xinc, w, wtaps, winc, ntaps, run, start, ldstart, y, ldy, cols, *later = fn.args
    blocks = ("entry", "whole_start", "part_start", "tap", "done", "whole_store", "part_store", "exit")
    entry, whole_start, part_start, tap, done, whole_store, part_store, exit_ = (fn.append_basic_block(n) for n in blocks)
    b = ir.IRBuilder(entry)

    def const(n: int) -> ir.Constant:
        return ir.Constant(I64, n)

    def load(ptr: Any, mask: Any = None) -> Any:
        return load_at(b, ptr, mask)

    def ask_for_weights(wt: Any) -> None:
        """Fetch a later row into the cache, where that takes no more loads than there is room for beside the FMAs."""
        if lanewise or across > 1 or rows * vectors < rows + 2 * vectors:
            return
        ahead = b.gep(wt, [b.mul(winc, const(AHEAD))])
        for j in range(0, tile.columns, CACHE_LINE // dtype.itemsize):
            fetch(b, b.gep(ahead, [const(j)]))

    def at(ptr: Any, i: int, j: int, ld: Any) -> Any:
        return b.gep(b.gep(ptr, [b.mul(ld, const(i))]), [const(j * lanes)])

    row_at = _row_addresses(b, None if unit_rows else xrow, rows + across - 1, dtype.itemsize, scalar.as_pointer())
    tap_at = _row_addresses(b, b.mul(run, winc), across, dtype.itemsize, scalar.as_pointer())
    grid = [(i, j) for i in range(rows) for j in range(vectors)]
    masks = [below(b, cols, lanes, j * lanes) for j in range(vectors)]
    whole = b.icmp_signed(">=", cols, const(tile.columns))
    # y is written long after: by then it is there.  (Sums of outer products begin with what they find in y.)
    for i, j in () if unit_rows and not soon else grid:
        fetch(b, at(y, i, j, ldy), to_write=True)
    b.cbranch(whole, whole_start, part_start)

    b.position_at_end(whole_start)
    first = {(i, j): load(at(start, i, j, ldstart)) for i, j in grid}
    b.branch(tap)
    b.position_at_end(part_start)
    first_part = {(i, j): load(at(start, i, j, ldstart), masks[j]) for i, j in grid}
    b.branch(tap)

    def taken(piece: Piece, before: dict) -> dict:
        """The sums after a loop over the steps of a piece."""
        begin, inner, after = b.block, fn.append_basic_block("inner"), fn.append_basic_block("after")
        n = b.add(k, const(piece.entry))
        at_tap = b.mul(run, const(piece.skip))
        xk = row_at(b.gep(x, [b.add(b.load(b.gep(xtaps, [n])), b.mul(at_tap, xinc))]), piece.first)
        if piece.first:  # or LLVM adds from row to row again
            xk = b.asm(ir.FunctionType(xk.type, [xk.type]), "", "=r,0", [xk], False)
        wk = b.gep(w, [b.add(b.load(b.gep(wtaps, [n])), b.mul(at_tap, winc))])
        steps = b.mul(run, const(piece.runs))
        b.branch(inner)
        b.position_at_end(inner)
        t, xt, wt = b.phi(I64), b.phi(scalar.as_pointer()), b.phi(scalar.as_pointer())
        asked: Any = b.phi(I64) if soon else None
        sums = {(i, j): b.phi(vec) for i, j in grid if piece.first <= i < piece.end}
        ask_for_weights(wt)
        if soon:
            fetch(b, b.inttoptr(asked, BYTES), near=False)
        weights = [[load(b.gep(tap_at(wt, s), [const(j * lanes)]), masks[j] if masked else None) for j in range(vectors)] for s in range(across)]
        new, values, late = dict(sums), {}, _late(across)
        for m in range(piece.first, piece.end + (across - 1) * (late + 1)):
            for j in range(vectors):
                if m < piece.end + across - 1:
                    place = row_at(xt, m - piece.first)
                    if lanewise:
                        values[m, j] = load(b.gep(place, [const(j * lanes)]), masks[j] if masked else None)
                    else:
                        values[m, j] = values[m, 0] if j else splat(b, b.load(place), lanes)
                for s in range(across):
                    i = m - s * (late + 1)
                    if piece.first <= i < piece.end:
                        new[i, j] = b.call(fma, [values[i + s, j], weights[s][j], new[i, j]])
        following = (b.add(t, const(1)), b.gep(xt, [xinc]), b.gep(wt, [winc]))
        if soon:
            asked.add_incoming(later[0], begin)
            asked.add_incoming(b.add(asked, later[1]), inner)
        b.cbranch(b.icmp_signed("<", following[0], steps), inner, after)
        b.position_at_end(after)
        for phi, one, two in zip((t, xt, wt), (const(0), xk, wk), following, strict=True):
            phi.add_incoming(one, begin)
            phi.add_incoming(two, inner)
        for ij, phi in sums.items():
            phi.add_incoming(before[ij], begin)
            phi.add_incoming(new[ij], inner)
        return before | new

    b.position_at_end(tap)
    k = b.phi(I64)
    outer = {ij: b.phi(vec) for ij in grid}
    new, entries = outer, 1 + max((p.entry for p in pieces), default=0)
    for piece in pieces or (Piece(0, 0, 1, 0, rows),):
        if piece.first < piece.end:
            new = taken(piece, new)
    k_next = b.add(k, const(entries))
    last = b.block
    b.cbranch(b.icmp_signed("<", k_next, ntaps), tap, done)
    k.add_incoming(const(0), whole_start)
    k.add_incoming(const(0), part_start)
    k.add_incoming(k_next, last)
    for ij in grid:
        outer[ij].add_incoming(first[ij], whole_start)
        outer[ij].add_incoming(first_part[ij], part_start)
        outer[ij].add_incoming(new[ij], last)

    b.position_at_end(done)
    b.cbranch(whole, whole_store, part_store)
    b.position_at_end(whole_store)
    for i, j in grid:
        store(b, new[i, j], at(y, i, j, ldy))
    b.branch(exit_)
    b.position_at_end(part_store)
    for i, j in grid:
        store(b, new[i, j], at(y, i, j, ldy), masks[j])
    b.branch(exit_)
    b.position_at_end(exit_)
    b.ret_void()
    return module


def _emit_along(columns: int, rows: int, dtype: np.dtype) -> ir.Module:
    """A tile with vectors along t: y[i, j] = start[i, j] + sum over taps k, t < run of x[xtaps[k] + i*xrow + t] * w[wtaps[k] + j*winc + t]."""
    lanes = isa().bytes // dtype.itemsize
    module, fn, scalar, vec, fma, load, store = start_tile("along", f"{rows}x{columns}x{lanes}", dtype, lanes)
    x, xtaps, xrow, _, w, wtaps, winc, ntaps, run, start, ldstart, y, ldy, _ = fn.args
    entry, tap, inner, rest, part, tap_end, done = (fn.append_basic_block(n) for n in ("entry", "tap", "inner", "rest", "part", "tap_end", "done"))
    b = ir.IRBuilder(entry)
    zero = ir.Constant(vec, [0.0] * lanes)
    row_at = _row_addresses(b, xrow, rows, dtype.itemsize, scalar.as_pointer())
    column_at = _row_addresses(b, winc, columns, dtype.itemsize, scalar.as_pointer())
    grid = [(i, j) for i in range(rows) for j in range(columns)]
    whole = b.and_(run, ir.Constant(I64, -lanes))
    mask = below(b, b.sub(run, whole), lanes)
    b.branch(tap)

    def step(sums: list, xt: Any, wt: Any, mask: Any = None) -> list:
        xs, ws = [load(b, row_at(xt, i), mask) for i in range(rows)], [load(b, column_at(wt, j), mask) for j in range(columns)]
        return [b.call(fma, [xs[i], ws[j], total]) for (i, j), total in zip(grid, sums, strict=True)]

    b.position_at_end(tap)
    k, before = b.phi(I64), [b.phi(vec) for _ in grid]
    xk, wk = b.gep(x, [b.load(b.gep(xtaps, [k]))]), b.gep(w, [b.load(b.gep(wtaps, [k]))])
    b.cbranch(b.icmp_signed(">", whole, ir.Constant(I64, 0)), inner, rest)
    b.position_at_end(inner)
    t, sums = b.phi(I64), [b.phi(vec) for _ in grid]
    new = step(sums, b.gep(xk, [t]), b.gep(wk, [t]))
    t_next = b.add(t, ir.Constant(I64, lanes))
    b.cbranch(b.icmp_signed("<", t_next, whole), inner, rest)
    b.position_at_end(rest)
    ahead = [b.phi(vec) for _ in grid]
    b.cbranch(b.icmp_signed("<", whole, run), part, tap_end)
    b.position_at_end(part)
    last = step(ahead, b.gep(xk, [whole]), b.gep(wk, [whole]), mask)
    b.branch(tap_end)
    b.position_at_end(tap_end)
    after = [b.phi(vec) for _ in grid]
    k_next = b.add(k, ir.Constant(I64, 1))
    b.cbranch(b.icmp_signed("<", k_next, ntaps), tap, done)

    for phi, *values in ((k, (ir.Constant(I64, 0), entry), (k_next, tap_end)), (t, (ir.Constant(I64, 0), tap), (t_next, inner))):
        for value, block in values:
            phi.add_incoming(value, block)
    for n in range(len(grid)):
        for phi, value, block in (
            (before[n], zero, entry), (before[n], after[n], tap_end), (sums[n], before[n], tap), (sums[n], new[n], inner),
            (ahead[n], before[n], tap), (ahead[n], new[n], inner), (after[n], ahead[n], rest), (after[n], last[n], part),
        ):  # fmt: skip
            phi.add_incoming(value, block)

    b.position_at_end(done)
    first = ir.Constant(ir.VectorType(I1, lanes), [j < columns for j in range(lanes)])
    together = lanes // columns  # rows whose sums are one vector
    for top in range(0, rows, together):
        group = after[top * columns : (top + together) * columns]
        totals = _lanes_added(b, [*group, *[None] * (lanes - len(group))])
        for i in range(top, min(rows, top + together)):
            place = ir.Constant(ir.VectorType(I32, lanes), [(i - top) * columns + j if j < columns else 0 for j in range(lanes)])
            row = b.shuffle_vector(totals, totals, place) if i > top else totals
            row = b.fadd(row, load(b, b.gep(start, [b.mul(ldstart, ir.Constant(I64, i))]), first))
            store(b, row, b.gep(y, [b.mul(ldy, ir.Constant(I64, i))]), first)
    b.ret_void()
    return module


def _lanes_added(b: ir.IRBuilder, vectors: list) -> Any:
    """A vector whose lane n is the sum of the lanes of vectors[n], as many as it has lanes; None counts as zeros.

    Two vectors become one that has half of the first's lanes added to the other half, and likewise the second's; and so on.
    """
    lanes = len(vectors)
    shape = ir.VectorType(I32, lanes)
    half = lanes // 2
    while half:
        low = ir.Constant(shape, [n if not n & half else lanes + n - half for n in range(lanes)])
        high = ir.Constant(shape, [n + half if not n & half else lanes + n for n in range(lanes)])
        pairs = [(vectors[n], vectors[n + half]) for n in range(half)]
        vectors = [
            None if one is two is None else b.fadd(b.shuffle_vector(one or two, two or one, low), b.shuffle_vector(one or two, two or one, high))
            for one, two in pairs
        ]
        half //= 2
    return vectors[0]


@functools.cache
def _engine() -> tuple[Any, Any]:
    """LLVM's just-in-time compiler, which owns the code and so lives as long as the process, and what makes code for the chosen instruction set."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    this = isa()
    machine = llvm.Target.from_default_triple().create_target_machine(cpu=this.cpu, features=this.features, opt=3)
    return llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine), machine


_lock = threading.Lock()
_addresses: dict[str, int] = {}


def compiled(name: str, emit: Callable[[], ir.Module]) -> int:
    """Address of the one function, called like the module, of the module that `emit` makes: machine code for the chosen instruction set.

    It is kept under `name`, which tells apart what differs, here and in the cache; found there, nothing is emitted.
    """
    address = _addresses.get(name)
    if address is None:
        with _lock:  # one engine, which one thread uses at a time
            address = _addresses.get(name)
            if address is None:
                address = _addresses[name] = _compile(name, emit)
    return address


def _compile(name: str, emit: Callable[[], ir.Module]) -> int:
    this, (engine, machine) = isa(), _engine()

    def make() -> bytes:
        module = emit()
        return module.name.encode() + b"\n" + machine.emit_object(llvm.parse_assembly(str(module)))

    unlike = digest(this, llvm.llvm_version_info)[:8]  # machines that share a cache
    symbol, _, code = kept(f"{name}-{this.name}-{unlike}", emit.__code__.co_filename, make).partition(b"\n")
    engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()
    return engine.get_function_address(symbol.decode())


@intrinsic
def call_code(typing: Any, code: Any, args: Any) -> Any:
    """In @njit code: run what was `compiled`, or is `native`, at the address `code` on a tuple of integers, addresses and float64.

    A tile takes (x, xtaps, xrow, xinc, w, wtaps, winc, ntaps, run, start, ldstart, y, ldy, cols): addresses of arrays, and strides in elements.
    """
    kinds = types.BaseTuple.from_types([types.float64 if t == types.float64 else types.intp for t in args])

    def codegen(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        target = ir.FunctionType(ir.VoidType(), [context.get_value_type(t) for t in kinds]).as_pointer()
        builder.call(builder.inttoptr(values[0], target), [builder.extract_value(values[1], i) for i in range(len(kinds))])
        return context.get_dummy_value()

    return types.void(types.intp, kinds), codegen


@intrinsic
def address(typing: Any, array: Any) -> Any:
    """In @njit code: the address of an array's first element (`array.ctypes.data` compiles ten times slower), or of what a pointer points to."""

    def codegen(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        pointer = isinstance(array, types.CPointer)
        data = values[0] if pointer else context.make_array(array)(context, builder, values[0]).data
        return builder.ptrtoint(data, context.get_value_type(types.intp))

    return types.intp(array), codegen


@intrinsic
def copy_bytes(typing: Any, to: Any, source: Any, count: Any) -> Any:
    """In @njit code: copy `count` bytes from address `source` to address `to` (LLVM proves neither a loop's bounds nor that it may vectorise)."""

    def codegen(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        to, source, count = values
        cgutils.raw_memcpy(builder, builder.inttoptr(to, BYTES), builder.inttoptr(source, BYTES), count, 1)
        return context.get_dummy_value()

    return types.void(types.intp, types.intp, types.intp), codegen


@intrinsic
def clear_bytes(typing: Any, to: Any, count: Any) -> Any:
    """In @njit code: set `count` bytes from address `to` to zero."""

    def codegen(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        to, count = values
        cgutils.memset(builder, builder.inttoptr(to, BYTES), count, 0)
        return context.get_dummy_value()

    return types.void(types.intp, types.intp), codegen


@intrinsic
def fetch_line(typing: Any, at: Any) -> Any:
    """In @njit code: ask for the cache line at an address."""

    def codegen(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        fetch(builder, builder.inttoptr(values[0], BYTES))
        return context.get_dummy_value()

    return types.void(types.intp), codegen


def row_split(count: int, most: int) -> tuple[int, int, int]:
    """Cut `count` rows into tiles of nearly equal height: (height, how many have it, how many in all); the others are one lower.
    Tile t starts at row t*height - max(0, t - many).

    >>> row_split(28, 14), row_split(24, 14), row_split(27, 14)
    ((14, 2, 2), (12, 2, 2), (14, 1, 2))
    """
    tiles = max(1, -(-count // most))
    height = -(-count // tiles)
    return height, count - tiles * (height - 1), tiles


def split_kernels(
    tile: Tile, split: tuple[int, int, int], dtype: np.dtype, unit_rows: bool = False, masked: bool = False, lanewise: bool = False,
    soon: bool = False,
) -> tuple[int, int]:  # fmt: skip
    """Micro-kernels for the two heights of a `row_split`: of its first `many` tiles and of the others (if there are none, the first again)."""
    height, many, tiles = split
    first = tile_kernel(tile, height, dtype, unit_rows, masked, lanewise, soon=soon)
    return first, first if many == tiles else tile_kernel(tile, height - 1, dtype, unit_rows, masked, lanewise, soon=soon)
