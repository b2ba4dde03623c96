"""Activations, each a row of one table, and softmax with its relatives.

The kernels give an activation and its derivative.  `Activation` and `ActivationGrad` are the two operations over them; for second
derivatives a row says how its derivative changes, in tensor operations, which differentiate themselves.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

from ..autograd import Function, TensorBase, fusion, is_grad_enabled
from ..device import kernels
from . import checks
from .elementwise import SumTo, floating, where
from .functions import exp
from .reduce import sum
from .shape import axis, cat, view_of


class Row(NamedTuple):
    """How the kernels' row of this name is differentiated."""

    keeps: str = "x"  # what the kernel takes the derivative from: the input "x" or the result "y"
    change: Callable | None = None  # d(derivative) / d(kept), from what was kept and the parameters; None where it is 0


def _elu_change(x, a, b, c):
    # The inner choice keeps the exponential finite where the outer one does not take it.
    return where(x > 0, 0.0, exp(where(x > 0, 0.0, x) * c) * (a * c * c))


def _gelu_change(x):
    return (2.0 - x * x) * exp(x * x * -0.5) * (1 / math.sqrt(2 * math.pi))


def _gelu_tanh_change(x):
    root, cube = math.sqrt(2 / math.pi), 0.044715
    u1, u2 = (x * x * (3 * cube) + 1.0) * root, x * (6 * cube * root)
    t = tanh((x + x * x * x * cube) * root)
    return (1.0 - t * t) * (u1 + x * 0.5 * (u2 - t * u1 * u1 * 2.0))


def _silu_change(x):
    s = sigmoid(x)
    return s * (1.0 - s) * (x * (1.0 - s * 2.0) + 2.0)


def _mish_change(x):
    s, t = sigmoid(x), tanh(softplus(x))
    w = s * (1.0 - t * t)
    return w * (x * (1.0 - s - s * t * 2.0) + 2.0)


def _softplus_change(x, a, b):
    s = sigmoid(x * a)
    return where(x * a > b, 0.0, s * (1.0 - s) * a)


def _softsign_change(x):
    return where(x > 0, -2.0, where(x < 0, 2.0, 0.0 * x)) / (x.abs() + 1.0) ** 3


def _logsigmoid_change(x):
    s = sigmoid(x)
    return s * (s - 1.0)


ROWS = {
    "relu": Row("y"),
    "threshold": Row(),
    "hardtanh": Row("y"),
    "leaky_relu": Row(),
    "elu": Row(change=_elu_change),
    "gelu": Row(change=_gelu_change),
    "gelu_tanh": Row(change=_gelu_tanh_change),
    "silu": Row(change=_silu_change),
    "mish": Row(change=_mish_change),
    "softplus": Row(change=_softplus_change),
    "softsign": Row(change=_softsign_change),
    "hardsigmoid": Row(),
    "hardswish": Row(change=lambda x: TensorBase.result(((x.array > -3) & (x.array < 3)).astype(x.dtype) / x.dtype.type(3))),
    "sigmoid": Row("y", lambda y: 1.0 - y * 2.0),
    "logsigmoid": Row(change=_logsigmoid_change),
    "tanh": Row("y", lambda y: y * -2.0),
    "hardshrink": Row(),
    "softshrink": Row(),
}
_KERNEL = {"relu": "threshold"}  # rows that share a kernel and keep something else


class Activation(Function):
    """y = row(x) with up to three parameters."""

    @staticmethod
    def forward(ctx, x, name, *parameters):
        ctx.row = name, *parameters
        y = kernels(x).activation(_KERNEL.get(name, name), x, *parameters)
        ctx.save_for_backward(y if ROWS[name].keeps == "y" else x)
        return y

    @staticmethod
    def backward(ctx, gy):
        (kept,) = ctx.saved_tensors
        return ActivationGrad.apply(gy, kept, *ctx.row)


class ActivationGrad(Function):
    """gx = gy row'(kept): linear in gy, so for gy it is its own gradient; for what was kept, the row's `change` says the derivative."""

    @staticmethod
    def forward(ctx, gy, kept, name, *parameters):
        ctx.row = name, *parameters
        ctx.save_for_backward(gy, kept)
        return kernels(gy).activation_grad(_KERNEL.get(name, name), gy, kept, *parameters)

    @staticmethod
    def backward(ctx, g):
        gy, kept = ctx.saved_tensors
        name, *parameters = ctx.row
        change = ROWS[name].change
        return (
            ActivationGrad.apply(g, kept, *ctx.row) if ctx.needs_input_grad[0] else None,
            g * gy * change(kept, *parameters) if change is not None and ctx.needs_input_grad[1] else None,
        )


