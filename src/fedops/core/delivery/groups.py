"""A group of devices: names, patterns of names such as ``day-*``, or tags such as ``tag:ward``."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

from fedops.core.reasons.durations import first_few

#: What begins with it means the devices that have this tag. No name of a device has a colon.
TAG = "tag:"


def in_group(patterns: Sequence[str] | None, device: str, tags: Sequence[str] = ()) -> bool:
    """Whether a device with these tags is meant. No pattern means all.

    >>> in_group(["day-*", "pi"], "day-3"), in_group(["day-*"], "night-1"), in_group([], "pi")
    (True, False, True)
    >>> in_group(["tag:ward"], "pi", ["ward"]), in_group(["tag:ward"], "ward")
    (True, False)
    """
    names = [device, *(TAG + tag for tag in tags)]
    return not patterns or any(fnmatchcase(one, p) for p in patterns for one in _meant(p, names))


def _meant(pattern: str, names: Sequence[str]) -> Sequence[str]:
    """A tag is meant by what says so: ``*`` alone is a pattern of names."""
    return names[1:] if pattern.startswith(TAG) else names[:1]


def outside_group(
    patterns: Sequence[str] | None, device: str, tags: Sequence[str] = ()
) -> str | None:
    """Why a run does not ask a device, if that is why: ``not in this run's group: day-*``."""
    if not patterns or in_group(patterns, device, tags):
        return None
    return f"not in this run's group: {first_few(patterns)}"
