"""How errors of requests are logged."""

from fedops.server.protocol.error_replies import Said
from fedops.testing import FakeClock


def test_what_every_device_meets_is_logged_once_a_minute() -> None:
    clock = FakeClock()
    said = Said(seconds=60.0, clock=clock)
    assert [said.is_news("full"), said.is_news("full"), said.is_news("locked")] == [
        True,
        False,
        True,
    ]
    clock.advance(61)
    assert said.is_news("full")
