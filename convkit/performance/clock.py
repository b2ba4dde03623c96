"""Operations by the clock: what `profile` and `explain` have in common."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..autograd import Function, TensorBase


@dataclass
class Ran:
    """An operation's forward, or its backward if `back`: arrays in and out, and its seconds without those of operations inside."""

    node: Function
    back: bool
    given: tuple[np.ndarray, ...]
    made: tuple[np.ndarray, ...]
    seconds: float
    alone: bool  # no operations inside: the arrays are its own


class Clock:
    """Runs and times operations, for `autograd.observed`; a class derived from it says in `ran` what becomes of each.

    `wait` waits for the device, so that an operation's time ends when its kernels do.
    """

    def __init__(self, wait: Callable[[], None] = lambda: None) -> None:
        self.wait = wait
        self.inner = 0.0  # seconds of operations inside the one that is timed
        self.count = 0  # operations so far

    def ran(self, found: Ran) -> None:
        """Called after each operation's forward, and each backward."""
        raise NotImplementedError

    def forward(self, ctx: Function, arrays: list, options: dict) -> Any:
        """Run an operation's forward; the graph calls it in place of the operation."""
        return self._run(ctx, arrays, False, lambda: type(ctx).forward(ctx, *arrays, **options))

    def backward(self, node: Function, grads: list) -> Any:
        """Run an operation's backward: what it does, it does by operations, or by a kernel that stands for itself."""
        return self._run(node, grads, True, lambda: type(node).backward(node, *grads))

    def _run(self, node: Function, given: list, back: bool, call: Callable[[], Any]) -> Any:
        self.count += 1
        count, before, self.inner = self.count, self.inner, 0.0
        self.wait()
        start = time.perf_counter()
        result = call()
        self.wait()
        whole = time.perf_counter() - start
        own, self.inner = whole - self.inner, before + whole
        made = result if isinstance(result, tuple) else (result,)
        self.ran(Ran(node, back, _arrays(given), _arrays(made), own, self.count == count))
        return result


def _arrays(values: list | tuple) -> tuple[np.ndarray, ...]:
    arrays = (v.array if isinstance(v, TensorBase) else v for v in values)
    return tuple(a for a in arrays if isinstance(a, np.ndarray))
