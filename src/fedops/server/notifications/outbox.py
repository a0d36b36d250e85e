"""Messages on their way: which are due, who sends one now, and what became of it."""

from __future__ import annotations

import uuid
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    ColumnElement,
    CursorResult,
    Select,
    and_,
    delete,
    exists,
    or_,
    select,
    update,
)
from sqlalchemy.orm import Session, aliased

from fedops.core.contracts import MailServer, NotificationRead
from fedops.core.reasons.durations import duration
from fedops.core.states import ChannelKind, NotificationStatus
from fedops.server.database.read_models import read_as
from fedops.server.database.tables import NotificationChannelRow, NotificationRow
from fedops.server.events import event_log
from fedops.server.notifications import channels, retrying
from fedops.server.notifications.retrying import Outcome

TEST = "test"
#: Who claims a message has so long to send it; then another one may. Longer than any try. Seconds.
CLAIM_SECONDS = 60.0
#: After a failure a channel rests for so long, whichever message is next. Seconds.
REST_SECONDS = 60.0
#: What was sent or given up is kept for so long. Seconds.
KEPT_SECONDS = 30 * 86_400.0
_FORGET_AT_ONCE = 1_000
#: Whoever could not even be tried for the last time is given up after this. Seconds.
OLD_SECONDS = retrying.GIVE_UP_SECONDS + 3_600.0
_N, _C = NotificationRow, NotificationChannelRow


@dataclass(frozen=True)
class Claimed:
    """A message that this process sends now, with all that is needed to do so."""

    id: int
    claim: str
    channel: str
    kind: ChannelKind
    address: str
    mail: MailServer | None
    secret: str
    delivery: str
    rule: str
    over: bool
    subject: str
    task: str | None
    run_id: int | None
    device: str | None
    sentence: str
    page: str
    command: str
    at: float


def due_messages(session: Session, now: float, limit: int, busy: Collection[str] = ()) -> list[int]:
    """Messages to be sent now, the oldest of each channel, at most ``limit``; tests come first.

    ``busy``: channels that this process is sending to. A channel that rests or is off waits, but for a test.
    """
    found: dict[str, int] = {}
    for row, channel in session.execute(_ready(now, busy).limit(10 * limit)).all():
        found.setdefault(channel.name, row.id)
    return list(found.values())[:limit]


def claim(session: Session, ids: Collection[int], now: float) -> list[Claimed]:
    """Claim those of these messages that are still to be sent, and that nobody else has."""
    found = session.execute(_ready(now, ()).where(_N.id.in_(ids))).all()
    claimed = (_claim(session, row, channel, now) for row, channel in found)
    return [one for one in claimed if one is not None]


def _ready(now: float, busy: Collection[str]) -> Select[NotificationRow, NotificationChannelRow]:
    other = aliased(_N)
    sending = exists().where(
        other.channel_id == _N.channel_id,
        other.status == NotificationStatus.SENDING,
        other.claimed_until >= now,
    )
    return (
        select(_N, _C)
        .join(_C, _C.id == _N.channel_id)
        .where(_due(now), ~sending, _C.name.not_in(list(busy)))
        .where(or_(_N.rule == TEST, and_(_C.enabled, _C.not_before <= now)))
        .order_by(_N.rule != TEST, _N.id)
    )


def _due(now: float) -> ColumnElement[bool]:
    waits = and_(_N.status == NotificationStatus.WAITING, _N.next_at <= now)
    left = and_(_N.status == NotificationStatus.SENDING, _N.claimed_until < now)
    return or_(waits, left)


def _claim(
    session: Session, row: NotificationRow, channel: NotificationChannelRow, now: float
) -> Claimed | None:
    claim = uuid.uuid4().hex
    values = {
        "status": NotificationStatus.SENDING,
        "claim": claim,
        "claimed_until": now + CLAIM_SECONDS,
        "attempts": _N.attempts + 1,
    }
    if not _changed(session, and_(_N.id == row.id, _due(now)), values):
        return None
    return Claimed(
        claim=claim,
        channel=channel.name,
        kind=channel.kind,
        address=channel.address,
        mail=MailServer.model_validate(channel.mail) if channel.mail else None,
        secret=channel.secret,
        **{name: getattr(row, name) for name in _OF_MESSAGE},
    )


_OF_MESSAGE = (
    "id", "delivery", "rule", "over", "subject", "task", "run_id", "device", "sentence", "page",
    "command", "at",
)  # fmt: skip


