"""The documentation says what is: the lists of names, the files that it names."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def names_tool():
    spec = importlib.util.spec_from_file_location("coming_from_torch", ROOT / "docs" / "coming_from_torch.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_list_of_names_is_what_the_package_offers():
    tool = names_tool()
    page = tool.PAGE.read_text(encoding="utf-8")
    assert page == tool.written(page), "run: python docs/coming_from_torch.py"


def test_names_are_listed_once_and_exist():
    tool = names_tool()
    for module in tool.MODULES.values():
        found = importlib.import_module(module)
        listed = tool.offered(module)
        assert len(listed) == len(set(listed)) and listed
        assert not [n for n in listed if not hasattr(found, n)], module


@pytest.mark.parametrize("page", sorted(p.name for p in (ROOT / "docs").glob("*.md")) + ["README.md", "CONTRIBUTING.md"])
def test_links_lead_somewhere(page):
    path = ROOT / page if (ROOT / page).exists() else ROOT / "docs" / page
    text = path.read_text(encoding="utf-8")
    links = [link for link in re.findall(r"\]\(([^)#\s]+)", text) if "://" not in link and not link.startswith("mailto:")]
    assert not [link for link in links if not (path.parent / link).exists()]


def left_out(page: str) -> dict[str, set[str]]:
    """{module: names} of the section 'Left out': bullets that start with names, under one heading a module."""
    section = page.split("## Left out")[1].split("\n## ")[0]
    found: dict[str, set[str]] = {}
    for part in section.split("### ")[1:]:
        module, _, body = part.partition("\n")
        bullets = re.findall(r"^- (.*?): ", body, re.M)
        found[module.strip("` ")] = {name for bullet in bullets for name in re.findall(r"`([^`]+)`", bullet)}
    return found


def test_what_is_left_out_is_really_not_there():
    page = (ROOT / "docs" / "coming_from_torch.md").read_text(encoding="utf-8")
    for module, names in left_out(page).items():
        found = importlib.import_module(module.replace("torch", "convkit", 1))
        assert not [n for n in names if n in getattr(found, "__all__", ())], module
