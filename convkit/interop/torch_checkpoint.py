"""Tensors from files that `torch.save` wrote (.pt, .pth, .th), without torch and without running anything that the file says.

Such a file is a pickle beside the bytes of its tensors, and pickle is a small programming language: an ordinary reader calls whatever
function the file names.  Here the pickle's instructions are carried out by `_evaluate`, which builds numbers, strings, lists and
dictionaries, and knows a fixed table of names, `_CALLS`.  Any other name is an error.

Two formats exist, and both are read:

- zip (torch 1.6 and later): `NAME/data.pkl`, and `NAME/data/KEY` for the bytes of each storage;
- legacy (`.th` and older): one after the other the pickles of a magic number, a version, the system's sizes and the object, then the
  list of storage keys, then for each storage its number of elements (int64) and its bytes.

What a file claims is checked against the bytes that are there before anything is allocated, so the memory that a hostile file costs is
in proportion to its size.
"""

from __future__ import annotations

import io
import os
import pickletools
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ..tensor import Tensor

MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY = b"\x8a\x0a" + MAGIC.to_bytes(10, "little") + b"."  # within the first bytes, behind the pickle's protocol
_ZIP = b"PK\x03\x04"
_MARK = object()


def recognised(start: bytes) -> bool:
    """Do the first 16 bytes of a file look like a zip archive or a pickle?  (A safetensors file has a brace at the ninth.)"""
    return start.startswith(_ZIP) or (start.startswith(b"\x80") and start[8:9] != b"{")


def load(path: str | os.PathLike) -> Any:
    """What `torch.save(object, path)` wrote: tensors as convkit tensors inside the dictionaries, lists and numbers that held them.

    Nothing in the file is executed.  Parameters come as plain tensors; float16 and bfloat16 as float32, which holds them exactly; tensors
    that shared memory share it again; the device they were on does not matter.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged, or names something that is neither data nor a tensor (a pickled model, for instance); in
            torch, save the state instead: `torch.save(model.state_dict(), path)`.

    >>> from convkit.interop import torch_checkpoint
    >>> state = torch_checkpoint.load("resnet20.th")["state_dict"]  # doctest: +SKIP
    >>> net.load_state_dict({name.removeprefix("module."): t for name, t in state.items()})  # doctest: +SKIP
    """
    content = Path(path).read_bytes()
    name = os.fspath(path)
    try:
        if content.startswith(_ZIP):
            return _load_zip(content)
        if _LEGACY in content[:64]:
            return _load_legacy(content)
    except _Refused as error:
        raise ValueError(f"load: {name}: {error}") from None
    except Exception as error:  # whatever the pickle reader, the zip reader or NumPy find wrong with a damaged file
        raise ValueError(f"load: {name} is damaged, or no file of torch.save: {type(error).__name__}: {error}") from None
    if content[:1] == b"\x80":
        raise ValueError(f"load: {name} is a plain pickle, which convkit does not read; in torch, write it with torch.save")
    raise ValueError(f"load: {name} is no file of torch.save")


class _Refused(Exception):
    """The file is whole but holds what is not read; the message says what to do."""


# ---------------------------------------------------------------------------------------- storages
# torch's storage classes and dtypes -> NumPy's; bfloat16 is float32 without its lower half, which NumPy has no dtype for.
_BFLOAT16 = "bfloat16"
_STORAGES: dict[str, str] = {
    "Float": "f4", "Double": "f8", "Half": "f2", "BFloat16": _BFLOAT16, "Char": "i1", "Short": "i2", "Int": "i4", "Long": "i8",
    "Byte": "u1", "Bool": "?",
}  # fmt: skip
_DTYPES: dict[str, str] = {
    "float32": "f4", "float64": "f8", "float16": "f2", "bfloat16": _BFLOAT16, "int8": "i1", "int16": "i2", "int32": "i4", "int64": "i8",
    "uint8": "u1", "uint16": "u2", "uint32": "u4", "uint64": "u8", "bool": "?",
}  # fmt: skip


