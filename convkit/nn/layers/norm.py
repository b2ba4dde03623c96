"""Normalisation over batches, instances, groups, layers and neighbouring channels."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from ...device import number
from ...ops.norm import normalized_sizes
from ...tensor import Tensor
from .. import functional as F
from .. import init
from ..module import Module
from ..parameter import Parameter, new_parameter, new_tensor
from .checks import positive


class _Affine(Module):
    """What normalisations share: a weight and a bias, or only the weight, or none."""

    weight: Parameter | None
    bias: Parameter | None

    def _register_affine(self, shape: tuple[int, ...], weight: bool, bias: bool, device: Any, dtype: Any) -> None:
        for what, wanted in (("weight", weight), ("bias", weight and bias)):
            self.register_parameter(what, new_parameter(type(self).__name__, shape, device, dtype) if wanted else None)

    def reset_parameters(self) -> None:
        """weight 1 and bias 0."""
        if self.weight is not None:
            init.ones_(self.weight)
        if self.bias is not None:
            init.zeros_(self.bias)


class _RunningNorm(_Affine):
    """What batch and instance normalisation share: weight and bias, running statistics, and their count."""

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
        *,
        bias: bool = True,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        self.num_features = positive(name, "num_features", num_features)
        self.eps, self.momentum, self.affine, self.track_running_stats = eps, momentum, affine, track_running_stats
        shape = (num_features,)
        self._register_affine(shape, affine, bias, device, dtype)
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
        super().reset_parameters()

    def extra_repr(self) -> str:
        affine = f"affine={self.affine}, bias={self.bias is not None}"
        return f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, {affine}, track_running_stats={self.track_running_stats}"


class _BatchNorm(_RunningNorm):
    dims: tuple[int, ...]  # numbers of dimensions that the input may have

    def forward(self, input: Tensor) -> Tensor:
        if len(input.shape) not in self.dims:
            wanted = " or ".join(f"{n}-D" for n in self.dims)
            raise ValueError(f"{type(self).__name__}: input must be {wanted} [N, C, ...], got shape {list(input.shape)}")
        if input.shape[1] != self.num_features:
            raise ValueError(f"{type(self).__name__}: input has {input.shape[1]} channels but num_features is {self.num_features}")
        factor: Any = 0.0 if self.momentum is None else self.momentum
        if self.training and self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
            if self.momentum is None:
                factor = number(1 / self.num_batches_tracked.array)
        by_batch = self.training or self.running_mean is None
        return F.batch_norm(input, self.running_mean, self.running_var, self.weight, self.bias, by_batch, factor, self.eps)


class BatchNorm2d(_BatchNorm):
    """Batch normalisation of images [N, C, H, W]: each channel is brought to mean 0 and variance 1, then scaled and shifted.

        y = (x - mean) / sqrt(var + eps) * weight + bias                           by channel

    In training mode mean and var are those of the batch, over N, H and W, with var divided by the count n; and they go into
    the running statistics, with var divided by n - 1:

        running = (1 - momentum) * running + momentum * batch statistic

    with momentum 1 / (number of batches so far) if it is None: a plain mean.  In evaluation mode the running statistics are used,
    or the batch's if `track_running_stats` is False.

    Parameters: weight and bias [C] (1 and 0 at first; none with affine=False, no bias with bias=False).  Buffers: running_mean and running_var [C],
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


class _InstanceNorm(_RunningNorm):
    rank: int  # spatial dimensions

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float = 0.1,
        affine: bool = False,
        track_running_stats: bool = False,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__(num_features, eps, momentum, affine, track_running_stats, device, dtype, bias=bias)

    def forward(self, input: Tensor) -> Tensor:
        name = type(self).__name__
        if input.ndim not in (self.rank + 1, self.rank + 2):
            raise ValueError(f"{name}: input must be {self.rank + 2}-D [N, C, ...] or {self.rank + 1}-D [C, ...], got shape {list(input.shape)}")
        if input.ndim == self.rank + 1:
            return self.forward(input.unsqueeze(0)).squeeze(0)
        if input.shape[1] != self.num_features:
            told = f"{name}: input has {input.shape[1]} channels but num_features is {self.num_features}"
            if self.affine or self.track_running_stats:
                raise ValueError(told)
            warnings.warn(f"{told}, which is not used without affine", UserWarning, stacklevel=3)
        by_image = self.training or not self.track_running_stats
        momentum = 0.0 if self.momentum is None else self.momentum
        return F.instance_norm(input, self.running_mean, self.running_var, self.weight, self.bias, by_image, momentum, self.eps)


class InstanceNorm2d(_InstanceNorm):
    """Instance normalisation of images [N, C, H, W] or [C, H, W]: each channel of each image is brought to mean 0 and variance 1.

        y = (x - mean) / sqrt(var + eps) * weight + bias                           by image and channel

    With `affine` weight [C] is learnt and, unless bias=False, bias [C].  With `track_running_stats` the buffers running_mean and
    running_var [C] follow the images' statistics, as in `BatchNorm2d`, and are used in evaluation mode.

    Raises:
        ValueError: input of another number of dimensions or channels; a single number a channel.

    D. Ulyanov, A. Vedaldi, V. Lempitsky, "Instance normalization: the missing ingredient for fast stylization", 2016.

    >>> from convkit import nn, randn
    >>> y = nn.InstanceNorm2d(3)(randn(8, 3, 4, 4) * 5 + 2)
    >>> bool(abs(y[0, 0].mean().item()) < 1e-6)
    True
    """

    rank = 2


