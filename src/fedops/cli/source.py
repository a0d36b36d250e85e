"""Where an app's files come from: the Git commit that its folder is at."""

from __future__ import annotations

import subprocess
from pathlib import Path

_SECONDS = 10.0


def git_commit(folder: Path) -> str | None:
    """The commit, with ``-dirty`` when files differ from it. None: no Git, or no commit there."""
    commit = _git(folder, "rev-parse", "--verify", "--quiet", "HEAD")
    if not commit:
        return None
    changed = _git(folder, "status", "--porcelain", "--", ".")
    return commit if changed == "" else f"{commit}-dirty"


def _git(folder: Path, *words: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *words],
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
