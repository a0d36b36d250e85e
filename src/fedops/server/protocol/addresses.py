"""Where a request comes from, as it may be kept and shown."""

from __future__ import annotations

from ipaddress import ip_address


def plain_address(host: str | None) -> str | None:
    """The IP address, or None: a socket of this machine, or what a proxy made up."""
    try:
        return str(ip_address(host)) if host else None
    except ValueError:
        return None
