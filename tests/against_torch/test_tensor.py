"""What torch's own samples (test_samples.py) leave open: dtypes that meet, nan and ties, numbers made, changes in place, refusals."""

import itertools
import operator

import numpy as np
import pytest

import convkit

torch = pytest.importorskip("torch", reason="torch is not installed; it is no dependency of the tests")

pytestmark = pytest.mark.filterwarnings("ignore")  # torch's own

DTYPES = ["bool", "uint8", "int32", "int64", "float32", "float64"]
BINARY = {
    "add": operator.add, "mul": operator.mul, "truediv": operator.truediv, "floordiv": operator.floordiv, "mod": operator.mod,
    "lt": operator.lt, "eq": operator.eq,
}  # fmt: skip
REFUSALS = (ValueError, TypeError, RuntimeError, IndexError, NotImplementedError)


def outcome(lib, call):
    """(dtype, values) of a call, or the word for its refusal."""
    try:
        y = call(lib)
    except (*REFUSALS, OverflowError):
        return "refused"
    ys = y if isinstance(y, tuple) else (y,)
    return [(str(v.dtype).replace("torch.", ""), v.detach().numpy()) if hasattr(v, "dtype") else v for v in ys]


def agree(call, rtol=1e-6):
    ours, theirs = outcome(convkit, call), outcome(torch, call)
    if "refused" in (ours, theirs):
        assert ours == theirs, (ours, theirs)
        return
    for a, b in zip(ours, theirs, strict=True):
        if isinstance(a, tuple):
            assert a[0] == b[0], (a, b)
            assert a[1].shape == b[1].shape
            np.testing.assert_allclose(a[1], b[1], rtol=rtol, atol=1e-7)
        else:
            assert a == b


@pytest.mark.parametrize("op", BINARY)
@pytest.mark.parametrize(("left", "right"), list(itertools.product(DTYPES, DTYPES)))
def test_dtypes_that_meet(op, left, right):
    if left == right == "bool" and op in ("floordiv", "mod"):
        return  # torch has no such kernels
    for one, two in (([3, 1], [2, 1]), ([3, 1], 1), (3, [2, 1])):  # with and without dimensions
        agree(lambda lib, one=one, two=two: BINARY[op](lib.tensor(one, dtype=getattr(lib, left)), lib.tensor(two, dtype=getattr(lib, right))))


@pytest.mark.parametrize("op", BINARY)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("number", [2, 0.5, True])
def test_numbers_beside_tensors(op, dtype, number):
    if dtype == "bool" and number is True and op in ("floordiv", "mod"):
        return
    for data in ([3, 1], 3):
        agree(lambda lib, data=data: BINARY[op](lib.tensor(data, dtype=getattr(lib, dtype)), number))
        agree(lambda lib, data=data: BINARY[op](number, lib.tensor(data, dtype=getattr(lib, dtype))))


