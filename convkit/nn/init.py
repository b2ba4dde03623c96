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
from ..ops import checks
from ..ops.creation import rand, randn
from ..tensor import Tensor


def uniform_(tensor: Tensor, a: float = 0.0, b: float = 1.0, generator: Any = None) -> Tensor:
    """Uniform on [a, b).

    >>> from convkit import nn, zeros
    >>> t = nn.init.uniform_(zeros(1000), -2, 3)
    >>> bool(-2 <= t.min().item() < -1.9 and 2.9 < t.max().item() <= 3)
    True
    """
    checks.numbers("uniform_", a=a, b=b)
    if not a <= b:
        raise RuntimeError(f"uniform_: a must not be larger than b, got a={a} and b={b}")
    return _set(tensor, a + (b - a) * _draw(rand, tensor, generator))


def normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0, generator: Any = None) -> Tensor:
    """Normal with the given mean and standard deviation; RuntimeError for a negative one."""
    checks.numbers("normal_", mean=mean, std=std)
    if not std >= 0:
        raise RuntimeError(f"normal_: std must be 0 or larger, got {std}")
    return _set(tensor, mean + std * _draw(randn, tensor, generator))


def trunc_normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0, a: float = -2.0, b: float = 2.0, generator: Any = None) -> Tensor:
    """Normal, cut off to [a, b]: the inverse of its distribution function, applied to uniform numbers.

    ValueError unless a < b.
    """
    from scipy.special import ndtr, ndtri

    checks.numbers("trunc_normal_", mean=mean, std=std, a=a, b=b)
    if not std > 0:
        raise ValueError(f"trunc_normal_: std must be larger than 0, got {std}")
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


def eye_(tensor: Tensor) -> Tensor:
    """The identity [n, m]: 1 on the diagonal, 0 elsewhere; ValueError unless there are 2 dimensions.

    >>> from convkit import nn, zeros
    >>> nn.init.eye_(zeros(2, 3)).tolist()
    [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]
    """
    checks.tensor("eye_", tensor)
    if len(tensor.shape) != 2:
        raise ValueError(f"eye_: the tensor must have 2 dimensions, got shape {list(tensor.shape)}")
    return _set(tensor, np.eye(*tensor.shape))


