"""Whom a caller trusts to be the server: an authority that it pins, or those of its system."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

import certifi
import httpx
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from fedops.core.errors import Invalid, Unavailable
from fedops.core.server_authority import fingerprint_of

CA_PATH = "/ca.pem"
#: The largest file of authorities that is read.
_MOST_BYTES = 64 << 10
_SECONDS, _LOOK_SECONDS = 15.0, 5.0


class Untrusted(Unavailable):
    """Who answers at the server's address does not prove to be the server. Nothing secret was sent."""


def trust(ca_file: Path | None) -> ssl.SSLContext:
    """Check certificates by the authorities of a file instead of the usual ones; may be shared by clients.

    Raises:
        Invalid: there is no such file, or it holds no certificate.
    """
    if ca_file is None:
        return system_authorities()
    try:
        return ssl.create_default_context(cafile=str(ca_file))
    except OSError as error:  # ssl.SSLError is one
        raise Invalid(f"no certificates can be read from the CA file {ca_file}: {error}") from None


def trust_pem(pem: str) -> ssl.SSLContext:
    """Check certificates by these authorities and by no others."""
    try:
        return ssl.create_default_context(cadata=pem)
    except (OSError, ValueError) as error:
        raise Invalid(f"this is no certificate authority: {error}") from None


@cache
def system_authorities() -> ssl.SSLContext:
    """Those that this machine trusts; where it has none, those that Mozilla trusts. Read once."""
    paths = ssl.get_default_verify_paths()
    context = ssl.create_default_context()
    if not (paths.cafile or paths.capath or context.get_ca_certs()):
        context.load_verify_locations(certifi.where())
    return context


def fetch_authority(url: str, fingerprint: str, proxy: str | None = None) -> str:
    """The authority with this fingerprint, from a server that is not trusted yet. Nothing secret is sent.

    Raises:
        Untrusted: the server names other authorities, or none.
        Unavailable: it cannot be reached.
    """
    for certificate in parse_authorities(_get_authorities(url, proxy)):
        if fingerprint_of(certificate.public_bytes(Encoding.DER)) == fingerprint:
            return certificate.public_bytes(Encoding.PEM).decode()
    raise Untrusted(
        f"what answers at {url} is not the server that the fingerprint is of ({fingerprint}). Nothing secret "
        "was sent. Either somebody on the way pretends to be the server, or it has another authority by "
        "now: ask its operator for a new line ('fedops token create')"
    )


def parse_authorities(pem: bytes) -> list[x509.Certificate]:
    """The certificates of a PEM file. None when it holds no such thing."""
    try:
        return x509.load_pem_x509_certificates(pem)
    except ValueError:
        return []


def shown_certificate(url: str, proxy: str | None) -> bytes | None:
    """The certificate (DER) that a server shows, whoever vouches for it. The server is told nothing."""
    seen: list[bytes] = []
    with suppress(Unavailable):  # it may end TLS and answer nothing
        _get_authorities(url, proxy, seen.append, seconds=_LOOK_SECONDS)
    return seen[-1] if seen else None


def _get_authorities(
    url: str,
    proxy: str | None,
    see: Callable[[bytes], None] = lambda _: None,
    *,
    seconds: float = _SECONDS,
) -> bytes:
    """What a server that nobody vouches for names as its authorities (PEM). Nothing secret is sent.

    ``see`` is given the certificate that it shows. ``Unavailable`` when it cannot be reached.
    """

    def trace(event: str, info: Mapping[str, Any]) -> None:
        if event.endswith("start_tls.complete"):
            tls = info["return_value"].get_extra_info("ssl_object")
            if tls is not None and (certificate := tls.getpeercert(True)):
                see(certificate)

    try:
        with (
            httpx.Client(verify=False, trust_env=False, proxy=proxy, timeout=seconds) as client,
            client.stream("GET", url.rstrip("/") + CA_PATH, extensions={"trace": trace}) as answer,
        ):
            body = b"".join(islice(answer.iter_bytes(4096), _MOST_BYTES // 4096))
    except (httpx.TransportError, httpx.InvalidURL) as error:
        raise Unavailable(f"cannot reach the Server Manager at {url}: {error}") from None
    return body if answer.is_success else b""
