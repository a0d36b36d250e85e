"""The certificate authority of a server, as it is named and proved: its fingerprint, and the join line's."""

from __future__ import annotations

import hashlib
import hmac
import re
from typing import NamedTuple

from fedops.core.errors import Invalid

_FINGERPRINT = re.compile(r"sha256:([0-9a-f]{64})")
_PURPOSE = b"fedops upgrade to TLS\0"


class PinnedUrl(NamedTuple):
    """A server's URL and, if it was given, the fingerprint of the authority that it must show."""

    url: str
    fingerprint: str | None


def fingerprint_of(certificate: bytes) -> str:
    """Of a certificate in DER: ``sha256:`` and 64 hex digits."""
    return f"sha256:{hashlib.sha256(certificate).hexdigest()}"


def split_fingerprint(text: str) -> PinnedUrl:
    """``https://host#sha256:...`` in its two parts. ``Invalid`` when what follows # is no fingerprint."""
    url, mark, given = text.partition("#")
    if not mark:
        return PinnedUrl(url, None)
    found = _FINGERPRINT.fullmatch(given.strip().lower())
    if found is None:
        raise Invalid(
            f"'#{given}' is no fingerprint: it looks like #sha256: and 64 hex digits; "
            "copy the whole line that 'fedops token create' shows"
        )
    if not url.lower().startswith("https://"):
        raise Invalid(f"a fingerprint needs TLS: write https:// in place of '{url}'")
    return PinnedUrl(url, found[0])


def upgrade_proof(token_sha256: str, nonce: str, url: str, authorities: str) -> str:
    """Shows that who names authorities (PEM) knows the device's token, which is itself not sent.

    ``token_sha256``: of the device token, in hex, as the server keeps it.
    """
    message = _PURPOSE + "\0".join((nonce, url, authorities)).encode()
    return hmac.new(token_sha256.encode(), message, hashlib.sha256).hexdigest()
