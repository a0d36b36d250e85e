"""A device whose data dir was copied runs twice: that shows."""

from fedops.server.twins import REMEMBERED_SECONDS, Twins
from fedops.testing import FakeClock


def test_a_life_heard_again_after_another_has_not_ended() -> None:
    clock = FakeClock()
    twins = Twins(clock)
    assert [twins.heard("pi", life) for life in "aabca"] == [False, False, False, False, True]
    assert twins.heard("pi", "b")
    assert not twins.heard("other", "a")


def test_lives_that_follow_each_other_are_none() -> None:
    twins = Twins(FakeClock())
    assert not any(twins.heard("pi", str(start)) for start in range(100) for _ in range(2))


def test_it_is_over_a_while_after_the_copy_ended() -> None:
    clock = FakeClock()
    twins = Twins(clock)
    assert [twins.heard("pi", life) for life in "aba"] == [False, False, True]
    clock.advance(REMEMBERED_SECONDS + 1)
    assert not twins.heard("pi", "a")


def test_clients_that_do_not_say_which_they_are() -> None:
    twins = Twins(FakeClock())
    assert not any(twins.heard("pi", life) for life in ("", "a", "", "a"))
