import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.backend import kernels, settings
from tests.helpers import LAYOUTS, dtypes, layouts, numbers, relative_error, same, same_with_one_and_two_threads, tolerance
from tests.reference import embedding as reference


@settings(max_examples=50, deadline=None)
@given(
    rows=st.integers(1, 9), width=st.integers(0, 20), shape=st.lists(st.integers(0, 6), max_size=3).map(tuple), dtype=dtypes, layout=layouts,
    kind=st.sampled_from([np.int64, np.int32, np.uint8]), seed=st.integers(0, 99),
)  # fmt: skip
def test_embedding_and_its_gradient(rows, width, shape, dtype, layout, kind, seed):
    index = LAYOUTS[layout](np.asarray(np.random.default_rng(seed).integers(0, rows, shape), kind))
    weight = LAYOUTS[layout](numbers(seed, (rows, width), dtype))
    y = kernels.embedding(weight, index)
    assert np.array_equal(y, reference.embedding(weight, index)) and y.shape == (*shape, width)
    gy = LAYOUTS[layout](numbers(seed + 1, (*shape, width), dtype))
    gw = kernels.embedding_grad(gy, index, rows)
    expected, scale = (reference.embedding_grad(g, index, rows) for g in (gy, np.abs(gy)))
    assert gw.dtype == dtype and relative_error(gw, expected, scale) < tolerance(dtype, 5e-7, 1e-15)


def test_many_repeats():
    index = np.random.default_rng(1).integers(0, 50, (40, 100))
    gy = numbers(2, (40, 100, 16), np.float32)
    expected = np.zeros((60, 16))
    np.add.at(expected, index, gy)
    assert relative_error(kernels.embedding_grad(gy, index, 60), expected) < 1e-6
    assert same_with_one_and_two_threads(lambda: kernels.embedding_grad(gy, index, 60))


def test_nan_stays_in_its_row():
    gy = np.ones((3, 2), np.float32)
    gy[1, 0] = np.nan
    gw = kernels.embedding_grad(gy, np.array([0, 2, 0]), 4)
    assert same(gw, np.array([[2, 2], [0, 0], [np.nan, 1], [0, 0]], np.float32))


@settings(max_examples=60)
@given(
    rows=st.integers(1, 6), width=st.integers(0, 20), sizes=st.lists(st.integers(0, 4), max_size=5), mode=st.sampled_from(["sum", "mean", "max"]),
    scaled=st.booleans(), dtype=dtypes, layout=layouts, seed=st.integers(0, 99),
)  # fmt: skip
def test_bags_and_their_gradient(rows, width, sizes, mode, scaled, dtype, layout, seed):
    start = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    index = LAYOUTS[layout](np.random.default_rng(seed).integers(0, rows, start[-1]))
    weight = LAYOUTS[layout](numbers(seed, (rows, width), dtype))
    scale = LAYOUTS[layout](numbers(seed + 1, index.shape, dtype)) if scaled and mode == "sum" else None
    y, which = kernels.embedding_bag(weight, index, start, scale, mode)
    expected, places = reference.embedding_bag(weight, index, start, scale, mode)
    size = reference.embedding_bag(np.abs(weight), index, start, None if scale is None else np.abs(scale), mode)[0]
    assert y.dtype == dtype and relative_error(y, expected, size) < tolerance(dtype, 5e-7, 1e-15) and np.array_equal(which, places)
    gy = LAYOUTS[layout](numbers(seed + 2, y.shape, dtype))
    gw = kernels.embedding_bag_grad(gy, index, start, scale, which, rows, mode)
    expected = reference.embedding_bag_grad(gy, index, start, scale, places, rows, mode)
    size = reference.embedding_bag_grad(np.abs(gy), index, start, None if scale is None else np.abs(scale), places, rows, mode)
    assert gw.dtype == dtype and relative_error(gw, expected, size) < tolerance(dtype, 5e-7, 1e-15)


def test_bags_with_nan_and_threads():
    weight = numbers(1, (50, 40), np.float32)
    index, start = np.random.default_rng(1).integers(0, 50, 300), np.arange(0, 301, 10)
    for mode in ("sum", "mean", "max"):
        y, which = kernels.embedding_bag(weight, index, start, None, mode)
        assert same_with_one_and_two_threads(lambda mode=mode: kernels.embedding_bag(weight, index, start, None, mode))
        assert same_with_one_and_two_threads(lambda mode=mode, w=which, y=y: kernels.embedding_bag_grad(y, index, start, None, w, 50, mode))
        bad = weight.copy()
        bad[3, 5] = np.nan
        found = np.isnan(kernels.embedding_bag(bad, index, start, None, mode)[0])
        assert np.array_equal(found[:, 5], (index.reshape(30, 10) == 3).any(1)) and not np.delete(found, 5, 1).any()


