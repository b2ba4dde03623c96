import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import convkit
from convkit import Tensor
from convkit.nn import functional as F
from convkit.ops.dropout import Dropout
from tests.backend import SIMULATED, settings
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
    count, limit = (3000, 0.04) if SIMULATED else (100_000, 0.01)
    for p in (0.1, 0.5, 0.9):
        y, gx = gradients(lambda x, p=p: F.dropout(x, p), Tensor(np.ones(count, np.float32), requires_grad=True))
        assert set(np.unique(y).tolist()) == {0.0, float(np.float32(1 / (1 - p)))}
        assert abs((y == 0).mean() - p) < limit and np.array_equal(y, gx)


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


def test_nan_and_infinity_propagate():
    x = np.full(1000, np.nan, np.float32)
    x[500:] = np.inf
    convkit.manual_seed(0)
    y = F.dropout(convkit.from_numpy(x), 0.5).numpy()
    assert np.isnan(y[:500]).all() and np.isposinf(y[500:]).sum() > 200 and np.isnan(y[500:]).sum() > 200


# ------------------------------------------------------------------------------ channels, and alpha
CHANNELS = [("dropout1d", (40, 30, 5)), ("dropout2d", (40, 30, 3, 2)), ("dropout3d", (40, 30, 2, 1, 3)), ("feature_alpha_dropout", (40, 30, 4))]


@pytest.mark.parametrize("name, shape", CHANNELS)
@pytest.mark.parametrize("layout", ["C order", "channels-last"])
def test_whole_channels_are_dropped(name, shape, layout):
    convkit.manual_seed(3)
    x = Tensor(LAYOUTS[layout](np.ones(shape)), requires_grad=True)
    y, gx = gradients(lambda x: getattr(F, name)(x, 0.3, True), x)
    rows = y.reshape(shape[0] * shape[1], -1)
    assert (rows == rows[:, :1]).all() and len(np.unique(rows[:, 0])) == 2
    dropped = rows[:, 0] == rows[:, 0].min()
    assert abs(dropped.mean() - 0.3) < 0.05
    assert np.array_equal(gx.reshape(rows.shape) == 0, np.broadcast_to(dropped[:, None], rows.shape))
    if name != "feature_alpha_dropout":
        np.testing.assert_allclose(y, gx)
        np.testing.assert_allclose(rows[~dropped], 1 / 0.7)


@settings(max_examples=20)
@given(
    case=st.sampled_from([("dropout1d", (2, 3, 2)), ("dropout1d", (3, 2)), ("dropout2d", (2, 2, 2, 1)), ("dropout3d", (1, 2, 1, 2, 2)),
                          ("dropout3d", (2, 1, 2, 2)), ("alpha_dropout", (3, 2)), ("feature_alpha_dropout", (2, 3, 2))]),
    layout=both_layouts, p=st.sampled_from([0.0, 0.4, 1.0]), seed=seeds,
)  # fmt: skip
def test_gradients_of_other_dropouts(case, layout, p, seed):
    name, shape = case

    def f(x):
        convkit.manual_seed(seed)  # the same choice each time
        return getattr(F, name)(x, p, True)

    check_gradients(f, leaf(seed, shape, layout))


@pytest.mark.parametrize("name", ["alpha_dropout", "feature_alpha_dropout"])
def test_alpha_dropout_keeps_mean_and_variance(name):
    convkit.manual_seed(1)
    shape, limit = ((50, 40), 0.12) if SIMULATED else ((500, 400), 0.01)
    x = numbers(1, shape, np.float64)
    for p in (0.1, 0.5):
        y = getattr(F, name)(convkit.tensor(x), p, True).numpy()
        assert abs(y.mean()) < limit and abs(y.std() - 1) < limit
        a = ((1.7580993408473766**2 * p + 1) * (1 - p)) ** -0.5
        low = -1.7580993408473766 * a * (1 - p)
        dropped = np.isclose(y, low)
        assert abs(dropped.mean() - p) < limit
        np.testing.assert_allclose(y[~dropped], a * x[~dropped] + 1.7580993408473766 * a * p, rtol=1e-12, atol=1e-12)
    assert getattr(F, name)(convkit.tensor(x), 0.5) is not None and not getattr(F, name)(convkit.ones(2, 3), 1.0, True).numpy().any()


def test_other_dropouts_do_nothing_in_evaluation():
    for name, shape in CHANNELS:
        x = leaf(1, shape)
        assert getattr(F, name)(x, 0.5, False) is x and getattr(F, name)(x, 0.0, True) is x
    x = leaf(1, (2, 3))
    assert F.alpha_dropout(x) is x and F.feature_alpha_dropout(x) is x


@pytest.mark.parametrize("shape", [(0, 3, 2), (2, 0, 2), (2, 3, 0), (1, 1, 1)])
def test_channels_of_nothing(shape):
    for name in ("dropout1d", "feature_alpha_dropout"):
        assert gradients(lambda x, name=name: getattr(F, name)(x, 0.4, True), leaf(1, shape))[0].shape == shape


def test_numbers_of_dimensions():
    for match, f, shape in [
        ("dropout2d: a 3-D input is taken for", F.dropout2d, (2, 3, 4)),
        ("dropout2d: input must be 4-D .*, got shape .*; use dropout instead", F.dropout2d, (2, 3)),
        ("dropout3d: input must be 5-D", F.dropout3d, (2, 3, 4)),
    ]:
        with pytest.warns(UserWarning, match=match):
            assert f(convkit.ones(*shape), 0.5).shape == shape
    for match, f, shape in [
        ("dropout1d: input must be 3-D .* or 2-D .*, got shape", F.dropout1d, (2, 3, 4, 5)),
        ("dropout2d: input must be 4-D", F.dropout2d, (2,)),
        (r"feature_alpha_dropout: input must be \[N, C, ...\], got shape \[2\]", lambda x: F.feature_alpha_dropout(x, 0.5, True), (2,)),
    ]:
        with pytest.raises(ValueError, match="^" + match):
            f(convkit.ones(*shape))


@pytest.mark.parametrize("name", ["dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "feature_alpha_dropout"])
def test_wrong_arguments(name):
    f = getattr(F, name)
    with pytest.raises(ValueError, match=f"^{name}: inplace=True is not supported"):
        f(convkit.ones(2, 3), inplace=True)
    with pytest.raises(ValueError, match=f"^{name}: p must be 0 to 1, got 1.5"):
        f(convkit.ones(2, 3), 1.5)
    with pytest.raises(TypeError, match=f"^{name}: needs float32 or float64, got int64"):
        f(convkit.tensor([[1, 2]]))


def test_errors():
    for p in (-0.1, 1.5, float("nan")):
        with pytest.raises(ValueError, match=f"^dropout: p must be 0 to 1, got {p}"):
            F.dropout(convkit.ones(2), p)
    with pytest.raises(TypeError, match="^dropout: needs float32 or float64, got int64"):
        F.dropout(convkit.tensor([1, 2]))
    with pytest.raises(TypeError, match="^dropout: needs a tensor, got ndarray"):
        F.dropout(np.ones(2))
