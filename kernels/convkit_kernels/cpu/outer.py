"""Window outer, the sum of a convolution's weight gradient, by register tiles.

    w[t, c, k] = sum over n, o of  s[n, o*step + t, c] * g[n, o, k]        (see `conv`; s is zero outside its edges)

Rows of a tile are channels of the source, columns are filters, and the sum runs over the pixels of a unit of work: lines of an image, or of several
small ones.  Read where it lies, the source has strides of whole pixels, which fall on few sets of the first-level cache.  So a unit copies it, framed
with zeros, into panels of as many channels as a tile has rows, of pixels that follow each other; where pixels of the output are several apart, first
all that one tap sees, then those of the next.  Each panel serves all taps and all filters before the next is made in its place.  The gradient is
copied likewise, once, where many rows read it.

Few channels make one panel, of whole pixels.  Taps of a row are then neighbours in it, and rows of a tile are their channels together.

Units go into partial sums, which are added in order: see PARTIALS.
"""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import numpy as np
from llvmlite import binding as llvm
from llvmlite import ir

from ..geometry import Triple
from . import tasks
from .choice import Taps
from .lanes import I64, accesses
from .matmul import MACS
from .microkernel import address, call_code, clear_bytes, compiled, copy_bytes, isa, row_split, split_kernels, tile_for
from .runtime import MOST_THREADS

PIXELS = 512  # of a unit, about: the sums of a tile are loaded and stored once for so many
LINE_PIXELS = 64  # of a line of a unit, at most, where an image is cut
PARTIALS = 16  # partial sums, at most; their number fixes the order of the sums, so it does not depend on the threads
PARTIAL_BYTES = 1 << 23  # for the partial sums
GRAD_BYTES = 1 << 18  # of the gradient in a unit: it stays in the second-level cache
ENOUGH = 8  # panels that are work for several threads without a second partial sum
PIECE = 4096  # numbers of partial sums that are added at a time
CACHE_BYTES = 3 << 13  # of the first-level cache that both operands of a tile may take
MERGED = 16  # channels, up to which the taps of a row make one run of rows
COPIED = 300  # rows of all taps, from which on the gradient is copied
TALL = 14  # rows of a tile, at most
LINE = 16  # elements that are a multiple of a cache line, of either type


class Plan(NamedTuple):
    """What a sum takes besides arrays of numbers."""

    code: int
    tasks: int
    table: np.ndarray  # integers that the code reads
    more: np.ndarray  # and others
    scratch: tuple[int, int]
    sums: tuple[int, ...]  # the shape of partial sums: [parts, groups, blocks, rows, columns]
    add: np.ndarray  # the plan of `_add`
    turn: np.ndarray  # and of `_turn`
    work: float  # see `tasks.run`

    def run(self, source: np.ndarray, grad: np.ndarray, gw: np.ndarray) -> None:
        """gw [groups*K, C, *window] = the sum for source [N, D, H, W, groups*C] and grad [N, *out, groups*K], in the order of memory."""
        char = gw.dtype.char
        sums = np.empty(self.sums, gw.dtype)
        tasks.run(self.code, self.tasks, self.table, self.more, source, grad, sums, scratch=np.empty(self.scratch, gw.dtype), flush=True,
                  work=self.work)  # fmt: skip
        # First the sum of the parts, along memory; then the transposition, a cache line of filters at a time, because sums are contiguous in these.
        if self.sums[0] > 1:
            tasks.run(tasks.compiled(_add, char), int(self.add[2]), self.add, self.add, sums, work=sums.size / 2)
        tasks.run(tasks.compiled(_turn, char), int(self.turn[0] * self.turn[1] * self.turn[2]), self.turn, self.turn, sums, gw, work=gw.size)


