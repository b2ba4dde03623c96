"""L-BFGS: a quasi-Newton method for whole data sets."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, NamedTuple

from ..autograd import enable_grad, no_grad
from ..ops import checks
from ..ops.creation import zeros
from ..ops.shape import cat
from ..tensor import Tensor
from .optimizer import Optimizer, settings


class LBFGS(Optimizer):
    """Steps along -H g, where H approximates the inverse of the second derivatives from the last `history_size` changes of w and of g.

    `step(closure)` makes up to max_iter iterations, for each of which `closure` computes the loss anew, with gradients:

        def closure():
            optimizer.zero_grad()
            loss = ...
            loss.backward()
            return loss

    Args:
        params: tensors, in one group.
        lr: length of the step along the direction, or where the line search begins.
        max_iter, max_eval: iterations, and evaluations of the closure (max_iter * 5 / 4 if None), in a step.
        tolerance_grad: a step ends when no derivative is larger.
        tolerance_change: a step ends when neither weights nor loss change more.
        line_search_fn: None, or 'strong_wolfe'.

    Raises:
        ValueError: several groups, an unknown line search, a negative lr.

    J. Nocedal, S. J. Wright, "Numerical optimization", 2nd edition, Springer 2006, algorithms 7.4 and 7.5 (directions), 3.5 and 3.6 (line
    search, with the safeguards of M. Schmidt's minFunc, as in torch).

    >>> import convkit
    >>> from convkit import optim
    >>> w = convkit.tensor([1.0, -2.0], requires_grad=True)
    >>> optimizer = optim.LBFGS([w], line_search_fn="strong_wolfe")
    >>> def closure():
    ...     optimizer.zero_grad()
    ...     loss = ((w - convkit.tensor([3.0, 5.0])) ** 2 * convkit.tensor([1.0, 9.0])).sum()
    ...     loss.backward()
    ...     return loss
    >>> loss = optimizer.step(closure)
    >>> [round(x, 3) for x in w.tolist()]
    [3.0, 5.0]
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1,
        max_iter: int = 20,
        max_eval: int | None = None,
        tolerance_grad: float = 1e-7,
        tolerance_change: float = 1e-9,
        history_size: int = 100,
        line_search_fn: str | None = None,
    ) -> None:
        checks.whole("LBFGS", "max_iter", max_iter)
        if max_eval is None:
            max_eval = max_iter * 5 // 4
        super().__init__(params, settings(locals()))
        if len(self.param_groups) != 1:
            raise ValueError(f"LBFGS: all parameters are learnt together, in one group, got {len(self.param_groups)} groups")

    def _check(self, settings: Mapping[str, Any]) -> None:
        super()._check(settings)
        for key in ("tolerance_grad", "tolerance_change"):
            checks.number("LBFGS", key, settings[key])
        for key in ("max_eval", "history_size"):
            checks.whole("LBFGS", key, settings[key])
        if settings["line_search_fn"] not in (None, "strong_wolfe"):
            raise ValueError(f"LBFGS: line_search_fn must be None or 'strong_wolfe', got {settings['line_search_fn']!r}")

    def step(self, closure: Callable[[], Any]) -> Any:  # type: ignore[override]
        """Make up to max_iter iterations; gives the loss that `closure` returned first."""
        with no_grad():
            return self._iterate(closure)

    def _iterate(self, closure: Callable[[], Any]) -> Any:
        group = self.param_groups[0]
        state = self.state[group["params"][0]]  # as in torch, all is kept with the first parameter
        search = group["line_search_fn"] is not None
        state.setdefault("func_evals", 0)
        state.setdefault("n_iter", 0)

        def evaluate() -> tuple[Any, Tensor]:
            with enable_grad():
                loss = closure()
            state["func_evals"] += 1
            return loss, self._gradient()

        before = state["func_evals"]
        first, gradient = evaluate()
        loss = float(first)
        if _largest(gradient) <= group["tolerance_grad"]:
            return first
        for iteration in range(1, group["max_iter"] + 1):
            state["n_iter"] += 1
            direction = self._direction(gradient, state, group["history_size"])
            state.update(d=direction, prev_flat_grad=gradient, prev_loss=loss)
            begin = 1.0 / max(1.0, gradient.abs().sum().item()) if state["n_iter"] == 1 else 1.0
            t = state["t"] = begin * float(group["lr"])
            slope = _dot(gradient, direction)
            if slope > -group["tolerance_change"]:
                break
            if search:
                start = [p.detach().clone() for p in group["params"]]
                found = _strong_wolfe(partial(self._at, start, direction, evaluate), t, direction, _Point(0.0, loss, gradient, slope))
                loss, gradient, t = found.loss, found.gradient, found.t
                state["t"] = t
                self._move(start, t, direction)
            else:
                self._move([p.detach() for p in group["params"]], t, direction)
                if iteration != group["max_iter"]:
                    value, gradient = evaluate()
                    loss = float(value)
            if (
                iteration == group["max_iter"]
                or state["func_evals"] - before >= group["max_eval"]
                or _largest(gradient) <= group["tolerance_grad"]
                or _largest(direction * t) <= group["tolerance_change"]
                or abs(loss - state["prev_loss"]) < group["tolerance_change"]
            ):
                break
        return first

    def _direction(self, gradient: Tensor, state: dict[str, Any], history_size: int) -> Tensor:
        """-H gradient, once H has taken in the last change."""
        if state["n_iter"] == 1:
            state.update(old_dirs=[], old_stps=[], ro=[], H_diag=1.0)
            return -gradient
        change, moved = gradient - state["prev_flat_grad"], state["d"] * state["t"]
        curvature = _dot(change, moved)
        changes, moves, inverse = state["old_dirs"], state["old_stps"], state["ro"]
        if curvature > 1e-10:
            for kept, value in ((changes, change), (moves, moved), (inverse, 1.0 / curvature)):
                if len(kept) == history_size:
                    kept.pop(0)
                kept.append(value)
            state["H_diag"] = curvature / _dot(change, change)
        direction, weights = -gradient, [0.0] * len(changes)
        for i in reversed(range(len(changes))):
            weights[i] = _dot(moves[i], direction) * inverse[i]
            direction = direction - changes[i] * weights[i]
        direction = direction * state["H_diag"]
        for i in range(len(changes)):
            direction = direction + moves[i] * (weights[i] - _dot(changes[i], direction) * inverse[i])
        return direction

    def _gradient(self) -> Tensor:
        """All gradients as one vector."""
        params = self.param_groups[0]["params"]
        return cat([zeros(p.numel(), dtype=p.dtype) if p.grad is None else p.grad.detach().reshape(-1) for p in params])

    def _move(self, start: list[Tensor], t: float, direction: Tensor) -> None:
        """Set the parameters to start + t * direction."""
        at = 0
        for p, s in zip(self.param_groups[0]["params"], start, strict=True):
            p.copy_(s + direction[at : at + p.numel()].reshape(*p.shape) * t)
            at += p.numel()

    def _at(self, start: list[Tensor], direction: Tensor, evaluate: Callable[[], tuple[Any, Tensor]], t: float) -> _Point:
        self._move(start, t, direction)
        loss, gradient = evaluate()
        return _Point(t, float(loss), gradient, _dot(gradient, direction))


