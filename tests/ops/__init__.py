"""Operations: values against NumPy and SciPy, first and second derivatives against differences, errors in words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import strategies as st

from convkit import Tensor
from convkit.autograd import gradcheck, gradgradcheck
from tests.helpers import LAYOUTS, numbers

both_layouts = st.sampled_from(["C order", "channels-last"])
seeds = st.integers(0, 999)


def leaf(seed: int, shape: tuple[int, ...], layout: str = "C order", dtype: Any = np.float64) -> Tensor:
    """Normal random numbers that require a gradient."""
    return Tensor(LAYOUTS[layout](numbers(seed, shape, dtype)), requires_grad=True)


def apart(seed: int, shape: tuple[int, ...], layout: str = "C order") -> Tensor:
    """Numbers in random order that differ from each other and from 0 by 0.1 at least: no kink lies within a small step."""
    n = int(np.prod(shape))
    values = (np.random.default_rng(seed).permutation(n) - n // 2 + 0.5) * 0.2
    return Tensor(LAYOUTS[layout](values.reshape(shape)), requires_grad=True)


def check_gradients(function: Callable[..., Any], *inputs: Any, second: bool = True) -> None:
    """First and second derivatives against differences."""
    assert gradcheck(function, inputs)
    assert not second or gradgradcheck(function, inputs)


def gradients(function: Callable[..., Tensor], *inputs: Tensor, gradient: np.ndarray | None = None) -> tuple[np.ndarray, ...]:
    """(y, the gradient of each input) of y = function(*inputs), weighted by `gradient` (ones); shapes and dtypes must be the inputs'."""
    y = function(*inputs)
    y.backward(Tensor(np.ones_like(y.array) if gradient is None else np.asarray(gradient, y.dtype)))
    for x in inputs:
        assert x.grad.shape == x.shape and x.grad.dtype == x.dtype
    return (y.detach().numpy(), *(x.grad.numpy() for x in inputs))


def second_order_runs(function: Callable[..., Tensor], *inputs: Tensor) -> None:
    """Differentiate twice, whatever the sizes, also where there is nothing to differentiate."""
    from convkit.autograd import grad

    y = function(*inputs)
    first = grad(y, inputs, Tensor(np.ones_like(y.array)), create_graph=True)
    total = sum((g * g).sum() for g in first)
    for x, g in zip(inputs, grad(total, inputs, allow_unused=True) if total.requires_grad else [None] * len(inputs), strict=True):
        assert g is None or g.shape == x.shape
