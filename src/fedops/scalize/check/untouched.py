"""Whether a folder is as it was."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

#: Of larger folders only so many files are looked at.
_MOST_FILES = 20_000
_MOST_NAMED = 5
#: What tools beside the command write.
_LEFT_OUT = frozenset({".git", "__pycache__", ".mypy_cache", ".pytest_cache", ".ruff_cache"})
State = dict[str, tuple[int, int]]


def state_below(folder: Path) -> State:
    """File, seen from the folder -> its size in bytes and when it was written, in nanoseconds."""
    found: State = {}
    for path in _files(folder):
        if len(found) >= _MOST_FILES:
            break
        try:
            status = path.lstat()
        except OSError:
            continue
        found[path.relative_to(folder).as_posix()] = status.st_size, status.st_mtime_ns
    return found


def changes_below(folder: Path, before: State) -> str:
    """The first files that are new, gone or changed; "" when none is."""
    now = state_below(folder)
    # Where not all files were looked at, a new one may be an old one.
    names = before if len(before) >= _MOST_FILES else sorted({*before, *now})
    changed = [name for name in names if before.get(name) != now.get(name)]
    more = ", ..." if len(changed) > _MOST_NAMED else ""
    return ", ".join(changed[:_MOST_NAMED]) + more


def _files(folder: Path) -> Iterator[Path]:
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if name not in _LEFT_OUT)
        yield from (Path(place) / name for name in sorted(files))
