"""What each operation of convkit is in ONNX: a table from a Function's name to the function that writes its nodes.

An emitter gets the writer and the call, and gives the name of the result, or the names of the first results.  Arguments of the call are those of
`Function.forward`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from convkit_kernels import geometry

from ...autograd import TensorBase

TABLE: dict[str, Callable[[Any, Any], str | tuple[str, ...]]] = {}
END = np.iinfo(np.int64).max


def emits(*names: str) -> Callable[[Callable], Callable]:
    """Enter the decorated emitter under these names of Functions."""

    def enter(emit: Callable) -> Callable:
        TABLE.update(dict.fromkeys(names, emit))
        return emit

    return enter


def simple(**operators: str) -> None:
    """Functions of tensors only, with the same arguments as ONNX's operator."""
    for name, op in operators.items():
        TABLE[name] = lambda g, call, op=op: g.node(op, [g.argument(0)])  # type: ignore[misc]


simple(
    Abs="Abs", Neg="Neg", Exp="Exp", Log="Log", Sqrt="Sqrt", Erf="Erf", Sign="Sign", Floor="Floor", Ceil="Ceil", Round="Round", Sin="Sin",
    Cos="Cos", Tan="Tan", Asin="Asin", Acos="Acos", Atan="Atan", Sinh="Sinh", Cosh="Cosh", Relu="Relu", Tanh="Tanh", Sigmoid="Sigmoid",
    Clone="Identity",
)  # fmt: skip


# -------------------------------------------------------------------------------------- arithmetic
def _operand(g: Any, i: int, dtype: np.dtype) -> str:
    """Argument i as a tensor of the result's dtype: numbers become constants, other dtypes are cast."""
    value: Any = g.call.args[i]
    if not isinstance(value, np.ndarray):
        return g.constant(np.asarray(g.same("an operand", value, g.call.twin.args[i]), dtype))
    name = g.argument(i)
    return name if value.dtype == dtype else g.node("Cast", [name], to=g.dtype(np.empty(0, dtype)))


BINARY = {"Add": "Add", "Sub": "Sub", "Mul": "Mul", "Div": "Div", "Pow": "Pow", "Maximum": "Max", "Minimum": "Min"}


@emits(*BINARY)
def binary(g: Any, call: Any) -> str:
    """Two operands that broadcast."""
    dtype = call.outputs[0].dtype
    return g.node(BINARY[call.function.__name__], [_operand(g, 0, dtype), _operand(g, 1, dtype)])


@emits("Where")
def where(g: Any, call: Any) -> str:
    """where(condition, a, b)"""
    dtype = call.outputs[0].dtype
    return g.node("Where", [g.argument(0), _operand(g, 1, dtype), _operand(g, 2, dtype)])


@emits("Clamp")
def clamp(g: Any, call: Any) -> str:
    """x between two numbers, either of which may be None."""
    dtype = call.outputs[0].dtype
    return g.node("Clip", [g.argument(0), *("" if v is None else g.constant(np.asarray(v, dtype)) for v in call.args[1:3])])


@emits("Cast")
def cast(g: Any, call: Any) -> str:
    """Another dtype."""
    return g.node("Cast", [g.argument(0)], to=g.dtype(call.outputs[0]))


@emits("PRelu")
def prelu(g: Any, call: Any) -> str:
    """A slope that broadcasts."""
    return g.node("PRelu", [g.argument(0), g.argument(1)])


# Rows of ops.activation without parameters that matter -> ONNX's operator.
ACTIVATIONS = {
    "relu": "Relu", "sigmoid": "Sigmoid", "tanh": "Tanh", "softsign": "Softsign", "mish": "Mish", "hardswish": "HardSwish",
}  # fmt: skip


