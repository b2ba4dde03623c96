import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import convkit
from convkit import Tensor
from convkit.autograd import fusion
from convkit.nn import functional as F
from tests.backend import settings
from tests.helpers import LAYOUTS, channels_last_copy, dtypes, layouts, memory_order, numbers, relative_error, tolerance
from tests.ops import both_layouts, check_gradients, gradients, leaf, second_order_runs, seeds

shapes = st.tuples(st.integers(2, 4), st.integers(1, 5), st.lists(st.integers(1, 4), max_size=3)).map(lambda s: (s[0], s[1], *s[2]))


def by_numpy(x, mean, var, weight, bias, eps):
    channels = lambda t: np.asarray(t, np.float64).reshape(1, -1, *(1,) * (x.ndim - 2))
    y = (x.astype(np.float64) - channels(mean)) / np.sqrt(channels(var) + eps)
    return y * (1 if weight is None else channels(weight)) + (0 if bias is None else channels(bias))


def over(x):
    return (0, *range(2, x.ndim))


@settings(max_examples=30)
@given(shape=shapes, dtype=dtypes, layout=layouts, affine=st.booleans(), momentum=st.sampled_from([0.1, 1.0, 0.0]), seed=seeds)
def test_values_in_training(shape, dtype, layout, affine, momentum, seed):
    x, (w, b) = numbers(seed, shape, dtype, mean=2), numbers(seed + 1, (2, shape[1]), dtype)
    running_mean, running_var = convkit.from_numpy(numbers(5, shape[1:2], dtype)), convkit.ones(shape[1], dtype=dtype)
    before = running_mean.numpy().copy()
    tensors = [convkit.from_numpy(t) if affine else None for t in (w, b)]
    y = F.batch_norm(convkit.from_numpy(LAYOUTS[layout](x)), running_mean, running_var, *tensors, training=True, momentum=momentum, eps=1e-3)
    mean, var = x.mean(over(x), dtype=np.float64), x.var(over(x), dtype=np.float64)
    expected = by_numpy(x, mean, var, w if affine else None, b if affine else None, 1e-3)
    assert y.dtype == dtype and relative_error(y.numpy(), expected) < tolerance(dtype, 1e-5, 1e-13)
    count = x.size // shape[1]
    close = {"rtol": tolerance(dtype, 1e-5, 1e-12), "atol": tolerance(dtype, 1e-6, 1e-13)}
    np.testing.assert_allclose(running_mean.numpy(), (1 - momentum) * before + momentum * mean, **close)
    np.testing.assert_allclose(running_var.numpy(), (1 - momentum) + momentum * var * count / (count - 1), **close)


@settings(max_examples=30)
@given(shape=shapes, dtype=dtypes, layout=layouts, affine=st.booleans(), seed=seeds)
def test_values_in_evaluation(shape, dtype, layout, affine, seed):
    x, (w, b, mean) = numbers(seed, shape, dtype), numbers(seed + 1, (3, shape[1]), dtype)
    var = np.abs(numbers(seed + 2, shape[1:2], dtype))
    tensors = [convkit.from_numpy(t) if t is not None else None for t in (mean, var, w if affine else None, b if affine else None)]
    y = F.batch_norm(convkit.from_numpy(LAYOUTS[layout](x)), *tensors)
    expected = by_numpy(x, mean, var, w if affine else None, b if affine else None, 1e-5)
    assert relative_error(y.numpy(), expected) < tolerance(dtype, 1e-5, 1e-13)
    assert np.array_equal(tensors[0].numpy(), mean)  # statistics stay


def batch_norm(relu, *args, add=None, **options):
    """Batch normalisation, and what is joined to it."""

    def both():
        y = F.batch_norm(*args, **options)
        y = y if add is None else y + add
        return F.relu(y) if relu else y

    return fusion.run(both, (), {})


