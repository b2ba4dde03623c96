"""Numba's CUDA simulator, made fast enough for tests.

The simulator starts a Python thread for each thread of a block, and polls them all until each waits at `syncthreads` or has ended: many
milliseconds a barrier.  Here the threads of a block are greenlets of one Python thread, which take turns at barriers.  What a kernel sees
(`cuda.grid`, shared memory), and a debugger, is the same.  Without the package greenlet the simulator runs as it is, but for tensor cores, which
need it.
"""

from __future__ import annotations

import threading
import types
from collections.abc import Callable
from typing import Any

import numpy as np

try:
    import greenlet
except ImportError:
    greenlet = None  # type: ignore[assignment]


# Of a launch: the simulator keeps a launch's sizes in the kernel, and puts what it sees as `cuda` into the globals of its module.
lock = threading.RLock()


class _Alone:
    """What a kernel sees as `cuda` where it is run by a single thread."""

    def __init__(self) -> None:
        from numba.cuda.simulator.kernelapi import FakeCUDAAtomic, FakeCUDALocal

        self.local, self.atomic = FakeCUDALocal(), FakeCUDAAtomic()

    def grid(self, dimensions: int) -> int:
        return 0

    def gridsize(self, dimensions: int) -> int:
        return 1

    def threadfence_system(self) -> None:
        pass


def alone(function: Callable) -> Callable:
    """A kernel that walks over its work, run by one thread, as a plain function: for a few elements, in a hundredth of a launch's time."""
    single = types.FunctionType(function.__code__, {**function.__globals__, "cuda": _Alone()}, function.__name__, None, function.__closure__)

    def run(*args: Any) -> None:
        with np.errstate(all="ignore"):
            single(*(getattr(a, "_ary", a) for a in args))

    return run


WARP = 32  # threads that execute an instruction together


def together(function: Callable, *registers: Any) -> Any:
    """An instruction of a whole warp: `function` gets what each of its threads holds, and gives what each gets.

    Called by a thread of a kernel; RuntimeError if not all threads of its warp come here next.
    """
    if greenlet is None or (scheduler := greenlet.getcurrent().parent) is None:
        raise RuntimeError("cuda:sim: tensor cores need the package greenlet: pip install greenlet")
    return scheduler.switch((function, registers))


def _answers(asked: list) -> list[tuple]:
    """What the threads of a warp get for what they asked by `together`."""
    requests = [request for request in asked if request]
    function = requests[0][0]
    if len(requests) != WARP or any(other is not function for other, _ in requests):
        raise RuntimeError(f"cuda:sim: {len(requests)} of {WARP} threads reached an instruction of a warp, which a GPU does not forgive")
    return [(answer,) for answer in function([registers for _, registers in requests])]


def hasten() -> None:
    """Replace how the simulator runs a block, if greenlet is installed."""
    if greenlet is None:
        return
    from numba.cuda.simulator import kernel

    def run(manager: Any, grid_point: Any, *args: Any) -> None:
        args = tuple(getattr(getattr(a, "_item", None), "_ary", a) for a in args)  # NumPy's arrays, without two wrappers around each access
        here, scheduler = threading.current_thread().__dict__, greenlet.getcurrent()
        threads = []
        for point in np.ndindex(*reversed(manager._block_dim)):
            # Never started: it knows its indices.
            thread = kernel.BlockThread(manager._f, manager, grid_point, tuple(reversed(point)), manager._debug)
            names = {name: thread.__dict__[name] for name in ("blockIdx", "threadIdx", "thread_id", "_manager")}
            threads.append((greenlet.greenlet(manager._f, scheduler), {**names, "syncthreads": scheduler.switch}))
        warps = [threads[i : i + WARP] for i in range(0, len(threads), WARP)]
        while warps:  # once for each barrier
            for warp in warps:
                asked, answers = [True], [() if turn else args for turn, _ in warp]  # a greenlet that has begun is true
                while any(asked):  # until all wait at the barrier, or have ended
                    asked = []
                    for (turn, names), answer in zip(warp, answers, strict=True):
                        here.update(names)
                        asked.append(turn.switch(*answer))
                    answers = _answers(asked) if any(asked) else []
            warps = [alive for warp in warps if (alive := [thread for thread in warp if not thread[0].dead])]

    kernel.BlockManager.run = run
