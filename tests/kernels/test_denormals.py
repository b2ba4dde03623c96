"""Which kernels take denormal numbers for 0, in every thread, and that no thread stays in that mode."""

import math
import threading

import numba
import numpy as np
import pytest

from convkit_kernels import geometry
from convkit_kernels.algorithm import conv_algorithm
from convkit_kernels.cpu import denormals
from tests.backend import kernels
from tests.helpers import numbers, same_with_one_and_two_threads, threads

pytestmark = pytest.mark.skipif(denormals.FLUSH == 0, reason="the float mode of this processor is not known")
TINY = {np.float32: 1e-40, np.float64: 1e-310}
dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64])
WINDOW = geometry.Window((3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1), 1)


@numba.njit
def flushing():
    """Whether this thread takes denormals for 0."""
    return denormals.float_mode() & denormals.FLUSH != 0


@numba.njit
def switched():
    """The same between `flush_denormals` and `set_float_mode`, and after them."""
    before = denormals.flush_denormals()
    within = flushing()
    denormals.set_float_mode(before)
    return within, flushing()


@numba.njit(parallel=True)
def threads_flushing(count):
    """How many of a user's loops run in the mode: enough of them that each thread of the pool has some."""
    found = np.zeros(count, np.int64)
    for i in numba.prange(count):
        found[i] = flushing()
    return found.sum()


def products(factor, dtype):
    """Sums of products of which one operand is `factor` times as large: (name, result) of every kernel that makes them."""
    x, gy = numbers(0, (2, 16, 9, 9), dtype), numbers(1, (2, 16, 9, 9), dtype) * dtype(factor)
    w = numbers(2, (16, 16, 3, 3), dtype) * dtype(factor)
    for name in ("direct", "winograd"):
        with conv_algorithm(name):
            yield f"{name} forward", kernels.conv_forward(x, w, None, WINDOW)
            yield f"{name} input gradient", kernels.conv_input_grad(x, w, None, (9, 9), WINDOW)
            yield f"{name} weight gradient", kernels.conv_weight_grad(x, gy, WINDOW)
    deep = geometry.Window((3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1), 16)
    yield "depthwise forward", kernels.conv_forward(x, w[:, :1], None, deep)
    yield "depthwise weight gradient", kernels.conv_weight_grad(x, gy, deep)
    yield "matmul", kernels.matmul(numbers(3, (70, 30), dtype), numbers(4, (30, 20), dtype) * dtype(factor))
    yield "vector", kernels.matmul(numbers(3, (1, 30), dtype), numbers(4, (30, 20), dtype) * dtype(factor))
    local = numbers(5, (9, 9, 3, 3, 16, 16), dtype) * dtype(factor)
    yield "local forward", kernels.local_forward(x, local, None, WINDOW)
    yield "local input gradient", kernels.local_input_grad(x, local, (9, 9), WINDOW)
    yield "local weight gradient", kernels.local_weight_grad(x, gy, (9, 9), WINDOW)


@dtypes
def test_sums_of_products_take_denormals_for_0(dtype):
    for name, result in products(TINY[dtype], dtype):
        assert not result.any(), name
    for name, result in products(1e-30, dtype):
        assert np.count_nonzero(result) > 0.8 * result.size, name  # locally connected weights at the border see padding


@dtypes
def test_sums_of_products_do_not_end_in_denormals(dtype):
    half = dtype(math.sqrt(TINY[dtype]))
    assert (half * half).item() != 0
    a = np.full((40, 1), half, dtype)
    assert not kernels.matmul(a, np.full((1, 40), half, dtype)).any()
    assert kernels.matmul(a, np.full((1, 40), 1, dtype)).all()


@dtypes
def test_normalisation(dtype):
    x = numbers(0, (4, 16, 5, 5), dtype) * dtype(TINY[dtype])
    mean, scale, bias = np.zeros((1, 16), dtype), np.full((1, 16), 300, dtype), numbers(1, (16,), dtype)
    np.testing.assert_array_equal(kernels.norm(x, mean, scale, None, bias), np.broadcast_to(bias[:, None, None], x.shape))
    assert not any(part.any() for part in kernels.norm_grad(x, x, mean, scale, None, None, True, False))


@dtypes
@pytest.mark.parametrize(
    ("kind", "numbers_of", "kept"), [("adam", (1, 0, 1, 1e-3, 0.9, 0.1, 0.999, 1e-3, 1, 1e-8), "ab"), ("sgd", (1, 0, 0.1, 0.9, 1, 0), "a")]
)
def test_what_optimisers_keep_fades_to_0(dtype, kind, numbers_of, kept):
    weight, tiny = np.ones(5000, dtype), dtype(TINY[dtype])
    state = tuple(np.full(5000, tiny) if s in kept else None for s in "abc")
    kernels.optimizer_step(kind, [weight], [np.full(5000, tiny)], [state], numbers_of)
    assert (weight == 1).all() and not any(s.any() for s in state if s is not None)


@dtypes
@pytest.mark.parametrize("size", [7, 100_000])
def test_element_by_element_and_in_sums_denormals_stay(dtype, size):
    """By NumPy for few elements, by kernels for many: with the same result."""
    tiny = dtype(TINY[dtype])
    x = np.full(size, tiny)
    for got, expected in (
        (kernels.mul(x, 0.5), tiny * dtype(0.5)),
        (kernels.add(x, x), tiny + tiny),
        (kernels.maximum(x, 0.0), tiny),
        (kernels.div(x, np.full(size, 2, dtype)), tiny / dtype(2)),
        (kernels.activation("threshold", x), tiny),
    ):
        assert (got == expected).all() and expected != 0
    np.testing.assert_allclose(kernels.log(x), np.log(tiny), rtol=1e-6)
    np.testing.assert_allclose(kernels.sum(x, (0,), False), size * float(tiny), rtol=1e-5)


def test_the_same_bits_on_any_number_of_threads():
    def run():
        small = numbers(7, (33, 65), np.float32) * np.float32(10) ** numbers(8, (33, 65), np.float32).clip(-1, 1).round() * np.float32(1e-38)
        assert 0.1 < (np.abs(small) < np.finfo(np.float32).tiny).mean() < 0.9  # denormals among others
        return kernels.matmul(numbers(6, (300, 33), np.float32), small), *(result for _, result in products(3e-38, np.float32))

    assert same_with_one_and_two_threads(run)


def test_every_thread_is_left_as_it_was():
    assert switched() == (True, False)
    for count in (1, 2):
        with threads(count):
            for _ in products(1.0, np.float32):
                assert not flushing() and threads_flushing(64) == 0
    assert np.float32(1e-40) * np.float32(0.5) != 0 and np.full(50, 1e-40, np.float32).prod(dtype=np.float64) != 1  # NumPy's, too


def test_a_caller_that_flushes_keeps_its_mode():
    @numba.njit
    def set_mode(on):
        before = denormals.float_mode()
        denormals.set_float_mode(before | denormals.FLUSH if on else before & ~denormals.FLUSH)

    seen = []

    def work():
        set_mode(True)
        kernels.matmul(np.ones((50, 5), np.float32), np.ones((5, 50), np.float32))
        seen.append(flushing())
        set_mode(False)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [True] and not flushing()
