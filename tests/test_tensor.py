"""Tensors: made from anything, in any memory; dtypes; changes in place; comparison; in and out of NumPy, DLPack, copies, pickles."""

import copy
import io
import operator
import pickle
import threading

import numpy as np
import pytest

import convkit as ck
from convkit.autograd import grad
from tests.helpers import LAYOUTS, channels_last_copy, memory_order, numbers, threads

UNREADABLE = ["read-only", "read-only channels-last", "unaligned", "other byte order"]  # for kernels, so these are copied


# ------------------------------------------------------------------------------------ what it is
def test_what_it_is():
    t = ck.ones(2, 3)
    assert (t.shape, t.ndim, t.dim(), t.numel(), t.size(), t.size(1), t.size(-1), len(t)) == ((2, 3), 2, 2, 6, (2, 3), 3, 3, 2)
    assert t.device == "cpu" and t.is_leaf and t.grad_fn is None and t.T.shape == (3, 2)
    assert ck.float32 == np.float32 and t.dtype == ck.float32
    with pytest.raises(TypeError, match="len.. of a tensor without dimensions"):
        len(ck.tensor(1.0))


def test_repr():
    assert repr(ck.tensor([1.0, 2.5])) == "tensor([1. , 2.5])"
    assert repr(ck.tensor([1, 2])) == "tensor([1, 2])"
    assert repr(ck.tensor(True)) == "tensor(True)"
    assert repr(ck.tensor([1.0], dtype=ck.float64)) == "tensor([1.], dtype=float64)"
    x = ck.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    assert repr(x) == "tensor([[1., 2.],\n        [3., 4.]], requires_grad=True)"
    assert repr(x[0] * 2.0) == "tensor([2., 4.], grad_fn=<Mul>)"
    assert len(repr(ck.zeros(1000, 1000))) < 1000
    assert repr(ck.zeros(0, 3)).startswith("tensor([]")


def test_python_numbers():
    assert ck.tensor([[2.5]]).item() == 2.5 and isinstance(ck.tensor(3).item(), int) and isinstance(ck.tensor(True).item(), bool)
    assert float(ck.tensor([2.5])) == 2.5 and int(ck.tensor(2.9)) == 2 and bool(ck.tensor([0.0])) is False and bool(ck.tensor(3)) is True
    assert [10, 20, 30][ck.tensor(1)] == 20 and operator.index(ck.tensor(7)) == 7
    for wrong in (ck.ones(2), ck.ones(0)):
        for convert in (lambda t: t.item(), float, int, bool):
            with pytest.raises(ValueError, match="needs exactly one element, got shape"):
                convert(wrong)
    with pytest.raises(TypeError):
        operator.index(ck.tensor(1.0))


def test_iteration_and_membership():
    x = ck.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    rows = list(x)
    assert [r.tolist() for r in rows] == [[1, 2], [3, 4]]
    (rows[0] * 2.0 + rows[1]).sum().backward()
    assert x.grad.tolist() == [[2, 2], [1, 1]]
    with pytest.raises(TypeError):
        iter(ck.tensor(1.0)).__next__()


def test_tensors_are_keys():
    a, b = ck.ones(2), ck.ones(2)
    assert len({a: 1, b: 2}) == 2 and {a: 1}[a] == 1


# ------------------------------------------------------------------------------------- dtypes
def test_to():
    x = ck.tensor([1.5, 2.5])
    assert x.to("cpu") is x and x.to(ck.float32) is x and x.to(device="cpu", dtype="float32") is x and x.cpu() is x and x.float() is x
    assert x.to(ck.float64).dtype == np.float64 and x.to("cpu", ck.int64).tolist() == [1, 2] and x.to(ck.ones(1).double()).dtype == np.float64
    assert (x.double().dtype, x.long().dtype, x.bool().dtype, x.type(np.int32).dtype) == (np.float64, np.int64, np.bool_, np.int32)
    with pytest.raises(ValueError, match="device must be 'cpu', 'cuda', 'cuda:sim' or 'auto', got"):
        x.to(device="gpu")
    with pytest.raises(TypeError):
        x.to("no dtype")


