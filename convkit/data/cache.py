"""Where data files are found: a folder of the user's, or convkit's cache, filled by checked downloads."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from convkit.data.dataset import Array

CACHE_VARIABLE = "CONVKIT_CACHE_DIR"


def cache_dir() -> Path:
    """The folder for data files that convkit downloads or decodes: `data` in the user's cache folder for convkit.

    The environment variable CONVKIT_CACHE_DIR replaces the user's cache folder.  The folder need not exist yet.

    >>> cache_dir().name
    'data'
    """
    if chosen := os.environ.get(CACHE_VARIABLE):
        return Path(chosen).expanduser() / "data"
    try:
        from platformdirs import user_cache_dir
    except ImportError:  # comes with pooch, which nobody needs who brings the files
        return Path.home() / ".cache" / "convkit" / "data"
    return Path(user_cache_dir("convkit")) / "data"


def folders(name: str, data_dir: str | os.PathLike[str] | None) -> list[Path]:
    """Where to look for the files of the data set `name`: in its cache folder, or in `data_dir/name` and `data_dir`."""
    if data_dir is None:
        return [cache_dir() / name]
    given = Path(data_dir).expanduser()
    return [given / name, given]


def find(places: Sequence[Path], names: Sequence[str]) -> Path | None:
    """The first file with one of `names`, in the order of the folders `places`, then of the names; None without one."""
    return next((place / name for place in places for name in names if (place / name).is_file()), None)


def missing(name: str, names: Sequence[str], places: Sequence[Path]) -> FileNotFoundError:
    """The error for a data set whose files are not in the user's folder: what was looked for, and where."""
    looked = " and ".join(str(place) + ("" if place.is_dir() else " (no such folder)") for place in places)
    return FileNotFoundError(
        f"{name}: found none of {', '.join(names)} in {looked}. Put the file there, "
        "or pass the folder that holds it as data_dir (--data-dir on the command line)"
    )


def download(name: str, filename: str, sha256: str, mirrors: Sequence[str], files: Sequence[str] = ()) -> Path:
    """A file of the data set `name`, downloaded into its cache folder by pooch from the first mirror that has it.

    A file whose checksum differs is not kept.  `files` are all that the data set needs, for the error.

    Raises:
        RuntimeError: no pooch, no network, or no mirror with the right file; says where to put the file by hand.
    """
    folder = cache_dir() / name
    needed = ", ".join(files or [filename])
    by_hand = f"Put {needed} into {folder}, or into a folder of yours and pass that as data_dir (--data-dir on the command line)"
    try:
        import pooch
    except ImportError as error:
        raise RuntimeError(f"{name}: downloading needs pooch (pip install pooch). {by_hand}") from error
    failures = []
    for mirror in mirrors:
        try:
            return Path(pooch.retrieve(mirror + filename, known_hash=f"sha256:{sha256}", fname=filename, path=folder))
        except Exception as error:  # whatever requests, the file system or the checksum raise: the next mirror
            failures.append(f"{mirror + filename}: {error}")
            cause = error
    tried = "; ".join(failures)
    raise RuntimeError(f"{name}: could not download {filename}. {by_hand}. Tried {tried}") from cause


def save_arrays(path: Path, arrays: Mapping[str, Array]) -> bool:
    """Stores arrays as an .npz file that other processes see whole or not at all; False where that is not possible."""
    partial = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=path.stem, suffix=".part", delete=False) as file:
            partial = file.name
            np.savez(file, allow_pickle=False, **arrays)
        os.replace(partial, path)
    except OSError:
        if partial is not None:
            with contextlib.suppress(OSError):
                os.unlink(partial)
        return False
    return True


def load_arrays(path: Path, *names: str) -> tuple[Array, ...] | None:
    """Arrays that `save_arrays` stored; None where there is no such file or it is damaged."""
    import zipfile
    import zlib

    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            return tuple(stored[name] for name in names)
    except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile, zlib.error):
        return None
