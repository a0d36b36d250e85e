"""The failpoints of a schedule: armed, watched and let go through the folder that all processes share."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Pass:
    """A process that was caught at a point."""

    point: str
    pid: int
    at: float


class Board:
    """One folder of failpoints (see ``fedops.failpoints``)."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def clear(self) -> None:
        """No point is armed, nobody is held, all counts begin anew."""
        for path in self.folder.iterdir():
            path.unlink(missing_ok=True)

    def arm(self, point: str, action: str, number: int) -> None:
        (self.folder / f"{point}.armed").write_text(f"{action}@{number}\n")

    def fired(self, point: str) -> Pass | None:
        """Who was caught there, if somebody was."""
        try:
            pid, at = (self.folder / f"{point}.fired").read_text().split()
        except (OSError, ValueError):  # not yet, or not yet whole
            return None
        return Pass(point, int(pid), float(at))

    def is_held(self, point: str) -> bool:
        return (self.folder / f"{point}.held").exists()

    def release(self, point: str) -> None:
        (self.folder / f"{point}.held").unlink(missing_ok=True)

    def passes(self) -> dict[str, int]:
        """How often each point was passed since the last ``clear``."""
        points = (path for path in self.folder.iterdir() if not _is_note(path))
        return {path.name: path.stat().st_size for path in points}

    def remove(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


def _is_note(path: Path) -> bool:
    return path.suffix in (".armed", ".fired", ".held")
