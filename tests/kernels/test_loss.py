import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from convkit_kernels.cpu.loss import KINDS
from tests.backend import kernels, settings
from tests.helpers import LAYOUTS, dtypes, layouts, memory_order, numbers, relative_error, same, same_with_one_and_two_threads, tolerance
from tests.reference import loss as reference

shapes = st.lists(st.integers(0, 5), max_size=4).map(tuple)


def operands(kind, seed, shape, dtype):
    """x and targets where `kind` is defined."""
    x, t = numbers(seed, shape, dtype, 3), numbers(seed + 1, shape, dtype, 2)
    if kind == "bce":
        x = (1 / (1 + np.exp(-x))).astype(dtype)
    if kind in ("bce", "bce_with_logits", "kl_div"):
        t = np.clip(t, 0, 1)
    return x, np.sign(t) if kind == "soft_margin" else t


def test_the_table_of_the_reference_is_that_of_the_kernels():
    assert set(KINDS) == set(reference.VALUES) == set(reference.SLOPES)


@settings(max_examples=150)
@given(
    kind=st.sampled_from(sorted(KINDS)), shape=shapes, p=st.sampled_from([0.0, 0.5, 1.0, 2.0]), dtype=dtypes, layout=layouts, seed=st.integers(0, 99)
)
def test_losses_and_their_gradients(kind, shape, p, dtype, layout, seed):
    x, t = (LAYOUTS[layout](a) for a in operands(kind, seed, shape, dtype))
    g = numbers(seed + 2, shape, dtype)
    y, expected = kernels.pointwise_loss(kind, x, t, p), reference.pointwise_loss(kind, x, t, p)
    assert y.dtype == dtype and relative_error(y, expected) < tolerance(dtype, 2e-6, 1e-14)
    gx, expected = kernels.pointwise_loss_grad(kind, g, x, t, p), reference.pointwise_loss_grad(kind, g, x, t, p)
    assert gx.dtype == dtype and relative_error(gx, expected) < tolerance(dtype, 2e-6, 1e-14)


@pytest.mark.parametrize("kind", ["bce_with_logits", "soft_margin"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_tails_lose_no_digits(kind, dtype):
    """log(1 + exp(-x)) is exp(-x) for large x, not 0."""
    x, t = np.array([1, 5, 20, 40, 80], dtype), np.ones(5, dtype)
    y = kernels.pointwise_loss(kind, x, t, 0.0)
    assert np.all(np.abs(y / np.log1p(np.exp(-x.astype(np.float64))) - 1) < tolerance(dtype, 1e-6, 1e-14))
    assert np.array_equal(kernels.pointwise_loss(kind, -1000 * t, t, 0.0), 1000 * t)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_sure_and_right_answer_loses_no_digits(dtype):
    """Of the target 0, log(1 + exp(x)) is exp(x) for large negative x: x and -x cancel before it is added."""
    x = np.array([-2, -5.2147994, -20, -60], dtype)
    y = kernels.pointwise_loss("bce_with_logits", x, np.zeros(4, dtype), 0.0)
    assert np.all(np.abs(y / np.log1p(np.exp(x.astype(np.float64))) - 1) < tolerance(dtype, 1e-6, 1e-14))


def test_small_probabilities_lose_no_digits():
    x, t = np.array([1e-9, 1e-5, 0.3], np.float32), np.zeros(3, np.float32)
    assert np.all(np.abs(kernels.pointwise_loss("bce", x, t, 0.0) / -np.log1p(-x.astype(np.float64)) - 1) < 1e-6)
    edge = kernels.pointwise_loss("bce", np.array([0, 0, 1, 1], np.float32), np.array([0, 1, 0, 1], np.float32), 0.0)
    assert edge.tolist() == [0, 100, 100, 0]


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_nan_stays_nan(kind):
    nan, half = np.full(3, np.nan, np.float32), np.full(3, 0.5, np.float32)
    assert np.isnan(kernels.pointwise_loss(kind, nan, half, 1.0)).all() and np.isnan(kernels.pointwise_loss(kind, half, nan, 1.0)).all()
    assert np.isnan(kernels.pointwise_loss_grad(kind, half, half, nan, 1.0)).all()
    assert np.isnan(kernels.pointwise_loss_grad(kind, nan, half, half, 1.0)).all()
    if not kind.startswith("kl_div"):  # the slope of these does not depend on x
        assert np.isnan(kernels.pointwise_loss_grad(kind, half, nan, half, 1.0)).all()


@pytest.mark.cpu
def test_numbers_that_were_broadcast_are_not_written_out():
    x = numbers(1, (5000,), np.float32)
    one = np.broadcast_to(np.float32(0.25), (5000,))
    assert same(kernels.pointwise_loss("mse", x, one, 0.0), kernels.pointwise_loss("mse", x, one.copy(), 0.0))
    t = x[::-1].copy()
    assert same(kernels.pointwise_loss_grad("mse", one, x, t, 0.0), kernels.pointwise_loss_grad("mse", one.copy(), x, t, 0.0))
    assert same(kernels.pointwise_loss_grad("mse", one, x, one, 0.0), kernels.pointwise_loss_grad("mse", one.copy(), x, one.copy(), 0.0))


def test_memory_order():
    x, t = numbers(1, (3, 4, 5, 6), np.float32), LAYOUTS["channels-last"](numbers(2, (3, 4, 5, 6), np.float32))
    for a, b in ((x, t), (t, x)):
        y = kernels.pointwise_loss("huber", a, b, 1.0)
        assert memory_order(y) == memory_order(a) == memory_order(kernels.pointwise_loss_grad("huber", b, a, b, 1.0))
        assert np.array_equal(y, kernels.pointwise_loss("huber", np.ascontiguousarray(a), np.ascontiguousarray(b), 1.0))


@pytest.mark.cpu
def test_same_bits_whatever_the_number_of_threads():
    x, t = numbers(1, (3, 30, 20, 10), np.float32), LAYOUTS["channels-last"](numbers(2, (3, 30, 20, 10), np.float32))
    assert same_with_one_and_two_threads(
        lambda: (kernels.pointwise_loss("bce_with_logits", x, t, 0.0), kernels.pointwise_loss_grad("huber", x, x, t, 0.5))
    )
