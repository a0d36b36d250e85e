"""Bringing a backup back. What was there is kept aside; nothing is touched before all is checked."""

from __future__ import annotations

import contextlib
import json
import secrets
import shutil
import sqlite3
import tarfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from fedops.core.contracts import RestoreReport
from fedops.core.errors import Conflict, Invalid, NotFound, Unavailable
from fedops.processes.lock import hold_lock
from fedops.server.database.backup import (
    AUTHORITIES,
    DATABASE,
    FILES,
    FORMAT,
    MANIFEST,
    TLS,
    TOKEN,
    sqlite_file,
)
from fedops.server.database.backup_lock import UNFINISHED
from fedops.server.database.blob_stores import open_blobs
from fedops.server.database.upgrade import known_revisions
from fedops.settings import ServerSettings
from fedops.storage.atomic_files import sha256_of
from fedops.storage.blobs import keep

#: Numbers that may have been given out after the backup was made are skipped.
_SKIPPED_RUNS, _SKIPPED_VERSIONS = 1_000, 100
_BLOCK = 1 << 20


def restore(settings: ServerSettings, source: Path, lock: str) -> RestoreReport:
    """Make a server's folder what it was when a backup was made.

    ``lock``: the name of the file that a running server holds.

    Raises:
        Conflict: a server runs on the folder, or its data is in PostgreSQL.
        Invalid, NotFound: the file is no whole backup; nothing was changed.
    """
    sqlite_file(settings)
    home = settings.home
    if not source.is_file():
        raise NotFound(f"there is no backup {source}")
    try:
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        with hold_lock(home / lock, "a Server Manager"), _staging(home) as staging:
            files = _unpack(source, staging)
            _check_database(staging / DATABASE)
            _skip_numbers(staging / DATABASE)
            _put(settings, staging)
            aside = _swap(settings, staging)
    except OSError as error:
        raise Unavailable(f"{home} cannot be restored: {error.strerror or error}") from None
    return RestoreReport(home=str(home), files=files, aside=str(aside) if aside else None)


@contextmanager
def _staging(home: Path) -> Iterator[Path]:
    """A folder on the same disk, gone in the end whatever happens."""
    for left in home.glob(".restore-*"):
        shutil.rmtree(left, ignore_errors=True)
    folder = home / f".restore-{secrets.token_hex(6)}"
    folder.mkdir(mode=0o700)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


# --- reading and checking --------------------------------------------------------------------


def _unpack(source: Path, staging: Path) -> int:
    """Copy what belongs into a backup, each file checked. Returns how many stored files there are."""
    (staging / FILES).mkdir()
    try:
        with tarfile.open(source, mode="r:") as archive:
            for entry in archive:
                target = _target(entry, staging)
                content = archive.extractfile(entry)
                assert content is not None  # it is a regular file
                _copy(content, target)
    except (tarfile.TarError, EOFError) as error:
        raise Invalid(f"{source} is no whole backup: {error}") from None
    return _require_whole(source, staging)


def _target(entry: tarfile.TarInfo, staging: Path) -> Path:
    """Where a file of the archive goes. Never anywhere else than below ``staging``."""
    folder, _, name = entry.name.rpartition("/")
    if entry.isreg() and not folder and name in (DATABASE, TOKEN, MANIFEST):
        return staging / name
    if entry.isreg() and folder == TLS and name in AUTHORITIES:
        return staging / TLS / name
    digest = len(name) == 64 and set(name) <= set("0123456789abcdef")
    if entry.isreg() and folder == FILES and digest:
        return staging / FILES / name[:2] / name[2:]
    raise Invalid(f"this is no backup of a FedOps server: it holds '{entry.name[:200]}'")


def _copy(content: IO[bytes], target: Path) -> None:
    target.parent.mkdir(exist_ok=True, mode=0o700)
    with target.open("xb") as file:
        shutil.copyfileobj(content, file, _BLOCK)
    if target.name in (TOKEN, *AUTHORITIES):
        target.chmod(0o600)


def _require_whole(source: Path, staging: Path) -> int:
    try:
        manifest = json.loads((staging / MANIFEST).read_text())
        made_as, count = int(manifest["format"]), int(manifest["files"])
    except (OSError, ValueError, KeyError, TypeError):
        raise Invalid(f"{source} is no backup of a FedOps server: it has no manifest") from None
    if made_as > FORMAT:
        raise Conflict(f"{source} was made by a newer FedOps; bring it back with that one")
    stored = [path for path in (staging / FILES).rglob("*") if path.is_file()]
    damaged = [p for p in stored if sha256_of(p) != p.parent.name + p.name]
    if damaged or len(stored) != count or not (staging / DATABASE).is_file():
        raise Invalid(
            f"{source} is no whole backup: {len(stored)} of {count} files, {len(damaged)} of them damaged"
        )
    return count


def _check_database(file: Path) -> None:
    try:
        with contextlib.closing(sqlite3.connect(file)) as connection:
            (said,) = connection.execute("PRAGMA quick_check").fetchone()
            found = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    except sqlite3.Error as error:
        raise Invalid(f"the database in the backup is damaged: {error}") from None
    if said != "ok":
        raise Invalid(f"the database in the backup is damaged: {said}")
    if found is None or found[0] not in known_revisions():
        raise Conflict(
            "the backup was made by a newer FedOps (its database's revision is not known here); "
            "bring it back with that version"
        )


def _skip_numbers(file: Path) -> None:
    """Runs and versions made after the backup are gone; their numbers are not given out again.

    Devices keep state by the number of a run, and a version that was downloaded keeps its name.
    """
    with contextlib.closing(sqlite3.connect(file)) as connection, connection:
        connection.execute(
            "INSERT INTO sqlite_sequence (name, seq) SELECT 'runs', 0 "
            "WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = 'runs')"
        )
        connection.execute(
            "UPDATE sqlite_sequence SET seq = seq + ? WHERE name = 'runs'", (_SKIPPED_RUNS,)
        )
        connection.execute(
            "UPDATE tasks SET next_version = next_version + ? WHERE next_version > 0",
            (_SKIPPED_VERSIONS,),
        )


def _put(settings: ServerSettings, staging: Path) -> None:
    """Where the files are in a bucket, bring them back there; what is there already stays what it is."""
    if settings.blobs_url is not None:
        store = open_blobs(settings)
        for path in (staging / FILES).glob("??/*"):
            keep(store.adopt(path))


# --- moving ----------------------------------------------------------------------------------


def _swap(settings: ServerSettings, staging: Path) -> Path | None:
    """Put what was there aside and the backup in its place. Returns where the old data is."""
    home, database = settings.home, sqlite_file(settings)
    (home / UNFINISHED).touch()
    old = [database.with_name(database.name + end) for end in ("", "-wal", "-shm", "-journal")]
    old += [home / FILES, settings.admin_token_file]
    if (staging / TLS).exists():  # else devices go on with the authority that they know
        old.append(settings.tls_folder)
    old = [path for path in old if path.exists()]
    aside = None
    if old:
        stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
        aside = home / f"before-restore-{stamp}-{secrets.token_hex(2)}"
        aside.mkdir(mode=0o700)
        for path in old:
            path.rename(aside / path.name)
    database.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(staging / DATABASE, database)
    (staging / FILES).rename(home / FILES)
    if (staging / TOKEN).exists():
        (staging / TOKEN).rename(settings.admin_token_file)
    if (staging / TLS).exists():
        (staging / TLS).rename(settings.tls_folder)
    (home / UNFINISHED).unlink()
    return aside
