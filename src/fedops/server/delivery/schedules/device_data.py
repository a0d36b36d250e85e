"""What the devices of a task say of their data, for the schedules that go by it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from fedops.core.contracts import DataReport, OnDrift
from fedops.core.delivery.groups import in_group
from fedops.core.delivery.triggers import DataSeen, weighted_mean, worse_by
from fedops.core.states import Enrolment
from fedops.server.database.tables import DataRow, DeviceRow, MembershipRow, ModelVersionRow
from fedops.server.models import versions

SERVING = "serving"
#: Of a task that has no version.
NO_VERSION = -1


@dataclass(frozen=True)
class Known:
    """A device of the task, and the last that it said."""

    id: str
    name: str
    #: When it came to the task.
    since: float
    report: DataReport
    baseline: Mapping[str, Any]


def known_data(session: Session, task: str, group: Sequence[str]) -> list[Known]:
    """The approved devices of a group that have reported, by name."""
    query = (
        select(
            DataRow.device_id,
            DeviceRow.name,
            DeviceRow.tags,
            MembershipRow.since,
            DataRow.report,
            DataRow.baseline,
        )
        .join(DeviceRow, DeviceRow.id == DataRow.device_id)
        .join(
            MembershipRow,
            (MembershipRow.device_id == DataRow.device_id) & (MembershipRow.task == DataRow.task),
        )
        .where(DataRow.task == task, DataRow.report.is_not(None))
        .where(DeviceRow.enrolment == Enrolment.APPROVED)
        .order_by(DeviceRow.name)
    )
    # Not checked again: it was when it came, and there may be thousands, each second.
    return [
        Known(id_, name, since, DataReport.model_construct(**report), baseline or {})
        for id_, name, tags, since, report, baseline in session.execute(query)
        if report is not None and in_group(group, name, tags)
    ]


def seen_of(known: Sequence[Known]) -> dict[str, DataSeen]:
    """By device id."""
    return {one.id: DataSeen(one.report.examples, one.report.fingerprint) for one in known}


def plain_seen(seen: Mapping[str, DataSeen]) -> dict[str, Any]:
    """As it is kept in a schedule's row."""
    return {device_id: asdict(one) for device_id, one in seen.items()}


def read_seen(plain: Mapping[str, Any]) -> dict[str, DataSeen]:
    return {device_id: DataSeen(**one) for device_id, one in plain.items()}


def start_version(session: Session, task: str) -> int | None:
    """What a scheduled run starts from: ``serving``, else ``latest``. None: V0, or a new model."""
    named = versions.aliases(session, task)
    return named.get(SERVING, named.get(versions.LATEST))


def watched_version(session: Session, task: str) -> int:
    """The version that drift is measured of; ``NO_VERSION``: the task has none that is sound."""
    number = start_version(session, task)
    row = session.get(ModelVersionRow, (task, number)) if number is not None else None
    return NO_VERSION if row is None or row.quarantined_at is not None else row.version


@dataclass(frozen=True)
class Drift:
    """How far it is, of which version, as the mean of so many devices."""

    version: int
    value: float
    devices: int


def drift(session: Session, trigger: OnDrift, task: str, known: Sequence[Known]) -> Drift | None:
    """The drift that devices have measured of the version that serves; None: none has."""
    version = watched_version(session, task)
    ours = [one for one in known if one.report.version == version]
    found = [weighed for one in ours if (weighed := _measured(trigger, one)) is not None]
    value = weighted_mean(found)
    return None if value is None else Drift(version, value, len(found))


def _measured(trigger: OnDrift, one: Known) -> tuple[float, float] | None:
    """What a device measured, and what it weighs."""
    report = one.report
    if trigger.metric is None:
        if report.psi is None:
            return None
        return max(report.psi - report.psi_by_chance, 0.0), float(report.examples)
    before, now = one.baseline.get("metrics", {}), report.metrics
    if trigger.metric not in before or trigger.metric not in now:
        return None
    change = worse_by(trigger.metric, before[trigger.metric], now[trigger.metric])
    return change, float(report.validation_examples)
