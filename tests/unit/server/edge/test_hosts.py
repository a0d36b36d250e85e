"""Under which names a server is reached, and from whose pages."""

from __future__ import annotations

import pytest

from fedops.core.errors import Forbidden
from fedops.server.edge.hosts import Hosts
from fedops.server.protocol.refusals import Misdirected

PUBLIC = Hosts("https://fl.example.org", ["inner", "192.0.2.7"])


@pytest.mark.parametrize(
    "host",
    [
        "fl.example.org",
        "fl.example.org:443",
        "inner:8600",
        "192.0.2.7:8600",
        "localhost:8600",
        "127.0.0.1:8600",
        "127.1.2.3",
        "[::1]:8600",
        "fl.example.org.",
    ],
)
def test_its_own_names_and_loopback_are_right(host: str) -> None:
    PUBLIC.require(host)
    PUBLIC.require(host)


@pytest.mark.parametrize(
    "host", ["", "evil.example", "fl.example.org.evil.example", "192.0.2.8", "[broken", "a b"]
)
def test_other_names_are_refused_with_the_setting(host: str) -> None:
    with pytest.raises(Misdirected, match="FEDOPS_SERVER_PUBLIC_URL"):
        PUBLIC.require(host)


def test_without_a_public_url_an_address_will_do_and_a_name_will_not() -> None:
    hosts = Hosts(None)
    for host in ("192.0.2.8:8600", "[2001:db8::1]:8600"):
        hosts.require(host)
    with pytest.raises(Misdirected, match=r"'rebound\.example'"):
        hosts.require("rebound.example")


@pytest.mark.parametrize("origin", ["http://192.0.2.7:8600", "https://fl.example.org"])
def test_its_own_pages_may_send(origin: str) -> None:
    PUBLIC.require_origin(origin, "192.0.2.7:8600", "http")


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://192.0.2.7:8601", ""])
def test_the_pages_of_others_may_not(origin: str) -> None:
    with pytest.raises(Forbidden, match="none of this server"):
        PUBLIC.require_origin(origin, "192.0.2.7:8600", "http")
