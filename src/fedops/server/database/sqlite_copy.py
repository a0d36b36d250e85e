"""A copy of an SQLite database, made while others use it."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

from fedops.core.errors import Unavailable


def copy_database(source: Path, target: Path) -> None:
    """A copy of an SQLite database as it is at one moment, whoever writes to it meanwhile."""
    try:
        with (
            contextlib.closing(sqlite3.connect(f"file:{source}?mode=ro", uri=True)) as here,
            contextlib.closing(sqlite3.connect(target)) as there,
        ):
            here.backup(there)
            there.execute("PRAGMA journal_mode=DELETE")
    except sqlite3.Error as error:
        raise Unavailable(f"the database {source} cannot be copied: {error}") from None
