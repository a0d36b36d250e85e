"""How often somebody may try to sign in: by address and by name, whether or not there is such a user.

Failures with one name keep that name out where they come from; everywhere, it takes ten times as many.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass

from fedops.core.errors import Forbidden
from fedops.server.protocol.parties import party_of

#: A hospital is one address.
PER_ADDRESS, PER_NAME_THERE, PER_NAME = 30, 10, 100
WINDOW_SECONDS = 300.0
#: Of so many addresses and names it is remembered. The oldest are forgotten.
_MOST = 10_000


class TooManyTries(Forbidden):
    """Too many of them failed. It says nothing about whether a user exists."""

    http_status = 429


@dataclass(frozen=True)
class Limit:
    """So many failures within so many seconds."""

    failures: int
    seconds: float = WINDOW_SECONDS


class SignInLimits:
    """Used in one event loop. Counts failures that are not older than the window."""

    def __init__(
        self,
        clock: Callable[[], float],
        address: Limit | None = None,
        name_there: Limit | None = None,
        name: Limit | None = None,
    ) -> None:
        """``name_there``: of one name from one address. ``name``: of one name from anywhere."""
        self._clock = clock
        self._limits = {
            "address": address or Limit(PER_ADDRESS),
            "name there": name_there or Limit(PER_NAME_THERE),
            "name": name or Limit(PER_NAME),
        }
        self._failed: OrderedDict[tuple[str, str], deque[float]] = OrderedDict()

    def require_turn(self, address: str | None, name: str | None) -> None:
        """``TooManyTries`` when too many failed, from there or with this name, not long ago.

        A try counts as failed until it is forgiven: many at once get no further than many in a row.
        """
        keys = _keys(address, name)
        if any(self._is_full(key) for key in keys):
            minutes = WINDOW_SECONDS / 60
            raise TooManyTries(
                f"too many sign-ins failed here or with this name: try again in {minutes:.0f} minutes"
            )
        for key in keys:
            self._failed.setdefault(key, deque()).append(self._clock())
            self._failed.move_to_end(key)
        while len(self._failed) > _MOST:
            self._failed.popitem(last=False)

    def forgive(self, address: str | None, name: str | None) -> None:
        """The last try was a good one."""
        for key in _keys(address, name):
            tries = self._failed.get(key)
            if tries:
                tries.pop()

    def _is_full(self, key: tuple[str, str]) -> bool:
        limit, tries = self._limits[key[0]], self._failed.get(key)
        while tries and tries[0] <= self._clock() - limit.seconds:
            tries.popleft()
        return tries is not None and len(tries) >= limit.failures


class OnceInAWhile:
    """What is on record once a window for each address, and not for more than some of them."""

    def __init__(self, clock: Callable[[], float], most: int = 100) -> None:
        self._clock = clock
        self._most = most
        self._at: dict[str, float] = {}

    def is_news(self, address: str) -> bool:
        """Whether to keep it now."""
        now = self._clock()
        self._at = {key: at for key, at in self._at.items() if now - at < WINDOW_SECONDS}
        if address in self._at or len(self._at) >= self._most:
            return False
        self._at[address] = now
        return True


def _keys(address: str | None, name: str | None) -> list[tuple[str, str]]:
    party = (party_of(address) if address else "") or "unknown"
    if name is None:
        return [("address", party)]
    short = name[:64]
    return [("address", party), ("name there", f"{short} {party}"), ("name", short)]
