"""The Client Manager's look at its owner's conditions."""

import threading

import pytest

from fedops.client.device import conditions
from fedops.client.device.conditions import ConditionWatch, circumstances_here
from fedops.core.contracts import ProcessReport
from fedops.core.reasons.conditions import Circumstances, Conditions


def test_a_change_is_told_and_the_report_says_what_is_unmet(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(conditions, "LOOK_SECONDS", 0.0)
    mains, told = [False, False, True], list[str]()
    watch = ConditionWatch(
        Conditions(charging=True),
        lambda: told.append("now"),
        lambda wanted: Circumstances(on_mains=mains.pop(0)),
    )
    watch.look()
    assert watch.report(ProcessReport(pid=4)) == ProcessReport(
        pid=4, unmet_conditions="not charging"
    )
    watch.look()
    assert told == [], "nothing has changed"
    watch.look()
    assert told == ["now"]
    assert watch.report(ProcessReport()).unmet_conditions == ""


def test_it_measures_now_and_then_and_never_when_nothing_is_asked_for() -> None:
    measured = list[Conditions]()

    def measure(wanted: Conditions) -> Circumstances:
        measured.append(wanted)
        return Circumstances()

    nothing = ConditionWatch(Conditions(), lambda: None, measure)
    nothing.look()
    assert measured == []
    watch = ConditionWatch(Conditions(unmetered=True), lambda: None, measure)
    watch.look()
    watch.look()
    assert len(measured) == 1


def test_a_poll_does_not_wait_for_a_measurement() -> None:
    measuring, over = threading.Event(), threading.Event()

    def measure(wanted: Conditions) -> Circumstances:
        measuring.set()
        assert over.wait(20)
        return Circumstances(metered=True)

    watch = ConditionWatch(Conditions(unmetered=True), lambda: None, measure)
    looking = threading.Thread(target=watch.look, daemon=True)
    looking.start()
    assert measuring.wait(20)
    reported = list[ProcessReport]()
    polling = threading.Thread(
        target=lambda: reported.append(watch.report(ProcessReport(pid=4))), daemon=True
    )
    polling.start()
    polling.join(5.0)
    assert reported == [ProcessReport(pid=4)]
    over.set()
    looking.join(20)
    assert watch.report(ProcessReport()).unmet_conditions


def test_only_what_is_asked_for_is_measured() -> None:
    here = circumstances_here(Conditions(memory_mb=1))
    assert here.memory_mb is not None
    assert here.memory_mb > 0
    assert (here.on_mains, here.battery_percent, here.metered) == (None, None, None)
    assert 0 <= here.minute < 24 * 60
