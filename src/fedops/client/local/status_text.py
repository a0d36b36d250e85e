"""What a device does or waits for, in one sentence."""

from __future__ import annotations

from fedops.client.local.messages import ClientStatus, HeldStatus, ServingState
from fedops.core.contracts import BENCH, WATCH, ProcessReport
from fedops.core.reasons.durations import duration, duration_of_limit
from fedops.core.reasons.readiness import conditions_text, last_refusal, readiness_text
from fedops.core.reasons.stages import outside_text
from fedops.core.states import Enrolment, ProcessStatus, ReadinessStatus


def why(status: ClientStatus) -> str:
    """The sentence that ``fedops client status`` ends with."""
    if not status.running:
        return "the Client Manager is not running; start it with 'fedops client run'"
    told = [_process(status.process, status), _deployed(status), _server(status)]
    return "; ".join(filter(None, told))


def _deployed(status: ClientStatus) -> str:
    """What keeps the device from running what is wanted of it."""
    found = status.deployment
    if found is None or not found.why:
        return ""
    commit = f"commit {found.desired[:12]}" if found.desired else "its code"
    return f"{commit} is {found.status.replace('_', ' ')}: {found.why}"


def serving_text(state: ServingState | None) -> str:
    """Which version is served, and how that goes. Empty: its owner wants none."""
    if state is None:
        return ""
    active = "no version yet" if state.active is None else f"V{state.active}"
    wanted = "" if state.wanted in (None, state.active) else f", V{state.wanted} is wanted"
    how = f"{state.status} for {duration(state.seconds)}"
    why = f": {state.reason}" if state.reason else ""
    return f"{active} of '{state.task}' in {state.folder}{wanted}; {how}{why}"


def _process(process: ProcessReport, status: ClientStatus) -> str:
    seconds = duration_of_limit(process.seconds_in_state, process.limit_seconds)
    where = f" round {process.round} of run {process.run_id}" if process.run_id else ""
    reason = f": {process.reason}" if process.reason else ""
    ends = process.status in (ProcessStatus.STARTING, ProcessStatus.BACKOFF, ProcessStatus.FATAL)
    if status.held and not ends:
        return "; ".join(_held(held) for held in status.held)
    match process.status:
        case ProcessStatus.TRAINING | ProcessStatus.EVALUATING:
            return f"{process.status}{where} for {seconds}"
        case ProcessStatus.STARTING:
            return f"the training client is starting for {seconds}"
        case ProcessStatus.BACKOFF:
            return f"the training client ended and is started again soon{reason}"
        case ProcessStatus.FATAL:
            return (
                f"the training client was given up{reason}; mend that, then 'fedops client restart'"
            )
        case ProcessStatus.IDLE:
            return _idle(process, status, seconds)
    return f"the training client is stopped{reason}"


def _idle(process: ProcessReport, status: ClientStatus, seconds: str) -> str:
    if any(entry.status is not ReadinessStatus.READY for entry in process.readiness):
        what = readiness_text(process)
    elif status.server.runs:
        what = f"idle for {seconds}, waiting to be selected in run {status.server.runs[0]}"
    else:
        what = f"idle for {seconds}, no run is active"
    return "; ".join(filter(None, [what, conditions_text(process), last_refusal(process)]))


def _held(held: HeldStatus) -> str:
    if held.kind in (BENCH, WATCH) and held.run_id is None:
        return f"{outside_text(held.kind, held.task)}: {held.doing}"
    if held.run_id is None or held.round is None:
        return f"{held.kind}: {held.doing}"
    return f"round {held.round} of run {held.run_id}: {held.doing}"


def _server(status: ClientStatus) -> str:
    server = status.server
    if server.reachable is None:
        return "the server has not been reached yet"
    if not server.reachable:
        return f"the server is out of reach for {server.seconds:.0f} s ({server.problem})"
    if server.enrolment == Enrolment.PENDING:
        return f"an operator must approve this device ('fedops device approve {status.device}')"
    return server.problems[0] if server.problems else ""
