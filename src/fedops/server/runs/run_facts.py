"""A run and an attempt as the plain facts that ``core.reasons.runs`` decides on."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from fedops.core.contracts import EngineProgress
from fedops.core.quorum import clients_needed, clients_wanted, quorum
from fedops.core.reasons.attempts import AttemptFacts
from fedops.core.reasons.devices import EVALUATES_ONLY, DeviceFacts, evaluates_only
from fedops.core.reasons.durations import first_few
from fedops.core.reasons.plan import RunPlan
from fedops.core.reasons.runs import RunFacts
from fedops.core.states import RUN_TERMINAL, AttemptStatus, RunStatus
from fedops.server.assignments import open_work
from fedops.server.database.tables import AssignmentRow, AttemptRow, RunRow
from fedops.server.devices.availability import (
    device_facts,
    presence_facts,
    reason_against,
    task_attendance,
    task_devices,
)
from fedops.server.devices.narrowed_view import without_others
from fedops.server.devices.running_commits import running_other_code
from fedops.server.models import gate, versions
from fedops.server.runs import stopping, time_limits
from fedops.server.runs.control import rebuild_again
from fedops.settings import ServerSettings
from fedops.storage.shortages import shortages

#: What Flower's strategies ask for when their arguments do not say.
FLOWER_MINIMUM = 2
#: What so many of the clients that have not replied do is looked up; people are told of the first few.
_LOOKED_AT = 20


def run_facts(
    session: Session,
    run: RunRow,
    attempt: AttemptRow | None,
    settings: ServerSettings,
    now: float,
    within: frozenset[str] | None = None,
) -> RunFacts:
    """A run at ``now``. ``within``: of what its devices do for other tasks nothing is told."""
    progress = _progress(attempt)
    devices = [] if run.status in RUN_TERMINAL else _devices(session, run, progress, now, within)
    trains = progress is not None and progress.phase == "training"
    waits = progress is not None and progress.phase == "waiting"
    other_code = running_other_code(session, run) if waits else {}
    reasons = {d.name: _not_training(d, run) or other_code.get(d.name) for d in devices if waits}
    ending = run.status in (RunStatus.STOPPING, RunStatus.PAUSING)
    since = attempt.progress_at if attempt else None
    shortage = shortages.current
    return RunFacts(
        id=run.id,
        status=run.status,
        rounds=run.rounds,
        committed_rounds=run.committed_rounds,
        seconds_in_state=max(now - run.status_since, 0.0),
        attempt=run.current_attempt,
        needed=_needed(run),
        devices=devices,
        unavailable={name: why for name, why in reasons.items() if why is not None},
        progress=progress,
        limit_seconds=time_limits.run_limit(run, progress, settings),
        progress_seconds=0.0 if since is None else max(now - since, 0.0),
        asked=len(stopping.devices_asked_to_stop(session, run, now)) if ending else 0,
        unconfirmed=stopping.unconfirmed_devices(session, run.id, now) if ending else (),
        reason=run.reason,
        text=run.text,
        version=run.version,
        again=rebuild_again(run),
        metrics=run.metrics,
        task=run.task,
        crashes=run.lost_in_a_row,
        crash=_crash(session, run),
        shortage=shortage.text() if shortage else (progress.shortage if progress else ""),
        at_work=open_work.count_open(session, run.id) if trains else 0,
    )


def _crash(session: Session, run: RunRow) -> str:
    """How the attempt before ended, when it made no round."""
    if not run.lost_in_a_row or run.status not in (RunStatus.STARTING, RunStatus.RUNNING):
        return ""
    query = select(AttemptRow.reason).where(
        AttemptRow.run_id == run.id, AttemptRow.number < run.current_attempt
    )
    return session.scalars(query.order_by(AttemptRow.number.desc()).limit(1)).first() or ""


def _against(device: DeviceFacts, run: RunRow) -> str | None:
    return reason_against(device, run.task, run.refused, run.devices)


def _not_training(device: DeviceFacts, run: RunRow) -> str | None:
    against = _against(device, run)
    return against or (EVALUATES_ONLY if evaluates_only(device) else None)


def _devices(
    session: Session,
    run: RunRow,
    progress: EngineProgress | None,
    now: float,
    within: frozenset[str] | None,
) -> list[DeviceFacts]:
    """The run's devices, as far as its phase depends on them: there may be thousands."""
    phase = progress.phase if progress else ""
    if progress is not None and phase == "training":
        replied = frozenset(progress.replied)
        missing = [name for name in progress.selected if name not in replied][:_LOOKED_AT]
        rows = task_attendance(session, run.task, missing, now)
        ids = [row.id for row in rows]
        work = open_work.work_by_device(session, AssignmentRow.device_id.in_(ids))
        return [
            presence_facts(row, now, without_others(work.get(row.id, ()), within)) for row in rows
        ]
    if phase == "waiting":
        return [device_facts(r, (run.task,), now) for r in task_devices(session, run.task)]
    return []


