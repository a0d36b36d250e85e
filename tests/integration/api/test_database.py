"""Transactions, notices, migrations and locks of the database."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import IntegrityError
from sqlalchemy.schema import CreateTable

from fedops.core.errors import Conflict, Unavailable
from fedops.core.states import TASK_TRANSITIONS, InvalidTransition, TaskStatus
from fedops.server.database import compare_and_set, database
from fedops.server.database.database import Database
from fedops.server.database.tables import ArtifactRow, Base, BundleRow, MetaRow, RunRow, TaskRow
from fedops.server.events import event_log
from fedops.server.events.notifications import DeviceChanged, Notice, notify


@pytest.fixture
def db(tmp_path: Path, database_url: str | None) -> Database:
    made = Database(database_url or f"sqlite:///{tmp_path}/new/fedops.db")
    made.migrate()
    return made


@pytest.fixture(autouse=True)
def _closing(db: Database):  # type: ignore[no-untyped-def]
    yield
    db.close()


def test_the_steps_make_exactly_the_tables(db: Database) -> None:
    db.migrate()  # again: nothing to do
    with db._durable.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []


def test_the_tables_are_postgresql_too() -> None:
    for table in Base.metadata.sorted_tables:
        assert str(CreateTable(table).compile(dialect=postgresql.dialect()))


def test_a_newer_database_is_refused(db: Database) -> None:
    with db._durable.begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(Conflict, match="made by a newer FedOps"):
        db.migrate()


def test_a_transaction_is_kept_or_undone_as_a_whole(db: Database) -> None:
    heard: list[Notice] = []
    db.listener = heard.append
    with db.write() as session:
        session.add(MetaRow(key="kept", value="1"))
        notify(session, DeviceChanged("a"), DeviceChanged("b"), DeviceChanged("a"))
        session.flush()
        assert heard == []
    assert heard == [DeviceChanged("a"), DeviceChanged("b")]
    with pytest.raises(ZeroDivisionError):
        _add_and_fail(db)
    assert len(heard) == 2
    with db.read() as session:
        assert [row.key for row in session.scalars(sa.select(MetaRow))] == ["kept"]


def _add_and_fail(db: Database) -> None:
    with db.write() as session:
        session.add(MetaRow(key="undone", value="1"))
        notify(session, DeviceChanged("c"))
        session.flush()
        raise ZeroDivisionError


def test_no_number_that_is_none_gets_into_json(db: Database) -> None:
    refused = (sa.exc.StatementError, ValueError)  # which of them is the driver's choice
    with pytest.raises(refused, match="Out of range float"), db.write() as session:
        session.add(_task("x", config={"a": float("nan")}))


def _task(name: str, **values: object) -> TaskRow:
    return TaskRow(
        name=name,
        status=TaskStatus.DRAFT,
        bundle="0" * 64,
        overrides=[],
        created_at=0.0,
        updated_at=0.0,
        **{"config": {}, **values},
    )


def _with_bundle(session: sa.orm.Session) -> None:
    session.add(ArtifactRow(sha256="0" * 64, size=1, created_at=0.0))
    session.flush()
    session.add(BundleRow(sha256="0" * 64, package="toy", created_at=0.0))
    session.flush()


def test_references_are_checked(db: Database) -> None:
    with pytest.raises(IntegrityError), db.write() as session:
        session.add(_task("x"))


def _run(task: str, ended_at: float | None) -> RunRow:
    return RunRow(
        task=task,
        status="pending",
        status_since=0.0,
        bundle="0" * 64,
        config={},
        overrides=[],
        seed=2**63 - 1,
        rounds=1,
        refused={},
        metrics={},
        created_at=0.0,
        ended_at=ended_at,
    )


def test_the_database_itself_keeps_a_second_active_run_out(db: Database) -> None:
    with db.write() as session:
        _with_bundle(session)
        session.add_all([_task("x"), _task("y")])
        session.flush()
        session.add_all([_run("x", None), _run("x", 1.0), _run("x", 2.0), _run("y", None)])
    with pytest.raises(IntegrityError), db.write() as session:
        session.add(_run("x", None))


def test_a_change_of_state_is_made_by_one_of_many(db: Database) -> None:
    with db.write() as session:
        _with_bundle(session)
        session.add(_task("x"))
    gate = threading.Barrier(10)
    results: list[object] = []

    def archive() -> None:
        with db.read() as session:
            seen = session.get_one(TaskRow, "x")
            gate.wait()
        with db.write() as session:
            row = session.merge(seen, load=False)
            results.append(
                compare_and_set.compare_and_set(session, row, "status", TaskStatus.ARCHIVED)
            )

    threads = [threading.Thread(target=archive) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(map(str, results)) == ["False"] * 9 + ["True"]


def test_a_move_is_checked_and_says_where_from(db: Database) -> None:
    with db.write() as session:
        _with_bundle(session)
        row = _task("x")
        session.add(row)
        session.flush()
        moved = compare_and_set.transition(
            session, row, "status", TASK_TRANSITIONS, TaskStatus.READY
        )
        assert (moved, row.status) == (TaskStatus.DRAFT, TaskStatus.READY)
        assert (
            compare_and_set.transition(session, row, "status", TASK_TRANSITIONS, TaskStatus.READY)
            is None
        )
        with pytest.raises(InvalidTransition):
            compare_and_set.transition(session, row, "status", TASK_TRANSITIONS, TaskStatus.DRAFT)


# --- SQLite ----------------------------------------------------------------------------------


def test_what_is_read_by_its_id_comes_in_the_order_of_ids(db: Database) -> None:
    seen: list[list[int]] = []

    def add() -> None:
        with db.write() as session:
            event_log.append_event(session, 1.0, event_log.SERVER, "server", "second")
        with db.read() as session:
            seen.append([event.id for event in event_log.list_events(session)])

    second = threading.Thread(target=add)
    with db.write() as session:
        event_log.append_event(session, 1.0, event_log.SERVER, "server", "first")
        session.flush()  # it has its id now, and nobody sees it yet
        second.start()
        second.join(0.3)
    second.join()
    assert seen == [[1, 2]]


def test_sqlite_is_durable_where_it_must_be(tmp_path: Path) -> None:
    db = Database(f"sqlite:///{tmp_path}/x.db")
    db.migrate()

    def pragma(session: sa.orm.Session, name: str) -> object:
        return session.execute(sa.text(f"PRAGMA {name}")).scalar_one()

    with db.write() as session:
        assert pragma(session, "journal_mode") == "wal"
        assert pragma(session, "synchronous") == 2  # FULL
        assert pragma(session, "foreign_keys") == 1
    with db.write(durable=False) as session:
        assert pragma(session, "synchronous") == 1  # NORMAL
    db.close()


def test_readers_do_not_wait_for_a_writer_and_see_one_state(tmp_path: Path) -> None:
    db = Database(f"sqlite:///{tmp_path}/x.db")
    db.migrate()
    with db.write() as writing:
        writing.add(MetaRow(key="a", value="1"))
        writing.flush()
        with db.read() as reading:
            assert reading.get(MetaRow, "a") is None
    db.close()


def _add(db: Database) -> None:
    with db.write() as session:
        session.add(MetaRow(key="a", value="1"))


def test_a_database_locked_by_another_program_is_unavailable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "LOCK_SECONDS", 0.1)
    db = Database(f"sqlite:///{tmp_path}/x.db")
    db.migrate()
    other = sqlite3.connect(tmp_path / "x.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(Unavailable, match=r"x\.db is not available: database is locked"):
        _add(db)
    other.execute("ROLLBACK")
    other.close()
    _add(db)
    db.close()


def test_a_file_that_is_no_database_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "x.db").write_bytes(b"not a database, but long enough to look like one" * 50)
    db = Database(f"sqlite:///{tmp_path}/x.db")
    with pytest.raises(Unavailable, match="file is not a database"):
        db.migrate()
    db.close()