class _Storage:
    """A block of `count` elements named `key`; `fill` gives it its numbers once the whole pickle has been read."""

    def __init__(self, key: str, kind: str, count: int):
        self.key, self.kind, self.count = key, kind, count
        self.tensors: list[tuple[Tensor, int, tuple[int, ...], tuple[int, ...]]] = []  # (tensor, offset, size, stride)

    @property
    def itemsize(self) -> int:
        return 2 if self.kind == _BFLOAT16 else np.dtype(self.kind).itemsize

    def fill(self, content: memoryview, order: Literal["<", ">"]) -> None:
        """The numbers from `content` (in byte order '<' or '>'), and with them the tensors that look at this storage."""
        if self.kind == _BFLOAT16:
            numbers = (np.frombuffer(content, order + "u2").astype(np.uint32) << 16).view(np.float32)
        elif self.kind == "f2":
            numbers = np.frombuffer(content, order + "f2").astype(np.float32)
        elif self.kind == "?":
            numbers = np.frombuffer(content, np.uint8) != 0
        else:
            dtype = np.dtype(self.kind)
            numbers = np.frombuffer(content, dtype.newbyteorder(order)).astype(dtype)  # a copy: aligned, writable, native
        for tensor, offset, size, stride in self.tensors:
            tensor.array = np.lib.stride_tricks.as_strided(numbers[offset:], size, [s * numbers.itemsize for s in stride])


class _Dtype(str):
    """A dtype of torch as an object in the file; comes out as the name that NumPy has for it."""


def _tensor(storage: Any, offset: Any, size: Any, stride: Any, *rest: Any) -> Tensor:
    """torch._utils._rebuild_tensor_v2(storage, storage_offset, size, stride, requires_grad, backward_hooks[, metadata])"""
    if not isinstance(storage, _Storage):
        raise _Refused("a tensor without a storage: only dense tensors of real numbers can be read")
    if len(rest) > 2 and rest[2]:
        raise _Refused(f"a tensor with the metadata {rest[2]!r}, which convkit has not; call .resolve_conj().resolve_neg() before saving")
    size, stride = tuple(size), tuple(stride)
    if len(size) != len(stride) or not all(type(n) is int and n >= 0 for n in (offset, *size, *stride)):
        raise ValueError(f"a tensor of size {size} and stride {stride} at {offset}")
    last = offset + sum((n - 1) * s for n, s in zip(size, stride, strict=True)) if 0 not in size else 0
    if last >= storage.count and 0 not in size:
        raise ValueError(f"a tensor of size {size} and stride {stride} at {offset} leaves its storage of {storage.count} elements")
    tensor = Tensor(np.empty(0, np.float32))
    storage.tensors.append((tensor, offset if 0 not in size else 0, size, stride))
    return tensor


def _rebuild_tensor(storage: Any, offset: Any, size: Any, stride: Any) -> Tensor:
    return _tensor(storage, offset, size, stride)


def _parameter(data: Any, *_: Any) -> Any:
    """torch._utils._rebuild_parameter(data, requires_grad, backward_hooks): a plain tensor here."""
    return data


def _ordered(pairs: Any = ()) -> OrderedDict:
    return OrderedDict(pairs)


# Every name that a file may use, and what stands for it: an object, or a function of this file that is called with plain data.
_CALLS: dict[str, Any] = {
    "collections OrderedDict": _ordered,
    "torch Size": lambda sizes=(): tuple(sizes),
    "torch device": lambda *place: ":".join(str(p) for p in place),
    "torch._utils _rebuild_tensor": _rebuild_tensor,
    "torch._utils _rebuild_tensor_v2": _tensor,
    "torch._utils _rebuild_parameter": _parameter,
    "torch.nn.parameter Parameter": _parameter,
    "builtins set": lambda items=(): set(items),
    "__builtin__ set": lambda items=(): set(items),
}
_NAMES: dict[str, Any] = {
    **_CALLS,
    **{f"torch {name}Storage": _Dtype(kind) for name, kind in _STORAGES.items()},
    **{f"torch.storage {name}Storage": _Dtype(kind) for name, kind in _STORAGES.items()},
    **{f"torch {name}": _Dtype(kind) for name, kind in _DTYPES.items()},
}