@settings(max_examples=20)
@given(shape=shapes, dtype=dtypes, layout=both_layouts, affine=st.booleans(), training=st.booleans(), seed=seeds)
def test_relu_is_that_of_two_operations(shape, dtype, layout, affine, training, seed):
    x, gy = numbers(seed, shape, dtype), convkit.from_numpy(numbers(seed + 4, shape, dtype))
    x.flat[0] = np.nan if seed % 3 == 0 else x.flat[0]
    x = LAYOUTS[layout](x)
    both = []
    for relu in (False, True):
        inputs = [Tensor(t.copy(order="K"), requires_grad=True) for t in (x, *numbers(seed + 1, (2, shape[1]), dtype))]
        mean, var = convkit.from_numpy(numbers(5, shape[1:2], dtype)), convkit.ones(shape[1], dtype=dtype)
        y = batch_norm(relu, inputs[0], mean, var, *(inputs[1:] if affine else (None, None)), training=training)
        y = y if relu else F.relu(y)
        y.backward(gy)
        both.append([y, mean, var, *(t.grad for t in inputs[: 3 if affine else 1])])
    for a, b in zip(*both, strict=True):
        np.testing.assert_array_equal(a.detach().numpy(), b.detach().numpy())


small = st.sampled_from([(2, 1), (3, 2), (2, 2, 2), (2, 1, 1, 3), (2, 2, 1, 2, 1)])


@settings(max_examples=20)
@given(shape=small, layout=both_layouts, affine=st.booleans(), training=st.booleans(), adds=st.booleans(), relu=st.booleans(), seed=seeds)
def test_gradients(shape, layout, affine, training, adds, relu, seed):
    inputs = [leaf(seed, shape, layout), leaf(seed + 3, shape)] + [leaf(seed + 1, shape[1:2]), leaf(seed + 2, shape[1:2])] * affine
    mean, var = convkit.from_numpy(numbers(1, shape[1:2])), convkit.ones(shape[1], dtype=np.float64)
    statistics = (None, None) if training else (mean, var)
    f = lambda x, y, w=None, b=None: batch_norm(relu, x, *statistics, w, b, training=training, eps=0.1, add=y if adds else None)
    check_gradients(lambda x, y, *both: f(x, y, *both) + (0.0 if adds else y), *inputs)


@pytest.mark.parametrize("training", [True, False])
def test_only_the_gradients_that_are_wanted(training):
    statistics = convkit.zeros(2, dtype=np.float64), convkit.ones(2, dtype=np.float64)
    for wanted in range(3):
        inputs = [Tensor(t.array, requires_grad=i == wanted) for i, t in enumerate((leaf(1, (3, 2)), leaf(2, (2,)), leaf(3, (2,))))]
        F.batch_norm(inputs[0], *statistics, *inputs[1:], training=training).sum().backward()
        assert [t.grad is not None for t in inputs] == [i == wanted for i in range(3)]


@pytest.mark.parametrize("training", [True, False])
def test_memory_order_stays(training):
    x = Tensor(channels_last_copy(numbers(1, (2, 3, 4, 5), np.float32)), requires_grad=True)
    y, gx = gradients(lambda x: F.batch_norm(x, convkit.zeros(3), convkit.ones(3), training=training), x)
    assert memory_order(y) == memory_order(gx) == memory_order(x.array)


@pytest.mark.parametrize("relu", [True, False])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("shape", [(0, 2), (0, 2, 3, 3), (2, 3, 0), (1, 1, 2, 1)])
def test_nothing_and_one(shape, training, relu):
    statistics = convkit.zeros(shape[1], dtype=np.float64), convkit.ones(shape[1], dtype=np.float64)
    f = lambda x, w, b: batch_norm(relu, x, *statistics, w, b, training=training)
    inputs = lambda: (leaf(1, shape), leaf(2, shape[1:2]), leaf(3, shape[1:2]))
    assert gradients(f, *inputs())[0].shape == shape
    second_order_runs(f, *inputs())
    assert np.isfinite(statistics[0].numpy()).all() and np.isfinite(statistics[1].numpy()).all()


