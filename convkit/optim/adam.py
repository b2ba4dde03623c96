"""Adam and its kin: steps by the means of the gradient and of its square."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from .optimizer import Elementwise, settings


class Adam(Elementwise):
    """Steps of about the learning rate in every coordinate, whatever the size of its gradient:

        g = grad + weight_decay * w                     -grad + ... with maximize
        m = beta1 * m + (1 - beta1) * g                 mean of the gradients
        v = beta2 * v + (1 - beta2) * g^2               and of their squares, both corrected for their start at 0:
        w = w - lr * (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + eps)          at step t = 1, 2, ...

    Args:
        params: tensors, or groups of them; see `Optimizer`.
        lr: the learning rate, 0 or larger.
        betas: (beta1, beta2), each in [0, 1).
        eps, weight_decay: see above.
        amsgrad: divide by the largest v so far.
        maximize: climb.
        decoupled_weight_decay: as in `AdamW`.
        foreach, capturable, differentiable, fused: None or False.

    Raises:
        ValueError: numbers out of these ranges.

    D. P. Kingma, J. Ba, "Adam: a method for stochastic optimization", ICLR 2015, arXiv:1412.6980; amsgrad: S. J. Reddi, S. Kale, S. Kumar,
    "On the convergence of Adam and beyond", ICLR 2018.

    >>> import convkit
    >>> from convkit import optim
    >>> w = convkit.tensor([1.0, -200.0], requires_grad=True)
    >>> optimizer = optim.Adam([w], lr=0.125)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> w.tolist()
    [0.875, -199.875]
    """

    _state_arrays = ("exp_avg", "exp_avg_sq", "max_exp_avg_sq")

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        amsgrad: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
        decoupled_weight_decay: bool = False,
    ) -> None:
        super().__init__(params, settings(locals()))

    def _formula(self, group: dict[str, Any]) -> Any:
        return "adam", ("exp_avg", "exp_avg_sq", "max_exp_avg_sq" if group["amsgrad"] else None)

    def _numbers(self, group: dict[str, Any], tick: int) -> tuple[float, ...]:
        beta1, beta2 = group["betas"]
        return (*_decay(group), group["lr"] / (1 - beta1**tick), *_means(group), (1 - beta2**tick) ** -0.5, group["eps"])


class AdamW(Adam):
    """Adam with a decay of the weights beside the gradient instead of in it: g = grad, and w = w * (1 - lr * weight_decay) first.

    Arguments as in `Adam`.

    I. Loshchilov, F. Hutter, "Decoupled weight decay regularization", ICLR 2019, arXiv:1711.05101.

    >>> import convkit
    >>> from convkit import optim
    >>> optim.AdamW([convkit.zeros(3)]).param_groups[0]["weight_decay"]
    0.01
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        super().__init__(params, **settings(locals()), decoupled_weight_decay=True)


class NAdam(Elementwise):
    """Adam with Nesterov's momentum, which looks a step ahead:

        mu_t = beta1 * (1 - 0.96^(t * momentum_decay) / 2),   M_t = mu_1 * ... * mu_t
        w = w - lr * (mu_(t+1) / (1 - M_(t+1)) * m + (1 - mu_t) / (1 - M_t) * g) / (sqrt(v / (1 - beta2^t)) + eps)

    with g, m and v as in `Adam`, whose arguments these are; and

    Args:
        momentum_decay: see above.
        decoupled_weight_decay: as in `AdamW`.

    As in torch, M is kept in float32.

    T. Dozat, "Incorporating Nesterov momentum into Adam", ICLR 2016 workshop.

    >>> import convkit
    >>> from convkit import optim
    >>> w = convkit.tensor([1.0, -200.0], requires_grad=True)
    >>> optimizer = optim.NAdam([w], lr=0.5)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> bool(w[0] < 0.6), bool(w[1] > -199.6)
    (True, True)
    """

    _state_arrays = ("exp_avg", "exp_avg_sq")

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum_decay: float = 4e-3,
        decoupled_weight_decay: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
    ) -> None:
        super().__init__(params, settings(locals()))

    def _formula(self, group: dict[str, Any]) -> Any:
        return "nadam", ("exp_avg", "exp_avg_sq", None)

    def _tick(self, group: dict[str, Any], state: dict[str, Any], fresh: bool) -> tuple[int, float]:
        state["step"] = step = state.get("step", 0) + 1
        state["mu_product"] = product = float(np.float32(state.get("mu_product", 1.0)) * np.float32(self._mu(group, step)))
        return step, product

    @staticmethod
    def _mu(group: dict[str, Any], step: int) -> float:
        return group["betas"][0] * (1 - 0.5 * 0.96 ** (step * group["momentum_decay"]))

    def _numbers(self, group: dict[str, Any], tick: tuple[int, float]) -> tuple[float, ...]:
        step, product = tick
        mu, following = self._mu(group, step), self._mu(group, step + 1)
        of_mean = group["lr"] * following / (1 - product * following)
        of_gradient = group["lr"] * (1 - mu) / (1 - product)
        return (*_decay(group), of_mean, *_means(group), (1 - group["betas"][1] ** step) ** -0.5, group["eps"], of_gradient)


