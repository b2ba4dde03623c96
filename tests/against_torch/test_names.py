"""Every name of torch's modules for nets is here, or is listed as left out with its reason."""

import importlib
import inspect
from pathlib import Path

import pytest

from tests.test_docs import left_out

torch = pytest.importorskip("torch", reason="torch is not installed; it is no dependency of the tests")

PAGE = Path(__file__).resolve().parents[2] / "docs" / "coming_from_torch.md"
MODULES = ["torch.nn", "torch.nn.functional", "torch.nn.init", "torch.nn.utils", "torch.optim", "torch.optim.lr_scheduler", "torch.optim.swa_utils"]


def offered(module: str) -> set[str]:
    """Functions and classes that torch documents: public, and defined in torch rather than imported from elsewhere."""
    found = importlib.import_module(module)
    names = getattr(found, "__all__", None) or [n for n in vars(found) if not n.startswith("_")]
    return {n for n in names if callable(getattr(found, n, None)) and not inspect.ismodule(getattr(found, n)) and _of_torch(getattr(found, n))}


def _of_torch(value: object) -> bool:
    module = getattr(value, "__module__", None) or ""
    return module.startswith("torch") or type(value).__name__ == "builtin_function_or_method"


@pytest.mark.parametrize("module", MODULES)
def test_every_name_is_here_or_explained(module):
    ours = importlib.import_module(module.replace("torch", "convkit", 1))
    explained = left_out(PAGE.read_text(encoding="utf-8")).get(module, set())
    missing = sorted(n for n in offered(module) if not hasattr(ours, n) and n not in explained and not n.startswith("_"))
    assert not missing
