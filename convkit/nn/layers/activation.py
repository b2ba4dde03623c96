"""Activation functions as layers: each calls the function of its name with the arguments it was built with.

`inplace=True` is refused, as in the functions.
"""

from __future__ import annotations

from typing import Any

from ...ops.activation import not_inplace
from ...tensor import Tensor
from .. import functional as F
from ..init import constant_
from ..module import Module
from ..parameter import Parameter, new_parameter
from .checks import positive


class _Activation(Module):
    """y = function(x, *arguments): `names` are the arguments, as attributes."""

    function: Any
    names: tuple[str, ...] = ()

    def forward(self, input: Tensor) -> Tensor:
        return type(self).function(input, *(getattr(self, name) for name in self.names))

    def extra_repr(self) -> str:
        return ", ".join(f"{name}={getattr(self, name)}" for name in self.names)


class _Plain(_Activation):
    """An activation without arguments but torch's `inplace`."""

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        not_inplace(type(self).__name__, inplace)

    def forward(self, input: Tensor) -> Tensor:
        return type(self).function(input)


class ReLU(_Plain):
    """max(x, 0), element by element.

    X. Glorot, A. Bordes, Y. Bengio, "Deep sparse rectifier neural networks", AISTATS 2011.

    >>> from convkit import nn, tensor
    >>> nn.ReLU()(tensor([-1.0, 2.0])).tolist()
    [0.0, 2.0]
    """

    function = F.relu


class ReLU6(_Plain):
    """min(max(x, 0), 6), element by element.

    >>> from convkit import nn, tensor
    >>> nn.ReLU6()(tensor([-1.0, 9.0])).tolist()
    [0.0, 6.0]
    """

    function = F.relu6


class SELU(_Plain):
    """1.0507 elu(x, 1.6733), element by element; see `functional.selu`.

    >>> from convkit import nn, tensor
    >>> round(nn.SELU()(tensor([1.0])).item(), 4)
    1.0507
    """

    function = F.selu


class SiLU(_Plain):
    """x sigmoid(x), element by element; see `functional.silu`.

    >>> from convkit import nn, tensor
    >>> nn.SiLU()(tensor([0.0])).item()
    0.0
    """

    function = F.silu


class Mish(_Plain):
    """x tanh(log(1 + exp(x))), element by element; see `functional.mish`.

    >>> from convkit import nn, tensor
    >>> nn.Mish()(tensor([0.0])).item()
    0.0
    """

    function = F.mish


class Hardsigmoid(_Plain):
    """min(max(x + 3, 0), 6) / 6, element by element.

    >>> from convkit import nn, tensor
    >>> nn.Hardsigmoid()(tensor([0.0, 9.0])).tolist()
    [0.5, 1.0]
    """

    function = F.hardsigmoid


class Hardswish(_Plain):
    """x min(max(x + 3, 0), 6) / 6, element by element; see `functional.hardswish`.

    >>> from convkit import nn, tensor
    >>> nn.Hardswish()(tensor([3.0])).item()
    3.0
    """

    function = F.hardswish


class Tanh(_Activation):
    """tanh(x), element by element.

    >>> from convkit import nn, tensor
    >>> nn.Tanh()(tensor([0.0])).item()
    0.0
    """

    function = F.tanh


class Sigmoid(_Activation):
    """1 / (1 + exp(-x)), element by element.

    >>> from convkit import nn, tensor
    >>> nn.Sigmoid()(tensor([0.0])).item()
    0.5
    """

    function = F.sigmoid


class LogSigmoid(_Activation):
    """log(sigmoid(x)), element by element, without overflow.

    >>> from convkit import nn, tensor
    >>> nn.LogSigmoid()(tensor([-1000.0])).item()
    -1000.0
    """

    function = F.logsigmoid


class Softsign(_Activation):
    """x / (1 + |x|), element by element.

    >>> from convkit import nn, tensor
    >>> nn.Softsign()(tensor([3.0])).item()
    0.75
    """

    function = F.softsign


class Tanhshrink(_Activation):
    """x - tanh(x), element by element.

    >>> from convkit import nn, tensor
    >>> nn.Tanhshrink()(tensor([0.0])).item()
    0.0
    """

    function = F.tanhshrink


class LeakyReLU(_Activation):
    """x above 0, else negative_slope * x; see `functional.leaky_relu`.

    >>> from convkit import nn, tensor
    >>> nn.LeakyReLU(0.5)(tensor([-2.0])).item()
    -1.0
    """

    function, names = F.leaky_relu, ("negative_slope",)

    def __init__(self, negative_slope: float = 0.01, inplace: bool = False) -> None:
        super().__init__()
        not_inplace("LeakyReLU", inplace)
        self.negative_slope = negative_slope


class ELU(_Activation):
    """x above 0, else alpha (exp(x) - 1); see `functional.elu`.

    >>> from convkit import nn, tensor
    >>> nn.ELU(2.0)(tensor([-1e4])).item()
    -2.0
    """

    function, names = F.elu, ("alpha",)

    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        super().__init__()
        not_inplace(type(self).__name__, inplace)
        self.alpha = alpha


class CELU(ELU):
    """x above 0, else alpha (exp(x / alpha) - 1); see `functional.celu`.

    >>> from convkit import nn, tensor
    >>> nn.CELU(2.0)(tensor([-1e4])).item()
    -2.0
    """

    function = F.celu


class GELU(_Activation):
    """x P(x), P the normal distribution, or its approximation by tanh; see `functional.gelu`.

    >>> from convkit import nn, tensor
    >>> nn.GELU()(tensor([0.0])).item()
    0.0
    """

    names = ("approximate",)

    def __init__(self, approximate: str = "none") -> None:
        super().__init__()
        self.approximate = approximate

    def forward(self, input: Tensor) -> Tensor:
        return F.gelu(input, approximate=self.approximate)

    def extra_repr(self) -> str:
        return f"approximate={self.approximate!r}"


