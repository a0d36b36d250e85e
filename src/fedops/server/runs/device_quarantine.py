"""A device is trusted no more: it is shut out, and what its updates are in is named and put aside."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sqlalchemy.orm import Session

from fedops.core.contracts import DeviceQuarantine, DeviceRead, DeviceTouched, TouchedRun
from fedops.core.errors import Conflict
from fedops.core.states import ENROLMENT_OUT, Enrolment
from fedops.server.database.lookup import require_device
from fedops.server.database.tables import DeviceRow, RunRow
from fedops.server.devices import enrolment, registry
from fedops.server.events import event_log
from fedops.server.models import quarantine, touched, versions
from fedops.server.models.touched import Touch

#: A reason names so many rounds at most.
_NAMED_ROUNDS = 10


def quarantine_device(
    session: Session, device: str, body: DeviceQuarantine, now: float
) -> DeviceTouched:
    """Ask a device for nothing more, and quarantine the versions that its updates are in. Repeatable."""
    row = require_device(session, device)
    if row.enrolment in (Enrolment.PENDING, Enrolment.REJECTED):
        raise Conflict(
            f"device '{row.name}' is {row.enrolment.value}: it has taken part in nothing"
        )
    if row.enrolment not in ENROLMENT_OUT:  # who is out for good has left what it has left
        enrolment.quarantine(session, row, body.because, body.keep_versions, now)
    if not body.keep_versions:
        for touch in touched.touched_by(session, row.id):
            _put_aside(session, row.name, touch, body.because, now)
    session.flush()
    return read_touched(session, device, now)


def _put_aside(session: Session, name: str, touch: Touch, because: str, now: float) -> None:
    version = touched.version_of(session, touch)
    if version is None:
        return
    said = [f"updates of device {name} are in {rounds_text(touch.rounds)}"] if touch.rounds else []
    if touch.began_from:
        said.append(f"it goes on from {touch.began_from}, which updates of device {name} are in")
    why = f"{'; '.join(said)} ({because})"
    quarantine.put(session, version, why, event_log.OPERATOR, now)


def rounds_text(rounds: Sequence[int]) -> str:
    """``round 2``, ``rounds 1, 2 and 40 more``."""
    shown, more = ", ".join(map(str, rounds[:_NAMED_ROUNDS])), len(rounds) - _NAMED_ROUNDS
    word = "round" if len(rounds) == 1 else "rounds"
    return f"{word} {shown}" if more <= 0 else f"{word} {shown} and {more} more"


def release_device(session: Session, device: str, because: str, now: float) -> DeviceTouched:
    """A device takes part again. Its versions stay as they are: each is released by itself."""
    enrolment.release(session, require_device(session, device), because, now)
    session.flush()
    return read_touched(session, device, now)


def read_touched(
    session: Session, device: str, now: float, within: frozenset[str] | None = None
) -> DeviceTouched:
    """A device, the runs that its updates are in (``within``: of these tasks), and what to do next."""
    found = registry.read_device(session, device, now, within)
    touches = touched.touched_by(session, found.id)
    runs = [_read(session, one) for one in touches if within is None or one.task in within]
    steps = [*_runs_that_go_on(session, found.id, runs), *_next_steps(session, found, runs)]
    return DeviceTouched(device=found, touched=runs, next_steps=steps)


def _read(session: Session, touch: Touch) -> TouchedRun:
    version = touched.version_of(session, touch)
    return TouchedRun(
        task=touch.task,
        run_id=touch.run_id,
        rounds=touch.rounds,
        began_from=touch.began_from,
        version=touch.version,
        quarantine=version.quarantine if version else None,
    )


def _runs_that_go_on(session: Session, device_id: str, runs: Sequence[TouchedRun]) -> Iterator[str]:
    row = session.get_one(DeviceRow, device_id)
    if row.enrolment is not Enrolment.QUARANTINED or (row.quarantine or {}).get("keep_versions"):
        return
    for run in runs:
        if session.get_one(RunRow, run.run_id).ended_at is None:
            stop = f"'fedops run stop {run.run_id}'"
            yield f"run {run.run_id} goes on, and its version will be quarantined: {stop}"


def _next_steps(session: Session, device: DeviceRead, runs: Sequence[TouchedRun]) -> Iterator[str]:
    """Per task: the newest version made again without it, and the aliases that name what is put aside."""
    state = device.enrolment
    name = device.id if state is Enrolment.REMOVED else device.name
    out = state is not Enrolment.APPROVED
    aside = {(run.task, run.version) for run in runs if run.quarantine is not None}
    newest = {run.task: run.version for run in runs if (run.task, run.version) in aside}
    for task, version in newest.items():
        if out:
            command = f"fedops model rebuild {task} V{version} --without {name}"
            yield f"make V{version} of {task} without it: '{command}'"
        else:
            command = f"fedops model release {task} V{version} --because TEXT"
            yield f"V{version} of {task} stays quarantined until '{command}'"
        for alias, number in versions.aliases(session, task).items():
            if (task, number) in aside:
                back = f"fedops model rollback {task} --alias {alias}"
                yield f"{alias} of {task} names V{number} still: '{back}'"
    if state is Enrolment.QUARANTINED:
        yield f"see what it logged: 'fedops device logs {name}'"
        yield (
            f"then let it take part again ('fedops device release {name} --because TEXT') or shut it out for"
            f" good ('fedops device revoke {name}')"
        )
