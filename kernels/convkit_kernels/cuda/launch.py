"""Kernels and their launch: which types they are compiled for, and how many threads run them.

    @kernel("iTiTi")                                  one letter for each argument: T and t stand for the dtype, capitals for arrays
    def _copy(n, x, x0, y, y0): ...

    _copy[x.dtype](n, n, x.flat, x.offset, ...)       n elements of work, then the arguments

Types are declared, not found out at each launch, so that a launch takes the same short way every time, and so that the tests can compile
every kernel for every GPU on a machine that has none.
"""

from __future__ import annotations

import functools
import os
import types as python_types
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numba
import numpy as np
from numba import types

from . import driver, simulator
from .compiled import compiled as compile_kernel
from .parameters import Layout, Parameters, layout

cuda = driver.module()
SIMULATED = driver.is_simulated()
if SIMULATED:
    simulator.hasten()

# Threads of a block where a kernel does not say otherwise.  The simulator's threads are Python's, and cost as much as many elements.
THREADS = 4 if SIMULATED else 256
# Blocks of a kernel whose threads walk over the work: enough to fill a large GPU several times over.
BLOCKS = 2 if SIMULATED else 2048

# Launches only queue work: an error shows where somebody next waits.  With CONVKIT_CUDA_SYNC=1 it shows at the operation that caused it.
WAIT = os.environ.get("CONVKIT_CUDA_SYNC", "0") not in ("", "0")
# Elements that the simulator leaves to one thread.
FEW = 24 if SIMULATED else 0

FLOATS = (np.dtype(np.float32), np.dtype(np.float64))
_LETTERS = {
    "i": types.int64, "I": types.int64[::1], "j": types.int32, "J": types.int32[::1],
    "B": types.uint8[::1], "?": types.boolean[::1], "u": types.uint64,
    "d": types.float64, "D": types.float64[::1], "f": types.float32, "F": types.float32[::1],
}  # fmt: skip


class Launch(NamedTuple):
    """What the driver needs for a launch, or for a node of a graph; it reads `parameters.address`, and no dynamic shared memory."""

    function: Any  # CUfunction
    grid: tuple[int, int, int]
    threads: tuple[int, int, int]
    parameters: Parameters


class Kernel:
    """A kernel for arguments of the given types; `capability`: of the GPUs that can run it, at least."""

    def __init__(self, function: Callable, argument_types: Sequence[Any], registers: int | None = None, capability: tuple[int, int] = (0, 0)):
        self.function, self.types, self.registers, self.capability = function, tuple(argument_types), registers, capability

    def __repr__(self) -> str:
        return f"{self.function.__module__.rsplit('.', 1)[-1]}.{self.function.__qualname__}({', '.join(map(str, self.types))})"

    def __call__(self, count: int, *args: Any) -> None:
        """Run a kernel that walks over `count` elements: `for i in range(cuda.grid(1), count, cuda.gridsize(1))`."""
        if count:
            self.blocks(min(BLOCKS, -(-count // THREADS)), THREADS if count > FEW or WAIT else 0, *args)

    def blocks(self, grid: Any, threads: Any, *args: Any) -> None:
        """Run `grid` blocks of `threads` threads each."""
        if driver.recording is not None:
            driver.recording.launched(self, grid, threads, args)
        self.run(grid, threads, args)

    def run(self, grid: Any, threads: Any, args: tuple) -> None:
        """A launch; with 0 threads, of a single one that does all the work, in the simulator."""
        try:
            if not SIMULATED:
                ready = self.prepared(grid, threads, args)
                driver.launch(ready.function, ready.grid, ready.threads, ready.parameters.address)
                self.layout.free(ready.parameters)
            elif threads:
                with simulator.lock:
                    self._compiled[grid, threads](*args)
            else:
                self._alone(*args)
            if WAIT:
                driver.wait()
        except Exception as error:
            if SIMULATED and not WAIT:
                raise  # a debugger of the kernel's wants the error itself
            raise RuntimeError(f"cuda: {self!r} on {grid} blocks of {threads} threads: {error}") from error

    @functools.cached_property
    def _compiled(self) -> Any:
        return cuda.jit(_silent(self.function)) if SIMULATED else compile_kernel(self.function, self.types, self.registers)

    @functools.cached_property
    def _alone(self) -> Any:
        return simulator.alone(self.function)

    # ---------------------------------------------------------------------------------------- on a GPU
    @functools.cached_property
    def layout(self) -> Layout:
        """Of the parameters."""
        return layout(self.types)

    @functools.cached_property
    def bound(self) -> Any:
        """The driver's handle of the compiled kernel."""
        return driver.function(self._compiled, self.layout.sizes)

    def prepared(self, grid: Any, threads: Any, args: tuple) -> Launch:
        """A launch as the driver takes it; its parameters are the caller's until `layout.free`."""
        return Launch(self.bound, _three(grid), _three(threads), self.layout.filled(args))


def _three(n: Any) -> tuple[int, int, int]:
    return (*n, 1, 1)[:3] if isinstance(n, tuple) else (n, 1, 1)


class Family(dict[np.dtype, Kernel]):
    """A kernel for each dtype T: `family[x.dtype](count, ...)`."""

    def __init__(self, function: Callable, letters: str, dtypes: Sequence[Any], registers: int | None, capability: tuple[int, int] = (0, 0)):
        super().__init__()
        self.capability = capability
        self.function, self.letters, self.dtypes, self.registers = function, letters, tuple(map(np.dtype, dtypes)), registers

    def __missing__(self, dtype: np.dtype) -> Kernel:
        number = numba.from_dtype(dtype)
        kinds = [number[::1] if c == "T" else number if c == "t" else _LETTERS[c] for c in self.letters]
        found = self[dtype] = Kernel(self.function, kinds, self.registers, self.capability)
        return found


def kernel(letters: str, dtypes: Sequence[Any] = FLOATS, registers: int | None = None) -> Callable[[Callable], Family]:
    """Decorator that makes a `Family`."""
    return lambda function: Family(function, letters, dtypes, registers)


def _silent(function: Callable) -> Callable:
    """For the simulator: without NumPy's warnings of overflow and the like, which a GPU does not give."""
    errors = np.errstate

    def run(*args):
        with errors(all="ignore"):
            function(*args)

    # The simulator puts its own `cuda` into the globals of what it runs.
    return python_types.FunctionType(run.__code__, function.__globals__, function.__name__, None, run.__closure__)
