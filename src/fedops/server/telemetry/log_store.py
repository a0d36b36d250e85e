"""What the programs log, kept within a bound: by run, and by device for lines of no run.

Each run and each device has a book of its own. When a book is full, its oldest entries go and are counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from sqlalchemy import ColumnElement, delete, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from fedops.core.contracts import DeviceRecord, EngineLog, LogPage, LogRead, LogSource
from fedops.core.redaction import redact
from fedops.server.database.lookup import require_device as require_device
from fedops.server.database.lookup import require_run
from fedops.server.database.read_models import read_as
from fedops.server.database.tables import AttemptRow, DeviceRow, LogBookRow, LogRow, RunRow

#: A book that is full is emptied to this part of its bound, so that not every entry has to make room.
_KEPT = 0.9
#: An answer holds about this much text at most.
_PAGE_CHARACTERS = 1 << 20
#: Some lines are looked for in so many entries at a time.
LOOKED_THROUGH = 10_000
#: The levels of lines, the gravest last.
LEVELS = ("info", "warning", "error", "critical")
_TRACEBACK = "Traceback (most recent call last)"
#: SQLite takes a limited number of values in one statement.
_CHUNK = 500
#: Beside its text an entry takes about this much.
_ENTRY_BYTES = 100


@dataclass(frozen=True)
class Entry:
    """Some lines, and where they come from."""

    record_id: str
    source: str
    at: float
    text: str
    run_id: int | None = None
    attempt: int | None = None
    round: int | None = None
    device_id: str | None = None

    @property
    def book(self) -> str:
        return f"run {self.run_id}" if self.run_id is not None else f"device {self.device_id}"


def store_entries(session: Session, entries: Sequence[Entry], limit: int) -> int:
    """Keep the entries that are new, ``limit`` bytes of a book. Returns how many. Repeatable."""
    books = sorted({entry.book for entry in entries})  # always in this order: no deadlock
    for book in books:
        _open(session, book)
    rows = [_row(entry) for entry in _fresh(session, books, entries)]
    session.add_all(rows)
    session.flush()
    for book in books:
        _add(session, book, sum(row.size for row in rows if row.book == book))
        _make_room(session, book, limit)
    return len(rows)


def count_dropped(session: Session, book: str, count: int) -> None:
    """So many entries were not taken at all."""
    _open(session, book)
    _add(session, book, 0, count)


def _open(session: Session, book: str) -> None:
    """Have a book and, on databases with many writers, keep others out of it until we are done.

    So its entries become visible in the order of their ids, and who follows them misses none.
    """
    if session.get(LogBookRow, book) is None:
        with suppress(IntegrityError), session.begin_nested():
            session.add(LogBookRow(book=book, bytes=0, dropped=0))
    session.get_one(LogBookRow, book, with_for_update=True, populate_existing=True)


def _fresh(session: Session, books: Sequence[str], entries: Sequence[Entry]) -> list[Entry]:
    by_id = {(entry.book, entry.record_id): entry for entry in entries}
    ids = [entry.record_id for entry in entries]
    for begin in range(0, len(ids), _CHUNK):
        query = select(LogRow.book, LogRow.record_id).where(
            LogRow.book.in_(books), LogRow.record_id.in_(ids[begin : begin + _CHUNK])
        )
        for book, record_id in session.execute(query):
            del by_id[book, record_id]
    return list(by_id.values())


def _row(entry: Entry) -> LogRow:
    text = redact(entry.text)
    size = len(text.encode()) + _ENTRY_BYTES
    return LogRow(**{**vars(entry), "book": entry.book, "text": text, "size": size})


def _add(session: Session, book: str, size: int, dropped: int = 0) -> None:
    change = {"bytes": LogBookRow.bytes + size, "dropped": LogBookRow.dropped + dropped}
    statement = update(LogBookRow).where(LogBookRow.book == book).values(change)
    session.execute(statement.execution_options(synchronize_session=False))


def _make_room(session: Session, book: str, limit: int) -> None:
    held = session.scalars(select(LogBookRow.bytes).where(LogBookRow.book == book)).one()
    if held <= limit:
        return
    excess, last, count = held - int(limit * _KEPT), 0, 0
    freed = 0
    oldest = select(LogRow.id, LogRow.size).where(LogRow.book == book).order_by(LogRow.id)
    for row_id, size in session.execute(oldest):
        if freed >= excess:
            break
        last, count, freed = row_id, count + 1, freed + size
    session.execute(delete(LogRow).where(LogRow.book == book, LogRow.id <= last))
    _add(session, book, -freed, count)


# --- in --------------------------------------------------------------------------------------


def device_entry(device: DeviceRow, record: DeviceRecord, now: float) -> Entry:
    """A log record from a device's spool."""
    known = record.name in (LogSource.CLIENT_MANAGER, LogSource.TRAINING_CLIENT)
    return Entry(
        record_id=record.id,
        source=record.name if known else LogSource.TRAINING_CLIENT.value,
        at=now - record.age_seconds,
        text=record.text,
        run_id=record.run_id,
        round=record.round,
        device_id=device.id,
    )


