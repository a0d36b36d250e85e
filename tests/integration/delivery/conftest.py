"""Each test gets a Server Manager with a database of its own, whose delivery it steps by hand."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from git_repository import GitRepository
from managing import World, managing


@pytest.fixture
def world(tmp_path: Path, database_url: str | None) -> Iterator[World]:
    with managing(tmp_path, database_url) as made:
        yield made


@pytest.fixture
def repository(tmp_path: Path) -> GitRepository:
    return GitRepository(tmp_path / "repository")
