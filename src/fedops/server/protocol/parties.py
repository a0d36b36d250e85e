"""Whom the limits of an address are for."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv6Address, ip_address, ip_network

#: Whoever has an IPv6 address has all of its network.
_PREFIX = 64


@lru_cache(4_096)
def party_of(address: str) -> str:
    """An IPv4 address, or the network of an IPv6 one; anything else is all one party."""
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:  # a socket of this machine's file system, or what a proxy made up
        return ""
    if not isinstance(found, IPv6Address):
        return str(found)
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(ip_network((found, _PREFIX), strict=False))
