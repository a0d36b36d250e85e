"""What an app's own ServerApp has written, such as its final model: kept when its attempt is over.

FedOps keeps the models of its own rounds as versions. An app that plays its rounds itself saves what it
wants in its working folder, which is removed with the attempt.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

logger = logging.getLogger("fedops.server")

#: Folders of a working folder that are not the app's.
_NOT_ITS_OWN = ("flwr", "tmp", "__pycache__")
#: Of how many attempts files are kept, the newest; and how large those of one may be, in bytes.
_ATTEMPTS, _MOST_BYTES = 20, 2 << 30
_MB = 1_000_000


def keep_outputs(work: Path, kept: Path) -> None:
    """Move an app's files from its working folder into a folder of the same name below ``kept``.

    Links are left behind, and so is all of it when it is too large. Never raises: the run is over.
    """
    try:
        entries = list(_of_app(work))
        size = sum(_size(entry) for entry in entries)
        if not entries or size > _MOST_BYTES:
            if entries:
                logger.warning(
                    "%s: the app's files are not kept: %d MB, and %d MB at most",
                    work.name,
                    size // _MB,
                    _MOST_BYTES // _MB,
                )
            return
        target = kept / work.name
        target.mkdir(parents=True, exist_ok=True, mode=0o700)
        for entry in entries:
            shutil.move(entry, target / entry.name)
        logger.info("what the app of %s wrote is kept in %s", work.name, target)
        _forget_old(kept)
    except OSError as error:
        logger.warning("%s: the app's files cannot be kept: %s", work.name, error)


def _of_app(work: Path) -> Iterator[Path]:
    for entry in sorted(work.iterdir()) if work.is_dir() else ():
        if entry.name not in _NOT_ITS_OWN and not entry.name.startswith("."):
            _without_links(entry)
            if entry.is_file() or (entry.is_dir() and _size(entry)):
                yield entry


def _without_links(entry: Path) -> None:
    """Nothing that leads elsewhere is kept, and nobody follows it."""
    if entry.is_symlink():
        entry.unlink()
        return
    for folder, folders, files in os.walk(entry):
        for name in (*folders, *files):
            path = Path(folder, name)
            if path.is_symlink():
                path.unlink()


def _size(entry: Path) -> int:
    if entry.is_file():
        return entry.stat().st_size
    return sum(file.stat().st_size for file in entry.rglob("*") if file.is_file())


def _forget_old(kept: Path) -> None:
    folders = sorted(kept.iterdir(), key=lambda folder: folder.stat().st_mtime)
    for folder in folders[:-_ATTEMPTS]:
        with contextlib.suppress(OSError):
            shutil.rmtree(folder)
