"""A certificate authority of one server: makes itself, the server's certificate, and its successor known."""

from __future__ import annotations

import datetime
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Self

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from fedops.core.errors import Invalid
from fedops.core.server_authority import fingerprint_of

#: How long an authority is valid, and a server's certificate. Days.
AUTHORITY_DAYS = 3_650
SERVER_DAYS = 90
#: Certificates begin so long before they are made: clocks differ. Days.
_EARLIER_DAYS = 2
_NAME_LENGTH = 64


@dataclass(frozen=True)
class Authority:
    """Its private key, and the certificate that devices pin."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @classmethod
    def make(cls, name: str, now: datetime.datetime) -> Self:
        """A new one, which signed itself."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = _name(f"FedOps authority of {name}"[:_NAME_LENGTH], f"{now:%Y-%m-%dT%H:%M:%S}")
        until = now + datetime.timedelta(days=AUTHORITY_DAYS)
        builder = _authority(subject, key.public_key(), now, until, paths=1)
        return cls(key, _signed(builder, subject, key))

    @classmethod
    def parse(cls, pem: bytes) -> Self:
        """``Invalid`` when it is not what ``pem`` wrote."""
        try:
            key = serialization.load_pem_private_key(pem, password=None)
            certificate = x509.load_pem_x509_certificate(pem)
        except (ValueError, TypeError) as error:
            raise Invalid(f"this is no certificate authority: {error}") from None
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise Invalid("the key of this certificate authority is no elliptic curve key")
        return cls(key, certificate)

    @property
    def pem(self) -> bytes:
        """Key and certificate, for a file that only the server may read."""
        return pem_of_key(self.key) + pem_of(self.certificate)

    @property
    def fingerprint(self) -> str:
        return fingerprint_of(self.certificate.public_bytes(serialization.Encoding.DER))

    def issue(self, names: Iterable[str], now: datetime.datetime) -> bytes:
        """A new key and its certificate for a server with these names and addresses, as PEM."""
        known = sorted(set(names))
        key = ec.generate_private_key(ec.SECP256R1())
        until = now + datetime.timedelta(days=SERVER_DAYS)
        until = min(until, self.certificate.not_valid_after_utc)
        builder = _dated(_name("FedOps server"), key.public_key(), now, until)
        for extension, critical in (
            (x509.BasicConstraints(ca=False, path_length=None), True),
            (_usage(digital_signature=True), True),
            (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False),
            (x509.SubjectAlternativeName([_general_name(name) for name in known]), False),
        ):
            builder = builder.add_extension(extension, critical=critical)
        certificate = _signed(builder, self.certificate.subject, self.key)
        return pem_of_key(key) + pem_of(certificate)

    def introduce(
        self, successor: Authority, now: datetime.datetime, until: datetime.datetime
    ) -> x509.Certificate:
        """The successor's key, signed by us: who trusts us trusts what it signs, until then."""
        public = successor.certificate.public_key()
        assert isinstance(public, ec.EllipticCurvePublicKey)
        until = min(until, self.certificate.not_valid_after_utc)
        builder = _authority(successor.certificate.subject, public, now, until, paths=0)
        return _signed(builder, self.certificate.subject, self.key)

    def signed(self, certificate: x509.Certificate) -> bool:
        """Whether a certificate is from us."""
        try:
            certificate.verify_directly_issued_by(self.certificate)
        except (ValueError, TypeError, InvalidSignature):
            return False
        return True


def names_of(certificate: x509.Certificate) -> frozenset[str]:
    """The names and addresses that a server's certificate is for."""
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return frozenset()
    addresses = [str(address) for address in found.get_values_for_type(x509.IPAddress)]
    return frozenset([*found.get_values_for_type(x509.DNSName), *addresses])


def pem_of(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def pem_of_key(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _name(text: str, serial: str | None = None) -> x509.Name:
    attributes = [x509.NameAttribute(NameOID.COMMON_NAME, text)]
    if serial:  # two authorities of one machine must not have one name
        attributes.append(x509.NameAttribute(NameOID.SERIAL_NUMBER, serial))
    return x509.Name(attributes)


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _usage(*, digital_signature: bool = False, sign: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        key_cert_sign=sign,
        crl_sign=sign,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _dated(
    subject: x509.Name,
    public: ec.EllipticCurvePublicKey,
    now: datetime.datetime,
    until: datetime.datetime,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=_EARLIER_DAYS))
        .not_valid_after(until)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    )


def _authority(
    subject: x509.Name,
    public: ec.EllipticCurvePublicKey,
    now: datetime.datetime,
    until: datetime.datetime,
    *,
    paths: int,
) -> x509.CertificateBuilder:
    builder = _dated(subject, public, now, until)
    constraints = x509.BasicConstraints(ca=True, path_length=paths)
    return builder.add_extension(constraints, critical=True).add_extension(
        _usage(sign=True), critical=True
    )


def _signed(
    builder: x509.CertificateBuilder, issuer: x509.Name, signer: ec.EllipticCurvePrivateKey
) -> x509.Certificate:
    whose = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key())
    builder = builder.issuer_name(issuer).add_extension(whose, critical=False)
    return builder.sign(signer, hashes.SHA256())
