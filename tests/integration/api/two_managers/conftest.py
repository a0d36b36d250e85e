"""Each test gets a database, a folder of files and two Server Managers on them."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest
from manager_pair import POSTGRES, Manager, manager
from postgres import fresh_database


@pytest.fixture
def url(migrated_template: str) -> Iterator[str]:
    assert POSTGRES
    with fresh_database(POSTGRES, f"two_{uuid.uuid4().hex}", migrated_template) as made:
        yield made


@pytest.fixture
def files(tmp_path: Path) -> Path:
    folder = tmp_path / "shared"
    folder.mkdir()
    return folder


@pytest.fixture
def two(tmp_path: Path, url: str, files: Path) -> Iterator[tuple[Manager, Manager]]:
    """The one that leads, and the other. They end at the same time."""
    lives = ExitStack(), ExitStack()
    try:
        first, second = (
            life.enter_context(manager(tmp_path, name, url, files))
            for life, name in zip(lives, "ab", strict=True)
        )
        assert (first.leads, second.leads) == (True, False)
        yield first, second
    finally:
        with ThreadPoolExecutor() as pool:
            list(pool.map(ExitStack.close, lives))
