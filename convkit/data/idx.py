"""`read_idx`: arrays in the IDX format of the MNIST files."""

from __future__ import annotations

import gzip
import math
import os
import zlib
from pathlib import Path

import numpy as np

from convkit.data.dataset import Array

DTYPES = {0x08: np.uint8, 0x09: np.int8, 0x0B: np.int16, 0x0C: np.int32, 0x0D: np.float32, 0x0E: np.float64}
GZIP_MAGIC = b"\x1f\x8b"


def read_idx(path: str | os.PathLike[str]) -> Array:
    """The array in an IDX file, plain or compressed by gzip (told by its content, not its name).

    The format: two zero bytes, one byte for the type of the numbers, one for the number of dimensions, each dimension
    as a big-endian 32-bit integer, then the numbers, big-endian, the last dimension running fastest.  The result has
    the machine's own byte order.

    Args:
        path: of the file.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a damaged gzip stream, a header that is not IDX, or more or less data than the header promises.

    Source: Y. LeCun, C. Cortes, C. Burges, "The MNIST database of handwritten digits".

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "three-idx1-ubyte"
    >>> _ = path.write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 3, 7, 8, 9]))
    >>> read_idx(path)
    array([7, 8, 9], dtype=uint8)
    """
    content = _content(Path(path))
    if len(content) < 4:
        raise ValueError(f"read_idx: {path} holds {len(content)} bytes but an IDX header has at least 4")
    zero, code, rank = content[:2], content[2], content[3]
    if zero != b"\0\0":
        raise ValueError(f"read_idx: {path} starts with 0x{content[:4].hex()} but IDX with two zero bytes")
    if code not in DTYPES:
        known = ", ".join(f"0x{c:02x}" for c in DTYPES)
        raise ValueError(f"read_idx: {path} has the type code 0x{code:02x} but IDX knows only {known}")
    start = 4 + 4 * rank
    if len(content) < start:
        raise ValueError(f"read_idx: {path} holds {len(content)} bytes but a header of {rank} dimensions has {start}")
    shape = [int(n) for n in np.frombuffer(content, ">u4", rank, offset=4)]
    dtype = np.dtype(DTYPES[code])
    promised = math.prod(shape) * dtype.itemsize  # Python integers: a nonsense header cannot overflow
    if len(content) - start != promised:
        of = "" if dtype.itemsize == 1 else f" of {dtype.name}"
        held = f"holds {len(content) - start} bytes of data but its header promises {shape}{of} = {promised}"
        raise ValueError(f"read_idx: {path} {held}")
    values = np.frombuffer(content, dtype.newbyteorder(">"), math.prod(shape), offset=start)
    return values.astype(dtype).reshape(shape)  # a copy: writable, and in the machine's byte order


def _content(path: Path) -> bytes:
    """The bytes of a file, decompressed where they are a gzip stream."""
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise FileNotFoundError(f"read_idx: {path} {what}")
    content = path.read_bytes()
    if not content.startswith(GZIP_MAGIC):
        return content
    try:
        return gzip.decompress(content)
    except (EOFError, OSError, zlib.error) as error:
        hint = "the file is damaged or was not copied completely"
        raise ValueError(f"read_idx: {path} is not a whole gzip stream ({error}); {hint}") from error
