"""Averages of a model's weights along its training: equal ones (SWA) or exponentially fading ones (EMA).

P. Izmailov, D. Podoprikhin, T. Garipov, D. Vetrov, A. G. Wilson, "Averaging weights leads to wider optima and better generalization",
UAI 2018, arXiv:1803.05407.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from copy import deepcopy
from typing import Any

import numpy as np

from ..autograd import no_grad
from ..nn.layers.norm import _BatchNorm
from ..nn.module import Module
from ..tensor import Tensor
from .lr_scheduler.base import LRScheduler, check_optimizer, one_a_group
from .optimizer import Optimizer

__all__ = ["SWALR", "AveragedModel", "get_ema_avg_fn", "get_ema_multi_avg_fn", "get_swa_avg_fn", "get_swa_multi_avg_fn", "update_bn"]

Average = Callable[[Tensor, Tensor, Tensor], Tensor]  # the average so far, the new weights, how many the average is of
ManyAverages = Callable[[Sequence[Tensor], Sequence[Tensor], Tensor], None]  # the same for lists, in place


def _check_decay(op: str, decay: float) -> None:
    if not 0.0 <= decay <= 1.0:
        raise ValueError(f"{op}: decay must be in 0 .. 1, got {decay}")


def get_swa_avg_fn() -> Average:
    """The mean of all: average + (new - average) / (number + 1)."""
    return lambda averaged, current, number: averaged + (current - averaged) / (number + 1)


def get_ema_avg_fn(decay: float = 0.999) -> Average:
    """The fading mean: decay * average + (1 - decay) * new.  ValueError unless decay is in 0 .. 1."""
    _check_decay("get_ema_avg_fn", decay)
    return lambda averaged, current, number: averaged * decay + current * (1 - decay)


def get_swa_multi_avg_fn() -> ManyAverages:
    """`get_swa_avg_fn` for lists of tensors, in place."""
    return _for_lists(lambda number: 1.0 / (number.item() + 1))


def get_ema_multi_avg_fn(decay: float = 0.999) -> ManyAverages:
    """`get_ema_avg_fn` for lists of tensors, in place.  ValueError unless decay is in 0 .. 1."""
    _check_decay("get_ema_multi_avg_fn", decay)
    return _for_lists(lambda number: 1 - decay)


def _for_lists(weight_of: Callable[[Tensor], float]) -> ManyAverages:
    def average(averaged: Sequence[Tensor], current: Sequence[Tensor], number: Tensor) -> None:
        weight = weight_of(number)
        with no_grad():
            for old, new in zip(averaged, current, strict=True):
                old.copy_(old.lerp(new, weight) if old.is_floating_point() else old * (1 - weight) + new * weight)

    return average


class AveragedModel(Module):
    """A copy of `model` whose parameters are averages of those that `update_parameters` was shown.

    Args:
        model: what to copy; it stays as it is.
        device: 'cpu' or None.
        avg_fn: gives the new average of (average, new parameter, number of models so far); None for `get_swa_avg_fn()`.
        multi_avg_fn: the same for lists of tensors of one dtype, in place.
        use_buffers: average the buffers, too, such as running statistics; else they are copied.

    Buffers: `n_averaged`, the number of models so far.  ValueError for both avg_fn and multi_avg_fn.

    >>> import convkit
    >>> from convkit import nn, optim
    >>> model = nn.Linear(1, 1, bias=False)
    >>> averaged = optim.swa_utils.AveragedModel(model)
    >>> for value in (1.0, 2.0, 6.0):
    ...     _ = nn.init.constant_(model.weight, value)
    ...     averaged.update_parameters(model)
    >>> averaged.module.weight.item(), averaged.n_averaged.item()
    (3.0, 3)
    """

    n_averaged: Tensor

    def __init__(
        self,
        model: Module,
        device: Any = None,
        avg_fn: Average | None = None,
        multi_avg_fn: ManyAverages | None = None,
        use_buffers: bool = False,
    ) -> None:
        super().__init__()
        if avg_fn is not None and multi_avg_fn is not None:
            raise ValueError("AveragedModel: needs avg_fn or multi_avg_fn, not both")
        self.module = deepcopy(model) if device is None else deepcopy(model).to(device)
        self.register_buffer("n_averaged", Tensor(np.array(0, np.int64)))
        self.avg_fn, self.multi_avg_fn, self.use_buffers = avg_fn, multi_avg_fn, use_buffers

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the averaged model computes."""
        return self.module(*args, **kwargs)

    def update_parameters(self, model: Module) -> None:
        """Take `model` into the average; the first one is copied.  ValueError if it has other tensors than the average."""
        parameters = _beside("parameters", self.module.parameters(), model.parameters())
        buffers = _beside("buffers", self.module.buffers(), model.buffers())
        averaged = parameters + buffers if self.use_buffers else parameters
        if not self.n_averaged.item():
            for old, new in averaged:
                old.copy_(new)
        elif self.multi_avg_fn is not None:
            together: dict[np.dtype, list[tuple[Tensor, Tensor]]] = {}
            for pair in averaged:
                together.setdefault(pair[0].dtype, []).append(pair)
            for pairs in together.values():
                self.multi_avg_fn([old for old, _ in pairs], [new for _, new in pairs], self.n_averaged)
        else:
            average = self.avg_fn or get_swa_avg_fn()
            for old, new in averaged:
                old.copy_(average(old, new, self.n_averaged))
        if not self.use_buffers:
            for old, new in buffers:
                old.copy_(new)
        self.n_averaged.add_(1)


