"""Whether a server is well: what it met not long ago, and what it would meet now."""

from __future__ import annotations

from pathlib import Path

from fedops.core.contracts import Health
from fedops.core.reasons.shortages import Shortage
from fedops.server.database.database import Database
from fedops.storage.shortages import shortages, try_folder


def find_shortage(home: Path) -> Shortage | None:
    """What the server lacks now, if anything."""
    return shortages.current or try_folder(home)


def health_of(db: Database, home: Path) -> Health:
    """``Unavailable`` when the database does not answer."""
    with db.read() as session:
        session.connection()
    shortage = find_shortage(home)
    return Health(status="degraded", why=shortage.short()) if shortage else Health(status="ok")
