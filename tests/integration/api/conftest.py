"""Each test gets a Server Manager with a migrated database of its own."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from managing import World, managing
from postgres import KINDS, POSTGRES, fresh_database

from fedops.server.database.database import Database


@pytest.fixture(scope="session")
def migrated_template() -> Iterator[str]:
    """The name of a PostgreSQL database that has the tables and nothing in them."""
    assert POSTGRES
    name = f"template_{uuid.uuid4().hex}"
    with fresh_database(POSTGRES, name) as url:
        made = Database(url)
        made.migrate()
        made.close()
        yield name


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite database of the same."""
    file = tmp_path_factory.mktemp("template") / "fedops.db"
    made = Database(f"sqlite:///{file}")
    made.migrate()
    made.close()
    return file


@pytest.fixture(params=KINDS)
def database_url(request: pytest.FixtureRequest) -> Iterator[str | None]:
    """None: SQLite in the server's folder."""
    if request.param == "sqlite":
        yield None
        return
    assert POSTGRES
    template = request.getfixturevalue("migrated_template")
    with fresh_database(POSTGRES, f"test_{uuid.uuid4().hex}", template) as url:
        yield url


@pytest.fixture
def world(
    tmp_path: Path, database_url: str | None, request: pytest.FixtureRequest
) -> Iterator[World]:
    if database_url is None:
        (tmp_path / "server").mkdir(mode=0o700)
        shutil.copy(request.getfixturevalue("migrated_file"), tmp_path / "server")
    with managing(tmp_path, database_url) as made:
        yield made


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A server with its pages. One for all that look at them."""
    with managing(tmp_path_factory.mktemp("pages"), dashboard=True) as world:
        yield world
