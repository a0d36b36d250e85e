"""Where the code of a task comes from, as it is typed."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from fedops.cli import options
from fedops.config.loading import read_toml
from fedops.core import contracts as c
from fedops.core.errors import Invalid

Git = Annotated[
    str | None,
    typer.Option(
        "--git",
        metavar="URL",
        help="A Git repository, as the server reaches it: a path, https://..., ssh://..., user@host:path.",
    ),
]
Folder = Annotated[
    Path | None,
    typer.Option("--folder", metavar="PATH", help="A plain folder on the server's machine."),
]
Ref = Annotated[
    str | None,
    typer.Option(
        "--ref",
        metavar="REF",
        help="A branch, a tag or a commit; default: what the repository itself names.",
    ),
]
Subfolder = Annotated[
    str | None,
    typer.Option("--subfolder", metavar="PATH", help="The app's folder within the repository."),
]
Poll = Annotated[
    float | None,
    typer.Option(
        "--poll",
        metavar="SECONDS",
        help="How often the server looks; 0: only when a hook or a person says so. Default: 60.",
    ),
]

Policy = Annotated[
    Path | None,
    typer.Option(
        "--policy",
        metavar="FILE",
        help="A TOML file that says how commits are rolled out: canary, approval, windows, ...",
    ),
]


@dataclass(frozen=True)
class TypedSource:
    """What was given of a source."""

    git: str | None = None
    folder: Path | None = None
    ref: str | None = None
    subfolder: str | None = None
    poll: float | None = None
    policy: Path | None = None

    @property
    def is_given(self) -> bool:
        return self.git is not None or self.folder is not None

    @property
    def is_partly_given(self) -> bool:
        parts = (self.ref, self.subfolder, self.poll, self.policy)
        return any(one is not None for one in parts)

    def request(self) -> c.SourceSet:
        """``Invalid``: there is no place, or two, or the policy is none."""
        if (self.git is None) == (self.folder is None):
            raise Invalid("say where the code is: --git URL or --folder PATH, one of the two")
        given = {"ref": self.ref, "subfolder": self.subfolder, "poll_seconds": self.poll}
        kept: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
        if self.policy is not None:
            kept["policy"] = options.request(c.RolloutPolicy, **read_toml(self.policy))
        return options.request(c.SourceSet, url=self._url(), **kept)

    def _url(self) -> str:
        """A path is absolute for the server, which may have another working directory."""
        if self.folder is not None:
            return f"folder:{os.path.abspath(self.folder.expanduser())}"
        assert self.git is not None
        here = Path(self.git).expanduser()
        return os.path.abspath(here) if here.is_dir() else self.git
