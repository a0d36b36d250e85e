"""The tokens of users: personal ones, and the sessions of their browsers, which end with what opened them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal, cast

from sqlalchemy import and_, or_, select, update
from sqlalchemy.orm import Session

from fedops.core.contracts import PersonalTokenCreate, PersonalTokenRead
from fedops.core.errors import Conflict, Forbidden, NotFound
from fedops.core.reasons.durations import duration
from fedops.core.states import Role, TokenKind
from fedops.server.access import tokens
from fedops.server.access.principal import Principal
from fedops.server.database.read_models import read_as
from fedops.server.database.tables import TokenRow, UserRow
from fedops.server.events import event_log
from fedops.server.events.notifications import TokensChanged, notify

#: How long a personal token is good, unless it is said. Seconds.
TOKEN_SECONDS = 90 * 86_400.0
#: In place of a token's id: a password opened it.
BY_PASSWORD = 0
#: What a role has in it.
_HOLDS: Mapping[Role, frozenset[Role]] = {
    Role.ADMIN: frozenset(Role),
    Role.OPERATOR: frozenset({Role.OPERATOR, Role.VIEWER}),
    Role.VIEWER: frozenset({Role.VIEWER}),
    Role.AUDITOR: frozenset({Role.AUDITOR}),
}


def create_for(
    session: Session, user: UserRow, body: PersonalTokenCreate, now: float
) -> PersonalTokenRead:
    """A token for a user, made by an admin."""
    _require_held(user.name, [user.role], body.role)
    seconds = body.expires_in_seconds or TOKEN_SECONDS
    return _make(session, user, body, body.tasks, seconds, now)


def create_own(
    session: Session, principal: Principal, body: PersonalTokenCreate, now: float
) -> PersonalTokenRead:
    """A token for oneself: it lets its holder do at most what the token used does, and not for longer."""
    user = session.get_one(UserRow, principal.user_id)
    used = session.get_one(TokenRow, principal.token_id)
    _require_held(user.name, principal.roles, body.role)
    tasks = used.tasks if body.tasks is None else body.tasks
    if principal.tasks is not None and not set(tasks or ()) <= principal.tasks:
        raise Forbidden(f"'{user.name}' has no leave for all of the tasks {', '.join(tasks or ())}")
    left = None if used.kind is TokenKind.SESSION else used.expires_at
    wanted = body.expires_in_seconds
    seconds = wanted or TOKEN_SECONDS
    if left is not None and seconds > left - now:
        if wanted is not None:
            raise Forbidden(
                f"the token used ends in {duration(left - now)}, and one made with it no later"
            )
        seconds = left - now
    named = body.model_copy(update={"role": body.role or used.role})
    parent = used.opened_with if used.kind is TokenKind.SESSION else used.id
    return _under(session, parent, _make(session, user, named, tasks, seconds, now))


def _under(session: Session, parent: int | None, made: PersonalTokenRead) -> PersonalTokenRead:
    """It ends with what opened it: a token, or a password."""
    session.get_one(TokenRow, made.id).opened_with = parent
    return made


def _require_held(name: str, roles: Iterable[Role], wanted: Role | None) -> None:
    for role in roles:
        if wanted is not None and wanted not in _HOLDS[role]:
            raise Forbidden(f"'{name}' is {role.value} here: a token cannot be {wanted.value}")


def _make(
    session: Session,
    user: UserRow,
    body: PersonalTokenCreate,
    tasks: Iterable[str] | None,
    seconds: float | None,
    now: float,
) -> PersonalTokenRead:
    row, secret = tokens.issue_token(
        session, TokenKind.PERSONAL, now, note=body.note, expires_in=seconds, user_id=user.id
    )
    row.role = body.role
    row.tasks = None if tasks is None else sorted(set(tasks))
    _log(session, user, "token_created", row, now)
    return token_read(user, row, secret)


def list_of(session: Session, user: UserRow, now: float) -> list[PersonalTokenRead]:
    """A user's personal tokens, and the sessions that are open, newest first."""
    open_session = and_(
        TokenRow.kind == TokenKind.SESSION, TokenRow.revoked_at.is_(None), TokenRow.expires_at > now
    )
    query = (
        select(TokenRow)
        .where(TokenRow.user_id == user.id)
        .where(or_(TokenRow.kind == TokenKind.PERSONAL, open_session))
        .order_by(TokenRow.id.desc())
    )
    return [token_read(user, row) for row in session.scalars(query)]


