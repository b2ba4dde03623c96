"""Tensor: an array with a gradient.  Every operator and method is a one-line call into `ops`."""

from __future__ import annotations

import builtins
import copy
import itertools
import weakref
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from . import device as devices
from .autograd import Function, TensorBase, backward, version_of
from .ops import activation, elementwise, indexing, inplace, matmul, reduce
from .ops import shape as shapes
from .ops.creation import from_numpy, rand, randn, tensor, zeros, zeros_like

__all__ = ["RemovableHandle", "Tensor", "from_numpy", "rand", "randn", "tensor", "zeros", "zeros_like"]

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

    __getitem__, __setitem__ = indexing.getitem, inplace.setitem

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

    if TYPE_CHECKING:  # the methods of the table below

        def __getattr__(self, name: str) -> Any: ...


# Methods that are functions of `ops` with the tensor as their first argument, by the file that has them.
METHODS: dict[ModuleType, str] = {
    elementwise: "abs clamp exp log maximum minimum sqrt",
    activation: "log_softmax relu sigmoid softmax tanh",
    indexing: "gather",
    inplace: "add_ clamp_ copy_ div_ fill_ mul_ sub_ zero_",
    matmul: "matmul",
    reduce: "amax amin argmax argmin max mean min std sum var",
    shapes: "chunk expand flatten permute reshape split squeeze transpose unsqueeze",
}
for _family, _names in METHODS.items():
    for _name in _names.split():
        setattr(Tensor, _name, getattr(_family, _name))
Tensor.view = shapes.reshape  # type: ignore[attr-defined]


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
