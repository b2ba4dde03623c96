"""Initial values of weights: `nn.init.kaiming_normal_(layer.weight)` and its kin.

All fill a tensor in place, record no graph, and give the tensor back.  They draw from convkit's generator, which
`manual_seed` sets, or from the one passed as `generator`.

The fans of a weight [K, C, *window] (a Linear's is [K, C]) are fan_in = C * window elements, fan_out = K * window elements:
how many numbers a sum runs over, forwards and backwards.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..autograd import no_grad
from ..ops.creation import rand, randn
from ..tensor import Tensor


def uniform_(tensor: Tensor, a: float = 0.0, b: float = 1.0, generator: Any = None) -> Tensor:
    """Uniform on [a, b).

    >>> from convkit import nn, zeros
    >>> t = nn.init.uniform_(zeros(1000), -2, 3)
    >>> bool(-2 <= t.min().item() < -1.9 and 2.9 < t.max().item() <= 3)
    True
    """
    return _set(tensor, a + (b - a) * _draw(rand, tensor, generator))


def normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0, generator: Any = None) -> Tensor:
    """Normal with the given mean and standard deviation."""
    return _set(tensor, mean + std * _draw(randn, tensor, generator))


def trunc_normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0, a: float = -2.0, b: float = 2.0, generator: Any = None) -> Tensor:
    """Normal, cut off to [a, b]: the inverse of its distribution function, applied to uniform numbers.

    ValueError unless a < b.
    """
    from scipy.special import ndtr, ndtri

    if not a < b:
        raise ValueError(f"trunc_normal_: a must be smaller than b, got a={a} and b={b}")
    low, high = ndtr((a - mean) / std), ndtr((b - mean) / std)
    values = mean + std * ndtri(low + (high - low) * _draw(rand, tensor, generator))
    return _set(tensor, np.clip(values, a, b))


def constant_(tensor: Tensor, val: float) -> Tensor:
    """`val` everywhere."""
    return _set(tensor, val)


def zeros_(tensor: Tensor) -> Tensor:
    """Zeros."""
    return _set(tensor, 0)


def ones_(tensor: Tensor) -> Tensor:
    """Ones."""
    return _set(tensor, 1)


def xavier_uniform_(tensor: Tensor, gain: float = 1.0, generator: Any = None) -> Tensor:
    """Uniform on +-gain * sqrt(6 / (fan_in + fan_out)): keeps the size of signals through tanh layers.

    X. Glorot, Y. Bengio, "Understanding the difficulty of training deep feedforward neural networks", AISTATS 2010.
    """
    bound = gain * math.sqrt(6 / sum(fans("xavier_uniform_", tensor)))
    return uniform_(tensor, -bound, bound, generator)


def xavier_normal_(tensor: Tensor, gain: float = 1.0, generator: Any = None) -> Tensor:
    """Normal with standard deviation gain * sqrt(2 / (fan_in + fan_out)); see `xavier_uniform_`."""
    return normal_(tensor, 0, gain * math.sqrt(2 / sum(fans("xavier_normal_", tensor))), generator)


def kaiming_uniform_(tensor: Tensor, a: float = 0, mode: str = "fan_in", nonlinearity: str = "leaky_relu", generator: Any = None) -> Tensor:
    """Uniform on +-gain * sqrt(3 / fan): keeps the size of signals through ReLU layers.

    gain is calculate_gain(nonlinearity, a).  `mode` 'fan_in' keeps the size on the way forward, 'fan_out' on the way back.
    With a = sqrt(5) the bound is 1 / sqrt(fan_in): how layers start.  ValueError for another mode.

    K. He, X. Zhang, S. Ren, J. Sun, "Delving deep into rectifiers", ICCV 2015.
    """
    bound = math.sqrt(3) * _kaiming_std("kaiming_uniform_", tensor, a, mode, nonlinearity)
    return uniform_(tensor, -bound, bound, generator)


def kaiming_normal_(tensor: Tensor, a: float = 0, mode: str = "fan_in", nonlinearity: str = "leaky_relu", generator: Any = None) -> Tensor:
    """Normal with standard deviation gain / sqrt(fan); see `kaiming_uniform_`."""
    return normal_(tensor, 0, _kaiming_std("kaiming_normal_", tensor, a, mode, nonlinearity), generator)


_GAINS = {
    "linear": 1.0,
    **{f"{kind}{rank}d": 1.0 for kind in ("conv", "conv_transpose") for rank in (1, 2, 3)},
    "sigmoid": 1.0,
    "tanh": 5 / 3,
    "relu": math.sqrt(2),
    "selu": 3 / 4,
}


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """By how much weights must be larger to make up for what a nonlinearity takes away.

    1 for linear, conv and sigmoid, 5/3 for tanh, sqrt(2) for relu, sqrt(2 / (1 + slope^2)) for leaky_relu, whose slope
    is `param` (0.01 if None), 3/4 for selu.  ValueError for another name.

    >>> from convkit import nn
    >>> round(nn.init.calculate_gain("relu"), 4)
    1.4142
    """
    if nonlinearity == "leaky_relu":
        slope = 0.01 if param is None else param
        return math.sqrt(2 / (1 + slope**2))
    if nonlinearity not in _GAINS:
        raise ValueError(f"calculate_gain: nonlinearity must be one of {', '.join([*_GAINS, 'leaky_relu'])}, got {nonlinearity!r}")
    return _GAINS[nonlinearity]


def fans(op: str, tensor: Tensor) -> tuple[int, int]:
    """(fan_in, fan_out) of a weight; ValueError naming `op` for fewer than two dimensions."""
    if len(tensor.shape) < 2:
        raise ValueError(f"{op}: a fan needs a weight of 2 dimensions or more, [out, in, *window], got shape {list(tensor.shape)}")
    window = math.prod(tensor.shape[2:])
    return tensor.shape[1] * window, tensor.shape[0] * window


def reset_like_torch(weight: Tensor, bias: Tensor | None) -> None:
    """How torch's Linear and convolutions start: both uniform on +-1 / sqrt(fan_in)."""
    kaiming_uniform_(weight, a=math.sqrt(5))
    if bias is not None:
        fan_in = fans("bias", weight)[0]
        bound = 1 / math.sqrt(fan_in) if fan_in else 0.0
        uniform_(bias, -bound, bound)


def _kaiming_std(op: str, tensor: Tensor, a: float, mode: str, nonlinearity: str) -> float:
    if mode not in ("fan_in", "fan_out"):
        raise ValueError(f"{op}: mode must be 'fan_in' or 'fan_out', got {mode!r}")
    fan = fans(op, tensor)[mode == "fan_out"]
    return calculate_gain(nonlinearity, a) / math.sqrt(fan) if fan else 0.0


def _draw(draw: Any, tensor: Tensor, generator: Any) -> np.ndarray:
    return draw(*tensor.shape, generator=generator).numpy()


def _set(tensor: Tensor, values: Any) -> Tensor:
    with no_grad():
        return tensor.copy_(values)
