"""What is done with a training client that ends by itself."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from fedops.core.backoff import pause_after


@dataclass(frozen=True)
class SupervisionPolicy:
    """When a training client that dies is started again, and when it is given up. Seconds."""

    start_seconds: float = 300.0  #: it must say it is ready within this time
    #: After this long, or once it has trained, a crash counts as the first again.
    steady_seconds: float = 60.0
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
    pause = pause_after(crashes, policy.backoff_seconds, policy.backoff_cap)
    return Step(StepKind.WAIT, pause)
