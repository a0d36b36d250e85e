"""The spool keeps order, survives restarts, drops only what is of low value, and never fails."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from fedops.client.spool.spool import BATCH_RECORDS, Spool
from fedops.core.contracts import RecordKind
from fedops.core.errors import Unavailable
from fedops.testing import FakeClock

MIB = 1 << 20


def test_records_come_out_in_order_until_they_are_done(tmp_path: Path) -> None:
    clock = FakeClock()
    spool = Spool(tmp_path / "spool.db", MIB, clock)
    spool.put(RecordKind.METRIC, "loss", value=0.5, run_id=7, round=2)
    clock.advance(10)
    spool.put(RecordKind.EVENT, "restarted", text="because", data={"code": 1})
    clock.advance(5)
    first, second = spool.batch()
    assert (first.name, first.value, first.run_id, first.round) == ("loss", 0.5, 7, 2)
    assert (second.name, second.text, second.data) == ("restarted", "because", {"code": 1})
    assert (first.age_seconds, second.age_seconds) == (15.0, 5.0)
    assert [r.id for r in spool.batch()] == [first.id, second.id]
    spool.done([first.id, "unknown"])
    assert [r.id for r in spool.batch()] == [second.id]
    assert spool.count == 1
    spool.close()


def test_what_is_not_done_survives_a_restart(tmp_path: Path) -> None:
    clock = FakeClock()
    spool = Spool(tmp_path / "spool.db", MIB, clock)
    for number in range(3):
        spool.put(RecordKind.EVENT, f"e{number}")
    ids = [r.id for r in spool.batch()]
    spool.close()
    clock.advance(100)
    again = Spool(tmp_path / "spool.db", MIB, clock)
    assert again.count == 3
    assert [r.id for r in again.batch()] == ids
    assert again.batch()[0].age_seconds == 100.0
    again.close()


def test_a_clock_set_back_gives_no_negative_age(tmp_path: Path) -> None:
    clock = FakeClock()
    spool = Spool(tmp_path / "spool.db", MIB, clock)
    spool.put(RecordKind.EVENT, "e")
    clock.advance(-3_600)
    assert spool.batch()[0].age_seconds == 0.0
    spool.close()


def test_too_much_drops_telemetry_then_logs_oldest_first_and_counts(tmp_path: Path) -> None:
    limit = 20_000
    spool = Spool(tmp_path / "spool.db", limit)
    spool.put(RecordKind.METRIC, "loss", value=1.0)
    for number in range(10):
        spool.put(RecordKind.TELEMETRY, f"t{number}", text="x" * 1_000)
    for number in range(30):
        spool.put(RecordKind.LOG, f"l{number}", text="x" * 1_000)
    spool.put(RecordKind.EVENT, "end")
    names = [r.name for r in spool.batch()]
    assert names[0] == "loss"
    assert names[-1] == "end"
    assert not [n for n in names if n.startswith("t")]
    logs = [n for n in names if n.startswith("l") and n != "loss"]
    assert logs == [f"l{n}" for n in range(30 - len(logs), 30)]
    assert 15 <= len(logs) < 20
    assert spool.dropped == 40 - len(logs)
    assert spool.count == len(names)
    spool.close()
    again = Spool(tmp_path / "spool.db", limit)
    assert again.dropped == 40 - len(logs)
    again.close()


def test_metrics_and_events_are_never_dropped(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool.db", 1_000)
    for number in range(50):
        spool.put(RecordKind.EVENT, f"e{number}", text="x" * 100)
    assert spool.count == 50
    assert spool.dropped == 0
    spool.close()


def test_a_batch_is_bounded(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool.db", 100 * MIB)
    for _ in range(BATCH_RECORDS + 5):
        spool.put(RecordKind.EVENT, "e")
    assert len(spool.batch()) == BATCH_RECORDS
    spool.done([r.id for r in spool.batch()])
    for _ in range(100):
        spool.put(RecordKind.LOG, "l", text="x" * 20_000)
    assert 50 <= len(spool.batch()) < 60
    spool.close()


def test_a_file_that_cannot_be_opened_now_is_not_damaged(tmp_path: Path) -> None:
    path = tmp_path / "spool.db"
    path.mkdir()  # stands for a full disk or another user's file: SQLite cannot open it either
    with pytest.raises(Unavailable, match="cannot be opened"):
        Spool(path, MIB)
    assert path.is_dir()
    assert not path.with_suffix(".damaged").exists()


def test_a_damaged_file_is_set_aside(tmp_path: Path) -> None:
    path = tmp_path / "spool.db"
    path.write_bytes(b"this is no database" * 100)
    spool = Spool(path, MIB)
    spool.put(RecordKind.EVENT, "e")
    assert spool.count == 1
    assert path.with_suffix(".damaged").exists()
    spool.close()


def test_what_the_disk_refuses_is_held_and_written_later(tmp_path: Path) -> None:
    path = tmp_path / "spool.db"
    spool = Spool(path, MIB)
    spool.put(RecordKind.EVENT, "before")
    spool._db.execute("pragma query_only = 1")  # as a disk that takes nothing more
    for number in range(3):
        spool.put(RecordKind.EVENT, f"held{number}")
    assert spool.count == 4
    assert [r.name for r in spool.batch()] == ["before"]
    spool._db.execute("pragma query_only = 0")
    assert [r.name for r in spool.batch()] == ["before", "held0", "held1", "held2"]
    assert spool.count == 4
    spool.close()
    with sqlite3.connect(path) as db:
        assert db.execute("select count(*) from record").fetchone() == (4,)
    db.close()


def test_what_the_disk_does_not_forget_is_counted_still(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool.db", MIB)
    for name in ("first", "second"):
        spool.put(RecordKind.EVENT, name)
    first, second = spool.batch()
    spool._db.execute(
        "create temp trigger full before delete on record when old.seq = 2 "
        "begin select raise(abort, 'database or disk is full'); end"
    )
    for _ in range(3):
        with pytest.raises(sqlite3.Error, match="full"):
            spool.done([first.id, second.id])
    assert spool.count == 2
    spool._db.execute("drop trigger full")
    spool.done([first.id, second.id])
    assert spool.count == 0
    spool.close()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_metric_that_is_no_number_is_refused_here(tmp_path: Path, value: float) -> None:
    spool = Spool(tmp_path / "spool.db", MIB)
    spool.put(RecordKind.METRIC, "loss", value=value)
    (record,) = spool.batch()
    assert record.value is None
    assert record.text == str(value)
    spool.close()
