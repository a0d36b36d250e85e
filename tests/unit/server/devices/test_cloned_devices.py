"""A device whose data dir was copied runs twice: that shows."""

from fedops.server.devices.cloned_devices import REMEMBERED_SECONDS, ClonedDevices
from fedops.testing import FakeClock


def test_a_life_heard_again_after_another_has_not_ended() -> None:
    clock = FakeClock()
    twins = ClonedDevices(clock)
    assert [twins.heard("pi", life) for life in "aabca"] == [False, False, False, False, True]
    assert twins.heard("pi", "b")
    assert not twins.heard("other", "a")


def test_lives_that_follow_each_other_are_none() -> None:
    twins = ClonedDevices(FakeClock())
    assert not any(twins.heard("pi", str(start)) for start in range(100) for _ in range(2))


def test_it_is_over_a_while_after_the_copy_ended() -> None:
    clock = FakeClock()
    twins = ClonedDevices(clock)
    assert [twins.heard("pi", life) for life in "aba"] == [False, False, True]
    clock.advance(REMEMBERED_SECONDS + 1)
    assert not twins.heard("pi", "a")


def test_clients_that_do_not_say_which_they_are() -> None:
    twins = ClonedDevices(FakeClock())
    assert not any(twins.heard("pi", life) for life in ("", "a", "", "a"))


def test_a_life_that_called_another_server_counts_as_heard_here() -> None:
    clock = FakeClock(100.0)
    twins = ClonedDevices(clock)
    assert not twins.heard("pi", "a")
    assert not twins.heard("pi", "b", 100.5)
    clock.advance(1.0)
    assert twins.heard("pi", "a")


def test_what_another_server_tells_late_is_no_copy() -> None:
    clock = FakeClock(100.0)
    twins = ClonedDevices(clock)
    assert not twins.heard("pi", "after the restart")
    assert not twins.heard("pi", "before the restart", 95.0)
    clock.advance(1.0)
    assert not twins.heard("pi", "after the restart")
    assert not twins.heard("pi", "before the restart", 99.0)
