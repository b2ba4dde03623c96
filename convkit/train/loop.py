"""`fit`, the training loop, and `evaluate`."""

from __future__ import annotations

import math
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..autograd import no_grad
from ..data import ArrayDataset, DataLoader
from ..nn import Module
from ..nn import functional as F
from ..optim import Optimizer
from ..optim.lr_scheduler import CyclicLR, OneCycleLR, ReduceLROnPlateau
from ..tensor import Tensor
from .callbacks import Callback, Run
from .checkpoint import FOLDER, Checkpoint, load_checkpoint, needs_safetensors, save_checkpoint
from .history import History
from .measures import accuracy, part_right, read
from .progress import reporter
from .step import Plain, Replayed, to_device

Loss = Callable[[Tensor, Tensor], Tensor]
Metric = Callable[[Tensor, Tensor], float]


class Interrupted(KeyboardInterrupt):
    """Ctrl-C during `fit`, raised once a batch is complete; `checkpoint` is where to resume, or None without an `out` folder."""

    def __init__(self, message: str, checkpoint: Path | None) -> None:
        super().__init__(message)
        self.checkpoint = checkpoint


class Evaluation(NamedTuple):
    """What `evaluate` measured, over all items."""

    loss: float
    accuracy: float


def fit(
    model: Module,
    train_data: Any,
    *,
    epochs: int,
    optimizer: Optimizer,
    batch_size: int = 32,
    scheduler: Any = None,
    schedule_each: str | None = None,
    loss: Loss = F.cross_entropy,
    validation: Any = None,
    metrics: Mapping[str, Metric] | None = None,
    callbacks: Sequence[Callback] = (),
    seed: int = 0,
    out: str | os.PathLike[str] | None = None,
    resume: str | os.PathLike[str] | Checkpoint | None = None,
    about: Mapping[str, Any] | None = None,
    progress: bool = True,
    graph: bool | None = None,
) -> History:
    """Trains `model` in place and gives its `History`.

    With `out`, a checkpoint is saved in `out/checkpoint` after every epoch, and the history in `out/history.json`.  Ctrl-C then saves
    one after the batch at hand.  `resume` goes on from a checkpoint as if the run had never stopped: with the same arguments the
    weights are the same bit for bit, also from the middle of an epoch, also with another number of threads.

    Args:
        train_data: a data set, or arrays (inputs, targets), whose batches of `batch_size` come in an order drawn from (seed, epoch);
            or a `DataLoader`, which is used as it is.
        epochs: passes over the data, 1 or more.
        optimizer: made of the model's parameters.
        scheduler: of the learning rate, stepped after each batch or epoch; ReduceLROnPlateau is given the validation loss of the epoch, or
            the training loss without validation.
        schedule_each: "batch" or "epoch"; by default "batch" for OneCycleLR and CyclicLR, and "epoch" for the others.
        loss: called with outputs and targets; gives the mean over the batch.
        validation: a data set, arrays, or a DataLoader, measured in evaluation mode after each epoch; nothing is learnt from it.
        metrics: functions of outputs and targets, each giving the mean over the batch, by name; {"accuracy": accuracy} by default.
        callbacks: see `Callback`.
        about: kept in checkpoints: numbers, texts, lists and dictionaries of these.
        progress: a bar on a terminal (with rich), a line for each epoch elsewhere; False prints nothing.
        graph: on a GPU, record forward, loss and backward of a batch and repeat the launches for batches of the same shape, without Python between
            them and with the same bits.  None: where the step can be repeated; if it cannot, a warning of the logger "convkit" says why.
            False: never.  True: RuntimeError where it cannot.  See docs/gpu.md for what a step may do.

    Raises:
        ValueError: empty data, epochs < 1, an optimizer of another model, or a resumed run that is another one.
        RuntimeError: the loss or a weight became nan or infinite; the checkpoint of the epoch before is kept.  graph=True, and it cannot be.
        OSError: a checkpoint could not be written; the one before is unharmed.
        Interrupted: Ctrl-C.
    """
    if epochs < 1:
        raise ValueError(f"fit: epochs must be 1 or larger, got {epochs}")
    if schedule_each not in (None, "batch", "epoch"):
        raise ValueError(f"fit: schedule_each must be 'batch' or 'epoch', got {schedule_each!r}")
    if isinstance(scheduler, ReduceLROnPlateau) and schedule_each == "batch":
        raise ValueError("fit: ReduceLROnPlateau steps once an epoch, with its loss; schedule_each must not be 'batch'")
    loader = _loader("training", train_data, batch_size, shuffle=True, seed=seed)
    measured = None if validation is None else _loader("validation", validation, loader.batch_size)
    own = {id(p) for p in model.parameters()}
    if not any(id(p) in own for group in optimizer.param_groups for p in group["params"]):
        raise ValueError("fit: the optimizer has none of this model's parameters; make it with model.parameters()")
    measures: dict[str, Metric] = {"accuracy": accuracy} if metrics is None else dict(metrics)
    step = _step(model, loss, optimizer, graph, kept=any(metric is not accuracy for metric in measures.values()))
    folder = None if out is None else _writable(Path(out).expanduser())
    loop = _Loop(
        run=Run(model, optimizer, scheduler, loader, epochs, len(loader)),
        gradients=step,
        loss=loss,
        metrics=measures,
        validation=measured,
        each_batch=scheduler is not None and (schedule_each or ("batch" if isinstance(scheduler, (OneCycleLR, CyclicLR)) else "epoch")) == "batch",
        callbacks=list(callbacks),
        out=folder,
        about=dict(about or {}),
    )
    if resume is not None:
        loop.resume(resume if isinstance(resume, Checkpoint) else load_checkpoint(resume))
    modes = _modes(model)
    if not model.training:
        model.train()
    shown = reporter(progress)
    loop.watchers = [*loop.callbacks, shown]
    try:
        with _CtrlC() as loop.ctrl_c:
            loop.all_epochs()
    finally:
        shown.close()
        step.close()
        _set_modes(modes)
    return loop.run.history