NAN = [[1.0, float("nan"), 2.0, 2.0], [3.0, 3.0, -1.0, 0.5], [float("inf"), -float("inf"), 0.0, -0.0]]
CALLS = {
    "max dim": lambda x, lib: tuple(lib.max(x, 1)),
    "min dim": lambda x, lib: tuple(x.min(0)),
    "amax": lambda x, lib: x.amax((0, 1)),
    "max": lambda x, lib: x.max(),
    "argmax": lambda x, lib: x.argmax(1),
    "argmin all": lambda x, lib: x.argmin(),
    "sum": lambda x, lib: x.sum(0),
    "nansum": lambda x, lib: x.nansum(1),
    "nanmean": lambda x, lib: x[:2].nanmean(),
    "median": lambda x, lib: x.median(),
    "median dim": lambda x, lib: x.median(1)[0],
    "cummax": lambda x, lib: tuple(x.cummax(1)),
    "cummin": lambda x, lib: tuple(x.cummin(1)),
    "sort": lambda x, lib: tuple(x.sort(dim=1, stable=True)),
    "sort down": lambda x, lib: tuple(x.sort(dim=1, descending=True, stable=True)),
    "logsumexp": lambda x, lib: x.logsumexp(1),
    "prod": lambda x, lib: x[1].prod(),
    "std": lambda x, lib: x[1].std(),
    "var 0": lambda x, lib: x[1:2].var(0),
    "var of 1": lambda x, lib: x[1:2, :1].var(1),
    "norm inf": lambda x, lib: x[1].norm(float("inf")),
    "norm 3": lambda x, lib: x[1].norm(3),
    "norm 0": lambda x, lib: x.norm(0),
    "count": lambda x, lib: x.count_nonzero(1),
    "clamp": lambda x, lib: x.clamp(0.0, 2.0),
    "maximum": lambda x, lib: lib.maximum(x, x.flip(1)),
    "sign": lambda x, lib: x.sign(),
    "round": lambda x, lib: x.round(),
    "relu": lambda x, lib: x.relu(),
    "isclose": lambda x, lib: lib.isclose(x, x, equal_nan=True),
    "remainder": lambda x, lib: x % -2.0,
    "fmod": lambda x, lib: x.fmod(2.0),
    "floor_divide": lambda x, lib: x // 0.7,
    "nan_to_num": lambda x, lib: x.nan_to_num(),
    "unique": lambda x, lib: x[1].unique(),
    "all": lambda x, lib: x.all(1),
    "pow": lambda x, lib: x**2.5,
    "0**x": lambda x, lib: 0.0**x,
    "topk": lambda x, lib: x.topk(2, 1)[0],
    "std_mean": lambda x, lib: lib.std_mean(x[1]),
}


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_nan_infinity_and_ties(name, dtype):
    agree(lambda lib: CALLS[name](lib.tensor(NAN, dtype=getattr(lib, dtype)), lib))


MADE = {
    "arange": lambda lib: lib.arange(1, 10, 3),
    "arange floats": lambda lib: lib.arange(0.0, 1.0, 0.1),
    "arange down": lambda lib: lib.arange(5, 0, -2),
    "linspace": lambda lib: lib.linspace(-1, 2, 7),
    "linspace 1": lambda lib: lib.linspace(3, 4, 1),
    "logspace": lambda lib: lib.logspace(0, 2, 5),
    "eye": lambda lib: lib.eye(2, 3),
    "full": lambda lib: lib.full((2,), 3),
    "full float": lambda lib: lib.full((2,), 3.0),
    "zeros none": lambda lib: lib.zeros(2, dtype=None),
    "full_like": lambda lib: lib.full_like(lib.ones(2), 7),
    "new_full": lambda lib: lib.ones(1).double().new_full((2,), 3),
    "as_tensor": lambda lib: lib.as_tensor([1, 2]),
    "tensor bool": lambda lib: lib.tensor([True, False]),
    "arange wrong": lambda lib: lib.arange(0, 5, -1),
    "arange step 0": lambda lib: lib.arange(0, 5, 0),
    "linspace negative": lambda lib: lib.linspace(0, 1, -1),
    "multinomial too many": lambda lib: lib.multinomial(lib.ones(2), 3),
    "bernoulli outside": lambda lib: lib.bernoulli(lib.full((2,), 1.5)),
    "randint empty": lambda lib: lib.randint(3, 3, (2,)),
}


@pytest.mark.parametrize("name", MADE)
def test_making(name):
    agree(MADE[name])


def changed(call):
    def run(lib):
        x = lib.tensor([[1.0, -2.0, 3.0], [4.0, 5.0, -6.0]])
        call(x, lib)
        return x

    return run


