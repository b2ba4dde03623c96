"""Batch normalisation."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...tensor import Tensor
from .. import functional as F
from .. import init
from ..module import Module
from ..parameter import Parameter, new_parameter, new_tensor
from .checks import positive


class _BatchNorm(Module):
    dims: tuple[int, ...]  # numbers of dimensions that the input may have
    weight: Parameter | None
    bias: Parameter | None
    running_mean: Tensor | None
    running_var: Tensor | None
    num_batches_tracked: Tensor | None
    _optional_buffers = frozenset({"num_batches_tracked"})

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        self.num_features = positive(name, "num_features", num_features)
        self.eps, self.momentum, self.affine, self.track_running_stats = eps, momentum, affine, track_running_stats
        shape = (num_features,)
        self.register_parameter("weight", new_parameter(name, shape, device, dtype) if affine else None)
        self.register_parameter("bias", new_parameter(name, shape, device, dtype) if affine else None)
        self.register_buffer("running_mean", new_tensor(name, shape, device, dtype) if track_running_stats else None)
        self.register_buffer("running_var", new_tensor(name, shape, device, dtype, 1.0) if track_running_stats else None)
        self.register_buffer("num_batches_tracked", Tensor(np.array(0, np.int64)) if track_running_stats else None)
        self.reset_parameters()

    def reset_running_stats(self) -> None:
        """Forget the statistics: mean 0, variance 1, no batches."""
        if self.running_mean is not None and self.running_var is not None and self.num_batches_tracked is not None:
            init.zeros_(self.running_mean)
            init.ones_(self.running_var)
            init.zeros_(self.num_batches_tracked)

    def reset_parameters(self) -> None:
        """weight 1, bias 0, and no statistics."""
        self.reset_running_stats()
        if self.weight is not None and self.bias is not None:
            init.ones_(self.weight)
            init.zeros_(self.bias)

    def forward(self, x: Tensor) -> Tensor:
        if len(x.shape) not in self.dims:
            wanted = " or ".join(f"{n}-D" for n in self.dims)
            raise ValueError(f"{type(self).__name__}: input must be {wanted} [N, C, ...], got shape {list(x.shape)}")
        if x.shape[1] != self.num_features:
            raise ValueError(f"{type(self).__name__}: input has {x.shape[1]} channels but num_features is {self.num_features}")
        factor = 0.0 if self.momentum is None else self.momentum
        if self.training and self.num_batches_tracked is not None:
            batches = self.num_batches_tracked.item() + 1
            init.constant_(self.num_batches_tracked, batches)
            if self.momentum is None:
                factor = 1 / batches
        by_batch = self.training or self.running_mean is None
        return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, by_batch, factor, self.eps)

    def extra_repr(self) -> str:
        return f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, track_running_stats={self.track_running_stats}"


class BatchNorm2d(_BatchNorm):
    """Batch normalisation of images [N, C, H, W]: each channel is brought to mean 0 and variance 1, then scaled and shifted.

        y = (x - mean) / sqrt(var + eps) * weight + bias                           by channel

    In training mode mean and var are those of the batch, over N, H and W, with var divided by the count n; and they go into
    the running statistics, with var divided by n - 1:

        running = (1 - momentum) * running + momentum * batch statistic

    with momentum 1 / (number of batches so far) if it is None: a plain mean.  In evaluation mode the running statistics are used,
    or the batch's if `track_running_stats` is False.

    Parameters: weight and bias [C] (1 and 0 at first; none with affine=False).  Buffers: running_mean and running_var [C],
    num_batches_tracked.

    Raises:
        ValueError: input of another number of dimensions or channels; in training, a single number a channel.

    S. Ioffe, C. Szegedy, "Batch normalization: accelerating deep network training by reducing internal covariate shift",
    ICML 2015.

    >>> from convkit import nn, randn
    >>> layer = nn.BatchNorm2d(3)
    >>> y = layer(randn(8, 3, 4, 4) * 5 + 2)
    >>> bool(abs(y.mean().item()) < 1e-6), layer.num_batches_tracked.item()
    (True, 1)
    """

    dims = (4,)


class BatchNorm1d(_BatchNorm):
    """Batch normalisation of vectors [N, C] or sequences [N, C, L]; see `BatchNorm2d`."""

    dims = (2, 3)


class BatchNorm3d(_BatchNorm):
    """Batch normalisation of volumes [N, C, D, H, W]; see `BatchNorm2d`."""

    dims = (5,)
