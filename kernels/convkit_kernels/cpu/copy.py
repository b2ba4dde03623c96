"""Copies in another memory order, and of several arrays into one.

A large copy is seen as y[p, i, j] = x[p, j, i], from planes of channels to channels-last and back, and goes by square blocks, which are turned in
vector registers; every other copy is a walk over the axes of both, by rows where they lie alike.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from llvmlite import binding as llvm
from llvmlite import ir
from numba.extending import register_jitable

from ..layout import dense_order, order_of
from . import tasks
from .lanes import I32, I64, accesses, below
from .microkernel import CACHE_LINE, address, call_code, clear_bytes, compiled, copy_bytes, fetch_line, isa

LARGE = 4096  # elements, below which a copy by NumPy is done sooner
PART = 16384  # elements of a piece of one long line
TASK = 1 << 18  # bytes of the parts that a thread takes, about
SHORT = 16  # bytes of a row, below which a row is no unit to copy
STRIP, NARROW = 1 << 20, 512  # bytes of the strips of a whole whose narrowest part is below so many bytes wide
OUTER = 4  # axes around the two innermost
ROWS = 64  # of a whole, from which on dense parts are joined row by row
LONG = 2048  # bytes of a row, from which on the C library copies it


def contiguous(a: np.ndarray) -> np.ndarray:
    """`a` itself if it is C-contiguous, aligned and writable, else a copy that is (a broadcast array is read-only)."""
    if a.flags.carray:
        return a
    if a.size < LARGE or not a.flags.behaved:
        return np.array(a, order="C")
    y = np.empty(a.shape, a.dtype)
    turn = _turned(a.shape, a.strides, a.itemsize)
    if turn is None:
        _copy([(y, a)])
        return y
    P, I, J = turn
    lanes = isa().bytes // a.itemsize
    count, each = P * -(-I // lanes), max(1, LARGE // (lanes * J))
    plan = np.array([I, J, count, each, turner(a.itemsize), lanes, a.itemsize])
    tasks.run(tasks.compiled(_turn, "f"), -(-count // each), plan, plan, a, y, work=a.size)  # as float32, whatever they are: only addresses matter
    return y


def concatenate(arrays: Sequence[np.ndarray], axis: int) -> np.ndarray:
    """The arrays one behind the other along `axis`, in C order."""
    first = arrays[0]
    if sum(a.size for a in arrays) < LARGE or any(a.dtype != first.dtype for a in arrays):
        return np.concatenate(arrays, axis)
    y = np.empty((*first.shape[:axis], sum(a.shape[axis] for a in arrays), *first.shape[axis + 1 :]), first.dtype)
    # What is dense in another order is turned faster alone.
    arrays = [a if order_of(a) is None else contiguous(a) for a in arrays]
    rows, narrowest = math.prod(first.shape[:axis]), min(a.shape[axis] for a in arrays) * math.prod(first.shape[axis + 1 :]) * first.itemsize
    if rows >= ROWS and narrowest >= SHORT and all([a.flags.c_contiguous for a in arrays]):
        each = max(1, TASK * rows // y.nbytes)
        found = [number for a in arrays for number in (_at(a), a.nbytes // rows)]
        plan = np.array([rows, each, _at(y), y.nbytes // rows, len(found), *found])
        tasks.run(tasks.compiled(_join, "f"), -(-rows // each), plan, plan, np.empty(1, np.float32), work=y.size)
        return y
    # Narrow parts share lines of the cache: they go by strips of the outermost axis, all parts of one before the next.
    step = max(1, STRIP * y.shape[0] // y.nbytes) if axis and narrowest < NARROW else y.shape[0]
    before, parts = (slice(None),) * axis, []
    ends = list(itertools.accumulate((a.shape[axis] for a in arrays), initial=0))
    for low in range(0, y.shape[0], step):
        strip = y[low : low + step] if axis else y
        parts += [(strip[(*before, slice(*ends[i : i + 2]))], a[low : low + step] if axis else a) for i, a in enumerate(arrays)]
    _copy(parts)
    return y


def channels_last(a: np.ndarray) -> np.ndarray:
    """[N, C, *spatial] -> contiguous [N, D, H, W, C] with unit leading spatial dimensions; a view where the memory allows it."""
    rank = a.ndim - 2
    moved = contiguous(a.transpose(0, *range(2, a.ndim), 1))
    return moved.reshape(a.shape[0], *(1,) * (3 - rank), *a.shape[2:], a.shape[1])


@functools.lru_cache(maxsize=1024)
def _turned(shape: tuple[int, ...], strides: tuple[int, ...], itemsize: int) -> tuple[int, int, int] | None:
    """(P, I, J) if the memory of y[p, i, j] is x[p, j, i], each letter one or more axes; else None."""
    order = dense_order(shape, strides, itemsize)
    if order is None or itemsize not in (4, 8):
        return None
    wanted = sorted(order)
    same = next((n for n, (a, b) in enumerate(zip(order, wanted, strict=True)) if a != b), None)
    if same is None:
        return None
    split = wanted.index(order[same])
    if order[same:] != (*wanted[split:], *wanted[same:split]):
        return None
    p, i, j = (math.prod(shape[a] for a in axes) for axes in (wanted[:same], wanted[same:split], wanted[split:]))
    return p, i, j


@register_jitable
def _copy_row(to, source, width, ahead):
    # `width` bytes; whole lines of the cache without a call, and those `ahead` bytes behind are asked for.
    if width % CACHE_LINE == 0 and width < LONG:
        for at in range(0, width, CACHE_LINE):
            fetch_line(source + at + ahead)
            copy_bytes(to + at, source + at, CACHE_LINE)
    else:
        copy_bytes(to, source, width)


def _join(task, plan, index, a, b, c, d, e, f, g):
    # y[r] = the rows r of all parts, one behind the other: what is narrow shares lines of the cache
    rows, each, to, width, parts = plan[0], plan[1], plan[2], plan[3], plan[4]
    for r in range(task * each, min(rows, (task + 1) * each)):
        at = to + r * width
        for k in range(5, 5 + parts, 2):
            _copy_row(at, plan[k] + r * plan[k + 1], plan[k + 1], tasks.AHEAD)
            at += plan[k + 1]


# ------------------------------------------------------------------------------- from any strides to any
# Axes are merged where x and y lie alike.  What is contiguous in both is a row, a unit to copy; otherwise elements are.  Two axes make the inner
# loops: the innermost of y, and that along which x is contiguous, so that lines of the cache are used whole.
RECORD = 12 + 3 * OUTER  # numbers of a part's plan: see `_strided`


def _copy(pairs: list[tuple[np.ndarray, np.ndarray]]) -> None:
    """y[...] = x for each pair of arrays of one shape and type."""
    plans, count = [], 0
    for y, x in pairs:
        found = _plan(x.shape, x.strides, y.strides, x.itemsize) if x.flags.aligned else None
        if found is None:
            y[...] = x
            continue
        plan, many = found
        plan = plan.copy()
        plan[:, 0] += count
        plan[:, 1] += _at(x)
        plan[:, 2] += _at(y)
        plans.append(plan)
        count += many
    if count:
        table = np.concatenate([*plans, np.array([[count, *(0,) * (RECORD - 1)]])])
        tasks.run(tasks.compiled(_strided, "f"), count, table, table, np.empty(1, np.float32))


@functools.lru_cache(maxsize=1024)
def _plan(shape: tuple[int, ...], xs: tuple[int, ...], ys: tuple[int, ...], itemsize: int) -> tuple[np.ndarray, int] | None:
    """(plan of the parts, with addresses from 0, number of tasks) of a copy; None where NumPy does it."""
    axes: list[tuple[int, int, int]] = []  # (size, bytes in x, bytes in y), outermost in y first, merged
    for d in sorted((d for d, n in enumerate(shape) if n != 1), key=lambda d: -abs(ys[d])):
        n, s, t = shape[d], xs[d], ys[d]
        if axes and axes[-1][1:] == (n * s, n * t):
            n *= axes.pop()[0]
        axes.append((n, s, t))
    if 0 in shape:
        return np.empty((0, RECORD), np.int64), 0
    pieces = [(0, 0, axes)]
    if len(axes) == 1 and axes[0][0] > PART:  # for threads to share
        n, s, t = axes[0]
        many = n // PART
        pieces = [(0, 0, [(many, PART * s, PART * t), (PART, s, t)])]
        if n % PART:
            pieces.append((many * PART * s, many * PART * t, [(n % PART, s, t)]))
    plan, task = [], 0
    for x, y, axes in pieces:
        width = itemsize
        if axes and axes[-1][1] == axes[-1][2] == itemsize and axes[-1][0] * itemsize >= SHORT:
            *axes, (n, _, _) = axes
            width *= n
            inner = (1, 0, 0)
        elif itemsize not in (4, 8):
            return None
        else:
            near = min(range(len(axes)), key=lambda d: abs(axes[d][1]) or math.inf, default=0)
            if near < len(axes) - 2:
                axes = [*axes[:near], *axes[near + 1 : -1], axes[near], axes[-1]]
            *axes, inner = axes or [(1, 0, 0)]
        *axes, second = axes or [(1, 0, 0)]
        if width == itemsize and inner[0] < min(second[0], 16):
            inner, second = second, inner
        if len(axes) > OUTER:
            return None
        # Whole lines of the cache of what lies across.
        chunk = min(second[0], max(TASK // (4 * inner[0] * width), 1 if width > itemsize else 16))
        units = math.prod(n for n, _, _ in axes) * -(-second[0] // chunk)
        each = max(1, TASK // (chunk * inner[0] * width))
        outer = [number for a in [(1, 0, 0)] * (OUTER - len(axes)) + axes for number in a]
        plan.append([task, x, y, width, *inner, *second, chunk, each, *outer])
        task += -(-units // each)
    return np.array(plan), task


def _at(a: np.ndarray) -> int:
    address: int = a.__array_interface__["data"][0]  # a.ctypes.data takes three times as long
    return address


_places = tasks.stack(OUTER)


def _strided(task, plan, index, a, b, c, d, e, f, g):
    # For each place of the outer axes: y[j, i] = x[j, i], i the inner axis, j the second, of which a unit takes `chunk`; a task takes `each` units.
    p = 0
    while plan[p + RECORD] <= task:
        p += RECORD
    width, count, xi, yi = plan[p + 3], plan[p + 4], plan[p + 5], plan[p + 6]
    rows, xj, yj = plan[p + 7], plan[p + 8], plan[p + 9]
    chunk, each = plan[p + 10], plan[p + 11]
    chunks, ahead = (rows + chunk - 1) // chunk, tasks.AHEAD // max(1, abs(xj)) * xj
    unit = (task - plan[p]) * each
    rest, low = unit // chunks, unit % chunks * chunk
    x, y = plan[p + 1], plan[p + 2]
    at = _places(plan)
    outer = p + 12
    for k in range(OUTER - 1, -1, -1):
        n = plan[outer + 3 * k]
        at[k] = rest % n if k else rest
        rest //= n
        x += at[k] * plan[outer + 3 * k + 1]
        y += at[k] * plan[outer + 3 * k + 2]
    for _ in range(each):
        if at[0] == plan[outer]:
            break
        for j in range(low, min(rows, low + chunk)):
            s, t = x + j * xj, y + j * yj
            if width == 4:
                u, v = tasks.pointer(s, np.int32), tasks.pointer(t, np.int32)
                if xi == 0 and yi == 4 and u[0] == 0:
                    clear_bytes(t, 4 * count)
                    continue
                for i in range(count):
                    v[i * (yi // 4)] = u[i * (xi // 4)]
            elif width == 8:
                q, r = tasks.pointer(s, np.int64), tasks.pointer(t, np.int64)
                if xi == 0 and yi == 8 and q[0] == 0:  # memory that the C library clears is not read first
                    clear_bytes(t, 8 * count)
                    continue
                for i in range(count):
                    r[i * (yi // 8)] = q[i * (xi // 8)]
            else:
                _copy_row(t, s, width, ahead)
        low += chunk
        if low >= rows:
            low, k = 0, OUTER - 1
            at[k] += 1
            x += plan[outer + 3 * k + 1]
            y += plan[outer + 3 * k + 2]
            while k and at[k] == plan[outer + 3 * k]:
                x -= at[k] * plan[outer + 3 * k + 1]
                y -= at[k] * plan[outer + 3 * k + 2]
                at[k] = 0
                k -= 1
                at[k] += 1
                x += plan[outer + 3 * k + 1]
                y += plan[outer + 3 * k + 2]


def _turn(task, plan, index, x, y, c, d, e, f, g):
    # y[p, i, j] = x[p, j, i], a block of lanes x lanes at a time
    I, J, count, each = plan[0], plan[1], plan[2], plan[3]
    code, lanes, size = plan[4], plan[5], plan[6]
    blocks = (I + lanes - 1) // lanes
    for u in range(task * each, min(count, (task + 1) * each)):
        start, i = u // blocks * I * J, u % blocks * lanes
        for j in range(0, J, lanes):
            call_code(code, (address(x) + size * (start + j * I + i), size * I, address(y) + size * (start + i * J + j), size * J,
                             min(lanes, I - i), min(lanes, J - j)))  # fmt: skip


def turner(itemsize: int) -> int:
    """Address of the code that turns a block, compiled on first use.  It takes (x, row, y, row, I, J): addresses, bytes from a row to the next,
    and how many rows of y and of x the block has, at most as many as a vector has lanes."""
    return compiled(f"turn-{itemsize}", lambda: _emit(itemsize))


def _emit(itemsize: int) -> ir.Module:
    lanes = isa().bytes // itemsize
    vec = ir.VectorType(ir.IntType(8 * itemsize), lanes)  # integers: copies keep every bit
    vp = vec.as_pointer()
    module = ir.Module(f"turn_{itemsize}")
    module.triple = llvm.get_process_triple()
    fn = ir.Function(module, ir.FunctionType(ir.VoidType(), [I64] * 6), module.name)
    x, xrow, y, yrow, rows, columns = fn.args
    load, store = accesses(module, vec)
    entry, whole, part, exit_ = (fn.append_basic_block(n) for n in ("entry", "whole", "part", "exit"))
    b = ir.IRBuilder(entry)
    all_ = ir.Constant(I64, lanes)
    b.cbranch(b.and_(b.icmp_signed("==", rows, all_), b.icmp_signed("==", columns, all_)), whole, part)

    def turn(vectors: list) -> list:
        """Blocks off the diagonal exchanged, of one number, two, four ..."""
        half = 1
        while half < lanes:
            low = [lane if not lane & half else lanes + lane - half for lane in range(lanes)]
            high = [lane + half if not lane & half else lanes + lane for lane in range(lanes)]
            for i in range(lanes):
                if not i & half:
                    pair = vectors[i], vectors[i + half]
                    for k, places in ((i, low), (i + half, high)):
                        vectors[k] = b.shuffle_vector(*pair, ir.Constant(ir.VectorType(I32, lanes), places))
            half *= 2
        return vectors

    def place(start: Any, row: Any, i: int, count: Any) -> Any:
        """Row i, or the last there is."""
        last = b.sub(count, ir.Constant(I64, 1)) if count is not None else None
        number = ir.Constant(I64, i)
        if last is not None:
            number = b.select(b.icmp_signed("<", number, last), number, last)
        return b.inttoptr(b.add(start, b.mul(row, number)), vp)

    b.position_at_end(whole)
    for i, vector in enumerate(turn([load(b, place(x, xrow, j, None)) for j in range(lanes)])):
        store(b, vector, place(y, yrow, i, None))
    b.branch(exit_)

    # Rows beyond the last are read as the last, and written to the last, before it.
    b.position_at_end(part)
    mask = below(b, rows, lanes)
    vectors = turn([load(b, place(x, xrow, j, columns), mask) for j in range(lanes)])
    mask = below(b, columns, lanes)
    for i in reversed(range(lanes)):
        store(b, vectors[i], place(y, yrow, i, rows), mask)
    b.branch(exit_)
    b.position_at_end(exit_)
    b.ret_void()
    return module


def copier(itemsize: int, vectors: int) -> int:
    """Address of the code that copies rows of up to so many vectors, compiled on first use.  It takes (x, row, y, row, I, J): addresses, bytes from
    a row to the next, how many rows there are, and how many numbers each has."""
    return compiled(f"copy-{itemsize}-{vectors}", lambda: _emit_copy(itemsize, vectors))


def _emit_copy(itemsize: int, vectors: int) -> ir.Module:
    lanes = isa().bytes // itemsize
    vec = ir.VectorType(ir.IntType(8 * itemsize), lanes)
    vp = vec.as_pointer()
    module = ir.Module(f"copy_{itemsize}_{vectors}")
    module.triple = llvm.get_process_triple()
    fn = ir.Function(module, ir.FunctionType(ir.VoidType(), [I64] * 6), module.name)
    x, xrow, y, yrow, rows, columns = fn.args
    load, store = accesses(module, vec)
    entry, whole, part, exit_ = (fn.append_basic_block(n) for n in ("entry", "whole", "part", "exit"))
    b = ir.IRBuilder(entry)
    masks = [below(b, columns, lanes, j * lanes) for j in range(vectors)]
    b.cbranch(b.icmp_signed("==", columns, ir.Constant(I64, vectors * lanes)), whole, part)
    for block, some in ((whole, [None] * vectors), (part, masks)):
        b.position_at_end(block)
        left, source, to = b.phi(I64), b.phi(I64), b.phi(I64)
        places = [ir.Constant(I64, j * lanes * itemsize) for j in range(vectors)]
        values = [load(b, b.inttoptr(b.add(source, p), vp), mask) for p, mask in zip(places, some, strict=True)]
        for value, p, mask in zip(values, places, some, strict=True):
            store(b, value, b.inttoptr(b.add(to, p), vp), mask)
        following = (b.sub(left, ir.Constant(I64, 1)), b.add(source, xrow), b.add(to, yrow))
        b.cbranch(b.icmp_signed(">", following[0], ir.Constant(I64, 0)), block, exit_)
        for phi, first, after in zip((left, source, to), (rows, x, y), following, strict=True):
            phi.add_incoming(first, entry)
            phi.add_incoming(after, block)
    b.position_at_end(exit_)
    b.ret_void()
    return module
