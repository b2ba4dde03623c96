"""Checkpoints: what is in them, and that no accident damages an earlier one."""

import errno
import json
import os
import shutil

import numpy as np
import pytest
from safetensors.numpy import load_file

import convkit
from convkit import files, nn, optim
from convkit.data import DataLoader
from convkit.nn import functional as F
from convkit.train import load_checkpoint, save_checkpoint

from .conftest import bits, read_json, small_net

FILES = ["checkpoint.json", "model.safetensors", "optimizer.safetensors"]


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def trained(new_run, part):
    """A net after some steps."""
    run = new_run()
    for images, labels in DataLoader(part, batch_size=50):
        run.optimizer.zero_grad()
        F.cross_entropy(run.model(images), labels).backward()
        run.optimizer.step()
    return run


def test_round_trip(trained, tmp_path):
    schedule = optim.lr_scheduler.SequentialLR(
        trained.optimizer,
        [optim.lr_scheduler.LinearLR(trained.optimizer, total_iters=3), optim.lr_scheduler.CosineAnnealingLR(trained.optimizer, 5)],
        [3],
    )
    for _ in range(4):
        schedule.step()
    about = {"text": "ü", "numbers": [1, 2.5, None, True], "nested": {"a": {"b": []}}}
    convkit.manual_seed(2**64 - 1)
    convkit.rand(1)
    path = save_checkpoint(tmp_path / "a", trained.model, trained.optimizer, schedule, epoch=3, batch=7, about=about)
    assert names(path) == FILES

    convkit.manual_seed(5)
    model = small_net()
    optimizer = optim.Adam(model.parameters(), lr=7.0)
    other = optim.lr_scheduler.SequentialLR(
        optimizer, [optim.lr_scheduler.LinearLR(optimizer, total_iters=3), optim.lr_scheduler.CosineAnnealingLR(optimizer, 5)], [3]
    )
    saved = load_checkpoint(path)
    saved.restore(model, optimizer, other)
    assert (saved.epoch, saved.batch, saved.about, saved.model) == (3, 7, about, "Sequential")
    assert saved.versions["convkit"] == convkit.__version__ and saved.versions["numpy"] == np.__version__
    assert bits(model) == bits(trained.model)
    assert convkit.random.default_generator.get_state() == {"seed": 2**64 - 1, "offset": 1}
    a, b = trained.optimizer.state_dict(), optimizer.state_dict()
    assert a["param_groups"] == b["param_groups"]
    for number, kept in a["state"].items():
        assert kept["step"] == b["state"][number]["step"] == 4
        for key in ("exp_avg", "exp_avg_sq"):
            assert kept[key].array.tobytes() == b["state"][number][key].array.tobytes()
    schedule.step(), other.step()
    assert schedule.get_last_lr() == other.get_last_lr()


def test_files_are_what_they_say(trained, tmp_path):
    path = save_checkpoint(tmp_path / "a", trained.model, trained.optimizer)
    weights = load_file(path / "model.safetensors")
    assert {name: array.tobytes() for name, array in weights.items()} == bits(trained.model)
    assert weights["1.num_batches_tracked"].shape == () and weights["1.num_batches_tracked"].dtype == np.int64
    assert "0/exp_avg" in load_file(path / "optimizer.safetensors")
    assert read_json(path / "checkpoint.json")["format"] == "convkit checkpoint"
    assert not any(b"pickle" in (path / name).read_bytes() for name in FILES)


def test_memory_order_does_not_matter(tmp_path):
    model = nn.Linear(3, 2)
    model.weight.array = np.asfortranarray(model.weight.array)
    expected = model.weight.array.copy()
    assert np.array_equal(load_checkpoint(save_checkpoint(tmp_path / "a", model)).weights["weight"], expected)


