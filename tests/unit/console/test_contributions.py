"""How the scores of a round came about, in a line."""

from __future__ import annotations

from typing import Any

import pytest
from rich.table import Table

from fedops.console.contributions import (
    basis_line,
    by_class_table,
    no_scores_of,
    no_selection_of,
    round_scores_view,
    standings_table,
)
from fedops.core import contracts as c
from fedops.core.states import RunStatus

SCORED = c.ClientScore(device="a", cgsv=0.5)


def line(**changed: Any) -> str:
    values: dict[str, Any] = {
        "round": 3,
        "plan": c.ScoringPlan(method="shapley", evaluations=8, examples=100),
        "scored_at": 1.0,
        "method": "shapley",
        "evaluations": 8,
        "examples": 100,
        "seconds": 0.5,
        "share": 0.05,
        "note": "",
        "scores": [SCORED],
    }
    text, *_ = round_scores_view([c.RoundScoresRead(**{**values, **changed})])
    return str(text)


def cells(table: object) -> list[tuple[str, ...]]:
    """The titles, and what stands below each."""
    assert isinstance(table, Table)
    return [(str(one.header), *map(str, one.cells)) for one in table.columns]


def run(**changed: Any) -> c.RunRead:
    values: dict[str, Any] = {
        "id": 7,
        "task": "mnist",
        "status": RunStatus.RUNNING,
        "reason": None,
        "why": "",
        "rounds": 9,
        "committed_rounds": 5,
        "seed": 1,
        "config": {"server": {"contribution": {"method": "auto", "every": 2}}},
        "from_version": None,
        "version": None,
        "parent": 6,
        "metrics": {},
        "created_at": 1.0,
        "started_at": 1.0,
        "ended_at": None,
    }
    return c.RunRead(**{**values, **changed})


def test_what_the_server_measured_on_is_said() -> None:
    assert line() == "Round 3: shapley, 8 evaluations on 100 examples, 0.50 s (5% of the round)"
    assert line(scored_at=None) == "Round 3 is not scored yet."


def test_that_the_clients_measured_is_said() -> None:
    plan = c.ScoringPlan(method="leave_one_out", evaluations=5, evaluated_by="clients")
    found = line(plan=plan, method="leave_one_out", evaluations=5, examples=0, note="the loss")
    assert found == (
        "Round 3: leave_one_out, 5 models, evaluated by its clients, 0.50 s (5% of the round); the loss"
    )
    found = line(plan=plan, method=None, evaluations=0, examples=0)
    assert found.startswith("Round 3: directions of the updates only, no evaluations")


def test_a_round_that_could_not_be_scored_has_no_scores() -> None:
    found = line(method=None, evaluations=0, scores=[], note="it could not be scored: killed")
    assert found == ("Round 3: no scores, 0.50 s (5% of the round); it could not be scored: killed")
    found = line(method=None, evaluations=0)
    assert found == (
        "Round 3: directions of the updates only, no evaluations, 0.50 s (5% of the round)"
    )


def test_a_run_that_has_ended_scores_no_more() -> None:
    assert line(scored_at=None, run_ended=True) == "Round 3 was not scored: the run ended."


@pytest.mark.parametrize(
    ("changed", "round_", "said"),
    [
        ({}, 99, "Run 7 has not come to round 99: it is at round 6."),
        ({"ended_at": 2.0}, 99, "Run 7 has no round 99: it ended after round 5."),
        ({"first_round": 4}, 2, "Run 7 begins with round 4: round 2 is of run 6."),
        ({}, 3, "Round 3 of run 7 was not to be scored: only every 2 rounds one is."),
        ({}, 4, "Round 4 of run 7 was not to be scored. If that was to stay within a tenth"),
        ({"config": {}}, 3, "its config has no method in [server.contribution]."),
    ],
)
def test_why_a_round_has_no_scores_is_said(changed: Any, round_: int, said: str) -> None:
    assert said in no_scores_of(run(**changed), round_)


def test_why_a_round_has_no_selection_is_said() -> None:
    assert no_selection_of(run(), 9) == "Run 7 has not come to round 9: it is at round 6."
    assert no_selection_of(run(), 3) == "It is not stored whom round 3 of run 7 chose."


def test_no_value_is_not_a_value_of_zero() -> None:
    clients = [c.ClientStanding(device="a"), c.ClientStanding(device="b", value=0.5, rounds=1)]
    found = c.ContributionsRead(task="mnist", run_id=1, round=2, basis={}, clients=clients)
    device, value, error, *_ = cells(standings_table(found))
    assert device == ("DEVICE", "a", "b")
    assert value == ("VALUE", "-", "+0.5000")
    assert error[1] == "-"


def test_who_gives_most_to_a_class_is_seen() -> None:
    labels = ["1", "5", "9"]
    clients = [
        c.ClientStanding(device="a", by_class=[0.4, 0.4, -0.1], classes=labels),
        c.ClientStanding(device="b", by_class=[-0.1, -0.1, 0.6], classes=labels),
        c.ClientStanding(device="c"),
    ]
    assert cells(by_class_table(clients)) == [
        ("DEVICE", "a", "b"),
        ("1", "+0.400", "-0.100"),
        ("5", "+0.400", "-0.100"),
        ("9", "-0.100", "+0.600"),
        ("MOST OF ALL IN", "1 5", "9"),
    ]
    assert str(by_class_table(clients[2:])).startswith("There are no values by class.")


def test_what_the_values_are_made_of_is_said() -> None:
    basis = {"measured on": "100 examples of the server", "metric": "accuracy"}
    found = c.ContributionsRead(task="mnist", run_id=1, round=2, basis=basis, clients=[])
    said = "As of round 2 of run 1, by the accuracy, measured on 100 examples of the server."
    assert basis_line(found) == said
