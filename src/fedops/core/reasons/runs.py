"""Why a run is as it is: one sentence with numbers, from facts, for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from fedops.core.contracts import EngineProgress
from fedops.core.reasons import next_steps
from fedops.core.reasons.commits import is_about_code
from fedops.core.reasons.devices import DeviceFacts, presence
from fedops.core.reasons.durations import (
    NAMED,
    duration,
    duration_of_limit,
    equal_together,
    first_few,
    pluralised,
)
from fedops.core.reasons.quarantine import quarantined_version
from fedops.core.reasons.work import working
from fedops.core.states import RUN_TERMINAL, FailureReason, RunStatus

#: What an engine says that waits for something else than devices begins with.
WAITS_FOR = "waits for "


@dataclass(frozen=True)
class RunFacts:
    """A run, at one moment."""

    id: int
    status: RunStatus
    rounds: int
    committed_rounds: int
    seconds_in_state: float
    attempt: int = 0
    #: How many devices a round needs.
    needed: int = 1
    devices: Sequence[DeviceFacts] = ()
    #: Why a device of ``devices`` cannot be invited now, by name.
    unavailable: Mapping[str, str] = field(default_factory=dict)
    progress: EngineProgress | None = None
    progress_seconds: float = 0.0
    #: How long it may go on as it is now: in its state, or (running) in its engine's phase.
    limit_seconds: float | None = None
    #: Of a stop or pause: the devices asked, and those that did not confirm yet.
    asked: int = 0
    unconfirmed: Sequence[str] = ()
    reason: FailureReason | None = None
    text: str = ""
    version: int | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    #: What the server lacks now, and what to do about it.
    shortage: str = ""
    task: str = ""
    #: How often in a row its FL server ended without a round, and how the last time.
    crashes: int = 0
    crash: str = ""
    #: How many pieces of its work are open, where ``devices`` has not all who are at it.
    at_work: int = 0
    #: What does the same anew, where it is not a retry.
    again: str = ""
    #: Why the version that it made is quarantined.
    quarantine: str | None = None


def run_why(run: RunFacts) -> str:
    """What a run is doing or waiting for, or how it ended."""
    if run.status in RUN_TERMINAL:
        return _run_why(run)
    return next_steps.sentence(run.shortage, _run_why(run), _crashes(run))


def _crashes(run: RunFacts) -> str:
    """What became of the attempts before, as long as there was no round since."""
    if not run.crashes:
        return ""
    if run.status is RunStatus.RESUMING:  # its sentence has the rest
        return next_steps.read_logs(run.id)
    times = "" if run.crashes == 1 else f", {run.crashes} in a row"
    return f"the attempt before was lost{times}: {run.crash}; {next_steps.read_logs(run.id)}"


def _run_why(run: RunFacts) -> str:
    sentences = {
        RunStatus.PENDING: _pending,
        RunStatus.STARTING: _starting,
        RunStatus.RUNNING: _running,
        RunStatus.PAUSING: _confirming,
        RunStatus.PAUSED: _paused,
        RunStatus.RESUMING: _resuming,
        RunStatus.STOPPING: _confirming,
        RunStatus.COMPLETED: _completed,
        RunStatus.STOPPED: _stopped,
        RunStatus.FAILED: _failed,
    }
    return sentences[run.status](run)


def _pending(run: RunFacts) -> str:
    because = f" ({run.text})" if run.text else ""
    return f"waiting for the engine for {_lasting(run)}{because}"


def _starting(run: RunFacts) -> str:
    return f"attempt {run.attempt} has been starting for {_lasting(run)}"


def _resuming(run: RunFacts) -> str:
    because = f": {run.text}" if run.text else ""
    return (
        f"going on with round {run.committed_rounds + 1} of {run.rounds} in a new attempt, "
        f"for {_lasting(run)}{because}"
    )


def _running(run: RunFacts) -> str:
    progress = run.progress
    if progress is None:
        return f"attempt {run.attempt} is up and prepares {_round(run, run.committed_rounds + 1)}"
    if progress.phase == "waiting":
        return _waiting(run, progress) + _so_long(run) + _or_stop(run, progress)
    what = f"{_round(run, progress.round)}: {progress.phase}"
    if progress.phase == "training":
        return what + _replies(run, progress) + _so_long(run)
    if progress.phase == "aggregating" and progress.replied:
        what += f" {pluralised(len(progress.replied), 'update')}"
    if progress.phase == "evaluating" and progress.detail:
        what += f", {progress.detail},"
    return f"{what} for {duration_of_limit(run.progress_seconds, run.limit_seconds)}"


def _lasting(run: RunFacts) -> str:
    return duration_of_limit(run.seconds_in_state, run.limit_seconds)


def _so_long(run: RunFacts) -> str:
    """How long the engine's phase has lasted, when there is a limit to compare it with."""
    if run.limit_seconds is None:
        return ""
    return f"; for {duration_of_limit(run.progress_seconds, run.limit_seconds)}"


def _round(run: RunFacts, number: int) -> str:
    return f"round {number} of {run.rounds}"


