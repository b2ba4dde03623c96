"""Learning rates that change as training goes on.

A schedule is a function of the epoch (or of the batch, wherever `step()` is called): each `step()` moves on to the next
one and sets the learning rate of every group of the optimiser to

    lr = rate(base_lr, epoch)

with the group's learning rate when the first schedule was made as base_lr.  The numbers are torch's.  Unlike there, a step
depends on nothing but the epoch: a learning rate that was changed by hand lasts until the next step.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from .optimizer import Optimizer


class LRScheduler:
    """Base of the schedules: derive from it, and write `rate`.

    Args:
        optimizer: whose learning rates it sets, at once for epoch 0 and then at each `step()`.
        last_epoch: -1 to start; or the epoch to go on from, for an optimiser whose groups have an 'initial_lr'.

    Raises:
        TypeError: `optimizer` is not one.
        KeyError: last_epoch is given but a group has no 'initial_lr'.
    """

    optimizer: Optimizer
    base_lrs: list[float]
    last_epoch: int

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"{type(self).__name__}: needs an optimizer, got {type(optimizer).__name__}")
        for group in optimizer.param_groups:
            if last_epoch == -1:
                group.setdefault("initial_lr", group["lr"])
            elif "initial_lr" not in group:
                raise KeyError(f"{type(self).__name__}: with last_epoch={last_epoch} each group of the optimizer needs an 'initial_lr'")
        self.optimizer = optimizer
        self.base_lrs = [group["initial_lr"] for group in optimizer.param_groups]
        self.last_epoch = last_epoch
        self.step()

    def rate(self, base_lr: float, epoch: int) -> float:
        """The learning rate at `epoch` of a group that started with `base_lr`."""
        raise NotImplementedError(f"{type(self).__name__}: write a rate method")

    def get_lr(self) -> list[float]:
        """The learning rates of this epoch, one a group."""
        return [self.rate(base_lr, self.last_epoch) for base_lr in self.base_lrs]

    def get_last_lr(self) -> list[float]:
        """The learning rates set by the last step, one a group."""
        return self._last_lr

    def step(self) -> None:
        """Go on to the next epoch."""
        self._go_to(self.last_epoch + 1)

    def _go_to(self, epoch: int) -> None:
        self.last_epoch = epoch
        for group in self.optimizer.param_groups[len(self.base_lrs) :]:  # added since
            self.base_lrs.append(group.setdefault("initial_lr", group["lr"]))
        self._last_lr = self.get_lr()
        for group, lr in zip(self.optimizer.param_groups, self._last_lr, strict=True):
            group["lr"] = lr

    def state_dict(self) -> dict[str, Any]:
        """Everything but the optimiser."""
        return {key: value for key, value in self.__dict__.items() if key != "optimizer"}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from a `state_dict()`; the optimiser's learning rates come with its own."""
        self.__dict__.update(state_dict)


