"""Numba's CUDA simulator, made fast enough for tests.

The simulator starts a Python thread for each thread of a block, and polls them all until each waits at `syncthreads` or has ended: many
milliseconds a
barrier.  Here the threads of a block are greenlets of one Python thread, which take turns at barriers.  What a kernel sees (`cuda.grid`, shared
memory), and a debugger, is the same.  Without the package greenlet the simulator runs as it is.
"""

from __future__ import annotations

import threading
import types
from collections.abc import Callable
from typing import Any

import numpy as np


class _Alone:
    """What a kernel sees as `cuda` where it is run by a single thread."""

    def __init__(self) -> None:
        from numba.cuda.simulator.kernelapi import FakeCUDALocal

        self.local = FakeCUDALocal()

    def grid(self, dimensions: int) -> int:
        return 0

    def gridsize(self, dimensions: int) -> int:
        return 1


def alone(function: Callable) -> Callable:
    """A kernel that walks over its work, run by one thread, as a plain function: for a few elements, in a hundredth of a launch's time."""
    single = types.FunctionType(function.__code__, {**function.__globals__, "cuda": _Alone()}, function.__name__, None, function.__closure__)

    def run(*args: Any) -> None:
        with np.errstate(all="ignore"):
            single(*(getattr(a, "_ary", a) for a in args))

    return run


def hasten() -> None:
    """Replace how the simulator runs a block, if greenlet is installed."""
    try:
        import greenlet
    except ImportError:
        return
    from numba.cuda.simulator import kernel

    def run(manager: Any, grid_point: Any, *args: Any) -> None:
        args = tuple(getattr(getattr(a, "_item", None), "_ary", a) for a in args)  # NumPy's arrays, without two wrappers around each access
        here, scheduler = threading.current_thread().__dict__, greenlet.getcurrent()
        running = []
        for point in np.ndindex(*manager._block_dim):
            thread = kernel.BlockThread(manager._f, manager, grid_point, point, manager._debug)  # never started: it knows its indices
            running.append((greenlet.greenlet(manager._f, scheduler), thread.__dict__))
        while running:
            for turn, thread in running:
                here.update({name: thread[name] for name in ("blockIdx", "threadIdx", "thread_id", "_manager")}, syncthreads=scheduler.switch)
                turn.switch(*(() if turn else args))  # a greenlet that has begun is true
            running = [(turn, thread) for turn, thread in running if not turn.dead]

    kernel.BlockManager.run = run
