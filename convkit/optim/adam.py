"""Adam and AdamW."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ..device import kernels
from .optimizer import Optimizer, like


class Adam(Optimizer):
    """Steps of about the learning rate in every coordinate, whatever the size of its gradient:

        g = grad + weight_decay * w
        m = beta1 * m + (1 - beta1) * g                 mean of the gradients
        v = beta2 * v + (1 - beta2) * g^2               and of their squares, both corrected for their start at 0:
        w = w - lr * (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + eps)          at step t = 1, 2, ...

    Args:
        params: tensors, or groups of them; see `Optimizer`.
        lr: the learning rate, 0 or larger.
        betas: (beta1, beta2), each in [0, 1).
        eps, weight_decay: see above.

    Raises:
        ValueError: numbers out of these ranges.

    D. P. Kingma, J. Ba, "Adam: a method for stochastic optimization", ICLR 2015, arXiv:1412.6980.

    >>> import convkit
    >>> from convkit import optim
    >>> w = convkit.tensor([1.0, -200.0], requires_grad=True)
    >>> optimizer = optim.Adam([w], lr=0.125)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> w.tolist()
    [0.875, -199.875]
    """

    _state_arrays = ("exp_avg", "exp_avg_sq")
    _decoupled = False

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})

    def _check(self, settings: Mapping[str, Any]) -> None:
        super()._check(settings)
        betas = settings["betas"]
        if len(betas) != 2 or not all(0 <= beta < 1 for beta in betas):
            raise ValueError(f"{type(self).__name__}: betas must be two numbers in [0, 1), got {betas}")

    def _update(self, param: Any, grad: Any, state: dict[str, Any], group: dict[str, Any]) -> None:
        if not state:
            state.update(step=0, exp_avg=like(param), exp_avg_sq=like(param))
        state["step"] = step = int(state["step"]) + 1
        beta1, beta2 = group["betas"]
        kernels(param).adam_update(
            param,
            grad,
            state["exp_avg"],
            state["exp_avg_sq"],
            group["lr"],
            beta1,
            beta2,
            group["eps"],
            group["weight_decay"],
            self._decoupled,
            step,
        )


class AdamW(Adam):
    """Adam with a decay of the weights beside the gradient instead of in it: g = grad, and w = w * (1 - lr * weight_decay) first.

    Arguments as in `Adam`.

    I. Loshchilov, F. Hutter, "Decoupled weight decay regularization", ICLR 2019, arXiv:1711.05101.
    """

    _decoupled = True

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay)
