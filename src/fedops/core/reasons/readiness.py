"""What a training client's own trial of model, data and room says, in a sentence."""

from __future__ import annotations

from fedops.core.contracts import ProcessReport, Readiness, Refusal
from fedops.core.reasons.durations import duration
from fedops.core.states import ReadinessStatus


def readiness_for(process: ProcessReport, task: str) -> Readiness | None:
    """What the trial says of a task: its own entry, or that of the app as it is. None: nothing."""
    named = (entry for entry in process.readiness if entry.task == task)
    general = (entry for entry in process.readiness if entry.task is None)
    return next(named, next(general, None))


def not_ready(process: ProcessReport, task: str) -> str | None:
    """Why the device could not take work of this task now; None when it could."""
    entry = readiness_for(process, task)
    if entry is None or entry.status is ReadinessStatus.READY:
        return None
    if entry.status is ReadinessStatus.CHECKING:
        return f"trying its model and data for {duration(entry.seconds)}"
    return f"not ready: {entry.reason}"


def conditions_text(process: ProcessReport) -> str:
    """Why its owner does not let it take new work now; "" if it may."""
    unmet = process.unmet_conditions
    return f"takes no new work by its owner's conditions: {unmet}" if unmet else ""


def refused_tasks(process: ProcessReport) -> list[Readiness]:
    """What it is not ready for."""
    return [entry for entry in process.readiness if entry.status is ReadinessStatus.REFUSED]


def checking_tasks(process: ProcessReport) -> list[Readiness]:
    """What it still tries."""
    return [entry for entry in process.readiness if entry.status is ReadinessStatus.CHECKING]


def readiness_text(process: ProcessReport) -> str:
    """``its training client is ready``, or what it is not ready for and why."""
    if refused := refused_tasks(process):
        return "; ".join(_refused(entry, len(process.readiness)) for entry in refused)
    if checking := checking_tasks(process):
        lasting = duration(max(entry.seconds for entry in checking))
        return f"its training client tries its model and data for {lasting}"
    return "its training client is ready"


def _refused(entry: Readiness, of: int) -> str:
    what = f" for task '{entry.task}'" if of > 1 and entry.task else ""
    return f"not ready{what}: {entry.reason}"


def refusal_text(refusal: Refusal) -> str:
    """Which work it could not do last, and why."""
    where = f"round {refusal.round} of run {refusal.run_id}" if refusal.run_id else "its last work"
    return f"could not do {where}, {duration(refusal.seconds)} ago: {refusal.reason}"


def last_refusal(process: ProcessReport) -> str:
    """The refusal of a run, where the trial does not say the same. Empty: there is none."""
    refusal = process.refusal
    if refusal is None or any(entry.reason == refusal.reason for entry in refused_tasks(process)):
        return ""
    return refusal_text(refusal)
