"""Tensor: an array with a gradient.  Every operator and method is a one-line call into `ops`."""

from __future__ import annotations

import builtins
import copy
import itertools
import weakref
from typing import Any

import numpy as np

from convkit_kernels import layout

from . import device as devices
from .autograd import Function, TensorBase, backward, is_grad_enabled, version_of
from .ops import activation, elementwise, matmul, reduce
from .ops import shape as shapes
from .random import Generator, default_generator

_hook_ids = itertools.count()


class Tensor(TensorBase):
    """An n-dimensional array that remembers how it was made.

    `Tensor(array)` shares the array's memory; `convkit.tensor(data)` copies.  Attributes: `array` (the NumPy array),
    `requires_grad`, `grad` (a tensor, or None), and NumPy's `shape`, `dtype`, `ndim`.

    >>> import convkit
    >>> x = convkit.tensor([1.0, 2.0, 3.0], requires_grad=True)
    >>> (x * x).sum().backward()
    >>> x.grad.numpy().tolist()
    [2.0, 4.0, 6.0]
    """

    __slots__ = ()
    __array_priority__ = 1000  # NumPy arrays leave binary operators to us
    __hash__ = object.__hash__

    # --------------------------------------------------------------------------------- what it is
    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes of the dimensions."""
        return self.array.shape

    @property
    def ndim(self) -> int:
        """Number of dimensions."""
        return self.array.ndim

    @property
    def dtype(self) -> np.dtype:
        """NumPy dtype of the elements."""
        return self.array.dtype

    @property
    def device(self) -> str:
        """Name of the device that holds the array."""
        return devices.of(self.array)

    @property
    def is_leaf(self) -> builtins.bool:
        """True unless an operation on tensors that require gradients made it."""
        return self.node is None

    @property
    def grad_fn(self) -> Function | None:
        """The operation that made it, or None for a leaf."""
        return self.node

    @property
    def data(self) -> Tensor:
        """The same memory without the graph."""
        return self.detach()

    @data.setter
    def data(self, value: Tensor) -> None:
        self.array = value.array

    @property
    def T(self) -> Tensor:
        """Dimensions reversed."""
        return shapes.permute(self, *reversed(range(self.ndim)))

    def size(self, dim: int | None = None) -> Any:
        """`shape`, or the size of one dimension."""
        return self.array.shape if dim is None else self.array.shape[shapes.axis("size", dim, self.array.ndim)]

    def dim(self) -> int:
        """Number of dimensions."""
        return self.array.ndim

    def numel(self) -> int:
        """Number of elements."""
        return self.array.size

    def __len__(self) -> int:
        if not self.array.ndim:
            raise TypeError("len() of a tensor without dimensions")
        return self.array.shape[0]

    def __repr__(self) -> str:
        body = np.array2string(self.array, separator=", ", prefix="tensor(")
        extra = "" if self.dtype in (np.float32, np.int64, np.bool_) else f", dtype={self.dtype}"
        if self.node is not None:
            extra += f", grad_fn=<{type(self.node).__name__}>"
        elif self.requires_grad:
            extra += ", requires_grad=True"
        return f"tensor({body}{extra})"

    def __bool__(self) -> builtins.bool:
        return bool(self.item())

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __index__(self) -> int:
        return self.array.__index__()

    def __iter__(self) -> Any:
        return (self[i] for i in range(len(self)))

    def __deepcopy__(self, memo: dict) -> Tensor:
        if self.node is not None:
            raise RuntimeError("deepcopy: only leaves can be copied with their graph; use .detach() first")
        twin = type(self).__new__(type(self))
        TensorBase.__init__(twin, self.array.copy(order="K"), self.requires_grad)
        twin.grad = copy.deepcopy(self.grad, memo)
        memo[id(self)] = twin
        return twin

    def __reduce__(self) -> Any:
        return _rebuild, (type(self), self.array, self.requires_grad)

    # ------------------------------------------------------------------------------ in and out
    def numpy(self) -> np.ndarray:
        """The array, sharing memory; RuntimeError if the tensor requires a gradient (call .detach() first, as in torch)."""
        if self.requires_grad:
            raise RuntimeError("numpy: the tensor requires a gradient, which NumPy would not see; use .detach().numpy()")
        return self.array

    def item(self) -> Any:
        """The only element, as a Python number; ValueError if there are more or none."""
        if self.array.size != 1:
            raise ValueError(f"item: needs exactly one element, got shape {list(self.array.shape)}")
        return self.array.item()

    def tolist(self) -> Any:
        """The elements as nested Python lists."""
        return self.array.tolist()

    def __array__(self, dtype: Any = None, copy: builtins.bool | None = None) -> np.ndarray:
        return np.array(self.array, dtype=dtype, copy=copy)

    def __dlpack__(self, **options: Any) -> Any:
        return self.detach().array.__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.array.__dlpack_device__()

    def to(self, *args: Any, device: Any = None, dtype: Any = None) -> Tensor:
        """In another dtype or on another device; itself if nothing changes."""
        for a in args:
            if isinstance(a, Tensor):
                device, dtype = a.device, a.dtype
            elif isinstance(a, str) and a.split(":")[0] in ("cpu", "cuda", "auto"):
                device = a
            else:
                dtype = a
        if device is not None:
            devices.check(device)
        try:
            dtype = self.dtype if dtype is None else np.dtype(dtype)
        except TypeError:
            raise TypeError(f"to: needs a dtype, a device ('cpu') or a tensor, got {dtype!r}") from None
        if dtype.kind not in "fiub":
            raise TypeError(f"to: the dtype must be of real numbers or booleans, got {dtype}")
        return self if dtype == self.dtype else elementwise.Cast.apply(self, dtype)

    def cpu(self) -> Tensor:
        """On the CPU."""
        return self.to("cpu")

    def cuda(self) -> Tensor:
        """On the GPU."""
        return self.to("cuda")

    def float(self) -> Tensor:
        """As float32."""
        return self.to(np.float32)

    def double(self) -> Tensor:
        """As float64."""
        return self.to(np.float64)

    def long(self) -> Tensor:
        """As int64."""
        return self.to(np.int64)

    def bool(self) -> Tensor:
        """As booleans: True where not zero."""
        return self.to(np.bool_)

    def type(self, dtype: Any) -> Tensor:
        """As `dtype`."""
        return self.to(dtype)

    def contiguous(self) -> Tensor:
        """In row-major memory; itself if it already is."""
        return self if self.array.flags.c_contiguous else shapes.Clone.apply(self, "C")

    # -------------------------------------------------------------------------------- the graph
    def requires_grad_(self, requires_grad: builtins.bool = True) -> Tensor:
        """Set `requires_grad` of a leaf; only floating tensors can require gradients."""
        if self.node is not None and not requires_grad:
            raise RuntimeError("requires_grad_: only leaves can stop requiring a gradient; use .detach()")
        if requires_grad and self.dtype.kind != "f":
            raise RuntimeError(f"requires_grad_: only floating tensors can require gradients, got {self.dtype}")
        self.requires_grad = bool(requires_grad)
        return self

    def detach(self) -> Tensor:
        """The same memory without the graph."""
        twin = Tensor(self.array)
        twin._version = version_of(self)
        return twin

    def clone(self) -> Tensor:
        """A copy that passes gradients on."""
        return shapes.Clone.apply(self)

    def backward(self, gradient: Any = None, retain_graph: builtins.bool | None = None, create_graph: builtins.bool = False) -> None:
        """Add the gradient of this tensor to the `.grad` of every leaf it depends on; see `autograd.backward`."""
        backward(self, gradient, retain_graph, create_graph)

    def register_hook(self, hook: Any) -> RemovableHandle:
        """Call `hook(grad)` with this tensor's gradient in each backward; a tensor that it returns takes the gradient's place."""
        if not self.requires_grad:
            raise RuntimeError("register_hook: the tensor does not require a gradient")
        if self.node is None:
            self._hooks = {} if self._hooks is None else self._hooks
            return RemovableHandle(self._hooks, hook)
        if self.node._hooks is None:
            self.node._hooks = {}
        return RemovableHandle(self.node._hooks.setdefault(self.index, {}), hook)

    def retain_grad(self) -> None:
        """Add the gradient of a tensor that is not a leaf to its `.grad`, too."""
        if self.node is not None:
            me = weakref.ref(self)  # its node holds the hook, and must not hold the tensor through it

            def keep(grad: Tensor) -> None:
                if (tensor := me()) is not None:
                    tensor.grad = grad.clone() if tensor.grad is None else tensor.grad + grad

            self.register_hook(keep)

    # ------------------------------------------------------------------------------ in place
    def _changing(self, op: str) -> np.ndarray:
        if self.requires_grad and is_grad_enabled():
            raise RuntimeError(f"{op}: a tensor that requires a gradient can only be changed in place under no_grad()")
        version_of(self)[0] += 1
        return self.array

    def copy_(self, source: Any) -> Tensor:
        """Overwrite the elements with `source`, which broadcasts."""
        self._changing("copy_")[...] = getattr(source, "array", source)
        return self

    def fill_(self, value: Any) -> Tensor:
        """Overwrite every element with `value`."""
        self._changing("fill_")[...] = value
        return self

    def zero_(self) -> Tensor:
        """Overwrite every element with 0."""
        return self.fill_(0)

    def add_(self, other: Any, alpha: builtins.float = 1.0) -> Tensor:
        """Add alpha * other in place."""
        value = getattr(other, "array", other)
        a = self._changing("add_")
        a += value if alpha == 1 else value * np.asarray(alpha, a.dtype)
        return self

    def sub_(self, other: Any, alpha: builtins.float = 1.0) -> Tensor:
        """Subtract alpha * other in place."""
        value = getattr(other, "array", other)
        a = self._changing("sub_")
        a -= value if alpha == 1 else value * np.asarray(alpha, a.dtype)
        return self

    def mul_(self, other: Any) -> Tensor:
        """Multiply in place."""
        a = self._changing("mul_")
        a *= getattr(other, "array", other)
        return self

    def div_(self, other: Any) -> Tensor:
        """Divide in place."""
        a = self._changing("div_")
        a /= getattr(other, "array", other)
        return self

    def clamp_(self, min: builtins.float | None = None, max: builtins.float | None = None) -> Tensor:
        """Limit in place."""
        if min is None and max is None:
            raise ValueError("clamp_: needs min or max")
        a = self._changing("clamp_")
        np.clip(a, min, max, out=a)
        return self

    def __setitem__(self, key: Any, value: Any) -> None:
        self._changing("assignment")[shapes.index_key(key)] = getattr(value, "array", value)

    # ------------------------------------------------------------------------------- arithmetic
    def __add__(self, other: Any) -> Tensor:
        return elementwise.Add.apply(self, other)

    def __radd__(self, other: Any) -> Tensor:
        return elementwise.Add.apply(other, self)

    def __sub__(self, other: Any) -> Tensor:
        return elementwise.Sub.apply(self, other)

    def __rsub__(self, other: Any) -> Tensor:
        return elementwise.Sub.apply(other, self)

    def __mul__(self, other: Any) -> Tensor:
        return elementwise.Mul.apply(self, other)

    def __rmul__(self, other: Any) -> Tensor:
        return elementwise.Mul.apply(other, self)

    def __truediv__(self, other: Any) -> Tensor:
        return elementwise.Div.apply(self, other)

    def __rtruediv__(self, other: Any) -> Tensor:
        return elementwise.Div.apply(other, self)

    def __pow__(self, other: Any) -> Tensor:
        return elementwise.Pow.apply(self, other)

    def __rpow__(self, other: Any) -> Tensor:
        return elementwise.Pow.apply(other, self)

    def __neg__(self) -> Tensor:
        return elementwise.Neg.apply(self)

    def __abs__(self) -> Tensor:
        return elementwise.abs(self)

    def __matmul__(self, other: Any) -> Tensor:
        return matmul.matmul(self, other)

    add, sub, mul, div, pow, neg = __add__, __sub__, __mul__, __truediv__, __pow__, __neg__

    # ------------------------------------------------------------------------------- comparison
    def _compare(self, ufunc: Any, other: Any) -> Any:
        other = getattr(other, "array", other)
        if not isinstance(other, (np.ndarray, np.generic, int, float, list, tuple)):
            return NotImplemented
        elementwise.check_broadcast(ufunc.__name__, self.array, other)
        return Tensor(np.asarray(ufunc(self.array, other)))

    def __eq__(self, other: Any) -> Any:
        return self._compare(np.equal, other)

    def __ne__(self, other: Any) -> Any:
        return self._compare(np.not_equal, other)

    def __lt__(self, other: Any) -> Tensor:
        return self._compare(np.less, other)

    def __le__(self, other: Any) -> Tensor:
        return self._compare(np.less_equal, other)

    def __gt__(self, other: Any) -> Tensor:
        return self._compare(np.greater, other)

    def __ge__(self, other: Any) -> Tensor:
        return self._compare(np.greater_equal, other)

    def __invert__(self) -> Tensor:
        return Tensor(~self.array)

    def all(self) -> Tensor:
        """Are all elements true?"""
        return Tensor(np.asarray(self.array.all()))

    def any(self) -> Tensor:
        """Is any element true?"""
        return Tensor(np.asarray(self.array.any()))

    def isnan(self) -> Tensor:
        """Which elements are nan."""
        return Tensor(np.isnan(self.array))

    # ------------------------------------------------------- methods that are functions of `ops`
    __getitem__ = shapes.getitem
    reshape = view = shapes.reshape
    flatten, permute, transpose, squeeze, unsqueeze = shapes.flatten, shapes.permute, shapes.transpose, shapes.squeeze, shapes.unsqueeze
    expand, gather, split, chunk = shapes.expand, shapes.gather, shapes.split, shapes.chunk
    sum, mean, var, std, amax, amin = reduce.sum, reduce.mean, reduce.var, reduce.std, reduce.amax, reduce.amin
    max, min, argmax, argmin = reduce.max, reduce.min, reduce.argmax, reduce.argmin
    exp, log, sqrt, abs, clamp = elementwise.exp, elementwise.log, elementwise.sqrt, elementwise.abs, elementwise.clamp
    maximum, minimum = elementwise.maximum, elementwise.minimum
    relu, tanh, sigmoid = activation.relu, activation.tanh, activation.sigmoid
    softmax, log_softmax = activation.softmax, activation.log_softmax
    matmul = matmul.matmul


TensorBase.result = Tensor


class RemovableHandle:
    """Takes a hook away again: `handle.remove()`."""

    def __init__(self, hooks: dict[int, Any], hook: Any):
        self.hooks, self.id = hooks, next(_hook_ids)
        hooks[self.id] = hook

    def remove(self) -> None:
        """Take the hook away; harmless the second time."""
        self.hooks.pop(self.id, None)


def _rebuild(cls: Any, array: np.ndarray, requires_grad: bool) -> Tensor:
    tensor = cls.__new__(cls)
    TensorBase.__init__(tensor, array, requires_grad)
    return tensor


# ------------------------------------------------------------------------------------- making them
def _finish(array: np.ndarray, requires_grad: bool, device: Any) -> Tensor:
    if device is not None:
        devices.check(device)
    out = Tensor(array)
    return out.requires_grad_() if requires_grad else out


def tensor(data: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """A tensor with a copy of `data`: numbers, nested sequences, arrays or tensors.

    Without `dtype`, Python floats become float32 and everything else keeps its dtype, as in torch.
    TypeError for data that are not numbers.
    """
    source = data.array if isinstance(data, Tensor) else data
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
    return Tensor(layout.normal(array))


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
    return Tensor(np.zeros_like(x.array))


def ones_like(x: Tensor) -> Tensor:
    """Ones in x's shape, dtype and memory layout."""
    return Tensor(np.ones_like(x.array))


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
    return Tensor((np.floor(u * (high - low)) + low).astype(np.int64))


def randperm(n: int, *, generator: Generator | None = None) -> Tensor:
    """The integers 0 .. n-1 in random order."""
    return Tensor(np.argsort(_drawn("rand", (n,), np.float64, generator, None, False).array, kind="stable"))
