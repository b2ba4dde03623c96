"""Shared by all tests: Hypothesis profiles, thread counts, fresh Python processes, the real data sets."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import pytest

from tests import helpers

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT.parent / "shared" / "data"

# Tests choose algorithms by the built-in constants, whatever `convkit warmup` found on this machine.
os.environ["CONVKIT_CALIBRATION"] = "off"

# A kernel's first call may compile for seconds, so there is no deadline; on a build server the same examples run every time.
_slow = [hypothesis.HealthCheck.too_slow, hypothesis.HealthCheck.filter_too_much]
hypothesis.settings.register_profile("local", deadline=None, suppress_health_check=_slow)
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True, suppress_health_check=_slow, print_blob=True)
hypothesis.settings.load_profile("ci" if os.environ.get("CI", "").lower() in ("1", "true") else "local")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--device", default="cpu", help="where kernels and tensors are tested: cpu, cuda:sim (Numba's simulator of a GPU) or cuda")


# What a device other than the CPU is tested with; the rest does not know where arrays are, or is how the CPU's kernels are made.
DEVICE_FOLDERS = ("autograd", "kernels", "nn", "ops", "optim")
OF_THE_CPU = {
    "bands", "calibration", "choice", "denormals", "lanes", "machine", "mathfunctions", "memory", "microkernel", "runtime", "tasks", "windows",
    "winograd",
}  # fmt: skip


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "cpu: a test about the CPU's kernels, or the host alone")
    os.environ["CONVKIT_TEST_DEVICE"] = config.getoption("--device")
    from tests import backend

    backend.use()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--device") == "cpu":
        return
    # tests/cuda runs in the simulator whenever the CPU is tested; a GPU of its own runs it once more.
    folders = (*DEVICE_FOLDERS, "cuda") if config.getoption("--device") == "cuda" else DEVICE_FOLDERS
    inside = tuple(str(ROOT / "tests" / folder) for folder in folders)
    kept = [item for item in items if str(item.path).startswith(inside) and not item.get_closest_marker("cpu")]
    kept = [item for item in kept if item.path.parent.name != "kernels" or item.path.stem.removeprefix("test_") not in OF_THE_CPU]
    config.hook.pytest_deselected(items=[i for i in items if i not in kept])
    items[:] = kept


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Kernels run on one thread unless a test asks for more: on a busy machine, each launch waits until all threads had their turn."""
    with helpers.threads(1):
        yield


@pytest.fixture(params=[1, 2])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    """The number of threads that kernels use during the test."""
    with helpers.threads(request.param):
        yield request.param


@pytest.fixture(scope="session")
def python() -> Callable[..., subprocess.CompletedProcess]:
    """`python(code, check=True, **environment)`: run `code` in a fresh process from the repository's root, which sees the same packages.

    Kernels run on one thread there, unless NUMBA_NUM_THREADS is given.  An environment variable set to None is removed.
    """

    def run(code: str, check: bool = True, **environment: str | None) -> subprocess.CompletedProcess:
        env = {**os.environ, "NUMBA_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(p for p in sys.path if p), **environment}
        done = subprocess.run(
            [sys.executable, "-W", "default", "-c", code],
            cwd=ROOT, env={k: v for k, v in env.items() if v is not None}, capture_output=True, text=True, timeout=600,
        )  # fmt: skip
        if check:
            assert done.returncode == 0, f"exit status {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
        return done

    return run


@pytest.fixture
def shared() -> Path:
    """The folder of real data sets beside the repository, where a developer has one."""
    if not DATA.is_dir():
        reason = f"no real data sets: {DATA} does not exist"
        print(reason)
        pytest.skip(reason)
    return DATA