def test_evaluation_of_one_value_a_channel():
    y = F.batch_norm(convkit.tensor([[1.0, 5.0]]), convkit.zeros(2), convkit.ones(2), eps=0.0)
    assert y.numpy().tolist() == [[1, 5]]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nan_and_infinity_spoil_their_channel_only(bad):
    x = numbers(1, (3, 3, 2, 2), np.float32)
    x[1, 1, 0, 0] = bad
    mean, var = convkit.zeros(3), convkit.ones(3)
    y = F.batch_norm(convkit.from_numpy(x), mean, var, training=True).numpy()
    assert np.isnan(y[:, 1]).any() and np.isfinite(y[:, [0, 2]]).all()
    assert not np.isfinite(mean.numpy()[1]) and np.isfinite(mean.numpy()[[0, 2]]).all()
    y = F.batch_norm(convkit.from_numpy(x), convkit.zeros(3), convkit.ones(3)).numpy()
    assert (~np.isfinite(y) == ~np.isfinite(x)).all()


# --------------------------------------------------------------------- other statistics than the batch's
def normalised(x, shape, axes, weight, bias, eps, centred=True):
    """x, seen in `shape`, normalised over `axes` of it; weight and bias broadcast over the result."""
    wide = x.astype(np.float64).reshape(shape)
    mean = wide.mean(axes, keepdims=True) if centred else 0.0
    y = ((wide - mean) / np.sqrt(((wide - mean) ** 2).mean(axes, keepdims=True) + eps)).reshape(x.shape)
    return y * (1 if weight is None else weight) + (0 if bias is None else bias)


# name, shape, arguments, the shape of weight and bias, the view and the axes of the statistics
OTHERS = [
    ("instance_norm", (2, 3, 4), (), (3,), (2, 3, 4), (2,)),
    ("instance_norm", (2, 2, 2, 3), (), (2,), (2, 2, 2, 3), (2, 3)),
    ("instance_norm", (1, 2, 1, 2, 2), (), (2,), (1, 2, 1, 2, 2), (2, 3, 4)),
    ("group_norm", (2, 4), (2,), (4,), (2, 2, 2), (2,)),
    ("group_norm", (2, 4, 3), (2,), (4,), (2, 2, 2, 3), (2, 3)),
    ("group_norm", (2, 3, 2, 1), (1,), (3,), (2, 1, 3, 2, 1), (2, 3, 4)),
    ("group_norm", (1, 6, 1, 2, 1), (3,), (6,), (1, 3, 2, 1, 2, 1), (2, 3, 4, 5)),
    ("layer_norm", (4,), ((4,),), (4,), (4,), (0,)),
    ("layer_norm", (2, 3, 4), ((4,),), (4,), (2, 3, 4), (2,)),
    ("layer_norm", (2, 3, 2), ([3, 2],), (3, 2), (2, 3, 2), (1, 2)),
    ("rms_norm", (3, 4), ((4,),), (4,), (3, 4), (1,)),
    ("rms_norm", (2, 2, 3), ((2, 3),), (2, 3), (2, 2, 3), (1, 2)),
]


def call(name, arguments, x, weight, bias, eps):
    if name == "instance_norm":
        return F.instance_norm(x, weight=weight, bias=bias, eps=eps)
    if name == "rms_norm":
        return F.rms_norm(x, *arguments, weight, eps)
    return getattr(F, name)(x, *arguments, weight, bias, eps)


@settings(max_examples=60)
@given(case=st.sampled_from(OTHERS), dtype=dtypes, layout=layouts, affine=st.booleans(), seed=seeds)
def test_values_of_other_norms(case, dtype, layout, affine, seed):
    name, shape, arguments, affine_shape, view, axes = case
    x, w, b = numbers(seed, shape, dtype, mean=2), numbers(seed + 1, affine_shape, dtype), numbers(seed + 2, affine_shape, dtype)
    tensors = [convkit.from_numpy(t) if affine else None for t in (w, b)]
    y = call(name, arguments, convkit.from_numpy(LAYOUTS[layout](x)), *tensors, 1e-3)
    across = (lambda t: t) if name in ("layer_norm", "rms_norm") else (lambda t: t.reshape(-1, *[1] * (len(shape) - 2)))
    w, b = (across(w), across(b)) if affine else (None, None)
    expected = normalised(x, view, axes, w, None if name == "rms_norm" else b, 1e-3, name != "rms_norm")
    assert y.dtype == dtype and relative_error(y.numpy(), expected) < tolerance(dtype, 1e-5, 1e-13)


