"""Mean and spread over runs: what counts, what is said about the rest."""

from __future__ import annotations

from typing import Any

import pytest

from fedops.core.contracts import RoundRead, RunRead
from fedops.core.errors import Invalid
from fedops.core.states import RunStatus
from fedops.results.summary import higher_is_better, summarise_runs

CONFIG = {"random_seed": 1, "learning_rate": 0.1, "server": {"round": {"deadline_seconds": 60}}}


def _run(id_: int, **changed: Any) -> RunRead:
    values: dict[str, Any] = {
        "id": id_,
        "task": "mnist",
        "status": RunStatus.COMPLETED,
        "reason": None,
        "why": "",
        "rounds": 2,
        "committed_rounds": 2,
        "seed": id_,
        "config": {**CONFIG, "random_seed": id_},
        "from_version": None,
        "new_model": True,
        "version": id_,
        "parent": None,
        "metrics": {},
        "created_at": 0.0,
        "started_at": 0.0,
        "ended_at": 1.0,
    }
    return RunRead.model_validate({**values, **changed})


def _rounds(*accuracies: float) -> list[RoundRead]:
    return [
        RoundRead(
            round=number,
            attempt=1,
            started_at=0.0,
            committed_at=1.0,
            seconds=1.0,
            overhead_seconds=0.0,
            timing={},
            metrics={"accuracy": value, "loss": 1 - value, "train_loss": 9.0},
            participations=[],
        )
        for number, value in enumerate(accuracies, start=1)
    ]


def test_final_and_best_rounds_are_summarised() -> None:
    found = summarise_runs([(_run(1), _rounds(0.8, 0.6)), (_run(2), _rounds(0.5, 0.8))])
    accuracy, loss = found.metrics
    assert (accuracy.metric, loss.metric) == ("accuracy", "loss")
    assert accuracy.final.mean == pytest.approx(0.7)
    assert accuracy.final.std == pytest.approx(0.1 * 2**0.5)
    assert (accuracy.final.min, accuracy.final.max, accuracy.final.count) == (0.6, 0.8, 2)
    assert (accuracy.best.mean, accuracy.best.std) == (0.8, 0.0)
    assert (loss.higher_is_better, loss.best.max) == (False, pytest.approx(0.2))
    assert found.runs[0].best_round == {"accuracy": 1, "loss": 1}
    assert found.notes == []


def test_one_run_has_no_spread() -> None:
    (accuracy, _) = summarise_runs([(_run(1), _rounds(0.8))]).metrics
    assert accuracy.final.std is None


def test_only_completed_runs_count_and_the_others_are_named() -> None:
    stopped = _run(2, status=RunStatus.STOPPED, committed_rounds=1)
    found = summarise_runs([(_run(1), _rounds(0.8)), (stopped, _rounds(0.1))], not_begun=[3, 4])
    assert (found.counted, found.planned, found.metrics[0].final.count) == ([1], 4, 1)
    assert found.notes == [
        "run 2 (seed 2) is stopped after round 1 of 2 and does not count",
        "2 seeds without a run: 3, 4",
    ]


def test_a_run_takes_the_place_of_the_one_that_it_goes_on_from() -> None:
    failed = _run(1, status=RunStatus.FAILED)
    found = summarise_runs([(failed, _rounds(0.1)), (_run(5, parent=1, seed=1), _rounds(0.1, 0.9))])
    assert [one.run for one in found.runs] == [5]


@pytest.mark.parametrize(
    ("changed", "note"),
    [
        (
            {"config": {**CONFIG, "server": {"round": {"deadline_seconds": 5}}}},
            "these runs differ in more than their seed: server.round.deadline_seconds",
        ),
        ({"bundle": "other"}, "these runs are of different versions of the app"),
        (
            {"seed": 1},
            "some of these runs have the same seed: they are no independent repetitions",
        ),
        (
            {"new_model": False, "from_version": 3},
            "these runs did not start from the same model",
        ),
    ],
)
def test_what_makes_the_mean_doubtful_is_said(changed: dict[str, Any], note: str) -> None:
    found = summarise_runs([(_run(1), _rounds(0.8)), (_run(2, **changed), _rounds(0.8))])
    assert found.notes == [note]


def test_runs_of_two_tasks_have_no_summary() -> None:
    with pytest.raises(Invalid, match="of one task, and these are of 2: digits, mnist"):
        summarise_runs([(_run(1), []), (_run(2, task="digits"), [])])


@pytest.mark.parametrize(
    ("metric", "higher"),
    [("accuracy", True), ("val_loss", False), ("rmse", False), ("f1", True), ("client_mae", False)],
)
def test_whether_higher_is_better_follows_from_the_name(metric: str, higher: bool) -> None:
    assert higher_is_better(metric) is higher
