"""Where arrays come from: two settings of the process's memory, both left alone under CONVKIT_MALLOC=system.

Freed blocks are kept for the next array, and arrays start at a cache line.
"""

from __future__ import annotations

import ctypes
import functools
import os
import sys
from typing import Any

from llvmlite import binding as llvm

LINE = 64  # bytes of a cache line, and of the widest vector


def keep_freed() -> None:
    """Have the C library keep freed blocks of up to 256 MB for the next array, instead of returning each to the system.

    A training step allocates the same arrays over and over; fresh pages cost the system about as much time as an elementwise
    kernel spends on them (a LeNet step took 30 % longer).  glibc only.
    """
    if os.environ.get("CONVKIT_MALLOC") == "system":
        return
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):  # not glibc
        return
    trim_threshold, mmap_threshold = -1, -3  # the names' values in malloc.h
    mallopt(mmap_threshold, 1 << 28)
    mallopt(trim_threshold, 1 << 28)


def align_arrays() -> None:
    """Have NumPy begin the data of new arrays at a cache line, in this Python thread (NEP 49, "Data allocation strategies").

    The C library's blocks start 16 bytes into a line, so that every vector of 64 bytes lies across two lines: convolutions were
    15 to 20 % slower for it on a Xeon.  Arrays remember how they were allocated; those that exist stay valid, and stay as they are.
    """
    if os.environ.get("CONVKIT_MALLOC") != "system" and sys.platform != "win32":
        _numpy_function(304, ctypes.py_object)(_handler())


class _Allocator(ctypes.Structure):
    """PyDataMemAllocator of numpy/ndarraytypes.h."""

    _fields_ = [(name, ctypes.c_void_p) for name in ("context", "malloc", "calloc", "realloc", "free")]


class _Handler(ctypes.Structure):
    """PyDataMem_Handler of numpy/ndarraytypes.h."""

    _fields_ = [("name", ctypes.c_char * 127), ("version", ctypes.c_uint8), ("allocator", _Allocator)]


def _numpy_function(place: int, *arguments: Any) -> Any:
    """A function of NumPy's C interface, by its place in the table: 304 is PyDataMem_SetHandler, 305 PyDataMem_GetHandler (places are ABI)."""
    from numpy._core import _multiarray_umath as numpy_core  # type: ignore[attr-defined]

    table = ctypes.cast(_pointer(numpy_core._ARRAY_API, None), ctypes.POINTER(ctypes.c_void_p))
    return ctypes.PYFUNCTYPE(ctypes.py_object, *arguments)(table[place])


def _pointer(capsule: Any, name: bytes | None) -> int:
    get = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)(("PyCapsule_GetPointer", ctypes.pythonapi))
    return get(capsule, name)


# Around NumPy's own functions, whose allocator is the context: a block 64 bytes larger, its data at the first line boundary after
# its start, and its start remembered in the 8 bytes before the data.  Null is freed and resized as the C library does (NumPy's sorts do).
_SOURCE = """
define ptr @begin(ptr %block) {
  %none = icmp eq ptr %block, null
  br i1 %none, label %failed, label %some
some:
  %start = ptrtoint ptr %block to i64
  %beyond = add i64 %start, 64
  %at = and i64 %beyond, -64
  %data = inttoptr i64 %at to ptr
  %note = getelementptr i8, ptr %data, i64 -8
  store ptr %block, ptr %note
  ret ptr %data
failed:
  ret ptr null
}

define ptr @aligned_malloc(ptr %context, i64 %size) {
  %state = load ptr, ptr %context
  %place = getelementptr ptr, ptr %context, i64 1
  %malloc = load ptr, ptr %place
  %total = add i64 %size, 64
  %block = call ptr %malloc(ptr %state, i64 %total)
  %data = call ptr @begin(ptr %block)
  ret ptr %data
}

define ptr @aligned_calloc(ptr %context, i64 %count, i64 %size) {
  %state = load ptr, ptr %context
  %place = getelementptr ptr, ptr %context, i64 2
  %calloc = load ptr, ptr %place
  %bytes = mul i64 %count, %size
  %total = add i64 %bytes, 64
  %block = call ptr %calloc(ptr %state, i64 %total, i64 1)
  %data = call ptr @begin(ptr %block)
  ret ptr %data
}

define ptr @aligned_realloc(ptr %context, ptr %data, i64 %size) {
  %new_one = icmp eq ptr %data, null
  br i1 %new_one, label %allocate, label %resize
allocate:
  %fresh = call ptr @aligned_malloc(ptr %context, i64 %size)
  ret ptr %fresh
resize:
  %state = load ptr, ptr %context
  %place = getelementptr ptr, ptr %context, i64 3
  %realloc = load ptr, ptr %place
  %note = getelementptr i8, ptr %data, i64 -8
  %block = load ptr, ptr %note
  %start = ptrtoint ptr %block to i64
  %from = ptrtoint ptr %data to i64
  %offset = sub i64 %from, %start
  %total = add i64 %size, 64
  %moved = call ptr %realloc(ptr %state, ptr %block, i64 %total)
  %none = icmp eq ptr %moved, null
  br i1 %none, label %failed, label %some
some:
  %old = getelementptr i8, ptr %moved, i64 %offset
  %start2 = ptrtoint ptr %moved to i64
  %beyond = add i64 %start2, 64
  %at = and i64 %beyond, -64
  %new = inttoptr i64 %at to ptr
  call void @llvm.memmove.p0.p0.i64(ptr %new, ptr %old, i64 %size, i1 false)
  %again = call ptr @begin(ptr %moved)
  ret ptr %again
failed:
  ret ptr null
}

define void @aligned_free(ptr %context, ptr %data, i64 %size) {
  %nothing = icmp eq ptr %data, null
  br i1 %nothing, label %done, label %some
some:
  %state = load ptr, ptr %context
  %place = getelementptr ptr, ptr %context, i64 4
  %free = load ptr, ptr %place
  %note = getelementptr i8, ptr %data, i64 -8
  %block = load ptr, ptr %note
  %total = add i64 %size, 64
  call void %free(ptr %state, ptr %block, i64 %total)
  br label %done
done:
  ret void
}

declare void @llvm.memmove.p0.p0.i64(ptr, ptr, i64, i1)
"""


@functools.cache
def _handler() -> Any:
    """The handler as NumPy takes it.  It wraps the one in force now; everything it is made of lives as long as the process."""
    capsule = _numpy_function(305)()
    wrapped = _Handler.from_address(_pointer(capsule, b"mem_handler"))
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    module = llvm.parse_assembly(_SOURCE)
    engine = llvm.create_mcjit_compiler(module, llvm.Target.from_default_triple().create_target_machine(opt=2))
    engine.finalize_object()
    names = ("aligned_malloc", "aligned_calloc", "aligned_realloc", "aligned_free")
    functions = (engine.get_function_address(n) for n in names)
    handler = _Handler(b"convkit_aligned", 1, _Allocator(ctypes.addressof(wrapped.allocator), *functions))
    _alive.extend([capsule, engine, handler])
    new = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)(("PyCapsule_New", ctypes.pythonapi))
    _alive.append(NAME := ctypes.c_char_p(b"mem_handler"))
    return new(ctypes.addressof(handler), NAME, None)


_alive: list[Any] = []
