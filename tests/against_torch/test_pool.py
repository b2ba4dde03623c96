"""Pooling against torch: values, indices and gradients of drawn geometries, both memory layouts, NaN and infinity, and what is refused."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import convkit
import convkit.nn.functional as F
from convkit import nn
from tests.helpers import LAYOUTS, numbers
from tests.ops import both_layouts, seeds

torch = pytest.importorskip("torch", reason="torch is not installed; it is no dependency of the tests")


def both(name, x, *args, plants=(), **options):
    """(ours, torch's) of the outputs of a function of an array and of its gradient, for weights that depend on the output's place."""
    x = x.copy(order="K")
    for place, value in plants:
        x.reshape(-1)[place % x.size] = value
    mine, other = convkit.Tensor(x.copy(order="K"), requires_grad=True), torch.tensor(np.ascontiguousarray(x), requires_grad=True)
    y = getattr(F, name)(mine, *[convkit.Tensor(a) if isinstance(a, np.ndarray) else a for a in args], **options)
    z = getattr(torch.nn.functional, name)(
        other, *[torch.tensor(np.ascontiguousarray(a)) if isinstance(a, np.ndarray) else a for a in args], **options
    )
    ys, zs = (v if isinstance(v, tuple) else (v,) for v in (y, z))
    weights = np.cos(np.arange(ys[0].array.size)).reshape(ys[0].shape).astype(x.dtype)
    ys[0].backward(convkit.Tensor(weights))
    zs[0].backward(torch.tensor(weights))
    return [t.array for t in ys] + [mine.grad.array], [t.detach().numpy() for t in zs] + [other.grad.numpy()]


def agree(name, x, *args, **options):
    for mine, other in zip(*both(name, x, *args, **options), strict=True):
        assert mine.shape == other.shape and mine.dtype == other.dtype
        np.testing.assert_allclose(mine, other, rtol=1e-12 if x.dtype == np.float64 else 1e-5, atol=1e-13 if x.dtype == np.float64 else 1e-6)


@st.composite
def geometries(draw, dilate):
    rank = draw(st.integers(1, 3))
    each = lambda low, high: tuple(draw(st.integers(low, high)) for _ in range(rank))
    size, stride, dilation = each(1, 4), draw(st.sampled_from([None, each(1, 4)])), each(1, 3 if dilate else 1)
    span = [d * (r - 1) + 1 for r, d in zip(size, dilation, strict=True)]
    padding = tuple(draw(st.integers(0, r // 2)) for r in size)  # with dilation torch pools with more, but has no gradient then
    spatial = [draw(st.integers(max(1, s - 2 * p), max(8 if rank < 3 else 5, s))) for s, p in zip(span, padding, strict=True)]
    args = {"kernel_size": size, "stride": stride, "padding": padding, "ceil_mode": draw(st.booleans())}
    if dilate:
        args["dilation"] = dilation
    return (draw(st.integers(1, 2)), draw(st.sampled_from([1, 3, 17])), *spatial), args


plants = st.lists(st.tuples(st.integers(0, 999), st.sampled_from([np.nan, np.inf, -np.inf])), max_size=3)
dtypes = st.sampled_from([np.float32, np.float64])


@settings(max_examples=150)
@given(case=geometries(dilate=True), layout=both_layouts, dtype=dtypes, plants=plants, seed=seeds)
def test_max_pool(case, layout, dtype, plants, seed):
    shape, args = case
    name = f"max_pool{len(shape) - 2}d"
    x = LAYOUTS[layout](np.round(numbers(seed, shape, dtype), 1))  # ties
    nothing = convkit.from_numpy(x * 0)
    assume(np.isfinite(getattr(F, name)(nothing, **args).numpy()).all())  # torch's indices of windows that see nothing lie anywhere
    agree(name, x, plants=plants, return_indices=True, **args)


@settings(max_examples=150)
@given(case=geometries(dilate=False), layout=both_layouts, dtype=dtypes, count=st.booleans(), divisor=st.sampled_from([None, 3, -2]), seed=seeds)
def test_avg_pool(case, layout, dtype, count, divisor, seed):
    shape, args = case
    if len(shape) > 3:
        args = args | {"divisor_override": divisor}
    if len(shape) > 4:  # torch's avg_pool3d alone refuses windows that fit by their padding only
        assume(all(n >= r for n, r in zip(shape[2:], args["kernel_size"], strict=True)))
    agree(f"avg_pool{len(shape) - 2}d", LAYOUTS[layout](numbers(seed, shape, dtype)), count_include_pad=count, **args)


@settings(max_examples=80)
@given(case=geometries(dilate=False), p=st.sampled_from([1, 2, 3, 1.5, 0.5, np.inf, -np.inf, -1, 2.0]), layout=both_layouts, seed=seeds)
def test_lp_pool(case, p, layout, seed):
    shape, args = case
    args = {k: v for k, v in args.items() if k != "padding"}
    assume(all(n >= r for n, r in zip(shape[2:], args["kernel_size"], strict=True)))
    if len(shape) == 3:
        args = {k: v[0] if isinstance(v, tuple) else v for k, v in args.items()}
    agree(f"lp_pool{len(shape) - 2}d", LAYOUTS[layout](np.abs(numbers(seed, shape)) + 0.1), p, **args)


@settings(max_examples=100)
@given(shape=st.lists(st.integers(1, 7), min_size=1, max_size=3), output=st.lists(st.integers(1, 6), min_size=3, max_size=3), layout=both_layouts,
       dtype=dtypes, keep=st.booleans(), plants=plants, seed=seeds)  # fmt: skip
def test_adaptive(shape, output, layout, dtype, keep, plants, seed):
    rank = len(shape)
    output = tuple(output[:rank])
    if keep and rank > 1:
        output = (None, *output[1:])
    x = LAYOUTS[layout](np.round(numbers(seed, (2, 3, *shape), dtype), 1))
    agree(f"adaptive_avg_pool{rank}d", x, output)
    agree(f"adaptive_max_pool{rank}d", x, output, plants=plants, return_indices=True)


@settings(max_examples=80)
@given(case=geometries(dilate=False), layout=both_layouts, dtype=dtypes, seed=seeds)
def test_max_unpool(case, layout, dtype, seed):
    """Indices of windows that overlap: an element that is the maximum of two windows is named twice."""
    shape, args = case
    rank = len(shape) - 2
    args = {k: v for k, v in args.items() if k != "ceil_mode"}
    y, indices = getattr(F, f"max_pool{rank}d")(convkit.Tensor(numbers(seed, shape, dtype)), **args, return_indices=True)
    stride = args["stride"] or args["kernel_size"]
    usual = [(n - 1) * s - 2 * p + r for n, s, p, r in zip(y.shape[2:], stride, args["padding"], args["kernel_size"], strict=True)]
    assume(all(u - s < n < u + s for n, u, s in zip(shape[2:], usual, stride, strict=True)))
    agree(f"max_unpool{rank}d", LAYOUTS[layout](y.array), indices.array, **args, output_size=list(shape[2:]))


def test_two_elements_for_one_place():
    x, places = numbers(1, (1, 2, 3)), np.array([[[1, 1, 0], [5, 1, 5]]])
    agree("max_unpool1d", x, places, 2)


@pytest.mark.parametrize(
    ("name", "shape", "args"),
    [
        ("max_pool2d", (1, 2, 6, 6), {"kernel_size": 0}), ("max_pool2d", (1, 2, 6, 6), {"kernel_size": 2, "stride": 0}),
        ("max_pool2d", (1, 2, 6, 6), {"kernel_size": 2, "padding": 2}), ("max_pool2d", (1, 2, 6, 6), {"kernel_size": 2, "padding": -1}),
        ("max_pool2d", (1, 2, 6, 6), {"kernel_size": (2, 2, 2)}), ("max_pool2d", (1, 2, 6, 6), {"kernel_size": 7}),
        ("max_pool2d", (6, 6), {"kernel_size": 2}), ("max_pool2d", (1, 0, 6, 6), {"kernel_size": 2}), ("max_pool1d", (6,), {"kernel_size": 2}),
        ("max_pool2d", (1, 2, 6, 6), {"kernel_size": 3, "dilation": 3}), ("max_pool2d", (1, 2, 6, 6), {"kernel_size": 2.5}),
        ("avg_pool2d", (1, 2, 6, 6), {"kernel_size": 2, "divisor_override": 0}),
        ("avg_pool2d", (1, 2, 6, 6), {"kernel_size": 3, "padding": 2}),
        ("avg_pool1d", (1, 2, 6), {"kernel_size": 8}), ("avg_pool3d", (6, 6, 6), {"kernel_size": 2}),
        ("avg_pool2d", (1, 0, 6, 6), {"kernel_size": 2}),
        ("adaptive_avg_pool2d", (1, 2, 6, 6), {"output_size": -1}),
        ("adaptive_avg_pool2d", (1, 2, 6, 6), {"output_size": (1, 2, 3)}),
        ("adaptive_avg_pool2d", (1, 2, 6, 6), {"output_size": (2,)}), ("adaptive_avg_pool2d", (1, 2, 0, 6), {"output_size": 2}),
        ("adaptive_max_pool2d", (1, 0, 6, 6), {"output_size": 2}), ("adaptive_max_pool1d", (6,), {"output_size": 2}),
        ("lp_pool2d", (1, 2, 6, 6), {"norm_type": 0, "kernel_size": 2}), ("lp_pool2d", (1, 2, 6, 6), {"norm_type": 2, "kernel_size": 7}),
    ],
)  # fmt: skip
def test_what_torch_refuses_is_refused(name, shape, args):
    with pytest.raises((ValueError, RuntimeError, TypeError, ZeroDivisionError)):
        getattr(torch.nn.functional, name)(torch.ones(shape), **args)
    with pytest.raises((ValueError, TypeError)):
        getattr(F, name)(convkit.ones(*shape), **args)


LAYERS = {
    "MaxPool2d": [(2,), (3, 2, 1), (3, 2, 1, 2, False, True)], "AvgPool2d": [(2,), (3, 2, 1, True, False), (2, 2, 0, False, True, 3)],
    "LPPool2d": [(2, 2), (1.5, 3, 1, True)], "AdaptiveAvgPool2d": [(3,), ((None, 4),)], "AdaptiveMaxPool2d": [(3,), ((2, None),)],
    "MaxPool1d": [(2,)], "AvgPool3d": [(2,)], "LPPool3d": [(2, 2)], "AdaptiveAvgPool1d": [(3,)], "AdaptiveMaxPool3d": [(2,)],
}  # fmt: skip


@pytest.mark.parametrize(("name", "args"), [(name, args) for name, cases in LAYERS.items() for args in cases])
def test_layers_have_the_arguments_of_torch(name, args):
    x = np.abs(numbers(1, (2, 3, *(7, 6, 5)[: int(name[-2])])))
    np.testing.assert_allclose(
        getattr(nn, name)(*args)(convkit.Tensor(x)).numpy(), getattr(torch.nn, name)(*args)(torch.tensor(x)).numpy(), rtol=1e-12
    )


def test_unpooling_layer():
    x = numbers(1, (2, 3, 7, 6))
    y, indices = nn.MaxPool2d(2, 2, return_indices=True)(convkit.Tensor(x))
    z, places = torch.nn.MaxPool2d(2, 2, return_indices=True)(torch.tensor(x))
    assert np.array_equal(indices.numpy(), places.numpy())
    expected = torch.nn.MaxUnpool2d(2, 2)(z, places, output_size=(2, 3, 7, 6)).numpy()
    assert np.array_equal(nn.MaxUnpool2d(2, 2)(y, indices, output_size=(2, 3, 7, 6)).numpy(), expected)