class Softplus(_Activation):
    """log(1 + exp(beta x)) / beta, and x where beta x is above `threshold`; see `functional.softplus`.

    >>> from convkit import nn, tensor
    >>> nn.Softplus()(tensor([100.0])).item()
    100.0
    """

    function, names = F.softplus, ("beta", "threshold")

    def __init__(self, beta: float = 1.0, threshold: float = 20.0) -> None:
        super().__init__()
        self.beta, self.threshold = beta, threshold


class Hardtanh(_Activation):
    """x limited to [min_val, max_val]; ValueError unless max_val is greater.

    >>> from convkit import nn, tensor
    >>> nn.Hardtanh()(tensor([-3.0, 3.0])).tolist()
    [-1.0, 1.0]
    """

    function, names = F.hardtanh, ("min_val", "max_val")

    def __init__(self, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> None:
        super().__init__()
        not_inplace("Hardtanh", inplace)
        if not max_val > min_val:
            raise ValueError(f"Hardtanh: max_val must be greater than min_val, got {max_val} and {min_val}")
        self.min_val, self.max_val = min_val, max_val


class Threshold(_Activation):
    """x where it is above `threshold`, else `value`.

    >>> from convkit import nn, tensor
    >>> nn.Threshold(1.0, -5.0)(tensor([0.0, 2.0])).tolist()
    [-5.0, 2.0]
    """

    function, names = F.threshold, ("threshold", "value")

    def __init__(self, threshold: float, value: float, inplace: bool = False) -> None:
        super().__init__()
        not_inplace("Threshold", inplace)
        self.threshold, self.value = threshold, value


class Hardshrink(_Activation):
    """0 where -lambd <= x <= lambd, else x.

    >>> from convkit import nn, tensor
    >>> nn.Hardshrink()(tensor([0.5, 2.0])).tolist()
    [0.0, 2.0]
    """

    function, names = F.hardshrink, ("lambd",)

    def __init__(self, lambd: float = 0.5) -> None:
        super().__init__()
        self.lambd = lambd


class Softshrink(Hardshrink):
    """x brought nearer to 0 by `lambd`, and 0 where -lambd <= x <= lambd.

    >>> from convkit import nn, tensor
    >>> nn.Softshrink()(tensor([0.5, 2.0])).tolist()
    [0.0, 1.5]
    """

    function = F.softshrink


class PReLU(Module):
    """x above 0, else weight * x, with `weight` learnt: one number for all channels or, with num_parameters=C, one for each.

    Parameter: weight [num_parameters], `init` at first.  See `functional.prelu`.

    >>> from convkit import nn, tensor
    >>> nn.PReLU()(tensor([-4.0])).item()
    -1.0
    """

    weight: Parameter

    def __init__(self, num_parameters: int = 1, init: float = 0.25, device: Any = None, dtype: Any = None) -> None:
        super().__init__()
        self.num_parameters, self.init = positive("PReLU", "num_parameters", num_parameters), init
        self.weight = new_parameter("PReLU", (num_parameters,), device, dtype)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Fill weight with `init`."""
        constant_(self.weight, self.init)

    def forward(self, input: Tensor) -> Tensor:
        return F.prelu(input, self.weight)

    def extra_repr(self) -> str:
        return f"num_parameters={self.num_parameters}"


class GLU(_Activation):
    """a sigmoid(b), where a and b are the halves of x along `dim`; see `functional.glu`.

    >>> from convkit import nn, tensor
    >>> nn.GLU()(tensor([3.0, 0.0])).tolist()
    [1.5]
    """

    function, names = F.glu, ("dim",)

    def __init__(self, dim: int = -1) -> None:
        super().__init__()
        self.dim = dim


class Softmax(_Activation):
    """exp(x) / sum of exp(x) over dimension `dim`: positive numbers that add up to 1.

    Train with `CrossEntropyLoss` on what comes before it instead: that is more exact.  Without `dim`, torch's guess is taken with a
    warning: 0 for 1 and 3 dimensions, else 1.

    >>> from convkit import nn, tensor
    >>> nn.Softmax(1)(tensor([[0.0, 0.0]])).tolist()
    [[0.5, 0.5]]
    """

    function, names = F.softmax, ("dim",)

    def __init__(self, dim: int | None = None) -> None:
        super().__init__()
        self.dim = dim


class LogSoftmax(Softmax):
    """x - log(sum of exp(x)) over dimension `dim`: the logarithm of `Softmax`, for `NLLLoss`.

    >>> from convkit import nn, tensor
    >>> nn.LogSoftmax(1)(tensor([[0.0, -1000.0]])).tolist()
    [[0.0, -1000.0]]
    """

    function = F.log_softmax


class Softmin(Softmax):
    """Softmax of -x over dimension `dim`.

    >>> from convkit import nn, tensor
    >>> nn.Softmin(1)(tensor([[0.0, 0.0]])).tolist()
    [[0.5, 0.5]]
    """

    function = F.softmin


class Softmax2d(Module):
    """Softmax over the channels of images [N, C, H, W] or [C, H, W]; ValueError for another number of dimensions.

    >>> from convkit import nn, zeros
    >>> nn.Softmax2d()(zeros(1, 2, 1, 1)).flatten().tolist()
    [0.5, 0.5]
    """

    def forward(self, input: Tensor) -> Tensor:
        if input.ndim not in (3, 4):
            raise ValueError(f"Softmax2d: input must be [N, C, H, W] or [C, H, W], got shape {list(input.shape)}")
        return F.softmax(input, -3)
