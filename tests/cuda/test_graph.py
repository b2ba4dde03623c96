"""Recordings of a step of work and their replays; test_replays.py has `train.fit`, which makes and replays them."""

import gc
from types import SimpleNamespace

import numpy as np
import pytest

import convkit
from convkit import cuda
from tests import backend

DEVICE = backend.gpu()

from convkit_kernels.cuda import driver, memory, uniform  # noqa: E402
from convkit_kernels.cuda.graph import Recording  # noqa: E402


def device(values, dtype=np.float32):
    return memory.asarray(np.asarray(values, dtype))


# ------------------------------------------------------------------------------------- recordings
def test_a_replay_reads_what_is_there_now_and_writes_where_the_step_wrote():
    # No other test has these numbers: what was sent to the device once stays there.
    x, total = device([1, 2, 3]), device([0, 0, 0])
    with Recording() as recording:
        _ = x * 3.25 + 0.8125
    assert recording.trouble.startswith("it sends numbers to the device (test_graph.py:")
    del recording
    gc.collect()
    used = cuda.memory_allocated()
    with Recording() as recording:
        y = x * 3.25 + 0.8125
        total += y
    assert recording.trouble is None and len(recording.launches) > 1
    assert (y.tolist(), total.tolist()) == ([4.0625, 7.3125, 10.5625],) * 2
    x[...] = device([10, 20, 30])
    other = x * 3.25 + 0.8125  # takes no memory that a replay writes to
    recording.replay()
    assert (y.tolist(), total.tolist(), other.tolist()) == (
        [33.3125, 65.8125, 98.3125], [37.375, 73.125, 108.875], [33.3125, 65.8125, 98.3125]
    )  # fmt: skip
    del y, other
    recording.drop("enough")
    with pytest.raises(RuntimeError, match="cannot be replayed: enough"):
        recording.replay()
    gc.collect()
    assert cuda.memory_allocated() == used


def test_memory_is_used_again_in_a_recording_and_by_nobody_else():
    x = device(np.arange(1000))
    _ = x + 1
    with Recording() as recording:
        y = x
        for _ in range(6):
            y = y + 1
    assert recording.left(y) == 0 and recording.left() == 1
    others = [x + 1 for _ in range(8)]
    assert not {a.buffer.address for a in others} & set(recording._made)
    assert len(recording.launches) == 6 and len(recording._made) == 2  # two blocks in turns
    y[...] = 0
    recording.replay()
    assert y.tolist() == (np.arange(1000) + 6).tolist() and all(a.tolist() == (np.arange(1000) + 1).tolist() for a in others)
    block = y.buffer.block
    del recording
    gc.collect()
    assert memory.empty((1000,), np.float32).buffer.block is not block  # y is still alive
    del y
    assert any(memory.empty((1000,), np.float32).buffer.block is block for _ in range(3))


def test_what_a_recording_found_is_kept():
    x = device([1, 2, 3])
    y = x + 1
    with Recording() as recording:
        y = x + 1
    address = x.address
    del x
    others = [device([7, 7, 7]) for _ in range(5)]
    assert address not in {a.address for a in others}
    recording.replay()
    assert y.tolist() == [2, 3, 4]


def test_what_cannot_be_replayed_says_where():
    x = device([1, 2, 3])
    with Recording() as recording:
        x.get()
    here = test_what_cannot_be_replayed_says_where.__code__
    assert recording.trouble == f"it reads from the device (test_graph.py:{here.co_firstlineno + 3}, in {here.co_name})"
    with Recording() as recording:
        x + 0.123
    assert recording.trouble.startswith("it sends numbers to the device (test_graph.py:")
    with Recording() as recording:
        x + 0.123
    assert recording.trouble is None
    with Recording() as recording:
        memory.exchange().from_interface(x)
    assert recording.trouble.startswith("it shares memory with another library (")
    with pytest.raises(ValueError, match="stop"), Recording() as recording:
        raise ValueError("stop")
    assert recording.trouble == "an error: stop" and driver.recording is None
    with pytest.raises(RuntimeError, match="being made already"), Recording(), Recording():
        pass
    assert driver.recording is None


