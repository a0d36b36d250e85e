"""How this server speaks TLS: with which certificate, and which authority devices pin."""

from __future__ import annotations

import logging
import ssl
from functools import partial
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from fedops.core.errors import Invalid, Unavailable
from fedops.core.server_authority import fingerprint_of
from fedops.server.tls.certificates import Certificates
from fedops.server.tls.names import reached_url, server_names
from fedops.settings import ServerSettings

logger = logging.getLogger("fedops.server")


class TlsEndpoint:
    """The certificate that is shown, renewed while the server runs: new connections see the new one."""

    def __init__(self, settings: ServerSettings) -> None:
        self._made = own_certificates(settings)
        self._chain = settings.tls_cert or (self._made.server_file if self._made else Path())
        self._key = settings.tls_key
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self._loaded: object = None
        if self._made:
            self._made.ensure()
        self._load()

    def refresh(self) -> None:
        """Renew what ends soon, and show what has changed on the disk. It goes on with what it has else."""
        try:
            if self._made:
                self._made.ensure()
        except OSError as error:
            raise Unavailable(f"the server's certificate cannot be renewed: {error}") from None
        if self._stamp() != self._loaded:
            self._load()
            logger.info("the server has a new certificate: %s", self._chain)

    def _load(self) -> None:
        """Both files, or none of them: a certificate without its key would leave the server without any."""
        stamp = self._stamp()
        try:
            for context in (ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), self.context):
                context.load_cert_chain(self._chain, self._key, password=_no_password)
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            raise Invalid(
                f"the server's certificate {self._chain} and its key cannot be used: {error}"
            ) from None
        self._loaded = stamp

    def _stamp(self) -> object:
        try:
            return [path.stat().st_mtime_ns for path in (self._chain, self._key) if path]
        except OSError as error:
            raise Invalid(
                f"cannot read the certificate {error.filename}: {error.strerror}"
            ) from None


def _no_password() -> str:
    raise ValueError("the key has a password; a server that starts by itself cannot give one")


def own_certificates(settings: ServerSettings) -> Certificates | None:
    """Those that the server makes itself; None when it was given others, or speaks no TLS."""
    if settings.tls_cert is not None or not settings.uses_tls:
        return None
    return Certificates(settings.tls_folder, partial(server_names, settings))


def ca_file(settings: ServerSettings) -> Path | None:
    """The authorities that devices pin, if they are to pin one."""
    if settings.tls_ca is not None:
        return settings.tls_ca
    made = own_certificates(settings)
    return made.ca_file if made else None


def ca_pem(settings: ServerSettings) -> bytes | None:
    """What devices fetch and compare. None: they are to trust whom their system trusts."""
    file = ca_file(settings)
    try:
        return file.read_bytes() if file else None
    except OSError as error:
        raise Invalid(f"cannot read the authority {file}: {error.strerror}") from None


def ca_fingerprint(settings: ServerSettings) -> str | None:
    """Of the authority that a join line names: the newest."""
    pem = ca_pem(settings)
    if pem is None:
        return None
    try:
        newest = x509.load_pem_x509_certificates(pem)[0]
    except ValueError as error:
        raise Invalid(f"{ca_file(settings)} holds no certificate: {error}") from None
    return fingerprint_of(newest.public_bytes(Encoding.DER))


def join_url(settings: ServerSettings) -> str:
    """What follows 'fedops join': where the server is, and what its authority must be."""
    fingerprint = ca_fingerprint(settings)
    url = reached_url(settings)
    return f"{url}#{fingerprint}" if fingerprint and url.startswith("https://") else url


def certificate_until(settings: ServerSettings) -> float | None:
    """When the certificate ends that is shown; None when another program shows it."""
    made = own_certificates(settings)
    file = settings.tls_cert or (made.server_file if made else None)
    if file is None or not settings.uses_tls:
        return None
    try:
        return x509.load_pem_x509_certificates(file.read_bytes())[0].not_valid_after_utc.timestamp()
    except (OSError, ValueError):
        return None
