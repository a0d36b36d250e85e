"""Each test gets a Server Manager with a database of its own, and a folder of small wheels for an index."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from managing import World, managing
from postgres import KINDS, POSTGRES, fresh_database
from toy_wheels import only_from, toy_wheel


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
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What uv finds: all that the small FedOps needs."""
    folder = tmp_path / "packages"
    toy_wheel(folder, "toybase", "1.1")
    toy_wheel(folder, "toytorch")
    only_from(monkeypatch, folder)
    return folder
