"""Arrays on the device, and the pool that their memory comes from.

An `Array` is a shape, strides and a dtype over a block of device memory.  `view`, a NumPy array at the device's address, holds them: NumPy does the
arithmetic of slices, transposes and reshapes, and never reads an element.  Where NumPy would read one, in its functions and
operators, `Array` takes over by NumPy's protocols and calls this backend's kernels; what it has no kernel for is a TypeError that says so.

Memory is asked of the driver rarely: a block that is no longer used goes to the pool, by its size, and serves again.  All work is queued on one
stream, so a block can be handed out while the kernels that used it last are still to run.  Sizes are rounded up by at most an eighth; what the pool
keeps is bounded by what was used at the same time, and `empty_cache` gives it back.
"""

from __future__ import annotations

import functools
import math
import operator
import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..layout import dense_order, flat, normal, order_of
from . import driver


# -------------------------------------------------------------------------------------------- pool
class Buffer:
    """A block of device memory, which returns to the pool when nothing refers to it any more."""

    __slots__ = ("block", "size", "address", "home")

    def __init__(self, block: driver.Block, size: int, home: Any = None):
        self.block, self.size, self.address, self.home = block, size, block.address, home

    def typed(self, dtype: np.dtype) -> Any:
        """The block as a flat array of `dtype`, for kernels."""
        if driver.recording is not None:
            driver.recording.uses(self)
        flats = self.block.flats
        found = flats.get(dtype)
        if found is None:
            found = flats[dtype] = driver.typed(self.block, dtype)
        return found

    def __del__(self) -> None:
        if self.home is not None:  # memory of others has none
            self.home.release(self)


class Pool:
    """Blocks that were used and can be used again, by size."""

    # Called when the device has no memory left; gives memory back if it can spare any.
    relief: Callable[[], None] = staticmethod(lambda: None)

    def __init__(self) -> None:
        self._lock = threading.RLock()  # a buffer may die while another is asked for
        self._free: dict[int, list[driver.Block]] = {}
        self.allocated = 0  # bytes in use
        self.reserved = 0  # bytes in use or kept

    def take(self, nbytes: int) -> Buffer:
        """A buffer of at least `nbytes`; MemoryError, with what is used and free, if the device has none left."""
        size = rounded(nbytes)
        with self._lock:
            free = self._free.get(size)
            if free:
                self.allocated += size
                return Buffer(free.pop(), size, self)
        try:
            block = driver.allocate(size)
        except Exception as error:
            if not driver.is_full(error):
                raise  # a kernel that failed before, say, of which the driver tells here
            self.relief()
            self.empty()
            try:
                block = driver.allocate(size)
            except Exception as again:
                if not driver.is_full(again):
                    raise
                raise MemoryError(
                    f"cuda: {nbytes / 2**20:.1f} MiB were asked for; {self.allocated / 2**20:.1f} MiB are in use by tensors; {driver.memory()}"
                ) from error
        with self._lock:
            self.reserved += size
            self.allocated += size
        return Buffer(block, size, self)

    def release(self, buffer: Buffer) -> None:
        """Keep the block of a dying buffer for another one."""
        with self._lock:
            self.allocated -= buffer.size
            self._free.setdefault(buffer.size, []).append(buffer.block)

    def empty(self) -> None:
        """Give the blocks that nobody uses back to the driver."""
        with self._lock:
            self.reserved -= sum(size * len(blocks) for size, blocks in self._free.items())
            self._free.clear()
        driver.free()