def evaluate(model: Module, data: Any, batch_size: int = 256, loss: Loss = F.cross_entropy) -> Evaluation:
    """(loss, accuracy) of a model over a data set, arrays or a DataLoader, in evaluation mode and without gradients.

    >>> from convkit import models
    >>> from convkit.data import digits
    >>> loss, accuracy = evaluate(models.create("digits_cnn", image_size=8), digits("test"))
    >>> 0 <= accuracy <= 1
    True
    """
    sums = _measure(model, _loader("evaluation", data, batch_size), loss, {"accuracy": accuracy})
    return Evaluation(sums.mean("loss"), sums.mean("accuracy"))


class _Sums:
    """Sums of per-batch means, weighted by the number of items."""

    def __init__(self, items: int = 0, sums: Mapping[str, float] | None = None) -> None:
        self.items, self.sums = items, dict(sums or {})

    def add(self, items: int, means: Mapping[str, float]) -> None:
        self.items += items
        for name, mean in means.items():
            self.sums[name] = self.sums.get(name, 0.0) + mean * items

    def mean(self, name: str) -> float:
        return self.sums[name] / self.items

    def means(self, prefix: str = "") -> dict[str, float]:
        return {prefix + name: self.mean(name) for name in self.sums}


class _Loop:
    """One call of `fit`."""

    def __init__(
        self,
        run: Run,
        gradients: Plain,
        loss: Loss,
        metrics: dict[str, Metric],
        validation: DataLoader | None,
        each_batch: bool,
        callbacks: list[Callback],
        out: Path | None,
        about: dict[str, Any],
    ) -> None:
        self.run, self.gradients, self.loss, self.metrics = run, gradients, loss, metrics
        self.validation, self.each_batch = validation, each_batch
        self.callbacks, self.out, self.about = callbacks, out, about
        self.watchers: list[Callback] = []
        self.ctrl_c: _CtrlC
        self.done = 0  # epochs
        self.sums, self.seconds, self.compiling, self.lr = _Sums(), 0.0, 0.0, 0.0  # of the epoch at hand

    # ------------------------------------------------------------------------------- the walk
    def all_epochs(self) -> None:
        run = self.run
        self._tell("on_fit_start")
        while self.done < run.epochs and not run.stop:
            self.epoch()
        self._tell("on_fit_end")
        if self.out is not None:
            self.save()  # on_fit_end may have put the best weights back

    def epoch(self) -> None:
        run = self.run
        run.epoch = self.done + 1
        self._tell("on_epoch_start")
        self.gradients.new_epoch()
        start, compiled = time.perf_counter(), compile_seconds()
        already, compiled_already = self.seconds, self.compiling
        with closing(run.loader.iterate(self.done, run.batch)) as batches:
            for batch in batches:
                self.lr = run.optimizer.param_groups[0]["lr"]
                items, means = self.step(batch)
                self.sums.add(items, means)
                run.batch += 1
                self.seconds = already + time.perf_counter() - start
                self.compiling = compiled_already + compile_seconds() - compiled
                run.record = self.record()
                self._tell("on_batch_end")
                if self.ctrl_c.asked:
                    self.interrupt()
        rate = self.sums.items / max(self.seconds - self.compiling, 1e-9)
        if self.validation is not None:
            try:
                found = _measure(run.model, self.validation, self.loss, self.metrics, self.ctrl_c)
            except _Asked:
                self.interrupt()
            run.record.update(found.means("val_"), lr=run.record.pop("lr"))
        self._refuse_infinite_weights()
        if isinstance(run.scheduler, ReduceLROnPlateau):
            run.scheduler.step(run.record.get("val_loss", run.record["loss"]))
        elif run.scheduler is not None and not self.each_batch:
            run.scheduler.step()
        seconds = already + time.perf_counter() - start
        run.record.update(seconds=round(seconds, 3), images_per_second=round(rate, 1))
        run.history.append(run.record)
        self.done, run.batch = run.epoch, 0
        self.sums, self.seconds, self.compiling, self.lr = _Sums(), 0.0, 0.0, 0.0
        self._tell("on_epoch_end")
        if self.out is not None:
            self.save()
        if self.ctrl_c.asked:
            self.interrupt()

    def record(self) -> dict[str, Any]:
        """What the epoch's batches have come to so far."""
        return {"epoch": self.done + 1, **self.sums.means(), "lr": self.lr}

    def step(self, batch: Any) -> tuple[int, dict[str, float]]:
        """Learns from one batch; gives its number of items and its loss and metrics before the step."""
        run = self.run
        run.optimizer.zero_grad()
        inputs, targets, outputs, value = self.gradients(batch)
        number, *right = read(value, *_known(self.metrics, outputs, targets))
        if not math.isfinite(number):
            raise RuntimeError(self._why_not_finite(number, inputs))
        run.optimizer.step()
        if self.each_batch:
            run.scheduler.step()
        with no_grad():
            return len(targets), {"loss": number, **_means(self.metrics, outputs, targets, right)}

    def _tell(self, what: str) -> None:
        for watcher in self.watchers:
            getattr(watcher, what)(self.run)

    # ------------------------------------------------------------------------------ what went wrong
    def _why_not_finite(self, value: float, inputs: Sequence[Any]) -> str:
        run = self.run
        where = f"epoch {run.epoch}, batch {run.batch + 1} of {run.batches}, learning rate {run.optimizer.param_groups[0]['lr']:g}"
        if any(x.dtype.kind == "f" and not np.isfinite(x.cpu().numpy()).all() for x in inputs):
            hint = "the images of this batch hold nan or infinite values: look at the data"
        else:
            hint = "a lower learning rate, a warm-up or another seed may help"
        return f"fit: the loss became {value} ({where}); {hint}{self._kept()}"

    def _refuse_infinite_weights(self) -> None:
        run = self.run
        state = {name: tensor for name, tensor in run.model.state_dict().items() if tensor.dtype.kind == "f"}
        for name, finite in zip(state, read(*(np.isfinite(tensor.array).all() for tensor in state.values())), strict=True):
            if not finite:
                lr = run.optimizer.param_groups[0]["lr"]
                raise RuntimeError(
                    f"fit: {name} became nan or infinite in epoch {run.epoch} (learning rate {lr:g}); "
                    f"a lower learning rate or a warm-up may help{self._kept()}"
                )

    def _kept(self) -> str:
        return f"; the checkpoint after epoch {self.done} is kept in {self.out / FOLDER}" if self.out is not None and self.done else ""

    def interrupt(self) -> None:
        run = self.run
        where = f"stopped in epoch {self.done + 1} after batch {run.batch} of {run.batches}" if run.batch else f"stopped after epoch {self.done}"
        if self.out is None:
            raise Interrupted(f"{where}; nothing was saved (fit was given no `out` folder)", None)
        path = self.save()
        raise Interrupted(f"{where}; saved in {path}", path)

    # ------------------------------------------------------------------------------- checkpoints
    def save(self) -> Path:
        run = self.run
        if self.out is None:
            raise RuntimeError("fit: there is nowhere to save a checkpoint; pass a folder as out")
        path = save_checkpoint(
            self.out / FOLDER, run.model, run.optimizer, run.scheduler, self.callbacks,
            epoch=self.done, batch=run.batch, stopped=run.stop, loader=self._order(), history=run.history, about=self.about,
            partial={"items": self.sums.items, "sums": self.sums.sums, "seconds": self.seconds, "compiling": self.compiling, "lr": self.lr},
        )  # fmt: skip
        run.history.save(self.out / "history.json")
        return path

    def resume(self, saved: Checkpoint) -> None:
        run = self.run
        other = [f"{key} {saved.loader.get(key)} there, {value} here" for key, value in self._order().items() if saved.loader.get(key) != value]
        if other:
            raise ValueError(f"fit: cannot resume {saved.path}, its batches are others: {'; '.join(other)}")
        saved.restore(run.model, run.optimizer, run.scheduler, self.callbacks)
        self.done, run.batch, run.stop, run.history = saved.epoch, saved.batch, saved.stopped, History(saved.history)
        partial = saved.partial
        self.sums = _Sums(partial.get("items", 0), partial.get("sums"))
        self.seconds, self.compiling, self.lr = (partial.get(key, 0.0) for key in ("seconds", "compiling", "lr"))
        run.epoch = self.done
        if self.sums.items:
            run.record = self.record()

    def _order(self) -> dict[str, Any]:
        """What the batches and their order depend on."""
        loader = self.run.loader
        return {
            "items": len(loader.dataset),
            "batch_size": loader.batch_size,
            "shuffle": loader.shuffle,
            "drop_last": loader.drop_last,
            "seed": loader.seed,
        }


