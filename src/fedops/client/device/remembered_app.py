"""Which app the Client Manager of a device ran last, and how, for commands that are given beside it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from fedops.client.device.data_dir import DataDir, write_secret


@dataclass(frozen=True)
class RememberedApp:
    app_dir: str
    overrides: list[str] = field(default_factory=list)
    tasks: list[str] = field(default_factory=list)
    #: The interpreter of its environment; "": that of the Client Manager.
    python: str = ""

    def save(self, home: DataDir) -> None:
        """For this user only: an override may hold a secret of the device."""
        write_secret(home.app, json.dumps(asdict(self), indent=2) + "\n")


def remembered_app(home: DataDir) -> RememberedApp | None:
    """None when no Client Manager has run yet, or its note cannot be read."""
    try:
        noted = RememberedApp(**json.loads(home.app.read_text()))
        return noted if Path(noted.app_dir).is_absolute() else None
    except (OSError, ValueError, TypeError):
        return None
