"""Recordings of a step of work and their replays, and `train.fit`, which makes and replays them."""

import gc
import random
import re
import signal
from types import SimpleNamespace

import numpy as np
import pytest

import convkit
from convkit import cuda, nn, optim, train
from convkit.nn import functional as F
from convkit.train import loop, step
from tests import backend

DEVICE = backend.gpu()

from convkit_kernels.cuda import driver, graph, memory, uniform  # noqa: E402
from convkit_kernels.cuda.graph import Recording  # noqa: E402
from convkit_kernels.cuda.optimizer import _table  # noqa: E402


def device(values, dtype=np.float32):
    return memory.asarray(np.asarray(values, dtype))


# ------------------------------------------------------------------------------------- recordings
def test_a_replay_reads_what_is_there_now_and_writes_where_the_step_wrote():
    x, total = device([1, 2, 3]), device([0, 0, 0])
    with Recording() as recording:
        _ = x * 2 + 1
    assert recording.trouble.startswith("it sends numbers to the device (test_graph.py:")
    del recording
    gc.collect()
    used = cuda.memory_allocated()
    with Recording() as recording:
        y = x * 2 + 1
        total += y
    assert recording.trouble is None and len(recording.launches) > 1
    assert (y.tolist(), total.tolist()) == ([3, 5, 7], [3, 5, 7])
    x[...] = device([10, 20, 30])
    other = x * 2 + 1  # takes no memory that a replay writes to
    recording.replay()
    assert (y.tolist(), total.tolist(), other.tolist()) == ([21, 41, 61], [24, 46, 68], [21, 41, 61])
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


# -------------------------------------------------------------------------------------------- fit
RANDOM = np.random.default_rng(5)
DATA = RANDOM.standard_normal((9, 3)).astype(np.float32), RANDOM.standard_normal((9, 2)).astype(np.float32)
WORDS = RANDOM.integers(0, 5, (9, 4)), RANDOM.integers(0, 2, 9)
IMAGES = RANDOM.standard_normal((9, 1, 4, 4)).astype(np.float32), DATA[1]


@pytest.fixture
def fit(monkeypatch):
    """`fit(make, data, ...)`: the history, what the model and the optimiser are then, and how often it replayed."""
    made = []

    class Watched(step.Replayed):
        def __init__(self, *args):
            super().__init__(*args)
            made.append(self)

    monkeypatch.setattr(loop, "Replayed", Watched)

    def run(make, data=DATA, epochs=2, optimizer=optim.SGD, lr=0.1, schedule=None, callbacks=lambda model: [], seed=3, **options):
        made.clear()
        convkit.manual_seed(seed)
        model = make().to(DEVICE)
        learner = optimizer(model.parameters(), lr=lr)
        options = {"batch_size": 2, "progress": False, "loss": F.mse_loss, "metrics": {}, **options}
        scheduler = None if schedule is None else schedule(learner)
        history = train.fit(model, data, epochs=epochs, optimizer=learner, scheduler=scheduler, callbacks=callbacks(model), **options)
        state = [value.cpu().numpy() for value in model.state_dict().values()]
        state += [value.cpu().numpy() for kept in learner.state.values() for value in kept.values() if isinstance(value, convkit.Tensor)]
        numbers = [{k: v for k, v in record.items() if k not in ("seconds", "images_per_second")} for record in history]
        replays, reason = (made[0].replays, made[0].reason) if made else (None, None)
        made.clear()
        return SimpleNamespace(numbers=numbers, state=state, offset=convkit.random.default_generator.offset, replays=replays, reason=reason)

    return run


def same(a, b):
    """Are two runs the same, bit for bit?"""
    return a.numbers == b.numbers and a.offset == b.offset and all(map(np.array_equal, a.state, b.state)) and len(a.state) == len(b.state)


def images():
    return nn.Sequential(
        nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.MaxPool2d(2, 1), nn.Flatten(), nn.Dropout(0.5), nn.Linear(2, 2)
    )  # fmt: skip


class Words(nn.Module):
    def __init__(self):
        super().__init__()
        self.table, self.out = nn.Embedding(5, 3), nn.Linear(3, 2)

    def forward(self, x):
        return self.out(self.table(x).sum(1))


def one_cycle(learner):
    return optim.lr_scheduler.OneCycleLR(learner, 0.1, total_steps=10)


NETS = {
    "images": (images, IMAGES, {"optimizer": optim.Adam, "schedule": one_cycle, "validation": IMAGES}),
    "words": (Words, WORDS, {"optimizer": optim.Adam, "loss": F.cross_entropy, "metrics": None}),
}


@pytest.mark.parametrize("name", NETS)
def test_fit_with_replays_is_the_same_bit_for_bit(fit, name):
    make, data, options = NETS[name]
    plain = fit(make, data, graph=False, **options)
    graph.nothing()
    _table.cache_clear()
    gc.collect()
    used = cuda.memory_allocated()
    replayed = fit(make, data, **options)
    # Of an epoch's five batches the last is smaller; the first one runs as ever, two are recorded, and one of each later epoch.
    assert plain.replays is None and replayed.reason is None and replayed.replays == 1 + 3 * (len(plain.numbers) - 1)
    assert same(plain, replayed)
    _table.cache_clear()
    gc.collect()
    assert cuda.memory_allocated() == used