class _Asked(Exception):
    """Ctrl-C in the middle of a measurement."""


class _CtrlC:
    """While it is entered, the first Ctrl-C only sets `asked`; a second one interrupts at once, as usual."""

    def __enter__(self) -> _CtrlC:
        self.asked = False
        # Python's own handler only: a host program's stays, and so does the "ignore" that nohup sets.
        self.mine = threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGINT) is signal.default_int_handler
        if self.mine:
            signal.signal(signal.SIGINT, self._note)
        return self

    def _note(self, number: int, frame: Any) -> None:
        if self.asked:
            signal.default_int_handler(number, frame)
        self.asked = True

    def __exit__(self, *_: Any) -> None:
        if self.mine:
            signal.signal(signal.SIGINT, signal.default_int_handler)


def _loader(kind: str, data: Any, batch_size: int, shuffle: bool = False, seed: int = 0) -> DataLoader:
    if isinstance(data, tuple | list):
        data = ArrayDataset(*data)
    loader = data if isinstance(data, DataLoader) else DataLoader(data, batch_size=batch_size, shuffle=shuffle, seed=seed)
    if not len(loader):
        dropped = f" of whole batches: {len(loader.dataset)} items are less than batch_size {loader.batch_size}" if len(loader.dataset) else ""
        raise ValueError(f"fit: the {kind} data is empty{dropped}")
    return loader