@functools.lru_cache(maxsize=4096)
def rounded(nbytes: int) -> int:
    """Bytes of the block for `nbytes`: a multiple of 512, and of an eighth of the power of two below it."""
    step = max(512, 1 << max(0, nbytes.bit_length() - 4))
    return max(step, -(-nbytes // step) * step)


pool = Pool()


# ------------------------------------------------------------------------------------------- views
def _transposed(order: Sequence[int]) -> list[int]:
    return sorted(range(len(order)), key=order.__getitem__)


class Array:
    """A shape, strides and dtype over device memory; see the module."""

    __slots__ = ("view", "buffer", "_address", "__weakref__")
    __array_priority__ = 1000

    def __init__(self, view: np.ndarray, buffer: Buffer, address: int | None = None):
        self.view, self.buffer, self._address = view, buffer, address

    shape = property(operator.attrgetter("view.shape"))
    strides = property(operator.attrgetter("view.strides"))
    dtype = property(operator.attrgetter("view.dtype"))
    ndim = property(operator.attrgetter("view.ndim"))
    size = property(operator.attrgetter("view.size"))
    itemsize = property(operator.attrgetter("view.itemsize"))
    nbytes = property(operator.attrgetter("view.nbytes"))
    flags = property(operator.attrgetter("view.flags"))
    base = property(lambda self: self.buffer)
    device = property(lambda self: driver.name())
    T = property(lambda self: self._again(self.view.T))
    # `isinstance(x, np.ndarray)` asks everywhere whether x is an array and not a number; NumPy itself asks for the type, and cannot read this.
    __class__ = property(lambda self: np.ndarray)  # type: ignore[assignment]

    @property
    def address(self) -> int:
        """Where the first element is."""
        if self._address is None:
            self._address = self.view.__array_interface__["data"][0]
        return self._address

    @property
    def offset(self) -> int:
        """Elements from the beginning of the buffer to the first element."""
        return (self.address - self.buffer.address) // self.view.itemsize

    @property
    def flat(self) -> Any:
        """The whole buffer as a flat array of this dtype: what kernels take, together with `offset` and strides."""
        return self.buffer.typed(self.view.dtype)

    @property
    def steps(self) -> tuple[int, ...]:
        """Strides in elements."""
        size = self.view.itemsize
        return tuple([s // size for s in self.view.strides])

    def _as(self, view: np.ndarray) -> Array:
        return Array(view, self.buffer)

    def _again(self, view: np.ndarray) -> Array:
        return Array(view, self.buffer, self._address)  # which begins where this one does

    def __len__(self) -> int:
        return len(self.view)

    def transpose(self, *axes: Any) -> Array:
        """A view with the dimensions in another order."""
        return self._again(self.view.transpose(*axes))

    def swapaxes(self, a: int, b: int) -> Array:
        """A view with two dimensions exchanged."""
        return self._again(self.view.swapaxes(a, b))

    def squeeze(self, axis: Any = None) -> Array:
        """A view without dimensions of size 1."""
        return self._as(self.view.squeeze(axis))

    def reshape(self, *shape: Any) -> Array:
        """A view where the memory allows it, else a copy."""
        wanted = shape[0] if len(shape) == 1 and not isinstance(shape[0], int) else shape
        view = reshaped(self.view, tuple(wanted))
        return self._again(view) if view is not None else self.copy().reshape(wanted)

    def ravel(self) -> Array:
        """One dimension, in C order; a view where the memory allows it."""
        return self.reshape(-1)

    def __getattr__(self, name: str) -> Any:
        method = protocol().METHODS.get(name)
        if method is None:
            raise AttributeError(f"an array on a device has no {name!r}")
        return functools.partial(method, self)

    def fill(self, value: Any) -> None:
        """Overwrite every element."""
        protocol().setitem(self, ..., value)

    def __iter__(self) -> Any:
        return (self[i] for i in range(len(self)))

    def __getitem__(self, key: Any) -> Array:
        parts = key if isinstance(key, tuple) else (key,)
        if all(p is None or p is Ellipsis or isinstance(p, (slice, int, np.integer)) for p in parts):
            return self._as(self.view[parts if Ellipsis in parts else (*parts, Ellipsis)])  # never an element, which NumPy would read
        return protocol().getitem(self, parts)

    def __setitem__(self, key: Any, value: Any) -> None:
        protocol().setitem(self, key, value)

    # --------------------------------------------------------------------------- to and from the host
    def get(self) -> np.ndarray:
        """A copy on the host, in the same memory order if the array is dense."""
        a = self if order_of(self) is not None else self.copy()  # type: ignore[arg-type]
        host = np.empty_like(a.view)
        if a.size:
            order: Any = np.argsort([-s for s in a.strides], kind="stable") if a.ndim else []
            lines = host.transpose(order).reshape(-1)
            driver.to_host(a.buffer.block, a.offset * a.itemsize, lines.view(np.uint8))
        return host

    def item(self) -> Any:
        """The only element, as a Python number."""
        return self.get().item()

    def tolist(self) -> Any:
        """The elements as nested lists."""
        return self.get().tolist()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        raise TypeError("a tensor on a GPU is no NumPy array; use .cpu() to copy it to the host")

    def __repr__(self) -> str:
        return f"Array({self.get()!r})"

    def __bool__(self) -> bool:
        return bool(self.get())

    def __int__(self) -> int:
        return int(self.get())

    def __float__(self) -> float:
        return float(self.get())

    def __index__(self) -> int:
        return self.get().__index__()

    def __format__(self, spec: str) -> str:
        return format(self.get() if self.ndim else self.item(), spec)

    __hash__ = object.__hash__

    def __reduce__(self) -> tuple:
        return asarray, (self.get(),)

    # ------------------------------------------------------------------------------ NumPy's protocols
    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        return protocol().ufunc(ufunc, method, inputs, options)

    def __array_function__(self, function: Callable, _types: Any, args: Any, options: Any) -> Any:
        return protocol().function(function, args, options)

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        """Version 3 of the interface that CuPy, PyTorch, Numba and JAX share: no copy."""
        driver.shared()
        strides = None if self.flags.c_contiguous else self.strides
        return {"shape": self.shape, "strides": strides, "typestr": self.dtype.str, "data": (self.address, False), "version": 3, "stream": 1}

    def __dlpack__(self, **_: Any) -> Any:
        return exchange().to_dlpack(self)

    def __dlpack_device__(self) -> tuple[int, int]:
        return exchange().dlpack_device()

    def copy(self, order: str = "C") -> Array:
        """A copy, in C order or (order 'K') in the same."""
        return protocol().copy(self, order)

    def astype(self, dtype: Any, order: str = "K", copy: bool = True) -> Array:
        """In another dtype and the same memory order."""
        dtype = np.dtype(dtype)
        return self if dtype == self.dtype and not copy else protocol().cast(self, dtype)

    def view_as(self, dtype: Any) -> Array:
        """The same bytes read as another dtype."""
        return self._as(self.view.view(dtype))


def _operators() -> None:
    """Python's operators are NumPy's functions."""

    def binary(ufunc: np.ufunc) -> tuple[Callable, Callable, Callable]:
        def inplace(self: Array, other: Any) -> Array:
            protocol().ufunc(ufunc, "__call__", (self, other), {"out": (self,)})
            return self

        return (lambda self, other: ufunc(self, other)), (lambda self, other: ufunc(other, self)), inplace

    both = {
        "add": np.add, "sub": np.subtract, "mul": np.multiply, "truediv": np.true_divide, "floordiv": np.floor_divide, "mod": np.remainder,
        "pow": np.power, "and": np.bitwise_and, "or": np.bitwise_or, "xor": np.bitwise_xor, "lshift": np.left_shift, "rshift": np.right_shift,
    }  # fmt: skip
    for name, ufunc in both.items():
        for prefix, method in zip(("", "r", "i"), binary(ufunc), strict=True):
            setattr(Array, f"__{prefix}{name}__", method)
    for name, ufunc in {"eq": np.equal, "ne": np.not_equal, "lt": np.less, "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal}.items():
        setattr(Array, f"__{name}__", binary(ufunc)[0])
    for name, one in {"neg": np.negative, "abs": np.absolute, "invert": np.invert}.items():
        setattr(Array, f"__{name}__", lambda self, one=one: one(self))


_operators()


@functools.cache
def protocol() -> Any:
    """The module of NumPy's functions; it needs the kernels, which need this module."""
    from . import protocol as module

    return module


@functools.cache
def exchange() -> Any:
    """The module that shares memory with other libraries; it needs this one."""
    from . import exchange as module

    return module


# ---------------------------------------------------------------------------------------- creation
def place(buffer: Buffer, shape: tuple[int, ...], strides: tuple[int, ...] | None, dtype: np.dtype, begin: int = 0) -> Array:
    """An array over a buffer, `begin` bytes behind its beginning."""
    return Array(np.ndarray(shape, dtype, buffer.block.bytes, begin, strides), buffer, buffer.address + begin)


def empty(shape: Sequence[int], dtype: Any) -> Array:
    """An array in C order."""
    dtype = dtype if isinstance(dtype, np.dtype) else np.dtype(dtype)
    source = pool if driver.recording is None else driver.recording
    return place(source.take(math.prod(shape) * dtype.itemsize), tuple(shape), None, dtype)


def empty_like(a: Array, dtype: Any = None, shape: Sequence[int] | None = None) -> Array:
    """An array of the shape of `a`, its axes in the order that they have in the memory of `a`."""
    dtype = a.dtype if dtype is None else np.dtype(dtype)
    if shape is not None and tuple(shape) != a.shape:
        return empty(shape, dtype)
    y = empty(a.shape, dtype)
    if a.flags.c_contiguous:
        return y
    order = dense_order(a.shape, a.strides, a.itemsize)
    if order is None:
        order = tuple(sorted((i for i, n in enumerate(a.shape) if n != 1), key=lambda i: -abs(a.strides[i])))
    order = (*(i for i in range(a.ndim) if i not in order), *order)
    return y.reshape(tuple(a.shape[i] for i in order)).transpose(_transposed(order))


def asarray(a: np.ndarray) -> Array:
    """A host array's copy on the device, in the same memory order if it is dense, else in C order."""
    a = _dense(a)
    y = empty_like(a)  # type: ignore[arg-type]
    _send(y, a)
    return y


def overwrite(y: Array, a: np.ndarray) -> None:
    """y[...] = a, of the same shape and dtype; sent to where it is to be, if a is an array of the host like that of which `asarray` has made y."""
    if type(a) is np.ndarray:
        a = _dense(a)
        if order_of(a) == order_of(y) and not y.offset:  # type: ignore[arg-type]
            _send(y, a)
            return
    protocol().setitem(y, ..., a)


def _dense(a: np.ndarray) -> np.ndarray:
    a = normal(a)
    return a if order_of(a) is not None else np.ascontiguousarray(a)


def _send(y: Array, a: np.ndarray) -> None:
    if a.size:
        driver.to_device(y.buffer.block, flat(a).view(np.uint8))  # type: ignore[union-attr]


def reshaped(view: np.ndarray, shape: tuple[int, ...]) -> np.ndarray | None:
    """A view of another shape; None where the memory does not allow one."""
    try:
        return view.reshape(shape, copy=False)
    except ValueError:
        if math.prod(shape) != view.size and -1 not in shape:
            raise
        return None
