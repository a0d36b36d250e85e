"""What is quarantined, why, and what to do about it, in a sentence."""

from __future__ import annotations


def quarantined_device(name: str, why: str) -> str:
    """Of a device that is asked for nothing."""
    release = f"'fedops device release {name} --because TEXT'"
    return f"quarantined ({why}): it is asked for nothing until {release}"


def quarantined_version(task: str, version: int, why: str, run_id: int) -> str:
    """Of a version that nothing goes on from, and that a run has made."""
    return (
        f"V{version} is quarantined: {why}; 'fedops run show {run_id}' tells who took part; if it is good"
        f" after all, 'fedops model release {task} V{version} --because TEXT'"
    )
