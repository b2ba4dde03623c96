import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from convkit_kernels import tables
from tests.backend import SIMULATED, kernels, settings
from tests.helpers import (
    LAYOUTS,
    channels_last_copy,
    dtypes,
    layouts,
    memory_order,
    numbers,
    relative_error,
    same,
    same_with_one_and_two_threads,
    tolerance,
)
from tests.reference import resample as reference


@st.composite
def drawn_table(draw, size):
    """Any table: outputs with no tap, with many, with the same one twice; or one of padding; or one with as many taps for each output."""
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    kind = draw(st.sampled_from(["ragged", "even", "padding"]))
    outputs = draw(st.integers(0 if kind == "ragged" else 1, 6))
    if kind == "padding":
        return tables.padding("replicate", size, draw(st.integers(0, 3)), draw(st.integers(0, 3)))
    if kind == "even":
        taps = draw(st.integers(0, 6))
        return tables.table(size, rng.integers(0, size, (outputs, taps)), rng.standard_normal((outputs, taps)))
    counts = rng.integers(0, draw(st.sampled_from([2, 5, 9])), outputs)
    start = np.concatenate([[0], np.cumsum(counts)])
    return tables.Table(size, start, rng.integers(0, size, start[-1]), rng.standard_normal(start[-1]))


@st.composite
def cases(draw):
    shape = [draw(st.integers(0, 2)), draw(st.sampled_from([1, 2, 3, 8, 19])), *draw(st.lists(st.integers(1, 5), max_size=3))]
    if len(shape) == 2:
        shape.pop()
    return tuple(shape), [draw(drawn_table(n)) if n and draw(st.booleans()) else None for n in shape]


@settings(max_examples=100)
@given(case=cases(), dtype=dtypes, layout=layouts, seed=st.integers(0, 99))
def test_against_the_reference(case, dtype, layout, seed):
    shape, walk = case
    x = LAYOUTS[layout](numbers(seed, shape, dtype))
    y = kernels.resample(x, walk)
    assert y.dtype == dtype
    size = reference.resample(np.abs(x), [None if t is None else tables.Table(t.size, t.start, t.index, np.abs(t.weight)) for t in walk])
    assert relative_error(y, reference.resample(x, walk), size) < tolerance(dtype, 5e-7, 1e-15)


@settings(max_examples=20)
@given(case=cases(), seed=st.integers(0, 99))
def test_transposed_tables_are_the_adjoint(case, seed):
    shape, walk = case
    x = numbers(seed, shape)
    y = kernels.resample(x, walk)
    g = numbers(seed + 1, y.shape)
    back = kernels.resample(g, [None if t is None else t.transposed for t in walk])
    assert back.shape == x.shape
    np.testing.assert_allclose(np.sum(back * x), np.sum(g * y), rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (2, 16, 4, 5), (2, 3, 4), (2, 3, 4, 5, 2), (2, 16, 1, 1), (1, 3, 1, 5)])
def test_memory_order_is_kept(shape):
    walk = [None, None, *(tables.padding("replicate", n, 1, 1) for n in shape[2:])]
    for x in (numbers(1, shape), channels_last_copy(numbers(1, shape))):
        y = kernels.resample(x, walk)
        last = (0, *range(2, x.ndim), 1)
        assert y.transpose(last).flags.c_contiguous if x.transpose(last).flags.c_contiguous else y.flags.c_contiguous
        assert memory_order(kernels.resample(y, walk)) == memory_order(y)


@pytest.mark.parametrize("channels", [1, 3, 16])
def test_nan_and_infinity_reach_only_what_sees_them(channels):
    x = numbers(1, (1, channels, 4, 5), np.float32)
    x[0, 0, 0, 0], x[0, 0, 3, 4] = np.nan, np.inf
    ragged = tables.padding("replicate", 5, 0, 2).transposed
    walk = [None, None, tables.padding("reflect", 4, 2, 1), tables.table(5, [[0, 1], [3, 4]], [[0.5, 0.5], [1, 0]])]
    for y in (x, channels_last_copy(x)):
        for tables_ in (walk, [None, None, walk[2], ragged.transposed], [None, None, None, walk[3]]):
            with np.errstate(invalid="ignore"):
                assert np.array_equal(np.isnan(kernels.resample(y, tables_)), np.isnan(reference.resample(y, tables_)))
    g = np.full((1, channels, 4, 7), np.nan, np.float32)
    g[..., :4] = 1
    for y in (g, channels_last_copy(g)):
        assert np.isnan(kernels.resample(y, [None, None, None, ragged])).any((0, 1, 2)).tolist() == [False] * 4 + [True]


@pytest.mark.parametrize("channels", [1, 19])
def test_same_bits_whatever_the_number_of_threads(channels):
    images, outputs = (1, 5) if SIMULATED else (3, 20)
    x = channels_last_copy(numbers(1, (images, channels, 13, 15), np.float32))
    rng = np.random.default_rng(0)
    walk = [None, None, *(tables.table(n, rng.integers(0, n, (outputs, 3)), rng.standard_normal((outputs, 3))) for n in (13, 15))]
    assert same_with_one_and_two_threads(lambda: kernels.resample(x, walk))
    assert same_with_one_and_two_threads(lambda: kernels.resample(x, [None, None, walk[2], None]))


def test_inputs_stay_as_they_are():
    x = numbers(1, (2, 3, 8, 8), np.float32)
    copy = x.copy()
    for walk in ([None] * 4, [None, None, *[tables.padding("reflect", 8, 1, 1)] * 2]):
        y = kernels.resample(x, walk)
        y[...] = 0
        assert same(x, copy)
