import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import convkit
from convkit import Tensor
from convkit.nn import functional as F
from tests.backend import SIMULATED, settings
from tests.helpers import LAYOUTS, channels_last_copy, dtypes, layouts, memory_order, numbers, same
from tests.ops import both_layouts, check_gradients, gradients, leaf, second_order_runs, seeds

NUMPY = {"constant": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}


@st.composite
def cases(draw, most=5):
    """(shape, mode, pad, pairs a dimension): nothing is cropped."""
    mode, rank = draw(st.sampled_from(sorted(NUMPY))), draw(st.integers(1, 3))
    shape = tuple(draw(st.integers(1, most)) for _ in range(rank + draw(st.integers(1, 2))))
    pairs = []
    for n in shape[-rank:]:
        top = {"constant": 3, "reflect": n - 1, "replicate": 4, "circular": n}[mode]
        pairs.append((draw(st.integers(0, top)), draw(st.integers(0, top))))
    return shape, mode, [n for pair in pairs[::-1] for n in pair], [(0, 0)] * (len(shape) - rank) + pairs


@settings(max_examples=100)
@given(case=cases(), dtype=dtypes, layout=layouts, seed=seeds)
def test_values(case, dtype, layout, seed):
    shape, mode, pad, pairs = case
    x = numbers(seed, shape, dtype)
    y = F.pad(convkit.from_numpy(LAYOUTS[layout](x)), pad, mode)
    assert same(y.numpy(), np.pad(x, pairs, NUMPY[mode]))


@settings(max_examples=120)
@given(case=cases(3).filter(lambda c: np.prod(c[0]) <= (6 if SIMULATED else 18)), layout=both_layouts, seed=seeds)
def test_gradients(case, layout, seed):
    shape, mode, pad, _ = case
    check_gradients(lambda x: F.pad(x, pad, mode), leaf(seed, shape, layout))


def test_constants():
    x = numbers(1, (2, 3), np.float32)
    for value in (None, 0, 1.5, np.nan, -np.inf, True):
        y = F.pad(convkit.from_numpy(x), (1, 0, 0, 2), value=value).numpy()
        assert same(y, np.pad(x, [(0, 2), (1, 0)], constant_values=0 if value is None else value))
    assert same(F.pad(convkit.from_numpy(x), ()).numpy(), x) and F.pad(convkit.tensor(3.0), ()).shape == ()


def test_cropping():
    x = convkit.from_numpy(numbers(1, (3, 4)))
    assert same(F.pad(x, (-1, 0)).numpy(), x.numpy()[:, 1:]) and same(F.pad(x, (-1, -2, 0, -1)).numpy(), x.numpy()[:2, 1:2])
    assert F.pad(x, (-1, 2)).shape == (3, 5) and F.pad(x, (-2, -2)).shape == (3, 0)
    check_gradients(lambda x: F.pad(x * x, (-1, 2, 1, -1)), leaf(1, (2, 3)))
    x = convkit.arange(5).float().reshape(1, 1, 5)
    assert F.pad(x, (-1, 2), "reflect").tolist() == [[[1, 2, 3, 4, 3, 2]]] and F.pad(x, (-5, 4), "reflect").tolist() == [[[3, 2, 1, 0]]]
    assert F.pad(x, (-2, 1), "replicate").tolist() == [[[2, 3, 4, 4]]] and F.pad(x, (-1, 2), "circular").tolist() == [[[1, 2, 3, 4, 1, 2]]]
    for mode in ("reflect", "replicate", "circular"):
        check_gradients(lambda x, mode=mode: F.pad(x * x, (-1, 2, 1, -1), mode), leaf(1, (1, 3, 3) if SIMULATED else (1, 4, 4)))


@pytest.mark.parametrize("mode", sorted(NUMPY))
def test_memory_order(mode):
    for x in (numbers(1, (2, 3, 4, 5), np.float32), channels_last_copy(numbers(1, (2, 3, 4, 5), np.float32))):
        t = Tensor(x, requires_grad=True)
        y, gx = gradients(lambda x: F.pad(x, (1, 2, 2, 1), mode), t)
        assert memory_order(y) == memory_order(x)


@pytest.mark.parametrize("mode", sorted(NUMPY))
def test_nothing_and_one(mode):
    for shape, pad in (((0, 2, 4), (1, 2)), ((0, 1, 3, 3), (1, 1, 0, 2)), ((0, 2, 2, 2, 2), (1,) * 6), ((1, 1, 1), (0, 0))):
        f = lambda x, pad=pad: F.pad(x, pad, mode)
        gradients(f, leaf(1, shape))
        second_order_runs(lambda x, f=f: f(x * x), leaf(1, shape))
    if mode in ("replicate", "circular"):
        assert F.pad(convkit.ones(1, 1, 1), (1, 1), mode).tolist() == [[[1, 1, 1]]]


