"""The whole way of a launch on a machine without a GPU: Numba, its linker, cuda.bindings; only the driver, `libcuda.c`, is made for the tests."""

import ctypes.util
import os
import shutil
import subprocess
from pathlib import Path

import pytest

pytest.importorskip("numba_cuda", reason="the compiler, numba-cuda[cu13], is not installed")
pytestmark = [
    pytest.mark.cpu,  # in processes of their own
    pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler"),
    pytest.mark.skipif(ctypes.util.find_library("cuda") is not None, reason="this machine has a driver"),
]

HEAD = """
import ctypes, json, threading
import numpy as np
from convkit import device
device.check("cuda")
from convkit_kernels.cuda import driver, launch, memory
from convkit_kernels.cuda.launch import cuda, kernel

class Last(ctypes.Structure):
    _fields_ = [
        ("kernel", ctypes.c_char_p), ("grid", ctypes.c_uint32 * 3), ("block", ctypes.c_uint32 * 3), ("shared", ctypes.c_uint32),
        ("stream", ctypes.c_void_p), ("bytes", ctypes.c_int), ("data", ctypes.c_ubyte * 4096), ("extended", ctypes.c_int),
    ]

fake = ctypes.CDLL("libcuda.so.1")
fake.fake_last.restype = ctypes.POINTER(Last)

def last():
    found = fake.fake_last().contents
    return found.kernel.decode(), list(found.grid), list(found.block), found.shared, found.stream, bytes(found.data)[: found.bytes].hex()
"""


@pytest.fixture
def fake(python, tmp_path):
    """`fake(code)`: what a process prints whose driver is the tests' own."""
    source, library = Path(__file__).with_name("libcuda.c"), tmp_path / "libcuda.so.1"
    made = subprocess.run(["cc", "-shared", "-fPIC", "-w", "-o", library, source, "-ldl"], capture_output=True, text=True)
    if "fatal error" in made.stderr:  # what is included is not there
        pytest.skip(f"the C compiler has no headers: {made.stderr.splitlines()[0]}")
    assert not made.returncode, made.stderr
    path = os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("LD_LIBRARY_PATH")]))
    options = {"NUMBA_ENABLE_CUDASIM": None, "CONVKIT_TEST_DEVICE": None, "CONVKIT_CACHE_DIR": str(tmp_path / "cache")}
    script = tmp_path / "script.py"

    def run(code):
        script.write_text(HEAD + code)
        return python(f"import runpy; runpy.run_path({str(script)!r})", **{**options, "LD_LIBRARY_PATH": path}).stdout.splitlines()

    return run


def test_a_launch_is_the_one_that_numba_makes(fake):
    """The same function, grid, block, stream and bytes; from a kernel just compiled, then from one that the cache has kept."""
    code = """
@kernel("iTtIiJjB?uDdFf")
def everything(n, x, t, i, i0, j, j0, bytes_, truths, seed, d, d0, f, f0):
    for k in range(cuda.grid(1), n, cuda.gridsize(1)):
        x[k] = t * d[k] + f[k] + i[k] + j[k] + bytes_[k] + truths[k] + i0 + j0 + d0 + f0 + (seed & 1)

family = everything[np.dtype(np.float32)]
kinds = ("float32", "int64", "int32", "uint8", "bool", "float64", "float32")
x, i, j, b, t, d, f = (memory.empty((100,), kind).flat for kind in kinds)
args = 5, x, 0.1, i, -(2**63), j, -(2**31), b, t, 2**64 - 1, d, float("-inf"), f, -0.0

def numbas(a):
    if not isinstance(a, driver.Flat):
        return a
    return cuda.from_cuda_array_interface({"shape": (a.size,), "strides": None, "typestr": a.dtype.str, "data": (a.address, False), "version": 3})

family.blocks((3, 2), (32, 4), *args)
ours = last()
family._compiled.launch(tuple(map(numbas, args)), (3, 2, 1), (32, 4, 1), driver.module().cudadrv.driver._to_core_stream(0))
print(ours == last(), json.dumps(ours[1:5]), len(ours[5]) // 2, fake.fake_launches(), family.layout.sizes)
"""
    sizes = [8, *[8] * 7, 4, *[8] * 7, 8, *[8] * 7, 4, *[8] * 7, *[8] * 7, 8, *[8] * 7, 8, *[8] * 7, 4]
    for _ in range(2):
        assert fake(code) == [f"True [[3, 2, 1], [32, 4, 1], 0, null] {sum(sizes)} 2 {sizes}"]


