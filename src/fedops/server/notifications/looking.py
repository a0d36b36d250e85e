"""One look at what happened: read what is new for each channel, then write its messages in one transaction.

Where the look stands among the events is kept in the database. What was read twice, after a restart or by
two Server Managers, is written once: each message has a key.
"""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from fedops.core.states import NotificationRule, NotificationStatus
from fedops.server.database.tables import (
    MetaRow,
    NotificationChannelRow,
    NotificationRow,
    OpenOccurrenceRow,
)
from fedops.server.events.news import newest_event
from fedops.server.notifications.from_events import STEP, from_events
from fedops.server.notifications.from_states import LASTING, Lasting, lasting, over
from fedops.server.notifications.occurrences import Occurrence, merged
from fedops.settings import ServerSettings

#: So many events may be looked through again after a restart.
_UNWRITTEN = 1_000
_CURSOR = "notifications.event"
_MINUTE = 60.0
#: A key's column is not longer than this; a sentence is cut.
_LONGEST_KEY, _LONGEST_SENTENCE = 250, 1_000


@dataclass
class Plan:
    """What a look found, by the ids of channels."""

    #: The newest event that was looked at, and the one that is written down as that.
    event: int = 0
    written: int = 0
    told: dict[int, list[Occurrence]] = field(default_factory=lambda: defaultdict(list))
    begun: list[tuple[int, Occurrence]] = field(default_factory=list)
    ended: list[tuple[int, str]] = field(default_factory=list)

    @property
    def is_news(self) -> bool:
        """Whether there is something to write."""
        waits = self.event - self.written >= _UNWRITTEN
        return bool(any(self.told.values()) or self.begun or self.ended or waits)


def look(session: Session, settings: ServerSettings, now: float) -> Plan:
    """What is to be told. Nothing is written."""
    query = select(NotificationChannelRow).where(NotificationChannelRow.enabled)
    channels = session.scalars(query).all()
    plan = Plan()
    if not channels:
        return plan
    _look_at_events(session, settings, channels, plan, now)
    _look_at_what_lasts(session, settings, channels, plan, now)
    return plan


def _look_at_events(
    session: Session,
    settings: ServerSettings,
    channels: Sequence[NotificationChannelRow],
    plan: Plan,
    now: float,
) -> None:
    plan.written = read_cursor(session)
    # What no channel wants to hear is passed over.
    begin = max(plan.written, min(row.after_event for row in channels))
    plan.event = min(newest_event(session), begin + STEP)
    found = from_events(session, settings, begin, plan.event, now) if plan.event > begin else []
    for row in channels:
        plan.told[row.id] += [
            one
            for one in found
            if one.rule.value in row.rules and (one.event_id or 0) > row.after_event
        ]


def _look_at_what_lasts(
    session: Session,
    settings: ServerSettings,
    channels: Sequence[NotificationChannelRow],
    plan: Plan,
    now: float,
) -> None:
    opened = _opened(session)
    wanted = {rule: [row for row in channels if rule.value in row.rules] for rule in LASTING}
    rules = {rule for rule, rows in wanted.items() if rows}
    rules |= {NotificationRule(row.rule) for rows in opened.values() for row in rows}
    if not rules:
        return
    least = min((row.lost_minutes for row in channels), default=0.0) * _MINUTE
    lasts = lasting(session, settings, rules, least, now)
    for row in channels:
        _of_channel(session, row, opened.get(row.id, []), lasts, plan)


def _opened(session: Session) -> dict[int, list[OpenOccurrenceRow]]:
    found = defaultdict(list)
    for row in session.scalars(select(OpenOccurrenceRow)):
        found[row.channel_id].append(row)
    return found


def _of_channel(
    session: Session,
    row: NotificationChannelRow,
    opened: Sequence[OpenOccurrenceRow],
    lasts: Lasting,
    plan: Plan,
) -> None:
    """What has begun and what has ended, for one channel."""
    rules = {NotificationRule(rule) for rule in row.rules}
    limits = row.waiting_minutes * _MINUTE, row.lost_minutes * _MINUTE
    known, there = {one.key for one in opened}, {one.key for one in lasts.found}
    begun = [
        one for one in lasts.beyond(rules, *limits) if one.key not in known and one.at >= row.since
    ]
    ended = [one for one in opened if one.key not in there]
    plan.begun += [(row.id, one) for one in begun]
    plan.ended += [(row.id, one.key) for one in ended]
    plan.told[row.id] += begun
    if row.resolved and ended:
        wanted = [one for one in ended if one.rule in row.rules]
        plan.told[row.id] += over(session, wanted, lasts)


def write(session: Session, plan: Plan, now: float) -> int:
    """Write what was found, unless it was written meanwhile. Returns how many messages are new."""
    query = select(NotificationChannelRow.id).where(NotificationChannelRow.enabled)
    there = set(session.scalars(query.with_for_update()))
    made = 0
    for channel, found in plan.told.items():
        if channel in there:
            made += _write_messages(session, channel, merged(found), now)
    for channel, one in plan.begun:
        if channel in there:
            session.merge(
                OpenOccurrenceRow(
                    channel_id=channel, key=one.key, rule=one.rule.value, since=one.since
                )
            )
    for channel, key in plan.ended:
        where = OpenOccurrenceRow.channel_id == channel, OpenOccurrenceRow.key == key
        session.execute(delete(OpenOccurrenceRow).where(*where))
    if plan.event > read_cursor(session):
        session.merge(MetaRow(key=_CURSOR, value=str(plan.event)))
    return made


def _write_messages(session: Session, channel: int, found: Iterable[Occurrence], now: float) -> int:
    keys = {one.once[:_LONGEST_KEY]: one for one in found}
    same = NotificationRow.channel_id == channel, NotificationRow.key.in_(keys)
    known = set(session.scalars(select(NotificationRow.key).where(*same)))
    rows = [message(channel, key, one, now) for key, one in keys.items() if key not in known]
    session.add_all(rows)
    session.flush()
    return len(rows)


def message(channel: int, key: str, one: Occurrence, now: float) -> NotificationRow:
    """The message of an occurrence for a channel, to be sent at once."""
    return NotificationRow(
        channel_id=channel,
        key=key,
        delivery=uuid.uuid4().hex,
        rule=one.rule.value,
        over=one.over,
        subject=one.subject,
        task=one.task,
        run_id=one.run_id,
        device=one.device,
        event_id=one.event_id,
        sentence=one.sentence[:_LONGEST_SENTENCE],
        page=one.page,
        command=one.command,
        at=one.at,
        created_at=now,
        status=NotificationStatus.WAITING,
        attempts=0,
        next_at=now,
        problem="",
    )


def read_cursor(session: Session) -> int:
    """The newest event that was looked at."""
    row = session.get(MetaRow, _CURSOR)
    return int(row.value) if row else 0
