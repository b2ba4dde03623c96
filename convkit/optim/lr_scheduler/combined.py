"""A schedule that listens to a measurement, and schedules made of others."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import Any

from ...ops import checks
from ..optimizer import Optimizer
from .base import LRScheduler, check_optimizer, one_a_group


class ReduceLROnPlateau(LRScheduler):
    """Multiplies the learning rate by `factor` when a measurement has not become better for more than `patience` steps.

    `step(metrics)` takes the measurement, a validation loss for example; `train.fit` passes it.

    Args:
        mode: 'min' if small is good, 'max' if large is.
        factor: below 1.
        patience: so many steps without a new best value are let pass.
        threshold, threshold_mode: better is below best * (1 - threshold) ('rel') or best - threshold ('abs'); above, with + , for 'max'.
        cooldown: so many steps after a reduction do not count.
        min_lr: the least learning rate; a list has one for each group.
        eps: changes that are not larger are not made.

    Raises:
        ValueError: a factor of 1 or more, an unknown mode, a list of another length.

    >>> import convkit
    >>> from convkit import optim
    >>> optimizer = optim.SGD([convkit.zeros(1, requires_grad=True)], lr=1.0)
    >>> schedule = optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=1)
    >>> for loss in (3.0, 2.0, 2.0, 2.0):
    ...     schedule.step(loss)
    >>> schedule.get_last_lr()
    [0.5]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        mode: str = "min",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: str = "rel",
        cooldown: int = 0,
        min_lr: list[float] | float = 0,
        eps: float = 1e-8,
    ) -> None:
        check_optimizer("ReduceLROnPlateau", optimizer)
        checks.numbers("ReduceLROnPlateau", factor=factor, patience=patience, threshold=threshold, cooldown=cooldown, eps=eps)
        if not factor < 1:
            raise ValueError(f"ReduceLROnPlateau: factor must be below 1, got {factor}")
        if mode not in ("min", "max"):
            raise ValueError(f"ReduceLROnPlateau: mode must be 'min' or 'max', got {mode!r}")
        if threshold_mode not in ("rel", "abs"):
            raise ValueError(f"ReduceLROnPlateau: threshold_mode must be 'rel' or 'abs', got {threshold_mode!r}")
        self.optimizer, self.mode, self.factor, self.patience = optimizer, mode, factor, patience
        self.threshold, self.threshold_mode, self.cooldown, self.eps = threshold, threshold_mode, cooldown, eps
        self.min_lrs = one_a_group("ReduceLROnPlateau", "min_lr", min_lr, optimizer)
        self._last_lr = [group["lr"] for group in optimizer.param_groups]
        self.last_epoch = 0
        self.best = math.inf if mode == "min" else -math.inf
        self.num_bad_epochs = self.cooldown_counter = 0

    @property
    def in_cooldown(self) -> bool:
        """Was the learning rate reduced less than `cooldown` steps ago?"""
        return self.cooldown_counter > 0

    def is_better(self, a: float, best: float) -> bool:
        """Is `a` better than `best` by more than the threshold?"""
        sign = -1 if self.mode == "min" else 1
        margin = best * (1 + sign * self.threshold) if self.threshold_mode == "rel" else best + sign * self.threshold
        return a < margin if self.mode == "min" else a > margin

    def step(self, metrics: Any, epoch: int | None = None) -> None:  # type: ignore[override]
        """Go on to the next epoch, given what was measured in this one."""
        current = float(metrics)
        self.last_epoch = self.last_epoch + 1 if epoch is None else epoch
        if self.is_better(current, self.best):
            self.best, self.num_bad_epochs = current, 0
        else:
            self.num_bad_epochs += 1
        if self.in_cooldown:
            self.cooldown_counter -= 1
            self.num_bad_epochs = 0
        if self.num_bad_epochs > self.patience:
            groups = self.optimizer.param_groups
            for group, least in zip(groups, self.min_lrs + self.min_lrs[-1:] * (len(groups) - len(self.min_lrs)), strict=True):
                lower = max(group["lr"] * self.factor, least)
                if group["lr"] - lower > self.eps:
                    group["lr"] = lower
            self.cooldown_counter, self.num_bad_epochs = self.cooldown, 0
        self._last_lr = [group["lr"] for group in self.optimizer.param_groups]


class _Members(LRScheduler):
    """A schedule made of others, whose states are part of its own."""

    schedulers: list[LRScheduler]

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "schedulers": [s.state_dict() for s in self.schedulers]}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        for scheduler, state in zip(self.schedulers, state_dict["schedulers"], strict=True):
            scheduler.load_state_dict(state)
        super().load_state_dict({key: value for key, value in state_dict.items() if key != "schedulers"})