def test_found_from_every_side(trained, tmp_path):
    path = save_checkpoint(tmp_path / "run" / "checkpoint", trained.model, epoch=2)
    for place in (path, tmp_path / "run", path / "checkpoint.json", path / "model.safetensors", str(path)):
        assert load_checkpoint(place).epoch == 2


def test_relative_path(trained, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert load_checkpoint(save_checkpoint("a", trained.model, epoch=1)).epoch == 1
    assert names(tmp_path) == ["a"]


# --------------------------------------------------------------------------------- other models
def test_another_model(trained, tmp_path):
    path = save_checkpoint(tmp_path / "a", trained.model, trained.optimizer)
    wider = nn.Sequential(nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Dropout(0.3), nn.Linear(72, 10))
    before = bits(wider)
    with pytest.raises(RuntimeError) as error:
        load_checkpoint(path).restore(wider)
    assert "0.weight: shape [4, 1, 3, 3] in the state, [8, 1, 3, 3] in the module" in str(error.value) and str(path) in str(error.value)
    assert bits(wider) == before
    with pytest.raises(RuntimeError, match="unexpected: 0.bias, 0.weight"):
        load_checkpoint(path).restore(nn.Linear(2, 2))
    with pytest.raises(ValueError, match="with optimizer Adam, this run has SGD"):
        load_checkpoint(path).restore(trained.model, optim.SGD(trained.model.parameters(), lr=1))


# ----------------------------------------------------------------------------------- damaged files
def test_missing(tmp_path):
    with pytest.raises(FileNotFoundError, match="does not exist; give the folder"):
        load_checkpoint(tmp_path / "none")
    with pytest.raises(FileNotFoundError, match="has no checkpoint.json"):
        load_checkpoint(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(FileNotFoundError, match="is not a folder"):
        load_checkpoint(tmp_path / "file")


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("left", [0.0, 0.02, 0.5, 0.99])
def test_truncated(trained, tmp_path, name, left):
    path = save_checkpoint(tmp_path / "a", trained.model, trained.optimizer)
    content = (path / name).read_bytes()
    (path / name).write_bytes(content[: int(left * len(content))])
    with pytest.raises(ValueError, match=f"{name} is damaged"):
        load_checkpoint(path)


def test_a_file_is_missing(trained, tmp_path):
    for name in FILES[1:]:
        path = save_checkpoint(tmp_path / "a", trained.model, trained.optimizer)
        (path / name).unlink()
        with pytest.raises((FileNotFoundError, ValueError), match=name.replace("optimizer.safetensors", "checkpoint.json is damaged")):
            load_checkpoint(path)
        shutil.rmtree(path)


@pytest.mark.parametrize(
    "change, words",
    [
        ({"format": "something"}, "is not a checkpoint of convkit"),
        ({"version": 99}, "format version 99"),
        ({"surprise": 1}, "is damaged"),
        ({"optimizer": {"class": "Adam", "state": {"__array__": "nothing"}}}, "is damaged"),
    ],
)
def test_other_contents(trained, tmp_path, change, words):
    path = save_checkpoint(tmp_path / "a", trained.model, trained.optimizer)
    (path / "checkpoint.json").write_text(json.dumps({**read_json(path / "checkpoint.json"), **change}))
    with pytest.raises(ValueError, match=words):
        load_checkpoint(path)


# ------------------------------------------------------------------------------- accidents in saving
class Accident:
    """Replaces a function by one that fails at its n-th call."""

    def __init__(self, monkeypatch, owner, name, call, error):
        self.left, self.error, self.real = call, error, getattr(owner, name)
        monkeypatch.setattr(owner, name, self)

    def __call__(self, *args, **kwargs):
        self.left -= 1
        if self.left == 0:
            raise self.error
        return self.real(*args, **kwargs)


FULL = OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("error", [FULL, KeyboardInterrupt()], ids=["full disk", "ctrl-c"])
@pytest.mark.parametrize("owner, name, call", [(os, "fsync", 1), (os, "fsync", 3), (os, "replace", 1), (os, "replace", 2), (files, "open", 2)])
def test_an_accident_leaves_the_earlier_checkpoint(trained, tmp_path, monkeypatch, error, owner, name, call):
    path = save_checkpoint(tmp_path / "a", trained.model, trained.optimizer, epoch=1)
    before = {name: (path / name).read_bytes() for name in FILES}
    if owner is files:
        monkeypatch.setattr(files, "open", open, raising=False)
    accident = Accident(monkeypatch, owner, name, call, error)
    with pytest.raises(type(error)) as raised:
        save_checkpoint(path, trained.model, trained.optimizer, epoch=2)
    assert accident.left <= 0
    if isinstance(error, OSError):
        assert raised.value.errno == errno.ENOSPC
        assert raised.value.strerror == f"could not write {path}: No space left on device; what was there before is unharmed"
    assert names(tmp_path) == ["a"] and {name: (path / name).read_bytes() for name in FILES} == before
    monkeypatch.undo()
    save_checkpoint(path, trained.model, trained.optimizer, epoch=2)
    assert load_checkpoint(path).epoch == 2 and names(tmp_path) == ["a"]


def test_a_first_checkpoint_that_fails_leaves_nothing(trained, tmp_path, monkeypatch):
    Accident(monkeypatch, os, "fsync", 2, FULL)
    with pytest.raises(OSError, match="could not write .*: No space left on device$"):
        save_checkpoint(tmp_path / "a", trained.model)
    assert names(tmp_path) == []


def test_death_between_the_two_renames(trained, tmp_path):
    # What kill -9 leaves there: the old folder under its other name, the new one under its temporary name.
    path = save_checkpoint(tmp_path / "a", trained.model, epoch=1)
    shutil.copytree(path, tmp_path / ".a.part")
    os.replace(path, tmp_path / "a.previous")
    assert load_checkpoint(path).epoch == 1
    save_checkpoint(path, trained.model, epoch=2)
    assert load_checkpoint(path).epoch == 2 and names(tmp_path) == ["a"]


@pytest.mark.skipif(os.name == "nt", reason="Windows sets no limit on file sizes")
def test_real_limit_on_file_size(python, tmp_path):
    done = python(
        f"""
import resource
from convkit import nn
from convkit.train import load_checkpoint, save_checkpoint
path = save_checkpoint({str(tmp_path / "a")!r}, nn.Linear(10, 10), epoch=1)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    save_checkpoint(path, nn.Linear(1000, 1000), epoch=2)
except OSError as error:
    print(error.strerror)
print(load_checkpoint(path).epoch)
"""
    )
    assert done.stdout.splitlines() == [f"could not write {tmp_path / 'a'}: File too large; what was there before is unharmed", "1"]
    assert names(tmp_path) == ["a"]


@pytest.mark.skipif(os.geteuid() == 0 if hasattr(os, "geteuid") else True, reason="root may write anywhere")
def test_folder_without_permission(trained, tmp_path):
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(PermissionError, match="could not write"):
            save_checkpoint(tmp_path / "a", trained.model)
    finally:
        tmp_path.chmod(0o700)


def test_never_deletes_other_files(trained, tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(ValueError, match="holds other things \\(thesis.tex\\)"):
        save_checkpoint(tmp_path, trained.model)
    with pytest.raises(NotADirectoryError, match="is a file"):
        save_checkpoint(tmp_path / "thesis.tex", trained.model)
    assert names(tmp_path) == ["thesis.tex"]


def test_states_that_cannot_be_saved(trained, tmp_path):
    with pytest.raises(TypeError, match="about/what is a function; only numbers, texts and arrays"):
        save_checkpoint(tmp_path / "a", trained.model, about={"what": lambda: 1})
    with pytest.raises(TypeError, match="no attribute is called epok"):
        save_checkpoint(tmp_path / "a", trained.model, epok=3)
    assert names(tmp_path) == []
