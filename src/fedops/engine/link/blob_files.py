"""Blobs as the engine's files: updates where the store keeps them, models handed over from the spool."""

from __future__ import annotations

import base64
import binascii
import hashlib
from pathlib import Path

import zstandard

from fedops.core.contracts import BlobHandover, BlobRef, Delivery, Encoding
from fedops.core.errors import FedOpsError, Invalid
from fedops.engine.link.server_link import ServerLink
from fedops.storage.atomic_files import sha256_of
from fedops.storage.folder_blobs import place_of

#: The most that a decoder may look back. Bytes.
ZSTD_WINDOW = 8 * 1024 * 1024
_BLOCK = 1 << 20


class BlobFiles:
    """The blobs of one attempt."""

    def __init__(self, link: ServerLink, spool: Path, blobs_dir: str | None) -> None:
        self._link = link
        self._spool = spool
        self._blobs = Path(blobs_dir) if blobs_dir else None

    def hand_over(self, path: Path, sha256: str) -> BlobRef:
        """Make a file of the spool folder a blob."""
        body = BlobHandover(name=path.name, sha256=sha256)
        stored = self._link.ask(lambda api: api.hand_over(body))
        if stored.sha256 != sha256:
            raise FedOpsError(f"{path.name} arrived damaged at the Server Manager")
        return stored

    def fetch(self, ref: BlobRef, path: Path) -> Path:
        """A file with the blob's content, checked: its own one, or ``path``."""
        found = self._stored(ref) or self._link.ask(lambda api: api.fetch_blob(ref, path))
        digest = sha256_of(found) if found.is_file() else "missing"
        if digest != ref.sha256:
            raise FedOpsError(
                f"the file {ref.sha256[:12]} is damaged (its sha256 is {digest[:12]}): 'fedops model"
                " verify' tells whether it is damaged on the server; then start from another version"
            )
        return found

    def update(self, delivery: Delivery, path: Path, max_bytes: int) -> Path:
        """The safetensors file that a client delivered: in the store as it is, else ``path``.

        Raises:
            Invalid: it cannot be decoded, is larger than ``max_bytes``, or was damaged since it came.
        """
        if delivery.encoding not in set(Encoding):
            raise Invalid(f"its encoding '{delivery.encoding}' is not known here")
        found = self._delivered(delivery, path)
        if delivery.encoding == Encoding.ZSTD:
            return _decode(found, path.with_suffix(".decoded"), delivery, max_bytes)
        if (size := found.stat().st_size) > max_bytes:
            raise Invalid(f"it has {size} bytes, at most {max_bytes} are taken")
        if delivery.blob is not None and (digest := sha256_of(found)) != delivery.blob.sha256:
            raise Invalid(
                "it was delivered whole and is damaged on the server's disk since"
                f" (its sha256 is {digest[:12]}, not {delivery.blob.sha256[:12]})"
            )
        return found

    def _delivered(self, delivery: Delivery, path: Path) -> Path:
        if delivery.blob is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            found = self._stored(delivery.blob)
            if found is not None and not found.is_file():
                raise Invalid("its file is not in the server's store any more")
            return found or self._link.ask(lambda api: api.fetch_blob(_given(delivery), path))
        try:
            data = base64.b64decode(delivery.inline or "", validate=True)
        except binascii.Error:
            raise Invalid("it arrived damaged") from None
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return path

    def _stored(self, ref: BlobRef) -> Path | None:
        return place_of(self._blobs, ref.sha256) if self._blobs else None


def _given(delivery: Delivery) -> BlobRef:
    assert delivery.blob is not None
    return delivery.blob


def _decode(source: Path, target: Path, delivery: Delivery, max_bytes: int) -> Path:
    """Decompress no more than was announced, and that only if it may be."""
    size = delivery.decoded_size
    if size is None or size > max_bytes:
        raise Invalid(
            f"it has {size or 'an unknown number of'} bytes, at most {max_bytes} are taken"
        )
    digest, left = hashlib.sha256(), size
    decoder = zstandard.ZstdDecompressor(max_window_size=ZSTD_WINDOW)
    try:
        with source.open("rb") as packed, target.open("wb") as file:
            for block in decoder.read_to_iter(packed, read_size=_BLOCK, write_size=_BLOCK):
                left -= len(block)
                if left < 0:
                    raise Invalid(f"it holds more than the {size} bytes that it announced")
                digest.update(block)
                file.write(block)
    except zstandard.ZstdError as error:
        raise Invalid(f"it cannot be decoded: {error}") from None
    if left or digest.hexdigest() != delivery.decoded_sha256:
        raise Invalid("decoded it is not what it announced: its digest or size differs")
    return target