def test_two_recordings_of_one_step_do_not_differ():
    x, y = device([1, 2, 3]), device([4, 5, 6])

    def record(step, before=None, seed=3, offset=0):
        step(offset)
        with Recording(seed=seed, offset=offset) if before is None else before.again(seed, offset) as recording:
            step(offset)
        assert recording.trouble is None
        return recording

    steps = {
        "sum": lambda o: (x + y) * x + uniform((3,), 3, o, np.float32),
        "other kernel": lambda o: (x - y) * x + uniform((3,), 3, o, np.float32),
        "other array": lambda o: (x + y) * y + uniform((3,), 3, o, np.float32),
        "other number": lambda o: (x + 2) * x + uniform((3,), 3, o, np.float32),
        "other draw": lambda o: (x + y) * x + uniform((3,), 3, o + 1, np.float32),
        "more": lambda o: (x + y) * x + uniform((3,), 3, o, np.float32) * x,
    }
    made = {name: record(step) for name, step in steps.items()}
    assert made["sum"].difference(record(steps["sum"])) is None
    assert made["sum"].difference(record(steps["sum"], offset=17)) is None
    assert made["sum"].difference(record(steps["sum"], made["sum"])) is None and "anew" in made["sum"].trouble
    for name, told in (
        ("other kernel", "launch 0 was of"), ("other array", "was given another argument"), ("other number", "another argument"),
        ("other draw", "another argument"), ("more", "there were 4 launches, now 5"),
    ):  # fmt: skip
        assert told in made["sum"].difference(made[name]), name
    with Recording(seed=4) as other_seed:
        steps["sum"](0)
    assert other_seed.trouble.startswith("it draws random numbers from a generator of its own")


def test_a_replay_draws_other_random_numbers():
    x = convkit.ones(2, 3, 2, device=DEVICE).array
    k = convkit.device.kernels(x)
    draws = {
        "dropout": lambda offset: k.dropout(x, 0.5, 5, offset),
        "uniform": lambda offset: k.uniform((7,), 5, offset, np.float64),
        "normal": lambda offset: k.normal((7,), 5, offset, np.float32),
    }
    for name, draw in draws.items():
        draw(0)
        with Recording(seed=5, offset=10) as recording:
            first, second = draw(10), draw(11)
        assert recording.trouble is None and recording.draws == 2
        for offset in (10, 12, 2**40):
            recording.replay(offset)
            assert first.tolist() == draw(offset).tolist() and second.tolist() == draw(offset + 1).tolist(), name


def test_out_of_memory_takes_that_of_recordings(monkeypatch):
    x = device(np.zeros(1 << 18))
    with Recording() as recording:
        y = x * x * x
    del y
    plain = driver.allocate

    def allocate(size):
        if recording.trouble is None:
            raise RuntimeError("CUDA_ERROR_OUT_OF_MEMORY")
        return plain(size)

    cuda.empty_cache()
    monkeypatch.setattr(driver, "allocate", allocate)
    assert memory.empty((1 << 20,), np.float32).size == 1 << 20 and recording.trouble == "the device had no memory left"
    assert not recording.again().private.closed


def test_what_the_driver_is_given(monkeypatch):
    """On a GPU: a chain of kernel nodes, whose parameters it copies at once; then a single call for all of them."""
    calls, ok = [], type("Status", (int,), {"name": "CUDA_ERROR_OF_A_TEST"})

    class Bindings:
        CUDA_KERNEL_NODE_PARAMS, CUstream = SimpleNamespace, int
        status = ok(0)

        def __getattr__(self, name):
            return lambda *args: (calls.append((name, *args)), (self.status, f"{name}{len(calls)}"))[1]

        def cuGraphAddKernelNode(self, graph, before, count, node):
            calls.append((graph, before, count, *vars(node).values()))
            return ok(0), f"node{len(calls)}"

    found = Bindings()
    monkeypatch.setattr(driver, "bindings", lambda: found)
    monkeypatch.setattr(driver, "_enter", lambda: calls.append("enter"))
    monkeypatch.setattr(driver, "_thread", driver._Thread())
    driver._stream.cache_clear()
    ready = driver.Graph([("f", (1, 2, 3), (4, 5, 6), 0x77), ("g", (7, 1, 1), (8, 1, 1), 0x78)])
    ready.launch()
    driver._stream.cache_clear()
    del ready
    gc.collect()
    assert calls == [
        "enter", ("cuGraphCreate", 0),
        ("cuGraphCreate2", [], 0, "f", 0x77, 0, 1, 2, 3, 4, 5, 6), ("cuGraphCreate2", ["node3"], 1, "g", 0x78, 0, 7, 1, 1, 8, 1, 1),
        ("cuGraphInstantiate", "cuGraphCreate2", 0), ("cuGraphDestroy", "cuGraphCreate2"),
        "enter", ("cuGraphLaunch", "cuGraphInstantiate5", 0), ("cuGraphExecDestroy", "cuGraphInstantiate5"),
    ]  # fmt: skip
    Bindings.status = ok(801)
    with pytest.raises(RuntimeError, match="CUDA_ERROR_OF_A_TEST"):
        driver.Graph([])