def dirac_(tensor: Tensor, groups: int = 1) -> Tensor:
    """The convolution weight [K, C, *window] that passes channel c of each group on to output c: 1 in the middle of the window, 0 elsewhere.

    ValueError unless there are 3 to 5 dimensions and groups divides K.

    >>> from convkit import nn, zeros
    >>> nn.init.dirac_(zeros(4, 2, 3), groups=2)[:, :, 1].tolist()
    [[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [0.0, 1.0]]
    """
    shape, groups = checks.tensor("dirac_", tensor).shape, checks.whole("dirac_", "groups", groups)
    if len(shape) not in (3, 4, 5):
        raise ValueError(f"dirac_: the tensor must have 3, 4 or 5 dimensions, got shape {list(shape)}")
    if groups < 1 or shape[0] % groups:
        raise ValueError(f"dirac_: groups must divide the first dimension, got shape {list(shape)} and groups={groups}")
    values, outputs = np.zeros(shape), shape[0] // groups
    for group in range(groups):
        for c in range(min(outputs, shape[1])):
            values[(group * outputs + c, c, *(size // 2 for size in shape[2:]))] = 1
    return _set(tensor, values)


def orthogonal_(tensor: Tensor, gain: float = 1, generator: Any = None) -> Tensor:
    """gain times a random matrix [n, m * ...] with orthonormal rows, or columns where there are fewer of them.

    ValueError for fewer than 2 dimensions.

    A. M. Saxe, J. L. McClelland, S. Ganguli, "Exact solutions to the nonlinear dynamics of learning in deep linear neural networks",
    ICLR 2014.

    >>> from convkit import nn, zeros
    >>> w = nn.init.orthogonal_(zeros(3, 5))
    >>> bool(abs((w @ w.T).numpy() - np.eye(3)).max() < 1e-6)
    True
    """
    shape = checks.tensor("orthogonal_", tensor).shape
    checks.number("orthogonal_", "gain", gain)
    if len(shape) < 2:
        raise ValueError(f"orthogonal_: the tensor must have 2 dimensions or more, got shape {list(shape)}")
    if 0 in shape:
        return tensor
    drawn = _draw(randn, tensor, generator).astype(np.float64).reshape(shape[0], -1)
    wide = drawn.shape[0] < drawn.shape[1]
    q, r = np.linalg.qr(drawn.T if wide else drawn)
    q *= np.sign(np.diag(r))  # without it the columns are not uniform
    return _set(tensor, gain * (q.T if wide else q).reshape(shape))


def sparse_(tensor: Tensor, sparsity: float, std: float = 0.01, generator: Any = None) -> Tensor:
    """Normal, with the part `sparsity` (rounded up) of each column [n, m] set to 0; ValueError unless there are 2 dimensions.

    J. Martens, "Deep learning via Hessian-free optimization", ICML 2010.

    >>> from convkit import nn, zeros
    >>> (nn.init.sparse_(zeros(10, 3), 0.25) == 0).numpy().sum(0).tolist()
    [3, 3, 3]
    """
    checks.numbers("sparse_", sparsity=sparsity, std=std)
    if not math.isfinite(sparsity):
        raise ValueError(f"sparse_: sparsity must be finite, got {sparsity}")
    if len(checks.tensor("sparse_", tensor).shape) != 2:
        raise ValueError(f"sparse_: the tensor must have 2 dimensions, got shape {list(tensor.shape)}")
    rows, columns = tensor.shape
    normal_(tensor, 0, std, generator)
    order = np.argsort(rand(rows, columns, generator=generator, device="cpu").numpy(), axis=0)[: math.ceil(sparsity * rows)]
    values = tensor.detach().cpu().numpy().copy()
    np.put_along_axis(values, order, 0, axis=0)
    return _set(tensor, values)


def xavier_uniform_(tensor: Tensor, gain: float = 1.0, generator: Any = None) -> Tensor:
    """Uniform on +-gain * sqrt(6 / (fan_in + fan_out)): keeps the size of signals through tanh layers.

    X. Glorot, Y. Bengio, "Understanding the difficulty of training deep feedforward neural networks", AISTATS 2010.
    """
    checks.number("xavier_uniform_", "gain", gain)
    bound = gain * math.sqrt(6 / sum(fans("xavier_uniform_", tensor)))
    return uniform_(tensor, -bound, bound, generator)


def xavier_normal_(tensor: Tensor, gain: float = 1.0, generator: Any = None) -> Tensor:
    """Normal with standard deviation gain * sqrt(2 / (fan_in + fan_out)); see `xavier_uniform_`."""
    checks.number("xavier_normal_", "gain", gain)
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
        if isinstance(slope, bool) or not isinstance(slope, (int, float)):
            raise ValueError(f"calculate_gain: the slope of leaky_relu must be a number, got {slope!r}")
        return math.sqrt(2 / (1 + slope**2))
    if nonlinearity not in _GAINS:
        raise ValueError(f"calculate_gain: nonlinearity must be one of {', '.join([*_GAINS, 'leaky_relu'])}, got {nonlinearity!r}")
    return _GAINS[nonlinearity]


def fans(op: str, tensor: Tensor) -> tuple[int, int]:
    """(fan_in, fan_out) of a weight; ValueError naming `op` for fewer than two dimensions."""
    if len(checks.tensor(op, tensor).shape) < 2:
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
    if checks.tensor("nn.init", tensor).array.dtype.kind != "f":
        raise TypeError(f"nn.init: random numbers need a floating tensor, got {tensor.dtype}")
    return draw(*tensor.shape, generator=generator, device="cpu").numpy()


def _set(tensor: Tensor, values: Any) -> Tensor:
    with no_grad():
        return checks.tensor("nn.init", tensor).copy_(values)
