"""Steps divided by the size of past gradients: Adagrad, Adadelta, RMSprop."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ..ops import checks
from ..ops.creation import zeros_like
from ..tensor import Tensor
from .optimizer import Elementwise, settings


class Adagrad(Elementwise):
    """Steps divided by the root of the sum of all squared gradients:

        g = grad + weight_decay * w,   s = s + g^2
        w = w - lr / (1 + (t - 1) * lr_decay) * g / (sqrt(s) + eps)                 at step t = 1, 2, ...

    Args:
        params: tensors, or groups of them; see `Optimizer`.
        lr, lr_decay, weight_decay, eps: see above, 0 or larger.
        initial_accumulator_value: s at the start.
        maximize: climb.
        foreach, differentiable, fused: None or False.

    J. Duchi, E. Hazan, Y. Singer, "Adaptive subgradient methods for online learning and stochastic optimization", JMLR 12, 2011.

    >>> import convkit
    >>> from convkit import optim
    >>> w = convkit.tensor([1.0, -200.0], requires_grad=True)
    >>> optimizer = optim.Adagrad([w], lr=0.125)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> w.tolist()
    [0.875, -199.875]
    """

    _state_arrays = ("sum",)

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        lr_decay: float = 0,
        weight_decay: float = 0,
        initial_accumulator_value: float = 0,
        eps: float = 1e-10,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        super().__init__(params, settings(locals()))
        for group in self.param_groups:  # there from the start, as in torch
            for p in group["params"]:
                self.state[p] = {"step": 0, "sum": self._start("sum", p, group)}

    def _start(self, name: str, param: Tensor, group: dict[str, Any]) -> Tensor:
        return zeros_like(param.detach()).fill_(group["initial_accumulator_value"])

    def _formula(self, group: dict[str, Any]) -> Any:
        return "adagrad", ("sum", None, None)

    def _numbers(self, group: dict[str, Any], tick: int) -> tuple[float, ...]:
        return group["weight_decay"], group["lr"] / (1 + (tick - 1) * group["lr_decay"]), group["eps"]


class _Steady(Elementwise):
    """Base of those whose numbers are the same at every step: it is counted, as in torch, but parts no parameters from others."""

    def _tick(self, group: dict[str, Any], state: dict[str, Any], fresh: bool) -> None:
        super()._tick(group, state, fresh)


class Adadelta(_Steady):
    """Steps in proportion to the changes made so far, so that no learning rate is needed:

        g = grad + weight_decay * w,   s = rho * s + (1 - rho) * g^2
        d = sqrt(u + eps) / sqrt(s + eps) * g,   u = rho * u + (1 - rho) * d^2
        w = w - lr * d

    Args:
        params: tensors, or groups of them; see `Optimizer`.
        lr, eps, weight_decay: see above, 0 or larger.
        rho: between 0 and 1.
        maximize: climb.
        foreach, capturable, differentiable: None or False.

    M. D. Zeiler, "ADADELTA: an adaptive learning rate method", 2012, arXiv:1212.5701.

    >>> import convkit
    >>> from convkit import optim
    >>> w = convkit.tensor([1.0, -2.0], requires_grad=True)
    >>> optimizer = optim.Adadelta([w], eps=1e-2)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> bool(w[0] < 0.8), bool(w[1] > -1.8)
    (True, True)
    """

    _state_arrays = ("square_avg", "acc_delta")

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0,
        foreach: bool | None = None,
        *,
        capturable: bool = False,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        super().__init__(params, settings(locals()))

    def _check(self, settings: Mapping[str, Any]) -> None:
        super()._check(settings)
        if not 0 <= checks.number("Adadelta", "rho", settings["rho"]) <= 1:
            raise ValueError(f"Adadelta: rho must be between 0 and 1, got {settings['rho']}")

    def _formula(self, group: dict[str, Any]) -> Any:
        return "adadelta", ("square_avg", "acc_delta", None)

    def _numbers(self, group: dict[str, Any], tick: None) -> tuple[float, ...]:
        return group["weight_decay"], group["lr"], group["rho"], 1 - group["rho"], group["eps"]


class RMSprop(_Steady):
    """Steps divided by the root of the mean of squared gradients:

        g = grad + weight_decay * w,   s = alpha * s + (1 - alpha) * g^2
        d = g / (sqrt(s) + eps)                         s - m^2 in place of s if centered, with m = alpha * m + (1 - alpha) * g
        v = momentum * v + d
        w = w - lr * v

    Args:
        params: tensors, or groups of them; see `Optimizer`.
        lr, alpha, eps, weight_decay, momentum: see above, 0 or larger.
        centered: divide by the standard deviation.
        maximize: climb.
        capturable, foreach, differentiable: None or False.

    T. Tieleman, G. Hinton, "Lecture 6.5 - RMSprop", Neural Networks for Machine Learning, 2012; centered: A. Graves, "Generating sequences
    with recurrent neural networks", 2013, arXiv:1308.0850.

    >>> import convkit
    >>> from convkit import optim
    >>> w = convkit.tensor([1.0, -200.0], requires_grad=True)
    >>> optimizer = optim.RMSprop([w], lr=0.125, alpha=0)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> w.tolist()
    [0.875, -199.875]
    """

    _state_arrays = ("square_avg", "momentum_buffer", "grad_avg")

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum: float = 0,
        centered: bool = False,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        super().__init__(params, settings(locals()))

    def _formula(self, group: dict[str, Any]) -> Any:
        return "rmsprop", ("square_avg", "grad_avg" if group["centered"] else None, "momentum_buffer" if group["momentum"] else None)

    def _numbers(self, group: dict[str, Any], tick: None) -> tuple[float, ...]:
        alpha = group["alpha"]
        return group["weight_decay"], group["lr"], alpha, 1 - alpha, group["eps"], group["momentum"], group["centered"]
