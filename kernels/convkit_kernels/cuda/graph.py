"""A recording: the launches of a step of work, noted while it runs, and run again as often as one likes without Python between them.

    with Recording(...) as recording:       the step runs as usual, but for where its memory comes from
        ...
    recording.trouble                       why it cannot be run again: the step reads from the device, sends it numbers, shares its memory
    recording.difference(another)           what two recordings of a step do not have in common
    recording.replay(offset)                the step once more, on what is now in the arrays that it read

A launch is noted with its arguments, addresses and numbers, so a replay finds everything where it was: what the step made for itself lies in memory
of the recording's own, `Private`, where nothing else is ever put as long as the recording lives; what it found is kept alive.  Numbers that the host
computes would stay what they were.  Of these the library has one, the counter of random numbers: while a recording is made, kernels are given it
relative to `offset`, which lies in device memory and is set before each replay.

On a GPU the notes become a CUDA graph, a chain of kernels that the driver launches in one call; in the simulator they are run one by one.  (CUDA can
also record by itself what is queued on a stream.  That forbids much while it lasts, allocation, compiling and copies; notes forbid nothing.)
"""

from __future__ import annotations

import functools
import os
import sys
import threading
import weakref
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numba import types

from . import driver, memory
from .launch import SIMULATED, WAIT, Kernel, cuda, kernel
from .memory import Array, Buffer, overwrite  # noqa: F401 (to put what a replay reads in its place)

_here = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_live: weakref.WeakSet[Recording] = weakref.WeakSet()
making = threading.RLock()  # held by the thread that makes a recording: there is one at a time


class Noted(NamedTuple):
    """A launch: `run` of the kernel; and what is the same if it is made once more in another place: numbers, and which memory."""

    kernel: Kernel
    grid: Any
    threads: Any
    args: tuple
    means: tuple


