"""A group of devices: names, or patterns of names such as ``day-*``."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

from fedops.core.reasons.durations import first_few


def in_group(patterns: Sequence[str] | None, device: str) -> bool:
    """Whether a device is meant. No pattern means all.

    >>> in_group(["day-*", "pi"], "day-3"), in_group(["day-*"], "night-1"), in_group([], "pi")
    (True, False, True)
    """
    return not patterns or any(fnmatchcase(device, pattern) for pattern in patterns)


def outside_group(patterns: Sequence[str] | None, device: str) -> str | None:
    """Why a run does not ask a device, if that is why: ``not in this run's group: day-*``."""
    if not patterns or in_group(patterns, device):
        return None
    return f"not in this run's group: {first_few(patterns)}"
