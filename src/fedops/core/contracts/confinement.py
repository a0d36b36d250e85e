"""How code of an app is to be held by the process that runs it."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from fedops.core.contracts.base import Report


class Confinement(Report):
    """What a process gives up before it imports an app. What its system cannot do is named, or refused."""

    #: Whether it gives up sight of files, and writing to most.
    files: bool = True
    #: Folders and files that are not to be seen, but for those below.
    hidden: list[Path] = Field(default_factory=list)
    readable: list[Path] = Field(default_factory=list)
    #: May be read by who knows the names in them.
    nameless: list[Path] = Field(default_factory=list)
    writable: list[Path] = Field(default_factory=list)
    #: Whether all that is not hidden may be written too.
    writes_rest: bool = False
    #: The only TCP port that may be connected to. None: the network is no matter.
    port: int | None = None
    #: Whose process it becomes. None: it stays the one of who started it.
    user: str | None = None
    #: Whether the code is not run where a part of this cannot be done.
    required: bool = False
    #: Its own memory, in bytes, and how many processes and threads its user has; 0: no limit.
    data_bytes: int = 0
    processes: int = 0
