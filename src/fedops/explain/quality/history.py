"""What is kept of a device's explanations: a folder a round, the newest kept, raw maps to go on from."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fedops.core.errors import Unavailable
from fedops.storage.atomic_files import atomic_file

MAPS = "maps.npz"
REPORT = "report.json"
#: The model, the method, and which class of a sample is explained.
Key = tuple[str, str, str]


@dataclass(frozen=True)
class Place:
    """Where in the life of a task: which run, which round."""

    run: int
    round: int

    @property
    def order(self) -> tuple[int, int]:
        return self.run, self.round


@dataclass(frozen=True)
class Raw:
    """Maps of all probes by one method for one model."""

    values: npt.NDArray[Any]  #: [samples, ...]
    targets: npt.NDArray[Any]  #: the class that was explained
    done: npt.NDArray[Any]  #: whether it was


@dataclass(frozen=True)
class Snapshot:
    """All maps of a round, and of which probes and layer they are."""

    probe: str
    layer: str
    indices: tuple[int, ...]
    maps: Mapping[Key, Raw]

    def save(self, path: Path) -> None:
        """As npz without objects: ``<model>/<method>/<class>/values`` and so on."""
        arrays: dict[str, npt.NDArray[Any]] = {
            "probe": np.array(self.probe),
            "layer": np.array(self.layer),
            "indices": np.array(self.indices, dtype=np.int64),
        }
        for key, raw in self.maps.items():
            arrays |= {f"{'/'.join(key)}/{name}": value for name, value in vars(raw).items()}
        with atomic_file(path) as file:
            np.savez(file, allow_pickle=False, **arrays)

    @classmethod
    def load(cls, path: Path) -> Snapshot | None:
        """What ``save`` wrote, or None when the file is missing or damaged."""
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as data:
                arrays = dict(data)
            keys = [tuple(n.split("/")[:3]) for n in arrays if n.endswith("/values")]
            return cls(
                str(arrays["probe"]),
                str(arrays["layer"]),
                tuple(int(index) for index in arrays["indices"]),
                {(k[0], k[1], k[2]): _raw(arrays, "/".join(k)) for k in keys},
            )
        except (OSError, ValueError, KeyError, IndexError, EOFError, zipfile.BadZipFile):
            return None


def _raw(arrays: Mapping[str, npt.NDArray[Any]], name: str) -> Raw:
    return Raw(arrays[f"{name}/values"], arrays[f"{name}/targets"], arrays[f"{name}/done"])


class Archive:
    """Rounds live in ``round-0003``; with a run in ``run-8/round-0003``."""

    def __init__(self, folder: Path, keep: int) -> None:
        self.folder, self._keep = folder, keep
        prepare_folder(folder)

    def place(self, place: Place) -> Path:
        """The empty folder of a round. A repeated round starts anew."""
        path = self._path(place)
        if (path / REPORT).is_file() or (path / MAPS).is_file():
            shutil.rmtree(path, ignore_errors=True)
        prepare_folder(path)
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
            if run.isdigit() and number.isdigit() and (path / REPORT).is_file():
                found.append(Place(int(run), int(number)))
        return found


def prepare_folder(folder: Path) -> None:
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
            "make the folder writable or choose another one (xai.output_dir)"
        ) from None
