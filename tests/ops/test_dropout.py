import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import convkit
from convkit import Tensor
from convkit.nn import functional as F
from convkit.ops.dropout import Dropout
from tests.helpers import LAYOUTS, dtypes, layouts, numbers
from tests.helpers import threads as on_threads
from tests.ops import both_layouts, check_gradients, gradients, leaf, second_order_runs, seeds
from tests.reference import random as reference


@settings(max_examples=30)
@given(
    shape=st.lists(st.integers(1, 5), max_size=4).map(tuple), dtype=dtypes, layout=layouts, p=st.floats(0.05, 0.95), seed=seeds,
    offset=st.integers(0, 9),
)  # fmt: skip
def test_values(shape, dtype, layout, p, seed, offset):
    x = LAYOUTS[layout](numbers(seed, shape, dtype))
    y = Dropout.apply(convkit.from_numpy(x), p, seed, offset)
    assert y.dtype == dtype
    np.testing.assert_allclose(y.numpy(), reference.dropout(x, p, seed, offset), rtol=1e-6)


@settings(max_examples=20)
@given(shape=st.lists(st.integers(1, 3), max_size=4).map(tuple), layout=both_layouts, p=st.sampled_from([0.0, 0.3, 1.0]), seed=seeds)
def test_gradients(shape, layout, p, seed):
    check_gradients(lambda x: Dropout.apply(x, p, seed, 3), leaf(seed, shape, layout))


def test_kept_elements_are_scaled_and_the_mean_stays():
    convkit.manual_seed(1)
    for p in (0.1, 0.5, 0.9):
        y, gx = gradients(lambda x, p=p: F.dropout(x, p), Tensor(np.ones(100_000, np.float32), requires_grad=True))
        assert set(np.unique(y).tolist()) == {0.0, float(np.float32(1 / (1 - p)))}
        assert abs((y == 0).mean() - p) < 0.01 and np.array_equal(y, gx)


def test_each_draw_is_new_and_the_seed_decides():
    x = convkit.ones(100)
    convkit.manual_seed(4)
    first, second = F.dropout(x).numpy(), F.dropout(x).numpy()
    convkit.manual_seed(4)
    assert np.array_equal(F.dropout(x).numpy(), first) and not np.array_equal(first, second)


def test_same_bits_on_one_and_two_threads():
    x = convkit.from_numpy(numbers(1, (50, 1001), np.float32))
    results = []
    for count in (1, 2):
        with on_threads(count):
            convkit.manual_seed(2)
            results.append(F.dropout(x, 0.3).numpy())
    assert np.array_equal(*results)


def test_nothing_to_do():
    x = leaf(1, (3, 4))
    assert F.dropout(x, 0.5, training=False) is x and F.dropout(x, 0.0) is x
    assert not F.dropout(x, 1.0).detach().numpy().any()


@pytest.mark.parametrize("shape", [(0,), (2, 0, 3), (1, 1), ()])
def test_nothing_and_one(shape):
    assert gradients(lambda x: F.dropout(x, 0.4), leaf(1, shape))[0].shape == shape
    second_order_runs(lambda x: F.dropout(x, 0.4), leaf(1, shape))


def test_nan_and_infinity_are_kept():
    x = np.full(1000, np.nan, np.float32)
    x[500:] = np.inf
    convkit.manual_seed(0)
    y = F.dropout(convkit.from_numpy(x), 0.5).numpy()
    assert np.isnan(y[:500]).sum() > 200 and np.isposinf(y[500:]).sum() > 200


def test_errors():
    for p in (-0.1, 1.5, float("nan")):
        with pytest.raises(ValueError, match=f"^dropout: p must be 0 to 1, got {p}"):
            F.dropout(convkit.ones(2), p)
    with pytest.raises(TypeError, match="^dropout: needs float32 or float64, got int64"):
        F.dropout(convkit.tensor([1, 2]))
    with pytest.raises(TypeError, match="^dropout: needs a tensor, got ndarray"):
        F.dropout(np.ones(2))
