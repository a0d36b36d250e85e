"""What a device does, or what must be done first: one sentence with numbers, from facts, for people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from fedops.core.contracts import ProcessReport, Stage
from fedops.core.reasons import next_steps
from fedops.core.reasons.durations import duration, duration_of_limit, pluralised
from fedops.core.reasons.quarantine import quarantined_device
from fedops.core.reasons.readiness import (
    conditions_text,
    last_refusal,
    not_ready,
    readiness_text,
    refused_tasks,
)
from fedops.core.reasons.stages import benchmark_text, look_text
from fedops.core.reasons.work import WorkFacts, place_of, working
from fedops.core.states import PROCESS_READY, Enrolment, ProcessStatus


@dataclass(frozen=True)
class DeviceFacts:
    """A device, at one moment."""

    name: str
    enrolment: Enrolment
    online: bool
    #: Since its last heartbeat; None: there was none.
    last_seen_seconds: float | None
    process: ProcessReport = field(default_factory=ProcessReport)
    tasks: Sequence[str] = ()
    problems: Sequence[str] = ()
    #: What it has in hand, the oldest first.
    work: Sequence[WorkFacts] = ()
    #: Why it is quarantined.
    quarantine: str = ""
    #: For so long the server has been unable to note who calls, and what it lacks.
    unheard_seconds: float = 0.0
    lacking: str = ""
    #: What operators call it beside its name.
    tags: Sequence[str] = ()


#: A training client that died is told before the work that the device has in hand.
_DIED = (ProcessStatus.BACKOFF, ProcessStatus.FATAL)
#: Of a device that has validation data only: why it is not asked to train.
EVALUATES_ONLY = "evaluates only: it has no training example"


def evaluates_only(device: DeviceFacts) -> bool:
    """Whether a device said that it has nothing to train on."""
    return device.process.training_examples == 0


def presence(device: DeviceFacts) -> str:
    """``online``, ``offline, last seen 41 s ago`` or ``never seen``."""
    if device.online:
        return "online"
    if device.last_seen_seconds is None:
        return "never seen"
    return f"offline, last seen {duration(device.last_seen_seconds)} ago"


def device_why(device: DeviceFacts) -> str:
    """What a device does, or what it (or we) must do first."""
    if device.lacking:
        known = _device_why(replace(device, lacking=""))
        return f"{known}; as of {duration(device.unheard_seconds)} ago: {device.lacking}"
    return _device_why(device)


def _device_why(device: DeviceFacts) -> str:
    if device.enrolment is Enrolment.PENDING:
        return f"waiting for approval ('fedops device approve {device.name}'); {presence(device)}"
    if device.enrolment is Enrolment.QUARANTINED:
        return f"{quarantined_device(device.name, device.quarantine)}; {presence(device)}"
    if device.enrolment is not Enrolment.APPROVED:
        what = f"{device.enrolment.value}: it takes part in nothing"
        return next_steps.sentence(what, next_steps.remove_device(device.name))
    if not device.online:
        return next_steps.sentence(presence(device), next_steps.start_device())
    if device.problems:
        return "online, but " + "; ".join(device.problems)
    if not device.tasks:
        return "online, but in no task: on the device, 'fedops client run --app PATH --task NAME'"
    process = device.process
    busy = [work for work in device.work if work.stage is not Stage.WAITING]
    if busy:
        died = _activity(process) if process.status in _DIED else ""
        hand = "; ".join(f"{working(work)}{place_of(work)}" for work in busy)
        return next_steps.sentence("online", died, hand, _mend(process))
    idle = process.status is ProcessStatus.IDLE
    but = ", but" if idle and refused_tasks(process) else ";"
    role = f", {EVALUATES_ONLY}" if evaluates_only(device) else ""
    last = "; ".join(
        filter(None, [conditions_text(process), last_refusal(process) if idle else ""])
    )
    return next_steps.sentence(f"online{but} {_activity(process)}{role}", last, _mend(process))


def _mend(process: ProcessReport) -> str:
    return next_steps.restart_training() if process.status is ProcessStatus.FATAL else ""


def _activity(process: ProcessReport) -> str:
    lasting = duration_of_limit(process.seconds_in_state, process.limit_seconds)
    if process.status in (ProcessStatus.TRAINING, ProcessStatus.EVALUATING):
        return f"{process.status.value}{_where(process)} for {lasting}"
    because = f": {process.reason}" if process.reason else ""
    sentences = {
        ProcessStatus.IDLE: readiness_text(process),
        ProcessStatus.STARTING: f"its training client has been starting for {lasting}",
        ProcessStatus.STOPPED: f"its training client is stopped{because}",
        ProcessStatus.BACKOFF: (
            f"its training client died ({pluralised(process.restarts, 'restart')}) "
            f"and starts again {_soon(process)}{because}"
        ),
        ProcessStatus.FATAL: f"its training client was given up{because}",
    }
    return sentences[process.status]


def _soon(process: ProcessReport) -> str:
    if process.limit_seconds is None:
        return "soon"
    return f"in {duration(process.limit_seconds - process.seconds_in_state)}"


def _where(process: ProcessReport) -> str:
    if process.run_id is None and process.task is not None:
        looks = process.status is ProcessStatus.EVALUATING  # a benchmark trains
        return f" for {look_text(process.task) if looks else benchmark_text(process.task)}"
    run = f" in run {process.run_id}" if process.run_id is not None else ""
    return f" round {process.round}{run}" if process.round is not None else run


def unavailable(device: DeviceFacts, task: str, refused: str | None) -> str | None:
    """Why a device cannot be invited to a round of ``task`` now; None when it can."""
    process = device.process
    if refused is not None:
        return f"refused for this run: {refused}"
    if not device.online:
        return presence(device)
    other = process.task is not None and process.task != task
    if not other and process.status not in PROCESS_READY:
        return _activity(process)
    return not_ready(process, task) or conditions_text(process) or None