def revoke_of(session: Session, user: UserRow, token_id: int, now: float) -> PersonalTokenRead:
    """Make a user's token worthless, with all that was opened or made with it. Repeating is harmless."""
    row = session.get(TokenRow, token_id)
    if row is None or row.user_id != user.id or row.kind is TokenKind.CODE:
        raise NotFound(
            f"user '{user.name}' has no token {token_id}; 'fedops user token list' shows all"
        )
    if row.revoked_at is None:
        _revoke(session, {row.id}, now)
        session.refresh(row)
        _log(session, user, "token_revoked", row, now)
    return token_read(user, row)


def revoke_own(
    session: Session, principal: Principal, token_id: int, now: float
) -> PersonalTokenRead:
    """Make a token of one's own worthless; with one that is limited, only that one itself."""
    user = session.get_one(UserRow, principal.user_id)
    used = session.get_one(TokenRow, principal.token_id)
    if (used.role is not None or used.tasks is not None) and token_id != used.id:
        raise Forbidden("the token used is a limited one: of all tokens it may revoke itself only")
    return revoke_of(session, user, token_id, now)


def rotate(session: Session, principal: Principal, now: float) -> tuple[str, PersonalTokenRead]:
    """Another token in place of the one used, which is worth nothing from now on, as what was made with it.

    It ends when that one would have. The hash of the former one, and the new one.
    """
    user = session.get_one(UserRow, principal.user_id)
    used = session.get_one(TokenRow, principal.token_id)
    seconds = None if used.expires_at is None else used.expires_at - now
    body = PersonalTokenCreate(note=used.note, role=used.role)
    made = _make(session, user, body, used.tasks, seconds, now)
    made = _under(session, used.opened_with, made)
    revoke_of(session, user, used.id, now)
    return used.hash, made


def rotate_own(
    session: Session, principal: Principal, token_id: int, now: float
) -> PersonalTokenRead:
    """Another token in place of a personal one of one's own, with its rights, note and end.

    Raises:
        NotFound: one has no such token.
        Conflict: it is worth nothing already, or it is a browser's session.
        Forbidden: the token used is a limited one.
    """
    user, row = session.get_one(UserRow, principal.user_id), session.get(TokenRow, token_id)
    if row is None or row.user_id != user.id or row.kind is TokenKind.CODE:
        raise NotFound(f"user '{user.name}' has no token {token_id}")
    if row.kind is not TokenKind.PERSONAL:
        raise Conflict(f"token {token_id} is the session of a browser: sign out and in again")
    if row.revoked_at is not None or (row.expires_at is not None and row.expires_at <= now):
        raise Conflict(f"token {token_id} is worth nothing already: make a new one")
    revoke_own(session, principal, token_id, now)
    seconds = None if row.expires_at is None else row.expires_at - now
    body = PersonalTokenCreate(note=row.note, role=row.role)
    made = _make(session, user, body, row.tasks, seconds, now)
    return _under(session, row.opened_with, made)


def end_sessions(session: Session, user: UserRow, now: float) -> None:
    """End what a user's browsers have open, and the tokens that their password got."""
    opened = or_(
        TokenRow.kind.in_((TokenKind.SESSION, TokenKind.CODE)), TokenRow.opened_with == BY_PASSWORD
    )
    query = select(TokenRow.id).where(TokenRow.user_id == user.id, opened)
    _revoke(session, set(session.scalars(query)), now)


def revoke_all(session: Session, user: UserRow, now: float) -> None:
    """Make all tokens of a user worthless."""
    query = select(TokenRow.id).where(TokenRow.user_id == user.id)
    _revoke(session, set(session.scalars(query)), now)


def rights_changed(session: Session) -> None:
    """What tokens let their holders do may be something else from now on."""
    notify(session, TokensChanged())


def _revoke(session: Session, ids: set[int], now: float) -> None:
    """These tokens, and what was opened or made with them."""
    fresh = ids
    while fresh:
        query = select(TokenRow.id).where(TokenRow.opened_with.in_(fresh))
        fresh = set(session.scalars(query)) - ids
        ids = ids | fresh
    where = TokenRow.id.in_(ids), TokenRow.revoked_at.is_(None)
    session.execute(update(TokenRow).where(*where).values(revoked_at=now))
    rights_changed(session)


def _log(session: Session, user: UserRow, what: str, row: TokenRow, now: float) -> None:
    text = f"token {row.id}" + (f", {row.note}" if row.note else "")
    event_log.append_event(
        session, now, event_log.OPERATOR, f"user {user.name}", f"user.{what}", text
    )


def token_read(user: UserRow, row: TokenRow, secret: str | None = None) -> PersonalTokenRead:
    return read_as(
        PersonalTokenRead,
        row,
        user=user.name,
        kind=cast(Literal["personal", "session"], row.kind.value),
        revoked=row.revoked_at is not None,
        token=secret,
    )