def _beside(what: str, averaged: Iterable[Tensor], current: Iterable[Tensor]) -> list[tuple[Tensor, Tensor]]:
    """Pairs without graphs of the average's tensors and the model's."""
    mine, others = [t.detach() for t in averaged], [t.detach() for t in current]
    if [t.shape for t in mine] != [t.shape for t in others]:
        raise ValueError(f"AveragedModel: the model has {what} {[list(t.shape) for t in others]}, the average {[list(t.shape) for t in mine]}")
    return list(zip(mine, others, strict=True))


def update_bn(loader: Iterable[Any], model: Module, device: Any = None) -> None:
    """Set the running statistics of the model's batch normalisation to the mean over the batches of `loader`.

    Averaged weights never saw a batch, so their statistics are unknown until then.  A batch is the input, or a tuple or list that begins
    with it.  Modes and momenta are as before afterwards, whatever happens.
    """
    layers = [m for m in model.modules() if isinstance(m, _BatchNorm)]
    if not layers:
        return
    momenta, training = [layer.momentum for layer in layers], model.training
    model.train()
    try:
        for layer in layers:
            layer.reset_running_stats()
            layer.momentum = None  # a plain mean
        with no_grad():
            for batch in loader:
                x = batch[0] if isinstance(batch, (list, tuple)) else batch
                model(x if device is None else x.to(device))
    finally:
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum
        model.train(training)


class SWALR(LRScheduler):
    """From the learning rate of each group to `swa_lr`, within `anneal_epochs` steps, and constant from then on:

        lr = swa_lr * a + start * (1 - a),   a = t ('linear') or (1 - cos(pi t)) / 2 ('cos'),   t = step / anneal_epochs

    Args:
        optimizer: whose learning rates it sets.
        swa_lr: a number, or one for each group.
        anneal_epochs: 0 to jump at the first step.
        anneal_strategy: 'cos' or 'linear'.
        last_epoch: as in `LRScheduler`.

    ValueError for an unknown strategy or a negative length.

    >>> import convkit
    >>> from convkit import optim
    >>> optimizer = optim.SGD([convkit.zeros(1, requires_grad=True)], lr=1.0)
    >>> schedule, seen = optim.swa_utils.SWALR(optimizer, swa_lr=0.5, anneal_epochs=2, anneal_strategy="linear"), []
    >>> for epoch in range(4):
    ...     seen.append(optimizer.param_groups[0]["lr"])
    ...     schedule.step()
    >>> seen
    [1.0, 0.75, 0.5, 0.5]
    """

    _step_count = 0

    def __init__(
        self, optimizer: Optimizer, swa_lr: float | Sequence[float], anneal_epochs: int = 10, anneal_strategy: str = "cos", last_epoch: int = -1
    ) -> None:
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(f"SWALR: anneal_strategy must be 'cos' or 'linear', got {anneal_strategy!r}")
        if not isinstance(anneal_epochs, int) or anneal_epochs < 0:
            raise ValueError(f"SWALR: anneal_epochs must be an int of at least 0, got {anneal_epochs!r}")
        check_optimizer("SWALR", optimizer)
        for lr, group in zip(one_a_group("SWALR", "swa_lr", swa_lr, optimizer), optimizer.param_groups, strict=True):
            group["swa_lr"] = lr
        self.anneal_epochs, self._anneal_strategy = anneal_epochs, anneal_strategy
        super().__init__(optimizer, last_epoch)

    def _move(self, epoch: Any, jump: bool) -> None:
        self._step_count += 1
        super()._move(epoch, jump)

    def _done(self, step: int) -> float:
        """How far the learning rate has come at `step`, 0 .. 1."""
        t = max(0.0, min(1.0, step / max(1, self.anneal_epochs)))
        return t if self._anneal_strategy == "linear" else (1 - math.cos(math.pi * t)) / 2

    def get_lr(self) -> list[float]:
        step = self._step_count - 1
        if not self.anneal_epochs:
            step = max(1, step)
        before, now = self._done(step - 1), self._done(step)
        lrs = []
        for group in self.optimizer.param_groups:
            goal = group["swa_lr"]
            start = goal if before == 1 else (group["lr"] - before * goal) / (1 - before)  # where the present one came from
            lrs.append(goal * now + start * (1 - now))
        return lrs