@settings(max_examples=60, deadline=None)
@given(
    shape=st.lists(st.integers(0, 5), min_size=1, max_size=4).map(tuple), axis=st.integers(0, 3), size=st.integers(1, 6), vector=st.booleans(),
    dtype=dtypes, layout=layouts, seed=st.integers(0, 99),
)  # fmt: skip
def test_scatter(shape, axis, size, vector, dtype, layout, seed):
    axis %= len(shape)
    index = LAYOUTS[layout](np.random.default_rng(seed).integers(-1, size, shape[axis] if vector else shape))
    x = LAYOUTS[layout](numbers(seed, shape, dtype))
    y = kernels.scatter(x, index, axis, size)
    expected, scale = (reference.scatter(v, index, axis, size) for v in (x, np.abs(x)))
    assert y.dtype == dtype and y.shape == expected.shape and relative_error(y, expected, scale) < tolerance(dtype, 5e-7, 1e-15)
    base = LAYOUTS[layout](numbers(seed + 1, y.shape, dtype))
    y, expected = kernels.scatter(x, index, axis, size, base), reference.scatter(x, index, axis, size, base)
    assert relative_error(y, expected, scale + np.abs(base)) < tolerance(dtype, 5e-7, 1e-15)
    assert np.array_equal(kernels.scatter(x, index, axis, size, base, True), reference.scatter(x, index, axis, size, base, True))


def test_scatter_in_threads_and_with_nan():
    x = numbers(1, (3, 200, 50), np.float32)
    x[1, 7, 4] = np.nan
    index = np.random.default_rng(1).integers(0, 20, x.shape)
    for i in (index, index[0, :, 0]):
        assert same_with_one_and_two_threads(lambda i=i: kernels.scatter(x, i, 1, 20))
    assert np.argwhere(np.isnan(kernels.scatter(x, index, 1, 20))).tolist() == [[1, index[1, 7, 4], 4]]


@settings(max_examples=40, deadline=None)
@given(
    shape=st.lists(st.integers(0, 5), min_size=1, max_size=4).map(tuple), axis=st.integers(0, 3), size=st.integers(1, 6), vector=st.booleans(),
    dtype=dtypes, layout=layouts, seed=st.integers(0, 99),
)  # fmt: skip
def test_gather(shape, axis, size, vector, dtype, layout, seed):
    axis %= len(shape)
    index = LAYOUTS[layout](np.random.default_rng(seed).integers(0, size, shape[axis] if vector else shape))
    x = LAYOUTS[layout](numbers(seed, (*shape[:axis], size, *shape[axis + 1 :]), dtype))
    y = kernels.gather(x, index, axis)
    assert y.dtype == dtype and y.shape == shape and np.array_equal(y, reference.gather(x, index, axis))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(0,), (3, 0), (0, 3), (2, 3, 0), (0, 3, 0), (2, 0, 3)], ids=str)
def test_gather_of_nothing(shape, dtype):
    x = np.zeros(shape, dtype)
    for axis in range(len(shape)):
        wanted = (*shape[:axis], 0, *shape[axis + 1 :])
        for index in (np.zeros(0, np.int64), np.zeros(wanted, np.int64)):
            y = kernels.gather(x, index, axis)
            assert y.dtype == dtype and y.shape == wanted == reference.gather(x, index, axis).shape
    if len(shape) == 2 and not shape[0]:
        assert kernels.gather_sum(x, np.zeros(0, np.int64)) == reference.gather_sum(x, np.zeros(0, np.int64)) == 0


@given(rows=st.integers(0, 9), columns=st.integers(0, 5), dtype=dtypes, layout=layouts, seed=st.integers(0, 99))
def test_gather_sum(rows, columns, dtype, layout, seed):
    rows = rows if columns else 0
    index = LAYOUTS[layout](np.random.default_rng(seed).integers(0, max(columns, 1), rows))
    x = LAYOUTS[layout](numbers(seed, (rows, columns), dtype))
    y = kernels.gather_sum(x, index)
    assert y.dtype == dtype and y.shape == () and np.allclose(y, reference.gather_sum(x, index), rtol=1e-6, atol=1e-6)


def test_gather_sum_in_threads():
    x, index = numbers(1, (9000, 3), np.float32), np.random.default_rng(1).integers(0, 3, 9000)
    assert np.allclose(kernels.gather_sum(x, index), reference.gather_sum(x, index), rtol=1e-6)
    assert same_with_one_and_two_threads(lambda: kernels.gather_sum(x, index))


def test_gather_in_threads():
    x, index = numbers(1, (7, 20, 30), np.float32), np.random.default_rng(1).integers(0, 20, (7, 900, 30))
    assert same_with_one_and_two_threads(lambda: kernels.gather(x, index, 1))
