"""Blobs in an S3-compatible store (extra ``s3``), with a folder of this machine before it.

Uploads are taken in by the folder, checked, then put: S3 sees whole files only. What was put or fetched stays
in the folder while there is room, since an engine maps files. The folder is a cache: it may be lost.
"""

from __future__ import annotations

import hashlib
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import obstore
from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError
from obstore.store import S3Store

from fedops.core.contracts import BlobRef
from fedops.core.errors import NotFound, Unavailable
from fedops.storage.blobs import (
    MISSING,
    UNFINISHED_SECONDS,
    Staged,
    Upload,
    WrongDigest,
    damaged,
    ends_early,
    is_digest,
    keep,
    not_there,
    require_digest,
)
from fedops.storage.folder_blobs import FolderBlobs, FolderUpload

logger = logging.getLogger("fedops.storage")
CACHE_BYTES = 16 << 30
#: What is left of a full cache: the files that were used last.
_KEPT = 0.8
_RETRY_SECONDS = timedelta(seconds=10)


@dataclass(frozen=True)
class S3Bucket:
    """Where the blobs are and who may go there."""

    bucket: str
    prefix: str = ""
    #: None: Amazon's.
    endpoint: str | None = None
    region: str = "us-east-1"
    #: None: as obstore finds them (environment, instance profile).
    access_key_id: str | None = None
    secret_access_key: str | None = field(default=None, repr=False)

    def open(self) -> S3Store:
        """A client for it. Nothing is asked of the server yet."""
        given = {
            "endpoint": self.endpoint,
            "access_key_id": self.access_key_id,
            "secret_access_key": self.secret_access_key,
        }
        return S3Store(
            self.bucket,
            prefix=self.prefix or None,
            region=self.region,
            client_options={"allow_http": (self.endpoint or "").startswith("http://")},
            virtual_hosted_style_request=self.endpoint is None,
            retry_config={"max_retries": 2, "retry_timeout": _RETRY_SECONDS},
            **{key: value for key, value in given.items() if value is not None},  # type: ignore[arg-type]
        )

    @property
    def where(self) -> str:
        return f"s3://{self.bucket}/{self.prefix} at {self.endpoint or 'Amazon'}"


class S3Blobs:
    """Blobs as objects ``ab/cdef...`` of a bucket."""

    def __init__(
        self,
        bucket: S3Bucket,
        folder: Path,
        *,
        presigned: bool = False,
        cache_bytes: int = CACHE_BYTES,
        shared: bool = False,
    ) -> None:
        self._bucket = bucket
        self._store = bucket.open()
        self._cache = _Cache(FolderBlobs(folder, shared=shared), cache_bytes)
        self._presigned = presigned

    # --- in -----------------------------------------------------------------------------------

    def begin(self, name: str | None = None, note: bytes = b"") -> Upload:
        return _S3Upload(self._cache.folder.begin(name, note), self._put)

    def resume(self, name: str) -> Upload:
        return _S3Upload(self._cache.folder.resume(name), self._put)

    def discard(self, name: str) -> None:
        self._cache.folder.discard(name)

    def unfinished(self) -> list[str]:
        return self._cache.folder.unfinished()

    def adopt(self, path: Path, sha256: str | None = None) -> Staged:
        staged = self._cache.folder.adopt(path, sha256)
        try:
            return self._put(staged)
        except BaseException:
            staged.abort()
            raise

    def _put(self, staged: FolderUpload) -> Staged:
        """A complete file becomes an object: durable from here on."""
        with self._errors(staged.ref.sha256), staged.opened() as file:
            obstore.put(self._store, _key(staged.ref.sha256), file)
        return _Put(staged, self._cache)

    # --- out ----------------------------------------------------------------------------------

    def path(self, sha256: str) -> Path:
        return self._cache.find(require_digest(sha256)) or self._fetch(sha256)

    def _fetch(self, sha256: str) -> Path:
        """Bring an object into the folder."""
        upload = self._cache.folder.begin()
        try:
            with self._errors(sha256):
                for block in obstore.get(self._store, _key(sha256)).stream():
                    upload.write(bytes(block))
            staged = upload.stage(sha256)
            staged.place()
        except WrongDigest as error:
            raise Unavailable(f"the blob {sha256} is damaged in the S3 store") from error
        finally:
            upload.abort()
        self._cache.added(staged.ref)
        return self._cache.folder.path(sha256)

    def read(self, sha256: str, offset: int, size: int) -> bytes:
        if self._cache.find(require_digest(sha256)):
            with suppress(NotFound):  # it was just dropped to make room
                return self._cache.folder.read(sha256, offset, size)
        if not size:
            return b""
        with self._errors(sha256):
            data = bytes(obstore.get_range(self._store, _key(sha256), start=offset, length=size))
        if len(data) < size:
            raise ends_early(sha256, offset + len(data))
        return data

    def size(self, sha256: str) -> int:
        with self._errors(require_digest(sha256)):
            return int(obstore.head(self._store, _key(sha256))["size"])

    def exists(self, sha256: str) -> bool:
        try:
            self.size(sha256)
        except NotFound:
            return False
        return True

    def location(self, sha256: str, seconds: float) -> str | None:
        if not self._presigned:
            return None
        with self._errors(require_digest(sha256)):
            return obstore.sign(self._store, "GET", _key(sha256), timedelta(seconds=seconds))

    def check(self, sha256: str) -> str | None:
        found = hashlib.sha256()
        self._cache.distrust(require_digest(sha256))
        try:
            with self._errors(sha256):
                for block in obstore.get(self._store, _key(sha256)).stream():
                    found.update(block)
        except NotFound:
            return MISSING
        except Unavailable as error:
            return f"its file cannot be read: {error.message}"
        return None if found.hexdigest() == sha256 else damaged(found.hexdigest())

    # --- away ---------------------------------------------------------------------------------

    def remove(self, sha256: str) -> None:
        if is_digest(sha256):
            self._cache.folder.remove(sha256)
            with suppress(NotFound), self._errors(sha256):
                obstore.delete(self._store, _key(sha256))

    def stored(self, older_than: float) -> Iterator[str]:
        before = time.time() - older_than
        with self._errors(""):
            for some in obstore.list(self._store):
                for found in some:
                    digest = found["path"].replace("/", "")
                    if is_digest(digest) and found["last_modified"].timestamp() <= before:
                        yield digest

    def clean(self, older_than: float = UNFINISHED_SECONDS) -> None:
        self._cache.folder.clean(older_than)

    @contextmanager
    def _errors(self, sha256: str) -> Iterator[None]:
        """What an S3 server answers, in our words. Its own messages quote addresses that may be signed."""
        try:
            yield
        except FileNotFoundError as error:
            if "NoSuchBucket" in str(error):
                raise Unavailable(f"there is no bucket {self._bucket.where}: make it") from None
            raise not_there(sha256) from None
        except (PermissionDeniedError, UnauthenticatedError):
            raise Unavailable(f"{self._bucket.where} refuses the server's access key") from None
        except BaseError as error:
            if "InvalidRange" in str(error):
                raise ends_early(sha256, self.size(sha256)) from None
            logger.debug("S3: %s", error)
            raise Unavailable(
                f"{self._bucket.where} cannot be reached, or has trouble of its own; repeat later"
            ) from None


