"""Shared by the data tests: tensors that stand in for convkit's, a cache folder of their own, the real data sets."""

from pathlib import Path

import pytest

import convkit

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"


@pytest.fixture(autouse=True)
def cache_folder(tmp_path_factory, monkeypatch):
    """An empty cache folder, so that no test reads or fills the user's."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("CONVKIT_CACHE_DIR", str(folder))
    return folder / "data"


@pytest.fixture(autouse=True)
def tensors(monkeypatch):
    """While convkit.from_numpy does not exist, batches stay NumPy arrays; np.asarray reads both."""
    if not hasattr(convkit, "from_numpy"):
        monkeypatch.setattr(convkit, "from_numpy", lambda array: array, raising=False)


@pytest.fixture
def shared():
    """The folder of real data sets, beside the repository on a developer's machine."""
    if not SHARED.is_dir():
        pytest.skip(f"no real data sets: {SHARED} does not exist")
    return SHARED
