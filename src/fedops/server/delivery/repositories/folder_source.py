"""A plain folder of this machine as a source: the digest of its files stands for a commit."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from fedops.core.errors import Invalid, NotFound, Unavailable
from fedops.scalize.flow.manifest import read_manifest
from fedops.server.delivery.repositories.app_layout import LaidOut, folders_beside, require_app
from fedops.server.delivery.repositories.checkout import MAX_BYTES, MAX_FILES
from fedops.server.delivery.repositories.found import Found
from fedops.server.delivery.repositories.tree_paths import TreePaths, named, require_inside

#: What a bundle may hold, by its ending, and what decides about the packages.
_SUFFIXES = frozenset(
    {".py", ".toml", ".md", ".yaml", ".yml", ".json", ".jsonl", ".txt", ".lock", ".cfg"}
)
_NAMES = frozenset({".gitignore", "LICENSE"})
#: Folders that no bundle holds.
_SKIPPED = frozenset(
    {"__pycache__", "build", "dist", "eggs", "env", "ENV", "node_modules", "venv", "wheels"}
)
_BLOCK = 1 << 20


def look_at_folder(folder: Path, subfolder: str) -> Found:
    """What a folder holds now.

    Raises:
        NotFound: there is no such folder.
        Unavailable: it cannot be read.
        Invalid: it holds too much, or what must not be copied.
    """
    commit = digest_of(folder, all_files(folder, subfolder))
    return Found(commit=commit, subject=f"files of {folder}")


def lay_out_folder(folder: Path, commit: str, subfolder: str, root: Path) -> LaidOut:
    """A copy of the folder below ``root``; its app is in ``subfolder``.

    Raises:
        NotFound: there is no such folder.
        Invalid: it is no app, or its files are not those of ``commit`` any more.
        Unavailable: it cannot be read.
    """
    _copy(folder, all_files(folder, subfolder), root)
    if digest_of(root, all_files(root, subfolder)) != commit:
        raise Invalid(
            "the files of the folder changed again before they were checked: the next look finds them"
        )
    app_dir = root / subfolder
    if not app_dir.is_dir():
        raise NotFound(f"the folder {folder} has no folder '{named(subfolder)}'")
    list(folders_beside(require_app(app_dir, root), root))
    return LaidOut(app_dir)


def all_files(folder: Path, subfolder: str) -> list[str]:
    """The files that count, by their paths within the folder."""
    if subfolder:
        require_inside(subfolder)
    return sorted({*source_files(folder), *carried_by(folder, subfolder)})


def source_files(folder: Path) -> Iterator[str]:
    """The code in it, by its paths within the folder. Links are left out."""
    if not folder.is_dir():
        raise NotFound(f"there is no folder {folder} on the server's machine")
    paths, count, size = TreePaths(), 0, 0
    for here, folders, names in os.walk(folder, onerror=_unreadable):
        folders[:] = sorted(name for name in folders if not _is_skipped(Path(here, name)))
        for name in sorted(names):
            file = Path(here, name)
            if file.is_symlink() or not file.is_file() or not _counts(name):
                continue
            path = file.relative_to(folder).as_posix()
            paths.add(path)
            count, size = count + 1, size + file.stat().st_size
            _require_bounds(folder, count, size)
            yield path


def carried_by(folder: Path, subfolder: str) -> Iterator[str]:
    """What the app's manifest takes along of other kinds of files."""
    try:
        manifest = read_manifest(folder / subfolder)
    except Invalid:
        return  # whoever checks it says so
    top, size = folder.resolve(), 0
    for pattern in manifest.carry if manifest.workdir else ():
        if ".." in PurePosixPath(pattern).parts:
            continue  # whoever packs it says so
        for file in sorted((manifest.workdir or top).glob(pattern)):
            inside = file.resolve().is_relative_to(top)
            if file.is_file() and not file.is_symlink() and inside and not _counts(file.name):
                size += file.stat().st_size
                _require_bounds(folder, 0, size)
                yield file.resolve().relative_to(top).as_posix()


def digest_of(folder: Path, files: list[str]) -> str:
    """64 hex digits of sorted paths and contents."""
    total = hashlib.sha256()
    for path in sorted(files):
        total.update(f"{path}\0".encode("utf-8", "surrogateescape"))
        try:
            with (folder / path).open("rb") as file:
                total.update(hashlib.file_digest(file, "sha256").digest())
        except OSError as error:
            raise Unavailable(f"{folder / path} cannot be read: {error.strerror}") from None
    return total.hexdigest()


def _copy(folder: Path, files: list[str], root: Path) -> None:
    for path in files:
        target = root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            with (folder / path).open("rb") as source, target.open("wb") as copy:
                left = MAX_BYTES
                while left > 0 and (block := source.read(min(_BLOCK, left))):
                    left -= copy.write(block)
        except OSError as error:
            raise Unavailable(f"{folder / path} cannot be copied: {error.strerror}") from None


def _is_skipped(folder: Path) -> bool:
    name = folder.name
    hidden = name.startswith(".") or name in _SKIPPED or name.endswith(".egg-info")
    return hidden or folder.is_symlink() or (folder / "pyvenv.cfg").exists()


def _counts(name: str) -> bool:
    return name in _NAMES or (not name.startswith(".") and Path(name).suffix in _SUFFIXES)


def _require_bounds(folder: Path, count: int, size: int) -> None:
    if count > MAX_FILES or size > MAX_BYTES:
        raise Invalid(
            f"{folder} holds more than {MAX_FILES:,} files or {MAX_BYTES >> 20} MiB of code: name the app's "
            "own folder"
        )


def _unreadable(error: OSError) -> None:
    raise Unavailable(f"{error.filename} cannot be read: {error.strerror}")
