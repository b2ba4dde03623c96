"""Histories: columns, files, curves, and what a run shows."""

import functools
import io

import numpy as np
import pytest
from PIL import Image

from convkit.train import History, fit, plot_history
from convkit.train import progress as shown

from .conftest import without_times


@pytest.fixture
def history():
    return History(
        {"epoch": i, "loss": 1 / i, "accuracy": 1 - 1 / i, "val_loss": 1.5 / i, "val_accuracy": 0.9 - 0.9 / i, "lr": 0.1, "seconds": 1.5}
        for i in range(1, 8)
    )


def test_columns(history):
    assert history.column("epoch") == [1, 2, 3, 4, 5, 6, 7]
    with pytest.raises(KeyError, match="nothing is called 'los'; there are accuracy"):
        history.column("los")
    assert History().column("loss") == []


def test_round_trip(history, tmp_path):
    history.save(tmp_path / "new" / "history.json")
    assert History.load(tmp_path / "new" / "history.json") == history


@pytest.mark.parametrize("content", ["", "[1, 2]", "{}", '[{"epoch": 1'])
def test_damaged(tmp_path, content):
    (tmp_path / "history.json").write_text(content)
    with pytest.raises(ValueError, match=r"history: .*history\.json"):
        History.load(tmp_path / "history.json")


@pytest.mark.parametrize("drop", [(), ("val_loss", "val_accuracy"), ("accuracy", "val_accuracy")])
def test_curves(history, tmp_path, drop):
    records = [{k: v for k, v in record.items() if k not in drop} for record in history]
    with Image.open(plot_history(records, tmp_path / "curves.png", "a title")) as picture:
        assert picture.format == "PNG" and picture.width > 500 and np.unique(np.asarray(picture)).size > 50
    assert [path.name for path in tmp_path.iterdir()] == ["curves.png"]


def test_no_curves(tmp_path):
    with pytest.raises(ValueError, match="history is empty"):
        plot_history([], tmp_path / "curves.png")


def test_lines(new_run, part, capsys):
    run = new_run()
    history = fit(run.model, part, epochs=2, batch_size=100, optimizer=run.optimizer, validation=part)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 and lines[1] == shown.line(history[1], 2)
    assert lines[1].startswith("epoch 2/2  loss ") and " val_accuracy " in lines[1] and " images/s " in lines[1]


def test_quiet(new_run, part, capsys):
    run = new_run()
    fit(run.model, part, epochs=1, batch_size=100, optimizer=run.optimizer, progress=False)
    assert capsys.readouterr() == ("", "")


def test_bar(new_run, part, monkeypatch):
    from rich.console import Console

    screen = io.StringIO()
    monkeypatch.setattr(shown, "Bar", functools.partial(shown.Bar, Console(file=screen, force_terminal=True, width=150)))
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    run = new_run()
    history = fit(run.model, part, epochs=2, batch_size=50, optimizer=run.optimizer)
    plain = new_run()
    assert without_times(history) == without_times(fit(plain.model, part, epochs=2, batch_size=50, optimizer=plain.optimizer, progress=False))
    text = screen.getvalue()
    assert shown.line(history[0], 2) in text and shown.line(history[1], 2) in text and "8/8" in text and "left" in text


def test_bar_is_closed_after_an_error(new_run, part, monkeypatch):
    from rich.console import Console

    bar = shown.Bar(Console(file=io.StringIO(), force_terminal=True))
    monkeypatch.setattr("convkit.train.loop.reporter", lambda progress: bar)
    run = new_run()
    with pytest.raises(ZeroDivisionError):
        fit(run.model, part, epochs=1, batch_size=50, optimizer=run.optimizer, metrics={"broken": lambda y, t: 1 / 0})
    assert not bar.bar.live.is_started


def test_without_rich(monkeypatch):
    def missing():
        raise ImportError("no rich")

    monkeypatch.setattr(shown, "Bar", missing)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    assert isinstance(shown.reporter(True), shown.Lines)
