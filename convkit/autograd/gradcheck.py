"""Are gradients right?  They are compared with central differences."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..device import move
from .graph import TensorBase, grad


def gradcheck(func: Callable, inputs: Any, eps: float = 1e-6, atol: float = 1e-5, rtol: float = 1e-3, raise_exception: bool = True) -> bool:
    """Do the gradients of `func(*inputs)` agree with central differences?

    `inputs`: a tensor or a tuple of tensors; those that require a gradient must be float64.  Every element of every
    input is moved by +-eps, so keep them small.  True, or an error that names the input and the worst element
    (RuntimeError; False with raise_exception=False).
    """
    inputs = (inputs,) if isinstance(inputs, TensorBase) else tuple(inputs)
    for i, x in enumerate(inputs):
        if isinstance(x, TensorBase) and x.requires_grad and x.array.dtype != np.float64:
            raise ValueError(f"gradcheck: input {i} must be float64 for differences of {eps}, got {x.array.dtype}")
    checked = [i for i, x in enumerate(inputs) if isinstance(x, TensorBase) and x.requires_grad]
    if not checked:
        raise ValueError("gradcheck: no input requires a gradient")

    def outputs_of(*args: Any) -> list[Any]:
        result = func(*args)
        every = [result] if isinstance(result, TensorBase) else list(result)
        return [y for y in every if y.array.dtype.kind == "f"]

    outputs = outputs_of(*inputs)
    jacobians: dict[int, list[list[np.ndarray]]] = {i: [] for i in checked}
    for y in outputs:
        for position in range(y.array.size):
            one = np.zeros(y.array.size)
            one[position] = 1
            seed = TensorBase.result(move(one.reshape(y.array.shape), y.array.device))
            if y.requires_grad:
                grads = grad(y, [inputs[i] for i in checked], seed, retain_graph=True, allow_unused=True)
            else:
                grads = (None,) * len(checked)  # type: ignore[assignment]
            for i, g in zip(checked, grads, strict=True):
                row = np.zeros(inputs[i].array.size) if g is None else move(g.array, "cpu").reshape(-1)
                jacobians[i].append([row])
    for i in checked:
        x = inputs[i]
        analytic = np.array([rows[0] for rows in jacobians[i]]).reshape(len(jacobians[i]), x.array.size)
        numeric, here = np.empty_like(analytic), move(x.array, "cpu")
        for position in range(x.array.size):
            ends = []
            for sign in (1, -1):
                moved = here.copy(order="C").reshape(-1)
                moved[position] += sign * eps
                args = list(inputs)
                args[i] = TensorBase.result(move(moved.reshape(x.array.shape), x.array.device), requires_grad=True)
                ends.append(np.concatenate([move(y.array, "cpu").reshape(-1) for y in outputs_of(*args)] or [np.zeros(0)]))
            numeric[:, position] = (ends[0] - ends[1]) / (2 * eps)
        wrong = ~np.isclose(analytic, numeric, rtol=rtol, atol=atol)
        if wrong.any():
            if not raise_exception:
                return False
            worst = np.unravel_index(np.argmax(np.where(wrong, np.abs(analytic - numeric), -1)), wrong.shape)
            element = [int(n) for n in np.unravel_index(worst[1], x.array.shape)]
            raise RuntimeError(
                f"gradcheck: input {i}, element {element}, output element {int(worst[0])}: the gradient is {analytic[worst]:.9g} "
                f"but differences give {numeric[worst]:.9g} ({int(wrong.sum())} of {wrong.size} differ)"
            )
    return True


def gradgradcheck(
    func: Callable, inputs: Any, grad_outputs: Any = None, eps: float = 1e-6, atol: float = 1e-5, rtol: float = 1e-3, raise_exception: bool = True
) -> bool:
    """Do the second derivatives of `func(*inputs)` agree with central differences of the first?

    `grad_outputs` weighs the outputs (random numbers by default) and is differentiated too.
    """
    inputs = (inputs,) if isinstance(inputs, TensorBase) else tuple(inputs)
    result = func(*inputs)
    outputs = [y for y in ([result] if isinstance(result, TensorBase) else list(result)) if y.requires_grad]
    if grad_outputs is None:
        rng = np.random.default_rng(0)
        weights = [TensorBase.result(move(rng.standard_normal(y.array.shape), y.array.device), requires_grad=True) for y in outputs]
    else:
        weights = [grad_outputs] if isinstance(grad_outputs, TensorBase) else list(grad_outputs)
    n = len(inputs)

    def first_derivatives(*args: Any) -> tuple:
        again = func(*args[:n])
        ys = [y for y in ([again] if isinstance(again, TensorBase) else list(again)) if y.requires_grad]
        wanted = [a for a in args[:n] if isinstance(a, TensorBase) and a.requires_grad]
        return tuple(g for g in grad(ys, wanted, args[n:], create_graph=True, allow_unused=True) if g is not None)

    return gradcheck(first_derivatives, (*inputs, *weights), eps, atol, rtol, raise_exception)
