"""How commits are named in sentences."""

from __future__ import annotations

#: As Git shortens them.
_SHORT = 7


def short_commit(commit: str | None) -> str:
    """``1a2b3c4``; ``no commit`` for none."""
    return commit[:_SHORT] if commit else "no commit"
