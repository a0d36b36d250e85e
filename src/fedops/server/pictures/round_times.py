"""Where the time of a round's clients went: until they began, while they worked, on the way."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

#: How many clients of a round are kept: the slowest.
KEPT = 8


@dataclass(frozen=True)
class ClientTime:
    """One client of a round. Seconds."""

    device: str  #: its id; where it is shown, its name
    #: From the offer until it took the work on.
    waits: float
    #: Training and evaluating, as the device measured it.
    works: float
    #: The rest until its result was there: model and update on the way, and waiting for a turn.
    sends: float

    @property
    def total(self) -> float:
        return self.waits + self.works + self.sends


def client_time(
    device: str,
    worked: float | None,
    offered_at: float,
    accepted_at: float | None,
    delivered_at: float | None,
) -> ClientTime | None:
    """Of what a client delivered. None: it did not."""
    if delivered_at is None:
        return None
    began = min(delivered_at, accepted_at or offered_at)
    there = max(delivered_at - began, 0.0)
    works = min(worked or 0.0, there)
    return ClientTime(device, max(began - offered_at, 0.0), works, there - works)


def slowest(times: Iterable[ClientTime]) -> list[dict[str, Any]]:
    """Those that took longest, slowest first, as they are stored."""
    return [asdict(one) for one in sorted(times, key=lambda t: -t.total)[:KEPT]]
