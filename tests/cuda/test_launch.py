"""Kernels, the types they are declared for, their launch, and errors in them."""

import types as python_types

import numpy as np
import pytest

from tests import backend

backend.gpu()

from convkit_kernels.cuda import launch, memory  # noqa: E402
from convkit_kernels.cuda.launch import cuda, kernel  # noqa: E402


@kernel("iTit", [np.float32, np.float64])
def _scaled(n, x, x0, factor):
    for i in range(cuda.grid(1), n, cuda.gridsize(1)):
        x[x0 + i] *= factor


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n", [0, 1, 7, 100])  # more than all threads of a launch, in the simulator
def test_a_walk(dtype, n):
    x = memory.asarray(np.arange(n + 3, dtype=dtype))
    _scaled[x.dtype](n, n, x.flat, x.offset + 1, 2.0)
    expected = np.arange(n + 3, dtype=dtype)
    expected[1 : n + 1] *= 2
    assert np.array_equal(x.get(), expected)


def test_blocks_shared_memory_and_barriers():
    @kernel("TT")
    def reversed_(x, y):
        shared = cuda.shared.array(4, x.dtype)
        t, block = cuda.threadIdx.x, cuda.blockIdx.x
        shared[t] = x[block * 4 + t]
        cuda.syncthreads()
        y[block * 4 + t] = shared[3 - t]

    x, y = memory.asarray(np.arange(12.0)), memory.empty((12,), np.float64)
    reversed_[x.dtype].blocks(3, 4, x.flat, y.flat)
    assert y.tolist() == np.arange(12.0).reshape(3, 4)[:, ::-1].ravel().tolist()


def test_one_kernel_a_dtype_made_when_it_is_asked_for():
    from numba import types

    families = kernel("TtiIjJuB?")(lambda *args: None)
    assert not families
    one = families[np.dtype(np.float32)]
    assert families[np.dtype(np.float32)] is one and one.types == (
        types.float32[::1], types.float32, types.int64, types.int64[::1], types.int32, types.int32[::1], types.uint64, types.uint8[::1],
        types.boolean[::1],
    )  # fmt: skip
    assert families[np.dtype(np.float64)].types[0] == types.float64[::1]
    assert "test_launch" in repr(one) and "float32" in repr(one)


def test_an_error_is_told_where_it_was_caused(monkeypatch):
    """CONVKIT_CUDA_SYNC=1: the launch itself says which kernel it was, and how it was launched."""
    monkeypatch.setattr(launch, "WAIT", True)

    def fail():
        raise ValueError("an illegal memory access was encountered")

    monkeypatch.setattr(launch.driver, "wait", fail)
    x = memory.empty((3,), np.float32)
    with pytest.raises(RuntimeError, match=r"cuda: test_launch\._scaled\(.*\) on 2 blocks of 4 threads: an illegal memory access"):
        _scaled[x.dtype].blocks(2, 4, 0, x.flat, 0, 2.0)


def test_the_environment_asks_for_it(python):
    code = """
from convkit import device
device.check("cuda:sim")
import numpy as np
from convkit_kernels.cuda import launch, memory
from convkit_kernels.cuda.launch import cuda, kernel

@kernel("iT")
def wrong(n, x):
    for i in range(cuda.grid(1), n, cuda.gridsize(1)):
        x[i + n] = 1

x = memory.asarray(np.zeros(600))
print(launch.WAIT)
try:
    wrong[x.dtype](4000, 4000, x.flat)
except RuntimeError as error:
    print(error)
print(memory.asarray(np.arange(3)).tolist())
"""
    waits, error, after = python(code, CONVKIT_CUDA_SYNC="1").stdout.splitlines()
    assert waits == "True" and error.startswith("cuda: __main__.wrong(int64, array(float64, 1d, C)) on 2 blocks of 4 threads: ")
    assert after == "[0, 1, 2]"
    assert python(code.split("try:")[0], CONVKIT_CUDA_SYNC=None).stdout.strip() == "False"


_NUMBER = 1


def _named():
    return _NUMBER


def test_what_a_kernel_encloses_names_it_the_same_in_each_process():
    """The cache of kernels asks for it; an address, or a name that is made for a process, would have each process compile anew."""
    from convkit_kernels.cuda.compiled import content

    def make(row, number):
        def outer():
            return row, number

        return outer

    def one():
        return make

    same = [content(make(row, number)) for row, number in ((one, np.float32(1)), (one, np.float32(1)))]
    assert same[0] == same[1] and "0x" not in repr(same)
    assert len({content(make(row, number)) for row, number in ((one, 1), (one, 1.0), (one, np.float32(1)), (make, 1), (len, 1))}) == 5
    rows = (python_types.FunctionType(_named.__code__, {"_NUMBER": other}, "row") for other in (make, one, np.int64(1), np.int64(2)))
    assert len(set(map(content, rows))) == 4


@pytest.mark.parametrize(
    ("channels", "filters", "groups", "launches"),
    [
        (3, 5, 1, (1, 1, 2)),  # weights are read where they lie; parts of the weight gradient are added up
        (4, 4, 1, (2, 2, 2)),  # weights are brought to an order that four are read from at once
        (8, 8, 2, (2, 2, 2)),
        (4, 4, 4, (2, 2, 2)),
    ],
)
def test_launches_of_a_convolution(monkeypatch, channels, filters, groups, launches):
    """Bias, what is added, and relu take none of their own."""
    from convkit_kernels.cuda import conv_forward, conv_input_grad, conv_weight_grad
    from convkit_kernels.geometry import window

    def image(c, height=5, width=4):
        return memory.empty((1, height, width, c), np.float32).transpose((0, 3, 1, 2))

    counted, run = [], launch.Kernel.run
    monkeypatch.setattr(launch.Kernel, "run", lambda self, *args: (counted.append(self), run(self, *args))[1])
    win, w, bias = (
        window("test", (2, 2), 1, 1, 1, groups),
        memory.empty((filters, channels // groups, 2, 2), np.float32),
        memory.empty((filters,), "f4"),
    )
    for call, expected in zip(
        (
            lambda: conv_forward(image(channels), w, bias, win, image(filters, 6, 5), True),
            lambda: conv_input_grad(image(filters, 6, 5), w, None, (5, 4), win),
            lambda: conv_weight_grad(image(channels), image(filters, 6, 5), win),
        ),
        launches,
        strict=True,
    ):
        counted.clear()
        call()
        assert len(counted) == expected, counted
