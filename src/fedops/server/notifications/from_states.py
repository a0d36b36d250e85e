"""What lasts: runs that wait, devices that are lost, drift. As the pages say that somebody is needed."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace

from sqlalchemy.orm import Session

from fedops.core.contracts import RunRead
from fedops.core.reasons.durations import duration
from fedops.core.states import NotificationRule
from fedops.server.attention import of_delivery, of_devices, of_runs
from fedops.server.attention.thing import page_of
from fedops.server.database.tables import OpenOccurrenceRow
from fedops.server.notifications.occurrences import Occurrence
from fedops.server.runs import views
from fedops.settings import ServerSettings

#: The rules of what lasts.
LASTING = frozenset(
    {NotificationRule.RUN_WAITING, NotificationRule.DEVICE_LOST, NotificationRule.DRIFT}
)
_DRIFT, _RUN, _DEVICE = "drift ", "waiting run ", "lost device "


@dataclass(frozen=True)
class Lasting:
    """What lasts at a moment, read once for all channels."""

    found: tuple[Occurrence, ...]
    now: float
    settings: ServerSettings

    def beyond(
        self, rules: Collection[NotificationRule], waiting: float, lost: float
    ) -> Iterator[Occurrence]:
        """What has lasted for longer than a channel allows (seconds); its time is when that was reached."""
        limits = {NotificationRule.RUN_WAITING: waiting, NotificationRule.DEVICE_LOST: lost}
        for one in self.found:
            due = one.since + limits.get(one.rule, 0.0)
            if one.rule in rules and due <= self.now:
                yield replace(one, at=due)


def lasting(
    session: Session,
    settings: ServerSettings,
    rules: Collection[NotificationRule],
    least_lost: float,
    now: float,
) -> Lasting:
    """What lasts of these rules. ``least_lost``: devices that are away for less are not read. Seconds."""
    found: list[Occurrence] = []
    if NotificationRule.RUN_WAITING in rules:
        active = of_runs.active_runs(session, settings, now, None)
        found += _waiting(session, active, now)
    if NotificationRule.DEVICE_LOST in rules:
        found += [_lost(one, now) for one in of_devices.lost_devices(session, now, least_lost)]
    if NotificationRule.DRIFT in rules:
        found += _drifting(session, now)
    return Lasting(tuple(found), now, settings)


def _waiting(session: Session, active: Sequence[RunRead], now: float) -> Iterator[Occurrence]:
    since = of_runs.waiting_since(session, active, now)
    for run in active:
        if run.id in since:
            yield Occurrence(
                rule=NotificationRule.RUN_WAITING,
                key=f"{_RUN}{run.id}",
                subject=f"run {run.id}",
                name=str(run.id),
                sentence=f"Run {run.id} of {run.task}: {run.why}",
                page=page_of("runs", run.id),
                command=f"fedops run show {run.id}",
                since=since[run.id],
                at=since[run.id],
                task=run.task,
                run_id=run.id,
            )


def _lost(one: of_devices.LostDevice, now: float) -> Occurrence:
    return Occurrence(
        rule=NotificationRule.DEVICE_LOST,
        key=f"{_DEVICE}{one.id}",
        subject=f"device {one.name}",
        name=one.name,
        sentence=f"Device {one.name} is lost: no call for {duration(now - one.since)}",
        page=page_of("devices", one.name),
        command=f"fedops device show {one.name}",
        since=one.since,
        at=one.since,
        device=one.name,
    )


def _drifting(session: Session, now: float) -> Iterator[Occurrence]:
    for thing in of_delivery.drift_alarms(session, now, None):
        task = thing.key.split(" ")[1]
        yield Occurrence(
            rule=NotificationRule.DRIFT,
            key=thing.key,
            subject=f"task {task}",
            name=task,
            sentence=thing.sentence,
            page=thing.actions[0].page,
            command=thing.actions[0].command,
            since=thing.since,
            at=thing.since,
            task=task,
        )


# --- what is over ----------------------------------------------------------------------------


def over(session: Session, ended: Sequence[OpenOccurrenceRow], lasts: Lasting) -> list[Occurrence]:
    """What is to be said of what does not last any more. Nothing, where the reason is no good news."""
    devices = {row.key.removeprefix(_DEVICE): row for row in ended if row.key.startswith(_DEVICE)}
    runs = {int(row.key.removeprefix(_RUN)): row for row in ended if row.key.startswith(_RUN)}
    drifts = [row for row in ended if row.key.startswith(_DRIFT)]
    names = of_devices.names_of_online(session, lasts.now, devices.keys()) if devices else {}
    read = views.read_runs(session, [*runs], lasts.settings, lasts.now) if runs else []
    return [
        *(_back(devices[id_], name, lasts.now) for id_, name in names.items()),
        *(_goes_on(runs[run.id], run, lasts.now) for run in read),
        *(_calm(row, lasts.now) for row in drifts),
    ]


def _back(row: OpenOccurrenceRow, name: str, now: float) -> Occurrence:
    return Occurrence(
        rule=NotificationRule.DEVICE_LOST,
        key=row.key,
        subject=f"device {name}",
        name=name,
        sentence=f"Device {name} is online again after {duration(now - row.since)}",
        page=page_of("devices", name),
        command=f"fedops device show {name}",
        since=row.since,
        at=now,
        device=name,
        over=True,
    )


def _goes_on(row: OpenOccurrenceRow, run: RunRead, now: float) -> Occurrence:
    return Occurrence(
        rule=NotificationRule.RUN_WAITING,
        key=row.key,
        subject=f"run {run.id}",
        name=str(run.id),
        sentence=f"Run {run.id} of {run.task} does not wait any more: {run.why}",
        page=page_of("runs", run.id),
        command=f"fedops run show {run.id}",
        since=row.since,
        at=now,
        task=run.task,
        run_id=run.id,
        over=True,
    )


def _calm(row: OpenOccurrenceRow, now: float) -> Occurrence:
    task = row.key.split(" ")[1]
    shown = of_delivery.show_drift(task)
    return Occurrence(
        rule=NotificationRule.DRIFT,
        key=row.key,
        subject=f"task {task}",
        name=task,
        sentence=f"The drift alarm of {task} is over",
        page=shown.page,
        command=shown.command,
        since=row.since,
        at=now,
        task=task,
        over=True,
    )
