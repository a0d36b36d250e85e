"""What a look at a source found."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Found:
    """The commit that a source has now."""

    #: Git's name of it; of a folder, the digest of its files.
    commit: str
    subject: str = ""
    author: str = ""
    #: POSIX seconds. None: not known.
    authored_at: float | None = None
    #: The commit before is no ancestor of it: the history was replaced.
    rewritten: bool = False