def test_the_result_is_a_new_array():
    x = convkit.zeros(1, 2, 3)
    for mode in NUMPY:
        assert not np.shares_memory(F.pad(x, (0, 0), mode).array, x.array)


@pytest.mark.parametrize("mode", sorted(NUMPY))
def test_integers_and_booleans(mode):
    i = convkit.arange(6).reshape(2, 3)
    assert same(F.pad(i, (1, 2), mode).numpy(), np.pad(i.numpy(), [(0, 0), (1, 2)], NUMPY[mode]))
    assert same(F.pad(i > 2, (1, 1), mode).numpy(), np.pad(i.numpy() > 2, [(0, 0), (1, 1)], NUMPY[mode]))


def test_nan_and_infinity():
    x = np.array([[[np.nan, 1, 2], [np.inf, -np.inf, 3]]], np.float32)
    for mode in NUMPY:
        assert same(F.pad(convkit.from_numpy(x), (2, 2), mode).numpy(), np.pad(x, [(0, 0), (0, 0), (2, 2)], NUMPY[mode])[:, :, :7])


X = convkit.zeros(2, 3, 4)
WRONG = {
    r"mode must be 'constant', 'reflect', 'replicate' or 'circular', got 'mirror'": (ValueError, lambda: F.pad(X, (1, 1), mode="mirror")),
    r"needs \(before, after\) for at most 3 dimensions, got \[1\]": (ValueError, lambda: F.pad(X, (1,))),
    r"needs \(before, after\) for at most 3 dimensions, got \[1, 1, 1, 1, 1, 1, 1, 1\]": (ValueError, lambda: F.pad(X, (1,) * 8)),
    r"\[-3, -2\] crops more than shape \[2, 3, 4\] has": (ValueError, lambda: F.pad(X, (-3, -2))),
    r"\[-5, 3\] crops more than shape \[2, 3, 4\] has": (ValueError, lambda: F.pad(X, (-5, 3))),
    r"pad must be a sequence of ints, got \(1.5, 1\)": (TypeError, lambda: F.pad(X, (1.5, 1))),
    r"pad must be a sequence of ints, got 1": (TypeError, lambda: F.pad(X, 1)),
    r"needs a tensor, got ndarray": (TypeError, lambda: F.pad(X.numpy(), (1, 1))),
    r"nan is no int64": (ValueError, lambda: F.pad(X.long(), (1, 1), value=float("nan"))),
    r"mode 'circular' takes no value, got 1.0": (ValueError, lambda: F.pad(X, (1, 1), "circular", 1.0)),
    r"mode 'reflect' pads the last 1, 2 or 3 dimensions of .*, got \[1, 1\] for shape \[4\]": (ValueError, lambda: F.pad(X[0, 0], (1, 1), "reflect")),
    r"mode 'reflect' pads the last .*, got \[\] for shape \[2, 3, 4\]": (ValueError, lambda: F.pad(X, (), "reflect")),
    r"mode 'replicate' pads the last .*, got \[1, 1\] for shape \[1, 2, 3, 4\]": (ValueError, lambda: F.pad(X[None], (1, 1), "replicate")),
    r"reflection needs less than the dimension's size 4 on each side, got \[4, 0\]": (ValueError, lambda: F.pad(X, (4, 0), "reflect")),
    r"wrapping around needs at most the dimension's size 4 on each side, got \[5, 0\]": (ValueError, lambda: F.pad(X, (5, 0), "circular")),
    r"wrapping around needs at most the dimension's size 1 on each side, got \[-3, 3\]": (ValueError, lambda: F.pad(X, (-3, 3), "circular")),
    r"\[-2, -2\] leaves 0 of a dimension of size 4": (ValueError, lambda: F.pad(X, (-2, -2), "replicate")),
    r"\[-3, -2\] leaves -1 of a dimension of size 4": (ValueError, lambda: F.pad(X, (-3, -2), "circular")),
    r"mode 'reflect' needs an input whose sizes, .* are not 0, got \[2, 0, 4\]": (ValueError, lambda: F.pad(X[:, :0], (1, 1), "reflect")),
}


@pytest.mark.parametrize("match", WRONG)
def test_errors(match):
    error, call = WRONG[match]
    with pytest.raises(error, match="^pad: " + match):
        call()
