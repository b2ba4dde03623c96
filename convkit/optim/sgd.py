"""Stochastic gradient descent, and its average."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from ..ops import checks
from ..ops.creation import zeros_like
from ..tensor import Tensor
from .optimizer import Elementwise, settings


class SGD(Elementwise):
    """Gradient descent, with momentum if asked for:

        g = grad + weight_decay * w                     -grad + ... with maximize
        v = momentum * v + (1 - dampening) * g          v = g at the first step
        w = w - lr * v                                  w - lr * (g + momentum * v) with nesterov;  w - lr * g without momentum

    Args:
        params: tensors, or groups of them; see `Optimizer`.
        lr: the learning rate, 0 or larger.
        momentum, dampening, weight_decay, nesterov, maximize: see above.
        foreach, differentiable, fused: None or False.

    Raises:
        ValueError: negative numbers; nesterov without momentum or with dampening.

    I. Sutskever, J. Martens, G. Dahl, G. Hinton, "On the importance of initialization and momentum in deep learning", ICML 2013;
    as in torch, v does not contain the learning rate.

    >>> import convkit
    >>> from convkit import optim
    >>> w = convkit.tensor([1.0, -2.0], requires_grad=True)
    >>> optimizer = optim.SGD([w], lr=0.25)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> w.tolist()
    [0.5, -1.0]
    """

    _state_arrays = ("momentum_buffer",)

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: float = 0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        super().__init__(params, settings(locals()))

    def _check(self, settings: Mapping[str, Any]) -> None:
        super()._check(settings)
        if settings["nesterov"] and (settings["momentum"] == 0 or settings["dampening"] != 0):
            raise ValueError(f"SGD: nesterov needs momentum and no dampening, got momentum={settings['momentum']}, dampening={settings['dampening']}")

    def _formula(self, group: dict[str, Any]) -> Any:
        return "sgd", ("momentum_buffer" if group["momentum"] else None, None, None)

    def _tick(self, group: dict[str, Any], state: dict[str, Any], fresh: bool) -> bool:
        return fresh

    def _numbers(self, group: dict[str, Any], tick: bool) -> tuple[float, ...]:
        take = 1.0 if tick or not group["momentum"] else 1 - group["dampening"]
        return group["weight_decay"], group["lr"], group["momentum"], take, group["nesterov"]


class ASGD(Elementwise):
    """Gradient descent whose rate falls, and the average `state[w]["ax"]` of its weights from step t0 on:

        w = w * (1 - lambd * eta) - eta * (grad + weight_decay * w)
        ax = ax + mu * (w - ax)
        eta = lr / (1 + lambd * lr * t)^alpha,   mu = 1 / max(1, t - t0)           after step t

    As in torch, eta and mu are kept in float32.

    B. T. Polyak, A. B. Juditsky, "Acceleration of stochastic approximation by averaging", SIAM J. Control Optim. 30, 1992.

    >>> import convkit
    >>> from convkit import optim
    >>> w = convkit.tensor([1.0, -2.0], requires_grad=True)
    >>> optimizer = optim.ASGD([w], lr=0.25, lambd=0)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> w.tolist()
    [0.5, -1.0]
    """

    _state_arrays = ("ax",)

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        lambd: float = 1e-4,
        alpha: float = 0.75,
        t0: float = 1e6,
        weight_decay: float = 0,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
        capturable: bool = False,
    ) -> None:
        super().__init__(params, settings(locals()))

    def _formula(self, group: dict[str, Any]) -> Any:
        return "asgd", ("ax", None, None)

    def _tick(self, group: dict[str, Any], state: dict[str, Any], fresh: bool) -> tuple[float, float]:
        eta, mu = state.get("eta", float(np.float32(group["lr"]))), state.get("mu", 1.0)
        step = state.get("step", 0) + 1
        later = group["lr"] / (1 + group["lambd"] * group["lr"] * step) ** group["alpha"]
        state.update(step=step, eta=float(np.float32(later)), mu=float(np.float32(1 / max(1, step - group["t0"]))))
        return eta, mu

    def _numbers(self, group: dict[str, Any], tick: tuple[float, float]) -> tuple[float, ...]:
        eta, mu = tick
        return group["weight_decay"], 1 - group["lambd"] * eta, eta, mu


class Rprop(Elementwise):
    """Steps whose sizes follow from the signs of the gradients alone, for whole data sets:

        size = size * etas[1] where the gradient kept its sign, size * etas[0] where it changed it; within step_sizes
        w = w - sign(grad) * size                       nothing where the sign changed

    Args:
        lr: the first size.
        etas: (smaller, larger), 0 < smaller < 1 < larger.
        step_sizes: (least, largest).

    M. Riedmiller, H. Braun, "A direct adaptive method for faster backpropagation learning: the RPROP algorithm", ICNN 1993.

    >>> import convkit
    >>> from convkit import optim
    >>> w = convkit.tensor([1.0, -200.0], requires_grad=True)
    >>> optimizer = optim.Rprop([w], lr=0.25)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> w.tolist()
    [0.75, -199.75]
    """

    _state_arrays = ("prev", "step_size")

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        etas: tuple[float, float] = (0.5, 1.2),
        step_sizes: tuple[float, float] = (1e-6, 50),
        *,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        super().__init__(params, settings(locals()))

    def _check(self, settings: Mapping[str, Any]) -> None:
        super()._check(settings)
        for key in ("etas", "step_sizes"):
            pair = settings[key]
            if not isinstance(pair, (tuple, list)) or len(pair) != 2 or not all(map(checks.is_number, pair)):
                raise TypeError(f"Rprop: {key} must be two numbers, got {pair!r}")
        if not 0 < settings["etas"][0] < 1 < settings["etas"][1]:
            raise ValueError(f"Rprop: etas must be (smaller, larger) with 0 < smaller < 1 < larger, got {settings['etas']}")

    def _formula(self, group: dict[str, Any]) -> Any:
        return "rprop", ("prev", "step_size", None)

    def _start(self, name: str, param: Tensor, group: dict[str, Any]) -> Tensor:
        start = zeros_like(param.detach())
        return start if name == "prev" else start.fill_(group["lr"])

    def _numbers(self, group: dict[str, Any], tick: int) -> tuple[float, ...]:
        return 0.0, *group["etas"], *group["step_sizes"], 1.0