PROMOTIONS = [
    ("float32", "float64", "float64"), ("float32", "int64", "float32"), ("float64", "uint8", "float64"), ("int32", "int64", "int64"),
    ("float32", "bool", "float32"), ("uint8", "float32", "float32"), ("bool", "int64", "int64"), ("int64", "float32", "float32"),
]  # fmt: skip


@pytest.mark.parametrize(("a", "b", "result"), PROMOTIONS)
def test_two_tensors_promote_as_in_torch(a, b, result):
    a, b = ck.tensor(np.array([3, 1]), dtype=a), ck.tensor(np.array([2, 1]), dtype=b)
    for op in (operator.add, operator.mul, ck.maximum, ck.minimum):
        assert op(a, b).dtype == op(b, a).dtype == result
    assert ck.where(ck.tensor([True, False]), a, b).dtype == result
    assert (a / b).dtype == (result if result.startswith("float") else "float32")


NUMBERS = [2, 0.5, np.float64(0.5), np.float32(0.5), np.int64(2)]


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize("op", [operator.add, operator.sub, operator.mul, operator.truediv, operator.pow])
def test_a_number_takes_the_tensor_s_dtype(op, number):
    # NumPy would make float64 of `x * np.sqrt(2)`, and the next convolution would refuse it.
    for dtype in ("float32", "float64"):
        x = ck.tensor([1.5, 2.0], dtype=dtype, requires_grad=True)
        y = op(x, number)
        assert y.dtype == dtype
        np.testing.assert_allclose(y.detach().numpy(), op(np.array([1.5, 2.0]), float(number)), rtol=1e-6)
        y.sum().backward()
        assert x.grad.dtype == dtype
    whole = op(ck.tensor([4, 2]), number)
    assert whole.dtype == ("int64" if isinstance(number, (int, np.integer)) and op is not operator.truediv else "float32")


@pytest.mark.parametrize("number", [2, 0.5, np.float64(0.5), np.int64(2), np.ones(2, np.float32), np.ones(2, np.int64)])
@pytest.mark.parametrize("op", [operator.add, operator.sub, operator.mul, operator.truediv])
def test_from_the_right(op, number):
    y = op(number, ck.tensor([1.5, 2.0]))
    assert isinstance(y, ck.Tensor) and y.dtype == np.float32
    np.testing.assert_allclose(y.numpy(), op(np.asarray(number, np.float64), np.array([1.5, 2.0])), rtol=1e-6)


def test_images_divided_by_255_are_float32():
    y = ck.tensor(np.array([0, 51, 255], np.uint8)) / 255
    assert y.dtype == np.float32 and np.allclose(y.numpy(), [0, 0.2, 1])


def test_gradients_have_their_tensor_s_dtype():
    a, b = ck.tensor([1.0, 2.0], requires_grad=True), ck.tensor([3.0, 4.0], dtype=ck.float64, requires_grad=True)
    for y in (a * b, a + b, a / b, ck.maximum(a, b), ck.cat([a, b]), ck.where(ck.tensor([True, False]), a, b), a**b):
        a.grad = b.grad = None
        y.sum().backward()
        assert a.grad.dtype == np.float32 and b.grad.dtype == np.float64


def test_a_number_is_saved_in_the_tensor_s_dtype():
    x = ck.ones(3, requires_grad=True)
    assert [t.dtype for t in (x * 2).grad_fn.saved_tensors] == [np.float32] * 2


# ------------------------------------------------------------------------------- comparison
def test_comparison():
    a, b = ck.tensor([1.0, 2.0, np.nan]), ck.tensor([1.0, 3.0, np.nan])
    for op, expected in (
        (operator.eq, [True, False, False]), (operator.ne, [False, True, True]), (operator.lt, [False, True, False]),
        (operator.le, [True, True, False]), (operator.gt, [False, False, False]), (operator.ge, [True, False, False]),
    ):  # fmt: skip
        result = op(a, b)
        assert isinstance(result, ck.Tensor) and result.dtype == np.bool_ and result.tolist() == expected
        assert op(a, b.numpy()).tolist() == expected
    assert (a > 1.5).tolist() == [False, True, False] and (1.5 < a).tolist() == [False, True, False]
    assert (ck.ones(2, 1) == ck.ones(3)).shape == (2, 3)
    assert (~(a == b)).tolist() == [False, True, True] and a.isnan().tolist() == [False, False, True]
    assert (a == b).any().item() is True and (a == b).all().item() is False
    assert ck.tensor([1]) in [ck.tensor([2]), ck.tensor([1])]
    x = ck.ones(2, requires_grad=True)
    assert not (x > 0).requires_grad


