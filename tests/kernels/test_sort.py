import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.backend import SIMULATED, kernels, settings
from tests.helpers import LAYOUTS, dtypes, layouts, numbers
from tests.reference import sort as reference


@settings(max_examples=60)
@given(
    shape=st.lists(st.integers(1, 6), min_size=1, max_size=3).map(tuple), axis=st.integers(0, 2), descending=st.booleans(), dtype=dtypes,
    layout=layouts, nan=st.booleans(), seed=st.integers(0, 99),
)  # fmt: skip
def test_argsort(shape, axis, descending, dtype, layout, nan, seed):
    x = np.round(numbers(seed, shape, dtype))  # ties
    if nan:
        x.flat[x.size // 2] = np.nan
    axis %= len(shape)
    order = kernels.argsort(LAYOUTS[layout](x), axis, descending)
    assert order.dtype == np.int64 and np.array_equal(order, reference.argsort(x, axis, descending))


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("first", [0, 1, 3, 10, 40])
@pytest.mark.parametrize("axis", [0, 1])
def test_the_first_few(descending, first, axis):
    x = np.random.default_rng(0).permutation(40 * 40).reshape(40, 40).astype(np.float32)
    x[3, 5] = np.nan
    x[7:9] //= 400  # equal ones stay in order
    x[:, 11:13] //= 400
    assert np.array_equal(kernels.argsort(x, axis, descending, first), reference.argsort(x, axis, descending, first))


@pytest.mark.parametrize("kind", [np.int64, np.int32, np.uint8, np.bool_, np.float64])
def test_the_first_few_of_any_kind(kind):
    x = np.random.default_rng(0).integers(0, 200, (3, 90 if SIMULATED else 1000)).astype(kind)
    for descending in (False, True):
        assert np.array_equal(kernels.argsort(x, 1, descending, 20), reference.argsort(x, 1, descending, 20))
    large = np.array([*range(9), 1 << 53, (1 << 53) + 1, (1 << 53) + 2])  # which float64 does not tell apart
    assert kernels.argsort(large, 0, True, 3).tolist() == [11, 10, 9]


def test_integers_and_nothing():
    assert kernels.argsort(np.array([3, 1, 2]), 0, False).tolist() == [1, 2, 0]
    assert kernels.argsort(np.zeros((0, 3)), 1, True).shape == kernels.argsort(np.zeros((0, 3)), 0, True).shape[:0] + (0, 3)
