"""Memory shared with other libraries: in the simulator device memory is the host's, so NumPy stands for them."""

import gc

import numpy as np
import pytest

from tests import backend

backend.gpu()

from convkit_kernels.cuda import exchange, matmul, memory  # noqa: E402

pytestmark = pytest.mark.cpu  # NumPy cannot read a real GPU's memory


class Foreign:
    """Another library's array."""

    def __init__(self, array, **more):
        self.array, self.__cuda_array_interface__ = array, {**array.__cuda_array_interface__, **more}


@pytest.mark.parametrize("dtype", ["f4", "f8", "i8", "i4", "u1", "?"])
def test_dlpack_both_ways_without_a_copy(dtype):
    a = memory.asarray((np.arange(24).reshape(2, 3, 4) % 5).astype(dtype))
    for part in (a, a[:, 1:], a.transpose(2, 0, 1), a[1, 2, 3], a[:0]):
        seen = np.from_dlpack(part)
        assert seen.dtype == part.dtype and np.array_equal(seen, part.get())
        assert not seen.size or seen.__array_interface__["data"][0] == part.address
        back = exchange.from_dlpack(part)
        assert back.shape == part.shape and np.array_equal(back.get(), part.get()) and (not seen.size or back.address == part.address)


def test_memory_lives_as_long_as_somebody_looks():
    gc.collect()
    before = len(exchange._given)
    a = memory.asarray(np.arange(1000.0))
    used = memory.pool.allocated
    seen = np.from_dlpack(a)
    del a
    gc.collect()
    assert memory.pool.allocated == used and seen[999] == 999 and len(exchange._given) == before + 1
    del seen
    gc.collect()
    assert memory.pool.allocated < used and len(exchange._given) == before


def test_a_capsule_that_nobody_takes():
    gc.collect()
    before = len(exchange._given)
    capsule = memory.asarray(np.arange(3.0)).__dlpack__()
    assert len(exchange._given) == before + 1
    del capsule
    gc.collect()
    assert len(exchange._given) == before


def test_borrowed_memory_is_given_back():
    class Owner(np.ndarray):
        gone = []

        def __del__(self):
            self.gone.append(1)

    a = exchange.from_dlpack(np.arange(5.0).view(Owner))
    part = a[1:]
    del a
    gc.collect()
    kept = len(Owner.gone)
    assert part.get().tolist() == [1, 2, 3, 4]
    del part
    gc.collect()
    assert len(Owner.gone) > kept


def test_the_cuda_array_interface():
    a = memory.asarray(np.arange(12, dtype=np.float32).reshape(3, 4)).transpose(1, 0)
    assert a.__cuda_array_interface__ == {
        "shape": (4, 3), "strides": (4, 16), "typestr": "<f4", "data": (a.address, False), "version": 3, "stream": 1
    }  # fmt: skip
    b = exchange.from_interface(Foreign(a))
    assert b.address == a.address and np.array_equal(b.get(), a.get())
    with pytest.raises(BufferError, match="masked"):
        exchange.from_interface(Foreign(a, mask=a))
    with pytest.raises(BufferError, match="complex64"):
        exchange.from_interface(Foreign(a, typestr="<c8"))
    with pytest.raises(BufferError, match="negative strides"):
        exchange.from_interface(Foreign(a, strides=(4, -16)))
    with pytest.raises(BufferError, match="not aligned"):
        exchange.from_interface(Foreign(a, data=(a.address + 1, False)))


def test_tensors_of_other_libraries():
    import convkit

    a = memory.asarray(np.arange(6, dtype=np.float32).reshape(2, 3))
    shared = convkit.as_tensor(Foreign(a))
    assert shared.device == "cuda:sim" and shared.array.address == a.address
    copied = convkit.tensor(Foreign(a))
    assert copied.device == "cuda:sim" and copied.array.address != a.address and copied.cpu().tolist() == a.tolist()
    assert convkit.as_tensor(Foreign(a), device="cpu").numpy().tolist() == a.tolist()
    assert np.from_dlpack(shared).tolist() == a.tolist() and shared.__cuda_array_interface__["data"] == (a.address, False)
    with pytest.raises(RuntimeError, match="requires a gradient"):
        shared.clone().requires_grad_().__cuda_array_interface__  # noqa: B018
    assert not hasattr(convkit.ones(2), "__cuda_array_interface__")


@pytest.mark.parametrize("begin", [0, 1, 2, 3])
def test_memory_that_begins_anywhere(begin):
    """Kernels read 16 bytes at a time, for which a GPU wants them at a multiple of 16; others' memory may begin between."""
    numbers = memory.asarray(np.arange(48, dtype=np.float32))
    a, b, bias, add = (exchange.from_interface(Foreign(numbers[begin : begin + 16 if n else begin + 4])) for n in (1, 1, 0, 1))
    assert a.address == numbers[begin:].address and a.buffer.address % 16 == 0
    a, b, add = (x.reshape(4, 4) for x in (a, b, add))
    x = a.get().astype(float)
    assert np.array_equal(matmul(a, b, bias, add).get(), x @ x + x[0] + x)
    inside = numbers[begin : begin + 4]  # the same of our own
    assert np.array_equal(matmul(a, b, inside).get(), x @ x + x[0])
