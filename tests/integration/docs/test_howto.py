"""The tests that a page shows are run as its reader runs them."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fedops.scalize.discovery.scaffold import init_project

pytest.importorskip("sklearn", reason="the project here uses scikit-learn")
ROOT = Path(__file__).parents[3]
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


def test_what_you_add_is_tested_as_the_page_says(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "examples" / "sklearn-cancer", tmp_path, dirs_exist_ok=True)
    init_project(tmp_path)
    blocks = BLOCK.findall((ROOT / "docs" / "howto" / "test-what-you-add.md").read_text())
    assert len(blocks) == 3
    for number, code in enumerate(blocks):
        (tmp_path / f"test_{number}.py").write_text(code)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stdout
    assert "3 passed" in done.stdout
