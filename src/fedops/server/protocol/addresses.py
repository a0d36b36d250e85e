"""Where a request comes from, as it may be kept and shown."""

from __future__ import annotations

from ipaddress import IPv6Address, ip_address


def plain_address(host: str | None) -> str | None:
    """The IP address, or None: a socket of this machine, or what a proxy made up.

    An IPv4 address is one, also if it came by a socket for both kinds (``::ffff:10.0.0.1``).
    """
    try:
        found = ip_address(host) if host else None
    except ValueError:
        return None
    if isinstance(found, IPv6Address) and found.ipv4_mapped is not None:
        found = found.ipv4_mapped
    return str(found) if found else None
