"""The database: engines, transactions and migrations. The only place that commits.

SQLite runs in WAL mode. A transaction that writes takes the write lock at its beginning, so that it
waits for another instead of failing in the middle. ``write`` is on disk when it returns;
``write(durable=False)`` (heartbeats, progress) may lose its last moments in a power failure, nothing else.
"""

from __future__ import annotations

import json
import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

from pydantic_core import from_json
from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DataError, DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session

from fedops.core.errors import Invalid, Unavailable
from fedops.core.reasons.shortages import Lack, Shortage, lack_of_postgresql
from fedops.server.database import upgrade
from fedops.server.database.after_commit import Listener, Publisher, take
from fedops.server.database.sqlite_copy import copy_database
from fedops.storage.shortages import shortage_of_sqlite, shortages

logger = logging.getLogger("fedops.server")

#: How long a transaction waits for another one's lock. Seconds.
LOCK_SECONDS = 15.0
#: Of SQLite, exactly this class (not one below it): the file is damaged or no database.
_DAMAGED = sqlite3.DatabaseError
#: A reading transaction of PostgreSQL sees what was there at its beginning, as SQLite's does anyway.
_ONE_STATE = {"isolation_level": "REPEATABLE READ"}
#: Of PostgreSQL's advisory locks: who writes, who changes the tables, who gives out upload slots.
#: Any numbers, but always these.
WRITING, MIGRATING, SLOTS = 7_026_001, 7_026_002, 7_026_003
#: A process that stands still in the middle of a transaction loses it, so that others can write. Seconds.
STANDSTILL_SECONDS = 20.0
#: A session as ``Database.read`` gives it, for who only hands it on.
ReadSession: TypeAlias = Session
_dump = partial(json.dumps, allow_nan=False, separators=(",", ":"))


def parse_url(text: str) -> URL:
    """The URL of an SQLite or PostgreSQL database. ``Invalid``, without its password, for any other."""
    shown = "postgresql+psycopg://USER:PASSWORD@HOST/NAME"
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        raise Invalid(f"FEDOPS_DATABASE_URL is no URL; it looks like {shown}") from None
    if url.drivername in ("postgres", "postgresql"):  # of its drivers ours is meant
        url = url.set(drivername="postgresql+psycopg")
    if url.get_backend_name() not in ("sqlite", "postgresql"):
        raise Invalid(
            f"FEDOPS_DATABASE_URL names {url.get_backend_name()}: it is PostgreSQL ({shown}), or SQLite"
        )
    return url


