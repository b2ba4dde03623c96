import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.backend import SIMULATED, kernels, settings
from tests.helpers import (
    LAYOUTS,
    channels_last_copy,
    dtypes,
    layouts,
    memory_order,
    numbers,
    relative_error,
    same_with_one_and_two_threads,
    tolerance,
)
from tests.reference import grid as reference

HOW = [(m, p, a) for m in ("nearest", "bilinear", "bicubic") for p in ("zeros", "border", "reflection") for a in (False, True)]


def inputs(seed, rank, batch, channels, size, out, dtype):
    """(x, grid, gy); places are multiples of 1/16, so that both dtypes round the same way."""
    rng = np.random.default_rng(seed)
    x = numbers(seed, (batch, channels, *size[:rank]), dtype)
    grid = (np.round(rng.uniform(-2.5, 2.5, (batch, *out[:rank], rank)) * 16) / 16 + 0.01).astype(dtype)
    return x, grid, numbers(seed + 1, (batch, channels, *out[:rank]), dtype)


@settings(max_examples=60)
@given(
    how=st.sampled_from(HOW), rank=st.integers(2, 3), batch=st.integers(0, 2), channels=st.sampled_from([1, 3, 9] if SIMULATED else [1, 3, 8, 21]),
    dtype=dtypes, layout=layouts, size=st.tuples(*[st.integers(1, 5)] * 3), out=st.tuples(*[st.integers(1, 2 if SIMULATED else 4)] * 3),
    seed=st.integers(0, 99),
)  # fmt: skip
def test_against_the_reference(how, rank, batch, channels, dtype, layout, size, out, seed):
    if rank == 3 and how[0] == "bicubic":
        rank = 2
    x, grid, gy = inputs(seed, rank, batch, channels, size, out, dtype)
    x, grid, gy = LAYOUTS[layout](x), LAYOUTS[layout](grid), LAYOUTS[layout](gy)
    near = tolerance(dtype, 1e-5, 1e-13)
    y = kernels.grid_sample(x, grid, *how)
    assert y.dtype == dtype and relative_error(y, reference.grid_sample(x, grid, *how), x) < near * 10
    gx = kernels.grid_sample_input_grad(gy, grid, x.shape[2:], *how)
    assert gx.dtype == dtype and relative_error(gx, reference.grid_sample_input_grad(gy, grid, x.shape[2:], *how), gy) < near * 10
    ggrid = kernels.grid_sample_grid_grad(gy, x, grid, *how)
    expected = reference.grid_sample_grid_grad(gy, x, grid, *how)
    assert ggrid.dtype == dtype and relative_error(ggrid, expected, np.concatenate([expected.ravel(), x.ravel()])) < near * 20


def test_more_places_than_a_task_takes():
    rng = np.random.default_rng(0)
    places = (5, 9) if SIMULATED else (37, 41)
    for channels in (2, 9):
        x, grid = numbers(1, (2, channels, 5, 6)), rng.uniform(-1.2, 1.2, (2, *places, 2))
        gy = numbers(2, (2, channels, *places))
        how = ("bilinear", "zeros", False)
        np.testing.assert_allclose(kernels.grid_sample(x, grid, *how), reference.grid_sample(x, grid, *how), atol=1e-12)
        np.testing.assert_allclose(
            kernels.grid_sample_input_grad(gy, grid, (5, 6), *how), reference.grid_sample_input_grad(gy, grid, (5, 6), *how), atol=1e-10
        )


@pytest.mark.parametrize("channels", [3, 9 if SIMULATED else 40])
def test_same_bits_whatever_the_number_of_threads(channels):
    x, grid, gy = inputs(0, 2, 1 + (not SIMULATED), channels, (9, 8), (3, 4) if SIMULATED else (40, 50), np.float32)
    for how in (("bilinear", "zeros", False), ("bicubic", "reflection", True)):
        assert same_with_one_and_two_threads(lambda how=how: kernels.grid_sample(x, grid, *how))
        assert same_with_one_and_two_threads(lambda how=how: kernels.grid_sample_input_grad(gy, grid, (9, 8), *how))
        assert same_with_one_and_two_threads(lambda how=how: kernels.grid_sample_grid_grad(gy, x, grid, *how))


def test_memory_order():
    grid = np.zeros((2, 3, 4, 2))
    for shape in ((2, 3, 5, 6), (2, 16, 5, 6)):
        x = channels_last_copy(numbers(1, shape))
        assert memory_order(kernels.grid_sample(x, grid, "bilinear", "zeros", False)) == (0, 2, 3, 1)
    assert kernels.grid_sample(numbers(1, (2, 3, 5, 6)), grid, "bilinear", "zeros", False).flags.c_contiguous


@pytest.mark.parametrize("channels", [1, 9])
def test_nan_and_infinity(channels):
    x = numbers(1, (1, channels, 3, 3))
    x[0, 0, 0, 0], x[0, 0, 2, 2] = np.nan, np.inf
    grid = np.array([[[[-2 / 3, -2 / 3], [0, 0], [2 / 3, 2 / 3], [3, 3], [np.nan, 0], [np.nan, 3], [3, np.nan]]]])
    for mode in ("nearest", "bilinear"):
        y = kernels.grid_sample(x, grid, mode, "zeros", False)[0, 0, 0]
        assert np.isnan(y[0]) and y[3] == 0 and np.isnan(y[4]) and not y[5:].any()
        assert mode == "bilinear" or np.isfinite(y[1])  # there infinity has the weight 0
    assert np.isposinf(kernels.grid_sample(x, grid, "nearest", "zeros", False)[0, 0, 0, 2])
