"""Channels: made, changed and removed by admins. What one must keep secret is in files, never here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from fedops.core.contracts import ChannelCreate, ChannelRead, ChannelUpdate, MailServer
from fedops.core.errors import Conflict, Invalid, NotFound
from fedops.core.states import ChannelKind, NotificationRule, NotificationStatus
from fedops.core.suggestions import did_you_mean
from fedops.server.database.read_models import read_as
from fedops.server.database.tables import (
    NotificationChannelRow,
    NotificationRow,
    OpenOccurrenceRow,
)
from fedops.server.events import event_log
from fedops.server.events.acting import acting_person
from fedops.server.events.news import newest_event
from fedops.server.notifications import addresses

#: A server has at most so many: each is looked after at every look.
MOST = 50
#: A shorter one can be guessed.
SHORTEST_SIGNING_SECRET = 16
OPEN = (NotificationStatus.WAITING, NotificationStatus.SENDING)
#: What a change may set as it is.
_PLAIN = ("waiting_minutes", "lost_minutes", "resolved", "enabled")
#: What decides where messages go.
REACHING = frozenset({"url", "mail", "secret", "unencrypted"})
_C = NotificationChannelRow


def list_channels(session: Session) -> list[ChannelRead]:
    """All channels, by name."""
    rows = session.scalars(select(_C).order_by(_C.name)).all()
    waiting = _waiting(session)
    return [channel_read(row, waiting.get(row.id, 0)) for row in rows]


def read_channel(session: Session, name: str) -> ChannelRead:
    """One channel. ``NotFound`` names those there are."""
    row = require_channel(session, name)
    return channel_read(row, _waiting(session).get(row.id, 0))


def require_channel(session: Session, name: str) -> NotificationChannelRow:
    """The channel, or ``NotFound`` naming those there are."""
    row = session.scalars(select(_C).where(_C.name == name)).one_or_none()
    if row is None:
        known = list(session.scalars(select(_C.name).order_by(_C.name)))
        guess = did_you_mean(name, known) or (
            f"; there are: {', '.join(known[:20])}" if known else "; there is none yet"
        )
        raise NotFound(f"there is no notification channel '{name}'{guess}")
    return row


def add_channel(session: Session, body: ChannelCreate, secret: str, now: float) -> ChannelRead:
    """A new channel, which hears of what happens from now on. ``secret``: the name of its file."""
    if session.scalars(select(_C.id).where(_C.name == body.name)).first() is not None:
        raise Conflict(f"there is a notification channel '{body.name}' already: change that one")
    if (session.scalar(select(func.count(_C.id))) or 0) >= MOST:
        raise Conflict(f"there are {MOST} notification channels already: remove one first")
    person = acting_person()
    row = _C(
        name=body.name,
        kind=body.kind,
        address=shown_address(body),
        mail=_plain_mail(body.mail),
        unencrypted=body.unencrypted,
        secret=secret,
        rules=_in_order(body.rules),
        created_at=now,
        created_by=(person.user if person else None) or event_log.OPERATOR,
        not_before=0.0,
        last_problem="",
        **{name: getattr(body, name) for name in _PLAIN},
    )
    _begin_hearing(session, row, now)
    session.add(row)
    session.flush()
    _log(session, row, "created", f"{row.kind.value} to {row.address}", now)
    return channel_read(row, 0)


def require_sound(body: ChannelCreate) -> None:
    """``Invalid`` unless a channel may be like this. It may need a look at addresses, and no database."""
    match body.kind:
        case ChannelKind.WEBHOOK:
            addresses.require_web_address(body.url, unencrypted=body.unencrypted)
            if body.secret and len(body.secret) < SHORTEST_SIGNING_SECRET:
                raise Invalid(
                    f"the signing secret has fewer than {SHORTEST_SIGNING_SECRET} characters: it could be "
                    "guessed"
                )
        case ChannelKind.SLACK:
            addresses.require_secret_url(body.secret, unencrypted=body.unencrypted)
        case ChannelKind.EMAIL:
            if body.mail is None:
                raise Invalid(
                    "e-mail needs a mail server: its host, the sender, and to whom it goes"
                )
            addresses.require_mail(
                body.mail, has_password=bool(body.secret), unencrypted=body.unencrypted
            )
    _require_only(body)


def _require_only(body: ChannelCreate) -> None:
    """What belongs to another kind is a mistake: it would not be used."""
    if body.url and body.kind is not ChannelKind.WEBHOOK:
        hint = ": its URL is its secret" if body.kind is ChannelKind.SLACK else ""
        raise Invalid(f"only a webhook has an address of its own{hint}")
    if body.mail is not None and body.kind is not ChannelKind.EMAIL:
        raise Invalid(f"a {body.kind.value} channel has no mail server")


def shown_address(body: ChannelCreate) -> str:
    """The address as it is kept and shown."""
    match body.kind:
        case ChannelKind.WEBHOOK:
            return body.url
        case ChannelKind.SLACK:
            return addresses.shown_secret(body.secret)
        case ChannelKind.EMAIL:
            assert body.mail is not None
            return addresses.shown_mail(body.mail)


def changed(row: NotificationChannelRow, body: ChannelUpdate, secret: str) -> ChannelCreate:
    """What a channel is to be like once it is changed. ``secret``: what it has now."""
    given = body.model_dump(exclude_none=True)
    now = {
        "name": row.name,
        "kind": row.kind,
        "url": row.address if row.kind is ChannelKind.WEBHOOK else "",
        "mail": row.mail or None,
        "secret": secret,
        "rules": row.rules,
        "unencrypted": row.unencrypted,
        **{name: getattr(row, name) for name in _PLAIN},
    }
    return ChannelCreate.model_validate({**now, **given})


def change_channel(
    session: Session,
    body: ChannelCreate,
    secret: str | None,
    fields: frozenset[str],
    now: float,
) -> ChannelRead:
    """A channel as it is to be. ``secret``: the name of its new file. ``fields``: what was given."""
    row = require_channel(session, body.name)
    # What it did not hear of before is not told later.
    if body.enabled and not row.enabled:
        session.execute(delete(OpenOccurrenceRow).where(OpenOccurrenceRow.channel_id == row.id))
        _begin_hearing(session, row, now)
    elif set(body.rules) - set(row.rules):
        _begin_hearing(session, row, now)
    if fields & REACHING:
        row.address, row.mail = shown_address(body), _plain_mail(body.mail)
    row.rules, row.unencrypted = _in_order(body.rules), body.unencrypted
    row.secret = row.secret if secret is None else secret
    for name in _PLAIN:
        setattr(row, name, getattr(body, name))
    row.not_before = 0.0  # what was wrong may be mended
    _log(session, row, "changed", ", ".join(sorted(fields)), now)
    return read_channel(session, row.name)


def remove_channel(session: Session, name: str, now: float) -> tuple[ChannelRead, str]:
    """The channel as it was, and the name of its secret's file. Its messages go with it."""
    read, row = read_channel(session, name), require_channel(session, name)
    for table in (NotificationRow, OpenOccurrenceRow):
        session.execute(delete(table).where(table.channel_id == row.id))
    session.delete(row)
    _log(session, row, "removed", "", now)
    return read, row.secret


