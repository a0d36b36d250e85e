"""How far devices are with what is wanted of them: by kind, and by the wave in which they were asked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from fedops.core.contracts import DeploymentRead
from fedops.core.states import DeploymentHealth


class Kind(StrEnum):
    """Where a device is. In the order in which a person looks at them."""

    FAILED = "failed"  #: it was no good there, or it will not get on by itself
    INSTALLING = "installing"
    WAITING = "waiting"  #: it is away, or its wave has not begun
    CONVERGED = "converged"
    OWN = "own folder"  #: its code does not come from the server


_KINDS = {
    DeploymentHealth.HEALTHY: Kind.CONVERGED,
    DeploymentHealth.PROGRESSING: Kind.INSTALLING,
    DeploymentHealth.WAITING: Kind.WAITING,
    DeploymentHealth.STALLED: Kind.FAILED,
    DeploymentHealth.DEGRADED: Kind.FAILED,
}
_ORDER = list(Kind)


@dataclass(frozen=True)
class Group:
    """Devices that were asked together."""

    name: str
    devices: int
    #: How many there are of each kind that there is.
    counts: list[tuple[Kind, int]]


def kind_of(one: DeploymentRead, awaited: str | None) -> Kind:
    """Where a device is. ``awaited``: the commit that goes from wave to wave now."""
    if one.local or one.status is None:
        return Kind.OWN
    kind = _KINDS[one.health]
    if kind is Kind.CONVERGED and awaited is not None and one.actual != awaited:
        return Kind.WAITING
    return kind


def groups_of(devices: Sequence[DeploymentRead], awaited: str | None) -> list[Group]:
    """The waves of the newest rollout, then the other devices."""
    waves = sorted({one.wave for one in devices if one.wave is not None})
    found = [
        _group(f"Wave {wave}", [one for one in devices if one.wave == wave], awaited)
        for wave in waves
    ]
    others = [one for one in devices if one.wave is None]
    if others:
        rest = "Not asked yet" if awaited else "Other devices"
        found.append(_group(rest if waves else "All devices", others, awaited))
    return found


def _group(name: str, devices: Sequence[DeploymentRead], awaited: str | None) -> Group:
    counts = Counter(kind_of(one, awaited) for one in devices)
    return Group(name, len(devices), [(kind, counts[kind]) for kind in _ORDER if counts[kind]])


def trouble_first(
    devices: Sequence[DeploymentRead], awaited: str | None
) -> list[tuple[Kind, DeploymentRead]]:
    """Devices with where they are, those that need somebody first, then by name."""
    found = [(kind_of(one, awaited), one) for one in devices]
    return sorted(found, key=lambda pair: (_ORDER.index(pair[0]), pair[1].device))