class PRelu(Function):
    """x where it is above 0, else x weight; weight broadcasts."""

    @staticmethod
    def forward(ctx, x, weight):
        ctx.save_for_backward(x, weight)
        return kernels(x).activation("leaky_relu", x, weight)

    @staticmethod
    def backward(ctx, gy):
        x, weight = ctx.saved_tensors
        need_x, need_w = ctx.needs_input_grad
        return (
            PReluGrad.apply(gy, x, weight) if need_x else None,
            SumTo.apply(where(x > 0, 0.0, gy * x), weight.shape) if need_w else None,
        )


class PReluGrad(Function):
    """gy where x is above 0, else gy weight."""

    @staticmethod
    def forward(ctx, gy, x, weight):
        ctx.save_for_backward(gy, x, weight)
        return kernels(gy).activation_grad("leaky_relu", gy, x, weight)

    @staticmethod
    def backward(ctx, g):
        gy, x, weight = ctx.saved_tensors
        need_gy, _, need_w = ctx.needs_input_grad
        return (
            PReluGrad.apply(g, x, weight) if need_gy else None,
            None,
            SumTo.apply(where(x > 0, 0.0, g * gy), weight.shape) if need_w else None,
        )


class _OverAxis(Function):
    """y = op(x) normalised along `dim`."""

    op = ""

    @classmethod
    def forward(cls, ctx, x, dim):
        ctx.dim = dim
        y = getattr(kernels(x), cls.op)(x, dim)
        ctx.save_for_backward(y)
        return y

    @classmethod
    def backward(cls, ctx, gy):
        (y,) = ctx.saved_tensors
        if is_grad_enabled():
            return cls.pull(gy, y, ctx.dim), None
        return TensorBase.result(getattr(kernels(gy.array), cls.op + "_grad")(gy.array, y.array, ctx.dim)), None

    @staticmethod
    def pull(gy, y, dim):
        """The gradient in tensor operations."""
        raise NotImplementedError


class Softmax(_OverAxis):
    op = "softmax"

    @staticmethod
    def pull(gy, y, dim):
        return y * (gy - sum(gy * y, dim, True))


class LogSoftmax(_OverAxis):
    op = "log_softmax"

    @staticmethod
    def pull(gy, y, dim):
        return gy - y.exp() * sum(gy, dim, True)


# ------------------------------------------------------------------------------------------ checks
def not_inplace(op: str, inplace: Any) -> None:
    """ValueError naming `op` where torch's flag is set."""
    if inplace:
        raise ValueError(
            f"{op}: inplace=True is not supported: the graph may need the values that would be overwritten.  Leave it out: "
            "the input is freed as soon as nothing uses it, so a net takes no more memory"
        )


def _row(op: str, x: Any, *parameters: Any, row: str = "", inplace: bool = False) -> Any:
    not_inplace(op, inplace)
    floating(op, x)
    for value in parameters:
        if type(value) is not float and (isinstance(value, TensorBase) or not checks.is_number(value)):
            raise TypeError(f"{op}: parameters must be numbers, got {value!r}")
    return Activation.apply(x, row or op, *map(float, parameters))


# -------------------------------------------------------------------------------- element by element
def _relu(x: Any) -> Any:
    return _row("relu", x, 0.0, 0.0)


def relu(input: Any, inplace: bool = False) -> Any:
    """max(x, 0); nan stays nan, and the gradient at 0 is 0.

    >>> import convkit
    >>> relu(convkit.tensor([-1.0, 2.0])).tolist()
    [0.0, 2.0]
    """
    not_inplace("relu", inplace)
    joined = fusion.cut_off(input, _relu)
    return _relu(input) if joined is None else joined


def relu6(input: Any, inplace: bool = False) -> Any:
    """min(max(x, 0), 6); the gradient at 0 and 6 is 0.  (A. Krizhevsky, "Convolutional deep belief networks on CIFAR-10", 2010.)

    >>> import convkit
    >>> relu6(convkit.tensor([-1.0, 2.0, 9.0])).tolist()
    [0.0, 2.0, 6.0]
    """
    return _row("relu6", input, 0.0, 6.0, row="hardtanh", inplace=inplace)


def threshold(input: Any, threshold: float, value: float, inplace: bool = False) -> Any:
    """x where it is above `threshold`, else `value`.

    >>> import convkit
    >>> threshold_ = convkit.nn.functional.threshold
    >>> threshold_(convkit.tensor([0.0, 2.0]), 1.0, -5.0).tolist()
    [-5.0, 2.0]
    """
    return _row("threshold", input, threshold, value, inplace=inplace)


