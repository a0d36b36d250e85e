"""Under which names and addresses a server is reached: what its certificate is for, and what devices type."""

from __future__ import annotations

import ipaddress
import socket
from urllib.parse import urlsplit

import psutil

from fedops.server_urls import is_loopback
from fedops.settings import ServerSettings

_ANY = ("0.0.0.0", "::", "")
_HERE = ("localhost", "127.0.0.1", "::1")
#: An address that nobody has: only asked which way would lead there; nothing is sent.
_ELSEWHERE = ("192.0.2.1", 9)


def server_names(settings: ServerSettings) -> frozenset[str]:
    """All names and addresses that the server's certificate must be for."""
    host = settings.host.strip("[]")
    names = [*_HERE, socket.gethostname(), *settings.tls_name_list]
    names += _addresses() if host in _ANY else [host]
    if settings.public_url:
        names.append(urlsplit(settings.public_url).hostname or "")
    return frozenset(name for name in map(_in_one_form, names) if name)


def reached_url(settings: ServerSettings) -> str:
    """The URL that others type: one of this machine's addresses, where it listens on all of them."""
    if settings.public_url or settings.host.strip("[]") not in _ANY:
        return settings.url
    return settings.model_copy(update={"host": _best_address()}).url


def _best_address() -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(_ELSEWHERE)
            return str(probe.getsockname()[0])
        except OSError:  # no way out: what other machines of this network know
            found = [address for address in _addresses() if not is_loopback(address)]
    return found[0] if found else "127.0.0.1"


def _addresses() -> list[str]:
    """Those of this machine, without the ones that mean something else on each link."""
    found = []
    for addresses in psutil.net_if_addrs().values():
        for one in addresses:
            if one.family not in (socket.AF_INET, socket.AF_INET6):
                continue
            address = ipaddress.ip_address(one.address.partition("%")[0])
            if not address.is_link_local:
                found.append(str(address))
    return found


def _in_one_form(name: str) -> str:
    """As a certificate has it; "" for what a certificate cannot have."""
    try:
        return str(ipaddress.ip_address(name))
    except ValueError:
        pass
    try:
        return name.strip().lower().encode("idna").decode() if name.strip() else ""
    except UnicodeError:
        return ""
