"""What comes in from the clients of an attempt, in one stream, and the verdicts that go back."""

from __future__ import annotations

from fedops.core.contracts import Collected, CollectRequest
from fedops.engine.link.exit_reasons import heed
from fedops.engine.link.server_link import ServerLink


class DeliveryStream:
    """Each call hands in the verdicts on what came before."""

    def __init__(self, link: ServerLink) -> None:
        self._link = link
        self._after = 0
        self._checked: list[str] = []
        self._rejected: dict[str, str] = {}

    @property
    def has_verdicts(self) -> bool:
        return bool(self._checked or self._rejected)

    def accept(self, assignment: str) -> None:
        """Its update is taken."""
        self._checked.append(assignment)

    def reject(self, assignment: str, why: str) -> None:
        """Its update is not taken."""
        self._rejected[assignment] = why[:2_000]

    def next(self, wait: float) -> Collected:
        """What came in, as soon as there is anything, or after ``wait`` seconds.

        Raises:
            StopRequested: the run is stopped or paused.
            AttemptSuperseded, Unavailable: see ``ServerLink.ask``.
        """
        body = CollectRequest(
            after=self._after, wait=wait, checked=self._checked, rejected=self._rejected
        )
        collected = self._link.ask(lambda api: api.collect(body))
        self._after, self._checked, self._rejected = collected.sequence, [], {}
        heed(collected.command)
        return collected
