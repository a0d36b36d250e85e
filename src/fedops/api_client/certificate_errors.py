"""Why a server's certificate was not accepted, and what to do: in words for whoever runs the device."""

from __future__ import annotations

import datetime
import ssl
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.x509.oid import NameOID

from fedops.api_client.certificates import Untrusted, shown_certificate
from fedops.core.printable import printable

#: What OpenSSL calls them: X509_V_ERR_CERT_NOT_YET_VALID, _HAS_EXPIRED, _HOSTNAME_ and _IP_ADDRESS_MISMATCH.
_NOT_YET_VALID, _EXPIRED, _OTHER_NAME = 9, 10, (62, 64)
_NO_TLS = ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST")
_LONGEST = 120


def why_untrusted(
    url: str, error: BaseException, proxy: str | None, *, pinned: bool
) -> Untrusted | None:
    """What to say of a call that failed for the certificate. ``pinned``: the authority is kept here."""
    cause = _tls_error(error)
    if isinstance(cause, ssl.SSLCertVerificationError):
        return Untrusted(_why(url, cause.verify_code, _shown(url, proxy), pinned=pinned))
    if cause is not None and cause.reason in _NO_TLS:
        return Untrusted(
            f"what answers at {url} speaks no TLS; if the server speaks plain HTTP, its URL begins with http://"
        )
    return None


def _tls_error(error: BaseException | None) -> ssl.SSLError | None:
    """What was wrong with TLS, behind what the HTTP library made of it."""
    for _ in range(8):
        if error is None or isinstance(error, ssl.SSLError):
            return error
        error = error.__cause__ or error.__context__
    return None


def _shown(url: str, proxy: str | None) -> x509.Certificate | None:
    """The certificate that was not accepted. The server is asked again, and told nothing."""
    try:
        shown = shown_certificate(url, proxy)
        return x509.load_der_x509_certificate(shown) if shown else None
    except ValueError:
        return None


def _why(url: str, code: int, shown: x509.Certificate | None, *, pinned: bool) -> str:
    clock = f"this machine's clock says {_moment(datetime.datetime.now(datetime.UTC))}"
    if code == _NOT_YET_VALID:
        begin = f" before {_moment(shown.not_valid_before_utc)}" if shown else " yet"
        return f"the certificate of {url} is not valid{begin}, and {clock}: set the clock"
    if code == _EXPIRED:
        end = f" on {_moment(shown.not_valid_after_utc)}" if shown else ""
        return (
            f"the certificate of {url} expired{end}, and {clock}. If the clock is wrong, set it; if not, the "
            "certificate must be renewed on the server"
        )
    if code in _OTHER_NAME:
        return (
            f"the certificate of {url} is not for '{urlsplit(url).hostname}' but for {_names(shown)}: use "
            "one of these, or set FEDOPS_SERVER_TLS_NAMES on the server"
        )
    issuer = f"'{_issuer(shown)}'" if shown else "somebody else"
    return f"the certificate that {url} shows was issued by {issuer}, {_OTHER_AUTHORITY[pinned]}"


_OTHER_AUTHORITY = {
    True: (
        "not by the authority that is kept here. Nothing secret was sent. Either somebody on the way reads "
        "along (so does a company's proxy that inspects TLS: ask for an exception for this server), or the "
        "server has another authority by now: ask its operator for a new line ('fedops token create')"
    ),
    False: (
        "whom this machine does not trust. Nothing secret was sent. If the server made its certificate "
        "itself, use the whole line that 'fedops token create' shows, with its fingerprint; if a company's "
        "proxy is to inspect TLS, give its authority with FEDOPS_CLIENT_CA_FILE"
    ),
}


def _issuer(certificate: x509.Certificate) -> str:
    wanted = (NameOID.ORGANIZATION_NAME, NameOID.COMMON_NAME)
    parts = [
        str(attribute.value)
        for oid in wanted
        for attribute in certificate.issuer.get_attributes_for_oid(oid)
    ]
    return printable(", ".join(parts) or certificate.issuer.rfc4514_string())[:_LONGEST]


def _names(certificate: x509.Certificate | None) -> str:
    if certificate is None:
        return "other names"
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return "no name at all"
    addresses = [str(address) for address in found.get_values_for_type(x509.IPAddress)]
    names = [*found.get_values_for_type(x509.DNSName), *addresses]
    return printable(", ".join(names))[:_LONGEST]


def _moment(when: datetime.datetime) -> str:
    return f"{when:%Y-%m-%d %H:%M} UTC"
