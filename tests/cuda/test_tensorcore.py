"""Tensor cores: who holds what of an operand, in the simulator, which hands numbers from thread to thread as the PTX ISA says."""

import numpy as np
import pytest

from tests import backend

backend.gpu()
if backend.DEVICE != "cuda":
    pytest.importorskip("greenlet", reason="tensor cores are simulated by greenlets, which are not installed")

from convkit_kernels.cuda import launch, memory, tensorcore, tiles  # noqa: E402
from convkit_kernels.cuda.launch import cuda, kernel  # noqa: E402
from convkit_kernels.cuda.matmul import _plan, matmul  # noqa: E402
from convkit_kernels.cuda.vectors import mma, split  # noqa: E402
from tests.helpers import numbers  # noqa: E402


@kernel("FFF", [np.float32])
def _product(a, b, c):
    # "PTX ISA", matrix fragments for mma.m16n8k8, .tf32: row and column of each register, by groupID and threadID_in_group.
    lane = cuda.threadIdx.x
    group, thread = lane >> 2, lane % 4
    a0, a1 = split(a[group * 8 + thread])[0], split(a[(group + 8) * 8 + thread])[0]
    a2, a3 = split(a[group * 8 + thread + 4])[0], split(a[(group + 8) * 8 + thread + 4])[0]
    b0, b1 = split(b[thread * 8 + group])[0], split(b[(thread + 4) * 8 + group])[0]
    first, second = group * 8 + thread * 2, (group + 8) * 8 + thread * 2
    c0, c1, c2, c3 = mma(a0, a1, a2, a3, b0, b1, c[first], c[first + 1], c[second], c[second + 1])
    c[first], c[first + 1], c[second], c[second + 1] = c0, c1, c2, c3


def test_one_instruction_multiplies_matrices():
    random = np.random.default_rng(0)
    a, b, c = (random.integers(-9, 9, shape).astype(np.float32) for shape in ((16, 8), (8, 8), (16, 8)))
    there = [memory.asarray(x) for x in (a, b, c)]
    _product[a.dtype].blocks(1, 32, *(x.flat for x in there))
    assert np.array_equal(there[2].get(), a @ b + c)  # whole numbers: exactly


def test_parts_of_a_number():
    values = numbers(0, (200,), np.float32) * np.float32(10) ** np.arange(-20, 20).repeat(5).astype(np.float32)
    taken = memory.asarray(np.concatenate([values, np.zeros(2 * 200, np.float32)]))

    @kernel("F", [np.float32])
    def parts(x):
        one = cuda.shared.array(2, np.uint32)
        for i in range(200):
            one[0], one[1] = split(x[i])
            x[200 + i], x[400 + i] = one.view(np.float32)[0], one.view(np.float32)[1]

    if backend.DEVICE == "cuda":
        pytest.skip("views of shared memory are the simulator's")
    parts[values.dtype].blocks(1, 1, taken.flat)
    _, big, small = taken.get().reshape(3, 200)
    assert not ((np.concatenate([big, small]).view(np.uint32) & 0x1FFF).any())
    assert np.abs(big / values - 1).max() <= 2.0**-11
    assert np.abs((big.astype(np.float64) + small) / values - 1).max() <= 2.0**-22


@pytest.mark.parametrize("left", ["rows", "columns"])
@pytest.mark.parametrize("right", ["rows", "columns"])
@pytest.mark.parametrize("name", ["tf32", "tf32x3"])
def test_the_tile_of_a_gpu(monkeypatch, name, left, right):
    """Several warps, each with several blocks of 16 x 8 results, over two steps of a tile."""
    monkeypatch.setattr(tiles, "TENSOR", tiles.Tile(128, 64, 8, 4, 16))
    monkeypatch.setattr(tensorcore, "_precision", name)
    _plan.cache_clear()
    a, b = numbers(0, (128, 32), np.float32), numbers(1, (32, 64), np.float32)
    a, b = (x if side == "rows" else np.asfortranarray(x) for x, side in ((a, left), (b, right)))
    try:
        got = matmul(memory.asarray(a), memory.asarray(b)).get()
    finally:
        _plan.cache_clear()
    expected = a.astype(np.float64) @ b
    assert np.linalg.norm(got - expected) <= {"tf32": 1e-3, "tf32x3": 2e-6}[name] * np.linalg.norm(expected)


@pytest.mark.skipif(backend.DEVICE == "cuda", reason="undefined on a GPU")
@pytest.mark.parametrize(("threads", "reached"), [(32, 20), (24, 24)])
def test_a_warp_that_is_not_together_is_an_error(threads, reached):
    @kernel("F", [np.float32])
    def apart(x):
        if cuda.threadIdx.x < reached:
            zero = split(x[0])[0]
            x[0] = mma(zero, zero, zero, zero, zero, zero, x[0], x[0], x[0], x[0])[0]
        cuda.syncthreads()

    with pytest.raises(RuntimeError, match=f"{reached} of 32 threads reached"):
        apart[np.dtype(np.float32)].blocks(1, threads, memory.asarray(np.zeros(1, np.float32)).flat)


@pytest.mark.skipif(backend.DEVICE == "cuda", reason="a GPU has no threads of Python")
def test_without_greenlets_tensor_cores_say_what_they_need(monkeypatch):
    monkeypatch.setattr(launch.simulator, "greenlet", None)
    with pytest.raises(RuntimeError, match="pip install greenlet"):
        launch.simulator.together(sum, 1)
