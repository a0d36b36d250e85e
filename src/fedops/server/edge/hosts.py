"""Under which names the server is reached, and from whose pages: which Host and which Origin is ours."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_address
from urllib.parse import urlsplit

from fedops.core.errors import Forbidden
from fedops.server.protocol.refusals import Misdirected


class Hosts:
    """``public_url``: where others reach the server; None: at whatever address, but under no name.

    ``names``: further names. Those of loopback are always right. A page elsewhere can make a browser look up
    a name of its own at our address, but no address: so without a public URL addresses are right too.
    """

    def __init__(self, public_url: str | None, names: Iterable[str] = ()) -> None:
        public = urlsplit(public_url or "").hostname
        self._public_url = public_url
        self._names = {"localhost", *(name.lower().strip("[]") for name in names)}
        self._names |= {public} if public else set()
        self._known: set[str] = set()

    def require(self, host: str) -> None:
        """``Misdirected`` unless a Host header names this server."""
        if host in self._known:
            return
        if not self._is_ours(host):
            raise Misdirected(
                f"this server is not reached as '{host[:100]}'; if it should be, set "
                "FEDOPS_SERVER_PUBLIC_URL (--public-url), or name it in FEDOPS_SERVER_NAMES"
            )
        if len(self._known) < _MOST_KNOWN:
            self._known.add(host)

    def require_origin(self, origin: str, host: str, scheme: str) -> None:
        """``Forbidden`` for what a page of another site sends."""
        if origin not in (f"{scheme}://{host}", f"http://{host}", f"https://{host}") and (
            origin != _origin(self._public_url)
        ):
            raise Forbidden(
                f"the page at {origin[:100]} is none of this server: it may send nothing"
            )

    def _is_ours(self, host: str) -> bool:
        try:
            name = (urlsplit(f"//{host}").hostname or "").rstrip(".")
        except ValueError:
            return False
        if name in self._names or name.endswith(".localhost"):
            return True
        try:
            address = ip_address(name)
        except ValueError:
            return False
        return self._public_url is None or address.is_loopback


_MOST_KNOWN = 100


def _origin(url: str | None) -> str | None:
    parts = urlsplit(url or "")
    return f"{parts.scheme}://{parts.netloc}" if parts.netloc else None
