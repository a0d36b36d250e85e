"""An open assignment of a device: what it is, and how far the device is with it, in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fedops.core.contracts import BENCH, WATCH, Stage
from fedops.core.reasons.stages import outside_text, stage_text


@dataclass(frozen=True)
class WorkFacts:
    """An open assignment of a device, at one moment."""

    kind: str
    task: str
    run_id: int | None
    round: int | None
    #: Whether the device has fetched its instruction.
    accepted: bool
    stage: Stage = Stage.WAITING
    done: int = 0
    total: int = 0
    text: str = ""
    #: Of a task that whoever asks is told nothing of.
    hidden: bool = False


def working(work: WorkFacts, others: Sequence[WorkFacts] = ()) -> str:
    """What a device does for an assignment: ``downloading 43 % of 45 MB``, ``training epoch 2 of 5``.

    ``others``: what else it has in hand.
    """
    if work.stage is Stage.WAITING:
        return _waits(work, others)
    return stage_text(work.stage, work.done, work.total, work.text)


def _waits(work: WorkFacts, others: Sequence[WorkFacts]) -> str:
    if work.text:
        return f"waiting ({work.text})"
    first = next(
        (
            o
            for o in others
            if o.stage is not Stage.WAITING and (o.run_id or o.hidden or _is_outside(o))
        ),
        None,
    )
    if first is not None:
        return f"works for {_whom(first)} first"
    return "about to begin" if work.accepted else "has not fetched its work yet"


def _whom(work: WorkFacts) -> str:
    if work.hidden:
        return "another run"
    if _is_outside(work):
        return outside_text(work.kind, work.task)
    return f"run {work.run_id} of task '{work.task}'"


def _is_outside(work: WorkFacts) -> bool:
    """Of no run."""
    return work.kind in (BENCH, WATCH) and work.run_id is None


def place_of(work: WorkFacts) -> str:
    """`` in round 3 of run 7``, `` for the benchmark of task 'mnist'``."""
    if _is_outside(work):
        return f" for {outside_text(work.kind, work.task)}"
    run = f" of run {work.run_id}" if work.run_id is not None else ""
    return f" in round {work.round}{run}" if work.round is not None else f", {work.kind}{run}"
