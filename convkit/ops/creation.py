"""Making tensors: from data, of one value, in steps, at random."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from convkit_kernels import geometry, layout

from .. import device as devices
from ..autograd import TensorBase
from ..random import Generator, default_generator
from . import checks

if TYPE_CHECKING:
    from ..tensor import Tensor


def _finish(array: np.ndarray, requires_grad: bool, device: Any) -> Tensor:
    out = TensorBase.result(devices.move(array, devices.or_default(device)))
    return out.requires_grad_() if requires_grad else out


def tensor(data: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """A tensor with a copy of `data`: numbers, nested sequences, arrays or tensors.

    Without `dtype`, Python floats become float32 and everything else keeps its dtype, as in torch.
    TypeError for data that are not numbers.
    """
    if isinstance(data, (list, tuple)):
        data, device = _on_the_host(data, device)
    source = data.array if isinstance(data, TensorBase) else data
    shared = source if isinstance(data, TensorBase) else devices.shared(data)
    if shared is not None and shared.device != "cpu":
        source, device = devices.move(shared, "cpu"), device or shared.device
    try:
        array = np.array(source, order="K", dtype=dtype)
    except (ValueError, TypeError) as error:
        raise TypeError(f"tensor: data must be numbers in a regular shape: {error}") from None
    if array.dtype.kind not in "fiub":
        raise TypeError(f"tensor: data must be real numbers or booleans, got dtype {array.dtype}")
    if dtype is None and array.dtype == np.float64 and not isinstance(source, (np.ndarray, np.generic)):
        array = array.astype(np.float32)
    return _finish(layout.normal(array), requires_grad, device)


def _on_the_host(data: Any, device: Any) -> tuple[Any, Any]:
    """A nested sequence, of which tensors that are elsewhere are copied to the host, and `device`, or if that is None where they are."""
    first = data
    while isinstance(first, (list, tuple)) and first:
        first = first[0]
    if not isinstance(first, TensorBase) or first.array.device == "cpu":
        return data, device

    def copied(part: Any) -> Any:
        if isinstance(part, (list, tuple)):
            return [copied(p) for p in part]
        return devices.move(part.array, "cpu") if isinstance(part, TensorBase) else part

    return copied(data), first.array.device if device is None else device


def from_numpy(array: np.ndarray) -> Tensor:
    """A tensor that shares the array's memory (a copy where kernels could not use it: read-only, misaligned or byte-swapped)."""
    if not isinstance(array, np.ndarray):
        raise TypeError(f"from_numpy: needs a NumPy array, got {type(array).__name__}")
    if array.dtype.kind not in "fiub":
        raise TypeError(f"from_numpy: data must be real numbers or booleans, got dtype {array.dtype}")
    return TensorBase.result(layout.normal(array))


def from_dlpack(ext_tensor: Any, *, device: Any = None, copy: bool | None = None) -> Tensor:
    """A tensor that shares the memory of any object with `__dlpack__`, or, with `copy`, has a copy of it."""
    try:
        shared = devices.shared(ext_tensor)
        if shared is not None:
            return TensorBase.result(devices.move(shared.copy() if copy else shared, shared.device if device is None else devices.check(device)))
        device = devices.check("cpu" if device is None else device)
        array = np.from_dlpack(ext_tensor)
    except (AttributeError, BufferError) as error:
        raise TypeError(f"from_dlpack: needs an array of numbers with __dlpack__, got {type(ext_tensor).__name__}: {error}") from None
    return from_numpy(array.copy() if copy else array).to(device)


def _sizes(op: str, size: Any, named: Any = None) -> tuple[int, ...]:
    """Sizes that come one by one, as one sequence, or under the keyword `size`."""
    if named is not None:
        if size:
            raise TypeError(f"{op}: takes size once, got {size} and size={named}")
        size = (named,)
    if len(size) == 1 and isinstance(size[0], (tuple, list)):
        size = tuple(size[0])
    sizes = [checks.as_int(s) for s in size]
    if None in sizes:
        raise TypeError(f"{op}: sizes must be ints, got {size}")
    whole = tuple(s for s in sizes if s is not None)
    if any(s < 0 for s in whole):
        raise ValueError(f"{op}: sizes must not be negative, got {list(whole)}")
    return geometry.fits(op, whole)


