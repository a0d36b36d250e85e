"""What is quarantined, why, and what to do about it, in a sentence."""

from __future__ import annotations

from fedops.core.reasons import next_steps


def quarantined_device(name: str, why: str) -> str:
    """Of a device that is asked for nothing."""
    return f"quarantined ({why}): it is asked for nothing until {next_steps.release_device(name)}"


def quarantined_version(task: str, version: int, why: str, run_id: int) -> str:
    """Of a version that nothing goes on from, and that a run has made."""
    what = f"V{version} is quarantined: {why}"
    return next_steps.sentence(what, next_steps.after_quarantine(run_id, task, version))
