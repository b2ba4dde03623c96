"""Device arrays that other libraries see, and theirs seen here, without copying.

    __cuda_array_interface__    a dictionary: address, shape, strides, dtype (CuPy, PyTorch, Numba, JAX)
    DLPack                      a C structure in a capsule, which says who owns the memory (https://dmlc.github.io/dlpack)

All work here is queued on CUDA's default stream; whoever is handed memory finds it ready.
"""

from __future__ import annotations

import ctypes
import math
from typing import Any

import numpy as np

from . import driver
from .memory import Array, Buffer, place
from .vectors import BYTES

_CPU, _CUDA = 1, 2
_CODES = {"i": 0, "u": 1, "f": 2, "b": 6}


class _DLTensor(ctypes.Structure):
    _fields_ = [
        ("data", ctypes.c_void_p), ("device_type", ctypes.c_int32), ("device_id", ctypes.c_int32), ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8), ("bits", ctypes.c_uint8), ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)), ("strides", ctypes.POINTER(ctypes.c_int64)), ("byte_offset", ctypes.c_uint64),
    ]  # fmt: skip


class _Managed(ctypes.Structure):
    pass


_Deleter = ctypes.CFUNCTYPE(None, ctypes.POINTER(_Managed))
_Managed._fields_ = [("tensor", _DLTensor), ("context", ctypes.c_void_p), ("deleter", _Deleter)]

_api = ctypes.pythonapi
_api.PyCapsule_New.restype = ctypes.py_object
_api.PyCapsule_New.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
_api.PyCapsule_GetPointer.restype = ctypes.c_void_p
_api.PyCapsule_GetPointer.argtypes = [ctypes.py_object, ctypes.c_char_p]
_api.PyCapsule_SetName.argtypes = [ctypes.py_object, ctypes.c_char_p]
_is_valid = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p)(("PyCapsule_IsValid", _api))
_pointer_of = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_char_p)(("PyCapsule_GetPointer", _api))

_given: dict[int, Any] = {}  # what somebody else still uses: address of the structure -> (structure, its sizes, the array)


@_Deleter
def _returned(managed: Any) -> None:
    _given.pop(ctypes.addressof(managed.contents), None)


@ctypes.PYFUNCTYPE(None, ctypes.c_void_p)
def _dropped(capsule: int) -> None:
    # A capsule that nobody took: taking one renames it.
    if _is_valid(capsule, b"dltensor"):
        _given.pop(_pointer_of(capsule, b"dltensor"), None)


def dlpack_device() -> tuple[int, int]:
    """(kind, number) of the device, in DLPack's numbers."""
    return (_CPU if driver.is_simulated() else _CUDA), 0


def to_dlpack(a: Array) -> Any:
    """A DLPack capsule of an array; its memory lives until the other side lets go of it."""
    driver.shared()
    driver.synchronize()
    shape, strides = (ctypes.c_int64 * a.ndim)(*a.shape), (ctypes.c_int64 * a.ndim)(*a.steps)
    managed = _Managed()
    managed.tensor = _DLTensor(a.address, *dlpack_device(), a.ndim, _CODES[a.dtype.kind], a.itemsize * 8, 1, shape, strides, 0)
    managed.deleter = _returned
    at = ctypes.addressof(managed)
    _given[at] = managed, shape, strides, a
    return _api.PyCapsule_New(at, b"dltensor", ctypes.cast(_dropped, ctypes.c_void_p))


class _Borrowed(Buffer):
    """Memory of somebody else, which is given back when no array looks at it any more."""

    __slots__ = ("owner",)

    def __init__(self, address: int, size: int, owner: Any):
        super().__init__(driver.borrow(address, size, owner), size)
        self.owner = owner


class _Taken:
    """A DLPack structure that was taken from its capsule."""

    def __init__(self, managed: _Managed):
        self.managed = managed

    def __del__(self) -> None:
        if self.managed.deleter:
            self.managed.deleter(ctypes.byref(self.managed))


def from_dlpack(other: Any) -> Array:
    """An array over the memory of any object with `__dlpack__` on this device; BufferError for one elsewhere, or of other numbers."""
    kind, number = other.__dlpack_device__()
    if (int(kind), int(number)) != dlpack_device():
        raise BufferError(f"from_dlpack: the array is on device {(int(kind), int(number))} of DLPack's, this process uses {dlpack_device()}")
    capsule = other.__dlpack__() if kind == _CPU else other.__dlpack__(stream=1)
    at = _api.PyCapsule_GetPointer(capsule, b"dltensor")
    managed = _Managed.from_address(at)
    t = managed.tensor
    codes = {code: letter for letter, code in _CODES.items()}
    if t.lanes != 1 or t.code not in codes or t.bits % 8:
        raise BufferError(f"from_dlpack: numbers of DLPack's kind {t.code} with {t.bits} bits and {t.lanes} lanes have no dtype here")
    dtype = np.dtype(f"{codes[t.code]}{t.bits // 8}")
    shape = tuple(t.shape[i] for i in range(t.ndim))
    strides = tuple(t.strides[i] * dtype.itemsize for i in range(t.ndim)) if t.strides else None
    _api.PyCapsule_SetName(capsule, b"used_dltensor")
    return _over((t.data or 0) + t.byte_offset, shape, strides, dtype, _Taken(managed))


def from_interface(other: Any) -> Array:
    """An array over the memory of any object with `__cuda_array_interface__`."""
    found = other.__cuda_array_interface__
    if found.get("mask") is not None:
        raise BufferError("__cuda_array_interface__: masked arrays are not supported")
    dtype = np.dtype(found["typestr"])
    if dtype.kind not in _CODES or not dtype.isnative:
        raise BufferError(f"__cuda_array_interface__: arrays of {dtype} are not supported")
    if found.get("stream") not in (None, 1):
        driver.synchronize()  # what the other library has queued comes first
    return _over(found["data"][0], tuple(found["shape"]), found.get("strides"), dtype, other)


def _over(address: int, shape: tuple[int, ...], strides: tuple[int, ...] | None, dtype: np.dtype, owner: Any) -> Array:
    driver.shared()
    steps = tuple(dtype.itemsize * math.prod(shape[d + 1 :]) for d in range(len(shape))) if strides is None else strides
    if any(s < 0 for s in steps):
        raise BufferError(f"an array with negative strides {steps} cannot be shared; copy it first")
    size = sum((n - 1) * s for n, s in zip(shape, steps, strict=True)) + dtype.itemsize if math.prod(shape) else 0
    if address % dtype.itemsize or any(s % dtype.itemsize for s in steps):
        raise BufferError(f"an array of {dtype} at address {address:#x} with strides {steps} is not aligned")
    # A buffer begins at a multiple of 16 bytes, as kernels that read so many at once take for granted; allocations do too, so this stays inside.
    lead = address % BYTES
    return place(_Borrowed(address - lead, lead + size, owner), shape, tuple(steps), dtype, lead)
