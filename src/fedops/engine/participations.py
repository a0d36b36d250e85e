"""What became of the clients of a round, and how it is reported with the round's commit."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from fedops.core.contracts import ParticipationReport
from fedops.core.contracts.training import TRAIN
from fedops.core.reasons.devices import EVALUATES_ONLY
from fedops.core.states import AssignmentStatus, ParticipationStatus
from fedops.engine.global_model import StoredUpdate
from fedops.engine.update_checks import CheckedUpdate

logger = logging.getLogger("fedops.engine")

LATE = "no reply before the deadline of the round"


class Answers:
    """What came back from those who were asked, and why nothing that counts came from the others."""

    def __init__(self) -> None:
        self.updates: dict[str, StoredUpdate] = {}
        #: Device -> what it evaluated, of those that did not train.
        self.evaluations: dict[str, CheckedUpdate] = {}
        #: Those of them that were asked to train, and have no training example.
        self.without_examples: set[str] = set()
        #: Device -> why its update was not taken.
        self.rejected: dict[str, str] = {}
        #: Device -> why it cannot take part in the run at all.
        self.refused: dict[str, str] = {}
        #: Device -> why it failed.
        self.failed: dict[str, str] = {}
        #: Device -> why its assignment was ended by the server.
        self.ended: dict[str, str] = {}

    @property
    def replied(self) -> list[str]:
        """Those whose answer counts."""
        return sorted(self.updates.keys() | self.evaluations.keys())

    @property
    def checked(self) -> list[CheckedUpdate]:
        """The updates without their tensors, in the order of their devices' names."""
        trained = {device: update.checked for device, update in self.updates.items()}
        replies = trained | self.evaluations
        return [replies[device] for device in sorted(replies)]

    @property
    def wrong(self) -> set[str]:
        """Those who answered, and whose answer does not count."""
        return self.rejected.keys() | self.refused.keys()

    @property
    def missing(self) -> dict[str, str]:
        """Device -> why its update is missing, rejected ones included."""
        return {**self.ended, **self.failed, **self.rejected, **self.refused}

    def reconsider(self, device: str) -> None:
        """It is asked anew: why it did not answer before is over."""
        for answers in (self.failed, self.rejected, self.ended):
            answers.pop(device, None)

    def keep(self, update: StoredUpdate, kind: str) -> None:
        """It counts. ``kind``: what its device was asked."""
        if update.checked.trained is not None:
            self.updates[update.device] = update
            return
        self.evaluations[update.device] = update.checked
        if kind == TRAIN:
            self.without_examples.add(update.device)

    def forget(self, device: str) -> None:
        """What it answered counts no more."""
        self.updates.pop(device, None)
        self.evaluations.pop(device, None)

    def end(self, device: str, status: AssignmentStatus, reason: str) -> None:
        """Its assignment ended without an update that counts."""
        logger.warning("device '%s': %s %s", device, status, reason)
        if status is AssignmentStatus.REFUSED:
            self.refused[device] = reason or "it refused to take part"
        elif status is AssignmentStatus.FAILED:
            self.failed[device] = reason or "it failed without a word"
        elif status is AssignmentStatus.REJECTED:
            self.rejected[device] = reason or "its update was refused"
        elif status is AssignmentStatus.EXPIRED:
            self.ended[device] = LATE
        else:
            self.ended[device] = reason or "it was cancelled"

    def refuse(self, device: str, why: str) -> None:
        """Take back an update: the device cannot take part in the run."""
        self.forget(device)
        self.refused[device] = why

    def reject(self, device: str, why: str) -> None:
        """Take back an update: it is not one for this round."""
        logger.warning("the reply of device '%s' is not taken: %s", device, why)
        self.forget(device)
        self.rejected[device] = why


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
