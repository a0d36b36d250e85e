"""Wheels from where an index has them, into the server's store: in blocks, bounded, each by its digest."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from fedops.core.errors import Invalid, Unavailable
from fedops.environments.lock_file import LockedWheel
from fedops.environments.package_sources import credentials_for, source_variables
from fedops.storage.blobs import BlobStore, WrongDigest

#: The largest wheel that is taken. Bytes.
MAX_WHEEL_BYTES = 4 << 30
_BLOCK = 1 << 20
#: An index that sends nothing for so long is not waited for. Seconds.
_SILENCE_SECONDS = 60.0


class WheelFetcher:
    """Reads wheels. ``ending`` is asked between blocks whether this program ends."""

    def __init__(self, ending: Callable[[], bool] = lambda: False) -> None:
        self._ending = ending

    @contextmanager
    def session(self) -> Iterator[Callable[[LockedWheel], Iterator[bytes]]]:
        """What gives the blocks of wheels, by one set of connections.

        It raises ``Unavailable`` when an index cannot be reached, and ``Invalid`` when it has no such file.
        """
        variables = source_variables()
        file = variables.get("SSL_CERT_FILE")
        verify: ssl.SSLContext | bool = ssl.create_default_context(cafile=file) if file else True
        with httpx.Client(follow_redirects=True, timeout=_SILENCE_SECONDS, verify=verify) as client:
            yield lambda wheel: self._bounded(
                wheel, _of_file(wheel) if wheel.is_local else _of_url(client, wheel, variables)
            )

    def _bounded(self, wheel: LockedWheel, blocks: Iterator[bytes]) -> Iterator[bytes]:
        most, came = wheel.size or MAX_WHEEL_BYTES, 0
        if most > MAX_WHEEL_BYTES:
            raise Invalid(
                f"{wheel.file} has {most:,} bytes, more than the {MAX_WHEEL_BYTES:,} that are taken"
            )
        for block in blocks:
            came += len(block)
            if came > most:
                raise Invalid(f"{wheel.file} is larger than the {most:,} bytes that it may have")
            if self._ending():
                raise Unavailable("the server is ending")
            yield block


def keep_wheel(
    store: BlobStore, wheel: LockedWheel, blocks: Callable[[LockedWheel], Iterator[bytes]]
) -> int:
    """Have a wheel as a blob. Returns its size in bytes."""
    if store.exists(wheel.sha256):
        return store.size(wheel.sha256)
    upload = store.begin()
    try:
        for block in blocks(wheel):
            upload.write(block)
        return upload.finish(wheel.sha256).size
    except WrongDigest:
        raise Unavailable(
            f"what the index gave for {wheel.file} is another file; it is tried again"
        ) from None
    finally:
        upload.abort()


def _of_file(wheel: LockedWheel) -> Iterator[bytes]:
    try:
        with Path(wheel.location).open("rb") as file:
            while block := file.read(_BLOCK):
                yield block
    except OSError as error:
        raise Unavailable(f"cannot read {wheel.location}: {error.strerror}") from None


def _of_url(client: httpx.Client, wheel: LockedWheel, variables: dict[str, str]) -> Iterator[bytes]:
    auth = credentials_for(wheel.location, variables)
    try:
        with client.stream("GET", wheel.location, auth=auth) as answer:
            if answer.status_code in (404, 410):
                raise Invalid(
                    f"the package index has no {wheel.file} any more: choose another version of it"
                )
            if answer.is_error:
                raise Unavailable(
                    f"the package index answers {answer.status_code} for {wheel.file}"
                )
            yield from answer.iter_bytes(_BLOCK)
    except (httpx.TransportError, httpx.TooManyRedirects) as error:
        why = str(error) or type(error).__name__
        raise Unavailable(f"the package index cannot be reached for {wheel.file}: {why}") from None