@pytest.mark.parametrize("case", OTHERS, ids=lambda case: f"{case[0]} {list(case[1])}")
@settings(max_examples=4)
@given(layout=both_layouts, affine=st.booleans(), seed=seeds)
def test_gradients_of_other_norms(case, layout, affine, seed):
    name, shape, arguments, affine_shape, _, _ = case
    count = 0 if not affine else 1 if name == "rms_norm" else 2
    inputs = [leaf(seed, shape, layout), *(leaf(seed + i + 1, affine_shape) for i in range(count))]
    check_gradients(lambda x, w=None, b=None: call(name, arguments, x, w, b, 0.1), *inputs)


@pytest.mark.parametrize(
    "name, shape", [("instance_norm", (0, 3, 4)), ("instance_norm", (2, 3, 0)), ("group_norm", (0, 3, 2)), ("layer_norm", (0, 3))]
)
def test_other_norms_of_nothing(name, shape):
    arguments = {"instance_norm": (), "group_norm": (1,), "layer_norm": (3,)}[name]
    f = lambda x, w, b: call(name, arguments, x, w, b, 1e-5)
    inputs = lambda: (leaf(1, shape), leaf(2, (3,)), leaf(3, (3,)))
    assert gradients(f, *inputs())[0].shape == shape
    second_order_runs(f, *inputs())


def test_memory_order_of_other_norms_stays():
    x = Tensor(channels_last_copy(numbers(1, (2, 4, 4, 5), np.float32)), requires_grad=True)
    for f in (F.instance_norm, lambda x: F.group_norm(x, 2)):
        x.grad = None
        y, gx = gradients(f, x)
        assert memory_order(y) == memory_order(gx) == memory_order(x.array)


def test_running_statistics_of_instances():
    x, mean, var = numbers(1, (3, 2, 5)), convkit.zeros(2, dtype=np.float64), convkit.ones(2, dtype=np.float64)
    F.instance_norm(convkit.tensor(x), mean, var, momentum=0.3)
    np.testing.assert_allclose(mean.numpy(), 0.3 * x.mean((0, 2)), rtol=1e-12)
    np.testing.assert_allclose(var.numpy(), 0.7 + 0.3 * x.var(2, ddof=1).mean(0), rtol=1e-12)
    y = F.instance_norm(convkit.tensor(x), mean, var, use_input_stats=False).numpy()
    np.testing.assert_allclose(y, by_numpy(x, mean.numpy(), var.numpy(), None, None, 1e-5), rtol=1e-12)


