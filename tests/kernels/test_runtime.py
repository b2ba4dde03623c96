"""How kernels are cached, launched from several threads, and refused after a fork.  Most tests need a fresh process."""

import os
import shutil
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from convkit_kernels import geometry
from convkit_kernels.cpu import conv_forward, exp, runtime
from tests.helpers import numbers, same, threads

# Two cheap kernels, one of them in two parts: their results are right, and what was told of caching and compiling.
RUN = """
import warnings
import numpy as np
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    from convkit_kernels.cpu import activation, exp, runtime
    x = np.linspace(-3, 3, 7, dtype=np.float32)
    for _ in range(2):
        assert np.allclose(exp(x), np.exp(x), rtol=1e-6)
        assert np.array_equal(activation("threshold", x), np.where(x > 0, x, 0))
print("compiled", sorted(runtime.compile_seconds))
for w in caught:
    print(w.category.__name__, w.message)
"""
COMPILED, LOADED = "compiled ['activation._threshold', 'elementwise._exp', 'elementwise._in_chunks']\n", "compiled []\n"


def check_one_warning(told: str) -> None:
    warnings = told.splitlines()[1:]
    assert len(warnings) == 1, warnings
    assert warnings[0].startswith("RuntimeWarning convkit: compiled kernels cannot be kept in ") and "compile again" in warnings[0]


def files(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("*") if p.is_file())


@pytest.fixture(scope="module")
def template(tmp_path_factory, python):
    """A cache folder with two kernels in it."""
    folder = tmp_path_factory.mktemp("template")
    assert python(RUN, CONVKIT_CACHE_DIR=str(folder)).stdout == COMPILED
    return folder


@pytest.fixture
def filled(tmp_path, template):
    """A copy of it, to be damaged."""
    shutil.copytree(template, tmp_path, dirs_exist_ok=True)
    return tmp_path


def test_a_second_process_loads_what_the_first_compiled(filled, python):
    kept = files(filled)
    assert {p.suffix for p in kept} == {".nbi", ".nbc"}
    assert all(p.is_relative_to(filled / "kernels") for p in kept)
    assert python(RUN, CONVKIT_CACHE_DIR=str(filled), NUMBA_CACHE_DIR=str(filled / "other")).stdout == LOADED
    assert files(filled) == kept  # Numba's own setting is for the user's code


@pytest.mark.parametrize(("suffix", "damage"), [(".nbi", "text"), (".nbi", "cut"), (".nbc", "empty"), (".nbc", "cut")])
def test_damaged_files_cost_a_compilation(filled, python, suffix, damage):
    for path in files(filled):
        if path.suffix == suffix:
            path.write_bytes({"text": b"not a cache file", "empty": b"", "cut": path.read_bytes()[:-20]}[damage])
    assert python(RUN, CONVKIT_CACHE_DIR=str(filled)).stdout == COMPILED
    if damage == "cut":
        assert python(RUN, CONVKIT_CACHE_DIR=str(filled)).stdout == LOADED  # repaired


def test_missing_data_files_cost_a_compilation(filled, python):
    for path in files(filled):
        if path.suffix == ".nbc":
            path.unlink()
    assert python(RUN, CONVKIT_CACHE_DIR=str(filled)).stdout == COMPILED


# The superuser may write anywhere; on Linux, a process can lay that right down.
POWERLESS = """
import ctypes, os
if os.geteuid() == 0:
    header, rights = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
    assert ctypes.CDLL(None).capset(header, rights) == 0
"""
powerless = pytest.mark.skipif(
    sys.platform == "win32" or (os.geteuid() == 0 and sys.platform != "linux"), reason="this user may write to a read-only folder"
)


@powerless
def test_a_folder_that_cannot_be_written(filled, python):
    folder = next(p.parent for p in files(filled))
    for path in files(filled):
        path.unlink()
    folder.chmod(0o555)
    try:
        told = python(POWERLESS + RUN, CONVKIT_CACHE_DIR=str(filled)).stdout
    finally:
        folder.chmod(0o755)
    assert told.startswith(COMPILED)
    check_one_warning(told)
    assert not files(filled)


