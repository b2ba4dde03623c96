"""DataLoader: order, resumption, the background thread's errors and ends, and what it refuses."""

import gc
import math
import os
import subprocess
import sys
import threading
import time
import traceback
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from convkit.data import ArrayDataset, DataLoader, Dataset, digits

THREAD = "convkit-dataloader"


def values(batches):
    """Batches of a one-array data set as lists of numbers."""
    return [np.asarray(batch[0]).tolist() for batch in batches]


def numbers(n, **options):
    return DataLoader(ArrayDataset(np.arange(n)), **options)


def loader_threads():
    return [thread for thread in threading.enumerate() if thread.name == THREAD]


@pytest.fixture(autouse=True)
def no_thread_is_left():
    yield
    assert loader_threads() == []


class Items(Dataset):
    """Item i is (i, i * i); reading item `bad` fails, reading any item takes `seconds`."""

    def __init__(self, n, bad=None, seconds=0.0):
        self.n, self.bad, self.seconds, self.read = n, bad, seconds, []

    def __len__(self):
        return self.n

    def __getitem__(self, i):
        time.sleep(self.seconds)
        if i == self.bad:
            raise OSError(f"item {i} is unreadable")
        self.read.append(i)
        return i, i * i


@pytest.mark.parametrize("prefetch", [0, 1, 2, 5])
def test_batches_in_order(prefetch):
    assert values(numbers(7, batch_size=3, prefetch=prefetch)) == [[0, 1, 2], [3, 4, 5], [6]]
    assert values(numbers(7, batch_size=3, prefetch=prefetch, drop_last=True)) == [[0, 1, 2], [3, 4, 5]]
    assert values(numbers(6, batch_size=3, prefetch=prefetch)) == [[0, 1, 2], [3, 4, 5]]
    assert values(numbers(2, batch_size=5, prefetch=prefetch)) == [[0, 1]]
    assert values(numbers(2, batch_size=5, prefetch=prefetch, drop_last=True)) == []


