"""When a schedule fires: ticks of a clock, data that was added, drift. Pure: no clock, no database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import floor

from fedops.core.contracts.schedules import (
    Cron,
    Every,
    OnCommit,
    OnDemand,
    OnDrift,
    OnNewData,
    Trigger,
)
from fedops.core.quality_gate import less_is_better

#: A tick that is seen later than this was missed: nobody was there to see it. Seconds.
LATE_SECONDS = 60.0
#: A clock that is set back by less does not bring back ticks that were there already. Seconds.
SET_BACK_SECONDS = 86_400.0
#: Two decimal fractions that differ by less are the same.
_EQUAL = 1e-9
_UNITS = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))


def when_text(trigger: Trigger) -> str:
    """A trigger in words: ``every 1 h 30 min``, ``cron 0 2 * * * (Europe/Berlin)``."""
    match trigger:
        case Every(seconds=seconds):
            return f"every {exact_duration(seconds)}"
        case Cron(expression=expression, zone=zone):
            return f"cron {expression} ({zone})"
        case OnCommit():
            return "when the task has other code"
        case OnNewData(examples=None):
            return "when the data of a device has changed"
        case OnNewData(examples=examples):
            return f"when the devices have {examples} examples more"
        case OnDrift(psi=None, metric=metric, worse_by=worse_by):
            return f"when {metric} is worse by {worse_by:g} on the devices' data"
        case OnDrift(psi=psi):
            return f"when the inputs' stability index is {psi:g} or more"
        case OnDemand():
            return "on demand"


def exact_duration(seconds: float) -> str:
    """All of a duration: ``1 h 30 min``; nothing is rounded off.

    >>> exact_duration(5400), exact_duration(2.5)
    ('1 h 30 min', '2.5 s')
    """
    left, parts = seconds, []
    for unit, size in _UNITS[:-1]:
        count = int(left // size)
        left -= count * size
        parts += [f"{count} {unit}"] if count else []
    if left or not parts:
        parts.append(f"{left:g} s")
    return " ".join(parts)


# --- the clock -------------------------------------------------------------------------------


def is_late(tick: float, now: float) -> bool:
    """Whether a tick is seen so late that it was missed: the server was down, or its clock was set ahead."""
    return now - tick > LATE_SECONDS


def next_of_every(tick: float, seconds: float, now: float) -> tuple[float, int]:
    """The first tick after ``now``, and how many there were since ``tick``, that one counted.

    The ticks keep their distance, however late one of them is seen.

    >>> next_of_every(100.0, 60.0, 100.5)
    (160.0, 1)
    >>> next_of_every(100.0, 60.0, 1_000.0)
    (1060.0, 16)
    """
    count = floor((now - tick) / seconds) + 1
    return tick + count * seconds, count


def every_is_astray(tick: float, seconds: float, now: float) -> bool:
    """Whether a tick is farther away than any can be: the clock was set back."""
    return tick - now > seconds


def cron_is_astray(ticked: float | None, now: float) -> bool:
    """Whether the last tick lies so far ahead that the clock was wrong then."""
    return ticked is not None and ticked - now > SET_BACK_SECONDS


# --- new data --------------------------------------------------------------------------------


@dataclass(frozen=True)
class DataSeen:
    """The data of a device at some moment."""

    examples: int
    fingerprint: str


def added(before: Mapping[str, DataSeen], now: Mapping[str, DataSeen]) -> int:
    """How many examples were added, on all devices together. What was taken away elsewhere takes nothing off.

    >>> seen = {"a": DataSeen(100, "x"), "b": DataSeen(50, "y")}
    >>> added(seen, {"a": DataSeen(130, "z"), "b": DataSeen(10, "u"), "c": DataSeen(7, "v")})
    37
    """
    nothing = DataSeen(0, "")
    return sum(
        max(one.examples - before.get(name, nothing).examples, 0) for name, one in now.items()
    )


def changed(before: Mapping[str, DataSeen], now: Mapping[str, DataSeen]) -> list[str]:
    """The devices whose data is not what it was, or that had none before."""
    return sorted(
        name
        for name, one in now.items()
        if name not in before or before[name].fingerprint != one.fingerprint
    )


# --- drift -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class DriftState:
    """Of which version drift was measured last, and how far it was when it last fired; 0: it did not."""

    version: int = -1
    level: float = 0.0


def drift_step(
    state: DriftState, version: int, value: float, threshold: float
) -> tuple[bool, DriftState]:
    """Whether drift fires, and what is to be remembered.

    It fires once for one change: again only when it has gone back below the threshold in between, has grown
    by as much once more, or is measured of another version.

    >>> drift_step(DriftState(3), 3, 0.25, 0.2)
    (True, DriftState(version=3, level=0.25))
    >>> drift_step(DriftState(3, 0.25), 3, 0.26, 0.2)
    (False, DriftState(version=3, level=0.25))
    """
    level = state.level if state.version == version else 0.0
    if value < threshold - _EQUAL:
        return False, DriftState(version, 0.0)
    if value - level >= threshold - _EQUAL:
        return True, DriftState(version, value)
    return False, DriftState(version, level)


def worse_by(metric: str, before: float, now: float) -> float:
    """By how much a metric is worse than before; negative: it is better.

    >>> worse_by("loss", 0.25, 0.75), worse_by("accuracy", 0.75, 0.5)
    (0.5, 0.25)
    """
    return now - before if less_is_better(metric) else before - now


def weighted_mean(values: Sequence[tuple[float, float]]) -> float | None:
    """Of (value, weight); what weighs nothing counts a little. None: there is no value."""
    if not values:
        return None
    weights = [max(weight, 1.0) for _, weight in values]
    return sum(v * w for (v, _), w in zip(values, weights, strict=True)) / sum(weights)
