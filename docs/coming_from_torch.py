"""Writes the list of names in coming_from_torch.md, from what the package offers: `python docs/coming_from_torch.py`.

`tests/test_docs.py` checks that the list is up to date, so it is run after a name is added.
"""

from __future__ import annotations

import importlib
import inspect
import textwrap
from collections.abc import Iterable
from pathlib import Path

PAGE = Path(__file__).with_suffix(".md")
BEGIN, END = "<!-- names: written by coming_from_torch.py -->\n", "<!-- end of names -->\n"
# (heading, module); what a module offers is its __all__.
MODULES = {
    "convkit": "convkit",
    "convkit.nn": "convkit.nn",
    "convkit.nn.functional": "convkit.nn.functional",
    "convkit.nn.init": "convkit.nn.init",
    "convkit.nn.utils": "convkit.nn.utils",
    "convkit.optim": "convkit.optim",
    "convkit.optim.lr_scheduler": "convkit.optim.lr_scheduler",
    "convkit.optim.swa_utils": "convkit.optim.swa_utils",
    "convkit.autograd": "convkit.autograd",
}


def in_order(names: Iterable[str]) -> list[str]:
    """Alphabetical, capitals beside their small letters: the same order for a set as for a list (`T` before `t`)."""
    return sorted(names, key=lambda name: (name.lower(), name))


def offered(module: str) -> list[str]:
    """The public names of a module: its __all__, or what it defines."""
    found = importlib.import_module(module)
    names = getattr(found, "__all__", None)
    if names is None:
        names = [n for n, value in vars(found).items() if not n.startswith("_") and getattr(value, "__module__", None) == module]
    return in_order(n for n in names if not n.startswith("_") and not inspect.ismodule(getattr(found, n)))


def tensor_names() -> list[str]:
    """Methods and properties of a tensor."""
    import convkit

    plain = {n for n in dir(convkit.Tensor) if not n.startswith("_")}
    return in_order(plain - {"array", "node", "index", "version", "result", "saved"})


def names() -> str:
    """The generated part of the page."""
    parts = []
    for heading, found in [*((h, offered(m)) for h, m in MODULES.items()), ("Tensor: methods and properties", tensor_names())]:
        listed = textwrap.fill(", ".join(f"`{n}`" for n in found), 140, break_on_hyphens=False, break_long_words=False)
        parts.append(f"### {heading} ({len(found)})\n\n{listed}\n")
    return "\n".join(parts)


def written(page: str) -> str:
    """The page with its generated part renewed."""
    before, rest = page.split(BEGIN)
    after = rest.split(END)[1]
    return f"{before}{BEGIN}\n{names()}\n{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
