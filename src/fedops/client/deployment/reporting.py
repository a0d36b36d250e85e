"""How far a deployment is, as the server and the owner of the device are told."""

from __future__ import annotations

from fedops.client.deployment.commits.deployment_state import CommitNote, DeploymentState
from fedops.client.local.messages import DeployedStatus
from fedops.core.contracts import DeploymentReport


def report_of(
    task: str, state: DeploymentState, note: CommitNote | None, platform: str
) -> DeploymentReport:
    """For the server. ``note``: of the commit that runs."""
    return DeploymentReport(
        task=task,
        commit=state.commit,
        attempt=state.attempt,
        status=state.status,
        reason=state.reason,
        stalled=state.stalled,
        active=state.active,
        fingerprint=note.fingerprint if note else "",
        packages=note.packages if note else {},
        metrics=state.metrics,
        before=state.before,
        seconds=state.seconds,
        platform=platform,
    )


def status_of(task: str, state: DeploymentState, desired: str | None) -> DeployedStatus:
    """For the owner."""
    return DeployedStatus(
        task=task,
        desired=desired or state.commit,
        active=state.active,
        status=state.status,
        why=state.reason or (_NOTHING if state.commit is None else ""),
        stalled=state.stalled,
    )


_NOTHING = "the server has not named a commit for this device yet"