class _S3Upload:
    """An upload that the folder takes in. Complete, it is put."""

    def __init__(self, upload: FolderUpload, put: Callable[[FolderUpload], Staged]) -> None:
        self._upload = upload
        self._put = put

    @property
    def size(self) -> int:
        return self._upload.size

    @property
    def note(self) -> bytes:
        return self._upload.note

    def write(self, *blocks: bytes) -> None:
        self._upload.write(*blocks)

    def reopen(self) -> int:
        return self._upload.reopen()

    def stage(self, sha256: str | None = None) -> Staged:
        return self._put(self._upload.stage(sha256))

    def finish(self, sha256: str | None = None) -> BlobRef:
        return keep(self.stage(sha256))

    def secure(self) -> None:
        self._upload.secure()

    def pause(self) -> None:
        self._upload.pause()

    def abort(self) -> None:
        self._upload.abort()


class _Put:
    """A file that is an object already. Its name in the folder need not be durable."""

    def __init__(self, staged: FolderUpload, cache: _Cache) -> None:
        self._staged = staged
        self._cache = cache

    @property
    def ref(self) -> BlobRef:
        return self._staged.ref

    def sync(self) -> None:
        pass

    def place(self) -> None:
        self._staged.place()
        self._cache.added(self.ref)

    def done(self) -> None:
        self._staged.done()


class _Cache:
    """The files of a folder that may go. One of an earlier life is hashed before it is used."""

    def __init__(self, folder: FolderBlobs, most: int) -> None:
        self.folder = folder
        self._most = most
        self._lock = threading.Lock()
        self._size: int | None = None
        self._trusted: set[str] = set()

    def find(self, sha256: str) -> Path | None:
        """The file, when it is there and what it should be."""
        if not self.folder.exists(sha256):
            return None
        if sha256 not in self._trusted:
            if self.folder.check(sha256) is not None:
                self.folder.remove(sha256)
                return None
            self._trusted.add(sha256)
        with suppress(FileNotFoundError):
            path = self.folder.path(sha256)
            os.utime(path)
            return path
        return None

    def distrust(self, sha256: str) -> None:
        """Hash it again before it is used again."""
        self._trusted.discard(sha256)

    def added(self, ref: BlobRef) -> None:
        """It was written just now. What was not used for long makes room."""
        self._trusted.add(ref.sha256)
        with self._lock:
            self._size = (
                sum(size for _, size, _ in self._files())
                if self._size is None
                else self._size + ref.size
            )
            if self._size > self._most:
                self._make_room(ref.sha256)

    def _make_room(self, newest: str) -> None:
        files = sorted(self._files(), reverse=True)
        kept = 0
        for _, size, sha256 in files:
            kept += size
            if kept > self._most * _KEPT and sha256 != newest:
                self.folder.remove(sha256)
                kept -= size
        self._size = kept

    def _files(self) -> Iterator[tuple[float, int, str]]:
        """When each was used last, its size, its digest."""
        for sha256 in self.folder.stored(0.0):
            with suppress(NotFound, FileNotFoundError):
                found = self.folder.path(sha256).stat()
                yield found.st_mtime, found.st_size, sha256


def _key(sha256: str) -> str:
    return f"{sha256[:2]}/{sha256[2:]}"