class SequentialLR(_Members):
    """One schedule after the other: schedules[i + 1] starts, with its own epoch 0, at epoch milestones[i].

    ValueError unless there is one milestone less than schedules, they rise, and all schedules set the same optimiser.

    >>> import convkit
    >>> from convkit import optim
    >>> optimizer = optim.SGD([convkit.zeros(1, requires_grad=True)], lr=1.0)
    >>> warm_up = optim.lr_scheduler.LinearLR(optimizer, start_factor=0.5, total_iters=2)
    >>> decay = optim.lr_scheduler.ExponentialLR(optimizer, gamma=0.5)
    >>> schedule, seen = optim.lr_scheduler.SequentialLR(optimizer, [warm_up, decay], milestones=[2]), []
    >>> for epoch in range(5):
    ...     seen.append(schedule.get_last_lr()[0])
    ...     schedule.step()
    >>> seen
    [0.5, 0.75, 1.0, 0.5, 0.25]
    """

    def __init__(self, optimizer: Optimizer, schedulers: Sequence[LRScheduler], milestones: Sequence[int], last_epoch: int = -1) -> None:
        schedulers = _members("SequentialLR", schedulers, optimizer)
        if not isinstance(milestones, (tuple, list)):
            raise TypeError(f"SequentialLR: milestones must be a list of epochs, got {milestones!r}")
        if len(milestones) != len(schedulers) - 1:
            raise ValueError(
                f"SequentialLR: needs one milestone less than schedulers, got {len(milestones)} milestones and {len(schedulers)} schedulers"
            )
        for milestone in milestones:
            checks.number("SequentialLR", "milestones", milestone)
        if list(milestones) != sorted(set(milestones)):
            raise ValueError(f"SequentialLR: milestones must rise, got {list(milestones)}")
        self.schedulers, self.milestones = schedulers, list(milestones)
        super().__init__(optimizer, last_epoch)

    def _move(self, epoch: int, jump: bool) -> None:
        self.last_epoch = epoch
        index = bisect_right(self.milestones, epoch)
        start = self.milestones[index - 1] if index else 0
        self.schedulers[index]._move(epoch - start, jump or epoch == start)
        self._last_lr = self.schedulers[index].get_last_lr()


class ChainedScheduler(_Members):
    """Several schedules at once, each of which changes the learning rate that the one before has set.

    ValueError without schedules, for one of another optimiser, and for ReduceLROnPlateau, whose steps need a measurement.

    >>> import convkit
    >>> from convkit import optim
    >>> optimizer = optim.SGD([convkit.zeros(1, requires_grad=True)], lr=1.0)
    >>> warm_up = optim.lr_scheduler.ConstantLR(optimizer, factor=0.5, total_iters=2)
    >>> decay = optim.lr_scheduler.ExponentialLR(optimizer, gamma=0.5)
    >>> schedule, seen = optim.lr_scheduler.ChainedScheduler([warm_up, decay]), []
    >>> for epoch in range(4):
    ...     seen.append(schedule.get_last_lr()[0])
    ...     schedule.step()
    >>> seen
    [0.5, 0.25, 0.25, 0.125]
    """

    def __init__(self, schedulers: Sequence[LRScheduler], optimizer: Optimizer | None = None) -> None:
        self.schedulers = _members("ChainedScheduler", schedulers, optimizer)
        self.optimizer = self.schedulers[0].optimizer
        self._last_lr = [group["lr"] for group in self.optimizer.param_groups]

    def step(self, epoch: float | None = None) -> None:
        for scheduler in self.schedulers:
            scheduler.step(epoch)
        self._last_lr = [group["lr"] for group in self.optimizer.param_groups]


def _members(name: str, schedulers: Sequence[LRScheduler], optimizer: Any) -> list[LRScheduler]:
    """The schedules as a list; all of them must be of one optimiser, by default the first one's."""
    if not isinstance(schedulers, (tuple, list)):
        raise TypeError(f"{name}: needs a list of schedules, got {type(schedulers).__name__}")
    if len(schedulers) < 1:
        raise ValueError(f"{name}: needs at least one scheduler")
    for scheduler in schedulers:
        if not isinstance(scheduler, LRScheduler):
            raise TypeError(f"{name}: schedulers must be schedules of this module, got {type(scheduler).__name__}")
        if isinstance(scheduler, ReduceLROnPlateau):
            raise ValueError(f"{name}: ReduceLROnPlateau cannot take part, because its steps need a measurement; step it by itself")
        optimizer = optimizer or scheduler.optimizer
        if scheduler.optimizer is not optimizer:
            raise ValueError(f"{name}: every scheduler must set the learning rate of the same optimizer")
    return list(schedulers)
