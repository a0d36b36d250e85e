"""The folder ``tls`` of a server's home: its authority, its certificate, what devices fetch.

authority.pem   key and certificate of the authority (0600)
previous.pem    the authority before it, and what introduces its successor, while both are trusted
server.pem      key and certificates of the server (0600)
ca.pem          the authorities that devices trust
"""

from __future__ import annotations

import datetime
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509

from fedops.core.errors import Invalid
from fedops.platforms.files import give_to_owner_of
from fedops.server.tls.authority import Authority, names_of, pem_of
from fedops.storage.atomic_files import write_atomic

#: A server's certificate is renewed so long before it ends; an authority too. Days.
RENEW_DAYS = 30
RENEW_AUTHORITY_DAYS = 180
#: How long devices may take to learn of a new authority. Days.
OVERLAP_DAYS = 30


def now_utc() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


@dataclass(frozen=True)
class Certificates:
    """Made when they are not there, renewed in time. Each file is whole at any moment."""

    folder: Path
    names: Callable[[], frozenset[str]]
    now: Callable[[], datetime.datetime] = now_utc

    @property
    def ca_file(self) -> Path:
        return self.folder / "ca.pem"

    @property
    def server_file(self) -> Path:
        return self.folder / "server.pem"

    def ensure(self) -> bool:
        """Make what is missing, renew what ends soon or is for other names; whether something is new."""
        made = not (self.folder / "authority.pem").exists()
        authority = self._make_authority() if made else self.authority()
        if self._ends_within(authority.certificate, RENEW_AUTHORITY_DAYS):
            authority, made = self.rotate(), True
        if made or not self._server_is_sound(authority):
            self._issue(authority, self.names())
            made = True
        bundle = pem_of(authority.certificate) + self._previous(authority)
        if not self.ca_file.exists() or self.ca_file.read_bytes() != bundle:
            self._write(self.ca_file, bundle, 0o644)
            made = True
        return made

    def rotate(self) -> Authority:
        """A new authority. The one before is trusted beside it for ``OVERLAP_DAYS``."""
        before, now = self.authority(), self.now()
        after = Authority.make(socket.gethostname(), now)
        until = now + datetime.timedelta(days=OVERLAP_DAYS)
        if before.certificate.not_valid_after_utc > now:
            introduction = before.introduce(after, now, until)
            both = pem_of(before.certificate) + pem_of(introduction)
            self._write(self.folder / "previous.pem", both, 0o644)
        else:  # nobody trusts it any more
            (self.folder / "previous.pem").unlink(missing_ok=True)
        names = self._names_now() | self.names()
        self._write(self.folder / "authority.pem", after.pem, 0o600)
        self._issue(after, names)
        self.ensure()
        return after

    @property
    def overlap_until(self) -> datetime.datetime | None:
        """Until when the authority before this one is trusted, too; None: it is not."""
        found = self._overlap(self.authority())
        return found[1].not_valid_after_utc if found else None

    def _write(self, path: Path, data: bytes, mode: int) -> None:
        """For whom the folder is, also if root does it."""
        write_atomic(path, data, mode=mode)
        give_to_owner_of(self.folder, path)

    def authority(self) -> Authority:
        file = self.folder / "authority.pem"
        try:
            return Authority.parse(file.read_bytes())
        except OSError as error:
            raise Invalid(f"cannot read {file}: {error.strerror}") from None
        except Invalid as error:
            raise Invalid(f"{file}: {error.message}; bring it back from a backup") from None

    def server_certificate(self) -> x509.Certificate:
        return x509.load_pem_x509_certificates(self.server_file.read_bytes())[0]

    def _names_now(self) -> frozenset[str]:
        """What the certificate is for that is there: who rotates may know less of them than the server."""
        try:
            return names_of(self.server_certificate())
        except (OSError, ValueError):
            return frozenset()

    def _issue(self, authority: Authority, names: frozenset[str]) -> None:
        text = authority.issue(names, self.now()) + self._introduction(authority)
        self._write(self.server_file, text, 0o600)

    def _make_authority(self) -> Authority:
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        made = Authority.make(socket.gethostname(), self.now())
        self._write(self.folder / "authority.pem", made.pem, 0o600)
        return made

    def _server_is_sound(self, authority: Authority) -> bool:
        try:
            found = self.server_certificate()
        except (OSError, ValueError):
            return False
        return (
            authority.signed(found)
            and self.names() <= names_of(found)
            and not self._ends_within(found, RENEW_DAYS)
        )

    def _ends_within(self, certificate: x509.Certificate, days: int) -> bool:
        return certificate.not_valid_after_utc - self.now() < datetime.timedelta(days=days)

    def _overlap(self, authority: Authority) -> tuple[x509.Certificate, x509.Certificate] | None:
        """The authority before, and what it says of its successor, while that is valid."""
        try:
            before, says = x509.load_pem_x509_certificates(
                (self.folder / "previous.pem").read_bytes()
            )
        except (OSError, ValueError):
            return None
        meant = says.public_key() == authority.certificate.public_key()
        return (before, says) if meant and says.not_valid_after_utc > self.now() else None

    def _previous(self, authority: Authority) -> bytes:
        found = self._overlap(authority)
        return pem_of(found[0]) if found else b""

    def _introduction(self, authority: Authority) -> bytes:
        found = self._overlap(authority)
        return pem_of(found[1]) if found else b""
