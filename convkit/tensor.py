"""Tensor: an array with a gradient.  Every operator and method is a one-line call into `ops`."""

from __future__ import annotations

import builtins
import copy
import itertools
import weakref
from types import ModuleType
from typing import Any

import numpy as np

from . import device as devices
from .autograd import Function, TensorBase, backward, fusion, version_of
from .ops import activation, arrange, compare, creation, elementwise, functions, indexing, inplace, matmul, products, reduce, sort
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
    def shape(self) -> tuple[builtins.int, ...]:
        """Sizes of the dimensions."""
        return self.array.shape

    @property
    def ndim(self) -> builtins.int:
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
        fusion.settle(self.array)
        self.array = value.array

    @property
    def T(self) -> Tensor:
        """Dimensions reversed."""
        return shapes.permute(self, *reversed(range(self.ndim)))

    mT = property(arrange.adjoint, doc="The last two dimensions exchanged.")

    def size(self, dim: builtins.int | None = None) -> Any:
        """`shape`, or the size of one dimension."""
        return self.array.shape if dim is None else self.array.shape[shapes.axis("size", dim, self.array.ndim)]

    def dim(self) -> builtins.int:
        """Number of dimensions."""
        return self.array.ndim

    def numel(self) -> builtins.int:
        """Number of elements."""
        return self.array.size

    nelement = numel

    def element_size(self) -> builtins.int:
        """Bytes of one element."""
        return self.array.itemsize

    def stride(self, dim: builtins.int | None = None) -> Any:
        """Elements from one place to the next along each dimension, or along one."""
        steps = tuple(n // self.array.itemsize for n in self.array.strides)
        return steps if dim is None else steps[shapes.axis("stride", dim, self.array.ndim)]

    def is_contiguous(self) -> builtins.bool:
        """Does the memory have row-major order?  (Results of image operations have channels-last order.)"""
        return self.array.flags.c_contiguous

    def is_floating_point(self) -> builtins.bool:
        """Are the elements floats?"""
        return self.array.dtype.kind == "f"

    def get_device(self) -> builtins.int:
        """-1 on the CPU, 0 on the GPU."""
        return -1 if self.device == "cpu" else 0

    def __len__(self) -> builtins.int:
        if not self.array.ndim:
            raise TypeError("len() of a tensor without dimensions")
        return self.array.shape[0]

    def __repr__(self) -> str:
        body = np.array2string(devices.move(self.array, "cpu"), separator=", ", prefix="tensor(")
        extra = "" if self.dtype in (np.float32, np.int64, np.bool_) else f", dtype={self.dtype}"
        extra += "" if self.device == "cpu" else f", device='{self.device}'"
        if self.node is not None:
            extra += f", grad_fn=<{type(self.node).__name__}>"
        elif self.requires_grad:
            extra += ", requires_grad=True"
        return f"tensor({body}{extra})"

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec) if spec and not self.array.ndim else format(repr(self), spec)

    def __contains__(self, value: Any) -> builtins.bool:
        if not isinstance(value, (TensorBase, np.generic, builtins.int, builtins.float)):
            raise TypeError(f"in: a tensor contains numbers, not {builtins.type(value).__name__}")
        return builtins.bool((self == value).array.any())

    def __bool__(self) -> builtins.bool:
        if self.array.size != 1:
            raise ValueError(f"bool: needs exactly one element, got shape {list(self.array.shape)}; use .all() or .any()")
        return builtins.bool(self.array.item())

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> builtins.int:
        return builtins.int(self.item())

    def __index__(self) -> builtins.int:
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
        array = self.array  # first: what waits is computed, and of another class then
        return _rebuild, (type(self), array, self.requires_grad)

    # ------------------------------------------------------------------------------ in and out
    def numpy(self) -> np.ndarray:
        """The array, sharing memory; RuntimeError if the tensor requires a gradient (call .detach() first, as in torch)."""
        if self.requires_grad:
            raise RuntimeError("numpy: the tensor requires a gradient, which NumPy would not see; use .detach().numpy()")
        if self.device != "cpu":
            raise TypeError(f"numpy: the tensor is on {self.device}; use .cpu() to copy it to the host first")
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
        if self.requires_grad:
            raise RuntimeError("__array__: the tensor requires a gradient, which NumPy would not see; use .detach()")
        return np.array(self.array, dtype=dtype, copy=copy)

    def __dlpack__(self, **options: Any) -> Any:
        if self.requires_grad:
            raise BufferError("__dlpack__: the tensor requires a gradient, which the other library would not see; use .detach()")
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[builtins.int, builtins.int]:
        return self.array.__dlpack_device__()

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        if self.device == "cpu":
            raise AttributeError("__cuda_array_interface__: the tensor is on the CPU")
        if self.requires_grad:
            raise RuntimeError("__cuda_array_interface__: the tensor requires a gradient, which the other library would not see; use .detach()")
        return self.array.__cuda_array_interface__  # type: ignore[attr-defined]

    def to(self, *args: Any, device: Any = None, dtype: Any = None, copy: builtins.bool = False) -> Tensor:
        """In another dtype or on another device; itself if nothing changes, unless `copy`."""
        for a in args:
            if isinstance(a, Tensor):
                device, dtype = a.device, a.dtype
            elif isinstance(a, str) and a.split(":")[0] in ("cpu", "cuda", "auto"):
                device = a
            else:
                dtype = a
        device = self.device if device is None else devices.check(device)
        try:
            dtype = self.dtype if dtype is None else np.dtype(dtype)
        except TypeError:
            raise TypeError(f"to: needs a dtype, a device ('cpu') or a tensor, got {dtype!r}") from None
        if dtype.kind not in "fiub":
            raise TypeError(f"to: the dtype must be of real numbers or booleans, got {dtype}")
        found = self if dtype == self.dtype else elementwise.Cast.apply(self, dtype)
        if device != self.device:
            return shapes.Move.apply(found, device)
        return self.clone() if copy and found is self else found

    def split(self, split_size: Any, dim: builtins.int = 0) -> tuple[Tensor, ...]:
        """Consecutive parts of one size, or of the sizes listed, along `dim`; views."""
        return shapes.split(self, split_size, dim)

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

    def int(self) -> Tensor:
        """As int32."""
        return self.to(np.int32)

    def bool(self) -> Tensor:
        """As booleans: True where not zero."""
        return self.to(np.bool_)

    def type(self, dtype: Any) -> Tensor:
        """As `dtype`."""
        return self.to(dtype)

    def type_as(self, other: Tensor) -> Tensor:
        """In the dtype of `other`."""
        return self.to(other.dtype)

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
        return elementwise.add(self, other)

    def __radd__(self, other: Any) -> Tensor:
        return elementwise.add(other, self)

    def __sub__(self, other: Any) -> Tensor:
        return elementwise.sub(self, other)

    def __rsub__(self, other: Any) -> Tensor:
        return elementwise.sub(other, self)

    def __mul__(self, other: Any) -> Tensor:
        return elementwise.Mul.apply(self, other)

    def __rmul__(self, other: Any) -> Tensor:
        return elementwise.Mul.apply(other, self)

    def __truediv__(self, other: Any) -> Tensor:
        return elementwise.Div.apply(self, other)

    def __rtruediv__(self, other: Any) -> Tensor:
        return elementwise.Div.apply(other, self)

    def __floordiv__(self, other: Any) -> Tensor:
        return elementwise.floor_divide(self, other)

    def __rfloordiv__(self, other: Any) -> Tensor:
        return elementwise.floor_divide(other, self)

    def __mod__(self, other: Any) -> Tensor:
        return elementwise.remainder(self, other)

    def __rmod__(self, other: Any) -> Tensor:
        return elementwise.remainder(other, self)

    def __divmod__(self, other: Any) -> tuple[Tensor, Tensor]:
        return elementwise.floor_divide(self, other), elementwise.remainder(self, other)

    def __pow__(self, other: Any) -> Tensor:
        return elementwise.pow(self, other)

    def __rpow__(self, other: Any) -> Tensor:
        return elementwise.pow(other, self)

    def __neg__(self) -> Tensor:
        return functions.neg(self)

    def __pos__(self) -> Tensor:
        return functions.positive(self)

    def __abs__(self) -> Tensor:
        return functions.abs(self)

    def __matmul__(self, other: Any) -> Tensor:
        return matmul.matmul(self, other)

    def __rmatmul__(self, other: Any) -> Tensor:
        return matmul.matmul(other, self)

    # ------------------------------------------------------------------------ comparison and bits
    def _compare(self, comparison: Any, other: Any) -> Any:
        if not isinstance(other, (TensorBase, np.ndarray, np.generic, builtins.int, builtins.float, list, tuple)):
            return NotImplemented
        return comparison(self, other)

    def __eq__(self, other: Any) -> Any:
        return self._compare(compare.eq, other)

    def __ne__(self, other: Any) -> Any:
        return self._compare(compare.ne, other)

    def __lt__(self, other: Any) -> Tensor:
        return self._compare(compare.lt, other)

    def __le__(self, other: Any) -> Tensor:
        return self._compare(compare.le, other)

    def __gt__(self, other: Any) -> Tensor:
        return self._compare(compare.gt, other)

    def __ge__(self, other: Any) -> Tensor:
        return self._compare(compare.ge, other)

    def __invert__(self) -> Tensor:
        return compare.bitwise_not(self)

    def __and__(self, other: Any) -> Tensor:
        return compare.bitwise_and(self, other)

    def __or__(self, other: Any) -> Tensor:
        return compare.bitwise_or(self, other)

    def __xor__(self, other: Any) -> Tensor:
        return compare.bitwise_xor(self, other)

    def __lshift__(self, other: Any) -> Tensor:
        return compare.bitwise_left_shift(self, other)

    def __rshift__(self, other: Any) -> Tensor:
        return compare.bitwise_right_shift(self, other)

    __rand__, __ror__, __rxor__ = __and__, __or__, __xor__


