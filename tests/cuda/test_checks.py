"""Checks of labels and indices that nobody waits for: they are told later, and until then nothing outside of an array is touched."""

import re

import numpy as np
import pytest

import convkit
from convkit import cuda
from convkit.nn import functional as F
from tests import backend

NAME = backend.gpu()

from convkit_kernels.cuda import checks, driver, memory  # noqa: E402


@pytest.fixture(autouse=True)
def deferred(monkeypatch):
    """As on a GPU."""
    monkeypatch.setattr(checks, "AT_ONCE", False)


class Strict(np.ndarray):
    """Memory that counts from nowhere but its beginning."""

    def __getitem__(self, at):
        assert not isinstance(at, (int, np.integer)) or 0 <= at < self.size, f"read at {at} of {self.size}"
        return super().__getitem__(at)

    def __setitem__(self, at, value):
        assert not isinstance(at, (int, np.integer)) or 0 <= at < self.size, f"written at {at} of {self.size}"
        super().__setitem__(at, value)


@pytest.fixture
def guarded(monkeypatch):
    """Arrays have the memory that they ask for and no more, and a kernel that leaves it fails."""
    if not driver.is_simulated():
        yield
        return
    plain = driver.typed

    def typed(block, dtype):
        flat = plain(block, dtype)
        flat._ary = flat._ary.view(Strict)
        return flat

    cuda.empty_cache()
    monkeypatch.setattr(memory, "rounded", lambda nbytes: max(nbytes, 8))
    monkeypatch.setattr(driver, "typed", typed)
    yield
    cuda.empty_cache()


def whole(*values):
    return np.array(values)


X = np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 4)
IMAGE = np.linspace(0.1, 0.9, 24, dtype=np.float32).reshape(1, 4, 2, 3)
WEIGHT = np.array([1, 2, 3, 4], np.float32)
LABELS = whole(3, 7, -1)

