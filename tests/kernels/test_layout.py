"""Memory order: what is a view, what is a copy, and that elements stay where they belong."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from convkit_kernels import layout
from tests.helpers import LAYOUTS, memory_order, numbers


@st.composite
def arrays(draw):
    """An array whose axes lie in memory in any order, some perhaps with gaps or reversed."""
    shape = tuple(draw(st.lists(st.integers(0, 4), min_size=0, max_size=5)))
    order = draw(st.permutations(range(len(shape))))
    a = np.asarray(numbers(0, tuple(shape[i] for i in order))).transpose(np.argsort(np.array(order, int)))
    kind = draw(st.sampled_from(["dense", "dense", "gaps", "reversed"]))
    if kind == "gaps" and a.ndim:
        a = a[..., ::2]
    if kind == "reversed" and a.ndim:
        a = a[::-1]
    return a


@given(arrays())
def test_flat_lists_the_elements_in_memory_order(a):
    order, line = layout.order_of(a), layout.flat(a)
    if not a.size:
        return
    addresses = sorted(a[(*place, None)].ctypes.data for place in np.ndindex(a.shape))
    forward = all(step > 0 for step, n in zip(a.strides, a.shape, strict=True) if n > 1)
    dense = forward and addresses[-1] - addresses[0] == (a.size - 1) * a.itemsize
    assert (order is not None) == dense
    if line is None:
        assert not dense
        return
    assert line.ndim == 1 and line.flags.c_contiguous
    assert np.shares_memory(line, a) and line.ctypes.data == addresses[0]
    assert np.array_equal(line, a.transpose(tuple(i for i in range(a.ndim) if a.shape[i] == 1) + order).ravel())


@given(arrays())
def test_order_is_that_of_the_memory(a):
    order = layout.order_of(a)
    if order is not None and a.size:
        assert order == memory_order(a)


def test_equal_layouts_have_equal_orders_whatever_numpy_says_of_unit_axes():
    a = np.zeros((2, 1, 3, 4))
    b = np.lib.stride_tricks.as_strided(a, a.shape, (96, 7777, 32, 8))
    assert layout.order_of(a) == layout.order_of(b) == (0, 2, 3)


@pytest.mark.parametrize("kind", sorted(LAYOUTS))
def test_normal_gives_what_kernels_can_read(kind):
    a = numbers(1, (2, 3, 4))
    given_ = LAYOUTS[kind](a)
    b = layout.normal(given_)
    assert b.dtype == np.float64 and b.dtype.isnative and b.flags.aligned and b.flags.writeable
    assert np.array_equal(a, b)
    assert (b is given_) == (kind not in ("read-only", "read-only channels-last", "unaligned", "other byte order"))


@pytest.mark.parametrize("shape", [(2, 3, 4), (2, 3, 4, 5), (2, 3, 4, 5, 6), (1, 1, 1), (0, 3, 4, 5), (2, 1, 4, 5), (2, 3, 1, 1)])
@pytest.mark.parametrize("kind", ["C order", "channels-last", "gaps"])
def test_channels_last_is_told(shape, kind):
    a = LAYOUTS[kind](numbers(2, shape))
    assert layout.is_channels_last(a) == np.moveaxis(a, 1, -1).flags.c_contiguous
