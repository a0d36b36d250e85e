"""What a disk may answer, and making the names in a folder durable."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from fedops.core.errors import Unavailable

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def disk_errors(where: Path) -> Iterator[None]:
    """Errors of the server's disk as ``Unavailable``."""
    try:
        yield
    except OSError as error:
        full = error.errno in _FULL
        what = "the server's disk is full" if full else f"cannot write: {error.strerror}"
        raise Unavailable(f"{what} ({where}); free some space and repeat") from error


def sync_folders(folders: Iterable[Path]) -> None:
    """Names in these folders that were made or changed are durable afterwards."""
    for folder in folders:
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
