import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from convkit_kernels.geometry import Grid, window
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
from tests.reference import pool as reference


@st.composite
def fixed(draw):
    """(input shape [N, C, *S], window): 1 to 3 dimensions, padding at most half the window, the window fits."""
    rank = draw(st.integers(1, 3))
    most = 5 if rank == 3 else 9
    each = lambda low, high: draw(st.lists(st.integers(low, high), min_size=rank, max_size=rank))
    size, stride, dilation = each(1, 3), each(1, 3), each(1, 2)
    spans = [d * (r - 1) + 1 for r, d in zip(size, dilation, strict=True)]
    padding = [tuple(draw(st.tuples(st.integers(0, n // 2), st.integers(0, n // 2)))) for n in spans]
    win = window("pool", size, stride, padding, dilation, ceil_mode=draw(st.booleans()))
    spatial = [draw(st.integers(max(1, span - sum(pads)), max(most, span))) for span, pads in zip(win.span, win.padding, strict=True)]
    return (draw(st.integers(0, 2)), draw(st.sampled_from([1, 2, 3, 4, 5, 8, 17])), *spatial), win


@st.composite
def adaptive(draw):
    """(input shape [N, C, *S], grid): 1 to 3 dimensions, any output size."""
    rank = draw(st.integers(1, 3))
    spatial, output = (draw(st.lists(st.integers(low, 5 if rank == 3 else 9), min_size=rank, max_size=rank)) for low in (1, 0))
    return (draw(st.integers(0, 2)), draw(st.sampled_from([1, 3, 17])), *spatial), Grid(tuple(output))


geometries = st.one_of(fixed(), adaptive())


@settings(max_examples=100, deadline=None)
@given(case=geometries, dtype=dtypes, layout=layouts, seed=st.integers(0, 99))
def test_max_pool_and_its_gradient(case, dtype, layout, seed):
    shape, win = case
    x = np.round(numbers(seed, shape, dtype), 1)  # ties
    x.ravel()[seed::7] = np.nan if seed % 3 == 0 else -np.inf if seed % 3 == 1 else 0.0
    x = LAYOUTS[layout](x)
    y, index = kernels.max_pool(x, win)
    expected, taps = reference.max_pool(x, win)
    assert same(y, expected.astype(dtype)) and index.dtype == np.uint8 and np.array_equal(index, taps)
    gy = LAYOUTS[layout](numbers(seed + 1, y.shape, dtype))
    gx = kernels.max_pool_grad(gy, index, shape[2:], win)
    expected, scale = (reference.max_pool_grad(g, index, shape[2:], win) for g in (gy, np.abs(gy)))
    assert gx.dtype == dtype and relative_error(gx, expected, scale) < tolerance(dtype, 3e-7, 1e-15)
    assert same(kernels.max_pool_places(LAYOUTS[layout](index), shape[2:], win), reference.max_pool_places(index, shape[2:], win))


@settings(max_examples=100, deadline=None)
@given(case=geometries, dtype=dtypes, layout=layouts, count_pad=st.booleans(), override=st.sampled_from([None, None, 3]), seed=st.integers(0, 99))
def test_average_pool_and_its_gradient(case, dtype, layout, count_pad, override, seed):
    shape, win = case
    x = LAYOUTS[layout](numbers(seed, shape, dtype))
    y = kernels.average_pool(x, win, count_pad, override)
    assert y.dtype == dtype
    expected, scale = (reference.average_pool(a, win, count_pad, override) for a in (x, np.abs(x)))
    assert relative_error(y, expected, scale) < tolerance(dtype, 3e-7, 1e-15)
    gy = LAYOUTS[layout](numbers(seed + 1, y.shape, dtype))
    gx = kernels.average_pool_grad(gy, shape[2:], win, count_pad, override)
    expected, scale = (reference.average_pool_grad(g, shape[2:], win, count_pad, override) for g in (gy, np.abs(gy)))
    assert gx.dtype == dtype and relative_error(gx, expected, scale) < tolerance(dtype, 5e-7, 1e-15)


@settings(max_examples=60, deadline=None)
@given(
    shape=st.lists(st.integers(1, 4), min_size=1, max_size=3),
    output=st.lists(st.integers(1, 4), min_size=3, max_size=3),
    channels=st.sampled_from([1, 3, 17]),
    dtype=dtypes, layout=layouts, add=st.booleans(), seed=st.integers(0, 99),
)  # fmt: skip
def test_max_unpool_and_its_gradient(shape, output, channels, dtype, layout, add, seed):
    output = tuple(output[: len(shape)])
    x = LAYOUTS[layout](numbers(seed, (2, channels, *shape), dtype))
    places = LAYOUTS[layout](np.random.default_rng(seed).integers(0, math.prod(output), x.shape))
    y = kernels.max_unpool(x, places, output, add)
    expected, scale = (reference.max_unpool(a, places, output, add) for a in (x, np.abs(x)))
    assert y.dtype == dtype and relative_error(y, expected, scale) < tolerance(dtype, 3e-7, 1e-15)
    gy = LAYOUTS[layout](numbers(seed + 1, y.shape, dtype))
    places = LAYOUTS[layout](places - 1)  # -1 is nowhere
    assert same(kernels.max_unpool_grad(gy, places), reference.max_unpool_grad(gy, places).astype(dtype))


@pytest.mark.parametrize("channels", [1, 6, 8] if SIMULATED else [1, 6, 16, 70])
@pytest.mark.parametrize("size, stride, padding", [(2, 2, 0), (3, 2, 1), (3, 1, 1), (4, 4, 0)])
def test_the_usual_windows(channels, size, stride, padding):
    """Against a stack of shifted slices."""
    spatial = (8, 9) if SIMULATED else (17, 20)
    x = channels_last_copy(numbers(1, (3, channels, *spatial), np.float32))
    win = window("pool", (size, size), stride, padding)
    p, q = win.output_size(spatial)
    padded = np.pad(x, [(0, 0), (0, 0), (padding, padding), (padding, padding)], constant_values=-np.inf)
    slices = [padded[:, :, r : r + stride * p : stride, s : s + stride * q : stride][:, :, :p, :q] for r in range(size) for s in range(size)]
    y, index = kernels.max_pool(x, win)
    assert np.array_equal(y, np.max(slices, axis=0)) and np.array_equal(index, np.argmax(slices, axis=0))
    assert memory_order(y) == memory_order(index) == memory_order(x)
    zeros = np.where(np.isinf(slices), 0, slices)
    assert relative_error(kernels.average_pool(x, win, True, None), np.mean(zeros, axis=0, dtype=np.float64)) < 1e-6


def test_global_average_and_large_windows():
    spatial = (17, 16) if SIMULATED else (30, 30)
    many = math.prod(spatial)
    x = numbers(1, (2, 2, *spatial) if SIMULATED else (2, 5, *spatial), np.float32, mean=1)
    win = window("pool", spatial, 1)
    for layout in (np.ascontiguousarray, channels_last_copy):
        y = kernels.average_pool(layout(x), win, True, None)
        assert y.shape == (*x.shape[:2], 1, 1) and relative_error(y, x.mean(axis=(2, 3), keepdims=True, dtype=np.float64)) < 2e-7
        m, index = kernels.max_pool(layout(x), win)
        assert index.dtype == np.int32 and np.array_equal(index.ravel(), x.reshape(-1, many).argmax(axis=1))
        assert np.array_equal(m.ravel(), x.reshape(-1, many).max(axis=1))
        gx = kernels.max_pool_grad(np.ones_like(m), index, spatial, win)
        assert np.array_equal(gx != 0, x == m)
    assert np.allclose(kernels.average_pool_grad(np.ones_like(y), spatial, win, True, None), 1 / many)


def test_nan_and_infinity():
    x = numbers(1, (1, 18, 6, 6), np.float32)
    x[0, 3, 1, 1], x[0, 4, 2, 2], x[0, 5] = np.nan, np.inf, -np.inf
    win = window("pool", (3, 3), 2, 1)
    y, index = kernels.max_pool(channels_last_copy(x), win)
    expected, taps = reference.max_pool(x, win)
    assert np.array_equal(y, expected, equal_nan=True) and np.array_equal(index, taps)
    assert np.isnan(y).any() and np.isposinf(y).any() and np.isneginf(y[0, 5]).all()
    mean = kernels.average_pool(channels_last_copy(x), win, True, None)
    assert np.array_equal(np.isnan(mean), np.isnan(reference.average_pool(x, win, True, None)))


def test_a_window_that_sees_nothing():
    x = numbers(1, (1, 2, 1), np.float32)
    win = window("pool", (2,), 1, 1, dilation=2)  # taps at -1 and 1
    y, index = kernels.max_pool(x, win)
    assert np.isneginf(y).all() and not index.any()
    assert not kernels.max_pool_grad(np.ones_like(y), index, (1,), win).any()
    assert np.array_equal(kernels.max_pool_places(index, (1,), win), np.full_like(index, -1, np.int64))
    assert not kernels.average_pool(x, win, False, None).any()
    # Taps at o - 2 and o + 2: the window in the middle sees nothing, its neighbours do.
    x, win = numbers(1, (2, 2, 3), np.float32), window("pool", (2,), 1, 2, dilation=4)
    y, index = kernels.max_pool(x, win)
    expected, taps = reference.max_pool(x, win)
    assert same(y, expected.astype(np.float32)) and np.array_equal(index, taps) and np.isneginf(y[:, :, 1]).all()
    assert same(kernels.max_pool_places(index, (3,), win), reference.max_pool_places(index, (3,), win))
    assert same(
        kernels.max_pool_grad(np.ones_like(y), index, (3,), win), reference.max_pool_grad(np.ones_like(y), index, (3,), win).astype(np.float32)
    )


def test_gradients_are_adjoints():
    x, z = numbers(1, (2, 4, 9, 9)), numbers(3, (2, 4, 9, 9))
    for win in (window("pool", (3, 3), 2, 1), Grid((4, 5))):
        y, index = kernels.max_pool(x, win)
        gy, places = numbers(2, y.shape), kernels.max_pool_places(index, (9, 9), win)
        taken = np.sum(gy * kernels.max_unpool_grad(z, places))
        assert math.isclose(np.sum(kernels.max_pool_grad(gy, index, (9, 9), win) * z), taken, rel_tol=1e-12)
        assert math.isclose(np.sum(kernels.max_unpool(gy, places, (9, 9), True) * z), taken, rel_tol=1e-12)


def test_of_elements_for_one_place_the_last_stays():
    x = np.arange(1.0, 5).reshape(1, 1, 2, 2)
    places = np.array([[[[3, 3], [0, 3]]]])
    assert kernels.max_unpool(x, places, (2, 2), False).ravel().tolist() == [3, 0, 0, 4]
    assert kernels.max_unpool(x, places, (2, 2), True).ravel().tolist() == [3, 0, 0, 7]


def test_same_bits_whatever_the_number_of_threads():
    size = (4, 5) if SIMULATED else (13, 15)
    x = numbers(1, (2, 3, *size) if SIMULATED else (3, 19, *size), np.float32)
    win = window("pool", (3, 3), 2, 1)
    y, index = kernels.max_pool(x, win)
    assert same_with_one_and_two_threads(lambda: kernels.max_pool(x, win))
    assert same_with_one_and_two_threads(lambda: kernels.max_pool_grad(y, index, size, win))
    places = kernels.max_pool_places(index, size, win)
    assert same_with_one_and_two_threads(lambda: kernels.max_unpool(y, places, (13, 15), True))
    assert same_with_one_and_two_threads(lambda: kernels.max_unpool_grad(x, places))
    assert same_with_one_and_two_threads(lambda: kernels.max_pool(x, Grid((5, 4))))
    assert same_with_one_and_two_threads(lambda: kernels.average_pool(x, win, False, None))
    assert same_with_one_and_two_threads(lambda: kernels.average_pool_grad(y, size, win, False, None))


def test_inputs_stay_as_they_are():
    x = numbers(1, (2, 3, 8, 8), np.float32)
    gy = numbers(2, (2, 3, 4, 4), np.float32)
    win = window("pool", (3, 3), 2, 1)
    copies = x.copy(), gy.copy()
    _, index = kernels.max_pool(x, win)
    kernels.max_pool_grad(gy, index, (8, 8), win)
    kernels.average_pool_grad(gy, (8, 8), win, False, None)
    assert same((x, gy), copies)


LINE = 12 if SIMULATED else 96


@settings(max_examples=20, deadline=None)
@given(
    shape=st.sampled_from([(2, 3, LINE + 4), (1, 2, 3, LINE + 1), (2, 2, 2, 2, LINE)]),
    size=st.integers(1, 3), stride=st.integers(1, 3), dilation=st.integers(1, 2), ceil=st.booleans(), dtype=dtypes, seed=st.integers(0, 99),
)  # fmt: skip
def test_long_lines_in_c_order_stay_as_they_are(shape, size, stride, dilation, ceil, dtype, seed):
    rank = len(shape) - 2
    sizes = (*(1,) * (rank - 1), size)
    win = window("pool", sizes, stride, [(0, 0)] * (rank - 1) + [(size // 2, size // 2)], dilation, ceil_mode=ceil)
    x = np.round(numbers(seed, shape, dtype), 1)
    x.ravel()[seed::17] = np.nan if seed % 2 else -np.inf
    y, index = kernels.max_pool(x, win)
    expected, taps = reference.max_pool(x, win)
    assert (
        same(y, expected.astype(dtype))
        and np.array_equal(index, taps)
        and memory_order(y) == memory_order(index) == memory_order(np.array(y, order="C"))
    )
    assert same(kernels.max_pool_places(index, shape[2:], win), reference.max_pool_places(index, shape[2:], win))
    for layout in (np.ascontiguousarray, channels_last_copy):
        gy = layout(numbers(seed + 1, y.shape, dtype))
        assert same(
            np.array(kernels.max_pool_grad(gy, index, shape[2:], win)), np.array(kernels.max_pool_grad(gy, channels_last_copy(index), shape[2:], win))
        )
        expected, scale = (reference.max_pool_grad(g, index, shape[2:], win) for g in (gy, np.abs(gy)))
        assert relative_error(kernels.max_pool_grad(gy, index, shape[2:], win), expected, scale) < tolerance(dtype, 3e-7, 1e-15)
        expected, scale = (reference.average_pool_grad(g, shape[2:], win, True, None) for g in (gy, np.abs(gy)))
        assert relative_error(kernels.average_pool_grad(gy, shape[2:], win, True, None), expected, scale) < tolerance(dtype, 5e-7, 1e-15)
    x = numbers(seed, shape, dtype)
    y = kernels.average_pool(x, win, False, None)
    expected, scale = (reference.average_pool(a, win, False, None) for a in (x, np.abs(x)))
    assert relative_error(y, expected, scale) < tolerance(dtype, 3e-7, 1e-15)