class Database:
    """One database, SQLite or PostgreSQL, by its SQLAlchemy URL."""

    def __init__(self, url: str, listener: Listener | None = None) -> None:
        self.url = parse_url(url)
        self.listener = listener
        #: Who tells other Server Managers, if there may be any.
        self.publish: Publisher | None = None
        self._durable = self._engine("FULL")
        self._fast = self._engine("NORMAL") if self.is_sqlite else self._durable
        # One writer at a time. SQLite has no more, and its own waiting sleeps and tries; in PostgreSQL rows
        # become visible in the order of their ids, so that who pages by id ("after") misses none. There an
        # advisory lock keeps other processes out, too.
        self._writing = threading.Lock()
        #: Told how long each transaction waited for its turn to write. Seconds.
        self.waited: Callable[[float], None] = lambda seconds: None

    @property
    def is_sqlite(self) -> bool:
        return self.url.get_backend_name() == "sqlite"

    def migrate(self) -> None:
        """Bring the tables up to date, after a backup of what there is.

        ``Conflict`` when a newer FedOps made them.
        """
        with (
            _in_words(self.where),
            self._one_migration(),
            self._durable.connect() as connection,
        ):
            upgrade.upgrade(connection, self._back_up)

    @contextmanager
    def _one_migration(self) -> Iterator[None]:
        """Two Server Managers that start together change the tables once."""
        if self.is_sqlite:
            yield
            return
        with self._durable.connect() as guard:
            guard.exec_driver_sql(f"SELECT pg_advisory_xact_lock({MIGRATING})")
            yield

    def _back_up(self, revision: str) -> None:
        """Copy the database before it is changed."""
        if not self.is_sqlite or not self.url.database:
            logger.warning(
                "the database %s is brought from revision %s to this program's",
                self.where,
                revision,
            )
            return
        file = Path(self.url.database)
        stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
        copy = file.parent / "backups" / f"{file.stem}-{revision}-{stamp}.db"
        try:
            copy.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise Unavailable(
                f"the database cannot be copied to {copy} before it is changed: {error.strerror}"
            ) from None
        copy_database(file, copy)
        logger.info("the database is brought up to date; as it was, it is in %s", copy)

    @property
    def where(self) -> str:
        """The database as one may show it: without password."""
        return self.url.render_as_string(hide_password=True)

    def close(self) -> None:
        self._durable.dispose()
        self._fast.dispose()

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A session that sees one state of the database and changes nothing."""
        bind = self._fast if self.is_sqlite else self._fast.execution_options(**_ONE_STATE)
        with _in_words(self.where), Session(bind) as session:
            yield session

    @contextmanager
    def write(self, *, durable: bool = True) -> Iterator[Session]:
        """One transaction: committed at the end of the block, undone when the block raises."""
        engine = self._durable if durable else self._fast
        bind = engine.execution_options(fedops_write=True)
        with _in_words(self.where), self._turn(), Session(bind) as session:
            yield session
            notices = take(session)
            if self.publish:
                self.publish(session, notices)
            session.commit()
            shortages.mended(_place(self.where))
            # Before the next one begins to write, so that what is told comes in the order of the commits.
            self._send(notices)

    @contextmanager
    def aside(self) -> Iterator[Session]:
        """A short transaction about what is no part of the record: it waits for no turn, and may be lost.

        It tells nobody anything. What it locks, nothing else writes.
        """
        with _in_words(self.where), Session(self._fast) as session:
            yield session
            session.commit()

    @contextmanager
    def still(self) -> Iterator[None]:
        """While nothing is written by this process, and all that it wrote was told."""
        with self._turn():
            yield

    @contextmanager
    def _turn(self) -> Iterator[None]:
        began = time.perf_counter()
        if not self._writing.acquire(timeout=LOCK_SECONDS):
            raise Unavailable(
                f"the database {self.where} is busy: no turn to write within {LOCK_SECONDS:.0f} s"
            )
        try:
            self.waited(time.perf_counter() - began)
            yield
        finally:
            self._writing.release()

    def tell(self, notice: Any) -> None:
        """Pass a notice on, as after a commit of our own."""
        if self.listener:
            self.listener(notice)

    def _send(self, notices: list[Any]) -> None:
        for notice in notices:
            self.tell(notice)

    def _engine(self, synchronous: str) -> Engine:
        if not self.is_sqlite:
            return _postgresql(self.url)
        if self.url.database:
            Path(self.url.database).parent.mkdir(parents=True, exist_ok=True)
        engine = create_engine(
            self.url,
            json_serializer=_dump,
            json_deserializer=from_json,
            pool_size=20,
            max_overflow=60,
            connect_args={"timeout": LOCK_SECONDS, "check_same_thread": False},
        )
        event.listen(engine, "connect", partial(_set_up_sqlite, synchronous))
        event.listen(engine, "begin", partial(_begin_sqlite, _place(self.where)))
        return engine


def _postgresql(url: URL) -> Engine:
    try:
        engine = create_engine(
            url,
            json_serializer=_dump,
            json_deserializer=from_json,
            pool_pre_ping=True,
            pool_size=20,
            max_overflow=40,
        )
    except ModuleNotFoundError as error:
        raise Invalid(
            f"PostgreSQL needs '{error.name}', which is not installed: pip install 'fedops[postgres]', "
            "and let FEDOPS_DATABASE_URL begin with postgresql+psycopg://"
        ) from None
    event.listen(engine, "connect", _set_up_postgresql)
    event.listen(engine, "begin", _begin_postgresql)
    return engine


def _set_up_sqlite(synchronous: str, connection: sqlite3.Connection, _: Any) -> None:
    connection.isolation_level = None  # transactions are begun below, not by the driver
    for pragma in ("journal_mode=WAL", f"synchronous={synchronous}", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _set_up_postgresql(connection: Any, _: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"SET lock_timeout = {int(LOCK_SECONDS * 1000)}")
    connection.commit()


def _begin_sqlite(place: str, connection: Connection) -> None:
    if not connection.get_execution_options().get("fedops_write"):
        connection.exec_driver_sql("BEGIN")
        return
    locked = Shortage(Lack.DATABASE, place, stops_writing=True)
    with shortages.awaiting(locked):  # nobody of ours holds it: we take turns
        connection.exec_driver_sql("BEGIN IMMEDIATE")


def _begin_postgresql(connection: Connection) -> None:
    if connection.get_execution_options().get("fedops_write"):
        connection.exec_driver_sql(_TAKE_TURN)


_TAKE_TURN = (
    f"SELECT set_config('idle_in_transaction_session_timeout', '{STANDSTILL_SECONDS:.0f}s', true), "
    f"pg_advisory_xact_lock({WRITING})"
)


@contextmanager
def _in_words(where: str) -> Iterator[None]:
    """A database that is locked, full, damaged or away is no bug of ours, nor what no database keeps."""
    try:
        yield
    except PoolTimeout as error:
        raise Unavailable(f"the database {where} is busy: no connection is free") from error
    except DataError as error:  # PostgreSQL keeps no NUL in a text, and no larger numbers
        logger.warning("a value is none that the database keeps: %s", error.orig)
        raise Invalid(f"the database cannot keep this: {str(error.orig).strip()}") from error
    except DBAPIError as error:
        away = isinstance(error, OperationalError) or error.connection_invalidated
        if not away and type(error.orig) is not _DAMAGED:
            raise
        raise Unavailable(_said(error.orig, where)) from error
    except sqlite3.DatabaseError as error:  # while setting up a connection
        raise Unavailable(_said(error, where)) from error


def _said(error: BaseException | None, where: str) -> str:
    """What keeps the database from its work, and what one can do about it."""
    text = str(error).strip()
    shortage = _shortage(error, _place(where))
    if shortage is not None:
        shortages.note(shortage)
    if "locked" in text or "lock timeout" in text:
        text += "; another program holds it: nothing was changed, repeat when it is done"
    elif shortage is not None:
        return f"{shortage.named()}; {shortage.remedy} and repeat: nothing was changed"
    return f"the database {where} is not available: {text}"


def _shortage(error: BaseException | None, place: str) -> Shortage | None:
    if isinstance(error, sqlite3.Error):
        return shortage_of_sqlite(error, Path(place))
    lack = lack_of_postgresql(getattr(error, "sqlstate", None))
    return Shortage(lack, place, stops_writing=True) if lack else None


def _place(where: str) -> str:
    """Of SQLite its file; of PostgreSQL its URL."""
    return where.removeprefix("sqlite:///")