def _name(module: str, name: str) -> Any:
    found = _NAMES.get(f"{module} {name}")
    if found is None:
        raise _Refused(
            f"it names {module}.{name}, which is not among the data that convkit reads; in torch, save tensors and plain data only: "
            "torch.save(model.state_dict(), path)"
        )
    return found


# ------------------------------------------------------------------------------------ the evaluator
def _evaluate(stream: io.BytesIO, storage: Callable[[tuple], Any] | None = None) -> Any:
    """The object that the pickle at the stream's position describes; the stream then stands behind it.

    `pickletools.genops` reads the instructions; this carries them out on a stack.  It imports nothing and calls nothing but the functions
    of `_CALLS`.  `storage` turns a persistent id into a `_Storage`.
    """
    stack: list[Any] = []
    memo: dict[int, Any] = {}

    def since_mark() -> list[Any]:
        at = len(stack) - 1
        while stack[at] is not _MARK:
            at -= 1
            if at < 0:
                raise ValueError("a pickle without the mark it needs")
        items = stack[at + 1 :]
        del stack[at:]
        return items

    def pairs(items: list) -> Iterator[tuple[Any, Any]]:
        return zip(items[::2], items[1::2], strict=True)

    arg: Any
    for op, arg, _ in pickletools.genops(stream):
        name = op.name
        if name in _LITERALS:
            stack.append(arg)
        elif name in ("BINPUT", "LONG_BINPUT", "PUT"):
            memo[int(arg)] = stack[-1]
        elif name == "MEMOIZE":
            memo[len(memo)] = stack[-1]
        elif name in ("BINGET", "LONG_BINGET", "GET"):
            stack.append(memo[int(arg)])
        elif name == "MARK":
            stack.append(_MARK)
        elif name in _EMPTY:
            stack.append(_EMPTY[name]())
        elif name in _CONSTANTS:
            stack.append(_CONSTANTS[name])
        elif name == "TUPLE":
            stack.append(tuple(since_mark()))
        elif name in ("TUPLE1", "TUPLE2", "TUPLE3"):
            n = int(name[-1])
            stack[-n:] = [tuple(stack[-n:])]
        elif name == "LIST":
            stack.append(since_mark())
        elif name == "DICT":
            stack.append(dict(pairs(since_mark())))
        elif name == "APPEND":
            item = stack.pop()
            _must_be(stack[-1], list).append(item)
        elif name == "APPENDS":
            items = since_mark()
            _must_be(stack[-1], list).extend(items)
        elif name == "ADDITEMS":
            items = since_mark()
            _must_be(stack[-1], set).update(items)
        elif name == "SETITEM":
            value, key = stack.pop(), stack.pop()
            _must_be(stack[-1], dict)[key] = value
        elif name == "SETITEMS":
            items = since_mark()
            _must_be(stack[-1], dict).update(pairs(items))
        elif name == "GLOBAL":
            stack.append(_name(*arg.split(" ", 1)))
        elif name == "STACK_GLOBAL":
            last, module = stack.pop(), stack.pop()
            stack.append(_name(str(module), str(last)))
        elif name == "REDUCE":
            arguments, function = stack.pop(), stack.pop()
            if not any(function is f for f in _CALLS.values()):
                raise ValueError(f"a pickle that calls {function!r}")
            stack.append(function(*arguments))
        elif name == "BUILD":
            stack.pop()  # attributes, such as a state dictionary's _metadata: not data
        elif name == "BINPERSID" and storage is not None:
            stack.append(storage(stack.pop()))
        elif name == "POP":
            stack.pop()
        elif name == "POP_MARK":
            since_mark()
        elif name == "DUP":
            stack.append(stack[-1])
        elif name == "STOP":
            return stack.pop()
        elif name not in ("PROTO", "FRAME"):
            raise _Refused(f"its pickle uses the instruction {name}, which plain data do not need; in torch, save model.state_dict()")
    raise ValueError("a pickle without an end")


