"""Which store a server's settings name."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from urllib.parse import urlsplit

from fedops.core.errors import Invalid
from fedops.settings import ServerSettings
from fedops.storage.blobs import BlobStore
from fedops.storage.disk import disk_errors
from fedops.storage.folder_blobs import FolderBlobs

#: The folder of the stored files, or of those of a bucket that are at hand, in the server's home.
FOLDER = "artifacts"
#: In it: by which name it is known, wherever it is mounted.
_NAME = ".name"


def files_of(settings: ServerSettings) -> str:
    """Which place the stored files are in: the same text for all Server Managers that share it."""
    if settings.blobs_url is not None:
        return f"{settings.blobs_url} at {settings.s3_endpoint or 'Amazon'}"
    file = settings.home / FOLDER / _NAME
    with disk_errors(file.parent):
        file.parent.mkdir(parents=True, exist_ok=True)
        new = file.with_name(f"{_NAME}.{secrets.token_hex(8)}")
        new.write_text(secrets.token_hex(16))
        try:
            with suppress(FileExistsError):
                os.link(new, file)  # complete, and the first one's
        finally:
            new.unlink()
        return f"the folder {file.read_text()[:32]}"


def open_blobs(settings: ServerSettings, *, shared: bool = False) -> BlobStore:
    """The folder in the server's home, or the bucket with that folder before it.

    ``shared``: other processes may take in files there, too.
    ``Invalid`` when S3 is wanted and the extra is not installed.
    """
    folder = settings.home / FOLDER
    if settings.blobs_url is None:
        return FolderBlobs(folder, shared=shared)
    try:
        from fedops.storage.s3 import S3Blobs, S3Bucket
    except ModuleNotFoundError as error:
        raise Invalid(
            f"files in S3 need '{error.name}', which is not installed: pip install 'fedops[s3]'"
        ) from None
    place = urlsplit(settings.blobs_url)
    bucket = S3Bucket(
        bucket=place.netloc,
        prefix=place.path.strip("/"),
        endpoint=settings.s3_endpoint,
        region=settings.s3_region,
        access_key_id=settings.s3_access_key_id,
        secret_access_key=settings.s3_secret_access_key,
    )
    return S3Blobs(
        bucket,
        folder,
        presigned=settings.s3_presigned,
        cache_bytes=settings.s3_cache_bytes,
        shared=shared,
    )
