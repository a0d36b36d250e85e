"""Databases with all tables, of which each test gets its own, and what makes servers in a test cheaper."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest
from compiled_once import compiled_once
from postgres import KINDS, POSTGRES, fresh_database

from fedops.server.database.database import Database


@pytest.fixture(scope="session", autouse=True)
def statements_are_compiled_once() -> Iterator[None]:
    with compiled_once():
        yield


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
