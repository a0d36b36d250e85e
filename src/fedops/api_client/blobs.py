"""Files over HTTP, one try each: download from any byte on, upload as tus 1.0 says. Who calls tries again."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import httpx

from fedops.api_client.transport import PREFIX, Client, error_of, raise_for_error
from fedops.core import contracts as c
from fedops.core.errors import Conflict, FedOpsError, Invalid, NotFound, Unavailable

#: A transfer fails when so long no byte moves; the answer to an upload may take longer. Seconds.
STALL_SECONDS = 60.0
ANSWER_SECONDS = 180.0
_TIMES = httpx.Timeout(15.0, read=STALL_SECONDS, write=STALL_SECONDS)
_UPLOAD_TIMES = httpx.Timeout(15.0, read=ANSWER_SECONDS, write=STALL_SECONDS)
_TUS = {"tus-resumable": "1.0.0"}
_BODY = {**_TUS, "content-type": "application/offset+octet-stream"}


class OffsetMismatch(Conflict):
    """The server has another number of bytes: ask it."""


class DigestMismatch(Invalid):
    """What arrived is not what was announced. The server has forgotten it."""


_UPLOAD_ERRORS: dict[int, type[FedOpsError]] = {
    404: NotFound,
    409: OffsetMismatch,
    413: Invalid,
    460: DigestMismatch,
}


@dataclass(frozen=True)
class Upload:
    """An upload as the server knows it, and how many bytes of it are there."""

    id: str
    offset: int


@dataclass(frozen=True)
class Part:
    """A file from some byte on, on its way here."""

    start: int
    _response: httpx.Response

    def blocks(self) -> Iterator[bytes]:
        """Its bytes as they come: gathered, they would be lost when it is cut off."""
        return self._response.iter_raw()


class BlobClient(Client):
    """What a Client Manager does with files, with the device token."""

    @contextmanager
    def download(self, sha256: str, *, start: int = 0, fresh: bool = False) -> Iterator[Part]:
        """A file from ``start`` on, or from its begin: see ``Part.start``.

        ``fresh``: from the disk, and not from the memory of whoever is between: what came was damaged.

        Raises:
            NotFound: there is no such file, or not for this device.
            Conflict: it has not so many bytes.
            Unavailable: the server is out of reach, or was so before the end.
        """
        headers = {"accept-encoding": "identity"}
        if start:
            headers |= {"range": f"bytes={start}-", "if-range": f'"{sha256}"'}
        if fresh:
            headers["cache-control"] = "no-cache"
        with (
            self._as_fedops_errors(),
            self._http.stream(
                "GET", f"{PREFIX}/blobs/{sha256}", headers=headers, timeout=_TIMES
            ) as response,
        ):
            if response.status_code == 416:
                raise Conflict(f"the file has fewer than {start} bytes")
            if response.is_error:
                response.read()
                raise_for_error(response)
            yield Part(start if response.status_code == 206 else 0, response)

    def create_upload(
        self, head: c.UploadHead, size: int, content: Iterator[bytes] | None
    ) -> Upload:
        """Announce a file of ``size`` bytes, with all of it or with nothing.

        One that was begun before is found again, and its offset told.
        """
        headers = {**_TUS, "upload-length": str(size), "upload-metadata": _metadata(head)}
        length = 0
        if content is not None:
            headers, length = {**headers, **_BODY}, size
        response = self._sent("POST", "/blobs", headers, length, content)
        upload = response.headers.get("location", "").rstrip("/").rsplit("/", 1)[-1]
        if not upload:
            raise Unavailable(f"{response.request.url} did not answer as a Server Manager does")
        return Upload(upload, _offset(response))

    def upload_offset(self, upload: str) -> int:
        """How many bytes of an upload have arrived. ``NotFound``: it is not known (any more)."""
        return _offset(self._sent("HEAD", f"/blobs/uploads/{upload}", dict(_TUS), None, None))

    def append(self, upload: str, offset: int, content: Iterator[bytes], length: int) -> int:
        """Send ``length`` more bytes; returns how many have arrived in all."""
        headers = {**_BODY, "upload-offset": str(offset)}
        return _offset(self._sent("PATCH", f"/blobs/uploads/{upload}", headers, length, content))

    def _sent(
        self,
        method: str,
        path: str,
        headers: dict[str, str],
        length: int | None,
        content: Iterator[bytes] | None,
    ) -> httpx.Response:
        if length is not None:
            headers = {**headers, "content-length": str(length)}
        with self._as_fedops_errors():
            response = self._http.request(
                method, PREFIX + path, headers=headers, content=content, timeout=_UPLOAD_TIMES
            )
        _raise_for_upload(response)
        return response


def _metadata(head: c.UploadHead) -> str:
    values = head.model_dump(exclude_none=True)
    pairs = ((key, base64.b64encode(str(value).encode()).decode()) for key, value in values.items())
    return ",".join(f"{key} {value}" for key, value in pairs)


def _offset(response: httpx.Response) -> int:
    try:
        return int(response.headers["upload-offset"])
    except (KeyError, ValueError):
        raise Unavailable(f"{response.request.url} does not say how much has arrived") from None


def _raise_for_upload(response: httpx.Response) -> None:
    """Raise what an answer means; some statuses mean more here than elsewhere."""
    if kind := _UPLOAD_ERRORS.get(response.status_code):
        raise kind(error_of(response).message)
    raise_for_error(response)