def test_comparison_with_what_is_no_number():
    x = ck.ones(2)
    assert (x == None) is False and (x != None) is True and (x == "text") is False  # noqa: E711
    with pytest.raises(TypeError, match="not supported between"):
        _ = x < "text"
    with pytest.raises(ValueError, match=r"lt: shapes \[2\] and \[3\] do not broadcast"):
        _ = x < ck.ones(3)
    with pytest.raises(ValueError, match="bool: needs exactly one element"):
        bool(x == x)


# ----------------------------------------------------------------------------------- in and out
def test_numpy_shares_and_refuses_what_requires_a_gradient():
    x = ck.zeros(2)
    x.numpy()[0] = 5
    assert x.tolist() == [5, 0]
    x.requires_grad_()
    with pytest.raises(RuntimeError, match=r"numpy: .*use .detach\(\).numpy\(\)"):
        x.numpy()
    assert np.shares_memory(x.detach().numpy(), x.array)


def test_array_protocol():
    x = ck.tensor([[1.5, 2.5]])
    assert np.array_equal(np.asarray(x), [[1.5, 2.5]]) and np.asarray(x).dtype == np.float32
    assert np.shares_memory(np.asarray(x), x.array) and not np.shares_memory(np.array(x), x.array)
    assert np.asarray(x, np.float64).dtype == np.float64
    with pytest.raises(ValueError, match="copy"):
        np.array(x, dtype=np.float64, copy=False)
    assert np.stack([x, x]).shape == (2, 1, 2)
    assert isinstance(np.ones(2, np.float32) * x, ck.Tensor)  # not an array of tensors


def test_dlpack():
    a = np.arange(6, dtype=np.float32).reshape(2, 3)
    x = ck.from_dlpack(a)
    assert np.shares_memory(x.array, a) and x.__dlpack_device__() == a.__dlpack_device__()
    back = np.from_dlpack(x)
    assert np.shares_memory(back, a) and back.tolist() == a.tolist()
    x.requires_grad_()
    with pytest.raises(BufferError, match=r"use .detach\(\)"):
        np.from_dlpack(x)
    strided = channels_last_copy(numbers(0, (2, 3, 4, 5), np.float32))
    assert np.array_equal(ck.from_dlpack(ck.from_numpy(strided)).numpy(), strided)


def test_deepcopy():
    x = ck.from_numpy(channels_last_copy(numbers(0, (2, 3, 4, 5), np.float32))).requires_grad_()
    (x * 2.0).sum().backward()
    y, again = copy.deepcopy([x, x])
    assert y is again and type(y) is ck.Tensor and y.requires_grad and y.is_leaf
    assert np.array_equal(y.detach().numpy(), x.detach().numpy()) and not np.shares_memory(y.array, x.array)
    assert memory_order(y.array) == memory_order(x.array)
    assert y.grad.tolist() == x.grad.tolist() and not np.shares_memory(y.grad.array, x.grad.array)
    with pytest.raises(RuntimeError, match=r"deepcopy: only leaves can be copied with their graph; use .detach\(\) first"):
        copy.deepcopy(x * 2.0)


@pytest.mark.parametrize("kind", sorted(LAYOUTS))
def test_pickle(kind):
    x = ck.from_numpy(LAYOUTS[kind](numbers(0, (2, 3, 4), np.float32))).requires_grad_()
    for protocol in (2, pickle.HIGHEST_PROTOCOL):
        y = pickle.loads(pickle.dumps(x, protocol))
        assert type(y) is ck.Tensor and y.requires_grad and y.dtype == np.float32 and np.array_equal(y.detach().numpy(), x.detach().numpy())
        (y * 2.0).sum().backward()
        assert y.array.flags.writeable and y.grad.shape == y.shape
    buffer = io.BytesIO()
    pickle.dump({"x": x.detach()}, buffer)
    buffer.seek(0)
    assert not pickle.load(buffer)["x"].requires_grad


