"""How the deployment on a device is, and why, in words that end with the next step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

from sqlalchemy import Row

from fedops.core.presence import is_online
from fedops.core.reasons import next_steps
from fedops.core.reasons.commits import short_commit
from fedops.core.reasons.durations import duration
from fedops.core.states import ROLLOUT_MOVING, DeploymentHealth, DeploymentStatus, RolloutStatus
from fedops.server.database.tables import RolloutRow

D, H = DeploymentStatus, DeploymentHealth


@dataclass(frozen=True)
class Deployed:
    """A device of a task at a moment. ``status`` None: its code does not come from the server."""

    task: str
    status: DeploymentStatus | None
    desired: str | None
    actual: str | None
    online: bool
    #: Since it was heard; None: never.
    silent_seconds: float | None
    #: In its status.
    seconds: float
    reason: str
    stalled: bool
    local: bool
    dirty: bool
    #: Why devices may not switch now.
    hold: str
    #: The rollout that is on its way, in which this device has not been asked yet.
    awaits: str | None
    paused: bool

    @classmethod
    def of(cls, row: Row[Any], task: str, rollout: RolloutRow | None, now: float) -> Self:
        """``row``: the columns of a device and, as far as there are any, of its deployment."""
        report, heard = row.report or {}, row.last_heartbeat_at
        moving = rollout is not None and rollout.status in ROLLOUT_MOVING
        asked = rollout is not None and row.rollout == rollout.id
        return cls(
            task=task,
            status=row.status,
            desired=row.desired,
            actual=row.actual,
            online=is_online(row.present_until, now),
            silent_seconds=None if heard is None else max(now - heard, 0.0),
            seconds=max(now - (row.status_since or now), 0.0),
            reason=row.reason or "",
            stalled=bool(row.stalled),
            local=report.get("local", False),
            dirty=report.get("dirty", False),
            hold=rollout.hold if rollout is not None and asked else "",
            awaits=rollout.commit if rollout is not None and moving and not asked else None,
            paused=rollout is not None and rollout.status is RolloutStatus.PAUSED,
        )

    @property
    def synced(self) -> bool:
        return self.desired is None or self.desired == self.actual


def health_of(one: Deployed) -> DeploymentHealth:
    """Apart from whether it runs what is wanted."""
    if one.status is None or one.local:
        return H.HEALTHY
    if one.status is D.ROLLED_BACK:
        return H.DEGRADED
    if one.synced and (one.desired is not None or one.actual is not None):
        return H.HEALTHY
    if not one.online:
        return H.WAITING
    if one.stalled or one.status is D.AWAITING_APPROVAL:
        return H.STALLED
    return H.PROGRESSING


def why_of(one: Deployed) -> str:
    """``runs commit 1a2b3c4; its turn comes with a later wave of commit 5d6e7f8``."""
    if one.status is None:
        return "runs the folder that it was given ('fedops client run --app PATH')"
    if one.local:
        changed = ", with files that differ from it" if one.dirty else ""
        return f"runs its owner's own folder at {_commit(one.actual)}{changed}"
    return next_steps.sentence(_doing(one), _later(one))


def _doing(one: Deployed) -> str:
    runs = f"runs {_commit(one.actual)}"
    match health_of(one):
        case H.HEALTHY:
            return runs + ("" if one.online else f", {_away(one)}")
        case H.DEGRADED:
            return (
                f"{_commit(one.desired)} was no good here: {one.reason or 'no reason was given'}; {runs}; "
                "mend it in a new commit, or "
                f"'fedops task rollout {one.task} --commit {short_commit(one.desired)} --again'"
            )
        case H.WAITING:
            return f"{_away(one)}; it converges when it is back: {next_steps.start_device()}"
        case H.STALLED:
            return _stalled(one)
    if one.desired is None:
        return "runs nothing yet: nothing is asked of it"
    what = one.reason or one.hold or _WORDS[one.status or D.DESIRED]
    return f"{_commit(one.desired)}: {what}, for {duration(one.seconds)}"


def _stalled(one: Deployed) -> str:
    if one.status is D.AWAITING_APPROVAL:
        asks = one.reason or "its owner has to approve it"
        return f"{_commit(one.desired)}: {asks}; 'fedops client approve' on the device"
    what = f"{_commit(one.desired)}: {one.reason or 'it does not get on'}"
    return f"{what}; it stays on {_commit(one.actual)} until that is mended there"


_WORDS = {
    D.DESIRED: "it was asked, and has not answered yet",
    D.WAITING: "it waits",
    D.FETCHING: "it is being fetched",
    D.PREPARING: "its environment is being built",
    D.CHECKING: "it is being tried",
    D.ACTIVE: "it was active, and is not what runs",
}


def _later(one: Deployed) -> str:
    if one.awaits is None or one.awaits == one.desired:
        return ""
    when = "once a person lets the rollout go on" if one.paused else "with a later wave"
    return f"{_commit(one.awaits)} comes {when}"


def _away(one: Deployed) -> str:
    if one.silent_seconds is None:
        return "never seen"
    return f"away, last seen {duration(one.silent_seconds)} ago"


def _commit(commit: str | None) -> str:
    return f"commit {short_commit(commit)}" if commit else "no commit"
