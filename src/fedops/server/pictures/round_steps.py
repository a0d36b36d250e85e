"""How far the open round of a run is, step by step."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy.orm import Session

from fedops.core.reasons.durations import duration
from fedops.core.states import AssignmentStatus
from fedops.server.pictures import round_pictures
from fedops.server.pictures.run_moments import RunMoment

_NAMES = ("Select", "Send", "Train", "Collect", "Check, aggregate", "Evaluate", "Commit")
_SEND, _TRAIN, _COLLECT = 1, 2, 3
_AT = {"waiting": 0, "initialising": 0, "aggregating": 4, "evaluating": 5, "committing": 6}
_DELIVERED = (AssignmentStatus.UPLOADED, AssignmentStatus.CHECKED)
_AT_WORK = (AssignmentStatus.ACCEPTED, AssignmentStatus.WORKING)


@dataclass(frozen=True)
class Step:
    """A step of the round."""

    name: str
    #: "done", "at-it" or "next".
    state: str
    #: How far it is, or how long it has lasted.
    text: str


def round_steps(session: Session, run_id: int, moment: RunMoment, now: float) -> list[Step]:
    """The steps of the open round. []: the engine has not said what it does."""
    progress = moment.progress
    if progress is None:
        return []
    lasted = duration(now - moment.since)
    if progress.phase != "training":
        return _steps(_AT[progress.phase], {_AT[progress.phase]: lasted})
    work = round_pictures.work_of_round(session, run_id, progress.round).values()
    delivered = sum(one.status in _DELIVERED for one in work)
    at_work = sum(one.status in _AT_WORK for one in work)
    offered = sum(one.status is AssignmentStatus.OFFERED for one in work)
    at = _TRAIN if at_work else _SEND if offered else _COLLECT
    texts = {
        _SEND: f"{len(work) - offered} of {len(work)} took it on",
        _TRAIN: f"{at_work} at work, {lasted}",
        _COLLECT: f"{delivered} of {len(work)} delivered",
    }
    return _steps(at, texts if work else {_SEND: lasted})


def _steps(at: int, texts: dict[int, str]) -> list[Step]:
    return [
        Step(name, "done" if n < at else "at-it" if n == at else "next", texts.get(n, ""))
        for n, name in enumerate(_NAMES)
    ]
