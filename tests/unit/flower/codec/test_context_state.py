"""A stock node's memory in its context, by run and round; a device's states of runs, by piece of work."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from flwr.app import ConfigRecord, MetricRecord, RecordDict

from fedops.flower.codec.context_state import RUNS_KEPT, STATES_KEPT, ContextMemory, RunStates


def tensors(value: float) -> dict[str, np.ndarray]:
    return {"own": np.full((2, 3), value, np.float32)}


def test_a_round_starts_from_the_last_one_before_it() -> None:
    state = RecordDict({"mine": ConfigRecord({"a": 1})})
    for round_ in range(3):
        ContextMemory(state).save_state(7, round_, tensors(round_))
    memory = ContextMemory(state)
    for round_ in (1, 2, 3):
        found = memory.load_state(7, round_)
        assert found is not None
        assert found["own"].tobytes() == tensors(round_ - 1)["own"].tobytes()
    assert memory.load_state(7, 0) is None
    assert memory.load_state(8, 3) is None
    assert "mine" in state


def test_only_the_last_rounds_are_kept() -> None:
    state = RecordDict()
    memory = ContextMemory(state)
    for round_ in range(10):
        memory.save_state(7, round_, tensors(round_))
    assert len(state) == STATES_KEPT
    assert memory.load_state(7, 10) is not None


# --- of a device's runs ------------------------------------------------------------------------


def state(number: int) -> RecordDict:
    return RecordDict({"kept": MetricRecord({"n": number})})


def number_of(found: RecordDict) -> int | None:
    record = found.metric_records.get("kept")
    return None if record is None else int(record["n"])  # type: ignore[arg-type]


def test_work_goes_on_from_the_state_before(tmp_path: Path) -> None:
    states = RunStates(tmp_path)
    assert number_of(states.before(7, "a")) is None
    states.keep(7, "a", state(1))
    assert number_of(RunStates(tmp_path).before(7, "b")) == 1
    assert number_of(states.before(8, "b")) is None


def test_repeated_work_starts_from_the_state_before_it(tmp_path: Path) -> None:
    states = RunStates(tmp_path)
    for number, work in enumerate("abc", start=1):
        states.keep(7, work, state(number))
    assert number_of(states.before(7, "c")) == 2
    assert number_of(states.before(7, "b")) == 1
    states.keep(7, "c", state(33))
    assert number_of(states.before(7, "c")) == 2
    assert number_of(states.before(7, "d")) == 33


def test_few_versions_and_runs_are_kept(tmp_path: Path) -> None:
    states = RunStates(tmp_path)
    for run in range(1, RUNS_KEPT + 3):
        for work in range(STATES_KEPT + 2):
            states.keep(run, str(work), state(work))
    folders = sorted(tmp_path.iterdir())
    assert len(folders) == RUNS_KEPT
    assert {len(list(folder.iterdir())) for folder in folders} == {STATES_KEPT}


def test_a_damaged_version_is_passed_over(tmp_path: Path) -> None:
    states = RunStates(tmp_path)
    states.keep(7, "a", state(1))
    states.keep(7, "b", state(2))
    newest = max((tmp_path / "run-00000007").iterdir())
    newest.write_bytes(newest.read_bytes()[:20])
    assert number_of(states.before(7, "c")) == 1


def test_apps_that_keep_nothing_leave_nothing(tmp_path: Path) -> None:
    RunStates(tmp_path).keep(7, "a", RecordDict())
    assert list(tmp_path.iterdir()) == []
