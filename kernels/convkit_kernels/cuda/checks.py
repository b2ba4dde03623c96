"""What is said of the numbers in an array before they are used, found out on the device; names of `cpu/checks.py`.

Nobody waits for the answer.  A thread that meets a wrong number writes into a few bytes of the host's memory which check it was and what it saw;
they are looked at wherever the host waits anyway (`driver.noticed`), and the error is raised there.  Until then kernels work with numbers that
were put in the place of wrong ones, so that none of them reads or writes outside of an array.

With CONVKIT_CUDA_SYNC=1, and in the simulator, where nobody waits, an error is raised at the operation.
"""

from __future__ import annotations

import threading
from typing import Any

import numpy as np

from ..layout import order_of
from . import driver
from .copy import contiguous
from .launch import FLOATS, WAIT, cuda, kernel
from .memory import Array, asarray, empty_like

RULES = 1024  # that are remembered, at least: their texts tell of sizes, so there can be any number
AT_ONCE = WAIT or driver.is_simulated()
LATER = " (noticed when the host next waited for the GPU; with CONVKIT_CUDA_SYNC=1 it shows at the operation)"


class _Trouble:
    """What checks have found: `block` and `host` are the same 32 bytes, the number of a rule, or 0, and three numbers that it tells of."""

    def __init__(self) -> None:
        self.block, self.host = driver.mapped(32)
        self.host[...] = 0
        self.taken = asarray(np.zeros(1, np.int64))  # by whoever writes; on the device, where threads can agree
        self.rules: dict[tuple[type[Exception], str, np.dtype], int] = {}  # the last used last
        self.recorded: set[int] = set()  # numbers that are in recordings
        self._last, self._lock = 0, threading.Lock()
        driver.noticed.append(self.look)

    def number(self, *rule: Any) -> int:
        """That of a rule, which no other has had.  Launches that are recorded and repeated keep it; others are forgotten when there are many."""
        recording = driver.recording is not None
        if len(self.rules) - len(self.recorded) >= 2 * RULES and not recording:
            driver.synchronize()  # so that nothing that is forgotten is still to be told
            with self._lock:
                free = [r for r, number in self.rules.items() if number not in self.recorded]
                for r in free[:-RULES]:
                    del self.rules[r]
        with self._lock:
            number = self.rules.pop(rule, 0)
            if not number:
                self._last = number = self._last + 1
            self.rules[rule] = number
            if recording:
                self.recorded.add(number)
        return number

    def look(self, later: str = LATER) -> None:
        """Raise what was found, when all work is done."""
        found = int(self.host[:8].view(np.int64)[0])
        if found:
            with self._lock:
                error, text, dtype = next(rule for rule, number in self.rules.items() if number == found)
            first, least, most = self.host[8:].view(dtype)[:3].tolist()
            self.host[...] = 0
            driver.to_device(self.taken.buffer.block, np.zeros(8, np.uint8))
            raise error(text.format(first=first, least=least, most=most) + later)


_trouble: list[_Trouble] = []  # one, once there was something to check


@kernel("iTiTitttiIIT", (*FLOATS, np.int64))
def _inside(n, x, x0, y, writes, low, high, ignored, number, taken, rule, found):
    # y = x, or low where x is neither inside nor ignored; the first thread that finds that tells of it.
    for i in range(cuda.grid(1), n, cuda.gridsize(1)):
        value = x[x0 + i]
        good = (value >= low and value <= high) or value == ignored
        if writes:
            y[i] = value if good else low
        if not good and taken[0] == 0 and cuda.atomic.cas(taken, 0, 0, number) == 0:
            first = least = most = value
            before = True
            for k in range(n):
                value = x[x0 + k]
                if before and not ((value >= low and value <= high) or value == ignored):
                    first, before = value, False
                if value < least or value != value:
                    least = value
                if value > most or value != value:
                    most = value
            at = 8 // x.itemsize
            found[at], found[at + 1], found[at + 2] = first, least, most
            cuda.threadfence_system()  # whoever sees the rule sees its numbers
            rule[0] = number


def inside(x: Array, low: Any, high: Any, error: type[Exception], text: str, ignored: Any = None) -> tuple[Array, bool]:
    """x, where low <= x <= high or x == ignored everywhere, and whether it is known that nothing is ignored; otherwise `error` is raised.

    In `text` {first}, {least} and {most} stand for the first number that is wrong, and for the least and the greatest of all.  Integers come back
    as int64, with `low` in the place of wrong ones.
    """
    if not x.size:
        return x, True
    if high < low and ignored is None:  # all are wrong, and no number is left for the kernel to go by
        host = x.get()
        raise error(text.format(first=host.reshape(-1)[0].item(), least=host.min().item(), most=host.max().item()))
    if not _trouble:
        _trouble.append(_Trouble())
    trouble = _trouble[0]
    whole = x.dtype.kind != "f"
    if whole:
        x = x.astype(np.int64, copy=False)
    if order_of(x) is None:  # type: ignore[arg-type]
        x = contiguous(x)
    y = empty_like(x) if whole else x
    number = trouble.number(error, text, x.dtype)
    _inside[x.dtype](
        x.size, x.size, x.flat, x.offset, y.flat, int(whole), low, high, low if ignored is None else ignored, number, trouble.taken.flat,
        driver.typed(trouble.block, np.dtype(np.int64)), driver.typed(trouble.block, x.dtype),
    )  # fmt: skip
    if AT_ONCE or high < low:  # nothing could take the place of what is wrong
        driver.wait()
        trouble.look("")
    return y, ignored is None