class InstanceNorm1d(_InstanceNorm):
    """Instance normalisation of sequences [N, C, L] or [C, L]; see `InstanceNorm2d`.

    >>> from convkit import nn, randn
    >>> nn.InstanceNorm1d(3)(randn(2, 3, 5)).shape
    (2, 3, 5)
    """

    rank = 1


class InstanceNorm3d(_InstanceNorm):
    """Instance normalisation of volumes [N, C, D, H, W] or [C, D, H, W]; see `InstanceNorm2d`.

    >>> from convkit import nn, randn
    >>> nn.InstanceNorm3d(3)(randn(2, 3, 2, 2, 2)).shape
    (2, 3, 2, 2, 2)
    """

    rank = 3


class GroupNorm(_Affine):
    """Group normalisation of [N, C, ...]: the channels of each image fall into `num_groups` groups, each brought to mean 0 and variance 1.

    Parameters: weight and bias [num_channels] (1 and 0 at first; none with affine=False, no bias with bias=False).
    ValueError if num_groups does not divide num_channels.

    Y. Wu, K. He, "Group normalization", ECCV 2018.

    >>> from convkit import nn, randn
    >>> nn.GroupNorm(2, 6)(randn(4, 6, 5, 5)).shape
    (4, 6, 5, 5)
    """

    weight: Parameter | None
    bias: Parameter | None

    def __init__(
        self,
        num_groups: int,
        num_channels: int,
        eps: float = 1e-5,
        affine: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.num_groups = positive("GroupNorm", "num_groups", num_groups)
        self.num_channels = positive("GroupNorm", "num_channels", num_channels)
        if num_channels % num_groups:
            raise ValueError(f"GroupNorm: num_groups must divide num_channels, got {num_groups} and {num_channels}")
        self.eps, self.affine = eps, affine
        self._register_affine((num_channels,), affine, bias, device, dtype)
        self.reset_parameters()

    def forward(self, input: Tensor) -> Tensor:
        return F.group_norm(input, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return f"{self.num_groups}, {self.num_channels}, eps={self.eps}, affine={self.affine}, bias={self.bias is not None}"


class LayerNorm(_Affine):
    """Layer normalisation: the last dimensions, `normalized_shape` (an int or several), are brought to mean 0 and variance 1 together.

        y = (x - mean) / sqrt(var + eps) * weight + bias

    Parameters: weight and bias of shape `normalized_shape` (1 and 0 at first); none with elementwise_affine=False, no bias with bias=False.

    J. L. Ba, J. R. Kiros, G. E. Hinton, "Layer normalization", 2016.

    >>> from convkit import nn, tensor
    >>> [round(y, 3) for y in nn.LayerNorm(2)(tensor([1.0, 3.0])).tolist()]
    [-1.0, 1.0]
    """

    weight: Parameter | None
    bias: Parameter | None

    def __init__(
        self,
        normalized_shape: int | tuple[int, ...],
        eps: float | None = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        self.normalized_shape = normalized_sizes(name, normalized_shape)
        self.eps: Any = eps
        self.elementwise_affine = elementwise_affine
        self._register_affine(self.normalized_shape, elementwise_affine, bias, device, dtype)
        self.reset_parameters()

    def forward(self, input: Tensor) -> Tensor:
        return F.layer_norm(input, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}, bias={self.bias is not None}"


class RMSNorm(LayerNorm):
    """x / sqrt(mean(x^2) + eps) * weight over the last dimensions, `normalized_shape`; eps=None is the spacing of numbers at 1.

    B. Zhang, R. Sennrich, "Root mean square layer normalization", NeurIPS 2019.

    >>> from convkit import nn, tensor
    >>> nn.RMSNorm(2)(tensor([3.0, -3.0])).tolist()
    [1.0, -1.0]
    """

    def __init__(
        self,
        normalized_shape: int | tuple[int, ...],
        eps: float | None = None,
        elementwise_affine: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(normalized_shape, eps, elementwise_affine, False, device, dtype)

    def forward(self, x: Tensor) -> Tensor:  # torch's name
        return F.rms_norm(x, self.normalized_shape, self.weight, self.eps)

    def extra_repr(self) -> str:
        return f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"


class LocalResponseNorm(Module):
    """x / (k + alpha / size * sum of squares of `size` neighbouring channels)^beta; see `functional.local_response_norm`.

    >>> from convkit import nn, ones
    >>> nn.LocalResponseNorm(2, alpha=6.0, beta=1.0)(ones(1, 1, 1)).item()
    0.25
    """

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> None:
        super().__init__()
        self.size, self.alpha, self.beta, self.k = size, alpha, beta, k

    def forward(self, input: Tensor) -> Tensor:
        return F.local_response_norm(input, self.size, self.alpha, self.beta, self.k)

    def extra_repr(self) -> str:
        return f"{self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}"
