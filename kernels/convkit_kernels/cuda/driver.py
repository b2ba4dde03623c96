"""The only module that imports Numba's CUDA target, and all that is asked of the driver.

    module()         what kernels are written with: `cuda.grid`, `cuda.shared.array`, `cuda.syncthreads` ...
    is_simulated()   do kernels run in Numba's simulator: as Python, on this machine's own memory?

A process has the simulator or a GPU, not both: `NUMBA_ENABLE_CUDASIM=1` in its environment, or `numba.config.ENABLE_CUDASIM = 1` before this package
is imported, asks for the simulator.  A kernel can be stepped through there with any Python debugger.

numba-cuda is maintained, but no longer developed, since the middle of 2026; numba-cuda-mlir follows it.  A move takes this module and
`launch.py`: the kernels keep to arrays and numbers as arguments, `cuda.grid`, shared and local arrays of constant shape, `syncthreads`, and
intrinsics of inline PTX, which both compile.
"""

from __future__ import annotations

import ctypes
import functools
import importlib.metadata
import threading
import warnings
import weakref
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numba
import numpy as np

# What takes note of launches and copies at the moment: a `graph.Recording`, or nothing.
recording: Any = None


@functools.cache
def module() -> Any:
    """numba.cuda."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the copy inside Numba says that it moved to the package numba-cuda
        from numba import cuda
    numba.config.CUDA_LOW_OCCUPANCY_WARNINGS = 0  # a small array fills no GPU, and nobody can help that
    return cuda


@functools.cache
def is_simulated() -> bool:
    """Does this process simulate its GPU?"""
    return hasattr(module(), "simulator") and bool(numba.config.ENABLE_CUDASIM)


def trouble() -> str | None:
    """Why there is no usable GPU, and what would help; None if there is one."""
    if is_simulated():
        return None
    cuda = module()
    try:
        count = len(cuda.gpus)
    except Exception as error:  # the driver says anything from "no such library" to "too old"
        found = " ".join(str(error).split()).rstrip(" :")
        return f"no NVIDIA driver that works was found ({found}); install or update it"
    if not count:
        return "the driver finds no NVIDIA GPU"
    able, least = tuple(cuda.gpus[0].compute_capability), _least_capability()
    if able >= least:
        return None
    return (
        f"the GPU has compute capability {able[0]}.{able[1]}, and the installed compiler makes code for {least[0]}.{least[1]} and later; "
        "the one of convkit[cuda12] takes some older ones"
    )


def _least_capability() -> tuple[int, int]:
    """Of the GPUs that the compiler makes code for."""
    from numba.cuda.cudadrv import nvrtc

    return nvrtc.get_lowest_supported_cc()


def name() -> str:
    """The device's name in convkit."""
    return "cuda:sim" if is_simulated() else "cuda:0"


@functools.cache
def capability() -> tuple[int, int]:
    """The GPU's compute capability; the simulator can do what any can."""
    return (99, 0) if is_simulated() else tuple(module().get_current_device().compute_capability)


def description() -> str:
    """What the device is, for people."""
    if is_simulated():
        return "Numba's CUDA simulator"
    device = module().get_current_device()
    found = device.name.decode() if isinstance(device.name, bytes) else device.name
    return f"{found} (compute capability {'.'.join(map(str, device.compute_capability))})"


def version() -> str:
    """Of the compiler."""
    return importlib.metadata.version("numba-cuda")


def caches() -> tuple[Any, Any]:
    """Numba's classes that keep compiled kernels."""
    from numba.cuda.dispatcher import CUDACache, CUDACacheImpl

    return CUDACache, CUDACacheImpl


# ---------------------------------------------------------------------------------------- launches
@functools.cache
def bindings() -> Any:
    """The driver's functions, by the package through which Numba calls them, too."""
    from cuda.bindings import driver

    return driver


# Errors of kernels that are running: any later call is told of them, and all calls from then on.
_BEFORE = {700, 702, 710, 714, 715, 716, 717, 718, 719}


def check(result: tuple) -> Any:
    """What a function of the driver's gave; RuntimeError with the name of its error."""
    if result[0] != 0:
        before = int(result[0]) in _BEFORE
        raise RuntimeError(result[0].name + " in a kernel launched before; with CONVKIT_CUDA_SYNC=1 it shows at the operation" * before)
    return result[1] if len(result) == 2 else result[1:]