def attempt_facts(
    run: RunRow, attempt: AttemptRow, settings: ServerSettings, now: float
) -> AttemptFacts:
    """An attempt of a run at ``now``."""
    progress, since, limit = None, attempt.started_at, None
    if attempt.status is AttemptStatus.STARTING:
        limit = settings.attempt_start_seconds
    elif attempt.status is AttemptStatus.RUNNING:
        progress, since = _progress(attempt), attempt.progress_at or attempt.started_at
        limit = time_limits.phase_limit(run, progress, settings)
    return AttemptFacts(
        status=attempt.status,
        pid=attempt.pid,
        seconds=max(now - since, 0.0),
        limit_seconds=limit,
        progress=progress,
        reason=attempt.reason,
    )


def _progress(attempt: AttemptRow | None) -> EngineProgress | None:
    if attempt is None or attempt.progress is None:
        return None
    return EngineProgress.model_validate(attempt.progress)


def run_plan(session: Session, run: RunRow, now: float) -> RunPlan:
    """What the run's rounds will be like with the devices that are ready now."""
    members = [device_facts(row, (run.task,), now) for row in task_devices(session, run.task)]
    other_code = running_other_code(session, run)
    there = [d for d in members if _against(d, run) is None and d.name not in other_code]
    evaluating = sum(evaluates_only(device) for device in there)
    ready = len(there) - evaluating
    wanted, counts_with = numbers_of_round(run, ready)
    left, notes = run.rounds - run.committed_rounds, _notes(session, run)
    asked_for = _policy(run).get("min_replies")
    return RunPlan(ready, wanted, counts_with, left, evaluating, asked_for, notes)


def _notes(session: Session, run: RunRow) -> list[str]:
    """Which version it starts from, where newer ones are quarantined; that nothing will be compared."""
    begins = run.from_version or 0
    newer = versions.quarantined_since(session, run.task, begins)
    is_latest = (versions.newest_sound(session, run.task) or 0) == begins
    notes = []
    if newer and is_latest and run.parent is None and not run.new_model:
        names = first_few([f"V{number}" for number in newer])
        notes.append(f"from V{begins}, as {names} {'is' if len(newer) == 1 else 'are'} quarantined")
    return notes if gate.rule_of(run).ratio else [*notes, "no gate: server.gate.ratio is 0"]


def numbers_of_round(run: RunRow, ready: int) -> tuple[int, int]:
    """How many of so many devices a round asks, and with how many updates it counts."""
    minimum, fraction = _minimum(run), _number(_strategy(run), "fraction_fit", "fraction_train")
    share = 1.0 if fraction is None else fraction
    wanted = max(1, clients_wanted(ready, run.config.get("clients_per_round"), share, minimum))
    return wanted, quorum(wanted, _policy(run).get("min_replies"), minimum)


def _needed(run: RunRow) -> int:
    available = _number(_strategy(run), "min_available_clients", "min_available_nodes")
    return clients_needed(run.config.get("clients_per_round"), _minimum(run), int(available or 1))


def _minimum(run: RunRow) -> int:
    given = _number(_strategy(run), "min_fit_clients", "min_train_nodes")
    return FLOWER_MINIMUM if given is None else int(given)


def _strategy(run: RunRow) -> dict[str, Any]:
    found: dict[str, Any] = run.config.get("server", {}).get("strategy", {})
    return found


def _policy(run: RunRow) -> dict[str, Any]:
    found: dict[str, Any] = run.config.get("server", {}).get("round", {})
    return found


def _number(table: dict[str, Any], *names: str) -> float | None:
    """The first of these that is given as a number."""
    given = (table[name] for name in names if isinstance(table.get(name), int | float))
    return next(given, None)
