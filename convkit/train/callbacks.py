"""What watches a run: `Callback`, and `EarlyStopping`, which ends it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ..data import DataLoader
from ..nn import Module
from ..optim import Optimizer
from .history import History


@dataclass
class Run:
    """A run of `fit`, as callbacks see it.

    Attributes:
        model, optimizer, scheduler, loader: what it works with.
        epochs: how many there will be, and
        epoch: which one is running, from 1.
        batch: batches done in it, of
        batches: so many.
        record: of this epoch so far; the epoch's entry in `history` once it has ended.
        history: of the epochs done.
        stop: set it to end the run after this epoch.
    """

    model: Module
    optimizer: Optimizer
    scheduler: Any
    loader: DataLoader
    epochs: int
    batches: int
    epoch: int = 0
    batch: int = 0
    record: dict[str, Any] = field(default_factory=dict)
    history: History = field(default_factory=History)
    stop: bool = False


class Callback:
    """Derive from it and write the methods that you need; each gets the `Run`.

    What a callback must remember for a resumed run to go on bit for bit, it gives from `state_dict` (numbers, texts, arrays) and
    takes back in `load_state_dict`.

    >>> class Losses(Callback):
    ...     def on_fit_start(self, run):
    ...         self.seen = []
    ...     def on_batch_end(self, run):
    ...         self.seen.append(run.record["loss"])
    """

    def on_fit_start(self, run: Run) -> None:
        """Before the first batch, also of a resumed run."""

    def on_epoch_start(self, run: Run) -> None:
        """Before an epoch's first batch, or the first one of a resumed epoch."""

    def on_batch_end(self, run: Run) -> None:
        """After the step of each batch."""

    def on_epoch_end(self, run: Run) -> None:
        """After validation, before the epoch's checkpoint."""

    def on_fit_end(self, run: Run) -> None:
        """After the last epoch; not after an error or Ctrl-C."""

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps: nothing."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a `state_dict()`."""


class EarlyStopping(Callback):
    """Ends a run when a quantity has not become better for `patience` epochs.

    Args:
        monitor: the quantity's name in the history.
        patience: epochs without a new best value that end the run, 1 or more.
        mode: "min" if small is good, "max" if large is; by default "max" for accuracies and "min" for all else.
        min_delta: a value is better only if it is so by more than this.
        restore_best: give the model the weights of the best epoch when the run ends, early or not.

    Raises:
        ValueError: numbers outside these ranges; in the run, a quantity that it does not measure.
    """

    def __init__(
        self, monitor: str = "val_loss", patience: int = 5, mode: str | None = None, min_delta: float = 0.0, restore_best: bool = True
    ) -> None:
        mode = mode or ("max" if monitor.endswith("accuracy") else "min")
        if mode not in ("min", "max"):
            raise ValueError(f"EarlyStopping: mode must be 'min' or 'max', got {mode!r}")
        if patience < 1 or not min_delta >= 0:
            raise ValueError(f"EarlyStopping: needs patience >= 1 and min_delta >= 0, got {patience} and {min_delta}")
        self.monitor, self.patience, self.mode, self.min_delta, self.restore_best = monitor, patience, mode, min_delta, restore_best
        self._forget()

    def _forget(self) -> None:
        self.best: float | None = None
        self.best_epoch = 0
        self._weights: dict[str, Any] | None = None

    def on_fit_start(self, run: Run) -> None:
        if not run.history:  # not a resumed run
            self._forget()

    def on_epoch_end(self, run: Run) -> None:
        if self.monitor not in run.record:
            raise ValueError(f"EarlyStopping: monitors {self.monitor!r}, but this run measures {', '.join(run.record)}")
        value = run.record[self.monitor]
        gain = 0.0 if self.best is None else self.best - value if self.mode == "min" else value - self.best
        if self.best is None or gain > self.min_delta:
            self.best, self.best_epoch = value, run.epoch
            if self.restore_best:
                self._weights = {name: tensor.array.copy(order="K") for name, tensor in run.model.state_dict().items()}
        elif run.epoch - self.best_epoch >= self.patience:
            run.stop = True

    def on_fit_end(self, run: Run) -> None:
        if self._weights is not None:
            run.model.load_state_dict(self._weights)

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best, "best_epoch": self.best_epoch, "weights": self._weights}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.best, self.best_epoch, self._weights = state["best"], state["best_epoch"], state["weights"]