class RAdam(Elementwise):
    """Adam that divides by sqrt(v) only once v says something, and then with a rectification r:

        rho = 2 / (1 - beta2) - 1,   rho_t = rho - 2 * t * beta2^t / (1 - beta2^t)
        r = sqrt((rho_t - 4) (rho_t - 2) rho / ((rho - 4) (rho - 2) rho_t))
        w = w - lr * (m / (1 - beta1^t)) * r * sqrt(1 - beta2^t) / (sqrt(v) + eps)         if rho_t > 5
        w = w - lr * (m / (1 - beta1^t))                                                   else

    with g, m and v as in `Adam`, whose arguments these are.

    L. Liu et al., "On the variance of the adaptive learning rate and beyond", ICLR 2020, arXiv:1908.03265.

    >>> import convkit
    >>> from convkit import optim
    >>> w = convkit.tensor([1.0, -2.0], requires_grad=True)
    >>> optimizer = optim.RAdam([w], lr=0.25)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> bool(abs(w[0].item() - 0.5) < 1e-6)
    True
    """

    _state_arrays = ("exp_avg", "exp_avg_sq")

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        decoupled_weight_decay: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
    ) -> None:
        super().__init__(params, settings(locals()))

    def _formula(self, group: dict[str, Any]) -> Any:
        return "radam", ("exp_avg", "exp_avg_sq", None)

    def _numbers(self, group: dict[str, Any], tick: int) -> tuple[float, ...]:
        beta1, beta2 = group["betas"]
        correction = 1 - beta2**tick
        most = 2 / (1 - beta2) - 1
        rho = most - 2 * tick * beta2**tick / correction
        rectified = math.sqrt((rho - 4) * (rho - 2) * most / ((most - 4) * (most - 2) * rho) * correction) if rho > 5 else 0.0
        return (*_decay(group), group["lr"] / (1 - beta1**tick), *_means(group), rectified, group["eps"], 1.0)


class Adamax(Elementwise):
    """Adam with the largest gradient, slowly forgotten, in place of the mean of squares:

        u = max(beta2 * u, |g| + eps)
        w = w - lr * (m / (1 - beta1^t)) / u

    with g and m as in `Adam`, whose arguments these are.

    D. P. Kingma, J. Ba, "Adam: a method for stochastic optimization", ICLR 2015, arXiv:1412.6980, section 7.

    >>> import convkit
    >>> from convkit import optim
    >>> w = convkit.tensor([1.0, -200.0], requires_grad=True)
    >>> optimizer = optim.Adamax([w], lr=0.125)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> w.tolist()
    [0.875, -199.875]
    """

    _state_arrays = ("exp_avg", "exp_inf")

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        capturable: bool = False,
    ) -> None:
        super().__init__(params, settings(locals()))

    def _formula(self, group: dict[str, Any]) -> Any:
        return "adamax", ("exp_avg", "exp_inf", None)

    def _numbers(self, group: dict[str, Any], tick: int) -> tuple[float, ...]:
        return (group["weight_decay"], 1.0, group["lr"] / (1 - group["betas"][0] ** tick), *_means(group), 0.0, group["eps"])


def _decay(group: dict[str, Any]) -> tuple[float, float]:
    """The decay that counts as gradient, and what is kept of the weights beside it."""
    if group["decoupled_weight_decay"]:
        return 0.0, 1 - group["lr"] * group["weight_decay"]
    return group["weight_decay"], 1.0


def _means(group: dict[str, Any]) -> tuple[float, float, float, float]:
    beta1, beta2 = group["betas"]
    return beta1, 1 - beta1, beta2, 1 - beta2
