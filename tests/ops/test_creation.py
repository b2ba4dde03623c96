"""Making tensors: from data in any memory, of sizes, in steps, at random."""

import numpy as np
import pytest

import convkit as ck
from tests.helpers import LAYOUTS, channels_last_copy, memory_order, numbers

UNREADABLE = ["read-only", "read-only channels-last", "unaligned", "other byte order"]  # for kernels, so these are copied


@pytest.mark.cpu  # what shares memory with NumPy is on the host
def test_tensor_copies_and_from_numpy_shares():
    a = np.ones(3, np.float32)
    copied, shared, same = ck.tensor(a), ck.from_numpy(a), ck.Tensor(a)
    a[0] = 7
    assert copied.tolist() == [1, 1, 1] and shared.tolist() == same.tolist() == [7, 1, 1]
    shared.fill_(2)
    assert a.tolist() == [2, 2, 2]
    other = ck.tensor(shared)
    other.zero_()
    assert a.tolist() == [2, 2, 2]


@pytest.mark.cpu  # what shares memory with NumPy is on the host
@pytest.mark.parametrize("kind", sorted(LAYOUTS))
def test_from_numpy_copies_only_what_kernels_cannot_read(kind):
    a = LAYOUTS[kind](numbers(0, (2, 3, 4, 5), np.float32))
    t = ck.from_numpy(a)
    assert np.array_equal(t.numpy(), a) and t.dtype == np.float32 and t.array.flags.writeable
    assert np.shares_memory(t.array, a) == (kind not in UNREADABLE)
    assert not np.shares_memory(ck.tensor(a).array, a)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", sorted(LAYOUTS))
def test_any_memory_gives_the_same_numbers(kind, dtype):
    plain, awkward = numbers(0, (2, 3, 6, 5), dtype), LAYOUTS[kind](numbers(0, (2, 3, 6, 5), dtype))
    weight, awkward_weight = numbers(1, (4, 3, 3, 3), dtype), LAYOUTS[kind](numbers(1, (4, 3, 3, 3), dtype))

    def net(x, w):
        x, w = ck.from_numpy(x).requires_grad_(), ck.from_numpy(w).requires_grad_()
        y = ck.nn.functional.conv2d(x, w, padding=1)
        y = ck.nn.functional.max_pool2d(ck.relu(y), 2).flatten(1)
        z = ck.log_softmax(y @ ck.from_numpy(numbers(2, (24, 3), dtype)), 1) * 2.0
        z.sum().backward()
        return z.detach().numpy(), x.grad.numpy(), w.grad.numpy(), (x * x[:, :1] + ck.exp(x)).sum((0, 2)).detach().numpy()

    for got, expected in zip(net(awkward, awkward_weight), net(plain, weight), strict=True):
        assert got.dtype == dtype
        np.testing.assert_allclose(got, expected, rtol=1e-5 if dtype == np.float32 else 1e-12, atol=1e-6 if dtype == np.float32 else 1e-13)


@pytest.mark.parametrize("kind", sorted(LAYOUTS))
def test_integers_and_flags_in_any_memory(kind):
    a = np.arange(24).reshape(2, 3, 4)
    awkward = LAYOUTS[kind](a)
    assert ck.tensor(awkward).tolist() == ck.from_numpy(awkward).tolist() == a.tolist()
    table = ck.from_numpy(numbers(0, (24, 2), np.float32))
    assert np.array_equal(ck.nn.functional.embedding(ck.from_numpy(awkward), table).numpy(), table.numpy()[a])
    flags = LAYOUTS["C order" if kind == "other byte order" else kind](a % 3 == 0)
    assert ck.where(ck.from_numpy(flags), 1.0, 0.0).tolist() == (a % 3 == 0).astype(float).tolist()


