"""Whether a schedule is due: read from the database, decided, and nothing written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from pydantic import TypeAdapter
from sqlalchemy.orm import Session

from fedops.core.contracts import (
    Cron,
    Every,
    OnCommit,
    OnDrift,
    OnNewData,
    PromotionRule,
    Trigger,
)
from fedops.core.delivery import triggers
from fedops.core.delivery.triggers import DriftState
from fedops.core.reasons.durations import first_few, pluralised
from fedops.server.database.tables import ScheduleRow, TaskRow
from fedops.server.delivery.schedules import cron, device_data
from fedops.server.delivery.schedules.device_data import Known

_TRIGGER: TypeAdapter[Trigger] = TypeAdapter(Trigger)
BUNDLE, DEVICES, DRIFT = "bundle", "devices", "drift"


@dataclass(frozen=True)
class Look:
    """What a look at a schedule found."""

    #: Why it fires; "": it does not.
    fires: str = ""
    #: It was to fire long ago: nobody was there.
    missed: bool = False
    #: New values of the schedule's row.
    values: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_news(self) -> bool:
        return bool(self.fires or self.values)


def trigger_of(row: ScheduleRow) -> Trigger:
    return _TRIGGER.validate_python(row.trigger)


def promotion_of(row: ScheduleRow) -> PromotionRule:
    return PromotionRule.model_validate(row.promotion)


def first_tick(trigger: Trigger, now: float) -> float | None:
    """When a schedule that goes by the clock fires first; None: it goes by none."""
    match trigger:
        case Every(seconds=seconds):
            return now + seconds
        case Cron():
            return cron.next_tick(trigger, now)
        case _:
            return None


def look(session: Session, row: ScheduleRow, now: float) -> Look:
    """Whether a schedule is due at ``now``."""
    trigger = trigger_of(row)
    match trigger:
        case Every():
            return _every(row, trigger, now)
        case Cron():
            return _cron(row, trigger, now)
        case OnCommit():
            return _commit(session, row)
        case OnNewData():
            return _new_data(session, row, trigger)
        case OnDrift():
            return _drift(session, row, trigger)
        case _:
            return Look()


def _every(row: ScheduleRow, trigger: Every, now: float) -> Look:
    tick, seconds = row.next_at, trigger.seconds
    if tick is None or triggers.every_is_astray(tick, seconds, now):
        return Look(values={"next_at": now + seconds})
    if now < tick:
        return Look()
    after, count = triggers.next_of_every(tick, seconds, now)
    why, late = triggers.when_text(trigger), triggers.is_late(after - seconds, now)
    return Look(_with_count(why, count), late, {"next_at": after, "ticked_at": after - seconds})


def _with_count(why: str, count: int) -> str:
    return why if count == 1 else f"{why}, {pluralised(count, 'tick')} together"


def _cron(row: ScheduleRow, trigger: Cron, now: float) -> Look:
    tick = row.next_at
    if tick is None or triggers.cron_is_astray(row.ticked_at, now):
        return Look(values={"next_at": cron.next_tick(trigger, now), "ticked_at": None})
    if now < tick:
        return Look()
    after, why = cron.next_tick(trigger, now), triggers.when_text(trigger)
    late = cron.next_tick(trigger, now - triggers.LATE_SECONDS) > now
    return Look(why, late, {"next_at": after, "ticked_at": tick})


def _commit(session: Session, row: ScheduleRow) -> Look:
    bundle = session.get_one(TaskRow, row.task).bundle
    if bundle is None or bundle == row.seen.get(BUNDLE):
        return Look()
    return Look(f"other code: app bundle {bundle[:12]}", values=_seen(row, BUNDLE, bundle))


def _new_data(session: Session, row: ScheduleRow, trigger: OnNewData) -> Look:
    known = device_data.known_data(session, row.task, row.devices)
    before, now = _met(row, known), device_data.seen_of(known)
    if trigger.examples is not None:
        count = triggers.added(before, now)
        fires = f"{pluralised(count, 'new example')}" if count >= trigger.examples else ""
    else:
        names = {one.id: one.name for one in known}
        others = [names[id_] for id_ in triggers.changed(before, now)]
        fires = f"the data of {first_few(others)} has changed" if others else ""
    kept = device_data.plain_seen(now if fires else before)
    changed = kept != row.seen.get(DEVICES, {})
    return Look(fires, values=_seen(row, DEVICES, kept) if changed else {})


def _met(row: ScheduleRow, known: list[Known]) -> dict[str, triggers.DataSeen]:
    """What was seen of each device. One that was there before the schedule is met as it is now."""
    before = device_data.read_seen(row.seen.get(DEVICES, {}))
    old = [one for one in known if one.id not in before and one.since <= row.changed_at]
    return {**before, **device_data.seen_of(old)}


@dataclass(frozen=True)
class DriftStanding:
    """How far the data of a task's devices has drifted, and how far it may."""

    #: ``psi`` of the inputs, or the metric that has become worse.
    measure: str
    threshold: float
    #: None: no device has measured it of the version that serves.
    found: device_data.Drift | None


def drift_standing(session: Session, row: ScheduleRow) -> DriftStanding | None:
    """Of a schedule that goes by drift; None: it does not."""
    trigger = trigger_of(row)
    if not isinstance(trigger, OnDrift):
        return None
    known = device_data.known_data(session, row.task, row.devices)
    found = device_data.drift(session, trigger, row.task, known)
    return DriftStanding(trigger.metric or "psi", _threshold(trigger), found)


def _threshold(trigger: OnDrift) -> float:
    threshold = trigger.worse_by if trigger.psi is None else trigger.psi
    assert threshold is not None
    return threshold


def _drift(session: Session, row: ScheduleRow, trigger: OnDrift) -> Look:
    known = device_data.known_data(session, row.task, row.devices)
    found = device_data.drift(session, trigger, row.task, known)
    if found is None:
        return Look()
    threshold = _threshold(trigger)
    before = DriftState(**row.seen.get(DRIFT, {}))
    fires, after = triggers.drift_step(before, found.version, found.value, threshold)
    why = _drift_text(trigger, found) if fires else ""
    return Look(why, values=_seen(row, DRIFT, asdict(after)) if after != before else {})


def _drift_text(trigger: OnDrift, found: device_data.Drift) -> str:
    has_one = found.version != device_data.NO_VERSION
    on = f"on {pluralised(found.devices, 'device')}"
    if trigger.metric is None:
        since = f" since V{found.version}" if has_one else ""
        limit = f"(threshold {trigger.psi:g})"
        return f"the inputs' stability index{since} is {found.value:.3g} {on} {limit}"
    limit = f"(threshold {trigger.worse_by:g})"
    return f"{trigger.metric} of V{found.version} is worse by {found.value:.3g} {on} {limit}"


def _seen(row: ScheduleRow, key: str, value: Any) -> dict[str, Any]:
    return {"seen": {**row.seen, key: value}}


def seen_now(session: Session, row: ScheduleRow) -> dict[str, Any]:
    """What a run of the schedule that begins now sees: code and data. The drift stays as it was noted."""
    trigger = trigger_of(row)
    found: dict[str, Any] = {BUNDLE: session.get_one(TaskRow, row.task).bundle}
    if isinstance(trigger, OnNewData):
        known = device_data.known_data(session, row.task, row.devices)
        before = row.seen.get(DEVICES, {})
        found[DEVICES] = {**before, **device_data.plain_seen(device_data.seen_of(known))}
    return {**row.seen, **found}
