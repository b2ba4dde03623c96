import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.backend import DEVICE, kernels, settings
from tests.helpers import LAYOUTS, layouts
from tests.reference import checks as reference

TEXT = "op: {first} of {least} to {most}"


def outcome(function, *args):
    try:
        found, known = function(*args)
    except IndexError as error:
        return str(error)
    return np.array_equal(found, args[0]), known


@settings(max_examples=60)
@given(
    shape=st.lists(st.integers(0, 5), max_size=3).map(tuple), dtype=st.sampled_from(["int64", "int32", "uint8", "float32", "float64"]),
    low=st.integers(-3, 1), high=st.integers(0, 7), ignored=st.sampled_from([None, -100, 3]), wide=st.booleans(), layout=layouts,
    seed=st.integers(0, 99),
)  # fmt: skip
def test_what_is_outside_is_told(shape, dtype, low, high, ignored, wide, layout, seed):
    rng = np.random.default_rng(seed)
    x = rng.integers(max(low, 0) - wide, high + 1 + wide, shape) if low <= high else rng.integers(0, 9, shape)
    if ignored is not None and x.size:
        x.flat[rng.integers(x.size)] = ignored
    x = LAYOUTS[layout](np.abs(x).astype(dtype) if dtype == "uint8" else x.astype(dtype))
    found, wanted = (outcome(f, x, low, high, IndexError, TEXT, ignored) for f in (kernels.inside, reference.inside))
    if DEVICE != "cpu":  # which of several comes first depends on the order in memory; nothing is known of the ignored
        found, wanted = (s[-1] if isinstance(s, str) else s[0] for s in (found, wanted))
    assert found == wanted


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, -0.5, 1.5])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_floats(value, dtype):
    x = np.array([0, 0.25, value, 1], dtype)
    with pytest.raises(ValueError, match=rf"^between: {value:g}, {np.min(x):g} to {np.max(x):g}"):
        kernels.inside(x, 0, 1, ValueError, "between: {first:g}, {least:g} to {most:g}")
    assert np.array_equal(kernels.inside(x[:2], 0, 1, ValueError, "")[0], x[:2])


def test_integers_that_floats_do_not_tell_apart():
    x = np.array([0, (1 << 62) + 1, -(1 << 62) - 1])
    assert kernels.inside(x, -(1 << 62) - 1, (1 << 62) + 1, IndexError, TEXT)[1]
    with pytest.raises(IndexError, match=f"^op: {(1 << 62) + 1} of {-(1 << 62) - 1} to {(1 << 62) + 1}"):
        kernels.inside(x, -(1 << 62) - 1, 1 << 62, IndexError, TEXT)
