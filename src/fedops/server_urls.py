"""URLs of servers as people write them, and which hosts are this machine."""

from __future__ import annotations

import re
from ipaddress import ip_address
from urllib.parse import urlsplit

from fedops.core.errors import Invalid
from fedops.core.server_authority import split_fingerprint

_NAME = re.compile(r"(\*\.)?[A-Za-z0-9]([A-Za-z0-9_.-]{0,252}[A-Za-z0-9])?")


def is_host(text: str) -> bool:
    """Whether it is the name of a host or an address, without scheme and port."""
    try:
        ip_address(text)
    except ValueError:
        return _NAME.fullmatch(text) is not None
    return True


def normal_url(text: str) -> str:
    """``127.0.0.1:8600/`` as ``http://127.0.0.1:8600``. ``Invalid`` when it is no URL of a server.

    A fingerprint, ``#sha256:...``, stays with it.
    """
    try:
        parts = urlsplit(text if "://" in text else f"http://{text}")
        sound = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number, or a broken IPv6 address
        sound = False
    if not sound or re.search(r"\s", text):
        raise Invalid(f"'{text}' is no URL of a Server Manager; it looks like http://HOST:8600")
    url = f"{parts.scheme}://{parts.netloc}{parts.path}".rstrip("/")
    if not parts.fragment:
        return url
    pinned = split_fingerprint(f"{url}#{parts.fragment}")
    return f"{pinned.url}#{pinned.fingerprint}"


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach ``host``."""
    if host == "localhost":
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
