"""Times and numbers in words, as a sentence has them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

#: A message names at most this many devices.
NAMED = 3


def duration(seconds: float) -> str:
    """A duration as people say it: ``41 s``, ``3 min``, ``2 h``, ``5 d``."""
    seconds = max(seconds, 0.0)
    for unit, size, limit in (("s", 1, 120), ("min", 60, 7_200), ("h", 3_600, 172_800)):
        if seconds < limit:
            return f"{int(seconds / size)} {unit}"
    return f"{int(seconds / 86_400)} d"


def duration_of_limit(seconds: float, limit: float | None) -> str:
    """How long something has lasted, and how long it may: ``12 s, limit 60 s``."""
    return duration(seconds) if limit is None else f"{duration(seconds)}, limit {duration(limit)}"


def pluralised(number: int, thing: str) -> str:
    """``1 device``, ``2 devices``."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def first_few(words: Sequence[str], count: int | None = None) -> str:
    """The first few words, and how many more there are. ``count``: of all, where not all are given."""
    shown, more = words[:NAMED], (len(words) if count is None else count) - NAMED
    text = ", ".join(shown)
    return text if more <= 0 else f"{text} and {more} more"


def equal_together(reasons: Iterable[tuple[str, str]], count: int = 0) -> str:
    """``ada, bob: training; 4 devices: offline``: each reason once, with the names that have it.

    ``count``: of all names, where not all are given.
    """
    names: dict[str, list[str]] = {}
    for name, why in reasons:
        names.setdefault(why, []).append(name)
    groups = [f"{_who(some)}: {why}" for why, some in names.items()][:NAMED]
    shown = sum(len(some) for some in list(names.values())[:NAMED])
    more = max(count, sum(map(len, names.values()))) - shown
    text = "; ".join(groups)
    return text if more <= 0 else f"{text}; and {more} more"


def _who(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) <= NAMED else f"{len(names)} devices"
