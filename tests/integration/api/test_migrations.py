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


_ADMIN = (
    "INSERT INTO tokens (kind, hash, note, created_at, revoked_at) "
    "VALUES ('admin', '{hash}', 'made at the server''s start', {at}, {revoked})"
)


def test_admin_tokens_of_before_become_those_of_the_user_admin(db: Database) -> None:
    db.migrate()
    _go_to(db, "0007")
    with db._durable.begin() as connection:
        for hash_, at, revoked in (("a", 5.0, "7.0"), ("b", 6.0, "NULL")):
            connection.execute(sa.text(_ADMIN.format(hash=hash_, at=at, revoked=revoked)))
    db.migrate()
    query = sa.text(
        "SELECT users.name, users.role, users.created_at, tokens.kind, tokens.hash FROM tokens "
        "JOIN users ON users.id = tokens.user_id ORDER BY tokens.hash"
    )
    with db._durable.connect() as connection:
        found = [tuple(row) for row in connection.execute(query)]
    assert found == [("admin", "admin", 5.0, "personal", hash_) for hash_ in ("a", "b")]
    _go_to(db, "0007")
    with db._durable.connect() as connection:
        kinds = connection.execute(sa.text("SELECT kind FROM tokens")).scalars().all()
    assert kinds == ["admin", "admin"]
