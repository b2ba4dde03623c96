"""Cycles of the learning rate, two of which move the momentum the other way."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from ...ops import checks
from ..optimizer import Optimizer
from .base import LRScheduler, Momentum, check_optimizer, one_a_group
from .curves import at_least_1


class CosineAnnealingWarmRestarts(LRScheduler):
    """Half a wave of a cosine from base_lr down to eta_min, again and again, each T_mult times as long as the one before:

        lr = eta_min + (base_lr - eta_min) * (1 + cos(pi * T_cur / T_i)) / 2

    T_cur epochs into a period of T_i, the first of T_0.  `step(epoch)` takes fractions: `step(epoch + batch / batches)`.

    ValueError unless T_0 and T_mult are positive integers; in `step`, for a negative epoch.

    I. Loshchilov, F. Hutter, "SGDR: stochastic gradient descent with warm restarts", ICLR 2017, arXiv:1608.03983.

    >>> import convkit
    >>> from convkit import optim
    >>> optimizer = optim.SGD([convkit.zeros(1, requires_grad=True)], lr=1.0)
    >>> schedule = optim.lr_scheduler.CosineAnnealingWarmRestarts(optimizer, T_0=2)
    >>> [round(optimizer.param_groups[0]["lr"], 3) for epoch in range(5) if schedule.step(epoch) is None]
    [1.0, 0.5, 1.0, 0.5, 1.0]
    """

    _carries = False

    def __init__(self, optimizer: Optimizer, T_0: int, T_mult: int = 1, eta_min: float = 0.0, last_epoch: int = -1) -> None:
        for what, value in (("T_0", T_0), ("T_mult", T_mult)):
            if not isinstance(value, int) or value < 1:
                raise ValueError(f"CosineAnnealingWarmRestarts: {what} must be an integer of at least 1, got {value}")
        if not isinstance(eta_min, (int, float)):
            raise ValueError(f"CosineAnnealingWarmRestarts: eta_min must be a number, got {eta_min!r}")
        self.T_0, self.T_mult, self.eta_min = T_0, T_mult, eta_min
        self.T_i = T_0
        self.T_cur: float = last_epoch
        self.position: float = last_epoch  # the epoch with its fraction
        super().__init__(optimizer, last_epoch)

    def step(self, epoch: float | None = None) -> None:
        if epoch is not None and epoch < 0:
            raise ValueError(f"CosineAnnealingWarmRestarts: the epoch must not be negative, got {epoch}")
        self._move(self.position + 1 if epoch is None else epoch, epoch is not None)

    def _move(self, epoch: float, jump: bool) -> None:
        self.position, self.T_cur, self.T_i = epoch, epoch, self.T_0
        if self.T_mult == 1:
            self.T_cur = epoch % self.T_0
        else:
            while self.T_cur >= self.T_i:
                self.T_cur -= self.T_i
                self.T_i *= self.T_mult
        super()._move(math.floor(epoch), jump)

    def rate(self, base_lr: float, epoch: int) -> float:
        return self.eta_min + (base_lr - self.eta_min) * (1 + math.cos(math.pi * self.T_cur / self.T_i)) / 2


class CyclicLR(LRScheduler):
    """Up from base_lr to max_lr in step_size_up steps, one a batch, down again in step_size_down, and so on:

        lr = base_lr + (max_lr - base_lr) * height * scale

    `height` goes from 0 to 1 and back.  `scale` is 1 (mode 'triangular'), 1/2 for each cycle before ('triangular2'), gamma^step
    ('exp_range'), or scale_fn of the number of the cycle, from 1 (scale_mode 'cycle'), or of the step ('iterations').  The momentum (of SGD,
    or beta1 of Adam) goes the other way, from max_momentum to base_momentum and back, if cycle_momentum.

    Args:
        base_lr, max_lr, base_momentum, max_momentum: numbers, or lists with one for each group.
        step_size_down: step_size_up if None.

    Raises:
        ValueError: an unknown mode; lists of another length; an optimiser without momentum while cycle_momentum is True.

    L. N. Smith, "Cyclical learning rates for training neural networks", WACV 2017, arXiv:1506.01186.

    >>> import convkit
    >>> from convkit import optim
    >>> optimizer = optim.SGD([convkit.zeros(1, requires_grad=True)], lr=1.0)
    >>> schedule, seen = optim.lr_scheduler.CyclicLR(optimizer, 1.0, 2.0, step_size_up=2, cycle_momentum=False), []
    >>> for batch in range(6):
    ...     seen.append(optimizer.param_groups[0]["lr"])
    ...     schedule.step()
    >>> seen
    [1.0, 1.5, 2.0, 1.5, 1.0, 1.5]
    """

    _carries = False
    _not_state = ("optimizer", "momentum", "scale_fn")

    def __init__(
        self,
        optimizer: Optimizer,
        base_lr: float | list[float],
        max_lr: float | list[float],
        step_size_up: int = 2000,
        step_size_down: int | None = None,
        mode: str = "triangular",
        gamma: float = 1.0,
        scale_fn: Callable[[float], float] | None = None,
        scale_mode: str = "cycle",
        cycle_momentum: bool = True,
        base_momentum: float | list[float] = 0.8,
        max_momentum: float | list[float] = 0.9,
        last_epoch: int = -1,
    ) -> None:
        check_optimizer("CyclicLR", optimizer)
        if scale_fn is None and mode not in ("triangular", "triangular2", "exp_range"):
            raise ValueError(f"CyclicLR: mode must be 'triangular', 'triangular2' or 'exp_range', got {mode!r}")
        checks.numbers("CyclicLR", gamma=gamma)
        for what, length in (("step_size_up", step_size_up), ("step_size_down", step_size_up if step_size_down is None else step_size_down)):
            at_least_1("CyclicLR", what, length)
        if scale_fn is not None and not callable(scale_fn):
            raise TypeError(f"CyclicLR: scale_fn must be a function, got {scale_fn!r}")
        low, high = (one_a_group("CyclicLR", *pair, optimizer) for pair in (("base_lr", base_lr), ("max_lr", max_lr)))
        slow, fast = (one_a_group("CyclicLR", "momentum", m, optimizer) for m in (base_momentum, max_momentum))
        self.momentum = Momentum("CyclicLR", optimizer) if cycle_momentum else None
        self.mode, self.gamma, self.scale_fn = mode, gamma, scale_fn
        self.scale_mode = scale_mode if scale_fn is not None else "iterations" if mode == "exp_range" else "cycle"
        self.total_size = step_size_up + (step_size_up if step_size_down is None else step_size_down)
        self.step_ratio = step_size_up / self.total_size
        self.max_lrs, self.momenta = high, list(zip(slow, fast, strict=True))
        if last_epoch == -1:
            for group, lr in zip(optimizer.param_groups, low, strict=True):
                group["initial_lr"] = group["lr"] = lr
        super().__init__(optimizer, last_epoch)
        self.base_lrs = low

    def _height(self) -> float:
        """How far up the cycle is, scaled."""
        cycle = math.floor(1 + self.last_epoch / self.total_size)
        x = 1 + self.last_epoch / self.total_size - cycle
        height = x / self.step_ratio if x <= self.step_ratio else (x - 1) / (self.step_ratio - 1)
        at = cycle if self.scale_mode == "cycle" else self.last_epoch
        if self.scale_fn is not None:
            return height * self.scale_fn(at)
        return height * {"triangular": 1.0, "triangular2": 0.5 ** (at - 1), "exp_range": self.gamma**at}[self.mode]

    def get_lr(self) -> list[float]:
        height = self._height()
        return [low + (high - low) * height for low, high in zip(self.base_lrs, self.max_lrs, strict=True)]

    def _move(self, epoch: int, jump: bool) -> None:
        super()._move(epoch, jump)
        if self.momentum is not None:
            height = self._height()
            self.momentum.set([high - (high - low) * height for low, high in self.momenta])


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

    _carries = False
    _not_state = ("optimizer", "momentum")

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
            checks.numbers("OneCycleLR", epochs=epochs, steps_per_epoch=steps_per_epoch)
            total_steps = epochs * steps_per_epoch
        at_least_1("OneCycleLR", "total_steps", total_steps)
        checks.numbers("OneCycleLR", pct_start=pct_start)
        for what, factor in (("div_factor", div_factor), ("final_div_factor", final_div_factor)):
            checks.numbers("OneCycleLR", **{what: factor})
            if not factor:
                raise ValueError(f"OneCycleLR: {what} must not be 0")
        if not 0 <= pct_start <= 1:
            raise ValueError(f"OneCycleLR: pct_start must be between 0 and 1, got {pct_start}")
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(f"OneCycleLR: anneal_strategy must be 'cos' or 'linear', got {anneal_strategy!r}")
        check_optimizer("OneCycleLR", optimizer)
        self.momentum = Momentum("OneCycleLR", optimizer) if cycle_momentum else None
        self.total_steps, self.anneal_strategy, self.cycle_momentum = total_steps, anneal_strategy, cycle_momentum
        # Where the phases end, and which of the (first, highest, last) numbers each goes from and to.
        up = pct_start * total_steps - 1
        if three_phase:
            self.phases = [(up, 0, 1), (2 * pct_start * total_steps - 2, 1, 0), (total_steps - 1, 0, 2)]
        else:
            self.phases = [(up, 0, 1), (total_steps - 1, 1, 2)]
        highest = one_a_group("OneCycleLR", "max_lr", max_lr, optimizer)
        self.levels = [(high / div_factor, high, high / div_factor / final_div_factor) for high in highest]
        low, high = (one_a_group("OneCycleLR", "momentum", m, optimizer) for m in (base_momentum, max_momentum))
        self.momenta = [(b, a, b) for a, b in zip(low, high, strict=True)]
        if last_epoch == -1:
            for group, (first, _, _) in zip(optimizer.param_groups, self.levels, strict=True):
                group["initial_lr"] = first
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        return [self._at(levels) for levels in self.levels]

    def _move(self, epoch: int, jump: bool) -> None:
        if epoch > self.total_steps:
            raise ValueError(f"OneCycleLR: the cycle has {self.total_steps} steps, this is step {epoch}")
        super()._move(epoch, jump)
        if self.momentum is not None:
            self.momentum.set([self._at(momenta) for momenta in self.momenta])

    def _at(self, levels: tuple[float, float, float]) -> float:
        begin = 0.0
        for end, source, target in self.phases:
            if self.last_epoch <= end or end == self.phases[-1][0]:
                part = (self.last_epoch - begin) / (end - begin) if end != begin else 1.0
                a, b = levels[source], levels[target]
                return b + (a - b) * (1 + math.cos(math.pi * part)) / 2 if self.anneal_strategy == "cos" else a + (b - a) * part
            begin = end
        raise AssertionError("the last phase takes every step")
