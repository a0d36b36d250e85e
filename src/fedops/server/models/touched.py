"""Which rounds, runs and versions the updates of a device are in: its own, and all that came from them.

A round counts a device when it was committed with an update of it. Whoever evaluated only has changed no
model.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Row, Select, select
from sqlalchemy.orm import Session

from fedops.core.states import Enrolment, ParticipationStatus
from fedops.server.database.tables import (
    DeviceRow,
    ModelVersionRow,
    ParticipationRow,
    RoundRow,
    RunRow,
)

#: Id, task, parent, first round, version it began from, version it made.
_Run = Row[int, str, int | None, int, int | None, int | None]
#: Before all rounds of a run: in the model that it began from.
_BEFORE = 0


@dataclass(frozen=True)
class Touch:
    """A run that a device's updates are in."""

    task: str
    run_id: int
    #: Its own rounds with them.
    rounds: list[int]
    #: What it began from that they are in. Empty: nothing.
    began_from: str
    version: int | None


def touched_by(session: Session, device_id: str) -> list[Touch]:
    """All runs that a device's updates are in, the oldest first."""
    rounds = _rounds_of(session, device_id)
    found: dict[int, Touch] = {}
    versions: dict[tuple[str, int], int] = {}  # those with its updates, and the run of each
    for run in _runs_of_tasks(session, list(rounds)):
        origin = _origin(run, found, versions)
        own = rounds.get(run.id, [])
        if not own and not origin:
            continue
        found[run.id] = Touch(run.task, run.id, own, origin, run.version)
        if run.version is not None:
            versions[run.task, run.version] = run.id
    return list(found.values())


def _origin(run: _Run, found: dict[int, Touch], versions: dict[tuple[str, int], int]) -> str:
    """What the run began from, if it is touched: its parent up to its first round, else a version."""
    if run.parent is not None:
        before = found.get(run.parent)
        if before is None or _first(before) >= run.first_round:
            return ""
        went_on = before.version is not None and before.version == run.from_version
        return f"V{before.version}" if went_on else f"run {run.parent}"
    began = run.from_version
    return f"V{began}" if began is not None and (run.task, began) in versions else ""


def _first(touch: Touch) -> int:
    return _BEFORE if touch.began_from else min(touch.rounds)


def rounds_by_quarantined(session: Session, run: RunRow) -> dict[str, list[int]]:
    """Devices in quarantine whose updates are in a run that ends now, with the rounds.

    The rounds of runs that it goes on from count, where those made no version that could be quarantined.
    """
    found: dict[str, list[int]] = defaultdict(list)
    one, before = run, None
    while True:
        for name, kept, number in session.execute(_distrusted(one.id)):
            if not (kept or {}).get("keep_versions") and (before is None or number < before):
                found[name].append(number)
        parent = session.get(RunRow, one.parent) if one.parent is not None else None
        if parent is None or (parent.version is not None and not _aggregates_again(one)):
            return {name: sorted(rounds) for name, rounds in sorted(found.items())}
        one, before = parent, one.first_round


def _aggregates_again(run: RunRow) -> bool:
    return "of_run" in (run.rebuilds or {})


def _distrusted(run_id: int) -> Select[str, dict[str, object], int]:
    return (
        select(DeviceRow.name, DeviceRow.quarantine, ParticipationRow.round)
        .join(ParticipationRow, ParticipationRow.device_id == DeviceRow.id)
        .join(RoundRow, _COUNTED)
        .where(ParticipationRow.run_id == run_id, *_WITH_UPDATE)
        .where(DeviceRow.enrolment == Enrolment.QUARANTINED)
    )


_COUNTED = (
    (RoundRow.run_id == ParticipationRow.run_id)
    & (RoundRow.round == ParticipationRow.round)
    & (RoundRow.attempt == ParticipationRow.attempt)
)
_WITH_UPDATE = (
    RoundRow.committed_at.is_not(None),
    ParticipationRow.status == ParticipationStatus.REPLIED,
    ParticipationRow.examples > 0,
)


def _rounds_of(session: Session, device_id: str) -> dict[int, list[int]]:
    """The rounds that a device's updates are in, by run."""
    query = (
        select(ParticipationRow.run_id, ParticipationRow.round)
        .join(RoundRow, _COUNTED)
        .where(ParticipationRow.device_id == device_id, *_WITH_UPDATE)
        .order_by(ParticipationRow.run_id, ParticipationRow.round)
    )
    found: dict[int, list[int]] = defaultdict(list)
    for run_id, number in session.execute(query):
        found[run_id].append(number)
    return found


def _runs_of_tasks(session: Session, run_ids: Sequence[int]) -> Sequence[_Run]:
    """All runs of the tasks of these, the oldest first."""
    tasks = select(RunRow.task).where(RunRow.id.in_(run_ids))
    query = select(
        RunRow.id,
        RunRow.task,
        RunRow.parent,
        RunRow.first_round,
        RunRow.from_version,
        RunRow.version,
    )
    return session.execute(query.where(RunRow.task.in_(tasks)).order_by(RunRow.id)).all()


def version_of(session: Session, touch: Touch) -> ModelVersionRow | None:
    """The version that a run made."""
    if touch.version is None:
        return None
    return session.get_one(ModelVersionRow, (touch.task, touch.version))
