"""`History`: what a run measured, epoch by epoch."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from ..files import write_whole


class History(list[dict[str, Any]]):
    """A list with one dictionary for each epoch.

    `fit` fills in: epoch (from 1), loss and accuracy of the training batches (each measured just before its own step, so
    somewhat below what the epoch ends with), val_loss and val_accuracy where there is a validation set, lr (the learning rate of
    the epoch's last batch), seconds (validation included), images_per_second (of training alone, without the seconds that
    kernels took to compile).

    >>> history = History([{"epoch": 1, "loss": 0.5}, {"epoch": 2, "loss": 0.25}])
    >>> history.column("loss")
    [0.5, 0.25]
    """

    def column(self, name: str) -> list[Any]:
        """One quantity over the epochs; KeyError naming what there is for an unknown one."""
        known = {key for record in self for key in record}
        if self and name not in known:
            raise KeyError(f"history: nothing is called {name!r}; there are {', '.join(sorted(known))}")
        return [record.get(name) for record in self]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes a JSON file: a list of objects."""
        write_whole(Path(path), (json.dumps(list(self), indent=1) + "\n").encode())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> History:
        """Reads what `save` wrote; ValueError for a file with other contents."""
        try:
            records = json.loads(Path(path).read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"history: {path} is not a JSON file ({error})") from error
        if not isinstance(records, list) or not all(isinstance(record, dict) for record in records):
            raise ValueError(f"history: {path} should hold a list with one object for each epoch")
        return cls(records)