# What is wrong: a function of (x, labels), x, the labels, and the error.
CLASSES = (IndexError, "targets must be classes 0 to 3 (or ignore_index -100), got 7")
LEAVES = "indices -1 to 7 leave dimension {} of size {}"
ROWS = (IndexError, "indices must be 0 to 2, the rows of weight [3, 4], got -1 to 7")
CASES = {
    "cross_entropy": (F.cross_entropy, X, LABELS, *CLASSES),
    "cross_entropy of int32": (F.cross_entropy, X, LABELS.astype(np.int32), *CLASSES),
    "cross_entropy of uint8": (F.cross_entropy, X, whole(0, 7, 9).astype(np.uint8), *CLASSES),
    "cross_entropy, none": (lambda x, t: F.cross_entropy(x, t, reduction="none").sum(), X, LABELS, *CLASSES),
    "cross_entropy, ignored": (lambda x, t: F.cross_entropy(x, t, ignore_index=3), X, LABELS, IndexError, "(or ignore_index 3), got 7"),
    "cross_entropy, weight": (lambda x, t: F.cross_entropy(x, t, convkit.tensor(WEIGHT).to(NAME), label_smoothing=0.1), X, LABELS, *CLASSES),
    "cross_entropy of places": (F.cross_entropy, IMAGE, whole([[0, 1, 2], [3, 4, -9]]), IndexError, "got 4"),
    "nll_loss": (F.nll_loss, X, LABELS, *CLASSES),
    "nll_loss, weight": (lambda x, t: F.nll_loss(x, t, convkit.tensor(WEIGHT).to(NAME)), X, LABELS, *CLASSES),
    "nll_loss of places": (F.nll_loss, IMAGE, whole([[0, 1, 2], [3, 4, -9]]), IndexError, "got 4"),
    "multi_margin_loss": (F.multi_margin_loss, X, LABELS, IndexError, "got 7"),
    "dice_loss": (F.dice_loss, IMAGE, whole([[0, 1, 2], [3, 4, -9]]), IndexError, "got 4"),
    "focal_loss": (F.focal_loss, X, LABELS, *CLASSES),
    "binary_cross_entropy": (
        lambda x, t: F.binary_cross_entropy(x * 2, t), X, np.float32(np.ones((3, 4))),
        ValueError, "elements of input must be between 0 and 1, got -2 to 2",
    ),
    "embedding": (lambda x, t: F.embedding(t, x), X, LABELS, *ROWS),
    "embedding, by frequency": (lambda x, t: F.embedding(t, x, scale_grad_by_freq=True, padding_idx=1), X, LABELS, *ROWS),
    **{f"embedding_bag, {how}": (lambda x, t, how=how: F.embedding_bag(t[None], x, mode=how), X, LABELS, *ROWS) for how in ("sum", "mean", "max")},
    "gather": (lambda x, t: convkit.gather(x, 1, t[:, None]), X, LABELS, IndexError, LEAVES.format(1, 4)),
    "scatter": (lambda x, t: convkit.scatter(x, 1, t[:, None], x[:, :1]), X, LABELS, IndexError, LEAVES.format(1, 4)),
    "scatter_add": (lambda x, t: convkit.scatter_add(x, 0, t[None], x[:1, :3]), X, LABELS, IndexError, LEAVES.format(0, 3)),
    "index_select": (lambda x, t: convkit.index_select(x, 0, t), X, LABELS, IndexError, LEAVES.format(0, 3)),
    "index_add": (lambda x, t: convkit.index_add(x, 0, t, x), X, LABELS, IndexError, LEAVES.format(0, 3)),
    "index_copy": (lambda x, t: convkit.index_copy(x, 1, t, x[:, :3]), X, LABELS, IndexError, LEAVES.format(1, 4)),
    "take": (lambda x, t: convkit.take(x, t), X, whole(3, 12, -13), IndexError, "indices -13 to 12 leave dimension 0 of size 12"),
    "take_along_dim": (lambda x, t: convkit.take_along_dim(x, t[:, None], 1), X, LABELS, IndexError, LEAVES.format(1, 4)),
    "x[t]": (lambda x, t: x[t], X, LABELS, IndexError, "index 3 is out of bounds"),
    "x[:, t]": (lambda x, t: x[:, t], X, whole(-5), IndexError, "index -5 is out of bounds"),
    "x[t, u]": (lambda x, t: x[t % 3, t], X, LABELS, IndexError, "index 7 is out of bounds"),
    "index_put": (lambda x, t: convkit.index_put(x, (t,), x[:1], accumulate=True), X, LABELS, IndexError, "index 3 is out of bounds"),
    "index_put, in place of": (lambda x, t: convkit.index_put(x, (t,), x[:1]), X, LABELS, IndexError, "index 3 is out of bounds"),
    "one_hot": (lambda x, t: F.one_hot(t, 4), X, whole(1, 4), ValueError, "one_hot: indices must be below num_classes 4, got 4"),
    "one_hot of less than nothing": (lambda x, t: F.one_hot(t, 4), X, whole(1, -1), ValueError, "one_hot: indices must not be negative, got -1"),
}  # fmt: skip


def on(device, x, t):
    return convkit.tensor(x).to(device).detach().requires_grad_(), convkit.tensor(t).to(device)


@pytest.mark.parametrize("case", CASES)
def test_what_is_wrong_is_told_later(case, guarded):
    function, x, t, error, text = CASES[case]
    x, t = on(NAME, x, t)
    y = function(x, t)
    if y.requires_grad:
        y.sum().backward()
    with pytest.raises(error, match=re.escape(text) + ".* \\(noticed when the host next waited for the GPU; with CONVKIT_CUDA_SYNC=1"):
        y.tolist()
    cuda.synchronize()  # once
    assert np.isfinite(y.tolist()).all() or case == "binary_cross_entropy"
    assert not y.requires_grad or x.grad.cpu().shape == x.shape


@pytest.mark.cpu
@pytest.mark.parametrize("case", CASES)
def test_the_text_is_that_of_the_cpu(case, monkeypatch):
    function, x, t, error, text = CASES[case]
    if "weight" in case:
        function = {"cross": F.cross_entropy, "nll_l": F.nll_loss}[case[:5]]
    with pytest.raises(error) as here:
        function(*on("cpu", x, t))
    monkeypatch.setattr(checks, "AT_ONCE", True)
    with pytest.raises(error) as there:
        function(*on(NAME, x, t))
    if "out of bounds" in text:  # NumPy's words
        assert text in str(here.value) and text in str(there.value)
    else:
        assert str(here.value) == str(there.value)


