"""Decisions as pure functions of plain values: time and randomness are parameters."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import StrEnum

#: A device is online until this many of its intervals after its last call.
HEARTBEAT_PATIENCE = 2.0


#: More devices call less often, so that the server hears about as many calls a second.
CALLS_A_SECOND = 100.0
#: The longest that a device is to wait between two calls. Seconds.
LONGEST_INTERVAL = 25.0


def present_until(called_at: float, interval: float) -> float:
    """Until when a device that called at ``called_at`` counts as present without another call."""
    return called_at + HEARTBEAT_PATIENCE * interval


def is_online(until: float | None, now: float) -> bool:
    """Whether a device counts as present at ``now``."""
    return until is not None and now < until


def call_interval(devices: int, least: float) -> float:
    """How often each of ``devices`` is to call, in seconds; never more often than each ``least``."""
    return max(least, min(devices / CALLS_A_SECOND, LONGEST_INTERVAL))


@dataclass(frozen=True)
class SupervisionPolicy:
    """When a training client that dies is started again, and when it is given up. Seconds."""

    start_seconds: float = 300.0  #: it must say it is ready within this time
    steady_seconds: float = 60.0  #: after this long a crash counts as the first again
    backoff_seconds: float = 0.5  #: before the first restart; doubles up to ``backoff_cap``
    backoff_cap: float = 30.0
    max_crashes: int = 5  #: crashes in a row before giving up
    stop_seconds: float = 2.0  #: from SIGTERM to SIGKILL


class StepKind(StrEnum):
    SPAWN = "spawn"
    WAIT = "wait"
    GIVE_UP = "give_up"


@dataclass(frozen=True)
class Step:
    kind: StepKind
    seconds: float = 0.0


def next_step(crashes: int, policy: SupervisionPolicy) -> Step:
    """What to do after ``crashes`` crashes in a row (0: none yet)."""
    if crashes == 0:
        return Step(StepKind.SPAWN)
    if crashes >= policy.max_crashes:
        return Step(StepKind.GIVE_UP)
    delay = policy.backoff_seconds * 2.0 ** (crashes - 1)
    return Step(StepKind.WAIT, min(delay, policy.backoff_cap))


def clients_wanted(
    eligible: int, clients_per_round: int | None, fraction: float, minimum: int
) -> int:
    """How many clients a round asks for: ``clients_per_round`` wins where given."""
    if clients_per_round is not None:
        return clients_per_round
    return max(minimum, int(fraction * eligible))


def clients_needed(clients_per_round: int | None, minimum: int, min_available: int) -> int:
    """How many eligible devices there must be before a round can begin."""
    if clients_per_round is not None:
        return max(clients_per_round, min_available)
    return max(minimum, min_available, 1)


def quorum(wanted: int, min_replies: int | None, minimum: int) -> int:
    """How many checked replies a round needs: ``min_replies`` wins where given."""
    needed = minimum if min_replies is None else min_replies
    return max(1, min(needed, wanted))


def client_seed(run_seed: int, device: str, round_: int) -> int:
    """The seed of everything random that a device does in a round: 63 bits, never negative.

    It depends on the device's name and on nothing else of the device, so that a repeated round, or the
    same run elsewhere, gives the same update.
    """
    return _seed(f"{run_seed}/{device}/{round_}")


def draw_seed(run_seed: int, round_: int, retry: int = 0) -> int:
    """The seed with which the clients of a round are drawn."""
    return _seed(f"{run_seed}/{round_}/draw/{retry}")


def join_statement(token: str, public_key: str) -> bytes:
    """What a device that joins signs with its device key."""
    return b"fedops join " + hashlib.sha256(f"{token}\n{public_key}".encode()).digest()


def _seed(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]) & (2**63 - 1)
