"""Users: added, changed, disabled, removed. There is always one that may do so."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from fedops.core.contracts import UserCreate, UserRead, UserUpdate
from fedops.core.errors import Conflict, Invalid, NotFound
from fedops.core.states import Role
from fedops.core.suggestions import did_you_mean
from fedops.server.access import user_tokens
from fedops.server.database.read_models import read_as
from fedops.server.database.tables import EventRow, UserRow
from fedops.server.events import event_log

#: The event of a sign-in.
SIGNED_IN = "user.signed_in"
#: Who may be limited to named tasks.
_LIMITABLE = (Role.OPERATOR, Role.VIEWER)


def require_user(session: Session, name: str) -> UserRow:
    """The user, or ``NotFound`` naming those there are."""
    row = find_user(session, name)
    if row is None:
        known = [user.name for user in _present(session)]
        guess = did_you_mean(name, known) or f"; there are: {', '.join(known[:20])}"
        raise NotFound(f"there is no user '{name}'{guess}")
    return row


def find_user(session: Session, name: str) -> UserRow | None:
    """The user of this name, disabled or not; None when there is none, or was."""
    query = select(UserRow).where(UserRow.name == name, UserRow.removed_at.is_(None))
    return session.scalars(query).one_or_none()


def is_any_known(session: Session) -> bool:
    """Whether there is a user, or ever was one."""
    return session.scalars(select(UserRow.id).limit(1)).first() is not None


def list_users(session: Session) -> list[UserRead]:
    """All users, by name."""
    return [user_read(row) for row in _present(session)]


def last_sign_ins(session: Session, names: Collection[str]) -> dict[str, float]:
    """When each of these users signed in last, as far as that is on record (POSIX seconds)."""
    query = (
        select(EventRow.subject, func.max(EventRow.at))
        .where(EventRow.subject.in_([f"user {name}" for name in names]))
        .where(EventRow.name == SIGNED_IN)
        .group_by(EventRow.subject)
    )
    return {subject.removeprefix("user "): at for subject, at in session.execute(query)}


def _present(session: Session) -> Sequence[UserRow]:
    query = select(UserRow).where(UserRow.removed_at.is_(None)).order_by(UserRow.name)
    return session.scalars(query).all()


def add_user(session: Session, body: UserCreate, password: str | None, now: float) -> UserRead:
    """A new user. ``password``: its hash."""
    tasks = _limits(body.role, body.tasks)
    row = UserRow(name=body.name, role=body.role, tasks=tasks, password=password, created_at=now)
    try:
        with session.begin_nested():
            session.add(row)
    except IntegrityError:
        raise Conflict(
            f"the name '{body.name}' is taken, or was a user's before: a name stays one person's, "
            "so that what they did stays theirs"
        ) from None
    _log(session, row, "created", _rights(row), now)
    return user_read(row)


def update_user(session: Session, name: str, body: UserUpdate, now: float) -> UserRead:
    """Change what a user may do, or whether they may do anything. Holds from their next call on."""
    row = require_user(session, name)
    before = (row.role, row.tasks)
    role = body.role or row.role
    kept = row.tasks if role in _LIMITABLE else None
    tasks = None if body.all_tasks else _limits(role, body.tasks) or kept
    if role is not Role.ADMIN or body.disabled:
        _require_other_admin(session, row)
    row.role, row.tasks = role, tasks
    if before != (row.role, row.tasks):
        _log(session, row, "changed", _rights(row), now)
    if body.disabled is not None:
        _disable(session, row, body.disabled, now)
    user_tokens.rights_changed(session)
    return user_read(row)


def _disable(session: Session, row: UserRow, disabled: bool, now: float) -> None:
    if disabled == (row.disabled_at is not None):
        return
    row.disabled_at = now if disabled else None
    if disabled:
        user_tokens.end_sessions(session, row, now)
    _log(session, row, "disabled" if disabled else "enabled", "", now)


def remove_user(session: Session, name: str, now: float) -> UserRead:
    """Take a user out for good. What they did stays theirs."""
    row = require_user(session, name)
    _require_other_admin(session, row)
    row.removed_at, row.password = now, None
    user_tokens.revoke_all(session, row, now)
    _log(session, row, "removed", "", now)
    return user_read(row)


def set_password(session: Session, name: str, password: str, now: float) -> UserRead:
    """Give a user another password (its hash), which ends whatever the former one had opened."""
    row = require_user(session, name)
    row.password = password
    user_tokens.end_sessions(session, row, now)
    _log(session, row, "password_set", "", now)
    return user_read(row)


def _require_other_admin(session: Session, row: UserRow) -> None:
    if row.role is not Role.ADMIN:
        return
    others = [
        user
        for user in _present(session)
        if user.role is Role.ADMIN and user.disabled_at is None and user.id != row.id
    ]
    if not others and row.disabled_at is None:
        raise Conflict(
            f"'{row.name}' is the only admin: without one nobody could add users; "
            "make another user an admin first"
        )


def _limits(role: Role, tasks: list[str] | None) -> list[str] | None:
    if tasks is None:
        return None
    if role not in _LIMITABLE:
        raise Invalid(f"an {role.value} sees all tasks: only operators and viewers are limited")
    return sorted(set(tasks))


def _rights(row: UserRow) -> str:
    return row.role.value + (f" of {', '.join(row.tasks)}" if row.tasks else "")


def _log(session: Session, row: UserRow, what: str, text: str, now: float) -> None:
    event_log.append_event(
        session, now, event_log.OPERATOR, f"user {row.name}", f"user.{what}", text
    )


def user_read(row: UserRow) -> UserRead:
    return read_as(
        UserRead,
        row,
        has_password=row.password is not None,
        disabled=row.disabled_at is not None,
    )