@powerless
def test_a_full_folder_that_cannot_be_written_is_read(filled, python):
    for path in (filled, *filled.rglob("*")):
        path.chmod(0o555)
    try:
        assert python(POWERLESS + RUN, CONVKIT_CACHE_DIR=str(filled)).stdout == LOADED
    finally:
        for path in (filled, *filled.rglob("*")):
            path.chmod(0o755)


def test_a_file_where_the_folder_should_be(tmp_path, python):
    path = tmp_path / "cache"
    path.write_text("a file")
    told = python(RUN, CONVKIT_CACHE_DIR=str(path)).stdout
    assert told.startswith(COMPILED)
    check_one_warning(told)
    assert path.read_text() == "a file"


def test_a_folder_that_vanishes(tmp_path, python):
    code = f"import shutil, convkit_kernels.cpu\nshutil.rmtree({str(tmp_path)!r})\n" + RUN
    assert python(code, CONVKIT_CACHE_DIR=str(tmp_path)).stdout.startswith(COMPILED)


def test_the_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("CONVKIT_CACHE_DIR", str(tmp_path))
    assert runtime.cache_folder().parent == tmp_path / "kernels"
    monkeypatch.delenv("CONVKIT_CACHE_DIR")
    assert "convkit" in str(runtime.cache_folder())


def test_a_change_of_a_file_changes_the_state_of_those_that_import_it(tmp_path, python):
    # Numba looks at a kernel's own file only, not at those of the functions that are compiled into it.
    package = tmp_path / "convkit_kernels"
    shutil.copytree(Path(runtime.__file__).parents[1], package, ignore=shutil.ignore_patterns("__pycache__"))
    mine = tmp_path / "mine.py"
    # A user's file may be written in any way, and is not read.
    mine.write_bytes(b"from convkit_kernels.cpu.runtime import kernel\nfrom . import (\n    other,\n)\nfrom ....... import *  # caf\xe9\n")
    code = f"""
import os, sys
sys.path.insert(0, {str(tmp_path)!r})
from convkit_kernels.cpu import runtime
assert runtime.__file__.startswith({str(tmp_path)!r})
def states():
    runtime._stamp.cache_clear()
    runtime.state.cache_clear()
    files = [{str(package)!r} + f"/cpu/{{name}}.py" for name in ("activation", "elementwise", "matmul")]
    return [runtime.state(file) for file in ({str(mine)!r}, *files)]
before = states()
assert states() == before and len(set(before)) == 4
for changed in ("cpu/mathfunctions.py", "cpu/denormals.py"):
    os.utime({str(package)!r} + "/" + changed, ns=(1, 1))
    after = states()
    print([a != b for a, b in zip(before, after)])
    before = after
"""
    # A product takes no functions of numbers; every kernel may flush denormals.
    assert python(code).stdout.split("\n")[:2] == [str([True, True, True, False]), str([True] * 4)]


def test_compile_seconds_names_what_was_compiled(tmp_path, python):
    code = """
import numpy as np
from convkit_kernels.cpu import exp, log, runtime
log(np.ones(3)), exp(np.ones(3))
first = dict(runtime.compile_seconds)
exp(np.ones(3)); exp(np.ones(9))
assert runtime.compile_seconds == first and first["elementwise._exp"] > 0
exp(np.ones(3, np.float32))
assert runtime.compile_seconds["elementwise._exp"] > first["elementwise._exp"]
"""
    python(code, CONVKIT_CACHE_DIR=str(tmp_path))
    # One kind of argument from the cache, the other compiled: the second counts.
    code = """
import numpy as np
from convkit_kernels.cpu import runtime, log
log(np.ones(3))
assert not runtime.compile_seconds
log(np.ones(3, np.float32))
assert list(runtime.compile_seconds) == ["elementwise._log"]
"""
    python(code, CONVKIT_CACHE_DIR=str(tmp_path))


# ---------------------------------------------------------------------------------------- threads
def test_set_num_threads(threads):
    assert runtime.get_num_threads() == min(threads, runtime.MOST_THREADS)


@pytest.mark.parametrize("count", [0, -1, runtime.MOST_THREADS + 1])
def test_numbers_of_threads_out_of_range(count):
    with pytest.raises(ValueError, match=f"set_num_threads: must be 1 to {runtime.MOST_THREADS} .*, got {count}"):
        runtime.set_num_threads(count)