def channel_read(row: NotificationChannelRow, waiting: int) -> ChannelRead:
    """A channel as it is shown."""
    return read_as(
        ChannelRead,
        row,
        has_secret=bool(row.secret),
        mail=MailServer.model_validate(row.mail) if row.mail else None,
        rules=[NotificationRule(rule) for rule in row.rules],
        waiting=waiting,
    )


def _begin_hearing(session: Session, row: NotificationChannelRow, now: float) -> None:
    row.since, row.after_event = now, newest_event(session)


def _waiting(session: Session) -> dict[int, int]:
    query = select(NotificationRow.channel_id, func.count()).where(NotificationRow.status.in_(OPEN))
    counted = session.execute(query.group_by(NotificationRow.channel_id))
    return {row[0]: row[1] for row in counted}


def _plain_mail(mail: MailServer | None) -> dict[str, Any]:
    return {} if mail is None else mail.model_dump(mode="json")


def _in_order(rules: Sequence[NotificationRule]) -> list[str]:
    return [rule.value for rule in NotificationRule if rule in rules]


def _log(session: Session, row: NotificationChannelRow, what: str, text: str, now: float) -> None:
    subject = f"notification {row.name}"
    event_log.append_event(session, now, event_log.OPERATOR, subject, f"notification.{what}", text)
