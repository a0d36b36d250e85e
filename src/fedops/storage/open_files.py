"""What is done to a file by its descriptor: whatever its name is by now, it is this file and no other."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from fedops.storage.blobs import ends_early

_BY_DESCRIPTOR = Path("/proc/self/fd")
_LINKS = sys.platform == "linux" and _BY_DESCRIPTOR.exists()


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
        part = os.pread(file, missing, offset + size - missing)
        if not part:
            raise ends_early(sha256, offset + size - missing)
        parts.append(part)
        missing -= len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def link_open_file(file: int, path: Path, target: Path) -> None:
    """A further name. ``FileNotFoundError`` when it has none, or ``path`` became another file's."""
    if _LINKS:
        os.link(_BY_DESCRIPTOR / str(file), target, src_dir_fd=file)
        return
    os.link(path, target)
    if not os.path.samestat(target.stat(), os.fstat(file)):
        target.unlink()
        raise FileNotFoundError(path)
