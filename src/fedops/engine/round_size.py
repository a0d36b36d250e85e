"""How many clients a round wants, invites and needs: the config and the strategy's numbers together."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from fedops.config.schema import Config, RoundPolicy
from fedops.core.contracts import Candidate
from fedops.core.quorum import clients_needed, clients_wanted, quorum
from fedops.core.reasons.durations import NAMED, equal_together
from fedops.engine.aggregation_port import SamplingNumbers

#: Who is uploading at the deadline, or waits to, gets this share of it more, and so many seconds at least.
UPLOAD_GRACE_SHARE, LEAST_UPLOAD_GRACE = 0.1, 30.0
#: How it begins why a device that is not heard is not there.
_OFFLINE = "offline"
_SILENT = f"{_OFFLINE}, last seen "


@dataclass(frozen=True)
class RoundRules:
    """The numbers of a run's rounds."""

    clients_per_round: int | None
    numbers: SamplingNumbers
    policy: RoundPolicy

    @classmethod
    def of(cls, config: Config, numbers: SamplingNumbers) -> RoundRules:
        return cls(config.clients_per_round, numbers, config.server.round)

    @property
    def needed(self) -> int:
        """How many clients there must be before a round can begin."""
        return clients_needed(
            self.clients_per_round, self.numbers.min_train, self.numbers.min_available
        )

    def wanted(self, available: int) -> int:
        """How many replies a round would like to have."""
        numbers = self.numbers
        return max(
            1,
            clients_wanted(
                available, self.clients_per_round, numbers.fraction_train, numbers.min_train
            ),
        )

    def invited(self, available: int) -> int:
        """How many clients are asked: more than wanted when stragglers are expected."""
        extra = math.ceil(self.wanted(available) * (1 + self.policy.over_select))
        return min(available, extra)

    def quorum(self, available: int) -> int:
        """How many replies a round must have."""
        return quorum(self.wanted(available), self.policy.min_replies, self.numbers.min_train)

    def least(self, willing: int) -> int:
        """With how many clients at the least a round makes sense, when the others cannot take part."""
        return max(self.quorum(willing), self.numbers.min_available)

    @property
    def upload_grace(self) -> float:
        """How long who is uploading at the deadline is waited for. Seconds."""
        return max(LEAST_UPLOAD_GRACE, UPLOAD_GRACE_SHARE * self.policy.deadline_seconds)

    def enough(self, available: int) -> int | None:
        """With how many replies a round ends at once; None: with all."""
        return self.wanted(available) if self.policy.over_select > 0 else None


def why_waiting(
    needed: int, ready: Collection[str], candidates: Iterable[Candidate], refused: dict[str, str]
) -> str:
    """One sentence with numbers on what a round waits for."""
    away = {
        c.device: c.unavailable for c in candidates if c.unavailable and c.device not in refused
    }
    missing = needed - len(ready)
    head = (
        f"waiting for {missing} more client{'s' if missing > 1 else ''}:"
        f" {len(ready)} of {needed} available"
    )
    others = equal_together(_briefly(sorted({**away, **refused}.items())))
    return f"{head}; {others}" if others else head


def _briefly(reasons: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """When each was seen last is of interest as long as they are few."""
    silent = {name for name, why in reasons if why.startswith(_SILENT)}
    if len(silent) <= NAMED:
        return reasons
    return [(name, _OFFLINE if name in silent else why) for name, why in reasons]
