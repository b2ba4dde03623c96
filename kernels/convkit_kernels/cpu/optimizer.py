"""One step of an optimiser, in place, over all parameters at once.

An optimiser is a formula for one element: from the weight w, its gradient g and up to three numbers kept between steps (a, b, c) to
their new values.  `_walk` makes a task of it that reads each number once, and goes by a table of arrays, so that a step is one
launch however many parameters there are.  Only what is used is compiled.  What depends on the step and not on the element (corrections for
means that started at 0, rates that fall) is computed once, by the caller, and arrives as `numbers`.

Formulas are those of the torch.optim documentation (torch 2.13); `convkit.optim` names the papers.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic, register_jitable

from . import mathfunctions as m
from . import tasks
from .elementwise import CHUNK, dense, in_order_of
from .runtime import STRICT

NUMBERS = 11  # a formula has at most so many
ROW = 7  # of the table: the parameter's first chunk, its size, and the arrays w, g, a, b and c

FORMULAS: dict[str, Callable] = {}


def formula(function: Callable) -> Callable:
    """A row of the table.  It stays a plain function, which Numba knows by its name: a compiled one would look new to the cache each time."""
    FORMULAS[function.__name__] = register_jitable(**STRICT)(function)
    return function


# ------------------------------------------------------------------------- formulas of one element
# `step` is the gradient with the decay of weights; n holds the numbers.  A state that is not kept arrives as 0, and what becomes of it is dropped.
@formula
def sgd(w, step, a, b, c, n):
    """Gradient descent: a is the velocity; n[2:] = lr, momentum, what a takes of the gradient, whether nesterov."""
    velocity = n[3] * a + n[4] * step
    return w - n[2] * (step + n[3] * velocity if n[5] != 0 else velocity), velocity, b, c


@formula
def adam(w, step, a, b, c, n):
    """Adam, AdamW and, with c, AMSGrad: a and b are the means of g and g^2, c the largest b.

    n[2:] = what is kept of w, rate, what is kept and taken for a, the same for b, 1 / root of b's correction, eps.
    """
    mean = n[4] * a + n[5] * step
    square = n[6] * b + n[7] * step * step
    largest = m.maximum(c, square)
    return n[2] * w - n[3] * (mean / (np.sqrt(largest) * n[8] + n[9])), mean, square, largest


@formula
def nadam(w, step, a, b, c, n):
    """Adam with Nesterov's momentum: n as in `adam`, where n[3] is the rate of a, and n[10] the rate of g."""
    mean = n[4] * a + n[5] * step
    square = n[6] * b + n[7] * step * step
    return n[2] * w - (n[3] * mean + n[10] * step) / (np.sqrt(square) * n[8] + n[9]), mean, square, c


@formula
def radam(w, step, a, b, c, n):
    """Rectified Adam: n as in `adam`, where n[8] is the rectification, or 0 while b says too little to divide by it; n[10] is 1."""
    mean = n[4] * a + n[5] * step
    square = n[6] * b + n[7] * step * step
    scale = n[8] / (np.sqrt(square) + n[9]) if n[8] != 0 else n[10]
    return n[2] * w - n[3] * mean * scale, mean, square, c


@formula
def adamax(w, step, a, b, c, n):
    """Adam with the largest gradient in place of the mean of squares: n as in `adam`."""
    mean = n[4] * a + n[5] * step
    norm = m.maximum(n[6] * b, abs(step) + n[9])
    return n[2] * w - n[3] * (mean / norm), mean, norm, c


@formula
def rmsprop(w, step, a, b, c, n):
    """RMSprop: a is the mean of g^2, b that of g, c the velocity; n[2:] = lr, keep, take, eps, momentum, whether centered (with b)."""
    square = n[3] * a + n[4] * step * step
    mean = n[3] * b + n[4] * step
    variance = square - mean * mean if n[7] != 0 else square
    velocity = n[6] * c + step / (np.sqrt(variance) + n[5])
    return w - n[2] * velocity, square, mean, velocity


@formula
def adagrad(w, step, a, b, c, n):
    """Adagrad: a is the sum of g^2; n[2:] = rate, eps."""
    total = a + step * step
    return w - n[2] * (step / (np.sqrt(total) + n[3])), total, b, c


@formula
def adadelta(w, step, a, b, c, n):
    """Adadelta: a and b are the means of g^2 and of the squared changes; n[2:] = lr, rho, 1 - rho, eps."""
    square = n[3] * a + n[4] * step * step
    change = np.sqrt(b + n[5]) / np.sqrt(square + n[5]) * step
    return w - n[2] * change, square, n[3] * b + n[4] * change * change, c