@given(
    n=st.integers(0, 30),
    batch_size=st.integers(1, 9),
    shuffle=st.booleans(),
    drop_last=st.booleans(),
    seed=st.integers(0, 2**33),
    epoch=st.integers(0, 100),
    prefetch=st.integers(0, 3),
    data=st.data(),
)
@settings(deadline=None)
def test_every_item_once_and_resumable_anywhere(n, batch_size, shuffle, drop_last, seed, epoch, prefetch, data):
    options = dict(batch_size=batch_size, shuffle=shuffle, drop_last=drop_last, seed=seed)
    loader = numbers(n, prefetch=prefetch, **options)
    whole = values(loader.iterate(epoch))
    assert len(whole) == len(loader) == (n // batch_size if drop_last else math.ceil(n / batch_size))
    seen = [value for batch in whole for value in batch]
    assert seen == loader.order(epoch)[: len(seen)].tolist()
    assert sorted(loader.order(epoch).tolist()) == list(range(n))
    start = data.draw(st.integers(0, len(loader)))
    assert values(numbers(n, prefetch=0, **options).iterate(epoch, start_batch=start)) == whole[start:]


def test_real_batches_resume_to_the_same_bits():
    loader = DataLoader(digits("test"), batch_size=50, shuffle=True, seed=3)
    whole = list(loader.iterate(epoch=2))
    rest = list(loader.iterate(epoch=2, start_batch=5))
    assert len(whole) == 8 and len(rest) == 3
    for (x, y), (again_x, again_y) in zip(whole[5:], rest, strict=True):
        assert np.asarray(x).tobytes() == np.asarray(again_x).tobytes()
        assert np.asarray(y).tobytes() == np.asarray(again_y).tobytes()


def test_batches_hold_the_items_of_the_data_set():
    d = digits("test")
    loader = DataLoader(d, batch_size=7, shuffle=True, seed=5)
    order = loader.order(0)
    x, y = next(iter(loader))
    assert tuple(x.shape) == (7, 1, 8, 8) and np.asarray(x).dtype == np.float32 and np.asarray(y).dtype == np.int64
    for row, index in enumerate(order[:7]):
        np.testing.assert_array_equal(np.asarray(x)[row], d[int(index)][0])
        assert np.asarray(y)[row] == d[int(index)][1]


def test_iterating_moves_on_to_the_next_epoch():
    loader = numbers(20, batch_size=20, shuffle=True, seed=1)
    first, second = values(loader), values(loader)
    assert first != second and loader.epoch == 2
    loader.set_epoch(0)
    assert values(loader) == first and values(loader) == second
    assert values(loader.iterate(0)) == first and loader.epoch == 2


def test_the_order_depends_on_seed_and_epoch_alone():
    assert numbers(12, shuffle=True, seed=3, batch_size=5).order(1).tolist() == [0, 11, 6, 2, 1, 3, 7, 4, 10, 9, 8, 5]
    np.random.seed(0)
    again = numbers(12, shuffle=True, seed=3, prefetch=0)
    np.random.random(5)
    assert again.order(1).tolist() == [0, 11, 6, 2, 1, 3, 7, 4, 10, 9, 8, 5]
    # (seed, epoch) are not merely added up
    assert numbers(12, shuffle=True, seed=1).order(3).tolist() != again.order(1).tolist()


def test_two_loops_over_one_loader_do_not_disturb_each_other():
    loader = numbers(6, batch_size=2, shuffle=True)
    together = list(zip(loader.iterate(0), loader.iterate(1), strict=True))
    assert values(a for a, _ in together) == values(loader.iterate(0))
    assert values(b for _, b in together) == values(loader.iterate(1))


def test_data_sets_without_get_batch_and_of_single_values():
    x, y = next(iter(DataLoader(Items(5), batch_size=4)))
    assert np.asarray(x).tolist() == [0, 1, 2, 3] and np.asarray(y).tolist() == [0, 1, 4, 9]
    assert values(DataLoader([1.5, 2.5, 3.5], batch_size=2)) == [[1.5, 2.5], [3.5]]


@pytest.mark.parametrize("prefetch", [0, 2])
def test_an_empty_data_set_gives_no_batches(prefetch):
    loader = numbers(0, batch_size=4, shuffle=True, prefetch=prefetch)
    assert len(loader) == 0 and list(loader) == []
    assert list(DataLoader([], prefetch=prefetch)) == []


def test_collate_fn_gives_what_is_yielded():
    def ragged(items):
        return {"sum": np.array([sum(item) for item in items]), "text": "x" * len(items), "both": [np.ones(2), None]}

    batches = list(DataLoader(Items(3), batch_size=2, collate_fn=ragged))
    assert [np.asarray(b["sum"]).tolist() for b in batches] == [[0, 2], [6]]
    assert [b["text"] for b in batches] == ["xx", "x"]
    assert np.asarray(batches[0]["both"][0]).tolist() == [1, 1] and batches[0]["both"][1] is None


def test_collate_fn_may_give_a_named_tuple():
    Batch = namedtuple("Batch", ["first", "size"])
    (batch,) = DataLoader(Items(3), batch_size=3, collate_fn=lambda items: Batch(np.array(items), len(items)))
    assert isinstance(batch, Batch) and batch.size == 3 and np.asarray(batch.first).tolist() == [[0, 0], [1, 1], [2, 4]]


def test_arrays_become_tensors_in_the_calling_thread(monkeypatch):
    import convkit

    made_in = []
    monkeypatch.setattr(convkit, "from_numpy", lambda a: made_in.append(threading.current_thread()) or ("tensor", a))
    (batch,) = DataLoader(ArrayDataset(np.arange(2), np.arange(2)), batch_size=2)
    assert isinstance(batch, tuple) and [kind for kind, _ in batch] == ["tensor", "tensor"]
    assert set(made_in) == {threading.current_thread()}


@pytest.mark.parametrize("prefetch", [0, 1, 4])
def test_an_exception_comes_where_its_batch_would(prefetch):
    loader = DataLoader(Items(10, bad=5), batch_size=2, prefetch=prefetch)
    batches = iter(loader)
    assert np.asarray(next(batches)[0]).tolist() == [0, 1]
    assert np.asarray(next(batches)[0]).tolist() == [2, 3]
    with pytest.raises(OSError, match="item 5 is unreadable") as caught:
        next(batches)
    frames = [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]
    assert frames[-1] == "__getitem__" and "_make" in frames
    with pytest.raises(StopIteration):
        next(batches)


def test_prefetch_reads_ahead_but_not_further():
    items = Items(20)
    batches = iter(DataLoader(items, batch_size=2, prefetch=3))
    next(batches)
    deadline = time.monotonic() + 10
    while len(items.read) < 6 and time.monotonic() < deadline:
        time.sleep(0.005)
    time.sleep(0.05)  # time in which it would read on if nothing held it back
    assert items.read == list(range(8))[: len(items.read)] and 6 <= len(items.read) <= 8
    batches.close()


def test_leaving_the_loop_early_ends_the_thread():
    loader = DataLoader(Items(10_000, seconds=0.01), batch_size=1, prefetch=2)
    for _ in loader:
        assert len(loader_threads()) == 1
        break
    gc.collect()
    assert loader_threads() == []
    assert len(loader.dataset.read) < 10


def test_closing_and_dropping_iterators_ends_their_threads():
    loader = numbers(100)
    batches = loader.iterate(0)
    assert loader_threads() == []  # nothing runs before the first batch is asked for
    next(batches)
    assert len(loader_threads()) == 1
    batches.close()
    assert loader_threads() == []
    cycle = [iter(loader)]
    next(cycle[0])
    cycle.append(cycle)
    del cycle
    gc.collect()
    assert loader_threads() == []


def test_an_exception_in_the_loop_body_ends_the_thread():
    def body():
        for _ in numbers(100):
            raise KeyError("in the loop")

    with pytest.raises(KeyError):
        body()
    gc.collect()
    assert loader_threads() == []


def test_an_iterator_collected_in_its_own_thread_ends():
    """The garbage collector may run in the background thread and find the very iterator that started it."""

    class Collecting(Items):
        def __getitem__(self, i):
            gc.collect()
            return i, i

    for _ in range(5):
        cycle = [iter(DataLoader(Collecting(1000), prefetch=2))]
        next(cycle[0])
        cycle.append(cycle)
        del cycle
        deadline = time.monotonic() + 10
        while loader_threads() and time.monotonic() < deadline:
            time.sleep(0.005)
        assert loader_threads() == []


@pytest.mark.parametrize("seconds", [0, 0.02])
def test_an_iterator_left_half_way_does_not_hold_up_the_interpreter(seconds):
    root = Path(__file__).resolve().parents[2]
    code = f"""
import time, convkit, numpy as np
if not hasattr(convkit, "from_numpy"):
    convkit.from_numpy = lambda a: a
from convkit.data import DataLoader
class Slow:
    def __len__(self): return 1000000
    def __getitem__(self, i):
        time.sleep({seconds})
        return np.full(1000, i)
batches = iter(DataLoader(Slow(), batch_size=1, prefetch=3))
next(batches)
"""
    path = os.pathsep.join([str(root), str(root / "kernels"), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": path},
        timeout=120,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_errors():
    d = ArrayDataset(np.arange(4))
    for name, value, least in [("batch_size", 0, 1), ("batch_size", -3, 1), ("prefetch", -1, 0), ("seed", -1, 0)]:
        with pytest.raises(ValueError, match=f"DataLoader: {name} must be {least} or larger, got {value}"):
            DataLoader(d, **{name: value})
    with pytest.raises(TypeError, match="batch_size must be an integer, got float"):
        DataLoader(d, batch_size=2.0)
    with pytest.raises(TypeError, match="needs __len__ and __getitem__, set has not"):
        DataLoader({1, 2})
    with pytest.raises(ValueError, match="epoch must be 0 or larger"):
        DataLoader(d).set_epoch(-1)
    # checked when called, not when the first batch is asked for
    with pytest.raises(ValueError, match="start_batch is 3 but an epoch has 2 batches"):
        DataLoader(d, batch_size=2).iterate(0, start_batch=3)
    with pytest.raises(ValueError, match="start_batch must be 0 or larger"):
        DataLoader(d, batch_size=2).iterate(0, start_batch=-1)
