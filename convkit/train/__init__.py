"""Training: the loop, what watches it, checkpoints and curves.

- `fit(model, data, epochs=..., optimizer=...)` trains and gives a `History`; `evaluate(model, data)` gives loss and accuracy.
- `Callback` is the base of things that watch the loop; `EarlyStopping` is one.
- `save_checkpoint`, `load_checkpoint`: everything that a run needs to go on bit for bit, in files that anybody can read.
- `plot_history` draws the curves.

>>> import convkit
>>> from convkit import models, optim, train
>>> from convkit.data import Subset, digits
>>> convkit.manual_seed(0).seed
0
>>> net = models.create("digits_cnn", image_size=8)
>>> part = Subset(digits("train"), range(256))
>>> history = train.fit(net, part, epochs=2, batch_size=32, optimizer=optim.Adam(net.parameters()), progress=False)
>>> len(history), history[-1]["loss"] < history[0]["loss"]
(2, True)
"""

from .callbacks import Callback, EarlyStopping, Run
from .checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from .curves import plot_history
from .history import History
from .loop import Evaluation, Interrupted, accuracy, evaluate, fit

__all__ = [
    "Callback", "Checkpoint", "EarlyStopping", "Evaluation", "History", "Interrupted", "Run", "accuracy", "evaluate", "fit", "load_checkpoint",
    "plot_history", "save_checkpoint",
]  # fmt: skip
