"""Every command that the README, the tutorials and the how-tos show is typed, and prints what they show."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from page_blocks import parse_page
from page_session import Reader
from postgres import POSTGRES
from stand_ins import ROOT

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("tutorial/*.md"))]
PAGES += sorted((ROOT / "docs").glob("howto/*.md"))
#: These are read in every 'make test'; the others take minutes and are read by 'make docs-test'.
QUICK = {
    "README.md",
    "your-functions.md",
    "troubleshooting.md",
    "postgresql.md",
    "add-a-framework.md",
    "add-a-strategy.md",
    "add-an-explanation-method.md",
    "test-what-you-add.md",
}
#: Programs that pages use and a machine may lack.
PROGRAMS = ("curl", "systemd-analyze")


def _case(page: Path) -> object:
    text = page.read_text()
    missing = [f"there is no {p}" for p in PROGRAMS if f"$ {p} " in text and not shutil.which(p)]
    if POSTGRES is None and "<!-- needs: PostgreSQL -->" in text:
        missing.append("FEDOPS_TEST_POSTGRES names no server")
    marks = [] if page.name in QUICK else [pytest.mark.slow_page]
    marks += [pytest.mark.skip(reason=reason) for reason in missing]
    return pytest.param(page, id=str(page.relative_to(ROOT)), marks=marks)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("page", [_case(page) for page in PAGES])
def test_a_page_works_as_it_is_written(page: Path, reader_of: Callable[[str], Reader]) -> None:
    reader = reader_of(page.read_text())
    for example in parse_page(page, reader):
        example.evaluate()
    reader.finish()
