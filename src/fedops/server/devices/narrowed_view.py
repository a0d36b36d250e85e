"""A device as somebody sees it who is limited to named tasks: what it does for others is left out."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from fedops.core.contracts import ProcessReport
from fedops.core.reasons.devices import DeviceFacts
from fedops.core.reasons.work import WorkFacts
from fedops.core.states import PROCESS_WORKING, ProcessStatus
from fedops.server.devices.cloned_devices import PROBLEM as TWINS


def narrowed(device: DeviceFacts, tasks: Collection[str] | None) -> DeviceFacts:
    """What of it is of these tasks; None: all."""
    if tasks is None:
        return device
    return replace(
        device,
        process=_process(device.process, tasks),
        tasks=tuple(task for task in device.tasks if task in tasks),
        # The others name the server's tasks.
        problems=tuple(problem for problem in device.problems if problem == TWINS),
        work=tuple(work for work in device.work if work.task in tasks),
    )


def _process(process: ProcessReport, tasks: Collection[str]) -> ProcessReport:
    refusal = process.refusal
    readiness = [one for one in process.readiness if one.task is None or one.task in tasks]
    change: dict[str, object] = {
        "readiness": readiness,
        "refusal": refusal if refusal is None or refusal.task in tasks else None,
    }
    if process.task is not None and process.task not in tasks:
        change |= {"task": None, "run_id": None, "round": None, "reason": None}
        if process.status in PROCESS_WORKING:
            change["status"] = ProcessStatus.IDLE
    return process.model_copy(update=change)


def without_others(work: Sequence[WorkFacts], tasks: Collection[str] | None) -> Sequence[WorkFacts]:
    """Work, that of other tasks without a word of what it is."""
    if tasks is None:
        return work
    hide = {"task": "", "run_id": None, "round": None, "text": "", "hidden": True}
    return [one if one.task in tasks else replace(one, **hide) for one in work]  # type: ignore[arg-type]
