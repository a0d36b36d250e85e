"""The folder of a device's explanations: one folder a round, the newest kept, raw maps to go on from."""

from __future__ import annotations

import shutil
from pathlib import Path

from fedops.core.errors import Unavailable
from fedops.explain import report
from fedops.explain.series import Place
from fedops.explain.snapshot import FILE as MAPS
from fedops.explain.snapshot import Snapshot


class Archive:
    """Rounds live in ``round-0003``; with a run in ``run-8/round-0003``."""

    def __init__(self, folder: Path, keep: int) -> None:
        self.folder, self._keep = folder, keep
        prepare(folder)

    def place(self, place: Place) -> Path:
        """The empty folder of a round. A repeated round starts anew."""
        path = self._path(place)
        if (path / report.FILE).is_file() or (path / MAPS).is_file():
            shutil.rmtree(path, ignore_errors=True)
        prepare(path)
        return path

    def load_before(self, place: Place) -> tuple[Place, Snapshot] | None:
        """The raw maps of the newest round before ``place``, if they can be read."""
        earlier = sorted(
            (p for p in self._places() if p.order < place.order), key=lambda p: p.order
        )
        for found in reversed(earlier):
            snapshot = Snapshot.load(self._path(found) / MAPS)
            if snapshot is not None:
                return found, snapshot
        return None

    def prune(self) -> None:
        """Remove the pictures of the oldest rounds beyond the number to keep."""
        places = sorted(self._places(), key=lambda p: p.order)
        for place in places[: max(0, len(places) - self._keep)]:
            shutil.rmtree(self._path(place), ignore_errors=True)

    def _path(self, place: Place) -> Path:
        folder = self.folder / f"run-{place.run}" if place.run else self.folder
        return folder / f"round-{place.round:04d}"

    def _places(self) -> list[Place]:
        """Rounds that have a report of ours: nothing else in the folder is touched."""
        found = []
        for path in [*self.folder.glob("round-*"), *self.folder.glob("run-*/round-*")]:
            run = path.parent.name.removeprefix("run-") if path.parent != self.folder else "0"
            number = path.name.removeprefix("round-")
            if run.isdigit() and number.isdigit() and (path / report.FILE).is_file():
                found.append(Place(int(run), int(number)))
        return found


def prepare(folder: Path) -> None:
    """Make the folder and see that it can be written to.

    Raises:
        Unavailable: it cannot.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".fedops-write-test"
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        raise Unavailable(
            f"explanations cannot be written to {folder}: {error.strerror or error}; "
            "make the folder writable or set xai.output_dir to another one"
        ) from None
