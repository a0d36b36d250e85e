"""What somebody of named tasks sees of a device."""

from __future__ import annotations

from fedops.core.contracts import ProcessReport, Readiness, Refusal
from fedops.core.contracts import Stage as Doing
from fedops.core.reasons.devices import DeviceFacts, device_why
from fedops.core.reasons.work import WorkFacts, working
from fedops.core.states import Enrolment, ProcessStatus
from fedops.server.devices.cloned_devices import PROBLEM
from fedops.server.devices.narrowed_view import narrowed, without_others

MINE = frozenset({"mnist"})
OTHERS = WorkFacts("train", "digits", 7, 3, True, Doing.TRAINING, text="epoch 1")
OWN = WorkFacts("train", "mnist", 8, 2, False)


def _device(**process: object) -> DeviceFacts:
    report = ProcessReport.model_validate(
        {
            "status": ProcessStatus.TRAINING,
            "task": "digits",
            "run_id": 7,
            "round": 3,
            "readiness": [Readiness(task="digits", reason="x"), Readiness(task="mnist")],
            "refusal": Refusal(task="digits", reason="of digits"),
            **process,
        }
    )
    return DeviceFacts(
        name="pi",
        enrolment=Enrolment.APPROVED,
        online=True,
        last_seen_seconds=1.0,
        process=report,
        tasks=("digits", "mnist"),
        problems=("there is no task 'x' (the server's tasks: digits, mnist)",),
        work=(OTHERS, OWN),
    )


def test_what_it_does_for_others_is_left_out() -> None:
    seen = narrowed(_device(), MINE)
    assert (seen.tasks, seen.work, seen.problems) == (("mnist",), (OWN,), ())
    assert (seen.process.task, seen.process.run_id, seen.process.refusal) == (None, None, None)
    assert [one.task for one in seen.process.readiness] == ["mnist"]
    text = f"{device_why(seen)} {seen}"
    assert "digits" not in text
    assert "run 7" not in text


def test_what_it_does_for_ones_own_task_is_kept() -> None:
    seen = narrowed(_device(task="mnist", run_id=8, round=2), MINE)
    assert (seen.process.status, seen.process.run_id) == (ProcessStatus.TRAINING, 8)
    whole = _device()
    assert narrowed(whole, None) is whole


def test_that_it_is_copied_concerns_everybody() -> None:
    device = DeviceFacts("pi", Enrolment.APPROVED, True, 1.0, problems=(PROBLEM,))
    assert narrowed(device, MINE).problems == (PROBLEM,)


def test_a_wait_for_others_names_them_to_who_may_know() -> None:
    assert working(OWN, [OTHERS]) == "works for run 7 of task 'digits' first"
    assert working(OWN, without_others([OTHERS, OWN], MINE)) == "works for another run first"
    assert without_others([OTHERS], None) == [OTHERS]