def function(compiled: Any, sizes: Sequence[int]) -> Any:
    """The CUfunction of a kernel that Numba has compiled, in its context; RuntimeError if its parameters have other sizes."""
    _enter()
    driver = bindings()
    try:
        library, simple = compiled.library, not compiled.cooperative and not compiled.debug
        get = library.get_cufunc
    except AttributeError as error:
        raise RuntimeError(f"numba-cuda {version()} does not tell what the driver calls a kernel ({error}); versions 0.30 do") from error
    handle = get().handle
    found = check(driver.cuKernelGetFunction(handle)) if isinstance(handle, driver.CUkernel) else driver.CUfunction(int(handle))
    if not simple or check(driver.cuDriverGetVersion()) >= 12040 and _sizes(found) != list(sizes):  # what tells sizes came with CUDA 12.4
        raise RuntimeError(f"numba-cuda {version()} gives a kernel parameters of other sizes than {list(sizes)}, or more to do; versions 0.30 do not")
    return found


def _sizes(function: Any) -> list[int]:
    found: list[int] = []
    while (told := bindings().cuFuncGetParamInfo(function, len(found)))[0] == 0:
        found.append(told[2])
    return found


class _Thread(threading.local):
    entered = False


_thread = _Thread()


def _enter() -> None:
    """The driver knows a context for each thread; Numba makes its own the thread's, as for its own launches."""
    module().current_context()
    _thread.entered = True


def launch(function: Any, grid: Sequence[int], threads: Sequence[int], parameters: int) -> None:
    """Queue a kernel on the stream on which Numba queues copies; `parameters`: where the pointers to them are, which are read now."""
    if not _thread.entered:
        _enter()
    check(bindings().cuLaunchKernel(function, *grid, *threads, 0, _stream(), parameters, 0))


class Graph:
    """Launches one after the other, which the driver makes in one call: (function, grid, threads, where the pointers to its parameters are) each.

    The driver copies parameters when it is told of them.
    """

    def __init__(self, launches: Iterable[tuple[Any, Sequence[int], Sequence[int], int]]):
        _enter()
        driver = bindings()
        graph = check(driver.cuGraphCreate(0))
        try:
            before: list[Any] = []
            for function, grid, threads, parameters in launches:
                node = driver.CUDA_KERNEL_NODE_PARAMS()
                node.func, node.kernelParams, node.sharedMemBytes = function, parameters, 0
                node.gridDimX, node.gridDimY, node.gridDimZ = grid
                node.blockDimX, node.blockDimY, node.blockDimZ = threads
                before = [check(driver.cuGraphAddKernelNode(graph, before, len(before), node))]
            self._ready = check(driver.cuGraphInstantiate(graph, 0))
        finally:
            driver.cuGraphDestroy(graph)
        weakref.finalize(self, driver.cuGraphExecDestroy, self._ready)  # if it is under way, when that is over

    def launch(self) -> None:
        """Queue them on the stream of all other work."""
        if not _thread.entered:
            _enter()
        check(bindings().cuGraphLaunch(self._ready, _stream()))


@functools.cache
def _stream() -> Any:
    return bindings().CUstream(0)


# ------------------------------------------------------------------------------------------ memory
class Block:
    """Memory of the device, `size` bytes from `address` on; `memory` owns it, and `bytes` is the place of it for views, which nobody reads."""

    __slots__ = ("memory", "address", "size", "bytes", "flats")

    def __init__(self, memory: Any, address: int, size: int):
        self.memory, self.address, self.size = memory, address, size
        self.bytes: Any = (ctypes.c_uint8 * size).from_address(address) if size else b""
        self.flats: dict[np.dtype, Any] = {}  # what kernels take


def allocate(size: int) -> Block:
    """Memory of the driver's."""
    memory = module().device_array(size, np.uint8)
    return Block(memory, memory._ary.ctypes.data if is_simulated() else int(memory.device_ctypes_pointer.value), size)


def free() -> None:
    """Give back to the driver the blocks that nobody holds; Numba keeps some until there are many."""
    if not is_simulated():
        module().current_context().memory_manager.deallocations.clear()


def is_full(error: Exception) -> bool:
    """Did an allocation fail because the device has no memory left?"""
    return int(getattr(error, "code", 2)) == 2  # CUDA_ERROR_OUT_OF_MEMORY


def borrow(address: int, size: int, owner: Any) -> Block:
    """Memory of somebody else, which lives as long as `owner`."""
    if not is_simulated():
        return Block(owner, address, size)
    memory: Any = (ctypes.c_uint8 * size).from_address(address) if size else b""
    return Block(type(module().device_array(0, np.uint8))(np.frombuffer(memory, np.uint8)), address, size)