class _Point(NamedTuple):
    """A place along the line: how far, and the loss, its gradient, and its slope along the line there."""

    t: float
    loss: float
    gradient: Tensor
    slope: float


def _strong_wolfe(at: Callable[[float], _Point], t: float, direction: Tensor, start: _Point) -> _Point:
    """A point where the loss has fallen (c1) and the slope has become small (c2): first a bracket that holds one, then ever smaller ones."""
    c1, c2, smallest, most = 1e-4, 0.9, 1e-9, 25
    last, new, count = start, at(t), 0
    while count < most:
        if new.loss > start.loss + c1 * new.t * start.slope or (count > 1 and new.loss >= last.loss):
            bracket = [last, new]
            break
        if abs(new.slope) <= -c2 * start.slope:
            return new
        if new.slope >= 0:
            bracket = [last, new]
            break
        further = _cubic(last, new, (new.t + 0.01 * (new.t - last.t), new.t * 10))
        last, new, count = new, at(further), count + 1
    else:
        bracket = [start, new]
    low, high = (0, 1) if bracket[0].loss <= bracket[1].loss else (1, 0)
    close, length = False, _largest(direction)
    while count < most and abs(bracket[1].t - bracket[0].t) * length >= smallest:
        t = _cubic(bracket[0], bracket[1])
        left, right = sorted(point.t for point in bracket)
        margin = 0.1 * (right - left)
        if min(right - t, t - left) < margin:  # too near an end: let it pass once
            if close or t >= right or t <= left:
                t = right - margin if abs(t - right) < abs(t - left) else left + margin
                close = False
            else:
                close = True
        else:
            close = False
        new, count = at(t), count + 1
        if new.loss > start.loss + c1 * new.t * start.slope or new.loss >= bracket[low].loss:
            bracket[high] = new
            low, high = (0, 1) if bracket[0].loss <= bracket[1].loss else (1, 0)
        else:
            found = abs(new.slope) <= -c2 * start.slope
            if not found and new.slope * (bracket[high].t - bracket[low].t) >= 0:
                bracket[high] = bracket[low]
            bracket[low] = new
            if found:
                break
    return bracket[low]


def _cubic(a: _Point, b: _Point, bounds: tuple[float, float] | None = None) -> float:
    """Where the cubic through two points and their slopes is least, within bounds (by default, between the points); else their middle."""
    low, high = bounds or (min(a.t, b.t), max(a.t, b.t))
    if a.t > b.t:
        a, b = b, a
    if a.t != b.t:
        d1 = a.slope + b.slope - 3 * (a.loss - b.loss) / (a.t - b.t)
        square = d1 * d1 - a.slope * b.slope
        if square >= 0:
            d2 = math.sqrt(square)
            bottom = b.slope - a.slope + 2 * d2
            if bottom:
                return min(max(b.t - (b.t - a.t) * ((b.slope + d2 - d1) / bottom), low), high)
    return (low + high) / 2


def _dot(a: Tensor, b: Tensor) -> float:
    return (a * b).sum().item()


def _largest(x: Tensor) -> float:
    return x.abs().amax().item() if x.numel() else 0.0