class StepLR(LRScheduler):
    """lr = base_lr * gamma^(epoch // step_size).

    >>> import convkit
    >>> from convkit import optim
    >>> optimizer = optim.SGD([convkit.zeros(1, requires_grad=True)], lr=1.0)
    >>> schedule, seen = optim.lr_scheduler.StepLR(optimizer, step_size=2, gamma=0.5), []
    >>> for epoch in range(5):
    ...     seen.append(optimizer.param_groups[0]["lr"])
    ...     schedule.step()
    >>> seen
    [1.0, 1.0, 0.5, 0.5, 0.25]
    """

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1, last_epoch: int = -1) -> None:
        if step_size < 1:
            raise ValueError(f"StepLR: step_size must be at least 1, got {step_size}")
        self.step_size, self.gamma = step_size, gamma
        super().__init__(optimizer, last_epoch)

    def rate(self, base_lr: float, epoch: int) -> float:
        return base_lr * self.gamma ** (epoch // self.step_size)


class MultiStepLR(LRScheduler):
    """lr = base_lr * gamma^(number of milestones that are <= epoch)."""

    def __init__(self, optimizer: Optimizer, milestones: Iterable[int], gamma: float = 0.1, last_epoch: int = -1) -> None:
        self.milestones, self.gamma = sorted(milestones), gamma
        super().__init__(optimizer, last_epoch)

    def rate(self, base_lr: float, epoch: int) -> float:
        return base_lr * self.gamma ** bisect_right(self.milestones, epoch)


class ExponentialLR(LRScheduler):
    """lr = base_lr * gamma^epoch."""

    def __init__(self, optimizer: Optimizer, gamma: float, last_epoch: int = -1) -> None:
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def rate(self, base_lr: float, epoch: int) -> float:
        return base_lr * self.gamma**epoch


class LinearLR(LRScheduler):
    """A straight line from base_lr * start_factor to base_lr * end_factor over total_iters steps, and flat afterwards: a warm-up.

    ValueError unless 0 < start_factor <= 1 and 0 <= end_factor <= 1.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        start_factor: float = 1 / 3,
        end_factor: float = 1.0,
        total_iters: int = 5,
        last_epoch: int = -1,
    ) -> None:
        if not 0 < start_factor <= 1 or not 0 <= end_factor <= 1:
            raise ValueError(
                f"LinearLR: factors must be in 0 .. 1, and start_factor above 0, got start_factor={start_factor}, end_factor={end_factor}"
            )
        if total_iters < 1:
            raise ValueError(f"LinearLR: total_iters must be at least 1, got {total_iters}")
        self.start_factor, self.end_factor, self.total_iters = start_factor, end_factor, total_iters
        super().__init__(optimizer, last_epoch)

    def rate(self, base_lr: float, epoch: int) -> float:
        done = min(epoch, self.total_iters) / self.total_iters
        return base_lr * (self.start_factor + (self.end_factor - self.start_factor) * done)


class CosineAnnealingLR(LRScheduler):
    """Half a wave of a cosine from base_lr down to eta_min at epoch T_max (and up again after it):

        lr = eta_min + (base_lr - eta_min) * (1 + cos(pi * epoch / T_max)) / 2

    I. Loshchilov, F. Hutter, "SGDR: stochastic gradient descent with warm restarts", ICLR 2017, arXiv:1608.03983.
    """

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0, last_epoch: int = -1) -> None:
        if T_max < 1:
            raise ValueError(f"CosineAnnealingLR: T_max must be at least 1, got {T_max}")
        self.T_max, self.eta_min = T_max, eta_min
        super().__init__(optimizer, last_epoch)

    def rate(self, base_lr: float, epoch: int) -> float:
        return self.eta_min + (base_lr - self.eta_min) * (1 + math.cos(math.pi * epoch / self.T_max)) / 2


class LambdaLR(LRScheduler):
    """lr = base_lr * lr_lambda(epoch); a list of functions gives each group its own.  Functions are not part of the state."""

    def __init__(self, optimizer: Optimizer, lr_lambda: Callable[[int], float] | Sequence[Callable[[int], float]], last_epoch: int = -1) -> None:
        groups = len(optimizer.param_groups)
        self.lr_lambdas = [lr_lambda] * groups if callable(lr_lambda) else list(lr_lambda)
        if len(self.lr_lambdas) != groups:
            raise ValueError(f"LambdaLR: needs one function for each of {groups} groups, got {len(self.lr_lambdas)}")
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        return [base_lr * factor(self.last_epoch) for base_lr, factor in zip(self.base_lrs, self.lr_lambdas, strict=True)]

    def state_dict(self) -> dict[str, Any]:
        return {key: value for key, value in super().state_dict().items() if key != "lr_lambdas"}


class OneCycleLR(LRScheduler):
    """Up from max_lr / div_factor to max_lr, then down to max_lr / (div_factor * final_div_factor).

    The cycle takes `total_steps` steps, one a batch.  The momentum (of SGD, or beta1 of Adam) goes the other way, from
    max_momentum to base_momentum and back.

    Args:
        max_lr: the highest learning rate; a list has one for each group.
        total_steps: steps in the cycle; or `epochs` and `steps_per_epoch`, whose product it is.
        pct_start: part of the cycle that goes up.
        anneal_strategy: 'cos' or 'linear'.
        cycle_momentum, base_momentum, max_momentum: whether, and between which numbers, the momentum changes.
        three_phase: down to the first learning rate in as many steps as up, then on to the last.

    Raises:
        ValueError: neither total_steps nor epochs and steps_per_epoch, numbers that make no sense, an optimiser without momentum
            while cycle_momentum is True; in `step()`, more than total_steps steps.

    L. N. Smith, N. Topin, "Super-convergence: very fast training of neural networks using large learning rates", 2018,
    arXiv:1708.07120.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        max_lr: float | Sequence[float],
        total_steps: int | None = None,
        epochs: int | None = None,
        steps_per_epoch: int | None = None,
        pct_start: float = 0.3,
        anneal_strategy: str = "cos",
        cycle_momentum: bool = True,
        base_momentum: float | Sequence[float] = 0.85,
        max_momentum: float | Sequence[float] = 0.95,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        three_phase: bool = False,
        last_epoch: int = -1,
    ) -> None:
        if total_steps is None:
            if epochs is None or steps_per_epoch is None:
                raise ValueError("OneCycleLR: give total_steps, or epochs and steps_per_epoch")
            total_steps = epochs * steps_per_epoch
        if total_steps < 1:
            raise ValueError(f"OneCycleLR: total_steps must be at least 1, got {total_steps}")
        if not 0 <= pct_start <= 1:
            raise ValueError(f"OneCycleLR: pct_start must be between 0 and 1, got {pct_start}")
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(f"OneCycleLR: anneal_strategy must be 'cos' or 'linear', got {anneal_strategy!r}")
        groups = optimizer.param_groups
        if cycle_momentum and not all("momentum" in g or "betas" in g for g in groups):
            raise ValueError("OneCycleLR: cycle_momentum needs an optimizer with momentum or betas; pass cycle_momentum=False")
        self.total_steps, self.anneal_strategy, self.cycle_momentum = total_steps, anneal_strategy, cycle_momentum
        # Where the phases end, and which of the (first, highest, last) numbers each goes from and to.
        up = pct_start * total_steps - 1
        if three_phase:
            self.phases = [(up, 0, 1), (2 * pct_start * total_steps - 2, 1, 0), (total_steps - 1, 0, 2)]
        else:
            self.phases = [(up, 0, 1), (total_steps - 1, 1, 2)]
        self.levels = [(high / div_factor, high, high / div_factor / final_div_factor) for high in _one_a_group("max_lr", max_lr, len(groups))]
        low, high = (_one_a_group("momentum", m, len(groups)) for m in (base_momentum, max_momentum))
        self.momenta = [(b, a, b) for a, b in zip(low, high, strict=True)]
        if last_epoch == -1:
            for group, (first, _, _) in zip(groups, self.levels, strict=True):
                group["initial_lr"] = first
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        return [self._at(levels) for levels in self.levels]

    def _go_to(self, epoch: int) -> None:
        if epoch > self.total_steps:
            raise ValueError(f"OneCycleLR: the cycle has {self.total_steps} steps, this is step {epoch}")
        super()._go_to(epoch)
        if self.cycle_momentum:
            for group, momenta in zip(self.optimizer.param_groups, self.momenta, strict=True):
                momentum = self._at(momenta)
                if "betas" in group:
                    group["betas"] = (momentum, *group["betas"][1:])
                else:
                    group["momentum"] = momentum

    def _at(self, levels: tuple[float, float, float]) -> float:
        begin = 0.0
        for end, source, target in self.phases:
            if self.last_epoch <= end or end == self.phases[-1][0]:
                part = (self.last_epoch - begin) / (end - begin) if end != begin else 1.0
                a, b = levels[source], levels[target]
                return b + (a - b) * (1 + math.cos(math.pi * part)) / 2 if self.anneal_strategy == "cos" else a + (b - a) * part
            begin = end
        raise AssertionError("the last phase takes every step")


