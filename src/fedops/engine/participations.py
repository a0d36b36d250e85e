"""What became of a client in a round, as it is reported with the round's commit."""

from __future__ import annotations

from collections.abc import Iterable

from fedops.core.contracts import ParticipationReport
from fedops.core.reasons.why import EVALUATES_ONLY
from fedops.core.states import ParticipationStatus
from fedops.engine.update_checks import CheckedUpdate


def participation_of(
    device: str, reply: CheckedUpdate | None, notes: Iterable[str], *, was_wrong: bool
) -> ParticipationReport:
    """``notes``: what there is to say. ``was_wrong``: it answered, and the answer does not count."""
    if reply is None:
        status = ParticipationStatus.REJECTED if was_wrong else ParticipationStatus.DROPPED
        return ParticipationReport(device=device, status=status, reason=_joined(notes))
    evaluated_only = [] if reply.trained else [EVALUATES_ONLY]
    return ParticipationReport(
        device=device,
        status=ParticipationStatus.REPLIED,
        reason=_joined([*evaluated_only, *notes]),
        examples=reply.examples,
        seconds=reply.seconds,
        bytes_up=reply.bytes_up,
        metrics=reply.metrics,
    )


def _joined(notes: Iterable[str]) -> str | None:
    return "; ".join(filter(None, notes))[:2_000] or None