@pytest.mark.parametrize("count", [1.0, "1", None, True])
def test_numbers_of_threads_that_are_none(count):
    with pytest.raises(TypeError, match="set_num_threads: must be an int, got"):
        runtime.set_num_threads(count)


CONV = geometry.window("conv2d", (3, 3), 1, 1)


def test_the_number_holds_in_every_python_thread():
    import numba

    seen = []
    for count in (1, min(2, runtime.MOST_THREADS)):
        with threads(count), ThreadPoolExecutor(1) as pool:
            pool.submit(lambda: (exp(np.ones(3)), seen.append(numba.get_num_threads()))).result()
    assert seen == [1, min(2, runtime.MOST_THREADS)]


@pytest.mark.skipif(runtime.MOST_THREADS < 2, reason="one core only")
def test_more_threads_through_numba_do_not_overflow_scratch_memory():
    import numba

    x, w = numbers(0, (4, 16, 20, 20), np.float32), numbers(1, (16, 16, 3, 3), np.float32)
    expected = conv_forward(x, w, None, CONV)
    try:
        for _ in range(20):
            numba.set_num_threads(runtime.MOST_THREADS)  # a user's own setting, unknown to convkit
            assert same(conv_forward(x, w, None, CONV), expected)
    finally:
        numba.set_num_threads(runtime.get_num_threads())


def test_two_python_threads_at_once():
    jobs = [(numbers(i, (2, 1 + i, 12, 11), np.float32), numbers(i, (5, 1 + i, 3, 3), np.float32)) for i in range(6)]
    expected = [conv_forward(x, w, None, CONV) for x, w in jobs]
    failed: list[int] = []

    def work(first: int) -> None:
        for turn in range(40):
            i = (first + turn) % len(jobs)
            if not same(conv_forward(*jobs[i], None, CONV), expected[i]):
                failed.append(i)

    with threads(2):
        both = [threading.Thread(target=work, args=(i,)) for i in (0, 3)]
        for thread in both:
            thread.start()
        for i in range(50):  # while the number of threads changes, too
            runtime.set_num_threads(1 + i % min(2, runtime.MOST_THREADS))
        for thread in both:
            thread.join()
    assert not failed


def test_the_layer_that_bears_no_concurrent_launches(python):
    # Numba's own threads abort the process when two threads launch at once; here they take turns.
    code = """
import threading
import numpy as np
from convkit_kernels import geometry
from convkit_kernels.cpu import conv_forward, runtime
assert runtime.layer == "workqueue"
window = geometry.window("conv2d", (3, 3), 1, 1)
x, w = np.ones((2, 3, 9, 9), np.float32), np.ones((4, 3, 3, 3), np.float32)
expected, right = conv_forward(x, w, None, window), []

def work():
    for _ in range(60):
        right.append(np.array_equal(conv_forward(x, w, None, window), expected))

both = [threading.Thread(target=work) for _ in range(2)]
[t.start() for t in both]
[t.join() for t in both]
assert len(right) == 120 and all(right)
"""
    python(code, NUMBA_THREADING_LAYER="workqueue", NUMBA_NUM_THREADS="2")


# ------------------------------------------------------------------------------------------- fork
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
FORK = """
import os, sys, warnings
warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns of forks in a process with threads
import numpy as np
from convkit_kernels.cpu import exp
{before}
child = os.fork()
if child == 0:
    try:
        print(exp(np.zeros(1)), flush=True)
    except RuntimeError as error:
        print("RuntimeError", error, flush=True)
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
print(exp(np.zeros(1)))  # the parent goes on
"""


@needs_fork
def test_a_fork_after_a_launch_is_refused_in_the_child(python):
    told = python(FORK.format(before="exp(np.zeros(1))"), NUMBA_NUM_THREADS="2").stdout.splitlines()
    assert told[0].startswith("RuntimeError convkit: this process was forked after kernels had run")
    assert "spawn" in told[0] and told[1:] == ["[1.]"]


@needs_fork
def test_a_fork_before_any_launch_is_fine(python):
    assert python(FORK.format(before=""), NUMBA_NUM_THREADS="2").stdout.splitlines() == ["[1.]", "[1.]"]
