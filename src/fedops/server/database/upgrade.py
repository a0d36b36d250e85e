"""Brings a database to the tables of this program, step by step (Alembic, run at start)."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from fedops.core.errors import Conflict


def config(connection: Connection | None = None) -> Config:
    """Alembic's configuration: the steps packaged beside this module."""
    made = Config()
    made.set_main_option("script_location", "fedops.server.database:migrations")
    made.set_main_option("path_separator", "os")
    made.attributes["connection"] = connection
    return made


@cache
def known_revisions() -> frozenset[str]:
    """The revisions of the database that this program knows."""
    here = ScriptDirectory.from_config(config())
    return frozenset(script.revision for script in here.walk_revisions())


@cache
def head() -> str:
    """The newest revision that this program knows."""
    return ScriptDirectory.from_config(config()).get_current_head() or ""


def upgrade(connection: Connection, before: Callable[[str], None] | None = None) -> None:
    """Make the missing steps. ``Conflict`` when the database is of a newer program.

    ``before`` is called with the revision of a database that is about to be changed.
    """
    current = MigrationContext.configure(connection).get_current_revision()
    if current is not None and current not in known_revisions():
        raise Conflict(
            f"the database was made by a newer FedOps (its revision {current} is not known here); "
            "install that version, or restore a backup made before the upgrade"
        )
    connection.rollback()
    if current == head():
        return
    if current is not None and before is not None:
        before(current)
    command.upgrade(config(connection), "head")