SIZE, IMAGES, OUT, SOURCE, STEP = 0, 1, 2, 5, 9  # bytes of a number; planes of output; P0 to P2; D, H, W and channels; source pixels
GROUPS, C, K = 12, 13, 14  # channels and filters of a group
PARTS, SLICES, PANELS = 15, 16, 17  # partial sums; slices of panels; panels of the source, each of so many
COLUMNS, BLOCKS, RUN, ROWS = 18, 19, 20, 21  # of a block; blocks of a group; contiguous rows that each run of taps makes; rows in all
SPLIT = 22  # 3: how `row_split` cuts a run into tiles
UNITS = 25  # 3: units in the order of images, of lines and of columns
ENTRIES, ROOM = 28, 29  # lines of a unit, of all its images; numbers of a source's panel
CODE, COPY_X, COPY_G = 30, 34, 36  # 4 micro-kernels; copies of channels (0: whole lines); of the columns of whole blocks and of the last, or 0
TAPS = 38  # 3: planes, lines and (runs of) columns of taps
CLASSES, EXTRA, PITCH = 41, 43, 45  # for lines and columns: of pixels that are as far apart as the output's; what a unit takes more than it has
JUMP, WIDTH, CHUNK = 46, 47, 48  # pixels of the panel from one of the output to the next; a line has WIDTH * wide + EXTRA; output pixels at a time
TABLE = 49  # then planes of taps; for lines and then columns of taps: the tap, its class, its number in there; where classes begin; a row of zeros


