"""Device keys: EC P-384 public keys in the forms that travel, and their one fingerprint."""

from __future__ import annotations

import hashlib
from base64 import b64decode
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives import serialization as ser
from cryptography.hazmat.primitives.asymmetric import ec

from fedops.core.errors import Forbidden, Invalid


@dataclass(frozen=True)
class DeviceKey:
    """One public key."""

    key: ec.EllipticCurvePublicKey
    openssh: str
    fingerprint: str


def parse(data: bytes) -> DeviceKey:
    """Read OpenSSH or PEM. ``Invalid`` when it is no public key on P-384."""
    try:
        load = ser.load_pem_public_key if data.lstrip().startswith(b"-----") else None
        key = load(data) if load else ser.load_ssh_public_key(data.strip())
    except (ValueError, UnsupportedAlgorithm):
        raise Invalid("the public key is neither OpenSSH nor PEM text of a public key") from None
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP384R1):
        raise Invalid("the public key must be an elliptic-curve key on P-384 (ecdsa-sha2-nistp384)")
    text = key.public_bytes(ser.Encoding.OpenSSH, ser.PublicFormat.OpenSSH).decode()
    return DeviceKey(key, text, _fingerprint(key))


def verify(key: DeviceKey, statement: bytes, signature: str) -> None:
    """``Forbidden`` unless ``signature`` (base64) is the key's over the statement."""
    try:
        key.key.verify(b64decode(signature, validate=True), statement, ec.ECDSA(hashes.SHA256()))
    except ValueError:
        raise Forbidden("the signature is not base64") from None
    except InvalidSignature:
        raise Forbidden(
            "the signature was not made with the device key that it came with"
        ) from None


def _fingerprint(key: ec.EllipticCurvePublicKey) -> str:
    der = key.public_bytes(ser.Encoding.DER, ser.PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(der).hexdigest()