def test_the_first_of_several_is_told():
    x, t = on(NAME, X, LABELS)
    F.cross_entropy(x, t)
    F.embedding(t, x)
    with pytest.raises(IndexError, match="^cross_entropy: "):
        cuda.synchronize()
    F.embedding(t, x)
    with pytest.raises(IndexError, match="^embedding: "):
        cuda.synchronize()
    F.cross_entropy(x, t % 4).item()


def test_nothing_can_take_the_place_of_what_is_wrong_in_an_empty_table():
    with pytest.raises(IndexError, match=r"the rows of weight \[0, 4\], got 1 to 1$"):
        F.embedding(convkit.tensor([1]).to(NAME), convkit.zeros(0, 4, device=NAME))
    assert F.cross_entropy(convkit.zeros(2, 0, device=NAME), convkit.tensor([-100, -100]).to(NAME), reduction="none").tolist() == [0, 0]


EMPTY = {
    "embedding": lambda x, t: F.embedding(t, x),
    "embedding_bag": lambda x, t: F.embedding_bag(t[None], x),
    "index_select": lambda x, t: convkit.index_select(x, 0, t),
    "index_add": lambda x, t: convkit.index_add(x, 0, t, convkit.zeros(len(t), 4, device=x.device)),
    "gather": lambda x, t: convkit.gather(x.T, 1, t[:, None]),
    "scatter": lambda x, t: convkit.scatter(x.T, 1, t[:, None], 1.0),
    "take": lambda x, t: convkit.take(x, t),
    "x[t]": lambda x, t: x[t],
    "x[t, u]": lambda x, t: x[t, t],
    "index_put": lambda x, t: convkit.index_put(x, (t,), convkit.ones(4, device=x.device)),
    "cross_entropy": lambda x, t: F.cross_entropy(x.T[:0].reshape(len(t), 0), t),
}


@pytest.mark.parametrize("case", EMPTY)
@pytest.mark.parametrize("indices", [[0], [-1, 0, 2], [5]])
def test_no_index_is_one_of_an_empty_dimension(case, indices):
    """At the operation, in the words of the CPU."""
    told = []
    for device in ("cpu", NAME):
        with pytest.raises(IndexError) as error:
            EMPTY[case](convkit.zeros(0, 4, device=device), convkit.tensor(indices).to(device))
        told.append(str(error.value))
    assert told[0] == told[1] or "out of bounds" in told[1]  # NumPy's words
    cuda.synchronize()  # once


def test_texts_that_tell_of_sizes_are_not_remembered_for_ever(monkeypatch):
    monkeypatch.setattr(checks, "RULES", 4)
    trouble = checks._Trouble()
    monkeypatch.setattr(checks, "_trouble", [trouble])
    x = memory.asarray(np.arange(3))
    numbers = set()

    def check(size):
        checks.inside(x, 0, size - 1, IndexError, f"{{first}} is not below {size}")
        numbers.add(next(reversed(trouble.rules.values())))

    try:
        check(1000)
        with monkeypatch.context() as recorded:  # a replay still tells of it
            recorded.setattr(driver, "recording", object())
            number = trouble.number(IndexError, "{first} is not below 1000", x.dtype)
        for size in range(3, 40):
            check(size)
        assert len(trouble.rules) <= 2 * 4 + 1 and len(numbers) == 38  # none is another's
        assert trouble.number(IndexError, "{first} is not below 1000", x.dtype) == number
        check(2)
        with pytest.raises(IndexError, match="2 is not below 2 "):
            for size in range(40, 60):  # what is to be told is told before it is forgotten
                check(size)
        cuda.synchronize()
    finally:
        driver.noticed.remove(trouble.look)


def test_each_operation_is_waited_for_if_asked(python):
    code = f"""
import convkit
from convkit.nn import functional as F
device = convkit.device.check("{NAME}")
from convkit_kernels.cuda import checks
assert checks.AT_ONCE
x, t = convkit.zeros(2, 3).to(device), convkit.tensor([1, 3]).to(device)
try:
    F.cross_entropy(x, t)
except IndexError as error:
    print(error)
"""
    assert python(code, CONVKIT_CUDA_SYNC="1").stdout == "cross_entropy: targets must be classes 0 to 2 (or ignore_index -100), got 3\n"
