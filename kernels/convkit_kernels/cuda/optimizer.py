"""One step of an optimiser, in place, over all parameters at once; the formulas are those of `cpu/optimizer.py`.

A step is one launch however many parameters there are: on a GPU a launch takes longer than the work on most of them.  Blocks find their part in a
table of addresses on the device, which is remembered, as arrays of later steps mostly lie where those of the first ones did.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numba
import numpy as np
from numba import types

from ..cpu.optimizer import FORMULAS, NUMBERS
from ..layout import dense_order
from . import driver
from . import mathfunctions as m
from .copy import assign
from .launch import Kernel, cuda
from .memory import Array, asarray, empty_like

THREADS, CHUNK = (4, 16) if driver.is_simulated() else (256, 2048)  # threads of a block, and elements that it takes
ROW = 7  # of the table: the parameter's first chunk, its size, and the addresses of w, g, a, b and c


@functools.cache
def _kernel(kind: str, keeps_a: bool, keeps_b: bool, keeps_c: bool, dtype: np.dtype) -> Kernel:
    """The kernel of a formula that keeps these states."""
    formula = m.row(FORMULAS[kind])

    def chunk(table, rows, n):
        block = cuda.blockIdx.x
        low, high = 0, rows - 1  # the last row whose first chunk is not behind this one
        while low < high:
            middle = (low + high + 1) // 2
            if table[middle * ROW] <= block:
                low = middle
            else:
                high = middle - 1
        row = low * ROW
        start = (block - table[row]) * CHUNK
        w, g, a, b, c = table[row + 2], table[row + 3], table[row + 4], table[row + 5], table[row + 6]
        none = n[0] - n[0]
        for i in range(start + cuda.threadIdx.x, min(start + CHUNK, table[row + 1]), THREADS):
            weight = m.load(w, i, none)
            step = n[0] * m.load(g, i, none)
            step = step + n[1] * weight if n[1] != none else step  # 0 times an infinite weight would be NaN
            p = m.load(a, i, none) if keeps_a else none
            q = m.load(b, i, none) if keeps_b else none
            r = m.load(c, i, none) if keeps_c else none
            new = formula(weight, step, p, q, r, n)
            m.store(w, i, new[0])
            if keeps_a:
                m.store(a, i, new[1])
            if keeps_b:
                m.store(b, i, new[2])
            if keeps_c:
                m.store(c, i, new[3])

    chunk.__name__ = chunk.__qualname__ = "_".join([kind, *(s for s, kept in zip("abc", (keeps_a, keeps_b, keeps_c), strict=True) if kept)])
    return Kernel(chunk, [types.int64[::1], types.int64, types.UniTuple(numba.from_dtype(dtype), NUMBERS)])


@functools.lru_cache(maxsize=64)
def _table(rows: tuple[tuple[int, ...], ...]) -> tuple[int, int, Array]:
    """(chunks, rows, the table) of parameters (size, addresses)."""
    found, chunks = [], 0
    for size, *addresses in rows:
        if size:
            found += [chunks, size, *addresses]
            chunks += -(-size // CHUNK)
    return chunks, len(found) // ROW, asarray(np.array(found, np.int64))


def optimizer_step(
    kind: str,
    params: Sequence[Array],
    grads: Sequence[Array],
    states: Sequence[tuple[Array | None, ...]],
    numbers: Sequence[float],
) -> None:
    """One step, in place on `params` and on their states, arrays of one dtype and each of its parameter's shape.

    Args:
        kind: which formula: a name in `FORMULAS`.
        params, grads: weights and their gradients, any number of them.
        states: for each parameter the three arrays a, b and c of the formula, None for one that is not kept.
        numbers: the formula's n, from n[0] on.
    """
    rows: list[tuple[int, ...]] = []
    copies: list[tuple[Array, Array]] = []
    alive = []  # arrays that only the table knows
    for param, grad, state in zip(params, grads, states, strict=True):
        arrays: list[Array | None] = [param, grad, *state]
        if dense_order(param.shape, param.strides, param.itemsize) is None or any(a is not None and a.strides != param.strides for a in arrays):
            arrays = [None if a is None else assign(empty_like(param), a) for a in arrays]
            copies += [(a, copy) for a, copy in zip((param, *state), (arrays[0], *arrays[2:]), strict=True) if a is not None and copy is not None]
            alive.append(arrays)
        rows.append((param.size, *(0 if a is None else a.buffer.address + a.offset * a.itemsize for a in arrays)))
    chunks, count, table = _table(tuple(rows))
    if not chunks:
        return
    a, b, c = states[0]
    n = (*map(params[0].dtype.type, numbers), *[params[0].dtype.type(0)] * (NUMBERS - len(numbers)))
    _kernel(kind, a is not None, b is not None, c is not None, params[0].dtype).blocks(chunks, THREADS, table.flat, count, n)
    for array, copy in copies:
        assign(array, copy)
