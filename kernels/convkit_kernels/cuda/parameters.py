"""The arguments of a launch as the driver takes them: an array of pointers, one to the value of each of the kernel's parameters.

The declared types fix what there is.  A number is a parameter, a tuple as many as it has numbers, and an array T[::1] is seven of Numba's:

    meminfo = 0    parent = 0    items    itemsize    address    shape = items    stride = itemsize

of which two differ from launch to launch.  Each value has eight bytes of memory of its own, but for the constants, which all share.
"""

from __future__ import annotations

import ctypes
import functools
import struct
from collections.abc import Iterator, Sequence
from typing import Any

from numba import types

# How `struct` writes a number, in the bytes that the kernel reads.
_CODES = {
    types.boolean: "?", types.uint8: "B", types.int8: "b", types.uint16: "H", types.int16: "h", types.uint32: "I", types.int32: "i",
    types.uint64: "Q", types.int64: "q", types.float32: "f", types.float64: "d",
}  # fmt: skip
_CONSTANTS = (0, 1, 2, 4, 8)  # nothing, and the sizes of items
_BEGIN = 8 * len(_CONSTANTS)


class Parameters:
    """Memory for the values of one launch at a time; `address`: that of the array of pointers to them."""

    __slots__ = ("values", "pointers", "address")

    def __init__(self, size: int, slots: Sequence[int]):
        self.values = (ctypes.c_uint64 * (len(_CONSTANTS) + size))(*_CONSTANTS)
        begin = ctypes.addressof(self.values)
        self.pointers = (ctypes.c_void_p * len(slots))(*(begin + 8 * slot for slot in slots))
        self.address = ctypes.addressof(self.pointers)


class Layout:
    """The parameters of kernels that take arguments of these types; `sizes`: in bytes."""

    def __init__(self, kinds: Sequence[Any]):
        self.kinds, self.sizes = tuple(kinds), []  # type: ignore[var-annotated]
        self._slots: list[int] = []  # where the value of each parameter is
        self._codes: list[str] = []  # of the values that a launch writes
        self._free: list[Parameters] = []
        written = []
        for i, kind in enumerate(kinds):
            if isinstance(kind, types.Array):
                if kind.ndim != 1 or kind.layout != "C":
                    raise TypeError(f"kernels take flat arrays, not {kind}")
                size = _CONSTANTS.index(kind.dtype.bitwidth // 8 if kind.dtype != types.boolean else 1)
                items, address = self._value("q"), self._value("Q")
                self._slots += 0, 0, items, size, address, items, size
                self.sizes += [8] * 7
                written += [f"a{i}.size", f"a{i}.address"]
            else:
                for number in kind if isinstance(kind, types.BaseTuple) else [kind]:
                    self._slots.append(self._value(_CODES[number]))
                    self.sizes.append(struct.calcsize(_CODES[number]))
                written.append(f"*a{i}" if isinstance(kind, types.BaseTuple) else f"a{i}")
        pad = "".join(f"{code}{8 - struct.calcsize(code)}x" for code in self._codes)
        self._write = struct.Struct("=" + pad).pack_into
        # A loop over the arguments would take longer than the rest of a launch.
        names = ", ".join(f"a{i}" for i in range(len(kinds)))
        self._spread = eval(f"lambda write, memory, {names}: write(memory, {_BEGIN}, {', '.join(written)})")

    def _value(self, code: str) -> int:
        self._codes.append(code)
        return len(_CONSTANTS) + len(self._codes) - 1

    def filled(self, args: Sequence[Any]) -> Parameters:
        """Parameters with these arguments, which are the caller's until it calls `free`; TypeError for arguments of other types."""
        try:
            found = self._free.pop()  # a list: no thread, and nothing that interrupts one, takes what another has
        except IndexError:
            found = Parameters(len(self._codes), self._slots)
        try:
            self._spread(self._write, found.values, *args)
        except (struct.error, TypeError, OverflowError, AttributeError):
            try:
                # A float32 that is too large is infinite, for a kernel as for everybody; the rest does not fit.
                values = zip(self._codes, self._values(args), strict=True)
                self._write(found.values, _BEGIN, *(ctypes.c_float(v).value if code == "f" else v for code, v in values))
            except (struct.error, TypeError, OverflowError, AttributeError, ValueError) as error:
                raise TypeError(f"cuda: a kernel for {', '.join(map(str, self.kinds))} was given {args}: {error}") from error
        return found

    def free(self, parameters: Parameters) -> None:
        """Let another launch write over parameters: the driver has read them."""
        self._free.append(parameters)

    def _values(self, args: Sequence[Any]) -> Iterator[Any]:
        for kind, arg in zip(self.kinds, args, strict=True):
            if isinstance(kind, types.Array):
                yield from (arg.size, arg.address)
            elif isinstance(kind, types.BaseTuple):
                yield from arg
            else:
                yield arg


layout = functools.cache(Layout)
