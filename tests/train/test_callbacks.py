"""Callbacks: when they are called, and early stopping."""

import functools

import pytest

from convkit.train import Callback, EarlyStopping, Interrupted, fit, load_checkpoint

from .conftest import bits
from .test_loop import After, ctrl_c, python_handles_sigint  # noqa: F401

quiet = functools.partial(fit, progress=False)


class Diary(Callback):
    """Writes down what happens."""

    def __init__(self):
        self.calls = []

    def on_fit_start(self, run):
        self.calls.append("fit start")

    def on_epoch_start(self, run):
        self.calls.append(f"epoch {run.epoch} start")

    def on_batch_end(self, run):
        self.calls.append(f"batch {run.batch} of {run.batches}, {sorted(run.record)}")

    def on_epoch_end(self, run):
        assert run.record is run.history[-1]
        self.calls.append(f"epoch {run.epoch} end")

    def on_fit_end(self, run):
        self.calls.append(f"fit end after {len(run.history)} of {run.epochs}")


def test_order_of_calls(new_run, part):
    run, diary = new_run(), Diary()
    quiet(run.model, part, epochs=2, batch_size=100, optimizer=run.optimizer, callbacks=[diary])
    batches = [f"batch {i} of 2, ['accuracy', 'epoch', 'loss', 'lr']" for i in (1, 2)]
    epochs = [line for i in (1, 2) for line in (f"epoch {i} start", *batches, f"epoch {i} end")]
    assert diary.calls == ["fit start", *epochs, "fit end after 2 of 2"]


def test_stop_ends_the_run(new_run, part, tmp_path):
    class Stop(Callback):
        def on_epoch_end(self, run):
            run.stop = run.epoch == 2

    run = new_run()
    assert len(quiet(run.model, part, epochs=5, batch_size=100, optimizer=run.optimizer, callbacks=[Stop()], out=tmp_path)) == 2
    assert load_checkpoint(tmp_path).stopped
    again = new_run()  # and a resumed run does not start again
    assert len(quiet(again.model, part, epochs=5, batch_size=100, optimizer=again.optimizer, callbacks=[Stop()], resume=tmp_path)) == 2


class Script(Callback):
    """Overwrites val_loss with given values, and remembers the weights of each epoch."""

    def __init__(self, values, name="val_loss"):
        self.values, self.name, self.weights = values, name, []

    def on_epoch_end(self, run):
        run.record[self.name] = self.values[run.epoch - 1]
        self.weights.append(bits(run.model))


def test_early_stopping_restores_the_best_weights(new_run, part, tmp_path):
    run, script = new_run(), Script([3.0, 2.0, 2.5, 1.0, 1.5, 1.2, 1.0, 0.5])
    early = EarlyStopping("val_loss", patience=3)
    history = quiet(run.model, part, epochs=8, batch_size=100, optimizer=run.optimizer, callbacks=[script, early], out=tmp_path)
    assert len(history) == 7 and (early.best, early.best_epoch) == (1.0, 4)
    assert bits(run.model) == script.weights[3]
    again = new_run(seed=1)
    load_checkpoint(tmp_path).restore(again.model)
    assert bits(again.model) == script.weights[3]


def test_early_stopping_of_an_accuracy_and_min_delta(new_run, part):
    run, script = new_run(), Script([0.5, 0.6, 0.61, 0.62, 0.9], "val_accuracy")
    early = EarlyStopping("val_accuracy", patience=2, min_delta=0.05, restore_best=False)
    history = quiet(run.model, part, epochs=5, batch_size=100, optimizer=run.optimizer, callbacks=[script, early])
    assert len(history) == 4 and early.best == 0.6
    assert bits(run.model) == script.weights[-1]


def test_early_stopping_goes_on_after_resumption(new_run, part, tmp_path):
    values = [2.0, 1.0, 3.0, 3.0, 3.0, 3.0]
    run, script = new_run(), Script(values)
    quiet(run.model, part, epochs=6, batch_size=100, optimizer=run.optimizer, callbacks=[script, EarlyStopping(patience=3), Callback()])

    first = new_run()
    callbacks = [Script(values), EarlyStopping(patience=3), After(7, ctrl_c)]
    with pytest.raises(Interrupted):
        quiet(first.model, part, epochs=6, batch_size=100, optimizer=first.optimizer, callbacks=callbacks, out=tmp_path)
    second = new_run(seed=2)
    callbacks = [Script(values), EarlyStopping(patience=3), After(-1, None)]
    history = quiet(second.model, part, epochs=6, batch_size=100, optimizer=second.optimizer, callbacks=callbacks, resume=tmp_path)
    assert len(history) == 5 and bits(second.model) == bits(run.model) == script.weights[1]


def test_early_stopping_can_be_used_again(new_run, part):
    early = EarlyStopping("loss", patience=1, mode="max")  # the loss falls: stops after two epochs
    for _ in range(2):
        run = new_run()
        assert len(quiet(run.model, part, epochs=5, batch_size=100, optimizer=run.optimizer, callbacks=[early])) == 2


def test_early_stopping_refusals(new_run, part):
    for arguments, words in (({"patience": 0}, "patience"), ({"mode": "up"}, "mode"), ({"min_delta": -1}, "min_delta")):
        with pytest.raises(ValueError, match=words):
            EarlyStopping(**arguments)
    run = new_run()
    with pytest.raises(ValueError, match="monitors 'val_loss', but this run measures epoch, loss, accuracy"):
        quiet(run.model, part, epochs=1, batch_size=100, optimizer=run.optimizer, callbacks=[EarlyStopping()])
