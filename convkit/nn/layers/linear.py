"""Dense layers, and layers that only reshape."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ...tensor import Tensor
from .. import functional as F
from .. import init
from ..module import Module
from ..parameter import Parameter, new_parameter
from .checks import positive


class Linear(Module):
    """A dense layer: input [..., in_features] -> output [..., out_features],  y = x weight^T + bias.

    Parameters: weight [out_features, in_features] and bias [out_features], both uniform on +-1 / sqrt(in_features).

    >>> from convkit import nn, zeros
    >>> nn.Linear(400, 120)(zeros(8, 400)).shape
    (8, 120)
    """

    weight: Parameter
    bias: Parameter | None

    def __init__(self, in_features: int, out_features: int, bias: bool = True, device: Any = None, dtype: Any = None) -> None:
        super().__init__()
        self.in_features = positive("Linear", "in_features", in_features)
        self.out_features = positive("Linear", "out_features", out_features)
        self.weight = new_parameter("Linear", (out_features, in_features), device, dtype)
        self.register_parameter("bias", new_parameter("Linear", (out_features,), device, dtype) if bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weight and bias anew, uniform on +-1 / sqrt(in_features)."""
        init.reset_like_torch(self.weight, self.bias)

    def forward(self, input: Tensor) -> Tensor:
        return F.linear(input, self.weight, self.bias)

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"


class Bilinear(Module):
    """A layer of products: inputs [..., in1_features] and [..., in2_features] -> output [..., out_features],
    y[k] = bias[k] + sum over i, j of x1[i] * weight[k, i, j] * x2[j].

    Parameters: weight [out_features, in1_features, in2_features] and bias [out_features], both uniform on +-1 / sqrt(in1_features).

    >>> from convkit import nn, zeros
    >>> nn.Bilinear(20, 30, 40)(zeros(8, 20), zeros(8, 30)).shape
    (8, 40)
    """

    weight: Parameter
    bias: Parameter | None

    def __init__(self, in1_features: int, in2_features: int, out_features: int, bias: bool = True, device: Any = None, dtype: Any = None) -> None:
        super().__init__()
        self.in1_features = positive("Bilinear", "in1_features", in1_features)
        self.in2_features = positive("Bilinear", "in2_features", in2_features)
        self.out_features = positive("Bilinear", "out_features", out_features)
        self.weight = new_parameter("Bilinear", (out_features, in1_features, in2_features), device, dtype)
        self.register_parameter("bias", new_parameter("Bilinear", (out_features,), device, dtype) if bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weight and bias anew, uniform on +-1 / sqrt(in1_features)."""
        bound = 1 / math.sqrt(self.in1_features)
        for p in (self.weight, self.bias):
            if p is not None:
                init.uniform_(p, -bound, bound)

    def forward(self, input1: Tensor, input2: Tensor) -> Tensor:
        return F.bilinear(input1, input2, self.weight, self.bias)

    def extra_repr(self) -> str:
        sizes = f"in1_features={self.in1_features}, in2_features={self.in2_features}, out_features={self.out_features}"
        return f"{sizes}, bias={self.bias is not None}"


class Identity(Module):
    """Gives its input; takes, and does not use, any arguments."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()

    def forward(self, input: Any) -> Any:
        return input


class Flatten(Module):
    """Joins the dimensions from start_dim to end_dim into one: by default [N, C, H, W] -> [N, C*H*W].

    >>> from convkit import nn, zeros
    >>> nn.Flatten()(zeros(2, 16, 5, 5)).shape
    (2, 400)
    """

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        super().__init__()
        self.start_dim, self.end_dim = start_dim, end_dim

    def forward(self, input: Tensor) -> Tensor:
        return input.flatten(self.start_dim, self.end_dim)

    def extra_repr(self) -> str:
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"


class Unflatten(Module):
    """Splits dimension `dim` into dimensions of sizes `unflattened_size`, one of which may be -1.

    >>> from convkit import nn, zeros
    >>> nn.Unflatten(1, (16, 5, 5))(zeros(2, 400)).shape
    (2, 16, 5, 5)
    """

    def __init__(self, dim: int, unflattened_size: Sequence[int]) -> None:
        super().__init__()
        self.dim, self.unflattened_size = dim, tuple(unflattened_size)

    def forward(self, input: Tensor) -> Tensor:
        dims = len(input.shape)
        if not -dims <= self.dim < dims:
            raise IndexError(f"Unflatten: dim {self.dim} is out of range for shape {list(input.shape)}")
        dim = self.dim % dims
        return input.reshape(*input.shape[:dim], *self.unflattened_size, *input.shape[dim + 1 :])

    def extra_repr(self) -> str:
        return f"dim={self.dim}, unflattened_size={self.unflattened_size}"