@emits("Activation")
def activation(g: Any, call: Any) -> str:
    """(x, name of the row, parameters ...)"""
    name, *parameters = g.same("the activation", call.args[1:], call.twin.args[1:])
    a, b, c = (*parameters, 0.0, 0.0, 0.0)[:3]
    x = g.argument(0)

    def number(value: float) -> str:
        return g.constant(np.asarray(value, call.outputs[0].dtype))

    if name in ACTIVATIONS:
        return g.node(ACTIVATIONS[name], [x])
    if name == "leaky_relu":
        return g.node("LeakyRelu", [x], alpha=a)
    if name == "elu" and c == 1:  # b x above 0, a (exp(c x) - 1) below
        return g.node("Elu", [x], alpha=a) if b == 1 else g.node("Selu", [x], alpha=a / b, gamma=b)
    if name == "elu" and b == 1 and math.isclose(a * c, 1):
        return g.node("Celu", [x], alpha=a)
    if name == "threshold":
        return g.node("Where", [g.node("LessOrEqual", [x, number(a)]), number(b), x])
    if name == "hardtanh":
        return g.node("Clip", [x, number(a), number(b)])
    if name == "hardsigmoid":
        return g.node("HardSigmoid", [x], alpha=1 / 6, beta=0.5)
    if name in ("hardshrink", "softshrink"):
        return g.node("Shrink", [x], lambd=a, bias=a if name == "softshrink" else 0.0)
    if name == "silu":
        return g.node("Mul", [x, g.node("Sigmoid", [x])])
    if name == "logsigmoid":
        return g.node("Neg", [g.node("Softplus", [g.node("Neg", [x])])])
    if name == "softplus":
        return g.node("Softplus", [x]) if a == 1 else g.node("Div", [g.node("Softplus", [g.node("Mul", [x, number(a)])]), number(a)])
    if name == "gelu":
        half = g.node("Mul", [x, number(0.5)])
        return g.node("Mul", [half, g.node("Add", [g.node("Erf", [g.node("Mul", [x, number(0.5**0.5)])]), number(1.0)])])
    if name == "gelu_tanh":
        cube = g.node("Mul", [g.node("Mul", [g.node("Mul", [x, x]), x]), number(0.044715)])
        inner = g.node("Tanh", [g.node("Mul", [g.node("Add", [x, cube]), number(math.sqrt(2 / math.pi))])])
        return g.node("Mul", [g.node("Mul", [x, number(0.5)]), g.node("Add", [inner, number(1.0)])])
    raise NotImplementedError(f"export: the activation {name} has no form in ONNX here")


@emits("Softmax", "LogSoftmax")
def softmax(g: Any, call: Any) -> str:
    """Along one axis."""
    return g.node(call.function.__name__, [g.argument(0)], axis=g.same("the axis", call.args[1], call.twin.args[1]))


# ---------------------------------------------------------------------------------------- windows
def _window(window: Any, dilated: bool = True) -> dict[str, Any]:
    pads = [p for side in (0, 1) for p in (pair[side] for pair in window.padding)]
    attributes = {"kernel_shape": list(window.size), "strides": list(window.stride), "pads": pads}
    return {**attributes, "dilations": list(window.dilation)} if dilated else attributes


def _given(g: Any, *positions: int) -> list[str]:
    """The names of the arguments at these positions that are not None."""
    return [g.argument(i) for i in positions if g.call.args[i] is not None]


@emits("Conv")
def conv(g: Any, call: Any) -> str:
    """(x, weight, bias, window, None, relu): only a ReLU is joined to an operation that somebody watches"""
    window = g.same("the window", call.args[3], call.twin.args[3])
    y = g.node("Conv", _given(g, 0, 1, 2), group=window.groups, **_window(window))
    return g.node("Relu", [y]) if any(call.args[4:]) else y


@emits("ConvInputGrad")
def conv_transpose(g: Any, call: Any) -> str:
    """(x, weight, bias, output size, window): the transposed convolution."""
    size, window = (g.same("the output size", tuple(a) if i == 3 else a, tuple(b) if i == 3 else b) for i, (a, b) in enumerate(
        zip(call.args[3:], call.twin.args[3:], strict=True), 3
    ))  # fmt: skip
    least = window.input_size(call.args[0].shape[2:])
    extra = [n - m for n, m in zip(size, least, strict=True)]
    return g.node("ConvTranspose", _given(g, 0, 1, 2), group=window.groups, output_padding=extra if any(extra) else None, **_window(window))


