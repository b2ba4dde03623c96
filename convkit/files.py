"""Files and folders that are replaced whole or not at all."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Mapping
from pathlib import Path


def write_whole(path: Path, content: bytes) -> None:
    """Makes `path` a file with this content, or leaves what was there: a temporary sibling takes its place once it is on the disk.

    A link stays one, and its file is replaced; a device or a pipe is written to.  OSError, naming the file, where that is not possible.
    """
    path = Path(os.path.realpath(path))
    partial = path.with_name(f".{path.name}.part")
    try:
        if path.exists() and not path.is_file():
            path.write_bytes(content)
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        write_through(partial, content)
        os.replace(partial, path)
    except OSError as error:
        raise _failed(path, error) from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink()


def replace_folder(folder: Path, files: Mapping[str, bytes]) -> None:
    """Makes `folder` one with these files, or leaves what was there.

    No system call swaps two folders everywhere, so for a moment the old one bears the name `previous_of(folder)`; a reader looks there
    too, in case the process or the machine died in that moment.  OSError, naming the folder, where writing is not possible.
    """
    partial, previous = folder.with_name(f".{folder.name}.part"), previous_of(folder)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(partial, ignore_errors=True)  # left by a process that was killed
        partial.mkdir()
        for name, content in files.items():
            write_through(partial / name, content)
        _flush(partial)
        if folder.exists():
            shutil.rmtree(previous, ignore_errors=True)
            os.replace(folder, previous)
        os.replace(partial, folder)
        _flush(folder.parent)
    except OSError as error:
        _put_back(previous, folder)
        raise _failed(folder, error) from error
    except BaseException:  # Ctrl-C
        _put_back(previous, folder)
        raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    shutil.rmtree(previous, ignore_errors=True)


def previous_of(folder: Path) -> Path:
    """What `folder` is called while a new one takes its place."""
    return folder.with_name(folder.name + ".previous")


def write_through(path: Path, content: bytes) -> None:
    """Writes a file and waits until it is on the disk."""
    with open(path, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _put_back(previous: Path, folder: Path) -> None:
    if previous.exists() and not folder.exists():
        with contextlib.suppress(OSError):
            os.replace(previous, folder)


def _flush(folder: Path) -> None:
    """Waits until the names in a folder are on the disk, where the system can do so (Windows cannot)."""
    with contextlib.suppress(OSError):
        number = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)


def _failed(path: Path, error: OSError) -> OSError:
    kept = "; what was there before is unharmed" if path.exists() else ""
    return OSError(error.errno, f"could not write {path}: {error.strerror or error}{kept}")
