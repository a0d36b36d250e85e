"""Tests get a folder of small wheels for an index."""

from __future__ import annotations

from pathlib import Path

import pytest
from toy_wheels import only_from, toy_wheel


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What uv finds: all that the small FedOps needs."""
    folder = tmp_path / "packages"
    toy_wheel(folder, "toybase", "1.1")
    toy_wheel(folder, "toytorch")
    only_from(monkeypatch, folder)
    return folder
