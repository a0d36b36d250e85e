"""The delivery of a task on a terminal: its source, its rollout, and what each device runs and why."""

from __future__ import annotations

import time
from collections.abc import Sequence

from rich.console import RenderableType
from rich.text import Text

from fedops.console.format import coloured, fields, moment, table_of
from fedops.core import contracts as c
from fedops.core.reasons.commits import short_commit
from fedops.core.reasons.durations import duration
from fedops.core.states import DeploymentHealth, DeploymentStatus, RolloutStatus

#: So many devices are shown whole; of more, only those that are not in order.
_SHOWN = 40


def delivery_view(found: c.DeliveryRead) -> list[RenderableType]:
    """All of it."""
    shown: list[RenderableType] = [delivery_fields(found)]
    if found.deployments:
        shown += ["", deployments_table(found.deployments)]
    if rest := _not_shown(found.deployments):
        shown.append(rest)
    return shown


def delivery_fields(found: c.DeliveryRead) -> RenderableType:
    rollout = found.rollout
    return fields(
        {
            "task": found.task,
            "source": _source(found.source),
            "runs use": short_commit(found.runs_use),
            "rollout": rollout_state(rollout) if rollout else "none yet",
            "why": rollout.why if rollout else "",
            "devices": _counts(found.deployments),
        }
    )


def _source(source: c.SourceRead | None) -> str:
    if source is None:
        return "none: the app was uploaded"
    ref = f" ({source.ref})" if source.ref else ""
    at = f" at {short_commit(source.commit)}" if source.commit else ""
    pinned = f", pinned to {short_commit(source.pinned)}" if source.pinned else ""
    problem = f"; not read: {source.problem}" if source.problem else ""
    return f"{source.url}{ref}{at}{pinned}{problem}"


def rollout_state(rollout: c.RolloutRead) -> Text:
    """``commit 1a2b3c4 waving, wave 2, since 10:15``."""
    wave = f", wave {rollout.wave}" if rollout.wave and rollout.ended_at is None else ""
    state = Text(f"commit {short_commit(rollout.commit)} ")
    return state + coloured(rollout.status) + Text(f"{wave}, since {moment(rollout.since)}")


def rollout_line(rollout: c.RolloutRead) -> str:
    """What is said while it is followed: changes when there is something new."""
    wave = f", wave {rollout.wave}" if rollout.wave else ""
    return f"commit {short_commit(rollout.commit)} is {rollout.status}{wave}"


def _counts(deployments: Sequence[c.DeploymentRead]) -> str:
    """``7 of 9 run what is wanted; 1 stalled, 1 waiting for check-in``."""
    if not deployments:
        return "none"
    synced = sum(one.synced for one in deployments)
    text = f"{synced} of {len(deployments)} run what is wanted"
    counts = {health: sum(one.health is health for one in deployments) for health in _TROUBLE}
    others = [f"{count} {health}" for health, count in counts.items() if count]
    return f"{text}; {', '.join(others)}" if others else text


_TROUBLE = tuple(one for one in DeploymentHealth if one is not DeploymentHealth.HEALTHY)


def deployments_table(deployments: Sequence[c.DeploymentRead]) -> RenderableType:
    titles = ("DEVICE", "DESIRED", "ACTUAL", "SYNC", "HEALTH", "SINCE", "WHY")
    return table_of(titles, [_row(one) for one in _shown(deployments)], optional=("DESIRED",))


def _row(one: c.DeploymentRead) -> tuple[str | Text, ...]:
    return (
        one.device,
        _commit(one.desired),
        _commit(one.actual) + (" changed" if one.dirty else ""),
        "synced" if one.synced else "out of sync",
        coloured(one.health),
        "-" if one.since is None else duration(time.time() - one.since),
        one.why,
    )


def _commit(commit: str | None) -> str:
    return short_commit(commit) if commit else "-"


def _shown(deployments: Sequence[c.DeploymentRead]) -> Sequence[c.DeploymentRead]:
    if len(deployments) <= _SHOWN:
        return deployments
    return [one for one in deployments if not _is_in_order(one)][:_SHOWN]


def _is_in_order(one: c.DeploymentRead) -> bool:
    return one.synced and one.health is DeploymentHealth.HEALTHY


def _not_shown(deployments: Sequence[c.DeploymentRead]) -> str:
    hidden = len(deployments) - len(_shown(deployments))
    if not hidden:
        return ""
    well = sum(map(_is_in_order, deployments))
    rest = hidden - well
    text = f"{well} devices that are in order are not shown"
    return f"{text}, nor {rest} others; --json has all" if rest else f"{text}; --json has all"


def is_settled(found: c.DeliveryRead) -> bool:
    """Whether nothing more happens by itself, but for devices that are away or wait for somebody.

    What devices of a paused rollout still do changes nothing: a person decides.
    """
    rollout = found.rollout
    if rollout is not None and rollout.status is RolloutStatus.PAUSED:
        return True
    if rollout is not None and rollout.status in (RolloutStatus.PENDING, RolloutStatus.WAVING):
        return False
    return not any(
        one.health is DeploymentHealth.PROGRESSING and one.desired for one in found.deployments
    )


def is_well(found: c.DeliveryRead) -> bool:
    """Whether the rollout came to a good end."""
    rollout = found.rollout
    failed = any(one.status is DeploymentStatus.ROLLED_BACK for one in found.deployments)
    return rollout is not None and rollout.status is RolloutStatus.HOLDING and not failed
