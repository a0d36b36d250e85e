"""What to type next: how the sentences end that say why something waits or has ended."""

from __future__ import annotations

from fedops.core.states import FailureReason


def fetch_model(task: str, version: int | None) -> str:
    """Of a run that is completed."""
    return f"'fedops model download {task} V{version}' fetches it" if task and version else ""


def do_the_rest(run_id: int) -> str:
    """Of a run that was stopped."""
    return f"do the rest with 'fedops run retry {run_id}'"


def after_failure(run_id: int, task: str, reason: FailureReason | None) -> str:
    """Of a run that failed: what to mend first, then the same."""
    if reason is FailureReason.APP_ERROR:
        update = f"'fedops task update {task} --app PATH'"
        return f"mend the app, {update}, then 'fedops run retry {run_id} --current-app'"
    first = {
        FailureReason.TOO_FEW_CLIENTS: "see 'fedops device list', then ",
        FailureReason.ENGINE_ERROR: f"see 'fedops run logs {run_id}', then ",
        FailureReason.AGGREGATION_ERROR: f"see 'fedops run show {run_id}', then ",
    }
    return (first.get(reason, "") if reason else "") + do_the_rest(run_id)


def try_again(command: str) -> str:
    """Of a run that failed or was stopped and has no rest to be done."""
    return f"try again with {command}"


def after_quarantine(run_id: int, task: str, version: int) -> str:
    """Of a version that nothing goes on from: who is to blame, or that it was none."""
    return (
        f"'fedops run show {run_id}' tells who took part; if it is good after all, "
        f"'fedops model release {task} V{version} --because TEXT'"
    )


def release_device(name: str) -> str:
    """Of a device that is asked for nothing."""
    return f"'fedops device release {name} --because TEXT'"


def read_logs(run_id: int) -> str:
    """Of a run whose FL server ended early."""
    return f"'fedops run logs {run_id}' has more"


def start_or_stop(run_id: int) -> str:
    """Of a run that waits for devices."""
    return f"start what is missing ('fedops client run' there) or 'fedops run stop {run_id}'"


def look_or_stop(run_id: int) -> str:
    """Of a run that waits for devices that are online, but not ready."""
    return f"see 'fedops device list', mend what is missing there, or 'fedops run stop {run_id}'"


def follow_rollout(task: str, run_id: int) -> str:
    """Of a run whose devices run another commit."""
    return f"'fedops task status {task}' tells how far they are, or 'fedops run stop {run_id}'"


def start_device() -> str:
    """Of a device that is not heard."""
    return "start 'fedops client run' on it"


def remove_device(name: str) -> str:
    """Of a device that takes part in nothing any more."""
    return f"'fedops device remove {name}' frees its name"


def restart_training() -> str:
    """Of a device whose training client was given up."""
    return "mend that, then 'fedops client restart' on the device"


def sentence(*parts: str) -> str:
    """Parts of a sentence, those that are empty left out."""
    return "; ".join(part for part in parts if part)
