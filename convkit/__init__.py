"""convkit: train and understand small convolutional networks, without PyTorch.

    import convkit
    from convkit import nn, optim
    import convkit.nn.functional as F

Names, arguments and results are torch's.  Start with README.md; `docs/architecture.md` follows one convolution from here to its kernel.
"""

from __future__ import annotations

import importlib as _importlib
import math as _math

import numpy as _np

from convkit_kernels.algorithm import conv_algorithm

from . import autograd, cuda, nn, optim
from .autograd import enable_grad, is_grad_enabled, no_grad
from .device import get_default_device, set_default_device
from .interop import load, save
from .ops.activation import log_softmax, relu, sigmoid, softmax, tanh
from .ops.arrange import (
    broadcast_tensors,
    column_stack,
    diag,
    diag_embed,
    diagonal,
    dstack,
    flip,
    fliplr,
    flipud,
    hstack,
    meshgrid,
    movedim,
    repeat_interleave,
    roll,
    rot90,
    t,
    tensor_split,
    tile,
    trace,
    tril,
    triu,
    unbind,
    unflatten,
    vstack,
)  # fmt: skip
from .ops.compare import (
    all,
    allclose,
    any,
    bitwise_and,
    bitwise_left_shift,
    bitwise_not,
    bitwise_or,
    bitwise_right_shift,
    bitwise_xor,
    eq,
    equal,
    ge,
    gt,
    isclose,
    isfinite,
    isinf,
    isnan,
    le,
    logical_and,
    logical_not,
    logical_or,
    logical_xor,
    lt,
    ne,
    signbit,
)  # fmt: skip
from .ops.creation import (
    arange,
    as_tensor,
    asarray,
    bernoulli,
    empty,
    empty_like,
    eye,
    from_dlpack,
    from_numpy,
    full,
    full_like,
    linspace,
    logspace,
    multinomial,
    normal,
    ones,
    ones_like,
    rand,
    rand_like,
    randint,
    randint_like,
    randn,
    randn_like,
    randperm,
    tensor,
    zeros,
    zeros_like,
)  # fmt: skip
from .ops.distance import cdist, cosine_similarity
from .ops.elementwise import (
    add,
    addcdiv,
    addcmul,
    atan2,
    clamp,
    clamp_max,
    clamp_min,
    div,
    floor_divide,
    fmod,
    maximum,
    minimum,
    mul,
    pow,
    remainder,
    result_type,
    sub,
    where,
)  # fmt: skip
from .ops.functions import (
    abs,
    acos,
    acosh,
    asin,
    asinh,
    atan,
    atanh,
    ceil,
    cos,
    cosh,
    exp,
    exp2,
    expm1,
    floor,
    frac,
    lerp,
    log,
    log1p,
    log2,
    log10,
    nan_to_num,
    neg,
    positive,
    reciprocal,
    round,
    rsqrt,
    sign,
    sin,
    sinh,
    sqrt,
    square,
    tan,
    trunc,
)  # fmt: skip
from .ops.indexing import (
    argwhere,
    gather,
    index_add,
    index_copy,
    index_fill,
    index_put,
    index_select,
    masked_fill,
    masked_select,
    narrow,
    nonzero,
    scatter,
    scatter_add,
    select,
    take,
    take_along_dim,
)  # fmt: skip
from .ops.matmul import matmul
from .ops.products import addbmm, addmm, addmv, addr, baddbmm, bmm, dot, einsum, inner, mm, mv, outer, tensordot
from .ops.reduce import (
    amax,
    amin,
    aminmax,
    argmax,
    argmin,
    count_nonzero,
    cumprod,
    cumsum,
    logcumsumexp,
    logsumexp,
    max,
    mean,
    min,
    nanmean,
    nansum,
    norm,
    prod,
    std,
    std_mean,
    sum,
    var,
    var_mean,
)  # fmt: skip
from .ops.shape import broadcast_to, cat, chunk, flatten, permute, ravel, reshape, split, squeeze, stack, swapaxes, transpose, unsqueeze
from .ops.sort import argsort, bincount, cummax, cummin, kthvalue, median, sort, topk, unique
from .random import Generator, manual_seed
from .tensor import Tensor
from .threads import get_num_threads, set_num_threads
from .version import __version__

