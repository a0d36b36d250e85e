"""The folder that a command runs in for one round: the project's files, which it cannot change.

Code and small files are copied, so that a write to them changes the copy. Large files, and folders with many
files, are linked; the hooks of a watched command break a link that is written to. All is removed afterwards.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from fedops.processes.own_folder import own_folder

#: A file up to this size is copied, as long as all copies together stay below the next. Bytes.
COPIED_BYTES, ALL_COPIED_BYTES = 1 << 20, 64 << 20
#: A folder with more entries than this, none of them code, holds data: it is linked as it is.
MANY = 100
#: Neither needed nor worth a link. Environments are known by their file pyvenv.cfg.
_LEFT_OUT = frozenset({".git", "__pycache__", "node_modules", ".mypy_cache", ".pytest_cache"})
_MODELS = frozenset(
    {".bin", ".ckpt", ".h5", ".joblib", ".keras", ".onnx", ".pkl", ".pt", ".pth", ".safetensors"}
)


@dataclass(frozen=True)
class RoundFolder:
    """Three folders that are there for one run of the command."""

    #: The project's files, where the command runs.
    work: Path
    #: What is said to the hooks, and what they answer.
    job: Path
    #: For temporary files of the command.
    temporary: Path


@contextmanager
def round_folder(project: Path, left_out: Collection[Path] = ()) -> Iterator[RoundFolder]:
    """A round folder of a project, for as long as the block takes.

    ``left_out``: files and folders of the project that are not wanted, such as the app's own folder, or what
    an earlier run has written.

    Raises:
        OSError: the disk has no room.
    """
    with own_folder("round") as above:
        folder = RoundFolder(above / (project.name or "work"), above / ".job", above / ".tmp")
        for place in (folder.job, folder.temporary):
            place.mkdir(mode=0o700)
        _Copying(frozenset(left_out)).fill(project.resolve(), folder.work)
        yield folder


def outputs(project: Path, written: Collection[str], read: Collection[str]) -> list[Path]:
    """What an observed run left in the project and no later run should find, such as a checkpoint to resume.

    What it wrote and read again stays, since that may be data which it fetched; models do not.
    """
    found = []
    for name in written:
        path = Path(os.path.normpath(project / name))
        if path.is_relative_to(project) and (name not in read or _is_model(Path(name))):
            found.append(path)
    return found


def _is_model(path: Path) -> bool:
    folders = [part.casefold() for part in path.parts[:-1]]
    of_data = any("data" in part or "cache" in part for part in folders)
    return path.suffix.casefold() in _MODELS and not of_data


@dataclass
class _Copying:
    """How much has been copied."""

    left_out: frozenset[Path]
    copied: int = field(default=0)

    def fill(self, source: Path, target: Path) -> None:
        target.mkdir(mode=0o700)
        with os.scandir(source) as entries:
            for entry in entries:
                path = Path(entry.path)
                if entry.name not in _LEFT_OUT and path not in self.left_out:
                    self._take(path, target / entry.name)

    def _take(self, source: Path, target: Path) -> None:
        if source.is_dir():
            if source.is_symlink() or _is_full(source):
                target.symlink_to(source.resolve(), target_is_directory=True)
            elif not (source / "pyvenv.cfg").exists():
                self.fill(source, target)
        elif source.is_file():
            self._take_file(source, target)

    def _take_file(self, source: Path, target: Path) -> None:
        size = source.stat().st_size
        if size > COPIED_BYTES or self.copied + size > ALL_COPIED_BYTES:
            target.symlink_to(source.resolve())
            return
        self.copied += size
        shutil.copy2(source, target)


def _is_full(folder: Path) -> bool:
    with os.scandir(folder) as entries:
        names = [entry.name for entry in entries]
    return len(names) > MANY and not any(name.endswith(".py") for name in names)