def _pool_window(g: Any, call: Any) -> Any:
    """The window; adaptive ones are windows side by side where the output divides the input."""
    window = g.same("the window", call.args[1], call.twin.args[1])
    if isinstance(window, geometry.Window):
        return window
    size = call.args[0].shape[2:]
    if any(n % m for n, m in zip(size, window.output, strict=True)):
        raise NotImplementedError(
            f"export: adaptive pooling of {list(size)} to {list(window.output)}, which does not divide it, has no form in ONNX here"
        )
    each = tuple(n // m for n, m in zip(size, window.output, strict=True))
    return geometry.window("export", each, each)


@emits("MaxPool")
def max_pool(g: Any, call: Any) -> str:
    """(x, window)"""
    window = _pool_window(g, call)
    return g.node("MaxPool", [g.argument(0)], ceil_mode=int(window.ceil_mode), **_window(window))


@emits("AvgPool")
def average_pool(g: Any, call: Any) -> str:
    """(x, window, count_include_pad, divisor)"""
    window, (count, divisor) = _pool_window(g, call), g.same("the divisor", call.args[2:4], call.twin.args[2:4])
    if divisor and window.ceil_mode:
        raise NotImplementedError("export: average pooling with divisor_override and ceil_mode has no form in ONNX here")
    y = g.node(
        "AveragePool", [g.argument(0)], ceil_mode=int(window.ceil_mode), count_include_pad=int(bool(count or divisor)), **_window(window, False)
    )  # fmt: skip
    return g.node("Mul", [y, g.constant(np.asarray(math.prod(window.size) / divisor, call.outputs[0].dtype))]) if divisor else y


# --------------------------------------------------------------------------------- products, norms
@emits("MatMul")
def matmul(g: Any, call: Any) -> str:
    """(a, b)"""
    return g.node("MatMul", [g.argument(0), g.argument(1)])


@emits("ChannelsLast")
def channels_last(g: Any, call: Any) -> str:
    """(x): the same numbers in another order of memory, which ONNX does not know"""
    return g.argument(0)


@emits("Linear")
def linear(g: Any, call: Any) -> str:
    """(x [M, in], weight [out, in], bias, None, relu)"""
    y = g.node("Gemm", _given(g, 0, 1, 2), transB=1)
    return g.node("Relu", [y]) if any(call.args[3:]) else y


@emits("Normalise")
def normalise(g: Any, call: Any) -> str:
    """(x, weight, bias, mean, 1 / standard deviation, None, relu): running statistics go under their names if a layer has them."""
    y = _normalised(g, call)
    return g.node("Relu", [y]) if any(call.args[5:]) else y


def _normalised(g: Any, call: Any) -> str:
    mean, inv_std = call.args[3:5]
    channels = call.args[0].shape[1]
    scale = g.argument(1) if call.args[1] is not None else g.constant(np.ones(channels, mean.dtype))
    shift = g.argument(2) if call.args[2] is not None else g.constant(np.zeros(channels, mean.dtype))
    for module in g.module.modules():
        running: list[Any] = [getattr(module, name, None) for name in ("running_mean", "running_var")]
        if all(isinstance(t, TensorBase) for t in running) and np.array_equal(running[0].array, mean):
            rate = (1.0 / np.sqrt(running[1].array + np.asarray(module.eps, mean.dtype))).astype(mean.dtype)
            if np.array_equal(rate, inv_std):
                return g.node(
                    "BatchNormalization", [g.argument(0), scale, shift, *(g.name(t.array, t.array) for t in running)], epsilon=float(module.eps)
                )
    variance = g.constant((1.0 / inv_std.astype(np.float64) ** 2).astype(mean.dtype))
    return g.node("BatchNormalization", [g.argument(0), scale, shift, g.constant(mean), variance], epsilon=0.0)


@emits("Embedding")
def embedding(g: Any, call: Any) -> str:
    """(weight, index, padding_idx)"""
    return g.node("Gather", [g.argument(0), g.argument(1)], axis=0)


# -------------------------------------------------------------------------------------- rearranging
def _shape(g: Any, shape: Any, twin: Any) -> list[int]:
    """A shape with -1 for the one size that follows the batch."""
    out = [int(a) if a == b else -1 for a, b in zip(shape, twin, strict=True)]
    if out.count(-1) > 1:
        g.same("the shape", tuple(shape), tuple(twin))
    return out


@emits("Reshape")
def reshape(g: Any, call: Any) -> str:
    """(x, shape)"""
    target = _shape(g, call.outputs[0].shape, call.twin.outputs[0].shape)
    return g.node("Reshape", [g.argument(0), g.constant(target, np.int64)], allowzero=1 if 0 in target else None)


@emits("Expand")
def expand(g: Any, call: Any) -> str:
    """(x, shape): 1 keeps a size, so also that of the batch."""
    shape, twin = call.outputs[0].shape, call.twin.outputs[0].shape
    own = (1,) * (len(shape) - call.args[0].ndim) + call.args[0].shape
    if any(a != b and o == 1 for a, b, o in zip(shape, twin, own, strict=True)):
        g.same("the shape", shape, twin)
    return g.node("Expand", [g.argument(0), g.constant([n if n == m else 1 for n, m in zip(shape, twin, strict=True)], np.int64)])


@emits("Permute")
def permute(g: Any, call: Any) -> str:
    """(x, dims)"""
    return g.node("Transpose", [g.argument(0)], perm=[int(d) for d in call.args[1]])


@emits("Cat")
def cat(g: Any, call: Any) -> str:
    """(*tensors, dim=)"""
    return g.node("Concat", [g.argument(i) for i in range(len(call.args))], axis=call.options["dim"])


@emits("Split")
def split(g: Any, call: Any) -> tuple[str, ...]:
    """(x, dim, ends)"""
    dim, ends = call.args[1], g.same("the sizes of parts", call.args[2], call.twin.args[2])
    places = [g.constant([n], np.int64) for n in (dim, 0, *ends)]
    return tuple(g.node("Slice", [g.argument(0), low, high, places[0]]) for low, high in itertools.pairwise(places[1:]))


@emits("Halves")
def halves(g: Any, call: Any) -> tuple[str, str]:
    """(x, axis)"""
    axis = call.args[1]
    half = g.same("half a size", *(c.args[0].shape[axis] // 2 for c in (call, call.twin)))
    axes, low, middle, high = (g.constant([n], np.int64) for n in (axis, 0, half, END))
    return g.node("Slice", [g.argument(0), low, middle, axes]), g.node("Slice", [g.argument(0), middle, high, axes])


@emits("Gate")
def gate(g: Any, call: Any) -> str:
    """(a, b)"""
    return g.node("Mul", [g.argument(0), g.node("Sigmoid", [g.argument(1)])])


@emits("Lerp")
def lerp(g: Any, call: Any) -> str:
    """(start, end, weight)"""
    start, end, weight = g.argument(0), g.argument(1), _operand(g, 2, call.outputs[0].dtype)
    return g.node("Add", [start, g.node("Mul", [g.node("Sub", [end, start]), weight])])


@emits("NanToNum")
def nan_to_num(g: Any, call: Any) -> str:
    """(x, nan, top, bottom)"""
    x = g.argument(0)
    nan, top, bottom = (_operand(g, i, call.outputs[0].dtype) for i in (1, 2, 3))
    y = g.node("Where", [g.node("IsInf", [x], detect_negative=0), top, x])
    y = g.node("Where", [g.node("IsInf", [x], detect_positive=0), bottom, y])
    return g.node("Where", [g.node("IsNaN", [x]), nan, y])


@emits("Pad")
def pad(g: Any, call: Any) -> str:
    """(x, (before, after) for each dimension, value)"""
    pairs, value = g.same("the padding", call.args[1:3], call.twin.args[1:3])
    numbers = g.constant([p[side] for side in (0, 1) for p in pairs], np.int64)
    return g.node("Pad", [g.argument(0), numbers, g.constant(np.asarray(value, call.outputs[0].dtype))])


@emits("Gather")
def gather(g: Any, call: Any) -> str:
    """(x, dim, index): of x's rank, or a vector"""
    return g.node("GatherElements" if call.args[2].ndim == call.args[0].ndim else "Gather", [g.argument(0), g.argument(2)], axis=call.args[1])


@emits("GetItem")
def getitem(g: Any, call: Any) -> str:
    """(x, key): slices and integers as one Slice, then integers' dimensions squeezed and None's made; one integer array as a Gather."""
    key = call.args[1] if isinstance(call.args[1], tuple) else (call.args[1],)
    twin = call.twin.args[1] if isinstance(call.twin.args[1], tuple) else (call.twin.args[1],)
    ndim = call.args[0].ndim
    used = sum(k is not None and k is not Ellipsis for k in key)
    if not any(k is Ellipsis for k in key):
        key, twin = (*key, Ellipsis), (*twin, Ellipsis)
    at = next(i for i, k in enumerate(key) if k is Ellipsis)
    full = (slice(None),) * (ndim - used)
    key, twin = key[:at] + full + key[at + 1 :], twin[:at] + full + twin[at + 1 :]
    y, axis, take = g.argument(0), 0, None
    cuts: list[tuple] = []
    gone: list[int] = []
    new: list[int] = []
    for k, other in zip(key, twin, strict=True):
        if k is None:
            new.append(axis - len(gone) + len(new))
            continue
        if isinstance(k, slice):
            step = k.step or 1
            if k != slice(None):
                g.same("a slice", k, other)
                default = (0, END) if step > 0 else (END, -END)
                cuts.append((axis, default[0] if k.start is None else k.start, default[1] if k.stop is None else k.stop, step))
        elif isinstance(k, (int, np.integer)) and not isinstance(k, bool):
            k = int(g.same("an index", k, other))
            cuts.append((axis, k, END if k == -1 else k + 1, 1))
            gone.append(axis)
        elif isinstance(k, np.ndarray) and k.dtype.kind in "iu" and take is None and not any(c is None for c in key):
            take = (axis - len(gone), k, other)
        else:
            raise NotImplementedError(f"export: indexing with {type(k).__name__} has no form in ONNX here")
        axis += 1
    if take is not None and gone:
        raise NotImplementedError("export: indexing with integers and arrays together has no form in ONNX here")
    if cuts:
        axes, starts, ends, steps = (g.constant([c[i] for c in cuts], np.int64) for i in range(4))
        y = g.node("Slice", [y, starts, ends, axes, steps])
    if gone:
        y = g.node("Squeeze", [y, g.constant(gone, np.int64)])
    if new:
        y = g.node("Unsqueeze", [y, g.constant(new, np.int64)])
    if take is not None:
        y = g.node("Gather", [y, g.name(take[1], take[2])], axis=take[0])
    return y if cuts or gone or new or take is not None else g.node("Identity", [y])


@emits("Resample")
def resample(g: Any, call: Any) -> str:
    """(x, a table for each axis): a table that only chooses is a Gather, another a product with its matrix."""
    y = g.argument(0)
    for axis, (table, twin) in enumerate(zip(call.args[1], call.twin.args[1], strict=True)):
        if table is None:
            continue
        g.same("the table of an axis", table, twin)
        if np.array_equal(table.start, np.arange(table.output_size + 1)) and (table.weight == 1).all():
            y = g.node("Gather", [y, g.constant(table.index, np.int64)], axis=axis)
            continue
        matrix = np.zeros((table.size, table.output_size))
        np.add.at(matrix, (table.index, np.repeat(np.arange(table.output_size), np.diff(table.start))), table.weight)
        order = [*(i for i in range(call.args[0].ndim) if i != axis), axis]
        product = g.node("MatMul", [g.node("Transpose", [y], perm=order), g.constant(matrix, call.outputs[0].dtype)])
        y = g.node("Transpose", [product], perm=[int(i) for i in np.argsort(order)])
    return y


# -------------------------------------------------------------------------------------- reductions
REDUCTIONS = {"Sum": "ReduceSum", "Mean": "ReduceMean", "Amax": "ReduceMax", "Amin": "ReduceMin"}


@emits(*REDUCTIONS)
def reduction(g: Any, call: Any) -> str:
    """(x, axes, keepdim)"""
    axes, keep = call.args[1], call.args[2]
    if not axes:
        return g.node("Identity", [g.argument(0)])
    return g.node(REDUCTIONS[call.function.__name__], [g.argument(0), g.constant(list(axes), np.int64)], keepdims=int(keep))


KEEPING = {"LogSumExp": "ReduceLogSumExp", "Length": "ReduceL2"}


@emits(*KEEPING)
def keeping(g: Any, call: Any) -> str:
    """(x, axes), which stay with size 1"""
    return g.node(KEEPING[call.function.__name__], [g.argument(0), g.constant(list(call.args[1]), np.int64)], keepdims=1)


@emits("Var")
def variance(g: Any, call: Any) -> str:
    """(x, axes, correction), which stay with size 1"""
    axes = g.constant(list(call.args[1]), np.int64)
    count = math.prod(call.args[0].shape[a] for a in call.args[1])
    g.same("the number of elements", count, math.prod(call.twin.args[0].shape[a] for a in call.args[1]))
    away = g.node("Sub", [g.argument(0), g.node("ReduceMean", [g.argument(0), axes], keepdims=1)])
    total = g.node("ReduceSumSquare", [away, axes], keepdims=1)
    return g.node("Mul", [total, g.constant(np.asarray(1 / max(count - call.args[2], 0), call.outputs[0].dtype))])
