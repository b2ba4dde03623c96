"""How CPU kernels are compiled, cached and launched: one decorator, `kernel`, for all of them."""

from __future__ import annotations

import concurrent.futures
import contextlib
import functools
import gc
import hashlib
import importlib
import inspect
import itertools
import os
import pathlib
import re
import sys
import threading
import time
import types as types_of_python
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numba
import numpy as np
import platformdirs
from numba.core import config, types
from numba.core.caching import FunctionCache
from numba.core.ccallback import CFunc
from numba.core.runtime import rtsys

from . import memory

# Reassociation lets loops vectorise; nnan and ninf are left out because NaN and Inf must propagate.
FASTMATH = {"contract", "reassoc", "nsz", "arcp"}
# For functions called from kernels: forceinline, because a loop around a call does not vectorise.
STRICT = {"fastmath": {"contract"}, "nogil": True, "error_model": "numpy", "forceinline": True}

memory.keep_freed()
memory.align_arrays()

compile_seconds: dict[str, float] = {}
"""Seconds spent compiling (not loading from the cache), by kernel name, in this process."""


# ------------------------------------------------------------------------------------------ cache
def cache_folder() -> pathlib.Path:
    """Where compiled kernels are kept: CONVKIT_CACHE_DIR or the user's cache folder, then one folder for each place where the sources may lie."""
    root = os.environ.get("CONVKIT_CACHE_DIR") or platformdirs.user_cache_dir("convkit", appauthor=False)
    return pathlib.Path(root) / "kernels" / digest(str(_HERE), numba.__version__)


@functools.cache
def state(path: str | pathlib.Path) -> str:
    """A name for the present state of a file of kernels and of those whose functions are compiled into them.

    Numba notices a change in a kernel's own file only.  This covers the files that it imports, and those that they import; all of this
    folder for a file of somewhere else.
    """
    start = pathlib.Path(path).resolve()
    waiting = [start] if start.parent == _HERE else [start, *_HERE.glob("*.py")]
    found: dict[pathlib.Path, tuple] = {}
    while waiting:
        file = waiting.pop()
        if file not in found:
            found[file], imported = _stamp(file)
            waiting.extend(imported)
    return digest(*sorted(found.values()))


_HERE = pathlib.Path(__file__).resolve().parent
_IMPORT = re.compile(r"^\s*from (\.+)(\w*) import (\([^)]*\)|[^\n(]*)", re.MULTILINE)


@functools.cache
def _stamp(file: pathlib.Path) -> tuple[tuple, list[pathlib.Path]]:
    """What differs when a file has changed, and the files that it imports, if it is one of this package (others' text is not read)."""
    try:
        stat = file.stat()
    except OSError:  # a notebook's cell, or a name that is no file
        return (file.name,), []
    imported = []
    for dots, module, names in _IMPORT.findall(file.read_text(encoding="utf-8")) if _HERE.parent in file.parents else ():
        words = [name.split()[0] for name in names.strip("() ").split(",") if name.strip()]
        imported += [file.parents[len(dots) - 1] / f"{name}.py" for name in ([module] if module else words)]
    return (file.name, stat.st_mtime_ns, stat.st_size), imported


def digest(*values: Any) -> str:
    """A name for values, by what they look like."""
    return hashlib.sha256(repr(values).encode()).hexdigest()[:16]


class _Place:
    """Where Numba keeps the files of one function: in our folder and nowhere else, whether it can be written or not.

    Numba's own choice would fall back to folders that the fingerprint does not guard, such as the one of the sources.
    """

    def __init__(self, function: Callable, path: str):
        self.function, self.path = function, path

    @classmethod
    def from_function(cls, function: Callable, path: str) -> _Place:
        """The place of `function`, defined in the file `path`."""
        return cls(function, path)

    def get_cache_path(self) -> str:
        """The folder: one for each folder of sources."""
        return str(cache_folder() / digest(os.path.dirname(os.path.abspath(self.path)))[:8])

    def get_source_stamp(self) -> Any:
        """What differs when the function has changed, beside the file's name: the text of what is in no file, as a notebook's cell."""
        return "" if os.path.exists(self.path) else inspect.getsource(self.function)

    def get_disambiguator(self) -> str:
        """Tells functions of one name apart, and the states of one function, which so never overwrite each other."""
        return f"{self.function.__code__.co_firstlineno}-{state(self.path)}"

    def ensure_cache_path(self) -> None:
        """Make the folder."""
        os.makedirs(self.get_cache_path(), exist_ok=True)