class Flat:
    """GPU memory as a flat array that kernels take; whoever made it has the memory."""

    __slots__ = ("address", "size", "dtype")

    def __init__(self, address: int, size: int, dtype: np.dtype):
        self.address, self.size, self.dtype = address, size, dtype

    def __repr__(self) -> str:
        return f"{self.dtype}[{self.size}] at {self.address:#x}"


def typed(block: Block, dtype: np.dtype) -> Any:
    """Memory as a flat array that kernels take."""
    count = block.size // dtype.itemsize
    if is_simulated():
        return type(block.memory)(block.memory._ary[: count * dtype.itemsize].view(dtype))
    return Flat(block.address, count, dtype)


def address(flat: Any) -> int:
    """Where a flat array begins."""
    return flat._ary.ctypes.data if is_simulated() else flat.address


def to_device(block: Block, data: np.ndarray) -> None:
    """Copy bytes from the host to the beginning of a block; the host's may change as soon as this returns."""
    if recording is not None:
        recording.refuse("sends numbers to the device")
    if is_simulated():
        block.memory._ary[: data.size] = data
    else:
        _fits(block, 0, data)
        _staging().send(block.address, data)


def to_host(block: Block, offset: int, data: np.ndarray) -> None:
    """Copy bytes from a block to the host, when all work before is done."""
    if recording is not None:
        recording.refuse("reads from the device")
    if is_simulated():
        data[...] = block.memory._ary[offset : offset + data.size]
    else:
        _fits(block, offset, data)
        check(bindings().cuMemcpyDtoH(data.ctypes.data, block.address + offset, data.size))
    _look()


def _fits(block: Block, offset: int, data: np.ndarray) -> None:
    if data.dtype != np.uint8 or not data.flags.c_contiguous or offset + data.size > block.size:
        raise ValueError(f"cuda: {data.dtype} {data.shape} are no {block.size - offset} bytes in a row")
    if not _thread.entered:
        _enter()


class _Staging:
    """Memory of the host that the GPU reads by itself: a copy from it is queued, where from other memory the driver copies when all work is done.

    It is filled one half after the other.  A half is filled again when the GPU has read it, which it tells by an event.
    """

    HALF = 1 << 24

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._memory = module().pinned_array(2 * self.HALF, np.uint8)
        self._address = self._memory.ctypes.data
        self._events = [check(bindings().cuEventCreate(2)) for _ in range(2)]  # 2: that keep no time
        self._half = self._used = 0

    def send(self, to: int, data: np.ndarray) -> None:
        """Queue a copy of bytes to an address on the device."""
        with self._lock:
            done = 0
            while done < data.size:
                if self._used == self.HALF:
                    check(bindings().cuEventRecord(self._events[self._half], _stream()))
                    self._half, self._used = 1 - self._half, 0
                    check(bindings().cuEventSynchronize(self._events[self._half]))
                at, size = self._half * self.HALF + self._used, min(data.size - done, self.HALF - self._used)
                self._memory[at : at + size] = data[done : done + size]
                check(bindings().cuMemcpyHtoDAsync(to + done, self._address + at, size, _stream()))
                self._used = min(self.HALF, self._used + -(-size // 256) * 256)
                done += size


@functools.cache
def _staging() -> _Staging:
    return _Staging()


def mapped(size: int) -> tuple[Block, np.ndarray]:
    """Memory of the host's in which kernels write, and the bytes as the host reads them when work is done."""
    if is_simulated():
        block = allocate(size)
        return block, block.memory._ary
    memory = module().mapped_array(size, np.uint8)
    return Block(memory, int(memory.device_ctypes_pointer.value), size), np.asarray(memory)


def shared() -> None:
    """To be called where memory is shared with another library, whose launches nobody takes note of."""
    if recording is not None:
        recording.refuse("shares memory with another library")


def memory() -> str:
    """What the driver says of the device's memory."""
    if is_simulated():
        return "the device is simulated"
    free, total = module().current_context().get_memory_info()
    return f"{free / 2**20:.0f} of the device's {total / 2**20:.0f} MiB are free"


def wait() -> None:
    """Wait until all work is done."""
    module().synchronize()


def synchronize() -> None:
    """Wait until all work is done, and look whether it went well."""
    wait()
    _look()


# What is to be looked at whenever the host has waited: whether kernels have found anything wrong.
noticed: list[Callable[[], None]] = []


def _look() -> None:
    for look in noticed:
        look()
