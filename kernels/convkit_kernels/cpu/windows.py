"""Maxima, sums and weighted sums over windows: one walk over lines of memory, emitted with llvmlite as a task of `tasks.py`.

    y[o, j] = max of, or sum of, x[row, source(j, tap)]  over the rows that line o sees and the taps that its element j sees

A line is a row of an image as W * C numbers side by side.  Which rows a line sees, and which taps its elements see, are tables, so that
windows of every size, stride, dilation and padding, adaptive ones, interpolation, and the gradients of all of these are the same walk.  A line
is made unit by unit, and a unit stays in registers until it is whole:

    wide      a unit is all channels of one place, vectors of them at a time; its taps are the same for all channels
    narrow    a unit is one vector of the line; a tap has a mask of the elements that see it, which lie `step` apart in x,
              or, with step 0, anywhere: there they are gathered

Nothing is read outside the lines, and what a mask leaves out is not read either.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from llvmlite import binding as llvm
from llvmlite import ir

from . import tasks
from .lanes import I1, I32, I64, accesses, below, splat
from .microkernel import compiled, isa

# Channels from which on a place is a unit: below, vectors would be mostly empty.
WIDE, WIDE_AT_STEP_1 = 4, 16
# Vectors of a wide unit that are made at once, at most; and how far apart neighbours may lie to be picked out of whole vectors.
VECTORS, STEPS = 4, 4
# Taps, and rows that a line sees, that are written out one after another, not as a loop.
TAPS = 4
# Numbers that one task writes at least, if there are tasks enough.
TASK = 4096
# The plan: the numbers of a walk.
LINES, BLOCK, ROWS, IMAGE, OUT, UNITS, SEEN, UNIT, TAP = range(9)
TAP_SIZE = 4  # source, number, the elements that see it, and these `step` apart


NANOSECONDS = 1.5  # for each number that is made
_NONE = np.zeros(1)


class Walk(NamedTuple):
    """Which lines see which, and what their elements see: tables for all images of one size."""

    vectors: int  # of a wide unit; 0 for narrow ones
    step: int
    taps: int  # of every unit, if all have as many and few; else 0
    rows: int  # that every line sees, likewise
    channels: int  # of a wide unit that is part of one vector; else 0
    table: np.ndarray
    plan: tuple[int, ...]
    elements: np.ndarray  # the element of a line, or -1, for each factor of the columns: one a wide unit, one a lane of a narrow one


def lanes_of(dtype: np.dtype) -> int:
    """Numbers in a vector."""
    return isa().bytes // dtype.itemsize


def walk_of(
    rows: tuple[np.ndarray, np.ndarray], columns: tuple[np.ndarray, int, np.ndarray], sizes: tuple[int, int, int], channels: int, dtype: np.dtype
) -> Walk:
    """A walk from the rows' (start, seen [(row, number)]) and the columns' (first, step, seen [place, tap]).

    Column `place` sees, for each tap that `seen` is true for, first[place] + tap * step.  sizes = (rows of an input image, its columns, columns
    of the output).
    """
    first, apart, seen = columns
    height, width, output = sizes
    lanes = lanes_of(dtype)
    neighbours = np.unique(np.diff(first)) if output > 1 else np.ones(1, np.int64)
    even = int(neighbours[0]) if neighbours.size == 1 else 0
    if channels >= (WIDE_AT_STEP_1 if even == 1 else WIDE):
        place, tap = np.nonzero(seen)
        return listed(rows, (np.searchsorted(place, np.arange(output + 1)), first[place] + tap * apart, tap), sizes, channels, dtype)
    element = np.arange(-(-output * channels // lanes) * lanes).reshape(-1, lanes)
    there = element < output * channels
    place, channel = np.where(there, element // channels, 0), element % channels
    source = first[place] * channels + channel
    step = even if (channels == 1 or even == 1) and 1 <= even <= STEPS else 0
    sees = seen[place] & there[:, :, None]  # [unit, lane, tap]
    unit, tap = np.nonzero(sees.any(axis=1))
    lane = np.arange(lanes)
    bits = (sees << lane[:, None]).sum(axis=1)[unit, tap]
    dense = (sees.astype(np.uint64) << (lane * max(step, 1)).astype(np.uint64)[:, None]).sum(axis=1, dtype=np.uint64)[unit, tap].view(np.int64)
    taps = np.stack([tap * apart * channels, tap, bits, dense], axis=1)
    ends = np.searchsorted(unit, np.arange(len(element) + 1))
    units = np.stack([element[:, 0], there.sum(axis=1), ends[:-1], ends[1:]], axis=1)
    where = source[:, :1] if step else np.ascontiguousarray(np.where(there, source, 0).astype(np.int32)).view(np.int64)
    units = np.concatenate([units, where], axis=1)
    elements = np.where(there, element, -1).ravel()
    return _joined(rows, units, taps, (height, width * channels, output * channels), 0, step, 0, elements)


def listed(rows: tuple[np.ndarray, np.ndarray], columns: Sequence[np.ndarray], sizes: tuple[int, int, int], channels: int, dtype: np.dtype) -> Walk:
    """As `walk_of`, of wide units, whose columns (start, source, tap) list what they see one after another."""
    start, source, tap = columns
    height, width, output = sizes
    zero = np.zeros(source.size, np.int64)
    here = np.arange(output) * channels
    units = np.stack([here, np.full(output, channels), start[:-1], start[1:]], axis=1)
    taps = np.stack([source * channels, tap, zero, zero], axis=1)
    lanes = lanes_of(dtype)
    vectors, part = min(VECTORS, max(1, channels // lanes)), channels if channels < lanes else 0
    return _joined(rows, units, taps, (height, width * channels, output * channels), vectors, 1, part, here)


def _joined(
    rows: Sequence[np.ndarray], units: np.ndarray, taps: np.ndarray, sizes: Sequence[int], vectors: int, step: int, channels: int, elements: Any
) -> Walk:  # fmt: skip
    # All tables in one, and where each begins.
    height, pitch, out = sizes
    parts = [np.ravel(part) for part in (rows[0], rows[1] * [pitch, 1], units, taps)]
    begin = [0, *np.cumsum([part.size for part in parts]).tolist()]
    plan = (rows[0].size - 1, height * pitch, out, len(units), *begin[1:4])
    few = _few(units[:, 3] - units[:, 2]), _few(np.diff(rows[0]))
    return Walk(vectors, step, *few, channels, np.concatenate(parts).astype(np.int64), plan, elements)


def _few(counts: np.ndarray) -> int:
    # The number that all of them are, if it is small; else 0.
    found = np.unique(counts)
    return int(found[0]) if found.size == 1 and found[0] <= TAPS else 0


class Planned(NamedTuple):
    """A walk over so many lines, and all that it takes besides x and y."""

    code: int
    units: int
    plan: np.ndarray
    table: np.ndarray
    rows: np.ndarray
    columns: np.ndarray
    work: float

    def run(self, x: np.ndarray, y: np.ndarray, won: np.ndarray = _NONE) -> None:
        """Make the lines of y from those of x, both dense, channels innermost; 'max' writes the number of the tap that won to `won`."""
        tasks.run(self.code, self.units, self.plan, self.table, x, y, self.rows, self.columns, won, work=self.work)


def planned(op: str, walk: Walk, size: int, rows: np.ndarray, columns: np.ndarray, won: int = 0) -> Planned:
    """The walk that makes `size` numbers, by the factors of its rows and columns:

    'max'        and the number of the tap that won, of `won` bytes (uint8 or int32): of equals the first, and of NaN the last
    'sum'        divided by rows[row] * columns[unit], a number for each of the walk's elements
    'scaled'     the sum times them
    'weighted'   each tap times rows[row seen] * columns[tap], of a narrow tap one factor a lane
    """
    out = walk.plan[OUT - ROWS]
    lines = size // out
    block = max(1, min(-(-TASK // out), lines // 16))
    code = _walker(op, columns.dtype.char, won, *walk[:5])
    return Planned(code, -(-lines // block), np.array((lines, block, *walk.plan)), walk.table, rows, columns, NANOSECONDS * size)


# --------------------------------------------------------------------------------------- the code
def _walker(op: str, char: str, size: int, *shape: int) -> int:
    """Address of the walk as a task; compiled on first use, in about 20 ms.  `shape` is what a `Walk` begins with."""
    return compiled(f"pool-{op}-{char}-{size}-{'-'.join(map(str, shape))}", lambda: _emit(op, char, size, *shape))


def _emit(op: str, char: str, size: int, *shape: int) -> ir.Module:
    dtype = np.dtype(char)
    name = "_".join(map(str, (op, char, size, *shape)))
    module = ir.Module(name)
    module.triple = llvm.get_process_triple()
    fn = ir.Function(module, ir.FunctionType(ir.VoidType(), [I64] * (3 + tasks.FLOATS)), name)
    _Emitter(module, fn, dtype, op, size, *shape).lines()
    return module


class _Emitter:
    """Writes the walk: loops over lines, units, vectors of channels, rows seen and taps."""

    def __init__(
        self, module: ir.Module, fn: ir.Function, dtype: np.dtype, op: str, size: int, vectors: int, step: int, taps: int, rows: int, channels: int
    ) -> None:  # fmt: skip
        self.op, self.vectors, self.step, self.count, self.rows, self.channels, self.fn = op, vectors, step, taps, rows, channels, fn
        self.size, self.lanes = dtype.itemsize, lanes_of(dtype)
        self.factor = op in ("sum", "scaled")
        scalar, suffix = (ir.FloatType(), "f32") if dtype.itemsize == 4 else (ir.DoubleType(), "f64")
        L = self.lanes
        self.scalar, self.vec, self.which, self.mask_type = scalar, ir.VectorType(scalar, L), ir.VectorType(I32, L), ir.VectorType(I1, L)
        self.won_size = size
        self.won = ir.VectorType(ir.IntType(8 * (size or 4)), L)
        vec, mask = self.vec, self.mask_type
        self.pointers = ir.VectorType(scalar.as_pointer(), L)

        def declare(kind: str, result: Any, *arguments: Any) -> ir.Function:
            return ir.Function(module, ir.FunctionType(result, arguments), f"llvm.{kind}")

        self.gather = declare(f"masked.gather.v{L}{suffix}.v{L}p0", vec, self.pointers, I32, mask, vec)
        self.fma = declare(f"fmuladd.v{L}{suffix}", vec, vec, vec, vec)
        self.fill = ir.Constant(vec, [-math.inf if op == "max" else 0.0] * L)
        self.load_vector, self.store_vector = accesses(module, vec, self.fill)
        if size:
            _, self.store_won = accesses(module, self.won)
        self.zero, self.minus = ir.Constant(vec, [0.0] * L), ir.Constant(vec, [-0.0] * L)
        self.b = ir.IRBuilder(fn.append_basic_block("entry"))

    # ---- pieces
    def const(self, n: int) -> ir.Constant:
        return ir.Constant(I64, n)

    def integer(self, table: Any, place: Any) -> Any:
        """Number `place` of a table of int64."""
        return self.b.load(self.b.inttoptr(self.at(table, place, 8), I64.as_pointer()))

    def at(self, base: Any, place: Any, size: int | None = None) -> Any:
        place = self.const(place) if isinstance(place, int) else place
        return self.b.add(base, self.b.mul(place, self.const(size or self.size)))

    def splat(self, value: Any) -> Any:
        return splat(self.b, value, self.lanes)

    def number(self, address: Any) -> Any:
        """The float at an address, in all lanes."""
        return self.splat(self.b.load(self.b.inttoptr(address, self.scalar.as_pointer())))

    def load(self, address: Any, mask: Any = None) -> Any:
        return self.load_vector(self.b, self.b.inttoptr(address, self.vec.as_pointer()), mask)

    def bits(self, number: Any) -> Any:
        """The lowest bits of an integer as a mask."""
        return self.b.bitcast(self.b.trunc(number, ir.IntType(self.lanes)), self.mask_type)

    def below(self, count: Any) -> Any:
        """The mask of the first `count` lanes."""
        return below(self.b, self.b.trunc(count, I32), self.lanes)

    def loop(self, first: Any, end: Any, by: int, carried: Sequence[Any], body: Callable[[Any, list[Any]], Sequence[Any]]) -> list[Any]:
        """for i from first to end by `by`: carried = body(i, carried)"""
        b, before = self.b, self.b.block
        head, inside, after = (self.fn.append_basic_block() for _ in range(3))
        b.branch(head)
        b.position_at_end(head)
        i, now = b.phi(I64), [b.phi(v.type) for v in carried]
        b.cbranch(b.icmp_signed("<", i, end), inside, after)
        b.position_at_end(inside)
        new = body(i, now)
        following = b.add(i, self.const(by))
        for phi, start, value in zip([i, *now], [first, *carried], [following, *new], strict=True):
            phi.add_incoming(start, before)
            phi.add_incoming(value, b.block)
        b.branch(head)
        b.position_at_end(after)
        return now

    # ---- the walk
    def lines(self) -> None:
        b = self.b
        task, plan, index, self.x, self.y, self.by_row, self.by_column, self.won_at = self.fn.args[:8]
        p = [self.integer(plan, i) for i in range(TAP + 1)]
        self.row_start = index
        self.row_seen, self.units, self.taps = (self.at(index, p[i], 8) for i in (SEEN, UNIT, TAP))
        first = b.mul(task, p[BLOCK])
        last = b.add(first, p[BLOCK])
        last = b.select(b.icmp_signed("<", last, p[LINES]), last, p[LINES])

        def line(o: Any, _: Any) -> Sequence[Any]:
            self.row = b.urem(o, p[ROWS])
            self.image, self.out = b.mul(b.udiv(o, p[ROWS]), p[IMAGE]), b.mul(o, p[OUT])
            self.seen = self.integer(self.row_start, self.row), self.integer(self.row_start, b.add(self.row, self.const(1)))
            if self.factor:
                self.row_factor = self.number(self.at(self.by_row, self.row))
            self.loop(self.const(0), p[UNITS], 1, [], self.unit)
            return []

        self.loop(first, last, 1, [], line)
        b.ret_void()

    def unit(self, u: Any, _: Any) -> Sequence[Any]:
        record = 4 if self.vectors else 5 if self.step else 4 + self.lanes // 2
        self.u, self.here = u, self.at(self.units, self.b.mul(u, self.const(record)), 8)
        self.to, count, first, last = (self.integer(self.here, i) for i in range(4))
        self.seen_taps = first, last
        if self.channels or not self.vectors:
            self.vector(self.const(0), 1, self.below(self.const(self.channels) if self.channels else count))
            return []
        wide = self.vectors * self.lanes
        whole = self.b.mul(self.b.sdiv(count, self.const(wide)), self.const(wide))
        self.loop(self.const(0), whole, wide, [], lambda c, _: self.vector(c, self.vectors, None))
        self.loop(whole, count, self.lanes, [], lambda c, _: self.vector(c, 1, self.below(self.b.sub(count, c))))
        return []

    def vector(self, c: Any, vectors: int, mask: Any) -> Sequence[Any]:
        """`vectors` vectors of a unit from its number c on; the lanes of `mask` of the only one."""
        if self.op == "max":
            carried = [self.fill] * vectors + [self.before_taps()] * vectors
        elif self.factor:
            carried = [self.zero] * vectors
        else:  # what is only copied keeps its sign, also -0
            some = self.b.and_(self.b.icmp_signed("<", *self.seen), self.b.icmp_signed("<", *self.seen_taps))
            carried = [self.b.select(some, self.minus, self.zero)] * vectors
        found = self.few(*self.seen, self.rows, carried, lambda a, now: self.row_of(a, c, vectors, mask, now))
        place = self.b.add(self.b.add(self.out, self.to), c)
        if self.factor:
            if self.vectors:
                factor = self.number(self.at(self.by_column, self.u))
            else:
                factor = self.load(self.at(self.by_column, self.b.mul(self.u, self.const(self.lanes))))
            factor = self.b.fmul(factor, self.row_factor)
            found = [(self.b.fdiv if self.op == "sum" else self.b.fmul)(value, factor) for value in found]
        for v in range(vectors):
            there = self.b.add(place, self.const(v * self.lanes))
            self.store_vector(self.b, found[v], self.b.inttoptr(self.at(self.y, there), self.vec.as_pointer()), mask)
            if self.op == "max":
                self.store_taps(found[vectors + v], there, mask)
        return []

    def before_taps(self) -> Any:
        """What stands for the winner before any tap: in a wide unit the first tap, in a narrow one, whose lanes differ in it, -1."""
        if not self.vectors:
            return ir.Constant(self.which, [-1] * self.lanes)
        b = self.b
        first = b.add(self.integer(self.row_seen, b.add(b.mul(self.seen[0], self.const(2)), self.const(1))), self.tap(self.seen_taps[0], 1))
        some = b.and_(b.icmp_signed("<", *self.seen), b.icmp_signed("<", *self.seen_taps))
        return self.splat(b.trunc(b.select(some, first, self.const(0)), I32))

    def store_taps(self, which: Any, place: Any, mask: Any) -> None:
        if not self.vectors:  # a window that sees nothing
            none = ir.Constant(self.which, [0] * self.lanes)
            which = self.b.select(self.b.icmp_signed("<", which, none), none, which)
        size = self.won_size
        value = which if size == 4 else self.b.trunc(which, self.won)
        self.store_won(self.b, value, self.b.inttoptr(self.at(self.won_at, place, size), self.won.as_pointer()), mask)

    def tap(self, k: Any, part: int) -> Any:
        return self.integer(self.taps, self.b.add(self.b.mul(k, self.const(TAP_SIZE)), self.const(part)))

    def each_tap(self, carried: Sequence[Any], body: Callable[[Any, list[Any]], Sequence[Any]]) -> Sequence[Any]:
        """carried = body(k, carried) for each tap k of the unit"""
        return self.few(*self.seen_taps, self.count, carried, body)

    def few(self, first: Any, end: Any, count: int, carried: Sequence[Any], body: Callable[[Any, list[Any]], Sequence[Any]]) -> Sequence[Any]:
        """As `loop`, written out if it is known how often."""
        if not count:
            return self.loop(first, end, 1, carried, body)
        for i in range(count):
            carried = body(self.b.add(first, self.const(i)), list(carried))
        return carried

    def row_of(self, a: Any, c: Any, vectors: int, mask: Any, now: list[Any]) -> Sequence[Any]:
        """All taps in one row that the line sees.  A row is summed by itself, then added: short sums lose fewer digits."""
        b = self.b
        pair = b.mul(a, self.const(2))
        start = b.add(b.add(self.image, self.integer(self.row_seen, pair)), c)
        number = self.integer(self.row_seen, b.add(pair, self.const(1)))
        if self.op == "max":
            return self.each_tap(now, lambda k, best: self.greater(k, number, self.values(k, start, vectors, mask), best))
        sums = self.each_tap([self.zero] * vectors, lambda k, sums: self.added(k, self.values(k, start, vectors, mask), sums))
        if self.factor:
            return [b.fadd(total, value) for total, value in zip(now, sums, strict=True)]
        weight = self.number(self.at(self.by_row, a))
        return [b.call(self.fma, [weight, value, total]) for total, value in zip(now, sums, strict=True)]

    def values(self, k: Any, start: Any, vectors: int, mask: Any) -> list[Any]:
        """What tap k sees, from the place `start` of x on."""
        b = self.b
        place = b.add(start, self.tap(k, 0))
        if self.vectors:
            return [self.load(self.at(self.x, b.add(place, self.const(v * self.lanes))), mask) for v in range(vectors)]
        if self.step:
            place, dense = b.add(place, self.integer(self.here, 4)), self.tap(k, 3)
            value: Any = None
            for i in range(self.step):
                part = self.load(
                    self.at(self.x, b.add(place, self.const(i * self.lanes))), self.bits(b.lshr(dense, self.const(i * self.lanes)) if i else dense)
                )
                value = part if value is None else value
                taken = [self.step * j - i * self.lanes for j in range(self.lanes)]
                if self.step > 1:
                    picked = [self.lanes + n if 0 <= n < self.lanes else j for j, n in enumerate(taken)]
                    value = b.shuffle_vector(value, part, ir.Constant(self.which, picked))
            return [value]
        wide = ir.VectorType(I64, self.lanes)
        lanes = b.load(b.inttoptr(self.at(self.here, 4, 8), self.which.as_pointer()))
        lanes.align = 8
        places = b.add(b.mul(b.sext(lanes, wide), ir.Constant(wide, [self.size] * self.lanes)), self.splat(self.at(self.x, place)))
        pointers = b.inttoptr(places, self.pointers)
        return [b.call(self.gather, [pointers, ir.Constant(I32, self.size), self.bits(self.tap(k, 2)), self.fill])]

    def greater(self, k: Any, number: Any, values: list[Any], now: list[Any]) -> Sequence[Any]:
        b, count = self.b, len(values)
        tap = self.splat(b.trunc(b.add(number, self.tap(k, 1)), I32))
        best, which = now[:count], now[count:]
        better = [b.or_(b.fcmp_ordered(">", v, m), b.fcmp_unordered("uno", v, v)) for v, m in zip(values, best, strict=True)]
        if not self.vectors:
            unset = b.icmp_signed("<", which[0], ir.Constant(self.which, [0] * self.lanes))
            better = [b.or_(better[0], b.and_(unset, self.bits(self.tap(k, 2))))]
        return [b.select(t, v, m) for t, v, m in zip(better, values, best, strict=True)] + [
            b.select(t, tap, w) for t, w in zip(better, which, strict=True)
        ]

    def added(self, k: Any, values: list[Any], sums: list[Any]) -> Sequence[Any]:
        b = self.b
        if self.factor:
            return [b.fadd(total, value) for total, value in zip(sums, values, strict=True)]
        weight = self.number(self.at(self.by_column, k)) if self.vectors else self.load(self.at(self.by_column, b.mul(k, self.const(self.lanes))))
        return [b.call(self.fma, [weight, value, total]) for total, value in zip(sums, values, strict=True)]
