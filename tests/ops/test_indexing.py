"""Indexing and gathering."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import convkit
from convkit import Tensor
from tests.helpers import same
from tests.ops import both_layouts, check_gradients, gradients, leaf, seeds

shapes = st.lists(st.integers(1, 3), min_size=1, max_size=4).map(tuple)


NAMES = ["reshape", "flatten", "permute", "transpose", "T", "squeeze", "unsqueeze", "expand", "pad", "split", "chunk", "clone"]


KEYS = [
    1, -1, slice(None), slice(1, None), slice(None, None, 2), slice(None, None, -1), slice(2, 2), None, ...,
    (0, 1), (slice(None), 1), (..., 1), (..., None), (slice(1, 3), slice(0, 2)),
    [0, 2], [1, 1, 0], (slice(None), [0, 0]), ([0, 1], [1, 0]), (0, ..., [1, 0]),
    np.array([[0, 1], [2, 2]]), (np.array([0, 2]), slice(None), 0), np.array([True, False, True]),
]  # fmt: skip


@pytest.mark.parametrize("key", KEYS, ids=str)
def test_indexing(key):
    x = leaf(1, (3, 4, 2))
    assert same(x[key].detach().numpy(), np.asarray(x.array[key]))
    check_gradients(lambda x: x[key] * 2, x, second=False)
    check_gradients(lambda x: (x * x)[key], Tensor(x.array[:, :2, :], requires_grad=True))
    if isinstance(key, np.ndarray | list):
        assert same(x[convkit.tensor(np.asarray(key))].detach().numpy(), x.array[key])


def test_indexing_by_a_mask_and_by_tensors():
    x = leaf(1, (3, 4))
    assert same(x[x > 0].detach().numpy(), x.array[x.array > 0])
    assert same(x[convkit.tensor(1)].detach().numpy(), x.array[1])
    i, j = convkit.tensor([0, 2, 2]), convkit.tensor([1, 1, 1])
    y, gx = gradients(lambda x: x[i, j], x)
    expected = np.zeros((3, 4))
    expected[0, 1], expected[2, 1] = 1, 2  # taken twice, counted twice
    assert np.array_equal(gx, expected)


@settings(max_examples=30)
@given(shape=shapes, layout=both_layouts, length=st.integers(1, 4), seed=seeds, data=st.data())
def test_gather(shape, layout, length, seed, data):
    dim = data.draw(st.integers(-len(shape), len(shape) - 1))
    size = tuple(length if d == dim % len(shape) else data.draw(st.integers(1, n)) for d, n in enumerate(shape))
    index = np.random.default_rng(seed).integers(0, shape[dim], size)
    x = leaf(seed, shape, layout)
    part = x.array[tuple(slice(None) if d == dim % len(shape) else slice(n) for d, n in enumerate(size))]
    assert same(x.gather(dim, convkit.tensor(index)).detach().numpy(), np.take_along_axis(part, index, dim))
    if x.numel() * index.size <= 200:
        check_gradients(lambda x: x.gather(dim, convkit.tensor(index)) * 2, x, second=False)
        check_gradients(lambda x: (x * x).gather(dim, convkit.tensor(index)), x)
