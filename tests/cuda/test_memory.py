"""The pool of device memory, and arrays as views of it."""

import gc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from convkit import cuda
from tests import backend
from tests.helpers import memory_order

backend.gpu()

from convkit_kernels.cuda import driver, memory  # noqa: E402


# -------------------------------------------------------------------------------------------- pool
@settings(deadline=None)
@given(st.integers(0, 2**40))
def test_sizes_are_rounded_up_by_at_most_an_eighth(nbytes):
    size = memory.rounded(nbytes)
    assert size >= nbytes and size % 512 == 0 and memory.rounded(size) == size
    assert size <= max(512, nbytes + 511, nbytes * 9 // 8 + 1)


def test_there_are_few_sizes():
    assert len({memory.rounded(n) for n in range(2**16, 2**20, 100)}) <= 8 * 4 + 1


def test_memory_is_used_again():
    pool = memory.Pool()
    a = pool.take(1000)
    block = a.block
    assert (pool.allocated, pool.reserved) == (1024, 1024)
    del a
    assert (pool.allocated, pool.reserved) == (0, 1024)
    b = pool.take(1024)
    assert b.block is block and (pool.allocated, pool.reserved) == (1024, 1024)
    c = pool.take(1)
    assert c.block is not block and (pool.allocated, pool.reserved) == (1536, 1536)
    del b, c
    pool.empty()
    assert (pool.allocated, pool.reserved) == (0, 0)
    assert pool.take(1024).block is not block


def test_tensors_count_and_the_cache_is_given_back():
    gc.collect()
    cuda.empty_cache()
    before = cuda.memory_allocated()
    a = memory.empty((1000,), np.float32)
    assert cuda.memory_allocated() - before == 4096 and cuda.memory_reserved() >= cuda.memory_allocated()
    view = a[10:20].reshape(2, 5)
    del a
    assert cuda.memory_allocated() - before == 4096  # a view keeps its memory
    del view
    assert cuda.memory_allocated() == before
    reserved = cuda.memory_reserved()
    cuda.empty_cache()
    assert cuda.memory_reserved() == reserved - 4096


def test_out_of_memory_says_what_is_asked_used_and_free_and_the_program_goes_on(monkeypatch):
    kept = memory.empty((1 << 18,), np.float32)
    plain = driver.allocate

    def allocate(size):
        if size > 2**30:
            raise RuntimeError("CUDA_ERROR_OUT_OF_MEMORY")
        return plain(size)

    monkeypatch.setattr(driver, "allocate", allocate)
    memory.empty((1 << 20,), np.float32)  # dies: kept by the pool
    with pytest.raises(MemoryError, match=r"cuda: 4096.0 MiB were asked for; .* MiB are in use by tensors; .*device"):
        memory.empty((1 << 30,), np.float32)
    assert memory.pool.reserved == memory.pool.allocated >= 2**20  # what nobody used was given back before giving up
    assert memory.asarray(np.arange(5.0)).tolist() == [0, 1, 2, 3, 4] and kept.size == 1 << 18


def test_an_error_of_the_second_try_is_told_as_it_is(monkeypatch):
    """That of a kernel which failed before, say: it is not for want of memory."""

    class Failed(RuntimeError):
        code = 700

    errors = [RuntimeError("out of memory"), Failed("an illegal memory access was encountered")]

    def allocate(size):
        raise errors.pop(0)

    monkeypatch.setattr(driver, "allocate", allocate)
    with pytest.raises(Failed, match="illegal"):
        memory.empty((5 << 20,), np.float32)
    assert not errors


def test_a_second_try_when_the_pool_was_emptied(monkeypatch):
    memory.empty((1 << 20,), np.float32)
    plain, tries = driver.allocate, []

    def allocate(size):
        tries.append(memory.pool.reserved - memory.pool.allocated)
        if len(tries) == 1:
            raise RuntimeError("out of memory")
        return plain(size)

    monkeypatch.setattr(driver, "allocate", allocate)
    assert memory.empty((3 << 20,), np.float32).size == 3 << 20 and tries[0] > 0 and tries[1] == 0


# ------------------------------------------------------------------------------------------- views
HOST = np.arange(120, dtype=np.float32).reshape(2, 3, 4, 5)
VIEWS = {
    "all": lambda a: a,
    "T": lambda a: a.T,
    "rows": lambda a: a[:, 1:],
    "every second": lambda a: a[..., ::2],
    "backwards": lambda a: a[:, ::-1, :, ::-1],
    "a number": lambda a: a[1, 2, 3, 4],
    "one more axis": lambda a: a[:, None, 0],
    "none": lambda a: a[:0],
    "channels-last": lambda a: a.transpose(0, 2, 3, 1),
    "two axes": lambda a: a.swapaxes(1, 3)[1],
    "squeezed": lambda a: a[:1].squeeze(0),
    "reshaped": lambda a: a.reshape(6, 20),
    "reshaped, by a copy": lambda a: a.transpose(3, 1, 2, 0).reshape(15, -1),
    "flat": lambda a: a.ravel(),
}


@pytest.mark.parametrize("name", VIEWS)
def test_views(name):
    """NumPy's shape, strides and numbers, and back in the same memory order; an array made of one keeps its order if it is dense."""
    a = memory.asarray(HOST)
    view, expected = VIEWS[name](a), VIEWS[name](HOST)
    assert isinstance(view, np.ndarray) and type(view) is memory.Array
    assert (view.shape, view.strides, view.dtype, view.ndim, view.size, len(view.shape)) == (
        expected.shape, expected.strides, expected.dtype, expected.ndim, expected.size, len(expected.shape)
    )  # fmt: skip
    assert np.array_equal(view.get(), expected) and view.device == driver.name()
    again = memory.asarray(expected)
    assert np.array_equal(again.get(), expected)
    like = memory.empty_like(view)
    assert like.shape == expected.shape and (name == "backwards" or memory_order(like.view) == memory_order(np.empty_like(expected)))


def test_numbers_of_one_element():
    a = memory.asarray(np.array(2.5))
    assert (float(a), int(a), bool(a), a.item(), a.tolist()) == (2.5, 2, True, 2.5, 2.5)
    assert not memory.asarray(np.array([0]))
    with pytest.raises(ValueError, match="ambiguous"):
        bool(memory.asarray(np.arange(3)))
    with pytest.raises(TypeError, match="object cannot be interpreted as an integer|only integer"):
        range(a)


def test_nothing_is_copied_to_the_host_unasked():
    a = memory.asarray(np.arange(3.0))
    with pytest.raises(TypeError, match=r"a tensor on a GPU is no NumPy array; use \.cpu\(\)"):
        np.asarray(a)


def test_reshape_refuses_what_does_not_fit():
    with pytest.raises(ValueError, match="cannot reshape array of size 6"):
        memory.asarray(np.arange(6)).reshape(4, 2)


def test_bytes_as_another_dtype():
    assert memory.asarray(np.array([1.0], np.float32)).view_as(np.int32).tolist() == [0x3F800000]
