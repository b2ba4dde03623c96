"""What the threads of a block do together: what each of them has found becomes one result, in an order that depends on their number alone."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from . import driver
from . import mathfunctions as m

if driver.is_simulated():

    def barrier() -> None:
        """Wait for all threads of the block."""
        threading.current_thread().syncthreads()  # type: ignore[attr-defined]

else:
    barrier: Any = driver.module().syncthreads  # type: ignore[no-redef]


def tree(join: Callable) -> Callable:
    """Makes `of_block(shared, t, lane, lanes, step)`: what the `lanes` threads of a line hold in shared memory comes together with its first lane.

    `join(shared, t, k)` puts what thread k holds to what thread t holds.  All threads of the block call it, those of other lines and those of none,
    whose `lane` is `lanes` or more, too; t is the thread's place in shared memory, its neighbours in the line are `step` places apart.
    """
    join = m.device(join)

    @m.device
    def of_block(shared, t, lane, lanes, step):
        barrier()
        live = lanes
        while live > 1:
            half = (live + 1) >> 1
            if lane < half and lane + half < live:
                join(shared, t, t + half * step)
            barrier()
            live = half

    return of_block


def _add(shared, t, k):
    shared[t] += shared[k]


def _larger(shared, t, k):
    shared[t] = m.maximum(shared[t], shared[k])


added, greatest = tree(_add), tree(_larger)
