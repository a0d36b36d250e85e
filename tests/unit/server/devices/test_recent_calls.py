"""Presence in memory: what is news, who is overdue, how often to call."""

from __future__ import annotations

import pytest

from fedops.core.contracts import ProcessReport, WorkPoll
from fedops.core.presence import call_interval
from fedops.core.states import ProcessStatus
from fedops.server.devices.recent_calls import FLUSH_SECONDS, RecentCalls


def _poll(status: ProcessStatus = ProcessStatus.IDLE, **changed: object) -> WorkPoll:
    said = WorkPoll(life="l", tasks=["t"], process=ProcessReport(status=status))
    return said.model_copy(update=changed)


def test_what_is_said_again_is_no_news() -> None:
    presence = RecentCalls(4.0)
    assert presence.polled("d", _poll(), False, 0.0)
    presence.wrote("d", _poll(), False, 0.0)
    assert not presence.polled("d", _poll(), False, 1.0)
    assert not presence.polled("d", _poll(ProcessStatus.TRAINING), False, 1.0)  # a round goes on
    for changed in (
        _poll(ProcessStatus.FATAL),
        _poll(life="another"),
        _poll(tasks=["t", "u"]),
    ):
        assert presence.polled("d", changed, False, 1.0), changed
    assert presence.polled("d", _poll(), True, 1.0)
    presence.gone("d")
    assert presence.polled("d", _poll(), False, 2.0)


def test_any_call_is_a_sign_of_life_of_who_is_there() -> None:
    presence = RecentCalls(4.0)
    presence.heard("d", 0.0)
    assert not presence.overdue(100.0)  # it was never there
    presence.wrote("d", _poll(), False, 0.0)
    assert not presence.overdue(7.9)
    assert presence.overdue(8.0)
    presence.heard("d", 7.0)
    assert not presence.overdue(14.9)
    assert presence.overdue(15.0)
    presence.forgive(20.0)  # it was us who did not listen
    assert not presence.overdue(27.9)
    assert presence.overdue(28.0)


def test_it_is_written_now_and_then() -> None:
    presence = RecentCalls(4.0)
    presence.wrote("d", _poll(), False, 0.0)
    assert not presence.due(0.0)
    presence.heard("d", 1.0)
    assert presence.due(1.0)
    presence.take(1.0)
    presence.heard("d", 1.5)
    assert not presence.due(1.5)
    assert presence.due(1.0 + FLUSH_SECONDS)


@pytest.mark.parametrize(
    ("devices", "seconds"), [(0, 4.0), (50, 4.0), (400, 4.0), (1_000, 10.0), (9_000, 25.0)]
)
def test_more_devices_call_less_often(devices: int, seconds: float) -> None:
    assert call_interval(devices, 4.0) == seconds
    assert call_interval(devices, 30.0) == 30.0


def test_who_calls_another_server_now_is_forgotten_here() -> None:
    presence = RecentCalls(4.0, shared=True)
    presence.wrote("d", _poll(), False, 0.0)
    presence.prune(7.9)
    assert not presence.polled("d", _poll(), False, 7.9)
    presence.prune(15.9)
    assert presence.polled("d", _poll(), False, 16.0), "it is back, and the database must hear it"
