"""Making tensors: from data, of one value, in steps, at random."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from convkit_kernels import layout

from .. import device as devices
from ..autograd import TensorBase
from ..random import Generator, default_generator

if TYPE_CHECKING:
    from ..tensor import Tensor


def _finish(array: np.ndarray, requires_grad: bool, device: Any) -> Tensor:
    if device is not None:
        devices.check(device)
    out = TensorBase.result(array)
    return out.requires_grad_() if requires_grad else out


def tensor(data: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """A tensor with a copy of `data`: numbers, nested sequences, arrays or tensors.

    Without `dtype`, Python floats become float32 and everything else keeps its dtype, as in torch.
    TypeError for data that are not numbers.
    """
    source = data.array if isinstance(data, TensorBase) else data
    try:
        array = np.array(source, order="K", dtype=dtype)
    except (ValueError, TypeError) as error:
        raise TypeError(f"tensor: data must be numbers in a regular shape: {error}") from None
    if array.dtype.kind not in "fiub":
        raise TypeError(f"tensor: data must be real numbers or booleans, got dtype {array.dtype}")
    if dtype is None and array.dtype == np.float64 and not isinstance(source, (np.ndarray, np.generic)):
        array = array.astype(np.float32)
    return _finish(layout.normal(array), requires_grad, device)


def from_numpy(array: np.ndarray) -> Tensor:
    """A tensor that shares the array's memory (a copy where kernels could not use it: read-only, misaligned or byte-swapped)."""
    if not isinstance(array, np.ndarray):
        raise TypeError(f"from_numpy: needs a NumPy array, got {type(array).__name__}")
    if array.dtype.kind not in "fiub":
        raise TypeError(f"from_numpy: data must be real numbers or booleans, got dtype {array.dtype}")
    return TensorBase.result(layout.normal(array))


def from_dlpack(source: Any) -> Tensor:
    """A tensor that shares the memory of any object with `__dlpack__`."""
    return from_numpy(np.from_dlpack(source))


def _sizes(op: str, size: tuple) -> tuple[int, ...]:
    if len(size) == 1 and isinstance(size[0], (tuple, list)):
        size = tuple(size[0])
    if any(isinstance(s, bool) or not hasattr(s, "__index__") for s in size):
        raise TypeError(f"{op}: sizes must be ints, got {size}")
    if any(s < 0 for s in size):
        raise ValueError(f"{op}: sizes must not be negative, got {list(size)}")
    return tuple(int(s) for s in size)


def full(size: Any, fill_value: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """A tensor of `size` filled with one value; float32 unless dtype or an integer value says otherwise."""
    if dtype is None:
        dtype = np.bool_ if isinstance(fill_value, (bool, np.bool_)) else np.int64 if isinstance(fill_value, (int, np.integer)) else np.float32
    return _finish(np.full(_sizes("full", (size,)), fill_value, dtype), requires_grad, device)


def zeros(*size: Any, dtype: Any = np.float32, device: Any = None, requires_grad: bool = False) -> Tensor:
    """A tensor of zeros."""
    return _finish(np.zeros(_sizes("zeros", size), dtype), requires_grad, device)


def ones(*size: Any, dtype: Any = np.float32, device: Any = None, requires_grad: bool = False) -> Tensor:
    """A tensor of ones."""
    return _finish(np.ones(_sizes("ones", size), dtype), requires_grad, device)


def zeros_like(x: Tensor) -> Tensor:
    """Zeros in x's shape, dtype and memory layout."""
    return TensorBase.result(np.zeros_like(x.array))


def ones_like(x: Tensor) -> Tensor:
    """Ones in x's shape, dtype and memory layout."""
    return TensorBase.result(np.ones_like(x.array))


def arange(start: Any, end: Any = None, step: Any = 1, *, dtype: Any = None, device: Any = None) -> Tensor:
    """Numbers from start (0 if only an end is given) to before end; int64 for integers, else float32."""
    start, end = (0, start) if end is None else (start, end)
    if dtype is None:
        dtype = np.int64 if all(isinstance(v, (int, np.integer)) for v in (start, end, step)) else np.float32
    if not step:
        raise ValueError("arange: step must not be 0")
    return _finish(np.arange(start, end, step, dtype=dtype), False, device)


def _drawn(kind: str, size: tuple, dtype: Any, generator: Generator | None, device: Any, requires_grad: bool) -> Tensor:
    dtype = np.dtype(dtype)
    if dtype not in (np.float32, np.float64):
        raise TypeError(f"{kind}: dtype must be float32 or float64, got {dtype}")
    name = {"rand": "uniform", "randn": "normal"}[kind]
    draw = getattr(devices.kernels(np.empty(0)), name)
    return _finish(draw(_sizes(kind, size), *(generator or default_generator).take(), dtype), requires_grad, device)


def rand(*size: Any, generator: Generator | None = None, dtype: Any = np.float32, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Uniform random numbers in [0, 1)."""
    return _drawn("rand", size, dtype, generator, device, requires_grad)


def randn(*size: Any, generator: Generator | None = None, dtype: Any = np.float32, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Normally distributed random numbers, mean 0 and variance 1."""
    return _drawn("randn", size, dtype, generator, device, requires_grad)


def randint(low: int, high: int, size: Any, *, generator: Generator | None = None) -> Tensor:
    """Random integers (int64) from low to high - 1."""
    if high <= low:
        raise ValueError(f"randint: high must be above low, got {low} and {high}")
    u = _drawn("rand", (size,), np.float64, generator, None, False).array
    return TensorBase.result((np.floor(u * (high - low)) + low).astype(np.int64))


def randperm(n: int, *, generator: Generator | None = None) -> Tensor:
    """The integers 0 .. n-1 in random order."""
    return TensorBase.result(np.argsort(_drawn("rand", (n,), np.float64, generator, None, False).array, kind="stable"))
