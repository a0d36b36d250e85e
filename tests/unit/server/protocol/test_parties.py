"""Whom the limits of an address are for."""

from __future__ import annotations

import pytest

from fedops.server.protocol.parties import party_of


@pytest.mark.parametrize(
    ("address", "party"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:0:1::7", "2001:db8:0:1::/64"),
        ("2001:db8:0:1:ffff::8", "2001:db8:0:1::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
        ("what a proxy made up", ""),
    ],
)
def test_a_party_is_an_address_or_an_ipv6_network(address: str, party: str) -> None:
    assert party_of(address) == party
