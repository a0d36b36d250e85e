"""Modules and files that the pages name are there, under that name."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PAGES = [
    *sorted((ROOT / "docs").rglob("*.md")),
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
]
#: Its files are those of other repositories.
OF_OTHERS = ROOT / "docs" / "reference" / "projects.md"
_PATH = re.compile(r"`((?:src|tests|benchmarks|deploy|examples|docs)/[\w./-]+)`")
_LINK = re.compile(r"\]\((?!https?:|#)([^)#]+)(?:#[^)]*)?\)")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_a_page_names_is_there(page: Path) -> None:
    text = page.read_text()
    if "Superseded" in text[:600]:  # what it was about is gone
        return
    named = [ROOT / found for found in _PATH.findall(text)] if page != OF_OTHERS else []
    linked = [page.parent / found for found in _LINK.findall(text)]
    missing = [str(path) for path in [*named, *linked] if not path.exists()]
    assert not missing
