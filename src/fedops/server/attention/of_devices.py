"""Devices that are lost, given up, refusing, in quarantine, or that wait to be let in."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Row, String, and_, cast, or_, select
from sqlalchemy.orm import Session

from fedops.core.reasons.durations import first_few, pluralised
from fedops.core.states import Enrolment, ProcessStatus, ReadinessStatus
from fedops.server.attention.device_counts import LOST_AFTER
from fedops.server.attention.thing import DAY, Action, Attention, Severity, Within, page_of
from fedops.server.database.tables import DeviceRow, MembershipRow
from fedops.storage.shortages import shortages

_D = DeviceRow
_LOST, _FATAL, _REFUSING, _QUARANTINED, _PENDING = (
    "lost",
    "given up",
    "refusing",
    "quarantined",
    "pending",
)


def devices(session: Session, now: float, within: Within) -> Iterator[Attention]:
    """Those that need somebody, of each kind together. Of who is in no task only who sees all is told."""
    kinds: dict[str, list[Row[Any]]] = defaultdict(list)
    heard = now - shortages.unwritten_seconds  # whom the server could not note is not lost
    for one in session.execute(_suspects(heard, within)):
        kind = _kind(one, heard, within)
        if kind:
            kinds[kind].append(one)
    for kind, found in kinds.items():
        yield _SAID[kind](found, now)


def _suspects(heard: float, within: Within) -> Any:
    """Who may need somebody: the others, of whom there may be thousands, are not read."""
    joined = select(MembershipRow.device_id)
    if within is not None:
        joined = joined.where(MembershipRow.task.in_(within))
    member = _D.id.in_(joined)
    lost = and_(_D.present_until.is_not(None), _D.present_until < heard - LOST_AFTER)
    fatal = _D.process["status"].as_string() == ProcessStatus.FATAL.value
    refusing = cast(_D.process, String).contains(f'"{ReadinessStatus.REFUSED.value}"')
    approved = and_(_D.enrolment == Enrolment.APPROVED, member, or_(lost, fatal, refusing))
    outside: ColumnElement[bool] = _D.enrolment.in_((Enrolment.PENDING, Enrolment.QUARANTINED))
    if within is not None:
        outside = and_(_D.enrolment == Enrolment.QUARANTINED, member)
    columns = _D.name, _D.enrolment, _D.present_until, _D.process, _D.process_at
    more = _D.quarantine, _D.created_at, _D.decided_at
    return select(*columns, *more).where(or_(approved, outside)).order_by(_D.name)


@dataclass(frozen=True)
class LostDevice:
    """A device that should call and does not."""

    id: str
    name: str
    #: Until when its last call let it be online. POSIX seconds.
    since: float


def lost_devices(session: Session, now: float, seconds: float) -> list[LostDevice]:
    """Approved devices in a task that have been away for longer than this, by name."""
    heard = now - shortages.unwritten_seconds  # whom the server could not note is not lost
    query = select(_D.id, _D.name, _D.present_until).where(
        _D.enrolment == Enrolment.APPROVED,
        _D.present_until < heard - seconds,
        _D.id.in_(select(MembershipRow.device_id)),
    )
    return [
        LostDevice(id_, name, until or 0.0)
        for id_, name, until in session.execute(query.order_by(_D.name))
    ]


def names_of_online(session: Session, now: float, ids: Collection[str]) -> dict[str, str]:
    """Which of these devices are online and approved: id to name."""
    query = select(_D.id, _D.name).where(
        _D.id.in_(ids), _D.enrolment == Enrolment.APPROVED, _D.present_until >= now
    )
    return {row.id: row.name for row in session.execute(query)}


def _kind(one: Row[Any], heard: float, within: Within) -> str:
    if one.enrolment is Enrolment.PENDING:
        return _PENDING
    if one.enrolment is Enrolment.QUARANTINED:
        return _QUARANTINED
    if one.present_until < heard - LOST_AFTER:
        return _LOST
    if one.present_until < heard:
        return ""  # away, and not for long
    task = one.process.get("task")
    if one.process.get("status") == ProcessStatus.FATAL:
        return _FATAL if within is None or task in within else ""
    return _REFUSING if _refusal(one, within) else ""


def _refusal(one: Row[Any], within: Within) -> str:
    """Why its training client is not ready, as far as that is of these tasks."""
    for said in one.process.get("readiness", ()):
        task = said.get("task")
        if said.get("status") == ReadinessStatus.REFUSED and (
            within is None or task is None or task in within
        ):
            return said.get("reason") or "it does not say why"
    return ""


def _lost(found: list[Row[Any]], now: float) -> Attention:
    newest = max(one.present_until for one in found)
    who = _who(found, "is lost", "are lost")
    recent = now - newest < DAY
    severity = Severity.NOW if recent else Severity.SOON
    return Attention("devices lost", severity, who, newest, actions=_shown(found))


def _given_up(found: list[Row[Any]], now: float) -> Attention:
    reason = found[0].process.get("reason") or "it does not say why"
    who = _who(
        found,
        f"has given up its training client: {reason}",
        f"have given up their training clients; {found[0].name}: {reason}",
    )
    since = max(one.process_at or now for one in found)
    return Attention("devices given up", Severity.NOW, who, since, actions=_shown(found))


def _refusing(found: list[Row[Any]], now: float) -> Attention:
    reason = _refusal(found[0], None)
    who = _who(
        found,
        f"is online but not ready: {reason}",
        f"are online but not ready; {found[0].name}: {reason}",
    )
    since = max(one.process_at or now for one in found)
    return Attention("devices refusing", Severity.SOON, who, since, actions=_shown(found))


def _quarantined(found: list[Row[Any]], now: float) -> Attention:
    reason = (found[0].quarantine or {}).get("because", "")
    why = f": {reason}" if reason and len(found) == 1 else ""
    who = _who(found, f"is in quarantine{why}", "are in quarantine")
    since = max(one.decided_at or one.created_at for one in found)
    shown = _shown(found)
    if len(found) == 1:
        shown = (*shown, _act(found[0].name, "release", " --because TEXT"))
    return Attention("devices quarantined", Severity.SOON, who, since, actions=shown)


def _pending(found: list[Row[Any]], now: float) -> Attention:
    who = _who(found, "waits for your approval", "wait for your approval")
    since = max(one.created_at for one in found)
    shown = _shown(found)
    if len(found) == 1:
        shown = (*shown, _act(found[0].name, "approve"))
    return Attention("devices pending", Severity.SOON, who, since, actions=shown)


_SAID = {
    _LOST: _lost,
    _FATAL: _given_up,
    _REFUSING: _refusing,
    _QUARANTINED: _quarantined,
    _PENDING: _pending,
}


def _who(found: list[Row[Any]], one: str, many: str) -> str:
    """``Device pi is lost``, ``41 devices are lost: a, b, c and 38 more``."""
    names = [row.name for row in found]
    if len(names) == 1:
        return f"Device {names[0]} {one}"
    text, _, rest = many.partition("; ")
    counted = f"{pluralised(len(names), 'device')} {text}: {first_few(names)}"
    return f"{counted}; {rest}" if rest else counted


def _shown(found: list[Row[Any]]) -> tuple[Action, ...]:
    if len(found) > 1:
        return (Action("Show devices", "/devices", "fedops device list"),)
    name = found[0].name
    return (Action(f"Show {name}", page_of("devices", name), f"fedops device show {name}"),)


def _act(name: str, verb: str, more: str = "") -> Action:
    page, command = f"{page_of('devices', name)}/{verb}", f"fedops device {verb} {name}{more}"
    return Action(f"{verb.capitalize()} {name}", page, command, f"POST /devices/{{device}}/{verb}")
