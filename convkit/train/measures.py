"""What training tells of each batch, computed where the tensors are: a GPU is waited for once, for all numbers together."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..tensor import Tensor


def accuracy(outputs: Tensor, targets: Tensor) -> float:
    """Part of the targets [N, ...] at which outputs [N, C, ...] are largest.

    >>> import convkit
    >>> accuracy(convkit.tensor([[0.1, 0.9], [0.8, 0.2]]), convkit.tensor([1, 1]))
    0.5
    """
    return float(part_right(outputs, targets))


def part_right(outputs: Tensor, targets: Tensor) -> Any:
    """`accuracy` as an array without dimensions, which is not read yet."""
    return (outputs.array.argmax(1) == targets.to(outputs.device).array).mean()


def read(*values: Any) -> list[float]:
    """The numbers in tensors or arrays of one element each."""
    arrays = [getattr(value, "array", value) for value in values]
    away = [a for a in arrays if a.device != "cpu"]
    numbers = iter([])  # type: ignore[var-annotated]
    if away:
        together = np.empty(len(away), np.float64, like=away[0])
        for i, a in enumerate(away):
            together[i] = a.reshape(())
        numbers = iter(together.tolist())
    return [float(a.item()) if a.device == "cpu" else next(numbers) for a in arrays]
