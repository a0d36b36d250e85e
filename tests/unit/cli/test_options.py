"""Requests made of what the user typed."""

import pytest

from fedops.cli import options
from fedops.core import contracts as c
from fedops.core.errors import Invalid


def test_a_value_that_no_request_can_hold_is_named() -> None:
    with pytest.raises(Invalid, match=r"^uses = 10000000: must be less than or equal to 1000000$"):
        options.request(c.TokenCreate, uses=10_000_000)
    with pytest.raises(Invalid, match=r"^rounds = "):
        options.request(c.RunExtend, rounds=10**17)


def test_no_token_lives_longer_than_a_calendar_can_show() -> None:
    with pytest.raises(Invalid, match="expires_in_seconds"):
        options.request(c.TokenCreate, expires_in_seconds=1e15)