def test_operations_threads_and_errors(fake):
    code = """
import convkit
x = convkit.ones(3, 4, device="cuda")
y = (x * 2).sum()
before = fake.fake_launches(), fake.fake_entered()

def run():
    x * 2
    x * 2

there = threading.Thread(target=run)
there.start()
there.join()
run()
print(before[0] > 1, fake.fake_launches() - before[0], fake.fake_entered() - before[1])
fake.fake_fail(701)
try:
    x * 2
except RuntimeError as error:
    print(error)
"""
    counts, error = fake(code)
    assert counts == "True 4 1"
    assert error.startswith("cuda: elementwise._mul_two") and error.endswith("on 1 blocks of 256 threads: CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES")


def test_a_replay_is_the_launches_of_the_step(fake):
    """Node by node the same functions, grids, blocks and bytes as when the step was recorded, in one call; before it, the random counter."""
    code = """
import gc
from convkit_kernels.cuda.graph import Recording, counter

@kernel("iTtuI")
def added(n, x, t, offset, base):
    for k in range(cuda.grid(1), n, cuda.gridsize(1)):
        x[k] += t

every = []

@ctypes.CFUNCTYPE(None, ctypes.POINTER(Last))
def tell(launch):
    found = launch.contents
    every.append((found.kernel, tuple(found.grid), tuple(found.block), found.shared, found.stream, bytes(found.data[: found.bytes])))

fake.fake_tell(tell)
add = added[np.dtype(np.float32)]
found = memory.empty((1000,), np.float32)
with Recording(seed=3, offset=40) as recording:
    made = memory.empty((10,), np.float32)
    add(10, 10, made.flat, 0.5, *[n if i == 0 else n.flat for i, n in enumerate(counter(3, 41))])
    add.blocks((2, 3), 64, 7, found.flat, 0.25, 0, recording._counter.flat)
recorded = every[-2:]
print(len(recording.launches), recording.trouble, recording.draws, fake.fake_graphs())
for offset in (50, 60):
    every.clear()
    recording.replay(offset)
    print(len(every), every[1:] == recorded, int.from_bytes(every[0][-1][-8:], "little"), fake.fake_graph_launches(), fake.fake_graphs())
print([launch[1:3] for launch in recorded])
recording.drop("enough")
gc.collect()
print(fake.fake_graphs())
"""
    assert fake(code) == [
        "2 None 2 0", "3 True 50 1 1", "3 True 60 2 1", "[((1, 1, 1), (256, 1, 1)), ((2, 3, 1), (64, 1, 1))]", "0"
    ]  # fmt: skip


def test_what_is_sent_is_copied_from_memory_that_the_gpu_reads_by_itself(fake):
    """Large arrays in parts; the memory serves again once an event has told that it was read."""
    code = """
driver._Staging.HALF = 4096
rng = np.random.default_rng(0)
there = []
for size in (1, 300, 4096, 5000, 20_000, 0, 7):
    here = rng.integers(0, 255, size).astype(np.uint8)
    there.append((here, memory.asarray(here.copy())))
    print(fake.fake_copies(), fake.fake_turns())
print(all(np.array_equal(here, a.get()) for here, a in there))
"""
    assert fake(code) == ["1 0", "2 0", "4 0", "6 1", "12 6", "12 6", "13 6", "True"]


def test_what_a_check_finds_is_read_from_memory_of_the_host(fake):
    """The memory that the kernel is given is that at which the host looks, after it has waited; what a kernel would write is written here."""
    code = """
import convkit
from convkit.nn import functional as F
from convkit_kernels.cuda import checks
x, t = convkit.zeros(2, 3).to("cuda"), convkit.tensor([1, 3]).to("cuda")
loss = F.cross_entropy(x, t)
loss.item()
trouble = checks._trouble[0]
numbers = (ctypes.c_int64 * 4).from_address(driver.address(driver.typed(trouble.block, np.dtype(np.int64))))
numbers[:] = 1, 3, 1, 3
taken = (ctypes.c_int64 * 1).from_address(trouble.taken.address)
taken[0] = 1
try:
    loss.item()
except IndexError as error:
    print(error)
print(*numbers, *taken)
loss.item()
"""
    error, numbers = fake(code)
    assert error.startswith("cross_entropy: targets must be classes 0 to 2 (or ignore_index -100), got 3 (noticed when the host next waited")
    assert numbers == "0 0 0 0 0"
