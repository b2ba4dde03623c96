"""`fit` and `evaluate`: what they measure, schedules, resumption bit for bit, Ctrl-C, and what they refuse."""

import functools
import math
import signal
import threading

import numpy as np
import pytest

import convkit
from convkit import nn, optim
from convkit.data import ArrayDataset, DataLoader, Subset, digits
from convkit.nn import functional as F
from convkit.train import Callback, EarlyStopping, History, Interrupted, accuracy, evaluate, fit, load_checkpoint

from .conftest import bits, read_json, small_net, without_times

quiet = functools.partial(fit, progress=False)


class After(Callback):
    """Calls a function after a given batch (counted over the whole run)."""

    def __init__(self, batch, action):
        self.left, self.action = batch, action

    def on_batch_end(self, run):
        self.left -= 1
        if self.left == 0:
            self.action()


def ctrl_c():
    signal.raise_signal(signal.SIGINT)


@pytest.fixture(autouse=True)
def python_handles_sigint():
    """Also where the tests run in the background, with SIGINT ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    signal.signal(signal.SIGINT, before)


# ------------------------------------------------------------------------------------- learning
def test_learns_and_measures(new_run, part, other_part):
    run = new_run()
    history = quiet(run.model, part, epochs=4, batch_size=32, optimizer=run.optimizer, validation=other_part)
    assert isinstance(history, History) and history.column("epoch") == [1, 2, 3, 4]
    assert list(history[0]) == ["epoch", "loss", "accuracy", "val_loss", "val_accuracy", "lr", "seconds", "images_per_second"]
    assert history[-1]["loss"] < history[0]["loss"] and history[-1]["accuracy"] > 0.6
    found = evaluate(run.model, other_part, batch_size=32)  # validation has the batches of training
    assert found == (history[-1]["val_loss"], history[-1]["val_accuracy"])
    loss, right = found
    assert (found.loss, found.accuracy) == (loss, right)


def test_measures_every_item_once_with_its_weight():
    # 5 items in batches of 2: the last batch counts half.
    x, y = np.arange(5, dtype=np.float32).reshape(5, 1), np.zeros((5, 1), np.float32)
    model = nn.Linear(1, 1, bias=False)
    model.load_state_dict({"weight": np.ones((1, 1))})
    assert evaluate(model, (x, y), 2, loss=F.mse_loss).loss == np.mean(x**2)
    history = quiet(
        model, DataLoader(ArrayDataset(x, y), batch_size=2), epochs=1, optimizer=optim.SGD(model.parameters(), lr=0), loss=F.mse_loss,
        metrics={"away": lambda outputs, targets: (outputs - targets).abs().mean().item()},
    )  # fmt: skip
    assert (history[0]["loss"], history[0]["away"]) == (np.mean(x**2), 2.0) and "accuracy" not in history[0]


def test_same_as_a_loop_by_hand(new_run, part):
    a, b = new_run(), new_run()
    state = convkit.random.default_generator.get_state()
    quiet(a.model, part, epochs=2, batch_size=64, optimizer=a.optimizer, seed=7)
    convkit.random.default_generator.set_state(state)
    loader = DataLoader(part, batch_size=64, shuffle=True, seed=7)
    for _ in range(2):
        for images, labels in loader:
            b.optimizer.zero_grad()
            F.cross_entropy(b.model(images), labels).backward()
            b.optimizer.step()
    assert bits(a.model) == bits(b.model)


def test_modes_are_restored(new_run, part):
    run = new_run()
    run.model[1].eval()  # frozen statistics stay frozen
    before = run.model[1].running_mean.array.copy()
    quiet(run.model, part, epochs=1, batch_size=100, optimizer=run.optimizer, validation=part)
    assert [m.training for m in run.model] == [True, False, True, True, True, True, True]
    assert np.array_equal(run.model[1].running_mean.array, before)
    run.model.eval()
    seen = []
    note = Callback()
    note.on_batch_end = lambda run: seen.append(run.model[5].training)
    quiet(run.model, part, epochs=1, batch_size=100, optimizer=run.optimizer, callbacks=[note])
    assert seen == [True, True] and not run.model.training and not run.model[5].training


def test_accuracy_of_pixels_too():
    scores = np.zeros((2, 3, 2, 2), np.float32)
    scores[:, 1] = 1
    targets = np.array([[[1, 1], [1, 0]], [[2, 1], [1, 1]]])
    assert accuracy(convkit.from_numpy(scores), convkit.from_numpy(targets)) == 6 / 8


def test_batch_larger_than_the_data(new_run, part):
    run = new_run()
    history = quiet(run.model, part, epochs=1, batch_size=5000, optimizer=run.optimizer)
    assert len(history) == 1


# ------------------------------------------------------------------------------------- schedules
@pytest.mark.parametrize("each, steps", [(None, 3), ("epoch", 3), ("batch", 12)])
def test_schedule_each(new_run, part, each, steps):
    run = new_run(lr=1.0)
    schedule = optim.lr_scheduler.LambdaLR(run.optimizer, lambda step: 0.001 / (1 + step))
    history = quiet(run.model, part, epochs=3, batch_size=50, optimizer=run.optimizer, scheduler=schedule, schedule_each=each)
    assert schedule.last_epoch == steps
    last = [0.001 / (1 + step) for step in ([3, 7, 11] if each == "batch" else [0, 1, 2])]
    assert history.column("lr") == pytest.approx(last)


def test_one_cycle_goes_batch_by_batch(new_run, part):
    run = new_run()
    schedule = optim.lr_scheduler.OneCycleLR(run.optimizer, 0.01, epochs=2, steps_per_epoch=4)
    quiet(run.model, part, epochs=2, batch_size=50, optimizer=run.optimizer, scheduler=schedule)
    assert schedule.last_epoch == 8


@pytest.mark.parametrize("validated", [True, False])
def test_a_plateau_is_told_the_loss(new_run, part, other_part, validated, tmp_path):
    """The rate falls each epoch, whatever the loss; and a resumed run goes on with what the schedule remembers."""

    def plateau(run):
        return optim.lr_scheduler.ReduceLROnPlateau(run.optimizer, factor=0.5, patience=0, threshold=0.99)

    options = {"batch_size": 50, "validation": other_part if validated else None}
    run = new_run()
    schedule = plateau(run)
    history = quiet(run.model, part, epochs=3, optimizer=run.optimizer, scheduler=schedule, **options)
    assert history.column("lr") == [0.01, 0.01, 0.005]
    assert schedule.best == history[0]["val_loss" if validated else "loss"] and schedule.last_epoch == 3
    first, second = new_run(), new_run()
    quiet(first.model, part, epochs=2, optimizer=first.optimizer, scheduler=plateau(first), out=tmp_path, **options)
    resumed = plateau(second)
    quiet(second.model, part, epochs=3, optimizer=second.optimizer, scheduler=resumed, resume=tmp_path, **options)
    assert bits(second.model) == bits(run.model) and resumed.state_dict() == schedule.state_dict()
    with pytest.raises(ValueError, match="fit: ReduceLROnPlateau steps once an epoch"):
        quiet(run.model, part, epochs=1, optimizer=run.optimizer, scheduler=schedule, schedule_each="batch")


# ------------------------------------------------------------------------------------ resumption
def scheduled(run, epochs=4):
    return optim.lr_scheduler.OneCycleLR(run.optimizer, 0.01, epochs=epochs, steps_per_epoch=4)


@pytest.mark.parametrize("stop", [1, 4, 6, 8, 15])  # mid-epoch, at the end of an epoch, ...
def test_ctrl_c_and_resume_give_the_same_bits(new_run, part, other_part, tmp_path, stop):
    options = {"epochs": 4, "batch_size": 50, "validation": other_part, "out": tmp_path / "run"}
    whole = new_run()
    expected = quiet(whole.model, part, optimizer=whole.optimizer, scheduler=scheduled(whole), **{**options, "out": None})

    first = new_run()
    with pytest.raises(Interrupted) as stopped:
        quiet(first.model, part, optimizer=first.optimizer, scheduler=scheduled(first), callbacks=[After(stop, ctrl_c)], **options)
    saved = stopped.value.checkpoint
    assert saved == tmp_path / "run" / "checkpoint" and str(saved) in str(stopped.value)
    checkpoint = load_checkpoint(saved)
    assert (checkpoint.epoch, checkpoint.batch) == ((stop - 1) // 4, (stop - 1) % 4 + 1)  # validation is still to come after batch 4

    convkit.rand(3)  # the generator goes elsewhere meanwhile
    second = new_run(seed=99)
    watching = [After(-1, None)]  # a run resumes with the callbacks that it had
    resumed = quiet(second.model, part, optimizer=second.optimizer, scheduler=scheduled(second), callbacks=watching, resume=saved, **options)
    assert bits(second.model) == bits(whole.model)
    assert without_times(resumed) == without_times(expected)
    assert read_json(tmp_path / "run" / "history.json") == list(resumed)


def test_resume_with_other_threads(new_run, part, tmp_path):
    whole = new_run()
    quiet(whole.model, part, epochs=3, batch_size=64, optimizer=whole.optimizer)
    first = new_run()
    quiet(first.model, part, epochs=1, batch_size=64, optimizer=first.optimizer, out=tmp_path)
    second = new_run(seed=5)
    threads = convkit.get_num_threads()
    try:
        convkit.set_num_threads(1)
        quiet(second.model, part, epochs=3, batch_size=64, optimizer=second.optimizer, resume=tmp_path)
    finally:
        convkit.set_num_threads(threads)
    assert bits(second.model) == bits(whole.model)


def test_ctrl_c_in_validation(new_run, part, other_part, tmp_path):
    class Slow(ArrayDataset):
        def get_batch(self, indices):
            if threading.current_thread() is threading.main_thread() and self.left > 0:
                self.left -= 1
                if not self.left:
                    ctrl_c()
            return super().get_batch(indices)

    images, labels = other_part.get_batch(range(100))
    slow = Slow(images, labels)
    validation = DataLoader(slow, batch_size=20, prefetch=0)
    whole = new_run()
    slow.left = 0
    quiet(whole.model, part, epochs=2, batch_size=50, optimizer=whole.optimizer, validation=validation)
    first = new_run()
    slow.left = 2
    with pytest.raises(Interrupted, match=r"stopped in epoch 1 after batch 4 of 4; saved in"):
        quiet(first.model, part, epochs=2, batch_size=50, optimizer=first.optimizer, validation=validation, out=tmp_path)
    second = new_run(seed=3)
    history = quiet(second.model, part, epochs=2, batch_size=50, optimizer=second.optimizer, validation=validation, resume=tmp_path)
    assert bits(second.model) == bits(whole.model) and len(history) == 2


def test_ctrl_c_without_out(new_run, part):
    run = new_run()
    with pytest.raises(Interrupted, match="nothing was saved") as stopped:
        quiet(run.model, part, epochs=2, batch_size=50, optimizer=run.optimizer, callbacks=[After(3, ctrl_c)])
    assert stopped.value.checkpoint is None and isinstance(stopped.value, KeyboardInterrupt)


def test_second_ctrl_c_does_not_wait(new_run, part, tmp_path):
    run = new_run()

    def twice():
        ctrl_c()
        ctrl_c()

    with pytest.raises(KeyboardInterrupt) as stopped:
        quiet(run.model, part, epochs=2, batch_size=50, optimizer=run.optimizer, callbacks=[After(3, twice)], out=tmp_path)
    assert not isinstance(stopped.value, Interrupted) and not (tmp_path / "checkpoint").exists()


def test_another_program_s_handler_stays(new_run, part):
    seen = []
    before = signal.signal(signal.SIGINT, lambda *_: seen.append(1))
    try:
        run = new_run()
        history = quiet(run.model, part, epochs=2, batch_size=50, optimizer=run.optimizer, callbacks=[After(3, ctrl_c)])
    finally:
        signal.signal(signal.SIGINT, before)
    assert seen == [1] and len(history) == 2


def test_in_another_thread(new_run, part):
    run, result = new_run(), []
    thread = threading.Thread(target=lambda: result.append(quiet(run.model, part, epochs=1, batch_size=50, optimizer=run.optimizer)))
    thread.start()
    thread.join()
    assert len(result[0]) == 1


def test_resuming_a_finished_run_does_nothing(new_run, part, tmp_path):
    run = new_run()
    history = quiet(run.model, part, epochs=2, batch_size=64, optimizer=run.optimizer, out=tmp_path)
    again = new_run(seed=1)
    assert quiet(again.model, part, epochs=2, batch_size=64, optimizer=again.optimizer, resume=tmp_path) == history
    assert bits(again.model) == bits(run.model)


@pytest.mark.parametrize(
    "change, words",
    [
        ({"batch_size": 32}, "batch_size 64 there, 32 here"),
        ({"seed": 4}, "seed 0 there, 4 here"),
        ({"callbacks": [EarlyStopping("loss")]}, "saved with 0 callbacks, this run has 1"),
    ],
)
def test_resuming_another_run(new_run, part, tmp_path, change, words):
    run = new_run()
    quiet(run.model, part, epochs=1, batch_size=64, optimizer=run.optimizer, out=tmp_path)
    with pytest.raises(ValueError, match=words):
        quiet(run.model, part, **{"epochs": 2, "batch_size": 64, "optimizer": run.optimizer, "resume": tmp_path, **change})
    with pytest.raises(ValueError, match="items 200 there, 100 here"):
        quiet(run.model, Subset(part, range(100)), epochs=2, batch_size=64, optimizer=run.optimizer, resume=tmp_path)
    with pytest.raises(ValueError, match="saved with optimizer Adam, this run has SGD"):
        quiet(run.model, part, epochs=2, batch_size=64, optimizer=optim.SGD(run.model.parameters(), lr=0.1), resume=tmp_path)
    with pytest.raises(ValueError, match="saved with scheduler none, this run has OneCycleLR"):
        quiet(run.model, part, epochs=2, batch_size=64, optimizer=run.optimizer, scheduler=scheduled(run), resume=tmp_path)


# ---------------------------------------------------------------------------------- what is refused
def test_nan_in_the_images(new_run, part, tmp_path):
    images, labels = part.get_batch(range(200))
    run = new_run()
    quiet(run.model, (images, labels), epochs=1, batch_size=50, optimizer=run.optimizer, out=tmp_path)
    good = bits(run.model)
    images[7, 0, 3, 3] = np.nan
    again = new_run()
    with pytest.raises(RuntimeError, match=r"loss became nan \(epoch 2, batch \d of 4, learning rate 0.01\); the images of this batch hold nan"):
        quiet(again.model, (images, labels), epochs=3, batch_size=50, optimizer=again.optimizer, out=tmp_path, resume=tmp_path)
    load_checkpoint(tmp_path).restore(run.model)
    assert bits(run.model) == good  # the last good checkpoint


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_loss_that_is_not_finite(new_run, part, bad):
    run = new_run()
    before = bits(run.model)
    with pytest.raises(RuntimeError, match=rf"loss became {bad} \(epoch 1, batch 1 of 4, .*a lower learning rate"):
        quiet(run.model, part, epochs=1, batch_size=50, optimizer=run.optimizer, loss=lambda y, t: F.cross_entropy(y, t) * bad)
    assert {k: v for k, v in bits(run.model).items() if "weight" in k} == {k: v for k, v in before.items() if "weight" in k}


def test_weights_that_are_not_finite_are_not_saved(part, tmp_path):
    convkit.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    optimizer = optim.SGD(model.parameters(), lr=3e38)  # the one step of the epoch overflows
    with pytest.raises(RuntimeError, match=r"1\.weight became nan or infinite in epoch 1 \(learning rate 3e\+38\)"):
        quiet(model, part, epochs=1, batch_size=200, optimizer=optimizer, loss=lambda y, t: F.cross_entropy(y * 100.0, t), out=tmp_path)
    assert not (tmp_path / "checkpoint").exists()


def test_labels_out_of_range(new_run, part):
    images, labels = part.get_batch(range(200))
    labels[3] = 10
    run = new_run()
    with pytest.raises(IndexError, match="targets must be classes 0 to 9"):
        quiet(run.model, (images, labels), epochs=1, batch_size=50, optimizer=run.optimizer)


@pytest.mark.parametrize(
    "change, words",
    [
        ({"epochs": 0}, "epochs must be 1 or larger, got 0"),
        ({"train_data": Subset(digits(), [])}, "the training data is empty"),
        ({"train_data": DataLoader(Subset(digits(), range(5)), batch_size=10, drop_last=True)}, "5 items are less than batch_size 10"),
        ({"validation": Subset(digits(), [])}, "the validation data is empty"),
        ({"schedule_each": "step"}, "schedule_each must be"),
        ({"optimizer": optim.SGD(nn.Linear(1, 1).parameters(), lr=0.1)}, "none of this model's parameters"),
        ({"train_data": (np.zeros((4, 1, 8, 8), np.float32),)}, "no targets"),
        ({"batch_size": 0}, "batch_size must be 1 or larger"),
    ],
)
def test_refusals(part, change, words):
    model = small_net()
    arguments = {"train_data": part, "epochs": 1, "optimizer": optim.SGD(model.parameters(), lr=0.1), **change}
    with pytest.raises(ValueError, match=words):
        quiet(model, **arguments)


def test_no_data_to_evaluate():
    with pytest.raises(ValueError, match="evaluation data is empty"):
        evaluate(small_net(), Subset(digits(), []))
