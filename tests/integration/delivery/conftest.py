"""Each test gets a Server Manager with a database of its own, whose delivery it steps by hand."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from git_repository import GitRepository
from managing import World, managing
from postgres import KINDS, POSTGRES, fresh_database


@pytest.fixture(params=KINDS)
def world(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[World]:
    if request.param == "sqlite":
        with managing(tmp_path) as made:
            yield made
        return
    assert POSTGRES
    with (
        fresh_database(POSTGRES, f"test_{uuid.uuid4().hex}") as url,
        managing(tmp_path, url) as made,
    ):
        yield made


@pytest.fixture
def repository(tmp_path: Path) -> GitRepository:
    return GitRepository(tmp_path / "repository")