def hardtanh(input: Any, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> Any:
    """min(max(x, min_val), max_val); the gradient at both ends is 0.  ValueError if min_val is above max_val.

    >>> import convkit
    >>> hardtanh(convkit.tensor([-3.0, 0.5, 3.0])).tolist()
    [-1.0, 0.5, 1.0]
    """
    if checks.number("hardtanh", "min_val", min_val) > checks.number("hardtanh", "max_val", max_val):
        raise ValueError(f"hardtanh: min_val must not be above max_val, got {min_val} and {max_val}")
    return _row("hardtanh", input, min_val, max_val, inplace=inplace)


def leaky_relu(input: Any, negative_slope: float = 0.01, inplace: bool = False) -> Any:
    """x above 0, else negative_slope * x.  (A. Maas, A. Hannun, A. Ng, "Rectifier nonlinearities ...", ICML 2013.)

    >>> import convkit
    >>> leaky_relu(convkit.tensor([-2.0, 2.0]), 0.5).tolist()
    [-1.0, 2.0]
    """
    return _row("leaky_relu", input, negative_slope, inplace=inplace)


def prelu(input: Any, weight: Any) -> Any:
    """x above 0, else weight * x, where `weight` [C] has a number for each channel of input [N, C, ...], or one for all.

    K. He, X. Zhang, S. Ren, J. Sun, "Delving deep into rectifiers", ICCV 2015.

    Raises:
        ValueError: weight has neither one element nor one a channel.
        TypeError: weight is no tensor, or of another dtype than x.

    >>> import convkit
    >>> prelu(convkit.tensor([[-2.0, -2.0]]), convkit.tensor([0.5, 0.25])).tolist()
    [[-1.0, -0.5]]
    """
    floating("prelu", input), floating("prelu", weight)
    if weight.dtype != input.dtype:
        raise TypeError(f"prelu: input is {input.dtype} but weight is {weight.dtype}; convert with .to(dtype)")
    channels = input.shape[1] if input.ndim > 1 else 1
    if weight.ndim > 1 or weight.numel() not in (1, channels):
        raise ValueError(f"prelu: weight must have 1 element or {channels}, one a channel of the input {list(input.shape)}, got {list(weight.shape)}")
    return PRelu.apply(input, weight.reshape(-1, *(1,) * (input.ndim - 2)) if input.ndim > 1 else weight.reshape(input.shape and (1,)))


def elu(input: Any, alpha: float = 1.0, inplace: bool = False) -> Any:
    """x above 0, else alpha (exp(x) - 1).  (D.-A. Clevert, T. Unterthiner, S. Hochreiter, "... exponential linear units", ICLR 2016.)

    >>> import convkit
    >>> elu(convkit.tensor([-1e4, 2.0]), 3.0).tolist()
    [-3.0, 2.0]
    """
    return _row("elu", input, alpha, 1.0, 1.0, inplace=inplace)


_SELU_ALPHA, _SELU_SCALE = 1.6732632423543772848170429916717, 1.0507009873554804934193349852946


def selu(input: Any, inplace: bool = False) -> Any:
    """1.0507 elu(x, 1.6733): keeps mean 0 and variance 1.  (G. Klambauer and others, "Self-normalizing neural networks", NeurIPS 2017.)

    >>> import convkit
    >>> [round(y, 4) for y in selu(convkit.tensor([-1e4, 1.0])).tolist()]
    [-1.7581, 1.0507]
    """
    return _row("selu", input, _SELU_ALPHA * _SELU_SCALE, _SELU_SCALE, 1.0, row="elu", inplace=inplace)


def celu(input: Any, alpha: float = 1.0, inplace: bool = False) -> Any:
    """x above 0, else alpha (exp(x / alpha) - 1), whose slope is continuous at 0; ValueError if alpha is 0.  (J. T. Barron, 2017.)

    >>> import convkit
    >>> celu(convkit.tensor([-1e4, 2.0]), 3.0).tolist()
    [-3.0, 2.0]
    """
    if checks.number("celu", "alpha", alpha) == 0:
        raise ValueError("celu: alpha must not be 0: the input is divided by it")
    return _row("celu", input, alpha, 1.0, 1.0 / alpha, row="elu", inplace=inplace)


def gelu(input: Any, approximate: str = "none") -> Any:
    """x P(x), P the normal distribution; with approximate="tanh", x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2.

    Right to the last digits for large negative x too, where x (1 + erf(x / sqrt 2)) / 2 loses them all.  ValueError for another word.
    D. Hendrycks, K. Gimpel, "Gaussian error linear units", 2016.

    >>> import convkit
    >>> round(gelu(convkit.tensor([1.0])).item(), 4)
    0.8413
    """
    if approximate not in ("none", "tanh"):
        raise ValueError(f"gelu: approximate must be 'none' or 'tanh', got {approximate!r}")
    return _row("gelu", input, row="gelu_tanh" if approximate == "tanh" else "gelu")


def silu(input: Any, inplace: bool = False) -> Any:
    """x sigmoid(x), also called swish.  (S. Elfwing, E. Uchibe, K. Doya, "Sigmoid-weighted linear units ...", 2017.)

    >>> import convkit
    >>> round(silu(convkit.tensor([1.0])).item(), 4)
    0.7311
    """
    return _row("silu", input, inplace=inplace)


def mish(input: Any, inplace: bool = False) -> Any:
    """x tanh(softplus(x)).  (D. Misra, "Mish: a self regularized non-monotonic activation function", 2019.)

    >>> import convkit
    >>> round(mish(convkit.tensor([1.0])).item(), 4)
    0.8651
    """
    return _row("mish", input, inplace=inplace)


def softplus(input: Any, beta: float = 1.0, threshold: float = 20.0) -> Any:
    """log(1 + exp(beta x)) / beta, and x itself where beta x is above `threshold`: a smooth relu.

    >>> import convkit
    >>> round(softplus(convkit.tensor([0.0])).item(), 4)
    0.6931
    """
    return _row("softplus", input, beta, threshold)


def softsign(input: Any) -> Any:
    """x / (1 + |x|).

    >>> import convkit
    >>> softsign(convkit.tensor([-1.0, 3.0])).tolist()
    [-0.5, 0.75]
    """
    return _row("softsign", input)


def hardsigmoid(input: Any, inplace: bool = False) -> Any:
    """min(max(x + 3, 0), 6) / 6.

    >>> import convkit
    >>> hardsigmoid(convkit.tensor([-4.0, 0.0, 4.0])).tolist()
    [0.0, 0.5, 1.0]
    """
    return _row("hardsigmoid", input, inplace=inplace)


def hardswish(input: Any, inplace: bool = False) -> Any:
    """x min(max(x + 3, 0), 6) / 6.  (A. Howard and others, "Searching for MobileNetV3", ICCV 2019.)

    >>> import convkit
    >>> hardswish(convkit.tensor([-4.0, 3.0])).tolist()
    [-0.0, 3.0]
    """
    return _row("hardswish", input, inplace=inplace)


def sigmoid(input: Any) -> Any:
    """1 / (1 + exp(-x)).

    >>> import convkit
    >>> sigmoid(convkit.tensor([0.0])).item()
    0.5
    """
    return _row("sigmoid", input)


def logsigmoid(input: Any) -> Any:
    """log(sigmoid(x)) without overflow and without the loss of digits.

    >>> import convkit
    >>> logsigmoid(convkit.tensor([-1000.0])).item()
    -1000.0
    """
    return _row("logsigmoid", input)


def tanh(input: Any) -> Any:
    """Hyperbolic tangent.

    >>> import convkit
    >>> round(tanh(convkit.tensor([1.0])).item(), 4)
    0.7616
    """
    return _row("tanh", input)


def tanhshrink(input: Any) -> Any:
    """x - tanh(x).

    >>> import convkit
    >>> round(tanhshrink(convkit.tensor([1.0])).item(), 4)
    0.2384
    """
    return floating("tanhshrink", input) - tanh(input)


def hardshrink(input: Any, lambd: float = 0.5) -> Any:
    """0 where -lambd <= x <= lambd, else x.

    >>> import convkit
    >>> hardshrink(convkit.tensor([-1.0, 0.5, 2.0])).tolist()
    [-1.0, 0.0, 2.0]
    """
    return _row("hardshrink", input, lambd)


def softshrink(input: Any, lambd: float = 0.5) -> Any:
    """x brought nearer to 0 by `lambd`, and 0 where -lambd <= x <= lambd; ValueError if lambd is negative.

    >>> import convkit
    >>> softshrink(convkit.tensor([-1.0, 0.5, 2.0])).tolist()
    [-0.5, 0.0, 1.5]
    """
    if not checks.number("softshrink", "lambd", lambd) >= 0:
        raise ValueError(f"softshrink: lambd must be at least 0, got {lambd}")
    return _row("softshrink", input, lambd)


class Halves(Function):
    """Both halves along an axis, as parts of x's memory."""

    @staticmethod
    def forward(ctx, x, axis):
        ctx.axis, half, before = axis, x.shape[axis] // 2, (slice(None),) * axis
        return x[(*before, slice(half))], x[(*before, slice(half, None))]

    @staticmethod
    def backward(ctx, ga, gb):
        return cat([ga, gb], ctx.axis), None


class Gate(Function):
    """a sigmoid(b) of two tensors of one shape."""

    @staticmethod
    def forward(ctx, a, b):
        ctx.save_for_backward(a, b)
        return kernels(a).activation("glu", a, b)

    @staticmethod
    def backward(ctx, gy):
        a, b = ctx.saved_tensors
        ga, gb = None, None
        if ctx.needs_input_grad[0]:
            ga = Gate.apply(gy, b)
        if ctx.needs_input_grad[1] and is_grad_enabled():
            gb = Gate.apply(gy * a, b) * (1.0 - sigmoid(b))
        elif ctx.needs_input_grad[1]:
            gb = TensorBase.result(kernels(gy.array).activation_grad("glu", gy.array, a.array, b.array))
        return ga, gb


def glu(input: Any, dim: int = -1) -> Any:
    """a sigmoid(b), where a and b are the halves of x along `dim`: a gate.  ValueError if the size is odd, or x a single number.

    Y. Dauphin, A. Fan, M. Auli, D. Grangier, "Language modeling with gated convolutional networks", ICML 2017.

    >>> import convkit
    >>> glu(convkit.tensor([3.0, 0.0])).tolist()
    [1.5]
    """
    if not floating("glu", input).ndim:
        raise ValueError("glu: a single number has no halves")
    dim = axis("glu", dim, input.ndim)
    half, odd = divmod(input.shape[dim], 2)
    if odd:
        raise ValueError(f"glu: the size of dimension {dim} must be even, got {list(input.shape)}")
    a, b = (view_of(part, input) for part in Halves.apply(input, dim))
    return Gate.apply(a, b)


# --------------------------------------------------------------------------------- over a dimension
def implicit_dim(op: str, dim: int | None, ndim: int) -> int:
    """`dim`, or with a warning, where it is None, the one that torch takes: 0 for 0, 1 and 3 dimensions, else 1."""
    if dim is None:
        dim = 0 if ndim in (0, 1, 3) else 1
        warnings.warn(f"{op}: dim should be given; {dim} is taken for {ndim} dimensions, as in torch", UserWarning, stacklevel=4)
    return dim


def _over(function: type[_OverAxis], x: Any, dim: int | None, dtype: Any) -> Any:
    op = function.op
    if isinstance(x, TensorBase) and dtype is not None:
        x = x.to(dtype=checks.dtype(op, dtype))  # type: ignore[attr-defined]
    dim = implicit_dim(op, dim, floating(op, x).ndim)
    if not x.ndim:
        return function.apply(x.unsqueeze(0), axis(op, dim, 1)).squeeze(0)
    return function.apply(x, axis(op, dim, x.ndim))


def softmax(input: Any, dim: int | None = None, dtype: Any = None) -> Any:
    """exp(x) / sum(exp(x)) along `dim`, with the greatest element subtracted first so that nothing overflows.

    With `dtype`, x is converted to it first.  Without `dim`, torch's choice is taken (0 for 1 and 3 dimensions, else 1) with a warning.

    >>> import convkit
    >>> softmax(convkit.tensor([[0.0, 0.0]]), 1).tolist()
    [[0.5, 0.5]]
    """
    return _over(Softmax, input, dim, dtype)


def log_softmax(input: Any, dim: int | None = None, dtype: Any = None) -> Any:
    """log(softmax(x)) along `dim`, without ever taking the logarithm of a rounded zero; `dim` and `dtype` as in `softmax`.

    >>> import convkit
    >>> log_softmax(convkit.tensor([[0.0, -1000.0]]), 1).tolist()
    [[0.0, -1000.0]]
    """
    return _over(LogSoftmax, input, dim, dtype)


def softmin(input: Any, dim: int | None = None, dtype: Any = None) -> Any:
    """softmax(-x); `dim` and `dtype` as in `softmax`.

    >>> import convkit
    >>> softmin(convkit.tensor([[0.0, 0.0]]), 1).tolist()
    [[0.5, 0.5]]
    """
    return _over(Softmax, -checks.tensor("softmin", input), dim, dtype)
