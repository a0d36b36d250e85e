"""The first admin's token in a file: made at the first start, readable by its owner only."""

from __future__ import annotations

import logging
import platform
from pathlib import Path

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from fedops.core.errors import Unavailable
from fedops.core.states import Role, TokenKind
from fedops.server.access import tokens
from fedops.server.access.sign_in import FIRST_CODE_SECONDS, issue_code
from fedops.server.database.database import Database
from fedops.server.database.tables import TokenRow, UserRow
from fedops.server.events import event_log
from fedops.server.events.notifications import TokensChanged, notify
from fedops.storage.atomic_files import write_atomic

logger = logging.getLogger("fedops.server")

#: The name of the user that a server makes for itself.
FIRST_ADMIN = "admin"
#: The note of such tokens before there were users.
_FORMER_NOTE = "made at the server's start"
_NOTE_LENGTH = 200


def ensure_admin_token(db: Database, file: Path, now: float) -> bool:
    """Make an admin's token and its file when the file holds no valid one. Whether it did.

    Whatever the file held before is worth nothing from then on.
    """
    try:
        known = read_token(file)
        with db.write() as session:
            secret = _new_secret(session, known, file, now, alone=db.is_sqlite)
            if secret is None:
                return False
            write_token(file, secret)
    except (OSError, UnicodeDecodeError) as error:
        raise Unavailable(f"cannot keep the admin token in {file}: {error}") from error
    logger.info("a new admin token is in %s", file)
    return True


def first_sign_in_code(db: Database, file: Path, now: float) -> str:
    """A code that signs a browser in once as the first admin, whose token the file holds."""
    with db.write() as session:
        principal = tokens.authenticate(session, read_token(file) or "", now)
        return issue_code(session, principal, now, FIRST_CODE_SECONDS).code


def read_token(file: Path) -> str | None:
    """The token that the file holds, if there is one."""
    return file.read_text(encoding="utf-8").strip() if file.is_file() else None


def write_token(file: Path, secret: str) -> None:
    write_atomic(file, f"{secret}\n".encode(), 0o600)


def follow_rotation(file: Path, former: str, secret: str) -> None:
    """Keep the new token in the file if the file holds the former one (its hash)."""
    try:
        known = read_token(file)
        if known is not None and tokens.hash_of(known) == former:
            write_token(file, secret)
    except (OSError, UnicodeDecodeError) as error:
        raise Unavailable(f"cannot keep the admin token in {file}: {error}") from error


def _new_secret(
    session: Session, known: str | None, file: Path, now: float, *, alone: bool
) -> str | None:
    row = tokens.find_token(session, known) if known else None
    if row is not None and _is_admins(session, row, now):
        return None
    user, note = _first_admin(session, now), _note(file)
    _revoke_former(session, user, [note, _FORMER_NOTE] if alone else [note], now)
    made, secret = tokens.issue_token(session, TokenKind.PERSONAL, now, note=note, user_id=user.id)
    event_log.append_event(
        session,
        now,
        event_log.SERVER,
        f"user {user.name}",
        "user.token_created",
        f"token {made.id}",
    )
    return secret


def _is_admins(session: Session, row: TokenRow, now: float) -> bool:
    user = session.get(UserRow, row.user_id) if row.user_id is not None else None
    valid = row.revoked_at is None and (row.expires_at is None or now < row.expires_at)
    return valid and user is not None and user.role is Role.ADMIN and not _is_out(user)


def _is_out(user: UserRow) -> bool:
    return user.disabled_at is not None or user.removed_at is not None


def _first_admin(session: Session, now: float) -> UserRow:
    query = select(UserRow).where(UserRow.role == Role.ADMIN).order_by(UserRow.id)
    found = next((user for user in session.scalars(query) if not _is_out(user)), None)
    if found is None:
        found = UserRow(name=FIRST_ADMIN, role=Role.ADMIN, created_at=now)
        session.add(found)
        session.flush()
    return found


def _note(file: Path) -> str:
    """Names the file, and with it the Server Manager, of which a database may have several."""
    return f"the file {file} on {platform.node()}"[-_NOTE_LENGTH:]


def _revoke_former(session: Session, user: UserRow, notes: list[str], now: float) -> None:
    session.execute(
        update(TokenRow)
        .where(TokenRow.user_id == user.id, TokenRow.note.in_(notes), TokenRow.revoked_at.is_(None))
        .values(revoked_at=now)
    )
    notify(session, TokensChanged())