def _dtype(op: str, dtype: Any, default: Any = np.float32) -> np.dtype:
    return checks.dtype(op, default if dtype is None else dtype)


def as_tensor(data: Any, dtype: Any = None, device: Any = None) -> Tensor:
    """A tensor of `data`, which shares memory with a tensor or an array of that dtype, and copies anything else."""
    if isinstance(data, TensorBase):
        data = data if device is None else data.to(device=device)
        return data if dtype is None or data.array.dtype == dtype else data.to(dtype)  # type: ignore[attr-defined,return-value]
    shared = devices.shared(data)
    if shared is not None:
        return as_tensor(TensorBase.result(shared), dtype, device)
    if isinstance(data, np.ndarray) and (dtype is None or data.dtype == dtype) and devices.or_default(device) == "cpu":
        return from_numpy(data)
    return tensor(data, dtype, device)


def asarray(obj: Any, *, dtype: Any = None, device: Any = None, copy: bool | None = None, requires_grad: bool = False) -> Tensor:
    """`as_tensor`, with a copy (and without a graph) if `copy` is True; ValueError if it is False and `obj` cannot share its memory."""
    if copy:
        return tensor(obj, dtype, device, requires_grad)
    found = as_tensor(obj, dtype, device)
    if copy is False and not np.shares_memory(found.array, obj.array if isinstance(obj, TensorBase) else np.asarray(obj)):
        raise ValueError(f"asarray: a {type(obj).__name__} cannot be had as {found.dtype} without a copy")
    return found.requires_grad_() if requires_grad else found


def _like(op: str, make: Any, input: Any, dtype: Any, device: Any, requires_grad: bool, *value: Any) -> Tensor:
    array = checks.tensor(op, input).array
    return _finish(make(array, *value, dtype=_dtype(op, dtype, array.dtype)), requires_grad, array.device if device is None else device)