@pytest.mark.parametrize(
    ("data", "dtype"),
    [
        (1.5, "float32"), ([1.5, 2], "float32"), ([[1, 2], [3, 4]], "int64"), (True, "bool"), ([True, False], "bool"), ((1, 2), "int64"),
        (np.ones(2), "float64"), (np.ones(2, np.float32), "float32"), (np.float64(2), "float64"), (np.ones(2, np.uint8), "uint8"),
        (range(3), "int64"), ([], "float32"), (np.zeros((0, 3), np.int32), "int32"), ([[], []], "float32"), (3, "int64"),
    ],
)  # fmt: skip
def test_dtypes_of_data(data, dtype):
    t = ck.tensor(data)
    assert t.dtype == dtype and np.array_equal(t.numpy(), np.array(data))
    assert ck.tensor(data, dtype=ck.float64).dtype == np.float64
    assert ck.tensor(t).dtype == dtype


@pytest.mark.cpu  # a list is read on the host
def test_tensors_in_a_list():
    assert ck.tensor([ck.tensor(1.0), ck.tensor(2.0)]).tolist() == [1, 2]


@pytest.mark.parametrize("data", ["text", ["a", "b"], [[1, 2], [3]], None, {"a": 1}, object(), 1j, np.array(["a"]), np.array([1, 2], "M8[s]")])
def test_what_is_no_data(data):
    with pytest.raises(TypeError, match="tensor: data must be"):
        ck.tensor(data)


@pytest.mark.cpu  # what shares memory with NumPy is on the host
def test_from_numpy_wants_an_array():
    with pytest.raises(TypeError, match="from_numpy: needs a NumPy array, got list"):
        ck.from_numpy([1, 2])
    with pytest.raises(TypeError, match="from_numpy: data must be real numbers or booleans, got dtype complex128"):
        ck.from_numpy(np.ones(2, complex))


def test_made_from_sizes():
    for make, value in ((ck.zeros, 0), (ck.ones, 1)):
        for t in (make(2, 3), make((2, 3)), make([2, 3])):
            assert t.shape == (2, 3) and t.dtype == np.float32 and (t.numpy() == value).all()
        assert make(()).shape == () and make(0, 3).shape == (0, 3)
        assert make(2, dtype=ck.int64).dtype == np.int64 and make(2, requires_grad=True).requires_grad
    assert ck.full((2, 2), 7).dtype == np.int64 and ck.full((2,), 0.5).tolist() == [0.5, 0.5] and ck.full(2, True).dtype == np.bool_
    assert ck.full((2,), 7, dtype=ck.float32).dtype == np.float32
    x = ck.from_numpy(channels_last_copy(numbers(0, (2, 3, 4, 5), np.float32)))
    for like in (ck.zeros_like(x), ck.ones_like(x)):
        assert like.dtype == x.dtype and memory_order(like.array) == memory_order(x.array)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: ck.zeros(2, -1), ValueError, r"zeros: sizes must not be negative, got \[2, -1\]"),
        (lambda: ck.ones(2.0), TypeError, r"ones: sizes must be ints, got \(2.0,\)"),
        (lambda: ck.ones(True), TypeError, "ones: sizes must be ints"),
        (lambda: ck.full((2, None), 1), TypeError, "full: sizes must be ints"),
        (lambda: ck.randn(2, dtype=ck.int64), TypeError, "randn: dtype must be float32 or float64, got int64"),
        (lambda: ck.randint(3, 3, (2,)), ValueError, "randint: high must be above low, got 3 and 3"),
        (lambda: ck.zeros(2, device="tpu"), ValueError, "device must be 'cpu', 'cuda', 'cuda:sim' or 'auto', got 'tpu'"),
        (lambda: ck.zeros(2, device="cuda:x"), ValueError, "device must be 'cpu', 'cuda', 'cuda:sim' or 'auto', got 'cuda:x'"),
        (lambda: ck.ones(2).to("cuda:1"), RuntimeError, "device 'cuda:1': a process uses one GPU, cuda:0"),
        (lambda: ck.ones(2, dtype=ck.int64, requires_grad=True), RuntimeError, "only floating tensors can require gradients, got int64"),
    ],
)
def test_errors_of_making(call, error, words):
    with pytest.raises(error, match=words):
        call()


