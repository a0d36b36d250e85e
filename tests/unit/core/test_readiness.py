"""What is said of a device that tried whether it could do a round."""

from __future__ import annotations

import pytest

from fedops.core.contracts import ProcessReport, Readiness, Refusal
from fedops.core.reasons.devices import DeviceFacts, device_why, unavailable
from fedops.core.reasons.readiness import (
    checking_tasks,
    last_refusal,
    not_ready,
    readiness_text,
)
from fedops.core.states import Enrolment, ProcessStatus, ReadinessStatus

S = ReadinessStatus
MISSING = "the data folder /data does not exist"


def entry(status: ReadinessStatus, task: str | None = "mnist", reason: str = "") -> Readiness:
    return Readiness(task=task, status=status, seconds=12, reason=reason)


def process(*entries: Readiness, refusal: Refusal | None = None) -> ProcessReport:
    return ProcessReport(status=ProcessStatus.IDLE, readiness=list(entries), refusal=refusal)


def device(report: ProcessReport) -> DeviceFacts:
    return DeviceFacts("pi-3", Enrolment.APPROVED, True, 1.0, report, ("mnist",))


@pytest.mark.parametrize(
    ("report", "why", "unavailable_for_mnist"),
    [
        (process(), "online; its training client is ready", None),
        (process(entry(S.READY)), "online; its training client is ready", None),
        (
            process(entry(S.CHECKING)),
            "online; its training client tries its model and data for 12 s",
            "trying its model and data for 12 s",
        ),
        (
            process(entry(S.REFUSED, reason=MISSING)),
            f"online, but not ready: {MISSING}",
            f"not ready: {MISSING}",
        ),
        (
            process(entry(S.REFUSED, task=None, reason=MISSING)),
            f"online, but not ready: {MISSING}",
            f"not ready: {MISSING}",
        ),
        (
            process(entry(S.READY), entry(S.REFUSED, "cifar", MISSING)),
            f"online, but not ready for task 'cifar': {MISSING}",
            None,
        ),
    ],
)
def test_a_device_that_is_not_ready_says_why(
    report: ProcessReport, why: str, unavailable_for_mnist: str | None
) -> None:
    assert device_why(device(report)) == why
    assert unavailable(device(report), "mnist", None) == unavailable_for_mnist


def test_what_is_still_tried_is_told_from_what_has_been() -> None:
    trying = entry(S.CHECKING, "cifar")
    assert checking_tasks(process(entry(S.READY), trying)) == [trying]
    assert checking_tasks(process(entry(S.READY), entry(S.REFUSED, "cifar", MISSING))) == []


def test_the_last_refusal_of_a_run_is_said_until_it_is_gone() -> None:
    refusal = Refusal(task="mnist", run_id=3, round=1, reason="no layer 'x'", seconds=300)
    ready = process(entry(S.READY), refusal=refusal)
    said = "could not do round 1 of run 3, 5 min ago: no layer 'x'"
    assert last_refusal(ready) == said
    assert device_why(device(ready)) == f"online; its training client is ready; {said}"
    assert not_ready(ready, "mnist") is None  # another run may want something else of it


def test_one_reason_is_said_once() -> None:
    refusal = Refusal(task="mnist", run_id=3, round=1, reason=MISSING)
    refused = process(entry(S.REFUSED, reason=MISSING), refusal=refusal)
    assert device_why(device(refused)) == f"online, but not ready: {MISSING}"
    assert readiness_text(refused) == f"not ready: {MISSING}"