@formula
def rprop(w, step, a, b, c, n):
    """Rprop: a is the gradient before, b the size of the change; n[2:] = eta minus, eta plus, least and largest size, 1.

    Where the gradient changed its sign, nothing moves, and 0 is kept as the gradient.
    """
    agree = step * a
    factor = n[3] if agree > 0 else n[2] if agree < 0 else n[6]
    size = m.minimum(m.maximum(b * factor, n[4]), n[5])
    kept = n[1] if agree < 0 else step  # n[1], the decay of weights, is 0 here
    change = size if kept > 0 else -size if kept < 0 else kept
    return w - change, kept, size, c


@formula
def asgd(w, step, a, b, c, n):
    """Averaged gradient descent: a is the average of w; n[2:] = what is kept of w, rate, what a takes (1 at first)."""
    moved = n[2] * w - n[3] * step
    return moved, moved if n[4] == 1 else a + (moved - a) * n[4], b, c


# ----------------------------------------------------------------------------------------- the walk
@intrinsic
def _loaded(typing: Any, numbers: Any) -> Any:
    """In a task: the first `NUMBERS` numbers that a pointer points to, as a tuple."""

    def codegen(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        found = [builder.load(builder.gep(values[0], [ir.Constant(ir.IntType(64), k)])) for k in range(NUMBERS)]
        return context.make_tuple(builder, signature.return_type, found)

    return types.UniTuple(numbers.dtype, NUMBERS)(numbers), codegen


@functools.cache
def _walk(kind: str, keeps_a: bool, keeps_b: bool, keeps_c: bool) -> Callable:
    """The task of a formula that keeps these states: a chunk of one parameter."""
    formula = FORMULAS[kind]

    def chunk(task, table, index, numbers, b, c, d, e, f, g):
        row = 0  # of the parameter that the chunk belongs to
        while table[row + ROW] <= task:
            row += ROW
        low = (task - table[row]) * CHUNK
        w, g = tasks.pointer(tasks.data_of(table[row + 2]), numbers), tasks.pointer(tasks.data_of(table[row + 3]), numbers)
        a, b = tasks.pointer(tasks.data_of(table[row + 4]), numbers), tasks.pointer(tasks.data_of(table[row + 5]), numbers)
        c = tasks.pointer(tasks.data_of(table[row + 6]), numbers)
        n = _loaded(numbers)
        none = n[0] - n[0]
        for i in range(low, min(low + CHUNK, table[row + 1])):
            step = n[0] * g[i]
            step = step + n[1] * w[i] if n[1] != none else step  # 0 times an infinite weight would be NaN
            new = formula(w[i], step, a[i] if keeps_a else none, b[i] if keeps_b else none, c[i] if keeps_c else none, n)
            w[i] = new[0]
            if keeps_a:
                a[i] = new[1]
            if keeps_b:
                b[i] = new[2]
            if keeps_c:
                c[i] = new[3]

    chunk.__name__ = chunk.__qualname__ = "_".join([kind, *(s for s, kept in zip("abc", (keeps_a, keeps_b, keeps_c), strict=True) if kept)])
    return chunk


def optimizer_step(
    kind: str,
    params: Sequence[np.ndarray],
    grads: Sequence[np.ndarray],
    states: Sequence[tuple[np.ndarray | None, ...]],
    numbers: Sequence[float],
) -> None:
    """One step, in place on `params` and on their states, arrays of one dtype and each of its parameter's shape.

    Args:
        kind: which formula: a name in `FORMULAS`.
        params, grads: weights and their gradients, any number of them.
        states: for each parameter the three arrays a, b and c of the formula, None for one that is not kept.
        numbers: the formula's n, from n[0] on.
    """
    rows: list[int] = []
    copies: list[tuple[Any, Any]] = []
    alive = []  # arrays that only the table knows
    chunk = 0
    for param, grad, state in zip(params, grads, states, strict=True):
        arrays = (param, grad, *state)
        if not all([array is None or array.flags.carray and array.dtype.isnative for array in arrays]):
            work = dense(param)
            arrays = (work, *(None if array is None else in_order_of(array, work) for array in (grad, *state)))
            copies += [pair for pair in zip((param, *state), (work, *arrays[2:]), strict=True) if pair[0] is not pair[1]]
        alive.append(arrays)
        rows += (chunk, param.size, *map(id, arrays))
        chunk += -(-param.size // CHUNK)
    if not chunk:
        return
    n = np.zeros(NUMBERS, params[0].dtype.newbyteorder("="))
    n[: len(numbers)] = numbers
    a, b, c = states[0]
    table = np.array([*rows, chunk], np.int64)  # the last row begins behind the last chunk
    tasks.run(
        tasks.compiled(_walk(kind, a is not None, b is not None, c is not None), n.dtype.char),
        chunk,
        table,
        table,
        n,
        flush=True,
        work=sum(rows[1::ROW]),
    )
    for array, copy in copies:
        array[...] = copy
