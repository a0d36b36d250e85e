"""Tokens: made once, shown once, kept as hashes; each way to be wrong has its own message. Join tokens."""

from __future__ import annotations

import hashlib
import secrets
from ipaddress import ip_address, ip_network

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from fedops.core.contracts import TokenCreate, TokenRead
from fedops.core.errors import Forbidden, NotFound
from fedops.core.reasons.durations import duration
from fedops.core.states import Enrolment, TokenKind
from fedops.server.access.principal import Principal
from fedops.server.database.compare_and_set import compare_and_set
from fedops.server.database.read_models import read_as
from fedops.server.database.tables import DeviceRow, TokenRow, UserRow
from fedops.server.events import event_log
from fedops.server.events.notifications import TokensChanged, notify


class Unauthorized(Forbidden):
    """No token, or one that is worth nothing."""

    http_status = 401


def issue_token(
    session: Session,
    kind: TokenKind,
    now: float,
    *,
    note: str = "",
    expires_in: float | None = None,
    uses: int | None = None,
    device_id: str | None = None,
    attempt_id: int | None = None,
    user_id: int | None = None,
) -> tuple[TokenRow, str]:
    """Make a token. The secret is returned here and never again."""
    secret = f"fo_{kind.value}_{secrets.token_urlsafe(24)}"
    row = TokenRow(
        kind=kind,
        hash=hash_of(secret),
        note=note,
        created_at=now,
        expires_at=now + expires_in if expires_in is not None else None,
        uses_left=uses,
        device_id=device_id,
        attempt_id=attempt_id,
        user_id=user_id,
    )
    session.add(row)
    session.flush()
    return row, secret


def authenticate(session: Session, secret: str, now: float) -> Principal:
    """Whom a secret speaks for. ``Unauthorized`` says what is wrong with it."""
    row = find_token(session, secret)
    if row is None:
        raise Unauthorized("this token is not known here; is it of another server, or cut short?")
    _require_not_revoked(session, row)
    _require_valid(row, now, Unauthorized)
    if row.user_id is not None:
        return _of_user(session.get_one(UserRow, row.user_id), row)
    return Principal(row.kind, row.id, row.device_id, row.attempt_id, expires_at=row.expires_at)


def _of_user(user: UserRow, row: TokenRow) -> Principal:
    """The user, with what the token leaves of their rights."""
    if user.removed_at is not None or user.disabled_at is not None:
        what = "removed" if user.removed_at is not None else "disabled"
        raise Unauthorized(f"user '{user.name}' was {what}; ask an admin of this server")
    limits = [frozenset(tasks) for tasks in (user.tasks, row.tasks) if tasks is not None]
    return Principal(
        row.kind,
        row.id,
        user_id=user.id,
        user=user.name,
        roles=(user.role,) if row.role in (None, user.role) else (user.role, row.role),
        tasks=frozenset.intersection(*limits) if limits else None,
        expires_at=row.expires_at,
    )


def _require_not_revoked(session: Session, row: TokenRow) -> None:
    """A device that was taken out is told so: no new token helps it."""
    device = session.get(DeviceRow, row.device_id) if row.device_id else None
    if device is not None and device.enrolment in (Enrolment.REVOKED, Enrolment.REMOVED):
        raise Forbidden(
            f"device '{device.name}' was {device.enrolment.value}: it takes part in nothing any more"
            if device.enrolment is Enrolment.REVOKED
            else "this device was removed: it takes part in nothing any more"
        )


def spend_token(session: Session, secret: str, now: float) -> TokenRow:
    """Use a join token once. ``Forbidden`` says why it cannot be used."""
    row = find_token(session, secret)
    if row is None:
        raise Forbidden("this join token is not known here; is it of another server, or cut short?")
    if row.kind is not TokenKind.JOIN:
        owner = "user" if row.user_id is not None else row.kind.value
        article = "an" if row.kind is TokenKind.ATTEMPT else "a"
        raise Forbidden(f"joining takes a join token, this is the token of {article} {owner}")
    while True:
        _require_valid(row, now, Forbidden)
        if row.uses_left is None or compare_and_set(session, row, "uses_left", row.uses_left - 1):
            return row