# Methods that are functions of `ops` with the tensor as their first argument, by the file that has them.
METHODS: dict[ModuleType, str] = {
    activation: "log_softmax relu sigmoid softmax tanh",
    arrange: """
        broadcast_tensors diag diag_embed diagonal expand_as flip fliplr flipud movedim repeat repeat_interleave reshape_as roll rot90
        t tensor_split tile trace tril triu unbind unflatten view_as""",
    compare: """
        all allclose any bitwise_and bitwise_left_shift bitwise_not bitwise_or bitwise_right_shift bitwise_xor eq equal ge gt isclose
        isfinite isinf isnan le logical_and logical_not logical_or logical_xor lt ne signbit""",
    creation: "bernoulli multinomial new_empty new_full new_ones new_tensor new_zeros",
    elementwise: """
        add addcdiv addcmul atan2 clamp clamp_max clamp_min div floor_divide fmod maximum minimum mul pow remainder sub""",
    functions: """
        abs acos acosh asin asinh atan atanh ceil cos cosh exp exp2 expm1 floor frac lerp log log10 log1p log2 nan_to_num neg positive
        reciprocal round rsqrt sign sin sinh sqrt square tan trunc""",
    indexing: """
        argwhere gather index_add index_copy index_fill index_put index_select masked_fill masked_select narrow nonzero scatter
        scatter_add select take take_along_dim""",
    inplace: """
        add_ bernoulli_ copy_ div_ exponential_ fill_ fill_diagonal_ mul_ normal_ random_ sub_ uniform_ zero_""",
    matmul: "matmul",
    products: "addbmm addmm addmv addr baddbmm bmm dot inner mm mv outer",
    reduce: """
        amax amin aminmax argmax argmin count_nonzero cumprod cumsum logcumsumexp logsumexp max mean min nanmean nansum norm prod std
        sum var""",
    shapes: "broadcast_to chunk expand flatten permute ravel reshape squeeze swapaxes transpose unsqueeze",
    sort: "argsort bincount cummax cummin kthvalue median sort topk unique",
}
# Other names of the same.
ALIASES = {
    "absolute": "abs", "arccos": "acos", "arccosh": "acosh", "arcsin": "asin", "arcsinh": "asinh", "arctan": "atan", "arctan2": "atan2",
    "arctanh": "atanh", "clip": "clamp", "divide": "div", "fix": "trunc", "greater": "gt", "greater_equal": "ge", "less": "lt",
    "less_equal": "le", "moveaxis": "movedim", "multiply": "mul", "negative": "neg", "not_equal": "ne",
    "subtract": "sub", "swapdims": "transpose", "true_divide": "div", "view": "reshape",
}  # fmt: skip
for _family, _names in METHODS.items():
    for _name in _names.split():
        setattr(Tensor, _name, getattr(_family, _name))
for _name, _method in inplace.RESULTS.items():
    setattr(Tensor, _name, _method)
for _name, _same in ALIASES.items():
    setattr(Tensor, _name, getattr(Tensor, _same))


class _Waiting(Tensor):
    """A tensor that is computed when its array or its node is first read, and is a plain one from then on; see `autograd/fusion.py`."""

    __slots__ = ()

    @property
    def shape(self) -> tuple[builtins.int, ...]:
        return self._work.shape

    @property
    def ndim(self) -> builtins.int:
        return len(self._work.shape)

    @property
    def dtype(self) -> np.dtype:
        return self._work.dtype

    @property
    def requires_grad(self) -> builtins.bool:  # type: ignore[override]
        return self._work.records

    @requires_grad.setter
    def requires_grad(self, value: builtins.bool) -> None:
        self._work.compute()
        self.requires_grad = value

    def __getattr__(self, name: str) -> Any:
        if name not in ("array", "node", "index"):
            raise AttributeError(f"'Tensor' object has no attribute {name!r}")
        self._work.compute()
        return getattr(self, name)


TensorBase.result, TensorBase._waiting = Tensor, _Waiting


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