class _Files(FunctionCache._impl_class):  # type: ignore[misc, name-defined]
    _locator_classes = [_Place]


@functools.cache
def _import_without_scipy() -> None:
    """Before compiling: import what of Numba looks whether SciPy's linear algebra is there, and spare it the look, a third of a second.

    SciPy is a dependency, so it is there.  Where Numba then needs a function of it, as for `np.dot` in a user's own code, it imports SciPy.
    """
    name = "scipy.linalg.cython_blas"
    if name in sys.modules:
        return
    sys.modules[name] = types_of_python.ModuleType(name)
    try:
        importlib.import_module("numba.np.arraymath")
    finally:
        del sys.modules[name]


class _Cache(FunctionCache):
    """Numba's cache of one function, which at worst does nothing: a damaged or read-only folder costs a compilation, never the program."""

    _impl_class = _Files

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        rtsys.initialize(target_context)  # all that compiled code needs; Numba's own method gets ready to compile, for a sixth of a second
        try:
            with self._guard_against_spurious_io_errors():
                found = self._load_overload(sig, target_context)
        except Exception:  # whatever a damaged file makes pickle or LLVM raise
            found = None
            with contextlib.suppress(OSError):
                self.flush()
        if found is None:
            _import_without_scipy()
        return found

    def save_overload(self, sig: Any, data: Any) -> None:
        try:
            super().save_overload(sig, data)
        except Exception as error:  # read-only folder, full disk, a vanished folder
            _warn_unkept(error)


def kept(name: str, source: str, make: Callable[[], bytes]) -> bytes:
    """What `make` gives, or gave to an earlier process: kept in the cache folder under `name` and the state of the file `source`.

    A damaged file counts for none, and none can be written in a read-only folder.
    """
    path = cache_folder() / f"{name}.{state(source)}.bin"
    try:
        found = path.read_bytes()
        if found[:32] == hashlib.sha256(found[32:]).digest():
            return found[32:]
    except OSError:
        pass
    made = make()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f"{path.name}.{os.getpid()}.{threading.get_ident()}")
        partial.write_bytes(hashlib.sha256(made).digest() + made)
        partial.replace(path)
    except OSError as error:
        _warn_unkept(error)
    return made


def _warn_unkept(error: Exception) -> None:
    """Without the file's name: one warning for all kernels."""
    reason = getattr(error, "strerror", None) or error
    _warn_once(f"convkit: compiled kernels cannot be kept in {cache_folder()} ({reason}); they compile again in each process")


@functools.cache
def _warn_once(message: str) -> None:
    warnings.warn(message, RuntimeWarning, stacklevel=2)


# ---------------------------------------------------------------------------------------- threads
# tbb and omp accept launches from several threads at once; the workqueue layer aborts the process, so there a lock serialises them.
def _threading_layer() -> str:
    if config.THREADING_LAYER not in ("default", "safe", "threadsafe"):
        return config.THREADING_LAYER
    for layer, module in (("tbb", "tbbpool"), ("omp", "omppool")):
        try:
            with _briefly_spinning_threads():
                __import__(f"numba.np.ufunc.{module}")
        except ImportError:
            continue
        config.THREADING_LAYER = layer
        return layer
    config.THREADING_LAYER = "workqueue"
    return "workqueue"


@contextlib.contextmanager
def _briefly_spinning_threads() -> Iterator[None]:
    """Tell GNU OpenMP, which reads its settings when it is loaded, for how long idle threads spin; the user's settings come first.

    By default they spin for milliseconds.  Where another process wants the cores, the thread that spins keeps out the thread it
    waits for: a kernel of 20 microseconds took 8000.  Threads that sleep at once double the time of a LeNet step.  A fifth of a
    millisecond bridges most gaps between the kernels of a step, and is all that a busy core costs.
    """
    if "OMP_WAIT_POLICY" in os.environ or "GOMP_SPINCOUNT" in os.environ:
        yield
        return
    os.environ["GOMP_SPINCOUNT"] = "4000"
    try:
        yield
    finally:
        del os.environ["GOMP_SPINCOUNT"]


layer = _threading_layer()
_lock: threading.Lock | None = threading.Lock() if layer == "workqueue" else None
_mine = threading.local()  # Numba keeps the number of threads for each calling thread
MOST_THREADS: int = config.NUMBA_NUM_THREADS
"""Scratch memory for each thread must do for this many: another thread, or the user through Numba, may change the number at any time."""
_threads = MOST_THREADS
_forked = False


def _after_fork() -> None:
    global _forked, _helpers
    _forked, _helpers = _launched, None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