def require_from(row: TokenRow, address: str | None) -> None:
    """``Forbidden`` unless a join token may be used from this address."""
    if row.network is None:
        return
    try:
        inside = ip_address(address or "") in ip_network(row.network)
    except ValueError:  # a socket of this machine, or what a proxy made up
        inside = False
    if not inside:
        raise Forbidden(
            f"join token {row.id} is for machines in {row.network}; this one calls from {address}"
        )


def _require_valid(row: TokenRow, now: float, error: type[Forbidden]) -> None:
    name = f"{row.kind.value} token {row.id}"
    how = (
        "ask an operator for a new one ('fedops token create')"
        if row.kind is TokenKind.JOIN
        else "get a new one"
    )
    if row.revoked_at is not None:
        raise error(f"{name} was revoked {duration(now - row.revoked_at)} ago; {how}")
    if row.expires_at is not None and now >= row.expires_at:
        raise error(f"{name} expired {duration(now - row.expires_at)} ago; {how}")
    if row.uses_left is not None and row.uses_left <= 0:
        raise error(f"{name} is used up; {how}")


def create_join_token(session: Session, body: TokenCreate, now: float) -> TokenRead:
    """A token that lets devices join, a number of times, until it expires."""
    row, secret = issue_token(
        session,
        TokenKind.JOIN,
        now,
        note=body.note,
        expires_in=body.expires_in_seconds,
        uses=body.uses,
    )
    row.for_task, row.network = body.task, body.network
    text = f"for {body.uses} uses within {duration(body.expires_in_seconds)}"
    text += f", for task {body.task} alone" if body.task else ""
    text += f", from {body.network} alone" if body.network else ""
    event_log.append_event(
        session, now, event_log.OPERATOR, f"token {row.id}", "token.created", text
    )
    return _read(row, secret)


def list_tokens(session: Session, limit: int | None = None) -> list[TokenRead]:
    """Join tokens, newest first: all, or as many as ``limit`` says."""
    query = select(TokenRow).where(TokenRow.kind == TokenKind.JOIN).order_by(TokenRow.id.desc())
    query = query.limit(limit)
    return [_read(row) for row in session.scalars(query)]


def read_token(session: Session, token_id: int) -> TokenRead:
    """A join token, without its secret. ``NotFound``: there is none of this number."""
    row = session.get(TokenRow, token_id)
    if row is None or row.kind is not TokenKind.JOIN:
        raise NotFound(f"there is no join token {token_id}")
    return _read(row)


def revoke_token(session: Session, token_id: int, now: float) -> TokenRead:
    """Make a join token worthless. Repeating is harmless."""
    row = session.get(TokenRow, token_id)
    if row is None or row.kind is not TokenKind.JOIN:
        raise NotFound(f"there is no token {token_id}; 'fedops token list' shows all")
    if row.revoked_at is None:
        row.revoked_at = now
        notify(session, TokensChanged())
        event_log.append_event(session, now, event_log.OPERATOR, f"token {row.id}", "token.revoked")
    return _read(row)


def revoke_device_tokens(session: Session, device_id: str, now: float) -> None:
    """End the device's tokens: it gets a new one."""
    session.execute(
        update(TokenRow)
        .where(TokenRow.device_id == device_id, TokenRow.revoked_at.is_(None))
        .values(revoked_at=now)
    )
    notify(session, TokensChanged())


def find_token(session: Session, secret: str) -> TokenRow | None:
    """Whatever token has this secret, valid or not."""
    return session.scalars(select(TokenRow).where(TokenRow.hash == hash_of(secret))).one_or_none()


def hash_of(secret: str) -> str:
    """What is kept of a secret. It is random, so a fast hash is enough."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def _read(row: TokenRow, secret: str | None = None) -> TokenRead:
    return read_as(
        TokenRead,
        row,
        kind="join",
        task=row.for_task,
        revoked=row.revoked_at is not None,
        token=secret,
    )
