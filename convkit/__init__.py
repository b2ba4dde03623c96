"""convkit: train and understand small convolutional networks, without PyTorch.

    import convkit
    from convkit import nn, optim
    import convkit.nn.functional as F

Names, arguments and results are torch's.  Start with README.md; `docs/architecture.md` follows one convolution from here to its kernel.
"""

from __future__ import annotations

import importlib as _importlib

import numpy as _np

from . import autograd, cuda, nn, optim
from .autograd import enable_grad, is_grad_enabled, no_grad
from .interop import load, save
from .ops.activation import log_softmax, relu, sigmoid, softmax, tanh
from .ops.creation import (
    arange,
    from_dlpack,
    from_numpy,
    full,
    ones,
    ones_like,
    rand,
    randint,
    randn,
    randperm,
    tensor,
    zeros,
    zeros_like,
)
from .ops.distance import cdist, cosine_similarity
from .ops.elementwise import abs, clamp, exp, log, maximum, minimum, sqrt, where
from .ops.indexing import gather
from .ops.matmul import matmul
from .ops.reduce import amax, amin, argmax, argmin, max, mean, min, std, sum, var
from .ops.shape import cat, chunk, flatten, permute, reshape, split, squeeze, stack, transpose, unsqueeze
from .random import Generator, manual_seed
from .tensor import Tensor
from .threads import get_num_threads, set_num_threads
from .version import __version__

float32, float64 = _np.dtype("float32"), _np.dtype("float64")
uint8, int32, int64, bool_ = _np.dtype("uint8"), _np.dtype("int32"), _np.dtype("int64"), _np.dtype("bool")

__all__ = [
    "Generator", "Tensor", "__version__", "abs", "amax", "amin", "arange", "argmax", "argmin", "autograd", "bool_", "cat", "cdist", "chunk",
    "clamp", "cosine_similarity", "cuda", "enable_grad", "exp", "flatten", "float32", "float64", "from_dlpack", "from_numpy", "full", "gather",
    "get_num_threads", "int32", "int64", "is_grad_enabled", "load", "log", "log_softmax", "manual_seed", "matmul", "max", "maximum", "mean", "min",
    "minimum", "nn", "no_grad", "ones", "ones_like", "optim", "permute", "rand", "randint", "randn", "randperm", "relu", "reshape", "save",
    "set_num_threads", "sigmoid", "softmax", "split", "sqrt", "squeeze", "stack", "std", "sum", "tanh", "tensor", "transpose", "uint8", "unsqueeze",
    "var", "where", "zeros", "zeros_like",
]  # fmt: skip


def __getattr__(name: str) -> object:
    """`convkit.data`, `convkit.models` and `convkit.train` are imported when first named."""
    if name in ("data", "models", "train"):
        return _importlib.import_module(f"convkit.{name}")
    raise AttributeError(f"module 'convkit' has no attribute {name!r}")