def test_arange():
    assert ck.arange(4).tolist() == [0, 1, 2, 3] and ck.arange(4).dtype == np.int64
    assert ck.arange(1, 7, 2).tolist() == [1, 3, 5] and ck.arange(0).shape == (0,)
    assert ck.arange(0, 1, 0.25).tolist() == [0, 0.25, 0.5, 0.75] and ck.arange(0, 1, 0.25).dtype == np.float32
    assert ck.arange(3, dtype=ck.float64).dtype == np.float64


def test_random_tensors_follow_the_seed():
    def draw():
        ck.manual_seed(3)
        return [ck.rand(3, 2), ck.randn(4, dtype=ck.float64), ck.randint(2, 9, (50,)), ck.randperm(20)]

    first, again = draw(), draw()
    for a, b in zip(first, again, strict=True):
        assert np.array_equal(a.numpy(), b.numpy())
    uniform, normal, whole, order = first
    assert uniform.dtype == np.float32 and (uniform.numpy() >= 0).all() and (uniform.numpy() < 1).all()
    assert normal.dtype == np.float64 and whole.dtype == np.int64 and set(whole.tolist()) <= set(range(2, 9)) and len(set(whole.tolist())) == 7
    assert sorted(order.tolist()) == list(range(20)) and order.tolist() != list(range(20))
    generator = ck.Generator(3)
    assert np.array_equal(ck.rand(3, 2, generator=generator).numpy(), uniform.numpy())
    assert not np.array_equal(ck.rand(3, 2, generator=generator).numpy(), uniform.numpy())
    assert ck.rand(0, 3).shape == (0, 3) and ck.randperm(0).shape == (0,)


def test_arguments_by_name():
    """Each position of an overload has torch's name, too; tests/against_torch/test_signatures.py compares them all."""
    x = ck.tensor([[1.0, -2.0], [0.5, 4.0]])
    assert ck.arange(end=3).tolist() == [0, 1, 2] and ck.zeros(size=(2, 1)).shape == x.new_ones(size=(2, 1)).shape == (2, 1)
    assert ck.randint(high=1, size=(2,)).tolist() == ck.randint(1, size=(2,)).tolist() == [0, 0]
    assert ck.randint_like(x, high=1).tolist() == [[0, 0], [0, 0]]
    assert ck.repeat_interleave(ck.tensor([2, 0, 1])).tolist() == ck.repeat_interleave(repeats=ck.tensor([2, 0, 1])).tolist() == [0, 0, 2]
    assert ck.max(x, other=ck.tensor(0.0)).tolist() == [[1, 0], [0.5, 4]] and ck.min(x, other=x).tolist() == x.tolist()
    assert ck.swapaxes(x, axis0=0, axis1=1).tolist() == x.T.tolist() and ck.broadcast_to(ck.ones(2), size=(3, 2)).shape == (3, 2)
    assert [t.tolist() for t in ck.arange(3).split(split_size=2)] == [[0, 1], [2]]
    assert ck.zeros(4, 2).fill_diagonal_(1.0, wrap=True).tolist() == [[1, 0], [0, 1], [0, 0], [1, 0]]
    for error, match, call in [
        (TypeError, "arange: needs an end", ck.arange),
        (TypeError, r"zeros: takes size once, got \(2,\) and size=3", lambda: ck.zeros(2, size=3)),
        (ValueError, "repeat_interleave: repeats alone must be a vector", lambda: ck.repeat_interleave(x)),
    ]:
        with pytest.raises(error, match=match):
            call()


@pytest.mark.cpu  # what shares memory with NumPy is on the host
def test_copies_that_are_asked_for():
    a = np.ones(2)
    shared, copied = ck.from_dlpack(ext_tensor=a), ck.from_dlpack(a, copy=True)
    x = ck.asarray(a)
    also = ck.asarray(obj=a, copy=True)
    a[0] = 5
    assert shared[0] == x[0] == 5 and copied[0] == also[0] == 1
    assert x.to(np.float64) is x and x.to(np.float64, copy=True) is not x
    assert ck.asarray([1.0], requires_grad=True).requires_grad
    with pytest.raises(ValueError, match="asarray: a ndarray cannot be had as float32 without a copy"):
        ck.asarray(a, dtype=np.float32, copy=False)
