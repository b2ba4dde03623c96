"""`plot_history`: the curves of a run as a picture."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..files import write_whole

TRAINING, VALIDATION = "#1f6fb4", "#e07b1a"  # blue and orange: told apart with any colour vision


def plot_history(history: Sequence[Mapping[str, Any]], path: str | os.PathLike[str], title: str = "") -> Path:
    """Draws loss and accuracy over the epochs, of training and validation, into a PNG file; gives its path.

    Without an accuracy in the history there is one panel.

    Raises:
        ValueError: an empty history.
        RuntimeError: matplotlib is missing.
        OSError: the file could not be written.
    """
    if not history:
        raise ValueError("plot_history: the history is empty")
    try:
        from matplotlib.figure import Figure
        from matplotlib.ticker import MaxNLocator
    except ImportError as error:
        raise RuntimeError("plot_history: drawing needs matplotlib (pip install 'convkit[train]')") from error
    panels = [name for name in ("loss", "accuracy") if name in history[0]]
    figure = Figure(figsize=(5.2 * len(panels), 3.9), dpi=130, layout="constrained")
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for axis, name in zip(axes, panels, strict=True):
        for key, label, colour in ((name, "training", TRAINING), ("val_" + name, "validation", VALIDATION)):
            points = [(record["epoch"], record[key]) for record in history if record.get(key) is not None]
            if points:
                axis.plot(*zip(*points, strict=True), label=label, color=colour, linewidth=1.8, marker="o", markersize=3.5)
        axis.set_xlabel("epoch")
        axis.set_ylabel(name)
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.grid(alpha=0.25)
        axis.spines[["top", "right"]].set_visible(False)
        if name == "loss":
            axis.set_ylim(bottom=0)
        axis.legend(frameon=False)
    if title:
        figure.suptitle(title, fontsize=11)
    picture = io.BytesIO()
    figure.savefig(picture, format="png")
    write_whole(Path(path).expanduser(), picture.getvalue())
    return Path(path)
