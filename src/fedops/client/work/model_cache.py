"""Models that the device has: by digest, checked each time they are used, two a task, bounded in bytes."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import re
import threading
from pathlib import Path

from fedops.core.contracts import BlobRef
from fedops.storage.atomic_files import sha256_of

logger = logging.getLogger("fedops.client")

MODELS_A_TASK = 2
_MODEL = re.compile(r"[0-9a-f]{64}\.safetensors")
_PART = ".part"


class Damaged(Exception):
    """The bytes are not those of the blob. ``digest``: what they are."""

    def __init__(self, digest: str) -> None:
        super().__init__(digest)
        self.digest = digest


class ModelCache:
    """Files below a folder, one folder a task."""

    def __init__(self, root: Path, limit_bytes: int) -> None:
        self._root = root
        self._limit = limit_bytes
        self._lock = threading.Lock()

    def find(self, task: str, blob: BlobRef) -> Path | None:
        """The file, if it is here and whole. One that was damaged is removed."""
        path = self._path(task, blob)
        try:
            if path.stat().st_size == blob.size and sha256_of(path) == blob.sha256:
                os.utime(path)  # it was used last
                return path
        except OSError:
            return None
        logger.warning("the model %s was damaged on this disk: it is fetched again", path.name[:12])
        path.unlink(missing_ok=True)
        return None

    def part(self, task: str, blob: BlobRef) -> Path:
        """Where its bytes gather until they are all there."""
        path = self._path(task, blob).with_suffix(_PART)
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def admit(self, task: str, blob: BlobRef) -> Path:
        """The bytes are all there. ``Damaged`` when they are not what they should be: they are gone then."""
        part, path = self.part(task, blob), self._path(task, blob)
        if (digest := sha256_of(part)) != blob.sha256:
            part.unlink(missing_ok=True)
            raise Damaged(digest)
        part.replace(path)  # a power cut may damage it: it is looked at before it is used
        self._prune(path)
        return path

    def _path(self, task: str, blob: BlobRef) -> Path:
        folder = hashlib.sha256(task.encode()).hexdigest()[:16]
        return self._root / folder / f"{blob.sha256}.safetensors"

    def _prune(self, newest: Path) -> None:
        """Remove what is too many of a task, then the oldest of all until the rest fits."""
        with self._lock:
            for old in _oldest_first(newest.parent)[:-MODELS_A_TASK]:
                old.unlink(missing_ok=True)
            for part in newest.parent.glob(f"*{_PART}"):
                part.unlink(missing_ok=True)
            files = [path for folder in self._root.iterdir() for path in _oldest_first(folder)]
            files.sort(key=_used_at)
            total = sum(_size(path) for path in files)
            for old in files:
                if total <= self._limit or old == newest:
                    return
                total -= _size(old)
                old.unlink(missing_ok=True)


def _oldest_first(folder: Path) -> list[Path]:
    found = [path for path in folder.iterdir() if _MODEL.fullmatch(path.name)]
    return sorted(found, key=_used_at)


def _used_at(path: Path) -> int:
    with contextlib.suppress(OSError):
        return path.stat().st_mtime_ns
    return 0


def _size(path: Path) -> int:
    with contextlib.suppress(OSError):
        return path.stat().st_size
    return 0
