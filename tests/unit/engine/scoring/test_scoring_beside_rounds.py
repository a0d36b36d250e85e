"""Scores beside the rounds: in order, used two rounds later, and told once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fedops.config.schema import Contribution
from fedops.core import contracts as c
from fedops.core.errors import AttemptSuperseded
from fedops.engine.link.server_link import ServerLink
from fedops.engine.scoring.round_scoring import RoundScoring
from fedops.engine.scoring.scorer import (
    Evaluated,
    Evaluations,
    ModelFile,
    ScoringFailed,
    ScoringJob,
    UpdateFile,
)

RULES = Contribution(method="auto", max_evaluations=10)
FILES = [UpdateFile("b", Path("b"), 20), UpdateFile("a", Path("a"), 10)]
HERE = Path("model")


class FakeScorer:
    """Each device is worth one more in each round that is scored."""

    is_ready = True

    def __init__(self) -> None:
        self.jobs: list[ScoringJob] = []
        self.free = threading.Event()
        self.free.set()
        self.failing = ""
        self.breaks: Exception | None = None
        self.closed = False

    def score(self, job: ScoringJob, seconds: float) -> c.RoundScores:
        self.free.wait(seconds)
        self.jobs.append(job)
        if self.breaks is not None:
            raise self.breaks
        if self.failing or self.closed:
            raise ScoringFailed(self.failing)
        known = {**job.history}
        for one in job.updates:
            known[one.device] = known.get(one.device, 0.0) + 1.0
        standings = [c.ClientStanding(device=d, value=v, rounds=1) for d, v in known.items()]
        return c.RoundScores(
            round=job.round,
            evaluations=job.plan.evaluations,
            examples=job.plan.examples,
            seconds=0.5,
            basis=dict(job.basis),
            standings=standings,
            history=known,
        )

    def build(self, job: ScoringJob, seconds: float) -> list[ModelFile]:
        return [ModelFile(Path(f"model-{job.round}"), "digest")]

    def close(self) -> None:
        self.closed = True
        self.free.set()


class FakeEvaluator:
    """Its clients measured what it is told."""

    def __init__(self) -> None:
        self.built: list[ModelFile] = []
        self.said: list[tuple[str, int]] = []
        self.found = Evaluations({"a": Evaluated([1.0, None, 0.5], 10)}, "by clients", 2.0, 0.5)

    def take(self, delivery: c.Delivery) -> bool:
        return delivery.kind == "evaluate.coalition_1"

    def begun(self, round_: int) -> None:
        self.said.append(("begun", round_))

    def awaited(self, round_: int) -> None:
        self.said.append(("awaited", round_))

    def evaluate(self, job: ScoringJob, build: Callable[[], list[ModelFile]]) -> Evaluations:
        self.built += build()
        return self.found

    def close(self) -> None:
        self.said.append(("closed", 0))


class FakeApi:
    """Hears the scores."""

    def __init__(self) -> None:
        self.scored: list[c.RoundScores] = []
        self.superseded = False

    def scores(self, body: c.RoundScores) -> None:
        if self.superseded:
            raise AttemptSuperseded("another attempt took over")
        self.scored.append(body)

    def progress(self, body: c.EngineProgress) -> None:
        """Nobody listens."""


def spec(**state: Any) -> c.AttemptSpec:
    return c.AttemptSpec(
        run_id=1,
        attempt=1,
        task="t",
        seed=7,
        config={},
        rounds=9,
        next_round=1,
        model=None,
        strategy_state=None,
        contract=None,
        dataset=None,
        refused={},
        spool_dir="spool",
        contribution=c.ContributionState(**state),
    )


class Trial:
    def __init__(self, **state: Any) -> None:
        self.scorer, self.api = FakeScorer(), FakeApi()
        link = ServerLink(self.api)  # type: ignore[arg-type]
        self.scoring = RoundScoring(RULES, spec(**state), "f", 100, link, self.scorer)

    def begin(self, round_: int, before: Path | None = HERE) -> None:
        plan = self.scoring.plan(round_, 2, 1.0, 0.1)
        assert plan is not None
        self.scoring.begin(round_, plan, FILES, before, None, "digits")

    def over(self) -> None:
        """Wait for all scores."""
        self.until(lambda: self.scoring.missing_for(99) is None)

    def until(self, check: Callable[[], bool]) -> None:
        for _ in range(200):
            if check():
                return
            self.scoring.wait(0.05)
        raise AssertionError("it did not come about")

    def value(self, round_: int) -> float | None:
        found = self.scoring.standings(round_).get("a")
        return found.value if found else None


@pytest.fixture
def trial() -> Trial:
    return Trial()


def test_scores_of_a_round_are_used_two_rounds_later_and_awaited_until_then(trial: Trial) -> None:
    trial.scorer.free.clear()
    trial.begin(1)
    assert [trial.scoring.missing_for(n) for n in (1, 2, 3, 4)] == [None, None, 1, 1]
    trial.scorer.free.set()
    trial.until(lambda: trial.scoring.missing_for(3) is None)
    assert [trial.value(n) for n in (2, 3, 4)] == [None, 1.0, 1.0]


def test_each_round_goes_on_from_the_history_of_the_one_before(trial: Trial) -> None:
    for round_ in (1, 2, 3, 4, 5):
        trial.begin(round_)
    trial.over()
    assert [one.round for one in trial.api.scored] == [1, 2, 3, 4, 5]
    assert [trial.value(n) for n in (5, 6, 7)] == [3.0, 4.0, 5.0]
    assert [u.device for u in trial.scorer.jobs[0].updates] == ["a", "b"]


def test_a_round_that_cannot_be_scored_is_said_and_changes_nothing(trial: Trial) -> None:
    trial.begin(1)
    trial.over()
    trial.scorer.failing = "its process ended (-9): it said nothing"
    trial.begin(2)
    trial.over()
    assert trial.api.scored[1].note.startswith("it could not be scored: its process ended (-9)")
    assert trial.value(4) == 1.0


def test_without_its_files_nobody_is_asked_to_score_it(trial: Trial) -> None:
    trial.begin(1, before=None)
    trial.over()
    assert trial.scorer.jobs == []
    assert "are not kept any more" in trial.api.scored[0].note


def test_the_next_attempt_knows_what_was_known() -> None:
    known = [
        c.KnownStandings(round=n, standings=[c.ClientStanding(device="a", value=float(n))])
        for n in (3, 4, 5)
    ]
    later = Trial(known=known, history={"a": 5.0}, basis={})
    assert [later.value(n) for n in (5, 6, 7)] == [3.0, 4.0, 5.0]


def test_another_data_set_begins_the_history_anew_and_says_so() -> None:
    basis = {"contract": "f", "data set": "blobs", "measured on": "100 examples of the server"}
    later = Trial(basis=basis, history={"a": 5.0})
    later.begin(1)
    later.over()
    assert later.scorer.jobs[0].history == {}
    assert "begins anew: data set is digits, it was blobs" in later.api.scored[0].note


def test_who_closes_leaves_the_rest_to_the_next_attempt(trial: Trial) -> None:
    trial.scorer.free.clear()
    trial.begin(1)
    trial.scoring.close()
    trial.until(lambda: bool(trial.scorer.jobs))
    assert trial.api.scored == []


def test_that_another_attempt_took_over_is_heard_where_it_is_waited(trial: Trial) -> None:
    trial.api.superseded = True
    trial.begin(1)
    with pytest.raises(AttemptSuperseded):
        trial.over()


@pytest.mark.parametrize("error", [OSError("disk full"), ValueError("no json")])
def test_a_scorer_that_breaks_lets_the_run_go_on(trial: Trial, error: Exception) -> None:
    trial.scorer.breaks = error
    trial.begin(1)
    trial.over()
    trial.scorer.breaks = None
    trial.begin(2)
    trial.over()
    assert [one.round for one in trial.api.scored] == [2]  # the first is left to another attempt


def test_files_are_kept_until_they_are_scored(trial: Trial) -> None:
    trial.scorer.free.clear()
    for round_ in (4, 5, 6):
        trial.begin(round_)
    assert trial.scoring.files_from(6) == 2
    trial.scorer.free.set()
    trial.over()
    assert trial.scoring.files_from(6) == 4


def test_what_scoring_took_is_what_the_next_plan_reckons_with(trial: Trial) -> None:
    rules = Contribution(method="auto")
    scoring = RoundScoring(rules, spec(), "f", 100, ServerLink(trial.api), trial.scorer)  # type: ignore[arg-type]
    first = scoring.plan(1, 2, 10.0, 0.01)
    assert first is not None
    assert first.evaluations == 4
    scoring.begin(1, first, FILES, HERE, None, "digits")
    while scoring.missing_for(9) is not None:  # 4 evaluations take 0.5 s, as the fake says
        scoring.wait(0.05)
    second = scoring.plan(2, 2, 2.0, 0.01)
    assert second is not None
    assert (second.method, second.evaluations) == (None, 0)


def test_a_round_that_would_cost_more_than_is_saved_is_not_scored_and_that_is_said(
    trial: Trial,
) -> None:
    rules = Contribution(method="auto")
    scoring = RoundScoring(rules, spec(), "f", 100, ServerLink(trial.api), trial.scorer)  # type: ignore[arg-type]
    first = scoring.plan(1, 2, 1.0, 0.1)
    assert first is not None
    assert first.evaluations == 0
    scoring.begin(1, first, FILES, HERE, None, "digits")
    while scoring.missing_for(9) is not None:  # 0.5 s, of the 0.1 s that are saved
        scoring.wait(0.05)
    planned = {n: scoring.plan(n, 2, 1.0, 0.1) for n in range(2, 11)}
    assert [n for n, plan in planned.items() if plan is not None] == [10]
    assert planned[10] is not None
    assert planned[10].note.startswith("rounds 2 to 9 were not scored, to stay within a tenth")


def by_clients(scorer: FakeScorer, api: FakeApi, evaluator: FakeEvaluator) -> RoundScoring:
    rules = Contribution(method="auto", utility="clients", max_seconds=3.0)
    link = ServerLink(api)  # type: ignore[arg-type]
    return RoundScoring(rules, spec(), "f", 0, link, scorer, evaluator)


def test_what_clients_measured_is_scored_and_its_time_is_counted(trial: Trial) -> None:
    evaluator = FakeEvaluator()
    scoring = by_clients(trial.scorer, trial.api, evaluator)
    plan = scoring.plan(1, 4, 10.0, 0.0, 0.1)
    assert plan is not None
    assert (plan.method, plan.evaluated_by) == ("leave_one_out", "clients")
    scoring.begin(1, plan, FILES, HERE, None, "digits")
    while scoring.missing_for(9) is not None:
        scoring.wait(0.05)
    assert evaluator.built == [ModelFile(Path("model-1"), "digest")]
    assert trial.scorer.jobs[0].evaluations == evaluator.found
    assert trial.api.scored[0].seconds == 2.5
    assert trial.api.scored[0].basis["measured on"] == "the clients' own examples"
    slower = scoring.plan(2, 6, 10.0, 0.0, 0.1)  # 7 models of 0.5 s each, as it now knows
    assert slower is not None
    assert slower.note.startswith("7 models take a client 3.5 s, and may take 3 s")
    scoring.close()
    assert evaluator.said == [("closed", 0)]


def test_directions_alone_ask_no_client(trial: Trial) -> None:
    evaluator = FakeEvaluator()
    scoring = by_clients(trial.scorer, trial.api, evaluator)
    plan = scoring.plan(1, 2, 10.0, 0.0)
    assert plan is not None
    scoring.begin(1, plan, FILES, HERE, None, "digits")
    while scoring.missing_for(9) is not None:
        scoring.wait(0.05)
    assert evaluator.built == []
    assert trial.scorer.jobs[0].evaluations is None


def test_nobody_waits_for_the_app_to_be_opened_unless_evaluations_are_asked_for(
    trial: Trial,
) -> None:
    trial.scorer.is_ready = False
    link = ServerLink(trial.api)  # type: ignore[arg-type]
    scoring = RoundScoring(Contribution(method="auto"), spec(), "f", 100, link, trial.scorer)
    assert scoring.plan(1, 2, 10.0, 0.01) is None
    trial.scorer.is_ready = True
    later = scoring.plan(2, 2, 10.0, 0.01)
    assert later is not None
    assert later.note.startswith("round 1 was not scored, while the app was opened for it")
    trial.scorer.is_ready = False
    exact = RoundScoring(RULES, spec(), "f", 100, link, trial.scorer)
    assert exact.plan(1, 2, 10.0, 0.01) is not None
