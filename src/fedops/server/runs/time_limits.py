"""How long each state of a run may last, from the settings and the run's own config.

The round engine looks after its rounds, the scheduler after attempts, maintenance after the rest.
"""

from __future__ import annotations

from fedops.config.schema import RoundPolicy
from fedops.core.contracts import EngineProgress
from fedops.core.states import RunStatus
from fedops.server.database.tables import RunRow
from fedops.settings import ServerSettings


def round_policy(run: RunRow) -> RoundPolicy:
    """When the run's rounds end. What a config of an older program does not say is the default."""
    given = run.config.get("server", {}).get("round", {})
    return RoundPolicy.model_validate({k: v for k, v in given.items() if v is not None})


def run_limit(
    run: RunRow, progress: EngineProgress | None, settings: ServerSettings
) -> float | None:
    """How long the run may go on as it is now, in seconds. None: it is over.

    While it runs this is the limit of what its engine is doing.
    """
    limits = {
        RunStatus.PENDING: settings.engine_wait_seconds,
        RunStatus.RESUMING: settings.engine_wait_seconds,
        RunStatus.STARTING: settings.attempt_start_seconds,
        RunStatus.PAUSING: settings.stop_seconds,
        RunStatus.STOPPING: settings.stop_seconds,
        RunStatus.PAUSED: settings.paused_seconds,
    }
    if run.status is not RunStatus.RUNNING:
        return limits.get(run.status)
    policy = round_policy(run)
    if progress is not None and progress.phase == "waiting":
        return policy.wait_seconds
    if progress is not None and progress.phase == "training":
        return policy.deadline_seconds
    return settings.attempt_work_seconds


def phase_limit(run: RunRow, progress: EngineProgress | None, settings: ServerSettings) -> float:
    """After how long in one phase an engine is given up: well after it should have ended that itself."""
    policy, margin = round_policy(run), settings.attempt_work_seconds
    if progress is not None and progress.phase == "waiting":
        return policy.wait_seconds + margin
    if progress is not None and progress.phase == "training":
        return work_limit(run) + margin
    return margin


def work_limit(run: RunRow) -> float:
    """How long a device may train or evaluate at a stretch: after that no try of a round waits for it."""
    policy = round_policy(run)
    return policy.deadline_seconds * (policy.max_retries + 1)