def _replies(run: RunFacts, progress: EngineProgress) -> str:
    replied = frozenset(progress.replied)
    missing = [name for name in progress.selected if name not in replied]
    done = len(progress.selected) - len(missing)
    devices = {device.name: device for device in run.devices}
    # Without room the server cannot even note that it hears them.
    heard = not run.shortage
    away = {d.name: presence(d) for d in run.devices if heard and not d.online}
    waiting = [f"{name} ({away[name]})" for name in missing if name in away]
    doing = {name: _doing(devices[name], run) for name in missing if name in devices}
    busy = [(name, what) for name, what in doing.items() if what and name not in away]
    text = f", {done} of {len(progress.selected)} replied"
    text += f"; waiting for {first_few(waiting)}" if waiting else ""
    count = max(len(busy), run.at_work - len(waiting))
    return f"{text}; {equal_together(busy, count)}" if busy else text


def _doing(device: DeviceFacts, run: RunFacts) -> str:
    """What a device does for the run, as far as it has anything to do for it."""
    ours = [work for work in device.work if work.run_id == run.id]
    others = [work for work in device.work if work.run_id != run.id]
    if not ours:
        return ""
    lacking = run.shortage.partition(" (")[0]
    told = bool(lacking) and lacking in ours[0].text  # the sentence begins with that
    return working(replace(ours[0], text="") if told else ours[0], others)


def _waiting(run: RunFacts, progress: EngineProgress) -> str:
    if progress.detail.startswith(WAITS_FOR):
        return f"{_round(run, progress.round)}: {progress.detail}"
    needed = progress.needed or run.needed
    ready = [d for d in run.devices if d.name not in run.unavailable]
    online = sum(d.online for d in run.devices)
    missing = needed - len(ready)
    if missing <= 0:
        return f"{_round(run, progress.round)}: choosing among {pluralised(len(ready), 'device')}"
    away = [d for d in run.devices if d.name in run.unavailable]
    text = f"waiting for {missing} more device{'' if missing == 1 else 's'}: "
    enrolled = max(len(run.devices), needed)
    text += f"{online} of {enrolled} online"
    if progress.begins_in is not None:
        text += f", the round begins without in {duration(progress.begins_in)}"
    return ", ".join([text, *_missing(run, away)])


def _or_stop(run: RunFacts, progress: EngineProgress) -> str:
    """Who reads that a run waits for devices can start or mend them, or stop the run."""
    ready = len(run.devices) - len(run.unavailable)
    needed = progress.needed or run.needed
    if needed <= ready:
        return ""
    if run.unavailable and all(map(is_about_code, run.unavailable.values())):
        return f"; {next_steps.follow_rollout(run.task, run.id)}"
    there = len(run.devices) >= needed and all(d.online for d in run.devices)
    step = next_steps.look_or_stop if there else next_steps.start_or_stop
    return f"; {step(run.id)}"


def _missing(run: RunFacts, away: Sequence[DeviceFacts]) -> list[str]:
    """Why each of them does not come: who is not heard, with when it was, as long as they are few."""
    silent = [d for d in away if not d.online and d.last_seen_seconds is not None]
    seen = [f"{d.name} last seen {duration(d.last_seen_seconds or 0.0)} ago" for d in silent]
    if len(silent) > NAMED:
        seen = [f"{len(silent)} devices offline"]
    others = [(d.name, run.unavailable[d.name]) for d in away if d not in silent]
    return [", ".join(seen)] * bool(seen) + [equal_together(others)] * bool(others)


def _confirming(run: RunFacts) -> str:
    done = run.asked - len(run.unconfirmed)
    limit = "" if run.limit_seconds is None else f"; for {_lasting(run)}"
    if not run.unconfirmed:
        return f"{run.status.value}: waiting for the engine to end the round{limit}"
    whom = first_few(list(run.unconfirmed))
    return f"{run.status.value} {done} of {run.asked}: waiting for {whom}{limit}"


def _paused(run: RunFacts) -> str:
    after = f"paused after round {run.committed_rounds} of {run.rounds}, for {_lasting(run)}"
    return f"{after}; go on with 'fedops run resume {run.id}'"


def _completed(run: RunFacts) -> str:
    done = f"completed {pluralised(run.committed_rounds, 'round')}"
    if run.quarantine is not None:
        what = quarantined_version(run.task, run.version or 0, run.quarantine, run.id)
        return f"{done}; {what}"
    made = f"; the global model is V{run.version}" if run.version is not None else ""
    accuracy = run.metrics.get("accuracy")
    quality = f" (accuracy {accuracy:.3f})" if accuracy is not None else ""
    return next_steps.sentence(
        f"{done}{made}{quality}", next_steps.fetch_model(run.task, run.version)
    )


def _stopped(run: RunFacts) -> str:
    because = f": {run.text}" if run.text else ""
    after = f"stopped after round {run.committed_rounds} of {run.rounds}{because}"
    return f"{after}; {_again(run) or next_steps.do_the_rest(run.id)}"


def _failed(run: RunFacts) -> str:
    reason = f" ({run.reason.value})" if run.reason else ""
    because = f": {run.text}" if run.text else ""
    after = f"failed{reason} after round {run.committed_rounds} of {run.rounds}{because}"
    return f"{after}; {_again(run) or next_steps.after_failure(run.id, run.task, run.reason)}"


def _again(run: RunFacts) -> str:
    return next_steps.try_again(run.again) if run.again else ""