def engine_entries(
    session: Session, attempt_id: int, entries: Sequence[EngineLog], limit: int, now: float
) -> None:
    """What the FL server of an attempt logged; also of one that is over: its last words matter most."""
    attempt = session.get_one(AttemptRow, attempt_id)
    found = [
        Entry(
            record_id=entry.id,
            source=LogSource.SERVER_APP.value,
            at=now - entry.age_seconds,
            text=entry.text,
            run_id=attempt.run_id,
            attempt=attempt.number,
            round=entry.round,
        )
        for entry in entries
    ]
    store_entries(session, found, limit)


def store_last_words(session: Session, attempt_id: int, text: str, limit: int, now: float) -> None:
    """The last words of a FL server that died. Repeating is harmless."""
    engine_entries(
        session, attempt_id, [EngineLog(id=f"last-words-{attempt_id}", text=text)], limit, now
    )


# --- out -------------------------------------------------------------------------------------


def run_logs(
    session: Session,
    run_id: int,
    *,
    device: str | None = None,
    number: int | None = None,
    source: LogSource | None = None,
    after: int = 0,
    limit: int = 200,
) -> LogPage:
    """The logs of a run, of all programs or some, beyond ``after``."""
    require_run(session, run_id)
    book = f"run {run_id}"
    where = [LogRow.book == book]
    if device is not None:
        where.append(LogRow.device_id == require_device(session, device).id)
    if number is not None:
        where.append(LogRow.round == number)
    if source is not None:
        where.append(LogRow.source == source.value)
    return _page(session, where, book, after, limit)


@dataclass(frozen=True)
class Sought:
    """Which lines of a run one looks for. They are looked for in ``LOOKED_THROUGH`` entries at a time."""

    device: str | None = None
    number: int | None = None
    source: LogSource | None = None
    #: What stands in them, in small or large letters.
    text: str = ""
    #: At least so grave, by the word that a line begins with; "": of any level, and of none.
    level: str = ""

    @property
    def everything(self) -> bool:
        return self == Sought()


@dataclass(frozen=True)
class NewestLogs:
    """The newest lines of a run that one looks for, oldest first."""

    entries: list[LogRead]
    #: How many entries had to go to make room.
    dropped: int
    #: Older ones are before this one. None: there are none.
    older: int | None


def newest_run_logs(
    session: Session, run_id: int, sought: Sought, limit: int, before: int | None = None
) -> NewestLogs:
    """The newest lines of a run, or the newest of those before one."""
    book = f"run {run_id}"
    within = [LogRow.book == book]
    if before is not None:
        within.append(LogRow.id < before)
    ids = select(LogRow.id).where(*within).order_by(LogRow.id.desc())
    most = limit if sought.everything else LOOKED_THROUGH
    floor = session.scalar(ids.offset(most - 1).limit(1))  # an index answers this
    if floor is not None:
        within.append(LogRow.id >= floor)
    query = (
        select(LogRow, DeviceRow.name)
        .outerjoin(DeviceRow, DeviceRow.id == LogRow.device_id)
        .where(*within, *_sought(session, sought))
        .order_by(LogRow.id.desc())
        .limit(limit)
    )
    entries = [_read(row, device) for row, device in session.execute(query)][::-1]
    dropped = session.scalars(select(LogBookRow.dropped).where(LogBookRow.book == book)).first()
    begin = entries[0].id if len(entries) == limit else floor
    older = begin and session.scalar(ids.where(LogRow.id < begin).limit(1))
    return NewestLogs(entries, dropped or 0, begin if older else None)


