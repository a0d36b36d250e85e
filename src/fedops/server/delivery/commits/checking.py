"""What packs and tries the app of a commit: child processes, for nothing of it is imported here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol


@dataclass(frozen=True)
class Checked:
    """What was found out about an app under a config."""

    #: Why it must not be deployed; "": nothing is known against it.
    problem: str = ""
    #: Of the parameter contract; "": the model could not be built on this machine.
    fingerprint: str = ""
    #: What could not be told here, and what is good to know. A sentence each.
    notes: list[str] = field(default_factory=list)


class AppChecks(Protocol):
    """Used by one thread at a time."""

    def pack(self, app_dir: Path, bundle: Path) -> list[str]:
        """Write the app's bundle into the file ``bundle``; returns what the app requires.

        Raises:
            Invalid: it cannot be bundled, or requires what cannot be installed.
            Unavailable: this machine cannot do it now.
        """
        ...

    def check(self, bundle: Path, config: Mapping[str, Any]) -> Checked:
        """Try the app in a bundle under a task's config.

        Raises:
            Unavailable: this machine cannot do it now.
        """
        ...
