"""Schedules with a formula: steps, lines, powers, a cosine, or one's own function."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ...ops import checks
from ..optimizer import Optimizer
from .base import LRScheduler, functions


def at_least_1(name: str, what: str, value: Any) -> None:
    """TypeError or ValueError, naming the schedule, for a length that is none."""
    checks.numbers(name, **{what: value})
    if value < 1:
        raise ValueError(f"{name}: {what} must be at least 1, got {value}")


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
        at_least_1("StepLR", "step_size", step_size)
        checks.numbers("StepLR", gamma=gamma)
        self.step_size, self.gamma = step_size, gamma
        super().__init__(optimizer, last_epoch)

    def rate(self, base_lr: float, epoch: int) -> float:
        return base_lr * self.gamma ** (epoch // self.step_size)


class MultiStepLR(LRScheduler):
    """lr = base_lr * gamma^(number of milestones that are <= epoch)."""

    def __init__(self, optimizer: Optimizer, milestones: Iterable[int], gamma: float = 0.1, last_epoch: int = -1) -> None:
        checks.numbers("MultiStepLR", gamma=gamma)
        if not isinstance(milestones, Iterable):
            raise TypeError(f"MultiStepLR: milestones must be a list of epochs, got {milestones!r}")
        milestones = list(milestones)
        for milestone in milestones:
            checks.numbers("MultiStepLR", milestones=milestone)
        self.milestones, self.gamma = sorted(milestones), gamma
        super().__init__(optimizer, last_epoch)

    def rate(self, base_lr: float, epoch: int) -> float:
        return base_lr * self.gamma ** bisect_right(self.milestones, epoch)

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        super().load_state_dict(state_dict)
        if isinstance(self.milestones, Mapping):  # torch counts them
            self.milestones = sorted(m for m, count in self.milestones.items() for _ in range(count))


class ExponentialLR(LRScheduler):
    """lr = base_lr * gamma^epoch."""

    def __init__(self, optimizer: Optimizer, gamma: float, last_epoch: int = -1) -> None:
        checks.numbers("ExponentialLR", gamma=gamma)
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def rate(self, base_lr: float, epoch: int) -> float:
        return base_lr * self.gamma**epoch


class ConstantLR(LRScheduler):
    """lr = base_lr * factor for total_iters epochs, then base_lr; factor in 0 .. 1.

    >>> import convkit
    >>> from convkit import optim
    >>> optimizer = optim.SGD([convkit.zeros(1, requires_grad=True)], lr=1.0)
    >>> schedule = optim.lr_scheduler.ConstantLR(optimizer, factor=0.5, total_iters=1)
    >>> optimizer.param_groups[0]["lr"], schedule.step(), optimizer.param_groups[0]["lr"]
    (0.5, None, 1.0)
    """

    def __init__(self, optimizer: Optimizer, factor: float = 1 / 3, total_iters: int = 5, last_epoch: int = -1) -> None:
        checks.numbers("ConstantLR", factor=factor, total_iters=total_iters)
        if not 0 <= factor <= 1:
            raise ValueError(f"ConstantLR: factor must be in 0 .. 1, got {factor}")
        self.factor, self.total_iters = factor, total_iters
        super().__init__(optimizer, last_epoch)

    def rate(self, base_lr: float, epoch: int) -> float:
        return base_lr * self.factor if epoch < self.total_iters else base_lr


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
        checks.numbers("LinearLR", start_factor=start_factor, end_factor=end_factor)
        if not 0 < start_factor <= 1 or not 0 <= end_factor <= 1:
            raise ValueError(
                f"LinearLR: factors must be in 0 .. 1, and start_factor above 0, got start_factor={start_factor}, end_factor={end_factor}"
            )
        at_least_1("LinearLR", "total_iters", total_iters)
        self.start_factor, self.end_factor, self.total_iters = start_factor, end_factor, total_iters
        super().__init__(optimizer, last_epoch)

    def rate(self, base_lr: float, epoch: int) -> float:
        done = min(epoch, self.total_iters) / self.total_iters
        return base_lr * (self.start_factor + (self.end_factor - self.start_factor) * done)


class PolynomialLR(LRScheduler):
    """lr = base_lr * (1 - epoch / total_iters)^power, and 0 from epoch total_iters on.

    >>> import convkit
    >>> from convkit import optim
    >>> optimizer = optim.SGD([convkit.zeros(1, requires_grad=True)], lr=1.0)
    >>> schedule = optim.lr_scheduler.PolynomialLR(optimizer, total_iters=4, power=2)
    >>> schedule.step(2)
    >>> optimizer.param_groups[0]["lr"]
    0.25
    """

    def __init__(self, optimizer: Optimizer, total_iters: int = 5, power: float = 1.0, last_epoch: int = -1) -> None:
        at_least_1("PolynomialLR", "total_iters", total_iters)
        checks.numbers("PolynomialLR", power=power)
        self.total_iters, self.power = total_iters, power
        super().__init__(optimizer, last_epoch)

    def rate(self, base_lr: float, epoch: int) -> float:
        return base_lr * (1 - min(epoch, self.total_iters) / self.total_iters) ** self.power


class CosineAnnealingLR(LRScheduler):
    """Half a wave of a cosine from base_lr down to eta_min at epoch T_max (and up again after it):

        lr = eta_min + (base_lr - eta_min) * (1 + cos(pi * epoch / T_max)) / 2

    I. Loshchilov, F. Hutter, "SGDR: stochastic gradient descent with warm restarts", ICLR 2017, arXiv:1608.03983.
    """

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0, last_epoch: int = -1) -> None:
        at_least_1("CosineAnnealingLR", "T_max", T_max)
        checks.numbers("CosineAnnealingLR", eta_min=eta_min)
        self.T_max, self.eta_min = T_max, eta_min
        super().__init__(optimizer, last_epoch)

    def rate(self, base_lr: float, epoch: int) -> float:
        return self.eta_min + (base_lr - self.eta_min) * (1 + math.cos(math.pi * epoch / self.T_max)) / 2


class LambdaLR(LRScheduler):
    """lr = base_lr * lr_lambda(epoch); a list of functions gives each group its own.  Functions are not part of the state."""

    _carries = False
    _not_state = ("optimizer", "lr_lambdas")

    def __init__(self, optimizer: Optimizer, lr_lambda: Callable[[int], float] | Sequence[Callable[[int], float]], last_epoch: int = -1) -> None:
        self.lr_lambdas = functions("LambdaLR", lr_lambda, optimizer)
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        return [base_lr * factor(self.last_epoch) for base_lr, factor in zip(self.base_lrs, self.lr_lambdas, strict=True)]


class MultiplicativeLR(LRScheduler):
    """lr = lr * lr_lambda(epoch) from epoch 1 on; a list of functions gives each group its own.  Functions are not part of the state.

    >>> import convkit
    >>> from convkit import optim
    >>> optimizer = optim.SGD([convkit.zeros(1, requires_grad=True)], lr=1.0)
    >>> schedule = optim.lr_scheduler.MultiplicativeLR(optimizer, lambda epoch: 0.5 if epoch < 3 else 1)
    >>> for epoch in range(9):
    ...     schedule.step()
    >>> optimizer.param_groups[0]["lr"]
    0.25
    """

    _not_state = ("optimizer", "lr_lambdas")

    def __init__(self, optimizer: Optimizer, lr_lambda: Callable[[int], float] | Sequence[Callable[[int], float]], last_epoch: int = -1) -> None:
        self.lr_lambdas = functions("MultiplicativeLR", lr_lambda, optimizer)
        super().__init__(optimizer, last_epoch)

    def _move(self, epoch: int, jump: bool) -> None:
        if jump:
            for group, base_lr, factor in zip(self.optimizer.param_groups, self.base_lrs, self.lr_lambdas, strict=True):
                group["lr"] = math.prod((factor(e) for e in range(1, epoch)), start=base_lr)
        super()._move(epoch, jump)

    def get_lr(self) -> list[float]:
        lrs = [group["lr"] for group in self.optimizer.param_groups]
        return [lr * factor(self.last_epoch) for lr, factor in zip(lrs, self.lr_lambdas, strict=True)] if self.last_epoch > 0 else lrs
