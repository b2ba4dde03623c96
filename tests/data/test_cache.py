"""The cache folder, downloads with checksums (from a server on this machine), and arrays stored whole or not at all."""

import functools
import hashlib
import sys
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from convkit.data import cache


def test_cache_dir_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("CONVKIT_CACHE_DIR", str(tmp_path / "x"))
    assert cache.cache_dir() == tmp_path / "x" / "data"
    monkeypatch.delenv("CONVKIT_CACHE_DIR")
    platformdirs = pytest.importorskip("platformdirs")
    assert cache.cache_dir() == Path(platformdirs.user_cache_dir("convkit")) / "data"


def test_cache_dir_without_platformdirs(monkeypatch):
    monkeypatch.delenv("CONVKIT_CACHE_DIR")
    monkeypatch.setitem(sys.modules, "platformdirs", None)
    assert cache.cache_dir() == Path.home() / ".cache" / "convkit" / "data"


def test_find_prefers_the_first_folder_then_the_first_name(tmp_path):
    for name in ("set/b", "a", "b"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    places = cache.folders("set", tmp_path)
    assert places == [tmp_path / "set", tmp_path]
    assert cache.find(places, ["a", "b"]) == tmp_path / "set" / "b"
    assert cache.find(places[1:], ["a", "b"]) == tmp_path / "a"
    assert cache.find(places, ["c", "set"]) is None  # a folder is not a file


def test_arrays_round_trip(tmp_path):
    path = tmp_path / "new" / "folder" / "x.npz"
    assert cache.save_arrays(path, {"a": np.arange(3), "b": np.eye(2)})
    a, b = cache.load_arrays(path, "a", "b")
    np.testing.assert_array_equal(a, [0, 1, 2])
    np.testing.assert_array_equal(b, np.eye(2))
    assert [p.name for p in path.parent.iterdir()] == ["x.npz"]


def test_damaged_or_missing_arrays_are_none(tmp_path):
    path = tmp_path / "x.npz"
    assert cache.load_arrays(path, "a") is None
    cache.save_arrays(path, {"a": np.arange(100)})
    assert cache.load_arrays(path, "other") is None
    whole = path.read_bytes()
    for damaged in (whole[:200], b"", b"not a zip", whole[:300] + b"\xff" * 8 + whole[308:]):
        path.write_bytes(damaged)
        assert cache.load_arrays(path, "a") is None


def test_a_folder_that_cannot_be_written_is_no_error(tmp_path):
    (tmp_path / "file").write_text("in the way")
    assert cache.save_arrays(tmp_path / "file" / "x.npz", {"a": np.arange(3)}) is False


def test_a_failed_write_leaves_nothing_behind(tmp_path, monkeypatch):
    def full(file, **arrays):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    assert cache.save_arrays(tmp_path / "x.npz", {"a": np.arange(3)}) is False
    assert list(tmp_path.iterdir()) == []


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@pytest.fixture
def server(tmp_path):
    """The address of a folder served by HTTP, and the folder."""
    folder = tmp_path / "served"
    folder.mkdir()
    try:
        http = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    except OSError as error:
        pytest.skip(f"no server can listen here: {error}")
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield f"http://127.0.0.1:{http.server_port}/", folder
    http.shutdown()
    thread.join()
    http.server_close()


def test_download_takes_the_first_mirror_with_the_right_file(server, cache_folder):
    pytest.importorskip("pooch")
    address, folder = server
    (folder / "good").mkdir()
    (folder / "bad").mkdir()
    (folder / "good" / "file.gz").write_bytes(b"right")
    (folder / "bad" / "file.gz").write_bytes(b"wrong")
    checksum = hashlib.sha256(b"right").hexdigest()
    mirrors = [address + "absent/", address + "bad/", address + "good/"]
    path = cache.download("set", "file.gz", checksum, mirrors)
    assert path == cache_folder / "set" / "file.gz" and path.read_bytes() == b"right"
    assert [p.name for p in path.parent.iterdir()] == ["file.gz"]
    (folder / "good" / "file.gz").unlink()
    assert cache.download("set", "file.gz", checksum, mirrors) == path  # now from the cache folder


def test_a_wrong_checksum_everywhere_keeps_nothing(server, cache_folder):
    pytest.importorskip("pooch")
    address, folder = server
    (folder / "file.gz").write_bytes(b"wrong")
    with pytest.raises(RuntimeError, match="set: could not download file.gz.*hash"):
        cache.download("set", "file.gz", "0" * 64, [address])
    assert list((cache_folder / "set").iterdir()) == []