def _writable(folder: Path) -> Path:
    """Makes the folder, so that what is wrong with it shows before the first epoch and not after it."""
    needs_safetensors()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(error.errno, f"fit: could not make the folder {folder} ({error.strerror})") from error
    if not os.access(folder, os.W_OK):
        raise PermissionError(f"fit: may not write into the folder {folder}")
    return folder


def _measure(model: Module, loader: DataLoader, loss: Loss, metrics: Mapping[str, Metric], ctrl_c: _CtrlC | None = None) -> _Sums:
    """Loss and metrics over a loader; _Asked once `ctrl_c` was asked to stop."""
    sums, modes = _Sums(), _modes(model)
    found: list[tuple[int, list[Any], dict[str, float]]] = []  # of each batch its size, what is to be read, and what was
    model.eval()
    try:
        with no_grad(), closing(loader.iterate(0)) as batches:
            for batch in batches:
                inputs, targets = to_device(model, batch)
                outputs = model(*inputs)
                values = [loss(outputs, targets), *_known(metrics, outputs, targets)]
                found.append((len(targets), values, _means(metrics, outputs, targets, [math.nan])))
                if ctrl_c is not None and ctrl_c.asked:
                    raise _Asked
    finally:
        _set_modes(modes)
    for items, values, means in found:
        number, *right = read(*values)
        sums.add(items, {"loss": number, **{name: right[0] if metrics[name] is accuracy else mean for name, mean in means.items()}})
    return sums


def _known(metrics: Mapping[str, Metric], outputs: Any, targets: Any) -> list[Any]:
    """What can be read together with the loss: the accuracy, if it is asked for."""
    return [part_right(outputs, targets)] if any(metric is accuracy for metric in metrics.values()) else []


def _means(metrics: Mapping[str, Metric], outputs: Any, targets: Any, right: list[float]) -> dict[str, float]:
    """The metrics of a batch, of which `right` was read."""
    return {name: right[0] if metric is accuracy else float(metric(outputs, targets)) for name, metric in metrics.items()}


def _step(model: Module, loss: Loss, optimizer: Optimizer, graph: bool | None, kept: bool) -> Plain:
    where = next((p.device for p in model.parameters()), "cpu")
    if where == "cpu" and graph:
        raise RuntimeError("fit: graph=True needs a model on a GPU; this one is on the CPU")
    return Plain(model, loss) if where == "cpu" or graph is False else Replayed(model, loss, optimizer, bool(graph), kept)


def _modes(model: Module) -> list[tuple[Module, bool]]:
    return [(module, module.training) for module in model.modules()]


def _set_modes(modes: Iterable[tuple[Module, bool]]) -> None:
    for module, training in modes:
        module.training = training


def compile_seconds() -> float:
    """Seconds that this process has spent compiling kernels."""
    runtime = sys.modules.get("convkit_kernels.cpu.runtime")
    return 0.0 if runtime is None else sum(runtime.compile_seconds.values())
