"""Copies in another memory order, and of several arrays into one.

A large copy is seen as y[p, i, j] = x[p, j, i], from planes of channels to channels-last and back, and goes by square blocks, which are turned in
vector registers; or as rows, which lie at one distance from each other in x and at another in y, as those of a slice and of a part of a whole do.
"""

from __future__ import annotations

import functools
import math
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
from llvmlite import binding as llvm
from llvmlite import ir

from ..layout import dense_order
from . import tasks
from .lanes import I32, I64, accesses, below
from .microkernel import address, call_code, compiled, copy_bytes, isa
from .runtime import in_threads

PART = 65536  # elements of a part that one thread copies
LARGE = 4096  # elements, below which a copy by NumPy is done sooner
SHORT = 16  # bytes of a row, below which a row is no unit to copy


def contiguous(a: np.ndarray) -> np.ndarray:
    """`a` itself if it is C-contiguous, aligned and writable, else a copy that is (a broadcast array is read-only)."""
    if a.flags.carray:
        return a
    y = np.empty(a.shape, a.dtype)
    turn = rows = None
    if a.size >= LARGE and a.flags.behaved:
        turn, rows = _turned(a.shape, a.strides, a.itemsize), _rows_of(a.shape, a.strides, a.itemsize)
    if rows is not None:
        count, width, apart = rows
        _copy_rows([(_at(a), apart, _at(y), width, width, count)])
        return y
    if turn is None:
        # By threads, in parts of the outermost axis that is long enough, where it is worth their start.
        cut = max(range(a.ndim), key=lambda d: (min(a.shape[d], a.size // PART), -d), default=0)
        step = -(-a.shape[cut] * PART // a.size) if a.size >= 4 * PART else 0
        if not step:
            return np.array(a, order="C")
        before = (slice(None),) * cut

        def copy(i: int) -> None:
            part = (*before, slice(i * step, (i + 1) * step))
            y[part] = a[part]

        in_threads(copy, -(-a.shape[cut] // step))
        return y
    P, I, J = turn
    lanes = isa().bytes // a.itemsize
    count, each = P * -(-I // lanes), max(1, LARGE // (lanes * J))
    plan = np.array([I, J, count, each, turner(a.itemsize), lanes, a.itemsize])
    tasks.run(tasks.compiled(_turn, "f"), -(-count // each), plan, plan, a, y)  # as float32, whatever they are: all that matters are the addresses
    return y


def concatenate(arrays: Sequence[np.ndarray], axis: int) -> np.ndarray:
    """The arrays one behind the other along `axis`, in C order."""
    first = arrays[0]
    size = sum(a.size for a in arrays)
    if size < LARGE or any(a.dtype != first.dtype for a in arrays):
        return np.concatenate(arrays, axis)
    arrays = [contiguous(a) for a in arrays]
    y = np.empty((*first.shape[:axis], sum(a.shape[axis] for a in arrays), *first.shape[axis + 1 :]), first.dtype)
    count = math.prod(y.shape[:axis])
    at, apart = _at(y), y.nbytes // count
    parts = []
    for a in arrays:
        if not (width := a.nbytes // count):
            continue
        parts.append((_at(a), width, at, apart, width, count))
        at += width
    _copy_rows(parts)
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


@functools.lru_cache(maxsize=1024)
def _rows_of(shape: tuple[int, ...], strides: tuple[int, ...], itemsize: int) -> tuple[int, int, int] | None:
    """(rows, bytes of a row, bytes from a row to the next) if the memory of such an array is rows in C order with gaps between them; else None."""
    axes = [i for i, n in enumerate(shape) if n != 1]
    width = itemsize
    while axes and strides[axes[-1]] == width:
        width *= shape[axes.pop()]
    if width < SHORT or not axes:
        return None
    count, apart = 1, strides[axes[-1]]
    for i in reversed(axes):
        if strides[i] != apart * count:
            return None
        count *= shape[i]
    return count, width, apart


def _at(a: np.ndarray) -> int:
    address: int = a.__array_interface__["data"][0]  # a.ctypes.data takes three times as long
    return address


def _copy_rows(parts: list[tuple[int, int, int, int, int, int]]) -> None:
    """Copy rows of each part: (address and bytes from a row to the next in x, the same in y, bytes of a row, number of rows)."""
    plan, task = [], 0
    for x, x_apart, y, y_apart, width, count in parts:
        each = max(1, PART // width)
        plan += [task, x, x_apart, y, y_apart, width, count, each]
        task += -(-count // each)
    table = np.array([*plan, task])
    tasks.run(tasks.compiled(_rows, "f"), task, table, table, np.empty(1, np.float32))


def _rows(task, plan, index, a, b, c, d, e, f, g):
    # y[r, j] = x[r, j] for some rows of one part
    part = 0
    while plan[part + 8] <= task:
        part += 8
    low = (task - plan[part]) * plan[part + 7]
    for r in range(low, min(low + plan[part + 7], plan[part + 6])):
        copy_bytes(plan[part + 3] + r * plan[part + 4], plan[part + 1] + r * plan[part + 2], plan[part + 5])


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


_lock = threading.Lock()


def turner(itemsize: int) -> int:
    """Address of the code that turns a block, compiled on first use.  It takes (x, row, y, row, I, J): addresses, bytes from a row to the next,
    and how many rows of y and of x the block has, at most as many as a vector has lanes."""
    with _lock:
        return _turner(itemsize)


@functools.cache
def _turner(itemsize: int) -> int:
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
