"""A file from the server, from the last byte that is here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from fedops.api_client import BlobClient
from fedops.core.contracts import BlobRef
from fedops.core.errors import Unavailable
from fedops.storage.shortages import why_not_written


def download_rest(
    blobs: BlobClient,
    part: Path,
    blob: BlobRef,
    on_the_way: Callable[[int], None],
    *,
    fresh: bool = False,
) -> None:
    """Get what is missing of ``part``, once. ``on_the_way`` is told how many bytes are here, and may raise.

    ``fresh``: what came before was damaged.

    Raises:
        Unavailable: it was cut off, or cannot be written; what came stays.
        NotFound: the device may not have it.
    """
    start = part.stat().st_size if part.exists() else 0
    if start == blob.size:
        return
    if start > blob.size:
        part.unlink()
        start = 0
    try:
        done = _append(blobs, part, blob, start, on_the_way, fresh)
    except OSError as error:
        raise Unavailable(why_not_written(error, part)) from error
    if done < blob.size:
        raise Unavailable(f"the connection was cut after {done} of {blob.size} bytes")


def _append(
    blobs: BlobClient,
    part: Path,
    blob: BlobRef,
    start: int,
    on_the_way: Callable[[int], None],
    fresh: bool,
) -> int:
    with (
        blobs.download(blob.sha256, start=start, fresh=fresh) as coming,
        part.open("ab") as file,
    ):
        file.truncate(coming.start)
        done = coming.start
        on_the_way(done)
        for block in coming.blocks():
            file.write(block[: blob.size - done])
            done = min(done + len(block), blob.size)
            on_the_way(done)
    return done
