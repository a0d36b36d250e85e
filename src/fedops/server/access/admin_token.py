"""The admin token's file: made at the first start, readable by its owner only."""

from __future__ import annotations

import logging
from pathlib import Path

from fedops.core.errors import Unavailable
from fedops.server.access import tokens
from fedops.server.database.database import Database
from fedops.storage.atomic_files import write_atomic

logger = logging.getLogger("fedops.server")


def ensure_admin_token(db: Database, file: Path, now: float) -> bool:
    """Make an admin token and its file when there is no valid one. Whether it did."""
    try:
        known = file.read_text(encoding="utf-8").strip() if file.is_file() else None
        with db.write() as session:
            secret = tokens.ensure_admin_token(session, known, now)
            if secret is None:
                return False
            write_atomic(file, f"{secret}\n".encode(), 0o600)
    except (OSError, UnicodeDecodeError) as error:
        raise Unavailable(f"cannot keep the admin token in {file}: {error}") from error
    logger.info("a new admin token is in %s", file)
    return True