@settings(max_examples=30)
@given(
    shape=st.sampled_from([(2, 5, 3), (1, 4, 2, 2), (2, 1, 3), (1, 3, 1, 2, 2)]), size=st.integers(1, 7), dtype=dtypes, layout=layouts, seed=seeds
)  # fmt: skip
def test_local_response_norm(shape, size, dtype, layout, seed):
    x = numbers(seed, shape, dtype, 2)
    expected = np.empty(shape)
    for place in np.ndindex(*shape):
        c = place[1]
        channels = range(max(0, c - size // 2), min(shape[1], c + (size - 1) // 2 + 1))
        total = sum(float(x[(place[0], k, *place[2:])]) ** 2 for k in channels)
        expected[place] = x[place] / (1.5 + 0.3 / size * total) ** 0.6
    y = F.local_response_norm(convkit.from_numpy(LAYOUTS[layout](x)), size, 0.3, 0.6, 1.5)
    assert y.dtype == dtype and relative_error(y.numpy(), expected) < tolerance(dtype, 1e-6, 1e-14)


@settings(max_examples=10)
@given(shape=st.sampled_from([(2, 3, 2), (1, 4, 1, 2), (1, 2, 1, 2, 1)]), size=st.integers(1, 4), layout=both_layouts, seed=seeds)
def test_gradients_of_local_response_norm(shape, size, layout, seed):
    check_gradients(lambda x: F.local_response_norm(x, size, 0.5, 0.75, 1.0), leaf(seed, shape, layout))


def test_local_response_norm_spreads_nan_to_neighbours_only():
    x = np.ones((1, 7, 2), np.float32)
    x[0, 3, 1] = np.nan
    y = F.local_response_norm(convkit.from_numpy(x), 3).numpy()
    assert np.isnan(y[0, 2:5, 1]).all() and np.isnan(y).sum() == 3


def test_errors_of_other_norms():
    ones = convkit.ones
    x = ones(2, 4, 3)
    for error, match, run in [
        (
            ValueError,
            r"instance_norm: needs more than one value a channel to normalise, got input \[2, 3, 1\]",
            lambda: F.instance_norm(ones(2, 3, 1)),
        ),
        (ValueError, "instance_norm: use_input_stats=False needs running_mean", lambda: F.instance_norm(x, use_input_stats=False)),
        (ValueError, r"instance_norm: weight must have shape \[4\]", lambda: F.instance_norm(x, weight=ones(3))),
        (ValueError, r"group_norm: num_groups must divide the channels, got 3 for input \[2, 4, 3\]", lambda: F.group_norm(x, 3)),
        (ValueError, "group_norm: num_groups must divide the channels, got 0", lambda: F.group_norm(x, 0)),
        (TypeError, "group_norm: num_groups must be an int, got 2.0", lambda: F.group_norm(x, 2.0)),
        (ValueError, r"group_norm: needs more than one value a group, got input \[1, 4\] and 4 groups", lambda: F.group_norm(ones(1, 4), 4)),
        (ValueError, "group_norm: input must be .* at least 2 dimensions", lambda: F.group_norm(ones(4), 2)),
        (
            ValueError,
            r"layer_norm: normalized_shape must be the input's last dimensions, got \[4\] for input \[2, 4, 3\]",
            lambda: F.layer_norm(x, 4),
        ),
        (ValueError, r"layer_norm: normalized_shape must be .* got \[\]", lambda: F.layer_norm(x, [])),
        (ValueError, r"layer_norm: bias must have shape \[3\], the normalized_shape, got \[4\]", lambda: F.layer_norm(x, 3, bias=ones(4))),
        (TypeError, "layer_norm: input is float32 but weight is float64", lambda: F.layer_norm(x, 3, ones(3).double())),
        (TypeError, "rms_norm: weight must be a tensor, got float", lambda: F.rms_norm(x, 3, 1.0)),
        (TypeError, "rms_norm: needs float32 or float64, got int64", lambda: F.rms_norm(x.long(), 3)),
        (ValueError, "local_response_norm: input must be .* at least 3 dimensions", lambda: F.local_response_norm(ones(2, 3), 2)),
        (ValueError, "local_response_norm: size must be an int of at least 1, got 0", lambda: F.local_response_norm(x, 0)),
        (ValueError, "batch_norm: eps must be positive, got 0", lambda: F.batch_norm(x, training=True, eps=0)),
    ]:
        with pytest.raises(error, match="^" + match):
            run()


def test_errors():
    ones = convkit.ones
    x = ones(2, 3, 4)
    for error, match, call in [
        (ValueError, r"input must be \[N, C, ...\] of at least 2 dimensions, got shape \[3\]", lambda: F.batch_norm(ones(3), training=True)),
        (ValueError, r"weight must have shape \[3\], one number a channel, got \[4\]", lambda: F.batch_norm(x, weight=ones(4), training=True)),
        (ValueError, r"running_mean must have shape \[3\], one number a channel, got \[2\]", lambda: F.batch_norm(x, ones(2), ones(3))),
        (ValueError, r"training=False needs running_mean and running_var", lambda: F.batch_norm(x)),
        (ValueError, r"needs more than one value a channel to train, got input \[1, 3, 1\]", lambda: F.batch_norm(ones(1, 3, 1), training=True)),
        (TypeError, r"input is float32 but bias is float64", lambda: F.batch_norm(x, bias=ones(3).double(), training=True)),
        (TypeError, r"input is float64 but running_mean is float32", lambda: F.batch_norm(x.double(), ones(3), ones(3))),
        (TypeError, r"needs float32 or float64, got int64", lambda: F.batch_norm(x.long(), training=True)),
    ]:
        with pytest.raises(error, match="^batch_norm: " + match):
            call()


@pytest.mark.parametrize("training", [True, False])
def test_batch_norm_of_nothing_at_all(training):
    x, none = convkit.zeros(0, requires_grad=True), convkit.zeros(0)
    y = F.batch_norm(x, none, none, training=training)
    y.sum().backward()
    assert y.shape == (0,) and x.grad.shape == (0,)
