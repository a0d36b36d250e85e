"""The facts about a run: each of its devices is looked at once, and why it cannot be invited is said."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy.orm import Session

from fedops.core.contracts import ProcessReport
from fedops.core.reasons.work import WorkFacts
from fedops.core.states import AttemptStatus, Enrolment, ProcessStatus, RunStatus
from fedops.server.database.tables import AttemptRow, RunRow
from fedops.server.devices import availability
from fedops.server.devices.cloned_devices import PROBLEM
from fedops.server.runs import run_facts
from fedops.settings import ServerSettings

NOW = 1_000_000.0


def _member(
    name: str, status: ProcessStatus = ProcessStatus.IDLE, **changed: Any
) -> availability.Member:
    values = {
        "id": name,
        "name": name,
        "node_number": 1,
        "enrolment": Enrolment.APPROVED,
        "last_heartbeat_at": NOW,
        "present_until": NOW + 10.0,
        "process": ProcessReport(status=status).model_dump(mode="json"),
        "process_at": NOW,
        "problems": [],
        "tags": [],
    }
    return availability.Member(**{**values, **changed})


def _run() -> RunRow:
    run = RunRow(id=1, task="t", status=RunStatus.RUNNING, rounds=3, committed_rounds=0)
    run.current_attempt, run.status_since, run.version = 1, NOW, None
    run.config, run.refused, run.metrics, run.text = {}, {"picky": "no data"}, {}, ""
    return run


def _attempt(phase: str) -> AttemptRow:
    attempt = AttemptRow(id=1, number=1, status=AttemptStatus.RUNNING, started_at=NOW)
    selected = {"selected": ["free", "away", "done"], "replied": ["done"]}
    attempt.progress, attempt.progress_at = {"phase": phase, "round": 1, **selected}, NOW
    return attempt


def test_each_device_is_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [
        _member("free"),
        _member("busy", ProcessStatus.TRAINING),
        _member("away", present_until=NOW - 1.0),
        _member("broken", ProcessStatus.FATAL),
        _member("picky"),
        _member("twin", problems=[PROBLEM]),
    ]
    looked_at: list[str] = []
    of_device = availability.device_facts

    def noted(row: availability.Member, *args: Any, **more: Any) -> Any:
        looked_at.append(row.name)
        return of_device(row, *args, **more)

    monkeypatch.setattr(run_facts, "task_devices", lambda session, task: rows)
    monkeypatch.setattr(run_facts, "running_other_code", lambda session, run: {})
    monkeypatch.setattr(run_facts, "device_facts", noted)
    found = run_facts.run_facts(Session(), _run(), _attempt("waiting"), ServerSettings(), NOW)
    assert looked_at == [row.name for row in rows] == [device.name for device in found.devices]
    assert sorted(found.unavailable) == ["away", "broken", "picky", "twin"]
    monkeypatch.undo()
    said = {
        row.name: availability.unavailable_because(row, "t", {"picky": "no data"}, NOW)
        for row in rows
    }
    assert {name: why for name, why in said.items() if why} == found.unavailable


def test_while_it_trains_only_presence_and_work_of_the_devices_are_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    there = availability.Attendance("1", "free", NOW, NOW + 10.0)
    away = availability.Attendance("2", "away", NOW - 30.0, NOW - 20.0)
    work = WorkFacts("train", "t", 1, 1, accepted=True)
    asked: list[list[str]] = []

    def attendance(session: Any, task: str, names: list[str], now: float) -> Any:
        asked.append(names)
        return [there, away]

    monkeypatch.setattr(run_facts, "task_attendance", attendance)
    monkeypatch.setattr(run_facts.open_work, "work_by_device", lambda *_: {"1": [work]})
    monkeypatch.setattr(run_facts.open_work, "count_open", lambda *_: 2)
    found = run_facts.run_facts(Session(), _run(), _attempt("training"), ServerSettings(), NOW)
    assert [(one.name, one.online, one.last_seen_seconds) for one in found.devices] == [
        ("free", True, 0.0),
        ("away", False, 30.0),
    ]
    assert found.devices[0].work == [work]
    assert (found.unavailable, found.at_work) == ({}, 2)
    assert asked == [["free", "away"]], "who has replied is not looked at"


@pytest.mark.parametrize("phase", ["aggregating", "evaluating", "committing"])
def test_between_rounds_no_device_is_read(phase: str) -> None:
    found = run_facts.run_facts(Session(), _run(), _attempt(phase), ServerSettings(), NOW)
    assert found.devices == []
