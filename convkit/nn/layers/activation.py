"""Activation functions as layers."""

from __future__ import annotations

from ...tensor import Tensor
from .. import functional as F
from ..module import Module


class ReLU(Module):
    """max(x, 0), element by element.

    `inplace` is taken for the sake of torch code and changes nothing: a new array is made.

    X. Glorot, A. Bordes, Y. Bengio, "Deep sparse rectifier neural networks", AISTATS 2011.

    >>> from convkit import nn, tensor
    >>> nn.ReLU()(tensor([-1.0, 2.0])).tolist()
    [0.0, 2.0]
    """

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x)


class Tanh(Module):
    """tanh(x), element by element."""

    def forward(self, x: Tensor) -> Tensor:
        return F.tanh(x)


class Sigmoid(Module):
    """1 / (1 + exp(-x)), element by element."""

    def forward(self, x: Tensor) -> Tensor:
        return F.sigmoid(x)


class Softmax(Module):
    """exp(x) / sum of exp(x) over dimension `dim`: positive numbers that add up to 1.

    Train with `CrossEntropyLoss` on what comes before it instead: that is more exact.  TypeError without `dim`; torch guesses it.

    >>> from convkit import nn, tensor
    >>> nn.Softmax(1)(tensor([[0.0, 0.0]])).tolist()
    [[0.5, 0.5]]
    """

    def __init__(self, dim: int | None = None) -> None:
        super().__init__()
        if not isinstance(dim, int):
            raise TypeError(f"{type(self).__name__}: dim must be an int, got {dim!r}; 1 is the channels or classes")
        self.dim = dim

    def forward(self, x: Tensor) -> Tensor:
        return F.softmax(x, self.dim)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


class LogSoftmax(Softmax):
    """x - log(sum of exp(x)) over dimension `dim`: the logarithm of `Softmax`, for `NLLLoss`."""

    def forward(self, x: Tensor) -> Tensor:
        return F.log_softmax(x, self.dim)