class Private:
    """Memory for recordings, lent by the pool: what is released serves the recording again and nobody else, until `close`."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._free: dict[int, list[Buffer]] = {}
        self._out: dict[int, Buffer] = {}  # what is in use, by address
        self.closed = False

    def take(self, nbytes: int) -> Buffer:
        """A buffer of at least `nbytes`; MemoryError as of the pool."""
        size = memory.rounded(nbytes)
        with self._lock:
            free = self._free.get(size)
            lent = free.pop() if free else None
        lent = memory.pool.take(size) if lent is None else lent
        with self._lock:
            self._out[lent.address] = lent
        return Buffer(lent.block, size, self)

    def release(self, buffer: Buffer) -> None:
        """Keep the block of a dying buffer for another one; once closed, give it back."""
        with self._lock:
            lent = self._out.pop(buffer.address)
            if not self.closed:
                self._free.setdefault(buffer.size, []).append(lent)

    def close(self) -> None:
        """Give back what is not in use, and the rest when it is released."""
        with self._lock:
            self.closed = True
            self._free.clear()


class Recording:
    """See the module.  Launches of other threads are none of its own.

    Args:
        private: memory to use, of a recording that is not replayed any more; by default new memory.
        seed, offset: of the random numbers that the step draws.
    """

    def __init__(self, private: Private | None = None, seed: int = 0, offset: int = 0):
        self.private: Private | None = Private() if private is None else private
        self.seed, self.offset = seed, offset
        self.draws = 0  # how far the counter of random numbers goes
        self.launches: list[Noted] = []
        self.trouble: str | None = "each launch waits for its end (CONVKIT_CUDA_SYNC=1)" if WAIT else None
        self._kept: dict[int, Buffer] = {}  # what was there before
        self._made: dict[int, int] = {}  # address of what was made: which one in order, the last that was there
        self._count = 0
        self._counter: Array | None = None
        self._graph: driver.Graph | None = None
        self._thread: int | None = None
        self._frame: Any = None

    # ---------------------------------------------------------------------------------- the making
    def __enter__(self) -> Recording:
        if not making.acquire(blocking=False):
            raise RuntimeError("a recording is being made already, by another thread")
        try:
            if driver.recording is not None:
                raise RuntimeError("a recording is being made already")
            nothing()  # not to be made while it lasts
            self._counter = _set(memory.empty((1,), np.int64), self.offset)
        except BaseException:
            making.release()
            raise
        self._thread, self._frame = threading.get_ident(), sys._getframe(1)
        driver.recording = self
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        driver.recording = self._frame = None
        making.release()
        if error is not None:
            self.drop(f"an error: {error}")
        elif self.trouble is None:
            _live.add(self)

    def _mine(self) -> bool:
        return threading.get_ident() == self._thread

    def take(self, nbytes: int) -> Buffer:
        """Memory for an array."""
        if not self._mine():
            return memory.pool.take(nbytes)
        buffer = self.private.take(nbytes)  # type: ignore[union-attr]
        self._count += 1
        self._made[buffer.address] = self._count
        return buffer

    def uses(self, buffer: Buffer) -> None:
        """A kernel is about to be given this memory."""
        if buffer.address not in self._made and self._mine():
            self._kept[buffer.address] = buffer

    def launched(self, kernel: Kernel, grid: Any, threads: Any, args: tuple) -> None:
        """A kernel is launched."""
        if self._mine():
            means = tuple(self._place(a) if isinstance(t, types.Array) else _bits(a) for t, a in zip(kernel.types, args, strict=True))
            self.launches.append(Noted(kernel, grid, threads, args, means))

    def _place(self, array: Any) -> tuple[str, int]:
        address = array.address if isinstance(array, driver.Flat) else driver.address(array)
        if address == self._counter.buffer.address:  # type: ignore[union-attr]
            return "counter", 0
        made = self._made.get(address)
        return ("found", address) if made is None else ("made", made)

    def refuse(self, reason: str) -> None:
        """What happens cannot be repeated by launches."""
        if self._mine() and self.trouble is None:
            self.trouble = f"it {reason} ({_where(self._frame)})"

    def random(self, seed: int, offset: int) -> tuple[int, Array]:
        """(what is to be added to the counter in device memory to get `offset`, that counter)."""
        if seed != self.seed or offset < self.offset:
            self.refuse("draws random numbers from a generator of its own")
        if self.trouble is not None or not self._mine():
            return offset, nothing()
        self.draws = max(self.draws, offset - self.offset + 1)
        return offset - self.offset, self._counter  # type: ignore[return-value]

    def again(self, seed: int = 0, offset: int = 0) -> Recording:
        """Another recording, to be made in the memory of this one, which is not to be replayed any more."""
        other = Recording(self.private, seed, offset)
        self.private, self._graph, self.trouble = None, None, "it was recorded anew"
        _live.discard(self)
        return other

    # --------------------------------------------------------------------------------- what it is
    def made(self, array: Array) -> bool:
        """Was this array's memory taken in the step?"""
        return array.buffer.address in self._made

    def left(self, *known: Array) -> int:
        """How many blocks the step has made that are still in use, other than those of the arrays `known`."""
        own = {a.buffer.address for a in known}
        return sum(address in self._made and address not in own for address in list(self.private._out))  # type: ignore[union-attr]

    def difference(self, other: Recording) -> str | None:
        """What the two do not have in common; None if a replay of one is one of the other."""
        if len(self.launches) != len(other.launches):
            return f"there were {len(self.launches)} launches, now {len(other.launches)}"
        for i, (a, b) in enumerate(zip(self.launches, other.launches, strict=True)):
            if (a.kernel, a.grid, a.threads) != (b.kernel, b.grid, b.threads):
                return f"launch {i} was of {a.kernel!r} ({a.grid} blocks of {a.threads} threads), now of {b.kernel!r} ({b.grid} of {b.threads})"
            at = next((j for j, (u, v) in enumerate(zip(a.means, b.means, strict=True)) if u != v), None)
            if at is not None:
                return f"launch {i}, of {a.kernel!r}, was given another argument {at}"
        if (self.seed, self.draws) != (other.seed, other.draws):
            return f"{self.draws} random arrays were drawn, now {other.draws}, or with another seed"
        return None

    # ------------------------------------------------------------------------------------ again
    def prepare(self) -> None:
        """Let the driver have the launches; RuntimeError if it does not take them.  The first replay does so, too."""
        if self._graph is None and not SIMULATED:
            self._graph = driver.Graph(self._prepared())

    def _prepared(self) -> Iterator[tuple]:
        for launch in self.launches:
            ready = launch.kernel.prepared(launch.grid, launch.threads, launch.args)
            yield ready.function, ready.grid, ready.threads, ready.parameters.address
            launch.kernel.layout.free(ready.parameters)

    def replay(self, offset: int = 0) -> None:
        """The step once more; random numbers are drawn from `offset` on."""
        if self.trouble is not None:
            raise RuntimeError(f"cuda: this recording cannot be replayed: {self.trouble}")
        if self.draws:
            _set(self._counter, offset)  # type: ignore[arg-type]
        self.prepare()
        if self._graph is not None:
            self._graph.launch()
            return
        for launch in self.launches:
            launch.kernel.run(launch.grid, launch.threads, launch.args)

    def drop(self, reason: str) -> None:
        """Never replay it again, and give its memory back."""
        self.trouble = self.trouble or reason
        self.launches, self._kept, self._counter, self._graph = [], {}, None, None
        _live.discard(self)
        self._close()

    def _close(self) -> None:
        if self.private is not None:
            self.private.close()
            self.private = None

    __del__ = _close


def _relief() -> None:
    for recording in list(_live):
        recording.drop("the device had no memory left")


memory.Pool.relief = staticmethod(_relief)


def _bits(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(map(_bits, value))
    return value.hex() if isinstance(value, float) else value if isinstance(value, int) else np.asarray(value).tobytes()


def _where(outermost: Any) -> str:
    """The place inside the frame `outermost` from which the library was called; or in the library, in `forward` if there is one."""
    frame: Any = sys._getframe(1)
    inside: list[tuple[str, str]] = []
    while frame is not None:
        name, function = frame.f_code.co_filename, frame.f_code.co_name
        told = f"{os.path.basename(name)}:{frame.f_lineno}, in {function}"
        if not name.startswith(_here):
            if not frame.f_globals.get("__name__", "").startswith("convkit."):
                return told
            inside.append((function, told))
        frame = None if frame is outermost else frame.f_back
    return next((told for function, told in inside if function in ("forward", "backward")), inside[0][1] if inside else "in a kernel's function")


# ------------------------------------------------------------------------------- the counter in memory
@functools.cache
def nothing() -> Array:
    """The counter of what is not recorded."""
    return _set(memory.empty((1,), np.int64), 0)


def counter(seed: int, offset: int) -> tuple[int, Array]:
    """(a number, a counter in device memory) that together give the `offset` of random numbers."""
    recording = driver.recording
    return (offset, nothing()) if recording is None else recording.random(seed, offset)


@kernel("Ii", [np.int64])
def _write(y, value):
    if cuda.grid(1) == 0:
        y[0] = value


def _set(cell: Array, value: int) -> Array:
    _write[cell.dtype].blocks(1, 1, cell.flat, (value + 2**63) % 2**64 - 2**63)
    return cell
