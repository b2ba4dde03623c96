"""A launch up to the driver: the bytes of each parameter, and what the driver is asked for; see `compiling.py` for the same of every kernel."""

import ctypes
import math
import struct
import threading
from types import SimpleNamespace

import numpy as np
import pytest
from numba import types

from tests import backend

backend.gpu()

from convkit_kernels.cuda import driver, launch, parameters  # noqa: E402
from tests.cuda.compiling import packed  # noqa: E402


def one(kind, value):
    """The bytes of a parameter with this value."""
    layout = parameters.Layout([kind])
    (found,) = packed(layout.filled([value]), layout.sizes)
    return found


FLOATS = [0.1, -0.0, math.inf, -math.inf, 1e-46, 1e-40, 16777217, 2**60 + 1, True, np.float32(0.1), np.float64(0.1), np.int64(-3), np.float16(0.1)]


@pytest.mark.parametrize("value", [*FLOATS, 3.4028235677973362e38, 3.4028235677973366e38, -1e300])  # the largest float32, and what is beyond it
def test_float32(value):
    with np.errstate(over="ignore"):
        assert one(types.float32, value) == np.float32(value).tobytes() == bytes(ctypes.c_float(value))


@pytest.mark.parametrize("value", [*FLOATS, 1e300, 5e-324])
def test_float64(value):
    assert one(types.float64, value) == np.float64(value).tobytes() == bytes(ctypes.c_double(value))


def test_not_a_number_stays_one():
    assert math.isnan(struct.unpack("f", one(types.float32, math.nan))[0]) and math.isnan(
        struct.unpack("d", one(types.float64, np.float32("nan")))[0]
    )


