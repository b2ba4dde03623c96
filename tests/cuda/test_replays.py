"""`train.fit` with training steps that are recorded and replayed."""

import gc
import itertools
import random
import re
import signal
import threading
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import pytest

import convkit
from convkit import cuda, nn, optim, train
from convkit.nn import functional as F
from convkit.train import loop, step
from tests import backend

DEVICE = backend.gpu()

from convkit_kernels.cuda import driver, graph, memory  # noqa: E402
from convkit_kernels.cuda.graph import Recording  # noqa: E402
from convkit_kernels.cuda.optimizer import _table  # noqa: E402

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


@pytest.fixture
def python_handles_sigint():
    """Also where the tests run in the background, with SIGINT ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_ctrl_c_and_a_resumed_run(fit, tmp_path, python_handles_sigint):
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


def count():
    global calls
    calls += 1
    return calls


class CountsInAHelper(Dense):
    def forward(self, x):
        return self.inner(x) * (1.0 if count() % 100 < 5 else -1.0)


class CountsInAMethod(Dense):
    def forward(self, x):
        return self.inner(x) * self.sign()

    def sign(self):
        global calls
        calls += 1
        return 1.0 if calls % 100 < 5 else -1.0


class CountsInAnIterator(Dense):
    def __init__(self):
        super().__init__()
        self.numbers = itertools.count()

    def forward(self, x):
        return self.inner(x) * (1.0 if next(self.numbers) < 5 else -1.0)


class LargeOnTheHost(Dense):
    def __init__(self):
        super().__init__()
        self.table = np.ones(10_000)

    def forward(self, x):
        return self.inner(x)


class DrawsByConvkitOnTheHost(Dense):
    def forward(self, x):
        return self.inner(x) * (1.0 if convkit.rand(1, device="cpu").item() < 2 else -1.0)


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
        (Reads, r"it reads from the device \(test_replays.py:\d+, in forward\)"),
        (Sends, r"it sends numbers to the device \(test_replays.py:\d+, in forward\)"),
        (Counts, "Counts.calls changed in the step"), (CountsInAList, "CountsInAList.list changed in the step"),
        (CountsOutside, r"what CountsOutside.forward names changed in the step"),
        (CountsInAHelper, "what count names changed in the step"), (CountsInAMethod, "what CountsInAMethod.sign names changed in the step"),
        (CountsInAnIterator, "CountsInAnIterator.numbers holds a count, which cannot be compared"),
        (LargeOnTheHost, "LargeOnTheHost.table holds an array on the host of 80000 bytes, which is too much to be compared"),
        (DrawsByConvkitOnTheHost, "random numbers were drawn on the host"),
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
        Outside.factor, Outside.host = 1.0, np.ones(1)

    def forward(self, x):
        return self.more(self.inner(x)) * (self.factor * helper())


class Outside:
    factor: float
    host: np.ndarray


def helper():
    return Outside.factor * float(Outside.host[0])


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
    "a class": lambda model: _set(Outside, "factor", 0.5),
    "an array": lambda model: Outside.host.__imul__(0.5),
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


class Pair(NamedTuple):
    first: object
    second: object


@pytest.mark.parametrize("give", [lambda y: (y, None), lambda y: Pair(y, y), lambda y: (y, 3)], ids=["None", "a named tuple", "a number"])
def test_a_metric_is_given_what_the_model_gives(fit, give):
    class Gives(Dense):
        def forward(self, x):
            return give(self.inner(x))

    kept = []

    def metric(outputs, targets):
        kept.append((outputs, targets))
        return F.mse_loss(outputs[0], targets).item()

    options = {"metrics": {"error": metric}, "loss": lambda outputs, targets: F.mse_loss(outputs[0], targets), "epochs": 1}
    options["data"] = [np.concatenate([a, a[:3]]) for a in DATA]
    plain = fit(Gives, graph=False, **options)
    expected = [(outputs[0].tolist(), targets.tolist()) for outputs, targets in kept]
    kept.clear()
    tried = fit(Gives, **options)
    assert same(plain, tried) and tried.reason.startswith("the model gives something else")
    assert [(outputs[0].tolist(), targets.tolist()) for outputs, targets in kept] == expected


def test_a_thread_runs_as_ever_while_another_records(fit):
    plain, found = fit(images, IMAGES, graph=False), []
    thread = threading.Thread(target=lambda: found.append(fit(images, IMAGES)))
    with Recording():
        thread.start()
        thread.join()
    (beside,) = found
    assert same(plain, beside) and (beside.replays, beside.reason) == (0, None)
    assert driver.recording is None and fit(images, IMAGES).replays == 4


def test_one_thread_records_at_a_time():
    errors = []

    def enters():
        with pytest.raises(RuntimeError, match="by another thread") as caught, Recording():
            pass
        errors.append(caught)

    thread = threading.Thread(target=enters)
    with Recording() as recording:
        thread.start()
        thread.join()
        assert driver.recording is recording and errors
    with Recording():
        pass


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
