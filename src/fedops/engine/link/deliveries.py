"""What comes in from the clients of an attempt, in one stream, and the verdicts that go back."""

from __future__ import annotations

from collections.abc import Callable

from fedops.core.contracts import Collected, CollectRequest, Delivery
from fedops.engine.link.exit_reasons import heed
from fedops.engine.link.server_link import ServerLink


class DeliveryStream:
    """Each call hands in the verdicts on what came before."""

    def __init__(self, link: ServerLink) -> None:
        #: Takes deliveries that are no round's, whoever collects; what it does not take is for the round.
        self.aside: Callable[[Delivery], bool] = lambda _: False
        self._link = link
        self._kept: list[Collected] = []
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
        kept, self._kept = self._kept, []
        found = [*kept, self._collect(0.0 if kept else wait)]
        return found[-1].model_copy(
            update={
                "deliveries": [one for each in found for one in each.deliveries],
                "presence": [one for each in found for one in each.presence],
            }
        )

    def listen(self, wait: float) -> None:
        """Take in what is no round's. The rest stays for ``next``, and raises as that does."""
        self._kept.append(self._collect(wait))

    def _collect(self, wait: float) -> Collected:
        body = CollectRequest(
            after=self._after, wait=wait, checked=self._checked, rejected=self._rejected
        )
        collected = self._link.ask(lambda api: api.collect(body))
        self._after, self._checked, self._rejected = collected.sequence, [], {}
        ours = [one for one in collected.deliveries if not self.aside(one)]
        heed(collected.command)
        return collected.model_copy(update={"deliveries": ours})
