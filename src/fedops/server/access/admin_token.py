"""The admin token's file: made at the first start, readable by its owner only."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from fedops.core.errors import Unavailable
from fedops.server.access import tokens
from fedops.server.database.database import Database

logger = logging.getLogger("fedops.server")


def ensure_admin_token(db: Database, file: Path, now: float) -> bool:
    """Make an admin token and its file when there is no valid one. Whether it did."""
    try:
        known = file.read_text(encoding="utf-8").strip() if file.is_file() else None
        with db.write() as session:
            secret = tokens.ensure_admin_token(session, known, now)
            if secret is None:
                return False
            _write(file, secret)
    except (OSError, UnicodeDecodeError) as error:
        raise Unavailable(f"cannot keep the admin token in {file}: {error}") from error
    logger.info("a new admin token is in %s", file)
    return True


def _write(file: Path, secret: str) -> None:
    """Never readable by others, not even for a moment."""
    temporary = file.with_name(f".{file.name}.new")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        stream.write(secret + "\n")
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(file)
