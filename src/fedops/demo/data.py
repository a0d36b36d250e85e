"""Which data the demo trains on, decided once for all its processes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from fedops.core.errors import Invalid
from fedops.core.suggestions import comma_list
from fedops.settings import cli_settings

#: The standard names of MNIST's files; each may also end in ``.gz``.
IDX_FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


@dataclass(frozen=True)
class DataSource:
    """Where the data comes from."""

    description: str
    #: What it changes in the app's config, on the server and on the devices.
    overrides: tuple[str, ...] = ()
    #: For every process.
    env: Mapping[str, str] = field(default_factory=dict)


def choose(folder: Path | None, *, download: bool = True) -> DataSource:
    """The folder given, else the one in the environment, else whatever can be had.

    Raises:
        Invalid: the folder lacks a file.
    """
    folder = folder or cli_settings().mnist_dir
    if folder is None:
        if not download:
            return DataSource(
                "scikit-learn's handwritten digits, in place of MNIST",
                overrides=("dataset.fallback=digits", "dataset.download=false"),
            )
        return DataSource(
            "MNIST, downloaded; without network scikit-learn's handwritten digits",
            overrides=("dataset.fallback=digits",),
        )
    folder = folder.expanduser().resolve()
    require_idx_files(folder)
    return DataSource(f"MNIST in {folder}", env={"FEDOPS_MNIST_DIR": str(folder)})


def require_idx_files(folder: Path) -> None:
    """Raise ``Invalid`` naming the files that a folder lacks."""
    missing = [name for name in IDX_FILES if not _has(folder, name)]
    if missing:
        raise Invalid(
            f"{folder} does not hold MNIST: it lacks {comma_list(missing)} (each may end in .gz)"
        )


def _has(folder: Path, name: str) -> bool:
    spellings = (name, name.replace("-idx", ".idx"))
    return any((folder / f"{stem}{end}").is_file() for stem in spellings for end in ("", ".gz"))