def _sought(session: Session, sought: Sought) -> list[ColumnElement[bool]]:
    where: list[ColumnElement[bool]] = []
    if sought.device is not None:
        where.append(LogRow.device_id == require_device(session, sought.device).id)
    if sought.number is not None:
        where.append(LogRow.round == sought.number)
    if sought.source is not None:
        where.append(LogRow.source == sought.source.value)
    if sought.text:
        where.append(LogRow.text.icontains(sought.text, autoescape=True))
    if sought.level in LEVELS:
        where.append(_at_least(sought.level))
    return where


def _at_least(level: str) -> ColumnElement[bool]:
    """An entry with a line of this level or a graver one. A traceback is an error, whoever printed it.

    Programs write the level first (``WARNING fedops.client: ...``); what an app prints has none.
    """
    words = [f"{word.upper()} " for word in LEVELS[LEVELS.index(level) :]]
    begins = [*words, _TRACEBACK] if LEVELS.index(level) <= LEVELS.index("error") else words
    lines = [LogRow.text.startswith(one, autoescape=True) for one in begins]
    return or_(*lines, *(LogRow.text.contains(f"\n{one}", autoescape=True) for one in begins))


def device_logs(
    session: Session,
    device: str,
    *,
    within: frozenset[str] | None = None,
    after: int = 0,
    limit: int = 200,
) -> LogPage:
    """The logs of a device, in whatever run or none, beyond ``after``. ``within``: in runs of these tasks."""
    row = require_device(session, device)
    where = [LogRow.device_id == row.id]
    if within is not None:
        where.append(LogRow.run_id.in_(select(RunRow.id).where(RunRow.task.in_(within))))
    return _page(session, where, f"device {row.id}", after, limit)


def newest_device_logs(
    session: Session,
    device_id: str,
    limit: int,
    within: frozenset[str] | None = None,
    sought: Sought | None = None,
) -> list[LogRead]:
    """The newest lines of a device, oldest first. ``within``: in runs of these tasks.

    ``sought``: those among its newest ``LOOKED_THROUGH`` entries that are so.
    """
    query = select(LogRow).where(LogRow.device_id == device_id)
    if sought is not None and not sought.everything:
        newest = query.with_only_columns(LogRow.id).order_by(LogRow.id.desc())
        floor = session.scalar(newest.offset(LOOKED_THROUGH - 1).limit(1)) or 0
        query = query.where(LogRow.id >= floor, *_sought(session, sought))
    if within is not None:
        query = query.where(LogRow.run_id.in_(select(RunRow.id).where(RunRow.task.in_(within))))
    found = session.scalars(query.order_by(LogRow.id.desc()).limit(limit)).all()
    return [_read(row, None) for row in reversed(found)]


def _page(
    session: Session, where: Sequence[ColumnElement[bool]], book: str, after: int, limit: int
) -> LogPage:
    query = (
        select(LogRow, DeviceRow.name)
        .outerjoin(DeviceRow, DeviceRow.id == LogRow.device_id)
        .where(LogRow.id > after, *where)
        .order_by(LogRow.id)
        .limit(limit)
    )
    entries: list[LogRead] = []
    room = _PAGE_CHARACTERS
    for row, device in session.execute(query):
        room -= len(row.text)
        if entries and room < 0:
            break
        entries.append(_read(row, device))
    dropped = session.scalars(select(LogBookRow.dropped).where(LogBookRow.book == book)).first()
    return LogPage(entries=entries, dropped=dropped or 0)


def _read(row: LogRow, device: str | None) -> LogRead:
    return read_as(LogRead, row, device=device)
