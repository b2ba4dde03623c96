"""What `fit` shows: a bar on a terminal, a line for each epoch elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from .callbacks import Callback, Run


def line(record: Mapping[str, Any], epochs: int) -> str:
    """An epoch's entry in the history, as one line of text.

    >>> line({"epoch": 3, "loss": 0.5, "accuracy": 0.9, "lr": 0.01, "seconds": 2.5, "images_per_second": 1000.4}, 12)
    'epoch  3/12  loss 0.5000  accuracy 0.9000  1000 images/s  lr 0.01  2.5 s'
    """
    parts = [f"epoch {record['epoch']:>{len(str(epochs))}}/{epochs}"]
    parts += [f"{name} {value:.4f}" for name, value in record.items() if name not in ("epoch", "lr", "seconds", "images_per_second")]
    parts += [f"{record['images_per_second']:.0f} images/s", f"lr {record['lr']:.3g}", f"{record['seconds']:.1f} s"]
    return "  ".join(parts)


class Reporter(Callback):
    """Shows nothing."""

    def close(self) -> None:
        """Called at the end, also after an error."""


class Lines(Reporter):
    """Prints a line after each epoch."""

    def on_epoch_end(self, run: Run) -> None:
        print(line(run.record, run.epochs), flush=True)


class Bar(Reporter):
    """A bar over the whole run, with the rate and the time left, and a line above it after each epoch."""

    def __init__(self, console: Any = None) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(), TextColumn("left"),
        )  # fmt: skip
        self.bar = Progress(*columns, console=console or Console(), transient=True, refresh_per_second=4)

    def on_fit_start(self, run: Run) -> None:
        done = len(run.history) * run.batches + run.batch
        self.task = self.bar.add_task("loading kernels", total=run.epochs * run.batches, completed=done, rate="")
        self.bar.start()

    def on_batch_end(self, run: Run) -> None:
        task = self.bar.tasks[0]
        rate = f"{task.speed * run.loader.batch_size:.0f} images/s" if task.speed else ""
        shown = f"epoch {run.epoch}/{run.epochs}  loss {run.record['loss']:.4f}"
        self.bar.update(self.task, advance=1, description=shown, rate=rate)

    def on_epoch_end(self, run: Run) -> None:
        self.bar.console.print(line(run.record, run.epochs), highlight=False, soft_wrap=True)

    def close(self) -> None:
        self.bar.stop()


def reporter(progress: bool) -> Reporter:
    """What suits the place where the program runs."""
    if not progress:
        return Reporter()
    if sys.stdout.isatty():
        try:
            return Bar()
        except ImportError:  # no rich
            pass
    return Lines()
