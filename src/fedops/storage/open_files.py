"""What is done to a file by its descriptor: whatever its name is by now, it is this file and no other."""

from __future__ import annotations

import os

from fedops.platforms.files import read_at
from fedops.storage.blobs import ends_early


def mark_of(file: int) -> tuple[int, ...]:
    """What another file, or a change of this one, would not have."""
    found = os.fstat(file)
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def write_all(file: int, block: bytes) -> None:
    view = memoryview(block)
    while view:
        view = view[os.write(file, view) :]


def read_exactly(file: int, offset: int, size: int, sha256: str) -> bytes:
    """So many bytes of a blob. ``Unavailable`` when it is shorter than that."""
    parts, missing = [], size
    while missing:
        part = read_at(file, missing, offset + size - missing)
        if not part:
            raise ends_early(sha256, offset + size - missing)
        parts.append(part)
        missing -= len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)
