"""Where the time of a round's clients went: until they began, on the way there, at work, on the way back."""

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
    #: From when it had its result until that was there: on the way, and waiting for a turn.
    sends: float
    #: The rest: the model on the way, and getting ready. Of rounds of older releases it is in ``sends``.
    fetches: float = 0.0

    @property
    def total(self) -> float:
        return self.waits + self.fetches + self.works + self.sends


def client_time(
    device: str,
    worked: float | None,
    offered_at: float,
    accepted_at: float | None,
    sending_at: float | None,
    delivered_at: float | None,
) -> ClientTime | None:
    """Of what a client delivered. None: it did not. ``sending_at`` None: its result was there at once."""
    if delivered_at is None:
        return None
    began = min(delivered_at, accepted_at or offered_at)
    sent = min(max(sending_at or delivered_at, began), delivered_at)
    works = min(worked or 0.0, sent - began)
    waits = max(began - offered_at, 0.0)
    return ClientTime(device, waits, works, delivered_at - sent, sent - began - works)


def slowest(times: Iterable[ClientTime]) -> list[dict[str, Any]]:
    """Those that took longest, slowest first, as they are stored."""
    return [asdict(one) for one in sorted(times, key=lambda t: -t.total)[:KEPT]]
