import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import convkit
from convkit import Tensor
from convkit_kernels.layout import is_channels_last
from tests.backend import settings
from tests.helpers import LAYOUTS, channels_last_copy, dtypes, layouts, memory_order, numbers, same
from tests.ops import both_layouts, check_gradients, gradients, leaf, second_order_runs, seeds

shapes = st.lists(st.integers(1, 3), min_size=1, max_size=4).map(tuple)


NAMES = ["reshape", "flatten", "permute", "transpose", "T", "squeeze", "unsqueeze", "expand", "split", "chunk", "clone"]


@st.composite
def calls(draw):
    """(what it is, shape, the call on a tensor, the same on an array): views and rearrangements."""
    shape = draw(shapes)
    ndim = len(shape)
    dim = st.integers(-ndim, ndim - 1)
    name = draw(st.sampled_from(NAMES))
    a, b = draw(dim), draw(dim)
    if name == "reshape":
        size = int(np.prod(shape))
        first = draw(st.sampled_from([n for n in range(1, size + 1) if size % n == 0]))
        other = draw(st.sampled_from([-1, size // first]))
        return name, shape, lambda x: x.reshape(first, other), lambda x: x.reshape(first, other)
    if name == "flatten":
        a, b = sorted((a % ndim, b % ndim))
        return name, shape, lambda x: x.flatten(a, b - ndim), lambda x: x.reshape(*shape[:a], -1, *shape[b + 1 :])
    if name == "permute":
        order = tuple(draw(st.permutations(range(ndim))))
        return name, shape, lambda x: x.permute(*order), lambda x: x.transpose(order)
    if name == "transpose":
        return name, shape, lambda x: x.transpose(a, b), lambda x: np.swapaxes(x, a, b)
    if name == "T":
        return name, shape, lambda x: x.T, lambda x: x.T
    if name == "squeeze":
        if draw(st.booleans()):
            return name, shape, lambda x: x.squeeze(), np.squeeze
        return name, shape, lambda x: x.squeeze(a), lambda x: np.squeeze(x, a) if x.shape[a] == 1 else x
    if name == "unsqueeze":
        at = draw(st.integers(-ndim - 1, ndim))
        return name, shape, lambda x: x.unsqueeze(at), lambda x: np.expand_dims(x, at)
    if name == "expand":
        target = (2, *(n if n > 1 else draw(st.sampled_from([1, 3])) for n in shape))
        asked = tuple(-1 if i and draw(st.booleans()) and n == shape[i - 1] else n for i, n in enumerate(target))
        return name, shape, lambda x: x.expand(*asked), lambda x: np.broadcast_to(x, target)
    if name == "split":
        size = draw(st.integers(1, 3))
        return name, shape, lambda x: x.split(size, a)[-1], lambda x: np.split(x, range(size, x.shape[a], size), a)[-1]
    if name == "chunk":
        return name, shape, lambda x: x.chunk(2, a)[0], lambda x: np.array_split(x, 2, a)[0]
    return name, shape, lambda x: x.clone(), np.copy


@settings(max_examples=100)
@given(call=calls(), dtype=dtypes, layout=layouts, seed=seeds)
def test_values(call, dtype, layout, seed):
    _, shape, ours, numpys = call
    x = numbers(seed, shape, dtype)
    assert same(ours(convkit.from_numpy(LAYOUTS[layout](x))).numpy(), np.asarray(numpys(x)))


@settings(max_examples=60)
@given(call=calls().filter(lambda c: np.prod(c[1]) <= 24), layout=both_layouts, seed=seeds)
def test_gradients(call, layout, seed):
    name, shape, ours, numpys = call
    if numpys(np.zeros(shape)).size <= 100:
        check_gradients(lambda x: ours(x) * 2, leaf(seed, shape, layout), second=False)
        check_gradients(lambda x: ours(x * x), leaf(seed, shape, layout))


@settings(max_examples=30)
@given(shape=shapes, count=st.integers(1, 3), dtype=dtypes, layout=layouts, seed=seeds, data=st.data())
def test_cat_and_stack(shape, count, dtype, layout, seed, data):
    dim = data.draw(st.integers(-len(shape), len(shape) - 1))
    at = data.draw(st.integers(-len(shape) - 1, len(shape)))
    sizes = [tuple(data.draw(st.integers(0, 3)) if d == dim % len(shape) else n for d, n in enumerate(shape)) for _ in range(count)]
    arrays = [numbers(seed + i, s, dtype) for i, s in enumerate(sizes)]
    assert same(convkit.cat([convkit.from_numpy(LAYOUTS[layout](a)) for a in arrays], dim).numpy(), np.concatenate(arrays, dim))
    arrays = [numbers(seed + i, shape, dtype) for i in range(count)]
    assert same(convkit.stack([convkit.from_numpy(LAYOUTS[layout](a)) for a in arrays], at).numpy(), np.stack(arrays, at))


@settings(max_examples=20)
@given(shape=st.lists(st.integers(1, 2), min_size=1, max_size=4).map(tuple), layout=both_layouts, seed=seeds, data=st.data())
def test_gradients_of_cat_and_stack(shape, layout, seed, data):
    dim = data.draw(st.integers(-len(shape), len(shape) - 1))
    a, b = leaf(seed, shape, layout), leaf(seed + 1, shape)
    check_gradients(lambda a, b: convkit.cat([a, b * b, a], dim), a, b)
    check_gradients(lambda a, b: convkit.stack([a * b, b], dim), a, b)


def test_memory_order_of_what_is_joined():
    x = Tensor(channels_last_copy(numbers(1, (2, 3, 4, 5), np.float32)))
    for y in (convkit.cat([x, x], 1), x.clone()):
        assert memory_order(y.array) == memory_order(x.array)
    assert x.contiguous().array.flags.c_contiguous and x.contiguous().contiguous().array.flags.c_contiguous


def test_contiguous_keeps_the_gradient():
    x = Tensor(channels_last_copy(numbers(1, (2, 3, 2, 2))), requires_grad=True)
    y, gx = gradients(lambda x: x.contiguous() * 3, x)
    assert same(y, x.detach().numpy() * 3) and (gx == 3).all()


def test_views_share_memory_and_their_counter():
    x = convkit.zeros(2, 3)
    for view in (x[0], x.reshape(3, 2), x.T, x.unsqueeze(0), x.expand(4, 2, 3), x.split(1)[1], x[:, ::2]):
        assert np.shares_memory(view.array, x.array) and view._version is x._version
    x[0].add_(1)
    assert x.numpy()[0].tolist() == [1, 1, 1]
    w = convkit.ones(2, requires_grad=True)
    y = (w * x[:, 0]).sum()
    x.zero_()
    with pytest.raises(RuntimeError, match="changed in place"):
        y.backward()
    assert not np.shares_memory(x[[0, 1]].array, x.array)


@pytest.mark.parametrize("shape", [(0,), (0, 3), (3, 0), (1, 1), (2, 0, 4)])
def test_nothing_and_one(shape):
    for f in (
        lambda x: x.reshape(shape if 0 in shape[1:] else (-1, *shape[1:])), lambda x: x.flatten(), lambda x: x.T, lambda x: x.unsqueeze(1),
        lambda x: x.squeeze(), lambda x: x.squeeze(0), lambda x: x.expand(2, *shape), lambda x: x.split(2)[0], lambda x: x.chunk(2, -1)[0],
        lambda x: x[:0], lambda x: x[..., None], lambda x: x[x > 0], lambda x: x.gather(0, convkit.zeros((0, *shape[1:]), dtype=np.int64)),
        lambda x: convkit.cat([x, x], -1), lambda x: convkit.stack([x, x]), lambda x: x.clone(),
    ):  # fmt: skip
        gradients(f, leaf(1, shape))
        second_order_runs(lambda x, f=f: f(x * x), leaf(1, shape))


def test_a_number_alone():
    x = Tensor(np.array(2.0), requires_grad=True)
    for f in (
        lambda x: x.reshape(1), lambda x: x.flatten(), lambda x: x.unsqueeze(0), lambda x: x[None], lambda x: x.T, lambda x: x.squeeze(),
        lambda x: x[...], lambda x: x.clone(),
    ):  # fmt: skip
        x.grad = None
        y, gx = gradients(f, x)
        assert y.item() == 2 and gx.item() == 1
    assert convkit.stack([x, x]).shape == (2,) and x.expand(3).tolist() == [2, 2, 2]


def test_integers_and_booleans():
    i = convkit.arange(6)
    assert convkit.cat([i, i]).dtype == convkit.stack([i, i]).dtype == i.reshape(2, 3).dtype == np.int64
    assert (i > 2)[1:].dtype == np.bool_
    assert i.gather(0, convkit.tensor([5, 0])).tolist() == [5, 0]


def test_nan_and_infinity():
    x = np.array([[np.nan, 1], [np.inf, -np.inf]], np.float32)
    t = convkit.from_numpy(x)
    assert same(convkit.cat([t, t]).numpy(), np.concatenate([x, x])) and same(t.T.numpy(), x.T)


X = convkit.zeros(2, 3, 4)
WRONG = {
    r"reshape: 24 elements of shape \[2, 3, 4\] do not fit shape \[5, -1\]": (ValueError, lambda: X.reshape(5, -1)),
    r"reshape: 24 elements of shape \[2, 3, 4\] do not fit shape \[-1, -1\]": (ValueError, lambda: X.reshape(-1, -1)),
    r"reshape: 24 elements of shape \[2, 3, 4\] do not fit shape \[2, 3\]": (ValueError, lambda: X.reshape((2, 3))),
    r"reshape: 24 elements of shape \[2, 3, 4\] do not fit shape \[0, -1\]": (ValueError, lambda: X.reshape(0, -1)),
    r"reshape: sizes must be ints, got \(2.0, 12\)": (TypeError, lambda: X.reshape(2.0, 12)),
    r"flatten: dim 3 is out of range for a tensor of 3 dimensions": (IndexError, lambda: X.flatten(3)),
    r"flatten: start_dim 2 comes after end_dim 0": (ValueError, lambda: X.flatten(2, 0)),
    r"permute: needs each of 3 dimensions once, got \[0, 1, 1\]": (ValueError, lambda: X.permute(0, 1, 1)),
    r"permute: dim 3 is out of range": (IndexError, lambda: X.permute(0, 1, 3)),
    r"transpose: dim -4 is out of range": (IndexError, lambda: X.transpose(0, -4)),
    r"transpose: dim must be an int, got 'a'": (TypeError, lambda: X.transpose(0, "a")),
    r"squeeze: dim 3 is out of range": (IndexError, lambda: X.squeeze(3)),
    r"unsqueeze: dim 4 is out of range for a tensor of 4 dimensions": (IndexError, lambda: X.unsqueeze(4)),
    r"expand: shape \[2, 3, 4\] does not expand to \[2, 3, 5\]": (ValueError, lambda: X.expand(2, 3, 5)),
    r"expand: shape \[2, 3, 4\] does not expand to \[3, 4\]": (ValueError, lambda: X.expand(3, 4)),
    r"expand: shape \[2, 3, 4\] does not expand to \[-1, 2, 3, 4\]": (ValueError, lambda: X.expand(-1, 2, 3, 4)),
    r"expand: shape \[1\] does not expand to \[-2\]": (ValueError, lambda: convkit.zeros(1).expand(-2)),
    r"indexing a tensor of shape \[2, 3, 4\]: index 2 is out of bounds": (IndexError, lambda: X[2]),
    r"indexing a tensor of shape \[2, 3, 4\]: too many indices": (IndexError, lambda: X[0, 0, 0, 0]),
    r"indexing a tensor of shape \[2, 3, 4\]: only integers, slices": (IndexError, lambda: X[1.5]),
    r"gather: dim 3 is out of range": (IndexError, lambda: X.gather(3, convkit.zeros(1, 1, 1).long())),
    r"gather: index must hold integers, got float32": (TypeError, lambda: X.gather(0, convkit.zeros(2))),
    r"gather: indices -1 to -1 leave dimension 1 of size 3": (IndexError, lambda: X.gather(1, convkit.full((1, 1, 1), -1))),
    r"gather: indices 3 to 3 leave dimension 1 of size 3": (IndexError, lambda: X.gather(1, convkit.full((1, 1, 1), 3))),
    r"gather: index \[3, 1, 1\] is larger than the input \[2, 3, 4\]": (ValueError, lambda: X.gather(1, convkit.zeros(3, 1, 1).long())),
    r"cat: needs at least one tensor": (ValueError, lambda: convkit.cat([])),
    r"cat: sizes must agree except in dimension 0, got \[2, 3, 4\], \[2, 3\]": (ValueError, lambda: convkit.cat([X, X[..., 0]])),
    r"cat: dim 3 is out of range": (IndexError, lambda: convkit.cat([X], 3)),
    r"stack: needs at least one tensor": (ValueError, lambda: convkit.stack([])),
    r"stack: shapes must agree, got": (ValueError, lambda: convkit.stack([X, X[0]])),
    r"split: size must be at least 1, got 0": (ValueError, lambda: X.split(0)),
    r"split: sizes \[1, 2\] do not add up to 2, the size of dimension 0": (ValueError, lambda: X.split([1, 2])),
    r"split: sizes \[3, -1\] do not add up to 2": (ValueError, lambda: X.split([3, -1])),
    r"split: dim 5 is out of range": (IndexError, lambda: X.split(1, 5)),
    r"chunk: needs at least 1 chunk, got 0": (ValueError, lambda: X.chunk(0)),
}


@pytest.mark.parametrize("match", WRONG)
def test_errors(match):
    error, call = WRONG[match]
    with pytest.raises(error, match="^" + match):
        call()


def test_parts_of_which_some_have_no_gradient():
    x = convkit.randn(3, 5, 2, requires_grad=True)
    first, last = x.split([2, 3], 1)[0], x.unbind(1)[4]
    (first.sum() + 2 * last.sum()).backward()
    assert (x.grad.numpy() == np.array([1, 1, 0, 0, 2])[:, None]).all()
    (second,) = convkit.autograd.grad(x.chunk(2, 1)[1].square().sum(), x, create_graph=True)
    (third,) = convkit.autograd.grad((second * second).sum(), x)
    np.testing.assert_allclose(third.numpy(), 8 * x.detach().numpy() * np.array([0, 0, 0, 1, 1])[:, None], rtol=1e-6)


@pytest.mark.parametrize("batch", [1, 2])
def test_what_is_joined_of_channels_last_parts_is_so(batch):
    x = convkit.from_numpy(channels_last_copy(np.arange(batch * 60.0).reshape(batch, 5, 4, 3)))
    pairs = [
        (convkit.cat([x, x], 1), np.concatenate([x.numpy()] * 2, 1)),
        (convkit.cat(x.split([2, 3], 1)[::-1], 1), np.roll(x.numpy(), 3, 1)),
        (convkit.roll(x, 1, 3), np.roll(x.numpy(), 1, 3)),
        (convkit.stack([x, x])[1], x.numpy()),
    ]
    for y, expected in pairs:
        assert (y.numpy() == expected).all() and is_channels_last(y.array)


def test_parts_are_walked_one_after_the_other():
    x = convkit.tensor([1.0, 2.0, 3.0, 4.0], requires_grad=True)
    for part in x.split(2):
        (part * part).sum().backward()
    assert x.grad.tolist() == [2.0, 4.0, 6.0, 8.0]
