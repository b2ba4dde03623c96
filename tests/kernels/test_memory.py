"""The process's memory settings: arrays start at a cache line, in every thread that launches kernels, and nothing of NumPy breaks."""

import os
import subprocess
import sys
import threading

import numpy as np
import pytest

from convkit_kernels import cpu
from convkit_kernels.cpu import memory, runtime

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="arrays are aligned where the C library is POSIX's")


def starts_at_line(a: np.ndarray) -> bool:
    return a.__array_interface__["data"][0] % memory.LINE == 0


@pytest.mark.parametrize("count", [1, 3, 100, 255, 256, 1000, 100_000, 5_000_000])
def test_new_arrays_start_at_a_line(count):
    runtime.get_num_threads()  # the module is imported
    for make in (np.empty, np.zeros, np.ones):
        assert starts_at_line(make(count, np.float32))
    assert not np.zeros(count).any()


def test_resizing_keeps_values_and_alignment():
    a = np.arange(1000)
    for count in (5000, 100_000, 70, 3):
        a.resize(count, refcheck=False)
        n = min(count, 70 if count == 3 else count, 1000)
        assert starts_at_line(a) and np.array_equal(a[:n], np.arange(n))


@pytest.mark.parametrize("kind", ["quicksort", "mergesort", "heapsort"])
def test_sorting_uses_its_scratch_memory(kind):
    rng = np.random.default_rng(0)
    for shape in ((7,), (300,), (20, 9), (5000,)):
        a = rng.standard_normal(shape)
        for axis in range(len(shape)):
            order = np.argsort(a, axis, kind)
            assert np.array_equal(np.take_along_axis(a, order, axis), np.sort(a, axis, kind))
        assert np.median(a) == np.sort(a, None)[a.size // 2 - 1 + a.size % 2 : a.size // 2 + 1].mean()


def test_impossible_size_is_a_memory_error():
    with pytest.raises(MemoryError):
        np.empty(1 << 50, np.float64)


def test_a_thread_that_launches_kernels_gets_aligned_arrays():
    found = []

    def work():
        cpu.matmul(np.ones((8, 8), np.float32), np.ones((8, 8), np.float32))
        found.append(all(starts_at_line(np.empty(n)) for n in (5, 5000)))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [True]


def test_arrays_outlive_the_thread_and_the_handler_that_made_them():
    code = (
        "import numpy as np; before = np.ones(5000); import convkit.threads, convkit_kernels.cpu.runtime\n"
        "after = np.ones(5000); del before; kept = [np.ones(n) for n in (1, 100, 10**6)]; print(int(after.sum()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "5000" and not done.stderr


def test_the_setting_can_be_left_alone():
    code = "import numpy as np, convkit_kernels.cpu.runtime; from numpy._core.multiarray import get_handler_name; print(get_handler_name())"
    env = {**os.environ, "CONVKIT_MALLOC": "system"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env)
    assert done.stdout.strip() == "default_allocator"