def summed(sums: tuple[int, ...], c: int, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The plans of `_add` and `_turn` for such partial sums [parts, groups, blocks, rows, columns], of C channels and K filters of a group."""
    parts, groups, blocks, rows, columns = sums
    total = math.prod(sums[1:])
    return np.array([parts, total, -(-parts * total // PIECE)]), np.array([groups, blocks, -(-columns // LINE), columns, k, c, rows // c])


@functools.lru_cache(maxsize=1024)
def panels(source: tuple[int, ...], grad: tuple[int, ...], dtype: np.dtype, taps: Taps, step: Triple, groups: int) -> Plan:
    """How to sum over a source [N, D, H, W, groups*C] and a gradient [N, P0, P1, P2, groups*K]."""
    planes, lines, columns = taps
    c, k, images, p, q = source[4] // groups, grad[4] // groups, grad[0] * grad[1], grad[2], grad[3]
    rows = len(planes) * len(lines) * len(columns) * c
    merged = c <= MERGED and columns == tuple(range(columns[0], columns[0] + len(columns)))
    run = c * len(columns) if merged else c
    tile = tile_for(run if merged else TALL * run, k, dtype)  # tall tiles make few panels
    split = row_split(run, tile.rows)
    blocks, wide = -(-k // tile.columns), tile.columns
    size = groups * rows * blocks * wide * dtype.itemsize

    of_unit = max(PIXELS // 4, min(PIXELS, GRAD_BYTES // (blocks * wide * dtype.itemsize)))
    pixels = images * p * q
    count = 1 if merged else split[2]
    parts = max(1, min(PARTIALS, max(1 if count >= ENOUGH else 2, PARTIAL_BYTES // size), pixels // of_unit))
    bands = cuts = 1
    among = images
    if p * q > of_unit * 3 // 2:
        cuts = -(-q // max(LINE_PIXELS, of_unit // p))
        bands = -(-p // max(1, of_unit // -(-q // cuts)))
    else:
        among = -(-images // max(1, round(of_unit / (p * q))))
    parts = 1 << min(parts, among * bands * cuts).bit_length() - 1  # so that threads get equal shares
    if among < images:
        among = min(images, -(-among // parts) * parts)
    slices = min(count, -(-2 * MOST_THREADS // parts))
    together, high, broad = -(-images // among), -(-p // bands), -(-q // cuts)

    classes = [sorted({(t - line[0]) % s for t in line}) for line, s in ((lines, step[1]), (columns, step[2]))]
    extra = [(line[-1] - line[0]) // s for line, s in ((lines, step[1]), (columns, step[2]))]
    pitch, jump, width = split[0], 1, 1
    if merged:
        pitch, jump, width, columns = c, step[2], step[2], columns[:1]
        classes[1], extra[1] = [0], run // c - step[2]
    # Tiles that share one panel pass over so many pixels of it, and of the gradient, as stay in the first-level cache.
    chunk = CACHE_BYTES // (dtype.itemsize * (pitch * jump + min(k, wide))) if merged else PIXELS * 2
    copied = blocks > 1 and rows >= COPIED and 2 * blocks * wide * together * high * broad * dtype.itemsize <= 3 * GRAD_BYTES
    whole = split_kernels(tile, split, dtype, True) if k >= wide else (0, 0)
    part = split_kernels(tile.last(k), split, dtype, True, not copied) if k % wide else whole
    copies = [0, 0, 0, 0]
    if not merged:
        copies[:2] = [copier(h, pitch, dtype) for h in (split[0], split[0] - (split[1] < split[2]))]
    elif groups > 1:
        copies[:2] = [copier(c, c, dtype)] * 2
    if copied:
        copies[2:] = [copier(wide, wide, dtype), copier(k % wide or wide, wide, dtype)]
    entries = together * high
    room = -(-together * len(classes[0]) * (high + extra[0]) * len(classes[1]) * (width * broad + extra[1]) * pitch // LINE) * LINE
    tables = -(-2 * 8 * entries // (LINE * dtype.itemsize)) * LINE
    table = [dtype.itemsize, images, *grad[1:4], *source[1:4], source[4], *step, groups, c, k, parts, slices, count, wide, blocks, run, rows, *split,
             among, bands, cuts, entries, room, *whole, *part, *copies, len(planes), len(lines), len(columns), *map(len, classes), *extra, pitch,
             jump, width, chunk, *planes]  # fmt: skip
    for line, s, begin in ((lines, step[1], classes[0]), (columns, step[2], classes[1])):
        table += [*line, *(begin.index((t - line[0]) % s) for t in line), *((t - line[0]) // s for t in line), *(line[0] + m for m in begin)]
    table += [0] * (wide * dtype.itemsize // 8)
    sums, scratch = (parts, groups, blocks, rows, wide), (MOST_THREADS, tables + room + copied * blocks * wide * entries * broad)
    work = math.prod(grad) * (0.5 + rows * dtype.itemsize / MACS)
    numbers = np.array(table, np.int64)
    return Plan(tasks.compiled(_panels, dtype.char), parts * slices, numbers, numbers, scratch, sums, *summed(sums, c, k), work)


def _panels(task, plan, index, source, grad, sums, d, e, f, scratch):
    # A slice of a part.  Within a unit: groups, planes of taps, panels, lines and columns of taps, tiles of rows, blocks of columns.
    size, images = plan[SIZE], plan[IMAGES]
    P0, P1, P2 = plan[OUT], plan[OUT + 1], plan[OUT + 2]
    D, H, W = plan[SOURCE], plan[SOURCE + 1], plan[SOURCE + 2]
    groups, c, k = plan[GROUPS], plan[C], plan[K]
    parts, slices, panels = plan[PARTS], plan[SLICES], plan[PANELS]
    columns, blocks, rows = plan[COLUMNS], plan[BLOCKS], plan[ROWS]
    height, many, tiles = plan[SPLIT], plan[SPLIT + 1], plan[SPLIT + 2]
    among, bands, cuts = plan[UNITS], plan[UNITS + 1], plan[UNITS + 2]
    nplanes, nlines, ncolumns = plan[TAPS], plan[TAPS + 1], plan[TAPS + 2]
    down, right, pitch = plan[STEP + 1], plan[STEP + 2], plan[PITCH]
    ydown, xright = plan[CLASSES], plan[CLASSES + 1]
    at_lines = TABLE + nplanes
    at_columns = at_lines + 3 * nlines + ydown
    zeros = address(plan) + 8 * (at_columns + 3 * ncolumns + xright)
    part, slice_ = task // slices, task % slices
    mine = address(sums) + size * part * groups * blocks * rows * columns
    xat, gat = tasks.pointer(address(scratch), np.int64), tasks.pointer(address(scratch) + 8 * plan[ENTRIES], np.int64)
    xpanel = address(scratch) + (16 * plan[ENTRIES] + 16 * size - 1) // (16 * size) * (16 * size)
    units = among * bands * cuts
    first, end = part * units // parts, (part + 1) * units // parts
    for u in range(first, end):
        among_u, band, cut = u // (bands * cuts), u // cuts % bands, u % cuts
        i0, count = among_u * images // among, (among_u + 1) * images // among - among_u * images // among
        p0, q0 = band * P1 // bands, cut * P2 // cuts
        high, wide = (band + 1) * P1 // bands - p0, (cut + 1) * P2 // cuts - q0
        lines, width = high + plan[EXTRA], plan[WIDTH] * wide + plan[EXTRA + 1]
        # Where blocks of columns of the gradient begin, and its pixels.
        gpanel, gblock, ginc = xpanel + size * plan[ROOM], count * high * wide * columns, columns
        if not plan[COPY_G]:
            gpanel, gblock, ginc = address(grad) + size * ((i0 * P1 + p0) * P2 + q0) * groups * k, columns, groups * k
        for p in range(high):
            for i in range(count):
                xat[p * count + i] = (i * ydown * lines + p) * xright * width * pitch
                gat[p * count + i] = (i * high + p) * wide * columns if plan[COPY_G] else (i * P1 + p) * P2 * groups * k
        for g in range(groups):
            if plan[COPY_G]:
                for b in range(blocks):
                    for i in range(count):
                        at = address(grad) + size * ((((i0 + i) * P1 + p0) * P2 + q0) * groups * k + g * k + b * columns)
                        to = gpanel + size * (b * count + i) * high * wide * columns
                        n = wide if cuts > 1 else high * wide  # all lines are one where none is cut
                        for _ in range(high if cuts > 1 else 1):
                            call_code(plan[COPY_G + (1 if b == blocks - 1 else 0)], (at, size * groups * k, to, n))
                            at += size * P2 * groups * k
                            to += size * n * columns
            for t in range(nplanes * (slice_ * panels // slices), nplanes * ((slice_ + 1) * panels // slices)):
                plane, panel = t % nplanes, t // nplanes
                channel = panel * height - max(0, panel - many)
                to = xpanel
                for i in range(i0, i0 + count):
                    z = i % P0 * plan[STEP] + plan[TABLE + plane]
                    for m in range(ydown):
                        y = p0 * down + plan[at_lines + 3 * nlines + m]
                        for _ in range(lines):
                            for l in range(xright):
                                # Pixels left, left + jump ... of the line, of which those from `begin` to `stop` are inside.
                                left, jump = q0 * right + plan[at_columns + 3 * ncolumns + l], right if plan[JUMP] == 1 else 1
                                begin = min(width, max(0, (jump - 1 - left) // jump))
                                stop = max(begin, min(width, (W - 1 - left) // jump + 1))
                                if z < 0 or z >= D or y < 0 or y >= H:
                                    begin = stop = width
                                clear_bytes(to, size * pitch * begin)
                                at = ((i // P0 * D + z) * H + y) * W + left + begin * jump
                                at = address(source) + size * (at * groups * c + g * c + channel)
                                if plan[COPY_X] == 0:
                                    copy_bytes(to + size * pitch * begin, at, size * pitch * (stop - begin))
                                elif begin < stop:
                                    call_code(plan[COPY_X + (0 if panel < many else 1)],
                                              (at, size * jump * groups * c, to + size * pitch * begin, stop - begin))  # fmt: skip
                                clear_bytes(to + size * pitch * stop, size * pitch * (width - stop))
                                to += size * pitch * width
                            y += down
                together = max(1, plan[CHUNK] // (count * wide))
                for r in range((high + together - 1) // together * nlines):
                    r, low = r % nlines, r // nlines * together
                    # Output lines pa to pb are those for which this tap is inside the image.
                    top, fresh = p0 * down + plan[at_lines + r], u == first and low == 0
                    pa = max(low, (down - 1 - top) // down)
                    pb = min(min(high, low + together), (H - 1 - top) // down + 1)
                    above = plan[at_lines + nlines + r] * lines + plan[at_lines + 2 * nlines + r]
                    for s in range(ncolumns):
                        x = (above * xright + plan[at_columns + ncolumns + s]) * width + plan[at_columns + 2 * ncolumns + s]
                        for tile in range(0 if panels == 1 else panel, tiles if panels == 1 else panel + 1):
                            row, rest = tile * height - max(0, tile - many), 0 if tile < many else 1
                            at = ((g * blocks * nplanes + plane) * nlines + r) * ncolumns + s
                            at = mine + size * (at * plan[RUN] + row) * columns
                            for b in range(blocks):
                                if pa < pb:
                                    call_code(
                                        plan[CODE + rest + (2 if b == blocks - 1 else 0)],
                                        (xpanel + size * (x * pitch + (row if panels == 1 else 0)), address(xat) + 8 * pa * count, 1,
                                         pitch * plan[JUMP], gpanel + size * (g * k * (0 if plan[COPY_G] else 1) + b * gblock),
                                         address(gat) + 8 * pa * count, ginc, (pb - pa) * count, wide,
                                         zeros if fresh else at, 0 if fresh else columns, at, columns, min(columns, k - b * columns)),
                                    )  # fmt: skip
                                elif fresh:
                                    clear_bytes(at, size * (height - rest) * columns)
                                at += size * rows * columns


def _add(task, plan, index, sums, b, c, d, e, f, g):
    # sums[0, i] += sum over the other parts of sums[part, i], for a piece of i
    parts, size, pieces = plan[0], plan[1], plan[2]
    for part in range(1, parts):
        for i in range(task * size // pieces, (task + 1) * size // pieces):
            sums[i] += sums[part * size + i]


def _turn(task, plan, index, sums, gw, c, d, e, f, g):
    # gw[group*K + block*wide + j, channel, tap] = sums[group, block, tap*C + channel, j]
    blocks, lines, wide = plan[1], plan[2], plan[3]
    k, channels, ntaps = plan[4], plan[5], plan[6]
    group, block, first = task // (blocks * lines), task // lines % blocks, task % lines * LINE
    source = (group * blocks + block) * ntaps * channels * wide
    result = (group * k + block * wide) * channels * ntaps
    for channel in range(channels):
        for tap in range(ntaps):
            for j in range(first, min(wide, first + LINE, k - block * wide)):
                gw[result + (j * channels + channel) * ntaps + tap] = sums[source + (tap * channels + channel) * wide + j]


# ------------------------------------------------------------------------------------------ copies
def copier(width: int, pitch: int, dtype: np.dtype) -> int:
    """Address of the code that copies the first `width` numbers of each of n pixels to places `pitch` numbers apart; compiled on first use.

    It takes (x, step, y, n): addresses, and the bytes from a pixel of x to the next.
    """
    return compiled(f"strip-{width}-{pitch}-{dtype.itemsize}", lambda: _emit(width, pitch, dtype.itemsize))


def _emit(width: int, pitch: int, itemsize: int) -> ir.Module:
    number = ir.IntType(8 * itemsize)  # integers: copies keep every bit
    lanes = min(isa().bytes // itemsize, 1 << width.bit_length() - 1)
    vec = ir.VectorType(number, lanes)
    module = ir.Module(f"strip_{width}_{pitch}_{itemsize}")
    module.triple = llvm.get_process_triple()
    fn = ir.Function(module, ir.FunctionType(ir.VoidType(), [I64] * 4), module.name)
    x, step, y, n = fn.args
    load, store = accesses(module, vec)
    entry, loop, done = (fn.append_basic_block(name) for name in ("entry", "loop", "done"))
    b = ir.IRBuilder(entry)
    b.cbranch(b.icmp_signed(">", n, I64(0)), loop, done)
    b.position_at_end(loop)
    t, xt, yt = b.phi(I64), b.phi(I64), b.phi(I64)
    # The last piece may overlap the one before.
    places = [*range(0, width - lanes + 1, lanes), *([width - lanes] if width % lanes else [])]
    values = [load(b, b.inttoptr(b.add(xt, I64(place * itemsize)), vec.as_pointer())) for place in places]
    for place, value in zip(places, values, strict=True):
        store(b, value, b.inttoptr(b.add(yt, I64(place * itemsize)), vec.as_pointer()))
    following = b.add(t, I64(1)), b.add(xt, step), b.add(yt, I64(pitch * itemsize))
    b.cbranch(b.icmp_signed("<", following[0], n), loop, done)
    for phi, one, two in zip((t, xt, yt), (I64(0), x, y), following, strict=True):
        phi.add_incoming(one, entry)
        phi.add_incoming(two, loop)
    b.position_at_end(done)
    b.ret_void()
    return module
