"""Wheels by their digests, each under its real name: uv reads from the name what a wheel is."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import time
from pathlib import Path

from packaging.utils import InvalidWheelFilename, parse_wheel_filename

from fedops.core.contracts import WheelRef
from fedops.core.errors import Invalid, Unavailable
from fedops.storage.atomic_files import sha256_of
from fedops.storage.blobs import WrongDigest, require_digest
from fedops.storage.shortages import why_not_written

_STAGING = ".new-"
#: No wheel takes longer to be copied.
_STAGING_SECONDS = 3_600.0


def require_wheel_name(name: str) -> str:
    """The name, when it is the file name of a wheel. ``Invalid`` else."""
    try:
        parse_wheel_filename(name)
    except InvalidWheelFilename:
        raise Invalid(f"'{name[:200]}' is no file name of a wheel") from None
    if len(name) > 255 or "/" in name or "\\" in name or "\0" in name:
        raise Invalid(f"'{name[:200]}' is no file name of a wheel")
    return name


class WheelStore:
    """``FOLDER/<sha256>/<name>``. A wheel is there whole, or not at all. Any process may use it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def path(self, ref: WheelRef) -> Path | None:
        """Where it is; None: it is not there."""
        path = self._place(ref)
        try:
            return path if path.stat().st_size == ref.size else None
        except FileNotFoundError:
            return None

    def find(self, sha256: str, name: str) -> Path | None:
        """A wheel whose size is not known."""
        path = self._folder / require_digest(sha256) / require_wheel_name(name)
        return path if path.is_file() else None

    def add(self, file: Path, ref: WheelRef) -> Path:
        """Keep a copy of a file under the wheel's name.

        Raises:
            Invalid: the file is not that wheel.
            Unavailable: it cannot be written.
        """
        known = self.path(ref)
        if known is not None:
            return known
        target = self._place(ref)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=_STAGING, dir=self._folder) as staging:
                copy = Path(staging) / ref.name
                _copy(file, copy)
                _check(copy, ref)
                copy.replace(target)
        except OSError as error:
            with contextlib.suppress(OSError):
                target.parent.rmdir()  # only when nothing is in it
            raise Unavailable(why_not_written(error, self._folder)) from error
        return target

    def free(self, keep: set[str]) -> None:
        """Remove every wheel whose digest is not among these, and what an ended process left."""
        if not self._folder.is_dir():
            return
        for folder in self._folder.iterdir():
            if folder.name not in keep and not _in_use(folder):
                shutil.rmtree(folder, ignore_errors=True)

    def _place(self, ref: WheelRef) -> Path:
        return self._folder / require_digest(ref.sha256) / require_wheel_name(ref.name)


def _in_use(folder: Path) -> bool:
    """Whether somebody may be writing into it at this moment."""
    try:
        young = time.time() - folder.stat().st_mtime < _STAGING_SECONDS
    except OSError:
        return False
    return folder.name.startswith(_STAGING) and young


def _copy(file: Path, copy: Path) -> None:
    """By a link where the disk allows it: blobs never change."""
    try:
        os.link(file, copy)
    except OSError:
        shutil.copyfile(file, copy)


def _check(copy: Path, ref: WheelRef) -> None:
    if copy.stat().st_size != ref.size or sha256_of(copy) != ref.sha256:
        raise WrongDigest(
            f"the wheel {ref.name} is not what was announced: it must be fetched again"
        )
