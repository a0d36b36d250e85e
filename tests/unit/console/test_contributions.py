"""How the scores of a round came about, in a line."""

from __future__ import annotations

from typing import Any

from fedops.console.contributions import round_scores_view
from fedops.core import contracts as c


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
        "scores": [],
    }
    (text,) = round_scores_view([c.RoundScoresRead(**{**values, **changed})])
    return str(text)


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
