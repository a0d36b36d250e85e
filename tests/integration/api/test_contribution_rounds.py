"""Rounds whose clients are chosen by stored scores, also when another attempt goes on with them."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from managing import World, managing
from real_rounds import play, training
from table_scorer import TableScorer

from fedops.api_client import EngineClient
from fedops.core import contracts as c
from fedops.core.errors import AttemptSuperseded
from fedops.core.states import RunStatus
from fedops.engine.scoring.scorer import ScoringJob
from fedops.server.runs import attempts
from fedops.waiting import wait_until

NAMES = ["d1", "d2", "d3", "d4", "d5", "d6"]
WORTH = {"d1": 0.02, "d2": 0.9, "d3": 0.05, "d4": 0.01, "d5": 1.0, "d6": 0.03}
BEST = {"d2", "d5"}
#: The best two have what the worst are worth, and so on.
SCRAMBLED = dict(
    zip(sorted(WORTH, key=lambda d: WORTH[d]), sorted(WORTH.values())[::-1], strict=True)
)
ROUNDS = 10
SERVER: dict[str, Any] = {
    "server": {
        "contribution": {"method": "auto"},
        "selection": {"selector": "contribution", "fairness": 10.0},
        "round": {"min_replies": 1},
    },
    "clients_per_round": 2,
    "num_rounds": ROUNDS,
}
OVERRIDES = [
    "server.contribution.method=auto",
    "server.selection.selector=contribution",
    "server.selection.fairness=10.0",
    "clients_per_round=2",
    f"num_rounds={ROUNDS}",
]


@pytest.fixture(autouse=True)
def no_times(monkeypatch: pytest.MonkeyPatch) -> None:
    """What rounds take here is chance: the selector knows no times."""
    monkeypatch.setattr(
        "fedops.algorithms.selection.contribution.seconds_of",
        lambda pool: np.full(len(pool), np.nan),
    )


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with managing(tmp_path) as made:
        made.task(overrides=OVERRIDES)
        with training(made, *NAMES):
            yield made


def start(world: World) -> int:
    return world.operator.start_run("mnist", c.RunStart()).id


def chosen(world: World, run_id: int) -> list[list[str]]:
    """Who was chosen, round by round, as it is stored."""
    found = world.operator.selections(run_id, limit=100)
    return [sorted(d.device for d in one.decisions if d.chosen) for one in reversed(found)]


def favourites(rounds: list[list[str]]) -> set[str]:
    """The two that were chosen most often once scores were known."""
    counts = Counter(device for one in rounds[4:] for device in one)
    return {device for device, _ in counts.most_common(2)}


def test_stored_scores_decide_who_is_chosen(world: World) -> None:
    run_id = start(world)
    play(world, run_id, scorer=TableScorer(WORTH), **SERVER)
    assert world.operator.run(run_id).status is RunStatus.COMPLETED
    rounds = chosen(world, run_id)
    assert [len(one) for one in rounds] == [2] * ROUNDS
    assert {device for one in rounds for device in one} == set(NAMES)  # each is tried
    assert favourites(rounds) == BEST
    (last,) = world.operator.selections(run_id, ROUNDS)
    known = {one.device: one.parts["value"] for one in last.decisions}
    assert known == pytest.approx(WORTH)
    assert all(one.reason for one in last.decisions)


def test_with_other_scores_the_same_run_chooses_others(world: World) -> None:
    run_id = start(world)
    play(world, run_id, scorer=TableScorer(SCRAMBLED), **SERVER)
    assert favourites(chosen(world, run_id)) & BEST == set()


def cut_off_at(number: int) -> Any:
    """Prepares an attempt that is superseded when it commits this round."""

    def prepare(api: EngineClient) -> None:
        commit = api.commit

        def refuse(body: c.RoundCommit) -> c.CommitReply:
            if body.round == number:
                raise AttemptSuperseded("the test wants another attempt")
            return commit(body)

        api.commit = refuse  # type: ignore[method-assign]

    return prepare


def lose(world: World) -> None:
    """The only attempt of the only run is over."""
    with world.manager.services.db.write() as session:
        attempts.mark_lost(session, 1, "its process died", world.clock())


def test_a_run_that_is_continued_chooses_as_it_would_have(world: World, tmp_path: Path) -> None:
    whole = start(world)
    play(world, whole, scorer=TableScorer(WORTH), **SERVER)
    expected = chosen(world, whole)
    (tmp_path / "again").mkdir()
    with managing(tmp_path / "again") as other:
        other.task(overrides=OVERRIDES)
        with training(other, *NAMES):
            broken = start(other)
            first, second = TableScorer(WORTH), TableScorer(WORTH)
            play(other, broken, cut_off_at(6), first, **SERVER)
            lose(other)
            play(other, broken, scorer=second, **SERVER)
        assert other.operator.run(broken).status is RunStatus.COMPLETED
        found = other.operator.selections(broken, limit=100)
        by_round = {one.round: one for one in found}
        assert [
            sorted(d.device for d in by_round[n].decisions if d.chosen)
            for n in range(1, ROUNDS + 1)
        ] == expected
        assert first.rounds[:3] == [1, 2, 3]
        assert sorted({*first.rounds, *second.rounds}) == list(range(1, ROUNDS + 1))
        assert [one.scored_at is not None for one in other.operator.contributions(broken)] == (
            [True] * ROUNDS
        )


class NeverDone(TableScorer):
    """Its last round is still being scored when the test ends."""

    def __init__(self) -> None:
        super().__init__(WORTH)
        self.last, self.closed = threading.Event(), threading.Event()

    def score(self, job: ScoringJob, seconds: float) -> c.RoundScores:
        if job.round == ROUNDS:
            self.last.set()
            self.closed.wait(30)
        return super().score(job, seconds)

    def close(self) -> None:
        self.closed.set()


def test_who_stops_a_run_whose_rounds_are_done_has_its_model(world: World) -> None:
    run_id, scorer = start(world), NeverDone()
    rounds = threading.Thread(
        target=play, args=(world, run_id), kwargs={"scorer": scorer, **SERVER}
    )
    rounds.start()
    assert scorer.last.wait(30)
    waits = f"round {ROUNDS} of {ROUNDS}: evaluating, waits for the scores of round {ROUNDS}, for"
    assert wait_until(lambda: world.operator.run(run_id).why.startswith(waits), 30, every=0.05)
    world.operator.stop_run(run_id)
    rounds.join(30)
    run = world.operator.run(run_id)
    assert (run.status, run.version) == (RunStatus.COMPLETED, 1)


def test_the_first_round_of_the_next_run_goes_by_what_the_last_one_came_to(world: World) -> None:
    play(world, start(world), scorer=TableScorer(WORTH), **SERVER)
    play(world, again := start(world), scorer=TableScorer(WORTH), **SERVER)
    rounds = chosen(world, again)
    assert set(rounds[0]) == BEST
    (first,) = world.operator.selections(again, 1)
    assert {one.device: one.parts["value"] for one in first.decisions} == pytest.approx(WORTH)
