"""A backup of everything a Server Manager keeps: one file, consistent, made while it runs.

A tar archive: ``manifest.json``, the database as it was at one moment, ``admin-token``, the server's
certificate authority, and every stored file that the database names, checked against its sha256.
"""

from __future__ import annotations

import contextlib
import errno
import io
import json
import sqlite3
import tarfile
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import BinaryIO

from fedops.core.contracts import BackupReport
from fedops.core.errors import Conflict, Invalid, NotFound, Unavailable
from fedops.server.database.backup_lock import no_removals
from fedops.server.database.blob_stores import FOLDER, open_blobs
from fedops.server.database.database import parse_url
from fedops.server.database.last_backup import note_backup
from fedops.server.database.sqlite_copy import copy_database
from fedops.settings import ServerSettings
from fedops.storage.atomic_files import atomic_file

FORMAT = 1
DATABASE, TOKEN, MANIFEST, FILES = "fedops.db", "admin-token", "manifest.json", FOLDER
#: What of the folder ``tls`` cannot be made again: devices have pinned it.
TLS, AUTHORITIES = "tls", ("authority.pem", "previous.pem")


def backup(settings: ServerSettings, target: Path) -> BackupReport:
    """Write a backup of the server's folder. A server that runs there goes on undisturbed.

    Stored files that are damaged are left out and named in the report.

    Raises:
        Conflict: the data is in PostgreSQL, or ``target`` exists.
        NotFound: there is no server's data.
        Unavailable: the disk is full, or something cannot be read.
    """
    source = sqlite_file(settings)
    if not source.is_file():
        raise NotFound(f"there is no server's data in {settings.home}; name its folder with --home")
    if target.exists():
        raise Conflict(f"{target} exists; a backup is never written over another file")
    with _disk_errors(target), contextlib.ExitStack() as held:
        held.enter_context(no_removals(settings.home))
        folder = held.enter_context(tempfile.TemporaryDirectory(dir=target.resolve().parent))
        copy = Path(folder) / DATABASE
        copy_database(source, copy)
        with atomic_file(target, mode=0o600) as archive:
            made = _write(archive, settings, copy, target)
        note_backup(settings.home, made.size)
        return made


def sqlite_file(settings: ServerSettings) -> Path:
    """The database's file. ``Conflict`` says what to do where it is none."""
    url = parse_url(settings.database)
    if url.get_backend_name() != "sqlite" or not url.database:
        raise Conflict(
            "this server keeps its data in PostgreSQL: back it up and bring it back with PostgreSQL's own "
            f"pg_dump and pg_restore; then copy {settings.home / FILES}, {settings.tls_folder} and "
            f"{settings.admin_token_file} (in this order, so that no file is missing)"
        )
    return Path(url.database)


def _write(file: BinaryIO, settings: ServerSettings, database: Path, target: Path) -> BackupReport:
    store = open_blobs(settings)
    names = _stored(database)
    damaged = {sha256: why for sha256 in names if (why := store.check(sha256))}
    good = [sha256 for sha256 in names if sha256 not in damaged]
    manifest = {
        "format": FORMAT,
        "fedops": version("fedops"),
        "created_at": time.time(),
        "files": len(good),
        "damaged": damaged,
    }
    with tarfile.open(fileobj=file, mode="w") as archive:
        _add_text(archive, MANIFEST, json.dumps(manifest, indent=2))
        archive.add(database, DATABASE)
        if settings.admin_token_file.is_file():
            archive.add(settings.admin_token_file, TOKEN)
        for name in AUTHORITIES:
            if (settings.tls_folder / name).is_file():
                archive.add(settings.tls_folder / name, f"{TLS}/{name}")
        for sha256 in good:
            archive.add(store.path(sha256), f"{FILES}/{sha256}")
    return BackupReport(path=str(target), files=len(good), size=file.tell(), damaged=damaged)


def _stored(database: Path) -> list[str]:
    """The files that the database says are there."""
    with contextlib.closing(sqlite3.connect(database)) as connection:
        columns = {row[1] for row in connection.execute("PRAGMA table_info(artifacts)")}
        where = "WHERE removed_at IS NULL" if "removed_at" in columns else ""
        query = f"SELECT sha256 FROM artifacts {where} ORDER BY sha256"
        return [str(row[0]) for row in connection.execute(query)]


def _add_text(archive: tarfile.TarFile, name: str, text: str) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mtime = len(text.encode()), int(time.time())
    archive.addfile(entry, io.BytesIO(text.encode()))


@contextmanager
def _disk_errors(where: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if isinstance(error, FileNotFoundError):
            raise Invalid(f"there is no folder {where.parent} to put a backup in") from None
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        what = "the disk is full" if full else (error.strerror or str(error))
        raise Unavailable(f"the backup {where} cannot be written: {what}") from None