def settle(
    session: Session, sent: Claimed, outcome: Outcome, now: float, randomness: float
) -> bool:
    """Write down what became of a claimed message. False: somebody else had it meanwhile."""
    row = session.get(_N, sent.id)
    if row is None or row.claim != sent.claim:
        return False
    channel = session.get_one(_C, row.channel_id)
    channel.last_at, channel.last_problem = now, outcome.problem
    row.claim = row.claimed_until = None
    row.problem = outcome.problem
    if outcome.sent:
        row.status, row.ended_at = NotificationStatus.SENT, now
        channel.not_before = 0.0
        return True
    if outcome.final or row.rule == TEST:
        _give_up(session, row, channel, now)
        return True
    pause = retrying.pause(row.attempts, outcome.retry_after, randomness)
    channel.not_before = now + max(REST_SECONDS, min(pause, outcome.retry_after or 0.0))
    last = row.created_at + retrying.GIVE_UP_SECONDS
    row.status, row.next_at = NotificationStatus.WAITING, min(now + pause, last)
    if now >= last:
        tries = duration(now - row.created_at)
        row.problem = f"given up after {row.attempts} tries in {tries}: {outcome.problem}"
        _give_up(session, row, channel, now)
    return True


def give_up_old(session: Session, now: float) -> int:
    """Messages that a day was not enough for, tried or not: their channel rested or was off."""
    old = _N.created_at <= now - OLD_SECONDS
    query = select(_N, _C).join(_C, _C.id == _N.channel_id)
    found = session.execute(
        query.where(old, _N.status == NotificationStatus.WAITING).limit(_FORGET_AT_ONCE)
    ).all()
    for row, channel in found:
        last = f": {row.problem}" if row.problem else ""
        row.problem = f"given up, as it could not be sent for a day{last}"
        _give_up(session, row, channel, now)
    return len(found)


def is_any_old(session: Session, now: float) -> bool:
    """Whether ``give_up_old`` or ``forget_old`` would find one."""
    waits = and_(
        _N.status == NotificationStatus.WAITING,
        _N.created_at <= now - OLD_SECONDS,
    )
    query = select(_N.id).where(or_(waits, _N.ended_at < now - KEPT_SECONDS)).limit(1)
    return session.scalars(query).first() is not None


def forget_old(session: Session, now: float) -> None:
    """Remove some of what nobody looks back at any more."""
    old = select(_N.id).where(_N.ended_at < now - KEPT_SECONDS).limit(_FORGET_AT_ONCE)
    session.execute(delete(_N).where(_N.id.in_(old.scalar_subquery())))


def _give_up(
    session: Session, row: NotificationRow, channel: NotificationChannelRow, now: float
) -> None:
    row.status, row.ended_at = NotificationStatus.FAILED, now
    subject, text = f"notification {channel.name}", f"{row.sentence}: {row.problem}"
    event_log.append_event(session, now, event_log.SERVER, subject, "notification.failed", text)


def _changed(session: Session, where: ColumnElement[bool], values: dict[str, Any]) -> bool:
    statement = update(_N).where(where).values(values)
    result = session.execute(statement.execution_options(synchronize_session=False))
    assert isinstance(result, CursorResult)
    return bool(result.rowcount)


def queue_test(session: Session, name: str, now: float) -> NotificationRead:
    """A message that says that the channel works. It is tried once, and at once."""
    channel = channels.require_channel(session, name)
    subject, delivery = f"notification {name}", uuid.uuid4().hex
    row = NotificationRow(
        channel_id=channel.id,
        key=f"{TEST} {delivery}",
        delivery=delivery,
        rule=TEST,
        over=False,
        subject=subject,
        sentence=f"This is a test of the notification channel {name}",
        page=f"/notifications/{name}",
        command=f"fedops notification show {name}",
        at=now,
        created_at=now,
        status=NotificationStatus.WAITING,
        attempts=0,
        next_at=now,
        problem="",
    )
    session.add(row)
    session.flush()
    event_log.append_event(session, now, event_log.OPERATOR, subject, "notification.tested")
    return read_as(NotificationRead, row)


def list_messages(session: Session, name: str, limit: int) -> list[NotificationRead]:
    """The newest messages of a channel, newest first. ``NotFound``: there is no such channel."""
    channel = channels.require_channel(session, name)
    query = select(_N).where(_N.channel_id == channel.id).order_by(_N.id.desc()).limit(limit)
    return [read_as(NotificationRead, row) for row in session.scalars(query)]
