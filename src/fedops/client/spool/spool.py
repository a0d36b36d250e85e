"""What waits on disk for the server: records in order, kept until the server has them, bounded in size.

When there is too much, the oldest telemetry goes first, then the oldest log lines, and both are counted.
Metrics and events are never dropped. Nothing here can fail its caller: what the disk refuses is held in
memory and tried again.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import sqlite3
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from fedops.core.contracts import DeviceRecord, RecordKind
from fedops.core.errors import Unavailable
from fedops.storage.shortages import shortage_of_sqlite

logger = logging.getLogger("fedops.client.spool")

BATCH_RECORDS = 200
BATCH_BYTES = 1 << 20
RECORD_BYTES = 1 << 18
#: The order in which kinds are given up; what is not listed never is.
EXPENDABLE = (RecordKind.TELEMETRY, RecordKind.LOG)
_HELD_IN_MEMORY = 10_000
#: A full spool is emptied to this part of its limit.
_ROOM = 0.95
_SCHEMA = """
create table if not exists record (
    seq integer primary key autoincrement,
    id text not null unique,
    kind text not null,
    at real not null,
    size integer not null,
    body text not null
);
create index if not exists record_kind on record (kind, seq);
create table if not exists counter (name text primary key, value integer not null);
"""

#: Exactly this class (not one below it): the file is damaged or no database.
_DAMAGED = sqlite3.DatabaseError
_Row = tuple[str, str, float, int, str]  # id, kind, at, size, body


class Spool:
    """A queue of records on disk, for one process with several threads."""

    def __init__(
        self, path: Path, limit_bytes: int, clock: Callable[[], float] = time.time
    ) -> None:
        self._path = path
        self._limit = limit_bytes
        self._clock = clock
        self._changed = threading.Condition()
        self._held: deque[_Row] = deque()
        self._failing = False
        self._closed = False
        self._db = _open(path)
        self._bytes = self._scalar("select coalesce(sum(size), 0) from record")
        self._count = self._scalar("select count(*) from record")
        self._dropped = self._scalar("select coalesce(sum(value), 0) from counter")

    # --- in ----------------------------------------------------------------------------------------

    def put(
        self,
        kind: RecordKind,
        name: str,
        *,
        value: float | None = None,
        text: str = "",
        run_id: int | None = None,
        round: int | None = None,
        data: dict[str, Any] | None = None,
        at: float | None = None,
    ) -> None:
        """Keep one record until the server has it. ``at``: when it happened, if not now."""
        if value is not None and not math.isfinite(value):
            value, text = None, text or str(value)  # JSON has no such number
        record = DeviceRecord(
            id=uuid.uuid4().hex,
            kind=kind,
            name=name[:200],
            value=value,
            text=text[:20_000],
            run_id=run_id,
            round=round,
            data=data or {},
        )
        if len(str(record.data)) > RECORD_BYTES:
            record = record.model_copy(update={"data": {"cut": "more data than a record may hold"}})
        body = record.model_dump_json(exclude={"id", "kind", "age_seconds"}, exclude_defaults=True)
        row = (record.id, str(kind), at or self._clock(), len(body), body)
        with self._changed:
            self._held.append(row)
            self._flush()
            self._changed.notify_all()

    def _flush(self) -> None:
        """Write what is held in memory (lock held)."""
        try:
            with self._db:
                self._db.executemany(
                    "insert into record (id, kind, at, size, body) values (?, ?, ?, ?, ?)",
                    self._held,
                )
        except sqlite3.Error as error:
            self._hold(error)
            return
        self._count += len(self._held)
        self._bytes += sum(row[3] for row in self._held)
        self._held.clear()
        self._failing = False
        if self._bytes > self._limit:
            with contextlib.suppress(sqlite3.Error):
                self._make_room()

    def _hold(self, error: sqlite3.Error) -> None:
        if not self._failing:
            self._failing = True
            lacking = shortage_of_sqlite(error, self._path)
            why = f"{lacking.named('the device')}: {lacking.remedy}" if lacking else str(error)
            logger.warning("the spool cannot be written, records are held in memory: %s", why)
        while len(self._held) > _HELD_IN_MEMORY:
            self._held.popleft()
            self._dropped += 1

    def _make_room(self) -> None:
        """Drop the oldest records of the least value until the rest fits (lock held).

        A little more than that, so that not every record to come has to make room again.
        """
        target = int(self._limit * _ROOM)
        for kind in EXPENDABLE:
            rows = self._db.execute(
                "select seq, size from record where kind = ? order by seq", (str(kind),)
            )
            excess, gone = self._bytes - target, []
            for seq, size in rows:
                if excess <= 0:
                    break
                excess -= size
                gone.append((seq,))
            self._drop(gone, self._bytes - target - excess)
            if excess <= 0:
                return

    def _drop(self, gone: list[tuple[int]], size: int) -> None:
        with self._db:
            self._db.executemany("delete from record where seq = ?", gone)
            self._db.execute(
                "insert into counter values ('dropped', ?) "
                "on conflict (name) do update set value = value + excluded.value",
                (len(gone),),
            )
        self._count -= len(gone)
        self._dropped += len(gone)
        self._bytes -= size

    # --- out ---------------------------------------------------------------------------------------

    def batch(self) -> list[DeviceRecord]:
        """The oldest records, as they are to be sent now."""
        with self._changed:
            if self._held:
                self._flush()
            rows: list[_Row] = self._db.execute(
                "select id, kind, at, size, body from record order by seq limit ?",
                (BATCH_RECORDS,),
            ).fetchall()
        now, total = self._clock(), 0
        batch: list[DeviceRecord] = []
        for id_, kind, at, size, body in rows:
            total += size
            if batch and total > BATCH_BYTES:
                break
            fields = {**json.loads(body), "id": id_, "kind": kind}
            batch.append(DeviceRecord(**fields, age_seconds=max(now - at, 0.0)))
        return batch

    def done(self, ids: Iterable[str]) -> None:
        """The server has these, or will never take them: forget them."""
        sizes: list[int] = []
        with self._changed:
            with self._db:
                for id_ in ids:
                    found = self._db.execute("select size from record where id = ?", (id_,))
                    sizes += [size for (size,) in found.fetchall()]
                    self._db.execute("delete from record where id = ?", (id_,))
            self._count -= len(sizes)
            self._bytes -= sum(sizes)

    def wait(self, timeout: float | None) -> bool:
        """Wait until there is something to send; False when there is nothing still."""
        with self._changed:
            return self._changed.wait_for(
                lambda: bool(self._count or self._held or self._closed), timeout
            )

    @property
    def count(self) -> int:
        """How many records wait."""
        return self._count + len(self._held)

    @property
    def dropped(self) -> int:
        """How many records were given up, ever."""
        return self._dropped

    def close(self) -> None:
        """Wake who waits, and close the file."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            self._db.close()

    def _scalar(self, query: str) -> int:
        return int(self._db.execute(query).fetchone()[0])


def _open(path: Path) -> sqlite3.Connection:
    """The database; a damaged one is set aside and begun anew.

    Raises:
        Unavailable: it cannot be opened now, as on a full disk; what waits in it stays.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        return _connect(path)
    except sqlite3.DatabaseError as error:
        if type(error) is not _DAMAGED:
            lacking = shortage_of_sqlite(error, path)
            why = f"{lacking.named('the device')}: {lacking.remedy}" if lacking else str(error)
            raise Unavailable(
                f"{path} cannot be opened: {why}, then start again; what waits there for the server is "
                "not lost"
            ) from None
        aside = path.with_suffix(".damaged")
        logger.warning("%s is damaged (%s); it is set aside as %s", path, error, aside.name)
        path.replace(aside)
        for leftover in ("-wal", "-shm"):
            path.with_name(path.name + leftover).unlink(missing_ok=True)
        return _connect(path)


def _connect(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, check_same_thread=False, timeout=5.0)
    try:
        db.execute("pragma journal_mode = wal")
        db.execute("pragma synchronous = normal")
        db.executescript(_SCHEMA)
        db.execute("select count(*), sum(size), max(body) from record").fetchone()
    except BaseException:
        db.close()
        raise
    return db
