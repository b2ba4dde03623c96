"""NumPy's functions and operators of device arrays: NumPy's results, or a TypeError."""

import operator

import numpy as np
import pytest

from tests import backend

backend.gpu()

from convkit_kernels.cuda import memory  # noqa: E402
from convkit_kernels.cuda.memory import asarray  # noqa: E402

A = np.array([[1.5, -2.0, 3.0], [0.25, 4.0, -1.0]], np.float32)
B = np.array([2.0, 0.5, -1.5], np.float32)
I, J = np.array([[7, -3, 2], [5, 6, 9]]), np.array([2, 3, 1])


def same(got, expected):
    assert type(got) is memory.Array and got.dtype == expected.dtype and got.shape == expected.shape
    np.testing.assert_allclose(got.get(), expected, rtol=1e-6 if expected.dtype.kind == "f" else 0)


@pytest.mark.parametrize("name", ["add", "sub", "mul", "truediv", "floordiv", "mod", "eq", "ne", "lt", "le", "gt", "ge", "pow"])
@pytest.mark.parametrize("x, k", [(A, B), (I, J)])
def test_operators(name, x, k):
    op = getattr(operator, name)
    if name == "pow":
        x = np.abs(x)
        k = np.abs(k)
    same(op(asarray(x), asarray(k)), op(x, k))
    if name in ("add", "mul", "lt", "truediv"):
        same(op(asarray(x), k), op(x, k))
        same(op(k, asarray(x)), op(k, x))
        same(op(asarray(x), 2), op(x, 2))
        same(op(2, asarray(x)), op(2, x))


@pytest.mark.parametrize("name", ["and_", "or_", "xor"])
def test_operators_of_bits(name):
    op = getattr(operator, name)
    same(op(asarray(I), asarray(J)), op(I, J))
    same(op(asarray(I > 2), asarray(J > 2)), op(I > 2, J > 2))


def test_operators_of_one():
    same(-asarray(A), -A)
    same(abs(asarray(A)), abs(A))
    same(~asarray(I), ~I)
    same(~asarray(A > 0), ~(A > 0))


def test_operators_in_place():
    x = asarray(A)
    place = x.view.__array_interface__["data"]
    x += 1
    x *= asarray(B)
    x -= B
    x /= 2
    assert x.view.__array_interface__["data"] == place
    same(x, ((A + 1) * B - B) / 2)


FUNCTIONS = {
    "exp": np.exp, "where": lambda x: np.where(x > 0, x, -x), "floor": np.floor, "isnan": np.isnan, "sqrt": lambda x: np.sqrt(abs(x)),
    "maximum": lambda x: np.maximum(x, 0), "arctan2": lambda x: np.arctan2(x, x[0]), "copy": np.copy, "transposed copy": lambda x: np.copy(x.T),
    "reshape": lambda x: np.reshape(x, (3, 2)), "ravel": np.ravel, "expand_dims": lambda x: np.expand_dims(x, 1),
    "moveaxis": lambda x: np.moveaxis(x, 0, 1), "broadcast_to": lambda x: np.broadcast_to(x, (4, 2, 3)), "flip": lambda x: np.flip(x, 1),
    "squeeze": lambda x: np.squeeze(x[:1]), "diagonal": lambda x: np.diagonal(x),
    "concatenate": lambda x: np.concatenate([x, x[:1]], 0), "zeros_like": np.zeros_like, "ones_like": lambda x: np.ones_like(x, dtype=np.int64),
    "full_like": lambda x: np.full_like(x, 7), "astype": lambda x: x.astype(np.int64), "to bool": lambda x: x.astype(bool),
}  # fmt: skip


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions(name):
    same(FUNCTIONS[name](asarray(A)), FUNCTIONS[name](A))


def test_creation_like_a_device_array():
    x = asarray(A)
    for make in (
        lambda like: np.zeros((2, 2), np.float32, like=like),
        lambda like: np.full((3,), 2.5, like=like),
        lambda like: np.ones(4, like=like),
    ):
        same(make(x), make(A))
    assert np.empty((2, 3), np.float32, like=x).shape == (2, 3) and np.result_type(x, np.float64) == np.float64


def test_assignment():
    x, y = asarray(A), A.copy()
    for a in (x, y):
        a[0] = 5
        a[:, 1] = a[:, 2]
        a[1, ::2] = np.array([8, 9])
        a[...] += 1
    same(x, y)


@pytest.mark.parametrize(
    ("what", "name"),
    [(lambda x: np.median(x), "median"), (lambda x: np.add.reduce(x), "add.reduce"), (np.cbrt, "cbrt"),
     (lambda x: np.add(x, 1, where=x > 0), "add")],
)  # fmt: skip
def test_what_has_no_kernel_is_refused_by_name(what, name):
    with pytest.raises(TypeError, match=rf"cuda: there is no kernel for NumPy's {name}; use \.cpu\(\)"):
        what(asarray(A))


@pytest.mark.parametrize("key", [0, (1, 2), (slice(None), np.array([1, 1])), (0, np.array([2, 2, 0]))])
def test_add_at(key):
    x, expected = asarray(A), A.copy()
    np.add.at(x, key, 2)
    np.add.at(expected, key, 2)
    same(x, expected)


def test_what_is_assigned_may_overlap():
    x, expected = asarray(A), A.copy()
    x[:, 1:] = x[:, :-1]
    expected[:, 1:] = expected[:, :-1].copy()
    same(x, expected)


@pytest.mark.parametrize("values", [lambda a: a, lambda a: a[::-1], lambda a: a[:1]])
def test_what_is_put_along_an_axis_may_overlap(values):
    a, index = np.arange(12.0).reshape(2, 6), np.array([[5, 4, 3, 2, 1, 0], [1, 2, 3, 4, 5, 0]])
    there = asarray(a)
    np.put_along_axis(a, index, values(a).copy(), 1)
    np.put_along_axis(there, asarray(index), values(there), 1)
    same(there, a)


def test_tensors_of_the_device_in_a_list():
    import convkit

    there = [convkit.ones(2, device=backend.gpu()), convkit.zeros(2, device=backend.gpu())]
    for data, expected in ((there, [[1, 1], [0, 0]]), ([[there[0].sum(), 3]], [[2, 3]])):
        made = convkit.tensor(data)
        assert made.device == backend.gpu() and made.tolist() == expected