def zeros_like(input: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Zeros in input's shape and memory layout, and its dtype unless told otherwise."""
    return _like("zeros_like", np.zeros_like, input, dtype, device, requires_grad)


def ones_like(input: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Ones in input's shape and memory layout, and its dtype unless told otherwise."""
    return _like("ones_like", np.ones_like, input, dtype, device, requires_grad)


def full_like(input: Any, fill_value: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """One value in input's shape and memory layout, and its dtype unless told otherwise."""
    return _like("full_like", np.full_like, input, dtype, device, requires_grad, checks.number("full_like", "fill_value", fill_value))


def empty_like(input: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Numbers that happened to be in memory, in input's shape and memory layout, and its dtype unless told otherwise."""
    return _like("empty_like", np.empty_like, input, dtype, device, requires_grad)


# -------------------------------------------------------------------------------- of one value, in steps
def full(size: Any, fill_value: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """A tensor of `size` filled with one value; float32 unless dtype or an integer value says otherwise."""
    fill_value = fill_value.item() if isinstance(fill_value, TensorBase) else fill_value  # type: ignore[attr-defined]
    checks.number("full", "fill_value", fill_value)
    kind = np.bool_ if isinstance(fill_value, (bool, np.bool_)) else np.int64 if isinstance(fill_value, (int, np.integer)) else np.float32
    if kind is np.int64:
        checks.whole("full", "fill_value", fill_value)
    return _finish(np.full(_sizes("full", (size,)), fill_value, _dtype("full", dtype, kind)), requires_grad, device)


def zeros(*sizes: Any, size: Any = None, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """A tensor of zeros, float32 unless told otherwise."""
    return _finish(np.zeros(_sizes("zeros", sizes, size), _dtype("zeros", dtype)), requires_grad, device)


def ones(*sizes: Any, size: Any = None, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """A tensor of ones, float32 unless told otherwise."""
    return _finish(np.ones(_sizes("ones", sizes, size), _dtype("ones", dtype)), requires_grad, device)


def empty(*sizes: Any, size: Any = None, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """A tensor of the numbers that happened to be in memory, float32 unless told otherwise."""
    return _finish(np.empty(_sizes("empty", sizes, size), _dtype("empty", dtype)), requires_grad, device)


def eye(n: int, m: int | None = None, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """A matrix [n, m or n] of ones on the diagonal and zeros elsewhere."""
    return _finish(np.eye(*_sizes("eye", (n, n if m is None else m)), dtype=_dtype("eye", dtype)), requires_grad, device)


def _numbers(op: str, **values: Any) -> list[Any]:
    """Numbers, also those of tensors of one element."""
    return [checks.number(op, name, v.item() if isinstance(v, TensorBase) else v) for name, v in values.items()]  # type: ignore[attr-defined]


def arange(start: Any = None, end: Any = None, step: Any = 1, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Numbers from start (0 if only an end is given) to before end; int64 for integers, else float32."""
    start, end = (0, start) if end is None else (0 if start is None else start, end)
    if end is None:
        raise TypeError("arange: needs an end")
    start, end, step = _numbers("arange", start=start, end=end, step=step)
    whole = all(isinstance(v, (int, np.integer)) for v in (start, end, step))
    if not step:
        raise ValueError("arange: step must not be 0")
    if not all(np.isfinite(v) for v in (start, end, step)):
        raise ValueError(f"arange: needs finite numbers, got {start}, {end} and {step}")
    if (end - start) * (1 if step > 0 else -1) < 0:
        raise ValueError(f"arange: steps of {step} do not lead from {start} to {end}")
    count = -((start - end) // step) if whole else int(np.ceil((end - start) / step))
    geometry.fits("arange", (count,))
    return _finish((start + step * np.arange(count)).astype(_dtype("arange", dtype, np.int64 if whole else np.float32)), requires_grad, device)


def linspace(start: Any, end: Any, steps: int, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """`steps` numbers evenly spaced from start to end, both included."""
    start, end = _numbers("linspace", start=start, end=end)
    (count,) = _sizes("linspace", (checks.whole("linspace", "steps", steps),))
    values = np.linspace(float(start), float(end), count)
    kind = _dtype("linspace", dtype)
    return _finish((np.trunc(values) if kind.kind in "iu" else values).astype(kind), requires_grad, device)


def logspace(start: Any, end: Any, steps: int, base: float = 10.0, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """`base` to the power of `steps` numbers evenly spaced from start to end."""
    start, end, base = _numbers("logspace", start=start, end=end, base=base)
    (count,) = _sizes("logspace", (checks.whole("logspace", "steps", steps),))
    return _finish((float(base) ** np.linspace(float(start), float(end), count)).astype(_dtype("logspace", dtype)), requires_grad, device)


# ---------------------------------------------------------------------------------------- at random
def _drawn(kind: str, size: tuple, dtype: Any, generator: Generator | None, device: Any, requires_grad: bool) -> Tensor:
    dtype = _dtype(kind, dtype)
    if dtype not in (np.float32, np.float64):
        raise TypeError(f"{kind}: dtype must be float32 or float64, got {dtype}")
    if generator is not None and not isinstance(generator, Generator):
        raise TypeError(f"{kind}: generator must be a Generator, got {type(generator).__name__}")
    name = {"rand": "uniform", "randn": "normal"}[kind]
    device = devices.or_default(device)
    draw = getattr(devices.kernels_on(device), name)
    return _finish(draw(_sizes(kind, size), *(generator or default_generator).take(), dtype), requires_grad, device)


def rand(
    *sizes: Any, size: Any = None, generator: Generator | None = None, dtype: Any = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """Uniform random numbers in [0, 1)."""
    return _drawn("rand", _sizes("rand", sizes, size), dtype, generator, device, requires_grad)


def randn(
    *sizes: Any, size: Any = None, generator: Generator | None = None, dtype: Any = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """Normally distributed random numbers, mean 0 and variance 1."""
    return _drawn("randn", _sizes("randn", sizes, size), dtype, generator, device, requires_grad)


def rand_like(input: Any, *, generator: Generator | None = None, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Uniform random numbers in [0, 1) in input's shape, and its dtype unless told otherwise."""
    return _drawn("rand", checks.tensor("rand_like", input).array.shape, dtype or input.array.dtype, generator, device, requires_grad)


def randn_like(input: Any, *, generator: Generator | None = None, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Normally distributed random numbers in input's shape, and its dtype unless told otherwise."""
    return _drawn("randn", checks.tensor("randn_like", input).array.shape, dtype or input.array.dtype, generator, device, requires_grad)


def randint(
    low: Any = None, high: Any = None, size: Any = None, *, generator: Generator | None = None, dtype: Any = None, device: Any = None
) -> Tensor:  # fmt: skip
    """Random integers (int64) from low (0 in `randint(high, size)`) to high - 1."""
    if size is None:
        low, high, size = None, low, high
    low, high = (0, low) if high is None else (0 if low is None else low, high)
    if size is None or high is None or isinstance(high, (tuple, list)):
        raise TypeError("randint: needs (high, size) or (low, high, size)")
    low, high = _numbers("randint", low=low, high=high)
    if high <= low:
        raise ValueError(f"randint: high must be above low, got {low} and {high}")
    kind = _dtype("randint", dtype, np.int64)
    if kind.kind in "iu" and not np.iinfo(kind).min <= low <= high - 1 <= np.iinfo(kind).max:
        raise ValueError(f"randint: {low} to {high - 1} are not all numbers of {kind}")
    u = _drawn("rand", (size,), np.float64, generator, device, False).array
    return TensorBase.result((np.floor(u * (high - low)) + low).astype(kind))


def randint_like(
    input: Any, low: int | None = None, high: int | None = None, *, generator: Generator | None = None, dtype: Any = None, device: Any = None
) -> Tensor:
    """Random integers from low (0 in `randint_like(input, high)`) to high - 1 in input's shape, and its dtype unless told otherwise."""
    checks.tensor("randint_like", input)
    return randint(low, high, input.array.shape, generator=generator, dtype=dtype or input.array.dtype, device=device)


def randperm(n: int, *, generator: Generator | None = None, dtype: Any = None, device: Any = None) -> Tensor:
    """The integers 0 .. n-1 in random order."""
    order = np.argsort(_drawn("rand", _sizes("randperm", (n,)), np.float64, generator, device, False).array, kind="stable")
    return TensorBase.result(order.astype(_dtype("randperm", dtype, np.int64)))


def sampled(op: str, odds: np.ndarray, generator: Generator | None) -> np.ndarray:
    """True at the given probabilities; ValueError outside [0, 1]."""
    if not ((odds >= 0) & (odds <= 1)).all():
        raise ValueError(f"{op}: probabilities must be 0 to 1")
    return _drawn("rand", odds.shape, np.float64, generator, None, False).array < odds


def bernoulli(input: Any, p: float | None = None, *, generator: Generator | None = None) -> Tensor:
    """1 at the probabilities that input holds (or p everywhere), else 0."""
    if checks.tensor("bernoulli", input).array.dtype.kind != "f":
        raise TypeError(f"bernoulli: needs probabilities of a floating dtype, got {input.dtype}")
    odds = input.array if p is None else np.full(input.array.shape, p, like=input.array)
    return TensorBase.result(sampled("bernoulli", odds, generator).astype(input.array.dtype))


def normal(
    mean: Any, std: Any = 1.0, size: Any = None, *, generator: Generator | None = None, dtype: Any = None, device: Any = None
) -> Tensor:  # fmt: skip
    """Normally distributed random numbers: mean and std are numbers, with a size, or tensors that broadcast."""
    m, s = (checks.array(v.array if isinstance(v, TensorBase) else checks.number("normal", name, v)) for name, v in (("mean", mean), ("std", std)))
    if not (s >= 0).all():
        raise ValueError(f"normal: std must not be negative, got {std}")
    if size is None and not isinstance(mean, TensorBase) and not isinstance(std, TensorBase):
        raise TypeError("normal: a mean and a std that are numbers need a size")
    shape = np.broadcast_shapes(m.shape, s.shape) if size is None else _sizes("normal", (size,))
    kind = dtype or next((v.array.dtype for v in (mean, std) if isinstance(v, TensorBase)), np.float32)
    draw = _drawn("randn", shape, kind, generator, device, False).array
    return TensorBase.result((draw * s + m).astype(draw.dtype))


def multinomial(input: Any, num_samples: int, replacement: bool = False, *, generator: Generator | None = None) -> Tensor:
    """[..., num_samples] places drawn with the weights in the last dimension of input [..., N], which need not add up to 1.

    Without replacement each place is drawn once: those whose exponential times u / weight come first (Efraimidis & Spirakis 2006).
    """
    weights = checks.tensor("multinomial", input).array.astype(np.float64)
    if input.array.dtype.kind != "f" or weights.ndim not in (1, 2):
        raise ValueError(f"multinomial: needs floating weights of 1 or 2 dimensions, got {input.dtype} of shape {list(input.shape)}")
    if not np.isfinite(weights).all() or (weights < 0).any() or not (weights.sum(-1) > 0).all():
        raise ValueError("multinomial: weights must be finite, not negative, and not all 0")
    if num_samples < 1 or (not replacement and num_samples > (weights > 0).sum(-1).min()):
        raise ValueError(f"multinomial: cannot draw {num_samples} of {weights.shape[-1]} places {'with' if replacement else 'without'} replacement")
    shape = weights.shape[:-1] + ((num_samples,) if replacement else weights.shape[-1:])
    u = _drawn("rand", shape, np.float64, generator, None, False).array
    if replacement:
        ends = np.cumsum(weights, -1)
        places = (u[..., None] * ends[..., None, -1:] >= ends[..., None, :]).sum(-1)
        return TensorBase.result(np.minimum(places, weights.shape[-1] - 1).astype(np.int64))
    with np.errstate(divide="ignore"):
        times = np.where(weights > 0, -np.log1p(-u) / weights, np.inf)
    return TensorBase.result(np.argsort(times, -1, kind="stable")[..., :num_samples].astype(np.int64))


# ---------------------------------------------------------------------------- like a tensor: x.new_...
def new_tensor(x: Any, data: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """A tensor with a copy of `data` in x's dtype."""
    return tensor(data, dtype or x.array.dtype, device, requires_grad)


def new_zeros(x: Any, *sizes: Any, size: Any = None, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Zeros in x's dtype."""
    return zeros(*sizes, size=size, dtype=dtype or x.array.dtype, device=device, requires_grad=requires_grad)


def new_ones(x: Any, *sizes: Any, size: Any = None, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Ones in x's dtype."""
    return ones(*sizes, size=size, dtype=dtype or x.array.dtype, device=device, requires_grad=requires_grad)


def new_empty(x: Any, *sizes: Any, size: Any = None, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Memory as it was, in x's dtype."""
    return empty(*sizes, size=size, dtype=dtype or x.array.dtype, device=device, requires_grad=requires_grad)


def new_full(x: Any, size: Any, fill_value: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """One value in x's dtype."""
    return full(size, fill_value, dtype=dtype or x.array.dtype, device=device, requires_grad=requires_grad)