_launched = False


def set_num_threads(count: int) -> None:
    """Let kernels use `count` threads, from now on and in every Python thread; ValueError outside 1 .. the number at start."""
    global _threads
    if not isinstance(count, (int, np.integer)) or isinstance(count, bool):
        raise TypeError(f"set_num_threads: must be an int, got {count!r}")
    if not 1 <= count <= MOST_THREADS:
        raise ValueError(f"set_num_threads: must be 1 to {MOST_THREADS} (the cores, or NUMBA_NUM_THREADS), got {count}")
    _threads = int(count)


def get_num_threads() -> int:
    """Threads that kernels use."""
    return _threads


def _prepare() -> None:
    """Before a launch: refuse a forked child; the first time in a Python thread, tell Numba the number of threads and align new arrays."""
    global _launched
    if _forked:
        raise RuntimeError(
            "convkit: this process was forked after kernels had run, and their thread pool does not survive a fork; "
            "start it by multiprocessing's 'spawn' or 'forkserver' method"
        )
    _launched = True
    numba.set_num_threads(_threads)
    if not hasattr(_mine, "threads"):
        memory.align_arrays()
    _mine.threads = _threads


_helpers: Any = None  # Python threads for `in_threads`, made when first needed


def in_threads(work: Callable[[int], None], count: int) -> None:
    """Call work(0) to work(count - 1), in any order and in as many threads as kernels use: for NumPy's loops, which run outside of Python's lock."""
    global _helpers
    turn = itertools.count().__next__

    def take_turns() -> None:
        with np.errstate(all="ignore"):
            while (i := turn()) < count:
                work(i)

    helpers = []
    if min(_threads, count) > 1:
        if _helpers is None:
            _helpers = concurrent.futures.ThreadPoolExecutor(MOST_THREADS, "convkit")
        helpers = [_helpers.submit(take_turns) for _ in range(min(_threads, count) - 1)]
    take_turns()
    for helper in helpers:
        if not helper.cancel():
            helper.result()


# ----------------------------------------------------------------------------------------- kernel
def _counted(function: Callable, compile_: Callable[[], Any], was_found: Callable[[], Any]) -> Any:
    """compile_(), its seconds counted unless the code was found in the cache.

    Meanwhile Python does not look for cyclic garbage: among the many objects that Numba makes this takes a fifteenth of the time.
    """
    start, collects = time.perf_counter(), gc.isenabled()
    gc.disable()
    try:
        result = compile_()
    finally:
        if collects:
            gc.enable()
    if not was_found():
        name = f"{function.__module__.rsplit('.', 1)[-1]}.{function.__name__}"
        compile_seconds[name] = compile_seconds.get(name, 0.0) + time.perf_counter() - start
    return result


def kernel(function: Callable) -> Callable:
    """Compile `function` in parallel mode on first use, cache it, and launch it safely from any thread."""
    dispatcher = numba.njit(parallel=True, fastmath=FASTMATH, nogil=True, error_model="numpy")(function)
    dispatcher._cache = _Cache(function)
    of_numba = dispatcher.compile

    def compile_(signature: Any) -> Any:
        return _counted(function, lambda: of_numba(signature), lambda: signature in dispatcher.stats.cache_hits)

    dispatcher.compile = compile_  # which Numba calls for types that are new

    @functools.wraps(function)
    def launch(*args: Any) -> Any:
        if _forked or getattr(_mine, "threads", 0) != _threads:
            _prepare()
        if _lock is None:
            return dispatcher(*args)
        with _lock:
            return dispatcher(*args)

    launch.dispatcher = dispatcher  # type: ignore[attr-defined]
    return launch


def inline(function: Callable) -> Callable:
    """A function that kernels call: compiled into its callers, with its own strict arithmetic (no reassociation, no reciprocals)."""
    return numba.njit(**STRICT)(function)


_natives: list[CFunc] = []  # the owners of their machine code


def native(function: Callable, *arguments: Any) -> int:
    """The address of `function`, compiled for arguments of these types, cached as kernels are, for kernels to call.

    What many kernels differ in can so be compiled alone, and their common parallel loop, which takes the most time, once.
    """
    options = {"fastmath": FASTMATH, "nogil": True, "error_model": "numpy", "nopython": True}
    compiled: Any = CFunc(function, (arguments, types.void), {}, options)
    compiled._cache = _Cache(function)
    _counted(function, compiled.compile, lambda: compiled.cache_hits)
    _natives.append(compiled)
    return compiled.address
