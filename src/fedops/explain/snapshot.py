"""The raw maps of one round as they are kept: what a later round is compared with."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fedops.files import atomic_file

FILE = "maps.npz"
#: The model, the method, and which class of a sample is explained.
Key = tuple[str, str, str]


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
