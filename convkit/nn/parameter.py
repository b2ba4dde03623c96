"""`Parameter`: a tensor that a module learns."""

from __future__ import annotations

from typing import Any

import numpy as np

from convkit_kernels import geometry

from ..ops import checks
from ..tensor import Tensor


class Parameter(Tensor):
    """A tensor that, as an attribute of a `Module`, is one of its `parameters()`; it requires a gradient unless told otherwise.

    Shares the memory of `data` (a Tensor or an array).

    >>> from convkit import nn, ones
    >>> nn.Parameter(ones(3)).requires_grad
    True
    """

    def __init__(self, data: Any, requires_grad: bool = True) -> None:
        array = data.array if isinstance(data, Tensor) else np.asarray(data)
        if array.dtype.kind not in "fiub":
            raise TypeError(f"Parameter: data must be real numbers or booleans, got dtype {array.dtype}")
        if requires_grad and array.dtype.kind != "f":
            raise RuntimeError(f"Parameter: only floating tensors can require gradients, got {array.dtype}; pass requires_grad=False")
        super().__init__(array, requires_grad)

    def __repr__(self) -> str:
        return f"Parameter containing:\n{super().__repr__()}"


def new_parameter(layer: str, shape: tuple[int, ...], device: Any, dtype: Any) -> Parameter:
    """A parameter of zeros, for `layer` to initialise; float32 unless `dtype` says otherwise."""
    return Parameter(new_tensor(layer, shape, device, dtype))


def new_tensor(layer: str, shape: tuple[int, ...], device: Any, dtype: Any, value: float = 0.0) -> Tensor:
    """A tensor full of `value`: a buffer of `layer`."""
    dtype = checks.dtype(layer, np.float32 if dtype is None else dtype)
    if dtype.kind != "f":
        raise TypeError(f"{layer}: dtype must be floating, got {dtype}")
    tensor = Tensor(np.full(geometry.fits(layer, shape), value, dtype))
    return tensor if device is None else tensor.to(device=device)