def _one_a_group(name: str, value: float | Sequence[float], groups: int) -> list[float]:
    if not isinstance(value, Sequence):
        return [value] * groups
    if len(value) != groups:
        raise ValueError(f"OneCycleLR: {name} needs one number for each of {groups} groups, got {len(value)}")
    return list(value)


class SequentialLR(LRScheduler):
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
        if len(schedulers) < 1 or len(milestones) != len(schedulers) - 1:
            raise ValueError(
                f"SequentialLR: needs one milestone less than schedulers, got {len(milestones)} milestones and {len(schedulers)} schedulers"
            )
        if list(milestones) != sorted(set(milestones)):
            raise ValueError(f"SequentialLR: milestones must rise, got {list(milestones)}")
        if any(s.optimizer is not optimizer for s in schedulers):
            raise ValueError("SequentialLR: every scheduler must set the learning rate of the same optimizer")
        self.schedulers, self.milestones = list(schedulers), list(milestones)
        super().__init__(optimizer, last_epoch)

    def _go_to(self, epoch: int) -> None:
        self.last_epoch = epoch
        index = bisect_right(self.milestones, epoch)
        current = self.schedulers[index]
        current._go_to(epoch - (self.milestones[index - 1] if index else 0))
        self._last_lr = current.get_last_lr()

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "schedulers": [s.state_dict() for s in self.schedulers]}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        for scheduler, state in zip(self.schedulers, state_dict["schedulers"], strict=True):
            scheduler.load_state_dict(state)
        super().load_state_dict({key: value for key, value in state_dict.items() if key != "schedulers"})
