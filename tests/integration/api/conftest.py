"""Each test gets a Server Manager with a migrated database of its own."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

sys.path.insert(0, str(Path(__file__).parent.parent))

from managing import World, managing

#: A PostgreSQL database that tests may empty, e.g. postgresql+psycopg://user@host/db
POSTGRES = os.environ.get("FEDOPS_TEST_POSTGRES")
KINDS = ["sqlite", "postgresql"] if POSTGRES else ["sqlite"]


@pytest.fixture(params=KINDS)
def database_url(request: pytest.FixtureRequest) -> str | None:
    """None: SQLite in the server's folder."""
    if request.param == "sqlite":
        return None
    assert POSTGRES
    engine = sa.create_engine(POSTGRES)
    with engine.begin() as connection:
        connection.execute(sa.text("DROP SCHEMA public CASCADE"))
        connection.execute(sa.text("CREATE SCHEMA public"))
    engine.dispose()
    return POSTGRES


@pytest.fixture
def world(tmp_path: Path, database_url: str | None) -> Iterator[World]:
    with managing(tmp_path, database_url) as made:
        yield made
