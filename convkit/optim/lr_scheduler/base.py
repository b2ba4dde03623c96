"""`LRScheduler`: what all schedules share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ...ops import checks
from ..optimizer import Optimizer


class LRScheduler:
    """Base of the schedules: derive from it, and write `rate`; or, as in torch, `get_lr`.

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
    _last_lr: list[float]
    _starts: list[float | None]  # the base_lr that each group's learning rate follows from
    # Is a learning rate that was changed by hand, or by another schedule, carried on?  Else the next step overwrites it.
    _carries = True
    # What a checkpoint does not keep: the optimiser, and functions.
    _not_state: tuple[str, ...] = ("optimizer",)

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        check_optimizer(type(self).__name__, optimizer)
        checks.numbers(type(self).__name__, last_epoch=last_epoch)
        for group in optimizer.param_groups:
            if last_epoch == -1:
                group.setdefault("initial_lr", group["lr"])
            elif "initial_lr" not in group:
                raise KeyError(f"{type(self).__name__}: with last_epoch={last_epoch} each group of the optimizer needs an 'initial_lr'")
        self.optimizer = optimizer
        self.base_lrs = [group["initial_lr"] for group in optimizer.param_groups]
        self._last_lr, self._starts = [], list(self.base_lrs)
        self.last_epoch = last_epoch
        self.step()

    def rate(self, base_lr: float, epoch: int) -> float:
        """The learning rate at `epoch` of a group that started with `base_lr`: a linear function of base_lr."""
        raise NotImplementedError(f"{type(self).__name__}: write a rate method")

    def get_lr(self) -> list[float]:
        """The learning rates of this epoch, one a group."""
        lrs, epoch = [], self.last_epoch
        for i, (base_lr, group) in enumerate(zip(self.base_lrs, self.optimizer.param_groups, strict=True)):
            lr, start = group["lr"], self._starts[i]
            if i >= len(self._last_lr):  # the group's first epoch here, maybe after another schedule's
                start = lr if epoch == 0 and self._carries else base_lr
            elif self._carries and (start is None or lr != self._last_lr[i]):
                start = self._started(lr, epoch - 1)
            if start is None:  # nothing of where it started is left: keep the distance
                lrs.append(self.rate(base_lr, epoch) + lr - self.rate(base_lr, epoch - 1))
                start = self._started(lrs[-1], epoch)
            else:
                lrs.append(self.rate(start, epoch))
            self._starts[i] = start
        return lrs

    def _started(self, lr: float, epoch: int) -> float | None:
        """The base_lr that would have led to `lr` at `epoch`; None if none or any would."""
        at_0 = self.rate(0.0, epoch)
        slope = self.rate(1.0, epoch) - at_0
        return (lr - at_0) / slope if slope else None

    def get_last_lr(self) -> list[float]:
        """The learning rates set by the last step, one a group."""
        return self._last_lr

    def step(self, epoch: float | None = None) -> None:
        """Go on to the next epoch, or to `epoch`, as if no learning rate had been changed on the way."""
        if epoch is None:
            self._move(self.last_epoch + 1, False)
        else:
            self._move(epoch, True)

    def _move(self, epoch: Any, jump: bool) -> None:
        groups = self.optimizer.param_groups
        self.last_epoch = epoch
        for group in groups[len(self.base_lrs) :]:  # added since
            self.base_lrs.append(group.setdefault("initial_lr", group["lr"]))
            self._starts.append(None)
        if jump:
            self._last_lr, self._starts = [group["lr"] for group in groups], list(self.base_lrs)
        self._last_lr = self.get_lr()
        for group, lr in zip(groups, self._last_lr, strict=True):
            group["lr"] = lr

    def state_dict(self) -> dict[str, Any]:
        """Everything but the optimiser and functions."""
        return {key: value for key, value in self.__dict__.items() if key not in self._not_state}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from a `state_dict()`; the optimiser's learning rates come with its own."""
        if "_starts" in self.__dict__:  # torch does not save it: it follows from the learning rate
            self._starts = [None] * len(self._starts)
        self.__dict__.update({key: value for key, value in state_dict.items() if key not in self._not_state})


def check_optimizer(name: str, optimizer: Any) -> None:
    """TypeError, naming the schedule, unless `optimizer` is one."""
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"{name}: needs an optimizer, got {type(optimizer).__name__}")


def one_a_group(name: str, what: str, value: Any, optimizer: Optimizer) -> list[Any]:
    """`value` for each group, or the values in it if it is a list, one for each."""
    groups = len(optimizer.param_groups)
    if not isinstance(value, (tuple, list)):
        return [checks.number(name, what, value)] * groups
    if len(value) != groups:
        raise ValueError(f"{name}: {what} needs one number for each of {groups} groups, got {len(value)}")
    return [checks.number(name, what, v) for v in value]


def functions(name: str, functions: Any, optimizer: Optimizer) -> list[Callable[[int], float]]:
    """One function for each group."""
    check_optimizer(name, optimizer)
    groups = len(optimizer.param_groups)
    if callable(functions):
        return [functions] * groups
    if not isinstance(functions, Sequence) or not all(map(callable, functions)):
        raise TypeError(f"{name}: lr_lambda must be a function or a list of functions, got {functions!r}")
    if len(functions) != groups:
        raise ValueError(f"{name}: needs one function for each of {groups} groups, got {len(functions)}")
    return list(functions)


class Momentum:
    """The momentum of an optimiser's groups ('momentum', or beta1 of 'betas'), which cycles move against the learning rate."""

    def __init__(self, name: str, optimizer: Optimizer) -> None:
        self.optimizer = optimizer
        if not all("momentum" in g or "betas" in g for g in optimizer.param_groups):
            raise ValueError(f"{name}: cycle_momentum needs an optimizer with momentum or betas; pass cycle_momentum=False")

    def set(self, values: Sequence[float]) -> None:
        """One value for each group."""
        for group, value in zip(self.optimizer.param_groups, values, strict=True):
            if "betas" in group:
                group["betas"] = (value, *group["betas"][1:])
            else:
                group["momentum"] = value
