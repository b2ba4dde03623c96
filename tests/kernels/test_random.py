import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from convkit_kernels.cpu.random import random_bits
from tests.backend import kernels, settings
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
from tests.reference import random as reference

words = st.integers(0, 2**64 - 1)


def test_published_vectors():
    """Random123's kat_vectors for philox4x32-10."""
    ones = 2**32 - 1
    for counter, key, expected in [
        ((0, 0, 0, 0), (0, 0), "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        ((ones,) * 4, (ones,) * 2, "408f276d 41c83b0e a20bc7c6 6d5451fd"),
        ((0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344), (0xA4093822, 0x299F31D0), "d16cfe09 94fdcceb 5001e420 24126ea1"),
    ]:
        assert " ".join(f"{word:08x}" for word in reference.philox(counter, key)) == expected
    assert " ".join(f"{word:08x}" for word in random_bits(4096, 0, 0)[::1024]) == "6627e8d5 e169c58d bc57ac4c 9b00dbd8"


@pytest.mark.cpu
@settings(max_examples=15, deadline=None)
@given(count=st.sampled_from([0, 1, 1023, 1025, 4096, 4099, 9000]), seed=words, offset=words)
def test_words(count, seed, offset):
    assert same(random_bits(count, seed, offset), reference.random_bits(count, seed, offset))


@pytest.mark.parametrize("name", ["uniform", "normal"])
@settings(max_examples=10, deadline=None)
@given(shape=st.sampled_from([(), (0,), (7,), (3, 5), (5000,), (2, 3, 700)]), dtype=dtypes, seed=words, offset=words)
def test_numbers(name, shape, dtype, seed, offset):
    y = getattr(kernels, name)(shape, seed, offset, np.dtype(dtype))
    expected = getattr(reference, name)(shape, seed, offset, dtype)
    assert y.dtype == dtype and y.shape == shape
    if name == "uniform":
        assert same(y, expected)
    else:
        assert relative_error(y, expected) < tolerance(dtype, 3e-7, 1e-14)


@pytest.mark.cpu  # many numbers, which are the same on other devices: `test_numbers`
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_distributions(dtype):
    u = kernels.uniform((200_000,), 1, 2, np.dtype(dtype))
    assert 0 <= u.min() and u.max() < 1 and scipy.stats.kstest(u, "uniform").pvalue > 1e-3
    z = kernels.normal((200_000,), 1, 3, np.dtype(dtype))
    assert np.isfinite(z).all() and scipy.stats.kstest(z, "norm").pvalue > 1e-3
    assert abs(np.corrcoef(z[:-1], z[1:])[0, 1]) < 0.01 and abs(np.corrcoef(z[:1024], z[1024:2048])[0, 1]) < 0.12


def test_seeds_and_offsets_differ():
    draws = [kernels.uniform((100,), seed, offset, np.dtype(np.float32)) for seed in (0, 1, 2**40) for offset in (0, 1, 2**40)]
    assert len({draw.tobytes() for draw in draws}) == 9


@settings(max_examples=25, deadline=None)
@given(
    shape=st.lists(st.integers(0, 5), max_size=5).map(tuple), dtype=dtypes, layout=layouts, p=st.sampled_from([0.0, 0.3, 0.5, 0.9, 1.0]), seed=words
)  # fmt: skip
def test_dropout(shape, dtype, layout, p, seed):
    x = LAYOUTS[layout](numbers(1, shape, dtype))
    y = kernels.dropout(x, p, seed, 5)
    expected = np.zeros(shape) if p == 1 else reference.dropout(x, p, seed, 5)
    assert y.dtype.newbyteorder("=") == dtype and relative_error(y, expected) < tolerance(dtype, 2e-7, 1e-15)


def test_dropout_of_the_gradient_drops_the_same_elements():
    x = channels_last_copy(np.ones((2, 11, 17, 13), np.float32))
    y = kernels.dropout(x, 0.25, 3, 4)
    g = kernels.dropout(np.ones(x.shape, np.float32), 0.25, 3, 4)  # in another memory order
    assert np.array_equal(y, g) and memory_order(y) == memory_order(x) and memory_order(g) == (0, 1, 2, 3)
    kept = np.count_nonzero(y) / y.size
    assert abs(kept - 0.75) < 5 * math.sqrt(0.25 * 0.75 / y.size)
    assert set(np.unique(y)) == {0, np.float32(1 / 0.75)}


def test_nan_and_infinity_are_nan_where_they_are_dropped():
    kept = kernels.dropout(np.ones(1000, np.float32), 0.5, 1, 1) != 0
    assert np.isnan(kernels.dropout(np.full(1000, np.nan, np.float32), 0.5, 1, 1)).all()
    y = kernels.dropout(np.full(1000, np.inf, np.float32), 0.5, 1, 1)
    assert np.array_equal(np.isposinf(y), kept) and np.array_equal(np.isnan(y), ~kept)
    assert np.isnan(kernels.dropout(np.full(3, np.inf, np.float32), 1.0, 1, 1)).all()


@pytest.mark.cpu
def test_same_bits_whatever_the_number_of_threads():
    x = numbers(1, (50_001,), np.float32)
    for dtype in (np.float32, np.float64):
        assert same_with_one_and_two_threads(lambda dtype=dtype: kernels.uniform((50_001,), 7, 8, np.dtype(dtype)))
        assert same_with_one_and_two_threads(lambda dtype=dtype: kernels.normal((50_001,), 7, 8, np.dtype(dtype)))
    assert same_with_one_and_two_threads(lambda: kernels.dropout(x, 0.4, 7, 8))
