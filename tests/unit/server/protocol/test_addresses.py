"""Where a request comes from, in one form."""

from __future__ import annotations

import pytest

from fedops.server.protocol.addresses import plain_address


@pytest.mark.parametrize(
    ("given", "plain"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("2001:DB8::1", "2001:db8::1"),
        ("testclient", None),
        ("", None),
        (None, None),
    ],
)
def test_an_ipv4_address_is_one_whatever_socket_it_came_by(
    given: str | None, plain: str | None
) -> None:
    assert plain_address(given) == plain
