"""Who calls as a node: the signature over a fresh timestamp, made with the key of an approved device."""

from __future__ import annotations

import asyncio
import binascii
import threading
import time
from base64 import b64decode
from collections.abc import Callable, Mapping
from datetime import datetime

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from fedops.core.errors import Forbidden, Invalid
from fedops.server.devices import DeviceKey
from fedops.server.keys import NodeKey, parse

PUBLIC_KEY_HEADER = "flwr-public-key"
TIMESTAMP_HEADER = "flwr-timestamp"
SIGNATURE_HEADER = "flwr-signature"
#: A signature is good for this long before and after its timestamp. Seconds.
WINDOW_SECONDS = 60.0
#: The approved keys are read again after this time even when nobody said that they changed.
CACHE_SECONDS = 5.0
_MAX_PARSED_KEYS = 10_000


class NodeAuth:
    """Checks the three headers that a node signs each of its requests with."""

    def __init__(
        self,
        approved_keys: Callable[[], list[DeviceKey]],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._approved_keys = approved_keys
        self._clock = clock
        self._devices: dict[str, DeviceKey] = {}
        self._read_at: float | None = None
        self._change = 0
        self._parsed: dict[str, NodeKey] = {}
        self._lock = threading.Lock()

    def devices_changed(self) -> None:
        """Somebody was approved or revoked: what is cached must not be used again."""
        with self._lock:
            self._change += 1
            self._read_at = None

    async def verify_async(self, headers: Mapping[str, str]) -> DeviceKey:
        """``verify`` for coroutines: does not block the loop while the database is read."""
        if self._stale:
            await asyncio.to_thread(self._refresh)
        return self.verify(headers)

    def verify(self, headers: Mapping[str, str]) -> DeviceKey:
        """The approved device that signed this request; ``Forbidden`` when there is none.

        ``headers`` has lower-case names.
        """
        if self._stale:
            self._refresh()
        key = self._key(headers.get(PUBLIC_KEY_HEADER, ""))
        device = self._devices.get(key.fingerprint)
        if device is None:
            raise Forbidden("this node key is not the key of an approved device of this server")
        timestamp = headers.get(TIMESTAMP_HEADER, "")
        self._check_time(timestamp)
        _check_signature(key.key, timestamp, headers.get(SIGNATURE_HEADER, ""))
        return device

    # --- the cache of approved keys ----------------------------------------------------------------

    @property
    def _stale(self) -> bool:
        read_at = self._read_at
        return read_at is None or not 0 <= self._clock() - read_at < CACHE_SECONDS

    def _refresh(self) -> None:
        change, now = self._change, self._clock()
        devices = {device.fingerprint: device for device in self._approved_keys()}
        with self._lock:
            self._devices = devices
            # What changed while we read may be missing: then the next request reads again.
            self._read_at = now if self._change == change else None

    # --- the three checks --------------------------------------------------------------------------

    def _key(self, header: str) -> NodeKey:
        """The key in the header. Parsing one costs more than anything else here, so it is kept."""
        if (known := self._parsed.get(header)) is not None:
            return known
        try:
            key = parse(_decoded(header))
        except Invalid as error:
            raise Forbidden(f"{PUBLIC_KEY_HEADER}: {error.message}") from None
        if key.fingerprint in self._devices:
            if len(self._parsed) >= _MAX_PARSED_KEYS:
                self._parsed.clear()
            self._parsed[header] = key
        return key

    def _check_time(self, timestamp: str) -> None:
        try:
            signed_at = datetime.fromisoformat(timestamp)
        except ValueError:
            raise Forbidden(f"{TIMESTAMP_HEADER}: not an ISO date and time") from None
        if signed_at.tzinfo is None:
            raise Forbidden(f"{TIMESTAMP_HEADER}: the time zone is missing")
        age = self._clock() - signed_at.timestamp()
        if abs(age) > WINDOW_SECONDS:
            raise Forbidden(
                f"{TIMESTAMP_HEADER}: signed {abs(age):.0f} s {'ago' if age > 0 else 'ahead'}, "
                f"allowed are {WINDOW_SECONDS:.0f} s; is the device's clock right?"
            )


def _check_signature(key: ec.EllipticCurvePublicKey, timestamp: str, signature: str) -> None:
    try:
        key.verify(_decoded(signature), timestamp.encode(), ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        raise Forbidden(f"{SIGNATURE_HEADER}: not the key's signature over the timestamp") from None


def _decoded(header: str) -> bytes:
    try:
        return b64decode(header, validate=True)
    except (binascii.Error, ValueError):
        raise Forbidden("a header of the node's signature is not base64") from None