_LITERALS = {
    "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT", "STRING", "BINSTRING", "SHORT_BINSTRING",
    "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8",
}  # fmt: skip
_EMPTY: dict[str, Callable[[], Any]] = {"EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_TUPLE": tuple, "EMPTY_SET": set}
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}


def _must_be(value: Any, kind: type) -> Any:
    if not isinstance(value, kind):
        raise ValueError(f"a pickle that fills {type(value).__name__} as if it were {kind.__name__}")
    return value


class _Storages(dict):
    """The storages by key, made as the pickle names them."""

    def __call__(self, ident: Any) -> _Storage:
        """From the persistent id ('storage', class, key, location, number of elements[, view])."""
        if not isinstance(ident, tuple) or len(ident) not in (5, 6) or ident[0] != "storage":
            raise ValueError(f"a persistent id {ident!r:.80}")
        kind, key, count = ident[1], ident[2], ident[4]
        if not isinstance(kind, _Dtype) or not isinstance(key, str) or type(count) is not int or count < 0:
            raise ValueError(f"a persistent id {ident!r:.80}")
        if len(ident) == 6 and ident[5] is not None:
            raise _Refused("a storage that is part of another one, as torch wrote before 0.4; load it there and save it again")
        storage = self.setdefault(key, _Storage(key, str(kind), count))
        if (storage.kind, storage.count) != (str(kind), count):
            raise ValueError(f"storage {key!r} is described twice, differently")
        return storage

    def check(self) -> None:
        """Storages reach the caller through tensors only."""
        for storage in self.values():
            if not storage.tensors:
                raise _Refused(f"storage {storage.key!r} stands without a tensor; in torch, save tensors")


# --------------------------------------------------------------------------------------- the formats
def _load_legacy(content: bytes) -> Any:
    stream, storages = io.BytesIO(content), _Storages()
    _evaluate(stream)  # the magic number, which brought us here
    version = _evaluate(stream)
    if version != 1001:
        raise _Refused(f"version {version!r} of torch's legacy format; 1001 is known")
    system = _evaluate(stream)
    order = "<" if _must_be(system, dict).get("little_endian", True) else ">"
    result = _evaluate(stream, storages)
    storages.check()
    keys = _must_be(_evaluate(stream), list)
    if sorted(keys) != sorted(storages):
        raise ValueError("the list of storages does not name those that the tensors use")
    at = stream.tell()
    for key in keys:
        storage = storages[key]
        count = int.from_bytes(content[at : at + 8], "little" if order == "<" else "big")
        start, at = at + 8, at + 8 + storage.count * storage.itemsize
        if count != storage.count or at > len(content):
            raise ValueError(f"storage {key!r} needs {storage.count} elements of {storage.itemsize} bytes; the file ends before, or says {count}")
        storage.fill(memoryview(content)[start:at], order)
    return result


def _load_zip(content: bytes) -> Any:
    storages = _Storages()
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        entries = {info.filename: info for info in archive.infolist()}
        if sum(info.file_size for info in entries.values()) > len(content) or any(i.compress_type != zipfile.ZIP_STORED for i in entries.values()):
            raise _Refused("its parts are compressed or overlap, as torch.save never writes them")
        main = [name for name in entries if name.endswith("/data.pkl") and name.count("/") == 1]
        if len(main) != 1:
            raise _Refused("a zip archive without data.pkl: not written by torch.save")
        root = main[0].removesuffix("data.pkl")
        if root + "constants.pkl" in entries:
            raise _Refused("a TorchScript program; in torch: torch.save(torch.jit.load(path).state_dict(), path)")
        order = ">" if root + "byteorder" in entries and archive.read(root + "byteorder").strip() == b"big" else "<"
        result = _evaluate(io.BytesIO(archive.read(main[0])), storages)
        storages.check()
        for key, storage in storages.items():
            part = entries.get(f"{root}data/{key}")
            need = storage.count * storage.itemsize
            if part is None or part.file_size < need:
                raise ValueError(f"storage {key!r} needs {need} bytes; the file has {part.file_size if part else 0}")
            storage.fill(memoryview(archive.read(part))[:need], order)
    return result
