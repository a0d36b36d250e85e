"""What a disk may answer, and making the names in a folder durable."""

from __future__ import annotations

import errno
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from fedops.core.errors import Unavailable
from fedops.platforms.files import sync_path
from fedops.storage.shortages import shortage_of, shortages

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def is_full(error: OSError) -> bool:
    """Whether there is no room for what was to be written."""
    return error.errno in _FULL


@contextmanager
def disk_errors(where: Path) -> Iterator[None]:
    """Errors of the server's disk as ``Unavailable``."""
    try:
        yield
    except OSError as error:
        shortage = shortage_of(error, where)
        if shortage is None:
            raise Unavailable(f"cannot write: {error.strerror} ({where}); repeat") from error
        shortages.note(shortage)
        raise Unavailable(f"{shortage.named()}; {shortage.remedy} and repeat") from error


def sync_folders(folders: Iterable[Path]) -> None:
    """Names in these folders that were made or changed are durable afterwards."""
    for folder in folders:
        sync_path(folder)


def sync_files(paths: Sequence[Path]) -> None:
    """These files and their names are durable afterwards. ``OSError``: one of them is not there."""
    for path in paths:
        sync_path(path)
    sync_folders({path.parent for path in paths})
