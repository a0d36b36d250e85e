"""Brings a database to the tables of this program, step by step (Alembic, run at start)."""

from __future__ import annotations

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from fedops.core.errors import Conflict


def config(connection: Connection | None = None) -> Config:
    """Alembic's configuration: the steps packaged beside this module."""
    made = Config()
    made.set_main_option("script_location", "fedops.server:migrations")
    made.set_main_option("path_separator", "os")
    made.attributes["connection"] = connection
    return made


def upgrade(connection: Connection) -> None:
    """Make the missing steps. ``Conflict`` when the database is of a newer program."""
    here = ScriptDirectory.from_config(config())
    current = MigrationContext.configure(connection).get_current_revision()
    known = {script.revision for script in here.walk_revisions()}
    if current is not None and current not in known:
        raise Conflict(
            f"the database was made by a newer FedOps (its revision {current} is not known here); "
            "install that version, or restore a backup made before the upgrade"
        )
    connection.rollback()
    if current != here.get_current_head():
        command.upgrade(config(connection), "head")
