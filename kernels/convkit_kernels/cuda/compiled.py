"""How kernels are compiled for a GPU, and kept between processes: by Numba, in the folder and by the rules of the CPU's kernels.

Numba's own cache would ask too little and too much of a kernel: it looks whether the kernel's own file has changed, not those of the formulas
that are compiled into it; it names what a kernel encloses by a pickle, in which an intrinsic has another name in each process, so that such
kernels would be compiled each time; and where no folder can be written it raises.
"""

from __future__ import annotations

import contextlib
import functools
import types as python_types
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..cpu import runtime
from . import driver


def compiled(function: Callable, kinds: Sequence[Any], registers: int | None) -> Any:
    """Numba's kernel for arguments of these types."""
    dispatcher = driver.module().jit(max_registers=registers)(function)
    dispatcher._cache = _cache()(function, registers)
    return dispatcher.compile(tuple(kinds))


@functools.cache
def _cache() -> Any:
    CUDACache, CUDACacheImpl = driver.caches()

    class Files(CUDACacheImpl):  # type: ignore[misc, valid-type]
        _locator_classes = [runtime._Place]

    class Cache(CUDACache):  # type: ignore[misc, valid-type]
        """At worst it does nothing: a damaged or read-only folder costs a compilation, never the program."""

        _impl_class = Files

        def __init__(self, function: Callable, registers: int | None):
            super().__init__(function)
            self.key = runtime.digest(content(function), registers)

        def _index_key(self, sig: Any, codegen: Any) -> Any:
            return sig, codegen.magic_tuple(), driver.version(), self.key

        def load_overload(self, sig: Any, target_context: Any) -> Any:
            try:
                return super().load_overload(sig, target_context)
            except Exception:  # whatever a damaged file makes pickle raise
                with contextlib.suppress(OSError):
                    self.flush()
                return None

        def save_overload(self, sig: Any, data: Any) -> None:
            try:
                super().save_overload(sig, data)
            except Exception as error:  # read-only folder, full disk, a vanished folder
                runtime._warn_unkept(error)

    return Cache


def content(value: Any, seen: tuple[Any, ...] = ()) -> Any:
    """What tells apart kernels of one text, the same in each process: the values and functions that they enclose or name, and what these do."""
    if isinstance(value, python_types.FunctionType):
        code, names = value.__code__, value.__globals__
        own = value.__module__, value.__qualname__, code.co_firstlineno, code.co_code
        if value in seen:
            return own
        seen = (*seen, value)
        enclosed = [cell.cell_contents for cell in value.__closure__ or ()]
        named = [names[name] for name in code.co_names if isinstance(names.get(name), (python_types.FunctionType, int, float, np.generic))]
        return *own, *(content(v, seen) for v in (*enclosed, *named))
    if isinstance(value, tuple):
        return tuple(content(v, seen) for v in value)
    return repr(value)