IN_PLACE = {
    "add_": lambda x, lib: x.add_(lib.ones(3), alpha=2),
    "sub_": lambda x, lib: x.sub_(1.5),
    "mul_": lambda x, lib: x.mul_(lib.ones(2, 1) * 3),
    "div_": lambda x, lib: x.div_(4),
    "clamp_": lambda x, lib: x.clamp_(min=0),
    "relu_": lambda x, lib: x.relu_(),
    "abs_": lambda x, lib: x.abs_(),
    "masked_fill_": lambda x, lib: x.masked_fill_(x > 2, 9.0),
    "index_fill_": lambda x, lib: x.index_fill_(1, lib.tensor([0, 2]), -1),
    "scatter_": lambda x, lib: x.scatter_(1, lib.tensor([[0], [2]]), 7.0),
    "copy_": lambda x, lib: x.copy_(lib.arange(3)),
    "index_add_": lambda x, lib: x.index_add_(0, lib.tensor([0, 0]), lib.ones(2, 3)),
    "fill_": lambda x, lib: x.fill_(lib.tensor(2)),
    "pow_": lambda x, lib: x.pow_(2),
    "neg_": lambda x, lib: x.neg_(),
    "lerp_": lambda x, lib: x.lerp_(lib.ones(2, 3), 0.25),
    "slices": lambda x, lib: operator.setitem(x, (slice(None), slice(1, None)), 0),
    "mask": lambda x, lib: operator.setitem(x, x < 0, 5),
    "lists": lambda x, lib: operator.setitem(x, (lib.tensor([0, 1]), lib.tensor([2, 0])), lib.tensor([8.0, 9.0])),
    "too large": lambda x, lib: x.add_(lib.ones(4)),
    "grows": lambda x, lib: x.add_(lib.ones(2, 2, 3)),
    "out of range": lambda x, lib: x[2].zero_(),
    "into integers": lambda x, lib: lib.tensor([1, 2]).mul_(0.5),
    "fill_ with many": lambda x, lib: x.fill_(lib.ones(3)),
}


@pytest.mark.parametrize("name", IN_PLACE)
def test_changes_in_place(name):
    agree(changed(IN_PLACE[name]))


REFUSED = {
    "division by 0": lambda lib: lib.tensor([1, 2]) // 0,
    "remainder by 0": lambda lib: lib.tensor([1, 2]) % 0,
    "negative power": lambda lib: lib.tensor([2]) ** -1,
    "bool - bool": lambda lib: lib.tensor([True]) - lib.tensor([True]),
    "-bool": lambda lib: -lib.tensor([True]),
    "~float": lambda lib: ~lib.ones(2),
    "float & float": lambda lib: lib.ones(2) & lib.ones(2),
    "mean of ints": lambda lib: lib.tensor([1, 2]).mean(),
    "bool of many": lambda lib: bool(lib.ones(2)),
    "where of ints": lambda lib: lib.where(lib.tensor([1]), 1, 2),
    "amax of nothing": lambda lib: lib.ones(0).amax(),
    "median dim": lambda lib: lib.ones(2).median(1),
    "topk": lambda lib: lib.ones(2).topk(3),
    "cat": lambda lib: lib.cat([lib.ones(2, 2), lib.ones(3, 3)]),
    "view": lambda lib: lib.ones(4).view(3),
    "mm": lambda lib: lib.ones(2, 2).mm(lib.ones(2)),
    "gather": lambda lib: lib.ones(2).gather(0, lib.tensor([2])),
    "matmul dtypes": lambda lib: lib.ones(2, 2) @ lib.ones(2, 2).double(),
    "allclose dtypes": lambda lib: lib.allclose(lib.ones(2), lib.ones(2).double()),
    "len": lambda lib: len(lib.tensor(1.0)),
    "array of a graph": lambda lib: np.asarray(lib.ones(2, requires_grad=True)),
    "squeeze": lambda lib: lib.ones(2).squeeze(3),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refusals(name):
    assert outcome(torch, REFUSED[name]) == outcome(convkit, REFUSED[name]) == "refused"
