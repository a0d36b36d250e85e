"""Databases of earlier versions, with something in them, are brought up to date and back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command

from fedops.server.database import upgrade
from fedops.server.database.database import Database

_DEVICE = (
    "INSERT INTO devices (id, name, public_key, fingerprint, enrolment, info, created_at, "
    "noted_online, process, spool_records, spool_dropped, problems) VALUES "
    "('{id}', '{id}', 'key', '{id}', 'approved', '{{}}', 1.0, true, '{{}}', 0, 0, '[]')"
)


@pytest.fixture
def db(tmp_path: Path, database_url: str | None) -> Iterator[Database]:
    made = Database(database_url or f"sqlite:///{tmp_path}/x.db")
    yield made
    made.close()


def _go_to(db: Database, revision: str) -> None:
    with db._durable.connect() as connection:
        config, current = upgrade.config(connection), upgrade.head()
        step = command.downgrade if revision < current else command.upgrade
        step(config, revision)


def test_devices_of_before_get_numbers_of_their_own(db: Database) -> None:
    db.migrate()
    _go_to(db, "0004")
    with db._durable.begin() as connection:
        for id_ in ("a", "b"):
            connection.execute(sa.text(_DEVICE.format(id=id_)))
    db.migrate()
    query = sa.text("SELECT node_number, present_until FROM devices ORDER BY id")
    with db._durable.connect() as connection:
        first, second = connection.execute(query).all()
    assert first.node_number != second.node_number
    assert all(2**62 <= row.node_number < 2**63 for row in (first, second))
    assert first.present_until is None  # it has to call first
    _go_to(db, "0004")
    with db._durable.connect() as connection:
        assert connection.execute(sa.text("SELECT count(*) FROM run_devices")).scalar_one() == 0
