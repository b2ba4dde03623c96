"""Stochastic gradient descent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ..device import kernels
from .optimizer import Optimizer, like


class SGD(Optimizer):
    """Gradient descent, with momentum if asked for:

        g = grad + weight_decay * w
        v = momentum * v + (1 - dampening) * g          v = g at the first step
        w = w - lr * v                                  w - lr * (g + momentum * v) with nesterov;  w - lr * g without momentum

    Args:
        params: tensors, or groups of them; see `Optimizer`.
        lr: the learning rate, 0 or larger.
        momentum, dampening, weight_decay, nesterov: see above.

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
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
    ) -> None:
        settings = {"lr": lr, "momentum": momentum, "dampening": dampening, "weight_decay": weight_decay, "nesterov": nesterov}
        super().__init__(params, settings)

    def _check(self, settings: Mapping[str, Any]) -> None:
        super()._check(settings)
        if not settings["momentum"] >= 0:
            raise ValueError(f"SGD: momentum must be 0 or larger, got {settings['momentum']}")
        if settings["nesterov"] and (settings["momentum"] == 0 or settings["dampening"] != 0):
            raise ValueError(f"SGD: nesterov needs momentum and no dampening, got momentum={settings['momentum']}, dampening={settings['dampening']}")

    def _update(self, param: Any, grad: Any, state: dict[str, Any], group: dict[str, Any]) -> None:
        buffer, first = None, False
        if group["momentum"]:
            buffer = state.get("momentum_buffer")
            first = buffer is None
            if first:
                buffer = state["momentum_buffer"] = like(param)
        kernels(param).sgd_update(
            param,
            grad,
            buffer,
            group["lr"],
            group["momentum"],
            group["dampening"],
            group["weight_decay"],
            group["nesterov"],
            first,
        )
