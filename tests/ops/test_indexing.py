"""Indexing and gathering."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import convkit
from convkit import Tensor
from convkit.autograd import gradcheck, gradgradcheck
from tests.backend import SIMULATED, settings
from tests.helpers import same
from tests.ops import both_layouts, check_gradients, gradients, leaf, seeds

shapes = st.lists(st.integers(1, 2 if SIMULATED else 3), min_size=1, max_size=3 if SIMULATED else 4).map(tuple)


NAMES = ["reshape", "flatten", "permute", "transpose", "T", "squeeze", "unsqueeze", "expand", "pad", "split", "chunk", "clone"]


KEYS = [
    1, -1, slice(None), slice(1, None), slice(None, None, 2), slice(None, None, -1), slice(2, 2), None, ...,
    (0, 1), (slice(None), 1), (..., 1), (..., None), (slice(1, 3), slice(0, 2)),
    [0, 2], [1, 1, 0], (slice(None), [0, 0]), ([0, 1], [1, 0]), (0, ..., [1, 0]),
    np.array([[0, 1], [2, 2]]), (np.array([0, 2]), slice(None), 0), np.array([True, False, True]),
]  # fmt: skip


@pytest.mark.parametrize("key", KEYS, ids=str)
def test_indexing(key):
    x = leaf(1, (3, 4, 2))
    assert same(x[key].detach().numpy(), np.asarray(x.detach().numpy()[key]))
    check_gradients(lambda x: x[key] * 2, x, second=False)
    check_gradients(lambda x: (x * x)[key], Tensor(x.detach().numpy()[:, :2, :], requires_grad=True))
    if isinstance(key, np.ndarray | list):
        assert same(x[convkit.tensor(np.asarray(key))].detach().numpy(), x.detach().numpy()[key])


def test_indexing_by_a_mask_and_by_tensors():
    x = leaf(1, (3, 4))
    assert same(x[x > 0].detach().numpy(), x.detach().numpy()[x.detach().numpy() > 0])
    assert same(x[convkit.tensor(1)].detach().numpy(), x.detach().numpy()[1])
    i, j = convkit.tensor([0, 2, 2]), convkit.tensor([1, 1, 1])
    y, gx = gradients(lambda x: x[i, j], x)
    expected = np.zeros((3, 4))
    expected[0, 1], expected[2, 1] = 1, 2  # taken twice, counted twice
    assert np.array_equal(gx, expected)


YES, NO = True, False
TWO = np.array([[YES, NO, NO], [NO, YES, YES]])
MIXED = [  # masks beside numbers: (shape, key)
    ((2, 2), ([YES, YES], [0, 1])), ((3, 4), ([YES, NO, YES], [0, -1])), ((4, 3), ([-1, 0], [YES, NO, YES])),
    ((3, 4), ([YES, NO, YES], [1])), ((3, 4), ([YES, NO, NO], [1, 1, -2])), ((3, 4), ([YES, NO, YES], [[0, 3], [1, 3], [0, 0]])),
    ((3, 4), ([[0], [0]], [YES, NO, YES, YES])), ((3, 4), ([YES, NO, YES], [NO, YES, YES, NO])), ((3, 4), ([NO, NO, NO], [1])),
    ((1, 3), ([YES], [1, 1, 0])), ((3, 1), ([YES, NO, YES], [0, -1])), ((1, 1), ([YES], [0])), ((1, 1, 2), ([YES], [0, 0, 0], [1, 0, 1])),
    ((2, 3, 4), (TWO, [3, 3, -4])), ((4, 2, 3), ([0, 0, -1], TWO)), ((2, 3, 4), (TWO, [2])), ((2, 3, 2, 2), (TWO, [0, 0, 1])),
    ((2, 3, 2, 2), (TWO, [0, 0, 1], [1, 1, 0])), ((2, 3, 3), ([NO, YES], [0, 0])), ((2, 3, 2), ([YES, YES], [-1, -1], [1, 1])),
    ((2, 3, 2), ([YES, YES], slice(None), [1, 1])), ((2, 2, 3), (slice(None), [1, 1], [YES, NO, YES])),
    ((2, 3), (np.array(True), [0, 0])), ((2, 3), ((0, 0), (1, 1))),
]  # fmt: skip


@pytest.mark.parametrize(("shape", "key"), MIXED, ids=str)
def test_masks_beside_numbers(shape, key):
    x = leaf(1, shape)
    there = tuple(k if isinstance(k, slice) else np.asarray(k) for k in key)
    tensors = tuple(k if isinstance(k, slice) else convkit.tensor(k) for k in there)
    places = np.arange(x.numel()).reshape(shape)[there]
    for k in (key, tensors):
        y, gx = gradients(lambda x, k=k: x[k], x)
        assert same(y, x.detach().numpy()[there])
        assert np.array_equal(gx, np.bincount(places.reshape(-1), minlength=x.numel()).reshape(shape))
        x.grad = None
    check_gradients(lambda x: x[tensors] * 2, x, second=False)
    check_gradients(lambda x: (x * x)[tensors], x)
    put = tuple(None if isinstance(k, slice) else k for k in tensors)
    values = leaf(2, places.shape)
    expected = x.detach().numpy().copy()
    np.add.at(expected, there, values.detach().numpy())
    assert np.allclose(convkit.index_put(x, put, values, accumulate=True).detach().numpy(), expected, rtol=0, atol=1e-14)
    check_gradients(lambda x, v: convkit.index_put(x * x, put, v * v, accumulate=True), x, values)


ALONE = [
    True, False, np.True_, np.array(False), (True, 1), (1, True), (True, [0, 0]), (False, [0]), (False, [1], slice(1, None)), ([0], True, [1, 1]),
    (True, None, [0]), (True, ..., [0]), (slice(1, None), True, [0, 2]), (True, [YES, NO]), (np.array(True), slice(None), [2, 0]),
]  # fmt: skip


@pytest.mark.parametrize("key", ALONE, ids=str)
def test_booleans_alone(key):
    x = leaf(1, (2, 3))
    a = x.detach().numpy().copy()
    places = np.arange(6).reshape(2, 3)[key]
    y, gx = gradients(lambda x: x[key], x)
    assert same(y, a[key]) and np.array_equal(gx, np.bincount(places.reshape(-1), minlength=6).reshape(2, 3))
    check_gradients(lambda x: (x * x)[key], x)
    z = x.detach().clone()
    a[key], z[key] = 7, 7
    assert same(z.numpy(), a)


@pytest.mark.parametrize(
    ("key", "text"),
    [
        (([YES, NO, YES], [0, 4]), "index 4 is out of bounds"),
        (([YES, NO], [0, 1]), "boolean index did not match"),
        (([YES, NO, YES], [0, 1, 2]), "shape mismatch"),
        (([0, 1], [0, 1, 2]), "shape mismatch"),
        (([YES, NO, YES], [0, 1], [0, 1]), "too many indices"),
        (([0, 1], [0, 1], [0, 1]), "too many indices"),
    ],
    ids=str,
)
def test_keys_that_do_not_fit(key, text):
    x, key = leaf(1, (3, 4)), tuple(convkit.tensor(k) for k in key)
    with pytest.raises(IndexError, match=text):
        x[key]
    for accumulate in (False, True):
        with pytest.raises(IndexError, match=f"index_put: a tensor of shape \\[3, 4\\]: .*{text}"):
            convkit.index_put(x, key, convkit.tensor(1.0, dtype=x.dtype), accumulate)


@pytest.mark.parametrize("shape", [(0,), (3, 0), (0, 3), (2, 0, 0), (0, 2, 0)], ids=str)
def test_nothing_is_taken_from_nothing(shape):
    none = convkit.tensor(np.zeros(0, np.int64))
    for d in range(len(shape)):
        if shape[d]:
            continue
        index = convkit.tensor(np.zeros(shape, np.int64))
        for call in (
            lambda x, d=d: x.index_select(d, none),
            lambda x, d=d, i=index: x.gather(d, i),
            lambda x, d=d, i=index: convkit.take_along_dim(x, i, d),
        ):
            for layout in ("C order", "channels-last") if len(shape) > 2 else ("C order",):
                y, gx = gradients(call, leaf(1, shape, layout))
                assert y.shape == gx.shape == shape


@settings(max_examples=30)
@given(shape=shapes, layout=both_layouts, length=st.integers(1, 4), seed=seeds, data=st.data())
def test_gather(shape, layout, length, seed, data):
    dim = data.draw(st.integers(-len(shape), len(shape) - 1))
    size = tuple(length if d == dim % len(shape) else data.draw(st.integers(1, n)) for d, n in enumerate(shape))
    index = np.random.default_rng(seed).integers(0, shape[dim], size)
    x = leaf(seed, shape, layout)
    part = x.detach().numpy()[tuple(slice(None) if d == dim % len(shape) else slice(n) for d, n in enumerate(size))]
    assert same(x.gather(dim, convkit.tensor(index)).detach().numpy(), np.take_along_axis(part, index, dim))
    if x.numel() * index.size <= 200:
        check_gradients(lambda x: x.gather(dim, convkit.tensor(index)) * 2, x, second=False)
        check_gradients(lambda x: (x * x).gather(dim, convkit.tensor(index)), x)


# name: f(x, data, seed) -> (the call, its further inputs); every index is drawn.
def _index(seed, n, size):
    return convkit.tensor(np.random.default_rng(seed).integers(0, n, size))


def _dim(x, data):
    return data.draw(st.integers(-x.ndim, x.ndim - 1))


def _vector(x, data, seed, repeat=True):
    """(a dimension, a vector of places along it, the shape of the slices there)."""
    d = _dim(x, data)
    n = x.shape[d]
    length = data.draw(st.integers(0, 4 if repeat else n))
    places = np.random.default_rng(seed).integers(0, n, length) if repeat else np.random.default_rng(seed).permutation(n)[:length]
    return d, convkit.tensor(places), tuple(length if k == d % x.ndim else m for k, m in enumerate(x.shape))


def _along(x, data, seed, repeat=True):
    """(a dimension, an index of x's rank that is no larger elsewhere); unless `repeat`, no element is named twice."""
    d = _dim(x, data)
    size = tuple(data.draw(st.integers(1, 4 if repeat and k == d % x.ndim else n)) for k, n in enumerate(x.shape))
    draw = np.random.default_rng(seed)
    order = np.argsort(draw.random([x.shape[d] if k == d % x.ndim else m for k, m in enumerate(size)]), d)
    index = draw.integers(0, x.shape[d], size) if repeat else order[tuple(slice(m) for m in size)]
    return d, convkit.tensor(index)


def _mask(x, seed, broadcast=True):
    shape = tuple(n if (seed >> k) % 3 or not broadcast else 1 for k, n in enumerate(x.shape))
    return convkit.tensor(np.random.default_rng(seed).random(shape) < 0.6)


def _vectors(ours, repeat, source=True):
    def case(x, data, seed):
        d, index, shape = _vector(x, data, seed, repeat)
        return (lambda x, *s: ours(x, d, index, *s)), ([leaf(seed + 1, shape)] if source else [])

    return case


def _alongs(ours, repeat, source=True):
    def case(x, data, seed):
        d, index = _along(x, data, seed, repeat)
        larger = tuple(n + (seed >> k) % 2 for k, n in enumerate(index.shape))  # of a larger source, the corner is taken
        return (lambda x, *s: ours(x, d, index, *s)), ([leaf(seed + 1, larger)] if source else [])

    return case


def _select(x, data, seed):
    d = _dim(x, data)
    i = data.draw(st.integers(-x.shape[d], x.shape[d] - 1))
    return lambda x: x.select(d, i), []


def _narrow(x, data, seed):
    d = _dim(x, data)
    start = data.draw(st.integers(0, x.shape[d]))
    length = data.draw(st.integers(0, x.shape[d] - start))
    return lambda x: x.narrow(d, start, length), []


def _take(x, data, seed):
    index = _index(seed, x.numel(), data.draw(st.sampled_from([(0,), (3,), (2, 2), ()]))) - data.draw(st.sampled_from([0, x.numel()]))
    return lambda x: convkit.take(x, index), []


def _take_along(x, data, seed):
    d, index = _along(x, data, seed)
    index = index[tuple(slice(None) if k == d % x.ndim else slice(1) for k in range(x.ndim))]  # broadcasts
    return lambda x: convkit.take_along_dim(x, index, d), []


def _masked_fill(x, data, seed):
    mask = _mask(x, seed)
    return lambda x, v: x.masked_fill(mask, v), [leaf(seed + 1, ())]


def _masked_select(x, data, seed):
    mask = _mask(x, seed)
    return lambda x: x.masked_select(mask), []


def _where(x, data, seed):
    mask, other = _mask(x, seed), leaf(seed + 1, tuple(n if (seed >> k) % 2 else 1 for k, n in enumerate(x.shape)))
    return lambda x, y: convkit.where(mask, x, y), [other]


def _slices(x, data, seed):
    key = []
    for n in x.shape:
        start, stop, step = data.draw(st.integers(0, n)), data.draw(st.integers(-1, n)), data.draw(st.integers(1, 2))
        key.append(data.draw(st.sampled_from([slice(start, stop, step), slice(None), start % n, start % n - n])))
    return lambda x: x[tuple(key)], []


def _arrays(x, data):
    """A key of places or masks along some dimensions, slices along the rest."""
    key, length = [], data.draw(st.integers(1, 3))
    for n in x.shape:
        places = data.draw(st.lists(st.integers(-n, n - 1), min_size=length, max_size=length))
        key.append(data.draw(st.sampled_from([convkit.tensor(places), slice(None), slice(None, None, 2)])))
    return tuple(key)


def _by_arrays(x, data, seed):
    key = _arrays(x, data)
    return lambda x: x[key], []


def _by_mask(x, data, seed):
    mask = _mask(x, seed, False)
    return lambda x: x[mask], []


def _put(accumulate):
    def case(x, data, seed):
        mask = data.draw(st.booleans())
        key = (_mask(x, seed, False),) if mask else tuple(None if isinstance(k, slice) else k for k in _arrays(x, data))
        if not mask and not accumulate:  # each place named once at most: the last of several is a matter of order
            key = tuple(None if k is None else k[:1] for k in key)
        shape = x[tuple(slice(None) if k is None else k for k in key)].shape
        values = leaf(seed + 1, shape if seed % 2 else (1,) * len(shape))
        return lambda x, v: convkit.index_put(x, key, v, accumulate), [values]

    return case


DRAWN = {
    "index_select": _vectors(convkit.index_select, True, False),
    "index_add": _vectors(lambda x, d, i, s: x.index_add(d, i, s, alpha=2), True),
    "index_copy": _vectors(lambda x, d, i, s: x.index_copy(d, i, s), False),
    "index_fill": lambda x, data, seed: (_vectors(lambda x, d, i, v: x.index_fill(d, i, v), True, False)(x, data, seed)[0], [leaf(seed + 1, ())]),
    "gather": _alongs(convkit.gather, True, False),
    "scatter": _alongs(convkit.scatter, False),
    "scatter of a number": _alongs(lambda x, d, i: x.scatter(d, i, 1.5), True, False),
    "scatter_add": _alongs(convkit.scatter_add, True),
    "select": _select,
    "narrow": _narrow,
    "take": _take,
    "take_along_dim": _take_along,
    "masked_fill": _masked_fill,
    "masked_select": _masked_select,
    "where": _where,
    "slices": _slices,
    "arrays": _by_arrays,
    "a mask": _by_mask,
    "index_put": _put(False),
    "index_put that adds": _put(True),
}


@pytest.mark.parametrize("name", DRAWN)
@settings(max_examples=2 if SIMULATED else 15, deadline=None)
@given(shape=shapes, layout=both_layouts, seed=seeds, data=st.data())
def test_drawn_gradients(name, shape, layout, seed, data):
    x = leaf(seed, shape, layout)
    if x.numel() > 18:
        x = Tensor(x.detach().numpy()[:2, :3], requires_grad=True)
    x = x if x.numel() <= 36 else Tensor(x.detach().numpy()[..., :1], requires_grad=True)
    call, more = DRAWN[name](x, data, seed)
    assert gradcheck(call, (x, *more))
    # Squares, as the second derivative of what is linear is 0.
    assert gradgradcheck(lambda x, *more: call(x * x, *(m * m for m in more)), (x, *more))


def test_numbers_alone_and_nothing():
    x, nothing = convkit.tensor(-1.0), convkit.tensor([], dtype=convkit.int64)
    assert x.scatter(0, nothing, 2.0).tolist() == -1 and x.gather(-1, nothing).shape == (0,)
    assert x.flip(0).tolist() == x.movedim(0, -1).tolist() == -1
    with pytest.raises(IndexError, match="flip: dim 1 is out of range"):
        x.flip(1)


def test_integers_take_no_infinity():
    x = convkit.arange(3)
    with pytest.raises(ValueError, match="masked_fill: inf is no number of the tensor's dtype int64"):
        x.masked_fill(x > 0, float("inf"))
    with pytest.raises(ValueError, match="scatter: cannot convert float infinity to integer"):
        x.scatter(0, x, float("inf"))
