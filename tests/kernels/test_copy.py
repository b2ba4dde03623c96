"""Copies in another memory order: NumPy's elements where they belong, and no copy where none is needed."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from convkit_kernels.layout import from_channels_last
from tests.backend import SIMULATED, kernels, settings
from tests.helpers import LAYOUTS, numbers, same_with_one_and_two_threads
from tests.reference import copy as reference

channels_last, concatenate, contiguous = kernels.channels_last, kernels.concatenate, kernels.contiguous
# The longest axis, and elements from which on copies go by kernels of their own.
MANY, LARGE = (6, 60) if SIMULATED else (40, 4200)


@pytest.mark.parametrize("kind", sorted(set(LAYOUTS) - {"other byte order"}))
def test_contiguous(kind):
    a = numbers(1, (2, 3, 4, 5))
    given_ = LAYOUTS[kind](a)
    b = contiguous(given_)
    assert b.flags.carray and np.array_equal(a, b)


@pytest.mark.cpu
@pytest.mark.parametrize("kind", sorted(set(LAYOUTS) - {"other byte order"}))
def test_only_what_lies_otherwise_is_copied(kind):
    a = LAYOUTS[kind](numbers(1, (2, 3, 4, 5)))
    assert (contiguous(a) is a) == (kind == "C order")
    last = channels_last(a)
    assert np.shares_memory(last, a) == (kind == "channels-last")


@pytest.mark.cpu
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_large_slices_are_copied_in_parts(axis):
    a = numbers(3, [900 if d == axis else 30 for d in range(3)])
    b = contiguous(a[:, ::2, 1:])
    assert b.size > 4 * 65536 and b.flags.carray and np.array_equal(b, a[:, ::2, 1:])


def test_contiguous_copies_a_broadcast_array():
    b = contiguous(np.broadcast_to(np.ones(1), (3,)))
    assert b.strides == (8,) and b.flags.writeable and b.tolist() == [1, 1, 1]


@pytest.mark.parametrize("shape", [(2, 3, 4), (2, 3, 4, 5), (2, 3, 4, 5, 6), (1, 1, 1), (0, 3, 4, 5), (2, 1, 4, 5), (2, 3, 1, 1)])
@pytest.mark.parametrize("kind", sorted(set(LAYOUTS) - {"other byte order"}))
def test_channels_last_and_back(shape, kind):
    a = numbers(2, shape)
    given_ = LAYOUTS[kind](a)
    last = channels_last(given_)
    spatial = (1,) * (5 - len(shape)) + shape[2:]
    assert last.shape == (shape[0], *spatial, shape[1]) and last.flags.c_contiguous
    assert np.array_equal(last.reshape(shape[0], *shape[2:], shape[1]), np.moveaxis(a, 1, -1))
    back = from_channels_last(last, len(shape) - 2)
    assert np.array_equal(back, a)
    assert np.shares_memory(back, last) or not a.size


@given(st.permutations(range(4)), st.lists(st.integers(1, MANY), min_size=4, max_size=4), st.sampled_from("fdiqFb"), st.integers(0, 9))
@settings(max_examples=60)
def test_any_order_of_axes(order, shape, char, seed):
    a = np.asarray(numbers(seed, tuple(shape)) * 100).astype(char).transpose(order)
    assert np.array_equal(contiguous(a), np.array(a, order="C")) and contiguous(a).flags.carray


@given(
    st.lists(st.integers(1, MANY // 3), min_size=2, max_size=7), st.lists(st.sampled_from([1, 1, 1, 2, -1, -3, 0]), min_size=7, max_size=7),
    st.randoms(use_true_random=False), st.sampled_from("fdqhFD?"), st.integers(0, 9),
)  # fmt: skip
@settings(max_examples=150)
def test_any_strides(shape, steps, draw, char, seed):
    """Axes in any order, with gaps, backwards or repeated."""
    shape = [*shape, -(-LARGE // int(np.prod(shape)))]  # enough for a kernel
    draw.shuffle(shape)
    key, sizes = [], []
    for n, step in zip(shape, [*steps, 1], strict=False):
        key.append(slice(0, 1) if not step else slice(None, None, step))
        sizes.append(max(1, n * abs(step)))
    a = np.asarray(numbers(seed, tuple(sizes)) * 100).astype(char)[tuple(key)]
    a = np.broadcast_to(a, [n if n > 1 else m for n, m in zip(a.shape, shape, strict=True)])
    order = [*range(a.ndim)]
    draw.shuffle(order)
    a = a.transpose(order)
    b = contiguous(a)
    assert b.flags.carray and np.array_equal(b, a)


@pytest.mark.cpu
def test_any_strides_with_one_and_two_threads():
    a = numbers(3, (40, 50, 7, 30))
    for b in (a[:, ::-1], a[..., ::-1], a.transpose(3, 0, 2, 1)[:, ::2], a.transpose(2, 1, 0, 3), np.broadcast_to(a[:, :1], a.shape)):
        assert same_with_one_and_two_threads(lambda b=b: (contiguous(b),)) and np.array_equal(contiguous(b), b)
    line = numbers(4, 200001)
    assert np.array_equal(contiguous(line[::-2]), line[::-2])
    assert np.array_equal(concatenate([line, line[:3], line[::2]], 0), np.concatenate([line, line[:3], line[::2]]))


SHAPES = [(3, 5, 40, 41), (2, 64, 32, 32), (1, 200, 7, 9), (70, 17, 13, 1), (64, 3, 33, 9)]


@pytest.mark.parametrize("shape", [(2, 5, 7, 3), (1, 3, 5, 6), (2, 4, 4, 4)] if SIMULATED else SHAPES)
@pytest.mark.parametrize("dtype", ["float32", "float64", "int64"])
def test_planes_to_channels_last_and_back(shape, dtype):
    a = (numbers(3, shape) * 1000).astype(dtype)
    last = np.array(np.moveaxis(a, 1, -1), order="C")
    assert same_with_one_and_two_threads(lambda: (contiguous(np.moveaxis(a, 1, -1)), contiguous(np.moveaxis(last, -1, 1))))
    for result, expected in ((contiguous(np.moveaxis(a, 1, -1)), last), (contiguous(np.moveaxis(last, -1, 1)), a)):
        assert np.array_equal(result, expected) and result.flags.carray


def test_bits_are_copied():
    """A signalling NaN, with its payload, and negative zero."""
    a = np.full((2, 9, 7) if SIMULATED else (64, 9, 16), 0xFFA12345, np.uint32).view(np.float32)
    a[0] = -0.0
    assert np.array_equal(contiguous(a.transpose(0, 2, 1)).view(np.uint32), a.view(np.uint32).transpose(0, 2, 1))


@given(
    st.lists(st.integers(1, MANY), min_size=3, max_size=3), st.integers(0, 2), st.lists(st.integers(0, MANY), min_size=1, max_size=4),
    st.sampled_from("fdqFb?"), st.booleans(),
)  # fmt: skip
@settings(max_examples=60)
def test_concatenate(shape, axis, sizes, char, sliced):
    """Parts in C order, some of size 0, or every second row of larger ones, backwards."""
    parts = []
    for i, n in enumerate(sizes):
        whole = np.asarray(numbers(i, (*shape[:axis], n, *shape[axis + 1 :])) * 100).astype(char)
        parts.append(np.repeat(whole, 2, 0)[::2][::-1, ::-1] if sliced else whole)
    y = concatenate(parts, axis)
    assert y.dtype == parts[0].dtype and y.flags.c_contiguous and np.array_equal(y, reference.concatenate(parts, axis))


@pytest.mark.cpu
@pytest.mark.parametrize("shape", [(40, 60, 33), (3, 40, 41, 18), (1, 5000, 2)])
@pytest.mark.parametrize("char", "fdb")
def test_rows_with_gaps(shape, char):
    """What a slice of the innermost axes leaves: rows, which are copied whole."""
    a = (numbers(3, shape) * 1000).astype(char)
    for key in ((..., slice(0, 16)), (..., slice(1, None)), (slice(None), slice(2, 30)), (..., slice(None, None, 2))):
        assert same_with_one_and_two_threads(lambda key=key: (contiguous(a[key]),))
        b = contiguous(a[key])
        assert b.flags.carray and np.array_equal(b, a[key])
