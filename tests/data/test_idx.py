"""The IDX format: every type and rank, compressed or not, and every way in which a file can be damaged."""

import gzip
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from convkit.data import read_idx

CODES = {"uint8": 0x08, "int8": 0x09, "int16": 0x0B, "int32": 0x0C, "float32": 0x0D, "float64": 0x0E}


def idx_bytes(array):
    """An array in IDX form, written from the format's description."""
    sizes = struct.pack(f">{array.ndim}I", *array.shape)
    numbers = array.astype(array.dtype.newbyteorder(">")).tobytes()
    return bytes([0, 0, CODES[array.dtype.name], array.ndim]) + sizes + numbers


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("idx")


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("dtype", CODES)
@given(data=st.data())
def test_round_trip(folder, dtype, compressed, data):
    wanted = data.draw(arrays(dtype, array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=4)))
    content = idx_bytes(wanted)
    path = folder / "any-name"
    path.write_bytes(gzip.compress(content, 1) if compressed else content)
    got = read_idx(path)
    assert got.dtype == np.dtype(dtype) and got.dtype.isnative and got.shape == wanted.shape and got.flags.writeable
    np.testing.assert_array_equal(got, wanted)


def test_known_bytes(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(bytes.fromhex("00000b02 00000002 00000001 0102 fffe"))
    np.testing.assert_array_equal(read_idx(str(path)), np.array([[258], [-2]], np.int16))


GOOD = idx_bytes(np.arange(12, dtype=np.uint8).reshape(3, 4))
CASES = {
    "empty": (b"", "holds 0 bytes but an IDX header has at least 4"),
    "short": (b"\0\0\x08", "holds 3 bytes but an IDX header"),
    "magic": (b"\x89PNG" + GOOD, "starts with 0x89504e47 but IDX with two zero bytes"),
    "code": (
        b"\0\0\x0a\x01" + GOOD[4:],
        "has the type code 0x0a but IDX knows only 0x08, 0x09, 0x0b, 0x0c, 0x0d, 0x0e",
    ),
    "header": (GOOD[:9], "holds 9 bytes but a header of 2 dimensions has 12"),
    "truncated": (GOOD[:-3], r"holds 9 bytes of data but its header promises \[3, 4\] = 12"),
    "too long": (GOOD + b"\0", r"holds 13 bytes of data but its header promises \[3, 4\] = 12"),
    "mnist": (
        bytes([0, 0, 8, 3]) + struct.pack(">3I", 60000, 28, 28) + bytes(12),
        r"holds 12 bytes of data but its header promises \[60000, 28, 28\] = 47040000",
    ),
    "huge": (bytes([0, 0, 0x0E, 9]) + b"\xff" * 36, "holds 0 bytes of data but its header promises"),
    "wide type": (idx_bytes(np.zeros(3, np.int32))[:-1], r"holds 11 bytes .* \[3\] of int32 = 12"),
}


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_wrong_content(tmp_path, case, compressed):
    content, message = CASES[case]
    path = tmp_path / "damaged-file"
    path.write_bytes(gzip.compress(content) if compressed else content)
    with pytest.raises(ValueError, match=f"read_idx: .*damaged-file {message}"):
        read_idx(path)


def test_damaged_gzip(tmp_path):
    whole = gzip.compress(idx_bytes(np.random.default_rng(0).integers(0, 255, 500).astype(np.uint8)))
    path = tmp_path / "x.gz"
    for cut in (2, 9, 100, len(whole) - 1):
        path.write_bytes(whole[:cut])
        with pytest.raises(ValueError, match="x.gz is not a whole gzip stream .* damaged or was not copied completely"):
            read_idx(path)
    for at in (3, 60, len(whole) - 8, len(whole) - 2):  # flags, data, checksum, length
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :])
        with pytest.raises(ValueError, match="x.gz"):
            read_idx(path)


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="read_idx: .*nothing-here does not exist"):
        read_idx(tmp_path / "nothing-here")
    with pytest.raises(FileNotFoundError, match="is a folder"):
        read_idx(tmp_path)
