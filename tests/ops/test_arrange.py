"""Arrangements: values against NumPy, gradients against differences."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import convkit
from convkit import Tensor
from tests.backend import SIMULATED, settings
from tests.helpers import memory_order, numbers, same
from tests.ops import both_layouts, check_gradients, leaf, second_order_runs, seeds

# name: (the call, the same in NumPy), on a tensor [2, 3, 4]
CASES = {
    "movedim": (lambda x: x.movedim((0, 1), (2, 0)), lambda a: np.moveaxis(a, (0, 1), (2, 0))),
    "mT": (lambda x: x.mT, lambda a: np.swapaxes(a, -1, -2)),
    "swapaxes": (lambda x: x.swapaxes(0, 2), lambda a: np.swapaxes(a, 0, 2)),
    "flip": (lambda x: x.flip(0, -1), lambda a: np.flip(a, (0, 2))),
    "flip named": (lambda x: convkit.flip(x, dims=[1]), lambda a: np.flip(a, 1)),
    "fliplr": (lambda x: x.fliplr(), np.fliplr),
    "roll": (lambda x: x.roll((1, -2), (0, 2)), lambda a: np.roll(a, (1, -2), (0, 2))),
    "roll all": (lambda x: x.roll(5), lambda a: np.roll(a, 5)),
    "rot90": (lambda x: x.rot90(1, (1, 2)), lambda a: np.rot90(a, 1, (1, 2))),
    "rot90 back": (lambda x: x.rot90(-1, (0, 2)), lambda a: np.rot90(a, -1, (0, 2))),
    "repeat": (lambda x: x.repeat(2, 1, 2, 1), lambda a: np.tile(a, (2, 1, 2, 1))),
    "tile": (lambda x: x.tile(2, 3), lambda a: np.tile(a, (2, 3))),
    "repeat_interleave": (lambda x: x.repeat_interleave(2, 1), lambda a: np.repeat(a, 2, 1)),
    "repeat each": (lambda x: x.repeat_interleave(convkit.tensor([1, 0, 2]), 1), lambda a: np.repeat(a, [1, 0, 2], 1)),
    "expand_as": (lambda x: x[:, :1].expand_as(x), lambda a: np.broadcast_to(a[:, :1], a.shape)),
    "unflatten": (lambda x: x.unflatten(2, (2, -1)), lambda a: a.reshape(2, 3, 2, 2)),
    "unbind": (lambda x: x.unbind(1)[2], lambda a: a[:, 2]),
    "tensor_split": (lambda x: x.tensor_split(3, 2)[0], lambda a: np.array_split(a, 3, 2)[0]),
    "tril": (lambda x: x.tril(-1), lambda a: np.tril(a, -1)),
    "triu": (lambda x: x.triu(1), lambda a: np.triu(a, 1)),
    "diagonal": (lambda x: x.diagonal(1, 0, 2), lambda a: np.diagonal(a, 1, 0, 2)),
    "diag": (lambda x: x[0, 0].diag(-1), lambda a: np.diag(a[0, 0], -1)),
    "diag_embed": (lambda x: x.diag_embed(), lambda a: a[..., None] * np.eye(4)),
    "hstack": (lambda x: convkit.hstack([x, x * 2]), lambda a: np.hstack([a, a * 2])),
    "vstack": (lambda x: convkit.vstack([x, x * 2]), lambda a: np.vstack([a, a * 2])),
    "dstack": (lambda x: convkit.dstack([x, x * 2]), lambda a: np.dstack([a, a * 2])),
    "column_stack": (lambda x: convkit.column_stack([x[0, 0], x[1, 1]]), lambda a: np.column_stack([a[0, 0], a[1, 1]])),
    "squeeze some": (lambda x: x[:, :1, None].squeeze((1, 2)), lambda a: a[:, 0]),
    "ravel": (lambda x: x.ravel(), np.ravel),
    "trace": (lambda x: x[0].trace(), lambda a: np.trace(a[0])),
    "broadcast_to": (lambda x: x.broadcast_to(2, 2, 3, 4), lambda a: np.broadcast_to(a, (2, 2, 3, 4))),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("layout", ["C order", "channels-last"])
def test_values_and_gradients(name, layout):
    ours, numpys = CASES[name]
    x = leaf(1, (2, 3, 4), layout)
    got, expected = np.ascontiguousarray(ours(x).detach().numpy()), np.ascontiguousarray(numpys(x.detach().numpy()))
    if name == "trace":  # a sum, whose order is the device's own
        np.testing.assert_allclose(got, expected, rtol=1e-15)
    else:
        assert same(got, expected)
    check_gradients(lambda x: ours(x) * 2, x, second=False)
    check_gradients(lambda x: ours(x * x), Tensor(x.array, requires_grad=True), second=not SIMULATED)


@settings(max_examples=2 if SIMULATED else 40)
@given(
    shape=st.lists(st.integers(0, 2 if SIMULATED else 3), min_size=2, max_size=3 if SIMULATED else 4).map(tuple),
    layout=both_layouts,
    seed=seeds,
    data=st.data(),
)
def test_drawn_shapes(shape, layout, seed, data):
    x = leaf(seed, shape, layout)
    d = data.draw(st.integers(-len(shape), len(shape) - 1))
    other = data.draw(st.integers(-len(shape), len(shape) - 1))
    shift = data.draw(st.integers(-4, 4))
    for ours, numpys in (
        (lambda x: x.flip(d), lambda a: np.flip(a, d)),
        (lambda x: x.roll(shift, d), lambda a: np.roll(a, shift, d)),
        (lambda x: x.movedim(d, other), lambda a: np.moveaxis(a, d, other)),
        (lambda x: x.tril(shift), lambda a: np.tril(a, shift)),
        (lambda x: x.repeat_interleave(2, d), lambda a: np.repeat(a, 2, d)),
        (lambda x: x.tile(2), lambda a: np.tile(a, 2)),
    ):
        assert same(np.ascontiguousarray(ours(x).detach().numpy()), np.ascontiguousarray(numpys(x.detach().numpy())))
        second_order_runs(lambda x, ours=ours: ours(x * x), x)


def test_views_and_copies():
    x = convkit.arange(6).reshape(2, 3)
    assert (
        np.shares_memory(x.movedim(0, 1).array, x.array) and np.shares_memory(x.unbind()[0].array, x.array) and np.shares_memory(x.t().array, x.array)
    )
    for y in (x.flip(0), x.roll(1, 1), x.repeat(1, 1), x.tril()):
        assert not np.shares_memory(y.array, x.array)
    image = Tensor(numbers(1, (2, 4, 5, 3)).transpose(0, 3, 1, 2))
    assert memory_order(image.flip(2).array) == memory_order(image.array)


def test_meshgrid_and_broadcast_tensors():
    a, b = convkit.arange(2), convkit.arange(3)
    for indexing in ("ij", "xy"):
        for ours, numpys in zip(convkit.meshgrid(a, b, indexing=indexing), np.meshgrid(a.numpy(), b.numpy(), indexing=indexing), strict=True):
            assert np.array_equal(ours.numpy(), numpys)
    p, q = convkit.broadcast_tensors(convkit.ones(2, 1), convkit.zeros(3))
    assert p.shape == q.shape == (2, 3)


ERRORS = {
    r"movedim: dim 3 is out of range": (IndexError, lambda x: x.movedim(3, 0)),
    r"movedim: source \(0, 1\) and destination 0 differ": (ValueError, lambda x: x.movedim((0, 1), 0)),
    r"flip: a dimension is named twice": (ValueError, lambda x: x.flip(0, 0)),
    r"flip: takes dims only": (TypeError, lambda x: x.flip(axis=0)),
    r"roll: shifts \(1, 2\) and dims \(0,\) differ": (ValueError, lambda x: x.roll((1, 2), 0)),
    r"rot90: needs two dims": (ValueError, lambda x: x.rot90(1, (0,))),
    r"repeat: needs a number of copies": (ValueError, lambda x: x.repeat(2)),
    r"repeat_interleave: 2 repeats for 3 elements": (ValueError, lambda x: x.repeat_interleave(convkit.tensor([1, 2]), 1)),
    r"unflatten: dimension 2 of size 4 does not part into \[3, -1\]": (ValueError, lambda x: x.unflatten(2, (3, -1))),
    r"t: needs at most 2 dimensions": (ValueError, lambda x: x.t()),
    r"tril: needs 2 dimensions at least": (ValueError, lambda x: x[0, 0].tril()),
    r"diag: needs a vector or a matrix": (ValueError, lambda x: x.diag()),
    r"diagonal: a dimension is named twice": (ValueError, lambda x: x.diagonal(0, 1, 1)),
    r"meshgrid: indexing must be 'ij' or 'xy'": (ValueError, lambda x: convkit.meshgrid(x[0, 0], indexing="yx")),
    r"broadcast_tensors: shapes \[2, 3, 4\], \[5\] do not broadcast": (ValueError, lambda x: convkit.broadcast_tensors(x, convkit.ones(5))),
    r"tensor_split: needs at least 1 part": (ValueError, lambda x: x.tensor_split(0)),
    r"trace: needs a matrix": (ValueError, lambda x: x.trace()),
}  # fmt: skip


@pytest.mark.parametrize("match", ERRORS)
def test_errors(match):
    error, call = ERRORS[match]
    with pytest.raises(error, match="^" + match):
        call(convkit.ones(2, 3, 4))


def test_triangles_keep_the_dtype():
    for dtype in (convkit.bool, convkit.uint8, convkit.int64, convkit.float32):
        x = convkit.ones(2, 2).to(dtype)
        assert x.tril().dtype == x.triu().dtype == dtype and x.tril_().tolist() == [[1, 0], [1, 1]]
    with pytest.raises(IndexError, match="flipud: dim 0 is out of range"):
        convkit.tensor(1.0).flipud()