@pytest.mark.parametrize("name", ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"])
def test_whole_numbers(name):
    kind, limits = getattr(types, name), np.iinfo(name)
    for value in (limits.min, limits.max, 0, 1, True, np.int8(7), limits.dtype.type(limits.max)):
        assert one(kind, value) == np.array(value, name).tobytes()
    for value in (limits.min - 1, limits.max + 1, 1.0, np.float32(1), "1", None, np.bool_(True), 1j):
        with pytest.raises(TypeError, match=f"cuda: a kernel for {name} was given"):
            one(kind, value)


@pytest.mark.parametrize("value", [True, False, np.True_, np.False_, 1, 0])
def test_booleans_are_a_byte(value):
    assert one(types.boolean, value) == bytes([bool(value)])


@pytest.mark.parametrize("name", ["float32", "float64", "int64", "int32", "uint8", "boolean"])
def test_an_array_is_seven_parameters(name):
    kind, dtype = getattr(types, name), np.dtype("bool" if name == "boolean" else name)
    layout = parameters.Layout([kind[::1], types.int64])
    for address, size in ((0x7F0012345600, 10**11), (2**64 - 512, 3), (0, 0)):
        found = packed(layout.filled([driver.Flat(address, size, dtype), -1]), layout.sizes)
        numbers = (0, 0, size, dtype.itemsize, address, size, dtype.itemsize)
        assert found == [*(struct.pack("Q", n) for n in numbers), struct.pack("q", -1)]


def test_a_tuple_is_its_numbers():
    layout = parameters.Layout([types.UniTuple(types.uint32, 3), types.float32])
    assert packed(layout.filled([(1, 2, 2**32 - 1), 0.5]), layout.sizes) == [struct.pack("I", n) for n in (1, 2, 2**32 - 1)] + [b"\0\0\0?"]
    for wrong in (((1, 2), 0.5), ((1, 2, 3, 4), 0.5), ((1, 2, 3),), ((1, 2, 3), 0.5, 1), (3, 0.5)):
        with pytest.raises(TypeError, match=r"cuda: a kernel for UniTuple\(uint32 x 3\), float32 was given"):
            layout.filled(wrong)


def test_what_kernels_do_not_take_is_refused_when_they_are_made():
    for kind in (types.float32[:], types.float32[:, ::1]):
        with pytest.raises(TypeError, match="kernels take flat arrays"):
            parameters.Layout([kind])
    with pytest.raises(KeyError):
        parameters.Layout([types.complex64])


def test_parameters_belong_to_one_launch_until_they_are_freed():
    layout = parameters.Layout([types.int64])
    first, second = layout.filled([1]), layout.filled([2])
    assert packed(first, [8]) != packed(second, [8])
    layout.free(first)
    assert layout.filled([3]) is first and layout.filled([4]) is not first
    assert packed(second, [8]) == [struct.pack("q", 2)]

    wrong = []

    def run(number):
        for i in range(3000):
            mine = layout.filled([number + i])
            if packed(mine, [8]) != [struct.pack("q", number + i)]:
                wrong.append(number)
            layout.free(mine)

    threads = [threading.Thread(target=run, args=(10**6 * k,)) for k in range(4)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert not wrong


# ------------------------------------------------------------------------------------------ the driver
class Status(int):
    name = "CUDA_ERROR_OF_A_TEST"


class Handle(int):
    pass


class Bindings:
    """Stands for cuda.bindings: takes note of launches."""

    CUkernel, CUfunction, CUstream = type("CUkernel", (Handle,), {}), type("CUfunction", (Handle,), {}), type("CUstream", (Handle,), {})

    def __init__(self, sizes, version=13000):
        self.sizes, self.version, self.status, self.launches, self.bound = sizes, version, Status(0), [], 0

    def cuKernelGetFunction(self, kernel):
        self.bound += 1
        return Status(0), self.CUfunction(kernel + 1)

    def cuDriverGetVersion(self):
        return Status(0), self.version

    def cuFuncGetParamInfo(self, function, i):
        if self.version < 12040:
            raise RuntimeError("Function cuFuncGetParamInfo not found")
        return (Status(0), 8 * i, self.sizes[i]) if i < len(self.sizes) else (Status(1), 0, 0)

    def cuLaunchKernel(self, function, x, y, z, a, b, c, shared, stream, parameters, extra):
        assert type(function) is self.CUfunction and type(stream) is self.CUstream and type(parameters) is int
        self.launches.append((int(function), (x, y, z), (a, b, c), shared, int(stream), packed(parameters, self.sizes), extra))
        return (self.status,)


SIZES = [8, *[8] * 7, 4]


@pytest.fixture
def gpu(monkeypatch):
    """Let kernels be launched as on a GPU; nothing runs."""
    found = Bindings(SIZES)
    compiled = SimpleNamespace(
        cooperative=False, debug=False, library=SimpleNamespace(get_cufunc=lambda: SimpleNamespace(handle=found.CUkernel(0x40)))
    )
    monkeypatch.setattr(launch, "SIMULATED", False)
    monkeypatch.setattr(launch, "FEW", 0)
    monkeypatch.setattr(launch, "compile_kernel", lambda *_: compiled)
    monkeypatch.setattr(driver, "bindings", lambda: found)
    monkeypatch.setattr(driver, "version", lambda: "0.99")
    driver._stream.cache_clear()
    yield SimpleNamespace(bindings=found, compiled=compiled)
    driver._stream.cache_clear()


def walk():
    return launch.Kernel(lambda n, x, factor: None, [types.int64, types.float32[::1], types.float32])


X = driver.Flat(0x7F0000000200, 1000, np.dtype(np.float32))
PARAMETERS = [struct.pack("Q", n) for n in (7, 0, 0, 1000, 4, 0x7F0000000200, 1000, 4)] + [struct.pack("f", 0.5)]


def test_what_the_driver_is_asked_for(gpu):
    kernel = walk()
    kernel(7, 7, X, 0.5)
    kernel.blocks((5, 6), (32, 4), 7, X, 0.5)
    kernel.blocks(np.int64(3), (1, 2, 3), 7, X, 0.5)
    kernel(0, 7, X, 0.5)  # no elements: no launch
    kernel(10**9, 7, X, 0.5)
    T = launch.THREADS
    shapes = [((-(-7 // T), 1, 1), (T, 1, 1)), ((5, 6, 1), (32, 4, 1)), ((3, 1, 1), (1, 2, 3)), ((launch.BLOCKS, 1, 1), (T, 1, 1))]
    assert gpu.bindings.launches == [(0x41, grid, threads, 0, 0, PARAMETERS, 0) for grid, threads in shapes]
    assert gpu.bindings.bound == 1


def test_what_a_graph_is_given(gpu):
    kernel = walk()
    ready, later = (kernel.prepared(5, (2, 3), (n, X, 0.5)) for n in (7, 8))
    assert int(ready.function) == 0x41 and ready.grid == (5, 1, 1) and ready.threads == (2, 3, 1) and not gpu.bindings.launches
    kernel(9, 9, X, 0.5)  # does not write over what was prepared
    assert packed(ready.parameters, SIZES) == PARAMETERS and packed(later.parameters, SIZES)[0] == struct.pack("q", 8)


def test_errors_name_the_kernel_and_its_launch(gpu):
    kernel = walk()
    with pytest.raises(RuntimeError, match=r"cuda: test_parameters\..*\(int64, array\(float32, 1d, C\), float32\) on 1 blocks.* was given \(0.5,"):
        kernel(1, 0.5, X, 0.5)
    assert not gpu.bindings.launches
    gpu.bindings.status = Status(701)
    with pytest.raises(RuntimeError, match=r"cuda: test_parameters\..* on \(2, 3\) blocks of 1024 threads: CUDA_ERROR_OF_A_TEST$"):
        kernel.blocks((2, 3), 1024, 7, X, 0.5)
    gpu.bindings.status = Status(700)  # an illegal address, which this kernel has had no time for
    with pytest.raises(RuntimeError, match="CUDA_ERROR_OF_A_TEST in a kernel launched before; with CONVKIT_CUDA_SYNC=1 it shows at the operation"):
        kernel.blocks((2, 3), 1024, 7, X, 0.5)


def test_each_thread_enters_the_context_once(gpu, monkeypatch):
    entered = []
    monkeypatch.setattr(driver, "module", lambda: SimpleNamespace(current_context=lambda: entered.append(threading.get_ident())))
    monkeypatch.setattr(driver, "_thread", driver._Thread())
    kernel = walk()

    def run():
        for _ in range(3):
            kernel(7, 7, X, 0.5)

    run()
    there = threading.Thread(target=run)
    there.start()
    there.join()
    assert len(gpu.bindings.launches) == 6 and len(set(entered)) == 2 == len(entered)


def test_a_numba_of_other_ways_is_refused(gpu):
    gpu.bindings.sizes = [8] * 9
    with pytest.raises(RuntimeError, match=r"numba-cuda 0.99 gives a kernel parameters of other sizes than \[8, 8, 8, 8, 8, 8, 8, 8, 4\]"):
        walk()(7, 7, X, 0.5)
    gpu.bindings.version, gpu.bindings.sizes = 12020, SIZES  # a driver that does not tell
    walk()(7, 7, X, 0.5)
    gpu.compiled.cooperative = True
    with pytest.raises(RuntimeError, match="or more to do"):
        walk()(7, 7, X, 0.5)
    del gpu.compiled.library
    with pytest.raises(RuntimeError, match=r"numba-cuda 0.99 does not tell what the driver calls a kernel \(.*library"):
        walk()(7, 7, X, 0.5)
    assert len(gpu.bindings.launches) == 1