def test_ctrl_c_and_a_resumed_run(fit, tmp_path):
    def metric(outputs, targets):
        if asked and asked.pop():
            signal.raise_signal(signal.SIGINT)
        return (outputs - targets).sum().item()

    options = {"metrics": {"difference": metric}, "data": IMAGES}
    asked = []
    plain = fit(images, graph=False, **options)
    asked = [True, False, False, False]
    with pytest.raises(train.Interrupted, match="after batch 4 of 5"):
        fit(images, out=tmp_path, **options)
    assert same(plain, fit(images, resume=tmp_path, seed=4, **options))


# What cannot be replayed, and why.
class Dense(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner, self.calls, self.list, self.kept = nn.Linear(3, 2), 0, [0], None
        self.generator, self.host = convkit.random.Generator(9), np.random.default_rng(3)

    def forward(self, x):
        return self.inner(x)


class Reads(Dense):
    def forward(self, x):
        return self.inner(x) * (2.0 if x.sum().item() > 0 else 1.0)


class Sends(Dense):
    def forward(self, x):
        return self.inner(x + convkit.from_numpy(np.ones((1, 3), np.float32)).to(x.device))


class Counts(Dense):
    def forward(self, x):
        self.calls += 1
        return self.inner(x) * (1.0 if self.calls < 5 else -1.0)


class CountsInAList(Dense):
    def forward(self, x):
        self.list[0] += 1
        return self.inner(x) * (1.0 if self.list[0] < 5 else -1.0)


calls = 0


class CountsOutside(Dense):
    def forward(self, x):
        global calls
        calls += 1
        return self.inner(x) * (1.0 if calls % 100 < 5 else -1.0)


class DrawsOnTheHost(Dense):
    def forward(self, x):
        return self.inner(x) * (1.0 if self.host.random() < 2 else -1.0)


class DrawsByPython(Dense):
    def forward(self, x):
        return self.inner(x) * (1.0 if random.random() < 2 else -1.0)


class DrawsElsewhere(Dense):
    def forward(self, x):
        return self.inner(x + convkit.rand(1, 3, generator=self.generator, device=x.device))


class Keeps(Dense):
    def forward(self, x):
        y = self.inner(x)
        outside.append(y.detach())
        return y


outside = []


class Recurs(Dense):
    def forward(self, x):
        y = self.inner(x)
        y = y if self.kept is None else y + self.kept.sum()
        self.kept = y.detach()
        return y


def hooked():
    model = Dense()
    model.inner.register_forward_hook(lambda module, args, output: output * 2)
    return model


@pytest.mark.parametrize(
    "make, reason",
    [
        (Reads, r"it reads from the device \(test_graph.py:\d+, in forward\)"),
        (Sends, r"it sends numbers to the device \(test_graph.py:\d+, in forward\)"),
        (Counts, "Counts.calls changed in the step"), (CountsInAList, "CountsInAList.list changed in the step"),
        (CountsOutside, r"what CountsOutside.forward names changed in the step"),
        (DrawsOnTheHost, "random numbers were drawn on the host"), (DrawsByPython, "random numbers were drawn on the host"),
        (DrawsElsewhere, "it draws random numbers from a generator of its own"), (Keeps, "Keeps.forward changed in the step"),
        (Recurs, "Recurs.kept changed in the step"), (hooked, "Linear has hooks"),
    ],
)  # fmt: skip
def test_what_cannot_be_replayed_runs_as_ever(fit, caplog, make, reason):
    global calls
    calls = 0
    options = {"data": [np.concatenate([a, a[:3]]) for a in DATA], "epochs": 1}
    plain = fit(make, graph=False, **options)
    calls = 0
    tried = fit(make, **options)
    assert re.search(reason, tried.reason) and tried.replays == 0 and same(plain, tried)
    assert [record.getMessage() for record in caplog.records] == [f"fit: steps are not replayed as a CUDA graph: {tried.reason}"]
    outside.clear()


def test_graph_true_is_an_error_where_it_cannot_be(fit):
    six = {"data": [np.concatenate([a, a[:3]]) for a in DATA], "epochs": 1}
    with pytest.raises(
        RuntimeError, match="fit: steps cannot be replayed as a CUDA graph: it reads from the device .*; graph=None runs them as ever"
    ):
        fit(Reads, graph=True, **six)
    assert fit(Dense, graph=True, **six).replays == 3
    on_the_host = nn.Linear(3, 2).to("cpu")
    with pytest.raises(RuntimeError, match="fit: graph=True needs a model on a GPU; this one is on the CPU"):
        train.fit(on_the_host, DATA, epochs=1, optimizer=optim.SGD(on_the_host.parameters()), graph=True, progress=False)


class Scaled(Dense):
    def __init__(self):
        super().__init__()
        self.factor, self.more = 1.0, nn.Dropout(0.0)

    def forward(self, x):
        return self.more(self.inner(x)) * self.factor


class Changes(train.Callback):
    """Changes something before the seventh batch."""

    def __init__(self, model, change):
        self.model, self.change, self.batches = model, change, 0

    def on_batch_end(self, run):
        self.batches += 1
        if self.batches == 6:
            self.change(self.model)


def _set(owner, name, value):
    setattr(owner, name, value)


CHANGES = {
    "a number": lambda model: _set(model, "factor", 0.5),
    "a part": lambda model: _set(model, "more", nn.Tanh()),
    "frozen": lambda model: model.inner.bias.requires_grad_(False),
    "new memory": lambda model: _set(model.inner.weight, "array", model.inner.weight.array * 2),
    "loaded": lambda model: model.load_state_dict({k: v * 2 for k, v in model.state_dict().items()}),
    "seed": lambda model: (_set(model.more, "p", 0.5), convkit.manual_seed(11)),
    "precision": lambda model: cuda.set_fp32_precision("tf32x3"),
    "a gradient's hook": lambda model: model.inner.weight.register_hook(lambda gradient: gradient * 2),
    "hooks": lambda model: model.inner.register_forward_pre_hook(lambda module, args: (args[0] * 2,)),
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_changes_between_steps_is_seen(fit, name):
    if name == "precision" and backend.DEVICE != "cuda":
        pytest.importorskip("greenlet", reason="tensor cores are simulated by greenlets, which are not installed")
    options = {
        "data": [np.concatenate([a, a, a[:4]]) for a in DATA], "epochs": 1, "callbacks": lambda model: [Changes(model, CHANGES[name])]
    }  # fmt: skip
    try:
        plain = fit(Scaled, graph=False, **options)
        cuda.set_fp32_precision("ieee")
        changed = fit(Scaled, **options)
    finally:
        cuda.set_fp32_precision("ieee")
    # Eleven batches: one as ever, two recorded, three replayed; then one or two are recorded anew.
    assert same(plain, changed) and changed.replays == {"loaded": 8, "hooks": 3, "a gradient's hook": 3}.get(name, 6)


def test_other_shapes_and_other_callers_in_between(fit):
    """Shapes in turns have a recording each; what others do on the device meanwhile disturbs nothing."""

    class Turns(convkit.data.DataLoader):
        def iterate(self, epoch, start_batch=0):
            return (tuple(part[: 2 + i % 2] for part in batch) for i, batch in enumerate(super().iterate(epoch, start_batch)))

    class Other(train.Callback):
        def on_batch_end(self, run):
            kept.append(convkit.rand(3, device=DEVICE) + convkit.ones(100, device=DEVICE).sum())

    kept = []
    data = convkit.data.ArrayDataset(*(np.concatenate([a, a, a, a]) for a in DATA))
    options = {"data": Turns(data, batch_size=3), "epochs": 1, "callbacks": lambda _: [Other()]}
    plain, values = fit(Scaled, graph=False, **options), [k.tolist() for k in kept]
    kept.clear()
    replayed = fit(Scaled, **options)
    assert same(plain, replayed) and replayed.replays == 12 - 2 * 3 and [k.tolist() for k in kept] == values


def test_what_metrics_keep_is_theirs(fit):
    kept = []

    def metric(outputs, targets):
        kept.append((outputs, targets))
        return 0.0

    options = {"metrics": {"kept": metric}}
    plain = fit(Dense, graph=False, **options)
    expected = [(a.tolist(), b.tolist()) for a, b in kept]
    kept.clear()
    assert same(plain, fit(Dense, **options)) and [(a.tolist(), b.tolist()) for a, b in kept] == expected


def test_a_wrong_label_is_told_where_it_is_met(fit):
    inputs, labels = WORDS
    labels = labels.copy()
    labels[7] = 2
    for graphs in (False, True):
        with pytest.raises(IndexError, match=r"targets must be classes 0 to 1 .*got 2"):
            fit(Words, convkit.data.DataLoader(convkit.data.ArrayDataset(inputs, labels), batch_size=2), loss=F.cross_entropy, graph=graphs)


def test_out_of_memory_while_a_step_is_recorded(fit, monkeypatch):
    """The step runs once more, as ever and from where it began."""
    plain = fit(images, IMAGES, graph=False, epochs=1)
    take, taken = graph.Private.take, []

    def fails(self, nbytes):
        taken.append(nbytes)
        if len(taken) == 20:  # after the batch normalisation
            raise MemoryError("cuda: nothing is left")
        return take(self, nbytes)

    monkeypatch.setattr(graph.Private, "take", fails)
    tried = fit(images, IMAGES, epochs=1)
    assert same(plain, tried) and len(taken) == 20 and tried.reason == "the device's memory does not suffice for a recording"


def test_out_of_memory_elsewhere_ends_recordings(fit):
    class Fills(train.Callback):
        def on_epoch_start(self, run):
            memory.Pool.relief()

    plain, ended = fit(Dense, graph=False), fit(Dense, callbacks=lambda _: [Fills()])
    assert same(plain, ended) and ended.replays == 1 and ended.reason == "the device had no memory left"