absolute, arccos, arccosh, arcsin, arcsinh, arctan, arctan2, arctanh = abs, acos, acosh, asin, asinh, atan, atan2, atanh
clip, concat, concatenate, divide, fix, multiply, negative, subtract, true_divide = clamp, cat, cat, div, trunc, mul, neg, sub, div
greater, greater_equal, less, less_equal, not_equal = gt, ge, lt, le, ne
moveaxis, swapdims, row_stack = movedim, transpose, vstack
inf, nan, pi, e, newaxis = _math.inf, _math.nan, _math.pi, _math.e, None
float32, float64 = _np.dtype("float32"), _np.dtype("float64")
uint8, int8, int16, int32, int64, bool_ = (_np.dtype(n) for n in ("uint8", "int8", "int16", "int32", "int64", "bool"))
float, double, short, int, long, bool = float32, float64, int16, int32, int64, bool_

__all__ = [
    "Generator", "Tensor", "__version__", "abs", "absolute", "acos", "acosh", "add", "addbmm", "addcdiv", "addcmul", "addmm", "addmv", "addr",
    "all", "allclose", "amax", "amin", "aminmax", "any", "arange", "arccos", "arccosh", "arcsin", "arcsinh", "arctan", "arctan2", "arctanh",
    "argmax", "argmin", "argsort", "argwhere", "as_tensor", "asarray", "asin", "asinh", "atan", "atan2", "atanh", "autograd", "baddbmm",
    "bernoulli", "bincount", "bitwise_and", "bitwise_left_shift", "bitwise_not", "bitwise_or", "bitwise_right_shift", "bitwise_xor", "bmm", "bool",
    "bool_", "broadcast_tensors", "broadcast_to", "cat", "cdist", "ceil", "chunk", "clamp", "clamp_max", "clamp_min", "clip", "column_stack",
    "concat", "concatenate", "conv_algorithm", "cos", "cosh", "cosine_similarity", "count_nonzero", "cuda", "cummax", "cummin", "cumprod",
    "cumsum", "diag", "diag_embed", "diagonal", "div", "divide", "dot", "double", "dstack", "e", "einsum", "empty", "empty_like", "enable_grad",
    "eq", "equal", "exp", "exp2", "expm1", "eye", "fix", "flatten", "flip", "fliplr", "flipud", "float", "float32", "float64", "floor",
    "floor_divide", "fmod", "frac", "from_dlpack", "from_numpy", "full", "full_like", "gather", "ge", "get_default_device", "get_num_threads",
    "greater", "greater_equal", "gt", "hstack", "index_add", "index_copy", "index_fill", "index_put", "index_select", "inf", "inner", "int",
    "int16", "int32", "int64", "int8", "is_grad_enabled", "isclose", "isfinite", "isinf", "isnan", "kthvalue", "le", "lerp", "less", "less_equal",
    "linspace", "load", "log", "log10", "log1p", "log2", "log_softmax", "logcumsumexp", "logical_and", "logical_not", "logical_or", "logical_xor",
    "logspace", "logsumexp", "long", "lt", "manual_seed", "masked_fill", "masked_select", "matmul", "max", "maximum", "mean", "median", "meshgrid",
    "min", "minimum", "mm", "moveaxis", "movedim", "mul", "multinomial", "multiply", "mv", "nan", "nan_to_num", "nanmean", "nansum", "narrow",
    "ne", "neg", "negative", "newaxis", "nn", "no_grad", "nonzero", "norm", "normal", "not_equal", "ones", "ones_like", "optim", "outer",
    "permute", "pi", "positive", "pow", "prod", "rand", "rand_like", "randint", "randint_like", "randn", "randn_like", "randperm", "ravel",
    "reciprocal", "relu", "remainder", "repeat_interleave", "reshape", "result_type", "roll", "rot90", "round", "row_stack", "rsqrt", "save",
    "scatter", "scatter_add", "select", "set_default_device", "set_num_threads", "short", "sigmoid", "sign", "signbit", "sin", "sinh", "softmax",
    "sort", "split", "sqrt", "square", "squeeze", "stack", "std", "std_mean", "sub", "subtract", "sum", "swapaxes", "swapdims", "t", "take",
    "take_along_dim", "tan", "tanh", "tensor", "tensor_split", "tensordot", "tile", "topk", "trace", "transpose", "tril", "triu", "true_divide",
    "trunc", "uint8", "unbind", "unflatten", "unique", "unsqueeze", "var", "var_mean", "vstack", "where", "zeros", "zeros_like",
]  # fmt: skip


def __getattr__(name: str) -> object:
    """`convkit.data`, `convkit.models`, `convkit.train`, `profile` and `explain` are imported when first named."""
    if name in ("data", "models", "train"):
        return _importlib.import_module(f"convkit.{name}")
    if name in ("explain", "profile"):
        return getattr(_importlib.import_module("convkit.performance"), name)
    raise AttributeError(f"module 'convkit' has no attribute {name!r}")