def test_parameters_stay_parameters():
    p = ck.nn.Parameter(ck.ones(2))
    for twin in (copy.deepcopy(p), pickle.loads(pickle.dumps(p))):
        assert type(twin) is ck.nn.Parameter and twin.requires_grad and twin.tolist() == [1, 1]


# ------------------------------------------------------------------------------------- memory
def test_clone_and_contiguous():
    a = channels_last_copy(numbers(0, (2, 3, 4, 5), np.float32))
    for requires_grad in (False, True):
        x = ck.from_numpy(a).requires_grad_(requires_grad)
        copied, plain = x.clone(), x.contiguous()
        assert memory_order(copied.array) == memory_order(a) and not np.shares_memory(copied.array, a)
        assert plain.array.flags.c_contiguous and np.array_equal(plain.detach().numpy(), a)
        assert plain.contiguous() is plain and plain.requires_grad == requires_grad
    (g,) = grad((x.contiguous() * 3.0 + x.clone()).sum(), x)
    assert (g.numpy() == 4).all()


def test_data():
    x = ck.ones(2, requires_grad=True)
    assert not x.data.requires_grad and np.shares_memory(x.data.array, x.array)
    x.data = ck.zeros(2)
    assert x.tolist() == [0, 0] and x.requires_grad


def test_a_tensor_in_two_threads():
    x = ck.ones(1000, requires_grad=True)
    results = []

    def work():
        for _ in range(20):
            results.append(grad((x * x).sum(), x)[0].numpy().sum())

    both = [threading.Thread(target=work) for _ in range(2)]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join()
    assert results == [2000.0] * 40


# ------------------------------------------------------------------------------- NumPy's numbers, and what no kernel can read
def test_sizes_and_values_that_are_numpy_numbers():
    assert ck.full(np.int64(2), np.int64(3)).tolist() == [3, 3] and ck.full((2,), np.int64(3)).dtype == np.int64
    assert ck.full((1,), np.True_).dtype == np.bool_ and ck.full((1,), np.float64(2)).dtype == np.float32
    assert ck.arange(np.int64(3)).dtype == np.int64 and ck.zeros(np.int32(2)).shape == (2,)
    x = ck.Tensor(np.float64(2), requires_grad=True)  # what `array + 1` gives where the array has no dimensions
    (gx,) = grad(x * x * x, x, create_graph=True)
    assert isinstance(x.array, np.ndarray) and gx.item() == 12 and grad(gx, x)[0].item() == 12


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: ck.arange(0, 3, 0), ValueError, "arange: step must not be 0"),
        (lambda: ck.ones(2).to(np.complex64), TypeError, "to: the dtype must be of real numbers or booleans, got complex64"),
        (lambda: ck.ones(2).to(object), TypeError, "to: the dtype must be of real numbers or booleans, got object"),
        (lambda: ck.ones(2).size(1), IndexError, "size: dim 1 is out of range for a tensor of 1 dimensions"),
        (lambda: ck.ones(2).clamp_(), ValueError, "clamp_: needs min or max"),
        (lambda: ck.relu(ck.tensor(np.ones(2, np.float16))), TypeError, "relu: needs float32 or float64, got float16"),
    ],
)
def test_more_errors(call, error, words):
    with pytest.raises(error, match=words):
        call()


def test_random_tensors_do_not_depend_on_the_threads():
    results = []
    for count in (1, 2):
        with threads(count):
            generator = ck.Generator(5)
            results.append([f(generator) for f in (lambda g: ck.rand(100_001, generator=g), lambda g: ck.randn(100_001, generator=g))])
    assert all(np.array_equal(one.numpy(), two.numpy()) for one, two in zip(*results, strict=True))
